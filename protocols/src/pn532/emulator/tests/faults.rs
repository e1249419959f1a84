//! Faults that a command asks for.

use super::*;

#[test]
fn broken_frames_are_met_with_silence_and_soon_forgotten() {
    let mut chip = chip_with(&[]);
    let mut bad = host_frame(&[0x02]);
    bad[6] ^= 1;
    chip.handle_input(NOW, &bad);
    assert_eq!(output(&mut chip, NOW), NOTHING);
    // A frame whose rest never comes does not swallow the next one for ever.
    chip.handle_input(NOW, &host_frame(&[0x02])[..6]);
    assert_eq!(chip.poll_timeout(), Some(NOW + PARTIAL_FRAME_PATIENCE));
    chip.handle_timeout(NOW + PARTIAL_FRAME_PATIENCE);
    assert_eq!(chip.poll_timeout(), None);
    assert_eq!(ask(&mut chip, &[0x02])[0], 0x03);
}

#[test]
fn response_faults_damage_the_response_they_name() {
    let good = hex("00 00 ff 06 fa d5 03 32 01 06 07 e8 00");
    let damaged = |fault: &str| {
        let mut chip = chip_with(&[]);
        ask(&mut chip, &[0x14, 1]);
        chip.inject(fault.parse().unwrap());
        chip.handle_input(NOW, &host_frame(&[0x02]));
        let out = output(&mut chip, NOW);
        assert_eq!(ask(&mut chip, &[0x02])[0], 0x03, "{fault}: once only");
        out.strip_prefix(&ACK[..]).expect(fault).to_vec()
    };
    assert_eq!(damaged("drop-response 1"), NOTHING);
    assert_eq!(damaged("truncate-response 1 7"), good[..7]);
    assert_eq!(damaged("repeat-response 1"), good.repeat(2));
    assert_eq!(
        damaged("corrupt-response 1"),
        hex("00 00 ff 06 fa d5 03 32 01 06 17 e8 00")
    );
    assert_eq!(
        damaged("interleave-response 1"),
        [&good[..6], &ACK, &good[6..]].concat()
    );
    let babble = damaged("babble 1 20");
    assert_eq!((babble.len(), &babble[20..]), (33, &good[..]));
}

#[test]
fn a_late_response_comes_late() {
    let mut chip = chip_with(&[]);
    chip.inject(Fault::DelayResponse(1, Duration::from_millis(200)));
    chip.handle_input(NOW, &host_frame(&[0x02]));
    assert_eq!(output(&mut chip, at(199_999)), ACK);
    assert_eq!(chip.poll_timeout(), Some(at(200_000)));
    assert_eq!(output(&mut chip, at(200_000)).len(), 13);
}

#[test]
fn command_faults_hit_the_command_they_name() {
    let mut chip = chip_with(&[]);
    chip.inject("drop-ack 1".parse().unwrap());
    chip.handle_input(NOW, &host_frame(&[0x02]));
    assert_eq!(output(&mut chip, NOW).len(), 13);
    chip.inject("lose-command 2".parse().unwrap());
    ask(&mut chip, &[0x02]);
    chip.handle_input(NOW, &host_frame(&[0x02]));
    assert_eq!(output(&mut chip, NOW), NOTHING);
    chip.inject("nack-storm 2".parse().unwrap());
    for _ in 0..2 {
        chip.handle_input(NOW, &host_frame(&[0x02]));
        assert_eq!(output(&mut chip, NOW), NACK.repeat(3));
    }
    ask(&mut chip, &[0x02]);
}

#[test]
fn status_faults_come_before_or_after_the_effect() {
    let mut chip = chip_with(&[CardKind::Ntag213]);
    list(&mut chip);
    let write = [0x40, 1, 0xA2, 4, 1, 2, 3, 4];
    chip.inject("status 1 0x0b".parse().unwrap());
    assert_eq!(ask(&mut chip, &write), [0x41, 0x0B]);
    assert_eq!(chip.card_mut("ntag213").unwrap().writes(), 0);
    chip.inject("status-after 1 01".parse().unwrap());
    ask(&mut chip, &[0x02]);
    assert_eq!(ask(&mut chip, &write), [0x41, 0x01]);
    assert_eq!(chip.card_mut("ntag213").unwrap().writes(), 1);
    chip.inject("status 1 05".parse().unwrap());
    chip.clear_faults();
    assert_eq!(ask(&mut chip, &write), [0x41, 0x00]);
}

#[test]
fn a_card_can_be_lifted_before_any_command() {
    let mut chip = chip_with(&[CardKind::Ntag213]);
    list(&mut chip);
    chip.inject("remove-card 2".parse().unwrap());
    assert_eq!(ask(&mut chip, &[0x40, 1, 0x30, 0])[1], 0);
    assert_eq!(ask(&mut chip, &[0x40, 1, 0x30, 0]), [0x41, 0x01]);
    let [(name, lifted)] = <[_; 1]>::try_from(chip.take_lifted()).unwrap();
    chip.place(NOW, &name, lifted);
    assert_eq!(list(&mut chip)[1], 1);
}

#[test]
fn a_card_can_be_lifted_at_every_byte_of_a_write() {
    let write = host_frame(&[0x40, 1, 0xA2, 4, 1, 2, 3, 4]);
    // The command is heard with its data checksum, the last byte but one.
    let heard = write.len() as u64 - 1;
    for byte in 1..=write.len() as u64 + 16 {
        let mut chip = chip_with(&[CardKind::Ntag213]);
        list(&mut chip);
        chip.clear_faults();
        chip.inject(Fault::RemoveCardAtByte(byte));
        chip.handle_input(NOW, &write);
        let out = output(&mut chip, NOW);
        let lifted = chip.take_lifted();
        assert_eq!(lifted.len(), 1, "{byte}");
        assert_eq!(lifted[0].1.writes(), u64::from(byte > heard), "{byte}");
        assert_eq!(out.len(), 16);
    }
}

#[test]
fn the_chip_can_fall_silent_at_every_byte() {
    for byte in 0..=26_u64 {
        let mut chip = chip_with(&[]);
        chip.inject(Fault::SilentFromByte(byte));
        chip.handle_input(NOW, &host_frame(&[0x02]));
        // 9 bytes in, of which 8 make the command, then 6 and 13 out.
        let out = output(&mut chip, NOW).len() as u64;
        assert_eq!(out, byte.saturating_sub(9).min(19), "{byte}");
        let silent = byte <= 28;
        chip.handle_input(NOW, &host_frame(&[0x02]));
        assert_eq!(output(&mut chip, NOW).len() < 19, silent, "{byte}");
        chip.clear_faults();
        ask(&mut chip, &[0x02]);
    }
}

#[test]
fn a_torn_write_times_out_and_lifts_the_card_if_so_asked() {
    for (text, lifted) in [("tear 1 new", 0), ("tear 1 new lift", 1)] {
        let mut chip = chip_with(&[CardKind::Ntag213]);
        list(&mut chip);
        chip.inject(text.parse().unwrap());
        assert_eq!(
            ask(&mut chip, &[0x40, 1, 0xA2, 4, 1, 2, 3, 4]),
            [0x41, 0x01]
        );
        assert_eq!(chip.take_lifted().len(), lifted);
        assert_eq!(list(&mut chip)[1], 1 - u8::try_from(lifted).unwrap());
    }
    let mut chip = chip_with(&[]);
    chip.inject("tear 1 mixed".parse().unwrap());
    chip.place(NOW, "later", card(CardKind::Ntag213));
    list(&mut chip);
    assert_eq!(
        ask(&mut chip, &[0x40, 1, 0xA2, 6, 1, 2, 3, 4]),
        [0x41, 0x01]
    );
    assert_eq!(
        chip.card_mut("later").unwrap().memory()[24..28],
        [1, 2, 0, 0]
    );
}

#[test]
fn every_listed_fault_is_understood_and_others_are_explained() {
    for line in Fault::HELP.lines() {
        let spelling = line.trim().split("  ").next().unwrap();
        let spelling = spelling
            .replace("old|new|mixed", "mixed")
            .replace("[lift]", "lift")
            .replace("BYTES", "7")
            .replace("CODE", "1F")
            .replace("MS", "100")
            .replace('N', "3");
        assert!(spelling.parse::<Fault>().is_ok(), "{spelling}");
    }
    let tear = Fault::Tear {
        nth: 3,
        state: TornState::Mixed,
        lift: true,
    };
    assert_eq!("tear 3 mixed lift".parse(), Ok(tear));
    for wrong in [
        "",
        "tear",
        "drop-response 0",
        "babble 1 999999",
        "status 1 100",
        "sleep 1",
    ] {
        let error = wrong.parse::<Fault>().unwrap_err().to_string();
        assert!(error.contains("drop-response N"), "{wrong}");
    }
}
