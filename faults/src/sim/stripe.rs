//! A magnetic stripe encoder as a device: it waits for swipes whatever becomes of the program that asked for them.

use encoder_protocols::{
    card::{
        Uid,
        magstripe::{MagstripeImage, TrackContents, TrackData, TrackFound, TrackImage},
    },
    wire::JobId,
};

use super::table::Seen;

/// A card with a stripe.
pub(super) struct Stripe {
    /// The harness's name for it: nothing on the card tells it.
    pub(super) name: Uid,
    written: Option<MagstripeImage>,
    pub(super) destroyed: bool,
}

/// What the next swipe is to do.
#[derive(Clone, Debug)]
pub(super) enum Arm {
    Write(JobId, MagstripeImage),
    Read,
}

/// What the last swipe did.
#[derive(Clone, Debug)]
pub(super) enum Reply {
    Written,
    WriteFailed,
    Read(Vec<TrackContents>),
}

/// What a stripe encoder does next, and the cards there are.
#[derive(Default)]
pub(super) struct Stripes {
    pub(super) cards: Vec<Stripe>,
    pub(super) arm: Option<Arm>,
    pub(super) reply: Option<Reply>,
    /// The card that was swiped last.
    pub(super) last: Option<usize>,
}

impl Stripes {
    /// A new card from the factory.
    pub(super) fn add(&mut self) -> usize {
        let number = u8::try_from(self.cards.len()).unwrap_or(u8::MAX);
        if let Ok(name) = Uid::new(&[0xF0, 0, 0, number]) {
            self.cards.push(Stripe {
                name,
                written: None,
                destroyed: false,
            });
        }
        self.cards.len() - 1
    }

    /// Loses its power, or is told to wait for nothing.
    pub(super) fn reset(&mut self) {
        self.arm = None;
        self.reply = None;
    }

    pub(super) fn awaits_write(&self) -> bool {
        matches!(self.arm, Some(Arm::Write(..)))
    }

    pub(super) fn awaits_swipe(&self) -> bool {
        self.arm.is_some()
    }

    /// A card is drawn through; a bad swipe leaves behind what it had written until then.
    pub(super) fn swipe(&mut self, at: usize, is_bad: bool) -> Vec<Seen> {
        let Some(card) = self.cards.get_mut(at) else {
            return Vec::new();
        };
        self.last = Some(at);
        let mut seen = Vec::new();
        match self.arm.take() {
            None => return seen,
            Some(Arm::Read) => {
                let tracks = card.written.as_ref().map(tracks).unwrap_or_default();
                self.reply = Some(Reply::Read(if is_bad { Vec::new() } else { tracks }));
            }
            Some(Arm::Write(job, mut image)) => {
                if is_bad {
                    image.tracks.truncate(1);
                }
                seen.push(Seen::Changed(card.name, job));
                if !is_bad {
                    seen.push(Seen::Carries(card.name, job));
                }
                card.written = Some(image);
                self.reply = Some(if is_bad {
                    Reply::WriteFailed
                } else {
                    Reply::Written
                });
            }
        }
        seen.push(Seen::Left(card.name));
        seen
    }
}

/// What is read from a stripe with this image.
fn tracks(image: &MagstripeImage) -> Vec<TrackContents> {
    let of = |track: &TrackImage| TrackContents {
        track: track.track,
        found: match &track.data {
            TrackData::Iso(text) => TrackFound::Iso { text: text.clone() },
            TrackData::Raw(bits) => TrackFound::Raw { bits: bits.clone() },
        },
    };
    image.tracks.iter().map(of).collect()
}
