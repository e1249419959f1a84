//! Key records on every technology, and everything that can go wrong in the middle.

use super::{
    Failed, encode, read,
    reader::{Reader, Step, Trouble},
    verified,
};
use crate::{
    card::{
        CardImage,
        identify::{Identified, Selection, identify},
        job_error,
        key_record::{
            KeyRecord, KeyRecordError, Layout, SiteKey, Type2Password, VersionedSiteKey, decode,
        },
        virtual_card::{CardAnswer, CardKind, TornState, VirtualCard},
        write_estimate,
    },
    wire::{ErrorCode, Touched},
};

pub(super) const KINDS: [CardKind; 10] = [
    CardKind::ClassicMini,
    CardKind::Classic1k,
    CardKind::Classic4k,
    CardKind::Ultralight,
    CardKind::UltralightC,
    CardKind::UltralightEv1Ul11,
    CardKind::UltralightEv1Ul21,
    CardKind::Ntag213,
    CardKind::Ntag215,
    CardKind::Ntag216,
];

pub(super) fn site_key(version: u8) -> VersionedSiteKey {
    VersionedSiteKey {
        version,
        key: SiteKey::new([version; 32]),
    }
}

fn record(entrance: u16) -> KeyRecord {
    KeyRecord {
        credential_id: uuid::Uuid::from_u128(0x1234_5678),
        issued_at: jiff::Timestamp::from_second(1_764_000_000).unwrap(),
        starts_at: None,
        ends_at: None,
        entrances: vec![entrance],
    }
}

/// Without and with a password on cards that know passwords.
pub(super) fn layouts() -> [Layout; 2] {
    let protected = Layout {
        type2_password: Type2Password::ProtectWriting,
        ..Layout::default()
    };
    [Layout::default(), protected]
}

pub(super) fn image(
    layout: Layout,
    reader: &Reader,
    entrance: u16,
    keys: &[VersionedSiteKey],
) -> CardImage {
    layout
        .image_for(&reader.description(), &record(entrance), keys)
        .unwrap()
}

fn scan(layout: Layout, reader: &mut Reader, keys: &[VersionedSiteKey]) -> KeyRecord {
    scanned(layout, reader, keys).unwrap()
}

pub(super) fn scanned(
    layout: Layout,
    reader: &mut Reader,
    keys: &[VersionedSiteKey],
) -> Result<KeyRecord, KeyRecordError> {
    let card = reader.description();
    let contents = read(reader, &layout.read_plan_for(&card, keys)).unwrap();
    let bytes = layout.record_bytes_from(&contents, &card);
    let bytes = bytes.ok_or(KeyRecordError::NotARecord)?;
    decode(&card.uid.unwrap(), &bytes, keys)
}

/// Every case of the tests below: kind, layout, whether NAKs are reported as a card that is gone.
fn cases() -> impl Iterator<Item = (CardKind, Layout, bool)> {
    KINDS.into_iter().flat_map(|kind| {
        layouts()
            .into_iter()
            .flat_map(move |layout| [(kind, layout, false), (kind, layout, true)])
    })
}

fn reader(kind: CardKind, reports_naks_as_gone: bool) -> Reader {
    let mut reader = Reader::with(kind);
    reader.reports_naks_as_gone = reports_naks_as_gone;
    reader
}

/// A card that carries a record of site key 1, to be encoded with site key 2.
pub(super) fn used_card(kind: CardKind, layout: Layout, naks: bool) -> Reader {
    let mut reader = reader(kind, naks);
    let first = image(layout, &reader, 1, &[site_key(1)]);
    encode(&mut reader, &first).unwrap();
    reader.again()
}

#[test]
fn writes_verifies_and_reads_every_technology() {
    for (kind, layout, naks) in cases() {
        let mut reader = reader(kind, naks);
        for (entrance, keys) in [
            (1, vec![site_key(1)]),
            (2, vec![site_key(1)]),
            (3, vec![site_key(2), site_key(1)]),
        ] {
            let image = image(layout, &reader, entrance, &keys);
            assert_eq!(encode(&mut reader, &image), Ok(()), "{kind}");
            let mut placed_again = reader.again();
            assert_eq!(verified(&mut placed_again, &image), Ok(()), "{kind}");
            reader = placed_again.again();
            assert_eq!(scan(layout, &mut reader, &keys), record(entrance), "{kind}");
            reader = reader.again();
        }
    }
}

#[test]
fn no_encode_takes_more_commands_than_estimated() {
    for (kind, layout, _) in cases() {
        for keys in [
            vec![site_key(1)],
            vec![site_key(2), site_key(1)],
            vec![site_key(3), site_key(2), site_key(1)],
        ] {
            let mut reader = used_card(kind, layout, false);
            let image = image(layout, &reader, 2, &keys);
            encode(&mut reader, &image).unwrap();
            let taken = u32::try_from(reader.log.len()).unwrap();
            let estimated = write_estimate(&image).commands;
            // The estimate counts the selection too.
            assert!(taken < estimated, "{kind}: {taken} of {estimated}");
            assert!(estimated < taken * 3, "{kind}: {taken} of {estimated}");
        }
    }
}

#[test]
fn a_trailer_in_place_is_not_written_again() {
    let layout = Layout::default();
    let mut reader = used_card(CardKind::Classic1k, layout, false);
    let image = image(layout, &reader, 2, &[site_key(1)]);
    encode(&mut reader, &image).unwrap();
    let writes = reader
        .log
        .iter()
        .filter(|step| matches!(step, Step::Write(_)));
    assert_eq!(writes.count(), 3);
}

#[test]
fn a_card_lifted_at_any_step_is_reported_rightly_and_can_be_encoded_again() {
    for (kind, layout, naks) in cases() {
        let keys = [site_key(2), site_key(1)];
        let start = used_card(kind, layout, naks);
        let image = image(layout, &start, 2, &keys);
        let mut reader = Reader::holding(start.card.clone());
        reader.reports_naks_as_gone = naks;
        encode(&mut reader, &image).unwrap();
        let log = reader.log;
        let first_write = log.iter().position(|step| matches!(step, Step::Write(_)));
        for step in 0..log.len() {
            let mut reader = Reader::holding(start.card.clone());
            reader.reports_naks_as_gone = naks;
            reader.trouble = Some((step, Trouble::Lifted));
            let failed = encode(&mut reader, &image).unwrap_err();
            assert!(failed.error().card_left(), "{kind} {step}: {failed:?}");
            assert_eq!(failed.changed(), Some(step) >= first_write, "{kind} {step}");
            let error = job_error(failed.error(), failed.changed());
            if failed.changed() {
                assert_eq!(error.code, ErrorCode::EncodingInterrupted);
                assert_eq!(error.touched, Touched::Unknown);
            } else {
                assert_eq!(error.code, ErrorCode::NoCardOnEncoder);
                assert_eq!(error.touched, Touched::Untouched);
                assert_eq!(reader.card.memory(), start.card.memory());
            }
            let mut reader = reader.again();
            assert_eq!(encode(&mut reader, &image), Ok(()), "{kind} {step}");
            assert_eq!(verified(&mut reader.again(), &image), Ok(()));
        }
    }
}

#[test]
fn one_disturbance_anywhere_does_no_harm() {
    for (kind, layout, naks) in cases() {
        let keys = [site_key(2), site_key(1)];
        let start = used_card(kind, layout, naks);
        let image = image(layout, &start, 2, &keys);
        for trouble in [Trouble::CommandLost, Trouble::AnswerLost] {
            let mut step = 0;
            loop {
                let mut reader = Reader::holding(start.card.clone());
                reader.reports_naks_as_gone = naks;
                reader.trouble = Some((step, trouble));
                assert_eq!(
                    encode(&mut reader, &image),
                    Ok(()),
                    "{kind} {step} {trouble:?}"
                );
                if reader.log.len() <= step {
                    break;
                }
                assert_eq!(verified(&mut reader.again(), &image), Ok(()));
                step += 1;
            }
            assert!(step > 10);
        }
    }
}

#[test]
fn a_port_that_goes_away_is_not_spoken_to_again() {
    let layout = Layout::default();
    let mut step = 0;
    loop {
        let mut reader = used_card(CardKind::Classic1k, layout, false);
        let image = image(layout, &reader, 2, &[site_key(2), site_key(1)]);
        reader.trouble = Some((step, Trouble::PortGone));
        match encode(&mut reader, &image) {
            Ok(()) => break,
            Err(failed) => {
                let error = job_error(failed.error(), failed.changed());
                assert_eq!(error.code, ErrorCode::EncoderNotOnline);
                assert_eq!(reader.log.len(), step + 1);
            }
        }
        step += 1;
    }
    assert!(step > 10);
}

#[test]
fn a_card_torn_in_any_write_can_be_encoded_again() {
    for (kind, layout, naks) in cases() {
        let keys = [site_key(2), site_key(1)];
        let start = used_card(kind, layout, naks);
        let image = image(layout, &start, 2, &keys);
        for state in [TornState::Old, TornState::New, TornState::Mixed] {
            let mut nth = 1;
            loop {
                let mut reader = Reader::holding(start.card.clone());
                reader.reports_naks_as_gone = naks;
                reader.card.tear_at_write(nth, state);
                match encode(&mut reader, &image) {
                    Ok(()) => break,
                    Err(Failed::Writing(failed)) => assert!(failed.changed),
                    Err(Failed::Preparing(error)) => panic!("{kind} {nth}: {error}"),
                }
                let mut reader = reader.again();
                assert_eq!(
                    encode(&mut reader, &image),
                    Ok(()),
                    "{kind} {nth} {state:?}"
                );
                assert_eq!(verified(&mut reader.again(), &image), Ok(()));
                nth += 1;
            }
            assert!(nth > 3, "{kind}");
        }
    }
}

#[test]
fn a_fresh_card_torn_in_its_first_encode_can_be_encoded_again() {
    for kind in KINDS {
        for state in [TornState::Old, TornState::New] {
            for nth in 1..=4 {
                let mut reader = Reader::with(kind);
                let image = image(Layout::default(), &reader, 1, &[site_key(1)]);
                reader.card.tear_at_write(nth, state);
                assert!(encode(&mut reader, &image).is_err());
                let mut reader = reader.again();
                assert_eq!(
                    encode(&mut reader, &image),
                    Ok(()),
                    "{kind} {nth} {state:?}"
                );
            }
        }
    }
}

#[test]
fn another_systems_card_stays_as_it_is() {
    for (kind, layout, naks) in cases() {
        let mut reader = used_card(kind, layout, naks);
        let before = reader.card.memory().to_vec();
        let image = image(layout, &reader, 2, &[site_key(9)]);
        let is_protected = matches!(&image, CardImage::MifareClassic(_))
            || matches!(&image, CardImage::Type2(image) if image.protection.is_some());
        if !is_protected {
            continue;
        }
        let failed = encode(&mut reader, &image).unwrap_err();
        assert!(failed.error().card_differs(), "{kind}: {failed:?}");
        assert!(!failed.changed());
        assert_eq!(reader.card.memory(), before);
        let error = job_error(failed.error(), failed.changed());
        assert_eq!(error.code, ErrorCode::UncategorizedError);
        assert!(error.hardware.is_some());
        assert_eq!(
            verified(&mut reader.again(), &image).map_err(|error| error.card_differs()),
            Err(true)
        );
    }
}

#[test]
fn verifying_notices_every_changed_byte() {
    for kind in [CardKind::Classic1k, CardKind::Ntag213, CardKind::Ultralight] {
        let layout = Layout::default();
        let mut reader = used_card(kind, layout, false);
        let image = image(layout, &reader, 1, &[site_key(1)]);
        assert_eq!(verified(&mut reader, &image), Ok(()));
        let offset = if matches!(image, CardImage::Type2(_)) {
            16
        } else {
            64
        };
        for byte in offset..offset + 48 {
            let mut reader = Reader::holding(reader.card.clone());
            let changed = reader.card.memory()[byte] ^ 0x01;
            reader.patch(byte, &[changed]);
            let differs = verified(&mut reader, &image).unwrap_err();
            assert!(differs.card_differs(), "{kind} {byte}");
        }
    }
}

#[test]
fn a_blank_card_is_read_without_a_record() {
    for kind in KINDS {
        let mut reader = Reader::with(kind);
        let card = reader.description();
        let layout = Layout::default();
        let keys = [site_key(1)];
        let contents = read(&mut reader, &layout.read_plan_for(&card, &keys)).unwrap();
        let bytes = layout.record_bytes_from(&contents, &card).unwrap();
        assert!(decode(&card.uid.unwrap(), &bytes, &keys).is_err());
    }
}

#[test]
fn virtual_cards_are_identified() {
    for kind in CardKind::ALL {
        let mut card = VirtualCard::new(kind, None).unwrap();
        let uid = card.select();
        let selection = Selection {
            atqa: card.atqa(),
            sak: card.sak(),
            uid,
            ats: card.ats(),
        };
        let mut identified = identify(&selection);
        while let Identified::Ask(question) = identified {
            card.select();
            let answer = match card.exchange(question.command()) {
                CardAnswer::Data(data) => Some(data),
                CardAnswer::Ack | CardAnswer::Nak(_) | CardAnswer::Silent => None,
            };
            identified = question.answered(answer.as_deref());
        }
        assert_eq!(identified, Identified::As(kind.technology()));
    }
}
