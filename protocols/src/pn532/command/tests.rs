use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{
    card::{CandidateKey, ClassicKey, KeySlot},
    pn532::status::StatusCode,
};

fn list() -> Request {
    Request::InListPassiveTarget(ListPassiveTarget {
        max_targets: TargetCount::Two,
        uid: None,
    })
}

fn exchange(data: &[u8]) -> Request {
    Request::InDataExchange(Exchange::new(1, data))
}

/// One of every command.
fn every_request() -> Vec<Request> {
    vec![
        Request::Diagnose(Diagnose::Line(vec![1, 2, 3])),
        Request::Diagnose(Diagnose::Rom),
        Request::Diagnose(Diagnose::Ram),
        Request::Diagnose(Diagnose::PollTarget { at_424: true }),
        Request::Diagnose(Diagnose::Attention),
        Request::Diagnose(Diagnose::Antenna { threshold: 0x44 }),
        Request::GetFirmwareVersion,
        Request::GetGeneralStatus,
        Request::ReadRegister(vec![0x6302]),
        Request::WriteRegister(vec![RegisterValue {
            address: 0x6302,
            value: 0x80,
        }]),
        Request::SetSerialBaudRate(BaudRate::B460800),
        Request::SetParameters(Parameters::READER),
        Request::SamConfiguration(SamConfiguration::NORMAL),
        Request::PowerDown(PowerDown {
            wake: WakeSources::HSU,
            irq: Some(true),
        }),
        Request::RfConfiguration(RfConfiguration::Field {
            on: true,
            avoid_collision: false,
        }),
        exchange(&[0x30, 4]),
        Request::InCommunicateThru(Communicate::new(&[0x60])),
        Request::InDeselect(1),
        list(),
        Request::InRelease(0),
        Request::InSelect(1),
        Request::InAutoPoll(AutoPoll {
            rounds: 1,
            period: 1,
            kinds: vec![0x10],
        }),
    ]
}

fn payload(request: &Request) -> Vec<u8> {
    request.payload().to_vec()
}

#[test]
fn self_tests_and_options_take_their_parameters() {
    let cases: [(Diagnose, &[u8]); 6] = [
        (Diagnose::Line(vec![9]), &[0x00, 0x00, 9]),
        (Diagnose::Rom, &[0x00, 0x01]),
        (Diagnose::Ram, &[0x00, 0x02]),
        (Diagnose::PollTarget { at_424: false }, &[0x00, 0x04, 0x01]),
        (Diagnose::Attention, &[0x00, 0x06]),
        (Diagnose::Antenna { threshold: 0x44 }, &[0x00, 0x07, 0x44]),
    ];
    for (test, expected) in cases {
        assert_eq!(payload(&Request::Diagnose(test)), expected);
    }
    let power_down = PowerDown {
        wake: WakeSources::RF,
        irq: Some(true),
    };
    assert_eq!(payload(&Request::PowerDown(power_down)), [0x16, 0x08, 0x01]);
    let all = Parameters {
        nad: true,
        did: true,
        automatic_atr_res: true,
        automatic_rats: true,
        picc_emulation: true,
        bare_frames: true,
    };
    assert_eq!(payload(&Request::SetParameters(all)), [0x12, 0x77]);
    for (mode, byte) in [
        (SamMode::Normal, 1),
        (SamMode::VirtualCard, 2),
        (SamMode::WiredCard, 3),
        (SamMode::DualCard, 4),
    ] {
        let options = None;
        let sam = SamConfiguration { mode, options };
        assert_eq!(payload(&Request::SamConfiguration(sam)), [0x14, byte]);
    }
}

#[test]
fn speeds_have_their_codes() {
    let rates = [
        (BaudRate::B9600, 9600),
        (BaudRate::B19200, 19200),
        (BaudRate::B38400, 38400),
        (BaudRate::B57600, 57600),
        (BaudRate::B115200, 115_200),
        (BaudRate::B230400, 230_400),
        (BaudRate::B460800, 460_800),
        (BaudRate::B921600, 921_600),
        (BaudRate::B1288000, 1_288_000),
    ];
    for (code, (rate, speed)) in (0_u8..).zip(rates) {
        assert_eq!((rate.code(), rate.bits_per_second()), (code, speed));
    }
}

#[test]
fn more_data_is_told_in_the_target_byte() {
    let exchange = Exchange {
        more: true,
        ..Exchange::new(2, &[0xAA])
    };
    assert_eq!(
        payload(&Request::InDataExchange(exchange)),
        [0x40, 0x42, 0xAA]
    );
}

#[test]
fn an_authentication_takes_the_last_four_bytes_of_a_long_uid() {
    let key = CandidateKey {
        slot: KeySlot::B,
        key: ClassicKey([1, 2, 3, 4, 5, 6]),
    };
    let uid = "04a1b2c3d4e5f6".parse().unwrap();
    let request = Request::InDataExchange(Exchange::authenticate(1, 7, &key, &uid));
    assert_eq!(
        payload(&request),
        [0x40, 1, 0x61, 7, 1, 2, 3, 4, 5, 6, 0xC3, 0xD4, 0xE5, 0xF6]
    );
}

#[test]
fn what_changes_a_card_twice_is_not_repeatable() {
    for data in [
        &[0x60, 4][..],
        &[0x61, 4],
        &[0x30, 4],
        &[0x3A, 4, 9],
        &[0x39, 2],
        &[0x3C, 0],
        &[0xA0, 4],
        &[0xA2, 4],
    ] {
        assert!(exchange(data).is_repeatable(), "{data:02x?}");
    }
    for data in [
        &[0xC0, 4][..],
        &[0xC1, 4],
        &[0xC2, 4],
        &[0xB0, 4],
        &[0xA5, 0],
        &[0x1B, 0, 0, 0, 0],
        &[0x90, 0x60, 0, 0, 0],
        &[],
    ] {
        assert!(!exchange(data).is_repeatable(), "{data:02x?}");
        let thru = Request::InCommunicateThru(Communicate::new(data));
        assert!(!thru.is_repeatable(), "{data:02x?}");
    }
    let not: Vec<_> = every_request()
        .into_iter()
        .filter(|request| !request.is_repeatable())
        .collect();
    assert_eq!(not, [Request::SetSerialBaudRate(BaudRate::B460800)]);
}

#[test]
fn a_search_is_waited_for_as_long_as_its_retries_take() {
    assert_eq!(list().response_timeout(0), Duration::from_millis(230));
    assert_eq!(list().response_timeout(16), Duration::from_millis(710));
    assert_eq!(list().response_timeout(255), Duration::from_secs(10));
    let poll = Request::InAutoPoll(AutoPoll {
        rounds: 2,
        period: 3,
        kinds: vec![0x10, 0x20],
    });
    assert_eq!(poll.response_timeout(0), Duration::from_millis(2000));
    for request in every_request() {
        assert!(request.response_timeout(2) >= Duration::from_millis(230));
    }
}

#[test]
fn the_answer_to_another_command_is_refused() {
    for request in every_request() {
        let expected = request.code() + 1;
        assert_eq!(
            request.parse_reply(&[expected ^ 0x80]),
            Err(ReplyError::OtherCommand {
                expected,
                got: expected ^ 0x80
            })
        );
        assert_eq!(
            request.parse_reply(&[]),
            Err(ReplyError::Empty { expected })
        );
    }
}

#[test]
fn answers_that_are_short_or_long_are_refused() {
    let cases: [(Request, &[u8]); 12] = [
        (Request::GetFirmwareVersion, &[0x03, 0x32, 1, 6]),
        (Request::GetFirmwareVersion, &[0x03, 0x32, 1, 6, 7, 0]),
        (Request::ReadRegister(vec![1, 2]), &[0x07, 0]),
        (Request::ReadRegister(vec![1, 2]), &[0x07, 0, 0, 0]),
        (Request::InRelease(0), &[0x53]),
        (Request::InRelease(0), &[0x53, 0, 0]),
        (exchange(&[0x30]), &[0x41]),
        (Request::WriteRegister(vec![]), &[0x09, 0]),
        (list(), &[0x4B]),
        (list(), &[0x4B, 3]),
        (list(), &[0x4B, 1, 1, 0, 4, 8, 4, 1, 2, 3]),
        (list(), &[0x4B, 1, 1, 0, 4, 8, 5, 1, 2, 3, 4, 5]),
    ];
    for (request, reply) in cases {
        assert_eq!(
            request.parse_reply(reply),
            Err(ReplyError::Malformed {
                command: request.name(),
                length: reply.len() - 1
            }),
            "{reply:02x?}"
        );
    }
}

#[test]
fn the_line_test_must_echo_its_number() {
    let request = Request::Diagnose(Diagnose::Line(vec![1]));
    assert!(request.parse_reply(&[0x01, 0x01, 1]).is_err());
    assert_eq!(
        Request::Diagnose(Diagnose::Rom).parse_reply(&[0x01, 0xFF]),
        Ok(Reply::Diagnosis(Diagnosis::Result(0xFF)))
    );
}

#[test]
fn cards_without_automatic_rats_have_no_ats() {
    let record = |number| [number, 0x03, 0x44, 0x20, 4, 8, 1, 2, 3];
    let mut reply = vec![0x4B, 2];
    reply.extend(record(1));
    reply.extend(record(2));
    let Ok(Reply::Targets(targets)) = list().parse_reply(&reply) else {
        panic!("expected two targets");
    };
    let seen: Vec<_> = targets.iter().map(|t| (t.number, t.ats.clone())).collect();
    assert_eq!(seen, [(1, None), (2, None)]);
}

#[test]
fn two_cards_with_ats_are_told_apart() {
    let mut reply = vec![0x4B, 2];
    reply.extend([1, 0x03, 0x44, 0x20, 4, 8, 1, 2, 3, 3, 0x75, 0x77]);
    reply.extend([2, 0x03, 0x44, 0x20, 4, 8, 9, 9, 9, 1]);
    let Ok(Reply::Targets(targets)) = list().parse_reply(&reply) else {
        panic!("expected two targets");
    };
    let ats: Vec<_> = targets.into_iter().map(|target| target.ats).collect();
    assert_eq!(ats, [Some(vec![3, 0x75, 0x77]), Some(vec![1])]);
}

#[test]
fn status_bits_come_with_the_data() {
    let Ok(Reply::Exchanged(exchanged)) = exchange(&[0x90]).parse_reply(&[0x41, 0x40, 7]) else {
        panic!("expected an exchange");
    };
    assert_eq!(exchanged.status.code, StatusCode::Success);
    assert!(exchanged.status.more && !exchanged.status.nad);
    assert_eq!(exchanged.data.as_bytes(), [7]);
}

#[test]
fn keys_and_contents_never_show() {
    let key = CandidateKey {
        slot: KeySlot::A,
        key: ClassicKey([0xDE, 0xAD, 0xBE, 0xEF, 0xDE, 0xAD]),
    };
    let uid = "01020304".parse().unwrap();
    let request = Request::InDataExchange(Exchange::authenticate(1, 4, &key, &uid));
    let write = Request::InDataExchange(Exchange::write_block(1, 4, &[222; 16]));
    let reply = exchange(&[0x30, 4])
        .parse_reply(&[0x41, 0, 222, 222])
        .unwrap();
    for text in [
        format!("{request:?}"),
        format!("{write:?}"),
        format!("{reply:?}"),
    ] {
        assert!(text.contains("bytes)"), "{text}");
        assert!(!text.contains("222") && !text.contains("173"), "{text}");
    }
}

proptest! {
    #[test]
    fn no_answer_makes_a_parser_panic(data in vec(any::<u8>(), 0..300), right_code in any::<bool>()) {
        for request in every_request() {
            let mut answer = data.clone();
            if let Some(first) = answer.first_mut() && right_code {
                *first = request.code() + 1;
            }
            let parsed = request.parse_reply(&answer);
            prop_assert!(right_code || answer.first() == Some(&(request.code() + 1)) || parsed.is_err());
        }
    }
}
