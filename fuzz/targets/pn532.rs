//! The PN532's line from both ends: what a chip may send to the driver, and what a host may send to the emulated chip.

use std::time::Duration;

use encoder_protocols::{
    card::{
        CandidateKey, ClassicKey, KeySlot,
        virtual_card::{CardKind, VirtualCard},
    },
    link::Link as _,
    moment::Moment,
    pn532::{
        command::{
            AutoPoll, Communicate, Diagnose, Exchange, ListPassiveTarget, Parameters, Request,
            RfConfiguration, SamConfiguration, TargetCount,
        },
        emulator::{Emulator, Fault, Pace},
        frame::{Direction, Frame, FrameDecoder, FrameError, encode_information},
        link::{LinkTiming, Pn532Link},
    },
};

use super::input::Input;

pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    match input.below(4) {
        0 => stream(&mut input),
        1 => replies(input.rest()),
        2 => link(&mut input),
        _ => emulator(&mut input),
    }
}

type Found = Vec<Result<Frame, FrameError>>;

/// Frames are found the same however the stream is cut, and a found frame is the one that its own bytes say.
fn stream(input: &mut Input<'_>) {
    let step = usize::from(input.byte()) + 1;
    let stream = input.rest();
    let (found, noise) = decode(stream.chunks(stream.len().max(1)));
    for pieces in [1, step] {
        let cut = decode(stream.chunks(pieces));
        // The decoder gives up the oldest bytes of more than it keeps; a stream below that comes out the same.
        if stream.len() <= 4096 {
            assert_eq!(cut, (found.clone(), noise), "cut every {pieces} bytes");
        }
    }
    assert!(noise <= stream.len() as u64);
    for one in &found {
        match one {
            Ok(frame) => {
                let again = frame.encode().unwrap();
                let (back, noise) = decode([again.as_slice()].into_iter());
                assert_eq!((back, noise), (vec![Ok(frame.clone())], 0));
                if let Frame::Information { payload, .. } = frame {
                    replies(payload);
                }
            }
            Err(error) => assert!(error.offset() < stream.len() as u64, "{error}"),
        }
    }
}

fn decode<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Found, u64) {
    let mut decoder = FrameDecoder::new();
    let mut found = Vec::new();
    for piece in pieces {
        decoder.push(piece);
        while let Some(one) = decoder.poll() {
            found.push(one);
        }
    }
    decoder.clear();
    (found, decoder.noise())
}

/// No payload is an answer that a command cannot read without harm, and none shows itself when formatted.
fn replies(payload: &[u8]) {
    for request in requests() {
        let read = request.parse_reply(payload);
        assert_eq!(read, request.parse_reply(payload));
        if read.is_ok() {
            assert_eq!(payload.first().copied(), Some(request.code() + 1));
        }
    }
}

fn requests() -> [Request; 13] {
    let key = CandidateKey {
        slot: KeySlot::A,
        key: ClassicKey([0xFF; 6]),
    };
    let uid = "04a1b2c3d4e5f6".parse().unwrap();
    [
        Request::SamConfiguration(SamConfiguration::NORMAL),
        Request::GetFirmwareVersion,
        Request::SetParameters(Parameters::READER),
        Request::RfConfiguration(RfConfiguration::MaxRetries {
            atr: 0xFF,
            psl: 1,
            passive_activation: 2,
        }),
        Request::InListPassiveTarget(ListPassiveTarget {
            max_targets: TargetCount::Two,
            uid: None,
        }),
        Request::InDataExchange(Exchange::authenticate(1, 7, &key, &uid)),
        Request::InDataExchange(Exchange::read(1, 4)),
        Request::InCommunicateThru(Communicate::new(&[0x1B, 0, 0, 0, 0])),
        Request::InRelease(0),
        Request::GetGeneralStatus,
        Request::Diagnose(Diagnose::Line(vec![1, 2, 3])),
        Request::ReadRegister(vec![0x6302, 0x6303]),
        Request::InAutoPoll(AutoPoll {
            rounds: 255,
            period: 15,
            kinds: vec![0x10, 0x20],
        }),
    ]
}

/// When the command under way ends at the latest, and its code.
type Awaited = Option<(Moment, u8)>;

/// Whatever a chip sends, every command ends, and not later than the link says.
fn link(input: &mut Input<'_>) {
    let requests = requests();
    let mut link = Pn532Link::new(LinkTiming::default());
    let mut now = Moment::ORIGIN;
    let mut ends_by: Awaited = None;
    while !input.is_empty() {
        match input.below(16) {
            0 | 1 => {
                let request = input.pick(&requests).clone();
                ends_by = Some((now + link.longest(&request), request.code()));
                link.send(now, request);
            }
            2..=4 => link.handle_input(now, &Frame::Ack.encode().unwrap()),
            5..=8 => {
                let code = ends_by.map_or(0, |(_, code)| code + 1);
                let payload = [&[code], input.bytes(255)].concat();
                let frame = encode_information(Direction::ChipToHost, &payload).unwrap();
                let sent = frame.len().saturating_sub(usize::from(input.below(4)) / 3);
                link.handle_input(now, &frame[..sent]);
            }
            9 => link.handle_input(now, input.bytes(255)),
            10 => link.handle_input(now, &Frame::SyntaxError.encode().unwrap()),
            11 => link.handle_input(now, &Frame::Nack.encode().unwrap()),
            12 => {
                link.abort(now);
                ends_by = None;
            }
            13 if input.below(8) == 0 => {
                link.reset();
                ends_by = None;
            }
            _ => now = pass(&mut link, now, input.span(), &mut ends_by),
        }
        settle(&mut link, now, &mut ends_by);
    }
    let waits = 64;
    for _ in 0..waits {
        let Some(at) = link.poll_timeout() else { break };
        now = now.max(at);
        link.handle_timeout(now);
        settle(&mut link, now, &mut ends_by);
    }
    assert_eq!(link.poll_timeout(), None, "waits after {waits} timeouts");
    assert!(ends_by.is_none(), "a command without an end");
}

/// Lets time pass as the port's pump does: no timeout is missed.
fn pass(link: &mut Pn532Link, now: Moment, span: Duration, ends_by: &mut Awaited) -> Moment {
    let until = now + span;
    let mut now = now;
    while let Some(at) = link.poll_timeout().filter(|at| *at <= until) {
        now = now.max(at);
        link.handle_timeout(now);
        settle(link, now, ends_by);
    }
    until
}

/// Takes what the link says, and looks whether the command under way keeps to its time.
fn settle(link: &mut Pn532Link, now: Moment, ends_by: &mut Awaited) {
    let mut frames = 0;
    while let Some(bytes) = link.poll_transmit() {
        frames += 1;
        assert!(!bytes.is_empty() && bytes.len() < 300);
    }
    // What one input or one stretch of time can make it say: aborts and commands of its own tries.
    assert!(frames < 4_096, "{frames} frames at once");
    if link.poll_reply().is_some() {
        let (by, _) = ends_by.take().expect("a reply that nobody awaits");
        assert!(
            now.since(by) <= Duration::from_secs(3 * 3_600),
            "far too late"
        );
    }
    if let Some((by, _)) = ends_by {
        let next = link.poll_timeout().expect("awaited, and nothing will come");
        assert!(next <= *by, "waits until {next:?}, promised {by:?}");
    }
}

/// Whatever a host writes, the emulated chip comes to rest, and what it sends is frames.
fn emulator(input: &mut Input<'_>) {
    let pace = Pace {
        wire: input.flag(),
        rf: input.flag(),
    };
    let mut chip = Emulator::new(pace);
    let mut now = Moment::ORIGIN;
    let mut sound = true;
    let mut said = Vec::new();
    chip.handle_input(now, &[0x55, 0x55, 0, 0, 0, 0]);
    let mut steps = 0;
    while !input.is_empty() && steps < 400 {
        steps += 1;
        match input.below(16) {
            0 | 1 => {
                let kind = *input.pick(&CardKind::ALL);
                let uid = input.flag().then(|| input.uid());
                if let Ok(card) = VirtualCard::new(kind, uid) {
                    let name = *input.pick(&["one", "two"]);
                    chip.place(now, name, card);
                }
            }
            2 => drop(chip.remove(now, "one")),
            3 => drop(chip.remove_all(now)),
            4 => {
                let text = fault(input);
                if let Ok(fault) = text.parse::<Fault>() {
                    chip.inject(fault);
                    sound = false;
                }
            }
            5 if input.below(4) == 0 => chip.power_cycle(),
            5 => chip.clear_faults(),
            6 => {
                chip.handle_input(now, input.bytes(255));
                sound = false;
            }
            7 => chip.set_line_baud(u32::from(input.byte()) * 9600),
            8..=13 => {
                let payload = command(input);
                if let Ok(frame) = encode_information(Direction::HostToChip, &payload) {
                    chip.handle_input(now, &frame);
                }
            }
            _ => now = now + input.span(),
        }
        chip.handle_timeout(now);
        while let Some(bytes) = chip.poll_transmit(now) {
            said.extend(bytes);
        }
    }
    chip.clear_faults();
    chip.remove_all(now);
    for _ in 0..4_096 {
        let Some(at) = chip.poll_timeout() else { break };
        now = now.max(at);
        chip.handle_timeout(now);
        while let Some(bytes) = chip.poll_transmit(now) {
            said.extend(bytes);
        }
    }
    assert_eq!(chip.poll_timeout(), None, "it never comes to rest");
    if sound && !pace.wire {
        for pieces in said.chunks(1024) {
            let (found, _) = decode([pieces].into_iter());
            let broken = found.iter().filter(|one| one.is_err()).count();
            assert!(broken <= 2, "{broken} broken frames of a sound chip");
        }
    }
}

fn fault(input: &mut Input<'_>) -> String {
    let names = [
        "drop-response",
        "corrupt-response",
        "truncate-response",
        "delay-response",
        "repeat-response",
        "interleave-response",
        "babble",
        "drop-ack",
        "lose-command",
        "nack-storm",
        "status",
        "status-after",
        "remove-card",
        "remove-card-at-byte",
        "silent-from-byte",
        "tear",
    ];
    let name = *input.pick(&names);
    let nth = input.number();
    match name {
        "truncate-response" | "delay-response" | "babble" => {
            format!("{name} {nth} {}", input.number())
        }
        "status" | "status-after" => format!("{name} {nth} {:02x}", input.byte()),
        "tear" => format!(
            "{name} {nth} {}{}",
            input.pick(&["old", "new", "mixed"]),
            input.pick(&["", " lift"])
        ),
        _ => format!("{name} {nth}"),
    }
}

/// A command's payload: near one that the chip knows, or any.
fn command(input: &mut Input<'_>) -> Vec<u8> {
    let mut payload = match input.below(8) {
        0 => vec![],
        1 => vec![0x4A, 1 + input.below(2), 0],
        2 => vec![
            0x40,
            1 + input.below(2),
            0x60 | input.below(2),
            input.byte(),
        ],
        3 => vec![
            0x40,
            1 + input.below(2),
            *input.pick(&[0x30, 0xA0, 0xA2, 0x3A, 0x1B]),
        ],
        4 => vec![
            0x42,
            *input.pick(&[0x60, 0x1A, 0x1B, 0x3C, 0x39, 0x30, 0x50]),
        ],
        5 => vec![0x32, *input.pick(&[0x01, 0x02, 0x04, 0x05, 0x0A])],
        6 => vec![0x08, 0x63, 0x02 | input.below(2)],
        _ => return input.pick(&requests()).payload().to_vec(),
    };
    payload.extend(input.bytes(40));
    payload
}
