mod board;
mod signs;
mod swipe;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
};

use encoder_protocols::{
    card::{
        CardContents, CardError, CardImage, CardLinkError, ClassicImage, ReadPlan, Uid, WriteError,
        WriteRules,
    },
    wire::{Abilities, EncoderKey, KeyScope, Touched},
};
use uuid::Uuid;

use super::*;
use crate::{
    encoder::{CardOperation, EncoderIdentity, Poll, Signal},
    transport::PortError,
};

/// How a scripted device does what it is asked.
#[derive(Clone, Debug, Default)]
struct Script {
    /// How often opening fails before it succeeds.
    unplugged: u32,
    /// Until when the port belongs to root.
    closed_until: Option<Moment>,
    /// The time that a look for cards takes.
    poll_time: Duration,
    /// The time that a preparation takes.
    prepare_time: Duration,
    /// The time that a write takes.
    write_time: Duration,
    /// What a write ends with.
    write_error: Option<WriteError>,
    /// The port goes away at this moment.
    lost_at: Option<Moment>,
    /// What was asked of the device, in order.
    asked: Vec<&'static str>,
}

type Shared = Arc<Mutex<Script>>;

struct Scripted {
    script: Shared,
    clock: Clock,
}

impl Scripted {
    fn ask(&self, what: &'static str) -> Script {
        let mut script = self.script.lock().unwrap();
        script.asked.push(what);
        script.clone()
    }
}

impl Encoder for Scripted {
    fn identity(&self) -> EncoderIdentity {
        EncoderIdentity {
            model: Some("scripted".to_owned()),
            serial: None,
            firmware: None,
            abilities: Abilities::default(),
        }
    }

    fn poll<'a>(
        &'a mut self,
        _cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<Poll, EncoderError>> {
        let script = self.ask("poll");
        Box::pin(async move {
            tokio::time::sleep(script.poll_time).await;
            Ok(Poll::Empty)
        })
    }

    fn rest(&mut self) -> BoxFuture<'_, Result<(), EncoderError>> {
        self.ask("rest");
        Box::pin(async { Ok(()) })
    }

    fn prepare<'a>(
        &'a mut self,
        _uid: Option<Uid>,
        _image: &'a CardImage,
        _rules: WriteRules,
        cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<(), CardError>> {
        let script = self.ask("prepare");
        Box::pin(async move {
            tokio::select! {
                () = cancel.cancelled() => Err(CardError::Link { at: None, source: CardLinkError::Cancelled }),
                () = tokio::time::sleep(script.prepare_time) => Ok(()),
            }
        })
    }

    fn write<'a>(
        &'a mut self,
        verifying: &'a mut (dyn FnMut() + Send),
        _cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<(), WriteError>> {
        let script = self.ask("write");
        Box::pin(async move {
            tokio::time::sleep(script.write_time).await;
            if let Some(error) = script.write_error {
                return Err(error);
            }
            verifying();
            Ok(())
        })
    }

    fn verify<'a>(
        &'a mut self,
        _uid: Option<Uid>,
        _image: &'a CardImage,
        _cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<(), CardError>> {
        self.ask("verify");
        Box::pin(async { Ok(()) })
    }

    fn read<'a>(
        &'a mut self,
        _uid: Option<Uid>,
        _plan: &'a ReadPlan,
        _cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<CardContents, CardError>> {
        self.ask("read");
        Box::pin(async { Ok(CardContents::UidOnly) })
    }

    fn signal(&mut self, _signal: Signal) -> BoxFuture<'_, Result<(), EncoderError>> {
        self.ask("signal");
        Box::pin(async { Ok(()) })
    }

    fn health(&mut self) -> BoxFuture<'_, Result<(), EncoderError>> {
        self.ask("health");
        Box::pin(async { Ok(()) })
    }

    fn lost(&mut self) -> BoxFuture<'_, EncoderError> {
        let lost_at = self.script.lock().unwrap().lost_at;
        let clock = self.clock;
        Box::pin(async move {
            match lost_at {
                Some(moment) => clock.sleep_until(moment).await,
                None => std::future::pending().await,
            }
            gone()
        })
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        self.ask("close");
        Box::pin(async {})
    }
}

struct Bench {
    script: Shared,
    clock: Clock,
    commands: mpsc::Sender<EncoderCommand>,
    events: mpsc::Receiver<(EncoderId, EncoderEvent)>,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Bench {
    fn new(script: Script) -> Self {
        Self::watched(script, SignOfLife::default())
    }

    fn watched(script: Script, sign: SignOfLife) -> Self {
        let script = Arc::new(Mutex::new(script));
        let clock = Clock::start();
        let (commands, commanded) = mpsc::channel(8);
        let (reported, events) = mpsc::channel(8);
        let shutdown = CancellationToken::new();
        let shared = Arc::clone(&script);
        let open = move || -> Opening {
            let script = Arc::clone(&shared);
            Box::pin(async move {
                let mut scripted = script.lock().unwrap();
                scripted.asked.push("open");
                if scripted.unplugged > 0 {
                    scripted.unplugged -= 1;
                    return Err(gone());
                }
                if scripted
                    .closed_until
                    .is_some_and(|until| clock.now() < until)
                {
                    return Err(not_permitted());
                }
                drop(scripted);
                let encoder: Box<dyn Encoder> = Box::new(Scripted { script, clock });
                Ok(encoder)
            })
        };
        let task = EncoderTask {
            id: EncoderId(3),
            settings: settings(),
            clock,
            commands: commanded,
            events: reported,
            shutdown: shutdown.clone(),
            open,
            plugged: watch::channel(()).1,
            watching: false,
            deferred: VecDeque::new(),
            problem: None,
            closed: Closed::default(),
            sign,
        };
        Self {
            script,
            clock,
            commands,
            events,
            shutdown,
            task: tokio::spawn(task.run(None)),
        }
    }

    /// A bench whose encoder has said that it is ready.
    async fn ready(script: Script) -> Self {
        let mut bench = Self::new(script);
        assert!(matches!(bench.event().await, EncoderEvent::Ready(_)));
        bench
    }

    async fn command(&self, command: EncoderCommand) {
        self.commands.send(command).await.unwrap();
    }

    async fn event(&mut self) -> EncoderEvent {
        let (id, event) = self.events.recv().await.unwrap();
        assert_eq!(id, EncoderId(3));
        event
    }

    async fn operation(&mut self) -> Result<OperationResult, OperationError> {
        let event = self.event().await;
        let EncoderEvent::Operation { job_id, result } = event else {
            panic!("expected the end of an operation, got {event:?}");
        };
        assert_eq!(job_id, job());
        result
    }

    /// Nothing is reported for `time`.
    async fn quiet(&mut self, time: Duration) {
        let event = tokio::time::timeout(time, self.events.recv()).await;
        assert!(event.is_err(), "{event:?}");
    }

    async fn prepared(script: Script) -> Self {
        let mut bench = Self::ready(script).await;
        bench.command(prepare()).await;
        assert!(matches!(
            bench.operation().await,
            Ok(OperationResult::Prepared)
        ));
        bench
    }

    fn asked(&self) -> Vec<&'static str> {
        self.script.lock().unwrap().asked.clone()
    }
}

#[tokio::test(start_paused = true)]
async fn watching_polls_at_once_and_then_each_interval_until_rest() {
    let mut bench = Bench::ready(Script::default()).await;
    bench.command(EncoderCommand::Watch).await;
    let begin = bench.clock.now();
    for look in 0..3 {
        assert!(matches!(
            bench.event().await,
            EncoderEvent::Polled(Poll::Empty)
        ));
        assert_eq!(
            bench.clock.now().since(begin),
            settings().poll_interval * look
        );
    }
    bench.command(EncoderCommand::Rest).await;
    bench.quiet(Duration::from_secs(1)).await;
    assert_eq!(bench.asked(), ["open", "poll", "poll", "poll", "rest"]);
}

#[tokio::test(start_paused = true)]
async fn a_resting_encoder_is_asked_whether_it_works() {
    let mut bench = Bench::ready(Script::default()).await;
    bench.quiet(Duration::from_secs(11)).await;
    assert_eq!(bench.asked(), ["open", "health", "health"]);
}

#[tokio::test(start_paused = true)]
async fn a_port_that_udev_opens_soon_is_no_fault_and_one_that_stays_closed_is() {
    for (closed_for, is_fault) in [(500, false), (1_900, false), (5_000, true)] {
        let until = Moment::ORIGIN + Duration::from_millis(closed_for);
        let mut bench = Bench::new(Script {
            closed_until: Some(until),
            ..Script::default()
        });
        let begin = bench.clock.now();
        if is_fault {
            let event = bench.event().await;
            let EncoderEvent::Fault { problem, .. } = event else {
                panic!("{event:?}");
            };
            assert!(problem.contains("dialout"), "{problem}");
            assert_eq!(bench.clock.now().since(begin), Duration::from_secs(2));
        }
        assert!(matches!(bench.event().await, EncoderEvent::Ready(_)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_writes_what_was_prepared() {
    let mut bench = Bench::prepared(Script::default()).await;
    let begin = bench.clock.now();
    bench
        .command(EncoderCommand::Commit { job_id: job() })
        .await;
    assert!(matches!(
        bench.event().await,
        EncoderEvent::Verifying { job_id } if job_id == job()
    ));
    assert!(matches!(
        bench.operation().await,
        Ok(OperationResult::Written)
    ));
    assert_eq!(bench.clock.now(), begin, "nothing delays the write");
    bench.quiet(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn verifying_and_reading_end_with_one_event_each() {
    let mut bench = Bench::ready(Script::default()).await;
    for (operation, asked) in [
        (CardOperation::Verify(image()), "verify"),
        (CardOperation::Read(ReadPlan::UidOnly), "read"),
    ] {
        bench.command(operate(operation)).await;
        bench.operation().await.unwrap();
        assert_eq!(bench.asked().last(), Some(&asked));
        bench.quiet(Duration::from_secs(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_abort_ends_a_preparation_at_once() {
    let mut bench = Bench::ready(Script {
        prepare_time: Duration::from_secs(60),
        ..Script::default()
    })
    .await;
    let begin = bench.clock.now();
    bench.command(prepare()).await;
    bench.command(EncoderCommand::Watch).await;
    bench.command(EncoderCommand::Abort { job_id: job() }).await;
    let error = bench.operation().await.unwrap_err();
    assert!(error.is_untouched());
    assert_eq!(bench.clock.now(), begin);
    assert!(
        matches!(bench.event().await, EncoderEvent::Polled(_)),
        "a command that came meanwhile is obeyed afterwards"
    );
}

#[tokio::test(start_paused = true)]
async fn another_jobs_abort_changes_nothing() {
    let mut bench = Bench::ready(Script {
        prepare_time: Duration::from_secs(1),
        ..Script::default()
    })
    .await;
    let other = EncoderCommand::Abort {
        job_id: JobId(Uuid::from_u128(2)),
    };
    bench.command(prepare()).await;
    bench.command(other.clone()).await;
    assert!(matches!(
        bench.operation().await,
        Ok(OperationResult::Prepared)
    ));
    bench.command(other).await;
    bench
        .command(EncoderCommand::Commit { job_id: job() })
        .await;
    assert!(matches!(
        bench.event().await,
        EncoderEvent::Verifying { .. }
    ));
}

#[tokio::test(start_paused = true)]
async fn a_held_card_is_given_up_on_abort_and_a_late_commit_writes_nothing() {
    let mut bench = Bench::prepared(Script::default()).await;
    bench.command(EncoderCommand::Abort { job_id: job() }).await;
    assert!(bench.operation().await.unwrap_err().is_untouched());
    bench
        .command(EncoderCommand::Commit { job_id: job() })
        .await;
    assert!(bench.operation().await.unwrap_err().is_untouched());
    bench.quiet(Duration::from_secs(1)).await;
    assert_eq!(bench.asked(), ["open", "prepare"]);
}

#[tokio::test(start_paused = true)]
async fn a_held_card_is_given_up_after_ten_seconds() {
    let mut bench = Bench::prepared(Script::default()).await;
    let begin = bench.clock.now();
    let error = bench.operation().await.unwrap_err();
    assert!(error.is_untouched());
    assert!(!error.card_left);
    assert_eq!(bench.clock.now().since(begin), Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn neither_abort_nor_shutdown_stops_a_write() {
    let mut bench = Bench::prepared(Script {
        write_time: Duration::from_secs(3),
        ..Script::default()
    })
    .await;
    let commit = EncoderCommand::Commit { job_id: job() };
    bench.command(commit).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    bench.command(EncoderCommand::Abort { job_id: job() }).await;
    bench.shutdown.cancel();
    assert!(matches!(
        bench.event().await,
        EncoderEvent::Verifying { .. }
    ));
    assert!(matches!(
        bench.operation().await,
        Ok(OperationResult::Written)
    ));
    bench.task.await.unwrap();
    let script = bench.script.lock().unwrap();
    assert_eq!(script.asked, ["open", "prepare", "write", "close"]);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_gives_up_what_was_not_begun() {
    let mut bench = Bench::prepared(Script::default()).await;
    bench.shutdown.cancel();
    assert!(bench.operation().await.unwrap_err().is_untouched());
    bench.task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_task_whose_events_nobody_takes_ends_all_the_same() {
    let bench = Bench::new(Script::default());
    bench.command(EncoderCommand::Watch).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    bench.shutdown.cancel();
    bench.task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_port_that_goes_away_while_a_card_is_held_leaves_it_untouched() {
    let mut bench = Bench::prepared(Script {
        lost_at: Some(Moment::after_origin(Duration::from_secs(2))),
        ..Script::default()
    })
    .await;
    let error = bench.operation().await.unwrap_err();
    assert!(error.is_untouched());
    assert_eq!(error.error.code, ErrorCode::EncoderNotOnline);
    bench.script.lock().unwrap().lost_at = None;
    assert!(matches!(bench.event().await, EncoderEvent::Fault { .. }));
    assert!(matches!(bench.event().await, EncoderEvent::Ready(_)));
}

#[tokio::test(start_paused = true)]
async fn a_port_that_goes_away_in_a_write_is_reported_once_and_opened_again() {
    let source = CardLinkError::PortGone("pulled".to_owned());
    let mut bench = Bench::prepared(Script {
        write_error: Some(WriteError {
            error: CardError::Link { at: None, source },
            changed: true,
        }),
        ..Script::default()
    })
    .await;
    bench
        .command(EncoderCommand::Commit { job_id: job() })
        .await;
    let error = bench.operation().await.unwrap_err();
    assert_eq!(error.error.touched, Touched::Unknown);
    assert!(!error.card_left);
    assert!(matches!(
        bench.event().await,
        EncoderEvent::Fault {
            code: ErrorCode::EncoderNotOnline,
            ..
        }
    ));
    assert!(matches!(bench.event().await, EncoderEvent::Ready(_)));
}

#[tokio::test(start_paused = true)]
async fn a_missing_encoder_is_tried_again_with_growing_pauses() {
    let mut bench = Bench::new(Script {
        unplugged: 6,
        ..Script::default()
    });
    let EncoderEvent::Fault { code, problem } = bench.event().await else {
        panic!("expected a fault");
    };
    assert_eq!(code, ErrorCode::EncoderNotOnline);
    assert!(problem.contains("plug the encoder in again"), "{problem}");
    bench.command(prepare()).await;
    let error = bench.operation().await.unwrap_err();
    assert!(error.is_untouched());
    assert_eq!(error.error.code, ErrorCode::EncoderNotOnline);
    bench.command(EncoderCommand::Watch).await;
    assert!(matches!(bench.event().await, EncoderEvent::Ready(_)));
    let pauses = [1, 2, 4, 8, 10, 10];
    assert_eq!(
        bench.clock.now().since_origin(),
        Duration::from_secs(pauses.iter().sum())
    );
    assert!(
        matches!(bench.event().await, EncoderEvent::Polled(_)),
        "what was asked meanwhile is remembered"
    );
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_commands_ends_the_task() {
    let bench = Bench::ready(Script::default()).await;
    drop(bench.commands);
    bench.task.await.unwrap();
}

fn gone() -> EncoderError {
    EncoderError::Port(PortError::Gone {
        path: PathBuf::from("/dev/ttyUSB0"),
    })
}

fn not_permitted() -> EncoderError {
    EncoderError::Port(PortError::NotPermitted {
        path: PathBuf::from("/dev/ttyUSB0"),
        group: Some("dialout".to_owned()),
    })
}

fn job() -> JobId {
    JobId(Uuid::from_u128(1))
}

fn image() -> CardImage {
    CardImage::MifareClassic(ClassicImage {
        sectors: Vec::new(),
    })
}

fn operate(operation: CardOperation) -> EncoderCommand {
    EncoderCommand::Operate {
        job_id: job(),
        uid: Some("deadbeef".parse().unwrap()),
        operation,
    }
}

fn prepare() -> EncoderCommand {
    operate(CardOperation::Prepare(image()))
}

fn settings() -> EncoderSettings {
    EncoderSettings {
        key: EncoderKey("port:scripted".to_owned()),
        key_scope: KeyScope::Agent,
        name: "Front Desk".to_owned(),
        driver: "pn532".to_owned(),
        port: PathBuf::from("/dev/ttyUSB0"),
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
