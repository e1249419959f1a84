use std::collections::BTreeMap;

use jiff::Timestamp;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::card::{
    BlockContents, CardContents, CardDescription, CardImage, KeySlot, ReadPlan, Technology, Uid,
    hex,
};

const VECTORS: &str = include_str!("vectors.txt");

struct Vector(BTreeMap<&'static str, &'static str>);

impl Vector {
    fn text(&self, name: &str) -> &'static str {
        self.0.get(name).unwrap_or_else(|| panic!("no {name}"))
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        hex::decode(self.text(name)).unwrap()
    }

    fn uid(&self) -> Uid {
        self.text("uid").parse().unwrap()
    }

    fn time(&self, name: &str) -> Option<Timestamp> {
        let text = self.text(name);
        (text != "none").then(|| Timestamp::from_second(text.parse().unwrap()).unwrap())
    }

    fn site_key(&self) -> VersionedSiteKey {
        VersionedSiteKey {
            version: self.text("key_version").parse().unwrap(),
            key: SiteKey::new(self.bytes("site_key").try_into().unwrap()),
        }
    }

    fn record(&self) -> KeyRecord {
        let entrances = self.text("entrances");
        KeyRecord {
            credential_id: self.text("credential_id").parse().unwrap(),
            issued_at: self.time("issued_at").unwrap(),
            starts_at: self.time("starts_at"),
            ends_at: self.time("ends_at"),
            entrances: entrances
                .split(' ')
                .filter(|number| *number != "none")
                .map(|number| number.parse().unwrap())
                .collect(),
        }
    }
}

fn vectors() -> Vec<Vector> {
    let vectors: Vec<_> = VECTORS
        .split("\n\n")
        .map(|block| {
            let lines = block.lines().filter(|line| !line.starts_with('#'));
            Vector(lines.filter_map(|line| line.split_once(' ')).collect())
        })
        .filter(|vector| !vector.0.is_empty())
        .collect();
    assert_eq!(vectors.len(), 3);
    vectors
}

#[test]
fn encodes_and_decodes_the_vectors() {
    for vector in vectors() {
        let (uid, key, record) = (vector.uid(), vector.site_key(), vector.record());
        let bytes = vector.bytes("record");
        assert_eq!(record.encode(&uid, &key).unwrap().to_vec(), bytes);
        assert_eq!(decode(&uid, &bytes, &[key]), Ok(record));
    }
}

#[test]
fn derives_the_keys_of_the_vectors() {
    for vector in vectors() {
        let (uid, site_key) = (vector.uid(), vector.site_key());
        let key = |slot| site_key.key.classic_key(slot, 1, &uid).0.to_vec();
        assert_eq!(key(KeySlot::A), vector.bytes("sector_1_key_a"));
        assert_eq!(key(KeySlot::B), vector.bytes("sector_1_key_b"));
        let password = site_key.key.type2_password(&uid);
        assert_eq!(password.password.0.to_vec(), vector.bytes("password"));
        assert_eq!(password.acknowledge.to_vec(), vector.bytes("pack"));
    }
}

#[test]
fn the_readme_shows_the_vectors() {
    let readme = include_str!("README.md");
    for vector in vectors() {
        for name in [
            "record",
            "sector_1_key_a",
            "sector_1_key_b",
            "password",
            "pack",
        ] {
            assert!(readme.contains(vector.text(name)), "{name} is missing");
        }
    }
}

#[test]
fn refuses_another_cards_record_and_unknown_keys() {
    let [first, _, older] = &vectors()[..] else {
        panic!("three vectors");
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
        panic!("three vectors");
    };
    let encoded = |change: fn(&mut KeyRecord)| {
        let mut record = vector.record();
        change(&mut record);
        record.encode(&vector.uid(), &vector.site_key())
    };
    let second = |second| Timestamp::from_second(second).unwrap();
    assert_eq!(
        encoded(|record| record.entrances = vec![1, 2, 3, 4]),
        Err(RecordContentError::TooManyEntrances(4))
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
        panic!("three vectors");
    };
    let (uid, site_key) = (vector.uid(), vector.site_key());
    // The count, the reserved byte, an unused entrance number, and an end before the start.
    for (offset, value) in [(32, 4), (32, 2), (33, 1), (24, 0xFF), (39, 0)] {
        let mut bytes = vector.bytes("record");
        bytes[offset] = value;
        if offset == 39 {
            bytes[38] = 0;
        }
        let mac = site_key.key.record_mac(&uid, &bytes[..40]);
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
        panic!("three vectors");
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
            blocks: image.sectors[0]
                .blocks
                .iter()
                .map(|block| BlockContents {
                    block: image.sectors[0].sector * 4 + block.block,
                    data: block.data,
                })
                .collect(),
            unread: Vec::new(),
        },
        CardImage::Type2(image) => CardContents::Type2 {
            first_page: image.pages[0].page,
            data: image.pages.iter().flat_map(|page| page.data).collect(),
        },
    }
}

#[test]
fn lays_the_record_out_on_every_technology_and_finds_it_again() {
    for vector in vectors() {
        let keys = [vector.site_key()];
        for technology in KINDS {
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
    let [vector, _, older] = &vectors()[..] else {
        panic!("three vectors");
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
        panic!("three vectors");
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
        proptest::collection::vec(1..=u16::MAX, 0..=3),
    )
        .prop_map(|(id, issued_at, starts_at, ends_at, entrances)| KeyRecord {
            credential_id: Uuid::from_u128(id),
            issued_at,
            starts_at: starts_at.filter(|starts| ends_at.is_none_or(|ends| ends >= *starts)),
            ends_at,
            entrances,
        })
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
        record in any_record(), uid in any_uid(), key in any_site_key(), bit in 0usize..RECORD_LENGTH * 8,
    ) {
        let mut bytes = record.encode(&uid, &key).unwrap();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let expected = match bit / 8 {
            0 | 1 => KeyRecordError::NotARecord,
            2 => KeyRecordError::UnknownVersion(bytes[2]),
            3 => KeyRecordError::UnknownKeyVersion(bytes[3]),
            _ => KeyRecordError::NotAuthentic,
        };
        prop_assert_eq!(decode(&uid, &bytes, &[key]), Err(expected));
    }

    #[test]
    fn no_random_bytes_are_decoded(
        bytes in proptest::collection::vec(any::<u8>(), 0..64), uid in any_uid(), key in any_site_key(),
    ) {
        prop_assert_eq!(decode(&uid, &bytes, std::slice::from_ref(&key)), Err(KeyRecordError::NotARecord));
        let mut headed = bytes;
        headed.resize(RECORD_LENGTH, 0);
        headed[..4].copy_from_slice(&[b'E', b'K', 1, key.version]);
        prop_assert_eq!(decode(&uid, &headed, &[key]), Err(KeyRecordError::NotAuthentic));
    }
}
