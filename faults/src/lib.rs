//! Shows that the job promise holds under every fault: [`invariants`] says what must hold, the harnesses under
//! `src/bin` break everything else.

#![forbid(unsafe_code)]

pub mod invariants;
#[cfg(unix)]
pub mod kill;
pub mod sim;
