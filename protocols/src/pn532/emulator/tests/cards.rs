//! Which cards are found, and how they are told apart.

use super::*;

#[test]
fn two_cards_are_listed_and_selected_in_turn() {
    let mut chip = chip_with(&[CardKind::Classic1k, CardKind::Ntag213]);
    let both = "4b 02 01 00 04 08 04 de ad be ef 02 00 44 00 07 04 a1 b2 c3 d4 e5 f6";
    assert_eq!(list(&mut chip), hex(both));
    assert_eq!(
        ask(&mut chip, &[0x40, 2, 0x30, 0])[..4],
        [0x41, 0, 0x04, 0xA1]
    );
    assert_eq!(
        ask(&mut chip, auth_4()),
        [0x41, 0],
        "selects target 1 by itself"
    );
    assert_eq!(ask(&mut chip, &[0x54, 2]), [0x55, 0]);
    assert_eq!(ask(&mut chip, &[0x42, 0x60])[..3], [0x43, 0, 0]);
    assert_eq!(
        ask(&mut chip, &[0x40, 1, 0x30, 4]),
        [0x41, 0x01],
        "the authentication is lost"
    );
    assert_eq!(ask(&mut chip, &[0x4A, 1, 0])[1], 1);
    chip.place(NOW, "third", card(CardKind::Ultralight));
    assert_eq!(ask(&mut chip, &[0x4A, 2, 0])[1], 2, "no more than two");
}

#[test]
fn cards_that_are_listed_and_deselected_one_by_one_are_all_seen() {
    let mut chip = chip_with(&[CardKind::Classic1k, CardKind::Ntag213, CardKind::Desfire]);
    ask(&mut chip, &[0x32, 0x05, 0xFF, 0x01, 0x01]);
    let mut saks = Vec::new();
    for _ in 0..4 {
        saks.push(ask(&mut chip, &[0x4A, 1, 0])[5]);
        assert_eq!(ask(&mut chip, &[0x44, 0]), [0x45, 0]);
    }
    assert_eq!(saks, [0x08, 0x00, 0x20, 0x08]);
}

#[test]
fn long_uids_are_looked_for_with_their_cascade_tag() {
    let mut chip = chip_with(&[CardKind::Classic1k, CardKind::Ntag213]);
    list(&mut chip);
    let found = ask(&mut chip, &hex("4a 01 00 88 04 a1 b2 c3 d4 e5 f6"));
    assert_eq!(found, hex("4b 01 01 00 44 00 07 04 a1 b2 c3 d4 e5 f6"));
    assert_eq!(
        ask(&mut chip, &hex("4a 01 00 88 04 a1 b2 c3 d4 e5 f7")),
        [0x4B, 0]
    );
}

#[test]
fn a_card_that_was_lifted_is_another_one_when_it_comes_back() {
    let mut chip = chip_with(&[CardKind::Ntag213]);
    list(&mut chip);
    let ntag = chip.remove(NOW, "ntag213").unwrap();
    assert_eq!(ask(&mut chip, &[0x40, 1, 0x30, 0]), [0x41, 0x01]);
    assert_eq!(ask(&mut chip, &[0x54, 1]), [0x55, 0x01]);
    chip.place(NOW, "ntag213", ntag);
    assert_eq!(ask(&mut chip, &[0x40, 1, 0x30, 0]), [0x41, 0x01]);
    assert_eq!(list(&mut chip)[1], 1);
}

#[test]
fn iso_dep_cards_get_rats_and_carry_apdus() {
    let mut chip = chip_with(&[CardKind::Desfire]);
    let record = hex("4b 01 01 03 44 20 07 04 11 22 33 44 55 66 06 75 77 81 02 80");
    assert_eq!(list(&mut chip), record);
    let mut version = Vec::new();
    for command in [0x60, 0xAF, 0xAF] {
        let part = ask(&mut chip, &[0x40, 1, 0x90, command, 0, 0, 0]);
        assert_eq!(part[..2], [0x41, 0]);
        version.extend_from_slice(&part[2..part.len() - 2]);
    }
    assert_eq!(version.len(), 28);
    // A long command in two parts.
    assert_eq!(
        ask(&mut chip, &[0x40, 0x41, 0x90, 0x5A, 0, 0, 3]),
        [0x41, 0]
    );
    assert_eq!(
        ask(&mut chip, &[0x40, 1, 0, 0, 0, 0]),
        [0x41, 0, 0x91, 0x00]
    );
    assert_eq!(ask(&mut chip, &[0x44, 1]), [0x45, 0]);
    assert_eq!(
        ask(&mut chip, &[0x40, 1, 0x90, 0x6A, 0, 0, 0]),
        [0x41, 0, 0x91, 0x00]
    );
    // Without automatic RATS there is no ATS.
    ask(&mut chip, &[0x12, 0x04]);
    assert_eq!(ask(&mut chip, &[0x4A, 1, 0]), record[..14]);
    assert_eq!(ask(&mut chip, &[0x42, 0xE0, 0x50])[..3], [0x43, 0, 0x06]);
}

#[test]
fn a_random_uid_differs_at_each_listing() {
    let mut chip = chip_with(&[CardKind::RandomUid]);
    let first = list(&mut chip);
    assert_eq!(first[5..8], [0x20, 4, 0x08]);
    assert_ne!(list(&mut chip), first);
}
