//! The coordinator in virtual time: turns over the real book, one transaction each, and the conversations with agents.

use std::collections::{BTreeMap, VecDeque};

use encoder_coordinator::{
    access_system::AccessSystem,
    jobs::{
        AgentId, Book, Change, CredentialFacts, CredentialId, Decision, Delivery, EncoderId,
        Greeting, JobRecord, PlanContent, Refusal, Request, SessionId,
    },
    store::credentials::IssueState,
};
use encoder_protocols::{
    card::{
        Uid,
        key_record::{SiteKey, VersionedSiteKey},
    },
    wire::{
        AgentMessage, Bye, ByeReason, CardPlan, CardPresented, ErrorCode, Hello, JobId, JobKind,
        Plan, PlanPurpose, ServiceMessage,
    },
};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::{
    common::{Common, MILLISECOND, Micros, SECOND, utc},
    store::Store,
};

/// How often each side of a session pings.
pub(super) const HEARTBEAT: Micros = 20 * SECOND;

/// Something that happened.
#[derive(Debug)]
pub(super) enum Input {
    Asked {
        job: JobId,
        encoder: EncoderId,
        credential: Option<CredentialId>,
    },
    CredentialDeleted(CredentialId),
    Lost(AgentId, SessionId),
    Opened {
        connection: usize,
        agent: AgentId,
        session: SessionId,
        hello: Box<Hello>,
    },
    Said(AgentId, SessionId, Box<AgentMessage>),
    /// The operator says that every card which holds the credential is destroyed.
    Released(CredentialId),
    /// The operator says that the agent never comes back.
    Retired(AgentId),
}

/// What goes to a connection once the turn is committed.
#[derive(Debug)]
pub(super) enum Out {
    Message(SessionId, Box<ServiceMessage>),
    End(SessionId, Bye),
    /// The session stands: from now on it is this connection's.
    Opened(usize, AgentId, SessionId),
    /// Another one is alive, which is asked for a sign of life.
    TurnedAway(usize, SessionId),
}

struct Turn {
    changes: Vec<Change>,
    out: Vec<Out>,
    done_at: Micros,
    /// What the store was before, if it changes.
    before: Option<Store>,
}

/// A run of the coordinator's program.
pub(super) struct Desk {
    pub(super) inputs: VecDeque<Input>,
    book: Option<Book>,
    sessions: BTreeMap<SessionId, AgentId>,
    turn: Option<Turn>,
    /// How far the clock was off when the last turn began.
    skew: i64,
}

/// The coordinator.
pub(super) struct Coordinator {
    pub(super) store: Store,
    pub(super) copies: Vec<Store>,
    pub(super) desk: Option<Desk>,
    pub(super) frozen_until: Micros,
    pub(super) skew: i64,
    pub(super) starts_at: Option<Micros>,
    /// How many settled jobs stay at hand.
    at_hand: usize,
    system: AccessSystem,
    greeting: Greeting,
}

impl Coordinator {
    pub(super) fn new(store: Store, common: &mut Common) -> Self {
        let key = VersionedSiteKey {
            version: 1,
            key: SiteKey::new([7; 32]),
        };
        Self {
            store,
            copies: Vec::new(),
            desk: None,
            frozen_until: 0,
            skew: 0,
            starts_at: None,
            at_hand: common.dice.index(20),
            system: AccessSystem::new([key]),
            greeting: Greeting {
                store_id: Uuid::from_u128(common.fresh()),
                heartbeat_ms: HEARTBEAT / MILLISECOND,
            },
        }
    }

    pub(super) fn utc(&self, common: &Common) -> Timestamp {
        utc(common.now, self.skew)
    }

    /// Starts the coordinator's program.
    pub(super) fn start(&mut self, common: &mut Common) {
        self.starts_at = None;
        let book = self.store.load(self.utc(common));
        common.note(|| "coordinator: starts".to_owned());
        common.count("coordinator started");
        self.desk = Some(Desk {
            inputs: VecDeque::new(),
            book: Some(book),
            sessions: BTreeMap::new(),
            turn: None,
            skew: self.skew,
        });
    }

    /// The process is gone at once; a commit that was under way happened or not.
    pub(super) fn kill(&mut self, common: &mut Common) {
        let Some(desk) = self.desk.take() else { return };
        if let Some(turn) = desk.turn {
            common.count("coordinator killed in a turn");
            if common.dice.chance(500) {
                common.count("coordinator killed after a commit");
                self.observe(common, &turn.changes);
            } else {
                self.store = turn
                    .before
                    .unwrap_or_else(|| std::mem::take(&mut self.store));
            }
        }
    }

    /// The property's software, or a restore, writes rows of its own.
    pub(super) fn change_store(&mut self, change: impl Fn(&mut Store)) {
        change(&mut self.store);
        let turn = self.desk.as_mut().and_then(|desk| desk.turn.as_mut());
        if let Some(before) = turn.and_then(|turn| turn.before.as_mut()) {
            change(before);
        }
    }

    /// Takes a copy of what is committed.
    pub(super) fn take_copy(&mut self) {
        let turn = self.desk.as_ref().and_then(|desk| desk.turn.as_ref());
        let before = turn.and_then(|turn| turn.before.as_ref());
        let committed = before.unwrap_or(&self.store);
        self.copies.push(committed.clone());
    }

    /// When it wants to run without any input.
    pub(super) fn wakes_at(&self, common: &Common) -> Micros {
        let Some(desk) = &self.desk else {
            return self.starts_at.unwrap_or(Micros::MAX);
        };
        if let Some(turn) = &desk.turn {
            return turn.done_at;
        }
        if !desk.inputs.is_empty() || desk.skew != self.skew {
            return common.now;
        }
        let due = desk.book.as_ref().and_then(Book::next_due);
        let left = due.map(|due| due.duration_since(self.utc(common)).as_micros());
        left.map_or(Micros::MAX, |left| {
            common.now + u64::try_from(left.max(0)).unwrap_or(0)
        })
    }

    /// Runs what is due; returns what goes out.
    pub(super) fn run(&mut self, common: &mut Common) -> Vec<Out> {
        let mut out = Vec::new();
        loop {
            let Some(desk) = &mut self.desk else {
                return out;
            };
            if let Some(turn) = desk.turn.take_if(|turn| turn.done_at <= common.now) {
                self.observe(common, &turn.changes);
                out.extend(self.release(common, turn.out));
                let some = self.copies.len() < 8 && common.dice.chance(50);
                if some && common.weather.restores {
                    self.copies.push(self.store.clone());
                }
                continue;
            }
            if desk.turn.is_some() || self.wakes_at(common) > common.now {
                return out;
            }
            self.begin_turn(common);
        }
    }

    fn observe(&self, common: &mut Common, changes: &[Change]) {
        for change in changes {
            common.note(|| {
                let text = format!("store: {change:?}");
                text.chars().take(2500).collect()
            });
            self.store.observe(common, change);
        }
    }

    /// Everything that came in, in one transaction.
    fn begin_turn(&mut self, common: &mut Common) {
        let now = self.utc(common);
        let Some(desk) = &mut self.desk else { return };
        let mut book = match desk.book.take() {
            Some(book) => book,
            None => self.store.load(now),
        };
        let batch = std::mem::take(&mut desk.inputs);
        let mut round = Round {
            now,
            store: &mut self.store,
            system: &self.system,
            greeting: self.greeting,
            sessions: &mut desk.sessions,
            before: None,
            changes: Vec::new(),
            out: Vec::new(),
            common,
            planned: false,
        };
        let moved = self.skew - std::mem::replace(&mut desk.skew, self.skew);
        if moved != 0 {
            let moved = book.clock_moved(SignedDuration::from_micros(moved));
            round.carry_out(moved);
        }
        let due = book.tick(now);
        round.carry_out(due);
        for input in batch {
            round.take(&mut book, input);
        }
        let (before, changes, out, planned) =
            (round.before, round.changes, round.out, round.planned);
        book.forget_settled(self.at_hand);
        desk.book = Some(book);
        let longest = if common.calm {
            MILLISECOND
        } else if planned && common.dice.chance(common.weather.slow_plans) {
            common.count("slow plan");
            40 * SECOND
        } else {
            common.weather.commit
        };
        let time = if changes.is_empty() {
            0
        } else {
            common.up_to(longest)
        };
        desk.turn = Some(Turn {
            changes,
            out,
            done_at: common.now + time,
            before,
        });
        common.step_of(None);
    }

    /// Lets messages go, after the commit.
    fn release(&mut self, common: &Common, out: Vec<Out>) -> Vec<Out> {
        let now = self.utc(common);
        let Some(desk) = &mut self.desk else {
            return Vec::new();
        };
        let mut released = Vec::new();
        for out in out {
            let session = match &out {
                Out::Message(session, _) | Out::End(session, _) => Some(*session),
                Out::Opened(..) | Out::TurnedAway(..) => None,
            };
            if let Some(session) = session {
                let Some(agent) = desk.sessions.get(&session).copied() else {
                    continue;
                };
                if matches!(out, Out::End(..)) {
                    if let Some(book) = &mut desk.book {
                        book.session_lost(now, agent, session);
                    }
                    desk.sessions.remove(&session);
                }
            }
            released.push(out);
        }
        released
    }
}

/// One turn's work.
struct Round<'a> {
    now: Timestamp,
    store: &'a mut Store,
    system: &'a AccessSystem,
    greeting: Greeting,
    sessions: &'a mut BTreeMap<SessionId, AgentId>,
    before: Option<Store>,
    changes: Vec<Change>,
    out: Vec<Out>,
    common: &'a mut Common,
    planned: bool,
}

impl Round<'_> {
    fn carry_out(&mut self, decision: Decision) {
        if !decision.changes.is_empty() && self.before.is_none() {
            self.before = Some(self.store.clone());
        }
        for change in decision.changes {
            self.store.apply(&change);
            self.changes.push(change);
        }
        for delivery in decision.messages {
            let out = match delivery {
                Delivery::Message(session, message) => Out::Message(session, Box::new(message)),
                Delivery::End(session, bye) => Out::End(session, bye),
                Delivery::Plan {
                    session,
                    job,
                    purpose,
                } => {
                    self.planned = true;
                    self.common.count("plan sent");
                    Out::Message(session, Box::new(plan_message(self.system, &job, purpose)))
                }
            };
            self.out.push(out);
        }
    }

    fn take(&mut self, book: &mut Book, input: Input) {
        match input {
            Input::Asked {
                job,
                encoder,
                credential,
            } => self.asked(book, job, encoder, credential),
            Input::CredentialDeleted(credential) => {
                let decision = book.credential_deleted(self.now, credential);
                self.carry_out(decision);
            }
            Input::Lost(agent, session) => {
                self.sessions.remove(&session);
                book.session_lost(self.now, agent, session);
            }
            Input::Opened {
                connection,
                agent,
                session,
                hello,
            } => self.opened(book, connection, agent, session, &hello),
            Input::Said(agent, session, message) => self.said(book, agent, session, &message),
            Input::Released(credential) => {
                self.store.need_holds(book, credential);
                let named = book.holds(credential).iter().filter_map(|hold| hold.uid);
                let named: Vec<Uid> = named.collect();
                if let Ok(decision) = book.release(self.now, credential) {
                    self.common.count("credential released");
                    self.common.destroy_cards(credential, &named);
                    self.carry_out(decision);
                }
            }
            Input::Retired(agent) => {
                let decision = book.retire(self.now, agent);
                self.carry_out(decision);
            }
        }
    }

    fn asked(
        &mut self,
        book: &mut Book,
        job: JobId,
        encoder: EncoderId,
        credential: Option<CredentialId>,
    ) {
        let facts = match credential {
            None => None,
            Some(id) => {
                self.store.need_holds(book, id);
                let row = self.store.credentials.get(&id);
                let Some(row) = row.filter(|row| row.deleted_at.is_none()) else {
                    return;
                };
                Some(CredentialFacts {
                    id,
                    created_at: row.created_at,
                    on_card_unchanged: row.issue_state() == IssueState::Issued,
                })
            }
        };
        let request = Request {
            job,
            encoder,
            api_key: None,
            credential: facts,
        };
        if let Some((id, decision)) = book.request(self.now, &request) {
            if id == job {
                self.common.ledger.asked(job, credential.map(|id| id.0));
            }
            self.carry_out(decision);
        }
    }

    fn opened(
        &mut self,
        book: &mut Book,
        connection: usize,
        agent: AgentId,
        session: SessionId,
        hello: &Hello,
    ) {
        let live = self.sessions.iter().find(|(_, live)| **live == agent);
        if let Some((first, _)) = live {
            self.common.count("agent in use");
            self.out.push(Out::TurnedAway(connection, *first));
            return;
        }
        for open in &hello.open_jobs {
            self.store.need_job(book, open.job_id);
            if let Some(credential) = open.credential_id {
                self.store.need_holds(book, CredentialId(credential));
            }
        }
        self.sessions.insert(session, agent);
        self.out.push(Out::Opened(connection, agent, session));
        let decision = book.hello(self.now, agent, session, hello, self.greeting);
        self.carry_out_or_end(session, decision);
    }

    fn said(
        &mut self,
        book: &mut Book,
        agent: AgentId,
        session: SessionId,
        message: &AgentMessage,
    ) {
        if let Some(job) = job_named(message) {
            self.store.need_job(book, job);
        }
        let now = self.now;
        let decision = match message {
            AgentMessage::Inventory { encoders, .. } => {
                let common = &mut *self.common;
                book.inventory(now, agent, session, encoders, || {
                    EncoderId(Uuid::from_u128(common.fresh()))
                })
            }
            AgentMessage::JobAccepted { job_id } => book.job_accepted(agent, session, *job_id),
            AgentMessage::JobRefused(refused) => book.job_refused(now, agent, refused),
            AgentMessage::JobProgress { job_id, progress } => {
                book.job_progress(agent, session, *job_id, progress)
            }
            AgentMessage::CardPresented(presented) => {
                let (prepared, made_at) = self.prepare(book, presented);
                book.card_presented(now, agent, session, presented, prepared, made_at)
            }
            AgentMessage::PlanRequest(wish) => {
                self.common.count("plan asked for to verify");
                book.plan_request(now, agent, session, wish)
            }
            AgentMessage::JobFinished(finished) => {
                if let Some(credential) = finished.credential_id {
                    self.store.need_holds(book, CredentialId(credential));
                }
                book.job_finished(now, agent, session, finished, None)
            }
            AgentMessage::Hello(_) | AgentMessage::Unsupported { .. } => return,
        };
        self.carry_out_or_end(session, decision);
    }

    fn carry_out_or_end(
        &mut self,
        session: SessionId,
        decision: Result<Decision, encoder_coordinator::jobs::Violation>,
    ) {
        match decision {
            Ok(decision) => self.carry_out(decision),
            Err(violation) => {
                self.common.count("protocol breach");
                self.common.note(|| format!("coordinator: {violation}"));
                self.out.push(Out::End(session, violation.bye()));
            }
        }
    }

    /// What the access system says of a presented card.
    fn prepare(
        &mut self,
        book: &Book,
        presented: &CardPresented,
    ) -> (Result<Option<PlanContent>, Refusal>, Option<Timestamp>) {
        let Some(credential) = book.job(presented.job_id).and_then(|job| job.credential) else {
            return (Ok(None), None);
        };
        let row = self.store.credentials.get(&credential);
        let Some(row) = row.filter(|row| row.deleted_at.is_none()) else {
            let deleted = Refusal {
                code: ErrorCode::CredentialDeleted,
                message: "the credential was deleted while its encode waited".to_owned(),
            };
            return (Err(deleted), None);
        };
        let prepared = self.system.prepare(&presented.card, row, vec![1], self.now);
        (prepared.map(Some), Some(row.created_at))
    }
}

/// The message that carries the plan of a bound job.
fn plan_message(
    system: &AccessSystem,
    job: &JobRecord,
    purpose: Option<PlanPurpose>,
) -> ServiceMessage {
    let (n, uid) = job
        .binding
        .as_ref()
        .map_or((0, None), |binding| (binding.n, binding.uid));
    ServiceMessage::CardPlan(CardPlan {
        job_id: job.id,
        n,
        uid,
        plan: plan(system, job, purpose),
    })
}

fn plan(system: &AccessSystem, job: &JobRecord, purpose: Option<PlanPurpose>) -> Plan {
    let refusal = |message: String| Plan::Refuse {
        code: ErrorCode::UncategorizedError,
        message,
    };
    let Some(binding) = &job.binding else {
        return refusal("the job is not bound".to_owned());
    };
    if job.kind == JobKind::Scan {
        let plan = system.read_plan(&binding.card);
        return Plan::Read { plan };
    }
    let (Some(credential), Some(content)) = (job.credential, &binding.content) else {
        return refusal("the binding has no content".to_owned());
    };
    match system.image(&binding.card, credential.0, content) {
        Ok(image) => match purpose {
            Some(PlanPurpose::Verify) => Plan::Verify { image },
            None => Plan::Write { image },
        },
        Err(error) => refusal(error.to_string()),
    }
}

fn job_named(message: &AgentMessage) -> Option<JobId> {
    match message {
        AgentMessage::JobAccepted { job_id } | AgentMessage::JobProgress { job_id, .. } => {
            Some(*job_id)
        }
        AgentMessage::JobRefused(refused) => Some(refused.job_id),
        AgentMessage::CardPresented(presented) => Some(presented.job_id),
        AgentMessage::PlanRequest(wish) => Some(wish.job_id),
        AgentMessage::JobFinished(finished) => Some(finished.job_id),
        AgentMessage::Hello(_)
        | AgentMessage::Inventory { .. }
        | AgentMessage::Unsupported { .. } => None,
    }
}

/// What a coordinator says to whom it turns away.
pub(super) fn in_use() -> Bye {
    Bye {
        reason: ByeReason::AgentInUse,
        message: "another live session uses this agent's token".to_owned(),
    }
}
