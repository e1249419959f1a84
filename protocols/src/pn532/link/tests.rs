mod aborts;
mod bad_lines;
mod losses;

use super::*;
use crate::pn532::{
    command::{
        BaudRate, Communicate, Diagnose, Diagnosis, Exchange, ListPassiveTarget, PowerDown,
        SamConfiguration, TargetCount, WakeSources,
    },
    frame::SYNTAX_ERROR,
};

const MS: Duration = Duration::from_millis(1);

/// A link, its clock and what it has sent.
struct Bench {
    link: Pn532Link,
    now: Moment,
}

impl Bench {
    /// A link whose chip is awake.
    fn new() -> Self {
        let mut bench = Self::asleep();
        bench.link.awake = true;
        bench
    }

    fn asleep() -> Self {
        Self {
            link: Pn532Link::new(LinkTiming::default()),
            now: Moment::ORIGIN,
        }
    }

    fn send(&mut self, request: &Request) {
        self.link.send(self.now, request.clone());
    }

    fn hear(&mut self, bytes: &[u8]) {
        self.link.handle_input(self.now, bytes);
    }

    fn wait(&mut self, time: Duration) {
        self.now = self.now + time;
    }

    /// Goes on to the link's next timer; how long that took.
    fn time_out(&mut self) -> Duration {
        let until = self.link.poll_timeout().expect("a wait");
        let waited = until.since(self.now);
        self.now = until;
        self.link.handle_timeout(self.now);
        waited
    }

    fn sent(&mut self) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| self.link.poll_transmit()).collect()
    }

    fn reply(&mut self) -> Option<Result<Reply, LinkError>> {
        self.link.poll_reply()
    }

    /// A whole exchange without disturbance.
    fn exchange(&mut self, request: &Request, payload: &[u8]) -> Reply {
        self.send(request);
        assert_eq!(self.sent(), [command(request)]);
        self.hear(&ACK);
        self.hear(&response(payload));
        self.reply().expect("a reply").expect("success")
    }
}

fn command(request: &Request) -> Vec<u8> {
    encode_information(Direction::HostToChip, &request.payload()).unwrap()
}

fn response(payload: &[u8]) -> Vec<u8> {
    encode_information(Direction::ChipToHost, payload).unwrap()
}

fn broken(payload: &[u8]) -> Vec<u8> {
    let mut bytes = response(payload);
    let checksum = bytes.len() - 2;
    bytes[checksum] ^= 0x01;
    bytes
}

fn read() -> Request {
    Request::InDataExchange(Exchange::read(1, 4))
}

/// A read's response of 16 equal bytes.
fn block(fill: u8) -> Vec<u8> {
    let mut payload = vec![0x41, 0x00];
    payload.extend([fill; 16]);
    payload
}

fn ok(request: &Request, payload: &[u8]) -> Option<Result<Reply, LinkError>> {
    Some(Ok(request.parse_reply(payload).unwrap()))
}

#[test]
fn a_command_is_acknowledged_and_answered() {
    let mut bench = Bench::new();
    bench.send(&read());
    assert_eq!(bench.sent(), [command(&read())]);
    assert_eq!(bench.link.poll_timeout(), Some(bench.now + 100 * MS));
    bench.wait(3 * MS);
    bench.hear(&ACK);
    assert_eq!(bench.reply(), None);
    assert_eq!(bench.link.poll_timeout(), Some(bench.now + 1000 * MS));
    bench.wait(20 * MS);
    bench.hear(&response(&block(7)));
    assert_eq!(bench.reply(), ok(&read(), &block(7)));
    assert_eq!(bench.reply(), None, "one reply, not two");
    assert_eq!(bench.link.poll_timeout(), None);
    assert_eq!(bench.sent(), Vec::<Vec<u8>>::new());
    assert_eq!(bench.link.counters(), Counters::default());
}

#[test]
fn every_byte_may_come_alone() {
    let mut bench = Bench::new();
    bench.send(&read());
    let mut input = ACK.to_vec();
    input.extend(response(&block(7)));
    let last = input.len() - 2;
    for (index, byte) in input.iter().enumerate() {
        assert!(index > last || bench.link.reply.is_none());
        bench.hear(&[*byte]);
    }
    assert_eq!(bench.reply(), ok(&read(), &block(7)));
}

#[test]
fn the_chip_is_woken_until_it_has_acknowledged_once() {
    let sam = Request::SamConfiguration(SamConfiguration::NORMAL);
    let mut bench = Bench::asleep();
    let woken = [&WAKE_UP[..], &command(&sam)].concat();
    bench.send(&sam);
    assert_eq!(bench.sent(), std::slice::from_ref(&woken));
    bench.time_out();
    assert_eq!(
        bench.sent(),
        std::slice::from_ref(&woken),
        "and with each repetition"
    );
    bench.hear(&ACK);
    bench.hear(&response(&[0x15]));
    assert_eq!(bench.reply(), Some(Ok(Reply::Done)));
    bench.wait(1000 * MS);
    bench.exchange(&read(), &block(1));

    let sleep = Request::PowerDown(PowerDown {
        wake: WakeSources::HSU,
        irq: None,
    });
    bench.exchange(&sleep, &[0x17, 0x00]);
    bench.send(&sam);
    assert_eq!(
        bench.sent(),
        std::slice::from_ref(&woken),
        "after a power-down"
    );

    bench.link.reset();
    assert_eq!(bench.link.poll_timeout(), None);
    bench.send(&sam);
    assert_eq!(bench.sent(), [woken], "after a reset");
}

#[test]
fn the_syntax_error_frame_is_told() {
    let mut bench = Bench::new();
    bench.send(&read());
    bench.sent();
    bench.hear(&ACK);
    bench.hear(&SYNTAX_ERROR);
    assert_eq!(bench.reply(), Some(Err(LinkError::SyntaxError)));
    assert_eq!(
        LinkError::SyntaxError.fault().to_string(),
        "pn532 0x7f: the chip does not understand the command"
    );
}

#[test]
fn stale_and_foreign_frames_are_skipped() {
    let mut bench = Bench::new();
    bench.hear(&response(&block(1)));
    bench.send(&read());
    bench.sent();
    bench.hear(&response(&block(2)));
    assert_eq!(
        bench.reply(),
        None,
        "a response before the ACK is an old one"
    );
    bench.hear(&ACK);
    bench.hear(&response(&[0x4B, 0x00]));
    bench.hear(&command(&read()));
    bench.hear(&NACK);
    bench.hear(&response(&block(3)));
    assert_eq!(bench.reply(), ok(&read(), &block(3)));
    bench.hear(&response(&block(3)));
    assert_eq!(bench.reply(), None, "a duplicate");
    assert_eq!(bench.link.counters().skipped_frames, 6);
}

#[test]
fn nothing_but_foreign_responses_is_an_error_that_names_the_last() {
    let mut bench = Bench::new();
    bench.send(&read());
    bench.sent();
    bench.hear(&ACK);
    for _ in 0..3 {
        bench.hear(&response(&[0x4B, 0x00]));
        bench.time_out();
    }
    let error = LinkError::UnexpectedReply {
        expected: 0x41,
        got: 0x4B,
    };
    assert_eq!(bench.reply(), Some(Err(error)));
}

#[test]
fn a_response_of_the_wrong_shape_is_an_error() {
    let mut bench = Bench::new();
    bench.send(&Request::GetFirmwareVersion);
    bench.sent();
    bench.hear(&ACK);
    bench.hear(&response(&[0x03, 0x32]));
    let error = ReplyError::Malformed {
        command: "GetFirmwareVersion",
        length: 1,
    };
    assert_eq!(bench.reply(), Some(Err(LinkError::MalformedReply(error))));
}

/// The first ACK is late, so the command goes out twice: the second ACK and response must not be taken for the next command's.
#[test]
fn a_late_acknowledge_does_not_shift_the_conversation() {
    let mut bench = Bench::new();
    bench.send(&read());
    bench.time_out();
    assert_eq!(bench.sent().len(), 2);
    bench.hear(&ACK);
    bench.hear(&response(&block(1)));
    assert_eq!(bench.reply(), ok(&read(), &block(1)));

    bench.send(&read());
    assert_eq!(
        bench.sent(),
        Vec::<Vec<u8>>::new(),
        "the line must be quiet"
    );
    bench.wait(90 * MS);
    bench.hear(&ACK);
    bench.hear(&response(&block(1)));
    assert_eq!(bench.reply(), None);
    assert_eq!(bench.time_out(), 200 * MS);
    assert_eq!(bench.sent(), [command(&read())]);
    bench.hear(&ACK);
    bench.hear(&response(&block(2)));
    assert_eq!(bench.reply(), ok(&read(), &block(2)));
    bench.exchange(&read(), &block(3));
}

#[test]
fn a_line_that_never_gets_quiet_holds_the_next_command_for_three_settle_times() {
    let mut bench = Bench::new();
    bench.send(&read());
    bench.time_out();
    bench.hear(&ACK);
    bench.hear(&response(&block(1)));
    bench.sent();
    bench.send(&read());
    let begun = bench.now;
    while bench.sent().is_empty() {
        bench.wait(10 * MS);
        bench.hear(&[0xAA; 8]);
        assert!(bench.now.since(begun) <= 600 * MS);
    }
    assert_eq!(bench.now.since(begun), 600 * MS);
}

#[test]
fn babble_does_not_put_off_the_end() {
    let mut bench = Bench::new();
    bench.send(&read());
    let begun = bench.now;
    let end = loop {
        bench.wait(7 * MS);
        bench.hear(&[0xA5; 512]);
        if let Some(reply) = bench.reply() {
            break reply;
        }
        assert!(bench.now.since(begun) <= bench.link.longest(&read()));
    };
    assert_eq!(end, Err(LinkError::Silent { sent: 3 }));
    assert!(bench.link.counters().noise_bytes > 20_000);
}

#[test]
fn storms_of_acks_and_nacks_do_not_put_off_the_end() {
    for storm in [ACK, NACK] {
        let mut bench = Bench::new();
        bench.send(&read());
        bench.hear(&ACK);
        let begun = bench.now;
        let end = loop {
            bench.wait(MS);
            bench.hear(&storm.repeat(20));
            if let Some(reply) = bench.reply() {
                break reply;
            }
            assert!(bench.now.since(begun) <= bench.link.longest(&read()));
        };
        assert!(matches!(end, Err(LinkError::NoResponse(_))), "{end:?}");
        bench.sent();
    }
}

#[test]
fn noise_before_ack_and_response_is_counted() {
    let mut bench = Bench::new();
    bench.send(&read());
    bench.sent();
    bench.hear(&[0x55, 0x55, 0x00]);
    bench.hear(&ACK);
    bench.hear(&[0x13, 0xFE]);
    bench.hear(&response(&block(7)));
    assert_eq!(bench.reply(), ok(&read(), &block(7)));
    assert_eq!(bench.link.counters().noise_bytes, 4);
}

#[test]
fn a_change_of_speed_is_confirmed_with_an_ack_and_never_repeated() {
    let request = Request::SetSerialBaudRate(BaudRate::B921600);
    let mut bench = Bench::new();
    assert_eq!(bench.exchange(&request, &[0x11]), Reply::Done);
    assert_eq!(bench.sent(), [ACK.to_vec()]);
    bench.exchange(&read(), &block(1));
}

#[test]
fn extended_frames_go_both_ways() {
    let data: Vec<u8> = (0..=u8::MAX).chain(0..=5).collect();
    let request = Request::Diagnose(Diagnose::Line(data.clone()));
    let mut bench = Bench::new();
    let mut payload = vec![0x01, 0x00];
    payload.extend(&data);
    assert_eq!(command(&request).len(), 275);
    assert_eq!(
        bench.exchange(&request, &payload),
        Reply::Diagnosis(Diagnosis::Echo(data))
    );
}

#[test]
fn a_command_that_fits_no_frame_is_refused_at_once() {
    let mut bench = Bench::new();
    bench.send(&Request::Diagnose(Diagnose::Line(vec![0; 263])));
    assert_eq!(bench.sent(), Vec::<Vec<u8>>::new());
    assert!(matches!(bench.reply(), Some(Err(LinkError::TooLong(_)))));
}

#[test]
fn the_search_is_waited_for_as_the_chip_was_told_to_retry() {
    let retries = Request::RfConfiguration(RfConfiguration::MaxRetries {
        atr: 0xFF,
        psl: 1,
        passive_activation: 2,
    });
    let list = Request::InListPassiveTarget(ListPassiveTarget {
        max_targets: TargetCount::One,
        uid: None,
    });
    let mut bench = Bench::new();
    bench.exchange(&retries, &[0x33]);
    bench.send(&list);
    bench.hear(&ACK);
    assert_eq!(bench.link.poll_timeout(), Some(bench.now + 290 * MS));
}

#[test]
fn debug_shows_no_bytes() {
    let mut bench = Bench::new();
    bench.send(&Request::InDataExchange(Exchange::write_block(
        1, 4, &[222; 16],
    )));
    let text = format!("{:?}", bench.link);
    assert!(
        text.contains("AwaitingAck") && !text.contains("222"),
        "{text}"
    );
}
