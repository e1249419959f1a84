use proptest::prelude::*;

use super::*;
use crate::card::{CardError, ImageFlaw, Place};

const VECTORS: &str = include_str!("vectors.txt");

#[test]
fn vectors() {
    let lines = VECTORS.lines().filter(|line| !line.starts_with('#'));
    let mut count = 0;
    for line in lines {
        let fields: Vec<&str> = line.split('|').map(str::trim).collect();
        let [number, text, bytes, low, high] = fields.try_into().unwrap();
        let track = Track::try_from(number.parse::<u8>().unwrap()).unwrap();
        let set = track.character_set();
        assert_eq!(encode_bytes(set, text), Ok(hex(bytes)), "{line}");
        let bits = encode(set, text).unwrap();
        assert_eq!(bits.to_low_first(), hex(low), "{line}");
        assert_eq!(bits.to_high_first(), hex(high), "{line}");
        for read in [
            BitString::from_low_first(&hex(low)),
            BitString::from_high_first(&hex(high)),
        ] {
            assert_eq!(decode(set, &read).as_deref(), Ok(text), "{line}");
        }
        count += 1;
    }
    assert_eq!(count, 4);
}

#[test]
fn each_track_has_its_characters() {
    for (track, holds, lacks) in [
        (Track::One, "AZ09^ =_", "a%?\u{7f}{"),
        (Track::Two, "09:<=>", "A;?/ "),
        (Track::Three, "09:<=>", "A;?/ "),
    ] {
        for character in holds.chars() {
            assert_eq!(image(track, &character.to_string()).check(), Ok(()));
        }
        for character in lacks.chars() {
            let flaw = image(track, &format!("0{character}")).check();
            let at = Place::Track(track);
            assert_eq!(flaw, Err(ImageFlaw::Character { at, index: 1 }));
        }
    }
    let flaw = image(Track::One, "0é").check().unwrap_err();
    assert!(!flaw.to_string().contains('é'), "{flaw}");
}

#[test]
fn tracks_hold_what_iso_7811_gives_them() {
    for (track, most) in [(Track::One, 76), (Track::Two, 37), (Track::Three, 104)] {
        assert_eq!(image(track, &"1".repeat(most)).check(), Ok(()));
        let flaw = image(track, &"1".repeat(most + 1)).check();
        let (at, got) = (Place::Track(track), most + 1);
        assert_eq!(flaw, Err(ImageFlaw::TooManyCharacters { at, most, got }));
    }
    // At 75 bits per inch, as some hotels write track 3, there is room for 42 characters in all.
    let sparse = |digits| {
        let mut image = image(Track::Three, &"1".repeat(digits));
        image.tracks[0].bpi = Density::Bpi75;
        image.check()
    };
    assert_eq!(sparse(39), Ok(()));
    assert!(matches!(
        sparse(40),
        Err(ImageFlaw::TooManyBits { got: 215, .. })
    ));
}

#[test]
fn bits_begin_with_a_one_and_end_with_the_track() {
    let at = Place::Track(Track::Two);
    let check = |bits: &str| raw(Track::Two, BitString::from_text(bits).unwrap()).check();
    assert_eq!(check("1"), Ok(()));
    assert_eq!(check(""), Err(ImageFlaw::EmptyPlace(at)));
    assert_eq!(check("000"), Err(ImageFlaw::EmptyPlace(at)));
    assert_eq!(check("01"), Err(ImageFlaw::LeadingZeros(at)));
    let most = Density::Bpi75.capacity();
    assert_eq!((most, Density::Bpi210.capacity()), (210, 588));
    assert_eq!(check(&"10".repeat(most / 2)), Ok(()));
    assert!(matches!(
        check(&format!("{}1", "10".repeat(most / 2))),
        Err(ImageFlaw::TooManyBits { got: 211, .. })
    ));
}

#[test]
fn an_image_has_a_number_and_each_track_once() {
    let mut twice = image(Track::Two, "1");
    twice.tracks.push(TrackImage::iso(Track::Two, "2"));
    let at = Place::Track(Track::Two);
    assert_eq!(twice.check(), Err(ImageFlaw::Twice(at)));
    let mut empty = image(Track::Two, "1");
    empty.tracks.clear();
    assert_eq!(empty.check(), Err(ImageFlaw::Empty));
    assert_eq!(
        image(Track::Two, "").check(),
        Err(ImageFlaw::EmptyPlace(at))
    );
    for number in ["", "a b", "é", &"1".repeat(65)] {
        let mut image = image(Track::Two, "1");
        image.card_number = number.to_owned();
        assert_eq!(image.check(), Err(ImageFlaw::CardNumber), "{number}");
    }
}

/// Numbers that the schemes publish for tests.
const PAYMENT: &[(Track, &str)] = &[
    (Track::Two, "4111111111111111=2512101123456789"),
    (Track::Two, "378282246310005=251210112345"),
    (Track::Three, "6759649826438453=2512101"),
    (
        Track::One,
        "B4111111111111111^CARDHOLDER/NAME^2512101123456789",
    ),
    (Track::One, "B3782 822463 10005^CARDHOLDER/NAME^2512101"),
    (Track::One, "4111111111111111=2512101"),
];

const NO_PAYMENT: &[(Track, &str)] = &[
    (Track::Two, "4111111111111111"),
    (Track::Two, "4111111111111111251210112345678901234"),
    (Track::Two, "4111111111111111=2513101"),
    (Track::Two, "4111111111111111=2500101"),
    (Track::Two, "4111111111111111=251210"),
    (Track::Two, "41111111111=2512101"),
    (Track::Two, "41111111111111111111=2512101"),
    (Track::One, "B4111111111111111^NAME"),
    (Track::One, "A4111111111111111^NAME^2512101"),
    (Track::One, "ROOM 101^4111111111111111^2512"),
];

#[test]
fn payment_data_is_never_written() {
    for (track, text) in PAYMENT {
        let flaw = ImageFlaw::PaymentData(Place::Track(*track));
        assert_eq!(image(*track, text).check(), Err(flaw.clone()), "{text}");
        assert!(!flaw.to_string().contains("4111"));
        let bits = encode(track.character_set(), text).unwrap();
        let bits = if bits.len() > 210 { 210 } else { 75 };
        let bpi = Density::try_from(bits).unwrap();
        let encoded = encode(track.character_set(), text).unwrap();
        for bits in [encoded.trimmed(), encoded.trimmed().reversed()] {
            let mut raw = raw(*track, bits);
            raw.tracks[0].bpi = bpi;
            assert_eq!(raw.check(), Err(flaw.clone()), "{text}");
        }
    }
    for (track, text) in NO_PAYMENT {
        assert_eq!(image(*track, text).check(), Ok(()), "{text}");
        let bits = encode(track.character_set(), text).unwrap();
        assert!(!hides_payment_data(&bits), "{text}");
    }
}

#[test]
fn a_payment_card_shows_four_digits_and_none_of_its_tracks() {
    let mut tracks = vec![
        read(Track::One, "%B4111111111111111^CARDHOLDER/NAME^2512101?"),
        read(Track::Two, ";4111111111111111=2512101123456789?"),
        read(Track::Three, ";014111111111111111==1?"),
    ];
    TrackContents::mask_payment_data(&mut tracks);
    let masked = |contents: &TrackContents| {
        let TrackFound::PaymentData { masked } = &contents.found else {
            panic!("{contents:?}");
        };
        masked.clone()
    };
    let shown: Vec<String> = tracks.iter().map(masked).collect();
    assert_eq!(shown, ["************1111", "************1111", ""]);

    let bits = encode(CharacterSet::Numeric, "4111111111111111=2512101").unwrap();
    let mut digits = bits.to_text();
    // Two characters of a worn stripe lost a bit.
    for at in [32, 61] {
        let flipped = if &digits[at..=at] == "0" { "1" } else { "0" };
        digits.replace_range(at..=at, flipped);
    }
    for text in [bits.to_text(), digits] {
        let bits = BitString::from_text(&format!("000{text}0000")).unwrap();
        let mut tracks = vec![TrackContents::of_bits(Track::Two, bits)];
        TrackContents::mask_payment_data(&mut tracks);
        assert_eq!(masked(&tracks[0]), "", "{text}");
    }
}

#[test]
fn other_cards_are_shown_whole() {
    let before = vec![
        read(Track::One, "%ROOM 101?"),
        read(Track::Two, ";4111111111111111?"),
        read(Track::Three, ""),
    ];
    let mut after = before.clone();
    TrackContents::mask_payment_data(&mut after);
    assert_eq!(after, before);
}

#[test]
fn what_an_encoder_reads_is_blank_characters_or_unreadable() {
    assert_eq!(read(Track::Two, "").found, TrackFound::Blank);
    let text = "12".to_owned();
    assert_eq!(read(Track::Two, ";12?").found, TrackFound::Iso { text });
    for bad in ["12", ";12", "12?", "%12?", ";1A?", ";1?2?", ";1;2?", ";é?"] {
        assert_eq!(read(Track::Two, bad).found, TrackFound::Unreadable, "{bad}");
    }
    let zeros = BitString::from_high_first(&[0, 0]);
    assert_eq!(
        TrackContents::of_bits(Track::One, zeros).found,
        TrackFound::Blank
    );
}

#[test]
fn a_card_carries_an_image_in_either_form() {
    let image = image(Track::Two, "12345");
    let bits = encode(CharacterSet::Numeric, "12345").unwrap();
    let padded = BitString::from_text(&format!("00000{}00", bits.to_text())).unwrap();
    for contents in [
        read(Track::Two, ";12345?"),
        TrackContents::of_bits(Track::Two, padded.clone()),
        TrackContents::of_bits(Track::Two, padded.reversed()),
    ] {
        assert_eq!(image.compare(std::slice::from_ref(&contents)), Ok(()));
        assert_eq!(raw(Track::Two, bits.trimmed()).compare(&[contents]), Ok(()));
    }
    let at = Place::Track(Track::Two);
    for contents in [
        vec![],
        vec![read(Track::Two, "")],
        vec![read(Track::Two, ";12346?")],
    ] {
        assert_eq!(image.compare(&contents), Err(CardError::Differs { at }));
    }
    let unreadable = [read(Track::Two, "*")];
    let fault = None;
    assert_eq!(
        image.compare(&unreadable),
        Err(CardError::Unreadable { at, fault })
    );
}

#[test]
fn damaged_bits_are_told() {
    let set = CharacterSet::Numeric;
    let right = encode(set, "12345").unwrap().to_text();
    let damaged = |at: usize| {
        let mut text = right.clone();
        let flipped = if &text[at..=at] == "0" { "1" } else { "0" };
        text.replace_range(at..=at, flipped);
        decode(set, &BitString::from_text(&text).unwrap())
    };
    assert_eq!(damaged(2), Err(TrackFlaw::NoStart));
    assert_eq!(damaged(5), Err(TrackFlaw::Parity(0)));
    assert_eq!(damaged(35), Err(TrackFlaw::Lrc));
    let cut = BitString::from_text(&right[..35]).unwrap();
    assert_eq!(decode(set, &cut), Err(TrackFlaw::NoEnd));
    assert_eq!(decode(set, &BitString::default()), Err(TrackFlaw::NoStart));
}

#[test]
fn nothing_of_a_card_shows_when_it_is_formatted() {
    let image = image(Track::One, "SECRET");
    let contents = read(Track::One, "%SECRET?");
    let bits = raw(Track::One, encode(CharacterSet::Numeric, "987").unwrap());
    let shown = format!("{image:?} {contents:?} {bits:?}");
    for secret in ["SECRET", "1101", "true"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

proptest! {
    #[test]
    fn characters_survive_their_bits(track in track(), seed in ".{0,80}", zeros in 0usize..40) {
        let set = track.character_set();
        let text: String = seed.bytes().filter(|byte| set.holds(*byte)).map(char::from).collect();
        let bits = encode(set, &text).unwrap();
        prop_assert_eq!(bits.len(), (text.len() + 3) * set.bits_per_character());
        let padded = format!("{}{}{}", "0".repeat(zeros), bits.to_text(), "0".repeat(zeros));
        let padded = BitString::from_text(&padded).unwrap();
        prop_assert_eq!(decode(set, &padded), Ok(text));
    }

    #[test]
    fn any_one_flipped_bit_is_noticed(track in track(), digits in "[0-9]{1,30}", at in any::<prop::sample::Index>()) {
        let set = track.character_set();
        let bits = encode(set, &digits).unwrap();
        let mut flipped = bits.as_slice().to_vec();
        let at = at.index(flipped.len());
        flipped[at] = !flipped[at];
        let text: String = flipped.iter().map(|bit| if *bit { '1' } else { '0' }).collect();
        let read = decode(set, &BitString::from_text(&text).unwrap());
        prop_assert_ne!(read, Ok(digits));
    }

    #[test]
    fn bits_survive_bytes_of_either_order(bytes in prop::collection::vec(any::<u8>(), 0..260)) {
        prop_assert_eq!(BitString::from_high_first(&bytes).to_high_first(), bytes.clone());
        prop_assert_eq!(BitString::from_low_first(&bytes).to_low_first(), bytes.clone());
        let swapped: Vec<u8> = bytes.iter().map(|byte| byte.reverse_bits()).collect();
        prop_assert_eq!(BitString::from_high_first(&bytes), BitString::from_low_first(&swapped));
        let bits = BitString::from_high_first(&bytes);
        prop_assert_eq!(BitString::from_text(&bits.to_text()).is_ok(), bits.len() <= 2040);
    }

    #[test]
    fn noise_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..100), track in track()) {
        let bits = BitString::from_high_first(&bytes);
        let _ = decode(track.character_set(), &bits);
        let contents = TrackContents::of_bits(track, bits.clone());
        TrackContents::mask_payment_data(&mut [contents, TrackContents::of_characters(track, &bytes)]);
        let _ = raw(track, bits).check();
    }

    #[test]
    fn an_image_that_is_written_is_carried(track in track(), digits in "[0-9]{1,20}") {
        let image = image(track, &digits);
        let bits = image.tracks[0].bits().unwrap();
        prop_assert_eq!(image.compare(&[TrackContents::of_bits(track, bits)]), Ok(()));
    }
}

fn track() -> impl Strategy<Value = Track> {
    prop::sample::select(Track::ALL.to_vec())
}

fn image(track: Track, text: &str) -> MagstripeImage {
    MagstripeImage {
        card_number: "1".to_owned(),
        coercivity: Coercivity::High,
        tracks: vec![TrackImage::iso(track, text)],
    }
}

fn raw(track: Track, bits: BitString) -> MagstripeImage {
    let data = TrackData::Raw(bits);
    MagstripeImage {
        tracks: vec![TrackImage {
            track,
            bpi: track.density(),
            data,
        }],
        ..image(track, "1")
    }
}

fn read(track: Track, text: &str) -> TrackContents {
    TrackContents::of_characters(track, text.as_bytes())
}

fn hex(text: &str) -> Vec<u8> {
    let digits = text.split_whitespace();
    digits
        .map(|digits| u8::from_str_radix(digits, 16).unwrap())
        .collect()
}
