//! An emulated encoder at the other end of a port in memory, on a serial line or behind HID reports, for tests with virtual time.

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard},
};

use encoder_protocols::{
    card::{
        CardImage,
        magstripe::{Coercivity, MagstripeImage, Track, TrackImage},
    },
    moment::Moment,
    msr605::emulator::{Emulator, Fault, Pace, ReportedEmulator, StripeCard, StripeKind, Swiped},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    sync::Notify,
};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    drivers::{Driver, Encoder, EncoderError},
    transport::{HidPeer, HidPort, Port, ReportKind},
};

/// Which way leads to the encoder.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Way {
    Serial,
    /// HID reports; the device takes those of this kind alone.
    Hid(ReportKind),
}

impl Way {
    pub(crate) const BOTH: [Self; 2] = [Self::Serial, Self::Hid(ReportKind::Feature)];
}

/// The encoder, its card and its plug.
#[derive(Clone)]
pub(crate) struct Bench {
    pub(crate) clock: Clock,
    way: Way,
    emulator: Arc<Mutex<ReportedEmulator>>,
    moved: Arc<Notify>,
    /// Something came from the host.
    heard: Arc<Notify>,
    plug: Arc<Mutex<CancellationToken>>,
}

impl Bench {
    /// An encoder, and the port that leads to it.
    pub(crate) fn new(way: Way) -> (Self, Port) {
        let bench = Self {
            clock: Clock::start(),
            way,
            emulator: Arc::new(Mutex::new(ReportedEmulator::new(Pace::INSTANT))),
            moved: Arc::default(),
            heard: Arc::default(),
            plug: Arc::default(),
        };
        let port = bench.plug_in();
        (bench, port)
    }

    /// Another port that leads to the same encoder, as after a replug.
    pub(crate) fn plug_in(&self) -> Port {
        let plug = CancellationToken::new();
        *self.plug.lock().unwrap() = plug.clone();
        match self.way {
            Way::Serial => {
                let (port, line) = Port::memory();
                tokio::spawn(self.clone().carry(line, plug));
                port
            }
            Way::Hid(kind) => {
                let (port, peer) = HidPort::memory(Path::new("/dev/hidraw0"));
                tokio::spawn(self.clone().carry_reports(peer, kind, plug));
                Port::Hid(port)
            }
        }
    }

    /// An encoder that is up.
    pub(crate) async fn up(way: Way) -> (Self, Box<dyn Encoder>) {
        let (bench, port) = Self::new(way);
        let encoder = bench.start(port).await.unwrap();
        (bench, encoder)
    }

    pub(crate) async fn start(&self, port: Port) -> Result<Box<dyn Encoder>, EncoderError> {
        let cancel = CancellationToken::new();
        super::Msr605.start(port, self.clock, &cancel).await
    }

    /// Pulls the plug of the port that was plugged in last.
    pub(crate) fn unplug(&self) {
        self.plug.lock().unwrap().cancel();
        self.with(Emulator::power_cycle);
    }

    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut Emulator) -> R) -> R {
        let done = work(&mut self.emulator().device);
        self.moved.notify_one();
        done
    }

    fn emulator(&self) -> MutexGuard<'_, ReportedEmulator> {
        self.emulator.lock().unwrap()
    }

    pub(crate) fn inject(&self, fault: Fault) {
        self.with(|device| device.inject(fault));
    }

    /// Keeps a card at hand, to be drawn through whenever one is awaited.
    pub(crate) fn place(&self, card: StripeCard) {
        let now = self.clock.now();
        self.with(|device| device.place(now, "card", card));
    }

    /// The card at hand.
    pub(crate) fn card(&self) -> StripeCard {
        let emulator = self.emulator();
        let (_, card) = emulator.device.at_hand().unwrap();
        card.clone()
    }

    /// Waits until the encoder waits for a card, and draws one through.
    pub(crate) async fn swipe(&self, card: &mut StripeCard) -> Swiped {
        self.until_it_waits().await;
        let now = self.clock.now();
        self.with(|device| device.swipe(now, card))
    }

    pub(crate) async fn until_it_waits(&self) {
        while !self.emulator().device.waits() {
            self.heard.notified().await;
        }
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
                        self.emulator().device.handle_input(now, &buffer[..count]);
                        self.heard.notify_one();
                    }
                },
                () = self.moved.notified() => {}
                () = at(self.clock, due) => {}
            }
        }
    }

    fn transmitted(&self) -> (Vec<u8>, Option<Moment>) {
        let now = self.clock.now();
        let mut emulator = self.emulator();
        emulator.device.handle_timeout(now);
        let bytes = std::iter::from_fn(|| emulator.device.poll_transmit(now));
        (bytes.flatten().collect(), emulator.device.poll_timeout())
    }

    async fn carry_reports(self, mut peer: HidPeer, kind: ReportKind, plug: CancellationToken) {
        loop {
            let (reports, due) = self.reports();
            for report in reports {
                if !peer.say(&report).await {
                    return;
                }
            }
            tokio::select! {
                biased;
                () = plug.cancelled() => return,
                sent = peer.sent() => match sent {
                    None => return,
                    // A road that the device does not listen on.
                    Some(sent) if sent.kind != kind => {}
                    Some(sent) => {
                        let now = self.clock.now();
                        let (id, report) = sent.bytes.split_first().unwrap();
                        assert_eq!(*id, 0, "the device numbers no reports");
                        self.emulator().handle_report(now, report).unwrap();
                        self.heard.notify_one();
                    }
                },
                () = self.moved.notified() => {}
                () = at(self.clock, due) => {}
            }
        }
    }

    fn reports(&self) -> (Vec<[u8; 64]>, Option<Moment>) {
        let now = self.clock.now();
        let mut emulator = self.emulator();
        emulator.device.handle_timeout(now);
        let reports = std::iter::from_fn(|| emulator.poll_report(now)).collect();
        (reports, emulator.device.poll_timeout())
    }
}

async fn at(clock: Clock, moment: Option<Moment>) {
    match moment {
        Some(moment) => clock.sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

pub(crate) fn blank() -> StripeCard {
    StripeCard::blank(StripeKind::HiCo)
}

/// Tracks 1 and 2 as characters.
pub(crate) fn image() -> CardImage {
    CardImage::Magstripe(stripe())
}

pub(super) fn stripe() -> MagstripeImage {
    MagstripeImage {
        card_number: "4711".to_owned(),
        coercivity: Coercivity::High,
        tracks: vec![
            TrackImage::iso(Track::One, "ROOM 101^GUEST"),
            TrackImage::iso(Track::Two, "1234=5678"),
        ],
    }
}
