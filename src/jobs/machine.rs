//! The machine: its inputs, its agenda and its timers.

use std::{collections::BTreeMap, time::Duration};

use encoder_protocols::{
    moment::Moment,
    wire::{AgentMessage, EncoderKey, JobFinished, JobId},
};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::{
    action::{Action, AfterPersist, AfterRecall, Agenda, AgentFacts, Gate, Now, Step},
    attached::{Attached, Link},
    job::{Job, Phase},
    session::Session,
};
use crate::{
    encoder::{EncoderCommand, EncoderEvent, EncoderId, EncoderSettings, Poll},
    journal::{Guard, JournalContents, JournalError, Owed, Record},
};

/// How long records that nothing waits for may wait for company.
const FLUSH_AFTER: Duration = Duration::from_millis(250);

/// How long to wait before trying records again that could not be made durable.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(5);

/// How long a stopping agent waits for the plan of a card that it has presented.
const PLAN_GRACE: Duration = Duration::from_secs(2);

/// Every job of the agent.
///
/// Call one of `handle_*` or [`Jobs::drain`], then [`Jobs::poll_action`] until it returns none, carrying out each action
/// before the next. After [`Action::Persist`] comes [`Jobs::handle_stored`], after [`Action::Recall`]
/// [`Jobs::handle_recalled`], and no other input before. When [`Jobs::poll_timeout`] is reached, call
/// [`Jobs::handle_timeout`].
#[derive(Debug)]
pub struct Jobs {
    pub(super) agent_id: Uuid,
    pub(super) facts: AgentFacts,
    pub(super) store_id: Option<Uuid>,
    /// The coordinator's time, and when it was told.
    pub(super) told_time: Option<(Timestamp, Moment)>,
    /// Outcomes go on behind this one.
    pub(super) last_sequence: u64,
    /// The last outcome that the journal holds.
    pub(super) last_outcome: u64,
    /// Every encoder that was ever known here, by its [`EncoderId`].
    pub(super) encoders: Vec<Attached>,
    /// The cards that must leave encoders which were not seen yet.
    pub(super) guards: BTreeMap<EncoderKey, Vec<Guard>>,
    /// Jobs without an outcome.
    pub(super) open: BTreeMap<JobId, Job>,
    /// Outcomes that are not acknowledged, by sequence.
    pub(super) outbox: BTreeMap<u64, Owed>,
    pub(super) session: Session,
    pub(super) agenda: Agenda,
    /// The journal has forgotten something: a card that lies on an encoder which was not seen yet may have been written.
    pub(super) has_forgotten: bool,
    /// What was wrong with the journal at its opening.
    pub(super) problems: Vec<String>,
    /// What is wrong with devices that are no encoders yet.
    pub(super) device_problems: Vec<String>,
    /// What is wrong with the journal now.
    pub(super) journal_problem: Option<String>,
    pub(super) draining: bool,
    /// Until when a stopping agent waits for plans.
    pub(super) plans_until: Option<Moment>,
    pub(super) inventory_changed: bool,
}

impl Jobs {
    /// The agent's jobs as its journal tells them. `encoders` are there from the start; others are attached later.
    pub fn recover(
        facts: AgentFacts,
        encoders: &[EncoderSettings],
        contents: JournalContents,
        now: Now,
    ) -> Self {
        let mut guards = contents.guards;
        let encoders = encoders
            .iter()
            .map(|settings| {
                let guards = guards
                    .remove(&settings.key)
                    .filter(|_| settings.lift_between_cards);
                Attached::new(settings.clone(), guards.unwrap_or_default(), now.at)
            })
            .collect();
        let outbox = contents.unacknowledged.into_iter();
        let mut jobs = Self {
            agent_id: contents.agent_id,
            facts,
            store_id: contents.store_id,
            told_time: None,
            last_sequence: contents.last_sequence,
            last_outcome: contents.last_outcome,
            encoders,
            guards,
            open: BTreeMap::new(),
            outbox: outbox.map(|owed| (owed.finished.sequence, owed)).collect(),
            session: Session::Away,
            agenda: Agenda::default(),
            has_forgotten: false,
            problems: contents.problems,
            device_problems: Vec::new(),
            journal_problem: None,
            draining: false,
            plans_until: None,
            inventory_changed: false,
        };
        for job in contents.open_jobs {
            jobs.reopen(now, job);
        }
        jobs.settle_all(now);
        jobs
    }

    /// Takes what an encoder task reports.
    pub fn handle_encoder(&mut self, now: Now, id: EncoderId, event: EncoderEvent) {
        match event {
            EncoderEvent::Attached(attachment) => self.attach(now, id, attachment.settings),
            EncoderEvent::Detached => self.detach(now, id),
            EncoderEvent::Ready(identity) => self.encoder_ready(now, id, identity),
            EncoderEvent::Fault { problem, .. } => self.encoder_gone(now, id, problem),
            EncoderEvent::Polled(poll) => self.polled(now, id, poll),
            EncoderEvent::Verifying { job_id } => self.verifying(now, job_id),
            EncoderEvent::Operation { job_id, result } => {
                self.operation_ended(now, id, job_id, result);
            }
        }
        self.refresh_inventory();
    }

    /// Takes the end of an [`Action::Persist`].
    pub fn handle_stored(&mut self, now: Now, result: Result<(), JournalError>) {
        let Some(Gate::Persist {
            deferred,
            records,
            then,
        }) = self.agenda.gate.take()
        else {
            return;
        };
        let problem = result.err().map(|error| error.to_string());
        if problem.is_some() {
            self.agenda.deferred = deferred;
            self.agenda.flush_at = Some(now.at + RETRY_AFTER);
        }
        if problem != self.journal_problem {
            self.journal_problem.clone_from(&problem);
            self.inventory_changed = true;
        }
        let later = std::mem::take(&mut self.agenda.steps);
        self.stored(now, records, then, problem);
        self.agenda.steps.extend(later);
        self.refresh_inventory();
    }

    /// Takes the end of an [`Action::Recall`].
    pub fn handle_recalled(&mut self, now: Now, result: Result<Vec<JobFinished>, JournalError>) {
        let Some(Gate::Recall(then)) = self.agenda.gate.take() else {
            return;
        };
        let later = std::mem::take(&mut self.agenda.steps);
        match then {
            AfterRecall::Offered(job) => self.offered(now, *job, result),
            AfterRecall::Cancelled {
                job_id,
                code,
                message,
            } => self.cancelled_unknown(now, job_id, code, message, result),
            AfterRecall::Repeat { sequence } => self.repeat_page(sequence, result),
        }
        self.agenda.steps.extend(later);
        self.refresh_inventory();
    }

    /// Tells the machine that time has passed; called at or after [`Jobs::poll_timeout`].
    pub fn handle_timeout(&mut self, now: Now) {
        if self.agenda.flush_at.is_some_and(|at| at <= now.at) {
            self.flush();
        }
        if self.agenda.read_at.take_if(|at| *at <= now.at).is_some() {
            for (job_id, (code, message)) in std::mem::take(&mut self.agenda.unread) {
                self.cancel(job_id, code, message);
            }
        }
        for job_id in self.open.keys().copied().collect::<Vec<_>>() {
            self.job_timeout(now, job_id);
        }
        self.refresh_inventory();
    }

    /// The agent is to stop: a running write goes on to its end, and so does a job whose card was presented, if its plan
    /// comes soon. The coordinator may have bound it, and could not let go of that card after another start. Nothing else
    /// begins, and no swipe is awaited any more; waiting jobs stay in the journal.
    pub fn drain(&mut self, now: Now) {
        self.draining = true;
        self.give_up_swipes(now);
        self.plans_until = Some(now.at + PLAN_GRACE);
        if !self.agenda.deferred.is_empty() {
            self.flush();
        }
        self.settle_all(now);
    }

    /// Whether nothing is left to wait for after [`Jobs::drain`].
    pub fn is_drained(&self) -> bool {
        let busy = self.open.values().any(|job| {
            matches!(
                job.phase,
                Phase::Planning(_)
                    | Phase::Preparing { .. }
                    | Phase::Writing(_)
                    | Phase::Armed(_)
                    | Phase::Reswiping(_)
                    | Phase::Reading(_)
            )
        });
        !busy && self.agenda.is_empty()
    }

    /// The next thing to do; none while there is none, or while the journal's answer is awaited.
    pub fn poll_action(&mut self) -> Option<Action> {
        if self.agenda.gate.is_some() {
            return None;
        }
        match self.agenda.steps.pop_front()? {
            Step::Do(action) => Some(action),
            Step::Persist(records, then) => {
                let deferred = std::mem::take(&mut self.agenda.deferred);
                self.agenda.flush_at = None;
                let all = deferred.iter().chain(&records).cloned().collect();
                self.agenda.gate = Some(Gate::Persist {
                    deferred,
                    records,
                    then,
                });
                Some(Action::Persist(all))
            }
            Step::Recall(recall, then) => {
                self.agenda.gate = Some(Gate::Recall(then));
                Some(Action::Recall(recall))
            }
        }
    }

    /// When [`Jobs::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Moment> {
        self.open
            .values()
            .filter_map(|job| self.job_wakes_at(job))
            .chain(self.agenda.flush_at)
            .chain(self.agenda.read_at)
            .min()
    }

    /// The coordinator's clock now; none before the first `welcome`.
    pub fn coordinator_time(&self, now: Moment) -> Option<Timestamp> {
        let (time, at) = self.told_time?;
        let passed = SignedDuration::try_from(now.since(at)).ok()?;
        time.checked_add(passed).ok()
    }

    /// The job at the head of an encoder's queue.
    pub(super) fn head(&self, id: EncoderId) -> Option<JobId> {
        self.encoders.get(id.0)?.queue.first().copied()
    }

    /// Whether a command of this PC uses the encoder.
    pub(super) fn is_lent(&self, id: EncoderId) -> bool {
        self.encoders.get(id.0).is_some_and(|encoder| encoder.lent)
    }

    pub(super) fn is_head(&self, job: &Job) -> bool {
        self.head(job.encoder) == Some(job.id())
    }

    pub(super) fn set_phase(&mut self, job_id: JobId, phase: Phase) {
        if let Some(job) = self.open.get_mut(&job_id) {
            job.phase = phase;
        }
    }

    pub(super) fn command(&mut self, id: EncoderId, command: EncoderCommand) {
        self.agenda.push(Action::Command(id, command));
    }

    pub(super) fn defer(&mut self, now: Now, record: Record) {
        self.agenda.defer(record, now.at + FLUSH_AFTER);
    }

    pub(super) fn find_encoder(&self, key: &EncoderKey) -> Option<EncoderId> {
        self.encoders
            .iter()
            .position(|encoder| encoder.settings.key == *key)
            .map(EncoderId)
    }

    /// Brings an encoder to what its queue and its field ask for: looking for cards or not, and its head job on.
    pub(super) fn settle(&mut self, now: Now, id: EncoderId) {
        let Some(encoder) = self.encoders.get_mut(id.0).filter(|encoder| !encoder.lent) else {
            return;
        };
        let head = encoder.queue.first().and_then(|head| self.open.get(head));
        let is_presented = head
            .is_some_and(|job| matches!(job.phase, Phase::Planning(_) | Phase::Preparing { .. }));
        let wanted = !encoder.queue.is_empty() || encoder.field.is_guarded();
        let watch = wanted && (is_presented || !self.draining);
        if watch != encoder.watching {
            encoder.watching = watch;
            if !watch {
                encoder.field.lose_sight();
            }
            let command = if watch {
                EncoderCommand::Watch
            } else {
                EncoderCommand::Rest
            };
            self.command(id, command);
        }
        if let Some(job_id) = self.head(id) {
            self.go_on(now, job_id);
        }
    }

    pub(super) fn settle_all(&mut self, now: Now) {
        for index in 0..self.encoders.len() {
            self.settle(now, EncoderId(index));
        }
    }

    /// Makes durable what waits for it. A journal that failed is tried with a record that changes nothing: only a write
    /// that succeeds shows that there is room again.
    fn flush(&mut self) {
        let is_trial = self.journal_problem.is_some() && self.agenda.deferred.is_empty();
        let trial = is_trial.then_some(Record::SequenceFloor(self.last_sequence));
        let records = trial.into_iter().collect();
        self.agenda.persist(records, AfterPersist::Nothing);
    }

    fn stored(
        &mut self,
        now: Now,
        records: Vec<Record>,
        then: AfterPersist,
        problem: Option<String>,
    ) {
        match (then, problem) {
            (AfterPersist::Nothing, None) => {}
            (AfterPersist::Nothing, Some(_)) => self.agenda.deferred.extend(records),
            (AfterPersist::Accepted(job), None) => self.accepted(now, *job),
            (AfterPersist::Accepted(job), Some(problem)) => self.not_accepted(now, &job, problem),
            (AfterPersist::Presented { job_id, front }, None) => {
                self.presented(now, job_id, front);
            }
            (AfterPersist::Presented { job_id, .. }, Some(_)) => self.not_presented(job_id),
            (
                AfterPersist::Started {
                    job_id,
                    front,
                    estimate,
                },
                None,
            ) => self.started(now, job_id, front, estimate),
            (AfterPersist::Started { job_id, .. }, Some(problem)) => {
                self.not_started(job_id, &problem);
            }
            (AfterPersist::Finished(finished), problem) => {
                if problem.is_some() {
                    self.agenda.deferred.extend(records);
                }
                self.finished(now, *finished);
            }
        }
    }

    fn encoder_ready(
        &mut self,
        now: Now,
        id: EncoderId,
        identity: crate::encoder::EncoderIdentity,
    ) {
        let Some(encoder) = self.encoders.get_mut(id.0) else {
            return;
        };
        encoder.identity = Some(identity);
        encoder.link = Link::Up;
        encoder.field.lose_sight();
        if encoder.watching {
            self.command(id, EncoderCommand::Watch);
        }
        self.inventory_changed = true;
        self.settle(now, id);
    }

    pub(super) fn encoder_gone(&mut self, now: Now, id: EncoderId, problem: String) {
        let Some(encoder) = self.encoders.get_mut(id.0) else {
            return;
        };
        let since = match encoder.link {
            Link::Gone { since, .. } | Link::Starting { since } => since,
            Link::Up => now.at,
        };
        encoder.link = Link::Gone { since, problem };
        encoder.field.lose_sight();
        self.inventory_changed = true;
        if let Some(job_id) = self.head(id) {
            self.lose_card(now, job_id);
            self.go_on(now, job_id);
        }
    }

    fn polled(&mut self, now: Now, id: EncoderId, poll: Poll) {
        let Some(encoder) = self.encoders.get_mut(id.0) else {
            return;
        };
        // Polls that were on the way when an operation began, or when the encoder went away, tell nothing.
        if encoder.operating.is_some() || !encoder.is_up() || !encoder.watching {
            return;
        }
        if encoder.field.see(now.at, poll) {
            let record = Record::Guarded {
                encoder_key: encoder.settings.key.clone(),
                guards: encoder.field.guards(),
            };
            self.defer(now, record);
        }
        if self.is_lent(id) {
            return;
        }
        if let Some(job_id) = self.head(id) {
            self.compare_with_front(now, job_id, poll);
        }
        self.settle(now, id);
    }

    /// Sends a message into the session that stands, if one does.
    pub(super) fn send(&mut self, message: AgentMessage) {
        if let Session::Welcomed { connection } = self.session {
            self.agenda.push(Action::Send(crate::session::Outgoing {
                connection,
                message,
            }));
        }
    }
}
