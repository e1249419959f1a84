//! One turn of the coordinator: what came in, in one transaction over the real book.

use std::collections::BTreeMap;

use encoder_coordinator::{
    access_system::AccessSystem,
    jobs::{
        AgentId, Book, Change, CredentialFacts, CredentialId, Decision, Delivery, EncoderId,
        Greeting, JobRecord, PlanContent, Refusal, Request, SessionId,
    },
    store::credentials::IssueState,
};
use encoder_protocols::{
    card::Uid,
    wire::{
        AgentMessage, CardPlan, CardPresented, ErrorCode, Hello, JobId, JobKind, Plan, PlanPurpose,
        Progress, ServiceMessage,
    },
};
use jiff::Timestamp;
use uuid::Uuid;

use super::{
    common::Common,
    desk::{Input, Out},
    store::Store,
};

/// One turn's work.
pub(super) struct Round<'a> {
    pub(super) now: Timestamp,
    pub(super) store: &'a mut Store,
    pub(super) system: &'a AccessSystem,
    pub(super) greeting: Greeting,
    pub(super) sessions: &'a mut BTreeMap<SessionId, AgentId>,
    pub(super) before: Option<Store>,
    pub(super) changes: Vec<Change>,
    pub(super) out: Vec<Out>,
    pub(super) common: &'a mut Common,
    pub(super) planned: bool,
}

impl Round<'_> {
    pub(super) fn carry_out(&mut self, decision: Decision) {
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

    pub(super) fn take(&mut self, book: &mut Book, input: Input) {
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

    pub(super) fn asked(
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
                    content: None,
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

    pub(super) fn opened(
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

    pub(super) fn said(
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
                if *progress == Progress::LiftCard {
                    self.common.lifts_asked.insert(*job_id);
                }
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

    pub(super) fn carry_out_or_end(
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
    pub(super) fn prepare(
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
pub(super) fn plan_message(
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

pub(super) fn plan(system: &AccessSystem, job: &JobRecord, purpose: Option<PlanPurpose>) -> Plan {
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

pub(super) fn job_named(message: &AgentMessage) -> Option<JobId> {
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
