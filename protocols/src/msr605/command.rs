//! Typed commands and replies of the MSR family (MSR206 and MSR605 programmer's manuals, command list).

use std::time::Duration;

use zeroize::Zeroizing;

use crate::card::magstripe::{Coercivity, Density, Track};

use super::{
    ESC, FS,
    status::Status,
    track::{BitsPerCharacter, RawTrack, TRACKS, TrackText},
};

/// The largest wait for the answer to a command that needs no card.
const PLAIN_TIMEOUT: Duration = Duration::from_millis(500);
/// The device tests its whole memory.
const RAM_TEST_TIMEOUT: Duration = Duration::from_secs(3);

/// A command to the device.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Request {
    /// `a`: back to the initial state; ends a wait for a card. No answer: [`Reply::Done`] comes when the device listens again.
    Reset,
    /// `e`: whether the line works; answered by [`Reply::Done`].
    CommunicationTest,
    /// 81 to 85: lights; no answer, so [`Reply::Done`] comes at once.
    Leds(Leds),
    /// 86: waits for a card to pass the sensor; answered by [`Reply::Status`].
    SensorTest,
    /// 87: tests the device's memory; answered by [`Reply::Status`].
    RamTest,
    /// `z`: zeros before the first character of a track; answered by [`Reply::Status`].
    SetLeadingZeros(LeadingZeros),
    /// `l`: how many there are; answered by [`Reply::LeadingZeros`].
    LeadingZeros,
    /// `c`: erases the named tracks of the next card; answered by [`Reply::Status`].
    Erase([bool; TRACKS]),
    /// `b`: the density with which a track is written; answered by [`Reply::Status`].
    SetDensity(Track, Density),
    /// `r`: reads the next card as ISO/IEC 7811 characters; answered by [`Reply::Iso`], or by [`Reply::Status`] on an error.
    ReadIso,
    /// `w`: writes the next card with sentinels and check characters of the device's making; answered by [`Reply::Status`].
    WriteIso([TrackText; TRACKS]),
    /// `m`: reads the next card's bits; the device must be set to 8 bits per character. Answered by [`Reply::Raw`], or by
    /// [`Reply::Status`] on an error.
    ReadRaw,
    /// `n`: writes the next card's bits; answered by [`Reply::Status`].
    WriteRaw([RawTrack; TRACKS]),
    /// `t`: answered by [`Reply::Model`].
    Model,
    /// `v`: answered by [`Reply::Firmware`].
    Firmware,
    /// `o`: bits per character of the three tracks; answered by [`Reply::Status`].
    SetBitsPerCharacter([BitsPerCharacter; TRACKS]),
    /// `x` and `y`: the field with which cards are written; answered by [`Reply::Status`].
    SetCoercivity(Coercivity),
    /// `d`: answered by [`Reply::Coercivity`].
    Coercivity,
}

/// Zeros before the first character of a track.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LeadingZeros {
    /// On tracks 1 and 3.
    pub tracks_1_and_3: u8,
    /// On track 2.
    pub track_2: u8,
}

impl Default for LeadingZeros {
    /// 61 and 22, as the device comes up.
    fn default() -> Self {
        Self {
            tracks_1_and_3: 61,
            track_2: 22,
        }
    }
}

/// The lights that are on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Leds {
    /// None.
    Off,
    /// All three.
    All,
    /// Green alone.
    Green,
    /// Yellow alone.
    Yellow,
    /// Red alone.
    Red,
}

impl Leds {
    const fn code(self) -> u8 {
        match self {
            Self::Off => 0x81,
            Self::All => 0x82,
            Self::Green => 0x83,
            Self::Yellow => 0x84,
            Self::Red => 0x85,
        }
    }
}

/// What the device answered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Reply {
    /// What needs no more than that.
    Done,
    /// How a command ended.
    Status(Status),
    /// To [`Request::LeadingZeros`].
    LeadingZeros(LeadingZeros),
    /// To [`Request::Coercivity`].
    Coercivity(Coercivity),
    /// To [`Request::Model`].
    Model(Model),
    /// To [`Request::Firmware`]: the text as the device gives it.
    Firmware(String),
    /// To [`Request::ReadIso`].
    Iso(IsoSwipe),
    /// To [`Request::ReadRaw`].
    Raw(RawSwipe),
}

/// The device's model: a character whose meaning differs between makers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Model(pub u8);

impl Model {
    /// Which tracks the device has (MSR206 manual); none for a character that the manual does not list.
    pub const fn tracks(self) -> Option<[bool; TRACKS]> {
        match self.0 {
            b'1' => Some([false, true, false]),
            b'2' => Some([false, true, true]),
            b'3' => Some([true, true, true]),
            b'5' => Some([true, true, false]),
            _ => None,
        }
    }
}

/// What a swipe brought, read as characters.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IsoSwipe {
    /// Tracks 1, 2 and 3.
    pub tracks: [IsoTrack; TRACKS],
    /// How it ended.
    pub status: Status,
}

/// A track as it was read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum IsoTrack {
    /// Nothing is on it.
    Blank,
    /// There is something that is no text of this track.
    Unreadable,
    /// The characters between its sentinels.
    Text(TrackText),
}

/// What a swipe brought, read as bits.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RawSwipe {
    /// Tracks 1, 2 and 3.
    pub tracks: [RawTrack; TRACKS],
    /// How it ended.
    pub status: Status,
}

impl Request {
    /// The command's name, for messages.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Reset => "reset",
            Self::CommunicationTest => "communication test",
            Self::Leds(_) => "lights",
            Self::SensorTest => "sensor test",
            Self::RamTest => "memory test",
            Self::SetLeadingZeros(_) => "set leading zeros",
            Self::LeadingZeros => "leading zeros",
            Self::Erase(_) => "erase",
            Self::SetDensity(..) => "set density",
            Self::ReadIso => "read",
            Self::WriteIso(_) => "write",
            Self::ReadRaw => "read raw",
            Self::WriteRaw(_) => "write raw",
            Self::Model => "model",
            Self::Firmware => "firmware",
            Self::SetBitsPerCharacter(_) => "set bits per character",
            Self::SetCoercivity(_) => "set coercivity",
            Self::Coercivity => "coercivity",
        }
    }

    /// The command as it goes to the device. Wiped when it is dropped, since it may hold a card's contents.
    pub fn message(&self) -> Zeroizing<Vec<u8>> {
        let mut message = Zeroizing::new(vec![ESC]);
        match self {
            Self::Reset => message.push(b'a'),
            Self::CommunicationTest => message.push(b'e'),
            Self::Leds(leds) => message.push(leds.code()),
            Self::SensorTest => message.push(0x86),
            Self::RamTest => message.push(0x87),
            Self::SetLeadingZeros(zeros) => {
                message.extend([b'z', zeros.tracks_1_and_3, zeros.track_2]);
            }
            Self::LeadingZeros => message.push(b'l'),
            Self::Erase(tracks) => message.extend([b'c', erase_mask(*tracks)]),
            Self::SetDensity(track, density) => {
                message.extend([b'b', density_code(*track, *density)])
            }
            Self::ReadIso => message.push(b'r'),
            Self::WriteIso(tracks) => {
                message.push(b'w');
                block(&mut message, tracks, |message, track| {
                    message.extend(track.as_str().bytes());
                });
            }
            Self::ReadRaw => message.push(b'm'),
            Self::WriteRaw(tracks) => {
                message.push(b'n');
                block(&mut message, tracks, |message, track| {
                    let bytes = track.to_write();
                    // RawTrack::new takes no more than a length byte can tell.
                    message.push(u8::try_from(bytes.len()).unwrap_or(u8::MAX));
                    message.extend(bytes.iter());
                });
            }
            Self::Model => message.push(b't'),
            Self::Firmware => message.push(b'v'),
            Self::SetBitsPerCharacter(bits) => {
                message.push(b'o');
                message.extend(bits.map(BitsPerCharacter::count));
            }
            Self::SetCoercivity(Coercivity::High) => message.push(b'x'),
            Self::SetCoercivity(Coercivity::Low) => message.push(b'y'),
            Self::Coercivity => message.push(b'd'),
        }
        message
    }

    /// Whether the device answers when a card passes, however long that takes.
    pub const fn awaits_swipe(&self) -> bool {
        matches!(
            self,
            Self::SensorTest
                | Self::Erase(_)
                | Self::ReadIso
                | Self::WriteIso(_)
                | Self::ReadRaw
                | Self::WriteRaw(_)
        )
    }

    /// Whether the device answers at all.
    pub const fn is_answered(&self) -> bool {
        !matches!(self, Self::Reset | Self::Leds(_))
    }

    /// How long the answer may stay out; none where it waits for a card.
    pub const fn reply_timeout(&self) -> Option<Duration> {
        if self.awaits_swipe() {
            return None;
        }
        Some(if matches!(self, Self::RamTest) {
            RAM_TEST_TIMEOUT
        } else {
            PLAIN_TIMEOUT
        })
    }
}

/// The argument names track and density.
const fn density_code(track: Track, density: Density) -> u8 {
    match (track, density) {
        (Track::One, Density::Bpi210) => 0xA1,
        (Track::One, Density::Bpi75) => 0xA0,
        (Track::Two, Density::Bpi210) => 0xD2,
        (Track::Two, Density::Bpi75) => 0x4B,
        (Track::Three, Density::Bpi210) => 0xC1,
        (Track::Three, Density::Bpi75) => 0xC0,
    }
}

/// Bits 0, 1 and 2. A mask of 0 means track 1, too: naming none erases nothing only because nobody asks for it.
fn erase_mask(tracks: [bool; TRACKS]) -> u8 {
    (0..)
        .zip(tracks)
        .fold(0, |mask, (bit, track)| mask | u8::from(track) << bit)
}

/// A data block: ESC `s`, each track behind ESC and its number, `?` and FS.
fn block<T>(message: &mut Vec<u8>, tracks: &[T; TRACKS], track: impl Fn(&mut Vec<u8>, &T)) {
    message.extend([ESC, b's']);
    for (number, contents) in (1..).zip(tracks) {
        message.extend([ESC, number]);
        track(message, contents);
    }
    message.extend([b'?', FS]);
}
