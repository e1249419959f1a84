//! The runner with real channels and a real journal.

use std::time::Duration;

use encoder_protocols::{
    card::ReadPlan,
    wire::{AgentMessage, CardPlan, Outcome, Plan, ServiceMessage},
};
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::bench::{Bench, card, image, nothing_read, settings, uid};
use crate::{
    clock::Clock,
    encoder::{EncoderCommand, EncoderEvent, EncoderId, EncoderIdentity, OperationResult, Poll},
    jobs::{AgentFacts, Jobs, Now, Runner},
    journal::{Journal, JournalContents},
    pulse::{Pulse, SignOfLife, tests::beats},
    session::{Outgoing, SessionEvent},
};

/// The far ends of a runner's channels, each of which holds one message only.
struct Ends {
    session: mpsc::Sender<SessionEvent>,
    outgoing: mpsc::Receiver<Outgoing>,
    commands: mpsc::Receiver<EncoderCommand>,
    encoder: mpsc::Sender<(EncoderId, EncoderEvent)>,
    shutdown: CancellationToken,
    running: JoinHandle<()>,
    clock: Clock,
}

fn start(dir: &std::path::Path) -> Ends {
    let (journal, contents) = Journal::open(dir, Clock::start().utc()).unwrap();
    start_with(journal, contents, SignOfLife::default())
}

fn start_with(journal: Journal, contents: JournalContents, sign: SignOfLife) -> Ends {
    let clock = Clock::start();
    let now = Now {
        at: clock.now(),
        utc: clock.utc(),
    };
    let facts = AgentFacts {
        boot_id: Uuid::from_u128(1),
        version: "1".into(),
        os: "test".into(),
        hostname: "desk".into(),
    };
    let jobs = Jobs::recover(facts, &[settings("desk", true)], contents, now);
    let (session, session_events) = mpsc::channel(1);
    let (outgoing, sent) = mpsc::channel(1);
    let (commands, commanded) = mpsc::channel(1);
    let (encoder, encoder_events) = mpsc::channel(1);
    let shutdown = CancellationToken::new();
    let runner = Runner {
        jobs,
        journal,
        clock,
        session_events,
        outgoing,
        encoders: vec![commands],
        device_problems: tokio::sync::watch::channel(Vec::new()).1,
        encoder_events,
        desk: mpsc::channel(1).1,
        shutdown: shutdown.clone(),
        sign,
    };
    Ends {
        session,
        outgoing: sent,
        commands: commanded,
        encoder,
        shutdown,
        running: tokio::spawn(runner.run()),
        clock,
    }
}

impl Ends {
    async fn say(&self, message: ServiceMessage) {
        let event = SessionEvent::Message {
            connection: 1,
            message,
        };
        self.session.send(event).await.unwrap();
    }

    async fn connect(&mut self) {
        let connected = SessionEvent::Connected { connection: 1 };
        self.session.send(connected).await.unwrap();
        assert!(matches!(self.heard().await, AgentMessage::Hello(_)));
        let welcome = encoder_protocols::wire::Welcome {
            session_id: Uuid::from_u128(7),
            store_id: Uuid::from_u128(8),
            last_sequence: 0,
            journal_behind: false,
            heartbeat_ms: 15_000,
            server_time: self.clock.utc(),
            next_pins: None,
        };
        self.say(ServiceMessage::Welcome(welcome)).await;
    }

    async fn report(&self, event: EncoderEvent) {
        self.encoder.send((EncoderId(0), event)).await.unwrap();
    }

    async fn heard(&mut self) -> AgentMessage {
        let heard = timeout(Duration::from_secs(20), self.outgoing.recv());
        heard.await.unwrap().unwrap().message
    }

    /// The next message that `wanted` takes; others are passed over.
    async fn until<T>(&mut self, wanted: impl Fn(AgentMessage) -> Option<T>) -> T {
        loop {
            if let Some(found) = wanted(self.heard().await) {
                return found;
            }
        }
    }

    async fn commanded(&mut self, wanted: impl Fn(&EncoderCommand) -> bool) {
        loop {
            let command = timeout(Duration::from_secs(20), self.commands.recv());
            if wanted(&command.await.unwrap().unwrap()) {
                return;
            }
        }
    }

    async fn outcome(&mut self) -> encoder_protocols::wire::JobFinished {
        self.until(|message| match message {
            AgentMessage::JobFinished(finished) => Some(finished),
            _ => None,
        })
        .await
    }
}

fn ready() -> EncoderEvent {
    EncoderEvent::Ready(EncoderIdentity {
        model: None,
        serial: None,
        firmware: None,
        abilities: encoder_protocols::wire::Abilities {
            encode: true,
            scan: true,
            makes_keys: false,
            technologies: vec![],
        },
    })
}

/// An encode as far as the commit of its write.
async fn encode_to_commit(ends: &mut Ends) -> encoder_protocols::wire::JobId {
    ends.report(ready()).await;
    ends.connect().await;
    let mut job = Bench::new().encode_job(1, 1);
    let shift = ends.clock.utc().duration_since(job.server_time);
    job.created_at += shift;
    job.deadline += shift;
    job.server_time += shift;
    let job_id = job.job_id;
    ends.say(ServiceMessage::Job(job)).await;
    ends.commanded(|command| matches!(command, EncoderCommand::Watch))
        .await;
    ends.report(EncoderEvent::Polled(Poll::Card(card(1)))).await;
    ends.until(|message| matches!(message, AgentMessage::CardPresented(_)).then_some(()))
        .await;
    let plan = Plan::Write { image: image() };
    ends.say(ServiceMessage::CardPlan(CardPlan {
        job_id,
        n: 1,
        uid: Some(uid(1)),
        plan,
    }))
    .await;
    ends.commanded(|command| matches!(command, EncoderCommand::Operate { .. }))
        .await;
    let result = Ok(OperationResult::Prepared);
    ends.report(EncoderEvent::Operation { job_id, result })
        .await;
    ends.commanded(|command| matches!(command, EncoderCommand::Commit { .. }))
        .await;
    job_id
}

#[tokio::test]
async fn an_encode_runs_over_channels_that_hold_one_message() {
    let dir = tempfile::tempdir().unwrap();
    let mut ends = start(dir.path());
    let job_id = encode_to_commit(&mut ends).await;
    let result = Ok(OperationResult::Written);
    ends.report(EncoderEvent::Operation { job_id, result })
        .await;
    assert_eq!(ends.outcome().await.outcome, Outcome::Success);
    ends.shutdown.cancel();
    ends.running.await.unwrap();
    let (_journal, contents) = Journal::open(dir.path(), ends.clock.utc()).unwrap();
    assert_eq!(contents.unacknowledged.len(), 1);
    assert_eq!(contents.guards.len(), 1);
}

#[tokio::test]
async fn a_stop_waits_for_the_running_write_and_its_report() {
    let dir = tempfile::tempdir().unwrap();
    let mut ends = start(dir.path());
    let job_id = encode_to_commit(&mut ends).await;
    ends.shutdown.cancel();
    // The encoder is told to look for cards no longer once the stop has reached the jobs.
    ends.commanded(|command| matches!(command, EncoderCommand::Rest))
        .await;
    assert!(!ends.running.is_finished());
    let result = Ok(OperationResult::Written);
    ends.report(EncoderEvent::Operation { job_id, result })
        .await;
    assert_eq!(ends.outcome().await.outcome, Outcome::Success);
    ends.running.await.unwrap();
}

#[tokio::test]
async fn a_silent_session_does_not_hold_up_the_encoders() {
    let dir = tempfile::tempdir().unwrap();
    let mut ends = start(dir.path());
    ends.connect().await;
    // Nobody takes the inventories that these changes cause.
    for _ in 0..20 {
        ends.report(ready()).await;
    }
    let mut scan = Bench::new().encode_job(1, 1);
    scan.kind = encoder_protocols::wire::JobKind::Scan;
    scan.credential_id = None;
    let job_id = scan.job_id;
    ends.say(ServiceMessage::Job(scan)).await;
    ends.commanded(|command| matches!(command, EncoderCommand::Watch))
        .await;
    ends.report(EncoderEvent::Polled(Poll::Card(card(1)))).await;
    ends.until(|message| matches!(message, AgentMessage::CardPresented(_)).then_some(()))
        .await;
    ends.say(ServiceMessage::CardPlan(CardPlan {
        job_id,
        n: 1,
        uid: Some(uid(1)),
        plan: Plan::Read {
            plan: ReadPlan::UidOnly,
        },
    }))
    .await;
    ends.commanded(|command| matches!(command, EncoderCommand::Operate { .. }))
        .await;
    let result = Ok(nothing_read());
    ends.report(EncoderEvent::Operation { job_id, result })
        .await;
    assert_eq!(ends.outcome().await.job_id, job_id);
}

#[tokio::test]
async fn a_timer_of_the_machine_fires() {
    let dir = tempfile::tempdir().unwrap();
    let mut ends = start(dir.path());
    ends.report(ready()).await;
    ends.connect().await;
    let mut job = Bench::new().encode_job(1, 1);
    job.card_wait_ms = 20;
    ends.say(ServiceMessage::Job(job)).await;
    let error = ends.outcome().await.error.unwrap();
    assert_eq!(
        error.code,
        encoder_protocols::wire::ErrorCode::NoCardOnEncoder
    );
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_cannot_be_written_or_hangs_is_no_want_of_life() {
    let (contents, hanging, _held) = Journal::hanging();
    let (read_only, _) = Journal::read_only();
    for journal in [read_only, hanging] {
        let pulse = Pulse::default();
        let mut ends = start_with(journal, contents.clone(), pulse.task("jobs"));
        ends.report(ready()).await;
        ends.connect().await;
        ends.say(ServiceMessage::Job(Bench::new().encode_job(1, 1)))
            .await;
        // The runtime's time may run on while the journal's thread answers, which knows nothing of it.
        let beats = beats(&pulse, Duration::from_secs(605)).await;
        assert!((55..=60).contains(&beats), "{beats}");
        assert!(pulse.silent().borrow().is_empty());
    }
}
