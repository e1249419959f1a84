//! What is lost or broken is made up for, and told where that fails.

use super::*;

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
