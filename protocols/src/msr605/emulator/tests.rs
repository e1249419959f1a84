use super::*;

fn said(device: &mut Emulator, now: Moment, bytes: &[u8]) -> Vec<u8> {
    device.handle_input(now, bytes);
    heard(device, now)
}

fn heard(device: &mut Emulator, now: Moment) -> Vec<u8> {
    device.handle_timeout(now);
    std::iter::from_fn(|| device.poll_transmit(now))
        .flatten()
        .collect()
}

fn after(millis: u64) -> Moment {
    Moment::after_origin(Duration::from_millis(millis))
}

fn hico() -> StripeCard {
    StripeCard::blank(StripeKind::HiCo)
}

const WRITE: &[u8] = b"\x1Bw\x1Bs\x1B\x01AB\x1B\x0212\x1B\x0398?\x1C";

#[test]
fn a_card_is_drawn_through_only_while_one_is_awaited() {
    let mut device = Emulator::new(Pace::INSTANT);
    let mut card = hico();
    let now = Moment::ORIGIN;
    assert_eq!(device.swipe(now, &mut card), Swiped::Ignored);
    assert_eq!(said(&mut device, now, b"\x1Br"), b"");
    assert!(device.waits());
    // Until then it hears a reset alone.
    assert_eq!(said(&mut device, now, b"\x1Be\x1Bt"), b"");
    assert_eq!(device.swipe(now, &mut card), Swiped::Read);
    assert_eq!(
        heard(&mut device, now),
        b"\x1Bs\x1B\x01\x1B\x02\x1B\x03?\x1C\x1B0"
    );
    assert_eq!(
        device.swipe(now, &mut card),
        Swiped::Ignored,
        "once for each command"
    );
    said(&mut device, now, WRITE);
    assert_eq!(said(&mut device, now, b"\x1Ba\x1Be"), b"\x1By");
    assert_eq!(device.swipe(now, &mut card), Swiped::Ignored);
    assert_eq!(
        (
            device.stats().swipes,
            device.stats().resets,
            device.stats().aborted
        ),
        (1, 1, 1)
    );
}

#[test]
fn a_card_at_hand_is_drawn_through_each_time_and_takes_its_time() {
    let mut device = Emulator::new(Pace {
        wire: true,
        swipe: true,
    });
    device.place(Moment::ORIGIN, "card", hico());
    // 25 bytes to the device, 0.4 s, two bytes back, at 10 bits each.
    let sent = Duration::from_secs(1) * 10 * u32::try_from(WRITE.len()).unwrap() / 9_600;
    device.handle_input(Moment::ORIGIN, WRITE);
    let swiped = Moment::ORIGIN + sent + Duration::from_millis(400);
    assert_eq!(heard(&mut device, swiped), b"");
    assert_eq!(
        heard(&mut device, swiped + Duration::from_micros(2_085)),
        b"\x1B0"
    );
    assert_eq!(
        device.at_hand().unwrap().1.texts().map(Result::unwrap),
        ["%AB?", ";12?", ";98?"]
    );
    let (name, card) = device.remove(swiped).unwrap();
    assert_eq!((name.as_str(), card.writes()), ("card", 1));
    device.handle_input(after(2_000), b"\x1Br");
    assert_eq!(heard(&mut device, after(5_000)), b"");
}

#[test]
fn commands_may_come_in_pieces_and_what_stays_unfinished_is_given_up() {
    let mut device = Emulator::new(Pace::INSTANT);
    device.place(Moment::ORIGIN, "card", hico());
    for byte in &WRITE[..WRITE.len() - 1] {
        assert_eq!(said(&mut device, Moment::ORIGIN, &[*byte]), b"");
    }
    assert_eq!(
        said(&mut device, Moment::ORIGIN, &WRITE[WRITE.len() - 1..]),
        b"\x1B0"
    );
    said(&mut device, Moment::ORIGIN, &WRITE[..9]);
    assert_eq!(device.poll_timeout(), Some(after(5_000)));
    assert_eq!(said(&mut device, after(5_000), b"\x1Be"), b"\x1By");
}

#[test]
fn ill_formed_and_unknown_commands_are_refused() {
    let long = [
        b"\x1Bw\x1Bs\x1B\x01".as_slice(),
        &[b'A'; 77],
        b"\x1B\x02\x1B\x03?\x1C",
    ]
    .concat();
    for (command, answer) in [
        (b"\x1Bq".as_slice(), b"\x1B4".as_slice()),
        (b"\x1Bw\x1Bs\x1B\x02", b"\x1B2"),
        (
            b"\x1Bn\x1Bs\x1B\x01\x00\x1B\x02\x00\x1B\x03\x00\x1B",
            b"\x1B2",
        ),
        // Letters are no characters of track 2; track 1 has no room for 77.
        (b"\x1Bw\x1Bs\x1B\x01\x1B\x02AB\x1B\x03?\x1C", b"\x1B2"),
        (&long, b"\x1B2"),
        (b"\x1Bb\x99", b"\x1BA"),
        (b"\x1Bo\x04\x05\x05", b"\x1BA"),
    ] {
        let mut device = Emulator::new(Pace::INSTANT);
        assert_eq!(
            said(&mut device, Moment::ORIGIN, command),
            answer,
            "{command:?}"
        );
        assert_eq!(
            said(&mut device, Moment::ORIGIN, b"\x1Ba\x1Be"),
            b"\x1By",
            "{command:?}"
        );
    }
}

#[test]
fn densities_zeros_and_habits_show_on_the_card() {
    let mut device = Emulator::new(Pace::INSTANT);
    let mut card = hico();
    card.set_text(0, "%OLD?");
    let now = Moment::ORIGIN;
    let only_third = b"\x1Bw\x1Bs\x1B\x01\x1B\x02\x1B\x0398?\x1C";
    assert_eq!(
        said(&mut device, now, b"\x1Bb\xC0\x1Bz\x05\x06\x1Bl"),
        b"\x1B0\x1B0\x1B\x05\x06"
    );
    said(&mut device, now, only_third);
    device.swipe(now, &mut card);
    let [first, _, third] = card.tracks();
    assert_eq!(
        (third.bpi, third.bits.iter().position(|bit| *bit)),
        (75, Some(5))
    );
    assert!(!first.bits.is_empty(), "left alone");
    device.set_habits(Habits {
        empty_track_blanks: true,
        ..Habits::default()
    });
    said(&mut device, now, only_third);
    device.swipe(now, &mut card);
    assert_eq!(
        card.texts(),
        [
            Err(Reading::Blank),
            Err(Reading::Blank),
            Ok(";98?".to_owned())
        ]
    );
}

#[test]
fn what_does_not_fit_the_cards_length_is_lost() {
    let mut card = hico();
    card.set_bits(1, &[true; 400]);
    card.set_bits(2, &[true; 800]);
    let lengths = card.tracks().clone().map(|track| track.bits.len());
    assert_eq!(lengths, [0, 253, 708]);
    assert!(!card.set_bits(3, &[true]));
    assert!(!card.set_text(1, ";A?"));
}

#[test]
fn a_wrong_bit_anywhere_makes_a_track_unreadable() {
    let mut card = hico();
    card.set_text(1, ";1234?");
    let bits = card.tracks()[1].bits.clone();
    for at in 22..bits.len() {
        let mut wrong = bits.clone();
        wrong[at] = !wrong[at];
        card.set_bits(1, &wrong);
        assert_eq!(card.texts()[1], Err(Reading::Unreadable), "bit {at}");
    }
    card.set_bits(1, &bits[..bits.len() - 5]);
    assert_eq!(
        card.texts()[1],
        Err(Reading::Unreadable),
        "no check character"
    );
}

#[test]
fn faults_do_what_they_say() {
    let fault = |text: &str| text.parse::<Fault>().unwrap();
    for (text, expected) in [
        ("drop-reply 1", b"".as_slice()),
        ("truncate-reply 1 1", b"\x1B"),
        ("corrupt-reply 1", b"\x0By"),
        ("repeat-reply 1", b"\x1By\x1By"),
        ("lose-command 1", b""),
        ("silent-from-byte 3", b"\x1B"),
        ("silent-from-byte 0", b""),
        ("drop-reply 2", b"\x1By"),
    ] {
        let mut device = Emulator::new(Pace::INSTANT);
        device.inject(fault(text));
        assert_eq!(
            said(&mut device, Moment::ORIGIN, b"\x1Be"),
            expected,
            "{text}"
        );
        device.clear_faults();
        assert_eq!(
            said(&mut device, Moment::ORIGIN, b"\x1Be"),
            b"\x1By",
            "{text}"
        );
    }
    let mut device = Emulator::new(Pace::INSTANT);
    device.inject(fault("delay-reply 1 50"));
    device.inject(fault("babble 2 7"));
    assert_eq!(said(&mut device, Moment::ORIGIN, b"\x1Be"), b"");
    assert_eq!(heard(&mut device, after(50)).len(), 9);
    assert_eq!(said(&mut device, after(60), b"\x1Be").len(), 9);
    assert_eq!(said(&mut device, after(60), b"\x1Be"), b"\x1By");
    for text in [
        "",
        "jerk",
        "jerk 0",
        "status 1 zz",
        "status 1 50",
        "babble 1 65537",
        "status 1",
        "no 1",
    ] {
        assert_eq!(text.parse::<Fault>(), Err(UnknownFault(text.to_owned())));
    }
}

#[test]
fn faults_of_swipes_leave_their_marks() {
    for (text, answer, changed, readable) in [
        ("status 1 31", b"\x1B1".as_slice(), false, true),
        ("status-after 1 3a", b"\x1B:", true, true),
        ("jerk 1", b"\x1B9", true, false),
        ("weak 1", b"\x1B0", true, false),
    ] {
        let mut device = Emulator::new(Pace::INSTANT);
        let mut card = hico();
        card.set_text(0, "%OLDER?");
        let before = card.clone();
        device.inject(text.parse().unwrap());
        said(&mut device, Moment::ORIGIN, WRITE);
        assert_eq!(device.swipe(Moment::ORIGIN, &mut card), Swiped::Written);
        assert_eq!(heard(&mut device, Moment::ORIGIN), answer, "{text}");
        assert_eq!(card.tracks() != before.tracks(), changed, "{text}");
        assert_eq!(card.texts()[0].is_ok(), readable, "{text}");
    }
    let mut device = Emulator::new(Pace::INSTANT);
    let mut card = hico();
    card.set_text(1, ";12?");
    device.inject(Fault::Jerk(1));
    said(&mut device, Moment::ORIGIN, b"\x1Br");
    device.swipe(Moment::ORIGIN, &mut card);
    assert_eq!(
        heard(&mut device, Moment::ORIGIN),
        b"\x1Bs\x1B\x01\x1B\x02\x1B*\x1B\x03?\x1C\x1B1"
    );
}

#[test]
fn a_power_cycle_forgets_settings_and_the_command_under_way() {
    let mut device = Emulator::new(Pace::INSTANT);
    said(&mut device, Moment::ORIGIN, b"\x1By\x1Br");
    device.place(after(1), "card", hico());
    let mut other = Emulator::new(Pace::INSTANT);
    said(&mut other, Moment::ORIGIN, b"\x1By\x1Br");
    other.power_cycle();
    assert!(!other.waits());
    assert_eq!(said(&mut other, after(2), b"\x1Bd"), b"\x1BH");
    assert_eq!(device.at_hand().unwrap().0, "card");
}

#[test]
fn reports_that_are_none_are_thrown_away() {
    let mut device = ReportedEmulator::new(Pace::INSTANT);
    assert!(
        device
            .handle_report(Moment::ORIGIN, &[0xC2, 0x1B, b'e'])
            .is_err()
    );
    assert_eq!(device.poll_report(Moment::ORIGIN), None);
    let mut report = [0; 64];
    report[..3].copy_from_slice(&[0xC2, 0x1B, b'e']);
    device.handle_report(Moment::ORIGIN, &report).unwrap();
    let answer = device.poll_report(Moment::ORIGIN).unwrap();
    assert_eq!(answer[..3], [0xC2, 0x1B, b'y']);
}
