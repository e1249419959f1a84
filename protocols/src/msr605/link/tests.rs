mod random;
mod resets;
mod trouble;

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
fn contents_never_show_in_errors_or_debug_output() {
    let mut bench = Bench::serial();
    bench.link.send(bench.now, Request::WriteIso(texts()));
    let shown = format!("{:?}", bench.link);
    assert!(
        !shown.contains("ROOM") && !shown.contains("1234"),
        "{shown}"
    );
}
