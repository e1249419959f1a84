//! The serial line of an emulated device: when bytes arrive and leave.

use std::{collections::VecDeque, time::Duration};

use crate::moment::Moment;

/// Start bit, 8 data bits, stop bit.
const BITS_PER_BYTE: u64 = 10;

#[derive(Clone, Debug)]
pub(crate) struct Line {
    paced: bool,
    chip_baud: u32,
    host_baud: Option<u32>,
    input: VecDeque<Burst>,
    output: VecDeque<Burst>,
    /// Until when each direction is busy.
    input_free: Moment,
    output_free: Moment,
}

/// Bytes that follow each other without a pause.
#[derive(Clone, Debug)]
struct Burst {
    start: Moment,
    /// For output: how many have been handed over.
    taken: usize,
    bytes: Vec<u8>,
    baud: Option<u32>,
}

impl Burst {
    /// When the first `count` bytes are through.
    fn through(&self, count: usize) -> Moment {
        self.start
            + self
                .baud
                .map_or(Duration::ZERO, |baud| wire_time(count, baud))
    }

    fn end(&self) -> Moment {
        self.through(self.bytes.len())
    }

    /// How many bytes are through by `now`.
    fn through_by(&self, now: Moment) -> usize {
        let Some(baud) = self.baud else {
            return if self.start <= now {
                self.bytes.len()
            } else {
                0
            };
        };
        let bits = now.since(self.start).as_nanos() * u128::from(baud) / 1_000_000_000;
        let bytes = usize::try_from(bits / u128::from(BITS_PER_BYTE)).unwrap_or(usize::MAX);
        // The division rounds down, the time of a byte is rounded up: look one further.
        let next = bytes.saturating_add(1);
        let count = if self.through(next) <= now {
            next
        } else {
            bytes
        };
        count.min(self.bytes.len())
    }
}

/// The time that `count` bytes take at `baud`, rounded up to nanoseconds.
pub(crate) fn wire_time(count: usize, baud: u32) -> Duration {
    let bits = u64::try_from(count)
        .unwrap_or(u64::MAX)
        .saturating_mul(BITS_PER_BYTE);
    let nanos = (u128::from(bits) * 1_000_000_000).div_ceil(u128::from(baud.max(1)));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

impl Line {
    /// A line whose device comes up at `baud`. Unless it is paced, bytes take no time.
    pub(crate) fn new(paced: bool, baud: u32) -> Self {
        Self {
            paced,
            chip_baud: baud,
            host_baud: None,
            input: VecDeque::new(),
            output: VecDeque::new(),
            input_free: Moment::ORIGIN,
            output_free: Moment::ORIGIN,
        }
    }

    pub(crate) fn chip_baud(&self) -> u32 {
        self.chip_baud
    }

    pub(crate) fn set_chip_baud(&mut self, baud: u32) {
        self.chip_baud = baud;
    }

    pub(crate) fn set_host_baud(&mut self, baud: u32) {
        self.host_baud = Some(baud);
    }

    pub(crate) fn push_input(&mut self, now: Moment, input: &[u8]) {
        if input.is_empty() {
            return;
        }
        let burst = Burst {
            start: now.max(self.input_free),
            taken: 0,
            bytes: input.to_vec(),
            baud: self.byte_rate(),
        };
        self.input_free = burst.end();
        self.input.push_back(burst);
    }

    /// When the next burst of input is through. A command counts as heard with the last byte that was written with it,
    /// the postamble included.
    pub(crate) fn next_arrival(&self) -> Option<Moment> {
        self.input.front().map(Burst::end)
    }

    /// The bytes of the burst that is through at `at`.
    pub(crate) fn take_arrived(&mut self, at: Moment) -> Vec<u8> {
        let arrived = self.input.pop_front_if(|burst| burst.end() <= at);
        arrived.map(|burst| burst.bytes).unwrap_or_default()
    }

    pub(crate) fn push_output(&mut self, at: Moment, bytes: Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let burst = Burst {
            start: at.max(self.output_free),
            taken: 0,
            bytes,
            baud: self.byte_rate(),
        };
        self.output_free = burst.end();
        self.output.push_back(burst);
    }

    /// When the next burst of output is through.
    pub(crate) fn next_departure(&self) -> Option<Moment> {
        self.output.front().map(Burst::end)
    }

    /// The output that is through by `now`, as far as it was not taken before.
    pub(crate) fn take_due(&mut self, now: Moment) -> Option<Vec<u8>> {
        let mut due = Vec::new();
        while let Some(burst) = self.output.front_mut() {
            let through = burst.through_by(now);
            due.extend(burst.bytes.iter().take(through).skip(burst.taken).copied());
            burst.taken = burst.taken.max(through);
            if burst.taken < burst.bytes.len() {
                break;
            }
            self.output.pop_front();
        }
        (!due.is_empty()).then_some(due)
    }

    /// The output whose burst is through as a whole by `now`, and when the last of it was.
    pub(crate) fn take_whole(&mut self, now: Moment) -> Option<(Moment, Vec<u8>)> {
        let mut whole: Option<(Moment, Vec<u8>)> = None;
        while let Some(burst) = self.output.pop_front_if(|burst| burst.end() <= now) {
            let (through, bytes) = whole.get_or_insert_with(|| (burst.end(), Vec::new()));
            *through = burst.end();
            bytes.extend(burst.bytes.iter().skip(burst.taken));
        }
        whole.filter(|(_, bytes)| !bytes.is_empty())
    }

    /// Forgets what has not left yet.
    pub(crate) fn drop_output(&mut self, now: Moment) {
        self.output.clear();
        self.output_free = now;
    }

    /// The rate that times bytes; none where they take no time.
    fn byte_rate(&self) -> Option<u32> {
        let baud = self.host_baud.filter(|baud| *baud > 0);
        self.paced.then_some(baud.unwrap_or(self.chip_baud))
    }
}
