//! What takes its time on the wire and in the air.

use super::*;

#[test]
fn bytes_take_their_time_on_the_wire_in_both_directions() {
    let pace = Pace {
        wire: true,
        rf: false,
    };
    for (baud, micros) in [(115_200, 10e6 / 115_200.0), (921_600, 10e6 / 921_600.0)] {
        let mut chip = Emulator::new(pace);
        chip.set_line_baud(baud);
        let (start, _) = settle(&mut chip, NOW);
        chip.handle_input(start, &[0x55; 6]);
        let (start, _) = settle(&mut chip, start);
        chip.handle_input(start, &host_frame(&[0x02]));
        assert_eq!(chip.poll_transmit(start), None);
        let (end, out) = settle(&mut chip, start);
        assert_eq!(out.len(), 6 + 13);
        let expected = f64::from(9 + 6 + 13) * micros;
        let took = end.since(start).as_secs_f64() * 1e6;
        assert!((took - expected).abs() < 0.1, "{took} {expected}");
    }
}

#[test]
fn paced_output_can_be_taken_byte_by_byte() {
    let mut chip = Emulator::new(Pace {
        wire: true,
        rf: false,
    });
    chip.handle_input(NOW, &[0x55; 6]);
    let (start, _) = settle(&mut chip, NOW);
    chip.handle_input(start, &host_frame(&[0x02]));
    let heard = start + crate::emulated_line::wire_time(9, 115_200);
    chip.handle_timeout(heard);
    for byte in 1..=6 {
        let due = heard + crate::emulated_line::wire_time(byte, 115_200);
        assert_eq!(
            chip.poll_transmit(due - Duration::from_nanos(1)),
            None,
            "{byte}"
        );
        assert_eq!(
            chip.poll_transmit(due).map(|bytes| bytes.len()),
            Some(1),
            "{byte}"
        );
    }
}

#[test]
fn a_full_read_takes_the_floor_of_the_wire() {
    let mut chip = Emulator::new(Pace {
        wire: true,
        rf: false,
    });
    chip.place(NOW, "card", card(CardKind::Classic1k));
    chip.handle_input(NOW, &[0x55; 6]);
    let (mut now, _) = settle(&mut chip, NOW);
    chip.handle_input(now, &host_frame(&[0x4A, 1, 0]));
    (now, _) = settle(&mut chip, now);
    let start = now;
    let before = chip.stats();
    for block in 0..64 {
        if block % 4 == 0 {
            let mut auth = auth_4().to_vec();
            auth[3] = block;
            chip.handle_input(now, &host_frame(&auth));
            (now, _) = settle(&mut chip, now);
        }
        chip.handle_input(now, &host_frame(&[0x40, 1, 0x30, block]));
        let (end, out) = settle(&mut chip, now);
        assert_eq!(out.len(), 6 + 26);
        now = end;
    }
    let bytes = chip.stats().bytes_in + chip.stats().bytes_out - before.bytes_in - before.bytes_out;
    assert_eq!(bytes, 16 * 38 + 64 * 44);
    let floor = bytes as f64 * 10.0 / 115_200.0;
    let took = now.since(start).as_secs_f64();
    assert!((took / floor - 1.0).abs() < 1e-4, "{took} {floor}");
}

#[test]
fn the_air_takes_its_time_apart_from_the_wire() {
    let mut chip = Emulator::new(Pace {
        wire: false,
        rf: true,
    });
    chip.place(NOW, "card", card(CardKind::Classic1k));
    chip.handle_input(NOW, &[0x55; 6]);
    let mut now = NOW;
    let mut run = |payload: &[u8]| {
        chip.handle_input(now, &host_frame(payload));
        assert_eq!(output(&mut chip, now), ACK);
        let (end, _) = settle(&mut chip, now);
        let took = end.since(now);
        now = end;
        took.as_micros()
    };
    assert_eq!(run(&[0x4A, 1, 0]), 3_000);
    assert_eq!(run(auth_4()), 3_000);
    assert_eq!(run(&[0x40, 1, 0x30, 4]), 2_500);
    assert_eq!(run(&[&[0x40, 1, 0xA0, 4], &[0; 16][..]].concat()), 6_000);
}

#[test]
fn a_search_takes_its_tries_and_can_be_aborted_in_between() {
    let mut chip = Emulator::new(Pace {
        wire: false,
        rf: true,
    });
    chip.handle_input(NOW, &[0x55; 6]);
    chip.handle_input(NOW, &host_frame(&[0x32, 5, 0xFF, 1, 4]));
    output(&mut chip, NOW);
    chip.handle_input(NOW, &host_frame(&[0x4A, 1, 0]));
    assert_eq!(chip.poll_timeout(), Some(NOW));
    assert_eq!(output(&mut chip, NOW), ACK);
    assert_eq!(chip.poll_timeout(), Some(at(150_000)));
    chip.place(at(100_000), "card", card(CardKind::Classic1k));
    assert_eq!(chip.poll_timeout(), Some(at(103_000)));
    chip.handle_timeout(at(103_000));
    assert_eq!(output(&mut chip, at(103_000)).len(), 19);
}
