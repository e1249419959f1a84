//! `[local]`: how the running agent is reached on this very PC.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use super::{directory_path, error::ConfigError, table::Table};

/// What `[local]` may hold.
pub(super) const KEYS: &[&str] = &["socket", "http"];

const SOCKET_EXPECTED: &str = "the path of a socket such as \"/run/encoder-agent/agent.sock\"";
const HTTP_EXPECTED: &str = "a loopback address with a port such as \"127.0.0.1:9180\"";

/// `[local]`: how the running agent is reached on this very PC.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct LocalSettings {
    /// `socket`: where `status`, `cancel` and the other commands find it; where the service manager or the state directory have
    /// it otherwise.
    pub socket: Option<PathBuf>,
    /// `http`: the loopback address of `/health`, `/status` and `/metrics`; none unless it is said.
    pub http: Option<SocketAddr>,
}

pub(super) fn read(root: &Table<'_>, file: &Path) -> Result<LocalSettings, ConfigError> {
    let Some(table) = root.table("local", KEYS)? else {
        return Ok(LocalSettings::default());
    };
    Ok(LocalSettings {
        socket: directory_path(&table, "socket", file, SOCKET_EXPECTED)?,
        http: http(&table)?,
    })
}

fn http(table: &Table<'_>) -> Result<Option<SocketAddr>, ConfigError> {
    let Some(text) = table.text("http", HTTP_EXPECTED)? else {
        return Ok(None);
    };
    let expected = format!("expected {HTTP_EXPECTED}");
    let address: SocketAddr = text
        .parse()
        .map_err(|_| table.bad("http", format!("got \"{text}\""), expected.clone()))?;
    if !address.ip().is_loopback() {
        let problem = format!("{address} can be reached from other machines");
        return Err(table.bad("http", problem, expected));
    }
    Ok(Some(address))
}
