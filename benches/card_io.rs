//! How close card work comes to what the wire allows: `cargo bench --bench card_io`.
//!
//! The device is the emulated PN532 on a pseudo terminal, its bytes paced at 115200 baud, the air taking no time. The
//! floor of each job is the time that exactly the frames it needs take on the wire, 10 bits a byte, in both directions one
//! after the other, since the chip answers only when it has heard all. A response is whole before its postamble, so the next
//! command may leave one byte early: a ratio a little below 1 is possible. A busy machine shows in the median, and less so in
//! the best run. Where libnfc is installed, its `nfc-mfclassic r`
//! reads the same card for comparison.

#[cfg(unix)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    bench::main()
}

#[cfg(not(unix))]
fn main() {}

#[cfg(unix)]
mod bench {
    use std::{
        error::Error,
        io::{Write, stdout},
        path::{Path, PathBuf},
        process::{Command, Stdio},
        time::{Duration, Instant},
    };

    use encoder_agent::{
        clock::Clock,
        drivers::{self, Encoder},
        emulation::{EmulationOptions, PtyEncoder},
        encoder::{EncoderSettings, Poll},
        transport::{Opener, Port, PortSettings, Stop, exchange},
    };
    use encoder_protocols::{
        card::{
            BlockImage, CandidateKey, CardImage, ClassicImage, ClassicKey, KeySlot, SectorImage,
            Uid, WriteRules, virtual_card::CardKind,
        },
        pn532::{
            command::{
                Exchange, ListPassiveTarget, Reply, Request, RfConfiguration, SamConfiguration,
                TargetCount,
            },
            emulator::{Pace, Stats},
            link::{LinkTiming, Pn532Link},
        },
        wire::{EncoderKey, KeyScope},
    };
    use tokio_util::sync::CancellationToken;

    type Failure = Box<dyn Error>;

    const BAUD: u32 = 115_200;
    const BITS_PER_BYTE: f64 = 10.0;
    /// How far above the floor the design allows a job to be.
    const TARGET: f64 = 1.10;
    const RUNS: usize = 25;
    /// Runs when it is only to be seen that the bench works, as under `cargo test --benches`.
    const TRIAL_RUNS: usize = 1;
    const SECTORS: u8 = 16;
    const BLOCKS_PER_SECTOR: u8 = 4;
    const DATA_BLOCKS: u8 = 3;

    /// The frames of one exchange: command, acknowledge, response, in bytes.
    struct Frames {
        name: &'static str,
        bytes: [u64; 3],
    }

    const SELECT: Frames = Frames {
        name: "select",
        bytes: [11, 6, 19],
    };
    const AUTHENTICATE: Frames = Frames {
        name: "authenticate",
        bytes: [22, 6, 10],
    };
    const READ: Frames = Frames {
        name: "read",
        bytes: [12, 6, 26],
    };
    const WRITE: Frames = Frames {
        name: "write",
        bytes: [28, 6, 10],
    };

    /// A job and the exchanges that it needs.
    struct Job {
        name: &'static str,
        exchanges: &'static [(u64, Frames)],
        /// Exchanges that are done and measured as well, but do not count towards the floor.
        beyond: &'static [(u64, Frames)],
    }

    const FULL_READ: Job = Job {
        name: "full read, 1K",
        exchanges: &[(16, AUTHENTICATE), (64, READ)],
        beyond: &[],
    };
    const FULL_WRITE: Job = Job {
        name: "full write with read-back, 47 blocks",
        exchanges: &[(32, AUTHENTICATE), (47, WRITE), (47, READ)],
        beyond: &[(1, SELECT)],
    };
    const ONE_SECTOR: Job = Job {
        name: "one-sector encode",
        exchanges: &[(1, SELECT), (1, AUTHENTICATE), (3, WRITE), (3, READ)],
        beyond: &[],
    };

    impl Job {
        fn bytes(&self) -> u64 {
            bytes(self.exchanges)
        }

        fn floor(&self) -> Duration {
            wire_time(self.bytes())
        }
    }

    pub(super) fn main() -> Result<(), Failure> {
        let runs = if std::env::args().any(|argument| argument == "--bench") {
            RUNS
        } else {
            TRIAL_RUNS
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let board = Board::start()?;
        print(format_args!(
            "emulated PN532 on a pty, {BAUD} baud, wire paced, no time on the air; median and best of {runs} runs\n"
        ))?;
        list_frames()?;
        print(format_args!(
            "{:<38} {:>6} {:>9} {:>10} {:>6} {:>9} {:>6}",
            "job", "bytes", "floor ms", "median ms", "ratio", "best ms", "ratio"
        ))?;
        let read = runtime.block_on(full_read(&board, runs))?;
        report(&FULL_READ, read)?;
        let write = runtime.block_on(encode(&board, &FULL_WRITE, &full_image, runs))?;
        report(&FULL_WRITE, write)?;
        let sector = runtime.block_on(encode(&board, &ONE_SECTOR, &sector_image, runs))?;
        report(&ONE_SECTOR, sector)?;
        peer(&board, runs)
    }

    /// The emulated board with one factory card.
    struct Board {
        encoder: PtyEncoder,
        path: PathBuf,
        uid: Uid,
    }

    impl Board {
        fn start() -> Result<Self, Failure> {
            let encoder = PtyEncoder::start(&EmulationOptions {
                link: None,
                pace: Pace {
                    wire: true,
                    rf: false,
                },
            })?;
            let uid = encoder.place_new(CardKind::Classic1k, None)?.uid;
            let path = encoder.path()?.ok_or("the emulator has no terminal")?;
            Ok(Self { encoder, path, uid })
        }

        fn line_bytes(&self) -> Result<u64, Failure> {
            let stats = self.encoder.stats()?;
            Ok(stats.bytes_in + stats.bytes_out)
        }

        /// Fails unless the line carried exactly what the job needs.
        fn check(&self, before: u64, job: &Job) -> Result<(), Failure> {
            let carried = self.line_bytes()? - before;
            let needed = job.bytes() + bytes(job.beyond);
            // A frame is whole before its postamble, which may be under way at either end.
            if carried.abs_diff(needed) <= 1 {
                Ok(())
            } else {
                Err(format!(
                    "{}: {carried} bytes on the line, expected {needed}",
                    job.name
                )
                .into())
            }
        }
    }

    /// The chip behind its link, without a driver: what a driver adds is measured by the encodes.
    struct Chip {
        port: Port,
        link: Pn532Link,
        clock: Clock,
        cancel: CancellationToken,
    }

    impl Chip {
        async fn open(path: &Path) -> Result<Self, Failure> {
            let settings = PortSettings {
                path: path.to_path_buf(),
                baud: BAUD,
                dtr: None,
                rts: None,
            };
            Ok(Self {
                port: Port::open(&settings).await?,
                link: Pn532Link::new(LinkTiming::default()),
                clock: Clock::start(),
                cancel: CancellationToken::new(),
            })
        }

        async fn ask(&mut self, request: Request) -> Result<Reply, Failure> {
            let stop = Stop {
                deadline: self.clock.now() + self.link.longest(&request),
                cancel: &self.cancel,
            };
            let reply = exchange(&mut self.port, &mut self.link, self.clock, request, stop);
            Ok(reply.await?)
        }

        async fn card(&mut self, command: Exchange) -> Result<(), Failure> {
            let reply = self.ask(Request::InDataExchange(command)).await?;
            let Reply::Exchanged(answer) = reply else {
                return Err(format!("expected a card's answer, got {reply:?}").into());
            };
            if answer.status.is_success() {
                Ok(())
            } else {
                Err(answer.status.code.fault().into())
            }
        }

        async fn select(&mut self) -> Result<(), Failure> {
            let one = ListPassiveTarget {
                max_targets: TargetCount::One,
                uid: None,
            };
            self.ask(Request::InListPassiveTarget(one)).await?;
            Ok(())
        }
    }

    async fn full_read(board: &Board, runs: usize) -> Result<Vec<Duration>, Failure> {
        let mut chip = Chip::open(&board.path).await?;
        chip.ask(Request::SamConfiguration(SamConfiguration::NORMAL))
            .await?;
        chip.ask(Request::RfConfiguration(RfConfiguration::MaxRetries {
            atr: 0xFF,
            psl: 1,
            passive_activation: 2,
        }))
        .await?;
        let mut times = Vec::new();
        for _ in 0..runs {
            chip.select().await?;
            let before = board.line_bytes()?;
            let begin = now();
            for sector in 0..SECTORS {
                let first = sector * BLOCKS_PER_SECTOR;
                chip.card(Exchange::authenticate(1, first, &factory_key(), &board.uid))
                    .await?;
                for block in first..first + BLOCKS_PER_SECTOR {
                    chip.card(Exchange::read(1, block)).await?;
                }
            }
            times.push(begin.elapsed());
            board.check(before, &FULL_READ)?;
        }
        Ok(times)
    }

    async fn encode(
        board: &Board,
        job: &Job,
        image: &dyn Fn(u8) -> CardImage,
        runs: usize,
    ) -> Result<Vec<Duration>, Failure> {
        let cancel = CancellationToken::new();
        let mut encoder = drivers::open(
            &Opener::system(),
            &settings(&board.path),
            Clock::start(),
            &cancel,
        )
        .await?;
        let Poll::Card(_) = encoder.poll(&cancel).await? else {
            return Err("expected one card".into());
        };
        let mut times = Vec::new();
        for fill in (1..=u8::MAX).cycle().take(runs) {
            let image = image(fill);
            let before = board.line_bytes()?;
            times.push(encode_once(encoder.as_mut(), board.uid, &image).await?);
            board.check(before, job)?;
        }
        encoder.close().await;
        Ok(times)
    }

    async fn encode_once(
        encoder: &mut dyn Encoder,
        uid: Uid,
        image: &CardImage,
    ) -> Result<Duration, Failure> {
        let cancel = CancellationToken::new();
        let begin = now();
        encoder
            .prepare(Some(uid), image, WriteRules::default(), &cancel)
            .await?;
        encoder.write(&mut || {}, &CancellationToken::new()).await?;
        Ok(begin.elapsed())
    }

    /// Every data block but the manufacturer's.
    fn full_image(fill: u8) -> CardImage {
        let sectors = (0..SECTORS).map(|sector| {
            let first = u8::from(sector == 0);
            sector_of(sector, first..DATA_BLOCKS, fill)
        });
        CardImage::MifareClassic(ClassicImage {
            sectors: sectors.collect(),
        })
    }

    fn sector_image(fill: u8) -> CardImage {
        CardImage::MifareClassic(ClassicImage {
            sectors: vec![sector_of(1, 0..DATA_BLOCKS, fill)],
        })
    }

    fn sector_of(sector: u8, blocks: std::ops::Range<u8>, fill: u8) -> SectorImage {
        SectorImage {
            sector,
            keys: vec![factory_key()],
            blocks: blocks
                .map(|block| BlockImage {
                    block,
                    data: [fill ^ block; 16],
                })
                .collect(),
            trailer: None,
        }
    }

    fn factory_key() -> CandidateKey {
        CandidateKey {
            slot: KeySlot::A,
            key: ClassicKey([0xFF; 6]),
        }
    }

    fn settings(path: &Path) -> EncoderSettings {
        EncoderSettings {
            key: EncoderKey("port:bench".to_owned()),
            key_scope: KeyScope::Agent,
            name: "bench".to_owned(),
            driver: "pn532".to_owned(),
            port: path.to_path_buf(),
            baud: None,
            dtr: None,
            rts: None,
            named: true,
            adopted: true,
            lift_between_cards: false,
            allow_irreversible: false,
            poll_interval: Duration::from_millis(100),
            simulated: true,
        }
    }

    /// libnfc's reader of the same card, where it is installed.
    fn peer(board: &Board, runs: usize) -> Result<(), Failure> {
        let dump = tempfile::NamedTempFile::new()?;
        let mut times = Vec::new();
        for _ in 0..runs {
            times.extend(peer_run(board, dump.path())?);
        }
        if times.is_empty() {
            return print(format_args!(
                "nfc-mfclassic r: not measured (libnfc is not installed, or the machine is too busy to watch it)"
            ));
        }
        let job = Job {
            name: "nfc-mfclassic r (libnfc), reads alone",
            ..FULL_READ
        };
        report(&job, times)
    }

    /// The time from the first byte of the first authentication to the last byte of the last read, by the emulator's
    /// counters; none unless it made exactly the full read's exchanges.
    fn peer_run(board: &Board, dump: &Path) -> Result<Option<Duration>, Failure> {
        let start = board.encoder.stats()?;
        let child = Command::new("nfc-mfclassic")
            .args(["r", "A", "u"])
            .arg(dump)
            .env(
                "LIBNFC_DEVICE",
                format!("pn532_uart:{}:{BAUD}", board.path.display()),
            )
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut child) = child else {
            return Ok(None);
        };
        let begin = now();
        let mut samples = vec![(Duration::ZERO, start)];
        while child.try_wait()?.is_none() {
            let stats = board.encoder.stats()?;
            samples.push((begin.elapsed(), stats));
            // Often enough to see every byte group, seldom enough to leave the emulator alone.
            std::thread::park_timeout(Duration::from_micros(250));
        }
        Ok(reading_time(&samples))
    }

    fn reading_time(samples: &[(Duration, Stats)]) -> Option<Duration> {
        let (mut authentications, mut reads) = (0, 0);
        let mut first: Option<Duration> = None;
        let mut last = None;
        let mut heard = samples.first()?.1;
        let mut ends: Vec<(Duration, u64)> = Vec::new();
        for (at, stats) in samples {
            if stats.commands == heard.commands {
                if let Some(end) = ends.last_mut()
                    && stats.bytes_out > end.1
                {
                    *end = (*at, stats.bytes_out);
                }
                continue;
            }
            let command = stats.bytes_in - heard.bytes_in;
            if command == AUTHENTICATE.bytes[0] {
                authentications += 1;
                // It is counted when its last byte was heard.
                first.get_or_insert(at.saturating_sub(wire_time(command)));
            }
            if command == READ.bytes[0] {
                reads += 1;
                last = Some(ends.len());
            }
            ends.push((*at, stats.bytes_out));
            heard = *stats;
        }
        let (end, _) = ends.get(last?)?;
        let complete = (authentications, reads) == (16, 64);
        complete.then(|| end.saturating_sub(first.unwrap_or_default()))
    }

    fn list_frames() -> Result<(), Failure> {
        for frames in [SELECT, AUTHENTICATE, READ, WRITE] {
            let [command, acknowledge, response] = frames.bytes;
            print(format_args!(
                "  {:<13} {:>2} bytes: command {command}, acknowledge {acknowledge}, response {response}",
                frames.name,
                frames.bytes.iter().sum::<u64>()
            ))?;
        }
        for job in [FULL_READ, FULL_WRITE, ONE_SECTOR] {
            let list: Vec<_> = job
                .exchanges
                .iter()
                .map(|(count, frames)| format!("{count} × {}", frames.name))
                .collect();
            print(format_args!("  {}: {}", job.name, list.join(", ")))?;
        }
        print(format_args!(
            "  the full write's selection is measured, but is no part of its floor\n"
        ))
    }

    fn report(job: &Job, mut times: Vec<Duration>) -> Result<(), Failure> {
        times.sort_unstable();
        let median = times.get(times.len() / 2).copied().unwrap_or_default();
        let best = times.first().copied().unwrap_or_default();
        let ratio = |time: Duration| time.as_secs_f64() / job.floor().as_secs_f64();
        print(format_args!(
            "{:<38} {:>6} {:>9.1} {:>10.1} {:>6.3} {:>9.1} {:>6.3}{}",
            job.name,
            job.bytes(),
            milliseconds(job.floor()),
            milliseconds(median),
            ratio(median),
            milliseconds(best),
            ratio(best),
            if ratio(median) <= TARGET {
                ""
            } else {
                "  above 1.10"
            }
        ))
    }

    fn milliseconds(time: Duration) -> f64 {
        time.as_secs_f64() * 1e3
    }

    fn bytes(exchanges: &[(u64, Frames)]) -> u64 {
        exchanges
            .iter()
            .map(|(count, frames)| count * frames.bytes.iter().sum::<u64>())
            .sum()
    }

    #[allow(clippy::cast_precision_loss, reason = "a few thousand bytes")]
    fn wire_time(bytes: u64) -> Duration {
        Duration::from_secs_f64(bytes as f64 * BITS_PER_BYTE / f64::from(BAUD))
    }

    #[allow(clippy::disallowed_methods, reason = "a bench measures real time")]
    fn now() -> Instant {
        Instant::now()
    }

    fn print(line: std::fmt::Arguments<'_>) -> Result<(), Failure> {
        writeln!(stdout(), "{line}")?;
        Ok(())
    }
}
