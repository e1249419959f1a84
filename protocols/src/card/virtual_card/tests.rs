use proptest::prelude::*;

use super::*;

const FF: [u8; 6] = [0xFF; 6];
const KEY_A: [u8; 6] = [0xA1; 6];
const KEY_B: [u8; 6] = [0xB2; 6];

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

fn with(head: &[u8], operand: &[u8]) -> Vec<u8> {
    [head, operand].concat()
}

fn block(card: &VirtualCard, block: usize) -> &[u8] {
    &card.memory()[block * 16..][..16]
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

fn type2(kind: CardKind) -> VirtualCard {
    let mut card = VirtualCard::new(kind, None).unwrap();
    card.select();
    card
}

fn page(card: &VirtualCard, page: usize) -> &[u8] {
    &card.memory()[page * 4..][..4]
}

fn refused(card: &mut VirtualCard, command: &[u8]) {
    assert_eq!(card.exchange(command), CardAnswer::Nak(0), "{command:02x?}");
    assert!(!card.is_selected());
    card.select();
}

fn power_on_again(card: &mut VirtualCard) {
    card.power_off();
    card.select();
}

fn done(card: &mut VirtualCard, command: &[u8]) {
    assert_eq!(card.exchange(command), CardAnswer::Ack, "{command:02x?}");
}

#[test]
fn versions_and_sizes_are_those_of_the_chips() {
    for (kind, pages, version) in [
        (CardKind::Ultralight, 16, None),
        (CardKind::UltralightC, 48, None),
        (
            CardKind::UltralightEv1Ul11,
            20,
            Some([0, 4, 3, 1, 1, 0, 0x0B, 3]),
        ),
        (
            CardKind::UltralightEv1Ul21,
            41,
            Some([0, 4, 3, 1, 1, 0, 0x0E, 3]),
        ),
        (CardKind::Ntag213, 45, Some([0, 4, 4, 2, 1, 0, 0x0F, 3])),
        (CardKind::Ntag215, 135, Some([0, 4, 4, 2, 1, 0, 0x11, 3])),
        (CardKind::Ntag216, 231, Some([0, 4, 4, 2, 1, 0, 0x13, 3])),
    ] {
        let mut card = type2(kind);
        assert_eq!(card.memory().len(), pages * 4, "{kind}");
        match version {
            Some(version) => {
                assert_eq!(card.transceive(&[0x60]), CardAnswer::Data(version.to_vec()));
            }
            None => refused(&mut card, &[0x60]),
        }
        // UID 04A1B2C3D4E5F6: BCC0 88^04^A1^B2, BCC1 C3^D4^E5^F6.
        let first = [
            0x04, 0xA1, 0xB2, 0x9F, 0xC3, 0xD4, 0xE5, 0xF6, 0x04, 0x48, 0, 0,
        ];
        assert_eq!(card.memory()[..12], first, "{kind}");
    }
}

#[test]
fn a_read_wraps_to_page_0_and_passwords_read_as_zeros() {
    let mut card = type2(CardKind::Ntag213);
    let expected = [&[0; 4][..], &card.memory()[..12]].concat();
    assert_eq!(card.exchange(&[0x30, 44]), CardAnswer::Data(expected));
    let CardAnswer::Data(configuration) = card.exchange(&[0x3A, 41, 44]) else {
        panic!("no data");
    };
    assert_eq!(
        configuration,
        [4, 0, 0, 0xFF, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    );
    assert_eq!(page(&card, 43), [0xFF; 4]);
    refused(&mut card, &[0x30, 45]);
    refused(&mut card, &[0x3A, 5, 4]);
    refused(&mut card, &[0x3A, 4, 45]);
    let CardAnswer::Data(all) = card.exchange(&[0x3A, 0, 44]) else {
        panic!("no data");
    };
    assert_eq!(all.len(), 180);
}

#[test]
fn the_key_of_an_ultralight_c_cannot_be_read_and_opens_nothing() {
    let mut card = type2(CardKind::UltralightC);
    assert_eq!(page(&card, 0x2C), *b"IEMK");
    refused(&mut card, &[0x30, 0x2C]);
    let expected = [
        page(&card, 0x2B),
        page(&card, 0),
        page(&card, 1),
        page(&card, 2),
    ]
    .concat();
    assert_eq!(card.exchange(&[0x30, 0x2B]), CardAnswer::Data(expected));
    let CardAnswer::Data(challenge) = card.exchange(&[0x1A, 0]) else {
        panic!("no challenge");
    };
    assert_eq!((challenge[0], challenge.len()), (0xAF, 9));
    refused(&mut card, &[&[0xAF][..], &[0; 16]].concat());

    done(&mut card, &[0xA2, 0x2A, 0x08, 0, 0, 0]);
    refused(&mut card, &[0xA2, 0x08, 1, 2, 3, 4]);
    refused(&mut card, &[0x30, 0x08]);
    done(&mut card, &[0xA2, 0x07, 1, 2, 3, 4]);
}

#[test]
fn otp_and_lock_bits_are_one_way() {
    let mut card = type2(CardKind::UltralightEv1Ul11);
    done(&mut card, &[0xA2, 3, 0x01, 0, 0, 0x80]);
    done(&mut card, &[0xA2, 3, 0x10, 0, 0, 0]);
    assert_eq!(page(&card, 3), [0x11, 0, 0, 0x80]);

    done(&mut card, &[0xA2, 2, 0xEE, 0xEE, 0x10, 0x80]);
    assert_eq!(page(&card, 2), [0x04, 0x48, 0x10, 0x80]);
    done(&mut card, &[0xA2, 2, 0, 0, 0, 0]);
    assert_eq!(page(&card, 2), [0x04, 0x48, 0x10, 0x80]);
    refused(&mut card, &[0xA2, 4, 1, 2, 3, 4]);
    refused(&mut card, &[0xA2, 15, 1, 2, 3, 4]);
    done(&mut card, &[0xA2, 5, 1, 2, 3, 4]);

    // Freeze the lock bits of pages 4 to 9: page 5 can never be locked, page 10 still can.
    done(&mut card, &[0xA2, 2, 0, 0, 0x02, 0]);
    done(&mut card, &[0xA2, 2, 0, 0, 0x20, 0x04]);
    assert_eq!(page(&card, 2), [0x04, 0x48, 0x12, 0x84]);
    done(&mut card, &[0xA2, 5, 4, 3, 2, 1]);
    refused(&mut card, &[0xA2, 10, 4, 3, 2, 1]);

    done(&mut card, &[0xA2, 2, 0, 0, 0x08, 0]);
    refused(&mut card, &[0xA2, 3, 0xFF, 0xFF, 0xFF, 0xFF]);
    refused(&mut card, &[0xA2, 1, 0, 0, 0, 0]);
    refused(&mut card, &[0xA2, 20, 0, 0, 0, 0]);
}

#[test]
fn dynamic_lock_bits_lock_their_pages() {
    for (kind, lock_page, locks, locked, free) in [
        (
            CardKind::Ntag213,
            40,
            [0x01, 0x08],
            vec![16, 17, 38, 39],
            vec![18, 37],
        ),
        (
            CardKind::Ntag215,
            130,
            [0x80, 0x00],
            vec![128, 129],
            vec![16, 127],
        ),
        (
            CardKind::Ntag216,
            226,
            [0x00, 0x20],
            vec![224, 225],
            vec![16, 223],
        ),
        (
            CardKind::UltralightEv1Ul21,
            36,
            [0x00, 0x02],
            vec![34, 35],
            vec![16, 33],
        ),
        (
            CardKind::UltralightC,
            40,
            [0x02, 0x00],
            vec![16, 19],
            vec![15, 20],
        ),
    ] {
        let mut card = type2(kind);
        done(&mut card, &[0xA2, lock_page, locks[0], locks[1], 0, 0]);
        done(&mut card, &[0xA2, lock_page, 0, 0, 0, 0]);
        assert_eq!(page(&card, lock_page.into())[..2], locks, "{kind}");
        for page in locked {
            refused(&mut card, &[0xA2, page, 1, 2, 3, 4]);
        }
        for page in free {
            done(&mut card, &[0xA2, page, 1, 2, 3, 4]);
        }
    }
}

#[test]
fn frozen_dynamic_lock_bits_stay() {
    let mut card = type2(CardKind::Ntag213);
    done(&mut card, &[0xA2, 40, 0, 0, 0x01, 0]);
    done(&mut card, &[0xA2, 40, 0xFF, 0xFF, 0xFF, 0]);
    assert_eq!(page(&card, 40), [0xFC, 0x0F, 0x3F, 0xBD]);
    done(&mut card, &[0xA2, 16, 1, 2, 3, 4]);
}

#[test]
fn a_compatibility_write_stores_the_first_four_bytes() {
    let mut card = type2(CardKind::Ultralight);
    assert_eq!(card.transceive(&[0xA0, 4]), CardAnswer::Ack);
    assert_eq!(card.transceive(&[9; 16]), CardAnswer::Ack);
    assert_eq!(page(&card, 4), [9; 4]);
    assert_eq!(page(&card, 5), [0; 4]);
    assert_eq!(card.transceive(&[0xA0, 4]), CardAnswer::Ack);
    assert_eq!(card.transceive(&[9; 4]), CardAnswer::Nak(0));
}

fn protect(card: &mut VirtualCard, first_protected: u8, access: u8) {
    done(card, &[0xA2, 43, 1, 2, 3, 4]);
    done(card, &[0xA2, 44, 0xCA, 0xFE, 0, 0]);
    done(card, &[0xA2, 42, access, 5, 0, 0]);
    done(card, &[0xA2, 41, 4, 0, 0, first_protected]);
    power_on_again(card);
}

#[test]
fn the_password_protects_writing_and_with_prot_reading() {
    for access in [0x00, 0x80] {
        let mut card = type2(CardKind::Ntag213);
        protect(&mut card, 10, access);
        refused(&mut card, &[0xA2, 10, 9, 9, 9, 9]);
        done(&mut card, &[0xA2, 9, 9, 9, 9, 9]);
        let reads_freely = access == 0;
        let answer = card.exchange(&[0x30, 10]);
        assert_eq!(answer != CardAnswer::Nak(0), reads_freely);
        card.select();
        let CardAnswer::Data(wrapped) = card.exchange(&[0x30, 9]) else {
            panic!("no data");
        };
        let next = if reads_freely {
            page(&card, 10)
        } else {
            page(&card, 0)
        };
        assert_eq!(&wrapped[4..8], next);
        assert_eq!(
            card.exchange(&[0x3A, 9, 10]) != CardAnswer::Nak(0),
            reads_freely
        );

        card.select();
        refused(&mut card, &[0x1B, 4, 3, 2, 1]);
        let acknowledge = CardAnswer::Data(vec![0xCA, 0xFE]);
        assert_eq!(card.exchange(&[0x1B, 1, 2, 3, 4]), acknowledge);
        done(&mut card, &[0xA2, 10, 9, 9, 9, 9]);
        assert!(matches!(card.exchange(&[0x30, 10]), CardAnswer::Data(_)));
        card.select();
        refused(&mut card, &[0xA2, 10, 9, 9, 9, 9]);
    }
}

#[test]
fn a_new_password_counts_at_once_and_a_new_configuration_after_power_on() {
    let mut card = type2(CardKind::Ntag213);
    done(&mut card, &[0xA2, 41, 4, 0, 0, 10]);
    done(&mut card, &[0xA2, 43, 1, 2, 3, 4]);
    card.select();
    done(&mut card, &[0xA2, 10, 9, 9, 9, 9]);
    refused(&mut card, &[0x1B, 0xFF, 0xFF, 0xFF, 0xFF]);
    power_on_again(&mut card);
    refused(&mut card, &[0xA2, 10, 9, 9, 9, 9]);
}

#[test]
fn too_many_wrong_passwords_lock_the_card_out_for_ever() {
    let mut card = type2(CardKind::Ntag213);
    protect(&mut card, 10, 0x03);
    refused(&mut card, &[0x1B, 0, 0, 0, 0]);
    refused(&mut card, &[0x1B, 0, 0, 0, 0]);
    assert!(matches!(
        card.exchange(&[0x1B, 1, 2, 3, 4]),
        CardAnswer::Data(_)
    ));
    for _ in 0..3 {
        card.select();
        refused(&mut card, &[0x1B, 0, 0, 0, 0]);
    }
    assert_eq!(card.exchange(&[0x1B, 1, 2, 3, 4]), CardAnswer::Nak(4));
    card.power_off();
    card.select();
    assert_eq!(card.exchange(&[0x1B, 1, 2, 3, 4]), CardAnswer::Nak(4));
}

#[test]
fn without_a_limit_wrong_passwords_do_no_harm() {
    let mut card = type2(CardKind::Ntag213);
    for _ in 0..300 {
        refused(&mut card, &[0x1B, 0, 0, 0, 0]);
    }
    assert!(matches!(
        card.exchange(&[0x1B, 0xFF, 0xFF, 0xFF, 0xFF]),
        CardAnswer::Data(_)
    ));
}

#[test]
fn a_locked_configuration_still_takes_a_new_password() {
    let mut card = type2(CardKind::Ntag213);
    done(&mut card, &[0xA2, 42, 0x40, 5, 0, 0]);
    done(&mut card, &[0xA2, 42, 0x40, 5, 0, 0]);
    power_on_again(&mut card);
    refused(&mut card, &[0xA2, 42, 0, 5, 0, 0]);
    refused(&mut card, &[0xA2, 41, 0, 0, 0, 4]);
    done(&mut card, &[0xA2, 43, 1, 2, 3, 4]);
    done(&mut card, &[0xA2, 44, 5, 6, 0, 0]);
}

#[test]
fn counters_count_and_overflow() {
    let mut card = type2(CardKind::UltralightEv1Ul11);
    done(&mut card, &[0xA5, 1, 0xFE, 0xFF, 0xFF, 0]);
    assert_eq!(
        card.exchange(&[0x39, 1]),
        CardAnswer::Data(vec![0xFE, 0xFF, 0xFF])
    );
    assert_eq!(card.exchange(&[0xA5, 1, 2, 0, 0, 0]), CardAnswer::Nak(4));
    card.select();
    done(&mut card, &[0xA5, 1, 1, 0, 0, 0]);
    assert_eq!(card.exchange(&[0x39, 1]), CardAnswer::Data(vec![0xFF; 3]));
    refused(&mut card, &[0x39, 3]);
    assert_eq!(card.exchange(&[0x3E, 0]), CardAnswer::Data(vec![0xBD]));

    let mut card = type2(CardKind::Ntag213);
    refused(&mut card, &[0xA5, 2, 1, 0, 0, 0]);
    refused(&mut card, &[0x39, 2]);
    done(&mut card, &[0xA2, 42, 0x10, 5, 0, 0]);
    power_on_again(&mut card);
    card.exchange(&[0x30, 0]);
    card.exchange(&[0x30, 0]);
    assert_eq!(card.exchange(&[0x39, 2]), CardAnswer::Data(vec![1, 0, 0]));
    card.power_off();
    card.select();
    card.exchange(&[0x3A, 0, 3]);
    assert_eq!(card.exchange(&[0x39, 2]), CardAnswer::Data(vec![2, 0, 0]));
    done(&mut card, &[0xA2, 42, 0x18, 5, 0, 0]);
    power_on_again(&mut card);
    refused(&mut card, &[0x39, 2]);
}

#[test]
fn signatures_have_32_bytes_and_differ_between_uids() {
    let mut one = type2(CardKind::Ntag213);
    let uid = "04000000000001".parse().ok();
    let mut other = VirtualCard::new(CardKind::Ntag213, uid).unwrap();
    other.select();
    let (CardAnswer::Data(a), CardAnswer::Data(b)) =
        (one.exchange(&[0x3C, 0]), other.exchange(&[0x3C, 0]))
    else {
        panic!("no signature");
    };
    assert_eq!((a.len(), b.len()), (32, 32));
    assert_ne!(a, b);
}

#[test]
fn a_halted_card_is_silent_until_it_is_selected() {
    for kind in CardKind::ALL {
        let mut card = VirtualCard::new(kind, None).unwrap();
        card.select();
        assert_eq!(card.transceive(&[0x50, 0x00]), CardAnswer::Silent, "{kind}");
        assert_eq!(card.transceive(&[0x30, 0x00]), CardAnswer::Silent, "{kind}");
        assert!(!card.is_selected() && card.is_halted());
        card.select();
        assert!(card.is_selected() && !card.is_halted());
    }
}

#[test]
fn a_random_uid_is_drawn_at_each_selection_and_can_be_repeated() {
    let draw = || {
        let mut card = VirtualCard::new(CardKind::RandomUid, None).unwrap();
        [card.select(), card.select(), card.select()]
    };
    let [a, b, c] = draw();
    assert!(a.is_random() && b.is_random() && c.is_random());
    assert!(a != b && b != c && a != c);
    assert_eq!(draw(), [a, b, c]);
}

#[test]
fn an_iso_dep_card_answers_rats_and_apdus() {
    let mut card = VirtualCard::new(CardKind::Desfire, None).unwrap();
    card.select();
    assert_eq!(
        card.transceive(&[0x02, 0x90, 0x60, 0, 0, 0]),
        CardAnswer::Silent
    );
    card.select();
    let ats = CardAnswer::Data(vec![0x06, 0x75, 0x77, 0x81, 0x02, 0x80]);
    assert_eq!(card.transceive(&[0xE0, 0x50]), ats);
    let mut parts = Vec::new();
    for command in [0x60, 0xAF, 0xAF] {
        let CardAnswer::Data(part) = card.transceive(&[0x03, 0x90, command, 0, 0, 0]) else {
            panic!("no version");
        };
        parts.push(part);
    }
    assert_eq!(parts.iter().map(Vec::len).collect::<Vec<_>>(), [10, 10, 17]);
    assert_eq!(parts[2][1..8], [0x04, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66]);
    let select = [0x02, 0x90, 0x5A, 0, 0, 3, 1, 0, 0, 0];
    assert_eq!(
        card.transceive(&select),
        CardAnswer::Data(vec![0x02, 0x91, 0xA0])
    );
    assert_eq!(card.transceive(&[0xC2]), CardAnswer::Data(vec![0xC2]));
    assert!(!card.is_selected());
}

#[test]
fn wrong_uids_names_and_dumps_are_refused_with_the_right_ones() {
    let short: Uid = "deadbeef".parse().unwrap();
    let refused = VirtualCard::new(CardKind::Ntag213, Some(short)).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "a ntag213 has no uid of 4 bytes; give 7 bytes"
    );
    let mut card = VirtualCard::new(CardKind::Classic1k, None).unwrap();
    let refused = card.load(&[0; 100]).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "expected 1024 bytes of card memory, got 100"
    );
    for kind in CardKind::ALL {
        assert_eq!(kind.name().parse(), Ok(kind));
    }
    assert!(
        "mifare"
            .parse::<CardKind>()
            .unwrap_err()
            .to_string()
            .contains("classic-1k")
    );
}

proptest! {
    #[test]
    fn no_frames_panic_or_touch_the_makers_bytes(
        kind in 0..CardKind::ALL.len(),
        frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 1..20),
        block: u8,
    ) {
        let mut card = VirtualCard::new(CardKind::ALL[kind], None).unwrap();
        let maker = card.memory().iter().take(10).copied().collect::<Vec<_>>();
        for frame in &frames {
            if !card.is_selected() {
                card.select();
                if card.kind().sak() & 0x08 != 0 {
                    card.authenticate(KeySlot::A, block, &FF, &[0xDE, 0xAD, 0xBE, 0xEF]);
                }
            }
            card.exchange(frame);
        }
        prop_assert!(card.memory().starts_with(&maker));
    }

    #[test]
    fn random_commands_never_panic(
        kind in 0..CardKind::ALL.len(),
        commands in prop::collection::vec((0..14_usize, any::<[u8; 17]>(), 0..18_usize), 1..30),
    ) {
        const CODES: [u8; 14] =
            [0x30, 0x3A, 0xA0, 0xA2, 0xB0, 0xC0, 0xC1, 0xC2, 0x1B, 0x39, 0xA5, 0xE0, 0x02, 0x1A];
        let mut card = VirtualCard::new(CardKind::ALL[kind], None).unwrap();
        let size = card.memory().len();
        for (code, rest, length) in commands {
            card.select();
            card.authenticate(KeySlot::A, rest[0], &FF, &[0xDE, 0xAD, 0xBE, 0xEF]);
            card.select();
            card.exchange(&[&[CODES[code]][..], &rest[..length.min(17)]].concat());
        }
        prop_assert_eq!(card.memory().len(), size);
    }
}
