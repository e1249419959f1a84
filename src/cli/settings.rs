//! The arguments that every command with settings takes.

use std::path::PathBuf;

use crate::config::{ConfigError, Layers, Settings, default_file};

/// Where the settings come from.
#[derive(Clone, Debug, clap::Args)]
pub struct SettingsArgs {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value_os_t = default_file())]
    pub config: PathBuf,
    /// A setting to use in place of the file's, for example log.level=debug; may be given several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
}

impl SettingsArgs {
    /// Reads file, environment and command line.
    ///
    /// # Errors
    /// [`ConfigError`] for the first thing that is wrong.
    pub fn load(&self) -> Result<Settings, ConfigError> {
        Settings::load(&self.layers())
    }

    /// Where the settings come from, as they are now.
    pub fn layers(&self) -> Layers {
        Layers {
            file: self.config.clone(),
            environment: std::env::vars_os().collect(),
            overrides: self.overrides.clone(),
        }
    }
}
