//! A desk with an emulated encoder on a pseudo terminal, and the running agent in an open session.

use std::{path::PathBuf, time::Duration};

use encoder_agent::emulation::{EmulationOptions, PtyEncoder, PtyMsr605};
use encoder_protocols::{
    card::{
        BlockImage, CandidateKey, CardImage, ClassicImage, ClassicKey, KeySlot, ReadPlan,
        SectorImage,
        magstripe::{Coercivity, MagstripeImage, MagstripeRead, Track, TrackForm, TrackImage},
        virtual_card::CardKind,
    },
    msr605::emulator as stripes,
    pn532::emulator::Pace,
    wire::{
        AgentMessage, CardPlan, CardPresented, EncoderKey, EncoderState, Job, JobFinished, JobId,
        JobKind, Plan, Progress, ServiceMessage,
    },
};
use uuid::Uuid;

#[cfg(target_os = "linux")]
use super::tree::{Tree, UsbStick};
use super::{AgentProcess, Desk, Line, soon};

/// The adapter that the encoder of [`Setting::found`] is behind.
#[cfg(target_os = "linux")]
pub(crate) const ADAPTER: UsbStick = UsbStick {
    id: "0403:6001",
    socket: "1-1",
    serial: Some("A9XK01"),
    manufacturer: Some("FTDI"),
};

pub(crate) const CARD: &str = "04a1b2c3";
pub(crate) const OTHER_CARD: &str = "11223344";

/// Everything at once, as far as the chip goes.
pub(crate) const INSTANT: Pace = Pace::INSTANT;

/// As long as the real one takes.
pub(crate) const REAL: Pace = Pace {
    wire: true,
    rf: true,
};
pub(crate) const TRANSPORT_KEY: [u8; 6] = [0xff; 6];

/// An emulated encoder whose cards are named by their UIDs.
pub(crate) struct Bench(pub(crate) PtyEncoder);

impl Bench {
    pub(crate) fn new(directory: &std::path::Path, pace: Pace) -> Self {
        let link = Some(directory.join("encoder"));
        Self(PtyEncoder::start(&EmulationOptions { link, pace }).unwrap())
    }

    /// Puts a card down; one that was there before is the same card.
    pub(crate) fn place(&self, uid: &str) {
        self.place_kind(CardKind::Classic1k, uid);
    }

    pub(crate) fn place_kind(&self, kind: CardKind, uid: &str) {
        if self.0.place(uid).is_err() {
            self.0
                .create(uid, kind, Some(uid.parse().unwrap()))
                .unwrap();
            self.0.place(uid).unwrap();
        }
    }

    pub(crate) fn lift(&self, uid: &str) {
        self.0.command(&format!("remove {uid}")).unwrap();
    }

    pub(crate) fn lift_all(&self) {
        self.0.remove().unwrap();
    }

    /// The bytes of a block of a Classic card.
    pub(crate) fn block(&self, uid: &str, block: usize) -> [u8; 16] {
        let memory = self.0.memory(Some(uid)).unwrap();
        memory[block * 16..block * 16 + 16].try_into().unwrap()
    }

    /// Waits until the first block of the card was written.
    pub(crate) async fn is_written(&self, uid: &str) {
        let written = async {
            while self.writes(uid) == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        soon("the first write", written).await;
    }

    pub(crate) fn writes(&self, uid: &str) -> u64 {
        self.0.writes(Some(uid)).unwrap()
    }
}

/// A desk with an emulated encoder, and the running agent in an open session.
pub(crate) struct Setting<B = Bench> {
    _ports: tempfile::TempDir,
    pub(crate) bench: B,
    pub(crate) desk: Desk,
    pub(crate) agent: AgentProcess,
    pub(crate) line: Line,
    key: EncoderKey,
}

impl Setting {
    pub(crate) async fn new(pace: Pace) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let bench = Bench::new(directory.path(), pace);
        Self::open(directory, bench, "pn532").await
    }

    /// A desk whose encoder is found: behind a USB adapter that is plugged into a device tree.
    #[cfg(target_os = "linux")]
    pub(crate) async fn found(pace: Pace, tree: &Tree) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let bench = Bench::new(directory.path(), pace);
        let desk = Desk::finding(tree, "").await;
        let agent = desk.run();
        let (line, _) = desk.welcomed(0).await;
        let mut setting = Self {
            _ports: directory,
            bench,
            desk,
            agent,
            line,
            key: EncoderKey("usb:0403:6001:A9XK01".to_owned()),
        };
        setting.plug_adapter(tree, "ttyUSB0").await;
        setting
    }

    /// Plugs the adapter with the encoder in, under this name, and waits until the encoder is ready.
    #[cfg(target_os = "linux")]
    pub(crate) async fn plug_adapter(&mut self, tree: &Tree, name: &str) {
        self.bench.0.plug().unwrap();
        let terminal = self.bench.0.path().unwrap().unwrap();
        tree.plug_serial(name, ADAPTER, &terminal);
        let key = self.key.clone();
        self.line
            .hear_some(|message| {
                let AgentMessage::Inventory { encoders, .. } = message else {
                    return None;
                };
                let mut encoders = encoders.iter();
                let ready = encoders
                    .any(|encoder| encoder.key == key && encoder.state == EncoderState::Ready);
                ready.then_some(())
            })
            .await;
    }

    /// Pulls the adapter out; the inventory need not say so yet.
    #[cfg(target_os = "linux")]
    pub(crate) fn unplug_adapter(&self, tree: &Tree, name: &str) {
        self.bench.0.unplug().unwrap();
        tree.unplug("tty", name, ADAPTER);
    }

    /// Waits until the inventory says that the encoder does not work, or lists it no more.
    pub(crate) async fn is_gone(&mut self) {
        self.line
            .hear_some(|message| {
                let AgentMessage::Inventory { encoders, .. } = message else {
                    return None;
                };
                let mut encoders = encoders.iter();
                encoders
                    .all(|encoder| encoder.state == EncoderState::Fault)
                    .then_some(())
            })
            .await;
    }

    /// Waits until the inventory lists no encoder.
    pub(crate) async fn lists_none(&mut self) {
        self.line
            .hear_some(|message| {
                let AgentMessage::Inventory { encoders, .. } = message else {
                    return None;
                };
                encoders.is_empty().then_some(())
            })
            .await;
    }

    /// The port that the agent has open.
    pub(crate) fn port(&self) -> PathBuf {
        self.bench.0.path().unwrap().unwrap()
    }
}

impl Setting<PtyMsr605> {
    /// A desk with an encoder that cards are drawn through.
    pub(crate) async fn swiping(pace: stripes::Pace) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let port = directory.path().join("encoder");
        let bench = PtyMsr605::start(Some(&port), pace).unwrap();
        Self::open(directory, bench, "msr605").await
    }
}

impl<B> Setting<B> {
    /// Starts the agent with the encoder at `directory`'s port, and waits until it is ready.
    async fn open(directory: tempfile::TempDir, bench: B, driver: &str) -> Self {
        let port = directory.path().join("encoder");
        let more = "poll_interval_ms = 50\nsimulated = true";
        let desk = Desk::driving(driver, &port, more).await;
        let agent = desk.run();
        let (line, _) = desk.welcomed(0).await;
        let key = EncoderKey(format!("port:{}", port.display()));
        let mut setting = Self {
            _ports: directory,
            bench,
            desk,
            agent,
            line,
            key,
        };
        setting.encoder_is(EncoderState::Ready).await;
        setting
    }

    pub(crate) async fn encoder_is(&mut self, wanted: EncoderState) {
        self.line
            .hear_some(|message| {
                let AgentMessage::Inventory { encoders, .. } = message else {
                    return None;
                };
                (encoders[0].state == wanted).then_some(())
            })
            .await;
    }

    pub(crate) fn job(&self, kind: JobKind, card_wait: Duration) -> Job {
        Job {
            card_wait_ms: u64::try_from(card_wait.as_millis()).unwrap(),
            ..job_on(&self.key, kind)
        }
    }

    pub(crate) async fn offer(&mut self, job: &Job) {
        self.line.say(&ServiceMessage::Job(job.clone())).await;
        let accepted = AgentMessage::JobAccepted { job_id: job.job_id };
        self.line
            .hear_some(|message| (message == accepted).then_some(()))
            .await;
    }

    pub(crate) async fn encode(&mut self) -> Job {
        let job = self.job(JobKind::Encode, Duration::from_secs(20));
        self.offer(&job).await;
        job
    }

    /// Asks once more for the credential of an earlier job.
    pub(crate) async fn encode_again(&mut self, earlier: &Job) -> Job {
        let job = Job {
            credential_id: earlier.credential_id,
            ..self.job(JobKind::Encode, Duration::from_secs(20))
        };
        self.offer(&job).await;
        job
    }

    pub(crate) async fn presented(&mut self, job: &Job) -> CardPresented {
        let id = job.job_id;
        self.line
            .hear_some(|message| {
                let AgentMessage::CardPresented(presented) = message else {
                    return None;
                };
                (presented.job_id == id).then_some(presented)
            })
            .await
    }

    pub(crate) async fn plan(&mut self, presented: &CardPresented, plan: Plan) {
        self.line
            .say(&ServiceMessage::CardPlan(CardPlan {
                job_id: presented.job_id,
                n: presented.n,
                uid: presented.card.uid,
                plan,
            }))
            .await;
    }

    pub(crate) async fn progress(&mut self, job: &Job, wanted: impl Fn(&Progress) -> bool) {
        let id = job.job_id;
        self.line
            .hear_some(|message| {
                let AgentMessage::JobProgress { job_id, progress } = message else {
                    return None;
                };
                (job_id == id && wanted(&progress)).then_some(())
            })
            .await;
    }

    pub(crate) async fn acknowledge(&mut self, finished: &JobFinished) {
        let sequence = finished.sequence;
        self.line
            .say(&ServiceMessage::FinishedAck { sequence })
            .await;
    }

    /// Writes `fill` onto the card that lies there, and acknowledges the outcome.
    pub(crate) async fn encode_all(&mut self, fill: u8) -> JobFinished {
        let job = self.encode().await;
        let presented = self.presented(&job).await;
        self.plan(&presented, write(fill)).await;
        let finished = finished(&mut self.line).await;
        self.acknowledge(&finished).await;
        finished
    }

    /// The agent's next session, after this one has ended.
    pub(crate) async fn welcome_again(&mut self) -> encoder_protocols::wire::Hello {
        self.line.hang_up().await;
        let (line, hello) = self.desk.welcomed(0).await;
        self.line = line;
        hello
    }

    pub(crate) async fn stop(mut self) {
        self.agent.terminate();
        assert_eq!(
            self.agent.end().await.code(),
            Some(0),
            "{}",
            self.agent.log()
        );
    }
}

/// A job with 60 s to its deadline and 20 s to wait for a card.
pub(crate) fn job_on(key: &EncoderKey, kind: JobKind) -> Job {
    let now = "2026-11-21T12:00:00Z".parse().unwrap();
    Job {
        job_id: JobId(Uuid::now_v7()),
        encoder_key: key.clone(),
        kind,
        credential_id: (kind == JobKind::Encode).then(Uuid::new_v4),
        created_at: now,
        deadline: now + jiff::SignedDuration::from_secs(60),
        server_time: now,
        card_wait_ms: 20_000,
        content: None,
    }
}

pub(crate) async fn finished(line: &mut Line) -> JobFinished {
    line.hear_some(|message| {
        let AgentMessage::JobFinished(finished) = message else {
            return None;
        };
        Some(finished)
    })
    .await
}

pub(crate) fn transport_key() -> Vec<CandidateKey> {
    vec![CandidateKey {
        slot: KeySlot::A,
        key: ClassicKey(TRANSPORT_KEY),
    }]
}

/// A sector with every data block full of one byte.
pub(crate) fn sector(sector: u8, fill: u8) -> SectorImage {
    SectorImage {
        sector,
        keys: transport_key(),
        blocks: (0..3)
            .map(|block| BlockImage {
                block,
                data: [fill; 16],
            })
            .collect(),
        trailer: None,
    }
}

/// Sectors 1 to 15, every data block full of one byte.
pub(crate) fn image(fill: u8) -> CardImage {
    CardImage::MifareClassic(ClassicImage {
        sectors: (1..=15).map(|number| sector(number, fill)).collect(),
    })
}

/// A plan to write these sectors.
pub(crate) fn image_of(sectors: Vec<SectorImage>) -> Plan {
    let image = CardImage::MifareClassic(ClassicImage { sectors });
    Plan::Write { image }
}

pub(crate) fn write(fill: u8) -> Plan {
    Plan::Write { image: image(fill) }
}

/// A plan to write a stripe.
pub(crate) fn write_stripe() -> Plan {
    let image = CardImage::Magstripe(MagstripeImage {
        card_number: "1000234".to_owned(),
        coercivity: Coercivity::High,
        tracks: vec![TrackImage::iso(Track::Two, "1000234")],
    });
    Plan::Write { image }
}

/// A plan to read one.
pub(crate) fn read_stripe() -> Plan {
    let plan = ReadPlan::Magstripe(MagstripeRead {
        form: TrackForm::Iso,
        tracks: Track::ALL.to_vec(),
    });
    Plan::Read { plan }
}

/// The data blocks of [`image`].
pub(crate) fn image_blocks() -> impl Iterator<Item = usize> {
    (4..64).filter(|block| block % 4 != 3)
}
