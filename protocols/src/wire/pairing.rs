//! How an agent gets its token: one HTTP request below the coordinator's base URL, before there is a session.
//!
//! The agent posts a [`PairRequest`] to [`PAIR_PATH`]. The answer is a [`PairAnswer`] with status 200, or with another
//! status an object whose `error` is a [`PairError`]. A [`CloneReport`] is posted to [`CLONE_PATH`] with the token as
//! `Authorization: Bearer`, and answered by status 204.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::SecretText;

/// The path below the coordinator's base URL where a code or a fleet token is traded for a token.
pub const PAIR_PATH: &str = "/agents/pair";

/// The path below the coordinator's base URL where an agent tells that it runs on another PC than it was paired on.
pub const CLONE_PATH: &str = "/agents/clone";

/// The header of an answer that refuses an agent: the refusal's type.
pub const REFUSAL_HEADER: &str = "encoder-refusal";

/// The refusal of an agent that shows no client certificate, where the coordinator asks for one.
pub const CLIENT_CERTIFICATE_REQUIRED: &str = "client_certificate_required";

/// The largest request or answer of a pairing, in bytes.
pub const MAX_PAIRING_BYTES: usize = 8 * 1024;

/// The characters of a pairing code: no vowels, so that no words come up, and none that looks like another.
pub const CODE_ALPHABET: &[u8; 28] = b"BCDFGHJKMNPQRSTVWXYZ23456789";

/// How many characters a pairing code has.
pub const CODE_LENGTH: usize = 8;

/// How every fleet token begins.
pub const FLEET_TOKEN_PREFIX: &str = "fleet_";

/// Asks for a token.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct PairRequest {
    /// A pairing code as people type it, or a fleet token.
    pub secret: SecretText,
    /// Random, and the same in every repeat: a repeat whose first answer was lost makes no second agent.
    pub attempt: SecretText,
    /// What tells this machine from others without telling its id; none where the system has no id.
    #[serde(default)]
    pub machine: Option<String>,
    /// The PC's name, which the agent is shown under.
    pub hostname: String,
    /// The agent's version.
    pub version: String,
    /// The operating system, for people.
    pub os: String,
}

/// The token, and whose it is.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct PairAnswer {
    /// The coordinator's id of the agent.
    pub agent_id: Uuid,
    /// The agent's token.
    pub token: SecretText,
    /// The name of the access system that it belongs to.
    pub system_name: String,
}

/// Why there is no token, as the answer carries it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct PairError {
    /// Which refusal.
    #[serde(rename = "type")]
    pub refusal: PairRefusal,
    /// The same in words.
    pub message: String,
}

/// Why a code or fleet token gives no token.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum PairRefusal {
    /// Its time is over.
    #[error(
        "the pairing code has expired; it holds for 15 minutes: make a new one with `encoder-coordinator pairing code`"
    )]
    CodeExpired,
    /// Nobody made it, or it was forgotten since.
    #[error(
        "there is no such pairing code; compare it letter by letter, or make a new one with `encoder-coordinator pairing code`"
    )]
    CodeUnknown,
    /// An agent was paired with it.
    #[error(
        "the pairing code was used before; each pairs one agent: make a new one with `encoder-coordinator pairing code`"
    )]
    CodeUsed,
    /// The text is neither.
    #[error(
        "this is neither a pairing code, which has 8 letters and digits such as BCDF-2345, nor a fleet token"
    )]
    Malformed,
    /// The fleet token's time is over.
    #[error(
        "the fleet token has expired: make a new one with `encoder-coordinator pairing fleet-token create`"
    )]
    FleetTokenExpired,
    /// Nobody made it.
    #[error("there is no such fleet token; it must stand in the file as it was printed")]
    FleetTokenUnknown,
    /// As many agents were paired with it as may be.
    #[error(
        "the fleet token has paired as many agents as it may: make a new one with `encoder-coordinator pairing fleet-token create`"
    )]
    FleetTokenUsed,
    /// The operator took it back.
    #[error("the fleet token was revoked")]
    FleetTokenRevoked,
    /// The agent that the code is for was retired.
    #[error("the agent that the pairing code is for was retired")]
    AgentRetired,
    /// The coordinator speaks with no agent that shows no certificate.
    #[error(
        "the coordinator takes agents with a client certificate only: set coordinator.client_certificate and \
         coordinator.client_key to one of the authority that it was given with --client-ca"
    )]
    ClientCertificateRequired,
    /// Too many codes were tried that are none.
    #[error("too many wrong pairing codes were tried; wait a quarter of an hour and try again")]
    TooManyAttempts,
}

/// An agent found itself on another PC than the one that it was paired on, and does not connect.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct CloneReport {
    /// What tells this machine from others; none where the system has no id.
    #[serde(default)]
    pub machine: Option<String>,
    /// The PC's name.
    pub hostname: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_and_its_answers_keep_their_form() {
        let request = PairRequest {
            secret: SecretText("BCDF2345".to_owned()),
            attempt: SecretText("00ff".to_owned()),
            machine: Some("aa".to_owned()),
            hostname: "desk".to_owned(),
            version: "0.1.0".to_owned(),
            os: "Linux".to_owned(),
        };
        let text = r#"{"secret":"BCDF2345","attempt":"00ff","machine":"aa","hostname":"desk","version":"0.1.0","os":"Linux"}"#;
        assert_eq!(serde_json::to_string(&request).unwrap(), text);
        assert_eq!(serde_json::from_str::<PairRequest>(text).unwrap(), request);
        let shown = format!("{request:?}");
        assert!(
            !shown.contains("BCDF") && !shown.contains("00ff"),
            "{shown}"
        );
        let answer = PairAnswer {
            agent_id: Uuid::from_u128(1),
            token: SecretText("agent_sample".to_owned()),
            system_name: "Main building".to_owned(),
        };
        let text = r#"{"agent_id":"00000000-0000-0000-0000-000000000001","token":"agent_sample","system_name":"Main building"}"#;
        assert_eq!(serde_json::to_string(&answer).unwrap(), text);
        assert!(!format!("{answer:?}").contains("agent_sample"));
        let error = r#"{"type":"code_expired","message":"late"}"#;
        let error: PairError = serde_json::from_str(error).unwrap();
        assert_eq!(error.refusal, PairRefusal::CodeExpired);
    }

    #[test]
    fn no_character_of_a_code_looks_like_another() {
        for absent in *b"01OILUAE" {
            assert!(!CODE_ALPHABET.contains(&absent));
        }
        let mut sorted = *CODE_ALPHABET;
        sorted.sort_unstable();
        assert!(sorted.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
