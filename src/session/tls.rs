//! Encryption of the road to the coordinator: rustls with the system's own trust.

use std::path::{Path, PathBuf};

use rustls::pki_types::{CertificateDer, pem::PemObject};

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
