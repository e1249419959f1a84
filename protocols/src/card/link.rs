//! What a reader offers to the card logic above it.

use std::future::Future;

use super::{CandidateKey, CardDescription};
use crate::fault::HardwareFault;

/// Why the card or the reader did not do what was asked.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CardLinkError {
    /// The card does not answer: it was lifted, or fell back to idle.
    #[error("the card does not answer ({0})")]
    CardGone(HardwareFault),
    /// Another card answers.
    #[error("another card lies there")]
    CardSwapped,
    /// More than one card answers.
    #[error("more than one card lies there")]
    SeveralCards,
    /// The card does not accept this key.
    #[error("the card refused the key ({0})")]
    AuthenticationRefused(HardwareFault),
    /// The card does not allow this read or write.
    #[error("the card refused the command ({0})")]
    Refused(HardwareFault),
    /// The exchange over the air was disturbed.
    #[error("the exchange with the card was disturbed ({0})")]
    Disturbed(HardwareFault),
    /// The card was swiped, and not so that it could be read or written: too fast, too slow, not all the way, or its stripe
    /// is worn or of another coercivity.
    #[error("the swipe failed ({0})")]
    BadSwipe(HardwareFault),
    /// The reader reports a fault of its own.
    #[error("the encoder reports a fault ({0})")]
    Faulty(HardwareFault),
    /// The reader did not answer in time.
    #[error("the encoder did not answer within {0} ms")]
    Silent(u64),
    /// The port is gone: unplugged, or closed by the other end.
    #[error("the encoder's port is gone: {0}")]
    PortGone(String),
    /// The operation was given up because its job was cancelled.
    #[error("cancelled")]
    Cancelled,
}

impl CardLinkError {
    /// What the hardware said, where it spoke.
    pub fn fault(&self) -> Option<&HardwareFault> {
        match self {
            Self::CardGone(fault)
            | Self::AuthenticationRefused(fault)
            | Self::Refused(fault)
            | Self::Disturbed(fault)
            | Self::BadSwipe(fault)
            | Self::Faulty(fault) => Some(fault),
            Self::CardSwapped
            | Self::SeveralCards
            | Self::Silent(_)
            | Self::PortGone(_)
            | Self::Cancelled => None,
        }
    }
}

/// A selected ISO/IEC 14443-A card, as a reader gives access to it.
///
/// After any error but [`CardLinkError::Cancelled`] the card may have fallen back to idle: call
/// [`CardLink::reselect`] before the next command.
pub trait CardLink: Send {
    /// The card that this link is bound to. No method ever works on another one.
    fn card(&self) -> CardDescription;

    /// Selects the same card again. An authentication is lost.
    fn reselect(&mut self) -> impl Future<Output = Result<(), CardLinkError>> + Send;

    /// Opens the sector of `block` with `key` (MIFARE Classic, commands 60 and 61).
    fn authenticate(
        &mut self,
        block: u8,
        key: &CandidateKey,
    ) -> impl Future<Output = Result<(), CardLinkError>> + Send;

    /// Reads 16 bytes at a block or from a page on (command 30).
    fn read(&mut self, address: u8)
    -> impl Future<Output = Result<[u8; 16], CardLinkError>> + Send;

    /// Writes a 16-byte block (command A0).
    fn write_block(
        &mut self,
        block: u8,
        data: &[u8; 16],
    ) -> impl Future<Output = Result<(), CardLinkError>> + Send;

    /// Writes a 4-byte page (command A2).
    fn write_page(
        &mut self,
        page: u8,
        data: &[u8; 4],
    ) -> impl Future<Output = Result<(), CardLinkError>> + Send;

    /// Sends any other command and returns the answer; the reader adds and checks the CRC.
    fn transceive(
        &mut self,
        command: &[u8],
    ) -> impl Future<Output = Result<Vec<u8>, CardLinkError>> + Send;
}
