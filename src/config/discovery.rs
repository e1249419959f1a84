//! `[discovery]`: how encoders are found that are not listed.

use super::{error::ConfigError, table::Table};
use crate::{
    discovery::{Adopt, DiscoverySettings},
    encoder::EncoderSettings,
};

/// What `[discovery]` may hold.
pub(super) const KEYS: &[&str] = &["enabled", "probe", "adopt", "sys", "dev"];

const ADOPT_EXPECTED: &str = "auto or listed";
const DIRECTORY_EXPECTED: &str = "the path of a directory";

/// Reads the table; `listed` are the encoders that are to be found by their keys.
pub(super) fn read(
    root: &Table<'_>,
    listed: Vec<EncoderSettings>,
) -> Result<DiscoverySettings, ConfigError> {
    let mut settings = DiscoverySettings {
        listed,
        ..DiscoverySettings::default()
    };
    let Some(table) = root.table("discovery", KEYS)? else {
        return Ok(settings);
    };
    settings.enabled = table.boolean("enabled")?.unwrap_or(settings.enabled);
    if let Some(listed) = settings.listed.first().filter(|_| !settings.enabled) {
        let problem = format!(
            "is false, and the encoder \"{}\" has a `key` that it is to be found by",
            listed.name
        );
        return Err(table.bad(
            "enabled",
            problem,
            "leave it out, or list the encoder's `port`",
        ));
    }
    settings.probe = table.boolean("probe")?.unwrap_or(settings.probe);
    settings.adopt = match table.text("adopt", ADOPT_EXPECTED)?.as_deref() {
        None | Some("auto") => Adopt::Auto,
        Some("listed") => Adopt::Listed,
        Some(other) => {
            let problem = format!("got \"{other}\"");
            return Err(table.bad("adopt", problem, format!("expected {ADOPT_EXPECTED}")));
        }
    };
    let sys = table.text("sys", DIRECTORY_EXPECTED)?;
    let dev = table.text("dev", DIRECTORY_EXPECTED)?;
    #[cfg(target_os = "linux")]
    {
        settings.sysfs.sys = sys.map_or(settings.sysfs.sys, Into::into);
        settings.sysfs.dev = dev.map_or(settings.sysfs.dev, Into::into);
    }
    #[cfg(not(target_os = "linux"))]
    for (key, given) in [("sys", sys), ("dev", dev)] {
        if given.is_some() {
            return Err(table.bad(key, "this system has none", "leave it out"));
        }
    }
    Ok(settings)
}
