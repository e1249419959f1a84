//! What a reset ends, and how long it takes.

use super::*;

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
