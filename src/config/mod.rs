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
//! Encoders are listed in the file only. A relative `state_dir`, `token_file` or `extra_ca_file` begins at the
//! directory of the file.

mod changes;
mod discovery;
mod encoder;
mod error;
mod layers;
mod local;
mod proxy;
mod secret;
mod shown;
mod table;
mod url;

use std::path::{Path, PathBuf};

pub use changes::Changes;
pub use error::{ConfigError, Place};
pub use layers::Layers;
pub use local::LocalSettings;
pub use proxy::{ProxyProblem, ProxySettings};
pub use secret::{Secret, TokenProblem, parse_token};
pub use shown::{MASK, shown, untyped};
pub use url::{CoordinatorUrl, UrlProblem};

use crate::{discovery::DiscoverySettings, encoder::EncoderSettings};
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

const ROOT_KEYS: &[&str] = &[
    "state_dir",
    "coordinator",
    "discovery",
    "encoder",
    "local",
    "log",
];
const COORDINATOR_KEYS: &[&str] = &[
    "url",
    "token",
    "token_file",
    "insecure",
    "extra_ca_file",
    "proxy",
];
const LOG_KEYS: &[&str] = &["level", "format"];

/// The agent's settings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The file that they were read from.
    pub file: PathBuf,
    /// `state_dir`: where journal and rotated token are kept. Only `run` needs it.
    pub state_dir: Option<PathBuf>,
    /// `[coordinator]`: whom to connect to. Only `run` needs it.
    pub coordinator: Option<CoordinatorSettings>,
    /// `[discovery]`: how encoders are found that have no port listed, and every `[[encoder]]` with a `key`.
    pub discovery: DiscoverySettings,
    /// Every `[[encoder]]` with a `port`, in the order of the file.
    pub encoders: Vec<EncoderSettings>,
    /// `[local]`: how the running agent is reached on this PC.
    pub local: LocalSettings,
    /// `[log]`: what is logged.
    pub log: LogSettings,
}

/// `[coordinator]`: whom to connect to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CoordinatorSettings {
    /// `url`: the base URL; the agent adds the path.
    pub url: CoordinatorUrl,
    /// `token` or `token_file`.
    pub token: TokenSetting,
    /// `extra_ca_file`: a PEM file with certificates to trust besides those of the system.
    pub extra_ca_file: Option<PathBuf>,
    /// `proxy`, else that of the environment: the HTTP proxy that opens the way.
    pub proxy: Option<ProxySettings>,
}

/// Where the token comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TokenSetting {
    /// `token`: it stands in the settings.
    Text(Secret),
    /// `token_file`: it is read from a file before every connection.
    File(PathBuf),
}

/// `[log]`: what is logged, on standard error.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct LogSettings {
    /// `level`, `info` unless said otherwise; the environment variable `RUST_LOG` wins over it.
    pub level: LogLevel,
    /// `format`, `text` unless said otherwise.
    pub format: LogFormat,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum LogLevel {
    /// What needs a person.
    Error,
    /// And what may soon need one.
    Warn,
    /// And what happened.
    #[default]
    Info,
    /// And why.
    Debug,
    /// And every frame's kind and length.
    Trace,
}

impl LogLevel {
    /// The level's name, as the settings spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl Settings {
    /// Reads and checks all layers. Opens no port and no connection.
    ///
    /// # Errors
    /// [`ConfigError`] for the first thing that is wrong.
    pub fn load(layers: &Layers) -> Result<Self, ConfigError> {
        let text =
            std::fs::read_to_string(&layers.file).map_err(|error| ConfigError::Unreadable {
                file: layers.file.clone(),
                problem: error.to_string(),
            })?;
        Self::parse(&text, layers)
    }

    /// Checks all layers, the file's text given.
    ///
    /// # Errors
    /// [`ConfigError`] for the first thing that is wrong.
    pub fn parse(text: &str, layers: &Layers) -> Result<Self, ConfigError> {
        let file = layers.file.as_path();
        let root = Table::new(file, "", merge(text, layers)?, ROOT_KEYS)?;
        let encoder::Listed { by_port, by_key } = encoder::read_all(&root)?;
        Ok(Self {
            file: layers.file.clone(),
            state_dir: directory_path(&root, "state_dir", file, STATE_DIR_EXPECTED)?,
            coordinator: root
                .table("coordinator", COORDINATOR_KEYS)?
                .map(|table| coordinator(&table, layers))
                .transpose()?,
            discovery: discovery::read(&root, by_key)?,
            encoders: by_port,
            local: local::read(&root, file)?,
            log: root
                .table("log", LOG_KEYS)?
                .map_or(Ok(LogSettings::default()), |table| log(&table))?,
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
        self.coordinator.as_ref().ok_or_else(|| {
            self.missing(
                "coordinator",
                "a table [coordinator] with `url` and `token_file`",
            )
        })
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
const URL_EXPECTED: &str = "the coordinator's base url such as \"wss://keys.example.com\"";
const TOKEN_EXPECTED: &str = "the agent's token as a text";

fn coordinator(table: &Table<'_>, layers: &Layers) -> Result<CoordinatorSettings, ConfigError> {
    let file = layers.file.as_path();
    let text = table
        .text("url", URL_EXPECTED)?
        .ok_or_else(|| table.missing("url", URL_EXPECTED))?;
    let url = CoordinatorUrl::parse(&text).map_err(|problem| {
        table.bad(
            "url",
            problem.to_string(),
            format!("expected {URL_EXPECTED}"),
        )
    })?;
    let insecure = table.boolean("insecure")?.unwrap_or(false);
    if !url.is_secure() && !url.is_loopback() && !insecure {
        return Err(table.bad(
            "url",
            format!(
                "{url} is not encrypted, and {} is another machine",
                url.host()
            ),
            "use wss:// or https://, or set coordinator.insecure = true if the network is trusted",
        ));
    }
    let proxy = proxy::read(table, &url, &layers.environment)?;
    Ok(CoordinatorSettings {
        url,
        proxy,
        token: token(table, file)?,
        extra_ca_file: directory_path(
            table,
            "extra_ca_file",
            file,
            "the path of a PEM file with certificates",
        )?,
    })
}

fn token(table: &Table<'_>, file: &Path) -> Result<TokenSetting, ConfigError> {
    let text = table.text("token", TOKEN_EXPECTED)?.map(Secret::new);
    let token_file = directory_path(table, "token_file", file, "the path of a file")?;
    match (text, token_file) {
        (Some(_), Some(_)) => Err(table.bad(
            "token",
            "`token` and `token_file` are both given",
            "keep one of them",
        )),
        (None, Some(path)) => Ok(TokenSetting::File(path)),
        (Some(text), None) => {
            parse_token(text.expose())
                .map(TokenSetting::Text)
                .map_err(|problem| {
                    table.bad(
                        "token",
                        format!("cannot be a token: {problem}"),
                        "copy the token as the coordinator printed it",
                    )
                })
        }
        (None, None) => Err(table.missing(
            "token_file",
            "`token_file` with the path of a file that holds the token, or `token`",
        )),
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

fn log(table: &Table<'_>) -> Result<LogSettings, ConfigError> {
    const LEVELS: &str = "one of error, warn, info, debug and trace";
    const FORMATS: &str = "text or json";
    let level = match table.text("level", LEVELS)?.as_deref() {
        None | Some("info") => LogLevel::Info,
        Some("error") => LogLevel::Error,
        Some("warn") => LogLevel::Warn,
        Some("debug") => LogLevel::Debug,
        Some("trace") => LogLevel::Trace,
        Some(other) => {
            return Err(table.bad(
                "level",
                format!("got \"{other}\""),
                format!("expected {LEVELS}"),
            ));
        }
    };
    let format = match table.text("format", FORMATS)?.as_deref() {
        None | Some("text") => LogFormat::Text,
        Some("json") => LogFormat::Json,
        Some(other) => {
            return Err(table.bad(
                "format",
                format!("got \"{other}\""),
                format!("expected {FORMATS}"),
            ));
        }
    };
    Ok(LogSettings { level, format })
}

#[cfg(test)]
mod tests;
