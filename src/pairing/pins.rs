//! What an agent knows its coordinator by: the key of its certificate, and the authorities that it comes from.
//!
//! Either is enough, so that a renewed certificate with the same key, and one with a new key from the same authority, lock
//! nobody out. An authority counts as one only where it has signed: a certificate that is merely sent along proves nothing.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use encoder_protocols::wire::NextPins;
use ring::digest::{SHA256, digest};
use rustls::{
    CertificateError, Error, OtherError, RootCertStore,
    client::{verify_server_cert_signed_by_trust_anchor, verify_server_name},
    crypto::WebPkiSupportedAlgorithms,
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};
use serde::{Deserialize, Serialize};

use super::certificate::Certificate;

/// Length of a SHA-256, in bytes.
const HASH_BYTES: usize = 32;

/// The most keys, and the most authorities, that a coordinator may announce at once.
const MOST_ANNOUNCED: usize = 8;

/// The most keys, and the most authorities, that one coordinator is known by.
const MOST_PINS: usize = 32;

/// The SHA-256 of a public key (`SubjectPublicKeyInfo`) or of a certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Fingerprint([u8; HASH_BYTES]);

impl Fingerprint {
    fn of(bytes: &[u8]) -> Self {
        let mut hash = [0; HASH_BYTES];
        for (place, byte) in hash.iter_mut().zip(digest(&SHA256, bytes).as_ref()) {
            *place = *byte;
        }
        Self(hash)
    }
}

/// A text is no fingerprint.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("expected a SHA-256 in 64 hexadecimal digits, with or without colons between them")]
pub struct NoFingerprint;

impl std::str::FromStr for Fingerprint {
    type Err = NoFingerprint;

    fn from_str(text: &str) -> Result<Self, NoFingerprint> {
        let digits: Option<Vec<u8>> = text
            .chars()
            .filter(|character| *character != ':' && !character.is_whitespace())
            .map(|digit| {
                digit
                    .to_digit(16)
                    .and_then(|digit| u8::try_from(digit).ok())
            })
            .collect();
        let digits = digits.ok_or(NoFingerprint)?;
        if digits.len() != 2 * HASH_BYTES {
            return Err(NoFingerprint);
        }
        let mut hash = [0; HASH_BYTES];
        for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = pair.iter().fold(0, |byte, digit| byte << 4 | digit);
        }
        Ok(Self(hash))
    }
}

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What the coordinator showed at a handshake: its certificate, and those between it and its authority.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown<'a> {
    /// The coordinator's own certificate.
    pub(crate) certificate: &'a CertificateDer<'a>,
    /// Those that came with it.
    pub(crate) chain: &'a [CertificateDer<'a>],
    /// The name that it was called by.
    pub(crate) name: &'a ServerName<'a>,
    /// The time.
    pub(crate) now: UnixTime,
    /// How signatures are checked.
    pub(crate) algorithms: WebPkiSupportedAlgorithms,
}

impl Shown<'_> {
    /// Whether the certificate is for that name, and holds now.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn check_name_and_time(&self) -> Result<(), Error> {
        let parsed = ParsedCertificate::try_from(self.certificate)?;
        verify_server_name(&parsed, self.name)?;
        let facts = Certificate::parse(self.certificate).ok_or(CertificateError::BadEncoding)?;
        let now = i64::try_from(self.now.as_secs()).unwrap_or(i64::MAX);
        if now > facts.not_after.as_second() {
            return Err(CertificateError::Expired.into());
        }
        if now < facts.not_before.as_second() {
            return Err(CertificateError::NotValidYet.into());
        }
        Ok(())
    }

    /// The fingerprint of the coordinator's public key.
    pub(crate) fn key(&self) -> Option<Fingerprint> {
        Some(Fingerprint::of(Certificate::parse(self.certificate)?.key))
    }

    /// Who issued the certificate, for people.
    pub(crate) fn issuer(&self) -> String {
        let facts = Certificate::parse(self.certificate);
        facts.map_or_else(|| "nobody by name".to_owned(), |facts| facts.issuer_name())
    }

    /// Whether this authority has signed it, directly or through those that came along.
    fn is_from(&self, authority: &CertificateDer<'_>) -> bool {
        let mut roots = RootCertStore::empty();
        let Ok(parsed) = ParsedCertificate::try_from(self.certificate) else {
            return false;
        };
        roots.add(authority.clone().into_owned()).is_ok()
            && verify_server_cert_signed_by_trust_anchor(
                &parsed,
                &roots,
                self.chain,
                self.now,
                self.algorithms.all,
            )
            .is_ok()
    }

    /// Whether this authority has the name of whom one of the certificates was issued by.
    #[cfg_attr(
        not(target_os = "linux"),
        allow(dead_code, reason = "other systems do not list their authorities")
    )]
    pub(crate) fn may_be_from(&self, authority: &CertificateDer<'_>) -> bool {
        let Some(authority) = Certificate::parse(authority) else {
            return false;
        };
        let all = std::iter::once(self.certificate).chain(self.chain);
        all.filter_map(|certificate| Certificate::parse(certificate))
            .any(|certificate| certificate.issuer == authority.subject)
    }

    /// Whether the fingerprint is that of the coordinator's key or certificate, or of an authority that has signed it.
    pub(crate) fn has(&self, fingerprint: Fingerprint) -> bool {
        let is_of = |certificate: &CertificateDer<'_>| {
            let of_key = Certificate::parse(certificate).map(|facts| Fingerprint::of(facts.key));
            of_key == Some(fingerprint) || Fingerprint::of(certificate) == fingerprint
        };
        is_of(self.certificate)
            || self
                .chain
                .iter()
                .any(|authority| is_of(authority) && self.is_from(authority))
    }
}

/// What an agent knows its coordinator by.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Pins {
    keys: Vec<Fingerprint>,
    authorities: Vec<CertificateDer<'static>>,
}

impl Pins {
    /// What to know the coordinator by that has shown this: its key, and of those that came along and of `others` the
    /// authorities that have signed it.
    pub(crate) fn of(shown: &Shown<'_>, others: &[CertificateDer<'_>]) -> Self {
        let above = shown.chain.iter().chain(others);
        let signed = above.filter(|authority| shown.is_from(authority));
        let mut authorities: Vec<CertificateDer<'static>> = Vec::new();
        for authority in signed {
            if !authorities.contains(authority) {
                authorities.push(authority.clone().into_owned());
            }
        }
        Self {
            keys: shown.key().into_iter().collect(),
            authorities,
        }
    }

    /// What a coordinator says that it will be known by; none where that is nothing that could be.
    pub fn announced(next: &NextPins) -> Option<Self> {
        let keys = next.keys.iter().map(|key| key.parse());
        let authorities = next.authorities.iter();
        let authorities = authorities.map(|authority| STANDARD.decode(authority));
        let pins = Self {
            keys: keys.collect::<Result<_, NoFingerprint>>().ok()?,
            authorities: authorities
                .map(|authority| Some(CertificateDer::from(authority.ok()?)))
                .collect::<Option<_>>()?,
        };
        let are_certificates = pins
            .authorities
            .iter()
            .all(|authority| Certificate::parse(authority).is_some());
        let are_few = pins.keys.len().max(pins.authorities.len()) <= MOST_ANNOUNCED;
        (are_certificates && are_few).then_some(pins)
    }

    /// Adds what is not among them; the oldest go where there are too many. Returns whether anything was added.
    pub fn add(&mut self, others: Self) -> bool {
        let before = self.clone();
        for key in others.keys {
            if !self.keys.contains(&key) {
                self.keys.push(key);
            }
        }
        for authority in others.authorities {
            if !self.authorities.contains(&authority) {
                self.authorities.push(authority);
            }
        }
        let excess = self.keys.len().saturating_sub(MOST_PINS);
        self.keys.drain(..excess);
        let excess = self.authorities.len().saturating_sub(MOST_PINS);
        self.authorities.drain(..excess);
        *self != before
    }

    /// Whether this is the coordinator that is known.
    ///
    /// # Errors
    /// What is wrong with the certificate, or [`NotPinned`] where it is another.
    pub(crate) fn check(&self, shown: &Shown<'_>) -> Result<(), Error> {
        shown.check_name_and_time()?;
        let known = shown.key().is_some_and(|key| self.keys.contains(&key))
            || self
                .authorities
                .iter()
                .any(|authority| shown.is_from(authority));
        if known {
            return Ok(());
        }
        let issuer = shown.issuer();
        Err(refusal(NotPinned { issuer }))
    }
}

/// The certificate is another than the one that the agent was paired with.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the certificate, issued by {issuer}, is not the one that this agent was paired with")]
pub(crate) struct NotPinned {
    /// Who issued it.
    pub(crate) issuer: String,
}

/// An error of ours as rustls carries it.
pub(crate) fn refusal(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    CertificateError::Other(OtherError(std::sync::Arc::new(error))).into()
}

/// The form in which they are kept.
#[derive(Deserialize, Serialize)]
struct Kept {
    keys: Vec<String>,
    authorities: Vec<String>,
}

impl Serialize for Pins {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let kept = Kept {
            keys: self.keys.iter().map(ToString::to_string).collect(),
            authorities: self
                .authorities
                .iter()
                .map(|authority| STANDARD.encode(authority))
                .collect(),
        };
        kept.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Pins {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;

        let kept = Kept::deserialize(deserializer)?;
        let keys = kept.keys.iter().map(|key| key.parse());
        let authorities = kept
            .authorities
            .iter()
            .map(|authority| STANDARD.decode(authority).map(CertificateDer::from));
        Ok(Self {
            keys: keys
                .collect::<Result<_, NoFingerprint>>()
                .map_err(D::Error::custom)?,
            authorities: authorities
                .collect::<Result<_, _>>()
                .map_err(D::Error::custom)?,
        })
    }
}
