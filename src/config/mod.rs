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
mod discovery;
mod encoder;
mod error;
mod layers;
mod local;
mod pairing;
mod proxy;
mod secret;
mod shown;
mod table;
mod url;

use std::path::{Path, PathBuf};

pub use changes::Changes;
pub use error::{ConfigError, Place, Unpaired};
pub use layers::Layers;
pub use local::LocalSettings;
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
const COORDINATOR_KEYS: &[&str] = &[
    "url",
    "token",
    "token_file",
    "insecure",
    "extra_ca_file",
    "accept_inspection",
    "client_certificate",
    "client_key",
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

/// `[coordinator]`: whom to connect to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CoordinatorSettings {
    /// `url`: the base URL; the agent adds the path.
    pub url: CoordinatorUrl,
    /// `token` or `token_file`, else that of the pairing.
    pub token: TokenSetting,
    /// What the agent was paired with, where its token is the one that counts.
    pub pairing: Option<Pairing>,
    /// `accept_inspection`: whether a certificate will do that the system trusts and that is not the one of the pairing.
    pub accept_inspection: bool,
    /// `client_certificate` and `client_key`: what the agent shows to a proxy that asks for it.
    pub client_certificate: Option<ClientCertificate>,
    /// `extra_ca_file`: a PEM file with certificates to trust besides those of the system.
    pub extra_ca_file: Option<PathBuf>,
    /// `proxy`, else that of the environment: the HTTP proxy that opens the way.
    pub proxy: Option<ProxySettings>,
}

impl CoordinatorSettings {
    /// A coordinator by its URL and a token, and nothing else said.
    pub fn new(url: CoordinatorUrl, token: TokenSetting) -> Self {
        Self {
            url,
            token,
            pairing: None,
            accept_inspection: false,
            client_certificate: None,
            extra_ca_file: None,
            proxy: None,
        }
    }
}

/// A certificate of the agent's own, and its key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClientCertificate {
    /// A PEM file with the certificate, and those between it and its authority.
    pub certificate: PathBuf,
    /// A PEM file with its private key.
    pub key: PathBuf,
}

/// Where the token comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TokenSetting {
    /// The pairing in this file.
    Paired(PathBuf),
    /// Nowhere yet: the agent is not paired.
    None,
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
        let table = root.table_or_empty("coordinator", COORDINATOR_KEYS)?;
        let pairing = || state_dir.as_deref().map_or(Ok(None), pairing);
        let (coordinator, unpaired) = coordinator(&table, layers, pairing)?;
        Ok(Self {
            file: layers.file.clone(),
            state_dir,
            coordinator,
            unpaired,
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
const URL_EXPECTED: &str = "the coordinator's base url such as \"wss://keys.example.com\"";
const TOKEN_EXPECTED: &str = "the agent's token as a text";

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

/// Whom to connect to, as far as the settings and the pairing tell; and why there is no token, where there is none.
fn coordinator(
    table: &Table<'_>,
    layers: &Layers,
    pairing: impl FnOnce() -> Result<Option<Pairing>, Unpaired>,
) -> Result<(Option<CoordinatorSettings>, Option<Unpaired>), ConfigError> {
    let listed = url(table)?;
    let token = token(table, layers.file.as_path())?;
    let (token, pairing, unpaired) = match (token, &listed) {
        (Some(_), None) => return Err(table.missing("url", URL_EXPECTED)),
        (Some(token), Some(_)) => (token, None, None),
        (None, _) => match pairing::that_counts(pairing(), listed.as_ref()) {
            Ok(pairing) => (
                TokenSetting::Paired(pairing.file.clone()),
                Some(pairing),
                None,
            ),
            Err(unpaired) => (TokenSetting::None, None, Some(unpaired)),
        },
    };
    let paired_with = pairing.as_ref().map(|pairing| pairing.url.clone());
    let Some(url) = listed.or(paired_with) else {
        return Ok((None, unpaired));
    };
    check_encryption(table, &url)?;
    let coordinator = CoordinatorSettings {
        proxy: proxy::read(table, &url, &layers.environment)?,
        pairing,
        accept_inspection: table.boolean("accept_inspection")?.unwrap_or(false),
        client_certificate: client_certificate(table, layers.file.as_path())?,
        extra_ca_file: directory_path(
            table,
            "extra_ca_file",
            layers.file.as_path(),
            "the path of a PEM file with certificates",
        )?,
        ..CoordinatorSettings::new(url, token)
    };
    Ok((Some(coordinator), unpaired))
}

fn url(table: &Table<'_>) -> Result<Option<CoordinatorUrl>, ConfigError> {
    let Some(text) = table.text("url", URL_EXPECTED)? else {
        return Ok(None);
    };
    let url = CoordinatorUrl::parse(&text).map_err(|problem| {
        table.bad(
            "url",
            problem.to_string(),
            format!("expected {URL_EXPECTED}"),
        )
    })?;
    Ok(Some(url))
}

fn check_encryption(table: &Table<'_>, url: &CoordinatorUrl) -> Result<(), ConfigError> {
    let insecure = table.boolean("insecure")?.unwrap_or(false);
    if url.is_secure() || url.is_loopback() || insecure {
        return Ok(());
    }
    Err(table.bad(
        "url",
        format!(
            "{url} is not encrypted, and {} is another machine",
            url.host()
        ),
        "use wss:// or https://, or set coordinator.insecure = true if the network is trusted",
    ))
}

fn client_certificate(
    table: &Table<'_>,
    file: &Path,
) -> Result<Option<ClientCertificate>, ConfigError> {
    const CERTIFICATE: &str = "the path of a PEM file with the agent's certificate";
    const KEY: &str = "the path of a PEM file with the certificate's private key";
    let certificate = directory_path(table, "client_certificate", file, CERTIFICATE)?;
    let key = directory_path(table, "client_key", file, KEY)?;
    match (certificate, key) {
        (Some(certificate), Some(key)) => Ok(Some(ClientCertificate { certificate, key })),
        (None, None) => Ok(None),
        (Some(_), None) => Err(table.missing("client_key", KEY)),
        (None, Some(_)) => Err(table.missing("client_certificate", CERTIFICATE)),
    }
}

/// The token that the settings give; none where the pairing has to.
fn token(table: &Table<'_>, file: &Path) -> Result<Option<TokenSetting>, ConfigError> {
    let text = table.text("token", TOKEN_EXPECTED)?.map(Secret::new);
    let token_file = directory_path(table, "token_file", file, "the path of a file")?;
    match (text, token_file) {
        (Some(_), Some(_)) => Err(table.bad(
            "token",
            "`token` and `token_file` are both given",
            "keep one of them",
        )),
        (None, Some(path)) => Ok(Some(TokenSetting::File(path))),
        (Some(text), None) => parse_token(text.expose())
            .map(|token| Some(TokenSetting::Text(token)))
            .map_err(|problem| {
                table.bad(
                    "token",
                    format!("cannot be a token: {problem}"),
                    "copy the token as the coordinator printed it",
                )
            }),
        (None, None) => Ok(None),
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
