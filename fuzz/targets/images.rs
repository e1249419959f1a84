//! Images and read plans as an input says: mostly such as fit a card, sometimes any.

use encoder_protocols::card::{
    AccessBits, BlockImage, CandidateKey, CardImage, ClassicImage, ClassicKey, ClassicRead,
    KeySlot, PageImage, Password, ReadPlan, SectorImage, SectorRead, TrailerImage, Type2Image,
    Type2Protection, Type2Read,
};

use super::input::Input;

pub fn image(input: &mut Input<'_>, classic: bool) -> CardImage {
    if classic {
        let count = input.below(4);
        let sectors = (0..count).map(|_| sector(input)).collect();
        return CardImage::MifareClassic(ClassicImage { sectors });
    }
    let passwords = passwords(input);
    let count = input.below(8);
    let pages = (0..count).map(|_| page(input)).collect();
    CardImage::Type2(Type2Image {
        passwords,
        pages,
        protection: input.flag().then(|| protection(input)),
    })
}

pub fn plan(input: &mut Input<'_>, classic: bool) -> ReadPlan {
    if input.below(16) == 0 {
        return ReadPlan::UidOnly;
    }
    if classic {
        let count = input.below(5);
        return ReadPlan::MifareClassic(ClassicRead {
            sectors: (0..count).map(|_| sector_read(input)).collect(),
            extension: (0..input.below(3)).map(|_| sector_read(input)).collect(),
        });
    }
    ReadPlan::Type2(Type2Read {
        first_page: place(input, 16),
        last_page: place(input, 48),
        last_extension_page: input.flag().then(|| place(input, 231)),
        passwords: passwords(input),
    })
}

fn sector_read(input: &mut Input<'_>) -> SectorRead {
    SectorRead {
        sector: place(input, 16),
        keys: keys(input),
    }
}

fn sector(input: &mut Input<'_>) -> SectorImage {
    let sector = place(input, 16);
    let keys = keys(input);
    let count = input.below(4);
    let blocks = (0..count).map(|_| BlockImage {
        block: place(input, 3),
        data: input.array(),
    });
    SectorImage {
        sector,
        keys,
        blocks: blocks.collect(),
        trailer: input.flag().then(|| trailer(input)),
    }
}

fn trailer(input: &mut Input<'_>) -> TrailerImage {
    let access_bits = match input.below(4) {
        0 => input.array(),
        1 => [0xFF, 0x07, 0x80],
        _ => {
            let conditions = std::array::from_fn(|_| input.below(8));
            AccessBits::from_conditions(conditions).encode()
        }
    };
    TrailerImage {
        key_a: key(input),
        access_bits,
        user_byte: input.byte(),
        key_b: key(input),
    }
}

fn keys(input: &mut Input<'_>) -> Vec<CandidateKey> {
    let count = input.below(4);
    let keys = (0..count).map(|_| CandidateKey {
        slot: *input.pick(&[KeySlot::A, KeySlot::B]),
        key: key(input),
    });
    keys.collect()
}

fn key(input: &mut Input<'_>) -> ClassicKey {
    ClassicKey(*input.pick(&[[0xFF; 6], [0x01; 6], [0x00; 6]]))
}

fn page(input: &mut Input<'_>) -> PageImage {
    let page = match input.below(8) {
        0 => input.byte(),
        _ => 4 + input.below(16),
    };
    PageImage {
        page,
        data: input.array(),
    }
}

fn passwords(input: &mut Input<'_>) -> Vec<Password> {
    let count = input.below(3);
    let passwords = (0..count).map(|_| Password(*input.pick(&[[0xFF; 4], [0x01; 4]])));
    passwords.collect()
}

fn protection(input: &mut Input<'_>) -> Type2Protection {
    Type2Protection {
        password: Password(*input.pick(&[[0xFF; 4], [0x01; 4]])),
        acknowledge: input.array(),
        first_protected_page: place(input, 48),
        protect_reading: input.flag(),
    }
}

/// A number below `usual`, or any.
fn place(input: &mut Input<'_>, usual: u8) -> u8 {
    match input.byte() {
        byte @ 0..=239 => byte % usual,
        _ => input.byte(),
    }
}
