//! What only the operator can say: that an agent never comes back, and that a card is destroyed.

use std::collections::BTreeSet;

use encoder_protocols::wire::{
    Bye, ByeReason, ErrorCode, JobError, JobId, JobKind, Outcome, Touched,
};
use jiff::Timestamp;

use super::{
    AgentId, AuditAction, Book, Change, CredentialId, Decision, Delivery, EncoderId, EncoderRecord,
    Hold, HoldState, JobRecord, Orphan, inventory::settings_of, outcome::audit_of_orphan,
    request::fail,
};

/// Why a credential is not released.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NotReleased {
    /// An agent may still write it.
    #[error(
        "job {0} may still put this credential on a card; wait for its outcome, or retire its agent if that never comes \
         back"
    )]
    StillOpen(JobId),
    /// Nothing ties it to a card.
    #[error("no card holds this credential, so there is nothing to release")]
    NotHeld,
}

impl Book {
    /// The agent's token was revoked: its session ends. Its jobs go on as if its link was lost, and a restored store goes
    /// on waiting for it.
    pub fn revoke(&mut self, now: Timestamp, agent: AgentId) -> Decision {
        let mut out = Decision::default();
        out.store(Change::AgentRevoked(agent));
        if let Some(record) = self.agents.get_mut(&agent)
            && let Some(session) = record.session.take()
        {
            record.away_since = now;
            out.messages.push(Delivery::End(session.id, revoked()));
        }
        out
    }

    /// Changes what people set on an encoder, and tells the agents that list it. None when there is no such encoder.
    pub fn set_encoder(
        &mut self,
        encoder: EncoderId,
        set: impl FnOnce(&mut EncoderRecord),
    ) -> Option<Decision> {
        let mut out = Decision::default();
        let record = self.encoders.get_mut(&encoder)?;
        set(record);
        let record = record.clone();
        for place in record.places.iter().filter(|place| place.listed) {
            if let Some(live) = self.live(place.agent) {
                out.send(live.id, settings_of(&record));
            }
        }
        out.store(Change::SaveEncoder(Box::new(record), false));
        Some(out)
    }

    /// The agent never comes back. What it was bound to ends as `unknown` and stays held, everything else as
    /// `untouched`; nobody waits for it any more, and its later `hello` is refused. Nothing when there is no such agent.
    ///
    /// Of an agent that a restored store still awaited nobody knows what it was bound to after the copy was taken: each
    /// of its encodes that was open then ends as `unknown`, on a card that is not known.
    pub fn retire(&mut self, now: Timestamp, agent: AgentId) -> Decision {
        let mut out = Decision::default();
        let unheard: Vec<JobId> = self
            .jobs
            .values()
            .filter(|job| job.agent == Some(agent) && self.is_unheard(job))
            .filter(|job| job.attempt.is_pending() || job.awaited)
            .map(|job| job.id)
            .collect();
        let Some(record) = self.agents.get_mut(&agent).filter(|agent| !agent.retired) else {
            return out;
        };
        record.retired = true;
        record.away_since = now;
        if let Some(session) = record.session.take() {
            out.messages.push(Delivery::End(session.id, retired()));
        }
        self.restored.awaited.retain(|other| *other != agent);
        out.store(Change::AgentRetired(agent));
        let open: Vec<JobId> = self
            .jobs
            .values()
            .filter(|job| job.agent == Some(agent) && job.outcome.is_none())
            .map(|job| job.id)
            .collect();
        for job in open {
            self.end_for_good(now, job, unheard.contains(&job), &mut out);
        }
        self.end_orphans(now, agent, |_| true, &mut out);
        self.unlist(now, agent, &BTreeSet::new(), &mut out);
        out
    }

    /// The operator's word that every card which holds the credential is destroyed: nothing ties it to a card any more.
    /// What an agent says later of the jobs that held it changes nothing (rule 4: one outcome a job).
    ///
    /// The credential's holds must be at hand.
    ///
    /// # Errors
    /// [`NotReleased`] while an agent may still write it, or when nothing holds it.
    pub fn release(
        &mut self,
        now: Timestamp,
        credential: CredentialId,
    ) -> Result<Decision, NotReleased> {
        let open = self.open_job_of(credential, None).map(|job| job.id);
        let open = open.or_else(|| self.open_orphan_of(credential).map(|orphan| orphan.job));
        if let Some(job) = open {
            return Err(NotReleased::StillOpen(job));
        }
        let holds = self.holds.insert(credential, Vec::new());
        let holds = holds.filter(|holds| !holds.is_empty());
        let mut out = Decision::default();
        for hold in holds.ok_or(NotReleased::NotHeld)? {
            self.note_release(now, &hold, &mut out);
            if let Some(job) = self.jobs.get_mut(&hold.job)
                && job.outcome.is_none()
            {
                job.outcome = Some(Touched::Unknown);
                out.save(job);
            }
        }
        out.store(Change::ReleaseCredential(credential));
        Ok(out)
    }

    /// No outcome comes any more: what may have changed a card did, as far as anybody knows.
    fn end_for_good(&mut self, now: Timestamp, id: JobId, unheard: bool, out: &mut Decision) {
        let Some(job) = self.jobs.get(&id) else {
            return;
        };
        let name = job.agent.map_or("", |agent| self.agent_name(agent));
        let unknown = job.kind == JobKind::Encode && (job.is_bound() || unheard);
        let error = if unknown {
            JobError {
                code: ErrorCode::EncodingInterrupted,
                message: format!(
                    "the agent \"{name}\" was retired before it said how the write ended; the card may have been changed, so \
                     encode that same card again, or make a new credential"
                ),
                touched: Touched::Unknown,
                hardware: None,
            }
        } else {
            let message = format!("the agent \"{name}\" was retired; use another encoder");
            fail(ErrorCode::BridgeDisconnected, message)
        };
        self.end(now, id, error, out);
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        job.awaited = false;
        job.outcome = Some(if unknown {
            Touched::Unknown
        } else {
            Touched::Untouched
        });
        let job = job.clone();
        out.save(&job);
        if unknown {
            self.hold_for_good(&job, out);
        }
    }

    /// Holds the credential of a job whose outcome never comes: on the cards that it holds already, else on none that is
    /// known.
    pub(crate) fn hold_for_good(&mut self, job: &JobRecord, out: &mut Decision) {
        let Some(credential) = job.credential else {
            return;
        };
        let held = self.holds(credential).iter();
        let mut uids: Vec<_> = held
            .filter(|hold| hold.job == job.id)
            .map(|hold| hold.uid)
            .collect();
        if uids.is_empty() {
            uids.push(job.binding.as_ref().and_then(|binding| binding.uid));
        }
        for uid in uids {
            let hold = Hold {
                job: job.id,
                credential,
                uid,
                state: HoldState::Unknown,
            };
            self.put_hold(hold, out);
            if let Some(uid) = uid {
                out.store(Change::CardInDoubt(job.system, uid));
            }
        }
    }

    /// Ends the agent's open orphans that `forgotten` picks: nobody can say any more what they did.
    pub(crate) fn end_orphans(
        &mut self,
        now: Timestamp,
        agent: AgentId,
        forgotten: impl Fn(JobId) -> bool,
        out: &mut Decision,
    ) {
        let system = self.agents.get(&agent).map(|agent| agent.system);
        let ended: Vec<Orphan> = self
            .orphans
            .values_mut()
            .filter(|orphan| orphan.agent == agent && orphan.outcome.is_none())
            .filter(|orphan| forgotten(orphan.job))
            .map(|orphan| {
                let touched = match orphan.kind {
                    JobKind::Encode => Touched::Unknown,
                    JobKind::Scan => Touched::Untouched,
                };
                orphan.outcome = Some((Outcome::Error, touched));
                orphan.clone()
            })
            .collect();
        for orphan in ended {
            out.store(Change::PutOrphan(orphan.clone()));
            out.store(Change::Audit(audit_of_orphan(now, system, &orphan)));
            let credential = orphan.credential;
            if let Some(credential) = credential.filter(|_| orphan.kind == JobKind::Encode) {
                let hold = Hold {
                    job: orphan.job,
                    credential,
                    uid: orphan.uid,
                    state: HoldState::Unknown,
                };
                self.put_hold(hold, out);
                if let Some((system, uid)) = system.zip(orphan.uid) {
                    out.store(Change::CardInDoubt(system, uid));
                }
            }
        }
    }

    fn note_release(&self, now: Timestamp, hold: &Hold, out: &mut Decision) {
        if let Some(job) = self.jobs.get(&hold.job) {
            out.audit(now, AuditAction::Released, job, hold.uid, None);
            return;
        }
        out.store(Change::Audit(super::AuditEntry {
            at: now,
            action: AuditAction::Released,
            job: hold.job,
            kind: JobKind::Encode,
            system: None,
            api_key: None,
            agent: self.orphans.get(&hold.job).map(|orphan| orphan.agent),
            encoder: None,
            credential: Some(hold.credential),
            uid: hold.uid,
            result: None,
        }));
    }
}

fn revoked() -> Bye {
    Bye {
        reason: ByeReason::Revoked,
        message:
            "this agent's token was revoked; make a new one with `encoder-coordinator agent token`"
                .to_owned(),
    }
}

/// The goodbye to an agent that was retired.
pub(crate) fn retired() -> Bye {
    Bye {
        reason: ByeReason::Retired,
        message: "this agent was retired for good; to use this PC again, make an agent with `encoder-coordinator agent \
                  create`"
            .to_owned(),
    }
}
