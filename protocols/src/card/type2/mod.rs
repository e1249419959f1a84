//! The MIFARE Ultralight family and NTAG213/215/216.
//!
//! Sources: NXP data sheets MF0ICU1, MF0ICU2, MF0ULX1 and NTAG213_215_216 (memory organisation, commands `READ`,
//! `FAST_READ`, `WRITE`, `PWD_AUTH`). The 3DES authentication of the Ultralight C is not spoken: such a card is written
//! and read where it is not protected.

mod check;
mod geometry;
mod guard;
mod prepare;
mod read;
mod session;
mod verify;
mod write;

pub(super) use check::check;
pub(super) use geometry::Geometry;
pub(super) use prepare::{PreparedType2, prepare};
pub(super) use read::read;
pub(super) use verify::verify;
pub(super) use write::write;
