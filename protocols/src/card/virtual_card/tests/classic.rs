//! MIFARE Classic: keys, access conditions, values.

use super::*;

/// Rows of table 8 of MF1S50YYX: C1C2C3, then who may read, write, increment and decrement/transfer/restore.
const DATA_CONDITIONS: &str = "
    000 AB AB AB AB
    010 AB -  -  -
    100 AB B  -  -
    110 AB B  B  AB
    001 AB -  -  AB
    011 B  B  -  -
    101 B  -  -  -
    111 -  -  -  -";

/// Rows of table 7: C1C2C3, then who may write key A, read and write the access bits, read and write key B.
const TRAILER_CONDITIONS: &str = "
    000 A A  - A A
    010 - A  - A -
    100 B AB - - B
    110 - AB - - -
    001 A A  A A A
    011 B AB B - B
    101 - AB B - -
    111 - AB - - -";

fn rows(table: &str) -> Vec<(u8, Vec<&str>)> {
    table
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| {
            let mut words = line.split_whitespace();
            let condition = u8::from_str_radix(words.next().unwrap(), 2).unwrap();
            (condition, words.collect())
        })
        .collect()
}

fn allowed(by: &str, slot: KeySlot) -> bool {
    by.contains(match slot {
        KeySlot::A => 'A',
        KeySlot::B => 'B',
    })
}

/// Bytes 6 to 8 for four conditions, each C1C2C3 as three bits, group 0 first.
fn access_bits(conditions: [u8; 4]) -> [u8; 3] {
    let nibble = |bit: u8| {
        (0..4_u8).fold(0, |bits, group| {
            bits | (conditions[usize::from(group)] >> bit & 1) << group
        })
    };
    let (c1, c2, c3): (u8, u8, u8) = (nibble(2), nibble(1), nibble(0));
    [
        (!c2 & 0xF) << 4 | !c1 & 0xF,
        c1 << 4 | !c3 & 0xF,
        c3 << 4 | c2,
    ]
}

fn trailer(bits: [u8; 3]) -> Vec<u8> {
    [&KEY_A[..], &bits[..], &[0x69], &KEY_B[..]].concat()
}

fn value_block(value: i32, address: u8) -> Vec<u8> {
    let (v, n) = (value.to_le_bytes(), (!value).to_le_bytes());
    [
        &v[..],
        &n[..],
        &v[..],
        &[address, !address, address, !address],
    ]
    .concat()
}

/// A selected Classic 1K whose sector 1 has these access bits, our keys and the value 100 in all data blocks.
fn classic_with(bits: [u8; 3]) -> VirtualCard {
    let mut card = VirtualCard::new(CardKind::Classic1k, None).unwrap();
    let mut memory = card.memory().to_vec();
    for block in 4..7 {
        memory[block * 16..][..16].copy_from_slice(&value_block(100, 9));
    }
    memory[7 * 16..][..16].copy_from_slice(&trailer(bits));
    card.load(&memory).unwrap();
    card.select();
    card
}

fn open(card: &mut VirtualCard, slot: KeySlot, block: u8) -> bool {
    card.select();
    let key = match slot {
        KeySlot::A => KEY_A,
        KeySlot::B => KEY_B,
    };
    card.authenticate(slot, block, &key, &[0xDE, 0xAD, 0xBE, 0xEF])
}

#[test]
fn every_data_condition_allows_what_its_table_row_says() {
    let commands = [
        vec![0x30, 5],
        with(&[0xA0, 5], &[7; 16]),
        with(&[0xC1, 5], &[1, 0, 0, 0]),
        with(&[0xC0, 5], &[1, 0, 0, 0]),
    ];
    for (condition, by) in rows(DATA_CONDITIONS) {
        // 011 keeps key B unreadable, so that it opens the data.
        let bits = access_bits([0, condition, 0, 0b011]);
        for (command, by) in commands.iter().zip(&by) {
            for slot in [KeySlot::A, KeySlot::B] {
                let mut card = classic_with(bits);
                assert!(open(&mut card, slot, 5));
                let answer = card.exchange(command);
                let done = matches!(answer, CardAnswer::Data(_) | CardAnswer::Ack);
                assert_eq!(
                    done,
                    allowed(by, slot),
                    "{condition:03b} {slot:?} {command:02x?}"
                );
                assert_eq!(card.is_selected(), done, "a refused command drops the card");
                if !done {
                    assert_eq!(answer, CardAnswer::Nak(4));
                }
            }
        }
    }
}

#[test]
fn restore_and_transfer_follow_the_decrement_column() {
    for (condition, by) in rows(DATA_CONDITIONS) {
        let by = by[3];
        for slot in [KeySlot::A, KeySlot::B] {
            let mut card = classic_with(access_bits([0, condition, 0, 0b011]));
            assert!(open(&mut card, slot, 5));
            let restored = card.exchange(&[0xC2, 5, 0, 0, 0, 0]) == CardAnswer::Ack;
            assert_eq!(restored, allowed(by, slot), "{condition:03b} {slot:?}");

            let mut card = classic_with(access_bits([0, condition, 0, 0b011]));
            assert!(open(&mut card, slot, 5));
            assert_eq!(card.exchange(&[0xC2, 4, 0, 0, 0, 0]), CardAnswer::Ack);
            let answer = card.exchange(&[0xB0, 5]);
            if allowed(by, slot) {
                assert_eq!(answer, CardAnswer::Ack, "{condition:03b} {slot:?}");
            } else {
                assert_eq!(answer, CardAnswer::Nak(0), "the buffer is valid");
            }
        }
    }
}

#[test]
fn every_trailer_condition_allows_what_its_table_row_says() {
    let new_bits = access_bits([0b100, 0b100, 0b100, 0b011]);
    let new = [&[1; 6][..], &new_bits[..], &[0x5A], &[2; 6][..]].concat();
    for (condition, by) in rows(TRAILER_CONDITIONS) {
        let bits = access_bits([0, 0, 0, condition]);
        for slot in [KeySlot::A, KeySlot::B] {
            let by: Vec<bool> = by.iter().map(|by| allowed(by, slot)).collect();
            let mut card = classic_with(bits);
            assert!(open(&mut card, slot, 7));
            let read = card.exchange(&[0x30, 7]);
            if by[1] {
                let key_b = if by[3] { KEY_B } else { [0; 6] };
                let expected = [&[0; 6][..], &bits[..], &[0x69], &key_b[..]].concat();
                assert_eq!(read, CardAnswer::Data(expected), "{condition:03b} {slot:?}");
            } else {
                assert_eq!(read, CardAnswer::Nak(4), "{condition:03b} {slot:?}");
            }

            let mut card = classic_with(bits);
            assert!(open(&mut card, slot, 7));
            let written = card.exchange(&with(&[0xA0, 7], &new)) == CardAnswer::Ack;
            assert_eq!(written, by[0] || by[2] || by[4], "{condition:03b} {slot:?}");
            let after = block(&card, 7);
            let part = |ours: bool, from: usize, to: usize| {
                let old = trailer(bits);
                if ours {
                    new[from..to].to_vec()
                } else {
                    old[from..to].to_vec()
                }
            };
            assert_eq!(
                after[..6],
                part(by[0], 0, 6)[..],
                "{condition:03b} {slot:?}"
            );
            assert_eq!(
                after[6..10],
                part(by[2], 6, 10)[..],
                "{condition:03b} {slot:?}"
            );
            assert_eq!(
                after[10..],
                part(by[4], 10, 16)[..],
                "{condition:03b} {slot:?}"
            );
        }
    }
}

#[test]
fn a_readable_key_b_authenticates_and_then_opens_nothing() {
    for condition in [0b000, 0b010, 0b001] {
        let mut card = classic_with(access_bits([0, 0, 0, condition]));
        assert!(open(&mut card, KeySlot::B, 4));
        assert_eq!(card.exchange(&[0x30, 4]), CardAnswer::Nak(4));
        assert!(open(&mut card, KeySlot::A, 4));
        assert!(matches!(card.exchange(&[0x30, 4]), CardAnswer::Data(_)));
    }
}

#[test]
fn every_inconsistent_access_byte_blocks_the_sector_for_ever() {
    let good = access_bits([0, 0, 0, 0b001]);
    assert_eq!(good, [0xFF, 0x07, 0x80]);
    for bit in 0..24 {
        let mut bad = good;
        bad[bit / 8] ^= 1 << (bit % 8);
        let mut card = classic_with(good);
        assert!(open(&mut card, KeySlot::A, 7));
        assert_eq!(
            card.exchange(&with(&[0xA0, 7], &trailer(bad))),
            CardAnswer::Ack
        );
        for slot in [KeySlot::A, KeySlot::B] {
            assert!(!open(&mut card, slot, 4), "bit {bit}");
            assert!(!card.is_selected());
        }
        card.select();
        assert!(card.authenticate(KeySlot::A, 8, &FF, &[0xDE, 0xAD, 0xBE, 0xEF]));
    }
}

#[test]
fn a_classic_opens_one_sector_with_the_right_key_and_uid_only() {
    let uid = [0xDE, 0xAD, 0xBE, 0xEF];
    let mut card = VirtualCard::new(CardKind::Classic1k, None).unwrap();
    assert!(!card.authenticate(KeySlot::A, 0, &FF, &uid), "not selected");
    card.select();
    assert!(!card.authenticate(KeySlot::A, 0, &[0; 6], &uid));
    assert!(
        !card.authenticate(KeySlot::A, 0, &FF, &uid),
        "fell back to idle"
    );
    card.select();
    assert!(!card.authenticate(KeySlot::A, 0, &FF, &[0; 4]));
    card.select();
    assert!(
        !card.authenticate(KeySlot::A, 64, &FF, &uid),
        "no such block"
    );
    card.select();
    assert_eq!(
        card.exchange(&[0x30, 0]),
        CardAnswer::Silent,
        "not authenticated"
    );
    card.select();
    assert!(card.authenticate(KeySlot::B, 0, &FF, &uid));
    card.select();
    assert!(card.authenticate(KeySlot::A, 0, &FF, &uid));
    assert!(
        card.authenticate(KeySlot::A, 8, &FF, &uid),
        "another sector"
    );
    assert!(matches!(card.exchange(&[0x30, 9]), CardAnswer::Data(_)));
    assert_eq!(
        card.exchange(&[0x30, 0]),
        CardAnswer::Nak(4),
        "the first is closed"
    );
}

#[test]
fn the_makers_block_cannot_be_written() {
    let mut card = VirtualCard::new(CardKind::Classic1k, None).unwrap();
    let before = card.memory().to_vec();
    let uid = [0xDE, 0xAD, 0xBE, 0xEF];
    card.select();
    assert!(card.authenticate(KeySlot::A, 0, &FF, &uid));
    assert_eq!(
        card.exchange(&with(&[0xA0, 0], &[0; 16])),
        CardAnswer::Nak(4)
    );
    assert_eq!(card.memory(), before);
    assert_eq!(card.writes(), 0);
    assert_eq!(
        block(&card, 0),
        [
            0xDE, 0xAD, 0xBE, 0xEF, 0x22, 8, 4, 0, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69
        ]
    );
}

#[test]
fn values_are_counted_and_transferred() {
    let mut card = classic_with(access_bits([0, 0, 0, 0b011]));
    assert!(open(&mut card, KeySlot::A, 4));
    assert_eq!(card.transceive(&[0xC1, 4]), CardAnswer::Ack);
    assert_eq!(card.transceive(&[5, 0, 0, 0]), CardAnswer::Silent);
    assert!(card.is_selected());
    assert_eq!(card.exchange(&[0xB0, 6]), CardAnswer::Ack);
    assert_eq!(block(&card, 6), value_block(105, 9));
    assert_eq!(card.exchange(&[0xC0, 6, 106, 0, 0, 0]), CardAnswer::Ack);
    assert_eq!(card.exchange(&[0xB0, 4]), CardAnswer::Ack);
    assert_eq!(block(&card, 4), value_block(-1, 9));
    assert_eq!(
        card.exchange(&[0xC1, 4, 0xFF, 0xFF, 0xFF, 0x7F]),
        CardAnswer::Ack
    );
    assert_eq!(
        card.exchange(&[0xC1, 5, 0xFF, 0xFF, 0xFF, 0x7F]),
        CardAnswer::Nak(0)
    );
    assert!(open(&mut card, KeySlot::A, 4));
    assert_eq!(card.exchange(&with(&[0xA0, 5], &[1; 16])), CardAnswer::Ack);
    assert_eq!(
        card.exchange(&[0xC0, 5, 1, 0, 0, 0]),
        CardAnswer::Nak(4),
        "no value block"
    );
}

#[test]
fn the_large_sectors_of_a_4k_share_conditions_in_groups_of_five() {
    let mut card = VirtualCard::new(CardKind::Classic4k, None).unwrap();
    let mut memory = card.memory().to_vec();
    let bits = access_bits([0b000, 0b010, 0b100, 0b011]);
    memory[143 * 16..][..16].copy_from_slice(&trailer(bits));
    card.load(&memory).unwrap();
    let writable = |card: &mut VirtualCard, slot, block| {
        assert!(open(card, slot, block));
        card.exchange(&with(&[0xA0, block], &[1; 16])) == CardAnswer::Ack
    };
    for block in 128..143 {
        let group = (block - 128) / 5;
        assert_eq!(
            writable(&mut card, KeySlot::A, block),
            group == 0,
            "{block}"
        );
        assert_eq!(
            writable(&mut card, KeySlot::B, block),
            group != 1,
            "{block}"
        );
    }
    assert_eq!(card.memory().len(), 4096);
}

#[test]
fn a_seven_byte_classic_authenticates_with_the_last_four_bytes() {
    let uid: Uid = "04a1b2c3d4e5f6".parse().unwrap();
    let mut card = VirtualCard::new(CardKind::Classic1k, Some(uid)).unwrap();
    assert_eq!(card.atqa(), [0x00, 0x44]);
    card.select();
    assert!(card.authenticate(KeySlot::A, 0, &FF, &[0xC3, 0xD4, 0xE5, 0xF6]));
    card.select();
    assert!(!card.authenticate(KeySlot::A, 0, &FF, &[0x04, 0xA1, 0xB2, 0xC3]));
}

#[test]
fn a_torn_write_leaves_the_old_the_new_or_half_of_each() {
    let old = value_block(100, 9);
    let mixed = [&[7; 8][..], &old[8..]].concat();
    for (state, left) in [
        (TornState::Old, old.clone()),
        (TornState::New, vec![7; 16]),
        (TornState::Mixed, mixed),
    ] {
        let mut card = classic_with(access_bits([0, 0, 0, 0b001]));
        assert!(open(&mut card, KeySlot::A, 4));
        card.tear_at_write(2, state);
        assert_eq!(card.exchange(&with(&[0xA0, 4], &[3; 16])), CardAnswer::Ack);
        assert!(!card.take_torn());
        assert_eq!(
            card.exchange(&with(&[0xA0, 5], &[7; 16])),
            CardAnswer::Silent
        );
        assert_eq!(block(&card, 5), left);
        assert!(!card.is_selected());
        assert_eq!(card.writes(), 2);
        assert!(card.take_torn());
        assert!(!card.take_torn());
    }
}
