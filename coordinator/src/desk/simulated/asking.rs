//! What key servers are asked about simulated cards, while the desk goes on.

use std::{sync::Arc, time::Duration};

use encoder_protocols::{
    card::CardDescription,
    wire::{JobError, JobId, Touched},
};
use jiff::Timestamp;
use sqlx::SqliteConnection;

use super::{ended, held_uid, write};
use crate::{
    desk::{
        Input, Round,
        asking::describe,
        take::{need_holds, need_job},
        task::Task,
    },
    jobs::{Book, JobRecord, PlanContent},
    key_server::{self, Question},
    outbound::{Answer, OutboundError},
    store::{StoreError, credentials::CredentialRow, key_servers::KeyServerRow, simulations},
};

/// The only presentation of a simulated job.
const FIRST: u64 = 1;

/// What a key server answered about a simulated card.
#[derive(Debug)]
pub(in crate::desk) struct SimulatedAnswer {
    job: JobId,
    card: CardDescription,
    content: PlanContent,
    answer: Result<Answer, OutboundError>,
}

impl Task {
    /// Asks a system's key server what goes onto a simulated card. The job goes on once it has answered.
    pub(super) async fn ask_about_simulated(
        &mut self,
        conn: &mut SqliteConnection,
        job: &JobRecord,
        server: KeyServerRow,
        (card, row): (CardDescription, &CredentialRow),
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (content, credential) = describe(conn, row, now).await?;
        let left = Duration::try_from(job.deadline.duration_since(now)).unwrap_or_default();
        let question = Question {
            server,
            job: job.id,
            n: FIRST,
            card,
            credential,
            limit: key_server::DEADLINE.min(left),
        };
        let (asker, inputs) = (Arc::clone(&self.asker), self.inputs.clone());
        let job = job.id;
        self.asking_simulated.insert(job);
        tokio::spawn(async move {
            let answer = SimulatedAnswer {
                job,
                card,
                content,
                answer: asker.ask(question, now).await,
            };
            if let Some(inputs) = inputs.upgrade() {
                // A desk that has stopped needs no answer.
                let _ = inputs
                    .send(Input::AnsweredSimulated(Box::new(answer)))
                    .await;
            }
        });
        Ok(())
    }

    /// A key server has answered about a simulated card. The job may have ended meanwhile, or its credential may be on
    /// another card now: then that card's image is asked for next.
    pub(in crate::desk) async fn answered_simulated(
        &mut self,
        book: &mut Book,
        conn: &mut SqliteConnection,
        answer: SimulatedAnswer,
        round: &mut Round,
    ) -> Result<(), StoreError> {
        let SimulatedAnswer {
            job: id,
            card,
            content,
            answer,
        } = answer;
        self.asking_simulated.remove(&id);
        need_job(book, conn, id).await?;
        let Some(job) = book.job(id).cloned() else {
            return Ok(());
        };
        let Some(credential) = job.credential else {
            return Ok(());
        };
        need_holds(book, conn, credential).await?;
        let held = held_uid(book, credential);
        if held.is_some() && held != card.uid {
            return Ok(());
        }
        let (key, now) = (self.store.master_key(), self.clock.utc());
        let decision = match key_server::judge(answer, &card) {
            Ok(image) => {
                let content = PlanContent {
                    image: Some(key_server::seal(key, id, FIRST, &image)?),
                    ..content
                };
                let simulation = simulations::of_job(conn, id).await?;
                write(book, &job, (card, content), simulation, now)
            }
            Err(refusal) => {
                tracing::warn!(job = %id, code = refusal.code.as_str(), message = %refusal.message, "no image of the key server");
                let error = JobError {
                    code: refusal.code,
                    message: refusal.message,
                    touched: Touched::Untouched,
                    hardware: None,
                };
                book.simulated(now, None, &ended(&job, Err(error)), None)
            }
        };
        round.carry_out(conn, key, now, decision).await
    }
}
