//! What can be wrong with the configuration.

use std::path::PathBuf;

use crate::platform::ADMINISTRATOR;

/// Where a setting came from, for messages.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Place {
    /// A key of the configuration file.
    File {
        /// The file.
        file: PathBuf,
        /// The key with the tables around it, for example `coordinator.url` or `encoder[1].port`.
        key: String,
    },
    /// An environment variable.
    Environment {
        /// The key, as the file would name it.
        key: String,
    },
    /// An environment variable that other programs read too.
    Variable {
        /// Its name.
        name: String,
    },
    /// A `--set KEY=VALUE` on the command line.
    CommandLine {
        /// The key, as the file would name it.
        key: String,
    },
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File { file, key } if key.is_empty() => write!(f, "{}", file.display()),
            Self::File { file, key } => write!(f, "{}: `{key}`", file.display()),
            Self::Environment { key } => {
                let name = key
                    .to_uppercase()
                    .replace('.', super::ENVIRONMENT_SEPARATOR);
                write!(
                    f,
                    "environment variable {}{name}",
                    super::ENVIRONMENT_PREFIX
                )
            }
            Self::Variable { name } => write!(f, "environment variable {name}"),
            Self::CommandLine { key } => write!(f, "--set {key}"),
        }
    }
}

/// Why the configuration cannot be used. No variant carries the value of a secret.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: cannot read the configuration: {problem}; give its path with --config FILE", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system said.
        problem: String,
    },
    /// The file is no TOML.
    #[error("{}: line {line}, column {column}: {problem}; expected TOML", file.display())]
    NotToml {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// What is wrong there.
        problem: String,
    },
    /// A key that no setting has.
    #[error("{place}: unknown key; {}", advice(nearest.as_deref(), known))]
    UnknownKey {
        /// Where.
        place: Place,
        /// The known key that looks most like it.
        nearest: Option<String>,
        /// Every key that may stand there.
        known: String,
    },
    /// A key that must be there is not.
    #[error("{place}: missing; expected {expected}")]
    Missing {
        /// Where it belongs.
        place: Place,
        /// What belongs there, with an example.
        expected: &'static str,
    },
    /// A value of the wrong type.
    #[error("{place}: expected {expected}, got {came}")]
    WrongType {
        /// Where.
        place: Place,
        /// What belongs there.
        expected: String,
        /// The type of what is there; the value only where it is no secret.
        came: String,
    },
    /// A value of the right type that cannot be.
    #[error("{place}: {problem}; {remedy}")]
    BadValue {
        /// Where.
        place: Place,
        /// What is wrong with it.
        problem: String,
        /// What to do.
        remedy: String,
    },
    /// The agent has no token.
    #[error(transparent)]
    Unpaired(Unpaired),
    /// An override on the command line that is no `KEY=VALUE`.
    #[error(
        "--set: expected KEY=VALUE such as log.level=debug, got a text without `=` or without a key"
    )]
    BadOverride,
    /// The layers cannot be laid over each other.
    #[error("{}: cannot lay environment and command line over the file; use names as they stand in the file", file.display())]
    Layers {
        /// The file.
        file: PathBuf,
    },
}

/// Why the agent has no token: it is not paired with the coordinator that the settings name.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unpaired {
    /// It never was.
    #[error(
        "this agent is not paired: run `encoder-agent pair URL` as {ADMINISTRATOR}, with a code of `encoder-coordinator pairing code`"
    )]
    Never,
    /// It was paired with another.
    #[error(
        "this agent is paired with {paired}, and `coordinator.url` is {listed}: take `url` out, or pair with that one by \
         `encoder-agent pair {listed}`"
    )]
    WithAnother {
        /// The URL of the pairing.
        paired: String,
        /// The URL of the settings.
        listed: String,
    },
    /// The pairing cannot be read by this user.
    #[error("{0}")]
    Unreadable(String),
    /// The pairing is damaged.
    #[error("{0}")]
    Damaged(String),
}

fn advice(nearest: Option<&str>, known: &str) -> String {
    match nearest {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None => format!("known here: {known}"),
    }
}
