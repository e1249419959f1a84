//! The coordinator's half of the job protocol, pure: which card a job may change, who holds a credential, who ends an
//! attempt.
//!
//! A [`Book`] knows what is going on. Each of its methods takes one thing that happened (with the time) and returns a
//! [`Decision`]: rows to store, then messages to send. Whoever drives it commits all rows in one transaction before the
//! first message leaves, so that a crash at any step leaves a store from which the rules still hold. The rules are
//! numbered as in the job protocol: *bind before plan* (1), *holds per job* (2), *touched* (3), *once* (4), *looking*
//! (5), *other boot* (6), *every name travels* (8), *restored store* (9), *ending* (10), *answers where nothing seems to
//! fit* (11).

mod book;
mod budget;
mod effect;
mod ending;
mod ids;
mod inventory;
mod operator;
mod outcome;
mod presented;
mod record;
mod request;
mod session;
mod simulated;
#[cfg(test)]
mod tests;

pub use book::Book;
pub use effect::{AuditAction, AuditEntry, Change, Decision, Delivery, Issue, Violation};
pub use ids::{AgentId, BootId, CredentialId, EncoderId, SessionId, SystemId};
pub use operator::NotReleased;
pub use presented::Refusal;
pub use record::{
    AgentRecord, Attempt, Binding, EncoderRecord, Hold, HoldState, JobRecord, Orphan, Place,
    PlanContent, Restored, Session,
};
pub use request::{CredentialFacts, Request};
pub use session::Greeting;

use std::time::Duration;

use encoder_protocols::wire::MAX_WAITING_JOBS;
use jiff::Timestamp;

/// How long an attempt lasts when no other job is ahead of it.
pub const ATTEMPT_TIME: Duration = Duration::from_secs(60);
/// The longest that an attempt lasts: the job at the head of its encoder's queue and all that may wait behind it go first.
pub const LONGEST_ATTEMPT: Duration = Duration::from_secs(60 + 30 * (MAX_WAITING_JOBS as u64 + 1));
/// How long the agent waits for a card once a job is at the head of its encoder's queue.
pub const CARD_WAIT: Duration = Duration::from_secs(30);
/// How long a sent job that is not bound outlives its agent's session (rule 10).
pub const AGENT_AWAY: Duration = Duration::from_secs(20);
/// How long after its deadline a bound job waits for its outcome (rule 10).
pub const BOUND_GRACE: Duration = Duration::from_secs(120);

/// How long a job on a simulated encoder takes.
pub const SIMULATED_TIME: Duration = Duration::from_secs(1);

/// The time so much later, or the last one that there is: a damaged row may hold any time.
fn after(time: Timestamp, span: Duration) -> Timestamp {
    time.saturating_add(span).unwrap_or(Timestamp::MAX)
}
