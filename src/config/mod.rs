//! The agent's settings: one TOML file, the environment over it, the command line over both.
//!
//! Every key is known: a key that no setting has is refused, and so is a value of the wrong type. The messages say
//! where the setting stands, what was expected and what came; they never quote a secret.
//!
//! - defaults, as the fields below tell them;
//! - the file given with `--config`;
//! - environment variables `ENCODER_AGENT__TABLE__KEY`, for example `ENCODER_AGENT__COORDINATOR__URL`;
//! - `--set table.key=value` on the command line; tokens and passwords are refused there, since every user of the PC could read
//!   them.
//!
//! Without `coordinator.proxy`, the variables of the environment that programs share (`HTTPS_PROXY`, `NO_PROXY`) count.
//!
//! Without `coordinator.token` and `token_file` the token of the pairing counts (`encoder-agent pair`), and without
//! `coordinator.url` its URL, so that a paired agent needs no file at all.
//!
//! Encoders are listed in the file only. A relative `state_dir`, `token_file` or `extra_ca_file` begins at the
//! directory of the file.

mod changes;
mod coordinator;
mod discovery;
mod encoder;
mod error;
mod layers;
mod local;
mod log;
mod pairing;
mod proxy;
mod secret;
mod shown;
mod table;
mod url;

use std::path::{Path, PathBuf};

pub use changes::Changes;
pub use coordinator::{ClientCertificate, CoordinatorSettings, TokenSetting};
pub use error::{ConfigError, Place, Unpaired};
pub use layers::Layers;
pub use local::LocalSettings;
pub use log::{LogFormat, LogLevel, LogSettings};
pub use proxy::{ProxyProblem, ProxySettings};
pub use secret::{Secret, TokenProblem, parse_token};
pub use shown::{MASK, shown, untyped};
pub use url::{CoordinatorUrl, UrlProblem};

use crate::{discovery::DiscoverySettings, encoder::EncoderSettings, pairing::Pairing};
use layers::merge;
use table::Table;

/// What every environment variable of the agent's settings begins with.
pub const ENVIRONMENT_PREFIX: &str = "ENCODER_AGENT__";

/// What stands for the dot between table and key in an environment variable.
pub const ENVIRONMENT_SEPARATOR: &str = "__";

/// Where the configuration is looked for when the command line does not say.
pub fn default_file() -> PathBuf {
    crate::platform::settings_dir().join("agent.toml")
}

/// Where the state is kept where there is no file that says so.
pub fn default_state_dir() -> PathBuf {
    if cfg!(windows) {
        crate::platform::settings_dir().join("state")
    } else {
        PathBuf::from("/var/lib/encoder-agent")
    }
}

const ROOT_KEYS: &[&str] = &[
    "state_dir",
    "coordinator",
    "discovery",
    "encoder",
    "local",
    "log",
];
/// The agent's settings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The file that they were read from.
    pub file: PathBuf,
    /// `state_dir`: where journal and rotated token are kept. Only `run` needs it.
    pub state_dir: Option<PathBuf>,
    /// `[coordinator]`, and what the agent was paired with: whom to connect to. Only `run` needs it.
    pub coordinator: Option<CoordinatorSettings>,
    /// Why there is no token; none where there is one.
    pub unpaired: Option<Unpaired>,
    /// `[discovery]`: how encoders are found that have no port listed, and every `[[encoder]]` with a `key`.
    pub discovery: DiscoverySettings,
    /// Every `[[encoder]]` with a `port`, in the order of the file.
    pub encoders: Vec<EncoderSettings>,
    /// `[local]`: how the running agent is reached on this PC.
    pub local: LocalSettings,
    /// `[log]`: what is logged.
    pub log: LogSettings,
}

impl Settings {
    /// Reads and checks all layers. Opens no port and no connection.
    ///
    /// # Errors
    /// [`ConfigError`] for the first thing that is wrong.
    pub fn load(layers: &Layers) -> Result<Self, ConfigError> {
        Self::parse_with(&text(layers)?, layers, pairing::read)
    }

    /// The same for whoever is about to pair: an earlier pairing says nothing, and a token in the settings is refused, since
    /// it would win over the pairing.
    ///
    /// # Errors
    /// [`ConfigError`] for the first thing that is wrong.
    pub fn load_to_pair(layers: &Layers) -> Result<Self, ConfigError> {
        let settings = Self::parse_with(&text(layers)?, layers, |_| Ok(None))?;
        match settings.coordinator.as_ref().map(|found| &found.token) {
            Some(TokenSetting::Text(_) | TokenSetting::File(_)) => Err(ConfigError::BadValue {
                place: Place::File {
                    file: layers.file.clone(),
                    key: "coordinator.token".to_owned(),
                },
                problem: "a token of the settings would win over that of the pairing".to_owned(),
                remedy: "take `token` and `token_file` out".to_owned(),
            }),
            Some(TokenSetting::Paired(_) | TokenSetting::None) | None => Ok(settings),
        }
    }

    /// Checks all layers, the file's text given; looks for no pairing.
    ///
    /// # Errors
    /// [`ConfigError`] for the first thing that is wrong.
    pub fn parse(text: &str, layers: &Layers) -> Result<Self, ConfigError> {
        Self::parse_with(text, layers, |_| Ok(None))
    }

    fn parse_with(
        text: &str,
        layers: &Layers,
        pairing: impl FnOnce(&Path) -> Result<Option<Pairing>, Unpaired>,
    ) -> Result<Self, ConfigError> {
        let file = layers.file.as_path();
        let root = Table::new(file, "", merge(text, layers)?, ROOT_KEYS)?;
        let encoder::Listed { by_port, by_key } = encoder::read_all(&root)?;
        let state_dir = directory_path(&root, "state_dir", file, STATE_DIR_EXPECTED)?;
        let table = root.table_or_empty("coordinator", coordinator::KEYS)?;
        let pairing = || state_dir.as_deref().map_or(Ok(None), pairing);
        let (coordinator, unpaired) = coordinator::read(&table, layers, pairing)?;
        Ok(Self {
            file: layers.file.clone(),
            state_dir,
            coordinator,
            unpaired,
            discovery: discovery::read(&root, by_key)?,
            encoders: by_port,
            local: local::read(&root, file)?,
            log: log::read(&root)?,
        })
    }

    /// The state directory, for the commands that cannot do without.
    ///
    /// # Errors
    /// [`ConfigError::Missing`] when there is none.
    pub fn require_state_dir(&self) -> Result<&Path, ConfigError> {
        self.state_dir
            .as_deref()
            .ok_or_else(|| self.missing("state_dir", STATE_DIR_EXPECTED))
    }

    /// The coordinator, for the commands that cannot do without.
    ///
    /// # Errors
    /// [`ConfigError::Missing`] when there is none.
    pub fn require_coordinator(&self) -> Result<&CoordinatorSettings, ConfigError> {
        match (&self.coordinator, &self.unpaired) {
            (Some(coordinator), None) => Ok(coordinator),
            (_, Some(unpaired)) => Err(ConfigError::Unpaired(unpaired.clone())),
            (None, None) => Err(ConfigError::Unpaired(Unpaired::Never)),
        }
    }

    /// The encoders, for the commands that cannot do without; none need be listed where they are found by themselves.
    ///
    /// # Errors
    /// [`ConfigError::Missing`] when there is none.
    pub fn require_encoders(&self) -> Result<&[EncoderSettings], ConfigError> {
        if self.encoders.is_empty() && !self.discovery.enabled {
            return Err(self.missing(
                "encoder",
                "a table [[encoder]] with `name`, `driver` and `port`, or discovery.enabled = true",
            ));
        }
        Ok(&self.encoders)
    }

    fn missing(&self, key: &str, expected: &'static str) -> ConfigError {
        ConfigError::Missing {
            place: Place::File {
                file: self.file.clone(),
                key: key.to_owned(),
            },
            expected,
        }
    }
}

const STATE_DIR_EXPECTED: &str = "the path of a directory such as \"/var/lib/encoder-agent\"";

/// The file's text. Where there is none at the usual place, the settings are what needs none: the state directory alone.
fn text(layers: &Layers) -> Result<String, ConfigError> {
    match std::fs::read_to_string(&layers.file) {
        Ok(text) => Ok(text),
        Err(error)
            if error.kind() == std::io::ErrorKind::NotFound && layers.file == default_file() =>
        {
            Ok(format!("state_dir = '{}'\n", default_state_dir().display()))
        }
        Err(error) => Err(ConfigError::Unreadable {
            file: layers.file.clone(),
            problem: error.to_string(),
        }),
    }
}

/// A key's path; a relative one begins at the directory of the configuration file.
fn directory_path(
    table: &Table<'_>,
    key: &str,
    file: &Path,
    expected: &'static str,
) -> Result<Option<PathBuf>, ConfigError> {
    let Some(text) = table.text(key, expected)? else {
        return Ok(None);
    };
    if text.is_empty() {
        return Err(table.bad(key, "is empty", format!("expected {expected}")));
    }
    let directory = file.parent().unwrap_or(Path::new(""));
    Ok(Some(directory.join(text)))
}

#[cfg(test)]
mod tests;
