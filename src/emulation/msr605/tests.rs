use std::{
    fs::File,
    io::{Read, Write},
};

use encoder_protocols::msr605::report::{REPORT_BYTES, ReportDecoder, encode};

use super::*;

fn start() -> (PtyMsr605, File) {
    let encoder = PtyMsr605::start(None, Pace::INSTANT).unwrap();
    let path = encoder.path().unwrap().unwrap();
    let host = File::options().read(true).write(true).open(path).unwrap();
    (encoder, host)
}

fn answer<const N: usize>(host: &mut File) -> [u8; N] {
    let mut answer = [0; N];
    host.read_exact(&mut answer).unwrap();
    answer
}

const WRITE: &[u8] = b"\x1Bw\x1Bs\x1B\x01ROOM 101\x1B\x0212\x1B\x03?\x1C";

#[test]
fn a_card_at_hand_is_written_and_read_through_the_terminal() {
    let (encoder, mut host) = start();
    encoder.place_new(StripeKind::HiCo).unwrap();
    host.write_all(WRITE).unwrap();
    assert_eq!(answer(&mut host), *b"\x1B0");
    let texts = encoder.texts(None).unwrap();
    let expected = [Ok("%ROOM 101?"), Ok(";12?"), Err(Reading::Blank)];
    assert_eq!(texts, expected.map(|text| text.map(str::to_owned)));
    assert_eq!(encoder.writes(None).unwrap(), 1);
    host.write_all(b"\x1Br").unwrap();
    let block = b"\x1Bs\x1B\x01%ROOM 101?\x1B\x02;12?\x1B\x03?\x1C\x1B0";
    assert_eq!(answer(&mut host), *block);
    assert_eq!(encoder.stats().unwrap().swipes, 2);
}

#[test]
fn an_msr605x_speaks_in_reports() {
    let encoder = PtyMsr605::start_reporting(None, Pace::INSTANT).unwrap();
    let path = encoder.path().unwrap().unwrap();
    let mut host = File::options().read(true).write(true).open(path).unwrap();
    encoder.place_new(StripeKind::HiCo).unwrap();
    // Reports come in pieces.
    let sent = encode(WRITE).concat();
    let (first, rest) = sent.split_at(30);
    host.write_all(first).unwrap();
    host.write_all(rest).unwrap();
    let mut decoder = ReportDecoder::new();
    let written = decoder.push(&answer::<REPORT_BYTES>(&mut host)).unwrap();
    assert_eq!(written.unwrap().as_slice(), b"\x1B0");
    host.write_all(&encode(b"\x1Br").concat()).unwrap();
    let read = decoder.push(&answer::<REPORT_BYTES>(&mut host)).unwrap();
    let block = b"\x1Bs\x1B\x01%ROOM 101?\x1B\x02;12?\x1B\x03?\x1C\x1B0";
    assert_eq!(read.unwrap().as_slice(), block);
    // What has begun is forgotten with the supply.
    host.write_all(&encode(WRITE)[0][..20]).unwrap();
    encoder.unplug().unwrap();
    encoder.plug().unwrap();
    let path = encoder.path().unwrap().unwrap();
    let mut host = File::options().read(true).write(true).open(path).unwrap();
    host.write_all(&encode(b"\x1Be")[0]).unwrap();
    let alive = decoder.push(&answer::<REPORT_BYTES>(&mut host)).unwrap();
    assert_eq!(alive.unwrap().as_slice(), b"\x1By");
}

#[test]
fn a_card_is_swiped_when_somebody_does() {
    let (encoder, mut host) = start();
    let say = |line: &str| {
        encoder
            .command(line)
            .unwrap_or_else(|error| error.to_string())
    };
    assert_eq!(say("new key loco"), "key loco");
    assert_eq!(say("swipe key"), "ignored");
    host.write_all(b"\x1Be\x1Br").unwrap();
    assert_eq!(answer(&mut host), *b"\x1By");
    // The answer shows that what came before it was heard; the command behind it may still be on its way.
    while say("waits") == "no" {
        std::thread::yield_now();
    }
    assert_eq!(say("encode key %A  B?||;9?"), "");
    assert_eq!(say("swipe key"), "read");
    assert_eq!(
        answer(&mut host),
        *b"\x1Bs\x1B\x01%A  B?\x1B\x02\x1B\x03;9??\x1C\x1B0"
    );
    assert_eq!(say("tracks key"), "%A  B?||;9?");
    assert_eq!(say("bits key").split('|').nth(1), Some("0 "));
    assert_eq!(say("encode-bits key ff|d4119257f5|"), "");
    assert_eq!(say("tracks key"), "*|;12345?|");
    assert_eq!(say("bits key"), "210 ff|75 d4119257f5|210 ");
}

#[test]
fn commands_keep_to_what_there_is() {
    let (encoder, mut host) = start();
    let say = |line: &str| {
        encoder
            .command(line)
            .unwrap_or_else(|error| error.to_string())
    };
    assert_eq!(say("card"), "none");
    assert_eq!(say("place hico"), "card-1 hico");
    assert_eq!(say("place loco"), "card-2 loco");
    assert_eq!(say("cards"), "card-1 hico");
    assert_eq!(say("place card-1"), "card-1 hico");
    assert_eq!(say("place card-1"), "card-1 hico");
    assert_eq!(
        say("swipe card-1"),
        "ignored",
        "it is drawn through by itself"
    );
    assert_eq!(say("wear card-1"), "");
    host.write_all(WRITE).unwrap();
    assert_eq!(answer(&mut host), *b"\x1B1");
    assert_eq!(say("fault status 1 39"), "");
    host.write_all(WRITE).unwrap();
    assert_eq!(answer(&mut host), *b"\x1B9");
    assert_eq!(say("habit marks"), "");
    assert_eq!(say("remove"), "card-1 hico");
    assert_eq!(say("remove"), "none");
    for (line, expected) in [
        ("", "unknown command \"\""),
        ("habit none", "unknown command"),
        ("new hico loco", "the name \"hico\" is taken"),
        ("new card-2 loco", "the name \"card-2\" is taken"),
        ("new key gold", "unknown card \"gold\"; known: hico, loco"),
        ("place gold", "no card is named \"gold\""),
        ("tracks", "expected one card in the field, found 0"),
        (
            "encode card-2 %A?",
            "expected three tracks with `|` between",
        ),
        (
            "encode card-2 %a?||",
            "expected three tracks with `|` between, each with its sentinels",
        ),
        (
            "encode-bits card-2 x||",
            "expected three tracks with `|` between, each bytes in hex",
        ),
        ("fault no", "unknown fault \"no\"; known:"),
    ] {
        let error = encoder.command(line).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{line}: {error}");
    }
    assert_eq!(say("tracks card-2"), "||");
    for word in [
        "place", "swipe", "encode", "habit", "fault", "plug", "stats",
    ] {
        assert!(say("help").contains(word));
    }
    assert!(say("fault help").contains("jerk N"));
    assert!(say("stats").starts_with("bytes_in "));
}

#[test]
fn unplugging_ends_the_port_and_what_was_under_way() {
    let directory = tempfile::tempdir().unwrap();
    let link = directory.path().join("tty");
    let encoder = PtyMsr605::start(Some(&link), Pace::INSTANT).unwrap();
    encoder.create("key", StripeKind::HiCo).unwrap();
    let mut host = File::options().read(true).write(true).open(&link).unwrap();
    host.write_all(WRITE).unwrap();
    while !encoder.waits().unwrap() {
        std::thread::yield_now();
    }
    encoder.unplug().unwrap();
    assert!(link.symlink_metadata().is_err());
    assert_eq!(encoder.swipe("key").unwrap(), Swiped::Ignored);
    encoder.plug().unwrap();
    let mut host = File::options().read(true).write(true).open(&link).unwrap();
    host.write_all(b"\x1Bt").unwrap();
    assert_eq!(answer(&mut host), *b"\x1B3S");
    drop(encoder);
    assert!(link.symlink_metadata().is_err());
}
