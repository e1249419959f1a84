//! What was read from a magnetic stripe.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{BitString, Track, hides_payment_data, is_payment_data, payment::masked};

/// One track as it was read.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct TrackContents {
    /// Which.
    pub track: Track,
    /// What stands there.
    #[serde(flatten)]
    pub found: TrackFound,
}

/// What was found on a track.
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "found", rename_all = "snake_case")]
pub enum TrackFound {
    /// Characters, without sentinels and LRC.
    Iso {
        /// The characters.
        text: String,
    },
    /// Bits, perhaps with clocking zeros before and behind them.
    Raw {
        /// The bits.
        bits: BitString,
    },
    /// Nothing.
    Blank,
    /// Something that is not of the track's format, or cannot be read.
    Unreadable,
    /// A payment card's data, or another track of such a card: it stays within the agent.
    PaymentData {
        /// The account number's last four digits behind stars; empty on another track of the card.
        masked: String,
    },
}

impl fmt::Debug for TrackFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Iso { .. } => "Iso(…)",
            Self::Raw { .. } => "Raw(…)",
            Self::Blank => "Blank",
            Self::Unreadable => "Unreadable",
            Self::PaymentData { .. } => "PaymentData(…)",
        })
    }
}

impl TrackContents {
    /// A track as an encoder read its characters: with the sentinels, or nothing.
    pub fn of_characters(track: Track, read: &[u8]) -> Self {
        let set = track.character_set();
        let between = read
            .strip_prefix(&[set.start()])
            .and_then(|rest| rest.strip_suffix(&[set.end()]))
            .filter(|characters| characters.iter().all(|character| set.holds(*character)));
        let found = match between {
            _ if read.is_empty() => TrackFound::Blank,
            // Of the set and thus ASCII.
            Some(characters) => TrackFound::Iso {
                text: characters.iter().copied().map(char::from).collect(),
            },
            None => TrackFound::Unreadable,
        };
        Self { track, found }
    }

    /// A track as an encoder read its bits.
    pub fn of_bits(track: Track, bits: BitString) -> Self {
        let is_blank = !bits.as_slice().contains(&true);
        let found = if is_blank {
            TrackFound::Blank
        } else {
            TrackFound::Raw { bits }
        };
        Self { track, found }
    }

    /// Takes away what a payment card says of itself: where one track holds payment data, all of them.
    pub fn mask_payment_data(tracks: &mut [Self]) {
        if !tracks.iter().any(Self::has_payment_data) {
            return;
        }
        for contents in tracks {
            let masked = match &contents.found {
                TrackFound::Iso { text } => masked(text),
                TrackFound::Raw { .. } => String::new(),
                TrackFound::Blank | TrackFound::Unreadable | TrackFound::PaymentData { .. } => {
                    continue;
                }
            };
            contents.found = TrackFound::PaymentData { masked };
        }
    }

    fn has_payment_data(&self) -> bool {
        match &self.found {
            TrackFound::Iso { text } => is_payment_data(text),
            TrackFound::Raw { bits } => hides_payment_data(bits),
            TrackFound::PaymentData { .. } => true,
            TrackFound::Blank | TrackFound::Unreadable => false,
        }
    }
}
