//! How long writes take on a board that takes its time, against what the jobs count on.

use std::time::Duration;

use encoder_protocols::{
    card::{
        ClassicImage, SectorImage,
        key_record::{KeyRecord, Layout, SiteKey, Type2Password, VersionedSiteKey},
        virtual_card::{CardKind, VirtualCard},
    },
    pn532::emulator::Pace,
    wire::{EncoderKey, KeyScope},
};

use super::{
    super::*,
    RULES,
    bench::{Bench, image},
};
use crate::encoder::EncoderSettings;

/// Two data sectors, a whole card, and the key records of each kind of card, without and with a password.
fn images(card: &CardDescription) -> Vec<CardImage> {
    let record = KeyRecord {
        credential_id: uuid::Uuid::from_u128(7),
        issued_at: jiff::Timestamp::UNIX_EPOCH,
        starts_at: None,
        ends_at: None,
        entrances: vec![1],
    };
    let site_key = |version| VersionedSiteKey {
        version,
        key: SiteKey::new([version; 32]),
    };
    let keys = [site_key(3), site_key(2), site_key(1)];
    let layouts =
        [Type2Password::Leave, Type2Password::ProtectWriting].map(|type2_password| Layout {
            type2_password,
            ..Layout::default()
        });
    let mut images: Vec<_> = layouts
        .iter()
        .map(|layout| layout.image_for(card, &record, &keys).unwrap())
        .collect();
    if card.technology == Technology::MifareClassic1k {
        images.push(image());
        let CardImage::MifareClassic(two) = image() else {
            unreachable!("it is a Classic's");
        };
        let sectors = (1..16).map(|number| SectorImage {
            sector: number,
            ..two.sectors[0].clone()
        });
        images.push(CardImage::MifareClassic(ClassicImage {
            sectors: sectors.collect(),
        }));
    }
    images
}

#[tokio::test(start_paused = true)]
async fn no_write_takes_longer_than_estimated_nor_a_small_part_of_it() {
    let pace = Pace {
        wire: true,
        rf: true,
    };
    for kind in CardKind::ALL {
        let uid = VirtualCard::new(kind, None).unwrap().uid();
        let card = CardDescription::new(kind.technology(), uid);
        if !TECHNOLOGIES.contains(&card.technology) {
            continue;
        }
        for image in images(&card) {
            let (bench, port) = Bench::paced(pace);
            let mut encoder = bench.start(port).await.unwrap();
            let uid = bench.place(kind);
            let begin = bench.clock.now();
            let cancel = CancellationToken::new();
            encoder
                .prepare(Some(uid), &image, RULES, &cancel)
                .await
                .unwrap();
            encoder
                .write(&mut || {}, &CancellationToken::new())
                .await
                .unwrap();
            let taken = bench.clock.now().since(begin);
            let estimated = crate::drivers::write_time(&settings(), &image);
            assert!(taken <= estimated, "{kind}: {taken:?} of {estimated:?}");
            assert!(
                taken * 12 >= estimated,
                "{kind}: {taken:?} of {estimated:?}"
            );
        }
    }
}

#[test]
fn a_slower_line_takes_longer() {
    let time = |baud| {
        let settings = EncoderSettings { baud, ..settings() };
        crate::drivers::write_time(&settings, &image())
    };
    assert_eq!(time(None), time(Some(115_200)));
    assert!(time(Some(9_600)) > time(None));
}

fn settings() -> EncoderSettings {
    EncoderSettings {
        key: EncoderKey("port:board".to_owned()),
        key_scope: KeyScope::Agent,
        name: "Board".to_owned(),
        driver: DRIVER.to_owned(),
        port: "/dev/ttyUSB0".into(),
        baud: None,
        dtr: None,
        rts: None,
        named: true,
        adopted: true,
        lift_between_cards: true,
        allow_irreversible: false,
        poll_interval: Duration::from_millis(200),
        simulated: true,
    }
}
