//! What an encode puts on a magnetic stripe, and what a scan asks of one.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    BitString, Coercivity, Density, Track, TrackContents, TrackFlaw, TrackFound, encode,
    hides_payment_data, is_payment_data, track::FRAME_CHARACTERS,
};
use crate::card::{CardError, ImageFlaw, Place};

/// The longest number that an image assigns to a card.
const CARD_NUMBER_CHARACTERS: usize = 64;

/// The tracks of a magnetic stripe card. Tracks that it does not name are left as they are.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct MagstripeImage {
    /// The number that the API shows for the card, as it has no UID.
    pub card_number: String,
    /// What the stripe is made of.
    pub coercivity: Coercivity,
    /// The tracks to write, each at most once.
    pub tracks: Vec<TrackImage>,
}

/// One track to write.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct TrackImage {
    /// Which.
    pub track: Track,
    /// How densely.
    pub bpi: Density,
    /// What.
    #[serde(flatten)]
    pub data: TrackData,
}

/// What stands on a track.
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TrackData {
    /// Characters of the track's own set, without sentinels and LRC.
    Iso(String),
    /// Every bit from the first one bit on, sentinels, parity and LRC included.
    Raw(BitString),
}

impl fmt::Debug for TrackData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Iso(_) => "Iso(…)",
            Self::Raw(_) => "Raw(…)",
        })
    }
}

/// In which form tracks are read.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TrackForm {
    /// Characters, checked by the encoder.
    Iso,
    /// Bits.
    Raw,
}

/// What a scan reads from a magnetic stripe.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct MagstripeRead {
    /// In which form.
    pub form: TrackForm,
    /// Which tracks, each at most once.
    pub tracks: Vec<Track>,
}

impl MagstripeImage {
    /// Whether an encoder may be asked to write it.
    ///
    /// # Errors
    /// [`ImageFlaw`] names the track; payment data is one.
    pub fn check(&self) -> Result<(), ImageFlaw> {
        let number = self.card_number.as_bytes();
        let is_graphic = number.iter().all(u8::is_ascii_graphic);
        if number.is_empty() || number.len() > CARD_NUMBER_CHARACTERS || !is_graphic {
            return Err(ImageFlaw::CardNumber);
        }
        if self.tracks.is_empty() {
            return Err(ImageFlaw::Empty);
        }
        for (at, image) in self.tracks.iter().enumerate() {
            let mut others = self.tracks.iter().take(at);
            if others.any(|other| other.track == image.track) {
                return Err(ImageFlaw::Twice(image.place()));
            }
            image.check()?;
        }
        Ok(())
    }

    /// What must be read from a card to tell whether it carries this image.
    pub fn verifying_read(&self) -> MagstripeRead {
        let is_raw = |image: &TrackImage| matches!(image.data, TrackData::Raw(_));
        MagstripeRead {
            form: if self.tracks.iter().any(is_raw) {
                TrackForm::Raw
            } else {
                TrackForm::Iso
            },
            tracks: self.tracks.iter().map(|image| image.track).collect(),
        }
    }

    /// Compares what was read with the image. What stands on other tracks does not count.
    ///
    /// # Errors
    /// [`CardError::Unreadable`] or [`CardError::Differs`] names the first track that is not as it should be.
    pub fn compare(&self, contents: &[TrackContents]) -> Result<(), CardError> {
        self.tracks.iter().try_for_each(|image| {
            let found = contents
                .iter()
                .find(|contents| contents.track == image.track)
                .map(|contents| &contents.found);
            image.compare(found)
        })
    }
}

impl TrackImage {
    /// A track of characters as ISO/IEC 7811 wants it.
    pub fn iso(track: Track, text: impl Into<String>) -> Self {
        Self {
            track,
            bpi: track.density(),
            data: TrackData::Iso(text.into()),
        }
    }

    /// The track's bits from the first one bit on: sentinels, parity and LRC computed where the image holds characters.
    ///
    /// # Errors
    /// [`TrackFlaw::Character`] where the track cannot hold one.
    pub fn bits(&self) -> Result<BitString, TrackFlaw> {
        match &self.data {
            TrackData::Iso(text) => encode(self.track.character_set(), text),
            TrackData::Raw(bits) => Ok(bits.trimmed()),
        }
    }

    fn place(&self) -> Place {
        Place::Track(self.track)
    }

    fn check(&self) -> Result<(), ImageFlaw> {
        let at = self.place();
        match &self.data {
            TrackData::Iso(text) => self.check_characters(text)?,
            TrackData::Raw(bits) if !bits.as_slice().iter().any(|bit| *bit) => {
                return Err(ImageFlaw::EmptyPlace(at));
            }
            // How many zeros a device puts before the data is its own affair, so none of them can be read back.
            TrackData::Raw(bits) if bits.as_slice().first() != Some(&true) => {
                return Err(ImageFlaw::LeadingZeros(at));
            }
            TrackData::Raw(bits) if hides_payment_data(bits) => {
                return Err(ImageFlaw::PaymentData(at));
            }
            TrackData::Raw(bits) => self.check_length(bits.len())?,
        }
        Ok(())
    }

    fn check_characters(&self, text: &str) -> Result<(), ImageFlaw> {
        let (at, set) = (self.place(), self.track.character_set());
        if text.is_empty() {
            return Err(ImageFlaw::EmptyPlace(at));
        }
        if let Some(index) = text.bytes().position(|character| !set.holds(character)) {
            return Err(ImageFlaw::Character { at, index });
        }
        if text.len() > self.track.capacity() {
            return Err(ImageFlaw::TooManyCharacters {
                at,
                most: self.track.capacity(),
                got: text.len(),
            });
        }
        if is_payment_data(text) {
            return Err(ImageFlaw::PaymentData(at));
        }
        self.check_length((text.len() + FRAME_CHARACTERS) * set.bits_per_character())
    }

    fn check_length(&self, got: usize) -> Result<(), ImageFlaw> {
        let most = self.bpi.capacity();
        if got <= most {
            return Ok(());
        }
        let at = self.place();
        Err(ImageFlaw::TooManyBits { at, most, got })
    }

    fn compare(&self, found: Option<&TrackFound>) -> Result<(), CardError> {
        let (at, set) = (self.place(), self.track.character_set());
        let is_same = match (&self.data, found) {
            (_, Some(TrackFound::Unreadable)) => {
                return Err(CardError::Unreadable { at, fault: None });
            }
            (TrackData::Iso(text), Some(TrackFound::Iso { text: read })) => text == read,
            (TrackData::Raw(bits), Some(TrackFound::Iso { text: read })) => {
                encode(set, read).is_ok_and(|read| read.trimmed() == bits.trimmed())
            }
            (_, Some(TrackFound::Raw { bits: read })) => {
                let read = read.trimmed();
                self.bits().is_ok_and(|bits| {
                    let bits = bits.trimmed();
                    bits == read || bits == read.reversed()
                })
            }
            (_, None | Some(TrackFound::Blank | TrackFound::PaymentData { .. })) => false,
        };
        is_same.then_some(()).ok_or(CardError::Differs { at })
    }
}
