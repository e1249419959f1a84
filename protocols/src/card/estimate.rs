//! How much a write will move over the wire, for judging whether it can end before a deadline.

use std::time::Duration;

use super::{
    CardImage, ClassicImage, ClassicKey, KeySlot, SectorImage, Type2Image,
    magstripe::MagstripeImage,
};

/// Start bit, eight data bits, stop bit.
const BITS_PER_BYTE: u32 = 10;
/// An authentication's command: code, block, key, and four bytes of the UID.
const AUTHENTICATION: u32 = 12;
/// Code, address and 16 bytes; a read's answer has as many bytes as a write's command.
const BLOCK_WRITE: u32 = 18;
const BLOCK_READ: u32 = 18;
const PAGE_WRITE: u32 = 6;
/// Four pages at a time.
const PAGES_READ: u32 = 18;
/// A failed key costs a second command that selects the card again.
const SELECTION: u32 = 16;
/// The configuration read, and where it is hidden, a selection after its refusal and a page tried with another; the lock
/// bytes read twice.
const LOOK_COMMANDS: u32 = 6;
/// The configuration read twice more; CFG0, PWD, PACK, CFG1, CFG0 written, and the password given.
const PROTECTION_COMMANDS: u32 = 8;

/// Coercivity, densities, bits per character, the write, the read, and a reset after each.
const STRIPE_COMMANDS: u32 = 10;
/// The longest track, as raw bytes or characters.
const TRACK_BYTES: u32 = 110;

/// How long somebody at the desk may take for the swipe that verifies, at least.
const SWIPE: Duration = Duration::from_secs(15);

/// What preparing, writing and verifying an image takes at most, as long as no exchange is disturbed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct WriteEstimate {
    /// Commands to the reader, each with its answer.
    pub commands: u32,
    /// Bytes of cards' commands and answers in all, without what the reader's protocol wraps them in.
    pub bytes: u32,
    /// Times that somebody must draw the card through the encoder once it is written.
    pub swipes: u32,
}

impl WriteEstimate {
    /// The time that it takes over a serial line of `baud` with a reader whose protocol adds `framing` bytes and `pause`
    /// to each command (acknowledgement, the exchange over the air, programming the card's memory).
    pub fn duration(self, baud: u32, framing: u32, pause: Duration) -> Duration {
        let bytes = u64::from(self.bytes) + u64::from(self.commands) * u64::from(framing);
        let bits = bytes.saturating_mul(BITS_PER_BYTE.into());
        let on_the_wire =
            Duration::from_micros(bits.saturating_mul(1_000_000) / u64::from(baud.max(1)));
        on_the_wire
            .saturating_add(pause.saturating_mul(self.commands))
            .saturating_add(SWIPE.saturating_mul(self.swipes))
    }

    const fn and(self, times: u32, bytes: u32) -> Self {
        Self {
            commands: self.commands.saturating_add(times),
            bytes: self.bytes.saturating_add(times.saturating_mul(bytes)),
            swipes: self.swipes,
        }
    }
}

/// What encoding `image` takes, from the selection of the card on, where only the last candidate key opens each sector.
pub fn write_estimate(image: &CardImage) -> WriteEstimate {
    let selected = WriteEstimate {
        commands: 1,
        bytes: SELECTION,
        swipes: 0,
    };
    match image {
        CardImage::MifareClassic(image) => classic(image, selected),
        CardImage::Type2(image) => type2(image, selected),
        CardImage::Magstripe(image) => magstripe(image),
    }
}

/// From the swipe that writes on: until then nothing is written, and the wait for it ends early enough.
fn magstripe(image: &MagstripeImage) -> WriteEstimate {
    let tracks = count(image.tracks.len());
    WriteEstimate {
        commands: STRIPE_COMMANDS,
        bytes: STRIPE_COMMANDS.saturating_add(tracks.saturating_mul(2 * TRACK_BYTES)),
        swipes: 1,
    }
}

fn classic(image: &ClassicImage, selected: WriteEstimate) -> WriteEstimate {
    image.sectors.iter().fold(selected, |estimate, sector| {
        let wrong_keys = count(sector.keys.len() + own_keys(sector)).saturating_sub(1);
        let blocks = count(sector.blocks.len());
        let estimate = estimate
            .and(wrong_keys, AUTHENTICATION)
            .and(wrong_keys, SELECTION)
            .and(2, AUTHENTICATION)
            .and(blocks, BLOCK_WRITE)
            .and(blocks, BLOCK_READ);
        match sector.trailer {
            // Looked at while preparing, before writing (where its key A may not fit yet), and after.
            Some(_) => estimate
                .and(4, AUTHENTICATION)
                .and(1, SELECTION)
                .and(3, BLOCK_READ)
                .and(1, BLOCK_WRITE),
            None => estimate,
        }
    })
}

/// How many keys of the trailer are no candidates: they are tried too.
fn own_keys(sector: &SectorImage) -> usize {
    let is_known = |slot, key: &ClassicKey| {
        let mut known = sector.keys.iter();
        known.any(|known| known.slot == slot && known.key == *key)
    };
    sector.trailer.as_ref().map_or(0, |trailer| {
        let keys = [(KeySlot::A, &trailer.key_a), (KeySlot::B, &trailer.key_b)];
        keys.iter()
            .filter(|(slot, key)| !is_known(*slot, key))
            .count()
    })
}

fn type2(image: &Type2Image, selected: WriteEstimate) -> WriteEstimate {
    let pages = count(image.pages.len());
    let passwords = count(image.passwords.len()).saturating_add(1);
    let protection = match image.protection {
        Some(_) => PROTECTION_COMMANDS,
        None => 0,
    };
    selected
        .and(passwords, AUTHENTICATION)
        .and(passwords, SELECTION)
        .and(LOOK_COMMANDS + protection, PAGES_READ)
        .and(pages, PAGE_WRITE)
        .and(pages, PAGES_READ)
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::card::{BlockImage, CandidateKey};

    #[test]
    fn counts_one_sector_without_a_trailer() {
        let image = CardImage::MifareClassic(ClassicImage {
            sectors: vec![SectorImage {
                sector: 1,
                keys: vec![CandidateKey {
                    slot: KeySlot::A,
                    key: ClassicKey([0xFF; 6]),
                }],
                blocks: (0..3)
                    .map(|block| BlockImage {
                        block,
                        data: [0; 16],
                    })
                    .collect(),
                trailer: None,
            }],
        });
        let estimate = write_estimate(&image);
        // A selection, two authentications at most, three writes, three reads.
        assert_eq!(estimate.commands, 1 + 2 + 3 + 3);
        assert_eq!(estimate.bytes, 16 + 2 * 12 + 6 * 18);
        let duration = estimate.duration(9600, 20, Duration::from_millis(5));
        assert_eq!(duration.as_millis(), (148 + 9 * 20) * 10 * 1000 / 9600 + 45);
    }
}
