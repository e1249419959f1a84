//! Choices taken from an input's bytes, so that any bytes are a course of events and near bytes a near one.

use std::time::Duration;

use encoder_protocols::card::Uid;
use jiff::Timestamp;
use uuid::Uuid;

/// Numbers at which something may overflow.
const EDGES: [u64; 12] = [
    u64::MAX,
    u64::MAX - 1,
    i64::MAX as u64,
    i64::MAX as u64 + 1,
    1 << 53,
    (1 << 53) - 1,
    u32::MAX as u64,
    1 << 32,
    u16::MAX as u64,
    1_000_000,
    255,
    0,
];

/// The bytes that are left.
pub struct Input<'a> {
    left: &'a [u8],
}

impl<'a> Input<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { left: bytes }
    }

    pub fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.left)
    }

    /// The next byte; 0 once there is none.
    pub fn byte(&mut self) -> u8 {
        match self.left.split_first() {
            Some((first, rest)) => {
                self.left = rest;
                *first
            }
            None => 0,
        }
    }

    pub fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// A number below `count`.
    pub fn below(&mut self, count: u8) -> u8 {
        self.byte() % count
    }

    /// One of `choices`.
    pub fn pick<'c, T>(&mut self, choices: &'c [T]) -> &'c T {
        &choices[usize::from(self.byte()) % choices.len()]
    }

    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.byte())
    }

    /// At most `most` bytes, as many as the next byte says.
    pub fn bytes(&mut self, most: u8) -> &'a [u8] {
        let count = usize::from(self.byte().min(most)).min(self.left.len());
        let (taken, rest) = self.left.split_at(count);
        self.left = rest;
        taken
    }

    pub fn text(&mut self, most: u8) -> String {
        String::from_utf8_lossy(self.bytes(most)).into_owned()
    }

    /// Mostly small, sometimes at an edge, sometimes anything.
    pub fn number(&mut self) -> u64 {
        match self.byte() {
            byte @ 0..=199 => u64::from(byte % 8),
            byte @ 200..=239 => EDGES[usize::from(byte) % EDGES.len()],
            _ => u64::from_le_bytes(self.array()),
        }
    }

    /// A number near `near`, or any other.
    pub fn near(&mut self, near: u64) -> u64 {
        match self.byte() {
            0..=159 => near,
            160..=199 => near.saturating_add(1),
            200..=215 => near.saturating_sub(1),
            _ => self.number(),
        }
    }

    /// One of a few ids of this kind, or once in a while another one.
    pub fn id(&mut self, kind: u8) -> Uuid {
        match self.byte() {
            255 => Uuid::from_bytes(self.array()),
            byte => Uuid::from_u128(u128::from(kind) << 64 | u128::from(byte % 4 + 1)),
        }
    }

    /// One of a few UIDs, of every length; 08112233 is a random one.
    pub fn uid(&mut self) -> Uid {
        let texts = [
            "04a1b2c3",
            "04a1b2c3d4e5f6",
            "deadbeef",
            "08112233",
            "04a1b2c3d4e5f6a7b8c9",
            "11223344",
            "22334455",
            "33445566",
        ];
        self.pick(&texts).parse().unwrap()
    }

    /// A time near `near`, or at the end of what a timestamp holds.
    pub fn time(&mut self, near: Timestamp) -> Timestamp {
        match self.byte() {
            byte @ 0..=199 => shifted(near, i64::from(byte) - 60),
            200..=209 => Timestamp::MAX,
            210..=219 => Timestamp::MIN,
            220..=229 => Timestamp::UNIX_EPOCH,
            _ => shifted(near, i64::from_le_bytes(self.array()) >> 20),
        }
    }

    /// A span of milliseconds to seconds; once in a while hours.
    pub fn span(&mut self) -> Duration {
        let byte = u64::from(self.byte());
        match byte {
            0..=99 => Duration::from_millis(byte),
            100..=199 => Duration::from_millis((byte - 90) * 20),
            200..=249 => Duration::from_secs(byte - 195),
            _ => Duration::from_secs((byte - 248) * 3_600),
        }
    }
}

/// The time so many seconds later, or the last or first one that there is.
pub fn shifted(time: Timestamp, seconds: i64) -> Timestamp {
    let shift = jiff::SignedDuration::from_secs(seconds);
    time.saturating_add(shift).unwrap_or(Timestamp::MAX)
}
