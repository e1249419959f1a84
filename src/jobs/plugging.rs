//! Encoders that come and go while the agent runs.

use encoder_protocols::wire::{EncoderKey, Touched};

use super::{
    action::Now,
    attached::{Attached, Link, NOT_PLUGGED_IN},
    job::Phase,
    machine::Jobs,
    outcome,
};
use crate::{
    encoder::{EncoderId, EncoderSettings, OperationError},
    journal::{Guard, Record},
};

impl Jobs {
    /// The keys of all encoders that are known, by their [`EncoderId`]s.
    pub fn encoder_keys(&self) -> Vec<EncoderKey> {
        let encoders = self.encoders.iter();
        encoders
            .map(|encoder| encoder.settings.key.clone())
            .collect()
    }

    /// Takes what is wrong with devices that are no encoders yet.
    pub fn handle_device_problems(&mut self, problems: Vec<String>) {
        if self.device_problems != problems {
            self.device_problems = problems;
            self.send_inventory();
        }
    }

    /// An encoder was found. One that was known before takes its place again, with its queue; nothing of what was known of
    /// its field counts but the cards that must leave it.
    pub(super) fn attach(&mut self, now: Now, id: EncoderId, settings: EncoderSettings) {
        if let Some(encoder) = self.encoders.get_mut(id.0) {
            encoder.settings = settings;
            encoder.present = true;
            encoder.link = Link::Starting { since: now.at };
            encoder.field.lose_sight();
        } else if id.0 == self.encoders.len() {
            let guards = self.guards_of(&settings);
            self.encoders.push(Attached::new(settings, guards, now.at));
            if self.has_forgotten {
                self.guard_whatever_lies_there(now, id);
            }
        } else {
            return;
        }
        self.inventory_changed = true;
        self.settle(now, id);
    }

    /// An encoder was unplugged, and its task has ended. Its jobs wait a moment for it to come back.
    pub(super) fn detach(&mut self, now: Now, id: EncoderId) {
        self.encoder_gone(now, id, NOT_PLUGGED_IN.to_owned());
        let Some(encoder) = self.encoders.get_mut(id.0) else {
            return;
        };
        encoder.present = false;
        let unanswered = encoder.operating;
        self.inventory_changed = true;
        if let Some(job_id) = unanswered {
            // The task ended before it had heard of this operation, or could not say what came of it.
            let job = self.open.get(&job_id);
            let error = job.map_or_else(outcome::unplugged, |job| match job.phase {
                Phase::Writing(_) => outcome::unplugged_while_writing(),
                Phase::Armed(_) | Phase::Reswiping(_) => outcome::unplugged_while_armed(),
                Phase::Waiting
                | Phase::Settling
                | Phase::Planning(_)
                | Phase::Preparing { .. }
                | Phase::Reading(_)
                | Phase::Looking(_) => outcome::unplugged(),
            });
            let card_left = error.touched == Touched::Untouched;
            let error = OperationError { error, card_left };
            self.operation_ended(now, id, job_id, Err(error));
        }
    }

    /// The journal may have forgotten that the card on this encoder was written (promise, rule 7).
    fn guard_whatever_lies_there(&mut self, now: Now, id: EncoderId) {
        let encoder = self.encoders.get_mut(id.0);
        let Some(encoder) = encoder.filter(|encoder| encoder.settings.lift_between_cards) else {
            return;
        };
        encoder.field.add_guard(Guard::Any);
        let record = Record::Guarded {
            encoder_key: encoder.settings.key.clone(),
            guards: encoder.field.guards(),
        };
        self.defer(now, record);
    }

    /// The cards that must leave an encoder which was not seen before.
    pub(super) fn guards_of(&mut self, settings: &EncoderSettings) -> Vec<Guard> {
        let guards = self.guards.remove(&settings.key);
        guards
            .filter(|_| settings.lift_between_cards)
            .unwrap_or_default()
    }
}
