//! MIFARE Classic Mini, 1K and 4K.
//!
//! Sources: NXP MF1S50YYX_V1 and MF1S70YYX_V1 data sheets (memory organisation, access conditions). One authentication
//! opens one sector; a failed one halts the card.

mod check;
mod geometry;
mod prepare;
mod read;
mod session;
mod verify;
mod write;

pub(super) use check::check;
pub(super) use geometry::{Sector, sectors};
pub(super) use prepare::{PreparedClassic, prepare};
pub(super) use read::read;
pub(super) use verify::verify;
pub(super) use write::write;
