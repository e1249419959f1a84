use std::time::Duration;

use encoder_protocols::{
    card::magstripe::{
        BitString, Coercivity, Density, MagstripeImage, MagstripeRead, Track, TrackContents,
        TrackData, TrackForm, TrackFound, TrackImage,
    },
    msr605::emulator::{Fault, Reading, StripeCard, StripeKind, Swiped},
};
use tokio::io::AsyncWriteExt;

use super::{
    bench::{Bench, Way, blank, image, stripe},
    *,
};
use crate::transport::{PortError, ReportKind};

const RULES: WriteRules = WriteRules {
    allow_irreversible: false,
};

const TEXTS: [Result<&str, Reading>; 3] = [
    Ok("%ROOM 101^GUEST?"),
    Ok(";1234=5678?"),
    Err(Reading::Blank),
];

/// How soon a device that must be reset first is free again.
const RESET_WITHIN: Duration = Duration::from_millis(700);

fn never() -> CancellationToken {
    CancellationToken::new()
}

async fn prepare(encoder: &mut dyn Encoder, image: &CardImage) -> Result<(), CardError> {
    encoder.prepare(None, image, RULES, &never()).await
}

async fn write(encoder: &mut dyn Encoder) -> Result<(), WriteError> {
    encoder.write(&mut || {}, &never()).await
}

fn plan(form: TrackForm) -> ReadPlan {
    ReadPlan::Magstripe(MagstripeRead {
        form,
        tracks: Track::ALL.to_vec(),
    })
}

fn bad_swipe(error: &CardError) -> Option<&str> {
    let CardError::Link {
        source: CardLinkError::BadSwipe(fault),
        ..
    } = error
    else {
        return None;
    };
    Some(&fault.code)
}

fn same(card: &StripeCard, texts: [Result<&str, Reading>; 3]) {
    assert_eq!(card.texts(), texts.map(|text| text.map(str::to_owned)));
}

#[tokio::test(start_paused = true)]
async fn the_device_tells_what_it_is_over_both_ways() {
    for way in Way::BOTH {
        let (bench, mut encoder) = Bench::up(way).await;
        let identity = encoder.identity();
        assert_eq!(identity.model.as_deref(), Some("MSR605 (model 3)"));
        assert_eq!(identity.firmware.as_deref(), Some("REVT3.12"));
        assert_eq!(identity.abilities.technologies, [Technology::Magstripe]);
        encoder.health().await.unwrap();
        let poll = encoder.poll(&never()).await.unwrap();
        assert_eq!(poll, Poll::Card(CardDescription::to_be_swiped()));
        for (signal, lights) in [
            (Signal::Waiting, 0x84),
            (Signal::Done, 0x83),
            (Signal::Failed, 0x85),
        ] {
            encoder.signal(signal).await.unwrap();
            encoder.health().await.unwrap();
            assert_eq!(bench.with(|device| device.lights()), lights);
        }
        encoder.rest().await.unwrap();
        encoder.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_image_is_written_by_one_swipe_and_verified_by_the_next() {
    for way in Way::BOTH {
        let (bench, mut encoder) = Bench::up(way).await;
        prepare(encoder.as_mut(), &image()).await.unwrap();
        assert!(
            !bench.with(|device| device.waits()),
            "no swipe is awaited yet"
        );
        let mut card = blank();
        let mut verifying = 0;
        let mut told = || verifying += 1;
        let cancel = never();
        let (written, swiped) =
            tokio::join!(encoder.write(&mut told, &cancel), bench.swipe(&mut card));
        assert_eq!((written, swiped, verifying), (Ok(()), Swiped::Written, 1));
        same(&card, TEXTS);
        let image = image();
        let (verified, swiped) = tokio::join!(
            encoder.verify(None, &image, &cancel),
            bench.swipe(&mut card)
        );
        assert_eq!((verified, swiped), (Ok(()), Swiped::Read));
        let plan = plan(TrackForm::Iso);
        let (read, _) = tokio::join!(encoder.read(None, &plan, &cancel), bench.swipe(&mut card));
        let found = |track, text: &str| TrackContents {
            track,
            found: TrackFound::Iso {
                text: text.to_owned(),
            },
        };
        let tracks = vec![
            found(Track::One, "ROOM 101^GUEST"),
            found(Track::Two, "1234=5678"),
            TrackContents {
                track: Track::Three,
                found: TrackFound::Blank,
            },
        ];
        assert_eq!(read, Ok(CardContents::Magstripe { tracks }));
    }
}

#[tokio::test(start_paused = true)]
async fn bits_are_written_with_parity_and_check_character_and_read_back() {
    for way in Way::BOTH {
        let (bench, mut encoder) = Bench::up(way).await;
        bench.place(StripeCard::blank(StripeKind::LoCo));
        let odd = BitString::from_text("1011001110001111000011111").unwrap();
        let mut image = stripe();
        image.coercivity = Coercivity::Low;
        image.tracks.push(TrackImage {
            track: Track::Three,
            bpi: Density::Bpi75,
            data: TrackData::Raw(odd.clone()),
        });
        let image = CardImage::Magstripe(image);
        prepare(encoder.as_mut(), &image).await.unwrap();
        write(encoder.as_mut()).await.unwrap();
        let card = bench.card();
        // What the image gives as characters is on the card as such, although it was sent as bits.
        let [one, two, _] = TEXTS;
        same(&card, [one, two, Err(Reading::Unreadable)]);
        let densities = card.tracks().each_ref().map(|track| track.bpi);
        assert_eq!(densities, [210, 75, 75]);
        encoder.verify(None, &image, &never()).await.unwrap();
        let CardContents::Magstripe { tracks } = encoder
            .read(None, &plan(TrackForm::Raw), &never())
            .await
            .unwrap()
        else {
            panic!("expected tracks");
        };
        let TrackFound::Raw { bits } = &tracks[2].found else {
            panic!("expected bits");
        };
        assert_eq!(bits.trimmed(), odd);
    }
}

#[tokio::test(start_paused = true)]
async fn the_longest_tracks_fit_at_each_density() {
    let (bench, mut encoder) = Bench::up(Way::Serial).await;
    bench.place(blank());
    for bpi in [Density::Bpi75, Density::Bpi210] {
        let bits = BitString::from_text(&"1".repeat(bpi.capacity())).unwrap();
        let tracks = Track::ALL.map(|track| TrackImage {
            track,
            bpi,
            data: TrackData::Raw(bits.clone()),
        });
        let image = CardImage::Magstripe(MagstripeImage {
            tracks: tracks.to_vec(),
            ..stripe()
        });
        prepare(encoder.as_mut(), &image).await.unwrap();
        write(encoder.as_mut()).await.unwrap();
        encoder.verify(None, &image, &never()).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn settings_are_made_anew_for_every_write() {
    let (bench, mut encoder) = Bench::up(Way::Serial).await;
    for (kind, coercivity) in [
        (StripeKind::LoCo, Coercivity::Low),
        (StripeKind::HiCo, Coercivity::High),
        (StripeKind::LoCo, Coercivity::Low),
    ] {
        let image = CardImage::Magstripe(MagstripeImage {
            coercivity,
            ..stripe()
        });
        bench.place(StripeCard::blank(kind));
        prepare(encoder.as_mut(), &image).await.unwrap();
        write(encoder.as_mut()).await.unwrap();
        same(&bench.card(), TEXTS);
        // The device forgets everything.
        bench.with(|device| device.power_cycle());
    }
}

#[tokio::test(start_paused = true)]
async fn a_bad_swipe_has_the_devices_own_code_and_the_card_may_have_changed() {
    let mut worn = blank();
    worn.wear_out();
    for (card, coercivity, fault, code) in [
        (blank(), Coercivity::High, Some(Fault::Jerk(1)), "39"),
        (blank(), Coercivity::Low, None, "31"),
        (worn, Coercivity::High, None, "31"),
    ] {
        for way in Way::BOTH {
            let (bench, mut encoder) = Bench::up(way).await;
            bench.place(card.clone());
            let image = CardImage::Magstripe(MagstripeImage {
                coercivity,
                ..stripe()
            });
            prepare(encoder.as_mut(), &image).await.unwrap();
            if let Some(fault) = fault {
                bench.inject(fault);
            }
            let error = write(encoder.as_mut()).await.unwrap_err();
            assert_eq!(bad_swipe(&error.error), Some(code), "{error:?}");
            assert!(error.changed);
            assert!(error.error.to_string().contains("msr605"), "{error}");
            encoder.health().await.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_left_nothing_is_noticed_when_it_is_verified() {
    let (bench, mut encoder) = Bench::up(Way::Serial).await;
    bench.place(blank());
    prepare(encoder.as_mut(), &image()).await.unwrap();
    bench.inject(Fault::Weak(1));
    write(encoder.as_mut()).await.unwrap();
    let error = encoder.verify(None, &image(), &never()).await.unwrap_err();
    assert_eq!(bad_swipe(&error), Some("31"));
    // Another card of the same kind is not taken for this one.
    let mut other = blank();
    other.set_text(0, "%ROOM 102^GUEST?");
    other.set_text(1, ";1234=5678?");
    bench.place(other);
    let error = encoder.verify(None, &image(), &never()).await.unwrap_err();
    assert_eq!(
        error,
        CardError::Differs {
            at: Place::Track(Track::One)
        }
    );
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_a_swipe_ends_when_it_is_cancelled_and_nothing_was_written() {
    for way in Way::BOTH {
        let (bench, mut encoder) = Bench::up(way).await;
        prepare(encoder.as_mut(), &image()).await.unwrap();
        let cancel = never();
        let mut told = || {};
        let work = encoder.write(&mut told, &cancel);
        let person = async {
            bench.until_it_waits().await;
            // An hour passes before somebody gives up.
            tokio::time::sleep(Duration::from_secs(3_600)).await;
            cancel.cancel();
            bench.clock.now()
        };
        let (written, cancelled) = tokio::join!(work, person);
        let took = bench.clock.now().since(cancelled);
        assert!(took <= RESET_WITHIN, "{took:?}");
        let error = written.unwrap_err();
        assert_eq!(error.error, DeviceError::Cancelled.on_card());
        assert!(!error.changed);
        assert!(!bench.with(|device| device.waits()), "the device was reset");
        assert_eq!(bench.with(|device| device.stats().aborted), 1);
        // The same for a read, and the encoder works on.
        let (plan, cancel) = (plan(TrackForm::Iso), never());
        let work = encoder.read(None, &plan, &cancel);
        let person = async {
            bench.until_it_waits().await;
            cancel.cancel();
            bench.clock.now()
        };
        let (read, cancelled) = tokio::join!(work, person);
        let took = bench.clock.now().since(cancelled);
        assert!(took <= RESET_WITHIN, "{took:?}");
        assert_eq!(read.unwrap_err(), DeviceError::Cancelled.on_card());
        bench.place(blank());
        prepare(encoder.as_mut(), &image()).await.unwrap();
        write(encoder.as_mut()).await.unwrap();
        same(&bench.card(), TEXTS);
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancel_that_crosses_the_swipe_does_not_call_the_card_untouched() {
    for way in Way::BOTH {
        let (bench, mut encoder) = Bench::up(way).await;
        prepare(encoder.as_mut(), &image()).await.unwrap();
        // The device says so only when it has been reset.
        bench.inject(Fault::DelayReply(1, Duration::from_millis(5)));
        let mut card = blank();
        let cancel = never();
        let mut told = || {};
        let work = encoder.write(&mut told, &cancel);
        let person = async {
            bench.swipe(&mut card).await;
            cancel.cancel();
        };
        let (written, ()) = tokio::join!(work, person);
        let error = written.unwrap_err();
        assert!(error.changed, "{way:?}");
        same(&card, TEXTS);
    }
}

#[tokio::test(start_paused = true)]
async fn a_device_that_says_nothing_more_or_goes_leaves_it_unknown() {
    for way in Way::BOTH {
        let (bench, mut encoder) = Bench::up(way).await;
        bench.place(blank());
        prepare(encoder.as_mut(), &image()).await.unwrap();
        bench.inject(Fault::TruncateReply(1, 1));
        let cancel = never();
        let mut told = || {};
        let work = encoder.write(&mut told, &cancel);
        let person = async {
            tokio::time::sleep(Duration::from_secs(30)).await;
            cancel.cancel();
        };
        let (written, ()) = tokio::join!(work, person);
        assert!(written.unwrap_err().changed, "{way:?}");

        let (bench, mut encoder) = Bench::up(way).await;
        prepare(encoder.as_mut(), &image()).await.unwrap();
        let pull = async {
            bench.until_it_waits().await;
            bench.unplug();
        };
        let (written, ()) = tokio::join!(write(encoder.as_mut()), pull);
        let error = written.unwrap_err();
        assert!(matches!(
            error.error,
            CardError::Link {
                source: CardLinkError::PortGone(_),
                ..
            }
        ));
        assert!(error.changed);
        assert!(matches!(
            encoder.lost().await,
            EncoderError::Port(PortError::Gone { .. })
        ));
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_device_cannot_write_is_refused_before_a_swipe() {
    let (bench, mut encoder) = Bench::up(Way::Serial).await;
    bench.place(blank());
    let with = |text: &str| {
        CardImage::Magstripe(MagstripeImage {
            tracks: vec![TrackImage::iso(Track::Two, text)],
            ..stripe()
        })
    };
    for image in [
        with(""),
        with("ABC"),
        with(";12?"),
        with(&"1".repeat(38)),
        with("4111111111111111=29121010000000000000"),
    ] {
        let error = prepare(encoder.as_mut(), &image).await.unwrap_err();
        assert!(matches!(error, CardError::Image(_)), "{error}");
    }
    let error = prepare(encoder.as_mut(), &crate::drivers::bench::image())
        .await
        .unwrap_err();
    assert!(
        matches!(error, CardError::WrongTechnology { .. }),
        "{error}"
    );
    let error = encoder
        .read(None, &ReadPlan::UidOnly, &never())
        .await
        .unwrap_err();
    assert!(
        matches!(error, CardError::WrongTechnology { .. }),
        "{error}"
    );
    let error = write(encoder.as_mut()).await.unwrap_err();
    assert!(!error.changed, "nothing is prepared: {error}");
    assert_eq!(bench.with(|device| device.stats().swipes), 0);
}

#[tokio::test(start_paused = true)]
async fn a_device_that_fell_over_is_brought_up_again() {
    for way in Way::BOTH {
        let (bench, mut encoder) = Bench::up(way).await;
        bench.place(blank());
        bench.inject(Fault::DropReply(1));
        encoder.health().await.unwrap();
        bench.inject(Fault::DropReply(1));
        let error = prepare(encoder.as_mut(), &image()).await.unwrap_err();
        assert!(
            matches!(
                error,
                CardError::Link {
                    source: CardLinkError::Silent(_),
                    ..
                }
            ),
            "{error}"
        );
        prepare(encoder.as_mut(), &image()).await.unwrap();
        write(encoder.as_mut()).await.unwrap();
        same(&bench.card(), TEXTS);
    }
}

#[tokio::test(start_paused = true)]
async fn a_device_that_takes_output_reports_alone_is_found() {
    let way = Way::Hid(ReportKind::Output);
    let (bench, mut encoder) = Bench::up(way).await;
    bench.place(blank());
    prepare(encoder.as_mut(), &image()).await.unwrap();
    write(encoder.as_mut()).await.unwrap();
    same(&bench.card(), TEXTS);
}

#[tokio::test(start_paused = true)]
async fn others_are_told_apart_from_nobody() {
    for way in Way::BOTH {
        let (bench, port) = Bench::new(way);
        bench.inject(Fault::SilentFromByte(0));
        let error = bench.start(port).await.map(|_| ()).unwrap_err();
        assert!(matches!(error, EncoderError::Silent { .. }), "{error}");
    }
    let (port, mut line) = Port::memory();
    let babble = async move {
        while line.write_all(b"PN532 here\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let talker = tokio::spawn(babble);
    let cancel = never();
    let error = Msr605
        .start(port, Clock::start(), &cancel)
        .await
        .map(|_| ())
        .unwrap_err();
    assert!(matches!(error, EncoderError::WrongDevice { .. }), "{error}");
    talker.abort();
}

#[tokio::test(start_paused = true)]
async fn a_unit_that_is_deaf_after_a_reset_and_one_without_firmware_text_come_up() {
    let (bench, port) = Bench::new(Way::Serial);
    bench.inject(Fault::DeafAfterReset(Duration::from_millis(300)));
    // The comm test, the model, and then the firmware.
    bench.inject(Fault::DropReply(3));
    let encoder = bench.start(port).await.unwrap();
    assert_eq!(encoder.identity().firmware, None);
}
