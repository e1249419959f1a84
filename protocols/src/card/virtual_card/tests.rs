mod classic;
mod type2;

use proptest::prelude::*;

use super::*;

const FF: [u8; 6] = [0xFF; 6];
const KEY_A: [u8; 6] = [0xA1; 6];
const KEY_B: [u8; 6] = [0xB2; 6];

fn with(head: &[u8], operand: &[u8]) -> Vec<u8> {
    [head, operand].concat()
}

fn block(card: &VirtualCard, block: usize) -> &[u8] {
    &card.memory()[block * 16..][..16]
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
