mod cards;
mod faults;
mod pace;
mod replay;

use proptest::prelude::*;

use super::*;
use crate::{
    card::virtual_card::{CardKind, TornState},
    pn532::frame::NACK,
};

const NFCPY_INIT: &str = include_str!("../vectors/nfcpy_init.txt");

/// No output.
const NOTHING: [u8; 0] = [];
const NOW: Moment = Moment::ORIGIN;
/// Authentication of block 4 with the transport key.
const AUTH_4: [u8; 15] = [
    0x40, 1, 0x60, 4, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xDE, 0xAD, 0xBE, 0xEF, 0,
];

fn hex(text: &str) -> Vec<u8> {
    let digit = |digits| u8::from_str_radix(digits, 16).unwrap();
    text.split_whitespace().map(digit).collect()
}

fn at(micros: u64) -> Moment {
    Moment::after_origin(Duration::from_micros(micros))
}

fn card(kind: CardKind) -> VirtualCard {
    VirtualCard::new(kind, None).unwrap()
}

/// An awake chip with the cards in its field, named by their kinds.
fn chip_with(kinds: &[CardKind]) -> Emulator {
    let mut chip = Emulator::new(Pace::INSTANT);
    for kind in kinds {
        chip.place(NOW, kind.name(), card(*kind));
    }
    chip.handle_input(NOW, &[0x55, 0x55, 0, 0, 0, 0]);
    chip
}

fn output(chip: &mut Emulator, now: Moment) -> Vec<u8> {
    std::iter::from_fn(|| chip.poll_transmit(now))
        .flatten()
        .collect()
}

fn host_frame(payload: &[u8]) -> Vec<u8> {
    encode_information(Direction::HostToChip, payload).unwrap()
}

/// Sends a command and answers the payload of the response, after checking the acknowledge frame.
fn ask(chip: &mut Emulator, payload: &[u8]) -> Vec<u8> {
    ask_at(chip, NOW, payload)
}

fn ask_at(chip: &mut Emulator, now: Moment, payload: &[u8]) -> Vec<u8> {
    chip.handle_input(now, &host_frame(payload));
    let out = output(chip, now);
    let rest = out.strip_prefix(&ACK[..]).expect("an acknowledge frame");
    let mut decoder = FrameDecoder::new();
    decoder.push(rest);
    match decoder.poll() {
        Some(Ok(Frame::Information {
            direction: Direction::ChipToHost,
            payload,
        })) => payload,
        Some(Ok(Frame::SyntaxError)) => vec![0x7F],
        other => panic!("expected a response to {payload:02x?}, got {other:?}"),
    }
}

/// Runs until nothing is due any more and answers when the last byte came.
fn settle(chip: &mut Emulator, mut now: Moment) -> (Moment, Vec<u8>) {
    let mut out = output(chip, now);
    while let Some(due) = chip.poll_timeout() {
        now = now.max(due);
        chip.handle_timeout(now);
        out.extend(output(chip, now));
    }
    (now, out)
}

fn list(chip: &mut Emulator) -> Vec<u8> {
    ask(chip, &[0x32, 0x05, 0xFF, 0x01, 0x01]);
    ask(chip, &[0x4A, 2, 0])
}

fn auth_4() -> &'static [u8] {
    AUTH_4.split_last().unwrap().1
}

#[test]
fn input_may_come_in_pieces_of_any_size() {
    let mut whole = Emulator::new(Pace::INSTANT);
    let mut pieces = Emulator::new(Pace::INSTANT);
    let written: Vec<u8> = NFCPY_INIT
        .lines()
        .filter_map(|line| line.strip_prefix('>'))
        .flat_map(hex)
        .collect();
    whole.handle_input(NOW, &written);
    for byte in &written {
        pieces.handle_input(NOW, &[*byte]);
    }
    assert_eq!(output(&mut pieces, NOW), output(&mut whole, NOW));
}

#[test]
fn a_sleeping_chip_loses_a_command_without_preamble() {
    let mut chip = Emulator::new(Pace::INSTANT);
    chip.handle_input(NOW, &host_frame(&[0x02]));
    assert_eq!(output(&mut chip, NOW), NOTHING);
    chip.handle_timeout(at(60_000));
    chip.handle_input(at(60_000), &host_frame(&[0x02]));
    assert!(output(&mut chip, at(60_000)).starts_with(&ACK));
    assert_eq!(ask_at(&mut chip, at(60_000), &[0x16, 0x10]), [0x17, 0]);
    chip.handle_input(at(70_000), &host_frame(&[0x02]));
    assert_eq!(output(&mut chip, at(70_000)), NOTHING);
}

#[test]
fn every_command_answers_as_the_manual_says() {
    let mut chip = chip_with(&[CardKind::Classic1k]);
    for (command, response) in [
        ("02", "03 32 01 06 07"),
        ("00 00 6c 69", "01 00 6c 69"),
        ("00 01", "01 00"),
        ("00 02", "01 00"),
        ("00 04 01", "01 80"),
        ("00 06", "01 01"),
        ("00 07 00", "01 00"),
        ("00 09", "7f"),
        ("06 63 02 63 03", "07 00 00"),
        ("08 63 02 80", "09"),
        ("06 63 02", "07 80"),
        ("06 63", "7f"),
        ("08 63 02", "7f"),
        ("10 09", "7f"),
        ("12 14", "13"),
        ("14 01 00 01", "15"),
        ("14 05", "7f"),
        ("32 01 01", "33"),
        ("32 05 ff 01", "7f"),
        ("32 05 ff 01 01", "33"),
        ("44 01", "45 27"),
        ("54 01", "55 27"),
        ("52 00", "53 00"),
        ("40 01 30 04", "41 27"),
        ("42 60", "43 01"),
        ("4a 01 00", "4b 01 01 00 04 08 04 de ad be ef"),
        ("04", "05 01 01 01 01 00 00 00 80"),
        ("00 06", "01 00"),
        ("40 02 30 04", "41 27"),
        ("44 01", "45 00"),
        ("54 01", "55 00"),
        ("44 00", "45 00"),
        ("40 01 60 04 ff ff ff ff ff ff de ad be ef", "41 00"),
        ("40 01 61 04 ff ff ff ff ff 00 de ad be ef", "41 14"),
        ("40 01 30 04", "41 01"),
        ("54 01", "55 00"),
        ("52 00", "53 00"),
        ("44 01", "45 27"),
        ("4a 01 00 de ad be ef", "4b 01 01 00 04 08 04 de ad be ef"),
        ("4a 01 00 de ad be ee", "4b 00"),
        ("4a 01 00 de ad be", "7f"),
        ("4a 03 00", "7f"),
        ("4a 01 05", "7f"),
        ("4a 01 01 00 ff ff 00 00", "4b 00"),
        ("4a 01 03 00", "4b 00"),
        ("60 01 01 00", "61 01 10 09 01 00 04 08 04 de ad be ef"),
        ("60 01 01 04", "61 00"),
        ("60 01 00 00", "7f"),
        ("32 01 00", "33"),
        ("40 01 30 04", "41 27"),
        ("99", "7f"),
    ] {
        assert_eq!(ask(&mut chip, &hex(command)), hex(response), "{command}");
    }
}

#[test]
fn the_golden_reads_and_writes_of_a_classic() {
    let mut chip = chip_with(&[CardKind::Classic1k]);
    list(&mut chip);
    assert_eq!(ask(&mut chip, auth_4()), [0x41, 0]);
    let data: Vec<u8> = (0..16).collect();
    assert_eq!(
        ask(&mut chip, &[&[0x40, 1, 0xA0, 4], &data[..]].concat()),
        [0x41, 0]
    );
    assert_eq!(
        ask(&mut chip, &[0x40, 1, 0x30, 4]),
        [&[0x41, 0], &data[..]].concat()
    );
    assert_eq!(
        ask(&mut chip, &[0x40, 1, 0x30, 8]),
        [0x41, 0x13],
        "another sector"
    );
    assert_eq!(
        ask(&mut chip, &[0x40, 1, 0x30, 4]),
        [0x41, 0x01],
        "fell back to idle"
    );
    list(&mut chip);
    assert_eq!(
        ask(&mut chip, &[0x40, 1, 0x30, 4]),
        [0x41, 0x01],
        "not authenticated"
    );
}

#[test]
fn the_registers_say_who_makes_and_checks_the_crc() {
    let mut chip = chip_with(&[CardKind::Ntag213]);
    list(&mut chip);
    let version = hex("00 04 04 02 01 00 0f 03");
    assert_eq!(
        ask(&mut chip, &[0x06, 0x63, 0x02, 0x63, 0x03]),
        [0x07, 0x80, 0x80]
    );
    assert_eq!(
        ask(&mut chip, &[0x42, 0x60]),
        [&[0x43, 0], &version[..]].concat()
    );
    // Receive CRC off: the answer brings its own (as nfcpy reads type 2 tags).
    ask(&mut chip, &[0x08, 0x63, 0x03, 0x00]);
    let mut with_crc = [&[0x43, 0], &version[..]].concat();
    with_crc.extend(exchange::crc_a(&version));
    assert_eq!(ask(&mut chip, &[0x42, 0x60]), with_crc);
    assert_eq!(
        ask(&mut chip, &[0x42, 0xA2, 4, 1, 2, 3, 4]),
        [0x43, 0, 0x0A]
    );
    // Transmit CRC off: the host brings it (as libnfc does).
    ask(&mut chip, &[0x08, 0x63, 0x02, 0x00]);
    assert_eq!(ask(&mut chip, &[0x42, 0x60, 0xF8, 0x32]), with_crc);
    assert_eq!(ask(&mut chip, &[0x42, 0x60]), [0x43, 0x01]);
    assert_eq!(ask(&mut chip, &[0x42, 0x60, 0xF8, 0x33]), [0x43, 0x01]);
    // Four bits are a CRC error where the chip checks.
    ask(&mut chip, &[0x08, 0x63, 0x02, 0x80, 0x63, 0x03, 0x80]);
    assert_eq!(
        ask(&mut chip, &[0x42, 0xA2, 4, 1, 2, 3, 4]),
        [0x43, 0x02, 0x0A]
    );
    assert_eq!(ask(&mut chip, &[0x42, 0x30, 0xFF]), [0x43, 0x02, 0x00]);
}

#[test]
fn answers_that_no_frame_holds_are_an_overflow() {
    let mut chip = chip_with(&[CardKind::Ntag216]);
    list(&mut chip);
    assert_eq!(ask(&mut chip, &[0x42, 0x3A, 4, 0x40]).len(), 2 + 61 * 4);
    assert_eq!(ask(&mut chip, &[0x42, 0x3A, 0, 0xE6]), [0x43, 0x09]);
}

#[test]
fn an_endless_search_ends_when_a_card_is_placed() {
    let mut chip = chip_with(&[]);
    chip.handle_input(NOW, &host_frame(&[0x4A, 1, 0]));
    assert_eq!(output(&mut chip, NOW), ACK);
    assert_eq!(chip.poll_timeout(), None);
    chip.place(at(5_000_000), "late", card(CardKind::Classic1k));
    let expected = hex("00 00 FF 0C F4 D5 4B 01 01 00 04 08 04 DE AD BE EF 96 00");
    assert_eq!(output(&mut chip, at(5_000_000)), expected);
}

#[test]
fn acknowledge_frame_and_new_command_abort_the_one_under_way() {
    let mut chip = chip_with(&[]);
    chip.handle_input(NOW, &host_frame(&[0x4A, 1, 0]));
    chip.handle_input(NOW, &ACK);
    assert_eq!(output(&mut chip, NOW), ACK);
    chip.place(NOW, "card", card(CardKind::Classic1k));
    assert_eq!(output(&mut chip, NOW), NOTHING);
    chip.remove_all(NOW);
    chip.handle_input(NOW, &host_frame(&[0x4A, 1, 0]));
    assert_eq!(output(&mut chip, NOW), ACK);
    assert_eq!(ask(&mut chip, &[0x02])[..2], [0x03, 0x32]);
    assert_eq!(chip.stats().aborted, 2);
    assert_eq!(chip.stats().commands, 3);
}

#[test]
fn a_nack_brings_the_last_response_again_without_carrying_it_out_again() {
    let mut chip = chip_with(&[CardKind::UltralightEv1Ul11]);
    list(&mut chip);
    assert_eq!(ask(&mut chip, &[0x40, 1, 0xA2, 4, 1, 2, 3, 4]), [0x41, 0]);
    chip.handle_input(NOW, &NACK);
    assert_eq!(output(&mut chip, NOW), hex("00 00 ff 03 fd d5 41 00 ea 00"));
    assert_eq!(chip.card_mut("ultralight-ev1-ul11").unwrap().writes(), 1);
}

#[test]
fn the_rate_changes_after_the_hosts_acknowledgement_only() {
    let mut chip = chip_with(&[]);
    assert_eq!(ask(&mut chip, &[0x10, 0x06]), [0x11]);
    assert_eq!(chip.baud(), 115_200);
    chip.handle_input(NOW, &ACK);
    assert_eq!(chip.baud(), 460_800);
    assert_eq!(ask(&mut chip, &[0x10, 0x04]), [0x11]);
    assert_eq!(ask(&mut chip, &[0x02])[0], 0x03);
    chip.handle_input(NOW, &ACK);
    assert_eq!(chip.baud(), 460_800, "the new command withdrew it");
}

#[test]
fn without_preamble_the_frames_are_shorter() {
    let mut chip = chip_with(&[]);
    chip.handle_input(NOW, &host_frame(&[0x12, 0x54]));
    assert_eq!(
        output(&mut chip, NOW),
        [&ACK[..], &hex("00 ff 02 fe d5 13 18")[..]].concat()
    );
}

#[test]
fn a_power_cycle_keeps_cards_and_forgets_the_rest() {
    let mut chip = chip_with(&[CardKind::Ntag213]);
    list(&mut chip);
    ask(&mut chip, &[0x10, 0x07]);
    chip.handle_input(NOW, &ACK);
    chip.power_cycle();
    assert_eq!(chip.baud(), 115_200);
    chip.handle_input(NOW, &[0; 10]);
    assert_eq!(ask(&mut chip, &[0x40, 1, 0x30, 0]), [0x41, 0x27]);
    assert_eq!(list(&mut chip)[1], 1);
}

proptest! {
    #[test]
    fn random_bytes_never_panic(
        input in prop::collection::vec(any::<u8>(), 0..600),
        rf: bool,
        wire: bool,
    ) {
        let mut chip = Emulator::new(Pace { wire, rf });
        chip.place(NOW, "card", card(CardKind::Classic1k));
        chip.handle_input(NOW, &input);
        let (now, _) = settle(&mut chip, NOW);
        chip.handle_input(now, &[0; 300]);
        settle(&mut chip, now);
    }

    #[test]
    fn random_commands_never_panic_and_always_end(
        kinds in prop::collection::vec(0..CardKind::ALL.len(), 0..3),
        commands in prop::collection::vec(
            (prop::sample::select(vec![
                0x00, 0x02, 0x04, 0x06, 0x08, 0x10, 0x12, 0x14, 0x32, 0x40, 0x42, 0x44, 0x4A, 0x52, 0x54, 0x60,
            ]), prop::collection::vec(any::<u8>(), 0..24), 0..3_u8),
            1..20,
        ),
    ) {
        let mut chip = Emulator::new(Pace::INSTANT);
        for (number, kind) in kinds.iter().enumerate() {
            chip.place(NOW, &number.to_string(), card(CardKind::ALL[*kind]));
        }
        chip.handle_input(NOW, &[0; 10]);
        for (code, mut data, target) in commands {
            if let (0x40, Some(first)) = (code, data.first_mut()) {
                *first = target;
            }
            chip.handle_input(NOW, &host_frame(&[&[code][..], &data].concat()));
            let out = output(&mut chip, NOW);
            prop_assert!(out.starts_with(&ACK) || out.starts_with(&ACK[1..]));
        }
    }

    #[test]
    fn faults_never_make_it_hang_or_panic(
        faults in prop::collection::vec((0..16_usize, 1..40_u32), 1..5),
    ) {
        let lines: Vec<&str> = Fault::HELP.lines().collect();
        let mut chip = chip_with(&[CardKind::Ntag213]);
        for (line, count) in faults {
            let spelling = lines[line].trim().split("  ").next().unwrap();
            let spelling = spelling
                .replace("old|new|mixed", "old")
                .replace("[lift]", "")
                .replace("BYTES", "5")
                .replace("CODE", "01")
                .replace("MS", "10")
                .replace('N', &count.to_string());
            chip.inject(spelling.parse().unwrap());
        }
        for page in 4..20 {
            chip.handle_input(NOW, &host_frame(&[0x4A, 1, 0]));
            chip.handle_input(NOW, &host_frame(&[0x40, 1, 0xA2, page, 1, 2, 3, 4]));
            settle(&mut chip, NOW);
        }
        chip.clear_faults();
        chip.handle_timeout(at(1_000_000));
        chip.handle_input(at(1_000_000), &host_frame(&[0x02]));
        let out = output(&mut chip, at(1_000_000));
        prop_assert!(out.ends_with(&hex("00 00 ff 06 fa d5 03 32 01 06 07 e8 00")));
    }
}
