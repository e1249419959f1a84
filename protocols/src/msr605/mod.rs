//! The MSR206, MSR605, MSR606 and MSR605X magnetic stripe encoders. Sources, tables and quirks are in the folder's README.

pub mod command;
pub mod emulator;
pub mod link;
mod reply;
pub mod report;
pub mod status;
pub mod track;

#[cfg(test)]
mod tests;

/// The byte that begins every command, reply and field.
const ESC: u8 = 0x1B;
/// The last byte of a data block.
const FS: u8 = 0x1C;
