//! The machine under virtual time, with a journal in memory and a watcher that knows what must never happen.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "a test picks one message out of many"
)]

mod bench;
mod clocks;
mod desk;
mod fresh_card;
mod journal_failures;
mod looking;
mod old_image;
mod queue;
mod random;
mod runner;
mod session;
mod swipe;
mod write;
