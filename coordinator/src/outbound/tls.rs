//! Encryption of outbound requests: rustls with the system's own trust.

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};
use rustls_platform_verifier::Verifier;

use super::TlsSetupError;

/// The client side of TLS: the system's trust, and the CA certificates of a PEM file besides.
///
/// # Errors
/// [`TlsSetupError`] when the file or the system's trust cannot be used.
pub fn client_config(extra_ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, TlsSetupError> {
    let provider = Arc::new(ring::default_provider());
    let verifier = match extra_ca_file {
        Some(file) => {
            Verifier::new_with_extra_roots(read_certificates(file)?, Arc::clone(&provider))?
        }
        None => Verifier::new(Arc::clone(&provider))?,
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn read_certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsSetupError> {
    let failed = |problem: String| TlsSetupError::Certificates {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_certificates_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        let message = client_config(Some(&file)).unwrap_err().to_string();
        assert!(message.contains("ca.pem"), "{message}");
        std::fs::write(&file, "").unwrap();
        let message = client_config(Some(&file)).unwrap_err().to_string();
        assert!(message.contains("it holds no certificate"), "{message}");
    }
}
