//! Session, jobs and coordinator together under virtual time: each seed is one run, and runs the same each time.
//!
//! The machines are the product's own: `encoder_agent::session::Machine`, `encoder_agent::jobs::Jobs`,
//! `encoder_agent::journal::MemoryJournal`, `encoder_coordinator::jobs::Book`, its access system, and the card procedures
//! of `encoder_protocols::card` on virtual cards. What stands around them in the product, threads and sockets, is
//! modelled here: network, disks, store, clocks, encoders, and people.

mod chaos;
mod common;
mod desk;
mod dice;
mod disks;
mod encoder;
mod journal;
mod network;
mod pc;
mod people;
mod procedure;
mod rest;
mod round;
mod store;
mod stripe;
mod stripe_task;
mod table;
mod tasks;
#[cfg(test)]
mod tests;
mod wires;
mod world;

pub use common::Coverage;
pub use world::Verdict;

/// Runs one seed.
pub fn run(seed: u64, traced: bool) -> Verdict {
    world::World::run(seed, traced)
}
