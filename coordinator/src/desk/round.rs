//! What one turn of the desk leads to.

use encoder_protocols::wire::{JobId, JobKind};
use jiff::Timestamp;
use sqlx::SqliteConnection;
use tokio::sync::oneshot;

use super::{DeskError, Outgoing, apply::apply, plan::plan_message};
use crate::{
    jobs::{AgentId, AuditAction, Change, Decision, Delivery, SessionId, Violation},
    secrets::MasterKey,
    store::StoreError,
};

/// An answer, and where it goes.
type Reply<T> = (oneshot::Sender<Result<T, DeskError>>, Result<T, DeskError>);

/// Messages and answers that wait for the commit.
#[derive(Debug, Default)]
pub(super) struct Round {
    pub(super) outgoing: Vec<(SessionId, Outgoing)>,
    pub(super) answers: Vec<Reply<JobId>>,
    pub(super) greetings: Vec<Reply<AgentId>>,
    /// How jobs ended.
    pub(super) ended: Vec<(JobKind, String)>,
}

impl Round {
    /// Writes a decision's rows and keeps its messages.
    pub(super) async fn carry_out(
        &mut self,
        conn: &mut SqliteConnection,
        master_key: &MasterKey,
        now: Timestamp,
        decision: Decision,
    ) -> Result<(), StoreError> {
        self.ended
            .extend(decision.changes.iter().filter_map(ending));
        for change in decision.changes {
            apply(conn, now, change).await?;
        }
        for delivery in decision.messages {
            let outgoing = match delivery {
                Delivery::Message(session, message) => {
                    (session, Outgoing::Message(Box::new(message)))
                }
                Delivery::End(session, bye) => (session, Outgoing::End(bye)),
                Delivery::Plan {
                    session,
                    job,
                    purpose,
                } => {
                    let message = plan_message(conn, master_key, &job, purpose).await?;
                    (session, Outgoing::Message(Box::new(message)))
                }
            };
            self.outgoing.push(outgoing);
        }
        Ok(())
    }

    /// Writes a decision's rows, or ends the session of an agent that broke the protocol.
    pub(super) async fn carry_out_or_end(
        &mut self,
        conn: &mut SqliteConnection,
        master_key: &MasterKey,
        now: Timestamp,
        session: SessionId,
        decision: Result<Decision, Violation>,
    ) -> Result<(), StoreError> {
        match decision {
            Ok(decision) => self.carry_out(conn, master_key, now, decision).await,
            Err(violation) => {
                tracing::warn!(%session, %violation, "the agent broke the protocol");
                self.outgoing
                    .push((session, Outgoing::End(violation.bye())));
                Ok(())
            }
        }
    }
}

/// How a job ended, where a change is that it did.
fn ending(change: &Change) -> Option<(JobKind, String)> {
    let Change::Audit(entry) = change else {
        return None;
    };
    let has_ended = entry.action == AuditAction::Ended;
    let result = entry.result.clone().filter(|_| has_ended)?;
    Some((entry.kind, result))
}
