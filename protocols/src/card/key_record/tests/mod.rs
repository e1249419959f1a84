//! The record's bytes, and what its layout makes of them.

mod extension;
mod magstripe;
mod vectors;

use jiff::Timestamp;
use proptest::prelude::*;
use uuid::Uuid;

use vectors::vectors;

use super::{record::Format, *};
use crate::card::{
    BlockContents, CardContents, CardDescription, CardImage, KeySlot, PageImage, ReadPlan,
    SectorImage, Technology, Uid, magstripe::TrackContents,
};

#[test]
fn refuses_another_cards_record_and_unknown_keys() {
    let [first, _, older, ..] = &vectors()[..] else {
        panic!("five vectors");
    };
    let bytes = first.bytes("record");
    assert_eq!(
        decode(&older.uid(), &bytes, &[first.site_key()]),
        Err(KeyRecordError::NotAuthentic)
    );
    assert_eq!(
        decode(&first.uid(), &bytes, &[older.site_key()]),
        Err(KeyRecordError::UnknownKeyVersion(7))
    );
    let same_version = VersionedSiteKey {
        version: 7,
        key: SiteKey::new([9; 32]),
    };
    assert_eq!(
        decode(&first.uid(), &bytes, std::slice::from_ref(&same_version)),
        Err(KeyRecordError::NotAuthentic)
    );
    let both = [older.site_key(), same_version, first.site_key()];
    assert_eq!(decode(&first.uid(), &bytes, &both), Ok(first.record()));
}

#[test]
fn refuses_content_that_does_not_fit() {
    let [vector, ..] = &vectors()[..] else {
        panic!("five vectors");
    };
    let encoded = |change: fn(&mut KeyRecord)| {
        let mut record = vector.record();
        change(&mut record);
        record.encode(&vector.uid(), &vector.site_key())
    };
    let second = |second| Timestamp::from_second(second).unwrap();
    assert_eq!(
        encoded(|record| record.entrances = vec![1; MOST_ENTRANCES + 1]),
        Err(RecordContentError::TooManyEntrances(1684))
    );
    assert_eq!(
        encoded(|record| record.entrances = vec![0]),
        Err(RecordContentError::EntranceZero)
    );
    assert!(matches!(
        encoded(|record| record.ends_at = Timestamp::from_second(1).ok()),
        Err(RecordContentError::EndsBeforeStart { .. })
    ));
    assert_eq!(
        encoded(|record| record.ends_at = Timestamp::from_second(u32::MAX.into()).ok()),
        Err(RecordContentError::TimeOutOfRange {
            what: "ends_at",
            first: second(0),
            last: second(4_294_967_294),
            got: second(4_294_967_295),
        })
    );
    assert!(matches!(
        encoded(|record| record.starts_at = Some(Timestamp::UNIX_EPOCH)),
        Err(RecordContentError::TimeOutOfRange {
            what: "starts_at",
            ..
        })
    ));
    assert!(matches!(
        encoded(|record| record.issued_at = Timestamp::from_nanosecond(-1).unwrap()),
        Err(RecordContentError::TimeOutOfRange {
            what: "issued_at",
            ..
        })
    ));
}

#[test]
fn an_authentic_record_against_the_layout_is_malformed() {
    let [vector, ..] = &vectors()[..] else {
        panic!("five vectors");
    };
    let (uid, site_key) = (vector.uid(), vector.site_key());
    // The count, the reserved byte, an unused entrance number, and an end before the start.
    for (offset, value) in [(32, 4), (32, 2), (33, 1), (24, 0xFF), (39, 0)] {
        let mut bytes = vector.bytes("record");
        bytes[offset] = value;
        if offset == 39 {
            bytes[38] = 0;
        }
        let mac = site_key
            .key
            .record_mac(Format::Single, &uid, &bytes[..40], &[]);
        bytes[40..].copy_from_slice(&mac);
        assert_eq!(
            decode(&uid, &bytes, std::slice::from_ref(&site_key)),
            Err(KeyRecordError::Malformed),
            "offset {offset}"
        );
    }
}

#[test]
fn nothing_secret_is_formatted() {
    let [vector, ..] = &vectors()[..] else {
        panic!("five vectors");
    };
    let card = CardDescription::new(Technology::Ntag213, vector.uid());
    let layout = Layout {
        type2_password: Type2Password::ProtectWriting,
        ..Layout::default()
    };
    let image = layout.image_for(&card, &vector.record(), &[vector.site_key()]);
    let shown = format!("{:?} {:?} {:?}", vector.site_key(), vector.record(), image);
    assert_eq!(
        shown.matches('…').count(),
        // Site key, record, 12 pages, candidate password, new password.
        1 + 1 + 12 + 1 + 1,
        "{shown}"
    );
}

const KINDS: [Technology; 10] = [
    Technology::MifareClassicMini,
    Technology::MifareClassic1k,
    Technology::MifareClassic4k,
    Technology::Ultralight,
    Technology::UltralightC,
    Technology::UltralightEv1Ul11,
    Technology::UltralightEv1Ul21,
    Technology::Ntag213,
    Technology::Ntag215,
    Technology::Ntag216,
];

/// What a scan reads of a card that carries `image` and nothing else.
fn contents_of(image: &CardImage) -> CardContents {
    match image {
        CardImage::MifareClassic(image) => CardContents::MifareClassic {
            blocks: image.sectors.iter().flat_map(blocks_of).collect(),
            unread: Vec::new(),
        },
        CardImage::Type2(image) => {
            let mut pages: Vec<&PageImage> = image.pages.iter().collect();
            pages.sort_by_key(|page| page.page);
            CardContents::Type2 {
                first_page: pages[0].page,
                data: pages.iter().flat_map(|page| page.data).collect(),
            }
        }
        CardImage::Magstripe(image) => CardContents::Magstripe {
            tracks: image
                .tracks
                .iter()
                .map(|image| TrackContents::of_bits(image.track, image.bits().unwrap()))
                .collect(),
        },
    }
}

fn blocks_of(sector: &SectorImage) -> impl Iterator<Item = BlockContents> {
    let first = match sector.sector {
        small @ 0..32 => small * 4,
        large => 128 + (large - 32) * 16,
    };
    sector.blocks.iter().map(move |block| BlockContents {
        block: first + block.block,
        data: block.data,
    })
}

#[test]
fn lays_the_record_out_on_every_technology_and_finds_it_again() {
    for vector in vectors() {
        let keys = [vector.site_key()];
        for technology in KINDS {
            let room = Layout::default().most_entrances(technology).unwrap();
            if vector.record().entrances.len() > room {
                continue;
            }
            let card = CardDescription::new(technology, vector.uid());
            let layout = Layout::default();
            let image = layout.image_for(&card, &vector.record(), &keys).unwrap();
            let bytes = layout.record_bytes_from(&contents_of(&image), &card);
            assert_eq!(
                decode(&vector.uid(), &bytes.unwrap(), &keys),
                Ok(vector.record())
            );
            assert_ne!(layout.read_plan_for(&card, &keys), ReadPlan::UidOnly);
        }
    }
}

#[test]
fn lists_candidate_keys_newest_first_and_transport_last() {
    let [vector, _, older, ..] = &vectors()[..] else {
        panic!("five vectors");
    };
    let uid = vector.uid();
    let keys = [vector.site_key(), older.site_key()];
    let card = CardDescription::new(Technology::MifareClassic1k, uid);
    let image = Layout::default().image_for(&card, &vector.record(), &keys);
    let Ok(CardImage::MifareClassic(image)) = image else {
        panic!("a classic image");
    };
    let [sector] = &image.sectors[..] else {
        panic!("one sector");
    };
    let tried: Vec<_> = sector.keys.iter().map(|c| (c.slot, c.key.0)).collect();
    let site = |n: usize| keys[n].key.classic_key(KeySlot::B, 1, &uid).0;
    assert_eq!(
        tried,
        [
            (KeySlot::B, site(0)),
            (KeySlot::B, site(1)),
            (KeySlot::A, [0xFF; 6])
        ]
    );
    assert_eq!(sector.sector, 1);
    assert_eq!(
        sector.trailer.as_ref().unwrap().access_bits,
        [0x78, 0x77, 0x88]
    );
}

#[test]
fn refuses_cards_that_cannot_carry_a_record() {
    let [vector, ..] = &vectors()[..] else {
        panic!("five vectors");
    };
    let keys = [vector.site_key()];
    let layout = Layout::default();
    let image = |card| layout.image_for(&card, &vector.record(), &keys);
    let desfire = CardDescription::new(Technology::Desfire, vector.uid());
    assert_eq!(
        image(desfire),
        Err(LayoutError::IncompatibleTechnology(Technology::Desfire))
    );
    assert_eq!(layout.read_plan_for(&desfire, &keys), ReadPlan::UidOnly);
    let random: Uid = "08112233".parse().unwrap();
    let random = CardDescription::new(Technology::MifareClassic1k, random);
    assert_eq!(image(random), Err(LayoutError::NoUid));
    let mini = CardDescription::new(Technology::MifareClassicMini, vector.uid());
    for (card, sector) in [(mini, 5), (mini, 0), (mini, 32)] {
        let layout = Layout {
            classic_sector: sector,
            ..Layout::default()
        };
        assert!(matches!(
            layout.image_for(&card, &vector.record(), &keys),
            Err(LayoutError::NoSuchSector { .. })
        ));
    }
    assert_eq!(
        layout.image_for(&mini, &vector.record(), &[]),
        Err(LayoutError::NoSiteKey)
    );
}

fn any_record() -> impl Strategy<Value = KeyRecord> {
    let time = |range: std::ops::RangeInclusive<u32>| {
        range.prop_map(|second| Timestamp::from_second(second.into()).unwrap())
    };
    (
        any::<u128>(),
        time(0..=u32::MAX),
        proptest::option::of(time(1..=u32::MAX)),
        proptest::option::of(time(0..=u32::MAX - 1)),
        entrances(),
    )
        .prop_map(|(id, issued_at, starts_at, ends_at, entrances)| KeyRecord {
            credential_id: Uuid::from_u128(id),
            issued_at,
            starts_at: starts_at.filter(|starts| ends_at.is_none_or(|ends| ends >= *starts)),
            ends_at,
            entrances,
        })
}

/// Of all counts the small ones most often.
fn entrances() -> impl Strategy<Value = Vec<u16>> {
    let most = prop_oneof![Just(3), Just(20), Just(MOST_ENTRANCES)];
    most.prop_flat_map(|most| proptest::collection::vec(1..=u16::MAX, 0..=most))
}

fn any_uid() -> impl Strategy<Value = Uid> {
    (any::<[u8; 10]>(), prop_oneof![Just(4), Just(7), Just(10)])
        .prop_map(|(bytes, length)| Uid::new(&bytes[..length]).unwrap())
}

fn any_site_key() -> impl Strategy<Value = VersionedSiteKey> {
    (any::<u8>(), any::<[u8; 32]>()).prop_map(|(version, key)| VersionedSiteKey {
        version,
        key: SiteKey::new(key),
    })
}

proptest! {
    #[test]
    fn decodes_what_it_encodes(record in any_record(), uid in any_uid(), key in any_site_key()) {
        let bytes = record.encode(&uid, &key).unwrap();
        prop_assert_eq!(decode(&uid, &bytes, &[key]), Ok(record));
    }

    #[test]
    fn no_flipped_bit_is_decoded(
        record in any_record(), uid in any_uid(), key in any_site_key(), bit: prop::sample::Index,
    ) {
        let mut bytes = record.encode(&uid, &key).unwrap();
        let bit = bit.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        let result = decode(&uid, &bytes, &[key]);
        match bit / 8 {
            0 | 1 => prop_assert_eq!(result, Err(KeyRecordError::NotARecord)),
            2 if !matches!(bytes[2], 1 | 2) => {
                prop_assert_eq!(result, Err(KeyRecordError::UnknownVersion(bytes[2])));
            }
            3 => prop_assert_eq!(result, Err(KeyRecordError::UnknownKeyVersion(bytes[3]))),
            2 | 32 | 33 => {
                let has_length = !matches!(result, Err(KeyRecordError::WrongLength { .. }));
                prop_assert!(!has_length || result == Err(KeyRecordError::NotAuthentic));
            }
            _ => prop_assert_eq!(result, Err(KeyRecordError::NotAuthentic)),
        }
    }

    #[test]
    fn no_random_bytes_are_decoded(
        bytes in proptest::collection::vec(any::<u8>(), 0..64), uid in any_uid(), key in any_site_key(),
    ) {
        prop_assert_eq!(decode(&uid, &bytes, std::slice::from_ref(&key)), Err(KeyRecordError::NotARecord));
        let mut headed = bytes;
        headed.resize(RECORD_LENGTH, 0);
        headed[..4].copy_from_slice(&[b'E', b'K', 1, key.version]);
        prop_assert_eq!(
            decode(&uid, &headed, std::slice::from_ref(&key)),
            Err(KeyRecordError::NotAuthentic)
        );
        headed[2] = 2;
        headed.resize(RECORD_LENGTH + extension_length(&headed), 0);
        prop_assert_eq!(decode(&uid, &headed, &[key]), Err(KeyRecordError::NotAuthentic));
    }
}
