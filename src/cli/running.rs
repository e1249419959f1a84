//! The running agent, as the commands reach it.

use encoder_protocols::wire::{JobError, Touched};

use super::SettingsArgs;
use crate::{
    config::{ConfigError, default_file},
    local::{Address, Ask, Client, ClientError, Reply, default_addresses},
    status::Status,
};

/// Where the agent of these settings listens. Settings that this user may not read are those of the installed service, which
/// everyone may ask.
///
/// # Errors
/// [`ConfigError`] for settings that were named and cannot be used.
pub(super) fn addresses(args: &SettingsArgs) -> Result<Vec<Address>, ConfigError> {
    let is_installed = args.config == default_file();
    match args.load() {
        Ok(settings) => Ok(default_addresses(
            settings.local.socket.as_deref(),
            settings.state_dir.as_deref(),
            is_installed,
        )),
        // Only the agent's user may read them, or what is wrong with them the agent, which has older ones, says itself.
        Err(_) if is_installed => Ok(default_addresses(None, None, true)),
        Err(error) => Err(error),
    }
}

/// A conversation with the running agent.
///
/// # Errors
/// What to say to the caller.
pub(super) async fn reach(addresses: &[Address]) -> Result<Client, ClientError> {
    Client::connect(addresses).await
}

/// How the running agent is.
///
/// # Errors
/// What to say to the caller.
pub(super) async fn status(args: &SettingsArgs) -> Result<Status, ClientError> {
    let addresses = addresses(args).map_err(|error| ClientError::NotRunning(error.to_string()))?;
    reach(&addresses).await?.status().await
}

/// Asks the agent for something that may wait for people; what they are to do goes to `advise`. An interrupt ends the wait.
///
/// # Errors
/// What to say to the caller.
pub(super) async fn ask(
    client: &mut Client,
    ask: &Ask,
    advise: impl Fn(&str),
) -> Result<Reply, ClientError> {
    client.ask(ask).await?;
    loop {
        let reply = tokio::select! {
            reply = client.hear() => reply?,
            _ = tokio::signal::ctrl_c() => return Err(ClientError::Refused("interrupted".to_owned())),
        };
        match reply {
            Reply::Progress { text } => advise(&text),
            Reply::Status(_)
            | Reply::Keep { .. }
            | Reply::Accepted(_)
            | Reply::Cancelled(_)
            | Reply::Scanned(_)
            | Reply::Encoded(_)
            | Reply::Failed(_)
            | Reply::Refused { .. } => return Ok(reply),
        }
    }
}

/// An error with what the device said, and what it did to the card.
pub(super) fn in_words(error: &JobError) -> String {
    let hardware = error
        .hardware
        .as_ref()
        .map(|fault| format!(" ({} {}: {})", fault.driver, fault.code, fault.meaning));
    let touched = match error.touched {
        Touched::Untouched => "",
        Touched::Unknown => "; the card may have changed",
        Touched::Written => "; the card was written",
    };
    format!("{}{}{touched}", error.message, hardware.unwrap_or_default())
}
