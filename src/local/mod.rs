//! The agent's own socket, for the commands of this PC: `status`, `cancel`, `scan`, `encode`, `doctor --acceptance`.
//!
//! One request a line, JSON; the answers are lines of JSON too. A request, the number of clients and the time that each
//! may take are bounded, and no client ever holds up the jobs. Everyone on this PC may look and may free an encoder, as the person
//! at the desk does; to read and write cards takes an administrator, or the agent's own user.

mod acceptance;
mod client;
mod desk;
mod message;
mod road;
mod server;
mod spare;
mod work;

pub use client::{Client, ClientError};
pub use desk::{Desk, DeskError, DeskFacts};
pub use message::{Accepted, Ask, Cancelled, Encoded, Reply, Scanned, Terms};
pub use road::{Address, Peer, default_addresses, listening_address};
pub use server::Server;

#[cfg(test)]
mod tests;
