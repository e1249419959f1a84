//! MIFARE Classic beyond the key record.

use super::{
    ALLOWED, Failed, encode, encode_under, prepared, read,
    reader::{Reader, Step, run},
    verified,
};
use crate::card::{
    AccessBits, BlockImage, CandidateKey, CardContents, CardError, CardImage, ClassicImage,
    ClassicKey, ClassicRead, ImageFlaw, KeySlot, Place, ReadPlan, SectorImage, SectorRead,
    Technology, TrailerImage, WriteStage,
    virtual_card::{CardKind, VirtualCard},
    write,
};

const FF: [u8; 6] = [0xFF; 6];
const TRANSPORT: [u8; 3] = [0xFF, 0x07, 0x80];
const RECORD: [u8; 3] = [0x78, 0x77, 0x88];

fn key(slot: KeySlot, key: [u8; 6]) -> CandidateKey {
    CandidateKey {
        slot,
        key: ClassicKey(key),
    }
}

fn sector(sector: u8, blocks: impl IntoIterator<Item = u8>) -> SectorImage {
    SectorImage {
        sector,
        keys: vec![key(KeySlot::A, FF)],
        blocks: blocks
            .into_iter()
            .map(|block| BlockImage {
                block,
                data: [sector ^ 0x5A ^ block << 4; 16],
            })
            .collect(),
        trailer: None,
    }
}

fn trailer(access_bits: [u8; 3]) -> TrailerImage {
    TrailerImage {
        key_a: ClassicKey([0xA1; 6]),
        access_bits,
        user_byte: 0x42,
        key_b: ClassicKey([0xB2; 6]),
    }
}

fn with_trailer(access_bits: [u8; 3]) -> SectorImage {
    SectorImage {
        trailer: Some(trailer(access_bits)),
        ..sector(1, 0..3)
    }
}

fn image(sectors: Vec<SectorImage>) -> CardImage {
    CardImage::MifareClassic(ClassicImage { sectors })
}

#[test]
fn one_sector_costs_one_authentication_three_writes_and_three_reads() {
    let mut reader = Reader::with(CardKind::Classic1k);
    encode(&mut reader, &image(vec![sector(1, 0..3)])).unwrap();
    assert_eq!(
        reader.log,
        [
            Step::Authenticate(KeySlot::A, 4),
            Step::Write(4),
            Step::Write(5),
            Step::Write(6),
            Step::Read(4),
            Step::Read(5),
            Step::Read(6),
        ]
    );
}

#[test]
fn a_whole_card_is_authenticated_ahead_and_then_sector_by_sector() {
    let mut reader = Reader::with(CardKind::Classic1k);
    let sectors = (0..16).map(|number| sector(number, u8::from(number == 0)..3));
    let image = image(sectors.collect());
    let prepared = prepared(&mut reader, &image).unwrap();
    let ahead = std::mem::take(&mut reader.log);
    assert_eq!(ahead.len(), 16);
    assert!(
        ahead
            .iter()
            .all(|step| matches!(step, Step::Authenticate(..)))
    );
    run(write(&mut reader, &prepared, &mut |_| {})).unwrap();
    let count = |wanted: fn(&Step) -> bool| reader.log.iter().filter(|step| wanted(step)).count();
    assert_eq!(count(|step| matches!(step, Step::Authenticate(..))), 16);
    assert_eq!(count(|step| matches!(step, Step::Write(_))), 47);
    assert_eq!(count(|step| matches!(step, Step::Read(_))), 47);
    assert_eq!(reader.log.len(), 16 + 47 + 47);
    assert_eq!(verified(&mut reader.again(), &image), Ok(()));
}

#[test]
fn data_of_all_sectors_comes_before_any_trailer() {
    let mut reader = Reader::with(CardKind::Classic1k);
    let other = SectorImage {
        sector: 2,
        ..with_trailer(RECORD)
    };
    let image = image(vec![with_trailer(RECORD), other]);
    encode(&mut reader, &image).unwrap();
    let writes: Vec<u8> = reader
        .log
        .iter()
        .filter_map(|step| match step {
            Step::Write(block) => Some(*block),
            _ => None,
        })
        .collect();
    assert_eq!(writes, [4, 5, 6, 8, 9, 10, 7, 11]);
    assert_eq!(reader.block(7)[6..10], [0x78, 0x77, 0x88, 0x42]);
    assert_eq!(verified(&mut reader.again(), &image), Ok(()));
}

#[test]
fn the_largest_card_is_written_to_its_last_block() {
    let mut reader = Reader::with(CardKind::Classic4k);
    let mut last = sector(39, 0..15);
    last.trailer = Some(trailer(RECORD));
    let image = image(vec![sector(31, 0..3), sector(32, 0..15), last]);
    encode(&mut reader, &image).unwrap();
    let data = |sector: u8, block: u8| [sector ^ 0x5A ^ block << 4; 16];
    assert_eq!(reader.block(126), data(31, 2));
    assert_eq!(reader.block(128), data(32, 0));
    assert_eq!(reader.block(254), data(39, 14));
    assert_eq!(reader.block(255)[..6], [0xA1; 6]);
    assert_eq!(verified(&mut reader.again(), &image), Ok(()));
}

#[test]
fn cards_with_seven_byte_uids_are_written_too() {
    let uid = "04a1b2c3d4e5f6".parse().unwrap();
    let card = VirtualCard::new(CardKind::Classic1k, Some(uid)).unwrap();
    let mut reader = Reader::holding(card);
    let image = image(vec![with_trailer(RECORD)]);
    encode(&mut reader, &image).unwrap();
    assert_eq!(verified(&mut reader.again(), &image), Ok(()));
}

#[test]
fn progress_tells_when_nothing_is_left_to_write() {
    let mut reader = Reader::with(CardKind::Classic1k);
    let image = image(vec![with_trailer(RECORD), sector(2, 0..3)]);
    let prepared = prepared(&mut reader, &image).unwrap();
    let mut stages = Vec::new();
    run(write(&mut reader, &prepared, &mut |stage| {
        stages.push(stage)
    }))
    .unwrap();
    assert_eq!(stages, [WriteStage::Verifying]);
}

fn refused(image: &CardImage) -> CardError {
    let mut reader = Reader::with(CardKind::Classic1k);
    let failed = encode(&mut reader, image).unwrap_err();
    assert_eq!(reader.log, [], "nothing is sent");
    let Failed::Preparing(error) = failed else {
        panic!("refused before writing");
    };
    error
}

#[test]
fn inconsistent_access_bits_are_refused_before_a_byte_is_sent() {
    let error = refused(&image(vec![with_trailer([0xFF, 0x07, 0x81])]));
    assert_eq!(
        error.to_string(),
        "the card image is refused: the trailer of sector 1 has inconsistent access bits ff 07 81: \
         bytes 6 and 7 must hold the inverse of bytes 7 and 8"
    );
}

#[test]
fn flawed_images_are_refused_before_a_byte_is_sent() {
    let no_keys = SectorImage {
        keys: Vec::new(),
        ..sector(1, 0..3)
    };
    for (sectors, flaw) in [
        (vec![], ImageFlaw::Empty),
        (vec![sector(1, [])], ImageFlaw::Empty),
        (
            vec![sector(0, 0..3)],
            ImageFlaw::NeverWritten(Place::Block(0)),
        ),
        (
            vec![sector(1, [3])],
            ImageFlaw::NeverWritten(Place::Block(7)),
        ),
        (
            vec![sector(1, [255])],
            ImageFlaw::NeverWritten(Place::Block(255)),
        ),
        (
            vec![sector(40, [0])],
            ImageFlaw::NeverWritten(Place::Sector(40)),
        ),
        (vec![sector(1, [1, 1])], ImageFlaw::Twice(Place::Block(5))),
        (
            vec![sector(1, [0]), sector(1, [1])],
            ImageFlaw::Twice(Place::Sector(1)),
        ),
        (vec![no_keys], ImageFlaw::NoKeys(1)),
    ] {
        assert_eq!(refused(&image(sectors)), CardError::Image(flaw));
    }
}

#[test]
fn a_card_that_is_too_small_or_of_another_kind_is_told_before_a_byte_is_sent() {
    assert_eq!(
        refused(&image(vec![sector(1, 0..3), sector(16, 0..3)])),
        CardError::TooSmall {
            needed: Place::Sector(16),
            got: Technology::MifareClassic1k,
        }
    );
    let mut reader = Reader::with(CardKind::Ntag213);
    let error = prepared(&mut reader, &image(vec![sector(1, 0..3)])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "expected a MIFARE Classic, got a NTAG213; use another card"
    );
    assert_eq!(reader.log, []);
}

#[test]
fn trailers_that_could_never_be_changed_again_need_leave() {
    for condition in [0b000, 0b010, 0b100, 0b110, 0b111] {
        let access = AccessBits::from_conditions([0, 0, 0, condition]);
        let image = image(vec![with_trailer(access.encode())]);
        assert_eq!(
            refused(&image),
            CardError::Image(ImageFlaw::Irreversible(Place::Trailer(1)))
        );
        let mut reader = Reader::with(CardKind::Classic1k);
        assert_eq!(
            encode_under(&mut reader, &image, ALLOWED),
            Ok(()),
            "{condition:03b}"
        );
        assert_eq!(
            verified(&mut reader.again(), &image),
            Ok(()),
            "{condition:03b}"
        );
    }
}

#[test]
fn every_other_trailer_is_written_and_verified() {
    for condition in [0b001, 0b011, 0b101] {
        for data in [0b000, 0b010, 0b100, 0b110, 0b001, 0b011, 0b101] {
            let access = AccessBits::from_conditions([data, data, data, condition]);
            let image = image(vec![with_trailer(access.encode())]);
            let mut reader = Reader::with(CardKind::Classic1k);
            match encode(&mut reader, &image) {
                Ok(()) => assert_eq!(verified(&mut reader.again(), &image), Ok(())),
                // Key B alone reads, and is no key where it can be read.
                Err(failed) => assert!(
                    matches!(
                        failed.error(),
                        CardError::Image(ImageFlaw::Unverifiable { .. })
                    ) && condition == 0b001
                        && matches!(data, 0b011 | 0b101),
                    "{failed:?}"
                ),
            }
        }
    }
    let unreadable = AccessBits::from_conditions([0, 0b111, 0, 0b011]).encode();
    assert_eq!(
        refused(&image(vec![with_trailer(unreadable)])),
        CardError::Image(ImageFlaw::Unverifiable {
            sector: 1,
            block: Place::Block(5),
        })
    );
}

/// A card whose sector 1 has these keys and access bits.
fn card_with(access_bits: [u8; 3]) -> Reader {
    let mut reader = Reader::with(CardKind::Classic1k);
    let bytes = [&[0xA1; 6], &access_bits[..], &[0x69], &[0xB2; 6]].concat();
    reader.patch(7 * 16, &bytes);
    reader
}

#[test]
fn a_key_that_may_not_write_is_passed_over() {
    let mut reader = card_with(RECORD);
    let image = image(vec![SectorImage {
        keys: vec![
            key(KeySlot::A, FF),
            key(KeySlot::A, [0xA1; 6]),
            key(KeySlot::B, [0xB2; 6]),
        ],
        ..with_trailer(TRANSPORT)
    }]);
    assert_eq!(encode(&mut reader, &image), Ok(()));
    assert_eq!(verified(&mut reader.again(), &image), Ok(()));
}

#[test]
fn a_read_only_sector_is_told_before_a_byte_changes_where_its_trailer_is_to_change() {
    let mut reader = card_with(RECORD);
    reader.patch(7 * 16 + 10, &[0xC3; 6]);
    let image = image(vec![SectorImage {
        keys: vec![key(KeySlot::A, [0xA1; 6])],
        ..with_trailer(RECORD)
    }]);
    assert_eq!(
        encode(&mut reader, &image),
        Err(Failed::Preparing(CardError::ReadOnly {
            at: Place::Block(4),
            fault: None,
        }))
    );
}

#[test]
fn a_read_only_block_is_told_by_its_number() {
    for naks_as_gone in [false, true] {
        let mut reader = card_with([0x0F, 0x07, 0x8F]);
        reader.reports_naks_as_gone = naks_as_gone;
        let before = reader.card.memory().to_vec();
        let image = image(vec![SectorImage {
            keys: vec![key(KeySlot::A, [0xA1; 6])],
            ..sector(1, 0..3)
        }]);
        let failed = encode(&mut reader, &image).unwrap_err();
        assert!(
            !failed.changed(),
            "its access bits prove that it cannot have changed"
        );
        assert!(
            matches!(
                failed.error(),
                CardError::ReadOnly {
                    at: Place::Block(4),
                    fault: Some(_),
                }
            ),
            "{failed:?}"
        );
        assert_eq!(reader.card.memory(), before);
    }
}

#[test]
fn a_read_only_block_behind_a_written_one_leaves_the_card_changed() {
    // Block 6 of the sector is read-only; blocks 4 and 5 are written before.
    let access = AccessBits::from_conditions([0b000, 0b000, 0b010, 0b001]);
    let mut reader = card_with(access.encode());
    let image = image(vec![SectorImage {
        keys: vec![key(KeySlot::A, [0xA1; 6])],
        ..sector(1, 0..3)
    }]);
    let failed = encode(&mut reader, &image).unwrap_err();
    let at = Place::Block(6);
    assert!(
        matches!(failed.error(), CardError::ReadOnly { at: place, .. } if *place == at),
        "{failed:?}"
    );
    assert!(failed.changed());
}

#[test]
fn wrong_keys_leave_the_card_alone_and_name_the_sector() {
    let mut reader = card_with(RECORD);
    reader.patch(7 * 16, &[0xC3; 6]);
    reader.patch(7 * 16 + 10, &[0xC3; 6]);
    let before = reader.card.memory().to_vec();
    let image = image(vec![sector(2, 0..3), with_trailer(RECORD)]);
    let failed = encode(&mut reader, &image).unwrap_err();
    assert!(
        matches!(
            failed.error(),
            CardError::NoKey {
                sector: 1,
                tried: 3,
                fault: Some(_)
            }
        ),
        "{failed:?}"
    );
    assert!(!failed.changed());
    assert_eq!(reader.card.memory(), before);
}

#[test]
fn a_sector_that_carries_the_trailer_already_opens_with_its_keys() {
    for access_bits in [TRANSPORT, RECORD] {
        let image = image(vec![with_trailer(access_bits)]);
        let mut reader = Reader::with(CardKind::Classic1k);
        assert_eq!(encode(&mut reader, &image), Ok(()));
        // The image's only candidate is the transport key.
        let mut reader = reader.again();
        assert_eq!(encode(&mut reader, &image), Ok(()));
        assert_eq!(verified(&mut reader.again(), &image), Ok(()));
    }
}

#[test]
fn a_sector_locked_by_inconsistent_bits_opens_with_no_key() {
    let mut reader = card_with([0, 0, 0]);
    let image = image(vec![SectorImage {
        keys: vec![key(KeySlot::A, [0xA1; 6]), key(KeySlot::B, [0xB2; 6])],
        ..sector(1, 0..3)
    }]);
    let failed = encode(&mut reader, &image).unwrap_err();
    assert!(matches!(failed.error(), CardError::NoKey { tried: 2, .. }));
}

#[test]
fn reading_names_what_it_could_not_read() {
    // Data that only key B reads.
    let mut reader = card_with(AccessBits::from_conditions([0b011, 0, 0, 0b011]).encode());
    reader.patch(5 * 16, &[7; 16]);
    let sector = |sector, key| SectorRead {
        sector,
        keys: vec![key],
    };
    let plan = ReadPlan::MifareClassic(ClassicRead {
        sectors: vec![
            sector(0, key(KeySlot::A, FF)),
            sector(1, key(KeySlot::A, [0xA1; 6])),
            sector(2, key(KeySlot::A, [0; 6])),
            sector(16, key(KeySlot::A, FF)),
        ],
        extension: vec![],
    });
    let CardContents::MifareClassic { blocks, unread } = read(&mut reader, &plan).unwrap() else {
        panic!("classic contents");
    };
    let numbers: Vec<u8> = blocks.iter().map(|block| block.block).collect();
    assert_eq!(numbers, [0, 1, 2, 5, 6]);
    assert_eq!(blocks[3].data, [7; 16]);
    let reasons: Vec<_> = unread
        .iter()
        .map(|unread| (unread.sector, unread.reason.as_str()))
        .collect();
    assert_eq!(
        reasons,
        [
            (1, "the card does not allow reading block 4"),
            (2, "none of the 1 known keys opens it"),
            (16, "the card has 16 sectors"),
        ]
    );
}
