//! The coordinator's deadlines on this process's clock, and how long a write takes.

use std::time::Duration;

use encoder_protocols::{
    card::{CardImage, ClassicImage, Type2Image},
    moment::Moment,
};
use jiff::{SignedDuration, Timestamp};

/// Commands, the journal and the reading back of small things around a write.
const WRITE_OVERHEAD: Duration = Duration::from_millis(250);
/// Selecting and authenticating one MIFARE Classic sector, at the slowest baud rate that encoders come with.
const SECTOR_TIME: Duration = Duration::from_millis(60);
/// Writing one 16-byte block and reading it back.
const BLOCK_TIME: Duration = Duration::from_millis(50);
/// Writing a trailer and authenticating with its new keys.
const TRAILER_TIME: Duration = Duration::from_millis(150);
/// Writing one 4-byte page and reading it back.
const PAGE_TIME: Duration = Duration::from_millis(30);
/// Setting the protection of an Ultralight EV1 or NTAG21x.
const PROTECTION_TIME: Duration = Duration::from_millis(150);

/// A generous estimate of how long writing and verifying an image takes: no write starts that could not end in time.
pub(super) fn write_estimate(image: &CardImage) -> Duration {
    WRITE_OVERHEAD
        + match image {
            CardImage::MifareClassic(image) => classic_estimate(image),
            CardImage::Type2(image) => type2_estimate(image),
        }
}

/// A moment that the coordinator named, on this process's clock. What has passed already is now.
pub(super) fn on_our_clock(now: Moment, deadline: Timestamp, server_time: Timestamp) -> Moment {
    let left = deadline.duration_since(server_time);
    now + Duration::try_from(left).unwrap_or(Duration::ZERO)
}

/// The coordinator's time, by an offset that was measured before.
pub(super) fn server_time(utc: Timestamp, offset: SignedDuration) -> Timestamp {
    utc.saturating_add(offset).unwrap_or(utc)
}

fn classic_estimate(image: &ClassicImage) -> Duration {
    image
        .sectors
        .iter()
        .map(|sector| {
            let trailer = sector
                .trailer
                .as_ref()
                .map_or(Duration::ZERO, |_| TRAILER_TIME);
            SECTOR_TIME + times(BLOCK_TIME, sector.blocks.len()) + trailer
        })
        .sum()
}

fn type2_estimate(image: &Type2Image) -> Duration {
    let protection = image
        .protection
        .as_ref()
        .map_or(Duration::ZERO, |_| PROTECTION_TIME);
    times(PAGE_TIME, image.pages.len()) + protection
}

fn times(one: Duration, count: usize) -> Duration {
    one.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX))
}
