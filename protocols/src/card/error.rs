//! Why a card could not be read or written, and how a job reports it.

use std::fmt;

use super::{CardLinkError, InconsistentAccessBits, Technology, magstripe::Track};
use crate::{
    fault::HardwareFault,
    wire::{ErrorCode, JobError, Touched},
};

/// Where on a card.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Place {
    /// A sector of a MIFARE Classic.
    Sector(u8),
    /// A block of a MIFARE Classic, counted over the whole card.
    Block(u8),
    /// A sector's trailer.
    Trailer(u8),
    /// A page of an Ultralight or NTAG.
    Page(u8),
    /// The password of an Ultralight EV1 or NTAG.
    Password,
    /// A track of a magnetic stripe.
    Track(Track),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sector(sector) => write!(f, "sector {sector}"),
            Self::Block(block) => write!(f, "block {block}"),
            Self::Trailer(sector) => write!(f, "the trailer of sector {sector}"),
            Self::Page(page) => write!(f, "page {page}"),
            Self::Password => f.write_str("the password"),
            Self::Track(track) => track.fmt(f),
        }
    }
}

/// Why an image is not sent to any card.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ImageFlaw {
    /// Nothing is to be written, in all or in this place.
    #[error("it holds nothing to write")]
    Empty,
    /// The same place twice.
    #[error("it names {0} twice")]
    Twice(Place),
    /// A place that never exists or that is never written.
    #[error("{0} can never be written")]
    NeverWritten(Place),
    /// No candidate keys.
    #[error("it has no key for sector {0}")]
    NoKeys(u8),
    /// Access bits that would lock the sector for ever.
    #[error("the trailer of sector {sector} has {source}")]
    AccessBits {
        /// The sector.
        sector: u8,
        /// What is wrong with them.
        source: InconsistentAccessBits,
    },
    /// The trailer would make what was written unreadable, so that it could not be verified.
    #[error(
        "the trailer of sector {sector} forbids reading {block}, so the write could not be verified"
    )]
    Unverifiable {
        /// The sector.
        sector: u8,
        /// The block.
        block: Place,
    },
    /// A one-way door without leave.
    #[error(
        "{0} could never be changed back; set allow_irreversible on the encoder's agent if that is meant"
    )]
    Irreversible(Place),
    /// Configuration pages both directly and through the protection.
    #[error("it sets {0} both as a page and as protection")]
    ProtectedTwice(Place),
    /// A magnetic stripe's image without a number for the card, or with one that cannot be shown.
    #[error("its card number is not of 1 to 64 printable characters")]
    CardNumber,
    /// A track without data.
    #[error("it holds nothing for {0}")]
    EmptyPlace(Place),
    /// A character that the track's set lacks; sentinels are added by the encoder.
    #[error(
        "character {index} of {at} is none that the track holds: expected capitals, digits and signs but % and ? on track 1, digits and : < = > on tracks 2 and 3"
    )]
    Character {
        /// The track.
        at: Place,
        /// Which, from 0.
        index: usize,
    },
    /// More characters than ISO/IEC 7811 gives the track.
    #[error("{at} holds at most {most} characters, got {got}")]
    TooManyCharacters {
        /// The track.
        at: Place,
        /// How many fit.
        most: usize,
        /// How many there are.
        got: usize,
    },
    /// More bits than the track has room for at its density.
    #[error("{at} holds at most {most} bits at its density, got {got}")]
    TooManyBits {
        /// The track.
        at: Place,
        /// How many fit.
        most: usize,
        /// How many there are.
        got: usize,
    },
    /// Zeros before the first one bit, which nothing tells from the encoder's clocking bits.
    #[error("the bits of {0} do not begin with a one")]
    LeadingZeros(Place),
    /// A payment card's data.
    #[error("{0} holds payment card data, which is never written; remove it from the image")]
    PaymentData(Place),
}

/// Why a procedure on a card failed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CardError {
    /// The card or the reader failed.
    #[error("{source}{}", At(*.at))]
    Link {
        /// Where the procedure was; none between places.
        at: Option<Place>,
        /// What failed.
        source: CardLinkError,
    },
    /// The image or plan is for other cards.
    #[error("expected {expected}, got a {got}; use another card")]
    WrongTechnology {
        /// What the image or plan is for.
        expected: &'static str,
        /// The card.
        got: Technology,
    },
    /// The card ends before the image does.
    #[error("the image needs {needed}, which a {got} does not have; use a larger card")]
    TooSmall {
        /// What the card lacks.
        needed: Place,
        /// The card.
        got: Technology,
    },
    /// The image itself is wrong.
    #[error("the card image is refused: {0}")]
    Image(#[from] ImageFlaw),
    /// No candidate key opens the sector.
    #[error(
        "none of the {tried} known keys opens sector {sector}; the card belongs to another system: use another card"
    )]
    NoKey {
        /// The sector.
        sector: u8,
        /// How many were tried.
        tried: usize,
        /// What the reader said to the last one.
        fault: Option<HardwareFault>,
    },
    /// The card is protected and no candidate password opens it.
    #[error(
        "the card is protected and none of the {tried} passwords tried opens it; it belongs to another system: use another card"
    )]
    NoPassword {
        /// How many were tried.
        tried: usize,
        /// What the reader said to the last one.
        fault: Option<HardwareFault>,
    },
    /// The card counts wrong passwords, so not all candidates were tried.
    #[error(
        "the card locks itself after too many wrong passwords, so only {tried} of {known} was tried; use another card"
    )]
    TriesLimited {
        /// How many were tried: 0 or 1.
        tried: usize,
        /// How many there are.
        known: usize,
    },
    /// The place cannot be written.
    #[error("{at} is read-only on this card; use another card")]
    ReadOnly {
        /// Where.
        at: Place,
        /// What the reader said; none where the card's own access conditions told.
        fault: Option<HardwareFault>,
    },
    /// The place cannot be read.
    #[error("{at} cannot be read on this card; use another card")]
    Unreadable {
        /// Where.
        at: Place,
        /// What the reader said; none where the card's own access conditions told.
        fault: Option<HardwareFault>,
    },
    /// What was read is not what the image says.
    #[error("{at} does not hold what was to be written")]
    Differs {
        /// Where.
        at: Place,
    },
    /// The card's answer is of no length that the command allows.
    #[error("expected {expected} bytes at {at}, got {got}; use another card")]
    BadAnswer {
        /// Where.
        at: Place,
        /// How many bytes the command brings.
        expected: usize,
        /// How many came.
        got: usize,
    },
}

/// A write that failed, and whether it may have changed the card.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{error}")]
pub struct WriteError {
    /// Why.
    pub error: CardError,
    /// A byte may have changed: a write command was sent, and nothing proves that the card did not take it.
    pub changed: bool,
}

impl CardError {
    /// The reader's fault at `at`.
    pub(super) const fn link(at: Place, source: CardLinkError) -> Self {
        Self::Link {
            at: Some(at),
            source,
        }
    }

    /// What the hardware said, where it spoke.
    pub fn fault(&self) -> Option<&HardwareFault> {
        match self {
            Self::Link { source, .. } => source.fault(),
            Self::NoKey { fault, .. }
            | Self::NoPassword { fault, .. }
            | Self::ReadOnly { fault, .. }
            | Self::Unreadable { fault, .. } => fault.as_ref(),
            Self::WrongTechnology { .. }
            | Self::TooSmall { .. }
            | Self::Image(_)
            | Self::TriesLimited { .. }
            | Self::Differs { .. }
            | Self::BadAnswer { .. } => None,
        }
    }

    /// Whether the card was lifted or another one lies there.
    pub const fn card_left(&self) -> bool {
        matches!(
            self,
            Self::Link {
                source: CardLinkError::CardGone(_) | CardLinkError::CardSwapped,
                ..
            }
        )
    }

    /// Whether the card itself was looked at and does not carry the image, as opposed to a look that failed.
    pub const fn card_differs(&self) -> bool {
        matches!(
            self,
            Self::Differs { .. } | Self::NoKey { .. } | Self::NoPassword { .. }
        )
    }
}

impl WriteError {
    /// The error as a job reports it.
    pub fn job_error(&self) -> JobError {
        job_error(&self.error, self.changed)
    }
}

/// The error as a job reports it; `changed` is whether a byte of the card may have changed.
pub fn job_error(error: &CardError, changed: bool) -> JobError {
    let again = match error {
        // Neither can this card take the credential, nor may another one while this may hold a part of it.
        CardError::ReadOnly { .. } => {
            ". this card may be half written: make a new credential for another card"
        }
        CardError::Link { .. }
        | CardError::WrongTechnology { .. }
        | CardError::TooSmall { .. }
        | CardError::Image(_)
        | CardError::NoKey { .. }
        | CardError::NoPassword { .. }
        | CardError::TriesLimited { .. }
        | CardError::Unreadable { .. }
        | CardError::Differs { .. }
        | CardError::BadAnswer { .. } => {
            ". the card may be half written: encode the same card again"
        }
    };
    job_error_with(error, changed, again)
}

/// The error as a job on a medium without a UID reports it: where a byte may have changed, no card can be told to be the
/// one that it was.
pub fn job_error_without_uid(error: &CardError, changed: bool) -> JobError {
    let again = ". the card may be half written, and without a uid no other try can be sure of it: destroy it and create a new credential";
    job_error_with(error, changed, again)
}

fn job_error_with(error: &CardError, changed: bool, again: &str) -> JobError {
    JobError {
        code: code(error, changed),
        message: message(error, if changed { again } else { "" }),
        touched: if changed {
            Touched::Unknown
        } else {
            Touched::Untouched
        },
        hardware: error.fault().cloned(),
    }
}

fn code(error: &CardError, changed: bool) -> ErrorCode {
    match error {
        CardError::Link { source, .. } => link_code(source, changed),
        CardError::WrongTechnology { .. } | CardError::TooSmall { .. } => {
            ErrorCode::IncompatibleCardFormat
        }
        CardError::Image(_)
        | CardError::NoKey { .. }
        | CardError::NoPassword { .. }
        | CardError::TriesLimited { .. }
        | CardError::ReadOnly { .. }
        | CardError::Unreadable { .. }
        | CardError::Differs { .. }
        | CardError::BadAnswer { .. } => ErrorCode::UncategorizedError,
    }
}

const fn link_code(error: &CardLinkError, changed: bool) -> ErrorCode {
    match error {
        CardLinkError::Silent(_) => ErrorCode::EncoderCommunicationTimeout,
        CardLinkError::PortGone(_) => ErrorCode::EncoderNotOnline,
        CardLinkError::CardGone(_) | CardLinkError::CardSwapped if !changed => {
            ErrorCode::NoCardOnEncoder
        }
        CardLinkError::CardGone(_)
        | CardLinkError::CardSwapped
        | CardLinkError::SeveralCards
        | CardLinkError::Disturbed(_)
        | CardLinkError::BadSwipe(_)
        | CardLinkError::Faulty(_)
        | CardLinkError::Cancelled
            if changed =>
        {
            ErrorCode::EncodingInterrupted
        }
        CardLinkError::CardGone(_)
        | CardLinkError::CardSwapped
        | CardLinkError::SeveralCards
        | CardLinkError::Disturbed(_)
        | CardLinkError::BadSwipe(_)
        | CardLinkError::Cancelled
        | CardLinkError::AuthenticationRefused(_)
        | CardLinkError::Refused(_)
        | CardLinkError::Faulty(_) => ErrorCode::UncategorizedError,
    }
}

fn message(error: &CardError, again: &str) -> String {
    let advice = match error {
        CardError::Link { source, .. } => link_advice(source),
        CardError::Differs { .. } => "the card may be damaged",
        CardError::WrongTechnology { .. }
        | CardError::TooSmall { .. }
        | CardError::Image(_)
        | CardError::NoKey { .. }
        | CardError::NoPassword { .. }
        | CardError::TriesLimited { .. }
        | CardError::ReadOnly { .. }
        | CardError::Unreadable { .. }
        | CardError::BadAnswer { .. } => "",
    };
    let mut message = error.to_string();
    if !advice.is_empty() {
        message.push_str("; ");
        message.push_str(advice);
    }
    message.push_str(again);
    message
}

const fn link_advice(error: &CardLinkError) -> &'static str {
    match error {
        CardLinkError::CardGone(_) | CardLinkError::CardSwapped => {
            "leave the card on the encoder until it is done"
        }
        CardLinkError::SeveralCards => "leave one card on the encoder",
        CardLinkError::Disturbed(_) => "lay the card flat on the encoder, away from metal",
        CardLinkError::BadSwipe(_) => "draw the card straight through at an even pace",
        CardLinkError::Silent(_) | CardLinkError::Faulty(_) => {
            "unplug the encoder and plug it in again"
        }
        CardLinkError::PortGone(_) => "plug the encoder in",
        CardLinkError::AuthenticationRefused(_) | CardLinkError::Refused(_) => "use another card",
        CardLinkError::Cancelled => "ask again if it is still wanted",
    }
}

/// Shows a place after an error's text.
struct At(Option<Place>);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(place) => write!(f, " at {place}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault() -> HardwareFault {
        HardwareFault {
            driver: "pn532".into(),
            code: "0x01".into(),
            meaning: "time out".into(),
        }
    }

    fn at_block_4(source: CardLinkError) -> CardError {
        CardError::link(Place::Block(4), source)
    }

    #[test]
    fn a_lifted_card_is_no_card_before_and_interrupted_after_a_change() {
        let gone = at_block_4(CardLinkError::CardGone(fault()));
        let before = job_error(&gone, false);
        assert_eq!(before.code, ErrorCode::NoCardOnEncoder);
        assert_eq!(before.touched, Touched::Untouched);
        assert_eq!(before.hardware, Some(fault()));
        let after = job_error(&gone, true);
        assert_eq!(after.code, ErrorCode::EncodingInterrupted);
        assert_eq!(after.touched, Touched::Unknown);
        assert_eq!(
            after.message,
            "the card does not answer (pn532 0x01: time out) at block 4; \
             leave the card on the encoder until it is done. \
             the card may be half written: encode the same card again"
        );
    }

    #[test]
    fn a_read_only_card_is_not_asked_for_again() {
        let read_only = CardError::ReadOnly {
            at: Place::Block(8),
            fault: Some(fault()),
        };
        assert_eq!(
            job_error(&read_only, true).message,
            "block 8 is read-only on this card; use another card. \
             this card may be half written: make a new credential for another card"
        );
    }

    #[test]
    fn every_link_error_has_its_code() {
        use ErrorCode as Code;
        for (source, before, after) in [
            (
                CardLinkError::CardSwapped,
                Code::NoCardOnEncoder,
                Code::EncodingInterrupted,
            ),
            (
                CardLinkError::SeveralCards,
                Code::UncategorizedError,
                Code::EncodingInterrupted,
            ),
            (
                CardLinkError::Disturbed(fault()),
                Code::UncategorizedError,
                Code::EncodingInterrupted,
            ),
            (
                CardLinkError::Cancelled,
                Code::UncategorizedError,
                Code::EncodingInterrupted,
            ),
            (
                CardLinkError::Faulty(fault()),
                Code::UncategorizedError,
                Code::EncodingInterrupted,
            ),
            (
                CardLinkError::Silent(500),
                Code::EncoderCommunicationTimeout,
                Code::EncoderCommunicationTimeout,
            ),
            (
                CardLinkError::PortGone("x".into()),
                Code::EncoderNotOnline,
                Code::EncoderNotOnline,
            ),
        ] {
            let error = at_block_4(source);
            assert_eq!(job_error(&error, false).code, before, "{error}");
            assert_eq!(job_error(&error, true).code, after, "{error}");
        }
    }

    #[test]
    fn cards_that_do_not_fit_are_incompatible_and_foreign_keys_name_their_sector() {
        let too_small = CardError::TooSmall {
            needed: Place::Sector(20),
            got: Technology::MifareClassicMini,
        };
        assert_eq!(
            job_error(&too_small, false).code,
            ErrorCode::IncompatibleCardFormat
        );
        let no_key = CardError::NoKey {
            sector: 1,
            tried: 2,
            fault: Some(fault()),
        };
        let error = job_error(&no_key, false);
        assert_eq!(error.code, ErrorCode::UncategorizedError);
        assert_eq!(
            error.message,
            "none of the 2 known keys opens sector 1; the card belongs to another system: use another card"
        );
        assert_eq!(error.hardware, Some(fault()));
    }
}
