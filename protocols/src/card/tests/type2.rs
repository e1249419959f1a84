//! Ultralight and NTAG beyond the key record.

use super::{
    ALLOWED, Failed, encode, encode_under, read,
    reader::{Reader, Step},
    verified,
};
use crate::card::{
    CardContents, CardError, CardImage, ImageFlaw, PageImage, Password, Place, ReadPlan,
    Technology, Type2Image, Type2Protection, Type2Read, virtual_card::CardKind,
};

const NTAG213_CFG0: usize = 0x29 * 4;
const NTAG213_CFG1: usize = 0x2A * 4;
const NTAG213_PWD: usize = 0x2B * 4;

fn pages(pages: impl IntoIterator<Item = u8>) -> Type2Image {
    Type2Image {
        passwords: Vec::new(),
        pages: pages
            .into_iter()
            .map(|page| PageImage {
                page,
                data: [page, !page, 0x33, 0x44],
            })
            .collect(),
        protection: None,
    }
}

fn protected(image: Type2Image) -> Type2Image {
    Type2Image {
        protection: Some(Type2Protection {
            password: Password(*b"new!"),
            acknowledge: [0xBE, 0xEF],
            first_protected_page: 4,
            protect_reading: true,
        }),
        ..image
    }
}

fn plan(first_page: u8, last_page: u8, passwords: &[[u8; 4]]) -> ReadPlan {
    ReadPlan::Type2(Type2Read {
        first_page,
        last_page,
        last_extension_page: None,
        passwords: passwords.iter().copied().map(Password).collect(),
    })
}

fn data(reader: &mut Reader, plan: &ReadPlan) -> Vec<u8> {
    match read(reader, plan).unwrap() {
        CardContents::Type2 { data, .. } => data,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_user_page_of_every_card_is_written_verified_and_read() {
    for (kind, last) in [
        (CardKind::Ultralight, 0x0F),
        (CardKind::UltralightC, 0x27),
        (CardKind::UltralightEv1Ul11, 0x0F),
        (CardKind::UltralightEv1Ul21, 0x23),
        (CardKind::Ntag213, 0x27),
        (CardKind::Ntag215, 0x81),
        (CardKind::Ntag216, 0xE1),
    ] {
        let mut reader = Reader::with(kind);
        let image = pages(4..=last);
        let bytes: Vec<u8> = image.pages.iter().flat_map(|page| page.data).collect();
        let image = CardImage::Type2(image);
        assert_eq!(encode(&mut reader, &image), Ok(()), "{kind}");
        let mut reader = reader.again();
        assert_eq!(verified(&mut reader, &image), Ok(()), "{kind}");
        assert_eq!(data(&mut reader, &plan(4, last, &[])), bytes, "{kind}");
        // A plan beyond the card's end gives what there is.
        let all = data(&mut reader, &plan(0, u8::MAX, &[]));
        assert!(all.len() >= 16 + bytes.len(), "{kind}");
        assert_eq!(all[16..][..bytes.len()], bytes, "{kind}");
    }
}

#[test]
fn neighbouring_pages_are_read_back_together() {
    let mut reader = Reader::with(CardKind::Ntag216);
    encode(&mut reader, &CardImage::Type2(pages(4..=0xE1))).unwrap();
    let fast_reads = reader.log.iter().filter(|step| **step == Step::Other(0x3A));
    // The configuration, then 222 pages, at most 60 in one answer.
    assert_eq!(fast_reads.count(), 1 + 4);
}

fn refused(kind: CardKind, image: Type2Image) -> CardError {
    let mut reader = Reader::with(kind);
    let failed = encode(&mut reader, &CardImage::Type2(image)).unwrap_err();
    assert_eq!(reader.log, [], "nothing is sent");
    failed.error().clone()
}

#[test]
fn flawed_images_are_refused_before_a_byte_is_sent() {
    for (kind, image, flaw) in [
        (CardKind::Ntag213, pages([]), ImageFlaw::Empty),
        (
            CardKind::Ntag213,
            pages([4, 4]),
            ImageFlaw::Twice(Place::Page(4)),
        ),
        (
            CardKind::Ntag213,
            pages([1]),
            ImageFlaw::NeverWritten(Place::Page(1)),
        ),
        (
            CardKind::Ntag213,
            pages([2]),
            ImageFlaw::NeverWritten(Place::Page(2)),
        ),
        (
            CardKind::Ntag213,
            pages([0x2B]),
            ImageFlaw::NeverWritten(Place::Page(0x2B)),
        ),
        (
            CardKind::UltralightC,
            pages([0x2C]),
            ImageFlaw::NeverWritten(Place::Page(0x2C)),
        ),
        (
            CardKind::Ntag213,
            pages([3]),
            ImageFlaw::Irreversible(Place::Page(3)),
        ),
        (
            CardKind::Ntag213,
            pages([0x28]),
            ImageFlaw::Irreversible(Place::Page(0x28)),
        ),
        (
            CardKind::Ntag213,
            pages([0x2A]),
            ImageFlaw::Irreversible(Place::Page(0x2A)),
        ),
        (
            CardKind::UltralightC,
            pages([0x29]),
            ImageFlaw::Irreversible(Place::Page(0x29)),
        ),
    ] {
        assert_eq!(refused(kind, image), CardError::Image(flaw));
    }
}

#[test]
fn cards_that_are_too_small_or_know_no_password_are_told_before_a_byte_is_sent() {
    for (kind, image, page, got) in [
        (
            CardKind::Ultralight,
            pages(4..=0x10),
            0x10,
            Technology::Ultralight,
        ),
        (
            CardKind::UltralightEv1Ul11,
            pages(4..=0x10),
            0x10,
            Technology::UltralightEv1Ul11,
        ),
        (
            CardKind::UltralightEv1Ul11,
            pages(4..=0x27),
            0x27,
            Technology::UltralightEv1Ul11,
        ),
        (
            CardKind::Ntag213,
            pages([4, 0xE1]),
            0xE1,
            Technology::Ntag213,
        ),
    ] {
        assert_eq!(
            refused(kind, image),
            CardError::TooSmall {
                needed: Place::Page(page),
                got,
            }
        );
    }
    for kind in [CardKind::Ultralight, CardKind::UltralightC] {
        let error = refused(kind, protected(pages([4])));
        assert!(matches!(error, CardError::WrongTechnology { .. }));
    }
    let error = refused(CardKind::Classic1k, pages([4]));
    assert!(matches!(error, CardError::WrongTechnology { .. }));
}

#[test]
fn locked_pages_are_told_before_a_byte_changes() {
    // The static lock bytes lock page 9, the dynamic ones pages 32 and 33.
    for (offset, lock, image, page) in [
        (2 * 4 + 3, 0x02, pages(4..=15), 9),
        (0x28 * 4 + 1, 0x01, pages(4..=0x27), 32),
    ] {
        let mut reader = Reader::with(CardKind::Ntag213);
        reader.patch(offset, &[lock]);
        let failed = encode(&mut reader, &CardImage::Type2(image)).unwrap_err();
        let at = Place::Page(page);
        assert_eq!(
            failed,
            Failed::Preparing(CardError::ReadOnly { at, fault: None })
        );
        assert_eq!(reader.card.writes(), 0);
    }
}

#[test]
fn one_way_pages_are_written_last_and_only_where_they_can_be() {
    let mut image = pages([0x28, 4, 3]);
    image.pages[0].data = [0x01, 0, 0, 0];
    image.pages[2].data = [0xE1, 0x10, 0x12, 0x0F];
    let image = CardImage::Type2(image);
    let mut reader = Reader::with(CardKind::Ntag213);
    assert_eq!(encode_under(&mut reader, &image, ALLOWED), Ok(()));
    assert_eq!(reader.page(3), [0xE1, 0x10, 0x12, 0x0F]);
    assert_eq!(reader.page(0x28)[0], 0x01);
    let last = reader
        .log
        .iter()
        .rfind(|step| matches!(step, Step::Write(_)));
    assert_eq!(last, Some(&Step::Write(0x28)));
    assert_eq!(verified(&mut reader.again(), &image), Ok(()));

    let mut clearing = pages([3]);
    clearing.pages[0].data = [0; 4];
    let mut reader = Reader::with(CardKind::Ntag213);
    reader.patch(12, &[0xE1, 0x10, 0x12, 0]);
    let failed = encode_under(&mut reader, &CardImage::Type2(clearing), ALLOWED).unwrap_err();
    assert!(!failed.changed());
    assert!(matches!(
        failed.error(),
        CardError::ReadOnly {
            at: Place::Page(3),
            ..
        }
    ));
}

#[test]
fn a_password_is_set_last_and_auth0_last_of_all() {
    for kind in [
        CardKind::UltralightEv1Ul11,
        CardKind::UltralightEv1Ul21,
        CardKind::Ntag213,
        CardKind::Ntag215,
        CardKind::Ntag216,
    ] {
        let mut reader = Reader::with(kind);
        let image = CardImage::Type2(protected(pages(4..=7)));
        assert_eq!(encode(&mut reader, &image), Ok(()), "{kind}");
        let writes: Vec<u8> = reader
            .log
            .iter()
            .filter_map(|step| match step {
                Step::Write(page) => Some(*page),
                _ => None,
            })
            .collect();
        let [4, 5, 6, 7, password, acknowledge, access, auth0] = writes[..] else {
            panic!("{kind}: {writes:?}");
        };
        assert_eq!(
            [password, acknowledge, access].map(|page| page - auth0),
            [2, 3, 1]
        );
        let mut reader = reader.again();
        assert_eq!(verified(&mut reader, &image), Ok(()), "{kind}");
        let mut reader = reader.again();
        assert_eq!(data(&mut reader, &plan(0, 7, &[])).len(), 16, "{kind}");
        let mut reader = reader.again();
        let opened = data(&mut reader, &plan(0, 7, &[*b"new!"]));
        assert_eq!(opened.len(), 32, "{kind}");
    }
}

/// An NTAG213 that is protected by the password `old!`.
fn protected_card(auth0: u8, access: u8) -> Reader {
    let mut reader = Reader::with(CardKind::Ntag213);
    reader.patch(NTAG213_PWD, b"old!\x01\x02\0\0");
    reader.patch(NTAG213_CFG1, &[access]);
    reader.patch(NTAG213_CFG0 + 3, &[auth0]);
    reader
}

fn with_passwords(image: Type2Image, passwords: &[[u8; 4]]) -> CardImage {
    CardImage::Type2(Type2Image {
        passwords: passwords.iter().copied().map(Password).collect(),
        ..image
    })
}

#[test]
fn a_protected_card_is_opened_by_one_of_the_candidates() {
    let mut reader = protected_card(4, 0);
    let image = with_passwords(protected(pages(4..=15)), &[*b"none", *b"old!"]);
    assert_eq!(encode(&mut reader, &image), Ok(()));
    assert_eq!(verified(&mut reader.again(), &image), Ok(()));
}

#[test]
fn a_protected_card_without_the_right_password_stays_as_it_is() {
    for access in [0x00, 0x80] {
        let mut reader = protected_card(4, access);
        let before = reader.card.memory().to_vec();
        let image = with_passwords(pages(4..=15), &[*b"none"]);
        let failed = encode(&mut reader, &image).unwrap_err();
        assert!(
            matches!(failed.error(), CardError::NoPassword { tried: 1, .. }),
            "{failed:?}"
        );
        assert!(!failed.changed());
        let failed = encode(&mut reader.again(), &with_passwords(pages([4]), &[])).unwrap_err();
        assert!(matches!(
            failed.error(),
            CardError::NoPassword { tried: 0, .. }
        ));
        assert_eq!(before.len(), 45 * 4);
    }
}

#[test]
fn passwords_are_not_tried_where_nothing_asks_for_them() {
    let mut reader = protected_card(0x20, 0x07);
    let image = with_passwords(pages(4..=15), &[*b"none"]);
    assert_eq!(encode(&mut reader, &image), Ok(()));
    assert!(!reader.log.contains(&Step::Other(0x1B)));
}

#[test]
fn a_card_that_counts_wrong_passwords_is_asked_once() {
    let tries = |reader: &Reader| {
        let tries = reader.log.iter().filter(|step| **step == Step::Other(0x1B));
        tries.count()
    };
    let both = [*b"none", *b"old!"];
    let mut reader = protected_card(4, 0x03);
    let failed = encode(&mut reader, &with_passwords(pages([4]), &both)).unwrap_err();
    assert_eq!(
        *failed.error(),
        CardError::TriesLimited { tried: 1, known: 2 }
    );
    assert_eq!(tries(&reader), 1);
    // A single wrong one would lock the card: not even the first without leave.
    let mut reader = protected_card(4, 0x01);
    let right_first = with_passwords(pages([4]), &[*b"old!"]);
    let failed = encode(&mut reader, &right_first).unwrap_err();
    assert_eq!(
        *failed.error(),
        CardError::TriesLimited { tried: 0, known: 1 }
    );
    assert_eq!(tries(&reader), 0);
    let mut reader = reader.again();
    assert_eq!(encode_under(&mut reader, &right_first, ALLOWED), Ok(()));
    // The configuration itself is hidden: whether tries are counted is unknown.
    let mut reader = protected_card(4, 0x80);
    let failed = encode(&mut reader, &with_passwords(pages([4]), &both)).unwrap_err();
    assert_eq!(
        *failed.error(),
        CardError::TriesLimited { tried: 1, known: 2 }
    );
    assert_eq!(tries(&reader), 1);
}

#[test]
fn a_locked_configuration_is_told_before_a_byte_changes() {
    let mut reader = protected_card(0xFF, 0x40);
    let image = CardImage::Type2(protected(pages([4])));
    let failed = encode(&mut reader, &image).unwrap_err();
    assert_eq!(
        failed,
        Failed::Preparing(CardError::ReadOnly {
            at: Place::Page(0x29),
            fault: None,
        })
    );
    // A password alone can still be changed.
    let mut reader = protected_card(4, 0xC0);
    let image = with_passwords(protected(pages([4])), &[*b"old!"]);
    assert_eq!(encode(&mut reader, &image), Ok(()));
    assert_eq!(reader.page(0x2B), *b"new!");
}

#[test]
fn reading_stops_where_the_protection_begins() {
    for naks_as_gone in [false, true] {
        // AUTH0 in the middle of a READ, configuration readable and not.
        for auth0 in [6, 0x2A] {
            let mut reader = protected_card(auth0, 0x80);
            reader.reports_naks_as_gone = naks_as_gone;
            reader.patch(16, &[0x11; 24]);
            let read = data(&mut reader, &plan(4, 0x2C, &[]));
            assert_eq!(read.len(), (usize::from(auth0) - 4) * 4);
            assert_eq!(read[..8], [0x11; 8]);
        }
        let mut reader = protected_card(6, 0x80);
        let read = data(&mut reader, &plan(4, 15, &[*b"old!"]));
        assert_eq!(read.len(), 48);
    }
}

#[test]
fn a_protected_ultralight_c_is_read_where_it_is_open_and_not_written() {
    let mut reader = Reader::with(CardKind::UltralightC);
    reader.patch(0x2A * 4, &[0x08]);
    reader.patch(0x2B * 4, &[0x00]);
    let failed = encode(&mut reader, &CardImage::Type2(pages(4..=15))).unwrap_err();
    assert!(
        matches!(failed.error(), CardError::NoPassword { tried: 0, .. }),
        "{failed:?}"
    );
    assert!(!failed.changed());
    let mut reader = reader.again();
    assert_eq!(data(&mut reader, &plan(4, 15, &[])).len(), 16);
}
