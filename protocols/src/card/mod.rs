//! Card technologies, apart from the readers that hold the cards.

mod image;
pub mod key_record;
mod link;
mod technology;
mod uid;
pub mod virtual_card;

pub use image::{
    BlockContents, BlockImage, CandidateKey, CardContents, CardImage, ClassicImage, ClassicKey,
    ClassicRead, KeySlot, PageImage, Password, ReadPlan, SectorImage, SectorRead, TrailerImage,
    Type2Image, Type2Protection, Type2Read, UnreadSector,
};
pub use link::{CardLink, CardLinkError};
pub use technology::{CardDescription, Technology};
pub use uid::{BadUid, Uid};

pub(crate) mod hex;
