//! What the fuzz targets reach of this crate beside its open parts.

pub use crate::session::{Conversation, Said, retry_after};
