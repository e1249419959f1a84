mod estimate;

use std::time::Duration;

use encoder_protocols::{
    card::{
        CardContents, ClassicRead, PageImage, ReadPlan, SectorRead, Type2Image,
        virtual_card::{CardKind, VirtualCard},
    },
    pn532::emulator::Fault,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::{
    bench::{Bench, encoded, image},
    *,
};
use crate::transport::PortError;

const RULES: WriteRules = WriteRules {
    allow_irreversible: false,
};

/// The exchanges of preparing, writing and reading back [`image`] are fewer.
const EXCHANGES: u32 = 40;

#[tokio::test(start_paused = true)]
async fn the_device_tells_its_firmware() {
    let (_bench, encoder) = Bench::up().await;
    let identity = encoder.identity();
    assert_eq!(identity.model.as_deref(), Some("PN532"));
    assert_eq!(identity.firmware.as_deref(), Some("1.6"));
    assert!(identity.abilities.encode && identity.abilities.scan);
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_card_is_recognised() {
    for kind in CardKind::ALL {
        let (bench, mut encoder) = Bench::up().await;
        assert_eq!(poll(encoder.as_mut()).await, Poll::Empty);
        bench.place(kind);
        let Poll::Card(card) = poll(encoder.as_mut()).await else {
            panic!("no {kind}");
        };
        assert_eq!(card.technology, kind.technology(), "{kind}");
        bench.lift();
        assert_eq!(poll(encoder.as_mut()).await, Poll::Empty);
    }
}

#[tokio::test(start_paused = true)]
async fn a_card_that_is_known_costs_one_command_a_look() {
    let (bench, mut encoder) = Bench::up().await;
    bench.place(CardKind::Ntag213);
    let first = poll(encoder.as_mut()).await;
    let before = bench.commands();
    assert_eq!(poll(encoder.as_mut()).await, first);
    assert_eq!(bench.commands() - before, 1);
}

#[tokio::test(start_paused = true)]
async fn two_cards_are_noticed_and_neither_is_touched() {
    let (bench, mut encoder) = Bench::up().await;
    let uid = bench.place(CardKind::Classic1k);
    let second = VirtualCard::new(CardKind::Ntag213, None).unwrap();
    bench.place_named("second", second);
    assert_eq!(poll(encoder.as_mut()).await, Poll::Several);
    let error = prepare_image(encoder.as_mut(), uid).await.unwrap_err();
    assert_eq!(error, unplaced(CardLinkError::SeveralCards));
}

#[tokio::test(start_paused = true)]
async fn a_rested_encoder_lets_its_card_go() {
    let (bench, mut encoder) = Bench::up().await;
    bench.place(CardKind::Classic1k);
    poll(encoder.as_mut()).await;
    assert!(is_selected(&bench));
    encoder.rest().await.unwrap();
    assert!(!is_selected(&bench));
    assert!(matches!(poll(encoder.as_mut()).await, Poll::Card(_)));
}

#[tokio::test(start_paused = true)]
async fn an_image_is_prepared_without_a_change_then_written_and_verified() {
    let (bench, mut encoder) = Bench::up().await;
    let uid = bench.place(CardKind::Classic1k);
    let factory = bench.memory();
    let before = bench.commands();
    prepare_image(encoder.as_mut(), uid).await.unwrap();
    assert_eq!(bench.memory(), factory);
    let mut verifying = 0;
    encoder
        .write(&mut || verifying += 1, &CancellationToken::new())
        .await
        .unwrap();
    assert_eq!(verifying, 1);
    let commands = bench.commands() - before;
    assert!((25..EXCHANGES.into()).contains(&commands), "{commands}");
    assert_eq!(bench.memory(), encoded(&factory));
    let cancel = CancellationToken::new();
    encoder.verify(Some(uid), &image(), &cancel).await.unwrap();
    let plan = ReadPlan::MifareClassic(ClassicRead {
        sectors: vec![SectorRead {
            sector: 1,
            keys: keys(),
        }],
        extension: vec![],
    });
    let CardContents::MifareClassic { blocks, unread } =
        encoder.read(Some(uid), &plan, &cancel).await.unwrap()
    else {
        panic!("expected blocks");
    };
    let data: Vec<_> = blocks.iter().map(|block| block.data).collect();
    assert_eq!(data, [[0x10; 16], [0x11; 16], [0x12; 16]]);
    assert!(unread.is_empty());
}

#[tokio::test(start_paused = true)]
async fn pages_are_written_and_verified() {
    for kind in [CardKind::Ultralight, CardKind::Ntag213] {
        let (bench, mut encoder) = Bench::up().await;
        let uid = bench.place(kind);
        let image = CardImage::Type2(Type2Image {
            passwords: Vec::new(),
            pages: (4..8)
                .map(|page| PageImage {
                    page,
                    data: [page; 4],
                })
                .collect(),
            protection: None,
        });
        let cancel = CancellationToken::new();
        encoder
            .prepare(Some(uid), &image, RULES, &cancel)
            .await
            .unwrap();
        encoder
            .write(&mut || {}, &CancellationToken::new())
            .await
            .unwrap();
        let mut wanted = Vec::new();
        (4..8).for_each(|page| wanted.extend([page; 4]));
        assert_eq!(bench.memory()[16..32], wanted, "{kind}");
        encoder.verify(Some(uid), &image, &cancel).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_that_was_not_prepared() {
    let (bench, mut encoder) = Bench::up().await;
    let uid = bench.place(CardKind::Classic1k);
    prepare_image(encoder.as_mut(), uid).await.unwrap();
    poll(encoder.as_mut()).await;
    let error = encoder
        .write(&mut || {}, &CancellationToken::new())
        .await
        .unwrap_err();
    assert!(!error.changed);
}

#[tokio::test(start_paused = true)]
async fn another_card_is_never_worked_on() {
    let (bench, mut encoder) = Bench::up().await;
    let uid = bench.place(CardKind::Classic1k);
    bench.lift();
    let error = prepare_image(encoder.as_mut(), uid).await.unwrap_err();
    assert!(error.card_left(), "{error}");
    let other = VirtualCard::new(CardKind::Classic1k, Some("01020304".parse().unwrap())).unwrap();
    bench.place_named("card", other);
    let error = prepare_image(encoder.as_mut(), uid).await.unwrap_err();
    assert_eq!(error, unplaced(CardLinkError::CardSwapped));
}

#[tokio::test(start_paused = true)]
async fn a_card_that_is_swapped_after_the_preparation_is_not_written() {
    let (bench, mut encoder) = Bench::up().await;
    let uid = bench.place(CardKind::Classic1k);
    prepare_image(encoder.as_mut(), uid).await.unwrap();
    bench.lift();
    let other = VirtualCard::new(CardKind::Classic1k, Some("01020304".parse().unwrap())).unwrap();
    let memory = other.memory().to_vec();
    bench.place_named("card", other);
    encoder
        .write(&mut || {}, &CancellationToken::new())
        .await
        .unwrap_err();
    assert_eq!(bench.memory(), memory);
}

/// What the line does to one command or response is made good, wherever in the write it happens.
#[tokio::test(start_paused = true)]
async fn a_bad_line_is_made_good() {
    let faults: [fn(u32) -> Fault; 9] = [
        Fault::DropResponse,
        Fault::CorruptResponse,
        |nth| Fault::TruncateResponse(nth, 5),
        |nth| Fault::DelayResponse(nth, Duration::from_millis(120)),
        Fault::RepeatResponse,
        Fault::InterleaveResponse,
        |nth| Fault::Babble(nth, 40),
        Fault::DropAck,
        Fault::LoseCommand,
    ];
    for fault in faults {
        for nth in 1..EXCHANGES {
            let attempt = Attempt::with(fault(nth)).await;
            assert_eq!(attempt.result, Ok(()), "{:?}", fault(nth));
            assert_eq!(attempt.after, encoded(&attempt.before), "{:?}", fault(nth));
        }
    }
}

/// Whatever the air or the chip does to one exchange, the end tells the truth about the card.
#[tokio::test(start_paused = true)]
async fn a_failed_exchange_is_told_truthfully() {
    for status in [0x01, 0x02, 0x0B, 0x0D, 0x13, 0x14, 0x27, 0x3F] {
        for nth in 1..EXCHANGES {
            for fault in [Fault::Status(nth, status), Fault::StatusAfter(nth, status)] {
                Attempt::with(fault)
                    .await
                    .assert_truthful(&format!("{fault:?}"));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_card_that_is_lifted_at_any_step_is_told_truthfully() {
    let mut left_untouched = 0;
    let mut interrupted = 0;
    for nth in 1..EXCHANGES {
        let attempt = Attempt::with(Fault::RemoveCard(nth)).await;
        attempt.assert_truthful(&format!("lifted at command {nth}"));
        match &attempt.result {
            Ok(()) => {}
            Err(error) if error.changed => interrupted += 1,
            Err(error) => {
                assert!(error.error.card_left(), "command {nth}: {error}");
                left_untouched += 1;
            }
        }
    }
    assert!(
        left_untouched > 2 && interrupted > 10,
        "{left_untouched}, {interrupted}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_line_that_dies_at_any_byte_is_told_truthfully() {
    for byte in (0..1_500).step_by(13) {
        let attempt = Attempt::with(Fault::SilentFromByte(byte)).await;
        attempt.assert_truthful(&format!("silent from byte {byte}"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_nacks_ends_as_silence() {
    let attempt = Attempt::with(Fault::NackStorm(1_000)).await;
    let error = attempt.result.unwrap_err();
    assert!(!error.changed);
    assert!(
        matches!(
            error.error,
            CardError::Link {
                source: CardLinkError::Silent(_) | CardLinkError::Faulty(_),
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_plug_that_is_pulled_in_a_write_ends_it_at_once() {
    let (bench, mut encoder) = Bench::up().await;
    let uid = bench.place(CardKind::Classic1k);
    prepare_image(encoder.as_mut(), uid).await.unwrap();
    bench.inject(Fault::DelayResponse(3, Duration::from_millis(60)));
    let pull = async {
        tokio::time::sleep(Duration::from_millis(30)).await;
        bench.unplug();
    };
    let begin = bench.clock.now();
    let mut verifying = || {};
    let never = CancellationToken::new();
    let (result, ()) = tokio::join!(encoder.write(&mut verifying, &never), pull);
    let error = result.unwrap_err();
    assert!(error.changed);
    assert!(
        matches!(
            error.error,
            CardError::Link {
                source: CardLinkError::PortGone(_),
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(bench.clock.now().since(begin), Duration::from_millis(30));
    let lost = encoder.lost().await;
    assert!(
        matches!(lost, EncoderError::Port(PortError::Gone { .. })),
        "{lost}"
    );
}

#[tokio::test(start_paused = true)]
async fn cancelling_ends_a_look_and_a_preparation_at_once() {
    let (bench, mut encoder) = Bench::up().await;
    let uid = bench.place(CardKind::Classic1k);
    bench.inject(Fault::DelayResponse(1, Duration::from_millis(90)));
    let cancel = CancellationToken::new();
    let stop = async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        cancel.cancel();
    };
    let begin = bench.clock.now();
    let image = image();
    let (result, ()) = tokio::join!(encoder.prepare(Some(uid), &image, RULES, &cancel), stop);
    assert_eq!(result, Err(unplaced(CardLinkError::Cancelled)));
    assert_eq!(bench.clock.now().since(begin), Duration::from_millis(10));
    prepare_image(encoder.as_mut(), uid).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_chip_that_fell_silent_is_set_up_anew() {
    let (bench, mut encoder) = Bench::up().await;
    bench.place(CardKind::Classic1k);
    bench.inject(Fault::SilentFromByte(0));
    let cancel = CancellationToken::new();
    let error = encoder.poll(&cancel).await.unwrap_err();
    assert!(matches!(error, EncoderError::Silent { .. }), "{error}");
    assert!(encoder.health().await.is_err());
    bench.emulator().clear_faults();
    bench.emulator().power_cycle();
    assert!(matches!(poll(encoder.as_mut()).await, Poll::Card(_)));
    encoder.health().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_chip_that_lost_its_power_for_a_moment_is_not_missed() {
    let (bench, mut encoder) = Bench::up().await;
    bench.place(CardKind::Classic1k);
    bench.emulator().power_cycle();
    assert!(matches!(poll(encoder.as_mut()).await, Poll::Card(_)));
}

#[tokio::test(start_paused = true)]
async fn nothing_at_the_other_end_is_told_as_silence() {
    let (port, _line) = Port::memory();
    let error = refusal(port).await;
    assert!(matches!(error, EncoderError::Silent { .. }), "{error}");
    assert!(error.to_string().contains("did not answer"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_device_that_echoes_or_babbles_is_no_pn532() {
    for device in [echo, babble] {
        let (port, line) = Port::memory();
        let other = tokio::spawn(device(line));
        let error = refusal(port).await;
        assert!(matches!(error, EncoderError::WrongDevice { .. }), "{error}");
        other.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn another_chip_of_the_family_is_refused() {
    let (port, line) = Port::memory();
    tokio::spawn(pn531(line));
    let error = refusal(port).await;
    assert_eq!(
        error.to_string(),
        "expected a PN532, got a chip of type 0x31: check `port` and `driver` in the configuration, and the cable"
    );
}

#[tokio::test(start_paused = true)]
async fn the_plug_is_noticed_while_nothing_is_asked() {
    let (bench, mut encoder) = Bench::up().await;
    bench.unplug();
    let error = encoder.lost().await;
    assert_eq!(
        error.code(),
        encoder_protocols::wire::ErrorCode::EncoderNotOnline
    );
    encoder.close().await;
}

/// One encode, with one fault from its first command on.
struct Attempt {
    before: Vec<u8>,
    after: Vec<u8>,
    result: Result<(), WriteError>,
}

impl Attempt {
    async fn with(fault: Fault) -> Self {
        let (bench, mut encoder) = Bench::up().await;
        let uid = bench.place(CardKind::Classic1k);
        let before = bench.memory();
        bench.inject(fault);
        let result = match prepare_image(encoder.as_mut(), uid).await {
            Ok(()) => encoder.write(&mut || {}, &CancellationToken::new()).await,
            Err(error) => Err(WriteError {
                error,
                changed: false,
            }),
        };
        Self {
            after: bench.memory(),
            before,
            result,
        }
    }

    fn assert_truthful(&self, what: &str) {
        match &self.result {
            Ok(()) => assert_eq!(self.after, encoded(&self.before), "{what}"),
            Err(error) if error.changed => {}
            Err(error) => assert_eq!(self.after, self.before, "{what}: {error}"),
        }
    }
}

/// Why the driver does not take what is at the other end.
async fn refusal(port: Port) -> EncoderError {
    let cancel = CancellationToken::new();
    let started = Pn532.start(port, Clock::start(), &cancel).await;
    started.err().unwrap()
}

async fn poll(encoder: &mut dyn Encoder) -> Poll {
    encoder.poll(&CancellationToken::new()).await.unwrap()
}

async fn prepare_image(encoder: &mut dyn Encoder, uid: Uid) -> Result<(), CardError> {
    let cancel = CancellationToken::new();
    encoder.prepare(Some(uid), &image(), RULES, &cancel).await
}

fn is_selected(bench: &Bench) -> bool {
    let mut emulator = bench.emulator();
    emulator.card_mut("card").unwrap().is_selected()
}

fn keys() -> Vec<encoder_protocols::card::CandidateKey> {
    let CardImage::MifareClassic(image) = image() else {
        return Vec::new();
    };
    image.sectors[0].keys.clone()
}

type Device = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

fn echo(mut line: DuplexStream) -> Device {
    Box::pin(async move {
        let mut buffer = [0; 64];
        while let Ok(count) = line.read(&mut buffer).await {
            if line.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
    })
}

fn babble(mut line: DuplexStream) -> Device {
    Box::pin(async move {
        while line.write_all(b"READY>\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(7)).await;
        }
    })
}

/// Acknowledges everything; its SAMConfiguration is fine, and it says that it is a PN531.
async fn pn531(mut line: DuplexStream) {
    let mut buffer = [0; 64];
    while let Ok(count @ 1..) = line.read(&mut buffer).await {
        let asks_version = buffer[..count].windows(2).any(|pair| pair == [0xD4, 0x02]);
        let reply: &[u8] = if asks_version {
            &[0, 0, 0xFF, 6, 0xFA, 0xD5, 3, 0x31, 1, 6, 7, 0xE9, 0]
        } else {
            &[0, 0, 0xFF, 2, 0xFE, 0xD5, 0x15, 0x16, 0]
        };
        let acknowledge = [0, 0, 0xFF, 0, 0xFF, 0];
        line.write_all(&[&acknowledge, reply].concat())
            .await
            .unwrap();
    }
}
