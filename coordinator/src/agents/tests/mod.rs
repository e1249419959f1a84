//! Agents over a real websocket, from the HTTP request to the event.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "a test fails on every message but the expected one"
)]

mod apart;
mod encodes;
mod events;
mod external;
mod fake;
mod grants;
mod kinds;
mod metrics;
mod operator;
mod pairing;
mod problems;
mod restarts;
mod scans;
mod sessions;
mod simulated;
mod store;
mod swipe;
