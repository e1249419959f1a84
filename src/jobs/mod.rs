//! Jobs: what the agent has promised, and how it keeps it.
//!
//! [`Jobs`] is one pure state machine for the whole agent: it owns every encoder's queue, the presentations, the
//! outcomes and what is said of them. Time is passed in; what it wants done comes out as [`Action`]s. [`Runner`] is the
//! task around it. The rules that it follows stand in the README of `encoder_protocols::wire`.

mod accepting;
mod action;
mod attached;
mod deadline;
mod desk;
mod finishing;
mod inventory;
mod job;
mod loan;
mod looking;
mod machine;
mod outcome;
mod plugging;
mod presence;
mod runner;
mod session;
mod swiping;
mod waiting;
mod working;

#[cfg(test)]
mod tests;

pub use action::{Action, AgentFacts, JobEnd, Now};
pub use desk::{CANCELLED_AT_THE_DESK, NoEncoder, NotCancelled, NotLent};
pub use loan::{DeskRequest, Loan, LoanEvent};
pub use machine::Jobs;
pub use runner::Runner;
