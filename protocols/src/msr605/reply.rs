//! Reading replies. They have no frame: what a reply looks like depends on the command, and where it ends on its contents.

use nom::{
    IResult, Parser,
    branch::alt,
    bytes::streaming::{tag, take_till},
    combinator::{cut, fail, map, map_opt, opt, value, verify},
    multi::length_data,
    number::streaming::u8 as byte,
    sequence::preceded,
};

use crate::card::magstripe::Coercivity;

use super::{
    ESC, FS,
    command::{IsoSwipe, IsoTrack, LeadingZeros, Model, RawSwipe, Reply, Request},
    status::Status,
    track::{BitsPerCharacter, RawTrack, TRACKS, TrackText},
};

/// Behind ESC, in a track's place: nothing is on it.
const BLANK_MARK: u8 = b'+';
/// Behind ESC, in a track's place: it cannot be read.
const UNREADABLE_MARK: u8 = b'*';

/// More than the longest reply, a raw block of three tracks of 255 bytes.
pub(super) const LONGEST_REPLY: usize = 1024;
/// The longest text of [`Request::Firmware`] that is believed; manuals speak of 8 or 9.
const LONGEST_FIRMWARE: usize = 32;

/// What came is no answer to the command.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ReplyError {
    /// The answer began as it should and went on wrongly.
    #[error(
        "expected a whole answer to the {command} command, got bytes that break off into something else"
    )]
    Malformed {
        /// The command's name.
        command: &'static str,
    },
    /// A card's contents came where a status was awaited: the answer to an earlier command.
    #[error("expected a status for the {command} command, got what a card holds")]
    UnexpectedBlock {
        /// The command's name.
        command: &'static str,
    },
    /// The device answered with an error instead.
    #[error("the device refuses the {command} command with {}: {}", .status.fault().code, .status.meaning())]
    Refused {
        /// The command's name.
        command: &'static str,
        /// The device's error.
        status: Status,
    },
}

/// What stands in the bytes received so far.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Heard {
    /// No answer begins in all these bytes.
    Noise,
    /// Behind `noise` bytes something begins that may become an answer.
    Partial {
        /// The bytes before it.
        noise: usize,
    },
    /// An answer, or what makes one impossible.
    Whole {
        /// The bytes before it.
        noise: usize,
        /// Its own bytes.
        length: usize,
        /// What it says.
        reply: Result<Reply, ReplyError>,
    },
}

impl Request {
    /// Looks for the answer in what was received since the command left.
    pub(super) fn look(&self, received: &[u8]) -> Heard {
        let escapes = (0..).zip(received).filter(|(_, byte)| **byte == ESC);
        for (noise, _) in escapes {
            let input = received.get(noise..).unwrap_or_default();
            match self.reply(input) {
                Ok((rest, reply)) => {
                    return Heard::Whole {
                        noise,
                        length: input.len() - rest.len(),
                        reply,
                    };
                }
                Err(nom::Err::Incomplete(_)) => return Heard::Partial { noise },
                Err(nom::Err::Failure(_)) => {
                    return Heard::Whole {
                        noise,
                        length: input.len(),
                        reply: Err(ReplyError::Malformed {
                            command: self.name(),
                        }),
                    };
                }
                // This ESC begins no answer; perhaps a later one does.
                Err(nom::Err::Error(_)) => {}
            }
        }
        Heard::Noise
    }

    /// Reads an answer that ends with silence: [`Request::Firmware`] has no other end.
    pub(super) fn at_silence(&self, received: &[u8]) -> Result<Reply, ReplyError> {
        let text = received.strip_prefix(&[ESC]).unwrap_or_default();
        let printable = text.iter().all(|byte| (0x20..0x7F).contains(byte));
        if *self == Self::Firmware && printable && (1..=LONGEST_FIRMWARE).contains(&text.len()) {
            let text = String::from_utf8_lossy(text);
            return Ok(Reply::Firmware(text.trim().to_owned()));
        }
        Err(ReplyError::Malformed {
            command: self.name(),
        })
    }

    fn reply<'a>(&self, input: &'a [u8]) -> IResult<&'a [u8], Result<Reply, ReplyError>> {
        let command = self.name();
        let refused = move |status| Err(ReplyError::Refused { command, status });
        match self {
            // Nothing answers these, and the text has no end that bytes could show.
            Self::Reset | Self::Leds(_) => fail().parse(input),
            Self::Firmware => preceded(tag(&[ESC][..]), still_going).parse(input),
            Self::CommunicationTest => alt((
                value(Ok(Reply::Done), tag(&[ESC, b'y'][..])),
                map(error_status, refused),
            ))
            .parse(input),
            Self::Coercivity => alt((
                value(
                    Ok(Reply::Coercivity(Coercivity::High)),
                    tag(&[ESC, b'H'][..]),
                ),
                value(
                    Ok(Reply::Coercivity(Coercivity::Low)),
                    tag(&[ESC, b'L'][..]),
                ),
                map(error_status, refused),
            ))
            .parse(input),
            Self::LeadingZeros => {
                map(leading_zeros, |zeros| Ok(Reply::LeadingZeros(zeros))).parse(input)
            }
            Self::Model => map(model, |model| Ok(Reply::Model(model))).parse(input),
            Self::SetBitsPerCharacter(bits) => alt((
                map(error_status, |status| Ok(Reply::Status(status))),
                |input| echoed(*bits, input),
            ))
            .parse(input),
            Self::ReadIso => alt((
                map(iso_block, |swipe| Ok(Reply::Iso(swipe))),
                map(error_status, |status| Ok(Reply::Status(status))),
            ))
            .parse(input),
            Self::ReadRaw => alt((
                map(raw_block, |swipe| Ok(Reply::Raw(swipe))),
                map(error_status, |status| Ok(Reply::Status(status))),
            ))
            .parse(input),
            Self::SensorTest
            | Self::RamTest
            | Self::SetLeadingZeros(_)
            | Self::Erase(_)
            | Self::SetDensity(..)
            | Self::WriteIso(_)
            | Self::WriteRaw(_)
            | Self::SetCoercivity(_) => alt((
                map(status, |status| Ok(Reply::Status(status))),
                value(
                    Err(ReplyError::UnexpectedBlock { command }),
                    tag(&[ESC, b's'][..]),
                ),
            ))
            .parse(input),
        }
    }
}

fn status(input: &[u8]) -> IResult<&[u8], Status> {
    preceded(tag(&[ESC][..]), map_opt(byte, Status::from_byte)).parse(input)
}

/// A status other than *done*: a late *done* of an earlier command must not pass for an answer.
fn error_status(input: &[u8]) -> IResult<&[u8], Status> {
    verify(status, |status| *status != Status::Ok).parse(input)
}

fn still_going(input: &[u8]) -> IResult<&[u8], Result<Reply, ReplyError>> {
    let _ = input;
    Err(nom::Err::Incomplete(nom::Needed::Unknown))
}

fn leading_zeros(input: &[u8]) -> IResult<&[u8], LeadingZeros> {
    map(
        preceded(tag(&[ESC][..]), (byte, byte)),
        |(tracks_1_and_3, track_2)| LeadingZeros {
            tracks_1_and_3,
            track_2,
        },
    )
    .parse(input)
}

fn model(input: &[u8]) -> IResult<&[u8], Model> {
    let character = verify(byte, u8::is_ascii_graphic);
    map(
        (tag(&[ESC][..]), character, tag(&b"S"[..])),
        |(_, character, _)| Model(character),
    )
    .parse(input)
}

/// The device repeats what it was told; anything else is no success.
fn echoed(
    bits: [BitsPerCharacter; TRACKS],
    input: &[u8],
) -> IResult<&[u8], Result<Reply, ReplyError>> {
    let echo = bits.map(BitsPerCharacter::count);
    let done = preceded(tag(&[ESC, 0x30][..]), cut(tag(&echo[..])));
    let mut reply = value(Ok(Reply::Status(Status::Ok)), done);
    reply.parse(input)
}

fn iso_block(input: &[u8]) -> IResult<&[u8], IsoSwipe> {
    let tracks = (
        |input| iso_track(1, input),
        |input| iso_track(2, input),
        last_iso_track,
    );
    map(
        preceded(tag(&[ESC, b's'][..]), cut((tracks, status))),
        |((one, two, three), status)| IsoSwipe {
            tracks: [one, two, three],
            status,
        },
    )
    .parse(input)
}

fn iso_field(number: u8, input: &[u8]) -> IResult<&[u8], (Option<u8>, &[u8])> {
    let mark = alt((
        tag(&[ESC, BLANK_MARK][..]),
        tag(&[ESC, UNREADABLE_MARK][..]),
    ));
    let mark = map(opt(mark), |mark: Option<&[u8]>| mark?.last().copied());
    let text = take_till(|byte| byte == ESC || byte == FS);
    preceded(tag(&[ESC, number][..]), (mark, text)).parse(input)
}

fn iso_track(number: u8, input: &[u8]) -> IResult<&[u8], IsoTrack> {
    map(
        |input| iso_field(number, input),
        |(mark, text)| iso_contents(number, mark, text),
    )
    .parse(input)
}

/// Track 3 is followed by `?` and FS; its own end sentinel is a `?`, too.
fn last_iso_track(input: &[u8]) -> IResult<&[u8], IsoTrack> {
    let field = |input| iso_field(3, input);
    let contents = map_opt(field, |(mark, text)| {
        Some(iso_contents(3, mark, text.strip_suffix(b"?")?))
    });
    map((contents, tag(&[FS][..])), |(contents, _)| contents).parse(input)
}

fn iso_contents(number: u8, mark: Option<u8>, text: &[u8]) -> IsoTrack {
    match (mark, text) {
        (Some(BLANK_MARK), _) | (None, [] | [BLANK_MARK]) => IsoTrack::Blank,
        (Some(_), _) => IsoTrack::Unreadable,
        (None, text) => {
            let start = if number == 1 { b'%' } else { b';' };
            let text = TrackText::between_sentinels(start, text);
            text.map_or(IsoTrack::Unreadable, IsoTrack::Text)
        }
    }
}

fn raw_block(input: &[u8]) -> IResult<&[u8], RawSwipe> {
    let tracks = (
        |input| raw_track(1, input),
        |input| raw_track(2, input),
        |input| raw_track(3, input),
    );
    let block = (tracks, tag(&[b'?', FS][..]), status);
    map(
        preceded(tag(&[ESC, b's'][..]), cut(block)),
        |((one, two, three), _, status)| RawSwipe {
            tracks: [one, two, three],
            status,
        },
    )
    .parse(input)
}

fn raw_track(number: u8, input: &[u8]) -> IResult<&[u8], RawTrack> {
    map(
        preceded(tag(&[ESC, number][..]), length_data(byte)),
        RawTrack::read,
    )
    .parse(input)
}
