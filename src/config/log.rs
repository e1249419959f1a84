//! `[log]`: what is logged.

use super::{ConfigError, table::Table};

pub(super) const KEYS: &[&str] = &["level", "format"];

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

/// Reads it; the defaults where there is none.
pub(super) fn read(root: &Table<'_>) -> Result<LogSettings, ConfigError> {
    root.table("log", KEYS)?
        .map_or(Ok(LogSettings::default()), |table| log(&table))
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
