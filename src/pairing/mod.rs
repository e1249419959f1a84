//! The pairing: what `encoder-agent pair` has traded a code for, kept in the state directory.
//!
//! `pairing.json` holds where the coordinator is, the token, what to know the coordinator by, and which machine it is all
//! for. Only the agent may read it, and on Windows the token in it is encrypted besides. A token that the coordinator has rotated lies beside it, see `session::token`.

pub(crate) mod certificate;
mod pins;

use std::{
    io,
    path::{Path, PathBuf},
};

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::{
    config::{CoordinatorUrl, Secret, parse_token},
    platform::{self, ADMINISTRATOR},
    private_file,
};
pub use pins::{Fingerprint, NoFingerprint, Pins};
pub(crate) use pins::{NotPinned, Shown, refusal};

/// The file in the state directory.
pub const FILE_NAME: &str = "pairing.json";

/// The key of an attempt to pair that has not succeeded yet.
const ATTEMPT_FILE_NAME: &str = "pairing-attempt";

/// Random bytes in an attempt's key.
const ATTEMPT_BYTES: usize = 32;

/// Why a pairing cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum PairingError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}; only {ADMINISTRATOR} and the agent may", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What the file holds is no pairing.
    #[error("{} is damaged: {problem}; pair again", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is wrong, without its contents.
        problem: String,
    },
    /// The file cannot be written.
    #[error("cannot write {}: {source}", file.display())]
    Unwritable {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system has no random numbers.
    #[error("the system's random source failed: {0}")]
    NoRandomness(getrandom::Error),
}

/// What an agent was paired with; the token is read from the file when it is needed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pairing {
    /// The file that holds it.
    pub file: PathBuf,
    /// Where the coordinator is.
    pub url: CoordinatorUrl,
    /// The coordinator's id of the agent.
    pub agent_id: Uuid,
    /// The access system's name, for people.
    pub system_name: String,
    /// What tells the machine that it was made on from others; none where the system had no id.
    pub machine: Option<String>,
    /// What to know the coordinator by; none where the road to it is not encrypted.
    pub pins: Option<Pins>,
}

/// A pairing that was just made.
#[derive(Clone, Debug)]
pub struct NewPairing {
    /// Where the coordinator is.
    pub url: CoordinatorUrl,
    /// The coordinator's id of the agent.
    pub agent_id: Uuid,
    /// The access system's name, for people.
    pub system_name: String,
    /// The agent's token.
    pub token: Secret,
    /// What tells this machine from others.
    pub machine: Option<String>,
    /// What to know the coordinator by.
    pub pins: Option<Pins>,
}

/// What the file holds; the token is sealed.
#[derive(Deserialize, Serialize, Zeroize, ZeroizeOnDrop)]
struct Document {
    url: String,
    #[zeroize(skip)]
    agent_id: Uuid,
    system_name: String,
    machine: Option<String>,
    #[zeroize(skip)]
    pins: Option<Pins>,
    token: String,
}

impl Pairing {
    /// Reads the pairing of a state directory; none where there is none.
    ///
    /// # Errors
    /// [`PairingError`] when it cannot be read.
    pub fn read(state_dir: &Path) -> Result<Option<Self>, PairingError> {
        let file = state_dir.join(FILE_NAME);
        let Some(document) = document(&file)? else {
            return Ok(None);
        };
        let url = CoordinatorUrl::parse(&document.url);
        let url = url.map_err(|problem| damaged(&file, format!("its url: {problem}")))?;
        Ok(Some(Self {
            url,
            agent_id: document.agent_id,
            system_name: document.system_name.clone(),
            machine: document.machine.clone(),
            pins: document.pins.clone(),
            file,
        }))
    }

    /// Whether it was made on another machine than this.
    pub fn is_of_another_machine(&self, this: Option<&str>) -> bool {
        let both = self.machine.as_deref().zip(this);
        both.is_some_and(|(made_on, this)| made_on != this)
    }
}

impl NewPairing {
    /// Keeps it durably in the state directory, in place of an earlier one.
    ///
    /// # Errors
    /// [`PairingError::Unwritable`] when that fails.
    pub fn keep(&self, state_dir: &Path) -> Result<(), PairingError> {
        let file = state_dir.join(FILE_NAME);
        let unwritable = |source| PairingError::Unwritable {
            file: file.clone(),
            source,
        };
        let document = Document {
            url: self.url.to_string(),
            agent_id: self.agent_id,
            system_name: self.system_name.clone(),
            machine: self.machine.clone(),
            pins: self.pins.clone(),
            token: platform::sealed(self.token.expose()).map_err(unwritable)?,
        };
        write(&file, &document)
    }
}

/// Seals the token of a pairing file that an earlier version has written unencrypted.
///
/// # Errors
/// [`PairingError`] when the file cannot be read or written.
pub(crate) fn seal(file: &Path) -> Result<(), PairingError> {
    let Some(mut document) = document(file)? else {
        return Ok(());
    };
    if platform::is_sealed(&document.token) {
        return Ok(());
    }
    let sealed = platform::sealed(&document.token);
    let sealed = sealed.map_err(|source| PairingError::Unwritable {
        file: file.to_owned(),
        source,
    })?;
    document.token.zeroize();
    document.token = sealed;
    write(file, &document)
}

fn write(file: &Path, document: &Document) -> Result<(), PairingError> {
    let text = serde_json::to_vec_pretty(document).map(Zeroizing::new);
    let written = text
        .map_err(io::Error::other)
        .and_then(|text| private_file::replace(file, &text));
    written.map_err(|source| PairingError::Unwritable {
        file: file.to_owned(),
        source,
    })
}

/// Who issued a certificate, for the fuzz targets; none where it is none.
#[cfg(feature = "fuzzing")]
pub fn issuer(der: &[u8]) -> Option<String> {
    let certificate = certificate::Certificate::parse(der)?;
    Some(certificate.issuer_name())
}

/// Adds to what a pairing's coordinator is known by, durably. Gives all of it; none where nothing is new.
///
/// # Errors
/// [`PairingError`] when the pairing cannot be read or kept.
pub(crate) fn add_pins(file: &Path, others: Pins) -> Result<Option<Pins>, PairingError> {
    let missing = || damaged(file, "it is gone".to_owned());
    let mut document = document(file)?.ok_or_else(missing)?;
    let Some(pins) = document.pins.as_mut() else {
        return Ok(None);
    };
    if !pins.add(others) {
        return Ok(None);
    }
    let pins = pins.clone();
    write(file, &document)?;
    Ok(Some(pins))
}

/// The token of a pairing file.
///
/// # Errors
/// [`PairingError`] when there is none.
pub(crate) fn token(file: &Path) -> Result<Secret, PairingError> {
    let missing = || damaged(file, "it is gone".to_owned());
    let document = document(file)?.ok_or_else(missing)?;
    let token = platform::unsealed(&document.token).map_err(|problem| {
        damaged(
            file,
            format!("its token cannot be decrypted, as if it came from another machine: {problem}"),
        )
    })?;
    parse_token(&token).map_err(|problem| damaged(file, format!("its token: {problem}")))
}

fn document(file: &Path) -> Result<Option<Document>, PairingError> {
    let text = match private_file::read(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(PairingError::Unreadable {
                file: file.to_owned(),
                source,
            });
        }
    };
    let read = serde_json::from_str(&text);
    read.map(Some).map_err(|error| {
        damaged(
            file,
            format!("line {} column {}", error.line(), error.column()),
        )
    })
}

fn damaged(file: &Path, problem: String) -> PairingError {
    PairingError::Damaged {
        file: file.to_owned(),
        problem,
    }
}

/// The key of the attempt that is under way: the same until [`end_attempt`], also after a crash, so that whoever lost the
/// answer gets it again. Bound to the machine, so that a copied disk does not go on with another's attempt.
///
/// # Errors
/// [`PairingError`] when it cannot be kept.
pub(crate) fn attempt(state_dir: &Path, machine: Option<&str>) -> Result<Secret, PairingError> {
    let file = state_dir.join(ATTEMPT_FILE_NAME);
    let kept = private_file::read(&file).and_then(|text| platform::unsealed(&text));
    let key = match kept {
        Ok(key) if key.len() == 2 * ATTEMPT_BYTES => key,
        Ok(_) | Err(_) => {
            let mut bytes = Zeroizing::new([0; ATTEMPT_BYTES]);
            getrandom::fill(bytes.as_mut_slice()).map_err(PairingError::NoRandomness)?;
            let key = Zeroizing::new(hex(bytes.as_slice()));
            platform::sealed(&key)
                .and_then(|text| private_file::replace(&file, text.as_bytes()))
                .map_err(|source| PairingError::Unwritable { file, source })?;
            key
        }
    };
    let bound = Zeroizing::new(format!("{}/{}", *key, machine.unwrap_or_default()));
    let bound = digest(&SHA256, bound.as_bytes());
    Ok(Secret::new(hex(bound.as_ref())))
}

/// The attempt has succeeded: the next one is another.
pub(crate) fn end_attempt(state_dir: &Path) {
    // A key that stays behind costs nothing: the coordinator has heard of the agent that it stands for.
    let _ = std::fs::remove_file(state_dir.join(ATTEMPT_FILE_NAME));
}

/// Bytes in lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;

    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(url: &str) -> NewPairing {
        NewPairing {
            url: CoordinatorUrl::parse(url).unwrap(),
            agent_id: Uuid::from_u128(7),
            system_name: "Main building".to_owned(),
            token: Secret::new("agent_hush".to_owned()),
            machine: Some("aa".to_owned()),
            pins: Some(Pins::default()),
        }
    }

    #[test]
    fn what_is_kept_is_read_again_and_belongs_to_its_owner() {
        let directory = tempfile::tempdir().unwrap();
        assert!(Pairing::read(directory.path()).unwrap().is_none());
        made("wss://one.example").keep(directory.path()).unwrap();
        made("wss://two.example").keep(directory.path()).unwrap();
        let read = Pairing::read(directory.path()).unwrap().unwrap();
        assert_eq!(read.url.host(), "two.example");
        assert_eq!(token(&read.file).unwrap().expose(), "agent_hush");
        assert!(!format!("{read:?}{:?}", made("ws://a")).contains("hush"));
        assert!(!read.is_of_another_machine(Some("aa")));
        assert!(!read.is_of_another_machine(None));
        assert!(read.is_of_another_machine(Some("bb")));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(&read.file).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn a_damaged_file_is_told_without_its_contents() {
        let directory = tempfile::tempdir().unwrap();
        for text in ["{", "{\"token\": \"agent_hush\", \"url\": 7}"] {
            std::fs::write(directory.path().join(FILE_NAME), text).unwrap();
            let error = Pairing::read(directory.path()).unwrap_err().to_string();
            assert!(error.contains("is damaged: line 1"), "{error}");
            assert!(!error.contains("hush"), "{error}");
        }
    }

    #[test]
    fn an_attempt_stays_the_same_until_it_ends_and_on_its_machine() {
        let directory = tempfile::tempdir().unwrap();
        let first = attempt(directory.path(), Some("aa")).unwrap();
        assert_eq!(first.expose().len(), 64);
        assert_eq!(attempt(directory.path(), Some("aa")).unwrap(), first);
        assert_ne!(attempt(directory.path(), Some("bb")).unwrap(), first);
        end_attempt(directory.path());
        assert_ne!(attempt(directory.path(), Some("aa")).unwrap(), first);
    }
}
