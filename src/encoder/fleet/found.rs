//! Devices that answered: how they are recognised and called, and how they join the fleet.

use encoder_protocols::wire::EncoderKey;

use tokio::sync::mpsc;

use super::{CHANNEL_ROOM, Live, Running, trial::Answered};
use crate::{
    discovery::{
        Adopt,
        identity::{Recognition, by_place, by_serial, display_name},
    },
    encoder::{Attachment, EncoderEvent, EncoderId, EncoderSettings},
};

/// A device that joins the fleet.
struct Found {
    settings: EncoderSettings,
    /// Why it is not recognised by its serial number although it has one.
    conflict: Option<String>,
}

impl Running {
    /// Takes a device that answered into the fleet.
    pub(super) async fn join(&mut self, answered: Answered) {
        let Found { settings, conflict } = self.recognise(&answered);
        self.trials.conflict(&answered.candidate.instance, conflict);
        let id = self.id_of(&settings.key);
        if let Some(live) = self.live.get(&id) {
            if live.stop.is_cancelled() {
                self.waiting.push(answered);
            } else {
                let (port, key) = (answered.candidate.port.display(), &settings.key);
                tracing::warn!(%port, %key, other = %live.port.display(), "two devices are recognised by the same");
            }
            return;
        }
        let (commands, commanded) = mpsc::channel(CHANNEL_ROOM);
        let attachment = Attachment {
            settings: settings.clone(),
            commands,
        };
        let stop = self.leave.child_token();
        self.live.insert(
            id,
            Live {
                instance: answered.candidate.instance,
                port: settings.port.clone(),
                stop: stop.clone(),
            },
        );
        tracing::info!(name = %settings.name, key = %settings.key, port = %settings.port.display(), "an encoder was found");
        self.emit(id, EncoderEvent::Attached(Box::new(attachment)))
            .await;
        self.spawn(id, settings, Some(answered.encoder), commanded, stop);
    }

    /// What a device that answered is recognised by, and how it is driven.
    fn recognise(&self, answered: &Answered) -> Found {
        let Answered {
            candidate,
            driver,
            encoder,
        } = answered;
        let discovery = &self.parts.discovery;
        let identity = encoder.identity();
        let numbered = discovery.number_of(candidate, driver.name(), &identity);
        let conflict = numbered
            .as_ref()
            .and_then(|numbered| self.conflict(&numbered.key, answered));
        let Recognition { key, scope } = numbered
            .filter(|_| conflict.is_none())
            .unwrap_or_else(|| by_place(candidate));
        let listed = discovery.listed(&key);
        let settings = match listed.filter(|listed| listed.driver == driver.name()) {
            Some(listed) => EncoderSettings {
                key_scope: scope,
                port: candidate.port.clone(),
                ..listed.clone()
            },
            None => EncoderSettings {
                name: display_name(&self.parts.hostname, &identity, driver.name()),
                adopted: discovery.adopt == Adopt::Auto,
                ..EncoderSettings::unlisted(key, scope, driver.name(), candidate.port.clone())
            },
        };
        Found { settings, conflict }
    }

    /// The place of a key; a new one where it was never seen.
    pub(super) fn id_of(&mut self, key: &EncoderKey) -> EncoderId {
        let keys = &mut self.parts.keys;
        let index = keys
            .iter()
            .position(|known| known == key)
            .unwrap_or_else(|| {
                keys.push(key.clone());
                keys.len() - 1
            });
        EncoderId(index)
    }

    /// What is wrong with a number that another device bears too. Neither is taken for the one that bore it before; one
    /// that already works under it goes on.
    fn conflict(&self, key: &EncoderKey, answered: &Answered) -> Option<String> {
        let own = &answered.candidate;
        let listed = self.seen.iter().filter(|other| {
            by_serial(other).is_some_and(|other| other.key == *key)
                && other.instance != own.instance
        });
        let live = self.live.iter().filter(|(id, live)| {
            self.parts.keys.get(id.0) == Some(key)
                && live.instance != own.instance
                && !live.stop.is_cancelled()
        });
        let other = listed
            .map(|other| &other.port)
            .chain(live.map(|(_, live)| &live.port))
            .next()?;
        Some(format!(
            "{} and {} bear the same serial number ({key}), so that {} is told by its socket: keep it plugged in there, \
             or list its socket or port in the configuration",
            own.port.display(),
            other.display(),
            own.port.display(),
        ))
    }
}
