//! Ultralight and NTAG: lock bits, passwords, counters.

use super::*;

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
