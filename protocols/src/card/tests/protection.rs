//! Where the protection of Ultralight EV1 and NTAG21x may begin, and what is known of it without the password.

use super::{
    ALLOWED, Failed, encode, encode_under, read,
    reader::{Reader, Step},
    verified,
};
use crate::card::{
    CardContents, CardError, CardImage, PageImage, Password, Place, ReadPlan, Type2Image,
    Type2Protection, Type2Read, Uid,
    virtual_card::{CardKind, TornState, VirtualCard},
};

/// Cards that know passwords, and the page of CFG0.
const KINDS: [(CardKind, u8); 5] = [
    (CardKind::UltralightEv1Ul11, 0x10),
    (CardKind::UltralightEv1Ul21, 0x25),
    (CardKind::Ntag213, 0x29),
    (CardKind::Ntag215, 0x83),
    (CardKind::Ntag216, 0xE3),
];
const OLD: [u8; 4] = *b"old!";
const NEW: [u8; 4] = *b"new!";
const FACTORY: [u8; 4] = [0xFF; 4];

fn image(passwords: &[[u8; 4]], protection: Option<Type2Protection>, fill: u8) -> CardImage {
    CardImage::Type2(Type2Image {
        passwords: passwords.iter().copied().map(Password).collect(),
        pages: (4..=7)
            .map(|page| PageImage {
                page,
                data: [page, fill, 0x33, 0x44],
            })
            .collect(),
        protection,
    })
}

fn protection(password: [u8; 4], first: u8, reading: bool) -> Option<Type2Protection> {
    Some(Type2Protection {
        password: Password(password),
        acknowledge: [0xBE, password[0]],
        first_protected_page: first,
        protect_reading: reading,
    })
}

fn passwords_given(reader: &Reader) -> usize {
    let given = reader.log.iter().filter(|step| **step == Step::Other(0x1B));
    given.count()
}

/// A card that `OLD` protects from page `first` on.
fn protected_card(kind: CardKind, cfg0: u8, first: u8, access: u8) -> Reader {
    let mut reader = Reader::with(kind);
    let cfg0 = usize::from(cfg0) * 4;
    reader.patch(cfg0 + 3, &[first]);
    reader.patch(cfg0 + 4, &[access]);
    reader.patch(cfg0 + 8, &OLD);
    reader
}

#[test]
fn an_ntag216_protected_from_cfg1_on_is_verified_after_its_power_went() {
    let image = image(&[], protection(NEW, 0xE4, true), 1);
    let mut reader = Reader::with(CardKind::Ntag216);
    assert_eq!(encode(&mut reader, &image), Ok(()));
    assert_eq!(verified(&mut reader.again(), &image), Ok(()));
}

#[test]
fn a_card_protected_from_any_page_on_is_verified_and_encoded_again() {
    for (kind, cfg0) in KINDS {
        for first in (4..cfg0 + 4).chain([u8::MAX]) {
            for reading in [false, true] {
                let context = format!("{kind} {first:#04x} {reading}");
                let one = image(&[], protection(OLD, first, reading), 1);
                let mut reader = Reader::with(kind);
                assert_eq!(encode(&mut reader, &one), Ok(()), "{context}");
                let mut reader = reader.again();
                assert_eq!(verified(&mut reader, &one), Ok(()), "{context}");
                for (fill, password) in [(2, OLD), (3, NEW)] {
                    let other = image(&[OLD], protection(password, first, !reading), fill);
                    let mut reader = Reader::holding(reader.card.clone()).again();
                    assert_eq!(encode(&mut reader, &other), Ok(()), "{context}");
                    let mut reader = reader.again();
                    assert_eq!(verified(&mut reader, &other), Ok(()), "{context}");
                    let differs = verified(&mut reader.again(), &one).unwrap_err();
                    assert!(differs.card_differs(), "{context}: {differs}");
                }
            }
        }
    }
}

#[test]
fn pages_before_the_protection_are_written_without_a_password() {
    for (kind, cfg0) in KINDS {
        for first in 4..cfg0 + 4 {
            // One wrong password would lock the card.
            for access in [0x01, 0x81] {
                let mut reader = protected_card(kind, cfg0, first, access);
                let before = reader.card.memory().to_vec();
                let image = image(&[], None, 1);
                let encoded = encode(&mut reader, &image);
                assert_eq!(passwords_given(&reader), 0);
                if first > 7 {
                    assert_eq!(encoded, Ok(()), "{kind} {first:#04x}");
                    assert_eq!(verified(&mut reader.again(), &image), Ok(()));
                } else {
                    assert!(!encoded.unwrap_err().changed());
                    assert_eq!(reader.card.memory(), before);
                }
            }
        }
    }
}

#[test]
fn a_card_torn_while_its_protection_changes_opens_again() {
    for (kind, cfg0) in KINDS {
        for first in [4, cfg0 - 1, cfg0, cfg0 + 1, cfg0 + 2, cfg0 + 3] {
            for (access, reading) in [(0, false), (0, true), (0x80, false), (0x80, true)] {
                for state in [TornState::Old, TornState::New, TornState::Mixed] {
                    torn_at_every_write(kind, cfg0, first, access, reading, state);
                }
            }
        }
    }
}

fn torn_at_every_write(
    kind: CardKind,
    cfg0: u8,
    first: u8,
    access: u8,
    reading: bool,
    state: TornState,
) {
    let wanted = |passwords: &[[u8; 4]]| image(passwords, protection(NEW, first, reading), 1);
    for nth in 1.. {
        let mut reader = protected_card(kind, cfg0, first, access);
        reader.card.tear_at_write(nth, state);
        match encode(&mut reader, &wanted(&[OLD])) {
            Ok(()) => {
                // Four pages, AUTH0, PWD, PACK, AUTH0, and PROT where it changes.
                assert_eq!(nth, 9 + u64::from((access != 0) != reading));
                break;
            }
            Err(failed) => assert!(failed.changed()),
        }
        let context = format!("{kind} {first:#04x} {access:#04x} {reading} {nth} {state:?}");
        let mut reader = reader.again();
        let encoded = encode(&mut reader, &wanted(&[OLD]));
        if let Err(failed) = &encoded {
            // Only where the image is complete, and hides the configuration, is the new password the one to try first.
            let at_the_end = CardError::TriesLimited { tried: 1, known: 2 };
            assert_eq!(*failed, Failed::Preparing(at_the_end), "{context}");
            let mut reader = Reader::holding(reader.card).again();
            assert_eq!(verified(&mut reader, &wanted(&[OLD])), Ok(()), "{context}");
            let again = encode(&mut reader.again(), &wanted(&[NEW]));
            assert_eq!(again, Ok(()), "{context}");
            continue;
        }
        assert_eq!(
            verified(&mut reader.again(), &wanted(&[])),
            Ok(()),
            "{context}"
        );
    }
}

#[test]
fn a_password_that_stays_is_not_written() {
    let mut reader = protected_card(CardKind::Ntag213, 0x29, 4, 0x80);
    let image = image(&[OLD], protection(OLD, 5, true), 1);
    assert_eq!(encode(&mut reader, &image), Ok(()));
    let configuration: Vec<&Step> = reader
        .log
        .iter()
        .filter(|step| matches!(step, Step::Write(0x29..)))
        .collect();
    assert_eq!(configuration, [&Step::Write(0x2C), &Step::Write(0x29)]);
}

#[test]
fn comparing_gives_no_password_where_the_card_shows_that_it_differs() {
    for (other, differs) in [
        (protection(NEW, 6, false), Place::Page(0x29)),
        (protection(NEW, 4, true), Place::Page(0x29)),
        (protection(NEW, 4, false), Place::Page(4)),
    ] {
        let mut reader = protected_card(CardKind::Ntag213, 0x29, 4, 0x02);
        let differing = verified(&mut reader, &image(&[OLD], other, 1));
        assert_eq!(differing, Err(CardError::Differs { at: differs }));
        assert_eq!(passwords_given(&reader), 0);
    }
}

#[test]
fn comparing_gives_only_the_password_that_the_image_sets() {
    for access in [0x00, 0x80] {
        let mut reader = protected_card(CardKind::Ntag213, 0x29, 4, access);
        let image = image(&[OLD], protection(NEW, 4, access != 0), 1);
        reader.patch(
            16,
            &[[4, 1], [5, 1], [6, 1], [7, 1]]
                .map(|[a, b]| [a, b, 0x33, 0x44])
                .concat(),
        );
        let differs = verified(&mut reader, &image).unwrap_err();
        assert!(differs.card_differs(), "{differs}");
        assert_eq!(passwords_given(&reader), 1);
    }
}

#[test]
fn a_card_that_one_wrong_password_locks_is_protected_only_with_leave() {
    let mut reader = protected_card(CardKind::Ntag213, 0x29, 0xFF, 0x01);
    let image = image(&[], protection(NEW, 4, false), 1);
    assert_eq!(
        encode(&mut reader, &image),
        Err(Failed::Preparing(CardError::TriesLimited {
            tried: 0,
            known: 1
        }))
    );
    assert_eq!(encode_under(&mut reader.again(), &image, ALLOWED), Ok(()));
}

#[test]
fn the_lock_bytes_are_read_where_reading_them_needs_the_password() {
    for (kind, cfg0) in [(CardKind::Ntag215, 0x83), (CardKind::Ntag216, 0xE3)] {
        let mut reader = protected_card(kind, cfg0, cfg0 - 1, 0x80);
        let pages = vec![PageImage {
            page: 16,
            data: [1; 4],
        }];
        let image = CardImage::Type2(Type2Image {
            passwords: vec![Password(OLD)],
            pages,
            protection: None,
        });
        assert_eq!(encode(&mut reader, &image), Ok(()));
        assert_eq!(verified(&mut reader.again(), &image), Ok(()));
    }
}

#[test]
fn pages_of_configuration_protect_only_by_a_password_that_is_known() {
    let (cfg0, cfg1) = (0x29, 0x2A);
    let locking = |passwords: &[[u8; 4]]| {
        let page = |page, data| PageImage { page, data };
        CardImage::Type2(Type2Image {
            passwords: passwords.iter().copied().map(Password).collect(),
            pages: vec![
                page(4, [1; 4]),
                page(cfg0, [4, 0, 0, 4]),
                page(cfg1, [0x80, 5, 0, 0]),
            ],
            protection: None,
        })
    };
    for (passwords, opens) in [
        (vec![], false),
        (vec![NEW], false),
        // Once the configuration is hidden, only the first will be tried.
        (vec![NEW, FACTORY], false),
        (vec![FACTORY, NEW], true),
    ] {
        let mut reader = Reader::with(CardKind::Ntag213);
        let before = reader.card.memory().to_vec();
        let image = locking(&passwords);
        let encoded = encode_under(&mut reader, &image, ALLOWED);
        if opens {
            assert_eq!(encoded, Ok(()));
            assert_eq!(verified(&mut reader.again(), &image), Ok(()));
        } else {
            let failed = encoded.unwrap_err();
            assert!(matches!(failed.error(), CardError::NoPassword { .. }));
            assert!(!failed.changed());
            assert_eq!(reader.card.memory(), before);
        }
    }
}

#[test]
fn pages_behind_the_readable_ones_are_never_taken_from_the_cards_beginning() {
    let data = |reader: &mut Reader, first_page, last_page| {
        let plan = ReadPlan::Type2(Type2Read {
            first_page,
            last_page,
            last_extension_page: None,
            passwords: Vec::new(),
        });
        match read(reader, &plan).unwrap() {
            CardContents::Type2 { data, .. } => data,
            other => panic!("{other:?}"),
        }
    };
    // Its first byte, in the place of AUTH1, would mean that reading is free.
    let uid = Uid::new(&[0x05, 1, 2, 3, 4, 5, 6]).unwrap();
    let mut reader = Reader::holding(VirtualCard::new(CardKind::UltralightC, Some(uid)).unwrap());
    let bytes = reader.card.memory()[0x29 * 4..0x2C * 4].to_vec();
    assert_eq!(data(&mut reader, 0x29, 0x2F), bytes);
    // AUTH0 on AUTH1.
    reader.patch(0x2A * 4, &[0x2B]);
    let bytes = reader.card.memory()[0x28 * 4..0x2B * 4].to_vec();
    assert_eq!(data(&mut reader.again(), 0x28, 0x2F), bytes);
}
