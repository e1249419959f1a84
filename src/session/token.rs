//! The token: the configured one, and the one that the coordinator has put in its place.
//!
//! The configured token is that of the settings, else that of the pairing. A rotated token is kept in `token.json` in the state directory, together with the URL and the configured token
//! that it replaces. It is used for as long as both are still the configured ones; a new URL or a new configured token
//! puts it out of use. On Windows both are encrypted there. Where it is refused, every second attempt tries the configured one: a coordinator restored
//! from a backup knows no other.

use std::{
    io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::{
    config::{CoordinatorSettings, Secret, TokenSetting, Unpaired, parse_token},
    pairing::{self, PairingError},
    platform, private_file,
};

const FILE_NAME: &str = "token.json";

/// Why a token cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub(super) enum TokenError {
    /// `token_file` cannot be read.
    #[error("token_file {}: {source}; put the agent's token there", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The pairing's token cannot be read.
    #[error(transparent)]
    Pairing(#[from] PairingError),
    /// There is no token.
    #[error(transparent)]
    Unpaired(Unpaired),
    /// A text is no token.
    #[error("{place}: holds no token: {problem}")]
    NoToken {
        /// Where it came from.
        place: String,
        /// What is wrong with it.
        problem: crate::config::TokenProblem,
    },
    /// The state directory cannot be written.
    #[error("cannot keep the new token in {}: {source}", file.display())]
    Store {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Where tokens are read from and kept.
#[derive(Clone, Debug)]
pub(super) struct TokenStore {
    configured: TokenSetting,
    url: String,
    file: PathBuf,
}

/// What `token.json` holds; the tokens are sealed.
#[derive(Deserialize, Serialize, Zeroize, ZeroizeOnDrop)]
struct Rotated {
    url: String,
    replaces: String,
    token: String,
}

impl TokenStore {
    /// The tokens for one coordinator, rotated ones kept in `state_dir`.
    pub(super) fn new(coordinator: &CoordinatorSettings, state_dir: &Path) -> Self {
        Self {
            configured: coordinator.token.clone(),
            url: coordinator.url.to_string(),
            file: state_dir.join(FILE_NAME),
        }
    }

    /// The token for an attempt that follows `refusals` refused ones.
    ///
    /// # Errors
    /// [`TokenError`] when the configured token cannot be read.
    pub(super) fn token(&self, refusals: u32) -> Result<Secret, TokenError> {
        let configured = self.configured()?;
        match self.rotated(&configured) {
            Some(rotated) if refusals.is_multiple_of(2) => Ok(rotated),
            Some(_) | None => Ok(configured),
        }
    }

    /// Keeps a rotated token durably: it is on the disk when this returns.
    ///
    /// # Errors
    /// [`TokenError`] when it is no token, or cannot be written; the old one then stays in use.
    pub(super) fn store(&self, token: &str) -> Result<(), TokenError> {
        let token = parse_token(token).map_err(|problem| TokenError::NoToken {
            place: "the coordinator's new token".to_owned(),
            problem,
        })?;
        self.write(&Rotated {
            url: self.url.clone(),
            replaces: self.configured()?.expose().to_owned(),
            token: token.expose().to_owned(),
        })
    }

    /// Seals the tokens that an earlier version has kept unencrypted.
    ///
    /// # Errors
    /// [`TokenError`] when a file cannot be read or written; what it holds still counts.
    pub(super) fn seal(&self) -> Result<(), TokenError> {
        if let TokenSetting::Paired(file) = &self.configured {
            pairing::seal(file)?;
        }
        let Some(kept) = self.kept() else {
            return Ok(());
        };
        if platform::is_sealed(&kept.token) && platform::is_sealed(&kept.replaces) {
            return Ok(());
        }
        self.write(&kept)
    }

    /// Writes the tokens sealed, those that are not yet too.
    fn write(&self, rotated: &Rotated) -> Result<(), TokenError> {
        let sealed =
            |text: &str| platform::unsealed(text).and_then(|token| platform::sealed(&token));
        let text = || {
            let sealed = Rotated {
                url: rotated.url.clone(),
                replaces: sealed(&rotated.replaces)?,
                token: sealed(&rotated.token)?,
            };
            let text = serde_json::to_vec(&sealed)?;
            Ok::<_, io::Error>(Zeroizing::new(text))
        };
        let written = text().and_then(|text| private_file::replace(&self.file, &text));
        written.map_err(|source| TokenError::Store {
            file: self.file.clone(),
            source,
        })
    }

    /// The token that the settings or the pairing give, read anew.
    ///
    /// # Errors
    /// [`TokenError`] when it cannot be read.
    pub(super) fn configured(&self) -> Result<Secret, TokenError> {
        let path = match &self.configured {
            TokenSetting::Paired(file) => return Ok(pairing::token(file)?),
            TokenSetting::Text(secret) => return Ok(secret.clone()),
            TokenSetting::File(path) => path,
            TokenSetting::None => return Err(TokenError::Unpaired(Unpaired::Never)),
        };
        let text = private_file::read(path).map_err(|source| TokenError::File {
            file: path.clone(),
            source,
        })?;
        parse_token(&text).map_err(|problem| TokenError::NoToken {
            place: format!("token_file {}", path.display()),
            problem,
        })
    }

    fn kept(&self) -> Option<Rotated> {
        let text = private_file::read(&self.file).ok()?;
        serde_json::from_str(&text).ok()
    }

    fn rotated(&self, configured: &Secret) -> Option<Secret> {
        let kept = self.kept()?;
        if kept.url != self.url
            || platform::unsealed(&kept.replaces).ok()?.as_str() != configured.expose()
        {
            return None;
        }
        parse_token(&platform::unsealed(&kept.token).ok()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::CoordinatorUrl;

    fn store(directory: &Path, url: &str, token: TokenSetting) -> TokenStore {
        let url = CoordinatorUrl::parse(url).unwrap();
        let coordinator = CoordinatorSettings::new(url, token);
        TokenStore::new(&coordinator, directory)
    }

    fn text(token: &str) -> TokenSetting {
        TokenSetting::Text(Secret::new(token.to_owned()))
    }

    fn token(store: &TokenStore, refusals: u32) -> String {
        store.token(refusals).unwrap().expose().to_owned()
    }

    #[test]
    fn a_rotated_token_wins_and_survives() {
        let directory = tempfile::tempdir().unwrap();
        let first = store(directory.path(), "ws://localhost:1", text("old"));
        assert_eq!(token(&first, 0), "old");
        first.store("new").unwrap();
        first.store("newer").unwrap();
        let again = store(directory.path(), "ws://localhost:1", text("old"));
        assert_eq!(token(&again, 0), "newer");
    }

    #[test]
    fn a_refused_rotated_token_takes_turns_with_the_configured_one() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path(), "ws://localhost:1", text("old"));
        store.store("new").unwrap();
        let tokens: Vec<_> = (0..4).map(|refusals| token(&store, refusals)).collect();
        assert_eq!(tokens, ["new", "old", "new", "old"]);
    }

    #[test]
    fn a_new_configured_token_or_url_puts_the_rotated_one_out_of_use() {
        let directory = tempfile::tempdir().unwrap();
        store(directory.path(), "ws://localhost:1", text("old"))
            .store("new")
            .unwrap();
        let repaired = store(directory.path(), "ws://localhost:1", text("fresh"));
        assert_eq!(token(&repaired, 0), "fresh");
        let moved = store(directory.path(), "ws://localhost:2", text("old"));
        assert_eq!(token(&moved, 0), "old");
    }

    #[test]
    fn the_token_file_is_read_every_time() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        let store = store(
            directory.path(),
            "ws://localhost:1",
            TokenSetting::File(path.clone()),
        );
        assert!(
            store
                .token(0)
                .unwrap_err()
                .to_string()
                .starts_with("token_file ")
        );
        fs::write(&path, "one\n").unwrap();
        assert_eq!(token(&store, 0), "one");
        fs::write(&path, "two\n").unwrap();
        assert_eq!(token(&store, 0), "two");
        fs::write(&path, "\n").unwrap();
        assert!(
            store
                .token(0)
                .unwrap_err()
                .to_string()
                .ends_with("holds no token: it is empty")
        );
    }

    /// As agents before wrote both files, and as those of Linux write them.
    #[test]
    fn tokens_that_lie_unencrypted_count_and_are_sealed() {
        let directory = tempfile::tempdir().unwrap();
        let pairing = directory.path().join(pairing::FILE_NAME);
        let store = store(
            directory.path(),
            "ws://localhost:1",
            TokenSetting::Paired(pairing.clone()),
        );
        let paired = serde_json::json!({
            "url": store.url, "agent_id": uuid::Uuid::from_u128(7), "system_name": "Main", "token": "paired_hush",
        });
        fs::write(&pairing, paired.to_string()).unwrap();
        let rotated = serde_json::json!({
            "url": store.url, "replaces": "paired_hush", "token": "rotated_hush",
        });
        fs::write(&store.file, rotated.to_string()).unwrap();
        let both = || (token(&store, 0), token(&store, 1));
        let wanted = ("rotated_hush".to_owned(), "paired_hush".to_owned());
        assert_eq!(both(), wanted);
        store.seal().unwrap();
        assert_eq!(both(), wanted);
        for file in [&pairing, &store.file] {
            let shows = fs::read_to_string(file).unwrap().contains("hush");
            assert_eq!(shows, !cfg!(windows));
        }
    }

    #[test]
    fn what_is_no_token_is_not_kept() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path(), "ws://localhost:1", text("old"));
        let error = store.store("a b").unwrap_err();
        assert!(matches!(error, TokenError::NoToken { .. }));
        assert_eq!(token(&store, 0), "old");
    }

    #[test]
    fn a_damaged_file_falls_back_to_the_configured_token() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path(), "ws://localhost:1", text("old"));
        fs::write(directory.path().join(FILE_NAME), "{").unwrap();
        assert_eq!(token(&store, 0), "old");
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_may_read_a_rotated_token() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path(), "ws://localhost:1", text("old"));
        store.store("new").unwrap();
        let mode = fs::metadata(directory.path().join(FILE_NAME))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
