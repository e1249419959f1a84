//! The rules of the job protocol, each by its number, on a book without store, sockets or clocks.

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

    fn content(&mut self) -> PlanContent {
        PlanContent {
            key_version: 1,
            revision: self.revision,
            starts_at: None,
            ends_at: None,
            entrances: vec![],
            issued_at: self.now,
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

fn planned(decision: &Decision) -> bool {
    decision
        .messages
        .iter()
        .any(|sent| matches!(sent, Delivery::Plan { .. }))
}

fn messages(decision: &Decision) -> impl Iterator<Item = &ServiceMessage> {
    decision.messages.iter().filter_map(|sent| {
        if let Delivery::Message(_, message) = sent {
            Some(message)
        } else {
            None
        }
    })
}

fn refused(decision: &Decision) -> Option<ErrorCode> {
    messages(decision).find_map(|message| {
        if let ServiceMessage::CardPlan(plan) = message
            && let Plan::Refuse { code, .. } = plan.plan
        {
            Some(code)
        } else {
            None
        }
    })
}

fn cancelled(decision: &Decision) -> Option<ErrorCode> {
    messages(decision).find_map(|message| {
        if let ServiceMessage::Cancel { code, .. } = message {
            Some(*code)
        } else {
            None
        }
    })
}

fn jobs_sent(decision: &Decision) -> Vec<JobId> {
    let sent = messages(decision).filter_map(|message| {
        if let ServiceMessage::Job(Job { job_id, .. }) = message {
            Some(*job_id)
        } else {
            None
        }
    });
    sent.collect()
}

fn issued(decision: &Decision) -> bool {
    decision
        .changes
        .iter()
        .any(|change| matches!(change, Change::Issue(_)))
}

#[test]
fn promise_rule_1_the_binding_is_stored_before_the_plan_and_goes_into_the_session_that_presented() {
    let mut world = World::new();
    let job = world.encode(ONE_DESK, C);
    let session = world.session(ONE);
    let decision = world.present(ONE, job, 1, A);
    let stored = decision.changes.iter().any(|change| {
        matches!(change, Change::SaveJob(saved)
            if saved.binding.as_ref().is_some_and(|bound| bound.n == 1 && bound.uid == uid(A)))
    });
    let held = decision.changes.iter().any(
        |change| matches!(change, Change::PutHold(hold) if hold.uid == uid(A) && hold.job == job),
    );
    assert!(stored && held, "{:?}", decision.changes);
    assert!(
        matches!(&decision.messages[..], [Delivery::Plan { session: to, .. }] if *to == session)
    );
}

#[test]
fn promise_rule_1_an_old_session_gets_no_plan() {
    let mut world = World::new();
    let job = world.encode(ONE_DESK, C);
    let old = world.session(ONE);
    world.disconnect(ONE);
    world.connect_with(ONE, 1, vec![open(job, "desk", OpenJobState::Accepted)], 0);
    let prepared = Ok(Some(world.content()));
    let presented = CardPresented {
        job_id: job,
        n: 1,
        card: card(A),
    };
    let decision = world
        .book
        .card_presented(world.now, ONE, old, &presented, prepared, None)
        .unwrap();
    assert_eq!(decision, Decision::default());
    assert!(world.book.job(job).unwrap().binding.is_none());
}

#[test]
fn promise_rule_1_another_card_binds_anew_until_started_and_numbers_never_repeat() {
    let mut world = World::new();
    let job = world.encode(ONE_DESK, C);
    world.bind(ONE, job, 1, A);
    world.bind(ONE, job, 2, B);
    assert_eq!(world.held(C), [(uid(B), HoldState::Bound)]);
    let stale = world.present(ONE, job, 2, A);
    assert!(!planned(&stale) && refused(&stale).is_some());
    let older = world.present(ONE, job, 1, A);
    assert!(!planned(&older) && refused(&older).is_some());
    assert_eq!(world.held(C), [(uid(B), HoldState::Bound)]);
}

#[test]
fn promise_rule_1_the_same_presentation_again_gets_the_plan_of_the_same_binding() {
    let mut world = World::new();
    let job = world.encode(ONE_DESK, C);
    let first = world.present(ONE, job, 1, A);
    world.later(5);
    world.revision = 2;
    let second = world.present(ONE, job, 1, A);
    let content = |decision: &Decision| {
        let [Delivery::Plan { job, .. }] = &decision.messages[..] else {
            panic!("expected one plan, got {:?}", decision.messages);
        };
        job.binding.clone().unwrap().content
    };
    assert_eq!(content(&first), content(&second));
    assert!(second.changes.is_empty());
}

#[test]
fn promise_rule_1_a_sixth_card_within_one_job_is_refused() {
    let mut world = World::new();
    let job = world.encode(ONE_DESK, C);
    for n in 1..=5u8 {
        world.bind(ONE, job, n.into(), [0x10 + n, 0, 0, 1]);
    }
    let sixth = world.present(ONE, job, 6, A);
    assert_eq!(refused(&sixth), Some(ErrorCode::UncategorizedError));
    world.bind(ONE, job, 7, [0x11, 0, 0, 1]);
}

#[test]
fn promise_rule_1_trace_b_a_late_first_presentation_after_a_crash_is_not_planned() {
    let mut world = World::new();
    let job = world.encode(ONE_DESK, C);
    world.bind(ONE, job, 2, B);
    world.disconnect(ONE);
    world.connect_with(ONE, 77, vec![open(job, "desk", OpenJobState::Accepted)], 0);
    let late = world.present(ONE, job, 1, A);
    assert!(!planned(&late), "{late:?}");
    let other = world.present(ONE, job, 3, A);
    assert_eq!(refused(&other), Some(ErrorCode::CredentialCannotBeReissued));
    assert_eq!(world.held(C), [(uid(B), HoldState::Bound)]);
    world.bind(ONE, job, 4, B);
}

#[test]
fn promise_rule_1_a_write_on_a_card_that_is_not_the_bound_one_is_held_as_well() {
    let mut world = World::new();
    let job = world.encode(ONE_DESK, C);
    world.bind(ONE, job, 1, A);
    let session = world.session(ONE);
    let writing = Progress::Writing { uid: uid(B), n: 1 };
    world
        .book
        .job_progress(ONE, session, job, &writing)
        .unwrap();
    assert_eq!(
        world.held(C),
        [(uid(A), HoldState::Bound), (uid(B), HoldState::Unknown)]
    );
    world.finish(ONE, job, 1, Outcome::Success, Touched::Written, Some(B));
    assert_eq!(world.code(job), Some(ErrorCode::UncategorizedError));
    let again = world.encode(ONE_DESK, C);
    assert_eq!(
        world.code(again),
        Some(ErrorCode::CredentialCannotBeReissued)
    );
}

#[test]
fn promise_rule_2_only_its_own_untouched_releases_a_hold() {
    let mut world = World::new();
    let first = world.encode(ONE_DESK, C);
    world.bind(ONE, first, 1, A);
    world.finish(ONE, first, 1, Outcome::Error, Touched::Untouched, Some(A));
    assert_eq!(world.held(C), []);
    let second = world.encode(TWO_DESK, C);
    world.bind(TWO, second, 1, B);
    world.finish(TWO, second, 1, Outcome::Success, Touched::Written, Some(B));
    assert!(world.succeeded(second));
    assert_eq!(world.held(C), [(uid(B), HoldState::Written)]);
}

#[test]
fn promise_rule_2_trace_a_another_jobs_untouched_does_not_free_the_credential() {
    let mut world = World::new();
    let one = world.encode(ONE_DESK, C);
    world.bind(ONE, one, 1, A);
    world.finish(ONE, one, 1, Outcome::Error, Touched::Unknown, Some(A));
    let two = world.encode(ONE_DESK, C);
    world.finish(ONE, two, 2, Outcome::Error, Touched::Untouched, None);
    assert_eq!(world.held(C), [(uid(A), HoldState::Unknown)]);
    let three = world.encode(TWO_DESK, C);
    let on_b = world.present(TWO, three, 1, B);
    assert_eq!(refused(&on_b), Some(ErrorCode::CredentialCannotBeReissued));
    world.bind(TWO, three, 2, A);
}

#[test]
fn promise_rule_2_an_encode_elsewhere_while_one_is_open_ends_at_once_and_names_that_encoder() {
    let mut world = World::new();
    let first = world.encode(ONE_DESK, C);
    let second = world.encode(ONE_DOOR, C);
    assert_eq!(world.code(second), Some(ErrorCode::UncategorizedError));
    assert!(
        world.message(second).contains("\"DESK\""),
        "{}",
        world.message(second)
    );
    assert!(world.pending(first));
}

#[test]
fn promise_rule_2_the_same_encode_asked_again_is_the_same_attempt() {
    let mut world = World::new();
    let first = world.encode(ONE_DESK, C);
    assert_eq!(world.encode(ONE_DESK, C), first);
    world.bind(ONE, first, 1, A);
    assert_eq!(world.encode(ONE_DESK, C), first);
    world.finish(ONE, first, 1, Outcome::Success, Touched::Written, Some(A));
    assert_ne!(world.ask(ONE_DESK, C, true), first);
}

#[test]
fn promise_rule_2_a_credential_on_a_card_goes_there_again_only_when_changed_and_nowhere_else() {
    let mut world = World::new();
    let first = world.encode(ONE_DESK, C);
    world.bind(ONE, first, 1, A);
    world.finish(ONE, first, 1, Outcome::Success, Touched::Written, Some(A));
    let unchanged = world.ask(ONE_DESK, C, true);
    assert_eq!(
        world.code(unchanged),
        Some(ErrorCode::CredentialCannotBeReissued)
    );
    let changed = world.encode(ONE_DESK, C);
    let elsewhere = world.present(ONE, changed, 1, B);
    assert_eq!(
        refused(&elsewhere),
        Some(ErrorCode::CredentialCannotBeReissued)
    );
    world.finish(ONE, changed, 2, Outcome::Error, Touched::Untouched, None);
    let again = world.encode(ONE_DESK, C);
    world.bind(ONE, again, 1, A);
}

#[test]
fn promise_rule_3_success_counts_only_when_the_card_was_read_back() {
    let mut world = World::new();
    for (credential, touched) in [(C, Touched::Unknown), (D, Touched::Untouched)] {
        let job = world.encode(ONE_DESK, credential);
        world.bind(ONE, job, 1, A);
        world.finish(ONE, job, 1, Outcome::Success, touched, Some(A));
        assert_eq!(world.code(job), Some(ErrorCode::UncategorizedError));
        assert_eq!(world.held(credential), [(uid(A), HoldState::Unknown)]);
    }
}

#[test]
fn promise_rule_4_the_first_outcome_of_a_job_wins_and_every_one_is_acknowledged() {
    let mut world = World::new();
    let job = world.encode(ONE_DESK, C);
    world.bind(ONE, job, 1, A);
    let first = world.finish(ONE, job, 1, Outcome::Success, Touched::Written, Some(A));
    assert!(issued(&first));
    let second = world.finish(ONE, job, 2, Outcome::Error, Touched::Untouched, Some(A));
    assert!(!issued(&second));
    assert!(world.succeeded(job));
    assert_eq!(world.held(C), [(uid(A), HoldState::Written)]);
    let session = world.session(ONE);
    let ack = Delivery::Message(session, ServiceMessage::FinishedAck { sequence: 2 });
    assert_eq!(second.messages, [ack]);
}

#[test]
fn promise_rule_4_what_is_bound_is_never_sent_again_and_what_is_not_is() {
    let mut world = World::new();
    let bound = world.encode(ONE_DESK, C);
    let waiting = world.encode(ONE_DESK, D);
    world.bind(ONE, bound, 1, A);
    world.disconnect(ONE);
    let decision = world.connect(ONE, 1);
    assert_eq!(jobs_sent(&decision), [waiting]);
}

#[test]
fn promise_rule_4_trace_e_a_sequence_that_starts_again_drops_no_outcome() {
    let mut world = World::new();
    for sequence in 1..=3 {
        let job = world.encode(ONE_DESK, D);
        world.finish(ONE, job, sequence, Outcome::Error, Touched::Untouched, None);
    }
    let job = world.encode(ONE_DESK, C);
    world.bind(ONE, job, 1, A);
    world.finish(ONE, job, 1, Outcome::Error, Touched::Unknown, Some(A));
    assert!(!world.pending(job));
    assert_eq!(world.held(C), [(uid(A), HoldState::Unknown)]);
    assert_eq!(world.book.agent(ONE).unwrap().last_sequence, 3);
}

#[test]
fn promise_rule_5_a_plan_to_verify_is_given_for_the_bound_card_alone_also_after_the_end() {
    let mut world = World::new();
    let job = world.encode(ONE_DESK, C);
    world.bind(ONE, job, 1, A);
    assert_eq!(
        refused(&world.plan_wish(ONE, job, 1, B)),
        Some(ErrorCode::EncodingInterrupted)
    );
    assert_eq!(
        refused(&world.plan_wish(ONE, job, 2, A)),
        Some(ErrorCode::EncodingInterrupted)
    );
    world.later(60 + 120);
    world.book.tick(world.now);
    assert_eq!(world.code(job), Some(ErrorCode::EncodingInterrupted));
    let decision = world.plan_wish(ONE, job, 1, A);
    assert!(matches!(
        &decision.messages[..],
        [Delivery::Plan {
            purpose: Some(PlanPurpose::Verify),
            ..
        }]
    ));
}

#[test]
fn promise_rule_6_after_another_boot_untouched_counts_as_unknown() {
    let mut world = World::new();
    let job = world.encode(ONE_DESK, C);
    world.bind(ONE, job, 1, A);
    world.disconnect(ONE);
    world.connect_with(ONE, 77, vec![open(job, "desk", OpenJobState::Accepted)], 0);
    world.finish(ONE, job, 1, Outcome::Error, Touched::Untouched, Some(A));
    assert_eq!(world.held(C), [(uid(A), HoldState::Unknown)]);
    let Attempt::Error(error) = &world.book.job(job).unwrap().attempt else {
        panic!("expected an error");
    };
    assert_eq!(error.touched, Touched::Unknown);
}

#[test]
fn promise_rule_6_trace_e_a_bound_job_that_the_new_boot_does_not_know_ends_as_unknown() {
    let mut world = World::new();
    let job = world.encode(ONE_DESK, C);
    world.bind(ONE, job, 1, A);
    world.disconnect(ONE);
    world.connect(ONE, 77);
    assert_eq!(world.code(job), Some(ErrorCode::EncodingInterrupted));
    assert_eq!(world.held(C), [(uid(A), HoldState::Unknown)]);
    world.finish(ONE, job, 1, Outcome::Error, Touched::Untouched, Some(A));
    assert_eq!(world.held(C), [(uid(A), HoldState::Unknown)]);
}

#[test]
fn promise_rule_6_a_new_boot_that_still_owes_outcomes_is_waited_for() {
    let mut world = World::new();
    let job = world.encode(ONE_DESK, C);
    world.bind(ONE, job, 1, A);
    world.disconnect(ONE);
    world.connect_with(ONE, 77, vec![], 1);
    assert!(world.pending(job));
    world.finish(ONE, job, 1, Outcome::Success, Touched::Written, Some(A));
    assert!(world.succeeded(job));
}

#[test]
fn promise_rule_6_the_same_boot_releases_what_it_proves_untouched() {
    let mut world = World::new();
    let job = world.encode(ONE_DESK, C);
    world.bind(ONE, job, 1, A);
    world.disconnect(ONE);
    world.connect_with(ONE, 1, vec![open(job, "desk", OpenJobState::Accepted)], 0);
    world.finish(ONE, job, 1, Outcome::Error, Touched::Untouched, Some(A));
    assert_eq!(world.held(C), []);
}

#[test]
fn promise_rule_8_trace_c_an_unknown_jobs_outcome_is_kept_and_holds_its_credential() {
    let mut world = World::new();
    let stranger = JobId(Uuid::from_u128(0x5555));
    let decision = world.finish(
        ONE,
        stranger,
        4,
        Outcome::Success,
        Touched::Written,
        Some(A),
    );
    assert!(issued(&decision));
    assert!(
        decision
            .changes
            .iter()
            .any(|change| matches!(change, Change::PutOrphan(_)))
    );
    let job = world.encode(TWO_DESK, C);
    let elsewhere = world.present(TWO, job, 1, B);
    assert_eq!(
        refused(&elsewhere),
        Some(ErrorCode::CredentialCannotBeReissued)
    );
    world.bind(TWO, job, 2, A);
}

#[test]
fn promise_rule_8_an_unknown_job_listed_as_open_blocks_its_credential_until_its_outcome() {
    let mut world = World::new();
    world.disconnect(ONE);
    let stranger = JobId(Uuid::from_u128(0x5555));
    let hello = world.connect_with(
        ONE,
        1,
        vec![open(stranger, "desk", OpenJobState::Accepted)],
        0,
    );
    assert_eq!(cancelled(&hello), Some(ErrorCode::UncategorizedError));
    let early = world.encode(TWO_DESK, C);
    assert_eq!(world.code(early), Some(ErrorCode::UncategorizedError));
    assert!(world.message(early).contains("\"one\""));
    world.finish(ONE, stranger, 1, Outcome::Error, Touched::Untouched, None);
    let job = world.encode(TWO_DESK, C);
    world.bind(TWO, job, 1, B);
}

fn restored() -> World {
    World::of(Restored {
        until: start(),
        awaited: vec![ONE, TWO],
    })
}

#[test]
fn promise_rule_9_trace_d_a_restored_store_binds_nothing_of_the_copy_until_every_agent_was_heard() {
    let mut world = restored();
    world.connect(TWO, 2);
    let early = world.encode(TWO_DESK, C);
    assert_eq!(world.code(early), Some(ErrorCode::UncategorizedError));
    assert!(
        world.message(early).contains("one"),
        "{}",
        world.message(early)
    );
    world.connect_with(ONE, 1, vec![], 2);
    let owing = world.encode(TWO_DESK, C);
    assert_eq!(world.code(owing), Some(ErrorCode::UncategorizedError));
    let stranger = JobId(Uuid::from_u128(0x5555));
    world.finish(ONE, stranger, 1, Outcome::Error, Touched::Untouched, None);
    let decision = world.finish(
        ONE,
        JobId(Uuid::from_u128(0x5556)),
        2,
        Outcome::Success,
        Touched::Written,
        Some(A),
    );
    assert!(decision.changes.contains(&Change::AgentHeard(ONE)));
    let job = world.encode(TWO_DESK, C);
    assert_eq!(
        refused(&world.present(TWO, job, 1, B)),
        Some(ErrorCode::CredentialCannotBeReissued)
    );
    world.bind(TWO, job, 2, A);
}

#[test]
fn promise_rule_9_a_credential_newer_than_the_copy_is_bound_at_once() {
    let mut world = restored();
    world.connect(TWO, 2);
    let request = Request {
        job: JobId(Uuid::from_u128(0x77)),
        encoder: TWO_DESK,
        api_key: None,
        credential: Some(CredentialFacts {
            id: C,
            created_at: start() + SignedDuration::from_secs(1),
            on_card_unchanged: false,
        }),
    };
    let (job, _) = world.book.request(world.now, &request).unwrap();
    assert!(world.pending(job));
}

#[test]
fn promise_rule_9_trace_d_a_job_that_the_copy_calls_ended_blocks_its_credential_while_its_agent_lists_it()
 {
    let mut world = restored();
    world.connect(ONE, 1);
    world.connect(TWO, 2);
    let job = world.encode(ONE_DESK, C);
    world.disconnect(ONE);
    world.later(20);
    world.book.tick(world.now);
    assert_eq!(world.code(job), Some(ErrorCode::BridgeDisconnected));
    let started = OpenJobState::Started { uid: uid(A), n: 1 };
    world.connect_with(ONE, 1, vec![open(job, "desk", started)], 0);
    let other = world.encode(TWO_DESK, C);
    assert_eq!(world.code(other), Some(ErrorCode::UncategorizedError));
    world.finish(ONE, job, 1, Outcome::Error, Touched::Unknown, Some(A));
    assert_eq!(world.code(job), Some(ErrorCode::BridgeDisconnected));
    let next = world.encode(TWO_DESK, C);
    assert_eq!(
        refused(&world.present(TWO, next, 1, B)),
        Some(ErrorCode::CredentialCannotBeReissued)
    );
}

#[test]
fn promise_rule_9_a_waiting_job_of_the_copy_is_not_bound_before_every_agent_was_heard() {
    let mut world = restored();
    world.connect(ONE, 1);
    world.connect(TWO, 2);
    let job = world.encode(TWO_DESK, C);
    world.book.restored.awaited.push(ONE);
    assert_eq!(
        refused(&world.present(TWO, job, 1, B)),
        Some(ErrorCode::UncategorizedError)
    );
}

#[test]
fn promise_rule_10_an_absent_agent_ends_a_request_at_once() {
    let mut world = World::new();
    world.disconnect(ONE);
    let job = world.encode(ONE_DESK, C);
    assert_eq!(world.code(job), Some(ErrorCode::BridgeDisconnected));
    assert_eq!(world.held(C), []);
}

#[test]
fn promise_rule_10_an_absent_or_faulty_encoder_ends_a_request_at_once() {
    let mut world = World::new();
    let session = world.session(ONE);
    let mut broken = description("door", KeyScope::Agent);
    broken.state = EncoderState::Fault;
    broken.problem = Some("no answer on /dev/ttyUSB0".into());
    world
        .book
        .inventory(world.now, ONE, session, &[broken], || unreachable!())
        .unwrap();
    let gone = world.encode(ONE_DESK, C);
    assert_eq!(world.code(gone), Some(ErrorCode::EncoderNotOnline));
    let faulty = world.encode(ONE_DOOR, D);
    assert_eq!(world.code(faulty), Some(ErrorCode::EncoderNotOnline));
    assert!(world.message(faulty).contains("no answer on /dev/ttyUSB0"));
}

#[test]
fn promise_rule_10_a_sent_job_outlives_its_agent_by_20_seconds() {
    let mut world = World::new();
    let job = world.encode(ONE_DESK, C);
    world.later(1);
    world.disconnect(ONE);
    world.later(19);
    world.book.tick(world.now);
    assert!(world.pending(job));
    assert_eq!(
        world.book.next_due(),
        Some(start() + SignedDuration::from_secs(21))
    );
    world.later(1);
    world.book.tick(world.now);
    assert_eq!(world.code(job), Some(ErrorCode::BridgeDisconnected));
    let hello = world.connect_with(ONE, 1, vec![open(job, "desk", OpenJobState::Accepted)], 0);
    assert_eq!(cancelled(&hello), Some(ErrorCode::BridgeDisconnected));
}

#[test]
fn promise_rule_10_an_unbound_job_expires_at_its_deadline_and_is_cancelled() {
    let mut world = World::new();
    let job = world.encode(ONE_DESK, C);
    world.later(59);
    assert_eq!(world.book.tick(world.now), Decision::default());
    world.later(1);
    let decision = world.book.tick(world.now);
    assert_eq!(world.code(job), Some(ErrorCode::ActionAttemptExpired));
    assert_eq!(cancelled(&decision), Some(ErrorCode::ActionAttemptExpired));
    let late = world.present(ONE, job, 1, A);
    assert_eq!(cancelled(&late), Some(ErrorCode::ActionAttemptExpired));
    assert!(!planned(&late));
    assert_eq!(world.held(C), []);
}

#[test]
fn promise_rule_10_a_bound_job_waits_two_minutes_more_and_then_holds_its_card() {
    let mut world = World::new();
    let job = world.encode(ONE_DESK, C);
    world.bind(ONE, job, 1, A);
    world.disconnect(ONE);
    world.later(60 + 119);
    world.book.tick(world.now);
    assert!(world.pending(job));
    world.later(1);
    world.book.tick(world.now);
    assert_eq!(world.code(job), Some(ErrorCode::EncodingInterrupted));
    assert_eq!(world.held(C), [(uid(A), HoldState::Bound)]);
    let elsewhere = world.encode(TWO_DESK, C);
    assert_eq!(
        refused(&world.present(TWO, elsewhere, 1, B)),
        Some(ErrorCode::CredentialCannotBeReissued)
    );
}

#[test]
fn promise_rule_10_a_late_outcome_settles_the_hold_and_leaves_the_attempt() {
    let mut world = World::new();
    let job = world.encode(ONE_DESK, C);
    world.bind(ONE, job, 1, A);
    world.later(60 + 120);
    world.book.tick(world.now);
    let decision = world.finish(ONE, job, 1, Outcome::Success, Touched::Written, Some(A));
    assert_eq!(world.code(job), Some(ErrorCode::EncodingInterrupted));
    assert_eq!(world.held(C), [(uid(A), HoldState::Written)]);
    assert!(issued(&decision));
}

#[test]
fn promise_rule_10_jobs_ahead_on_the_encoder_move_the_deadline_out() {
    let mut world = World::new();
    let first = world.encode(ONE_DESK, C);
    let second = world.scan(ONE_DESK);
    let other = world.scan(ONE_DOOR);
    let seconds = |job| {
        let job = world.book.job(job).unwrap();
        job.deadline.duration_since(job.created_at).as_secs()
    };
    assert_eq!(
        [seconds(first), seconds(second), seconds(other)],
        [60, 90, 60]
    );
}

#[test]
fn promise_rule_10_a_deleted_credential_ends_a_waiting_job_and_cancels_a_bound_one() {
    let mut world = World::new();
    let waiting = world.encode(ONE_DESK, C);
    let bound = world.encode(TWO_DESK, D);
    world.bind(TWO, bound, 1, A);
    let first = world.book.credential_deleted(world.now, C);
    assert_eq!(world.code(waiting), Some(ErrorCode::CredentialDeleted));
    assert_eq!(cancelled(&first), Some(ErrorCode::CredentialDeleted));
    let second = world.book.credential_deleted(world.now, D);
    assert!(world.pending(bound));
    assert_eq!(cancelled(&second), Some(ErrorCode::CredentialDeleted));
    assert_eq!(
        cancelled(&world.present(TWO, bound, 2, B)),
        Some(ErrorCode::CredentialDeleted)
    );
    world.finish(TWO, bound, 1, Outcome::Success, Touched::Written, Some(A));
    assert!(world.succeeded(bound));
}

#[test]
fn promise_rule_11_a_card_for_an_unknown_job_is_answered_by_cancel() {
    let mut world = World::new();
    let decision = world.present(ONE, JobId(Uuid::from_u128(0x5555)), 1, A);
    assert_eq!(cancelled(&decision), Some(ErrorCode::UncategorizedError));
    let session = world.session(ONE);
    let accepted = world
        .book
        .job_accepted(ONE, session, JobId(Uuid::from_u128(0x5556)))
        .unwrap();
    assert!(cancelled(&accepted).is_some());
}

#[test]
fn promise_rule_11_another_agents_job_or_encoder_breaks_the_protocol() {
    let mut world = World::new();
    let job = world.encode(ONE_DESK, C);
    let foreign = Err(Violation::ForeignJob(job));
    assert_eq!(world.try_present(TWO, job, 1, card(A)), foreign);
    let session = SessionId(world.fresh());
    world.disconnect(TWO);
    let listed = vec![open(job, "desk", OpenJobState::Accepted)];
    assert_eq!(world.hello(TWO, session, 2, listed, 0), foreign);
    world.disconnect(ONE);
    let listed = vec![open(job, "door", OpenJobState::Accepted)];
    let elsewhere = world.hello(ONE, session, 1, listed, 0);
    assert_eq!(elsewhere, Err(Violation::ForeignEncoder(job)));
}

#[test]
fn a_card_that_the_access_system_cannot_use_is_refused_and_binds_nothing() {
    let mut world = World::new();
    let job = world.encode(ONE_DESK, C);
    let session = world.session(ONE);
    let prepared = Err(Refusal::new(
        ErrorCode::IncompatibleCardFormat,
        "a desfire card",
    ));
    let presented = CardPresented {
        job_id: job,
        n: 1,
        card: card(A),
    };
    let decision = world
        .book
        .card_presented(world.now, ONE, session, &presented, prepared, None)
        .unwrap();
    assert_eq!(refused(&decision), Some(ErrorCode::IncompatibleCardFormat));
    assert!(decision.changes.is_empty());
}

#[test]
fn a_refused_job_ends_its_attempt_for_good_and_a_bound_one_is_waited_for() {
    let mut world = World::new();
    let job = world.encode(ONE_DESK, C);
    let bound = world.encode(TWO_DESK, D);
    world.bind(TWO, bound, 1, A);
    let refuse = |job| JobRefused {
        job_id: job,
        reason: RefusalReason::UnknownEncoder,
        message: "no such encoder".into(),
    };
    world
        .book
        .job_refused(world.now, ONE, &refuse(job))
        .unwrap();
    assert_eq!(world.code(job), Some(ErrorCode::EncoderNotOnline));
    world
        .book
        .job_refused(world.now, TWO, &refuse(bound))
        .unwrap();
    assert!(world.pending(bound));
}

#[test]
fn an_agent_that_asks_for_too_many_plans_is_refused_for_a_while() {
    let mut world = World::new();
    let job = world.encode(ONE_DESK, C);
    world.bind(ONE, job, 1, A);
    for _ in 1..super::budget::PLAN_BURST {
        assert!(planned(&world.plan_wish(ONE, job, 1, A)));
    }
    assert_eq!(
        refused(&world.plan_wish(ONE, job, 1, A)),
        Some(ErrorCode::UncategorizedError)
    );
    world.later(5);
    assert!(planned(&world.plan_wish(ONE, job, 1, A)));
}

#[test]
fn an_encoder_with_a_chip_id_moves_with_its_jobs_left_behind() {
    let mut world = World::new();
    let chip = || description("usb-1", KeyScope::System);
    let id = EncoderId(Uuid::from_u128(0xe9));
    let session = world.session(ONE);
    world
        .book
        .inventory(world.now, ONE, session, &[chip()], || id)
        .unwrap();
    let old = world.scan(id);
    world.later(1);
    let session = world.session(TWO);
    world
        .book
        .inventory(world.now, TWO, session, &[chip()], || unreachable!())
        .unwrap();
    let new = world.scan(id);
    assert_eq!(world.book.job(old).unwrap().agent, Some(ONE));
    assert_eq!(world.book.job(new).unwrap().agent, Some(TWO));
    world.disconnect(TWO);
    let back = world.scan(id);
    assert_eq!(world.book.job(back).unwrap().agent, Some(ONE));
}

#[test]
fn an_inventory_that_only_changes_a_state_stores_nothing() {
    let mut world = World::new();
    let session = world.session(TWO);
    let mut busy = description("desk", KeyScope::Agent);
    busy.state = EncoderState::Busy;
    let decision = world
        .book
        .inventory(world.now, TWO, session, &[busy.clone()], || unreachable!())
        .unwrap();
    assert_eq!(decision, Decision::default());
    let twice = world.book.inventory(
        world.now,
        TWO,
        session,
        &[busy.clone(), busy],
        || unreachable!(),
    );
    assert_eq!(twice, Err(Violation::DuplicateEncoder));
}

#[test]
fn what_is_settled_can_be_forgotten_and_what_is_open_cannot() {
    let mut world = World::new();
    let done = world.encode(ONE_DESK, C);
    world.bind(ONE, done, 1, A);
    world.finish(ONE, done, 1, Outcome::Success, Touched::Written, Some(A));
    let open = world.encode(ONE_DESK, D);
    world.book.forget_settled(0);
    assert!(!world.book.knows_job(done) && world.book.knows_job(open));
    assert!(!world.book.knows_credential(C));
    assert_eq!(
        world.book.live(ONE).unwrap().boot,
        BootId(Uuid::from_u128(1))
    );
}
