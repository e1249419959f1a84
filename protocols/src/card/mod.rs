//! Card technologies, apart from the readers that hold the cards.

mod access_bits;
mod classic;
mod error;
mod estimate;
pub mod identify;
mod image;
pub mod key_record;
mod link;
pub mod magstripe;
mod procedure;
mod recovery;
mod technology;
mod type2;
mod uid;
pub mod virtual_card;

pub use access_bits::{
    AccessBits, BlockPermissions, InconsistentAccessBits, Permission, TrailerPermissions,
};
pub use error::{CardError, ImageFlaw, Place, WriteError, job_error, job_error_without_uid};
pub use estimate::{WriteEstimate, write_estimate};
pub use image::{
    BlockContents, BlockImage, CandidateKey, CardContents, CardImage, ClassicImage, ClassicKey,
    ClassicRead, KeySlot, PageImage, Password, ReadPlan, SectorImage, SectorRead, TrailerImage,
    Type2Image, Type2Protection, Type2Read, UnreadSector,
};
pub use link::{CardLink, CardLinkError};
pub use procedure::{Prepared, WriteRules, WriteStage, check_image, prepare, read, verify, write};
pub use technology::{CardDescription, Technology};
pub use uid::{BadUid, Uid};

pub(crate) mod hex;

#[cfg(test)]
mod tests;
