//! The agent's durable record of its jobs: written before anything is done or said that depends on it.
//!
//! One SQLite file in the state folder, owned by one thread. A finished job's row is also the outbox: it is sent until
//! it is acknowledged and then stays as a tombstone for [`RETENTION`]. Neither images, plans nor keys ever get here; what
//! a scan read is kept until its outcome is acknowledged.

mod error;
mod files;
mod memory;
mod record;
mod row;
mod store;
mod thread;

pub use error::JournalError;
pub use files::{
    LeftBehind, inspect, need_unused, set_aside_of_another_machine, set_aside_of_former_agent,
};
pub use memory::MemoryJournal;
pub use record::{
    Guard, JobFacts, JournalContents, JournaledJob, JournaledState, Owed, RETENTION, Recall, Record,
};
pub use thread::Journal;

#[cfg(test)]
mod tests;
