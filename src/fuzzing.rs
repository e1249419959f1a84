//! What the fuzz targets reach of this crate beside its open parts.

pub use crate::{
    pairing::issuer,
    session::{Conversation, Said, http_answer, retry_after},
};
