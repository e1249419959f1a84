//! What an acceptance puts on a spare card, and what puts it back: pure, from what was read.

use encoder_protocols::card::{
    BlockImage, CandidateKey, CardContents, CardImage, ClassicImage, ClassicKey, ClassicRead,
    KeySlot, PageImage, ReadPlan, SectorImage, SectorRead, Technology, Type2Image, Type2Read,
    magstripe::{
        Coercivity, MagstripeImage, MagstripeRead, Track, TrackContents, TrackForm, TrackFound,
        TrackImage,
    },
};

/// The key that MIFARE Classic cards are sold with (MF1S70YYX_V1, section 8.8).
const TRANSPORT_KEY: [u8; 6] = [0xFF; 6];

/// The blocks of a small sector, and its data blocks.
const SECTOR_BLOCKS: u8 = 4;
const DATA_BLOCKS: u8 = 3;

/// The sectors that have four blocks.
const SMALL_SECTORS: u8 = 32;

/// The first user page of an Ultralight or NTAG.
const FIRST_PAGE: u8 = 4;

/// The pages that the pattern takes: every card of the family has them.
const TEST_PAGES: std::ops::RangeInclusive<u8> = 8..=11;

/// An NDEF message that is empty, and the end of messages, as NTAGs are sold with on their first two user pages.
const EMPTY_MESSAGE: [u8; 3] = [0x03, 0x00, 0xFE];

/// The bytes of the user pages that it may take.
const MESSAGE_BYTES: usize = 8;

/// What a pattern begins with, by which one that was left behind is known.
const MARK: &[u8; 10] = b"acceptance";

/// What a stripe's pattern begins with on its first track; on the others it is digits.
const STRIPE_MARK: &str = "ACCEPTANCE";

/// Why a card cannot be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum Unfit {
    /// It is not blank, and nobody has said that it may be overwritten.
    #[error(
        "the card is not blank: take a blank spare card; with --overwrite it is used all the same, and what stands on it is put back"
    )]
    NotBlank,
    /// What stands on it cannot be put back.
    #[error("what stands on the card could not be put back: {0}; take a blank spare card")]
    NotRestorable(&'static str),
    /// Nothing is known of its kind.
    #[error("a {0} cannot be used: take another spare card")]
    Technology(Technology),
}

/// What puts a card back.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Original {
    /// This image, written as any other.
    Image(CardImage),
    /// These tracks, erased.
    Erased(Vec<Track>),
}

/// What is done with a card.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Trial {
    /// Where it is written, for people.
    pub(super) place: String,
    pub(super) pattern: CardImage,
    pub(super) original: Original,
    /// Whether nothing stands on the card that anybody may want.
    pub(super) is_blank: bool,
}

/// How to read all of a card, as far as it is open to all.
pub(super) fn plan(technology: Technology) -> Result<ReadPlan, Unfit> {
    match technology {
        Technology::MifareClassicMini => Ok(classic_plan(5)),
        Technology::MifareClassic1k => Ok(classic_plan(16)),
        Technology::MifareClassic4k => Ok(classic_plan(40)),
        Technology::Ultralight
        | Technology::UltralightC
        | Technology::UltralightEv1Ul11
        | Technology::UltralightEv1Ul21
        | Technology::Ntag213
        | Technology::Ntag215
        | Technology::Ntag216 => Ok(ReadPlan::Type2(Type2Read {
            first_page: FIRST_PAGE,
            last_page: last_page(technology),
            last_extension_page: None,
            passwords: Vec::new(),
        })),
        Technology::Magstripe => Ok(ReadPlan::Magstripe(MagstripeRead {
            form: TrackForm::Iso,
            tracks: Track::ALL.to_vec(),
        })),
        Technology::Desfire | Technology::IsoDep | Technology::Unknown => {
            Err(Unfit::Technology(technology))
        }
    }
}

/// What to do with a card on which this stands. `fresh` makes the pattern another each time.
pub(super) fn trial(
    contents: &CardContents,
    coercivity: Coercivity,
    fresh: [u8; 6],
) -> Result<Trial, Unfit> {
    match contents {
        CardContents::MifareClassic { blocks, unread } => {
            let of = |block: u8| blocks.iter().find(|read| read.block == block);
            let mut sectors = 1..SMALL_SECTORS;
            let whole = sectors.find_map(|sector| {
                let blocks = (0..DATA_BLOCKS).map(|block| of(sector * SECTOR_BLOCKS + block));
                let data: Vec<_> = blocks.map_while(|read| Some(read?.data)).collect();
                (data.len() == usize::from(DATA_BLOCKS)).then_some((sector, data))
            });
            let unopened = "no sector opens with the transport key";
            let (sector, data) = whole.ok_or(Unfit::NotRestorable(unopened))?;
            let was_left = is_pattern(data.iter().flatten());
            let is_ours = |block: u8| was_left && block / SECTOR_BLOCKS == sector;
            let others = blocks
                .iter()
                .filter(|read| read.block != 0 && !is_ours(read.block));
            let is_blank = unread.is_empty() && others.into_iter().all(|read| is_zero(&read.data));
            let before = if was_left {
                vec![[0; 16]; data.len()]
            } else {
                data
            };
            let pattern = [0, 1, 2].map(|number| pattern(fresh, number));
            Ok(Trial {
                place: format!("sector {sector}"),
                pattern: sector_image(sector, pattern),
                original: Original::Image(sector_image(sector, before)),
                is_blank,
            })
        }
        CardContents::Type2 { first_page, data } => type2(*first_page, data, fresh),
        CardContents::Magstripe { tracks } => stripe(tracks, coercivity, fresh),
        CardContents::UidOnly => Err(Unfit::Technology(Technology::Unknown)),
    }
}

fn type2(first_page: u8, data: &[u8], fresh: [u8; 6]) -> Result<Trial, Unfit> {
    let (pages, _) = data.as_chunks::<4>();
    let begin = usize::from(TEST_PAGES.start().saturating_sub(first_page));
    let refused = Unfit::NotRestorable("the card does not let all of it be read");
    let before = pages
        .get(begin..begin + TEST_PAGES.count())
        .ok_or(refused)?;
    let was_left = is_pattern(before.iter().flatten());
    let (message, rest) = data.split_at_checked(MESSAGE_BYTES).unwrap_or((data, &[]));
    let is_unwritten = is_zero(message) || message.windows(3).any(|three| three == EMPTY_MESSAGE);
    let test = begin * 4..(begin + TEST_PAGES.count()) * 4;
    let is_ours = |at: usize| was_left && test.contains(&(at + MESSAGE_BYTES));
    let mut others = rest.iter().enumerate().filter(|(at, _)| !is_ours(*at));
    let is_blank = is_unwritten && others.all(|(_, byte)| *byte == 0);
    let before: Vec<[u8; 4]> = if was_left {
        vec![[0; 4]; before.len()]
    } else {
        before.to_vec()
    };
    let pattern = pattern(fresh, 0);
    let (quarters, _) = pattern.as_chunks::<4>();
    Ok(Trial {
        place: format!("pages {} to {}", TEST_PAGES.start(), TEST_PAGES.end()),
        pattern: pages_image(quarters),
        original: Original::Image(pages_image(&before)),
        is_blank,
    })
}

fn stripe(
    tracks: &[TrackContents],
    coercivity: Coercivity,
    fresh: [u8; 6],
) -> Result<Trial, Unfit> {
    let digits: String = fresh
        .iter()
        .map(|byte| char::from(b'0' + byte % 10))
        .collect();
    let mut texts = Vec::new();
    let mut was_left = false;
    for contents in tracks {
        match &contents.found {
            TrackFound::Iso { text } => {
                was_left |= text.starts_with(STRIPE_MARK);
                texts.push(TrackImage::iso(contents.track, text.as_str()));
            }
            TrackFound::Blank => {}
            TrackFound::PaymentData { .. } => {
                return Err(Unfit::NotRestorable("it is a payment card"));
            }
            TrackFound::Raw { .. } | TrackFound::Unreadable => {
                return Err(Unfit::NotRestorable(
                    "a track holds something else than characters",
                ));
            }
        }
    }
    let is_blank = texts.is_empty() || was_left;
    // Only what can be put back: tracks that are blank beside others stay so.
    let written: Vec<Track> = if is_blank {
        Track::ALL.to_vec()
    } else {
        texts.iter().map(|image| image.track).collect()
    };
    let image = |tracks| {
        CardImage::Magstripe(MagstripeImage {
            card_number: digits.clone(),
            coercivity,
            tracks,
        })
    };
    let pattern = written.iter().map(|track| {
        let text = match track {
            Track::One => format!("{STRIPE_MARK} {digits}"),
            Track::Two | Track::Three => digits.clone(),
        };
        TrackImage::iso(*track, text)
    });
    let names: Vec<_> = written.iter().map(Track::to_string).collect();
    Ok(Trial {
        place: names.join(", "),
        pattern: image(pattern.collect()),
        original: if is_blank {
            Original::Erased(written)
        } else {
            Original::Image(image(texts))
        },
        is_blank,
    })
}

fn classic_plan(sectors: u8) -> ReadPlan {
    let sectors = (0..sectors).map(|sector| SectorRead {
        sector,
        keys: transport_keys(),
    });
    ReadPlan::MifareClassic(ClassicRead {
        sectors: sectors.collect(),
        extension: Vec::new(),
    })
}

fn transport_keys() -> Vec<CandidateKey> {
    let slots = [KeySlot::A, KeySlot::B].into_iter();
    let key = |slot| CandidateKey {
        slot,
        key: ClassicKey(TRANSPORT_KEY),
    };
    slots.map(key).collect()
}

fn sector_image(sector: u8, data: impl IntoIterator<Item = [u8; 16]>) -> CardImage {
    let blocks = (0..)
        .zip(data)
        .map(|(block, data)| BlockImage { block, data });
    CardImage::MifareClassic(ClassicImage {
        sectors: vec![SectorImage {
            sector,
            keys: transport_keys(),
            blocks: blocks.collect(),
            trailer: None,
        }],
    })
}

fn pages_image(data: &[[u8; 4]]) -> CardImage {
    let pages = TEST_PAGES.zip(data);
    let pages = pages.map(|(page, data)| PageImage { page, data: *data });
    CardImage::Type2(Type2Image {
        passwords: Vec::new(),
        pages: pages.collect(),
        protection: None,
    })
}

fn last_page(technology: Technology) -> u8 {
    let pages = technology.capacity() / 4;
    u8::try_from(pages).map_or(u8::MAX, |pages| FIRST_PAGE + pages - 1)
}

/// Sixteen bytes that stand nowhere else; each number's are others.
fn pattern(fresh: [u8; 6], number: u8) -> [u8; 16] {
    let mut pattern = [0; 16];
    let bytes = MARK.iter().copied().chain(fresh.map(|byte| byte ^ number));
    for (place, byte) in pattern.iter_mut().zip(bytes) {
        *place = byte;
    }
    pattern
}

fn is_pattern<'a>(bytes: impl Iterator<Item = &'a u8>) -> bool {
    bytes.take(MARK.len()).eq(MARK)
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests;
