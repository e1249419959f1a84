//! An emulated PN532 at the other end of a port in memory, for tests with virtual time.

use std::sync::{Arc, Mutex, MutexGuard};

use encoder_protocols::{
    card::{
        BlockImage, CandidateKey, CardImage, ClassicImage, ClassicKey, KeySlot, SectorImage,
        TrailerImage, Uid,
        virtual_card::{CardKind, VirtualCard},
    },
    moment::Moment,
    pn532::emulator::{Emulator, Fault, Pace},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    sync::Notify,
};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    drivers::{Driver, Encoder, EncoderError},
    transport::Port,
};

/// The name of the one card that most tests work with.
const CARD: &str = "card";

/// The board, its cards and its plug.
#[derive(Clone)]
pub(crate) struct Bench {
    pub(crate) clock: Clock,
    emulator: Arc<Mutex<Emulator>>,
    moved: Arc<Notify>,
    plug: Arc<Mutex<CancellationToken>>,
}

impl Bench {
    /// A board, and the port that leads to it.
    pub(crate) fn new() -> (Self, Port) {
        Self::paced(Pace::INSTANT)
    }

    /// A board that takes its time, and the port that leads to it.
    pub(crate) fn paced(pace: Pace) -> (Self, Port) {
        let bench = Self {
            clock: Clock::start(),
            emulator: Arc::new(Mutex::new(Emulator::new(pace))),
            moved: Arc::new(Notify::new()),
            plug: Arc::default(),
        };
        let port = bench.plug_in();
        (bench, port)
    }

    /// Another port that leads to the same board, as after a replug.
    pub(crate) fn plug_in(&self) -> Port {
        let (port, line) = Port::memory();
        let plug = CancellationToken::new();
        *self.plug.lock().unwrap() = plug.clone();
        tokio::spawn(self.clone().carry(line, plug));
        port
    }

    /// A board that is up.
    pub(crate) async fn up() -> (Self, Box<dyn Encoder>) {
        let (bench, port) = Self::new();
        let encoder = bench.start(port).await.unwrap();
        (bench, encoder)
    }

    pub(crate) async fn start(&self, port: Port) -> Result<Box<dyn Encoder>, EncoderError> {
        let cancel = CancellationToken::new();
        super::Pn532.start(port, self.clock, &cancel).await
    }

    /// Pulls the plug of the port that was plugged in last.
    pub(crate) fn unplug(&self) {
        self.plug.lock().unwrap().cancel();
    }

    pub(crate) fn emulator(&self) -> MutexGuard<'_, Emulator> {
        self.moved.notify_one();
        self.emulator.lock().unwrap()
    }

    pub(crate) fn inject(&self, fault: Fault) {
        self.emulator().inject(fault);
    }

    /// Lays down a card of this kind and tells its UID.
    pub(crate) fn place(&self, kind: CardKind) -> Uid {
        self.place_named(CARD, VirtualCard::new(kind, None).unwrap())
    }

    pub(crate) fn place_named(&self, name: &str, card: VirtualCard) -> Uid {
        let uid = card.uid();
        self.emulator().place(self.clock.now(), name, card);
        uid
    }

    pub(crate) fn lift(&self) -> VirtualCard {
        let now = self.clock.now();
        self.emulator().remove(now, CARD).unwrap()
    }

    /// The card's memory, wherever it is.
    pub(crate) fn memory(&self) -> Vec<u8> {
        let mut emulator = self.emulator();
        if let Some(card) = emulator.card_mut(CARD) {
            return card.memory().to_vec();
        }
        let lifted = emulator.take_lifted();
        let (_, card) = lifted.first().unwrap();
        card.memory().to_vec()
    }

    pub(crate) fn commands(&self) -> u64 {
        self.emulator().stats().commands
    }

    async fn carry(self, mut line: DuplexStream, plug: CancellationToken) {
        let mut buffer = [0; 512];
        loop {
            let (bytes, due) = self.transmitted();
            if line.write_all(&bytes).await.is_err() {
                return;
            }
            tokio::select! {
                biased;
                () = plug.cancelled() => return,
                read = line.read(&mut buffer) => match read {
                    Ok(0) | Err(_) => return,
                    Ok(count) => {
                        let now = self.clock.now();
                        self.emulator.lock().unwrap().handle_input(now, &buffer[..count]);
                    }
                },
                () = self.moved.notified() => {}
                () = at(self.clock, due) => {}
            }
        }
    }

    fn transmitted(&self) -> (Vec<u8>, Option<Moment>) {
        let now = self.clock.now();
        let mut emulator = self.emulator.lock().unwrap();
        emulator.handle_timeout(now);
        let mut bytes = Vec::new();
        while let Some(more) = emulator.poll_transmit(now) {
            bytes.extend(more);
        }
        (bytes, emulator.poll_timeout())
    }
}

async fn at(clock: Clock, moment: Option<Moment>) {
    match moment {
        Some(moment) => clock.sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Two sectors for a card as the factory delivers it, the second with new keys.
pub(crate) fn image() -> CardImage {
    CardImage::MifareClassic(ClassicImage {
        sectors: vec![
            sector(1, None),
            sector(
                2,
                Some(TrailerImage {
                    key_a: ClassicKey([0xA1; 6]),
                    access_bits: [0xFF, 0x07, 0x80],
                    user_byte: 0x69,
                    key_b: ClassicKey([0xB2; 6]),
                }),
            ),
        ],
    })
}

fn sector(sector: u8, trailer: Option<TrailerImage>) -> SectorImage {
    let keys = [ClassicKey([0xA1; 6]), ClassicKey([0xFF; 6])];
    SectorImage {
        sector,
        keys: keys
            .into_iter()
            .map(|key| CandidateKey {
                slot: KeySlot::A,
                key,
            })
            .collect(),
        blocks: (0..3)
            .map(|block| BlockImage {
                block,
                data: [0x10 * sector + block; 16],
            })
            .collect(),
        trailer,
    }
}

/// A factory card's memory after [`image`] was written to it.
pub(crate) fn encoded(factory: &[u8]) -> Vec<u8> {
    let mut memory = factory.to_vec();
    for sector in [1_u8, 2] {
        for block in 0..3 {
            let start = (usize::from(sector) * 4 + usize::from(block)) * 16;
            memory[start..start + 16].fill(0x10 * sector + block);
        }
    }
    let trailer = (2 * 4 + 3) * 16;
    memory[trailer..trailer + 6].fill(0xA1);
    memory[trailer + 6..trailer + 10].copy_from_slice(&[0xFF, 0x07, 0x80, 0x69]);
    memory[trailer + 10..trailer + 16].fill(0xB2);
    memory
}
