//! A card that leaves the reader for a moment, and is written somewhere else meanwhile: the same card, with the same UID and
//! the same keys.

use super::{
    super::{
        BlockImage, CandidateKey, CardImage, ClassicImage, ClassicKey, KeySlot, PageImage,
        Password, SectorImage, TrailerImage, Type2Image, Type2Protection, virtual_card::CardKind,
    },
    encode,
    reader::{Reader, Trouble},
    verified,
};

fn classic(fill: u8, sectors: &[u8], trailer: bool) -> CardImage {
    let sectors = sectors.iter().map(|sector| SectorImage {
        sector: *sector,
        keys: [[0xA1; 6], [0xFF; 6]]
            .map(|key| CandidateKey {
                slot: KeySlot::A,
                key: ClassicKey(key),
            })
            .to_vec(),
        blocks: (0..3)
            .map(|block| BlockImage {
                block,
                data: [fill ^ block; 16],
            })
            .collect(),
        trailer: trailer.then_some(TrailerImage {
            key_a: ClassicKey([0xA1; 6]),
            access_bits: [0x7F, 0x07, 0x88],
            user_byte: 0x42,
            key_b: ClassicKey([0xB2; 6]),
        }),
    });
    CardImage::MifareClassic(ClassicImage {
        sectors: sectors.collect(),
    })
}

fn type2(fill: u8, protection: Option<Type2Protection>) -> CardImage {
    CardImage::Type2(Type2Image {
        passwords: vec![Password([7; 4])],
        pages: (4..12)
            .map(|page| PageImage {
                page,
                data: [fill ^ page; 4],
            })
            .collect(),
        protection,
    })
}

fn protection(reading: bool) -> Option<Type2Protection> {
    Some(Type2Protection {
        password: Password([7; 4]),
        acknowledge: [1, 2],
        first_protected_page: 6,
        protect_reading: reading,
    })
}

/// Takes the card away before each exchange in turn, and writes `other` on it. Returns how often it was written all the
/// same.
fn away_before_every_exchange(kind: CardKind, image: &CardImage, other: &CardImage) -> usize {
    let mut blank = Reader::with(kind);
    encode(&mut blank, image).unwrap();
    let exchanges = blank.log.len();
    let mut elsewhere = Reader::with(kind);
    encode(&mut elsewhere, other).unwrap();
    let elsewhere = elsewhere.card.memory().to_vec();
    let mut successes = 0;
    for at in 0..exchanges {
        let mut reader = Reader::with(kind);
        reader.elsewhere = elsewhere.clone();
        reader.trouble = Some((at, Trouble::Elsewhere));
        if encode(&mut reader, image).is_ok() {
            successes += 1;
            let held = verified(&mut reader.again(), image);
            assert_eq!(held, Ok(()), "away before exchange {at} of {exchanges}");
        }
    }
    successes
}

#[test]
fn success_is_never_told_of_bytes_that_were_overwritten_elsewhere() {
    let access: [(CardImage, CardImage); 4] = [
        (classic(1, &[1], true), classic(9, &[1], true)),
        (classic(1, &[1], false), classic(9, &[1], false)),
        (classic(1, &[1, 2, 5], true), classic(9, &[1, 2, 5], true)),
        (classic(1, &[3, 4], true), classic(9, &[4], true)),
    ];
    for (image, other) in &access {
        away_before_every_exchange(CardKind::Classic1k, image, other);
    }
    for protect in [None, protection(false), protection(true)] {
        let (image, other) = (type2(1, protect.clone()), type2(9, protect));
        away_before_every_exchange(CardKind::Ntag213, &image, &other);
    }
    away_before_every_exchange(CardKind::Ultralight, &type2(1, None), &type2(9, None));
}

#[test]
fn a_card_that_was_away_and_came_back_as_it_was_is_read_once_more() {
    let image = classic(1, &[1, 2], true);
    let away = away_before_every_exchange(CardKind::Classic1k, &image, &image);
    assert!(away > 0, "no exchange was survived");
}

#[test]
fn a_look_counts_only_when_all_was_read_in_one_go() {
    for (kind, image, other) in [
        (
            CardKind::Classic1k,
            classic(1, &[1, 2], true),
            classic(9, &[1, 2], true),
        ),
        (
            CardKind::Classic1k,
            classic(1, &[1, 2], false),
            classic(9, &[1, 2], false),
        ),
        (
            CardKind::Ntag213,
            type2(1, protection(true)),
            type2(9, protection(true)),
        ),
        (CardKind::Ultralight, type2(1, None), type2(9, None)),
    ] {
        let mut written = Reader::with(kind);
        encode(&mut written, &image).unwrap();
        let mut elsewhere = Reader::with(kind);
        encode(&mut elsewhere, &other).unwrap();
        let mut looked = Reader::holding(written.card.clone());
        verified(&mut looked, &image).unwrap();
        for at in 0..looked.log.len() {
            let mut reader = Reader::holding(written.card.clone());
            reader.elsewhere = elsewhere.card.memory().to_vec();
            reader.trouble = Some((at, Trouble::Elsewhere));
            assert!(
                verified(&mut reader, &image).is_err(),
                "away before exchange {at}"
            );
        }
    }
}
