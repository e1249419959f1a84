use proptest::{collection::vec, prelude::*};

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
fn one_and_two_missed_acks_are_made_up_for() {
    for missed in 1..=2 {
        let mut bench = Bench::new();
        bench.send(&read());
        for _ in 0..missed {
            assert_eq!(bench.sent(), [command(&read())]);
            assert_eq!(bench.time_out(), 100 * MS);
        }
        assert_eq!(bench.sent(), [command(&read())]);
        bench.hear(&ACK);
        bench.hear(&response(&block(7)));
        assert_eq!(bench.reply(), ok(&read(), &block(7)));
        assert_eq!(bench.link.counters().resends, missed);
    }
}

#[test]
fn three_missed_acks_are_silence() {
    let mut bench = Bench::new();
    bench.send(&read());
    for _ in 0..3 {
        assert_eq!(bench.sent(), [command(&read())]);
        assert_eq!(bench.time_out(), 100 * MS);
    }
    assert_eq!(bench.reply(), Some(Err(LinkError::Silent { sent: 3 })));
    assert_eq!(bench.link.poll_timeout(), None);
    assert_eq!(bench.sent(), Vec::<Vec<u8>>::new());
}

#[test]
fn what_may_not_be_repeated_is_sent_once() {
    let password = Request::InCommunicateThru(Communicate::new(&[0x1B, 1, 2, 3, 4]));
    let increment = Request::InDataExchange(Exchange::new(1, &[0xC1, 4, 1, 0, 0, 0]));
    for request in [password, increment] {
        let mut bench = Bench::new();
        bench.send(&request);
        assert_eq!(bench.sent(), [command(&request)]);
        assert_eq!(bench.time_out(), 300 * MS, "as long as three attempts");
        assert_eq!(bench.sent(), Vec::<Vec<u8>>::new());
        assert_eq!(bench.reply(), Some(Err(LinkError::Silent { sent: 1 })));
    }
}

#[test]
fn a_lost_response_is_asked_for_again_and_the_command_not_repeated() {
    let mut bench = Bench::new();
    bench.send(&read());
    bench.sent();
    bench.hear(&ACK);
    assert_eq!(bench.time_out(), 1000 * MS);
    assert_eq!(bench.sent(), [NACK.to_vec()]);
    bench.hear(&response(&block(7)));
    assert_eq!(bench.reply(), ok(&read(), &block(7)));
    assert_eq!(bench.link.counters().retransmissions, 1);
    assert_eq!(bench.link.counters().resends, 0);
}

#[test]
fn no_response_at_all_ends_with_an_abort() {
    let mut bench = Bench::new();
    bench.send(&read());
    bench.sent();
    bench.hear(&ACK);
    assert_eq!(bench.time_out(), 1000 * MS);
    assert_eq!(bench.time_out(), 250 * MS);
    assert_eq!(bench.sent(), [NACK.to_vec(), NACK.to_vec()]);
    assert_eq!(bench.time_out(), 250 * MS);
    assert_eq!(bench.reply(), Some(Err(LinkError::NoResponse(1500 * MS))));
    assert_eq!(bench.sent(), [ACK.to_vec()]);
    assert_eq!(bench.link.poll_timeout(), None);
}

#[test]
fn a_broken_response_is_asked_for_again_at_once() {
    let mut bench = Bench::new();
    bench.send(&read());
    bench.sent();
    bench.hear(&ACK);
    bench.hear(&broken(&block(7)));
    assert_eq!(bench.sent(), [NACK.to_vec()]);
    bench.hear(&response(&block(7)));
    assert_eq!(bench.reply(), ok(&read(), &block(7)));
    assert_eq!(bench.link.counters().broken_frames, 1);
}

#[test]
fn responses_that_stay_broken_are_a_checksum_error() {
    let mut bench = Bench::new();
    bench.send(&read());
    bench.sent();
    bench.hear(&ACK);
    for _ in 0..2 {
        bench.hear(&broken(&block(7)));
        assert_eq!(bench.sent(), [NACK.to_vec()]);
        assert_eq!(bench.reply(), None);
    }
    bench.hear(&broken(&block(7)));
    let reply = bench.reply();
    assert!(
        matches!(
            reply,
            Some(Err(LinkError::Checksum(FrameError::DataChecksum { .. })))
        ),
        "{reply:?}"
    );
    assert_eq!(bench.sent(), [ACK.to_vec()]);
}

#[test]
fn a_response_with_a_broken_length_is_asked_for_again_in_time() {
    let mut bench = Bench::new();
    bench.send(&read());
    bench.sent();
    bench.hear(&ACK);
    let mut bytes = response(&block(7));
    bytes[4] ^= 0x40;
    bench.hear(&bytes);
    assert_eq!(bench.time_out(), 1000 * MS);
    assert_eq!(bench.sent(), [NACK.to_vec()]);
    bench.hear(&response(&block(7)));
    assert_eq!(bench.reply(), ok(&read(), &block(7)));
}

#[test]
fn a_truncated_response_does_not_hide_its_repetition() {
    let mut bench = Bench::new();
    bench.send(&read());
    bench.sent();
    bench.hear(&ACK);
    bench.hear(&response(&block(7))[..10]);
    bench.time_out();
    assert_eq!(bench.sent(), [NACK.to_vec()]);
    bench.hear(&response(&block(7)));
    assert_eq!(bench.reply(), ok(&read(), &block(7)));
}

#[test]
fn what_a_broken_response_holds_is_no_response() {
    let mut bench = Bench::new();
    bench.send(&read());
    bench.sent();
    bench.hear(&ACK);
    let mut payload = vec![0x41, 0x00];
    payload.extend(response(&[0x41, 0x00]));
    bench.hear(&broken(&payload));
    assert_eq!(bench.reply(), None, "card contents that look like a frame");
    assert_eq!(bench.sent(), [NACK.to_vec()]);
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
fn an_abort_tells_the_chip_and_forgives_the_next_command_one_more_ack() {
    let list = Request::InListPassiveTarget(ListPassiveTarget {
        max_targets: TargetCount::One,
        uid: None,
    });
    let mut bench = Bench::new();
    bench.send(&list);
    bench.sent();
    bench.hear(&ACK);
    assert_eq!(bench.link.poll_timeout(), Some(bench.now + 10_000 * MS));
    bench.link.abort(bench.now);
    assert_eq!(bench.sent(), [ACK.to_vec()]);
    assert_eq!(bench.link.poll_timeout(), None);
    bench.hear(&response(&[0x4B, 0x00]));
    assert_eq!(bench.reply(), None, "no reply follows");

    bench.send(&list);
    for _ in 0..3 {
        assert_eq!(bench.sent(), [command(&list)]);
        bench.time_out();
    }
    assert_eq!(bench.sent(), [command(&list)], "the fourth attempt");
    bench.hear(&ACK);
    bench.hear(&response(&[0x4B, 0x00]));
    assert_eq!(bench.reply(), Some(Ok(Reply::Targets(vec![]))));

    bench.wait(1000 * MS);
    bench.send(&list);
    for _ in 0..3 {
        bench.time_out();
    }
    assert_eq!(
        bench.reply(),
        Some(Err(LinkError::Silent { sent: 3 })),
        "only the first command after the abort is forgiven"
    );
}

#[test]
fn an_abort_before_the_ack_waits_for_a_quiet_line() {
    let mut bench = Bench::new();
    bench.send(&read());
    bench.sent();
    bench.link.abort(bench.now);
    assert_eq!(bench.sent(), [ACK.to_vec()]);
    bench.send(&read());
    assert_eq!(bench.sent(), Vec::<Vec<u8>>::new());
    bench.hear(&ACK);
    bench.hear(&response(&block(1)));
    assert_eq!(bench.reply(), None, "those belong to the aborted command");
    bench.time_out();
    assert_eq!(bench.sent(), [command(&read())]);
}

#[test]
fn an_abort_of_what_has_not_left_says_nothing() {
    let mut bench = Bench::new();
    bench.send(&read());
    bench.link.abort(bench.now);
    assert_eq!(bench.sent(), Vec::<Vec<u8>>::new());
    assert_eq!(bench.link.poll_timeout(), None);
    bench.exchange(&read(), &block(1));
    bench.link.abort(bench.now);
    assert_eq!(bench.sent(), Vec::<Vec<u8>>::new(), "nothing is under way");
}

#[test]
fn a_new_command_gives_up_the_one_under_way() {
    let mut bench = Bench::new();
    bench.send(&read());
    bench.sent();
    bench.hear(&ACK);
    bench.send(&Request::InRelease(0));
    assert_eq!(
        bench.sent(),
        [ACK.to_vec(), command(&Request::InRelease(0))]
    );
    bench.hear(&response(&block(1)));
    bench.hear(&ACK);
    bench.hear(&response(&[0x53, 0x00]));
    assert_eq!(bench.reply(), ok(&Request::InRelease(0), &[0x53, 0x00]));
    assert_eq!(bench.reply(), None);
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

/// What happens to one thing that the chip says.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Whole,
    Dropped,
    Cut(prop::sample::Index),
    Changed(prop::sample::Index, u8),
    Twice,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        3 => Just(Fate::Whole),
        2 => Just(Fate::Dropped),
        1 => any::<prop::sample::Index>().prop_map(Fate::Cut),
        1 => (any::<prop::sample::Index>(), 1u8..).prop_map(|(at, by)| Fate::Changed(at, by)),
        1 => Just(Fate::Twice),
    ]
}

fn suffer(bytes: &[u8], fate: Fate) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    match fate {
        Fate::Whole => {}
        Fate::Dropped => bytes.clear(),
        Fate::Cut(at) => bytes.truncate(at.index(bytes.len())),
        Fate::Changed(at, by) => {
            let at = at.index(bytes.len());
            bytes[at] ^= by;
        }
        Fate::Twice => bytes.extend(bytes.clone()),
    }
    bytes
}

/// A chip that answers each command and each NACK as it should, on a line that does what the fates say.
fn converse(
    bench: &mut Bench,
    request: &Request,
    payload: &[u8],
    fates: &mut impl Iterator<Item = (Fate, Vec<u8>)>,
) -> Vec<Result<Reply, LinkError>> {
    let begun = bench.now;
    let longest = bench.link.longest(request);
    let mut replies = Vec::new();
    bench.send(request);
    loop {
        for said in bench.sent() {
            let mut answers = Vec::new();
            if said.ends_with(&command(request)) {
                answers.extend([ACK.to_vec(), response(payload)]);
            } else if said == NACK {
                answers.push(response(payload));
            }
            for answer in answers {
                let (fate, noise) = fates.next().unwrap_or((Fate::Whole, Vec::new()));
                bench.wait(5 * MS);
                bench.hear(&noise);
                bench.hear(&suffer(&answer, fate));
                replies.extend(bench.reply());
            }
        }
        if bench.link.outgoing.is_empty() {
            if bench.link.poll_timeout().is_none() {
                break;
            }
            bench.time_out();
            replies.extend(bench.reply());
        }
        assert!(bench.now.since(begun) <= longest, "{longest:?} are over");
    }
    replies
}

/// A chip behind a line that is late: all it says comes in order, each thing up to so many milliseconds after its cause, or
/// never.
struct LateChip<I> {
    delays: I,
    coming: VecDeque<(Moment, Vec<u8>)>,
    last: Vec<u8>,
}

impl<I: Iterator<Item = Option<u64>>> LateChip<I> {
    fn hear(&mut self, now: Moment, said: &[u8]) {
        if said == NACK {
            let last = self.last.clone();
            self.say(now, last);
        } else if said != ACK {
            // The address of the block stands before the checksum and the postamble.
            let address = said[said.len() - 3];
            self.last = response(&block(address));
            let last = self.last.clone();
            self.say(now, ACK.to_vec());
            self.say(now, last);
        }
    }

    fn say(&mut self, now: Moment, bytes: Vec<u8>) {
        let Some(delay) = self.delays.next().unwrap_or(Some(0)) else {
            return;
        };
        let earliest = self.coming.back().map_or(now, |(before, _)| *before);
        let at = earliest.max(now + Duration::from_millis(delay));
        self.coming.push_back((at, bytes));
    }
}

/// The reply to a read of the block at `address`.
fn converse_late<I: Iterator<Item = Option<u64>>>(
    bench: &mut Bench,
    chip: &mut LateChip<I>,
    address: u8,
) -> Result<Reply, LinkError> {
    bench.send(&Request::InDataExchange(Exchange::read(1, address)));
    loop {
        for said in bench.sent() {
            chip.hear(bench.now, &said);
        }
        if let Some(reply) = bench.reply() {
            return reply;
        }
        let timeout = bench.link.poll_timeout().expect("a wait");
        match chip.coming.front() {
            Some((at, _)) if *at <= timeout => {
                let (at, bytes) = chip.coming.pop_front().unwrap();
                bench.now = bench.now.max(at);
                bench.hear(&bytes);
            }
            Some(_) | None => {
                bench.time_out();
            }
        }
    }
}

proptest! {
    #[test]
    fn a_bad_line_gives_exactly_one_reply_in_time(
        fates in vec((fate(), vec(any::<u8>(), 0..12)), 0..12),
        fills in vec(any::<u8>(), 1..5),
    ) {
        let mut bench = Bench::new();
        let mut fates = fates.into_iter();
        for fill in fills {
            let replies = converse(&mut bench, &read(), &block(fill), &mut fates);
            prop_assert_eq!(replies.len(), 1);
        }
    }

    #[test]
    fn lost_and_doubled_frames_never_give_another_commands_answer(
        fates in vec(prop_oneof![2 => Just(Fate::Whole), 1 => Just(Fate::Dropped), 1 => Just(Fate::Twice)], 0..20),
    ) {
        let mut bench = Bench::new();
        let mut fates = fates.into_iter().map(|fate| (fate, Vec::new()));
        for fill in 0..6 {
            let replies = converse(&mut bench, &read(), &block(fill), &mut fates);
            for reply in replies.into_iter().flatten() {
                prop_assert_eq!(Ok(reply), read().parse_reply(&block(fill)));
            }
        }
    }

    #[test]
    fn late_and_lost_frames_never_give_another_commands_answer(
        delays in vec(prop_oneof![4 => (0u64..190).prop_map(Some), 1 => Just(None)], 0..60),
    ) {
        let mut bench = Bench::new();
        let mut chip = LateChip {
            delays: delays.into_iter(),
            coming: VecDeque::new(),
            last: Vec::new(),
        };
        for address in 0..12 {
            let reply = converse_late(&mut bench, &mut chip, address);
            if let Ok(reply) = reply {
                prop_assert_eq!(Ok(reply), read().parse_reply(&block(address)));
            }
        }
    }

    #[test]
    fn random_input_never_panics_and_ends_in_time(
        pieces in vec((0u64..400, vec(prop_oneof![any::<u8>(), Just(0x00), Just(0xFF)], 0..64)), 0..60),
    ) {
        let mut bench = Bench::asleep();
        bench.send(&read());
        let begun = bench.now;
        let longest = bench.link.longest(&read());
        let mut ends = Vec::new();
        for (wait, piece) in pieces {
            let until = bench.now + Duration::from_millis(wait);
            while bench.link.poll_timeout().is_some_and(|timeout| timeout <= until) {
                bench.time_out();
                ends.extend(bench.reply().map(|_| bench.now));
            }
            bench.now = until;
            bench.hear(&piece);
            bench.sent();
            ends.extend(bench.reply().map(|_| bench.now));
        }
        while bench.link.poll_timeout().is_some() {
            bench.time_out();
            ends.extend(bench.reply().map(|_| bench.now));
        }
        prop_assert_eq!(ends.len(), 1);
        prop_assert!(ends.iter().all(|end| end.since(begun) <= longest));
    }
}
