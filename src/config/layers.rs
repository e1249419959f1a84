//! The layers of the settings, laid over each other by the `config` crate.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
};

use config::{Config, Environment, File, FileFormat, Map, Value, ValueKind};

use super::{
    ENVIRONMENT_PREFIX, ENVIRONMENT_SEPARATOR,
    error::{ConfigError, Place},
    table::FROM_COMMAND_LINE,
};

/// Where settings come from besides their defaults.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    /// The TOML file.
    pub file: PathBuf,
    /// The process's environment, as far as it may matter.
    pub environment: Vec<(OsString, OsString)>,
    /// `KEY=VALUE` texts of the command line.
    pub overrides: Vec<String>,
}

/// Lays file, environment and command line over each other.
pub(super) fn merge(text: &str, layers: &Layers) -> Result<Value, ConfigError> {
    let mut builder = Config::builder()
        .add_source(File::from_str(text, FileFormat::Toml))
        .add_source(environment(layers)?);
    for (key, value) in overrides(layers)? {
        let origin = FROM_COMMAND_LINE.to_owned();
        builder = builder
            .set_override(key, Value::new(Some(&origin), ValueKind::String(value)))
            .map_err(|_| ConfigError::BadOverride)?;
    }
    match builder.build() {
        Ok(merged) => Ok(merged.cache),
        Err(config::ConfigError::FileParse { cause, .. }) => {
            Err(not_toml(text, &layers.file, cause.as_ref()))
        }
        Err(_) => Err(ConfigError::Layers {
            file: layers.file.clone(),
        }),
    }
}

fn environment(layers: &Layers) -> Result<Environment, ConfigError> {
    let mut variables = Map::new();
    for (name, value) in &layers.environment {
        let Some(name) = name.to_str() else { continue };
        let Some(key) = name.strip_prefix(ENVIRONMENT_PREFIX) else {
            continue;
        };
        let key = key.to_lowercase().replace(ENVIRONMENT_SEPARATOR, ".");
        let Some(value) = value.to_str() else {
            return Err(ConfigError::WrongType {
                place: Place::Environment { key },
                expected: "a text in UTF-8".to_owned(),
                came: "other bytes".to_owned(),
            });
        };
        variables.insert(key, value.to_owned());
    }
    Ok(Environment::default()
        .separator(".")
        .source(Some(variables)))
}

fn overrides(layers: &Layers) -> Result<BTreeMap<String, String>, ConfigError> {
    let mut found = BTreeMap::new();
    for text in &layers.overrides {
        let (key, value) = text.split_once('=').ok_or(ConfigError::BadOverride)?;
        if key.is_empty() {
            return Err(ConfigError::BadOverride);
        }
        if let Some((secret, remedy)) = secret_of(key, value) {
            return Err(ConfigError::BadValue {
                place: Place::CommandLine {
                    key: key.to_owned(),
                },
                problem: format!(
                    "a {secret} on the command line can be read by every user of this PC"
                ),
                remedy: remedy.to_owned(),
            });
        }
        found.insert(key.to_owned(), value.to_owned());
    }
    Ok(found)
}

/// What a setting holds that must not stand on a command line, and where it belongs.
fn secret_of(key: &str, value: &str) -> Option<(&'static str, &'static str)> {
    match key {
        "coordinator.token" => Some(("token", "use coordinator.token_file")),
        "coordinator.proxy" if value.contains('@') => {
            Some(("password", "put it into the configuration file"))
        }
        _ => None,
    }
}

/// Tells line and column but never the line itself: it may hold a token.
fn not_toml(text: &str, file: &Path, cause: &(dyn std::error::Error + 'static)) -> ConfigError {
    let parsed = cause.downcast_ref::<toml::de::Error>();
    let offset = parsed
        .and_then(|error| error.span())
        .map_or(0, |span| span.start);
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let problem = match parsed {
        Some(error) => error
            .message()
            .lines()
            .next()
            .unwrap_or("malformed")
            .to_owned(),
        None => "a value is out of range".to_owned(),
    };
    ConfigError::NotToml {
        file: file.to_owned(),
        line: before.matches('\n').count() + 1,
        column: before
            .get(line_start..)
            .map_or(0, |part| part.chars().count())
            + 1,
        problem,
    }
}
