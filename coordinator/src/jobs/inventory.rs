//! Which encoders there are, and where.

use std::{collections::BTreeSet, time::Duration};

use encoder_protocols::wire::{
    EncoderDescription, EncoderSettings, EncoderState, KeyScope, ServiceMessage,
};
use jiff::Timestamp;

use super::{
    AgentId, Book, Change, Decision, EncoderId, EncoderRecord, Place, SessionId, Violation, after,
};

/// The step from one time to the next as the store keeps them.
const NEXT: Duration = Duration::from_millis(1);

impl Book {
    /// Takes an agent's full list of encoders. A key that counts within the whole system names the same encoder on
    /// every agent; another key names one within its agent. `new_id` gives the ids of encoders never seen before.
    ///
    /// # Errors
    /// [`Violation`] when a key is listed twice.
    pub fn inventory(
        &mut self,
        now: Timestamp,
        agent: AgentId,
        session: SessionId,
        listed: &[EncoderDescription],
        mut new_id: impl FnMut() -> EncoderId,
    ) -> Result<Decision, Violation> {
        let mut out = Decision::default();
        if self.boot_of(agent, session).is_none() {
            return Ok(out);
        }
        let keys: BTreeSet<_> = listed.iter().map(|encoder| &encoder.key).collect();
        if keys.len() != listed.len() {
            return Err(Violation::DuplicateEncoder);
        }
        let mut seen = BTreeSet::new();
        for description in listed {
            let id = match self.find_encoder(agent, description) {
                Some(id) => {
                    self.place(now, id, agent, description, &mut out);
                    id
                }
                None => self.add_encoder(now, agent, description, new_id(), &mut out),
            };
            seen.insert(id);
            self.tell_settings(agent, session, id, &mut out);
        }
        self.unlist(now, agent, &seen, &mut out);
        Ok(out)
    }

    fn find_encoder(&self, agent: AgentId, description: &EncoderDescription) -> Option<EncoderId> {
        let system = self.agents.get(&agent)?.system;
        self.encoders
            .values()
            .find(|encoder| {
                encoder.key == description.key
                    && encoder.scope == description.key_scope
                    && encoder.system == system
                    && match encoder.scope {
                        KeyScope::System => true,
                        KeyScope::Agent => encoder.places.iter().any(|at| at.agent == agent),
                    }
            })
            .map(|encoder| encoder.id)
    }

    fn add_encoder(
        &mut self,
        now: Timestamp,
        agent: AgentId,
        description: &EncoderDescription,
        id: EncoderId,
        out: &mut Decision,
    ) -> EncoderId {
        let Some(system) = self.agents.get(&agent).map(|agent| agent.system) else {
            return id;
        };
        let record = EncoderRecord {
            id,
            system,
            key: description.key.clone(),
            scope: description.key_scope,
            display_name: None,
            adopted: description.adopted,
            simulated: false,
            created_at: now,
            places: vec![Place {
                agent,
                listed: true,
                since: now,
                description: description.clone(),
            }],
        };
        out.store(Change::SaveEncoder(Box::new(record.clone()), true));
        self.encoders.insert(id, record);
        id
    }

    /// Notes that the encoder is at this agent. Whether it is ready or busy changes with every job and is not stored.
    fn place(
        &mut self,
        now: Timestamp,
        id: EncoderId,
        agent: AgentId,
        description: &EncoderDescription,
        out: &mut Decision,
    ) {
        let Some(record) = self.encoders.get_mut(&id) else {
            return;
        };
        // The newest place counts, also after the clock was set back.
        let newest = record.places.iter().map(|place| place.since).max();
        let since = newest.map_or(now, |newest| now.max(after(newest, NEXT)));
        let known = record.places.iter_mut().find(|place| place.agent == agent);
        let stored = match known {
            Some(place) => {
                let same =
                    place.listed && without_state(&place.description) == without_state(description);
                if !place.listed {
                    place.since = since;
                }
                place.listed = true;
                place.description = description.clone();
                same
            }
            None => {
                record.places.push(Place {
                    agent,
                    listed: true,
                    since,
                    description: description.clone(),
                });
                false
            }
        };
        if !stored {
            out.store(Change::SaveEncoder(Box::new(record.clone()), false));
        }
    }

    /// What the agent does not list any more is not there.
    /// Notes that the agent lists none of its encoders but those seen.
    pub(crate) fn unlist(
        &mut self,
        now: Timestamp,
        agent: AgentId,
        seen: &BTreeSet<EncoderId>,
        out: &mut Decision,
    ) {
        for record in self.encoders.values_mut() {
            let gone = record
                .places
                .iter_mut()
                .find(|place| place.agent == agent && place.listed);
            if let Some(place) = gone
                && !seen.contains(&record.id)
            {
                place.listed = false;
                place.since = now;
                out.store(Change::SaveEncoder(Box::new(record.clone()), false));
            }
        }
    }

    fn tell_settings(
        &mut self,
        agent: AgentId,
        session: SessionId,
        id: EncoderId,
        out: &mut Decision,
    ) {
        let Some(record) = self.encoders.get(&id) else {
            return;
        };
        let live = self.agents.get_mut(&agent).and_then(|a| a.session.as_mut());
        let Some(live) = live.filter(|live| !live.told.contains(&record.key)) else {
            return;
        };
        live.told.push(record.key.clone());
        out.send(session, settings_of(record));
    }
}

/// What people set on an encoder, as its agents are told.
pub(crate) fn settings_of(record: &EncoderRecord) -> ServiceMessage {
    ServiceMessage::EncoderSettings(EncoderSettings {
        encoder_key: record.key.clone(),
        display_name: record.display_name.clone(),
        adopted: record.adopted,
    })
}

fn without_state(description: &EncoderDescription) -> EncoderDescription {
    EncoderDescription {
        state: EncoderState::Ready,
        problem: None,
        ..description.clone()
    }
}
