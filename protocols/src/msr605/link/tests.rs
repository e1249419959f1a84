use proptest::prelude::*;

use crate::card::magstripe::{BitString, Coercivity, Density, Track};

use super::{
    super::{
        command::{IsoTrack, LeadingZeros, Leds, Model},
        emulator::{
            Emulator, Fault, Habits, Pace, ReportedEmulator, StripeCard, StripeKind, Swiped,
        },
        report::{REPORT_BYTES, ReportError},
        status::Status,
        track::{BitsPerCharacter, RawTrack, TrackText},
    },
    *,
};

/// The encoder at the other end, over either carrier.
enum Device {
    Serial(Emulator),
    Reports(ReportedEmulator),
}

struct Bench {
    link: Msr605Link,
    device: Device,
    now: Moment,
}

/// How a command stands when nothing more happens by itself.
#[derive(Debug, PartialEq)]
enum Ended {
    Reply(Reply),
    Error(LinkError),
    Waiting,
}

impl Bench {
    fn serial() -> Self {
        Self {
            link: Msr605Link::serial(LinkTiming::default()),
            device: Device::Serial(Emulator::new(Pace::INSTANT)),
            now: Moment::ORIGIN,
        }
    }

    fn reports() -> Self {
        Self {
            link: Msr605Link::reports(LinkTiming::default()),
            device: Device::Reports(ReportedEmulator::new(Pace::INSTANT)),
            now: Moment::ORIGIN,
        }
    }

    fn both() -> [Self; 2] {
        [Self::serial(), Self::reports()]
    }

    fn emulator(&mut self) -> &mut Emulator {
        match &mut self.device {
            Device::Serial(device) => device,
            Device::Reports(reported) => &mut reported.device,
        }
    }

    fn ask(&mut self, request: Request) -> Ended {
        self.link.send(self.now, request);
        self.run()
    }

    fn done(&mut self, request: Request) -> Reply {
        match self.ask(request) {
            Ended::Reply(reply) => reply,
            other @ (Ended::Error(_) | Ended::Waiting) => panic!("{other:?}"),
        }
    }

    /// Moves bytes and time until the command ends or only a person could end it.
    fn run(&mut self) -> Ended {
        loop {
            self.carry();
            if let Some(reply) = self.link.poll_reply() {
                return reply.map_or_else(Ended::Error, Ended::Reply);
            }
            let dues = [self.link.poll_timeout(), self.emulator().poll_timeout()];
            let Some(due) = dues.into_iter().flatten().min() else {
                return Ended::Waiting;
            };
            self.now = self.now.max(due);
            self.link.handle_timeout(self.now);
        }
    }

    fn carry(&mut self) {
        let now = self.now;
        while let Some(bytes) = self.link.poll_transmit() {
            match &mut self.device {
                Device::Serial(device) => device.handle_input(now, &bytes),
                Device::Reports(device) => {
                    let (id, report) = bytes.split_first().unwrap();
                    assert_eq!((*id, report.len()), (0, REPORT_BYTES));
                    device.handle_report(now, report).unwrap();
                }
            }
        }
        self.emulator().handle_timeout(now);
        match &mut self.device {
            Device::Serial(device) => {
                while let Some(bytes) = device.poll_transmit(now) {
                    self.link.handle_input(now, &bytes);
                }
            }
            Device::Reports(device) => {
                while let Some(report) = device.poll_report(now) {
                    self.link.handle_input(now, &report);
                }
            }
        }
    }

    fn swipe(&mut self, card: &mut StripeCard) -> Swiped {
        let now = self.now;
        self.emulator().swipe(now, card)
    }
}

fn texts() -> [TrackText; 3] {
    ["ROOM^101", "1234=5678", "987654321"].map(|text| TrackText::new(text).unwrap())
}

fn written() -> StripeCard {
    let mut card = StripeCard::blank(StripeKind::HiCo);
    for (track, text) in ["%ROOM^101?", ";1234=5678?", ";987654321?"]
        .into_iter()
        .enumerate()
    {
        assert!(card.set_text(track, text));
    }
    card
}

fn raw(bits: &[bool]) -> RawTrack {
    let text: String = bits
        .iter()
        .map(|bit| if *bit { '1' } else { '0' })
        .collect();
    let bits = BitString::from_text(&text).unwrap();
    RawTrack::new(bits, BitsPerCharacter::Eight).unwrap()
}

fn status(status: Status) -> Ended {
    Ended::Reply(Reply::Status(status))
}

#[test]
fn every_command_that_needs_no_card_is_answered_over_both_carriers() {
    for mut bench in Bench::both() {
        let zeros = LeadingZeros {
            tracks_1_and_3: 40,
            track_2: 27,
        };
        for (request, reply) in [
            (Request::Reset, Reply::Done),
            (Request::CommunicationTest, Reply::Done),
            (Request::Leds(Leds::Green), Reply::Done),
            (Request::RamTest, Reply::Status(Status::Ok)),
            (
                Request::LeadingZeros,
                Reply::LeadingZeros(LeadingZeros::default()),
            ),
            (Request::SetLeadingZeros(zeros), Reply::Status(Status::Ok)),
            (Request::LeadingZeros, Reply::LeadingZeros(zeros)),
            (Request::Model, Reply::Model(Model(b'3'))),
            (Request::Firmware, Reply::Firmware("REVT3.12".to_owned())),
            (
                Request::SetBitsPerCharacter(BitsPerCharacter::ISO),
                Reply::Status(Status::Ok),
            ),
            (
                Request::SetCoercivity(Coercivity::Low),
                Reply::Status(Status::Ok),
            ),
            (Request::Coercivity, Reply::Coercivity(Coercivity::Low)),
        ] {
            assert_eq!(bench.done(request), reply);
        }
        for track in Track::ALL {
            for density in [Density::Bpi75, Density::Bpi210] {
                assert_eq!(
                    bench.ask(Request::SetDensity(track, density)),
                    status(Status::Ok)
                );
            }
        }
        assert_eq!(bench.emulator().lights(), 0x83);
        assert_eq!(bench.link.counters(), Counters::default());
        assert_eq!(Model(b'3').tracks(), Some([true; 3]));
        assert_eq!(Model(b'9').tracks(), None);
    }
}

#[test]
fn a_card_is_written_and_read_over_both_carriers() {
    for mut bench in Bench::both() {
        let mut card = StripeCard::blank(StripeKind::HiCo);
        assert_eq!(bench.ask(Request::WriteIso(texts())), Ended::Waiting);
        assert_eq!(bench.swipe(&mut card), Swiped::Written);
        assert_eq!(bench.run(), status(Status::Ok));
        assert_eq!(card.tracks(), written().tracks());
        assert_eq!(card.writes(), 1);

        assert_eq!(bench.ask(Request::ReadIso), Ended::Waiting);
        assert_eq!(bench.swipe(&mut card), Swiped::Read);
        let Ended::Reply(Reply::Iso(swipe)) = bench.run() else {
            panic!()
        };
        assert_eq!(swipe.tracks, texts().map(IsoTrack::Text));
        assert_eq!(swipe.status, Status::Ok);

        assert_eq!(bench.ask(Request::ReadRaw), Ended::Waiting);
        bench.swipe(&mut card);
        let Ended::Reply(Reply::Raw(raw)) = bench.run() else {
            panic!()
        };
        for (read, track) in raw.tracks.iter().zip(card.tracks()) {
            let first = track.bits.iter().position(|bit| *bit).unwrap();
            let (there, padding) = read.bits().as_slice().split_at(track.bits.len() - first);
            assert_eq!(there, &track.bits[first..]);
            assert!(padding.len() < 8 && padding.iter().all(|bit| !bit));
        }

        // The bits that were read, written again, are the same card.
        let bits = raw
            .tracks
            .map(|track| RawTrack::new(track.bits().clone(), BitsPerCharacter::Eight).unwrap());
        let mut copy = StripeCard::blank(StripeKind::LoCo);
        assert_eq!(bench.ask(Request::WriteRaw(bits)), Ended::Waiting);
        bench.swipe(&mut copy);
        assert_eq!(bench.run(), status(Status::Ok));
        assert_eq!(copy.texts(), card.texts());

        assert_eq!(
            bench.ask(Request::Erase([true, false, true])),
            Ended::Waiting
        );
        bench.swipe(&mut copy);
        assert_eq!(bench.run(), status(Status::Ok));
        let blank: Vec<bool> = copy
            .tracks()
            .iter()
            .map(|track| track.bits.is_empty())
            .collect();
        assert_eq!(blank, [true, false, true]);
        assert_eq!(bench.link.counters(), Counters::default());
    }
}

#[test]
fn a_reset_is_given_its_time_and_nothing_is_sent_before() {
    let mut bench = Bench::serial();
    bench
        .emulator()
        .inject(Fault::DeafAfterReset(Duration::from_millis(300)));
    for _ in 0..3 {
        let before = bench.now;
        assert_eq!(bench.done(Request::Reset), Reply::Done);
        assert_eq!(bench.now.since(before), Duration::from_millis(300));
        assert_eq!(bench.done(Request::CommunicationTest), Reply::Done);
    }
    // Without the rest the device would not have heard.
    let mut device = Emulator::new(Pace::INSTANT);
    device.inject(Fault::DeafAfterReset(Duration::from_millis(300)));
    device.handle_input(Moment::ORIGIN, b"\x1Ba\x1Be");
    assert_eq!(device.poll_transmit(Moment::ORIGIN), None);
}

#[test]
fn an_abort_resets_at_once_and_what_was_swiped_too_late_is_no_answer() {
    for mut bench in Bench::both() {
        let mut card = StripeCard::blank(StripeKind::HiCo);
        assert_eq!(bench.ask(Request::WriteIso(texts())), Ended::Waiting);
        let before = bench.now;
        bench.link.abort(bench.now);
        let reset = bench.link.poll_transmit().unwrap();
        assert!(reset.windows(2).any(|pair| pair == b"\x1Ba"), "{reset:?}");
        // The swipe is over before the device hears the reset.
        assert_eq!(bench.swipe(&mut card), Swiped::Written);
        bench.carry();
        assert_eq!(bench.link.poll_reply(), None);
        assert_eq!(bench.now, before, "an abort takes no time");

        // The next command is not answered by what comes late.
        bench.link.send(bench.now, Request::WriteIso(texts()));
        bench.link.handle_input(
            bench.now,
            if reset.len() == 2 { b"\x1B0" } else { &[0; 64] },
        );
        assert_eq!(bench.link.poll_transmit(), None, "rest comes first");
        assert_eq!(bench.run(), Ended::Waiting);
        assert_eq!(bench.link.counters().resets, 1);
    }
}

#[test]
fn what_was_not_sent_needs_no_reset() {
    let mut bench = Bench::serial();
    bench.link.send(bench.now, Request::ReadIso);
    bench.link.abort(bench.now);
    assert_eq!(bench.link.poll_transmit(), None);
    assert_eq!(bench.link.poll_timeout(), None);
    assert_eq!(bench.link.counters().resets, 0);
}

#[test]
fn a_wait_for_a_card_lasts_until_somebody_comes() {
    let mut bench = Bench::serial();
    assert_eq!(bench.ask(Request::SensorTest), Ended::Waiting);
    bench.now = bench.now + Duration::from_secs(86_400);
    bench.link.handle_timeout(bench.now);
    assert_eq!(bench.run(), Ended::Waiting);
    assert_eq!(bench.swipe(&mut written()), Swiped::Sensed);
    assert_eq!(bench.run(), status(Status::Ok));
}

#[test]
fn faults_of_a_swipe_have_their_status() {
    let mut worn = StripeCard::blank(StripeKind::HiCo);
    worn.wear_out();
    for (mut card, high, fault, expected) in [
        (
            StripeCard::blank(StripeKind::HiCo),
            true,
            Some(Fault::Jerk(1)),
            Status::Swipe,
        ),
        (
            StripeCard::blank(StripeKind::HiCo),
            false,
            None,
            Status::ReadWrite,
        ),
        (StripeCard::blank(StripeKind::LoCo), false, None, Status::Ok),
        (StripeCard::blank(StripeKind::LoCo), true, None, Status::Ok),
        (worn, true, None, Status::ReadWrite),
        (
            StripeCard::blank(StripeKind::HiCo),
            true,
            Some(Fault::Status(1, Status::Format)),
            Status::Format,
        ),
    ] {
        let mut bench = Bench::serial();
        let coercivity = if high {
            Coercivity::High
        } else {
            Coercivity::Low
        };
        bench.done(Request::SetCoercivity(coercivity));
        if let Some(fault) = fault {
            bench.emulator().inject(fault);
        }
        bench.ask(Request::WriteIso(texts()));
        bench.swipe(&mut card);
        assert_eq!(bench.run(), status(expected));
        assert_eq!(
            card.texts().iter().all(Result::is_ok),
            expected == Status::Ok
        );
    }
}

#[test]
fn settings_are_lost_with_a_reset() {
    let mut bench = Bench::serial();
    bench.done(Request::SetCoercivity(Coercivity::Low));
    bench.done(Request::Reset);
    assert_eq!(
        bench.done(Request::Coercivity),
        Reply::Coercivity(Coercivity::High)
    );
}

#[test]
fn blank_and_unreadable_tracks_are_told_apart() {
    for marks_blank_tracks in [false, true] {
        let mut bench = Bench::serial();
        bench.emulator().set_habits(Habits {
            marks_blank_tracks,
            ..Habits::default()
        });
        let mut card = written();
        card.set_text(0, "");
        card.set_bits(1, &[true, true, false, true]);
        bench.ask(Request::ReadIso);
        bench.swipe(&mut card);
        let Ended::Reply(Reply::Iso(swipe)) = bench.run() else {
            panic!()
        };
        let [_, _, third] = texts();
        assert_eq!(
            swipe.tracks,
            [IsoTrack::Blank, IsoTrack::Unreadable, IsoTrack::Text(third)]
        );
        assert_eq!(swipe.status, Status::ReadWrite);
    }
}

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

#[test]
fn contents_never_show_in_errors_or_debug_output() {
    let mut bench = Bench::serial();
    bench.link.send(bench.now, Request::WriteIso(texts()));
    let shown = format!("{:?}", bench.link);
    assert!(
        !shown.contains("ROOM") && !shown.contains("1234"),
        "{shown}"
    );
}

fn any_text() -> impl Strategy<Value = TrackText> {
    "[ -$&->@-_]{0,76}".prop_map(|text| TrackText::new(&text).unwrap())
}

proptest! {
    #[test]
    fn any_text_is_read_as_it_was_written_however_the_answer_is_cut(texts in prop::array::uniform3(any_text()), piece in 1_usize..40, noise in "[a-z]{0,9}") {
        let mut answer = noise.clone().into_bytes();
        answer.extend(b"\x1Bs");
        for (number, text) in (1..).zip(&texts) {
            answer.extend([ESC, number]);
            answer.extend([if number == 1 { b'%' } else { b';' }]);
            answer.extend(text.as_str().bytes().chain([b'?']));
        }
        answer.extend(b"?\x1C\x1B0");
        let mut link = Msr605Link::serial(LinkTiming { quiet: Duration::ZERO, ..LinkTiming::default() });
        link.send(Moment::ORIGIN, Request::ReadIso);
        for piece in answer.chunks(piece) {
            prop_assert!(link.poll_reply().is_none());
            link.handle_input(Moment::ORIGIN, piece);
        }
        let Some(Ok(Reply::Iso(swipe))) = link.poll_reply() else { panic!("no block") };
        prop_assert_eq!(swipe.tracks, texts.map(IsoTrack::Text));
        prop_assert_eq!(link.counters().noise_bytes, noise.len() as u64);
    }

    #[test]
    fn any_bits_come_back_as_they_were(tracks in prop::array::uniform3(prop::collection::vec(any::<bool>(), 1..250))) {
        let mut bench = Bench::reports();
        // A head sees a track from its first one on.
        let tracks = tracks.map(|track| [vec![true], track].concat());
        let mut card = StripeCard::blank(StripeKind::HiCo);
        bench.done(Request::SetLeadingZeros(LeadingZeros { tracks_1_and_3: 3, track_2: 2 }));
        bench.ask(Request::WriteRaw(tracks.clone().map(|track| raw(&track))));
        bench.swipe(&mut card);
        prop_assert_eq!(bench.run(), status(Status::Ok));
        bench.ask(Request::ReadRaw);
        bench.swipe(&mut card);
        let Ended::Reply(Reply::Raw(raw)) = bench.run() else { panic!() };
        for (read, track) in raw.tracks.iter().zip(&tracks) {
            prop_assert_eq!(&read.bits().as_slice()[..track.len()], track.as_slice());
        }
    }

    #[test]
    fn any_input_ends_a_configuration_command_in_time(pieces in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..80), 0_u64..200), 0..40), reports: bool) {
        let timing = LinkTiming::default();
        let mut link = if reports { Msr605Link::reports(timing) } else { Msr605Link::serial(timing) };
        for request in [Request::Firmware, Request::SetBitsPerCharacter(BitsPerCharacter::ISO), Request::Reset] {
            let mut now = Moment::ORIGIN;
            let by = now + link.longest(&request);
            link.reset();
            link.send(now, request);
            let mut replies = 0;
            for (piece, wait) in &pieces {
                link.handle_input(now, piece);
                replies += usize::from(link.poll_reply().is_some());
                let until = now + Duration::from_millis(*wait);
                while let Some(due) = link.poll_timeout().filter(|due| *due <= until) {
                    now = now.max(due);
                    link.handle_timeout(now);
                }
                now = until;
                replies += usize::from(link.poll_reply().is_some());
            }
            while let Some(due) = link.poll_timeout() {
                now = now.max(due);
                prop_assert!(due <= by);
                link.handle_timeout(now);
            }
            replies += usize::from(link.poll_reply().is_some());
            prop_assert_eq!(replies, 1);
        }
    }
}
