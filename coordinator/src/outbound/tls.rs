//! Encryption of outbound requests: rustls with the system's own trust.

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, pem::PemObject},
};
use rustls_platform_verifier::Verifier;

use super::TlsSetupError;

/// The client side of TLS: the system's trust, and the CA certificates of a PEM file besides. Where there is neither,
/// nothing is trusted and every encrypted request fails: whoever has no webhooks needs no trust.
///
/// # Errors
/// [`TlsSetupError`] when the file cannot be used.
pub fn client_config(extra_ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, TlsSetupError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    let builder = match verifier(extra_ca_file, provider)? {
        Some(verifier) => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier)),
        None => builder.with_root_certificates(RootCertStore::empty()),
    };
    Ok(Arc::new(builder.with_no_client_auth()))
}

/// What certificates are checked with; none where the system has no trust.
fn verifier(
    extra_ca_file: Option<&Path>,
    provider: Arc<CryptoProvider>,
) -> Result<Option<Verifier>, TlsSetupError> {
    if let Some(file) = extra_ca_file {
        let extra = read_certificates(file)?;
        return Ok(Some(Verifier::new_with_extra_roots(extra, provider)?));
    }
    Ok(Verifier::new(provider)
        .inspect_err(|error| {
            tracing::warn!(%error, "no https request can be made: install the system's CA certificates (ca-certificates)");
        })
        .ok())
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
