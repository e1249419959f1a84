//! The service on the front-desk PC: drives the attached card encoders for a coordination service.

#![deny(unsafe_code)]

pub mod agent;
pub mod cli;
pub mod clock;
pub mod config;
pub mod discovery;
pub mod drivers;
#[cfg(unix)]
pub mod emulation;
pub mod encoder;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod jobs;
pub mod journal;
pub mod local;
pub mod pairing;
pub mod platform;
mod private_file;
pub mod pulse;
pub mod session;
pub mod status;
pub mod transport;
