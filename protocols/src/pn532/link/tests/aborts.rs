//! A command that is given up.

use super::*;

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
