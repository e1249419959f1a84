//! The service's own encryption: a certificate and its key from PEM files, read again when they change.
//!
//! Whoever renews certificates replaces the files; the service takes the new ones within ten seconds, for the connections that
//! come then. A pair that cannot be used, because only one of the files was replaced so far or for any other reason, changes
//! nothing: the one before is used on, and the log says why.
//!
//! Where agents need a certificate, every client is asked for one and none must have it: TLS does not know yet who it is that
//! comes. One of another authority is refused at once; that agents have one is checked at their paths.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use encoder_protocols::wire::NextPins;
use rustls::{
    RootCertStore, ServerConfig,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{ParsedCertificate, WebPkiClientVerifier, danger::ClientCertVerifier},
};
use sha2::{Digest as _, Sha256};
use tokio::{
    sync::Notify,
    time::{MissedTickBehavior, interval},
};
use tokio_rustls::TlsAcceptor;

use crate::state::StopSignal;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(10);

/// The one protocol that is spoken inside, as ALPN names it.
const HTTP_1_1: &[u8] = b"http/1.1";

/// Where certificate and key are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CertificateFiles {
    /// The certificate, and those between it and its authority, as PEM.
    pub certificate: PathBuf,
    /// Its private key, as PEM.
    pub key: PathBuf,
    /// The authorities that agents' certificates must come from, as PEM; none where agents need none.
    pub client_authorities: Option<PathBuf>,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The certificate's file cannot be used.
    #[error(
        "certificate file {}: {problem}; expected a PEM file with the certificate and those between it and its authority",
        file.display()
    )]
    Certificate {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The key's file cannot be used.
    #[error("key file {}: {problem}; expected a PEM file with the certificate's private key", file.display())]
    Key {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The file with the agents' authorities cannot be used.
    #[error(
        "--client-ca {}: {problem}; expected a PEM file with the certificates of the authorities that sign agents' certificates",
        file.display()
    )]
    ClientAuthorities {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The file with what comes next cannot be used.
    #[error(
        "--next-certificate {}: {problem}; expected a PEM file with the certificate that the service will have, or its authority's",
        file.display()
    )]
    Next {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Each can be read, and yet nothing can be encrypted with them.
    #[error("the certificate {} and the key {} cannot be used together: {problem}", certificate.display(), key.display())]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong with them.
        problem: rustls::Error,
    },
}

/// Encrypts connections with the newest certificate.
#[derive(Debug)]
pub(crate) struct Encryption {
    files: CertificateFiles,
    /// What the files looked like before they were read first.
    first: Stamp,
    current: RwLock<Current>,
    /// Told whenever the files have changed.
    renewed: Notify,
}

/// What the files held when they were last read.
#[derive(Clone, Debug)]
struct Current {
    config: Arc<ServerConfig>,
    fingerprint: String,
}

impl Encryption {
    /// Reads the files.
    ///
    /// # Errors
    /// [`CertificateError`] when they cannot be used.
    pub(crate) fn load(files: CertificateFiles) -> Result<Self, CertificateError> {
        let first = Stamp::of(&files);
        let current = RwLock::new(read(&files)?);
        Ok(Self {
            files,
            first,
            current,
            renewed: Notify::new(),
        })
    }

    /// What encrypts a connection that comes now.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        TlsAcceptor::from(Arc::clone(&current.config))
    }

    /// Whether agents are asked for a certificate.
    pub(crate) fn asks_clients(&self) -> bool {
        self.files.client_authorities.is_some()
    }

    /// What agents may know the certificate by at their pairing: the SHA-256 of its public key, in hexadecimal digits.
    pub(crate) fn fingerprint(&self) -> String {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.fingerprint.clone()
    }

    /// Waits until the files have changed.
    pub(crate) async fn renewed(&self) {
        self.renewed.notified().await;
    }

    /// Reads the files again whenever they have changed, until the service is to stop.
    pub(crate) async fn follow(&self, stop: &StopSignal) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut seen = self.first;
        loop {
            tokio::select! {
                () = stop.stopped() => return,
                _ = looks.tick() => {}
            }
            let found = Stamp::of(&self.files);
            if seen != found {
                self.read_again();
                seen = found;
                self.renewed.notify_one();
            }
        }
    }

    /// Takes what the files hold now, if it can be used.
    fn read_again(&self) {
        match read(&self.files) {
            Ok(renewed) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = renewed;
                tracing::info!(file = %self.files.certificate.display(), "the certificate was read again");
            }
            Err(error) => {
                tracing::error!(%error, "the certificate was not read again; the one before is used on");
            }
        }
    }
}

/// What a change of the files shows by: time and size of each, or none where it is away.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Stamp([Option<(SystemTime, u64)>; 3]);

impl Stamp {
    fn of(files: &CertificateFiles) -> Self {
        let files = [
            Some(&files.certificate),
            Some(&files.key),
            files.client_authorities.as_ref(),
        ];
        Self(files.map(|file| stamp(file?).ok()))
    }
}

fn stamp(file: &Path) -> io::Result<(SystemTime, u64)> {
    let metadata = file.metadata()?;
    Ok((metadata.modified()?, metadata.len()))
}

fn read(files: &CertificateFiles) -> Result<Current, CertificateError> {
    let (chain, key) = (read_chain(&files.certificate)?, read_key(&files.key)?);
    let fingerprint = fingerprint(&chain).ok_or_else(|| CertificateError::Certificate {
        file: files.certificate.clone(),
        problem: "its first certificate is none".to_owned(),
    })?;
    let unusable = |problem| CertificateError::Pair {
        certificate: files.certificate.clone(),
        key: files.key.clone(),
        problem,
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?;
    let builder = match &files.client_authorities {
        None => builder.with_no_client_auth(),
        Some(file) => builder.with_client_cert_verifier(client_verifier(file, provider)?),
    };
    let mut config = builder.with_single_cert(chain, key).map_err(unusable)?;
    config.alpn_protocols = vec![HTTP_1_1.to_vec()];
    Ok(Current {
        config: Arc::new(config),
        fingerprint,
    })
}

/// The most certificates of a planned change.
const MOST_NEXT: usize = 8;

/// What agents are told to know the service by from a planned change on: the certificate of that time with those between it and
/// its authority, or the authority's alone.
///
/// # Errors
/// [`CertificateError::Next`] when the file cannot be used.
pub(crate) fn next_pins(file: &Path) -> Result<NextPins, CertificateError> {
    let failed = |problem: String| CertificateError::Next {
        file: file.to_owned(),
        problem,
    };
    let chain = pem_certificates(file).map_err(failed)?;
    if chain.len() > MOST_NEXT {
        return Err(failed(format!(
            "it holds more than {MOST_NEXT} certificates"
        )));
    }
    let key = fingerprint(&chain);
    let key = key.ok_or_else(|| failed("its first certificate is none".to_owned()))?;
    Ok(NextPins {
        keys: vec![key],
        authorities: chain.iter().map(|each| STANDARD.encode(each)).collect(),
    })
}

/// The SHA-256 of the first certificate's public key (`SubjectPublicKeyInfo`).
fn fingerprint(chain: &[CertificateDer<'_>]) -> Option<String> {
    let parsed = ParsedCertificate::try_from(chain.first()?).ok()?;
    let hash = Sha256::digest(parsed.subject_public_key_info());
    Some(hash.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Checks the certificates of clients that show one; whether they must is for each path to say.
fn client_verifier(
    file: &Path,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, CertificateError> {
    let failed = |problem: String| CertificateError::ClientAuthorities {
        file: file.to_owned(),
        problem,
    };
    let mut roots = RootCertStore::empty();
    for authority in pem_certificates(file).map_err(failed)? {
        let added = roots.add(authority);
        added.map_err(|error| failed(error.to_string()))?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .allow_unauthenticated()
        .build()
        .map_err(|error| failed(error.to_string()))
}

fn read_chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    pem_certificates(file).map_err(|problem| CertificateError::Certificate {
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

fn read_key(file: &Path) -> Result<PrivateKeyDer<'static>, CertificateError> {
    PrivateKeyDer::from_pem_file(file).map_err(|error| CertificateError::Key {
        file: file.to_owned(),
        problem: error.to_string(),
    })
}

#[cfg(test)]
mod tests;
