use encoder_protocols::card::{BlockContents, UnreadSector};

use super::*;

const FRESH: [u8; 6] = [1, 2, 3, 4, 5, 6];

fn classic(change: impl Fn(u8) -> [u8; 16]) -> CardContents {
    let data = (0..64).filter(|block| block % 4 != 3);
    let blocks = data.map(|block| BlockContents {
        block,
        data: change(block),
    });
    CardContents::MifareClassic {
        blocks: blocks.collect(),
        unread: Vec::new(),
    }
}

fn of(contents: &CardContents) -> Result<Trial, Unfit> {
    trial(contents, Coercivity::High, FRESH)
}

fn blocks(image: &CardImage) -> (u8, Vec<[u8; 16]>) {
    let CardImage::MifareClassic(image) = image else {
        panic!("{image:?}");
    };
    let [sector] = image.sectors.as_slice() else {
        panic!("{image:?}");
    };
    assert!(sector.trailer.is_none());
    (
        sector.sector,
        sector.blocks.iter().map(|block| block.data).collect(),
    )
}

fn restored(trial: &Trial) -> &CardImage {
    let Original::Image(image) = &trial.original else {
        panic!("{trial:?}");
    };
    image
}

#[test]
fn a_blank_classic_card_gets_a_pattern_and_its_zeros_back() {
    // The manufacturer's block counts for nothing.
    let trial = of(&classic(|block| if block == 0 { [7; 16] } else { [0; 16] })).unwrap();
    assert!(trial.is_blank);
    let (sector, pattern) = blocks(&trial.pattern);
    assert_eq!(sector, 1);
    assert!(pattern.iter().all(|block| block.starts_with(MARK)));
    assert!(pattern[0] != pattern[1] && pattern[1] != pattern[2]);
    assert_eq!(blocks(restored(&trial)), (1, vec![[0; 16]; 3]));
}

#[test]
fn a_classic_card_with_something_on_it_is_not_blank_and_gets_it_back() {
    let trial = of(&classic(|block| [block; 16])).unwrap();
    assert!(!trial.is_blank);
    assert_eq!(
        blocks(restored(&trial)),
        (1, vec![[4; 16], [5; 16], [6; 16]])
    );
}

#[test]
fn what_an_acceptance_left_behind_is_nothing() {
    let left = classic(|block| match block {
        4..=6 => pattern([9; 6], block),
        _ => [0; 16],
    });
    let trial = of(&left).unwrap();
    assert!(trial.is_blank);
    assert_eq!(blocks(restored(&trial)), (1, vec![[0; 16]; 3]));
}

#[test]
fn only_a_sector_that_can_be_read_whole_is_used_and_without_one_the_card_is_refused() {
    let CardContents::MifareClassic { blocks: all, .. } = classic(|_| [0; 16]) else {
        unreachable!();
    };
    let unread = |sector| UnreadSector {
        sector,
        reason: "none of the 2 known keys opens it".to_owned(),
    };
    let (blocks_left, unread) = (
        all.iter().filter(|read| read.block > 7).cloned().collect(),
        vec![unread(0), unread(1)],
    );
    let contents = CardContents::MifareClassic {
        blocks: blocks_left,
        unread,
    };
    let trial = of(&contents).unwrap();
    assert!(!trial.is_blank, "a sector has another key");
    assert_eq!(blocks(&trial.pattern).0, 2);
    let closed = CardContents::MifareClassic {
        blocks: Vec::new(),
        unread: Vec::new(),
    };
    assert!(matches!(of(&closed), Err(Unfit::NotRestorable(_))));
}

#[test]
fn an_ntag_as_it_is_sold_is_blank_and_one_with_a_message_is_not() {
    let mut data = vec![0; 144];
    data[..8].copy_from_slice(&[0x01, 0x03, 0xA0, 0x0C, 0x34, 0x03, 0x00, 0xFE]);
    let ntag = |data: &[u8]| {
        of(&CardContents::Type2 {
            first_page: 4,
            data: data.to_vec(),
        })
    };
    let trial = ntag(&data).unwrap();
    assert!(trial.is_blank);
    let CardImage::Type2(image) = &trial.pattern else {
        panic!("{trial:?}");
    };
    let pages: Vec<_> = image.pages.iter().map(|page| page.page).collect();
    assert_eq!(pages, [8, 9, 10, 11]);
    assert!(image.protection.is_none());
    // A pattern that was left behind.
    data[16..32].copy_from_slice(&pattern([9; 6], 0));
    let left = ntag(&data).unwrap();
    assert!(left.is_blank);
    assert_eq!(left.original, trial.original);
    data[100] = 1;
    assert!(!ntag(&data).unwrap().is_blank);
    assert!(matches!(ntag(&data[..20]), Err(Unfit::NotRestorable(_))));
}

#[test]
fn a_stripe_is_erased_or_written_again_and_a_payment_card_is_refused() {
    let tracks = |texts: [&str; 3]| {
        let tracks = Track::ALL.into_iter().zip(texts);
        let tracks =
            tracks.map(|(track, text)| TrackContents::of_characters(track, text.as_bytes()));
        CardContents::Magstripe {
            tracks: tracks.collect(),
        }
    };
    let blank = of(&tracks(["", "", ""])).unwrap();
    assert!(blank.is_blank);
    assert_eq!(blank.original, Original::Erased(Track::ALL.to_vec()));
    let CardImage::Magstripe(image) = &blank.pattern else {
        panic!("{blank:?}");
    };
    assert_eq!(image.check(), Ok(()));
    assert_eq!(image.tracks.len(), 3);
    let left = of(&tracks(["%ACCEPTANCE 1?", ";1?", ""])).unwrap();
    assert!(left.is_blank);
    let written = of(&tracks(["", ";101?", ""])).unwrap();
    assert!(!written.is_blank);
    assert_eq!(written.place, "track 2");
    let CardImage::Magstripe(image) = restored(&written) else {
        panic!("{written:?}");
    };
    assert_eq!(image.tracks, [TrackImage::iso(Track::Two, "101")]);
    let CardContents::Magstripe { mut tracks } = tracks(["", ";4111111111111111=2512101?", ""])
    else {
        unreachable!();
    };
    TrackContents::mask_payment_data(&mut tracks);
    let payment = of(&CardContents::Magstripe { tracks });
    assert_eq!(payment, Err(Unfit::NotRestorable("it is a payment card")));
}

#[test]
fn all_user_pages_are_read_and_no_other() {
    for (technology, last) in [
        (Technology::Ultralight, 0x0F),
        (Technology::UltralightEv1Ul21, 0x23),
        (Technology::Ntag213, 0x27),
        (Technology::Ntag216, 0xE1),
    ] {
        let Ok(ReadPlan::Type2(read)) = plan(technology) else {
            panic!("{technology}");
        };
        assert_eq!((read.first_page, read.last_page), (4, last), "{technology}");
    }
    assert_eq!(
        plan(Technology::Desfire),
        Err(Unfit::Technology(Technology::Desfire))
    );
}
