//! The vectors in `vectors/`: commands are built and compared byte for byte, replies are read, the transcript is played to the
//! emulator.

use super::{
    command::{IsoSwipe, IsoTrack, RawSwipe, Reply, Request},
    emulator::{Emulator, Pace, StripeCard, StripeKind},
    reply::Heard,
    report,
    status::Status,
    track::{BitsPerCharacter, RawTrack, TrackText},
};
use crate::{
    card::{
        hex,
        magstripe::{BitString, Coercivity},
    },
    moment::Moment,
};

const GOLDEN: &str = include_str!("vectors/golden.txt");
const MSRX: &str = include_str!("vectors/msrx.txt");

enum Meaning {
    Command(Request),
    Answer(Request, Reply),
}

#[test]
fn every_golden_row_is_built_or_read() {
    let mut count = 0;
    for line in GOLDEN.lines().filter(|line| !line.starts_with('#')) {
        let (name, bytes) = line.split_once(" | ").unwrap();
        let bytes = bytes_of(bytes);
        match meaning(name) {
            Meaning::Command(request) => assert_eq!(*request.message(), bytes, "{name}"),
            Meaning::Answer(request, reply) => {
                let whole = Heard::Whole {
                    noise: 0,
                    length: bytes.len(),
                    reply: Ok(reply),
                };
                assert_eq!(request.look(&bytes), whole, "{name}");
                for end in 1..bytes.len() {
                    let partial = Heard::Partial { noise: 0 };
                    assert_eq!(request.look(&bytes[..end]), partial, "{name} up to {end}");
                }
            }
        }
        count += 1;
    }
    assert_eq!(count, 17);
}

#[test]
fn the_emulator_answers_each_golden_row_as_the_vectors_say() {
    for (command, answer) in [
        ("write iso", "write iso ok"),
        ("bpc 8", "bpc 8 ok"),
        ("write raw", "write iso ok"),
        ("erase all", "erase all ok"),
        ("hi-co", "hi-co ok"),
        ("coercivity", "coercivity ok"),
    ] {
        let mut device = Emulator::new(Pace::INSTANT);
        device.place(Moment::ORIGIN, "card", StripeCard::blank(StripeKind::HiCo));
        assert_eq!(
            said(&mut device, &golden(command)),
            golden(answer),
            "{command}"
        );
    }
    // What one way of writing leaves, both ways of reading find; the real stripe's trailing zeros make no byte here.
    for (setup, write) in [
        ("", "write iso"),
        ("1B 6F 08 08 08", "write raw"),
        ("1B 6F 07 05 05", "write raw 7 5 5"),
    ] {
        let mut device = Emulator::new(Pace::INSTANT);
        device.place(Moment::ORIGIN, "card", StripeCard::blank(StripeKind::HiCo));
        said(&mut device, &bytes_of(setup));
        assert_eq!(said(&mut device, &golden(write)), golden("write iso ok"));
        said(&mut device, &bytes_of("1B 61"));
        if write == "write raw 7 5 5" {
            let (_, card) = device.at_hand().unwrap();
            let texts = card.texts().map(Result::unwrap);
            assert_eq!(texts, ["%ABC123?", ";12345?", ";12345?"]);
        } else {
            assert_eq!(
                said(&mut device, &bytes_of("1B 72")),
                golden("read iso ok"),
                "{write}"
            );
            assert_eq!(
                said(&mut device, &bytes_of("1B 6D")),
                golden("read raw ok"),
                "{write}"
            );
        }
    }
}

#[test]
fn msrx_is_answered_as_it_was() {
    let mut device = Emulator::new(Pace::INSTANT);
    device.place(Moment::ORIGIN, "card", StripeCard::blank(StripeKind::HiCo));
    let mut answered = Vec::new();
    for line in MSRX.lines().filter(|line| !line.starts_with('#')) {
        let (way, bytes) = line.split_at(2);
        let bytes = bytes_of(bytes);
        match way {
            "> " => answered.extend(said(&mut device, &bytes)),
            "< " => assert_eq!(std::mem::take(&mut answered), bytes),
            _ => panic!("{line}"),
        }
    }
    assert!(answered.is_empty());
    let (_, card) = device.at_hand().unwrap();
    assert!(
        card.tracks().iter().all(|track| track.bits.is_empty()),
        "erased"
    );
}

#[test]
fn what_msrx_writes_is_what_we_read() {
    // msrx makes no check character: its bits are ours without the last character's.
    let read = Request::ReadRaw;
    let line = MSRX
        .lines()
        .find(|line| line.starts_with("< 1b 73"))
        .unwrap();
    let Heard::Whole {
        reply: Ok(Reply::Raw(swipe)),
        ..
    } = read.look(&bytes_of(&line[2..]))
    else {
        panic!("expected a block");
    };
    let written = golden_bits();
    for ((track, ours), characters) in swipe.tracks.iter().zip(&written).zip([8 * 7, 7 * 5, 7 * 5])
    {
        assert_eq!(
            track.bits().as_slice()[..characters],
            ours.as_slice()[..characters]
        );
    }
}

#[test]
fn reports_carry_messages_as_the_drivers_of_others_do() {
    for (message, headers) in [
        (&b"\x1Ba"[..], vec![(0xC2, 2)]),
        (b"\x1Be", vec![(0xC2, 2)]),
        (&[0x5A; 112], vec![(0xBF, 63), (0x71, 49)]),
        (&[0x5A; 189], vec![(0xBF, 63), (0x3F, 63), (0x7F, 63)]),
    ] {
        let reports = report::encode(message);
        let mut rest = message;
        assert_eq!(reports.len(), headers.len());
        for (report, (header, length)) in reports.iter().zip(headers) {
            let (part, behind) = rest.split_at(length);
            assert_eq!(report[0], header);
            assert_eq!(report[1..=length], *part);
            assert!(report[length + 1..].iter().all(|byte| *byte == 0));
            rest = behind;
        }
        assert!(rest.is_empty());
    }
    assert_eq!(report::encode(b"\x1Ba")[0][..4], [0xC2, 0x1B, 0x61, 0x00]);
}

fn meaning(name: &str) -> Meaning {
    let texts = || ["ABC123", "12345", "98765"].map(|text| TrackText::new(text).unwrap());
    let written = || Meaning::Answer(Request::WriteIso(texts()), Reply::Status(Status::Ok));
    let failed = |status| Meaning::Answer(Request::WriteIso(texts()), Reply::Status(status));
    let bits = Request::SetBitsPerCharacter(BitsPerCharacter::PLAIN);
    let raw = golden_bits().map(|bits| RawTrack::new(bits, BitsPerCharacter::Eight).unwrap());
    let high = Request::SetCoercivity(Coercivity::High);
    match name {
        "write iso" => Meaning::Command(Request::WriteIso(texts())),
        "write iso ok" => written(),
        "read iso ok" => Meaning::Answer(
            Request::ReadIso,
            Reply::Iso(IsoSwipe {
                tracks: texts().map(IsoTrack::Text),
                status: Status::Ok,
            }),
        ),
        "bpc 8" => Meaning::Command(bits),
        "bpc 8 ok" => Meaning::Answer(bits, Reply::Status(Status::Ok)),
        "write raw" => Meaning::Command(Request::WriteRaw(raw)),
        "read raw ok" => Meaning::Answer(
            Request::ReadRaw,
            Reply::Raw(RawSwipe {
                tracks: raw,
                status: Status::Ok,
            }),
        ),
        "write raw 7 5 5" => Meaning::Command(Request::WriteRaw(manual_example())),
        "erase all" => Meaning::Command(Request::Erase([true; 3])),
        "erase all ok" => Meaning::Answer(Request::Erase([true; 3]), Reply::Status(Status::Ok)),
        "hi-co" => Meaning::Command(high),
        "hi-co ok" => Meaning::Answer(high, Reply::Status(Status::Ok)),
        "coercivity" => Meaning::Command(Request::Coercivity),
        "coercivity ok" => {
            Meaning::Answer(Request::Coercivity, Reply::Coercivity(Coercivity::High))
        }
        "error 31" => failed(Status::ReadWrite),
        "error 39" => failed(Status::Swipe),
        "error 41" => failed(Status::Failed),
        _ => panic!("{name}"),
    }
}

/// Track 1 `%ABC123?`, 2 and 3 `;12345?`, with check characters, as characters of 7, 5 and 5 bits.
fn manual_example() -> [RawTrack; 3] {
    let mut example = golden_bits();
    example[2] = example[1].clone();
    let [one, two, three] = example;
    let track = |bits: &BitString, per_byte: BitsPerCharacter, characters: usize| {
        let count = usize::from(per_byte.count()) * characters;
        let bits = BitString::from_text(&bits.to_text()[..count]).unwrap();
        RawTrack::new(bits, per_byte).unwrap()
    };
    [
        track(&one, BitsPerCharacter::Seven, 9),
        track(&two, BitsPerCharacter::Five, 8),
        track(&three, BitsPerCharacter::Five, 8),
    ]
}

/// The bits of the three tracks, from the manual's bytes of "write raw", filled up to whole bytes.
fn golden_bits() -> [BitString; 3] {
    [
        "C5 B0 78 14 95 4E 3E 2A",
        "2B 88 49 EA AF",
        "2B A3 63 EB 0F",
    ]
    .map(|bytes| BitString::from_low_first(&bytes_of(bytes)))
}

fn golden(name: &str) -> Vec<u8> {
    let mut lines = GOLDEN.lines().filter_map(|line| line.split_once(" | "));
    bytes_of(lines.find(|(other, _)| *other == name).unwrap().1)
}

fn said(device: &mut Emulator, bytes: &[u8]) -> Vec<u8> {
    device.handle_input(Moment::ORIGIN, bytes);
    std::iter::from_fn(|| device.poll_transmit(Moment::ORIGIN))
        .flatten()
        .collect()
}

fn bytes_of(text: &str) -> Vec<u8> {
    hex::decode(&text.replace(' ', "")).unwrap()
}
