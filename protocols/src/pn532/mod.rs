//! The NXP PN532 contactless front end on its high-speed serial line (HSU). Sources, tables and quirks are in the
//! folder's README.

pub mod command;
pub mod emulator;
pub mod frame;
pub mod link;
pub mod status;

#[cfg(test)]
mod tests;
