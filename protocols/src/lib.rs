//! Device protocols, card technologies and the messages between agent and coordinator.
//!
//! This crate is pure: bytes, values and moments in, bytes, values and moments out. It opens no file, socket or
//! port, starts no thread, and reads no clock. What it needs of the world is passed in.

#![forbid(unsafe_code)]

pub mod card;
mod emulated_line;
pub mod fault;
pub mod hid;
pub mod link;
pub mod moment;
pub mod msr605;
pub mod pn532;
pub mod wire;
