//! Whatever comes over the wire, nothing panics, and an encode that succeeds can be verified.

use proptest::prelude::*;

use super::{encode_under, read, reader::Reader, verified};
use crate::card::{
    AccessBits, BlockImage, CandidateKey, CardImage, ClassicImage, ClassicKey, ClassicRead,
    KeySlot, PageImage, Password, ReadPlan, SectorImage, SectorRead, TrailerImage, Type2Image,
    Type2Protection, Type2Read, WriteRules, virtual_card::CardKind, write_estimate,
};

fn keys() -> impl Strategy<Value = Vec<CandidateKey>> {
    let slot = prop_oneof![Just(KeySlot::A), Just(KeySlot::B)];
    let key = prop_oneof![Just([0xFF; 6]), Just([1; 6])];
    let key = (slot, key).prop_map(|(slot, key)| CandidateKey {
        slot,
        key: ClassicKey(key),
    });
    prop::collection::vec(key, 0..3)
}

fn block() -> impl Strategy<Value = BlockImage> {
    let within = prop_oneof![8 => 0u8..3, 1 => 0u8..16, 1 => any::<u8>()];
    (within, any::<[u8; 16]>()).prop_map(|(block, data)| BlockImage { block, data })
}

fn trailer() -> impl Strategy<Value = TrailerImage> {
    let consistent = [0u8..8, 0..8, 0..8, 0..8]
        .prop_map(|conditions| AccessBits::from_conditions(conditions).encode());
    let bits = prop_oneof![4 => consistent, 1 => any::<[u8; 3]>()];
    (bits, any::<u8>()).prop_map(|(access_bits, user_byte)| TrailerImage {
        key_a: ClassicKey([1; 6]),
        access_bits,
        user_byte,
        key_b: ClassicKey([0xFF; 6]),
    })
}

fn sector() -> impl Strategy<Value = SectorImage> {
    let number = prop_oneof![8 => 0u8..5, 1 => 0u8..45, 1 => any::<u8>()];
    let blocks = prop::collection::vec(block(), 0..3);
    (number, keys(), blocks, prop::option::of(trailer())).prop_map(
        |(sector, keys, blocks, trailer)| SectorImage {
            sector,
            keys,
            blocks,
            trailer,
        },
    )
}

fn page() -> impl Strategy<Value = PageImage> {
    let page = prop_oneof![6 => 4u8..16, 2 => 0u8..48, 1 => any::<u8>()];
    (page, any::<[u8; 4]>()).prop_map(|(page, data)| PageImage { page, data })
}

fn passwords() -> impl Strategy<Value = Vec<Password>> {
    let password = prop_oneof![Just([0xFF; 4]), Just([1; 4])].prop_map(Password);
    prop::collection::vec(password, 0..3)
}

fn protection() -> impl Strategy<Value = Type2Protection> {
    (any::<u8>(), any::<bool>()).prop_map(|(first_protected_page, protect_reading)| {
        Type2Protection {
            password: Password([1; 4]),
            acknowledge: [2; 2],
            first_protected_page,
            protect_reading,
        }
    })
}

fn image() -> impl Strategy<Value = CardImage> {
    let sectors = prop::collection::vec(sector(), 0..4);
    let pages = prop::collection::vec(page(), 0..8);
    prop_oneof![
        sectors.prop_map(|sectors| CardImage::MifareClassic(ClassicImage { sectors })),
        (passwords(), pages, prop::option::of(protection())).prop_map(
            |(passwords, pages, protection)| CardImage::Type2(Type2Image {
                passwords,
                pages,
                protection,
            })
        ),
    ]
}

fn plan() -> impl Strategy<Value = ReadPlan> {
    let sector = || (any::<u8>(), keys()).prop_map(|(sector, keys)| SectorRead { sector, keys });
    let sectors = || prop::collection::vec(sector(), 0..4);
    let pages = (any::<u8>(), any::<u8>(), any::<Option<u8>>());
    prop_oneof![
        (sectors(), sectors()).prop_map(|(sectors, extension)| {
            ReadPlan::MifareClassic(ClassicRead { sectors, extension })
        }),
        (pages, passwords()).prop_map(
            |((first_page, last_page, last_extension_page), passwords)| {
                ReadPlan::Type2(Type2Read {
                    first_page,
                    last_page,
                    last_extension_page,
                    passwords,
                })
            }
        ),
    ]
}

fn kind() -> impl Strategy<Value = CardKind> {
    prop::sample::select(CardKind::ALL.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn images_never_panic_and_succeed_only_where_they_can_be_verified(
        kind in kind(), image in image(), allow_irreversible: bool,
    ) {
        let mut reader = Reader::with(kind);
        let before = reader.card.memory().to_vec();
        prop_assert!(write_estimate(&image).commands > 0);
        match encode_under(&mut reader, &image, WriteRules { allow_irreversible }) {
            Ok(()) => prop_assert_eq!(verified(&mut reader.again(), &image), Ok(())),
            Err(failed) if !failed.changed() => prop_assert_eq!(reader.card.memory(), before),
            Err(_) => {}
        }
    }

    #[test]
    fn plans_never_panic_and_never_change_a_card(kind in kind(), plan in plan()) {
        let mut reader = Reader::with(kind);
        let before = reader.card.memory().to_vec();
        let _ = read(&mut reader, &plan);
        prop_assert_eq!(reader.card.memory(), before);
    }
}
