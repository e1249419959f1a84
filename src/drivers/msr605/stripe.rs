//! Between the cards' own terms and the device's: what is to be written, and what was read.

use encoder_protocols::{
    card::{
        CardContents, CardError, CardImage, ImageFlaw, Place, ReadPlan, Technology,
        magstripe::{
            MagstripeImage, MagstripeRead, Track, TrackContents, TrackData, TrackForm, TrackFound,
        },
    },
    msr605::{
        command::{IsoTrack, Request},
        status::Status,
        track::{BitsPerCharacter, RawTrack, TrackText},
    },
};

use super::device::{Setting, refused};

/// The image for a magnetic stripe, or for what it is instead.
pub(super) fn image_of(image: &CardImage) -> Result<&MagstripeImage, CardError> {
    match image {
        CardImage::Magstripe(image) => Ok(image),
        CardImage::MifareClassic(_) => Err(other("a MIFARE Classic card")),
        CardImage::Type2(_) => Err(other("an Ultralight or NTAG card")),
    }
}

/// The plan for a magnetic stripe, or for what it is instead.
pub(super) fn plan_of(plan: &ReadPlan) -> Result<&MagstripeRead, CardError> {
    match plan {
        ReadPlan::Magstripe(plan) => Ok(plan),
        ReadPlan::MifareClassic(_) => Err(other("a MIFARE Classic card")),
        ReadPlan::Type2(_) => Err(other("an Ultralight or NTAG card")),
        ReadPlan::UidOnly => Err(other("a card with a uid")),
    }
}

fn other(expected: &'static str) -> CardError {
    CardError::WrongTechnology {
        expected,
        got: Technology::Magstripe,
    }
}

/// The command that writes the image: as characters where all tracks hold such, since the device then makes the frame around
/// them, else as bits, with parity and check characters made here.
pub(super) fn write_request(image: &MagstripeImage) -> Result<Request, CardError> {
    if is_raw(image) {
        let mut tracks = [RawTrack::empty(), RawTrack::empty(), RawTrack::empty()];
        for (track, to_write) in Track::ALL.into_iter().zip(&mut tracks) {
            let Some(image) = image.tracks.iter().find(|image| image.track == track) else {
                continue;
            };
            let at = Place::Track(track);
            let bits = image.bits().map_err(|_| ImageFlaw::EmptyPlace(at))?;
            let got = bits.len();
            *to_write = RawTrack::new(bits, BitsPerCharacter::Eight).map_err(|_| {
                let most = image.bpi.capacity();
                ImageFlaw::TooManyBits { at, most, got }
            })?;
        }
        return Ok(Request::WriteRaw(tracks));
    }
    let mut tracks = [TrackText::empty(), TrackText::empty(), TrackText::empty()];
    for (track, to_write) in Track::ALL.into_iter().zip(&mut tracks) {
        let Some(image) = image.tracks.iter().find(|image| image.track == track) else {
            continue;
        };
        if let TrackData::Iso(text) = &image.data {
            *to_write = TrackText::new(text).map_err(|bad| ImageFlaw::Character {
                at: Place::Track(track),
                index: bad.at,
            })?;
        }
    }
    Ok(Request::WriteIso(tracks))
}

fn is_raw(image: &MagstripeImage) -> bool {
    let mut tracks = image.tracks.iter();
    tracks.any(|track| matches!(track.data, TrackData::Raw(_)))
}

/// What the device must be set to for this image.
pub(super) fn setting(image: &MagstripeImage) -> Setting {
    let densities = Track::ALL.map(|track| {
        let image = image.tracks.iter().find(|image| image.track == track);
        image.map_or(track.density(), |image| image.bpi)
    });
    Setting {
        coercivity: image.coercivity,
        densities,
        bits: if is_raw(image) {
            BitsPerCharacter::PLAIN
        } else {
            BitsPerCharacter::ISO
        },
    }
}

/// The command that reads in this form, and what it needs set.
pub(super) fn read_request(form: TrackForm) -> ([BitsPerCharacter; 3], Request) {
    match form {
        TrackForm::Iso => (BitsPerCharacter::ISO, Request::ReadIso),
        TrackForm::Raw => (BitsPerCharacter::PLAIN, Request::ReadRaw),
    }
}

/// A track as the device read it.
pub(super) trait Read {
    fn contents(&self, track: Track) -> TrackContents;
}

impl Read for IsoTrack {
    fn contents(&self, track: Track) -> TrackContents {
        let found = match self {
            Self::Blank => TrackFound::Blank,
            Self::Unreadable => TrackFound::Unreadable,
            Self::Text(text) => {
                let set = track.character_set();
                let (start, end) = (char::from(set.start()), char::from(set.end()));
                let framed = format!("{start}{}{end}", text.as_str());
                return TrackContents::of_characters(track, framed.as_bytes());
            }
        };
        TrackContents { track, found }
    }
}

impl Read for RawTrack {
    fn contents(&self, track: Track) -> TrackContents {
        TrackContents::of_bits(track, self.bits().clone())
    }
}

/// The tracks that were asked for. A swipe that failed and brought none of them is an error: the next may be better.
pub(super) fn contents<T: Read>(
    plan: &MagstripeRead,
    read: &[T; 3],
    status: Status,
) -> Result<CardContents, CardError> {
    let asked = Track::ALL.into_iter().zip(read);
    let tracks: Vec<_> = asked
        .filter(|(track, _)| plan.tracks.contains(track))
        .map(|(track, read)| read.contents(track))
        .collect();
    let brought = tracks.iter().any(|contents| {
        matches!(
            contents.found,
            TrackFound::Iso { .. } | TrackFound::Raw { .. } | TrackFound::PaymentData { .. }
        )
    });
    if status != Status::Ok && !brought {
        let source = refused(status);
        return Err(CardError::Link { at: None, source });
    }
    Ok(CardContents::Magstripe { tracks })
}
