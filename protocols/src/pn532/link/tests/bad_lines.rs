//! Lines that lose, break, double and delay frames at random.

use proptest::{collection::vec, prelude::*};

use super::*;

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
