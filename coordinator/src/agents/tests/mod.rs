//! Agents over a real websocket, from the HTTP request to the event.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "a test fails on every message but the expected one"
)]

mod fake;
mod grants;
mod jobs;
mod operator;
mod problems;
mod sessions;
mod store;
