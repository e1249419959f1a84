//! A card's memory: counts its writes and can lose power during one.

use std::fmt;

use super::WrongMemorySize;

/// What a write leaves behind when the power fails during it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TornState {
    /// Every byte as before.
    Old,
    /// Every byte as written; only the acknowledgement is missing.
    New,
    /// The first half of the block or page as written, the rest as before.
    Mixed,
    /// So many bytes of the block or page as written, the rest as before.
    First(u8),
}

/// The power failed during a write.
#[derive(Debug)]
pub(super) struct PowerLost;

#[derive(Clone)]
pub(super) struct Eeprom {
    bytes: Vec<u8>,
    writes: u64,
    tear: Option<(u64, TornState)>,
    torn: bool,
}

impl Eeprom {
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            writes: 0,
            tear: None,
            torn: false,
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn writes(&self) -> u64 {
        self.writes
    }

    pub(super) fn load(&mut self, memory: &[u8]) -> Result<(), WrongMemorySize> {
        if memory.len() != self.bytes.len() {
            return Err(WrongMemorySize {
                expected: self.bytes.len(),
                got: memory.len(),
            });
        }
        self.bytes.copy_from_slice(memory);
        Ok(())
    }

    /// The `N` bytes at unit `index` of a memory of `N`-byte units.
    pub(super) fn unit<const N: usize>(&self, index: usize) -> Option<[u8; N]> {
        let at = index.checked_mul(N)?;
        self.bytes
            .get(at..at.checked_add(N)?)
            .and_then(|bytes| bytes.try_into().ok())
    }

    /// Writes unit `index`, unless this is the write that is to be torn. Outside the memory nothing happens.
    pub(super) fn store<const N: usize>(
        &mut self,
        index: usize,
        new: [u8; N],
    ) -> Result<(), PowerLost> {
        self.writes = self.writes.saturating_add(1);
        let torn = self.advance_tear();
        let written = match torn {
            None | Some(TornState::New) => N,
            Some(TornState::Mixed) => N / 2,
            Some(TornState::First(bytes)) => usize::from(bytes),
            Some(TornState::Old) => 0,
        };
        let places = self.bytes.chunks_exact_mut(N).nth(index).into_iter();
        for (to, from) in places.flatten().zip(new).take(written) {
            *to = from;
        }
        match torn {
            None => Ok(()),
            Some(_) => {
                self.torn = true;
                Err(PowerLost)
            }
        }
    }

    pub(super) fn tear_at_write(&mut self, nth: u64, state: TornState) {
        self.tear = Some((nth.max(1), state));
    }

    pub(super) fn cancel_tear(&mut self) {
        self.tear = None;
    }

    pub(super) fn take_torn(&mut self) -> bool {
        std::mem::take(&mut self.torn)
    }

    fn advance_tear(&mut self) -> Option<TornState> {
        let (left, state) = self.tear.take()?;
        if left > 1 {
            self.tear = Some((left - 1, state));
            return None;
        }
        Some(state)
    }
}

impl fmt::Debug for Eeprom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Eeprom")
            .field("size", &self.bytes.len())
            .field("writes", &self.writes)
            .field("tear", &self.tear)
            .finish_non_exhaustive()
    }
}
