//! Frames of the PN532 on its serial line (NXP UM0701-02, section 6.2.1), both ways: what the host sends, what the chip sends.
//!
//! | frame | bytes |
//! |---|---|
//! | normal | `00 00 FF LEN LCS TFI PD… DCS 00` |
//! | extended | `00 00 FF FF FF LENm LENl LCS TFI PD… DCS 00` |
//! | ACK | `00 00 FF 00 FF 00` |
//! | NACK, only host to chip | `00 00 FF FF 00 00` |
//! | syntax error, only chip to host | `00 00 FF 01 FF 7F 81 00` |
//!
//! The first and the last `00` may be missing or repeated, so a frame begins at its start code `00 FF` and ends with its
//! data checksum.

use std::fmt;

use nom::{
    IResult, Parser,
    branch::alt,
    bytes::streaming::{tag, take},
    combinator::value,
    number::streaming::u8 as byte,
    sequence::preceded,
};

/// The acknowledge frame. From the host while a command is under way, it aborts that command.
pub const ACK: [u8; 6] = [0x00, 0x00, 0xFF, 0x00, 0xFF, 0x00];
/// The frame that asks the chip for its last response again.
pub const NACK: [u8; 6] = [0x00, 0x00, 0xFF, 0xFF, 0x00, 0x00];
/// The frame with which the chip refuses a command that it does not know or that is ill-formed.
pub const SYNTAX_ERROR: [u8; 8] = [0x00, 0x00, 0xFF, 0x01, 0xFF, 0x7F, 0x81, 0x00];
/// The largest LEN of a frame: the frame identifier, the command code and 263 bytes.
pub const MAX_LEN: usize = 265;
/// The largest payload of an information frame: the command code and 263 bytes.
pub const MAX_PAYLOAD: usize = MAX_LEN - 1;

const START_CODE: [u8; 2] = [0x00, 0xFF];
const ACK_CODE: [u8; 2] = [0x00, 0xFF];
const NACK_CODE: [u8; 2] = [0xFF, 0x00];
const EXTENDED_MARKER: [u8; 2] = [0xFF, 0xFF];
const TFI_SYNTAX_ERROR: u8 = 0x7F;
/// What a decoder keeps at most: the oldest bytes beyond it are dropped as noise.
const MAX_BUFFER: usize = 4096;

/// Which way an information frame goes: its frame identifier, TFI.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Direction {
    /// TFI D4: a command.
    HostToChip,
    /// TFI D5: a response.
    ChipToHost,
}

impl Direction {
    /// The frame identifier byte.
    pub const fn tfi(self) -> u8 {
        match self {
            Self::HostToChip => 0xD4,
            Self::ChipToHost => 0xD5,
        }
    }

    const fn from_tfi(tfi: u8) -> Option<Self> {
        match tfi {
            0xD4 => Some(Self::HostToChip),
            0xD5 => Some(Self::ChipToHost),
            _ => None,
        }
    }
}

/// One frame. Its payload never shows itself when it is formatted: it may hold keys and card contents.
#[derive(Clone, Eq, PartialEq)]
pub enum Frame {
    /// A normal or extended information frame.
    Information {
        /// Which way it goes.
        direction: Direction,
        /// PD0 to PDn: the command or response code and what follows it; at most [`MAX_PAYLOAD`] bytes, may be empty.
        payload: Vec<u8>,
    },
    /// Acknowledge; from the host also: abort.
    Ack,
    /// Send the last response again.
    Nack,
    /// The chip does not understand the command.
    SyntaxError,
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Information { direction, payload } => match payload.split_first() {
                Some((code, data)) => {
                    write!(f, "{direction:?}({code:02X}, {} bytes)", data.len())
                }
                None => write!(f, "{direction:?}(empty)"),
            },
            Self::Ack => f.write_str("Ack"),
            Self::Nack => f.write_str("Nack"),
            Self::SyntaxError => f.write_str("SyntaxError"),
        }
    }
}

impl Frame {
    /// The frame's bytes with preamble and postamble.
    ///
    /// # Errors
    /// [`PayloadTooLong`] for an information frame of more than [`MAX_PAYLOAD`] bytes.
    pub fn encode(&self) -> Result<Vec<u8>, PayloadTooLong> {
        match self {
            Self::Information { direction, payload } => encode_information(*direction, payload),
            Self::Ack => Ok(ACK.to_vec()),
            Self::Nack => Ok(NACK.to_vec()),
            Self::SyntaxError => Ok(SYNTAX_ERROR.to_vec()),
        }
    }
}

/// A payload does not fit a frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("expected a payload of at most 264 bytes, got {length}: send it in parts")]
pub struct PayloadTooLong {
    /// The payload's bytes.
    pub length: usize,
}

/// The bytes of an information frame around `payload` (the command or response code and its data), normal up to LEN 255,
/// extended above.
///
/// # Errors
/// [`PayloadTooLong`] for more than [`MAX_PAYLOAD`] bytes.
pub fn encode_information(direction: Direction, payload: &[u8]) -> Result<Vec<u8>, PayloadTooLong> {
    let too_long = PayloadTooLong {
        length: payload.len(),
    };
    if payload.len() > MAX_PAYLOAD {
        return Err(too_long);
    }
    let len = u16::try_from(payload.len() + 1).map_err(|_| too_long)?;
    let mut frame = vec![0x00];
    frame.extend(START_CODE);
    match u8::try_from(len) {
        Ok(len) => frame.extend([len, len.wrapping_neg()]),
        Err(_) => {
            let [high, low] = len.to_be_bytes();
            frame.extend(EXTENDED_MARKER);
            frame.extend([high, low, high.wrapping_add(low).wrapping_neg()]);
        }
    }
    frame.push(direction.tfi());
    frame.extend(payload);
    frame.push(sum(payload).wrapping_add(direction.tfi()).wrapping_neg());
    frame.push(0x00);
    Ok(frame)
}

/// A frame that is not whole. The decoder goes on right behind its first byte.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FrameError {
    /// LEN and LCS do not fit, or the length is 0 or above [`MAX_LEN`]: most often not a frame at all.
    #[error("bad frame length or length checksum at byte {offset} of the input")]
    LengthChecksum {
        /// Where the start code stands, counted from the first byte the decoder was given.
        offset: u64,
    },
    /// The data checksum does not fit the data.
    #[error("bad frame data checksum at byte {offset} of the input")]
    DataChecksum {
        /// Where the start code stands, counted from the first byte the decoder was given.
        offset: u64,
    },
    /// The frame is whole, but its TFI is neither D4 nor D5 nor a lone 7F. It is skipped as a whole.
    #[error("unknown frame identifier {tfi:#04x} at byte {offset} of the input")]
    UnknownIdentifier {
        /// The frame identifier.
        tfi: u8,
        /// Where the start code stands, counted from the first byte the decoder was given.
        offset: u64,
    },
}

impl FrameError {
    /// Where the start code stands, counted from the first byte the decoder was given.
    pub const fn offset(&self) -> u64 {
        match self {
            Self::LengthChecksum { offset }
            | Self::DataChecksum { offset }
            | Self::UnknownIdentifier { offset, .. } => *offset,
        }
    }
}

/// Finds frames in a stream of bytes that comes in pieces of any size.
///
/// Give it input with [`FrameDecoder::push`], then call [`FrameDecoder::poll`] until it answers `None`. It keeps at most
/// 4096 bytes.
#[derive(Clone, Default)]
pub struct FrameDecoder {
    buffer: Vec<u8>,
    /// The position in the stream of the buffer's first byte.
    offset: u64,
    noise: u64,
}

impl fmt::Debug for FrameDecoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameDecoder")
            .field("buffered", &self.buffer.len())
            .field("offset", &self.offset)
            .field("noise", &self.noise)
            .finish()
    }
}

impl FrameDecoder {
    /// A decoder at the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes of the stream.
    pub fn push(&mut self, input: &[u8]) {
        self.buffer.extend_from_slice(input);
        let excess = self.buffer.len().saturating_sub(MAX_BUFFER);
        self.skip_noise(excess);
    }

    /// The next frame, or why the next bytes that look like one are none; `None` until more bytes come.
    pub fn poll(&mut self) -> Option<Result<Frame, FrameError>> {
        self.hunt();
        let (left, found) = match found(&self.buffer) {
            Ok((rest, found)) => (rest.len(), found),
            Err(nom::Err::Incomplete(_)) => return None,
            // The hunt left no start code at the front, so there is nothing to read.
            Err(nom::Err::Error(_) | nom::Err::Failure(_)) => return None,
        };
        let offset = self.offset;
        match found {
            Found::Frame(frame) => {
                self.consume(self.buffer.len() - left);
                Some(Ok(frame))
            }
            Found::UnknownIdentifier(tfi) => {
                self.skip_noise(self.buffer.len() - left);
                Some(Err(FrameError::UnknownIdentifier { tfi, offset }))
            }
            Found::BadLength => {
                self.skip_noise(1);
                Some(Err(FrameError::LengthChecksum { offset }))
            }
            Found::BadData => {
                self.skip_noise(1);
                Some(Err(FrameError::DataChecksum { offset }))
            }
        }
    }

    /// Gives up a frame that has begun and is not complete, as when its bytes stay out for too long; what follows its
    /// first byte is searched again, so that a frame behind a false beginning is found.
    pub fn abandon_partial(&mut self) {
        self.hunt();
        self.skip_noise(1);
    }

    /// Forgets all bytes that are not yet part of a frame.
    pub fn clear(&mut self) {
        self.skip_noise(self.buffer.len());
    }

    /// Whether a frame has begun and is not complete.
    pub fn is_partial(&self) -> bool {
        self.buffer.starts_with(&START_CODE)
    }

    /// The bytes so far that belonged to no frame, without the `00` that may surround frames.
    pub fn noise(&self) -> u64 {
        self.noise
    }

    /// Drops all before the next start code; a last `00` stays, it may be the first half of one.
    fn hunt(&mut self) {
        let start = self
            .buffer
            .windows(START_CODE.len())
            .position(|pair| pair == START_CODE)
            .unwrap_or_else(|| match self.buffer.split_last() {
                Some((0x00, before)) => before.len(),
                _ => self.buffer.len(),
            });
        self.skip_noise(start);
    }

    fn skip_noise(&mut self, count: usize) {
        let noise = self.buffer.iter().take(count).filter(|byte| **byte != 0x00);
        self.noise += noise.count() as u64;
        self.consume(count);
    }

    fn consume(&mut self, count: usize) {
        let count = count.min(self.buffer.len());
        self.buffer.drain(..count);
        self.offset += count as u64;
    }
}

/// What stands at a start code.
#[derive(Clone)]
enum Found {
    Frame(Frame),
    UnknownIdentifier(u8),
    BadLength,
    BadData,
}

/// Reads from a start code on.
fn found(input: &[u8]) -> IResult<&[u8], Found> {
    preceded(
        tag(&START_CODE[..]),
        alt((
            value(Found::Frame(Frame::Ack), tag(&ACK_CODE[..])),
            value(Found::Frame(Frame::Nack), tag(&NACK_CODE[..])),
            preceded(tag(&EXTENDED_MARKER[..]), extended),
            normal,
        )),
    )
    .parse(input)
}

fn normal(input: &[u8]) -> IResult<&[u8], Found> {
    let (rest, (len, lcs)) = (byte, byte).parse(input)?;
    if len.wrapping_add(lcs) != 0 {
        return Ok((rest, Found::BadLength));
    }
    body(rest, u16::from(len))
}

fn extended(input: &[u8]) -> IResult<&[u8], Found> {
    let (rest, (high, low, lcs)) = (byte, byte, byte).parse(input)?;
    if high.wrapping_add(low).wrapping_add(lcs) != 0 {
        return Ok((rest, Found::BadLength));
    }
    body(rest, u16::from_be_bytes([high, low]))
}

/// TFI, payload and data checksum; `len` counts TFI and payload.
fn body(input: &[u8], len: u16) -> IResult<&[u8], Found> {
    if len == 0 || usize::from(len) > MAX_LEN {
        return Ok((input, Found::BadLength));
    }
    let (rest, (data, dcs)) = (take(len), byte).parse(input)?;
    let Some((tfi, payload)) = data.split_first() else {
        return Ok((rest, Found::BadLength));
    };
    if sum(data).wrapping_add(dcs) != 0 {
        return Ok((rest, Found::BadData));
    }
    let found = match (*tfi, Direction::from_tfi(*tfi)) {
        (_, Some(direction)) => Found::Frame(Frame::Information {
            direction,
            payload: payload.to_vec(),
        }),
        (TFI_SYNTAX_ERROR, None) if payload.is_empty() => Found::Frame(Frame::SyntaxError),
        (tfi, None) => Found::UnknownIdentifier(tfi),
    };
    Ok((rest, found))
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

#[cfg(test)]
mod tests;
