//! The test vectors, and that the README shows them.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::super::{KeyRecord, SiteKey, VersionedSiteKey, decode};
use crate::card::{KeySlot, Uid, hex};

const VECTORS: &str = include_str!("../vectors.txt");

pub(super) struct Vector(BTreeMap<&'static str, &'static str>);

impl Vector {
    pub(super) fn text(&self, name: &str) -> &'static str {
        self.0.get(name).unwrap_or_else(|| panic!("no {name}"))
    }

    pub(super) fn optional(&self, name: &str) -> Option<&'static str> {
        self.0.get(name).copied()
    }

    pub(super) fn bytes(&self, name: &str) -> Vec<u8> {
        hex::decode(self.text(name)).unwrap()
    }

    /// The record and its extension, if it has one.
    pub(super) fn record_bytes(&self) -> Vec<u8> {
        let extension = self.0.get("extension").map(|text| hex::decode(text));
        [
            self.bytes("record"),
            extension.map_or_else(Vec::new, Option::unwrap),
        ]
        .concat()
    }

    pub(super) fn uid(&self) -> Uid {
        self.text("uid").parse().unwrap()
    }

    pub(super) fn time(&self, name: &str) -> Option<Timestamp> {
        let text = self.text(name);
        (text != "none").then(|| Timestamp::from_second(text.parse().unwrap()).unwrap())
    }

    pub(super) fn site_key(&self) -> VersionedSiteKey {
        VersionedSiteKey {
            version: self.text("key_version").parse().unwrap(),
            key: SiteKey::new(self.bytes("site_key").try_into().unwrap()),
        }
    }

    pub(super) fn record(&self) -> KeyRecord {
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

pub(super) fn vectors() -> Vec<Vector> {
    let vectors: Vec<_> = VECTORS
        .split("\n\n")
        .map(|block| {
            let lines = block.lines().filter(|line| !line.starts_with('#'));
            Vector(lines.filter_map(|line| line.split_once(' ')).collect())
        })
        .filter(|vector| !vector.0.is_empty())
        .collect();
    assert_eq!(vectors.len(), 5);
    vectors
}

#[test]
fn encodes_and_decodes_the_vectors() {
    for vector in vectors() {
        let (uid, key, record) = (vector.uid(), vector.site_key(), vector.record());
        let bytes = vector.record_bytes();
        assert_eq!(record.encode(&uid, &key).unwrap(), bytes);
        assert_eq!(decode(&uid, &bytes, &[key]), Ok(record));
    }
}

#[test]
fn derives_the_keys_of_the_vectors() {
    for vector in vectors() {
        let (uid, site_key) = (vector.uid(), vector.site_key());
        let key = |slot, sector| site_key.key.classic_key(slot, sector, &uid).0.to_vec();
        assert_eq!(key(KeySlot::A, 1), vector.bytes("sector_1_key_a"));
        assert_eq!(key(KeySlot::B, 1), vector.bytes("sector_1_key_b"));
        if vector.0.contains_key("extension") {
            assert_eq!(key(KeySlot::A, 2), vector.bytes("sector_2_key_a"));
            assert_eq!(key(KeySlot::B, 2), vector.bytes("sector_2_key_b"));
        }
        let password = site_key.key.type2_password(&uid);
        assert_eq!(password.password.0.to_vec(), vector.bytes("password"));
        assert_eq!(password.acknowledge.to_vec(), vector.bytes("pack"));
    }
}

#[test]
fn the_readme_shows_the_vectors() {
    let readme = include_str!("../README.md");
    for vector in vectors() {
        for (name, text) in &vector.0 {
            assert!(
                readme.contains(&format!("{name} {text}\n")),
                "{name} is missing"
            );
        }
    }
}
