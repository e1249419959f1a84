//! The trade of a code or fleet token for a token, and the word that a PC is a copy of another.

use encoder_protocols::wire::{
    CLONE_PATH, CloneReport, PAIR_PATH, PairAnswer, PairError, PairRefusal, PairRequest,
};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{
    error::ConnectError, post::post, socket::Connector, tls::TlsSetupError, token::TokenStore,
};
use crate::{
    config::CoordinatorSettings,
    pairing::{Fingerprint, Pins},
};

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum PairFailure {
    /// No answer came.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Encryption cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsSetupError),
    /// The coordinator refuses.
    #[error("{0}")]
    Refused(PairRefusal),
    /// A fingerprint says nothing of a road without encryption.
    #[error(
        "--fingerprint: {0} is not encrypted, so it has no certificate; use https:// or wss://"
    )]
    NotEncrypted(String),
    /// Whoever is there is no coordinator, or of another version.
    #[error(
        "{url} answered http {status} to the pairing; is it the coordinator's base url, and the coordinator of this version or newer?"
    )]
    NoAnswer {
        /// Where.
        url: String,
        /// The HTTP status.
        status: u16,
    },
}

/// What came of the trade.
#[derive(Debug)]
pub struct Paired {
    /// The token, and whose it is.
    pub answer: PairAnswer,
    /// What to know the coordinator by; none where the road is not encrypted.
    pub pins: Option<Pins>,
}

/// Trades a code or fleet token for a token. The coordinator is trusted by its fingerprint if one is given, else by the
/// system.
///
/// # Errors
/// [`PairFailure`] with what to do about it.
pub async fn pair(
    coordinator: &CoordinatorSettings,
    fingerprint: Option<Fingerprint>,
    request: &PairRequest,
) -> Result<Paired, PairFailure> {
    let url = coordinator.url.to_string();
    if fingerprint.is_some() && !coordinator.url.is_secure() {
        return Err(PairFailure::NotEncrypted(url));
    }
    let (connector, met) = Connector::first_contact(coordinator, fingerprint)?;
    // Structs of texts always become JSON.
    let json = Zeroizing::new(serde_json::to_string(request).unwrap_or_default());
    let answer = post(&connector, PAIR_PATH, None, &json).await?;
    let status = answer.status;
    if status == 200
        && let Ok(answer) = serde_json::from_slice(&answer.body)
    {
        let pins = met.take();
        return Ok(Paired { answer, pins });
    }
    match serde_json::from_slice(&answer.body) {
        Ok(Refusal { error }) => Err(PairFailure::Refused(error.refusal)),
        Err(_) => Err(PairFailure::NoAnswer { url, status }),
    }
}

/// The body of a refusal.
#[derive(Deserialize)]
struct Refusal {
    error: PairError,
}

/// Tells the coordinator that this PC is not the one that its token was given to.
///
/// # Errors
/// [`PairFailure`] when it could not be told.
pub async fn report_clone(
    coordinator: &CoordinatorSettings,
    state_dir: &std::path::Path,
    report: &CloneReport,
) -> Result<(), PairFailure> {
    let connector = Connector::new(coordinator)?;
    let token = TokenStore::new(coordinator, state_dir).token(0);
    let token = token.map_err(|error| ConnectError::Token(error.to_string()))?;
    let json = serde_json::to_string(report).unwrap_or_default();
    let answer = post(&connector, CLONE_PATH, Some(&token), &json).await?;
    match answer.status {
        200..=299 => Ok(()),
        status => Err(PairFailure::NoAnswer {
            url: coordinator.url.to_string(),
            status,
        }),
    }
}
