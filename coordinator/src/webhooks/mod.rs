//! Webhooks: every event of a workspace goes to the endpoints that take its type.
//!
//! The transaction that records an event also writes its deliveries ([`crate::store::deliveries`]), so none is lost and
//! a restart goes on where the process ended. Each is sent at least once and, per object, in order: the next event of
//! a credential goes to an endpoint only after the one before was accepted or given up there. The waits between the
//! attempts are [`WAITS`]. What a receiver needs to tell repeats is the message id, which is the event's id.

mod courier;
mod dispatch;
mod post;
mod schedule;
mod signature;

pub use courier::Courier;
pub use dispatch::{Dispatch, PER_PROVEN, PER_UNPROVEN, PROVEN_IN_ALL, SOON, UNPROVEN_IN_ALL};
pub use post::{LIMITS, Post, Sealed, signed_headers};
pub use schedule::{LONGEST_WAIT, WAITS, next_attempt};
pub use signature::SigningKey;

#[cfg(test)]
mod tests;
