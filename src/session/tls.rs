//! Encryption of the road to the coordinator: rustls with the system's own trust.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use rustls_platform_verifier::Verifier;

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
    /// The system's trust cannot be used.
    #[error(
        "cannot use the system's trusted certificates: {0}; install the system's CA certificates (ca-certificates)"
    )]
    SystemTrust(#[from] rustls::Error),
    /// The host cannot stand in a certificate.
    #[error("`{0}` is no host name that a certificate could carry; check `coordinator.url`")]
    HostName(String),
}

/// Reads the certificates of a PEM file.
///
/// # Errors
/// [`TlsSetupError::ExtraCertificates`] when it cannot be read, is no PEM, or holds no certificate.
pub fn read_certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsSetupError> {
    let failed = |problem: String| TlsSetupError::ExtraCertificates {
        file: file.to_owned(),
        problem,
    };
    let certificates = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| failed(error.to_string()))?;
    if certificates.is_empty() {
        return Err(failed("it holds no certificate".to_owned()));
    }
    Ok(certificates)
}

/// The client side of TLS: the system's trust, and the certificates of `extra_ca_file` besides.
///
/// # Errors
/// [`TlsSetupError`] when the file or the system's trust cannot be used.
pub(super) fn client_config(
    extra_ca_file: Option<&Path>,
) -> Result<Arc<ClientConfig>, TlsSetupError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = verifier(extra_ca_file, Arc::clone(&provider))?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// The name that the coordinator's certificate must carry.
///
/// # Errors
/// [`TlsSetupError::HostName`] when it is neither a DNS name nor an address.
pub(super) fn server_name(host: &str) -> Result<ServerName<'static>, TlsSetupError> {
    ServerName::try_from(host.to_owned()).map_err(|_| TlsSetupError::HostName(host.to_owned()))
}

fn verifier(
    extra_ca_file: Option<&Path>,
    provider: Arc<CryptoProvider>,
) -> Result<Verifier, TlsSetupError> {
    let verifier = match extra_ca_file {
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
