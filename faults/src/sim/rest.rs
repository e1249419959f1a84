//! What still waits, and the keys that every desk must write once nothing fails any more.

use encoder_coordinator::jobs::{Attempt, CredentialId, EncoderId};
use encoder_protocols::{card::virtual_card::CardKind, wire::JobId};
use uuid::Uuid;

use super::{
    common::{Micros, SECOND},
    desk::Input,
    network::{Connection, Side},
    table::lock,
    world::{AGENTS, MOBILE, STRIPES, World},
};

/// How long a desk may take for one key when nothing fails.
const ONE_KEY: Micros = 40 * SECOND;

/// How long a card stays away that an agent wants lifted: more than three looks.
const AWAY: Micros = 2 * SECOND;

impl World {
    /// What still waits.
    pub(super) fn unrest(&self) -> Vec<String> {
        let mut unrest = Vec::new();
        for pc in self.pcs.iter().filter(|pc| !pc.gone) {
            let mut connections = self.connections.values();
            let is_live = |at: &Connection| at.pc == pc.index && matches!(at.side, Side::Live(..));
            if !connections.any(is_live) {
                unrest.push(format!("pc{} is not connected", pc.index));
            }
            let contents = pc.disk.journal.contents();
            for job in contents.open_jobs {
                unrest.push(format!(
                    "pc{} holds job {} open",
                    pc.index, job.facts.job_id
                ));
            }
            for owed in contents.unacknowledged {
                let sequence = owed.finished.sequence;
                unrest.push(format!("pc{} owes outcome {sequence}", pc.index));
            }
        }
        for job in self.coordinator.store.jobs.values() {
            if job.attempt == Attempt::Pending {
                unrest.push(format!("the attempt of job {} is pending", job.id));
            }
        }
        unrest
    }

    pub(super) fn observe_ties(&mut self) {
        for (credential, holds) in &self.coordinator.store.holds {
            for hold in holds {
                self.common.ledger.tied(credential.0, hold.job, hold.uid);
            }
        }
    }

    /// A new key on a new card must succeed on every encoder that is there.
    pub(super) fn write_a_key(&mut self, hardware: usize) {
        let plugged = lock(&self.common.table)
            .encoders
            .get(hardware)
            .and_then(|at| at.pc);
        let Some(pc) = plugged.filter(|pc| self.pcs.get(*pc).is_some_and(|pc| !pc.gone)) else {
            return;
        };
        let Some(encoder) = self.encoder_at(hardware, pc) else {
            return self
                .common
                .ledger
                .waits(format!("encoder {hardware} is never listed"));
        };
        let credential = self.new_credential();
        let job = self.ask(encoder, Some(credential));
        let end = self.common.now + ONE_KEY;
        let ended = |world: &Self| {
            let row = world.coordinator.store.jobs.get(&job);
            row.is_some_and(|row| row.attempt != Attempt::Pending)
        };
        if hardware == STRIPES {
            let card = lock(&self.common.table).stripes.add();
            for _ in ["written", "read back"] {
                let asked =
                    |world: &Self| lock(&world.common.table).stripes.awaits_swipe() || ended(world);
                self.run_until(end, asked);
                self.swipe(card, false);
            }
            self.run_until(end, ended);
        } else {
            let card = lock(&self.common.table).add(CardKind::ClassicMini);
            lock(&self.common.table).put(card, hardware);
            let is_up_to_people =
                |world: &Self| ended(world) || world.common.lifts_asked.contains(&job);
            self.run_until(end, is_up_to_people);
            if !ended(self) {
                // An agent that has just come back without its journal wants to see the encoder empty first.
                self.lift_all(hardware);
                let away = self.common.now + AWAY;
                self.run_until(away, |_| false);
                lock(&self.common.table).put(card, hardware);
                self.run_until(end, ended);
            }
        }
        let row = self.coordinator.store.jobs.get(&job);
        let attempt = row.map(|row| row.attempt.clone());
        if !matches!(attempt, Some(Attempt::Success { .. })) {
            let words = format!("encoder {hardware} writes no key when nothing fails: {attempt:?}");
            self.common.ledger.waits(words);
        }
        let end = self.common.now + SECOND;
        self.run_until(end, |_| false);
        self.lift_all(hardware);
    }

    /// The coordinator's name for an encoder.
    pub(super) fn encoder_at(&self, hardware: usize, pc: usize) -> Option<EncoderId> {
        let agent = AGENTS.get(self.pcs.get(pc)?.agent)?;
        let key = match hardware {
            MOBILE => "mobile",
            STRIPES => "stripes",
            _ => "desk",
        };
        let mut known = self.coordinator.store.encoders.values();
        let found = known.find(|row| {
            row.key.0 == key
                && (hardware == MOBILE || row.places.iter().any(|at| at.agent == *agent))
        });
        found.map(|row| row.id)
    }

    pub(super) fn new_credential(&mut self) -> CredentialId {
        let id = Uuid::from_u128(self.common.fresh());
        let now = self.coordinator.utc(&self.common);
        self.coordinator.change_store(|store| {
            store.add_credential(id, now);
        });
        CredentialId(id)
    }

    /// Asks for an encode, or a scan. Nothing comes of it while the coordinator is away.
    pub(super) fn ask(&mut self, encoder: EncoderId, credential: Option<CredentialId>) -> JobId {
        let job = JobId(Uuid::from_u128(self.common.fresh()));
        self.common
            .note(|| format!("property: job {job}: {credential:?} on {encoder}"));
        if let Some(desk) = &mut self.coordinator.desk {
            self.common.count("asked");
            desk.inputs.push_back(Input::Asked {
                job,
                encoder,
                credential,
            });
            self.wake_coordinator();
        }
        job
    }
}
