//! The record on a magnetic stripe.

use proptest::prelude::*;

use super::{super::*, vectors::vectors};
use crate::card::{
    CardDescription, CardImage, ReadPlan, Technology,
    magstripe::{MagstripeImage, Track, TrackContents, TrackFound},
};

#[test]
fn vectors_of_the_stripe() {
    let mut count = 0;
    for vector in vectors() {
        let Some(track_3) = vector.optional("track_3") else {
            continue;
        };
        let image = image(&vector.record(), &[vector.site_key()]).unwrap();
        image.check().unwrap();
        assert_eq!(image.card_number, vector.text("track_2"));
        let read = as_read(&image);
        assert_eq!(text(&read[0]), vector.text("track_2"));
        assert_eq!(text(&read[1]), track_3);
        let decoded = decode_stripe(&read, &[vector.site_key()]).unwrap();
        assert_eq!(decoded.card_number, image.card_number);
        assert_eq!(decoded.record, vector.record());
        let mark = StripeMark {
            site_key_version: vector.site_key().version,
            card_number: image.card_number,
        };
        assert_eq!(stripe_mark(&read), Some(mark));
        assert_eq!(stripe_mark(&read[..1]), None);
        count += 1;
    }
    assert_eq!(count, 3);
}

#[test]
fn it_is_not_for_any_other_number_nor_key() {
    let [first, _, older, ..] = &vectors()[..] else {
        panic!("five vectors");
    };
    let read = as_read(&image(&first.record(), &[first.site_key()]).unwrap());
    let keys = [first.site_key()];
    let with = |at: usize, text: &str| {
        let mut read = read.clone();
        read[at].found = TrackFound::Iso {
            text: text.to_owned(),
        };
        decode_stripe(&read, &keys)
    };
    for (at, text) in [(0, "9"), (0, "900000000000000="), (1, "12345")] {
        let mut read = read.clone();
        read[at].found = TrackFound::Iso {
            text: text.to_owned(),
        };
        assert_eq!(stripe_mark(&read), None, "{text}");
    }
    let own = text(&read[1]).to_owned();
    assert_eq!(
        with(0, older.text("track_2")),
        Err(KeyRecordError::NotAuthentic)
    );
    assert_eq!(with(0, "9"), Err(KeyRecordError::NotAuthentic));
    assert_eq!(with(1, "12345"), Err(KeyRecordError::NotARecord));
    assert!(matches!(
        with(1, &own[..103]),
        Err(KeyRecordError::WrongLength { got: 103, .. })
    ));
    assert_eq!(
        with(1, &own.replacen("691007", "691999", 1)),
        Err(KeyRecordError::NotAuthentic)
    );
    assert_eq!(
        decode_stripe(&read, &[older.site_key()]),
        Err(KeyRecordError::UnknownKeyVersion(7))
    );
    assert_eq!(
        decode_stripe(&read[..1], &keys),
        Err(KeyRecordError::NotARecord)
    );
}

#[test]
fn the_next_issue_of_a_credential_has_another_number() {
    let vector = &vectors()[0];
    let mut later = vector.record();
    later.issued_at += jiff::SignedDuration::from_secs(1);
    let keys = [vector.site_key()];
    let first = image(&vector.record(), &keys).unwrap();
    assert_ne!(first.card_number, image(&later, &keys).unwrap().card_number);
}

#[test]
fn a_stripe_has_room_for_three_entrances() {
    let vector = &vectors()[0];
    let layout = Layout::default();
    assert_eq!(layout.most_entrances(Technology::Magstripe), Ok(3));
    let mut record = vector.record();
    record.entrances = vec![1, 2, 3, 4];
    assert_eq!(
        image(&record, &[vector.site_key()]),
        Err(LayoutError::TooManyEntrances {
            technology: Technology::Magstripe,
            fit: 3,
            asked: 4
        })
    );
    assert_eq!(image(&record, &[]), Err(LayoutError::NoSiteKey));
    let plan = layout.read_plan_for(&CardDescription::to_be_swiped(), &[]);
    assert!(matches!(plan, ReadPlan::Magstripe(_)));
}

proptest! {
    #[test]
    fn any_other_digit_is_not_authentic(at in 0usize..104, digit in 0u8..10) {
        let vector = &vectors()[0];
        let mut read = as_read(&image(&vector.record(), &[vector.site_key()]).unwrap());
        let mut digits = text(&read[1]).to_owned();
        let other = digit.to_string();
        prop_assume!(digits[at..=at] != other);
        digits.replace_range(at..=at, &other);
        read[1].found = TrackFound::Iso { text: digits };
        prop_assert!(decode_stripe(&read, &[vector.site_key()]).is_err());
    }

    #[test]
    fn noise_never_panics(two in "[0-9:<=>]{0,37}", three in "(691)?[0-9:<=>]{0,104}") {
        let read = [(Track::Two, two), (Track::Three, three)].map(|(track, text)| TrackContents {
            track,
            found: TrackFound::Iso { text },
        });
        prop_assert!(decode_stripe(&read, &[vectors()[0].site_key()]).is_err());
    }
}

fn image(record: &KeyRecord, keys: &[VersionedSiteKey]) -> Result<MagstripeImage, LayoutError> {
    let card = CardDescription::to_be_swiped();
    match Layout::default().image_for(&card, record, keys)? {
        CardImage::Magstripe(image) => Ok(image),
        CardImage::MifareClassic(_) | CardImage::Type2(_) => panic!("expected a stripe's image"),
    }
}

fn as_read(image: &MagstripeImage) -> Vec<TrackContents> {
    let tracks = image.tracks.iter().map(|image| {
        let bits = image.bits().unwrap();
        let text = crate::card::magstripe::decode(image.track.character_set(), &bits).unwrap();
        TrackContents {
            track: image.track,
            found: TrackFound::Iso { text },
        }
    });
    tracks.collect()
}

fn text(contents: &TrackContents) -> &str {
    match &contents.found {
        TrackFound::Iso { text } => text,
        TrackFound::Raw { .. }
        | TrackFound::Blank
        | TrackFound::Unreadable
        | TrackFound::PaymentData { .. } => panic!("expected characters"),
    }
}
