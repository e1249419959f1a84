//! The vectors in `vectors/`: requests are built from typed commands and compared byte for byte, replies are decoded to
//! typed ones. The two transcripts are also driven through the link.

use std::time::Duration;

use super::{
    command::{
        ActivatedTarget, AutoPoll, BaudRate, CardData, Communicate, Diagnose, Diagnosis, Exchange,
        Exchanged, FirmwareVersion, GeneralStatus, ListPassiveTarget, ListedTarget, Parameters,
        PolledTarget, PowerDown, RegisterValue, Reply, Request, RfConfiguration, SamConfiguration,
        SamMode, SamOptions, TargetCount, WakeSources, crc_a,
    },
    frame::{Direction, Frame, FrameDecoder, encode_information},
    link::{LinkTiming, Pn532Link, WAKE_UP},
    status::{Status, StatusCode},
};
use crate::{
    card::{CandidateKey, ClassicKey, KeySlot, Uid, hex},
    link::Link,
    moment::Moment,
};

const GOLDEN: &str = include_str!("vectors/golden.txt");
const CRC_A: &str = include_str!("vectors/crc_a.txt");
const NFCPY: &str = include_str!("vectors/nfcpy_init.txt");
const LIBNFC: &str = include_str!("vectors/libnfc_mfclassic_read.txt");

/// What a golden frame is.
enum Meaning {
    /// The host's: bytes before the frame, and the command.
    Command(&'static [u8], Request),
    /// The chip's answer to the command.
    Answer(Request, Reply),
    /// A frame that carries no information.
    Bare(Frame),
}

#[test]
fn every_golden_frame_is_built_or_read() {
    let mut count = 0;
    for (name, bytes) in pairs(GOLDEN) {
        match meaning(name) {
            Meaning::Command(before, request) => {
                let mut built = before.to_vec();
                built.extend(encoded(&request));
                assert_eq!(built, bytes, "{name}");
            }
            Meaning::Answer(request, reply) => {
                let payload = chip_payload(&bytes);
                assert_eq!(request.parse_reply(&payload), Ok(reply), "{name}");
            }
            Meaning::Bare(frame) => {
                assert_eq!(frame.encode().unwrap(), bytes, "{name}");
                assert_eq!(frames(&bytes), [frame], "{name}");
            }
        }
        count += 1;
    }
    assert_eq!(count, 73);
}

#[test]
fn crc_a_is_as_published() {
    for (bytes, crc) in CRC_A
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (bytes, crc) = line.split_once(" | ").unwrap();
            (bytes_of(bytes), bytes_of(crc))
        })
    {
        assert_eq!(crc_a(&bytes).as_slice(), crc);
    }
}

#[test]
fn nfcpy_opens_the_chip_with_our_commands() {
    let steps = transcript(NFCPY);
    let script = nfcpy_script();
    let mut steps = steps.iter();
    for (request, reply) in script {
        let (said, heard) = steps.next().unwrap();
        assert!(
            said.iter()
                .take(said.len() - encoded(&request).len())
                .all(|byte| *byte == 0),
            "only zeros stand before a command"
        );
        assert!(said.ends_with(&encoded(&request)), "{request:?}");
        assert_eq!(
            request.parse_reply(&answer(heard)),
            Ok(reply),
            "{request:?}"
        );
        if let Request::SetSerialBaudRate(_) = request {
            assert_eq!(steps.next().unwrap().0, super::frame::ACK);
        }
    }
    assert!(steps.next().is_none());
}

#[test]
fn the_link_says_byte_for_byte_what_libnfc_says() {
    let mut link = Pn532Link::new(LinkTiming::default());
    let script = libnfc_script();
    let steps = transcript(LIBNFC);
    assert_eq!(script.len(), steps.len());
    let mut now = Moment::ORIGIN;
    for ((request, reply), (said, heard)) in script.into_iter().zip(&steps) {
        link.send(now, request);
        assert_eq!(link.poll_transmit().as_ref(), Some(said));
        now = now + Duration::from_millis(3);
        link.handle_input(now, heard);
        assert_eq!(link.poll_reply(), Some(Ok(reply)));
        assert_eq!(link.poll_transmit(), None);
        assert_eq!(link.poll_timeout(), None);
    }
    assert_eq!(link.counters(), Default::default());
}

fn meaning(name: &str) -> Meaning {
    command(name)
        .or_else(|| exchange_command(name))
        .map(|request| Meaning::Command(&[], request))
        .or_else(|| answer_meaning(name))
        .unwrap_or_else(|| match name {
            "wake and SAM.libnfc" => Meaning::Command(
                &WAKE_UP,
                Request::SamConfiguration(SamConfiguration::NORMAL),
            ),
            "ACK" => Meaning::Bare(Frame::Ack),
            "NACK" => Meaning::Bare(Frame::Nack),
            "err frame" => Meaning::Bare(Frame::SyntaxError),
            other => panic!("no meaning for the vector {other}"),
        })
}

fn command(name: &str) -> Option<Request> {
    let request = match name {
        "SAM" => sam(Some(true)),
        "SAM.libnfc" => Request::SamConfiguration(SamConfiguration::NORMAL),
        "SAM.nfcpy" => sam(Some(false)),
        "GFV" => Request::GetFirmwareVersion,
        "GetGeneralStatus" => Request::GetGeneralStatus,
        "RF retries" => retries(0xFF, 1, 2),
        "RF retries noinf" => retries(0, 1, 0x10),
        "RF retries infinite.libnfc" => retries(0xFF, 0xFF, 0xFF),
        "RF retries finite.libnfc" => retries(0, 1, 2),
        "RFon" => field(true, false),
        "RFoff" => field(false, false),
        "SetParam14" => Request::SetParameters(Parameters::READER),
        "ILPT1" => list(TargetCount::One, None),
        "ILPT2" => list(TargetCount::Two, None),
        "ILPT1 uid 4" => list(TargetCount::One, Some("deadbeef")),
        "ILPT1 uid 7" => list(TargetCount::One, Some("04a1b2c3d4e5f6")),
        "ILPT1 uid 10" => list(TargetCount::One, Some("0102030405060708090a")),
        "AutoPoll mifare" => auto_poll(),
        "release all" => Request::InRelease(0),
        "deselect1" => Request::InDeselect(1),
        "select1" => Request::InSelect(1),
        "diag line" => Request::Diagnose(Diagnose::Line(b"libnfc".to_vec())),
        "diag line extended.nfcpy" => Request::Diagnose(Diagnose::Line(counting())),
        "pdown" => power_down(WakeSources::HSU),
        "baud 460800" => Request::SetSerialBaudRate(BaudRate::B460800),
        "ReadRegister 6302 6303" => Request::ReadRegister(vec![0x6302, 0x6303]),
        "WriteRegister 6302 6303" => registers(&[(0x6302, 0), (0x6303, 0)]),
        _ => return None,
    };
    Some(request)
}

fn exchange_command(name: &str) -> Option<Request> {
    let request = match name {
        "authA b4" => authenticate(KeySlot::A, 4),
        "authB b4" => authenticate(KeySlot::B, 4),
        "read4" | "ul read4" => read(4),
        "write4" => Request::InDataExchange(Exchange::write_block(
            1,
            4,
            &std::array::from_fn(|index| index as u8),
        )),
        "ul write4" => Request::InDataExchange(Exchange::write_page(1, 4, b"HELL")),
        "getver thru" => thru("60"),
        "getver thru, CRC by host" => {
            let [low, high] = crc_a(&[0x60]);
            Request::InCommunicateThru(Communicate::new(&[0x60, low, high]))
        }
        "fastread thru" => thru("3a0427"),
        "pwdauth thru" => thru("1bffffffff"),
        "desfire getver" => exchange("9060000000"),
        "desfire select" => exchange("905a00000301000000"),
        "desfire auth aes" => exchange("90aa0000010000"),
        _ => return None,
    };
    Some(request)
}

fn answer_meaning(name: &str) -> Option<Meaning> {
    let (request, reply) = match name {
        "SAM.rsp" => (sam(None), Reply::Done),
        "GFV.rsp" => (Request::GetFirmwareVersion, version_1_6()),
        "RF.rsp" => (field(true, false), Reply::Done),
        "SetParam rsp" => (Request::SetParameters(Parameters::READER), Reply::Done),
        "baud rsp" => (Request::SetSerialBaudRate(BaudRate::B9600), Reply::Done),
        "WriteRegister rsp" => (registers(&[(0x6302, 0)]), Reply::Done),
        "ReadRegister rsp" => (
            Request::ReadRegister(vec![0x6302, 0x6303]),
            Reply::Registers(vec![0x80, 0x80]),
        ),
        "pdown rsp" => (power_down(WakeSources::HSU), success()),
        "release rsp" => (Request::InRelease(0), success()),
        "sel.rsp" => (Request::InSelect(1), success()),
        "deselect rsp" => (Request::InDeselect(0), success()),
        "diag line rsp" => (
            Request::Diagnose(Diagnose::Line(b"libnfc".to_vec())),
            Reply::Diagnosis(Diagnosis::Echo(b"libnfc".to_vec())),
        ),
        "diag line extended.nfcpy rsp" => (
            Request::Diagnose(Diagnose::Line(counting())),
            Reply::Diagnosis(Diagnosis::Echo(counting())),
        ),
        "GetGeneralStatus rsp one target" => (Request::GetGeneralStatus, general_status()),
        "ILPT none" => (list(TargetCount::One, None), Reply::Targets(vec![])),
        "ILPT mfc" => (
            list(TargetCount::One, None),
            Reply::Targets(vec![classic()]),
        ),
        "ILPT ntag" => (list(TargetCount::One, None), Reply::Targets(vec![ntag(1)])),
        "ILPT 2" => (
            list(TargetCount::Two, None),
            Reply::Targets(vec![classic(), ntag(2)]),
        ),
        "ILPT desfire" => (
            list(TargetCount::One, None),
            Reply::Targets(vec![desfire()]),
        ),
        "AutoPoll rsp" => (
            auto_poll(),
            Reply::Polled(vec![PolledTarget {
                kind: 0x10,
                data: CardData::new(&bytes_of("01 00 04 08 04 DE AD BE EF")),
            }]),
        ),
        "auth ok" => (authenticate(KeySlot::A, 4), exchanged(0x00, "")),
        "auth fail" => (authenticate(KeySlot::A, 4), exchanged(0x14, "")),
        "rd timeout" => (read(4), exchanged(0x01, "")),
        "read4 rsp" => (read(4), exchanged(0, "000102030405060708090a0b0c0d0e0f")),
        // The first byte of GET_VERSION's answer is missing here: what stands first is the status.
        "getver rsp" => (thru("60"), exchanged(0, "04040201000f03")),
        "getver rsp2" => (thru("60"), exchanged(0, "0004040201000f03")),
        "pwdauth rsp" => (thru("1bffffffff"), exchanged(0, "0000")),
        "nak via thru" => (thru("60"), exchanged(2, "00")),
        "desfire rsp ok" => (exchange("905a00000301000000"), exchanged(0, "9100")),
        _ => return None,
    };
    Some(Meaning::Answer(request, reply))
}

fn nfcpy_script() -> Vec<(Request, Reply)> {
    let configure = |item| (Request::RfConfiguration(item), Reply::Done);
    vec![
        (Request::GetFirmwareVersion, version_1_6()),
        (sam(Some(false)), Reply::Done),
        (Request::SetSerialBaudRate(BaudRate::B921600), Reply::Done),
        (
            Request::Diagnose(Diagnose::Line(counting())),
            Reply::Diagnosis(Diagnosis::Echo(counting())),
        ),
        (Request::GetFirmwareVersion, version_1_6()),
        (Request::SetParameters(Parameters::default()), Reply::Done),
        configure(RfConfiguration::Timings {
            atr_res: 0x0B,
            retry: 0x0A,
        }),
        configure(RfConfiguration::MaxRetriesCommunication(0)),
        (retries(1, 0, 1), Reply::Done),
        configure(RfConfiguration::AnalogTypeA([
            0x59, 0xF4, 0x3F, 0x11, 0x4D, 0x85, 0x61, 0x6F, 0x26, 0x62, 0x87,
        ])),
        configure(RfConfiguration::AnalogFelica([
            0x69, 0xFF, 0x3F, 0x11, 0x41, 0x85, 0x61, 0x6F,
        ])),
        configure(RfConfiguration::AnalogTypeB([0xFF, 0x04, 0x85])),
        configure(RfConfiguration::AnalogIsoDep([
            0x85, 0x15, 0x8A, 0x85, 0x08, 0xB2, 0x85, 0x01, 0xDA,
        ])),
        (field(false, true), Reply::Done),
    ]
}

fn libnfc_script() -> Vec<(Request, Reply)> {
    let parameters = Parameters {
        automatic_rats: false,
        ..Parameters::READER
    };
    let line = b"libnfc".to_vec();
    let trailer = "000000000000ff078069ffffffffffff";
    let empty = "00000000000000000000000000000000";
    let read_registers = |addresses: &[u16], values: &str| {
        (
            Request::ReadRegister(addresses.to_vec()),
            Reply::Registers(bytes_of(values)),
        )
    };
    let one_classic = || {
        (
            list(TargetCount::One, None),
            Reply::Targets(vec![classic()]),
        )
    };
    vec![
        (
            Request::SamConfiguration(SamConfiguration::NORMAL),
            Reply::Done,
        ),
        (
            Request::Diagnose(Diagnose::Line(line.clone())),
            Reply::Diagnosis(Diagnosis::Echo(line)),
        ),
        (Request::GetFirmwareVersion, version_1_6()),
        (Request::SetParameters(Parameters::READER), Reply::Done),
        read_registers(&[0x6302, 0x6303, 0x630D, 0x6338, 0x633D], "0000000000"),
        (registers(&[(0x6302, 0x80), (0x6303, 0x80)]), Reply::Done),
        (field(false, false), Reply::Done),
        (field(true, false), Reply::Done),
        (retries(0xFF, 0xFF, 0xFF), Reply::Done),
        read_registers(
            &[0x6302, 0x6303, 0x6305, 0x6338, 0x633C, 0x633D],
            "808000000000",
        ),
        (registers(&[(0x6305, 0x40), (0x633C, 0x10)]), Reply::Done),
        (retries(0, 1, 2), Reply::Done),
        (Request::SetParameters(parameters), Reply::Done),
        one_classic(),
        (thru("e050"), exchanged(1, "")),
        one_classic(),
        (authenticate(KeySlot::A, 0x3F), exchanged(0, "")),
        (read(0x3F), exchanged(0, trailer)),
        (read(0x3E), exchanged(0, empty)),
        (read(0x3D), exchanged(0, empty)),
        (read(0x3C), exchanged(0, empty)),
        (authenticate(KeySlot::A, 0x3B), exchanged(0, "")),
        (Request::InRelease(0), success()),
        (field(false, false), Reply::Done),
        (power_down(WakeSources(0xF0)), success()),
    ]
}

fn sam(irq: Option<bool>) -> Request {
    Request::SamConfiguration(SamConfiguration {
        mode: SamMode::Normal,
        options: Some(SamOptions { timeout: 0, irq }),
    })
}

fn retries(atr: u8, psl: u8, passive_activation: u8) -> Request {
    Request::RfConfiguration(RfConfiguration::MaxRetries {
        atr,
        psl,
        passive_activation,
    })
}

fn field(on: bool, avoid_collision: bool) -> Request {
    Request::RfConfiguration(RfConfiguration::Field {
        on,
        avoid_collision,
    })
}

fn list(max_targets: TargetCount, uid: Option<&str>) -> Request {
    Request::InListPassiveTarget(ListPassiveTarget {
        max_targets,
        uid: uid.map(|uid| uid.parse().unwrap()),
    })
}

fn auto_poll() -> Request {
    Request::InAutoPoll(AutoPoll {
        rounds: 2,
        period: 1,
        kinds: vec![0x10],
    })
}

fn power_down(wake: WakeSources) -> Request {
    Request::PowerDown(PowerDown { wake, irq: None })
}

fn registers(values: &[(u16, u8)]) -> Request {
    let values = values
        .iter()
        .map(|(address, value)| RegisterValue {
            address: *address,
            value: *value,
        })
        .collect();
    Request::WriteRegister(values)
}

fn authenticate(slot: KeySlot, block: u8) -> Request {
    let key = CandidateKey {
        slot,
        key: ClassicKey([0xFF; 6]),
    };
    Request::InDataExchange(Exchange::authenticate(1, block, &key, &classic().uid))
}

fn read(address: u8) -> Request {
    Request::InDataExchange(Exchange::read(1, address))
}

fn exchange(data: &str) -> Request {
    Request::InDataExchange(Exchange::new(1, &bytes_of(data)))
}

fn thru(data: &str) -> Request {
    Request::InCommunicateThru(Communicate::new(&bytes_of(data)))
}

fn exchanged(status: u8, data: &str) -> Reply {
    Reply::Exchanged(Exchanged {
        status: Status::from_byte(status),
        data: CardData::new(&bytes_of(data)),
    })
}

fn success() -> Reply {
    Reply::Status(Status {
        code: StatusCode::Success,
        more: false,
        nad: false,
    })
}

fn version_1_6() -> Reply {
    Reply::FirmwareVersion(FirmwareVersion {
        ic: FirmwareVersion::PN532,
        version: 1,
        revision: 6,
        support: 7,
    })
}

fn general_status() -> Reply {
    Reply::GeneralStatus(GeneralStatus {
        error: Status::from_byte(0),
        foreign_field: true,
        targets: vec![ActivatedTarget {
            number: 1,
            receive_rate: 0,
            transmit_rate: 0,
            modulation: 0,
        }],
        sam_status: 0,
    })
}

fn classic() -> ListedTarget {
    ListedTarget {
        number: 1,
        sens_res: [0x00, 0x04],
        sel_res: 0x08,
        uid: uid("deadbeef"),
        ats: None,
    }
}

fn ntag(number: u8) -> ListedTarget {
    ListedTarget {
        number,
        sens_res: [0x00, 0x44],
        sel_res: 0x00,
        uid: uid("04a1b2c3d4e5f6"),
        ats: None,
    }
}

fn desfire() -> ListedTarget {
    ListedTarget {
        number: 1,
        sens_res: [0x03, 0x44],
        sel_res: 0x20,
        uid: uid("04112233445566"),
        ats: Some(bytes_of("067577810280")),
    }
}

fn uid(text: &str) -> Uid {
    text.parse().unwrap()
}

/// 00 to FF, then 00 to 05: what nfcpy sends in its line test.
fn counting() -> Vec<u8> {
    (0..=u8::MAX).chain(0..=5).collect()
}

fn encoded(request: &Request) -> Vec<u8> {
    encode_information(Direction::HostToChip, &request.payload()).unwrap()
}

fn frames(bytes: &[u8]) -> Vec<Frame> {
    let mut decoder = FrameDecoder::new();
    decoder.push(bytes);
    let frames = std::iter::from_fn(|| decoder.poll())
        .map(Result::unwrap)
        .collect();
    assert_eq!(decoder.noise(), 0);
    frames
}

/// The one chip-to-host payload in `bytes`.
fn chip_payload(bytes: &[u8]) -> Vec<u8> {
    let mut frames = frames(bytes);
    assert_eq!(frames.len(), 1);
    let Frame::Information {
        direction: Direction::ChipToHost,
        payload,
    } = frames.remove(0)
    else {
        panic!("expected a response");
    };
    payload
}

/// An ACK and the response's payload.
fn answer(bytes: &[u8]) -> Vec<u8> {
    let rest = bytes.strip_prefix(&super::frame::ACK).unwrap();
    chip_payload(rest)
}

fn bytes_of(text: &str) -> Vec<u8> {
    hex::decode(&text.replace(' ', "")).unwrap()
}

/// `name | hex` lines.
fn pairs(text: &str) -> impl Iterator<Item = (&str, Vec<u8>)> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (name, bytes) = line.split_once(" | ").unwrap();
            (name, bytes_of(bytes))
        })
}

/// What the host said and what it heard on it, step by step.
fn transcript(text: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut steps: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    for line in text.lines() {
        if let Some(said) = line.strip_prefix("> ") {
            steps.push((bytes_of(said), Vec::new()));
        } else if let Some(heard) = line.strip_prefix("< ") {
            steps.last_mut().unwrap().1.extend(bytes_of(heard));
        } else {
            assert!(line.starts_with('#'), "neither said nor heard: {line}");
        }
    }
    steps
}
