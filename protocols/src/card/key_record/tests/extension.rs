//! Records with more entrances than their own bytes hold.

use super::*;
use crate::card::{ClassicImage, Type2Image};

fn site_key() -> VersionedSiteKey {
    VersionedSiteKey {
        version: 1,
        key: SiteKey::new([1; 32]),
    }
}

fn uid(last: u8) -> Uid {
    Uid::new(&[0x04, 0xA1, 0xB2, 0xC3, 0xD4, 0xE5, last]).unwrap()
}

fn record(entrances: usize) -> KeyRecord {
    KeyRecord {
        credential_id: Uuid::from_u128(7),
        issued_at: Timestamp::from_second(1_764_000_000).unwrap(),
        starts_at: None,
        ends_at: None,
        entrances: (1..=u16::try_from(entrances).unwrap()).collect(),
    }
}

fn image(technology: Technology, entrances: usize) -> Result<CardImage, LayoutError> {
    let card = CardDescription::new(technology, uid(1));
    Layout::default().image_for(&card, &record(entrances), &[site_key()])
}

fn assert_refused(bytes: &[u8], what: &str) {
    let result = decode(&uid(1), bytes, &[site_key()]);
    assert!(
        matches!(
            result,
            Err(KeyRecordError::NotAuthentic | KeyRecordError::WrongLength { .. })
        ),
        "{what}: {:?}",
        result.map(drop)
    );
}

#[test]
fn every_count_that_fits_comes_back() {
    for entrances in (0..=60).chain([339, 340, 1682, MOST_ENTRANCES]) {
        let bytes = record(entrances).encode(&uid(1), &site_key()).unwrap();
        assert_eq!(bytes.len(), RECORD_LENGTH + extension_length(&bytes));
        let decoded = decode(&uid(1), &bytes, &[site_key()]);
        assert_eq!(decoded, Ok(record(entrances)), "{entrances}");
    }
}

#[test]
fn a_record_that_needs_no_extension_is_as_it_was_in_version_1() {
    for entrances in 0..=3 {
        let bytes = record(entrances).encode(&uid(1), &site_key()).unwrap();
        assert_eq!((bytes.len(), bytes[2]), (RECORD_LENGTH, 1));
    }
    let bytes = record(4).encode(&uid(1), &site_key()).unwrap();
    assert_eq!((bytes.len(), bytes[2]), (RECORD_LENGTH + 16, 2));
}

#[test]
fn no_changed_byte_is_decoded() {
    let bytes = record(20).encode(&uid(1), &site_key()).unwrap();
    for at in 0..bytes.len() {
        for change in [0x01, 0x80, 0xFF] {
            let mut changed = bytes.clone();
            changed[at] ^= change;
            assert!(
                decode(&uid(1), &changed, &[site_key()]).is_err(),
                "byte {at}"
            );
        }
    }
}

#[test]
fn parts_of_two_records_make_none() {
    let bytes = record(60).encode(&uid(1), &site_key()).unwrap();
    let others = [
        (
            "of another card",
            record(60).encode(&uid(2), &site_key()).unwrap(),
        ),
        ("an older issue", {
            let mut older = record(60);
            older.issued_at = Timestamp::from_second(1_763_000_000).unwrap();
            older.entrances.reverse();
            older.encode(&uid(1), &site_key()).unwrap()
        }),
        ("another credential's", {
            let mut other = record(60);
            other.credential_id = Uuid::from_u128(8);
            other.entrances.rotate_left(1);
            other.encode(&uid(1), &site_key()).unwrap()
        }),
        ("with fewer entrances", {
            record(55).encode(&uid(1), &site_key()).unwrap()
        }),
    ];
    let units = bytes.len() / 16;
    for (what, other) in &others {
        for unit in 0..units {
            let at = unit * 16..(unit + 1) * 16;
            let Some(part) = other
                .get(at.clone())
                .filter(|part| **part != bytes[at.clone()])
            else {
                continue;
            };
            let mut mixed = bytes.clone();
            mixed[at].copy_from_slice(part);
            assert_refused(&mixed, &format!("unit {unit} {what}"));
        }
        let own = [&other[..RECORD_LENGTH], &bytes[RECORD_LENGTH..]].concat();
        assert_refused(&own, what);
    }
    for (one, two) in (3..units).zip(4..units) {
        let mut swapped = bytes.clone();
        let (head, tail) = swapped.split_at_mut(two * 16);
        head[one * 16..].swap_with_slice(&mut tail[..16]);
        assert_refused(&swapped, "units in another order");
    }
}

#[test]
fn a_record_without_all_of_its_extension_is_not_decoded() {
    let bytes = record(20).encode(&uid(1), &site_key()).unwrap();
    for length in RECORD_LENGTH..bytes.len() {
        assert_eq!(
            decode(&uid(1), &bytes[..length], &[site_key()]),
            Err(KeyRecordError::WrongLength {
                expected: bytes.len(),
                got: length
            })
        );
    }
    let more = [&bytes[..], &[0; 16]].concat();
    assert!(matches!(
        decode(&uid(1), &more, &[site_key()]),
        Err(KeyRecordError::WrongLength { .. })
    ));
}

#[test]
fn an_authentic_extension_against_the_layout_is_malformed() {
    let bytes = record(20).encode(&uid(1), &site_key()).unwrap();
    let entrance_4 = RECORD_LENGTH;
    let unused = bytes.len() - 1;
    // A used number 0, an unused one that is not, and a count that the record's own bytes would hold.
    for (at, value, cut) in [
        (entrance_4 + 1, 0, false),
        (unused, 1, false),
        (33, 3, true),
    ] {
        let mut changed = bytes.clone();
        changed[at] = value;
        let extension = if cut {
            vec![]
        } else {
            changed[RECORD_LENGTH..].to_vec()
        };
        let key = &site_key().key;
        let mac = key.record_mac(Format::Extended, &uid(1), &changed[..40], &extension);
        let authentic = [&changed[..40], &mac, &extension].concat();
        assert_eq!(
            decode(&uid(1), &authentic, &[site_key()]),
            Err(KeyRecordError::Malformed),
            "byte {at}"
        );
    }
}

#[test]
fn only_a_record_of_version_2_claims_an_extension() {
    let bytes = record(20).encode(&uid(1), &site_key()).unwrap();
    assert_eq!(extension_length(&bytes), 48);
    assert_eq!(extension_length(&bytes[..RECORD_LENGTH]), 48);
    assert_eq!(extension_length(&bytes[..RECORD_LENGTH - 1]), 0);
    for (at, value) in [(0, 0), (1, 0), (2, 1), (2, 3)] {
        let mut changed = bytes.clone();
        changed[at] = value;
        assert_eq!(extension_length(&changed), 0, "byte {at}");
    }
    let most = |count: u16| {
        let mut changed = bytes.clone();
        changed[32..34].copy_from_slice(&count.to_be_bytes());
        extension_length(&changed)
    };
    assert_eq!([most(3), most(4), most(11), most(12)], [0, 16, 16, 32]);
    assert_eq!(most(u16::MAX), 131_072);
}

/// What the README says of each card's room.
const ROOM: [(Technology, usize); 10] = [
    (Technology::MifareClassicMini, 75),
    (Technology::MifareClassic1k, 339),
    (Technology::MifareClassic4k, MOST_ENTRANCES),
    (Technology::Ultralight, 3),
    (Technology::UltralightC, 51),
    (Technology::UltralightEv1Ul11, 3),
    (Technology::UltralightEv1Ul21, 43),
    (Technology::Ntag213, 51),
    (Technology::Ntag215, 227),
    (Technology::Ntag216, 419),
];

#[test]
fn every_card_takes_as_many_as_the_readme_says_and_refuses_one_more() {
    let readme = include_str!("../README.md");
    for (technology, room) in ROOM {
        assert_eq!(Layout::default().most_entrances(technology), Ok(room));
        assert!(image(technology, room).is_ok(), "{technology}");
        let row = format!("| {technology} | {room} |\n");
        assert!(readme.contains(&row), "{row}");
        if room == MOST_ENTRANCES {
            continue;
        }
        let refused = image(technology, room + 1).unwrap_err();
        assert_eq!(
            refused,
            LayoutError::TooManyEntrances {
                technology,
                fit: room,
                asked: room + 1
            }
        );
    }
    let refused = image(Technology::Ultralight, 20).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "a MIFARE Ultralight has room for 3 entrances, the credential has 20; \
         use a larger card, or give the credential fewer entrances"
    );
}

#[test]
fn a_record_in_the_last_sector_has_no_room_behind_it() {
    let most = |classic_sector, technology| {
        let layout = Layout {
            classic_sector,
            ..Layout::default()
        };
        layout.most_entrances(technology)
    };
    assert_eq!(most(15, Technology::MifareClassic1k), Ok(3));
    assert_eq!(most(31, Technology::MifareClassic4k), Ok(3 + 8 * 120));
}

#[test]
fn the_extension_is_written_before_the_record() {
    let Ok(CardImage::MifareClassic(ClassicImage { sectors })) =
        image(Technology::MifareClassic1k, 40)
    else {
        panic!("a classic image");
    };
    let written: Vec<_> = sectors.iter().map(|s| (s.sector, s.blocks.len())).collect();
    assert_eq!(written, [(2, 3), (3, 2), (1, 3)]);
    assert!(sectors.iter().all(|sector| sector.trailer.is_some()));
    let Ok(CardImage::Type2(Type2Image { pages, .. })) = image(Technology::Ntag213, 20) else {
        panic!("a type 2 image");
    };
    let written: Vec<u8> = pages.iter().map(|page| page.page).collect();
    assert_eq!(written, (16..28).chain(4..16).collect::<Vec<_>>());
}

#[test]
fn a_full_card_is_laid_out_and_found_again() {
    for (technology, room) in ROOM {
        let card = CardDescription::new(technology, uid(1));
        let contents = contents_of(&image(technology, room).unwrap());
        let bytes = Layout::default().record_bytes_from(&contents, &card);
        let decoded = decode(&uid(1), &bytes.unwrap(), &[site_key()]);
        assert_eq!(decoded, Ok(record(room)), "{technology}");
    }
}
