//! The MSR family's line and reports from both ends: what a device may send to the driver, and what a host may send to the
//! emulated device.

use std::time::Duration;

use encoder_protocols::{
    card::magstripe::{BitString, Coercivity, Density, Track},
    link::Link as _,
    moment::Moment,
    msr605::{
        command::{LeadingZeros, Leds, Reply, Request},
        emulator::{Emulator, Fault, Habits, Pace, ReportedEmulator, StripeCard, StripeKind},
        link::{LinkTiming, Msr605Link},
        report::{LONGEST_MESSAGE, REPORT_BYTES, ReportDecoder, encode},
        track::{BitsPerCharacter, RawTrack, TrackText},
    },
};

use super::input::Input;

pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    match input.below(4) {
        0 => reports(&mut input),
        1 => link(&mut input),
        2 => block(&mut input),
        _ => emulator(&mut input),
    }
}

/// Any reports are taken, and what comes out of them, sent again, comes out the same.
fn reports(input: &mut Input<'_>) {
    let mut decoder = ReportDecoder::new();
    while !input.is_empty() {
        let mut report = input.bytes(REPORT_BYTES as u8 + 2).to_vec();
        if input.flag() {
            report.resize(REPORT_BYTES, 0xEE);
        }
        let Ok(Some(message)) = decoder.push(&report) else {
            continue;
        };
        assert!((1..=LONGEST_MESSAGE).contains(&message.len()));
        let mut again = ReportDecoder::new();
        let decoded = encode(&message)
            .iter()
            .filter_map(|report| again.push(report).expect("a sound report"))
            .collect::<Vec<_>>();
        assert_eq!(decoded, [message]);
        assert!(!decoder.is_partial());
    }
}

fn texts() -> [TrackText; 3] {
    ["ROOM^1", "12=3", "99"].map(|text| TrackText::new(text).expect("characters of a track"))
}

fn requests() -> [Request; 16] {
    let bits = || BitString::from_low_first(&[0x35]);
    let bits = || RawTrack::new(bits(), BitsPerCharacter::Eight).expect("short");
    [
        Request::Reset,
        Request::CommunicationTest,
        Request::Leds(Leds::Red),
        Request::SensorTest,
        Request::RamTest,
        Request::SetLeadingZeros(LeadingZeros::default()),
        Request::LeadingZeros,
        Request::Erase([true; 3]),
        Request::SetDensity(Track::Two, Density::Bpi75),
        Request::ReadIso,
        Request::WriteIso(texts()),
        Request::ReadRaw,
        Request::WriteRaw([bits(), bits(), bits()]),
        Request::Model,
        Request::Firmware,
        Request::SetBitsPerCharacter(BitsPerCharacter::PLAIN),
    ]
}

/// When the command under way ends at the latest; none where a person decides it.
type Awaited = Option<Option<Moment>>;

/// Whatever a device sends, every command ends that does not wait for a card, and not later than the link says.
fn link(input: &mut Input<'_>) {
    let requests = requests();
    let over_reports = input.flag();
    let timing = LinkTiming::default();
    let mut link = if over_reports {
        Msr605Link::reports(timing)
    } else {
        Msr605Link::serial(timing)
    };
    let mut now = Moment::ORIGIN;
    let mut awaited: Awaited = None;
    while !input.is_empty() {
        match input.below(12) {
            0..=2 => {
                let request = input.pick(&requests).clone();
                let by = request
                    .reply_timeout()
                    .map(|_| now + link.longest(&request));
                awaited = Some(by);
                link.send(now, request);
            }
            3..=5 => hear(&mut link, now, over_reports, input.bytes(255)),
            6 | 7 => {
                let answers: [&[u8]; 8] = [
                    b"\x1B0",
                    b"\x1B1",
                    b"\x1B9",
                    b"\x1By",
                    b"\x1B3S",
                    b"\x1B0\x08\x08\x08",
                    b"\x1Bs\x1B\x01%A?\x1B\x02\x1B+\x1B\x03;1??\x1C\x1B0",
                    b"\x1Bs\x1B\x01\x01\xA0\x1B\x02\x00\x1B\x03\x02\x1B\x1C?\x1C\x1B0",
                ];
                let answer = *input.pick(&answers);
                hear(&mut link, now, over_reports, answer);
            }
            8 => {
                link.abort(now);
                awaited = None;
            }
            9 if input.below(8) == 0 => {
                link.reset();
                awaited = None;
            }
            9 if over_reports => link.handle_input(now, input.bytes(70)),
            _ => {
                let until = now + input.span();
                while let Some(at) = link.poll_timeout().filter(|at| *at <= until) {
                    now = now.max(at);
                    link.handle_timeout(now);
                    settle(&mut link, now, over_reports, &mut awaited);
                }
                now = until;
            }
        }
        settle(&mut link, now, over_reports, &mut awaited);
    }
    for _ in 0..64 {
        let Some(at) = link.poll_timeout() else { break };
        now = now.max(at);
        link.handle_timeout(now);
        settle(&mut link, now, over_reports, &mut awaited);
    }
    assert_eq!(link.poll_timeout(), None, "it never comes to rest");
    assert!(
        !matches!(awaited, Some(Some(_))),
        "a command without an end"
    );
}

fn hear(link: &mut Msr605Link, now: Moment, over_reports: bool, bytes: &[u8]) {
    if over_reports {
        for report in encode(bytes) {
            link.handle_input(now, &report);
        }
    } else {
        link.handle_input(now, bytes);
    }
}

/// Takes what the link says, and looks whether the command under way keeps to its time.
fn settle(link: &mut Msr605Link, now: Moment, over_reports: bool, awaited: &mut Awaited) {
    let mut pieces = 0;
    while let Some(bytes) = link.poll_transmit() {
        pieces += 1;
        assert!(!over_reports || bytes.len() == 1 + REPORT_BYTES);
        assert!(!bytes.is_empty() && bytes.len() < LONGEST_MESSAGE);
    }
    assert!(pieces < 64, "{pieces} pieces at once");
    if link.poll_reply().is_some() {
        awaited.take().expect("a reply that nobody awaits");
    }
    if let Some(Some(by)) = awaited {
        let next = link.poll_timeout().expect("awaited, and nothing will come");
        assert!(
            next <= *by || next <= now,
            "waits until {next:?}, promised {by:?}"
        );
    }
}

/// A block is read the same however it is cut, and never shows itself.
fn block(input: &mut Input<'_>) {
    let request = input.pick(&[Request::ReadIso, Request::ReadRaw]).clone();
    let step = usize::from(input.byte()) + 1;
    let bytes = [b"\x1Bs", input.rest()].concat();
    let whole = read(&request, bytes.chunks(bytes.len().clamp(1, 512)));
    for pieces in [1, step] {
        let cut = read(&request, bytes.chunks(pieces));
        // What comes behind the end of an answer is not read, so only whole answers compare.
        if let (Some(Ok(whole)), Some(Ok(cut))) = (&whole, &cut) {
            assert_eq!(whole, cut, "cut every {pieces} bytes");
        }
        assert_eq!(matches!(whole, Some(Ok(_))), matches!(cut, Some(Ok(_))));
    }
    if let Some(Ok(Reply::Iso(swipe))) = whole {
        let shown = format!("{swipe:?}");
        assert!(!shown.contains(";1"), "{shown}");
    }
}

fn read<'a>(
    request: &Request,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> Option<Result<Reply, encoder_protocols::msr605::link::LinkError>> {
    let timing = LinkTiming {
        quiet: Duration::ZERO,
        ..LinkTiming::default()
    };
    let mut link = Msr605Link::serial(timing);
    link.send(Moment::ORIGIN, request.clone());
    for piece in pieces {
        link.handle_input(Moment::ORIGIN, piece);
        if let Some(reply) = link.poll_reply() {
            return Some(reply);
        }
    }
    None
}

/// Whatever a host writes, the emulated device comes to rest, and a reset makes it answer again.
fn emulator(input: &mut Input<'_>) {
    let pace = Pace {
        wire: input.flag(),
        swipe: input.flag(),
    };
    let mut reported = ReportedEmulator::new(pace);
    let mut now = Moment::ORIGIN;
    let mut cards = [StripeKind::HiCo, StripeKind::LoCo].map(StripeCard::blank);
    let mut steps = 0;
    while !input.is_empty() && steps < 400 {
        steps += 1;
        let device = &mut reported.device;
        match input.below(16) {
            0 | 1 => {
                let card = &mut cards[usize::from(input.below(2))];
                device.swipe(now, card);
                let _ = card.texts();
            }
            2 => drop(device.place(now, "card", cards[usize::from(input.below(2))].clone())),
            3 => drop(device.remove(now)),
            4 => {
                let words = format!(
                    "{} {} {}",
                    input.pick(&[
                        "status",
                        "status-after",
                        "jerk",
                        "weak",
                        "drop-reply",
                        "corrupt-reply",
                        "truncate-reply",
                        "delay-reply",
                        "repeat-reply",
                        "babble",
                        "lose-command",
                        "deaf-after-reset",
                        "silent-from-byte",
                    ]),
                    input.number(),
                    input.pick(&["", "31", "39", "7"])
                );
                if let Ok(fault) = words.trim().parse::<Fault>() {
                    device.inject(fault);
                }
            }
            5 => device.clear_faults(),
            6 if input.below(4) == 0 => device.power_cycle(),
            6 => device.set_habits(Habits {
                empty_track_blanks: input.flag(),
                marks_blank_tracks: input.flag(),
            }),
            7 => {
                let card = &mut cards[usize::from(input.below(2))];
                let text = input.text(40);
                if card.set_text(usize::from(input.below(4)), &text) && input.below(8) == 0 {
                    card.wear_out();
                }
            }
            8..=10 => device.handle_input(now, &input.pick(&requests()).message()),
            11 | 12 => {
                let command = [&[0x1B], input.bytes(60)].concat();
                device.handle_input(now, &command);
            }
            13 => device.handle_input(now, input.bytes(255)),
            14 => drop(reported.handle_report(now, input.bytes(66))),
            _ => now = now + input.span(),
        }
        reported.device.handle_timeout(now);
        while reported.poll_report(now).is_some() {}
    }
    let mut device = reported.device;
    device.clear_faults();
    device.remove(now);
    now = rest(&mut device, now);
    device.power_cycle();
    device.handle_input(now, &Request::Reset.message());
    now = rest(&mut device, now);
    device.handle_input(now, &Request::CommunicationTest.message());
    let mut answer = Vec::new();
    while let Some(at) = device.poll_timeout() {
        now = now.max(at);
        device.handle_timeout(now);
        answer.extend(std::iter::from_fn(|| device.poll_transmit(now)).flatten());
    }
    answer.extend(std::iter::from_fn(|| device.poll_transmit(now)).flatten());
    assert_eq!(answer, b"\x1By");
    // A stronger or weaker field can be asked for at any time.
    for coercivity in [Coercivity::High, Coercivity::Low] {
        device.handle_input(now, &Request::SetCoercivity(coercivity).message());
    }
}

fn rest(device: &mut Emulator, mut now: Moment) -> Moment {
    for _ in 0..4_096 {
        let Some(at) = device.poll_timeout() else {
            break;
        };
        now = now.max(at);
        device.handle_timeout(now);
        while device.poll_transmit(now).is_some() {}
    }
    assert_eq!(device.poll_timeout(), None, "it never comes to rest");
    now
}
