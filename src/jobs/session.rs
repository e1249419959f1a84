//! The jobs' side of a session: who we are, what is open, and the coordinator's messages.

use encoder_protocols::wire::{
    AgentMessage, EncoderSettings, Hello, JobFinished, JobId, OpenJob, OpenJobState,
    ServiceMessage, Welcome,
};

use super::{
    action::{Action, AfterPersist, AfterRecall, Now},
    deadline::on_our_clock,
    job::{Armed, Front, Job, Phase, Reswiping},
    machine::Jobs,
};
use crate::{
    encoder::EncoderId,
    journal::{Guard, JournalError, Owed, Recall, Record},
    session::{Outgoing, SessionEvent},
};

/// How many outcomes are looked up at a time when the coordinator lacks old ones.
const PAGE: u32 = 100;

/// Whether a session stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Session {
    /// No connection.
    Away,
    /// `hello` went out; nothing else may before `welcome`.
    Connected { connection: u64 },
    /// Messages may pass.
    Welcomed { connection: u64 },
}

impl Session {
    fn connection(self) -> Option<u64> {
        match self {
            Self::Away => None,
            Self::Connected { connection } | Self::Welcomed { connection } => Some(connection),
        }
    }
}

impl Jobs {
    /// Takes what the session tells.
    pub fn handle_session(&mut self, now: Now, event: SessionEvent) {
        match event {
            SessionEvent::Connected { connection } => {
                self.leave_session(now);
                self.session = Session::Connected { connection };
                let message = AgentMessage::Hello(self.hello());
                self.agenda.push(Action::Send(Outgoing {
                    connection,
                    message,
                }));
            }
            SessionEvent::Message {
                connection,
                message,
            } if self.session.connection() == Some(connection) => {
                self.message(now, connection, message);
            }
            SessionEvent::Disconnected { connection }
                if self.session.connection() == Some(connection) =>
            {
                self.leave_session(now);
            }
            SessionEvent::Message { .. } | SessionEvent::Disconnected { .. } => {}
        }
        self.refresh_inventory();
    }

    /// Outcomes that the coordinator lacks were looked up: they go out in order, with those that only memory holds.
    pub(super) fn repeat_page(
        &mut self,
        behind: u64,
        page: Result<Vec<JobFinished>, JournalError>,
    ) {
        let mut outcomes: std::collections::BTreeMap<u64, JobFinished> = page
            .unwrap_or_default()
            .into_iter()
            .map(|outcome| (outcome.sequence, outcome))
            .collect();
        let last = outcomes.keys().next_back().copied();
        let is_full = outcomes.len() >= usize::try_from(PAGE).unwrap_or(usize::MAX);
        let end = last.filter(|_| is_full).unwrap_or(u64::MAX);
        let owed = self.outbox.values().map(|owed| &owed.finished);
        for outcome in owed.chain(self.unwritten_outcomes()) {
            if (behind + 1..=end).contains(&outcome.sequence) {
                let sequence = outcome.sequence;
                outcomes.entry(sequence).or_insert_with(|| outcome.clone());
            }
        }
        for outcome in outcomes.into_values() {
            self.send(AgentMessage::JobFinished(outcome));
        }
        if is_full && end != u64::MAX {
            self.repeat_behind(end);
        }
    }

    fn message(&mut self, now: Now, connection: u64, message: ServiceMessage) {
        let welcomed = matches!(self.session, Session::Welcomed { .. });
        match message {
            ServiceMessage::Welcome(welcome) if !welcomed => {
                self.session = Session::Welcomed { connection };
                self.welcomed(now, &welcome);
            }
            ServiceMessage::Job(job) if welcomed => self.offer(job),
            ServiceMessage::CardPlan(plan) if welcomed => self.planned(now, plan),
            ServiceMessage::FinishedAck { sequence } if welcomed => {
                self.acknowledged(now, sequence);
            }
            ServiceMessage::Cancel {
                job_id,
                code,
                message,
            } if welcomed => self.cancel(job_id, code, message),
            ServiceMessage::EncoderSettings(settings) if welcomed => {
                self.encoder_settings(settings);
            }
            // Tokens and farewells are the session's own; that a message was not understood is in its log.
            ServiceMessage::Welcome(_)
            | ServiceMessage::Job(_)
            | ServiceMessage::CardPlan(_)
            | ServiceMessage::FinishedAck { .. }
            | ServiceMessage::Cancel { .. }
            | ServiceMessage::EncoderSettings(_)
            | ServiceMessage::Token { .. }
            | ServiceMessage::Bye(_)
            | ServiceMessage::Unsupported { .. } => {}
        }
    }

    fn hello(&self) -> Hello {
        let mut open_jobs: Vec<OpenJob> = self.open.values().map(open_job).collect();
        open_jobs.extend(self.outbox.values().filter_map(owed));
        Hello {
            agent_id: self.agent_id,
            boot_id: self.facts.boot_id,
            version: self.facts.version.clone(),
            os: self.facts.os.clone(),
            hostname: self.facts.hostname.clone(),
            open_jobs,
            last_sequence: self.last_outcome,
        }
    }

    /// The session stands: everything that is open is said again.
    fn welcomed(&mut self, now: Now, welcome: &Welcome) {
        self.told_time = Some((welcome.server_time, now.at));
        self.catch_up(welcome);
        if self.store_id != Some(welcome.store_id) {
            self.store_id = Some(welcome.store_id);
            self.defer(now, Record::Store(welcome.store_id));
        }
        self.send_inventory();
        for job_id in self.open.keys().copied().collect::<Vec<_>>() {
            self.repeat_open(now, job_id, welcome);
        }
        self.repeat_outcomes(welcome.last_sequence);
        self.settle_all(now);
    }

    /// The coordinator knows of something that this journal has forgotten: the sequence goes on behind the coordinator's,
    /// and a card that lies on an encoder may be one that was written then (promise, rules 4 and 7).
    fn catch_up(&mut self, welcome: &Welcome) {
        let mut records = Vec::new();
        if welcome.last_sequence > self.last_sequence {
            self.last_sequence = welcome.last_sequence;
            records.push(Record::SequenceFloor(welcome.last_sequence));
        } else if !welcome.journal_behind {
            return;
        }
        self.has_forgotten = true;
        for encoder in &mut self.encoders {
            if encoder.settings.lift_between_cards {
                encoder.field.add_guard(Guard::Any);
                encoder.field.lose_sight();
                records.push(Record::Guarded {
                    encoder_key: encoder.settings.key.clone(),
                    guards: encoder.field.guards(),
                });
            }
        }
        self.agenda.persist(records, AfterPersist::Nothing);
    }

    fn repeat_open(&mut self, now: Now, job_id: JobId, welcome: &Welcome) {
        let Some(job) = self.open.get_mut(&job_id) else {
            return;
        };
        // The PC may have slept, or its clock may have been set: the coordinator's time is the one that counts.
        let deadline = on_our_clock(now.at, job.facts.deadline, welcome.server_time);
        job.deadline = job.deadline.min(deadline);
        job.told = None;
        let started = match &job.phase {
            Phase::Writing(front)
            | Phase::Armed(Armed { front, .. })
            | Phase::Reswiping(Reswiping { front, .. }) => Some(*front),
            Phase::Looking(looking) => Some(looking.front),
            Phase::Waiting
            | Phase::Settling
            | Phase::Planning(_)
            | Phase::Preparing { .. }
            | Phase::Reading(_) => None,
        };
        self.send(AgentMessage::JobAccepted { job_id });
        if let Some(front) = started {
            self.tell_writing(job_id, front);
        }
        self.tell_swiping(job_id);
    }

    fn repeat_outcomes(&mut self, last_sequence: u64) {
        let known = self.outbox.range(..=last_sequence);
        let known: Vec<JobFinished> = known.map(|(_, owed)| owed.finished.clone()).collect();
        for outcome in known {
            self.send(AgentMessage::JobFinished(outcome));
        }
        if last_sequence < self.last_sequence {
            self.repeat_behind(last_sequence);
        }
    }

    fn repeat_behind(&mut self, sequence: u64) {
        let recall = Recall::After {
            sequence,
            limit: PAGE,
        };
        self.agenda.recall(recall, AfterRecall::Repeat { sequence });
    }

    fn encoder_settings(&mut self, settings: EncoderSettings) {
        let Some(EncoderId(index)) = self.find_encoder(&settings.encoder_key) else {
            return;
        };
        if let Some(encoder) = self.encoders.get_mut(index) {
            encoder.adopted = Some(settings.adopted);
            encoder.display_name = settings.display_name;
        }
    }

    /// Nothing that was presented on this connection counts any more.
    fn leave_session(&mut self, now: Now) {
        self.session = Session::Away;
        let planning = self
            .open
            .values()
            .filter(|job| matches!(job.phase, Phase::Planning(_)));
        for job_id in planning.map(Job::id).collect::<Vec<_>>() {
            // The card still lies there: it is presented again, with a new number, in the next session.
            self.set_phase(job_id, Phase::Waiting);
        }
        self.settle_all(now);
    }
}

fn open_job(job: &Job) -> OpenJob {
    let state = match &job.phase {
        Phase::Writing(front)
        | Phase::Armed(Armed { front, .. })
        | Phase::Reswiping(Reswiping { front, .. }) => started(front),
        Phase::Looking(looking) => started(&looking.front),
        Phase::Waiting
        | Phase::Settling
        | Phase::Planning(_)
        | Phase::Preparing { .. }
        | Phase::Reading(_) => OpenJobState::Accepted,
    };
    OpenJob {
        job_id: job.id(),
        encoder_key: job.facts.encoder_key.clone(),
        kind: job.facts.kind,
        credential_id: job.facts.credential_id,
        state,
    }
}

fn started(front: &Front) -> OpenJobState {
    OpenJobState::Started {
        uid: front.card.uid,
        n: front.n,
    }
}

/// A finished job as `hello` lists it; none for one that was cancelled before it ever came.
fn owed(owed: &Owed) -> Option<OpenJob> {
    Some(OpenJob {
        job_id: owed.finished.job_id,
        encoder_key: owed.encoder_key.clone()?,
        kind: owed.finished.kind,
        credential_id: owed.finished.credential_id,
        state: OpenJobState::Finished {
            sequence: owed.finished.sequence,
        },
    })
}
