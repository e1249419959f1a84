//! The agent between a coordinator that says anything, encoders that report anything, and a journal that may fail:
//! session, jobs, restarts.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use encoder_agent::{
    encoder::{
        CardOperation, EncoderCommand, EncoderEvent, EncoderId, EncoderIdentity, EncoderSettings,
        OperationError, OperationResult, Poll,
    },
    fuzzing::{Conversation, Said},
    jobs::{Action, AgentFacts, Jobs, Now},
    journal::{JournalError, JournaledState, MemoryJournal, Recall, Record},
    session::SessionEvent,
};
use encoder_protocols::{
    card::{CardContents, CardDescription, Technology, Uid},
    moment::Moment,
    wire::{
        self, Abilities, AgentMessage, Bye, ByeReason, CardPlan, EncoderKey, ErrorCode, JobError,
        JobFinished, JobId, JobKind, KeyScope, Outcome, Plan, SecretText, ServiceMessage, Touched,
        Welcome, WireMessage,
    },
};
use jiff::Timestamp;
use uuid::Uuid;

use super::{
    images,
    input::{Input, shifted},
};

const KEYS: [&str; 2] = ["desk", "door"];
/// How many inputs a course has at most.
const MOST_STEPS: usize = 300;
/// How many actions may follow from one input.
const MOST_ACTIONS: usize = 2_000;

pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut course = Course::new(&mut input);
    for _ in 0..MOST_STEPS {
        if input.is_empty() {
            break;
        }
        course.step(&mut input);
    }
    course.end();
}

/// Settings of an encoder.
pub fn settings(key: &str, lift_between_cards: bool) -> EncoderSettings {
    EncoderSettings {
        key: EncoderKey(key.to_owned()),
        key_scope: KeyScope::Agent,
        name: key.to_owned(),
        driver: "pn532".to_owned(),
        port: "/dev/null".into(),
        baud: None,
        dtr: None,
        rts: None,
        named: true,
        adopted: true,
        lift_between_cards,
        allow_irreversible: false,
        poll_interval: Duration::from_millis(100),
        simulated: true,
    }
}

/// What an agent says of itself.
pub fn facts(boot: u128) -> AgentFacts {
    AgentFacts {
        boot_id: Uuid::from_u128(boot),
        version: "1".to_owned(),
        os: "any".to_owned(),
        hostname: "desk".to_owned(),
    }
}

struct Course {
    conversation: Conversation,
    jobs: Jobs,
    journal: MemoryJournal,
    journal_fails: bool,
    settings: Vec<EncoderSettings>,
    now: Now,
    boots: u128,
    watch: Watch,
}

/// What happened, as far as it says what must not happen next.
#[derive(Default)]
struct Watch {
    /// What each encoder works on.
    operating: BTreeMap<EncoderId, JobId>,
    /// Presentations of this session that a write was planned for.
    planned: BTreeSet<(JobId, u64)>,
    started: BTreeMap<JobId, u64>,
    committed: BTreeSet<JobId>,
    outcomes: BTreeMap<JobId, JobFinished>,
    sequence: u64,
    presented: Vec<(JobId, u64, Option<Uid>)>,
}

impl Course {
    fn new(input: &mut Input<'_>) -> Self {
        let settings = vec![settings(KEYS[0], true), settings(KEYS[1], input.flag())];
        let journal = MemoryJournal::new(Uuid::from_u128(1));
        let now = Now {
            at: Moment::ORIGIN + Duration::from_secs(1),
            utc: noon(),
        };
        let jobs = Jobs::recover(facts(1), &settings, journal.contents(), now);
        let mut course = Self {
            conversation: Conversation::new(now.at),
            jobs,
            journal,
            journal_fails: false,
            settings,
            now,
            boots: 1,
            watch: Watch::default(),
        };
        course.carry_out();
        course
    }

    fn step(&mut self, input: &mut Input<'_>) {
        match input.below(32) {
            0..=2 => self.pass(input.span(), None),
            3 => {
                let refusal = input.flag().then(|| Duration::from_secs(input.number()));
                self.pass(Duration::from_secs(30), refusal);
            }
            4 => {
                let said = self.conversation.handle_loss(self.now.at);
                self.take(said);
            }
            5 => {
                let text = String::from_utf8_lossy(input.bytes(255)).into_owned();
                self.hear(&text);
            }
            6..=15 => {
                let message = self.message(input);
                self.hear(&message.encode());
            }
            16..=23 => self.poll(input),
            24..=27 => self.operation(input),
            28 => self.readiness(input),
            29 => self.journal_fails = input.below(3) == 0,
            30 => self.now.utc = input.time(self.now.utc),
            _ if input.below(4) == 0 => self.restart(),
            _ => {
                self.jobs.drain(self.now);
                self.carry_out();
            }
        }
    }

    /// Everything is let go on as it wants, and comes to rest.
    fn end(&mut self) {
        self.journal_fails = false;
        for _ in 0..8 {
            self.pass(Duration::from_secs(60), None);
        }
        self.jobs.drain(self.now);
        self.carry_out();
    }

    fn restart(&mut self) {
        self.boots += 1;
        let contents = self.journal.contents();
        for job in &contents.open_jobs {
            let started = matches!(job.state, JournaledState::Started { .. });
            assert!(started || !self.watch.committed.contains(&job.facts.job_id));
        }
        self.watch.operating.clear();
        // What was never durable may be told anew: only what the journal holds counts.
        let journal = &self.journal;
        self.watch
            .outcomes
            .retain(|job, _| !journal.recall(Recall::Job(*job)).is_empty());
        self.watch.sequence = contents.last_sequence;
        self.conversation = Conversation::new(self.now.at);
        self.jobs = Jobs::recover(facts(self.boots), &self.settings, contents, self.now);
        self.carry_out();
    }

    /// Time passes; nothing that wants to be called is forgotten.
    fn pass(&mut self, span: Duration, refusal: Option<Duration>) {
        let until = self.now.at + span;
        let mut idle = 0;
        loop {
            let wakes = [self.jobs.poll_timeout(), self.conversation.poll_timeout()];
            let Some(at) = wakes.into_iter().flatten().min().filter(|at| *at <= until) else {
                break;
            };
            let moved = at > self.now.at;
            idle = if moved { 0 } else { idle + 1 };
            assert!(idle < 50, "it wants to be called again and again");
            self.advance(at.max(self.now.at));
            let said = self.conversation.handle_timeout(self.now.at, refusal);
            self.take(said);
            self.jobs.handle_timeout(self.now);
            self.carry_out();
        }
        self.advance(until);
    }

    fn advance(&mut self, at: Moment) {
        let passed = at.since(self.now.at);
        let seconds = i64::try_from(passed.as_secs()).unwrap_or(i64::MAX);
        self.now.utc = shifted(self.now.utc, seconds);
        self.now.at = at;
    }

    fn hear(&mut self, text: &str) {
        let said = self.conversation.handle_text(self.now.at, text);
        self.take(said);
    }

    fn take(&mut self, said: Said) {
        for event in said.events {
            if let SessionEvent::Message {
                message: ServiceMessage::CardPlan(plan),
                ..
            } = &event
                && let Plan::Write { .. } = plan.plan
            {
                self.watch.planned.insert((plan.job_id, plan.n));
            }
            self.jobs.handle_session(self.now, event);
            self.carry_out();
        }
        for message in said.messages {
            readable(&message);
        }
    }

    fn poll(&mut self, input: &mut Input<'_>) {
        self.pass(Duration::from_millis(100), None);
        let poll = match input.below(8) {
            0 | 1 => Poll::Empty,
            2 => Poll::Several,
            3 => Poll::Card(CardDescription {
                technology: Technology::Unknown,
                uid: None,
                capacity: 0,
            }),
            _ => Poll::Card(CardDescription::new(
                Technology::MifareClassic1k,
                input.uid(),
            )),
        };
        self.encoder(
            EncoderId(usize::from(input.below(2))),
            EncoderEvent::Polled(poll),
        );
    }

    /// An operation ends as the input says, mostly one that is under way.
    fn operation(&mut self, input: &mut Input<'_>) {
        let id = EncoderId(usize::from(input.below(2)));
        let under_way = self.watch.operating.get(&id).copied();
        let Some(job_id) = under_way else { return };
        let committed = self.watch.committed.contains(&job_id);
        let result = match input.below(8) {
            0..=2 => Ok(OperationResult::Prepared),
            3 => Ok(OperationResult::Verified),
            4 => Ok(OperationResult::Read(CardContents::UidOnly)),
            5 => Ok(OperationResult::Written),
            _ => Err(OperationError {
                error: JobError {
                    code: *input.pick(&[
                        ErrorCode::EncodingInterrupted,
                        ErrorCode::EncoderNotOnline,
                        ErrorCode::IncompatibleCardFormat,
                    ]),
                    message: "as the input says".to_owned(),
                    touched: if committed && input.flag() {
                        Touched::Unknown
                    } else {
                        Touched::Untouched
                    },
                    hardware: None,
                },
                card_left: input.flag(),
            }),
        };
        if !matches!(result, Ok(OperationResult::Prepared)) {
            self.watch.operating.remove(&id);
        }
        self.encoder(id, EncoderEvent::Operation { job_id, result });
    }

    fn readiness(&mut self, input: &mut Input<'_>) {
        let id = EncoderId(usize::from(input.below(3)));
        let event = if input.below(4) == 0 {
            EncoderEvent::Fault {
                code: ErrorCode::EncoderNotOnline,
                problem: "unplugged".to_owned(),
            }
        } else {
            EncoderEvent::Ready(EncoderIdentity {
                model: None,
                serial: None,
                firmware: None,
                abilities: Abilities {
                    encode: input.below(8) != 0,
                    scan: true,
                    makes_keys: false,
                    technologies: vec![],
                },
            })
        };
        self.encoder(id, event);
    }

    fn encoder(&mut self, id: EncoderId, event: EncoderEvent) {
        self.jobs.handle_encoder(self.now, id, event);
        self.carry_out();
    }

    fn carry_out(&mut self) {
        let mut actions = 0;
        while let Some(action) = self.jobs.poll_action() {
            actions += 1;
            assert!(actions < MOST_ACTIONS, "one input, and no end of actions");
            match action {
                Action::Persist(records) => {
                    let result = if self.journal_fails {
                        Err(JournalError::DiskFull)
                    } else {
                        self.journal.append(&records);
                        self.stored(&records);
                        Ok(())
                    };
                    self.jobs.handle_stored(self.now, result);
                }
                Action::Recall(recall) => {
                    let found = if self.journal_fails {
                        Err(JournalError::DiskFull)
                    } else {
                        Ok(self.journal.recall(recall))
                    };
                    self.jobs.handle_recalled(self.now, found);
                }
                Action::Send(outgoing) => {
                    if self.conversation.takes(outgoing.connection) {
                        readable(&outgoing.message);
                        self.sent(outgoing.message);
                    }
                }
                Action::Command(id, command) => self.commanded(id, command),
                Action::Ended(_) => {}
            }
        }
    }

    fn stored(&mut self, records: &[Record]) {
        for record in records {
            if let Record::Started { job_id, n, .. } = record {
                assert!(
                    self.watch.planned.contains(&(*job_id, *n)),
                    "started without a plan for that presentation"
                );
                assert!(
                    self.watch.started.insert(*job_id, *n).is_none(),
                    "started twice"
                );
            }
        }
    }

    fn commanded(&mut self, id: EncoderId, command: EncoderCommand) {
        match command {
            EncoderCommand::Operate {
                job_id, operation, ..
            } => {
                if let CardOperation::Prepare(_) = operation {
                    assert!(!self.watch.started.contains_key(&job_id), "written twice");
                }
                self.watch.operating.insert(id, job_id);
            }
            EncoderCommand::Commit { job_id } => {
                assert!(self.watch.started.contains_key(&job_id), "not durable");
                assert!(self.watch.committed.insert(job_id), "written twice");
                self.watch.operating.insert(id, job_id);
            }
            EncoderCommand::Watch
            | EncoderCommand::Rest
            | EncoderCommand::Abort { .. }
            | EncoderCommand::StopVerifying { .. }
            | EncoderCommand::Signal(_) => {}
        }
    }

    fn sent(&mut self, message: AgentMessage) {
        match message {
            AgentMessage::CardPresented(presented) => {
                let front = (presented.job_id, presented.n, presented.card.uid);
                self.watch.presented.push(front);
            }
            AgentMessage::JobFinished(finished) => self.finished(finished),
            AgentMessage::Hello(_)
            | AgentMessage::Inventory { .. }
            | AgentMessage::JobAccepted { .. }
            | AgentMessage::JobRefused(_)
            | AgentMessage::JobProgress { .. }
            | AgentMessage::PlanRequest(_)
            | AgentMessage::Unsupported { .. } => {}
        }
    }

    /// A job has one outcome, and one that wrote never says that it did not.
    fn finished(&mut self, finished: JobFinished) {
        assert!(finished.sequence > 0, "sequences count from 1");
        let written = self.watch.committed.contains(&finished.job_id);
        let success = finished.outcome == Outcome::Success && finished.kind == JobKind::Encode;
        assert!(!success || finished.touched == Touched::Written);
        assert!(!success || written, "success of what was never written");
        self.watch.sequence = self.watch.sequence.max(finished.sequence);
        let known = self
            .watch
            .outcomes
            .entry(finished.job_id)
            .or_insert_with(|| finished.clone());
        assert_eq!(known.sequence, finished.sequence, "two outcomes of one job");
        assert_eq!(known.outcome, finished.outcome);
        assert_eq!(known.touched, finished.touched);
    }

    /// A message of the coordinator: mostly sensible.
    fn message(&mut self, input: &mut Input<'_>) -> ServiceMessage {
        let job = JobId(input.id(1));
        match input.below(16) {
            0..=2 => ServiceMessage::Welcome(Welcome {
                session_id: input.id(7),
                store_id: input.id(8),
                last_sequence: input.near(self.watch.sequence),
                journal_behind: input.below(8) == 0,
                heartbeat_ms: input.near(15_000),
                server_time: input.time(self.now.utc),
                next_pins: None,
            }),
            3..=6 => ServiceMessage::Job(self.job(job, input)),
            7..=11 => ServiceMessage::CardPlan(self.plan(job, input)),
            12 => ServiceMessage::FinishedAck {
                sequence: input.near(self.watch.sequence),
            },
            13 => ServiceMessage::Cancel {
                job_id: job,
                code: ErrorCode::CredentialDeleted,
                message: input.text(20),
            },
            14 => ServiceMessage::EncoderSettings(wire::EncoderSettings {
                encoder_key: EncoderKey((*input.pick(&KEYS)).to_owned()),
                display_name: input.flag().then(|| input.text(20)),
                adopted: input.below(4) != 0,
            }),
            _ => match input.below(3) {
                0 => ServiceMessage::Token {
                    token: SecretText(input.text(40)),
                },
                1 => ServiceMessage::Unsupported {
                    message_type: input.text(100),
                },
                _ => ServiceMessage::Bye(Bye {
                    reason: *input.pick(&[
                        ByeReason::AgentInUse,
                        ByeReason::ProtocolError,
                        ByeReason::Restart,
                        ByeReason::Retired,
                        ByeReason::Revoked,
                    ]),
                    message: input.text(40),
                }),
            },
        }
    }

    fn job(&self, job_id: JobId, input: &mut Input<'_>) -> wire::Job {
        let server_time = input.time(self.now.utc);
        let kind = *input.pick(&[JobKind::Encode, JobKind::Encode, JobKind::Scan]);
        let minute = shifted(server_time, 60);
        wire::Job {
            job_id,
            encoder_key: EncoderKey((*input.pick(&["desk", "desk", "door", "none"])).to_owned()),
            kind,
            credential_id: (kind == JobKind::Encode).then(|| input.id(2)),
            created_at: input.time(server_time),
            deadline: input.time(minute),
            server_time,
            card_wait_ms: input.near(30_000),
            content: None,
        }
    }

    fn plan(&self, job_id: JobId, input: &mut Input<'_>) -> CardPlan {
        let front = self.watch.presented.last().copied();
        let (job_id, n, uid) = front.filter(|_| input.below(8) != 0).unwrap_or((
            job_id,
            input.number(),
            Some(input.uid()),
        ));
        let plan = match input.below(16) {
            0..=7 => Plan::Write {
                image: images::image(input, true),
            },
            8 => Plan::Verify {
                image: images::image(input, true),
            },
            9..=12 => Plan::Read {
                plan: images::plan(input, true),
            },
            13 => Plan::Ignore,
            _ => Plan::Refuse {
                code: ErrorCode::UncategorizedError,
                message: input.text(20),
            },
        };
        CardPlan {
            job_id,
            n: input.near(n),
            uid,
            plan,
        }
    }
}

/// What is said is a message that the other side reads as it was meant.
fn readable(message: &AgentMessage) {
    let text = message.encode();
    assert_eq!(AgentMessage::decode(&text).as_ref(), Ok(message));
}

/// A time of day for courses that begin anywhere.
pub fn noon() -> Timestamp {
    "2026-11-21T12:00:00Z".parse().unwrap()
}
