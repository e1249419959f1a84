//! How long a key takes from the HTTP request to the success, and what of it the agent adds: `cargo bench --bench first_key`.
//!
//! The encoder is the emulated PN532 on a pseudo terminal that answers at once, so that what is left is ours. Each figure is
//! taken with journal and database on disk, and again on a file system in memory (`/dev/shm`), where a flush costs nothing.
//!
//! - *request to success*: a credential is encoded over HTTP; its action attempt is polled every millisecond.
//! - *job to outcome*: a scripted coordinator sends a job over a websocket to the agent's process and answers at once with a
//!   plan, until it hears the outcome.
//! - *device*: the same write asked of the encoder's task alone, without jobs, journal and session. What the agent adds is
//!   *job to outcome* in memory without it.

#[cfg(unix)]
#[path = "../tests/desk/mod.rs"]
mod desk;
#[cfg(unix)]
#[path = "../examples/demo/desk.rs"]
mod whole_desk;

#[cfg(unix)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    bench::main()
}

#[cfg(not(unix))]
fn main() {}

#[cfg(unix)]
mod bench {
    #![allow(
        clippy::disallowed_methods,
        reason = "a bench reads the clock and polls as an SDK does"
    )]

    use std::{
        error::Error,
        io::{Write, stdout},
        path::{Path, PathBuf},
        time::{Duration, Instant},
    };

    use encoder_agent::{
        clock::Clock,
        emulation::{EmulationOptions, PtyEncoder},
        encoder::{
            self, CardOperation, EncoderCommand, EncoderEvent, EncoderId, EncoderSettings,
            OperationResult, Poll, Start,
        },
        pulse::SignOfLife,
        transport::Opener,
    };
    use encoder_protocols::{
        card::{
            BlockImage, CandidateKey, CardImage, ClassicImage, ClassicKey, KeySlot, SectorImage,
            Uid, virtual_card::CardKind,
        },
        wire::{
            AgentMessage, CardPlan, EncoderKey, EncoderState, Job, JobId, JobKind, KeyScope,
            Outcome, Plan, ServiceMessage,
        },
    };
    use jiff::{SignedDuration, Timestamp};
    use serde_json::{Value, json};
    use tokio::sync::{mpsc, watch};
    use tokio_util::sync::CancellationToken;
    use uuid::Uuid;

    use crate::{
        desk::{AgentProcess, Desk, Line},
        whole_desk,
    };

    type Fallible<T> = Result<T, Box<dyn Error>>;

    const ENCODES: u128 = 1_000;
    const CARD: [u8; 4] = [0xde, 0xad, 0xbe, 0xef];
    const MEMORY: &str = "/dev/shm";

    pub(super) fn main() -> Fallible<()> {
        let disk = std::env::temp_dir();
        let memory = PathBuf::from(MEMORY);
        tell(&format!(
            "{ENCODES} encodes each, in milliseconds; the card answers at once"
        ))?;
        let places = [("on disk", disk.as_path()), ("in memory", memory.as_path())];
        for (name, place) in places.iter().filter(|(_, place)| place.is_dir()) {
            tell(&line("request to success", name, &over_http(place)?))?;
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let mut whole = Vec::new();
        for (name, place) in places.iter().filter(|(_, place)| place.is_dir()) {
            whole = runtime.block_on(jobs(place))?;
            tell(&line("job to outcome", name, &whole))?;
        }
        let device = runtime.block_on(device_alone())?;
        tell(&line("device", "", &device))?;
        let added =
            |share| milliseconds(percentile(&whole, share).saturating_sub(percentile(&device, 50)));
        tell(&format!(
            "the agent adds beyond device and flushes: p50 {:.2}, p99 {:.2} (its share of the device taken as the median)",
            added(50),
            added(99)
        ))
    }

    /// Encodes a new credential again and again onto one card, over HTTP.
    fn over_http(place: &Path) -> Fallible<Vec<Duration>> {
        let desk = whole_desk::Desk::open_in(place, "lift_between_cards = false\n")?;
        desk.encoder.place_new(CardKind::Classic1k, None)?;
        let client = ureq::Agent::new_with_defaults();
        let post = |path: &str, body: &Value| -> Fallible<Value> {
            let authorization = format!("Bearer {}", desk.demo.api_key);
            Ok(client
                .post(format!("{}{path}", desk.endpoint))
                .header("authorization", authorization)
                .send_json(body)?
                .body_mut()
                .read_json()?)
        };
        let system = json!({ "acs_system_id": desk.demo.acs_system_id });
        let encoder = loop {
            let listed = post("/acs/encoders/list", &system)?;
            if let Some(encoder) = listed["acs_encoders"].get(0) {
                break encoder["acs_encoder_id"].clone();
            }
        };
        let user = post(
            "/acs/users/create",
            &json!({ "acs_system_id": desk.demo.acs_system_id, "full_name": "Jane Doe" }),
        )?["acs_user"]["acs_user_id"]
            .clone();
        let mut times = Vec::new();
        for _ in 0..ENCODES {
            let created = post(
                "/acs/credentials/create",
                &json!({
                    "acs_user_id": user,
                    "access_method": "card",
                    "allowed_acs_entrance_ids": desk.demo.acs_entrance_ids,
                    "starts_at": "2026-12-01T15:00:00.000Z",
                    "ends_at": "2026-12-04T12:00:00.000Z",
                }),
            )?;
            let wish = json!({
                "acs_encoder_id": encoder,
                "acs_credential_id": created["acs_credential"]["acs_credential_id"],
            });
            let began = Instant::now();
            let mut attempt =
                post("/acs/encoders/encode_credential", &wish)?["action_attempt"].clone();
            while attempt["status"] == "pending" {
                std::thread::sleep(Duration::from_millis(1));
                let id = json!({ "action_attempt_id": attempt["action_attempt_id"] });
                attempt = post("/action_attempts/get", &id)?["action_attempt"].clone();
            }
            times.push(began.elapsed());
            if attempt["status"] != "success" {
                return Err(format!("an encode failed: {}", attempt["error"]).into());
            }
        }
        Ok(times)
    }

    /// Jobs of a scripted coordinator for the agent's process.
    async fn jobs(place: &Path) -> Fallible<Vec<Duration>> {
        let encoder = PtyEncoder::start(&EmulationOptions::default())?;
        encoder.place_new(CardKind::Classic1k, Some(Uid::new(&CARD)?))?;
        let port = encoder.path()?.ok_or("the emulator has no port")?;
        let state = tempfile::tempdir_in(place)?;
        let desk = Desk::new(&port, "lift_between_cards = false").await;
        let mut command = desk.command("run");
        command
            .env("ENCODER_AGENT__STATE_DIR", state.path())
            .env("ENCODER_AGENT__LOG__LEVEL", "info");
        let _agent = AgentProcess::start(command);
        let (mut line, _) = desk.welcomed(0).await;
        let key = line
            .hear_some(|message| {
                let AgentMessage::Inventory { encoders, .. } = message else {
                    return None;
                };
                encoders
                    .into_iter()
                    .find(|encoder| encoder.state == EncoderState::Ready)
                    .map(|encoder| encoder.key)
            })
            .await;
        let mut times = Vec::new();
        for number in 1..=ENCODES {
            let began = Instant::now();
            one_job(&mut line, key.clone(), number).await?;
            times.push(began.elapsed());
        }
        Ok(times)
    }

    async fn one_job(line: &mut Line, encoder_key: EncoderKey, number: u128) -> Fallible<()> {
        let job_id = JobId(Uuid::from_u128(number));
        let now = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24);
        line.say(&ServiceMessage::Job(Job {
            job_id,
            encoder_key,
            kind: JobKind::Encode,
            credential_id: Some(Uuid::from_u128(number)),
            created_at: now,
            deadline: now + SignedDuration::from_secs(60),
            server_time: now,
            card_wait_ms: 30_000,
            content: None,
        }))
        .await;
        loop {
            let message = line.hear().await;
            if let AgentMessage::CardPresented(presented) = &message {
                let plan = ServiceMessage::CardPlan(CardPlan {
                    job_id,
                    n: presented.n,
                    uid: presented.card.uid,
                    plan: Plan::Write {
                        image: image(number),
                    },
                });
                line.say(&plan).await;
            } else if let AgentMessage::JobFinished(finished) = message {
                let sequence = finished.sequence;
                line.say(&ServiceMessage::FinishedAck { sequence }).await;
                return match finished.outcome {
                    Outcome::Success => Ok(()),
                    Outcome::Error => Err(format!("a job failed: {:?}", finished.error).into()),
                };
            }
        }
    }

    /// The same writes, asked of the encoder's task alone: look, prepare, commit.
    async fn device_alone() -> Fallible<Vec<Duration>> {
        let encoder = PtyEncoder::start(&EmulationOptions::default())?;
        encoder.place_new(CardKind::Classic1k, Some(Uid::new(&CARD)?))?;
        let port = encoder.path()?.ok_or("the emulator has no port")?;
        let (commands, inbox) = mpsc::channel(8);
        let (outbox, mut events) = mpsc::channel(8);
        let stop = CancellationToken::new();
        let (_nothing_plugged, plugged) = watch::channel(());
        let task = encoder::spawn(Start {
            id: EncoderId(0),
            settings: settings(port),
            clock: Clock::start(),
            opener: Opener::system(),
            opened: None,
            plugged,
            commands: inbox,
            events: outbox,
            shutdown: stop.clone(),
            sign: SignOfLife::default(),
        });
        until(&mut events, |event| matches!(event, EncoderEvent::Ready(_))).await?;
        let mut times = Vec::new();
        for number in 1..=ENCODES {
            let job_id = JobId(Uuid::from_u128(number));
            let began = Instant::now();
            commands.send(EncoderCommand::Watch).await?;
            until(&mut events, |event| {
                matches!(event, EncoderEvent::Polled(Poll::Card(_)))
            })
            .await?;
            commands
                .send(EncoderCommand::Operate {
                    job_id,
                    uid: Some(Uid::new(&CARD)?),
                    operation: CardOperation::Prepare(image(number)),
                })
                .await?;
            until(&mut events, |event| {
                matches!(
                    event,
                    EncoderEvent::Operation {
                        result: Ok(OperationResult::Prepared),
                        ..
                    }
                )
            })
            .await?;
            commands.send(EncoderCommand::Commit { job_id }).await?;
            until(&mut events, |event| {
                matches!(
                    event,
                    EncoderEvent::Operation {
                        result: Ok(OperationResult::Written),
                        ..
                    }
                )
            })
            .await?;
            times.push(began.elapsed());
            commands.send(EncoderCommand::Rest).await?;
        }
        stop.cancel();
        task.await?;
        Ok(times)
    }

    async fn until(
        events: &mut mpsc::Receiver<(EncoderId, EncoderEvent)>,
        wanted: impl Fn(&EncoderEvent) -> bool,
    ) -> Fallible<()> {
        while let Some((_, event)) = events.recv().await {
            if wanted(&event) {
                return Ok(());
            }
            if let EncoderEvent::Fault { problem, .. } = &event {
                return Err(problem.clone().into());
            }
        }
        Err("the encoder's task ended".into())
    }

    fn settings(port: PathBuf) -> EncoderSettings {
        EncoderSettings {
            key: EncoderKey("bench".into()),
            key_scope: KeyScope::Agent,
            name: "bench".into(),
            driver: "pn532".into(),
            port,
            baud: None,
            dtr: None,
            rts: None,
            named: true,
            adopted: true,
            lift_between_cards: false,
            allow_irreversible: false,
            poll_interval: Duration::from_millis(200),
            simulated: true,
        }
    }

    /// Three blocks of one sector, other ones each time.
    fn image(number: u128) -> CardImage {
        let blocks = (0..3)
            .map(|block| BlockImage {
                block,
                data: (number + u128::from(block)).to_be_bytes(),
            })
            .collect();
        CardImage::MifareClassic(ClassicImage {
            sectors: vec![SectorImage {
                sector: 1,
                keys: vec![CandidateKey {
                    slot: KeySlot::A,
                    key: ClassicKey([0xff; 6]),
                }],
                blocks,
                trailer: None,
            }],
        })
    }

    fn percentile(times: &[Duration], share: usize) -> Duration {
        let mut sorted = times.to_vec();
        sorted.sort_unstable();
        let at = (sorted.len() * share / 100).min(sorted.len().saturating_sub(1));
        sorted.get(at).copied().unwrap_or_default()
    }

    fn line(what: &str, place: &str, times: &[Duration]) -> String {
        format!(
            "{what:<20}{place:<12}p50 {:>7.2}   p99 {:>7.2}",
            milliseconds(percentile(times, 50)),
            milliseconds(percentile(times, 99))
        )
    }

    fn milliseconds(time: Duration) -> f64 {
        time.as_secs_f64() * 1e3
    }

    fn tell(text: &str) -> Fallible<()> {
        Ok(writeln!(stdout(), "{text}")?)
    }
}
