//! The power fails after each byte of each write: what was torn can be encoded again, with the same credential and with
//! another one.

use super::{
    Failed, encode,
    reader::Reader,
    record::{KINDS, image, layouts, site_key, used_card},
    verified,
};
use crate::card::{
    CardImage, Technology, job_error,
    key_record::{Layout, VersionedSiteKey},
    virtual_card::{CardKind, TornState, VirtualCard},
};

/// One write that was torn.
struct Tear {
    /// Counted from 1.
    write: u64,
    /// So many bytes were written.
    bytes: u8,
    /// The card afterwards.
    card: VirtualCard,
}

/// Encodes once for every byte of every write, each time with the power failing there.
fn tears(start: &VirtualCard, image: &CardImage) -> Vec<Tear> {
    let unit = match image {
        CardImage::MifareClassic(_) => 16,
        CardImage::Type2(_) => 4,
        CardImage::Magstripe(_) => panic!("a stripe does not tear"),
    };
    let mut tears = Vec::new();
    for write in 1.. {
        for bytes in 0..=unit {
            let mut reader = Reader::holding(start.clone());
            reader.card.tear_at_write(write, TornState::First(bytes));
            match encode(&mut reader, image) {
                Ok(()) => return tears,
                Err(failed) => assert!(failed.changed(), "{failed:?}"),
            }
            let card = reader.again().card;
            tears.push(Tear { write, bytes, card });
        }
    }
    tears
}

/// The tears after which one of the images cannot be written; those cards are left as they are.
fn lost(start: &VirtualCard, image: &CardImage, next: &[CardImage]) -> Vec<(u64, u8)> {
    let mut lost = Vec::new();
    for torn in tears(start, image) {
        for image in next {
            let mut reader = Reader::holding(torn.card.clone());
            match encode(&mut reader, image) {
                Ok(()) => assert_eq!(verified(&mut reader.again(), image), Ok(())),
                Err(Failed::Preparing(error)) => {
                    assert_eq!(reader.card.memory(), torn.card.memory());
                    let told = job_error(&error, false).message;
                    assert!(told.contains("use another card"), "{told}");
                    lost.push((torn.write, torn.bytes));
                }
                Err(failed @ Failed::Writing(_)) => panic!("{failed:?}"),
            }
        }
    }
    lost.dedup();
    lost
}

/// The same credential, another one, and both after a new site key came.
fn next_images(layout: Layout, reader: &Reader, keys: &[VersionedSiteKey]) -> Vec<CardImage> {
    let newer = [&[site_key(9)], keys].concat();
    [(2, keys), (3, keys), (2, &newer), (3, &newer)]
        .into_iter()
        .map(|(entrance, keys)| image(layout, reader, entrance, keys))
        .collect()
}

fn is_classic(kind: CardKind) -> bool {
    matches!(
        kind.technology(),
        Technology::MifareClassicMini | Technology::MifareClassic1k | Technology::MifareClassic4k
    )
}

#[test]
fn a_used_card_torn_after_any_byte_takes_the_same_and_another_credential() {
    let keys = [site_key(1)];
    for (kind, layout) in layouts()
        .map(|layout| KINDS.map(|kind| (kind, layout)))
        .concat()
    {
        let start = used_card(kind, layout, false);
        let image = image(layout, &start, 2, &keys);
        let next = next_images(layout, &start, &keys);
        assert_eq!(lost(&start.card, &image, &next), [], "{kind}");
    }
}

#[test]
fn a_card_torn_after_any_byte_while_its_site_key_changes_takes_both_but_for_half_a_key_b() {
    let keys = [site_key(2), site_key(1)];
    for (kind, layout) in layouts()
        .map(|layout| KINDS.map(|kind| (kind, layout)))
        .concat()
    {
        let start = used_card(kind, layout, false);
        let image = image(layout, &start, 2, &keys);
        let next = next_images(layout, &start, &keys);
        // Three blocks, then the trailer: the only key that may write is neither the old one nor the new one.
        let half_a_key_b: Vec<_> = (11..16).map(|bytes| (4, bytes)).collect();
        let expected = if is_classic(kind) {
            half_a_key_b
        } else {
            vec![]
        };
        assert_eq!(lost(&start.card, &image, &next), expected, "{kind}");
    }
}

#[test]
fn a_fresh_card_torn_after_any_byte_takes_both_but_for_half_a_trailer() {
    let keys = [site_key(1)];
    for (kind, layout) in layouts()
        .map(|layout| KINDS.map(|kind| (kind, layout)))
        .concat()
    {
        let start = Reader::with(kind);
        let image = image(layout, &start, 2, &keys);
        let next = next_images(layout, &start, &keys);
        // Half a key A, access bits that contradict each other, or a key B that no candidate list names.
        let half = (1..16).map(|bytes| (4, bytes)).collect();
        let expected = if is_classic(kind) { half } else { vec![] };
        assert_eq!(lost(&start.card, &image, &next), expected, "{kind}");
    }
}
