//! Presented cards, and what key servers are asked about them while the desk goes on.

use std::{sync::Arc, time::Duration};

use encoder_protocols::{
    card::CardDescription,
    wire::{CardPresented, ErrorCode, JobId, JobKind},
};
use jiff::Timestamp;
use sqlx::SqliteConnection;
use tokio::task::AbortHandle;

use super::{
    Input, Round,
    scanned::takes_tag,
    take::{deleted, need_job},
    task::Task,
};
use crate::{
    http::credential_json,
    jobs::{AgentId, Book, Decision, JobRecord, PlanContent, Refusal, SessionId, Violation},
    key_server::{self, Question},
    outbound::{Answer, OutboundError},
    store::{
        StoreError,
        credentials::{self, CredentialRow},
        entrances, key_servers,
    },
};

/// A question that is under way: one for each job, about the card that was presented last.
#[derive(Debug)]
pub(super) struct Asking {
    session: SessionId,
    n: u64,
    task: AbortHandle,
}

/// What a key server answered, and what it was asked about.
#[derive(Debug)]
pub(super) struct Answered {
    agent: AgentId,
    session: SessionId,
    presented: CardPresented,
    made_at: Timestamp,
    content: PlanContent,
    answer: Result<Answer, OutboundError>,
}

impl Task {
    /// Decides on a presented card, or asks its system's key server first.
    pub(super) async fn presented(
        &mut self,
        book: &mut Book,
        conn: &mut SqliteConnection,
        (agent, session): (AgentId, SessionId),
        presented: &CardPresented,
        now: Timestamp,
    ) -> Result<Result<Decision, Violation>, StoreError> {
        let job = book.job(presented.job_id);
        if !takes_tag(conn, job, &presented.card).await? {
            return Ok(book.card_not_taken(agent, session, presented));
        }
        if let Some(job) = job.filter(|job| job.kind == JobKind::Encode).cloned() {
            let (key, system) = (self.store.master_key(), job.system.0);
            if let Some(server) = key_servers::of_system(conn, key, system).await? {
                let about = (agent, session, presented);
                return self.ask(book, conn, &job, server, about, now).await;
            }
        }
        let (prepared, made_at) = self.prepare(book, conn, presented, now).await?;
        Ok(book.card_presented(now, agent, session, presented, prepared, made_at))
    }

    async fn ask(
        &mut self,
        book: &mut Book,
        conn: &mut SqliteConnection,
        job: &JobRecord,
        server: key_servers::KeyServerRow,
        (agent, session, presented): (AgentId, SessionId, &CardPresented),
        now: Timestamp,
    ) -> Result<Result<Decision, Violation>, StoreError> {
        let (id, n) = (job.id, presented.n);
        if self.is_asking(id, session, n) {
            return Ok(Ok(Decision::default()));
        }
        let row = match job.credential {
            Some(credential) => credentials::by_id(conn, credential.0).await?,
            None => None,
        };
        let row = row.filter(|row| row.deleted_at.is_none());
        let Some(row) = row.filter(|_| unfit(&presented.card).is_none()) else {
            let refusal = unfit(&presented.card).unwrap_or_else(deleted);
            return Ok(book.card_presented(now, agent, session, presented, Err(refusal), None));
        };
        let made_at = row.created_at;
        match book.before_asking(now, agent, session, presented, Some(made_at)) {
            Ok(None) => {}
            Ok(Some(decision)) => return Ok(Ok(decision)),
            Err(violation) => return Ok(Err(violation)),
        }
        let (content, credential) = describe(conn, &row, now).await?;
        let left = Duration::try_from(job.deadline.duration_since(now)).unwrap_or_default();
        let question = Question {
            server,
            job: id,
            n,
            card: presented.card,
            credential,
            limit: key_server::DEADLINE.min(left),
        };
        let (asker, inputs) = (Arc::clone(&self.asker), self.inputs.clone());
        let presented = presented.clone();
        let task = tokio::spawn(async move {
            let answered = Answered {
                agent,
                session,
                presented,
                made_at,
                content,
                answer: asker.ask(question, now).await,
            };
            if let Some(inputs) = inputs.upgrade() {
                // A desk that has stopped needs no answer.
                let _ = inputs.send(Input::Answered(Box::new(answered))).await;
            }
        });
        let task = task.abort_handle();
        let asking = Asking { session, n, task };
        if let Some(earlier) = self.asking.insert(id, asking) {
            earlier.task.abort();
        }
        Ok(Ok(Decision::default()))
    }

    fn is_asking(&self, job: JobId, session: SessionId, n: u64) -> bool {
        let asking = self.asking.get(&job);
        asking.is_some_and(|asking| asking.session == session && asking.n == n)
    }

    /// A key server has answered. Everything is decided anew: the job, the session or the card may be gone.
    pub(super) async fn answered(
        &mut self,
        book: &mut Book,
        conn: &mut SqliteConnection,
        answered: Answered,
        round: &mut Round,
    ) -> Result<(), StoreError> {
        let Answered {
            agent,
            session,
            presented,
            made_at,
            content,
            answer,
        } = answered;
        let job = presented.job_id;
        if !self.is_asking(job, session, presented.n) {
            return Ok(());
        }
        self.asking.remove(&job);
        need_job(book, conn, job).await?;
        let key = self.store.master_key();
        let prepared = match key_server::judge(answer, &presented.card) {
            Ok(image) => Ok(Some(PlanContent {
                image: Some(key_server::seal(key, job, presented.n, &image)?),
                ..content
            })),
            Err(refusal) => {
                tracing::warn!(%job, code = refusal.code.as_str(), message = %refusal.message, "no image of the key server");
                Err(refusal)
            }
        };
        let now = self.clock.utc();
        let decision =
            book.card_presented(now, agent, session, &presented, prepared, Some(made_at));
        round
            .carry_out_or_end(conn, key, now, session, decision)
            .await
    }
}

/// Why no image can be made for a card, whoever makes it.
fn unfit(card: &CardDescription) -> Option<Refusal> {
    let has_number = card.technology.is_swiped() || card.card_number().is_some();
    (card.technology.capacity() == 0 || !has_number).then(|| {
        Refusal::new(
            ErrorCode::IncompatibleCardFormat,
            format!(
                "this card, a {}, takes no image, or has a uid that changes; use another card",
                card.technology
            ),
        )
    })
}

/// What a plan is made of besides its image, and what the key server is told of the credential.
pub(super) async fn describe(
    conn: &mut SqliteConnection,
    row: &CredentialRow,
    now: Timestamp,
) -> Result<(PlanContent, serde_json::Value), StoreError> {
    let id = row.acs_credential_id;
    let doors = entrances::of_credential(conn, row.workspace_id, id).await?;
    let content = PlanContent {
        key_version: 0,
        revision: row.content_version,
        starts_at: row.starts_at,
        ends_at: row.ends_at,
        entrances: doors.iter().map(|door| door.number).collect(),
        issued_at: now,
        image: None,
    };
    let told = key_server::credential_with_doors(credential_json(row), &doors);
    Ok((content, told))
}
