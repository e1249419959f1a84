//! A bench: the machine, its journal, a clock that the test turns, and the watcher.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use encoder_protocols::{
    card::{CardContents, CardDescription, CardImage, ClassicImage, ReadPlan, Technology, Uid},
    moment::Moment,
    wire::{
        self, Abilities, AgentMessage, CardPlan, CardPresented, EncoderKey, ErrorCode, Hello,
        JobError, JobFinished, JobId, JobKind, KeyScope, OpenJob, Plan, Progress, ServiceMessage,
        Touched, Welcome,
    },
};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::{
    encoder::{
        CardOperation, EncoderCommand, EncoderEvent, EncoderId, EncoderIdentity, EncoderSettings,
        OperationError, OperationResult, Poll,
    },
    jobs::{Action, AgentFacts, Jobs, Now},
    journal::{JournalError, JournaledState, MemoryJournal, Record},
    session::SessionEvent,
};

pub(super) const DESK: EncoderId = EncoderId(0);
pub(super) const POLL: Duration = Duration::from_millis(100);

pub(super) struct Bench {
    pub(super) jobs: Jobs,
    pub(super) journal: MemoryJournal,
    pub(super) journal_fails: bool,
    pub(super) journal_unreadable: bool,
    /// How long the disk takes over each set of records.
    pub(super) flush_takes: Duration,
    pub(super) settings: Vec<EncoderSettings>,
    pub(super) now: Now,
    pub(super) connection: u64,
    pub(super) last_stored: u64,
    /// What the next `welcome` says of the journal.
    pub(super) journal_behind: bool,
    pub(super) persists: usize,
    sent: Vec<AgentMessage>,
    commands: Vec<(EncoderId, EncoderCommand)>,
    watcher: Watcher,
}

/// What has happened so far, as far as it decides what may happen next.
#[derive(Default)]
struct Watcher {
    write_plans: BTreeSet<(JobId, u64, Option<Uid>)>,
    presented: BTreeSet<(JobId, u64)>,
    outcomes: BTreeMap<JobId, JobFinished>,
    last_sequence: u64,
    operating: BTreeMap<EncoderId, JobId>,
    verifying: BTreeSet<EncoderId>,
    lifts: BTreeMap<EncoderId, bool>,
    prepared: BTreeMap<EncoderId, JobId>,
    committed: BTreeMap<JobId, Option<Uid>>,
    credentials: BTreeMap<JobId, Option<Uuid>>,
    written: BTreeMap<EncoderId, Written>,
}

/// A card that was written and has not left, by the watcher's own account.
struct Written {
    uid: Uid,
    credential: Option<Uuid>,
    missed: Option<Moment>,
}

pub(super) fn job_id(number: u128) -> JobId {
    JobId(Uuid::from_u128(0x1000 + number))
}

pub(super) fn credential(number: u128) -> Uuid {
    Uuid::from_u128(0x2000 + number)
}

pub(super) fn uid(number: u8) -> Uid {
    Uid::new(&[0x04, number, 0xAA, 0x55]).unwrap()
}

pub(super) fn card(number: u8) -> CardDescription {
    CardDescription {
        technology: Technology::MifareClassic1k,
        uid: Some(uid(number)),
        capacity: 720,
    }
}

pub(super) fn image() -> CardImage {
    CardImage::MifareClassic(ClassicImage { sectors: vec![] })
}

pub(super) fn settings(name: &str, lift: bool) -> EncoderSettings {
    EncoderSettings {
        key: EncoderKey(name.to_owned()),
        key_scope: KeyScope::Agent,
        name: name.to_owned(),
        driver: "pn532".to_owned(),
        port: "/dev/ttyUSB0".into(),
        baud: None,
        dtr: None,
        rts: None,
        named: true,
        adopted: true,
        lift_between_cards: lift,
        allow_irreversible: false,
        poll_interval: POLL,
        simulated: true,
    }
}

pub(super) fn error(code: ErrorCode, touched: Touched, card_left: bool) -> OperationError {
    OperationError {
        error: JobError {
            code,
            message: "as the encoder put it".to_owned(),
            touched,
            hardware: None,
        },
        card_left,
    }
}

fn facts(boot: u128) -> AgentFacts {
    AgentFacts {
        boot_id: Uuid::from_u128(boot),
        version: "1".into(),
        os: "test".into(),
        hostname: "desk".into(),
    }
}

impl Bench {
    /// One encoder, open and idle, and a session that stands.
    pub(super) fn new() -> Self {
        Self::with(vec![settings("desk", true)])
    }

    pub(super) fn with(settings: Vec<EncoderSettings>) -> Self {
        let mut bench = Self::closed(settings);
        bench.open_encoders();
        bench.connect();
        bench.take_sent();
        bench.take_commands();
        bench
    }

    /// Nothing is open yet.
    pub(super) fn closed(settings: Vec<EncoderSettings>) -> Self {
        let journal = MemoryJournal::new(Uuid::from_u128(1));
        let now = Now {
            at: Moment::ORIGIN + Duration::from_secs(1),
            utc: "2026-11-21T12:00:00Z".parse().unwrap(),
        };
        let mut watcher = Watcher::default();
        for (index, settings) in settings.iter().enumerate() {
            watcher
                .lifts
                .insert(EncoderId(index), settings.lift_between_cards);
        }
        let jobs = Jobs::recover(facts(1), &settings, journal.contents(), now);
        Self {
            jobs,
            journal,
            journal_fails: false,
            journal_unreadable: false,
            flush_takes: Duration::ZERO,
            settings,
            now,
            connection: 0,
            last_stored: 0,
            journal_behind: false,
            persists: 0,
            sent: vec![],
            commands: vec![],
            watcher,
        }
    }

    pub(super) fn open_encoders(&mut self) {
        for index in 0..self.settings.len() {
            self.ready(EncoderId(index));
        }
    }

    pub(super) fn ready(&mut self, id: EncoderId) {
        let identity = EncoderIdentity {
            model: None,
            serial: None,
            firmware: None,
            abilities: Abilities {
                encode: true,
                scan: true,
                makes_keys: false,
                technologies: vec![],
            },
        };
        self.encoder(id, EncoderEvent::Ready(identity));
    }

    pub(super) fn gone(&mut self, id: EncoderId) {
        let event = EncoderEvent::Fault {
            code: ErrorCode::EncoderNotOnline,
            problem: "unplugged".to_owned(),
        };
        self.encoder(id, event);
    }

    pub(super) fn connect(&mut self) {
        self.connection += 1;
        let connection = self.connection;
        self.session(SessionEvent::Connected { connection });
        self.welcome();
    }

    pub(super) fn welcome(&mut self) {
        let welcome = Welcome {
            session_id: Uuid::from_u128(7),
            store_id: Uuid::from_u128(8),
            last_sequence: self.last_stored,
            journal_behind: self.journal_behind,
            heartbeat_ms: 15_000,
            server_time: self.server_time(),
            next_pins: None,
        };
        self.message(ServiceMessage::Welcome(welcome));
    }

    pub(super) fn disconnect(&mut self) {
        let connection = self.connection;
        self.session(SessionEvent::Disconnected { connection });
    }

    pub(super) fn server_time(&self) -> Timestamp {
        self.now.utc + SignedDuration::from_mins(5)
    }

    /// An encode of a credential, with 60 s to its deadline and 30 s to wait for a card.
    pub(super) fn encode(&mut self, job: u128, credential_number: u128) -> JobId {
        let job = self.encode_job(job, credential_number);
        let id = job.job_id;
        self.message(ServiceMessage::Job(job));
        id
    }

    pub(super) fn scan(&mut self, job: u128) -> JobId {
        let job = wire::Job {
            kind: JobKind::Scan,
            credential_id: None,
            ..self.encode_job(job, 0)
        };
        let id = job.job_id;
        self.message(ServiceMessage::Job(job));
        id
    }

    pub(super) fn encode_job(&self, job: u128, credential_number: u128) -> wire::Job {
        let server_time = self.server_time();
        wire::Job {
            job_id: job_id(job),
            encoder_key: self.settings[0].key.clone(),
            kind: JobKind::Encode,
            credential_id: Some(credential(credential_number)),
            created_at: server_time,
            deadline: server_time + SignedDuration::from_secs(60),
            server_time,
            card_wait_ms: 30_000,
            content: None,
        }
    }

    pub(super) fn plan(&mut self, job_id: JobId, n: u64, uid: impl Into<Option<Uid>>, plan: Plan) {
        let uid = uid.into();
        if matches!(plan, Plan::Write { .. }) {
            self.watcher.write_plans.insert((job_id, n, uid));
        }
        self.message(ServiceMessage::CardPlan(CardPlan {
            job_id,
            n,
            uid,
            plan,
        }));
    }

    pub(super) fn plan_write(&mut self, job_id: JobId, n: u64, uid: Uid) {
        self.plan(job_id, n, uid, Plan::Write { image: image() });
    }

    pub(super) fn plan_read(&mut self, job_id: JobId, n: u64, uid: Uid) {
        let plan = ReadPlan::UidOnly;
        self.plan(job_id, n, uid, Plan::Read { plan });
    }

    pub(super) fn cancel(&mut self, job_id: JobId) {
        self.message(ServiceMessage::Cancel {
            job_id,
            code: ErrorCode::CredentialDeleted,
            message: "deleted".into(),
        });
    }

    pub(super) fn acknowledge(&mut self, sequence: u64) {
        self.last_stored = self.last_stored.max(sequence);
        self.message(ServiceMessage::FinishedAck { sequence });
    }

    pub(super) fn message(&mut self, message: ServiceMessage) {
        let connection = self.connection;
        self.session(SessionEvent::Message {
            connection,
            message,
        });
    }

    pub(super) fn session(&mut self, event: SessionEvent) {
        self.jobs.handle_session(self.now, event);
        self.carry_out();
    }

    pub(super) fn poll(&mut self, poll: Poll) {
        self.poll_on(DESK, poll);
    }

    /// The encoder looks once, a poll interval after what happened before.
    pub(super) fn poll_on(&mut self, id: EncoderId, poll: Poll) {
        self.advance(POLL);
        self.watcher.saw(id, self.now.at, poll);
        self.encoder(id, EncoderEvent::Polled(poll));
    }

    pub(super) fn put(&mut self, number: u8) {
        self.poll(Poll::Card(card(number)));
    }

    /// The field is empty long enough for a card to have left.
    pub(super) fn clear(&mut self) {
        for _ in 0..4 {
            self.poll(Poll::Empty);
        }
    }

    pub(super) fn operation(
        &mut self,
        job_id: JobId,
        result: Result<OperationResult, OperationError>,
    ) {
        self.operation_on(DESK, job_id, result);
    }

    pub(super) fn operation_on(
        &mut self,
        id: EncoderId,
        job_id: JobId,
        result: Result<OperationResult, OperationError>,
    ) {
        self.watcher.ended(id, job_id, &result);
        self.encoder(id, EncoderEvent::Operation { job_id, result });
    }

    pub(super) fn encoder(&mut self, id: EncoderId, event: EncoderEvent) {
        self.jobs.handle_encoder(self.now, id, event);
        self.carry_out();
    }

    /// A whole encode of a card that already lies there or is put there.
    pub(super) fn write_card(&mut self, job: JobId, n: u64, number: u8) {
        self.put(number);
        self.plan_write(job, n, uid(number));
        self.operation(job, Ok(OperationResult::Prepared));
        self.operation(job, Ok(OperationResult::Written));
    }

    /// Time passes; every timer that is due fires in its order.
    pub(super) fn advance(&mut self, by: Duration) {
        let end = self.now.at + by;
        while let Some(at) = self.jobs.poll_timeout().filter(|at| *at <= end) {
            self.set_time(at.max(self.now.at));
            self.jobs.handle_timeout(self.now);
            self.carry_out();
            let next = self.jobs.poll_timeout();
            assert!(
                next.is_none_or(|next| next > self.now.at),
                "a timer fires again without end"
            );
        }
        self.set_time(end);
    }

    /// The process ends here and starts again; what was not durable is lost.
    pub(super) fn restart(&mut self) {
        self.watcher.crashed();
        let contents = self.journal.contents();
        self.jobs = Jobs::recover(
            facts(u128::from(self.connection) + 2),
            &self.settings,
            contents,
            self.now,
        );
        self.carry_out();
    }

    /// The PC is restored from a disk image, and everything comes up again.
    pub(super) fn restore(&mut self, image: MemoryJournal) {
        self.disconnect();
        self.journal = image;
        self.watcher.forgot();
        self.restart_and_open();
    }

    /// Like [`Bench::restart`], and encoders and session come up again.
    pub(super) fn restart_and_open(&mut self) {
        self.restart();
        self.open_encoders();
        self.connect();
    }

    pub(super) fn drain(&mut self) {
        self.jobs.drain(self.now);
        self.carry_out();
    }

    pub(super) fn take_sent(&mut self) -> Vec<AgentMessage> {
        std::mem::take(&mut self.sent)
    }

    pub(super) fn take_commands(&mut self) -> Vec<EncoderCommand> {
        std::mem::take(&mut self.commands)
            .into_iter()
            .map(|(_, command)| command)
            .filter(|command| !matches!(command, EncoderCommand::Signal(_)))
            .collect()
    }

    pub(super) fn presented(&mut self) -> Vec<CardPresented> {
        self.take_sent()
            .into_iter()
            .filter_map(|message| match message {
                AgentMessage::CardPresented(presented) => Some(presented),
                _ => None,
            })
            .collect()
    }

    pub(super) fn progress(&mut self) -> Vec<Progress> {
        self.take_sent()
            .into_iter()
            .filter_map(|message| match message {
                AgentMessage::JobProgress { progress, .. } => Some(progress),
                _ => None,
            })
            .collect()
    }

    pub(super) fn finished(&mut self) -> Vec<JobFinished> {
        self.take_sent()
            .into_iter()
            .filter_map(|message| match message {
                AgentMessage::JobFinished(finished) => Some(finished),
                _ => None,
            })
            .collect()
    }

    /// The one outcome sent since the last look, and its error.
    pub(super) fn failure(&mut self) -> JobError {
        let [finished] = self.finished().try_into().unwrap();
        finished.error.unwrap()
    }

    pub(super) fn open_jobs(&mut self) -> Vec<OpenJob> {
        self.hello().open_jobs
    }

    /// Connects once more; returns what the agent says first.
    pub(super) fn hello(&mut self) -> Hello {
        self.connection += 1;
        let connection = self.connection;
        self.session(SessionEvent::Connected { connection });
        let hello = self
            .take_sent()
            .into_iter()
            .find_map(|message| match message {
                AgentMessage::Hello(hello) => Some(hello),
                _ => None,
            });
        self.welcome();
        hello.unwrap()
    }

    /// An encoder that works for a job, by the commands it was given.
    pub(super) fn operating(&self, id: EncoderId) -> Option<(JobId, bool)> {
        let job = *self.watcher.operating.get(&id)?;
        Some((job, self.watcher.committed.contains_key(&job)))
    }

    /// Whether the encoder compares a card and changes nothing.
    pub(super) fn verifies(&self, id: EncoderId) -> bool {
        self.watcher.verifying.contains(&id)
    }

    fn set_time(&mut self, at: Moment) {
        let passed = at.since(self.now.at);
        self.now.utc += SignedDuration::try_from(passed).unwrap();
        self.now.at = at;
    }

    pub(super) fn carry_out(&mut self) {
        while let Some(action) = self.jobs.poll_action() {
            match action {
                Action::Persist(records) => {
                    self.persists += 1;
                    let result = self.store(&records);
                    self.set_time(self.now.at + self.flush_takes);
                    self.jobs.handle_stored(self.now, result);
                }
                Action::Recall(recall) => {
                    let outcomes = if self.journal_unreadable {
                        let reason = "the medium is bad".to_owned();
                        Err(JournalError::Io { reason })
                    } else {
                        Ok(self.journal.recall(recall))
                    };
                    self.jobs.handle_recalled(self.now, outcomes);
                }
                Action::Send(outgoing) => {
                    assert_eq!(outgoing.connection, self.connection);
                    self.watcher.sends(&self.journal, &outgoing.message);
                    self.sent.push(outgoing.message);
                }
                Action::Command(id, command) => {
                    self.watcher.commands(&self.journal, id, &command);
                    self.commands.push((id, command));
                }
                Action::Ended(_) => {}
            }
        }
    }

    fn store(&mut self, records: &[Record]) -> Result<(), JournalError> {
        if self.journal_fails {
            return Err(JournalError::DiskFull);
        }
        for record in records {
            self.watcher.stores(record);
        }
        self.journal.append(records);
        Ok(())
    }
}

impl Watcher {
    fn stores(&mut self, record: &Record) {
        if let Record::Finished(finished) = record {
            assert!(
                !self.outcomes.contains_key(&finished.job_id),
                "a second outcome of {}",
                finished.job_id
            );
            assert!(
                finished.sequence > self.last_sequence,
                "sequences go up: {} after {}",
                finished.sequence,
                self.last_sequence
            );
            self.last_sequence = finished.sequence;
            self.outcomes.insert(finished.job_id, (**finished).clone());
        }
        if let Record::Accepted(facts) = record {
            self.credentials.insert(facts.job_id, facts.credential_id);
        }
        if let Record::Presented { job_id, n, .. } = record {
            let journaled = *n == 1 || self.presented.insert((*job_id, *n));
            assert!(journaled, "presentation {n} of {job_id} is spent twice");
        }
    }

    fn sends(&mut self, journal: &MemoryJournal, message: &AgentMessage) {
        let contents = journal.contents();
        match message {
            AgentMessage::JobAccepted { job_id } => assert!(
                contents
                    .open_jobs
                    .iter()
                    .any(|job| job.facts.job_id == *job_id),
                "{job_id} is accepted but not durable"
            ),
            AgentMessage::CardPresented(presented) => {
                let job = contents
                    .open_jobs
                    .iter()
                    .find(|job| job.facts.job_id == presented.job_id)
                    .expect("a presented job is durable");
                assert!(
                    presented.n <= job.n,
                    "a presentation is durable before it is said"
                );
                let fresh = presented.n != 1 || self.presented.insert((presented.job_id, 1));
                assert!(fresh, "presentation 1 is said twice");
            }
            _ => {}
        }
    }

    fn commands(&mut self, journal: &MemoryJournal, id: EncoderId, command: &EncoderCommand) {
        match command {
            EncoderCommand::Operate {
                job_id,
                uid,
                operation,
            } => {
                let other = self.operating.insert(id, *job_id);
                assert_eq!(other, None, "two operations on one encoder");
                if matches!(operation, CardOperation::Prepare(_)) {
                    let planned = self
                        .write_plans
                        .iter()
                        .any(|(job, _, planned)| job == job_id && planned == uid);
                    assert!(planned, "prepared without a plan for that card");
                }
                if matches!(operation, CardOperation::Verify(_)) {
                    self.verifying.insert(id);
                } else {
                    assert!(!self.committed.contains_key(job_id), "written again");
                }
            }
            EncoderCommand::Commit { job_id } => self.commits(journal, id, *job_id),
            EncoderCommand::Abort { job_id } => {
                if self.prepared.get(&id) == Some(job_id) {
                    self.prepared.remove(&id);
                }
            }
            EncoderCommand::StopVerifying { job_id } => assert!(
                self.committed.contains_key(job_id),
                "nothing was written that is to be verified"
            ),
            EncoderCommand::Watch | EncoderCommand::Rest | EncoderCommand::Signal(_) => {}
        }
    }

    fn commits(&mut self, journal: &MemoryJournal, id: EncoderId, job_id: JobId) {
        let contents = journal.contents();
        let job = contents
            .open_jobs
            .iter()
            .find(|job| job.facts.job_id == job_id)
            .expect("a committed job is durable and has no outcome");
        let JournaledState::Started { n, card } = &job.state else {
            panic!("committed before started was durable");
        };
        let uid = card.uid;
        assert!(
            self.write_plans.contains(&(job_id, *n, uid)),
            "committed without a plan for this presentation"
        );
        assert_eq!(self.prepared.remove(&id), Some(job_id), "not prepared");
        assert_eq!(self.operating.insert(id, job_id), None);
        let before = self.committed.insert(job_id, uid);
        assert_eq!(before, None, "committed twice");
        let credential = self.credentials.get(&job_id).copied().flatten();
        if let Some(written) = self.written.get(&id).filter(|_| self.lifts[&id]) {
            assert!(
                uid == Some(written.uid) && written.credential == credential,
                "a card was taken though {} had not left",
                written.uid
            );
        }
    }

    fn ended(
        &mut self,
        id: EncoderId,
        job_id: JobId,
        result: &Result<OperationResult, OperationError>,
    ) {
        if self.operating.get(&id) == Some(&job_id) {
            self.operating.remove(&id);
        }
        self.verifying.remove(&id);
        if matches!(result, Ok(OperationResult::Prepared)) {
            self.prepared.insert(id, job_id);
        }
        let changed = match result {
            Ok(OperationResult::Written) => true,
            Err(error) => error.error.touched != Touched::Untouched,
            Ok(_) => false,
        };
        if changed {
            self.wrote(id, job_id);
        }
        if let Some(written) = self.written.get_mut(&id) {
            written.missed = None;
        }
    }

    fn wrote(&mut self, id: EncoderId, job_id: JobId) {
        // What is swiped lies nowhere afterwards.
        let Some(uid) = self.committed.get(&job_id).copied().flatten() else {
            return;
        };
        let written = Written {
            uid,
            credential: self.credentials.get(&job_id).copied().flatten(),
            missed: None,
        };
        self.written.insert(id, written);
    }

    fn saw(&mut self, id: EncoderId, now: Moment, poll: Poll) {
        if self.operating.contains_key(&id) {
            return;
        }
        let Some(written) = self.written.get_mut(&id) else {
            return;
        };
        let lies = match poll {
            Poll::Empty => false,
            Poll::Several => true,
            Poll::Card(card) => card.uid == Some(written.uid),
        };
        match written.missed {
            _ if lies => written.missed = None,
            None => written.missed = Some(now),
            Some(since) if now.since(since) >= Duration::from_millis(200) => {
                self.written.remove(&id);
            }
            Some(_) => {}
        }
    }

    /// The journal is an older one: it may end jobs again and spend presentations again, and still writes none twice.
    fn forgot(&mut self) {
        self.outcomes.clear();
        self.presented.clear();
    }

    /// A write that was under way may have changed its card; the encoder forgets what it did.
    fn crashed(&mut self) {
        let under_way: Vec<_> = self
            .operating
            .iter()
            .filter(|(_, job)| self.committed.contains_key(job))
            .map(|(id, job)| (*id, *job))
            .collect();
        for (id, job) in under_way {
            self.wrote(id, job);
        }
        self.operating.clear();
        self.verifying.clear();
        self.prepared.clear();
        for written in self.written.values_mut() {
            written.missed = None;
        }
    }
}

/// What a scan read, when nothing was to be read.
pub(super) fn nothing_read() -> OperationResult {
    OperationResult::Read(CardContents::UidOnly)
}
