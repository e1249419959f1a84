//! Devices that are silent, break off, babble or refuse.

use super::*;

#[test]
fn a_mute_device_and_one_that_breaks_off_are_told_apart_in_time() {
    for (fault, broken) in [
        (Fault::DropReply(1), false),
        (Fault::LoseCommand(1), false),
        (Fault::SilentFromByte(0), false),
        (Fault::TruncateReply(1, 1), false),
        (Fault::TruncateReply(1, 3), true),
    ] {
        let mut bench = Bench::serial();
        bench.emulator().inject(fault);
        let request = Request::SetBitsPerCharacter(BitsPerCharacter::ISO);
        let (command, before) = (request.name(), bench.now);
        let longest = bench.link.longest(&request);
        let ended = bench.ask(request);
        let waited = Duration::from_millis(500);
        let expected = if broken {
            LinkError::BreaksOff { command }
        } else {
            LinkError::Silent { command, waited }
        };
        assert_eq!(ended, Ended::Error(expected), "{fault:?}");
        assert!(bench.now.since(before) <= longest);
        assert_eq!(bench.link.counters().resets, 1);
        bench.emulator().clear_faults();
        assert_eq!(
            bench.done(Request::CommunicationTest),
            Reply::Done,
            "after a rest"
        );
    }
}

#[test]
fn a_block_that_breaks_off_ends_a_wait_for_a_card() {
    let mut bench = Bench::serial();
    bench.emulator().inject(Fault::TruncateReply(1, 20));
    bench.ask(Request::ReadIso);
    bench.swipe(&mut written());
    assert_eq!(
        bench.run(),
        Ended::Error(LinkError::BreaksOff { command: "read" })
    );
}

#[test]
fn noise_before_an_answer_is_counted_and_a_device_that_only_babbles_is_silent() {
    let mut bench = Bench::serial();
    bench.link.send(bench.now, Request::CommunicationTest);
    bench.carry();
    bench.link.handle_input(bench.now, b"boot\r\n\x1Bq");
    assert_eq!(bench.link.counters().noise_bytes, 8);

    let mut bench = Bench::serial();
    bench.link.send(bench.now, Request::CommunicationTest);
    let start = bench.now;
    while bench.link.poll_reply().is_none() {
        bench.now = bench.now + Duration::from_millis(7);
        assert!(
            bench.now.since(start) < Duration::from_secs(1),
            "babble puts the end off"
        );
        bench
            .link
            .handle_input(bench.now, b"Welcome \x1B[2J to the machine\x1B");
    }
}

#[test]
fn an_answer_to_an_earlier_command_is_not_taken_for_this_one() {
    // A card's contents, where a status is awaited: the `ok` at their end must not count.
    let mut bench = Bench::serial();
    bench.ask(Request::WriteIso(texts()));
    bench
        .link
        .handle_input(bench.now, b"\x1Bs\x1B\x01%A?\x1B\x02\x1B\x03?\x1C\x1B0");
    let error = ReplyError::UnexpectedBlock { command: "write" };
    assert_eq!(bench.run(), Ended::Error(error.into()));
    // A status alone, where a block is awaited: only an error ends the wait.
    bench.ask(Request::ReadIso);
    bench.link.handle_input(bench.now, b"\x1B0");
    assert_eq!(bench.run(), Ended::Waiting);
    bench.link.handle_input(bench.now, b"\x1B1");
    assert_eq!(bench.run(), status(Status::ReadWrite));
    // The settings are echoed; another echo is none.
    bench.link.send(
        bench.now,
        Request::SetBitsPerCharacter(BitsPerCharacter::ISO),
    );
    while bench.link.poll_transmit().is_some() {}
    bench.link.handle_input(bench.now, b"\x1B0\x08\x08\x08");
    let error = ReplyError::Malformed {
        command: "set bits per character",
    };
    assert_eq!(bench.run(), Ended::Error(error.into()));
}

#[test]
fn a_refusal_says_which_command_and_why() {
    let mut bench = Bench::serial();
    bench.link.send(bench.now, Request::Coercivity);
    bench.link.handle_input(bench.now, b"\x1B4");
    let Some(Err(error)) = bench.link.poll_reply() else {
        panic!()
    };
    assert_eq!(
        error.to_string(),
        "the device refuses the coercivity command with 34: the device does not know the command"
    );
    assert_eq!(error.fault().code, "34");
    assert_eq!(bench.link.counters().resets, 0);
}

#[test]
fn a_block_that_is_too_long_is_given_up_however_it_is_cut() {
    let text = vec![b'A'; 1_020];
    let answer = [
        b"\x1Bs\x1B\x01%",
        &text[..],
        b"?\x1B\x02;?\x1B\x03;??\x1C\x1B0",
    ]
    .concat();
    for piece in [1, 7, 512] {
        let mut link = Msr605Link::serial(LinkTiming {
            quiet: Duration::ZERO,
            ..LinkTiming::default()
        });
        link.send(Moment::ORIGIN, Request::ReadIso);
        let replies = answer.chunks(piece).find_map(|piece| {
            link.handle_input(Moment::ORIGIN, piece);
            link.poll_reply()
        });
        let endless = LinkError::Endless { command: "read" };
        assert_eq!(replies, Some(Err(endless)), "cut every {piece} bytes");
    }
}

#[test]
fn a_block_without_end_is_given_up() {
    let mut bench = Bench::serial();
    bench.ask(Request::ReadIso);
    bench.link.handle_input(bench.now, b"\x1Bs\x1B\x01");
    bench.link.handle_input(bench.now, &[b'A'; 2_000]);
    assert_eq!(
        bench.run(),
        Ended::Error(LinkError::Endless { command: "read" })
    );
}

#[test]
fn bad_reports_end_what_waits_for_an_answer_and_disturb_nothing_else() {
    let full = |header: u8| {
        let mut report = vec![0; REPORT_BYTES];
        report[0] = header;
        report
    };
    let error = |error: ReportError| Ended::Error(error.into());
    for (reports, expected) in [
        (
            vec![vec![0xC2, 0x1B, b'0']],
            error(ReportError::WrongLength(3)),
        ),
        (vec![vec![]], error(ReportError::WrongLength(0))),
        (vec![full(0x42)], error(ReportError::OutOfOrder(0x42))),
        (vec![full(0xC0)], error(ReportError::LyingLength(0xC0))),
        (vec![full(0xBF); 2], error(ReportError::OutOfOrder(0xBF))),
        (
            [vec![full(0xBF)], vec![full(0x3F); 40]].concat(),
            error(ReportError::Endless),
        ),
        // Whole messages that say nothing, without end: the wait goes on, and nothing is kept.
        (vec![full(0xFF); 10_000], Ended::Waiting),
    ] {
        let mut bench = Bench::reports();
        for report in &reports {
            // Nobody waits: counted, and forgotten.
            bench.link.handle_input(bench.now, report);
        }
        bench.ask(Request::WriteIso(texts()));
        for report in &reports {
            bench.link.handle_input(bench.now, report);
        }
        let counters = bench.link.counters();
        assert_eq!(counters.bad_reports > 0, expected != Ended::Waiting);
        assert_eq!(bench.run(), expected);
        assert!(bench.link.received.is_empty());
        assert_eq!(bench.done(Request::CommunicationTest), Reply::Done);
    }
}

#[test]
fn a_device_gone_for_good_leaves_no_trace_in_the_next() {
    let mut bench = Bench::reports();
    bench.ask(Request::ReadIso);
    bench.link.handle_input(bench.now, &[0xBF; 64]);
    bench.link.reset();
    assert_eq!(bench.link.poll_timeout(), None);
    bench.device = Device::Reports(ReportedEmulator::new(Pace::INSTANT));
    assert_eq!(bench.done(Request::CommunicationTest), Reply::Done);
    assert_eq!(bench.link.counters().bad_reports, 0);
}
