//! Settings that are read again while the agent runs: what can count at once does, no job ends for it, and settings that cannot be
//! used change nothing.

use tokio::sync::{mpsc, watch};

use crate::{
    clock::Clock,
    config::{Changes, ConfigError, LogLevel, Settings},
    encoder::{EncoderSettings, FleetChange},
    local::Desk,
    status::{ConfigStatus, EncoderState},
    transport::same_node,
};

/// Who reads settings again. It may outlive the agent.
#[derive(Debug)]
pub struct Reload {
    pub(super) used: Settings,
    pub(super) desk: Desk,
    pub(super) fleet: mpsc::Sender<FleetChange>,
    pub(super) told: watch::Sender<ConfigStatus>,
    pub(super) clock: Clock,
}

impl Reload {
    /// Takes settings that were read anew; the log and the status say what came of them. The level is for the log, where it
    /// is another.
    pub async fn take(&mut self, fresh: Result<Settings, ConfigError>) -> Option<LogLevel> {
        let fresh = match fresh.and_then(usable) {
            Ok(fresh) => fresh,
            Err(error) => {
                tracing::error!("the changed settings are not used: {error}");
                let refused = Some(error.to_string());
                self.told.send_modify(|told| told.refused = refused);
                return None;
            }
        };
        let mut changes = self.used.changes(&fresh);
        self.keep_found(&mut changes).await;
        self.used.take(&fresh, &changes);
        self.apply(&changes).await;
        let after_restart = changes.after_restart;
        for what in &after_restart {
            tracing::warn!("changed settings: {what} takes effect after a restart");
        }
        tracing::info!(
            encoders = changes.added.len(),
            names = changes.renamed.len(),
            discovery = changes.discovery.is_some(),
            level = changes.level.map(LogLevel::as_str),
            "the settings were read again"
        );
        let read_at = self.clock.utc();
        self.told.send_modify(|told| {
            told.read_at = read_at;
            told.refused = None;
            told.after_restart = after_restart;
        });
        changes.level
    }

    /// A port that is listed now, and whose encoder was found before, stays with that one until a restart: nobody takes an
    /// encoder away from its jobs.
    async fn keep_found(&self, changes: &mut Changes) {
        if changes.added.is_empty() {
            return;
        }
        let known = self.desk.status().await.map(|status| status.encoders);
        let known = known.unwrap_or_default();
        let is_found = |encoder: &EncoderSettings| {
            let mut known = known.iter();
            known.any(|other| {
                other.state != EncoderState::Absent && same_node(&other.port, &encoder.port)
            })
        };
        let (found, added): (Vec<_>, Vec<_>) = std::mem::take(&mut changes.added)
            .into_iter()
            .partition(is_found);
        changes.added = added;
        let found = found.iter();
        changes
            .after_restart
            .extend(found.map(|encoder| format!("[[encoder]] \"{}\"", encoder.name)));
    }

    async fn apply(&self, changes: &Changes) {
        if changes.discovery.is_some() || !changes.added.is_empty() {
            let change = FleetChange {
                discovery: changes.discovery.clone(),
                added: changes.added.clone(),
            };
            // The fleet ends only with the agent.
            let _ = self.fleet.send(change).await;
        }
        if !changes.renamed.is_empty()
            && let Err(error) = self.desk.rename(changes.renamed.clone()).await
        {
            tracing::warn!("the encoders keep their names: {error}");
        }
    }
}

/// Whether `run` could do with them.
fn usable(fresh: Settings) -> Result<Settings, ConfigError> {
    fresh.require_state_dir()?;
    fresh.require_coordinator()?;
    fresh.require_encoders()?;
    Ok(fresh)
}
