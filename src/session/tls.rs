//! Encryption of the road to the coordinator: rustls with the system's own trust, or with what the agent was paired with.

mod judge;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use rustls::{
    AlertDescription, CertificateError, ClientConfig, Error,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use rustls_platform_verifier::Verifier;

use super::error::ConnectError;
use crate::{
    config::{ClientCertificate, CoordinatorSettings},
    pairing::{Fingerprint, NotPinned, Pins, Shown},
};
use judge::{First, Judge, Trust};

/// Why encrypted connections cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsSetupError {
    /// The file with extra certificates cannot be read.
    #[error("extra_ca_file {}: {problem}; expected a PEM file with certificates", file.display())]
    ExtraCertificates {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The agent's own certificate cannot be used.
    #[error(
        "client_certificate {} and client_key {}: {problem}; expected PEM files with the agent's certificate and its private key",
        certificate.display(), key.display()
    )]
    ClientCertificate {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong with them.
        problem: String,
    },
    /// The system's trust cannot be used.
    #[error(
        "cannot use the system's trusted certificates: {0}; install the system's CA certificates (ca-certificates)"
    )]
    SystemTrust(#[from] rustls::Error),
    /// The host cannot stand in a certificate.
    #[error("`{0}` is no host name that a certificate could carry; check `coordinator.url`")]
    HostName(String),
}

/// Why the encryption is not trusted.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TlsProblem {
    /// The certificate's time is over.
    #[error(
        "its certificate has expired; renew it at the coordinator, or, if this pc's clock is wrong, set that"
    )]
    Expired,
    /// The certificate's time has not come.
    #[error("its certificate is not valid yet; is this pc's clock right?")]
    NotYetValid,
    /// The certificate is for another name.
    #[error(
        "its certificate is for another name; `coordinator.url` must name the coordinator as its certificate does"
    )]
    WrongName,
    /// It is another than the one of the pairing.
    #[error(
        "its certificate, issued by {issuer}, is not the one that this agent was paired with; if that is a proxy which \
         inspects connections, have it leave this one alone, or set coordinator.accept_inspection = true; if the \
         coordinator has a new certificate, pair again"
    )]
    NotPinned {
        /// Who issued it.
        issuer: String,
    },
    /// It does not have the fingerprint that was asked for.
    #[error(
        "its certificate, issued by {issuer}, does not have this fingerprint; its key has {found}: compare that with the \
         coordinator's, and if it differs there is somebody on the way"
    )]
    OtherFingerprint {
        /// Who issued it.
        issuer: String,
        /// The fingerprint of its key.
        found: String,
    },
    /// Nobody that the system trusts has issued it.
    #[error(
        "its certificate was issued by {issuer}, which this pc does not trust; a certificate of a private authority belongs \
         into `extra_ca_file`"
    )]
    Untrusted {
        /// Who issued it.
        issuer: String,
    },
    /// The coordinator does not take the agent's own certificate.
    #[error(
        "it does not take this agent's client certificate ({alert}): that must be of the authority that the coordinator was \
         given with --client-ca, and hold now; see coordinator.client_certificate"
    )]
    OwnCertificate {
        /// How the coordinator said it.
        alert: String,
    },
    /// Anything else.
    #[error("{0}; a certificate of a private authority belongs into `extra_ca_file`")]
    Other(String),
}

impl TlsProblem {
    /// What a failed handshake has told.
    pub(super) fn of(error: &std::io::Error) -> Self {
        let told = error.get_ref().and_then(|inner| inner.downcast_ref());
        if let Some(Error::AlertReceived(alert)) = told
            && is_of_own_certificate(*alert)
        {
            let alert = format!("{alert:?}");
            return Self::OwnCertificate { alert };
        }
        let Some(Error::InvalidCertificate(problem)) = told else {
            return Self::Other(error.to_string());
        };
        if let CertificateError::Other(ours) = problem {
            if let Some(problem) = ours.0.downcast_ref::<Self>() {
                return problem.clone();
            }
            if let Some(NotPinned { issuer }) = ours.0.downcast_ref() {
                let issuer = issuer.clone();
                return Self::NotPinned { issuer };
            }
        }
        Self::of_certificate(problem).unwrap_or_else(|| Self::Other(error.to_string()))
    }

    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "a foreign enum, of which few cases have words of ours"
    )]
    fn of_certificate(problem: &CertificateError) -> Option<Self> {
        match problem {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                Some(Self::Expired)
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Some(Self::NotYetValid)
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Some(Self::WrongName)
            }
            _ => None,
        }
    }
}

/// Alerts that a server sends about a client's certificate (RFC 8446, section 6.2).
fn is_of_own_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::CertificateRequired
    )
}

/// What it means that a request was not answered: in TLS 1.3 the server judges the agent's certificate after the handshake.
pub(super) fn answered(url: String, error: &std::io::Error) -> ConnectError {
    match TlsProblem::of(error) {
        problem @ TlsProblem::OwnCertificate { .. } => ConnectError::Tls { url, problem },
        TlsProblem::Expired
        | TlsProblem::NotYetValid
        | TlsProblem::WrongName
        | TlsProblem::NotPinned { .. }
        | TlsProblem::OtherFingerprint { .. }
        | TlsProblem::Untrusted { .. }
        | TlsProblem::Other(_) => ConnectError::Handshake {
            url,
            problem: error.to_string(),
        },
    }
}

/// What the coordinator is known by, as connections to come will see it.
#[derive(Clone, Debug)]
pub(super) struct SharedPins(Arc<RwLock<Pins>>);

impl SharedPins {
    fn new(pins: Pins) -> Self {
        Self(Arc::new(RwLock::new(pins)))
    }

    /// Puts others in their place.
    pub(super) fn put(&self, pins: Pins) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = pins;
    }

    fn check(&self, shown: &Shown<'_>) -> Result<(), Error> {
        let pins = self.0.read().unwrap_or_else(PoisonError::into_inner);
        pins.check(shown)
    }
}

/// Reads the certificates of a PEM file.
///
/// # Errors
/// [`TlsSetupError::ExtraCertificates`] when it cannot be read, is no PEM, or holds no certificate.
pub fn read_certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsSetupError> {
    pem_certificates(file).map_err(|problem| TlsSetupError::ExtraCertificates {
        file: file.to_owned(),
        problem,
    })
}

fn pem_certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| error.to_string())?;
    if certificates.is_empty() {
        return Err("it holds no certificate".to_owned());
    }
    Ok(certificates)
}

/// The client side of TLS to a coordinator: by the pairing where there is one, else by the system's trust and the
/// certificates of `extra_ca_file`. Gives the pins besides, where nothing else is believed.
///
/// # Errors
/// [`TlsSetupError`] when a file or the system's trust cannot be used.
pub(super) fn client_config(
    coordinator: &CoordinatorSettings,
) -> Result<(Arc<ClientConfig>, Option<SharedPins>), TlsSetupError> {
    let pins = coordinator
        .pairing
        .as_ref()
        .and_then(|pairing| pairing.pins.clone());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let (trust, shared) = match pins {
        None => (Trust::System(system(coordinator, &provider)?), None),
        Some(pins) if coordinator.accept_inspection => {
            let system = system(coordinator, &provider)?;
            (Trust::PinnedOrSystem(pins, system), None)
        }
        Some(pins) => {
            let shared = SharedPins::new(pins);
            (Trust::Pinned(shared.clone()), Some(shared))
        }
    };
    Ok((configured(coordinator, provider, trust)?, shared))
}

/// The same for the first contact: by a fingerprint if one is given, else by the system's trust. Notes what the coordinator
/// is known by from then on.
///
/// # Errors
/// [`TlsSetupError`] when a file or the system's trust cannot be used.
pub(super) fn first_contact(
    coordinator: &CoordinatorSettings,
    fingerprint: Option<Fingerprint>,
) -> Result<(Arc<ClientConfig>, Met), TlsSetupError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let met = Met::default();
    let authorities = match &coordinator.extra_ca_file {
        Some(file) => read_certificates(file)?,
        None => Vec::new(),
    };
    let first = match fingerprint {
        Some(fingerprint) => First::By(fingerprint),
        None => First::System(system(coordinator, &provider)?),
    };
    let trust = Trust::First {
        first,
        authorities,
        met: met.clone(),
    };
    Ok((configured(coordinator, provider, trust)?, met))
}

/// What to know the coordinator by that was met; none before a handshake.
#[derive(Clone, Debug, Default)]
pub(super) struct Met(Arc<Mutex<Option<Pins>>>);

impl Met {
    pub(super) fn take(&self) -> Option<Pins> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn put(&self, pins: Pins) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(pins);
    }
}

fn configured(
    coordinator: &CoordinatorSettings,
    provider: Arc<CryptoProvider>,
    trust: Trust,
) -> Result<Arc<ClientConfig>, TlsSetupError> {
    let verifier = Arc::new(Judge {
        trust,
        provider: Arc::clone(&provider),
    });
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let config = match &coordinator.client_certificate {
        None => builder.with_no_client_auth(),
        Some(files) => {
            let failed = |problem: String| TlsSetupError::ClientCertificate {
                certificate: files.certificate.clone(),
                key: files.key.clone(),
                problem,
            };
            let (chain, key) = own_certificate(files).map_err(failed)?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| failed(error.to_string()))?
        }
    };
    Ok(Arc::new(config))
}

fn own_certificate(
    files: &ClientCertificate,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), String> {
    let chain = pem_certificates(&files.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| error.to_string())?;
    Ok((chain, key))
}

/// The name that the coordinator's certificate must carry.
///
/// # Errors
/// [`TlsSetupError::HostName`] when it is neither a DNS name nor an address.
pub(super) fn server_name(host: &str) -> Result<ServerName<'static>, TlsSetupError> {
    ServerName::try_from(host.to_owned()).map_err(|_| TlsSetupError::HostName(host.to_owned()))
}

fn system(
    coordinator: &CoordinatorSettings,
    provider: &Arc<CryptoProvider>,
) -> Result<Verifier, TlsSetupError> {
    let provider = Arc::clone(provider);
    let verifier = match &coordinator.extra_ca_file {
        Some(file) => Verifier::new_with_extra_roots(read_certificates(file)?, provider)?,
        None => Verifier::new(provider)?,
    };
    Ok(verifier)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_certificates_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ca.pem");
        for (text, expected) in [
            ("", "it holds no certificate"),
            (
                "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
                "",
            ),
        ] {
            std::fs::write(&file, text).unwrap();
            let message = read_certificates(&file).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
            assert!(
                message.ends_with("expected a PEM file with certificates"),
                "{message}"
            );
        }
        assert!(read_certificates(&directory.path().join("none.pem")).is_err());
    }
}
