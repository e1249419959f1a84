//! The fuzz targets: each takes any bytes and panics where something promised does not hold.
//!
//! They are plain functions on stable Rust. `tests/replay.rs` runs them over the kept inputs, `libfuzzer/` looks for new
//! ones.

mod agent;
mod book;
mod cards;
mod driver;
mod hid;
mod images;
mod input;
mod journal;
mod messages;
mod msr605;
mod pairing;
mod pn532;
mod said;
mod service;

/// One way into the program for bytes that nobody checked before.
pub struct Target {
    /// Its name, also that of its file in `corpus/`.
    pub name: &'static str,
    /// Runs one input.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: &[Target] = &[
    target("pn532", pn532::run),
    target("msr605", msr605::run),
    target("hid", hid::run),
    target("cards", cards::run),
    target("driver", driver::run),
    target("messages", messages::run),
    target("agent", agent::run),
    target("journal", journal::run),
    target("book", book::run),
    target("service", service::run),
    target("pairing", pairing::run),
];

const fn target(name: &'static str, run: fn(&[u8])) -> Target {
    Target { name, run }
}
