//! The coordinator's book with agents that say anything: what one says changes nothing of another's, and an ended
//! attempt stays as it ended.

use std::collections::BTreeMap;

use encoder_coordinator::jobs::{
    AgentId, AgentRecord, Attempt, Book, Change, CredentialFacts, CredentialId, Decision, Delivery,
    EncoderId, Greeting, PlanContent, Refusal, Request, Restored, SessionId, SystemId, Violation,
};
use encoder_protocols::wire::{AgentMessage, ErrorCode, JobId, Plan, ServiceMessage, WireMessage};
use jiff::Timestamp;
use uuid::Uuid;

use super::{
    agent::noon,
    input::{Input, shifted},
    said::{self, Around},
};

const AGENTS: [AgentId; 3] = [
    AgentId(Uuid::from_u128(0xa1)),
    AgentId(Uuid::from_u128(0xa2)),
    AgentId(Uuid::from_u128(0xb1)),
];
const SYSTEMS: [SystemId; 3] = [
    SystemId(Uuid::from_u128(1)),
    SystemId(Uuid::from_u128(1)),
    SystemId(Uuid::from_u128(2)),
];
const MOST_STEPS: usize = 200;

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

struct Course {
    book: Book,
    now: Timestamp,
    next: u128,
    jobs: Vec<JobId>,
    ended: BTreeMap<JobId, Attempt>,
}

impl Course {
    fn new(input: &mut Input<'_>) -> Self {
        let awaited = if input.below(4) == 0 {
            AGENTS.to_vec()
        } else {
            vec![]
        };
        let until = noon();
        let mut book = Book::new(Restored { until, awaited });
        for (id, system) in AGENTS.into_iter().zip(SYSTEMS) {
            book.admit_agent(AgentRecord {
                id,
                system,
                name: "agent".to_owned(),
                own_id: None,
                last_sequence: 0,
                retired: false,
                session: None,
                away_since: noon(),
            });
        }
        Self {
            book,
            now: noon(),
            next: 0x1000,
            jobs: vec![],
            ended: BTreeMap::new(),
        }
    }

    fn fresh(&mut self) -> Uuid {
        self.next += 1;
        Uuid::from_u128(self.next)
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let agent = *input.pick(&AGENTS);
        match input.below(16) {
            0 => self.now = input.time(self.now),
            1 => self.now = shifted(self.now, i64::from(input.byte())),
            2 => self.lose(agent),
            3 => {
                let credential = CredentialId(input.id(2));
                let decision = self.book.credential_deleted(self.now, credential);
                self.carry_out(None, decision);
            }
            4..=6 => self.request(input),
            7 => self.tick(),
            8 | 9 => self.hello(agent, input),
            _ => self.said(agent, input),
        }
        if input.below(64) == 0 {
            self.book.forget_settled(0);
        }
    }

    fn end(&mut self) {
        self.now = shifted(self.now, 24 * 3_600);
        self.tick();
        let pending = |book: &Book| {
            let jobs = self.jobs.iter().filter_map(|job| book.job(*job));
            jobs.filter(|job| job.attempt.is_pending()).count()
        };
        // A clock that was set back leaves deadlines far ahead: those alone may still wait.
        if self.book.next_due().is_none() {
            assert_eq!(pending(&self.book), 0, "an attempt that nothing will end");
        }
    }

    fn tick(&mut self) {
        let decision = self.book.tick(self.now);
        self.carry_out(None, decision);
        if let Some(due) = self.book.next_due() {
            assert!(
                due > self.now,
                "due at {due}, and not ended at {}",
                self.now
            );
        }
    }

    fn lose(&mut self, agent: AgentId) {
        if let Some(session) = self.session(agent) {
            self.book.session_lost(self.now, agent, session);
        }
    }

    fn session(&self, agent: AgentId) -> Option<SessionId> {
        Some(self.book.agent(agent)?.session.as_ref()?.id)
    }

    fn request(&mut self, input: &mut Input<'_>) {
        let job = JobId(self.fresh());
        let encoder = EncoderId(Uuid::from_u128(0x9000 + u128::from(input.below(8))));
        let credential = (input.below(4) != 0).then(|| CredentialFacts {
            id: CredentialId(input.id(2)),
            created_at: input.time(self.now),
            on_card_unchanged: input.below(8) == 0,
            content: None,
        });
        let request = Request {
            job,
            encoder,
            api_key: None,
            credential,
        };
        if let Some((answer, decision)) = self.book.request(self.now, &request) {
            if answer == job {
                self.jobs.push(job);
            }
            assert!(self.book.job(answer).is_some());
            self.carry_out(None, decision);
        }
    }

    fn hello(&mut self, agent: AgentId, input: &mut Input<'_>) {
        // The desk asks a live session whether it is alive before it takes another one.
        if self.session(agent).is_some() {
            return;
        }
        let session = SessionId(self.fresh());
        let credentials: Vec<Uuid> = (0..4).map(|_| input.id(2)).collect();
        let around = Around {
            now: self.now,
            jobs: &self.jobs,
            credentials: &credentials,
        };
        let hello = said::hello(&around, input);
        let Some(hello) = sent(AgentMessage::Hello(hello)) else {
            return;
        };
        let AgentMessage::Hello(hello) = hello else {
            panic!("another message came out");
        };
        let greeting = Greeting {
            store_id: Uuid::from_u128(5),
            heartbeat_ms: 20_000,
        };
        let decided = self.book.hello(self.now, agent, session, &hello, greeting);
        self.settle(agent, decided);
    }

    fn said(&mut self, agent: AgentId, input: &mut Input<'_>) {
        // Sessions of before may still have messages on the way.
        let stale = SessionId(Uuid::from_u128(0xdead));
        let session = match self.session(agent) {
            Some(session) if input.below(16) != 0 => session,
            _ => stale,
        };
        let credentials: Vec<Uuid> = (0..2).map(|_| input.id(2)).collect();
        let around = Around {
            now: self.now,
            jobs: &self.jobs,
            credentials: &credentials,
        };
        let message = said::message(&around, input);
        let Some(message) = sent(message) else { return };
        let now = self.now;
        let decided = match &message {
            AgentMessage::Inventory { encoders, .. } => {
                let mut ids = (0..8).map(|id| EncoderId(Uuid::from_u128(0x9000 + id)));
                let taken = |book: &Book, id| book.encoder(id).is_some();
                let free: Vec<EncoderId> =
                    ids.by_ref().filter(|id| !taken(&self.book, *id)).collect();
                if free.len() < encoders.len() {
                    return;
                }
                let mut free = free.into_iter();
                self.book.inventory(now, agent, session, encoders, || {
                    free.next().expect("as many as are listed")
                })
            }
            AgentMessage::JobAccepted { job_id } => self.book.job_accepted(agent, session, *job_id),
            AgentMessage::JobRefused(refused) => self.book.job_refused(now, agent, refused),
            AgentMessage::JobProgress { job_id, progress } => {
                self.book.job_progress(agent, session, *job_id, progress)
            }
            AgentMessage::CardPresented(presented) => {
                let prepared = prepared(input);
                let made_at = input.flag().then(|| input.time(now));
                self.book
                    .card_presented(now, agent, session, presented, prepared, made_at)
            }
            AgentMessage::PlanRequest(wish) => self.book.plan_request(now, agent, session, wish),
            AgentMessage::JobFinished(finished) => {
                self.book.job_finished(now, agent, session, finished, None)
            }
            AgentMessage::Hello(_) | AgentMessage::Unsupported { .. } => return,
        };
        self.settle(agent, decided);
    }

    /// A violation ends the session, as the desk does.
    fn settle(&mut self, agent: AgentId, decided: Result<Decision, Violation>) {
        match decided {
            Ok(decision) => self.carry_out(Some(agent), decision),
            Err(violation) => {
                assert!(!violation.bye().message.is_empty());
                self.lose(agent);
            }
        }
    }

    fn carry_out(&mut self, by: Option<AgentId>, decision: Decision) {
        for change in &decision.changes {
            if let Some(by) = by {
                belongs(by, change);
            }
        }
        for delivery in decision.messages {
            self.deliver(by, delivery);
        }
        for job in &self.jobs {
            let Some(record) = self.book.job(*job) else {
                continue;
            };
            if record.attempt.is_pending() {
                assert!(
                    !self.ended.contains_key(job),
                    "an ended attempt waits again"
                );
            } else {
                let ended = self
                    .ended
                    .entry(*job)
                    .or_insert_with(|| record.attempt.clone());
                assert_eq!(*ended, record.attempt, "an ended attempt changed");
            }
        }
    }

    /// Whatever an agent says is answered in its own session, with a message that it can read.
    fn deliver(&self, by: Option<AgentId>, delivery: Delivery) {
        let session = match delivery {
            Delivery::Message(session, message) => {
                assert_eq!(
                    ServiceMessage::decode(&message.encode()).as_ref(),
                    Ok(&message)
                );
                if let ServiceMessage::CardPlan(plan) = message {
                    assert!(matches!(plan.plan, Plan::Refuse { .. } | Plan::Ignore));
                }
                session
            }
            Delivery::Plan { session, job, .. } => {
                assert!(job.binding.is_some(), "a plan of what is not bound");
                assert!(job.agent == by && by.is_some(), "another agent's plan");
                assert!(job.outcome.is_none());
                session
            }
            Delivery::End(session, _) => session,
        };
        if let Some(by) = by {
            assert_eq!(self.session(by), Some(session), "into another session");
        }
    }
}

/// What one agent says changes its own things alone.
fn belongs(by: AgentId, change: &Change) {
    match change {
        Change::AgentHeard(agent) => assert_eq!(*agent, by),
        Change::SaveAgent(agent) => assert_eq!(agent.id, by),
        Change::SaveJob(job) => assert_eq!(job.agent, Some(by)),
        Change::PutOrphan(orphan) => assert_eq!(orphan.agent, by),
        Change::SaveEncoder(encoder, _) => {
            assert!(encoder.places.iter().any(|place| place.agent == by));
        }
        Change::Audit(entry) => assert_eq!(entry.agent, Some(by)),
        Change::AgentRetired(_) | Change::AgentRevoked(_) | Change::ReleaseCredential(_) => {
            panic!("only the operator says that");
        }
        Change::CardInDoubt(system, _) => assert_eq!(*system, system_of(by)),
        Change::Issue(issue) => assert_eq!(issue.system, system_of(by)),
        Change::DropHolds(_) | Change::PutHold(_) => {}
    }
}

fn system_of(agent: AgentId) -> SystemId {
    let known = AGENTS.iter().zip(SYSTEMS);
    let mut own = known.filter(|(id, _)| **id == agent);
    own.next().expect("one of the agents").1
}

/// The message as it comes out of the wire; none where it does not fit there.
fn sent(message: AgentMessage) -> Option<AgentMessage> {
    AgentMessage::decode(&message.encode()).ok()
}

fn prepared(input: &mut Input<'_>) -> Result<Option<PlanContent>, Refusal> {
    match input.below(4) {
        0 => Err(Refusal {
            code: ErrorCode::IncompatibleCardFormat,
            message: "as the input says".to_owned(),
        }),
        1 => Ok(None),
        _ => Ok(Some(PlanContent {
            key_version: 1,
            revision: 1,
            starts_at: None,
            ends_at: None,
            entrances: vec![1],
            issued_at: noon(),
            image: None,
        })),
    }
}
