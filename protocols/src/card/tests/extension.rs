//! Key records with an extension, on cards.

use super::{
    encode, read,
    reader::{Reader, Step},
    record::{KINDS, layouts, scanned, site_key},
    verified,
};
use crate::card::{
    CardContents, CardImage, KeySlot,
    key_record::{KeyRecord, KeyRecordError, Layout, VersionedSiteKey},
    virtual_card::{CardKind, TornState, VirtualCard},
    write_estimate,
};

/// Where the record begins on a MIFARE Classic, and where its extension does.
const RECORD: usize = 4 * 16;
const EXTENSION: usize = 8 * 16;

fn record(issue: i64, entrances: usize) -> KeyRecord {
    KeyRecord {
        credential_id: uuid::Uuid::from_u128(0x1234_5678),
        issued_at: jiff::Timestamp::from_second(1_764_000_000 + issue).unwrap(),
        starts_at: None,
        ends_at: None,
        // Another issue has other numbers too, so that none of its parts looks like this one's.
        entrances: (1..=u16::try_from(entrances).unwrap())
            .map(|number| number * 8 + u16::try_from(issue).unwrap())
            .collect(),
    }
}

fn image(
    layout: Layout,
    reader: &Reader,
    record: &KeyRecord,
    keys: &[VersionedSiteKey],
) -> CardImage {
    layout
        .image_for(&reader.description(), record, keys)
        .unwrap()
}

fn put(
    layout: Layout,
    mut reader: Reader,
    record: &KeyRecord,
    keys: &[VersionedSiteKey],
) -> Reader {
    let image = image(layout, &reader, record, keys);
    assert_eq!(encode(&mut reader, &image), Ok(()));
    reader.again()
}

/// How many entrances a card of this kind has room for.
fn room(layout: Layout, kind: CardKind) -> usize {
    layout.most_entrances(kind.technology()).unwrap()
}

#[test]
fn every_card_takes_its_fill_and_a_scan_gives_it_back() {
    let keys = [site_key(1)];
    for (kind, layout) in KINDS
        .into_iter()
        .flat_map(|kind| layouts().map(|layout| (kind, layout)))
    {
        let most = room(layout, kind);
        for entrances in [4, 11, 12, 20, most].into_iter().filter(|n| *n <= most) {
            let (record, mut reader) = (record(1, entrances), Reader::with(kind));
            let image = image(layout, &reader, &record, &keys);
            encode(&mut reader, &image).unwrap();
            let mut placed_again = reader.again();
            assert_eq!(verified(&mut placed_again, &image), Ok(()), "{kind}");
            let scanned = scanned(layout, &mut placed_again.again(), &keys);
            assert_eq!(scanned, Ok(record), "{kind} {entrances}");
        }
    }
}

#[test]
fn a_record_without_an_extension_takes_as_many_exchanges_as_ever() {
    let (layout, keys) = (Layout::default(), [site_key(1)]);
    let (classic, ntag) = (CardKind::Classic1k, CardKind::Ntag213);
    let scan_log = |kind, entrances| {
        let mut reader = put(layout, Reader::with(kind), &record(1, entrances), &keys);
        scanned(layout, &mut reader, &keys).unwrap();
        reader.log
    };
    let sector = |first: u8| {
        let reads = (first..first + 3).map(Step::Read);
        std::iter::once(Step::Authenticate(KeySlot::A, first)).chain(reads)
    };
    assert_eq!(scan_log(classic, 3), sector(4).collect::<Vec<_>>());
    let extended: Vec<_> = sector(4).chain(sector(8)).collect();
    assert_eq!(scan_log(classic, 20), extended);
    // Its protection, then its pages.
    assert_eq!(scan_log(ntag, 3).len(), 2);
    assert_eq!(scan_log(ntag, 20).len(), 4);

    let encode_log = |entrances| {
        let reader = put(layout, Reader::with(classic), &record(1, 3), &keys);
        let image = image(layout, &reader, &record(2, entrances), &keys);
        let mut reader = reader;
        encode(&mut reader, &image).unwrap();
        reader.log
    };
    let one_sector = encode_log(3);
    assert_eq!(one_sector, encode_log(1));
    let writes = one_sector
        .iter()
        .filter(|step| matches!(step, Step::Write(_)));
    assert_eq!(writes.count(), 3);
}

#[test]
fn a_card_torn_at_any_write_carries_one_record_or_none_and_can_be_encoded_again() {
    let cards = [
        CardKind::ClassicMini,
        CardKind::Classic1k,
        CardKind::UltralightC,
        CardKind::UltralightEv1Ul21,
        CardKind::Ntag213,
    ];
    let (first, keys) = ([site_key(1)], [site_key(2), site_key(1)]);
    for (kind, layout) in cards
        .into_iter()
        .flat_map(|kind| layouts().map(|layout| (kind, layout)))
    {
        for (before, after) in [(3, 20), (20, 20), (40, 20), (20, 40), (20, 3)] {
            let (old, new) = (record(1, before), record(2, after));
            let start = put(layout, Reader::with(kind), &old, &first);
            let image = image(layout, &start, &new, &keys);
            for (write, state) in every_tear(&start, &image) {
                let what = format!("{kind} from {before} to {after}, {write:?} {state:?}");
                let mut reader = Reader::holding(start.card.clone());
                reader.card.tear_at_write(write.0, state);
                assert!(encode(&mut reader, &image).is_err());
                let mut reader = reader.again();
                match scanned(layout, &mut reader, &keys) {
                    Ok(found) => assert!(found == old || found == new, "{what}"),
                    Err(KeyRecordError::Malformed) => panic!("{what}"),
                    Err(_) => {}
                }
                let mut reader = reader.again();
                match encode(&mut reader, &image) {
                    Ok(()) => {
                        let found = scanned(layout, &mut reader.again(), &keys);
                        assert_eq!(found, Ok(new.clone()), "{what}");
                    }
                    // Half a trailer is what no encode repairs (README, "On the card").
                    Err(failed) => assert!(write.1 && !failed.changed(), "{what}: {failed:?}"),
                }
            }
        }
    }
}

/// Which write is torn, counted from 1, and whether it is that of a trailer.
type TornWrite = (u64, bool);

/// Every write of an encode, with what a tear may leave of it.
fn every_tear(start: &Reader, image: &CardImage) -> Vec<(TornWrite, TornState)> {
    let mut whole = Reader::holding(start.card.clone());
    encode(&mut whole, image).unwrap();
    let is_classic = matches!(image, CardImage::MifareClassic(_));
    let writes = whole.log.iter().filter_map(|step| match step {
        Step::Write(block) => Some(is_classic && block % 4 == 3),
        _ => None,
    });
    (1..)
        .zip(writes)
        .flat_map(|write| {
            let states = [
                TornState::Old,
                TornState::First(1),
                TornState::Mixed,
                TornState::First(11),
                TornState::New,
            ];
            states.map(|state| (write, state))
        })
        .collect()
}

#[test]
fn an_extension_left_behind_is_not_decoded_and_its_sectors_open_again() {
    let (old, both) = ([site_key(1)], [site_key(2), site_key(1)]);
    for (kind, layout) in [CardKind::Classic1k, CardKind::Ntag215]
        .into_iter()
        .flat_map(|kind| layouts().map(|layout| (kind, layout)))
    {
        let many = put(layout, Reader::with(kind), &record(1, 60), &old);
        for (few, keys) in [(1, &both[..]), (20, &both), (20, &old)] {
            let reader = Reader::holding(many.card.clone());
            let mut reader = put(layout, reader, &record(2, few), keys);
            let found = scanned(layout, &mut reader, keys);
            assert_eq!(found, Ok(record(2, few)), "{kind}");
            // What is left of the first record keeps the first site key until it is needed again.
            let mut reader = put(layout, reader.again(), &record(3, 60), keys);
            assert_eq!(scanned(layout, &mut reader, keys), Ok(record(3, 60)));
        }
    }
}

#[test]
fn parts_of_two_cards_or_two_issues_are_not_authentic() {
    let (layout, keys) = (Layout::default(), [site_key(1)]);
    let own = put(
        layout,
        Reader::with(CardKind::Classic1k),
        &record(1, 60),
        &keys,
    );
    let other_uid = "01020304".parse().ok();
    let other = VirtualCard::new(CardKind::Classic1k, other_uid).unwrap();
    let other = put(layout, Reader::holding(other), &record(1, 60), &keys);
    let reissued = Reader::holding(own.card.clone());
    let reissued = put(layout, reissued, &record(2, 60), &keys);
    for stranger in [&other, &reissued] {
        let parts = [RECORD, RECORD + 16, RECORD + 32, EXTENSION, EXTENSION + 64];
        for (offset, length) in parts
            .map(|part| (part, 16))
            .into_iter()
            .chain([(RECORD, 48)])
        {
            let part = stranger.card.memory()[offset..][..length].to_vec();
            let mut mixed = Reader::holding(own.card.clone());
            if mixed.card.memory()[offset..][..length] == part {
                continue;
            }
            mixed.patch(offset, &part);
            let found = scanned(layout, &mut mixed, &keys);
            assert_eq!(found, Err(KeyRecordError::NotAuthentic), "byte {offset}");
        }
    }
}

#[test]
fn an_extension_that_is_only_claimed_costs_no_more_than_the_card_holds() {
    let (layout, keys) = (Layout::default(), [site_key(1)]);
    for kind in [CardKind::Classic1k, CardKind::Ntag216, CardKind::Ultralight] {
        for (count, is_read) in [
            (0, false),
            (3, false),
            (4, true),
            (room(layout, kind), true),
            (room(layout, kind) + 1, false),
            (65_535, false),
        ] {
            let mut reader = put(layout, Reader::with(kind), &record(1, 3), &keys);
            let plain = scan_length(layout, &mut reader, &keys);
            let offset = if kind == CardKind::Classic1k {
                RECORD
            } else {
                16
            };
            reader.patch(offset + 2, &[2]);
            let count = u16::try_from(count).unwrap();
            reader.patch(offset + 32, &count.to_be_bytes());
            let mut reader = reader.again();
            assert!(scanned(layout, &mut reader, &keys).is_err());
            let is_read = is_read && room(layout, kind) > 3;
            assert_eq!(reader.log.len() > plain, is_read, "{kind} {count}");
        }
    }
}

fn scan_length(layout: Layout, reader: &mut Reader, keys: &[VersionedSiteKey]) -> usize {
    scanned(layout, reader, keys).unwrap();
    std::mem::take(&mut reader.log).len()
}

#[test]
fn a_sector_that_no_key_opens_ends_a_scan_of_its_extension_and_is_named() {
    let (layout, keys) = (Layout::default(), [site_key(1)]);
    let mut reader = put(
        layout,
        Reader::with(CardKind::Classic1k),
        &record(1, 60),
        &keys,
    );
    // Sector 2 gets a foreign key A.
    reader.patch(11 * 16, &[0x77; 6]);
    let card = reader.description();
    let plan = layout.read_plan_for(&card, &keys);
    let contents = read(&mut reader, &plan).unwrap();
    let CardContents::MifareClassic { blocks, unread } = &contents else {
        panic!("a classic");
    };
    assert_eq!(blocks.len(), 3);
    assert_eq!(unread.len(), 1);
    assert_eq!(unread[0].sector, 2);
    let bytes = layout.record_bytes_from(&contents, &card).unwrap();
    assert_eq!(bytes.len(), 48);
}

#[test]
fn a_foreign_sector_in_the_extensions_way_is_refused_before_a_byte_changes() {
    let (layout, keys) = (Layout::default(), [site_key(1)]);
    let mut reader = Reader::with(CardKind::Classic1k);
    reader.patch(11 * 16, &[0x77; 6]);
    reader.patch(11 * 16 + 10, &[0x77; 6]);
    let before = reader.card.memory().to_vec();
    let image = image(layout, &reader, &record(1, 20), &keys);
    let failed = encode(&mut reader, &image).unwrap_err();
    assert!(!failed.changed());
    assert!(failed.error().to_string().contains("opens sector 2"));
    assert_eq!(reader.card.memory(), before);
}

#[test]
fn no_encode_with_an_extension_takes_more_commands_than_estimated() {
    let keys = [site_key(2), site_key(1)];
    for (kind, layout) in KINDS
        .into_iter()
        .flat_map(|kind| layouts().map(|layout| (kind, layout)))
    {
        let most = record(2, room(layout, kind));
        for start in [0, 20, most.entrances.len()] {
            let start = record(1, start.min(most.entrances.len()));
            let mut reader = put(layout, Reader::with(kind), &start, &keys[1..]);
            let image = image(layout, &reader, &most, &keys);
            encode(&mut reader, &image).unwrap();
            let taken = u32::try_from(reader.log.len()).unwrap();
            let estimated = write_estimate(&image).commands;
            assert!(taken < estimated, "{kind}: {taken} of {estimated}");
        }
    }
}
