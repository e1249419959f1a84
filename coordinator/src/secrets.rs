//! The master key and what is kept encrypted under it: site keys and other secrets that must be read back.
//!
//! The key lies in a file of its own, outside the database and its backups. Values are sealed with
//! ChaCha20-Poly1305 (RFC 8439) under a random nonce; the place they belong to is authenticated with them, so a
//! sealed value that was moved to another row does not open.

use std::{
    fmt, fs, io,
    io::Write as _,
    path::{Path, PathBuf},
};

use chacha20poly1305::{
    ChaCha20Poly1305, Key, KeyInit, Nonce,
    aead::{Aead, Payload},
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::tokens::NoRandomness;

/// Length of the master key and of site keys, in bytes.
pub const KEY_BYTES: usize = 32;

/// The block size of SHA-256, in bytes (FIPS 180-4).
const HMAC_BLOCK_BYTES: usize = 64;

/// Length of the nonce in front of a sealed value, in bytes (RFC 8439, section 2.8).
const NONCE_BYTES: usize = 12;

/// Why a secret could not be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// The key file could not be read or written.
    #[error("master key file {path}: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The database has secrets, but the key file is not there.
    #[error(
        "master key file {0} is missing, but the database holds secrets sealed under it: restore the file, or name it with --master-key"
    )]
    Missing(PathBuf),
    /// The key file does not hold a key.
    #[error(
        "master key file {0} is malformed: expected 64 hexadecimal digits on one line; restore the file from where it was kept"
    )]
    Malformed(PathBuf),
    /// Others than the owner may read the key file.
    #[error("master key file {path} may be read by others (mode {mode:o}): run `chmod 600` on it")]
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The key file is not the one that the database was made with.
    #[error(
        "master key file {0} does not belong to this database: name the right one with --master-key"
    )]
    Mismatch(PathBuf),
    /// A sealed value does not open: it was changed, moved, or sealed under another key.
    #[error("the sealed value of {0} does not open: it was changed or moved")]
    DoesNotOpen(String),
    /// No random bytes for a nonce or key.
    #[error(transparent)]
    Random(#[from] NoRandomness),
}

/// The key that seals every other secret. Never shows itself when it is formatted.
#[derive(Clone)]
pub struct MasterKey(Zeroizing<[u8; KEY_BYTES]>);

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

impl MasterKey {
    /// Reads the key file; makes one (mode 0600) if there is none and `may_create`.
    ///
    /// # Errors
    /// [`SecretsError`] when the file is missing and must not be made, is malformed, exposed, or cannot be read or
    /// written.
    pub fn load(path: &Path, may_create: bool) -> Result<Self, SecretsError> {
        let at = |source| SecretsError::File {
            path: path.to_owned(),
            source,
        };
        match fs::read_to_string(path).map(Zeroizing::new) {
            Ok(text) => {
                check_mode(path)?;
                parse_key(text.trim())
                    .map(Self)
                    .ok_or_else(|| SecretsError::Malformed(path.to_owned()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && may_create => {
                let key = Self::random()?;
                replace_private(path, hex_line(key.0.as_slice()).as_bytes()).map_err(at)?;
                Ok(key)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(SecretsError::Missing(path.to_owned()))
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                Err(SecretsError::Malformed(path.to_owned()))
            }
            Err(error) => Err(at(error)),
        }
    }

    /// Encrypts a secret for the place named by `table` and `id`. The result is nonce, ciphertext and tag.
    ///
    /// # Errors
    /// [`SecretsError::Random`] when the system gives no random bytes.
    pub fn seal(&self, table: &str, id: &str, secret: &[u8]) -> Result<Vec<u8>, SecretsError> {
        let mut nonce = [0u8; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(NoRandomness)?;
        let place = format!("{table}/{id}");
        let payload = Payload {
            msg: secret,
            aad: place.as_bytes(),
        };
        let ciphertext = self
            .cipher()
            .encrypt(Nonce::from_slice(&nonce), payload)
            .map_err(|_| SecretsError::DoesNotOpen(place.clone()))?;
        Ok([nonce.as_slice(), &ciphertext].concat())
    }

    /// Decrypts what [`MasterKey::seal`] made for the same place.
    ///
    /// # Errors
    /// [`SecretsError::DoesNotOpen`] when the value was changed, moved, or sealed under another key.
    pub fn open(
        &self,
        table: &str,
        id: &str,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SecretsError> {
        let place = format!("{table}/{id}");
        let (nonce, ciphertext) = sealed
            .split_at_checked(NONCE_BYTES)
            .ok_or_else(|| SecretsError::DoesNotOpen(place.clone()))?;
        let payload = Payload {
            msg: ciphertext,
            aad: place.as_bytes(),
        };
        self.cipher()
            .decrypt(Nonce::from_slice(nonce), payload)
            .map(Zeroizing::new)
            .map_err(|_| SecretsError::DoesNotOpen(place))
    }

    fn random() -> Result<Self, SecretsError> {
        let mut key = Zeroizing::new([0u8; KEY_BYTES]);
        getrandom::fill(key.as_mut_slice()).map_err(NoRandomness)?;
        Ok(Self(key))
    }

    /// What the store keeps of a secret that is too short to be hashed alone, and finds it by: HMAC-SHA256 (RFC 2104)
    /// under this key, over what it is for and the secret.
    pub fn digest(&self, purpose: &str, secret: &str) -> [u8; 32] {
        let mut block = Zeroizing::new([0u8; HMAC_BLOCK_BYTES]);
        for (place, byte) in block.iter_mut().zip(self.0.iter()) {
            *place = *byte;
        }
        let mut mac = Hmac::<Sha256>::new((&*block).into());
        mac.update(purpose.as_bytes());
        mac.update(b"\0");
        mac.update(secret.as_bytes());
        mac.finalize().into_bytes().into()
    }

    fn cipher(&self) -> ChaCha20Poly1305 {
        ChaCha20Poly1305::new(Key::from_slice(self.0.as_slice()))
    }
}

/// Writes a new file that only its owner may read, and makes it durable. An existing file is an error.
///
/// # Errors
/// What the system says.
pub fn write_private(path: &Path, contents: &[u8]) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    let mut file = options.open(path)?;
    file.write_all(contents)?;
    file.sync_all()
}

/// Puts a file that only its owner may read in place of whatever is there, in one step: a crash leaves the old file or
/// the whole new one.
///
/// # Errors
/// What the system says.
pub fn replace_private(path: &Path, contents: &[u8]) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    if let Err(error) = fs::remove_file(&beside)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    write_private(&beside, contents)?;
    fs::rename(&beside, path)?;
    sync_folder(path)
}

/// Makes a new name in a folder durable.
#[cfg(unix)]
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        Some(_) | None => Path::new("."),
    };
    fs::File::open(folder)?.sync_all()
}

/// Makes a new name in a folder durable: elsewhere the file system does so by itself.
#[cfg(not(unix))]
fn sync_folder(_path: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn check_mode(path: &Path) -> Result<(), SecretsError> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = fs::metadata(path)
        .map_err(|source| SecretsError::File {
            path: path.to_owned(),
            source,
        })?
        .permissions()
        .mode()
        & 0o777;
    if mode & 0o077 != 0 {
        return Err(SecretsError::Exposed {
            path: path.to_owned(),
            mode,
        });
    }
    Ok(())
}

#[cfg(not(unix))]
fn check_mode(_path: &Path) -> Result<(), SecretsError> {
    Ok(())
}

/// The bytes in lower-case hex, and a line end.
fn hex_line(bytes: &[u8]) -> Zeroizing<String> {
    use fmt::Write as _;
    let mut text = Zeroizing::new(String::with_capacity(2 * bytes.len() + 1));
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text.push('\n');
    text
}

fn parse_key(text: &str) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
    let mut key = Zeroizing::new([0u8; KEY_BYTES]);
    if text.len() != 2 * KEY_BYTES || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (index, byte) in key.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_value_opens_only_in_its_place_and_under_its_key() {
        let key = MasterKey::random().unwrap();
        let sealed = key.seal("site_keys", "a/1", b"secret").unwrap();
        assert_eq!(
            key.open("site_keys", "a/1", &sealed).unwrap().as_slice(),
            b"secret"
        );
        assert!(key.open("site_keys", "b/1", &sealed).is_err());
        assert!(key.open("site_keys", "a/1", &sealed[..11]).is_err());
        assert!(
            MasterKey::random()
                .unwrap()
                .open("site_keys", "a/1", &sealed)
                .is_err()
        );
        let mut changed = sealed.clone();
        changed[20] ^= 1;
        assert!(key.open("site_keys", "a/1", &changed).is_err());
        assert_ne!(sealed, key.seal("site_keys", "a/1", b"secret").unwrap());
    }

    #[test]
    fn the_key_file_is_made_once_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        assert!(matches!(
            MasterKey::load(&path, false),
            Err(SecretsError::Missing(_))
        ));
        let made = MasterKey::load(&path, true).unwrap();
        let read = MasterKey::load(&path, false).unwrap();
        assert_eq!(*made.0, *read.0);
        assert_eq!(format!("{made:?}"), "MasterKey(…)");
    }

    #[test]
    fn what_a_crash_left_behind_does_not_stop_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(folder.path().join("key.new"), "12").unwrap();
        MasterKey::load(&path, true).unwrap();
        MasterKey::load(&path, false).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn a_key_file_that_others_may_read_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        MasterKey::load(&path, true).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(
            MasterKey::load(&path, true),
            Err(SecretsError::Exposed { mode: 0o640, .. })
        ));
    }

    #[test]
    fn a_malformed_key_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        for contents in ["", "12", &"zz".repeat(32), &"00".repeat(33)] {
            let _ = fs::remove_file(&path);
            write_private(&path, contents.as_bytes()).unwrap();
            assert!(matches!(
                MasterKey::load(&path, true),
                Err(SecretsError::Malformed(_))
            ));
        }
    }
}
