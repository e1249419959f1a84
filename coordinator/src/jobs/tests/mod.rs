//! The rules of the job protocol, each by its number, on a book without store, sockets or clocks.

mod answers;
mod binding;
mod boots;
mod decisions;
mod encoders;
mod ending;
mod holds;
mod late;
mod looking;
mod operator;
mod orphans;
mod outcomes;
mod restored;
mod time;
mod traces;

use encoder_protocols::{
    card::{CardDescription, Technology, Uid},
    wire::{
        Abilities, CardPresented, EncoderDescription, EncoderKey, EncoderState, ErrorCode, Hello,
        Job, JobError, JobFinished, JobId, JobKind, JobRefused, KeyScope, OpenJob, OpenJobState,
        Outcome, Plan, PlanPurpose, PlanRequest, Progress, RefusalReason, ServiceMessage, Touched,
    },
};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use self::decisions::*;
use super::{
    AgentId, AgentRecord, Attempt, Book, BootId, Change, CredentialFacts, CredentialId, Decision,
    Delivery, EncoderId, Greeting, HoldState, PlanContent, Refusal, Request, Restored, SessionId,
    SystemId, Violation,
};

pub(super) const SYSTEM: SystemId = SystemId(Uuid::from_u128(1));
pub(super) const ONE: AgentId = AgentId(Uuid::from_u128(0xa1));
pub(super) const TWO: AgentId = AgentId(Uuid::from_u128(0xa2));
pub(super) const ONE_DESK: EncoderId = EncoderId(Uuid::from_u128(0xe1));
pub(super) const ONE_DOOR: EncoderId = EncoderId(Uuid::from_u128(0xe2));
pub(super) const TWO_DESK: EncoderId = EncoderId(Uuid::from_u128(0xe3));
pub(super) const C: CredentialId = CredentialId(Uuid::from_u128(0xc1));
pub(super) const D: CredentialId = CredentialId(Uuid::from_u128(0xc2));
pub(super) const A: [u8; 4] = [0xaa, 1, 2, 3];
pub(super) const B: [u8; 4] = [0xbb, 1, 2, 3];

pub(super) fn start() -> Timestamp {
    "2026-11-21T10:00:00Z".parse().unwrap()
}

pub(super) fn card(uid: [u8; 4]) -> CardDescription {
    CardDescription {
        technology: Technology::MifareClassic1k,
        uid: Some(Uid::new(&uid).unwrap()),
        capacity: 716,
    }
}

pub(super) fn uid(bytes: [u8; 4]) -> Option<Uid> {
    Some(Uid::new(&bytes).unwrap())
}

fn description(key: &str, scope: KeyScope) -> EncoderDescription {
    EncoderDescription {
        key: EncoderKey(key.into()),
        key_scope: scope,
        name: key.to_uppercase(),
        named: false,
        adopted: true,
        driver: "pn532".into(),
        model: None,
        serial: None,
        firmware: None,
        abilities: Abilities {
            encode: true,
            scan: true,
            makes_keys: false,
            technologies: vec![Technology::MifareClassic1k],
        },
        state: EncoderState::Ready,
        problem: None,
        simulated: true,
    }
}

/// A book with two agents, and everything that can happen to it in one line each.
pub(super) struct World {
    pub(super) book: Book,
    pub(super) now: Timestamp,
    pub(super) next: u128,
    revision: i64,
}

impl World {
    pub(super) fn of(restored: Restored) -> Self {
        let mut world = Self {
            book: Book::new(restored),
            now: start(),
            next: 0x1000,
            revision: 1,
        };
        for (id, name) in [(ONE, "one"), (TWO, "two")] {
            world.book.admit_agent(AgentRecord {
                id,
                system: SYSTEM,
                name: name.into(),
                own_id: None,
                last_sequence: 0,
                session: None,
                away_since: world.now,
                retired: false,
            });
        }
        world
    }

    /// Both agents connected, with their encoders.
    fn new() -> Self {
        let mut world = Self::of(Restored::default());
        world.connect(ONE, 1);
        world.connect(TWO, 2);
        world
    }

    pub(super) fn fresh(&mut self) -> Uuid {
        self.next += 1;
        Uuid::from_u128(self.next)
    }

    pub(super) fn later(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
    }

    fn session(&self, agent: AgentId) -> SessionId {
        self.book.live(agent).unwrap().id
    }

    fn connect(&mut self, agent: AgentId, boot: u128) -> Decision {
        self.connect_with(agent, boot, vec![], 0)
    }

    fn connect_with(
        &mut self,
        agent: AgentId,
        boot: u128,
        open_jobs: Vec<OpenJob>,
        last_sequence: u64,
    ) -> Decision {
        let session = SessionId(self.fresh());
        let decision = self
            .hello(agent, session, boot, open_jobs, last_sequence)
            .unwrap();
        self.list(agent, session);
        decision
    }

    pub(super) fn hello(
        &mut self,
        agent: AgentId,
        session: SessionId,
        boot: u128,
        open_jobs: Vec<OpenJob>,
        last_sequence: u64,
    ) -> Result<Decision, Violation> {
        let hello = Hello {
            agent_id: agent.0,
            boot_id: Uuid::from_u128(boot),
            version: "1".into(),
            os: "linux".into(),
            hostname: "pc".into(),
            open_jobs,
            last_sequence,
        };
        let greeting = Greeting {
            store_id: Uuid::from_u128(9),
            heartbeat_ms: 20_000,
        };
        self.book.hello(self.now, agent, session, &hello, greeting)
    }

    pub(super) fn list(&mut self, agent: AgentId, session: SessionId) {
        let (keys, ids): (&[&str], Vec<EncoderId>) = if agent == ONE {
            (&["desk", "door"], vec![ONE_DESK, ONE_DOOR])
        } else {
            (&["desk"], vec![TWO_DESK])
        };
        let listed: Vec<_> = keys
            .iter()
            .map(|key| description(key, KeyScope::Agent))
            .collect();
        let mut ids = ids.into_iter();
        self.book
            .inventory(self.now, agent, session, &listed, || ids.next().unwrap())
            .unwrap();
    }

    fn disconnect(&mut self, agent: AgentId) {
        let session = self.session(agent);
        self.book.session_lost(self.now, agent, session);
    }

    fn ask(&mut self, encoder: EncoderId, credential: CredentialId, unchanged: bool) -> JobId {
        let request = Request {
            job: JobId(self.fresh()),
            encoder,
            api_key: None,
            credential: Some(CredentialFacts {
                id: credential,
                created_at: start(),
                on_card_unchanged: unchanged,
                content: None,
            }),
        };
        self.book.request(self.now, &request).unwrap().0
    }

    fn encode(&mut self, encoder: EncoderId, credential: CredentialId) -> JobId {
        self.ask(encoder, credential, false)
    }

    fn scan(&mut self, encoder: EncoderId) -> JobId {
        let request = Request {
            job: JobId(self.fresh()),
            encoder,
            api_key: None,
            credential: None,
        };
        self.book.request(self.now, &request).unwrap().0
    }

    /// The agent's encoders, as a restored copy knows them of an agent that has not connected since.
    fn list_of_the_copy(&mut self, agent: AgentId) {
        let awaited = std::mem::take(&mut self.book.restored.awaited);
        self.connect(agent, 1);
        self.disconnect(agent);
        self.book.restored.awaited = awaited;
    }

    /// An encode on agent one's desk that the copy calls sent and not bound.
    fn job_of_the_copy(&mut self, credential: CredentialId) -> JobId {
        let record = super::JobRecord {
            id: JobId(self.fresh()),
            kind: JobKind::Encode,
            system: SYSTEM,
            encoder: ONE_DESK,
            encoder_key: EncoderKey("desk".into()),
            agent: Some(ONE),
            credential: Some(credential),
            content: None,
            api_key: None,
            created_at: start(),
            deadline: start() + super::ATTEMPT_TIME,
            card_wait: super::CARD_WAIT,
            simulated: false,
            sent: true,
            binding: None,
            cards: vec![],
            pinned: false,
            awaited: false,
            cancelled: None,
            attempt: Attempt::Pending,
            outcome: None,
        };
        let id = record.id;
        self.book.admit_job(record);
        id
    }

    fn content(&mut self) -> PlanContent {
        PlanContent {
            key_version: 1,
            revision: self.revision,
            starts_at: None,
            ends_at: None,
            entrances: vec![],
            issued_at: self.now,
            image: None,
        }
    }

    fn try_present(
        &mut self,
        agent: AgentId,
        job: JobId,
        n: u64,
        card: CardDescription,
    ) -> Result<Decision, Violation> {
        let prepared = Ok(Some(self.content()));
        let session = self.session(agent);
        let presented = CardPresented {
            job_id: job,
            n,
            card,
        };
        self.book.card_presented(
            self.now,
            agent,
            session,
            &presented,
            prepared,
            Some(start()),
        )
    }

    fn present(&mut self, agent: AgentId, job: JobId, n: u64, uid: [u8; 4]) -> Decision {
        self.try_present(agent, job, n, card(uid)).unwrap()
    }

    /// Presents the card and checks that the job was bound to it.
    fn bind(&mut self, agent: AgentId, job: JobId, n: u64, uid: [u8; 4]) {
        let decision = self.present(agent, job, n, uid);
        assert!(planned(&decision), "{decision:?}");
    }

    fn finish(
        &mut self,
        agent: AgentId,
        job: JobId,
        sequence: u64,
        outcome: Outcome,
        touched: Touched,
        on: Option<[u8; 4]>,
    ) -> Decision {
        let credential = self
            .book
            .job(job)
            .and_then(|job| job.credential)
            .or(Some(C));
        let session = self.session(agent);
        let finished = finished(job, sequence, credential, outcome, touched, on);
        self.book
            .job_finished(self.now, agent, session, &finished, None)
            .unwrap()
    }

    fn plan_wish(&mut self, agent: AgentId, job: JobId, n: u64, on: [u8; 4]) -> Decision {
        let session = self.session(agent);
        let wish = PlanRequest {
            job_id: job,
            uid: Uid::new(&on).unwrap(),
            n,
            purpose: PlanPurpose::Verify,
        };
        self.book
            .plan_request(self.now, agent, session, &wish)
            .unwrap()
    }

    fn code(&self, job: JobId) -> Option<ErrorCode> {
        match &self.book.job(job).unwrap().attempt {
            Attempt::Error(error) => Some(error.code),
            Attempt::Pending | Attempt::Success { .. } => None,
        }
    }

    fn message(&self, job: JobId) -> String {
        match &self.book.job(job).unwrap().attempt {
            Attempt::Error(error) => error.message.clone(),
            other @ (Attempt::Pending | Attempt::Success { .. }) => {
                panic!("expected an error, got {other:?}")
            }
        }
    }

    fn pending(&self, job: JobId) -> bool {
        self.book.job(job).unwrap().attempt.is_pending()
    }

    fn succeeded(&self, job: JobId) -> bool {
        matches!(self.book.job(job).unwrap().attempt, Attempt::Success { .. })
    }

    fn held(&self, credential: CredentialId) -> Vec<(Option<Uid>, HoldState)> {
        let holds = self.book.holds(credential);
        holds.iter().map(|hold| (hold.uid, hold.state)).collect()
    }
}

fn restored() -> World {
    World::of(Restored {
        until: start(),
        awaited: vec![ONE, TWO],
    })
}

pub(super) fn finished(
    job: JobId,
    sequence: u64,
    credential: Option<CredentialId>,
    outcome: Outcome,
    touched: Touched,
    on: Option<[u8; 4]>,
) -> JobFinished {
    JobFinished {
        sequence,
        job_id: job,
        kind: JobKind::Encode,
        credential_id: credential.map(|credential| credential.0),
        outcome,
        touched,
        card: on.map(card),
        card_number: on.and_then(|on| card(on).card_number()),
        issued_at: (touched == Touched::Written).then(start),
        contents: None,
        error: (outcome == Outcome::Error).then(|| JobError {
            code: ErrorCode::NoCardOnEncoder,
            message: "no card came".into(),
            touched,
            hardware: None,
        }),
    }
}

pub(super) fn open(job: JobId, key: &str, state: OpenJobState) -> OpenJob {
    OpenJob {
        job_id: job,
        encoder_key: EncoderKey(key.into()),
        kind: JobKind::Encode,
        credential_id: Some(C.0),
        state,
    }
}
