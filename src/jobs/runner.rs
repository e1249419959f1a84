//! The task around the machine: it waits for whatever comes first and carries out what the machine wants.

mod asked;

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use tokio::{
    sync::{
        mpsc::{self, error::TrySendError},
        oneshot, watch,
    },
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use encoder_protocols::{moment::Moment, wire::JobId};

use super::{
    action::{Action, JobEnd, Now},
    loan::{DeskRequest, Lent},
    machine::Jobs,
};
use crate::{
    clock::Clock,
    encoder::{EncoderCommand, EncoderEvent, EncoderId},
    journal::{Journal, JournalError},
    pulse::SignOfLife,
    session::{Outgoing, SessionEvent},
    status::Tally,
};

/// How often outcomes beyond their retention are forgotten.
const COMPACT_EVERY: Duration = Duration::from_secs(60 * 60);

/// How soon a command is tried again that an encoder's full channel did not take.
const COMMAND_RETRY: Duration = Duration::from_millis(5);

/// How long a stopping agent waits for a running write, and for its outcome to go out.
const DRAIN_FOR: Duration = Duration::from_secs(20);

/// Everything that the jobs are wired to.
#[derive(Debug)]
pub struct Runner {
    /// The machine, recovered from the journal's contents.
    pub jobs: Jobs,
    /// The journal.
    pub journal: Journal,
    /// The clock that the machine's moments are of.
    pub clock: Clock,
    /// What the session tells.
    pub session_events: mpsc::Receiver<SessionEvent>,
    /// Where messages go.
    pub outgoing: mpsc::Sender<Outgoing>,
    /// The tasks of the encoders that are there from the start, in the order of their [`EncoderId`]s.
    pub encoders: Vec<mpsc::Sender<EncoderCommand>>,
    /// What is wrong with devices that are no encoders yet.
    pub device_problems: watch::Receiver<Vec<String>>,
    /// What the encoder tasks report.
    pub encoder_events: mpsc::Receiver<(EncoderId, EncoderEvent)>,
    /// What is asked at the desk.
    pub desk: mpsc::Receiver<DeskRequest>,
    /// Cancelled when the agent is to stop.
    pub shutdown: CancellationToken,
    /// Its sign of life.
    pub sign: SignOfLife,
}

/// What wakes the runner.
enum Wake {
    Session(SessionEvent),
    Encoder(EncoderId, EncoderEvent),
    Timeout,
    Compact,
    /// Other devices than before do not work.
    DeviceProblems,
    /// A message of the backlog can be sent.
    Room,
    /// A command that was not taken may be now.
    Retry,
    /// Somebody asks something at the desk.
    Desk(DeskRequest),
    /// A borrowed encoder is given back.
    Returned(EncoderId),
    Shutdown,
    /// The session's task is gone.
    SessionGone,
    /// All encoder tasks are gone.
    EncodersGone,
}

impl Runner {
    /// Runs until `shutdown`; then a running write goes on to its end and its outcome is sent. Closes the journal.
    ///
    /// Every channel may be bounded: the runner never waits for room in one while another has something for it.
    pub async fn run(self) {
        let mut running = Running {
            compact_at: self.clock.now() + COMPACT_EVERY,
            journal_problem: None,
            messages: VecDeque::new(),
            roads: self.encoders.iter().cloned().map(Road::to).collect(),
            session_open: true,
            loans: BTreeMap::new(),
            returns: mpsc::unbounded_channel(),
            ends: BTreeMap::new(),
            tally: Tally::default(),
            runner: self,
        };
        running.serve().await;
        running.drain().await;
        let Self {
            journal, mut sign, ..
        } = running.runner;
        sign.during(journal.close()).await;
    }
}

struct Running {
    runner: Runner,
    compact_at: Moment,
    /// What the journal said last, so that it is logged once.
    journal_problem: Option<JournalError>,
    session_open: bool,
    /// Messages for which the session had no room yet.
    messages: VecDeque<Outgoing>,
    /// The roads to the encoders, by their [`EncoderId`]s.
    roads: Vec<Road>,
    /// The encoders that are lent.
    loans: BTreeMap<EncoderId, Lent>,
    /// Which of them are given back.
    returns: (
        mpsc::UnboundedSender<EncoderId>,
        mpsc::UnboundedReceiver<EncoderId>,
    ),
    /// Who waits for the end of a job that was cancelled at the desk.
    ends: BTreeMap<JobId, oneshot::Sender<JobEnd>>,
    tally: Tally,
}

/// The road to an encoder's task.
#[derive(Default)]
struct Road {
    /// None while the encoder is not plugged in.
    commands: Option<mpsc::Sender<EncoderCommand>>,
    /// Commands for which there was no room yet.
    waiting: VecDeque<EncoderCommand>,
}

impl Road {
    fn to(commands: mpsc::Sender<EncoderCommand>) -> Self {
        Self {
            commands: Some(commands),
            waiting: VecDeque::new(),
        }
    }

    /// Hands on what waits, as far as there is room. What is for a task that is no more goes to nobody: its end is
    /// reported, and tells the machine.
    fn hand_on(&mut self) {
        let Some(commands) = &self.commands else {
            return self.waiting.clear();
        };
        while let Some(command) = self.waiting.pop_front() {
            if let Err(TrySendError::Full(command)) = commands.try_send(command) {
                self.waiting.push_front(command);
                return;
            }
        }
    }
}

impl Running {
    async fn serve(&mut self) {
        self.carry_out().await;
        loop {
            let wake = self.next().await;
            if matches!(
                wake,
                Wake::Shutdown | Wake::SessionGone | Wake::EncodersGone
            ) {
                return;
            }
            self.handle(wake).await;
        }
    }

    /// Lets a running write end and its outcome go out.
    async fn drain(&mut self) {
        let now = self.now();
        self.runner.jobs.drain(now);
        self.carry_out().await;
        self.recall_loans();
        self.runner.shutdown = CancellationToken::new();
        let drained = timeout(DRAIN_FOR, async {
            while !(self.runner.jobs.is_drained()
                && self.messages.is_empty()
                && self.loans.is_empty())
            {
                let wake = self.next().await;
                if matches!(wake, Wake::EncodersGone) {
                    return;
                }
                self.handle(wake).await;
            }
        });
        if drained.await.is_err() {
            tracing::warn!(
                "a write or its report has not ended within {} s; the agent stops and looks at the card at its next start",
                DRAIN_FOR.as_secs()
            );
        }
    }

    async fn next(&mut self) -> Wake {
        let wake_at = self.runner.jobs.poll_timeout();
        let clock = self.runner.clock;
        let commands_wait = self.roads.iter().any(|road| !road.waiting.is_empty());
        let runner = &mut self.runner;
        tokio::select! {
            biased;
            never = runner.sign.answer() => match never {},
            event = runner.encoder_events.recv() => match event {
                Some((id, event)) => Wake::Encoder(id, event),
                None => Wake::EncodersGone,
            },
            event = runner.session_events.recv(), if self.session_open => match event {
                Some(event) => Wake::Session(event),
                None => {
                    self.session_open = false;
                    Wake::SessionGone
                }
            },
            room = runner.outgoing.reserve(), if !self.messages.is_empty() => {
                match (room, self.messages.pop_front()) {
                    (Ok(permit), Some(message)) => permit.send(message),
                    (Err(_), _) => self.messages.clear(),
                    (Ok(_), None) => {}
                }
                Wake::Room
            }
            Ok(()) = runner.device_problems.changed() => Wake::DeviceProblems,
            Some(id) = self.returns.1.recv() => Wake::Returned(id),
            Some(request) = runner.desk.recv() => Wake::Desk(request),
            () = clock.sleep_until(wake_at.unwrap_or_default()), if wake_at.is_some() => Wake::Timeout,
            () = tokio::time::sleep(COMMAND_RETRY), if commands_wait => Wake::Retry,
            () = clock.sleep_until(self.compact_at) => Wake::Compact,
            () = runner.shutdown.cancelled() => Wake::Shutdown,
        }
    }

    async fn handle(&mut self, wake: Wake) {
        let now = self.now();
        match wake {
            Wake::Session(event) => self.runner.jobs.handle_session(now, event),
            Wake::Encoder(id, event) => {
                self.pave(id, &event);
                self.encoder_event(now, id, event);
            }
            Wake::DeviceProblems => {
                let problems = self.runner.device_problems.borrow_and_update().clone();
                self.runner.jobs.handle_device_problems(problems);
            }
            Wake::Timeout => self.runner.jobs.handle_timeout(now),
            Wake::Compact => self.compact(now).await,
            Wake::Retry => self.retry_commands(),
            Wake::Desk(request) => self.ask(now, request).await,
            Wake::Returned(id) => {
                self.loans.remove(&id);
                self.runner.jobs.give_back(now, id);
            }
            Wake::Room | Wake::Shutdown | Wake::SessionGone | Wake::EncodersGone => {}
        }
        self.carry_out().await;
        self.recall_wanted();
    }

    /// Carries out everything that the machine wants, in order.
    async fn carry_out(&mut self) {
        while let Some(action) = self.runner.jobs.poll_action() {
            match action {
                Action::Persist(records) => {
                    let Runner { journal, sign, .. } = &mut self.runner;
                    let result = sign.during(journal.append(records)).await;
                    self.log_journal(result.as_ref().err());
                    let now = self.now();
                    self.runner.jobs.handle_stored(now, result);
                }
                Action::Recall(recall) => {
                    let Runner { journal, sign, .. } = &mut self.runner;
                    let result = sign.during(journal.recall(recall)).await;
                    if let Err(error) = &result {
                        tracing::error!(%error, "the journal could not be read");
                    }
                    let now = self.now();
                    self.runner.jobs.handle_recalled(now, result);
                }
                Action::Send(message) => self.send(message),
                Action::Command(id, command) => self.command(id, command),
                Action::Ended(end) => self.ended(end),
            }
        }
    }

    /// Forgets what is beyond its retention by the coordinator's clock: this PC's may be set at any time.
    async fn compact(&mut self, now: Now) {
        self.compact_at = now.at + COMPACT_EVERY;
        let Some(utc) = self.runner.jobs.coordinator_time(now.at) else {
            return;
        };
        let Runner { journal, sign, .. } = &mut self.runner;
        if let Err(error) = sign.during(journal.compact(utc)).await {
            tracing::warn!(%error, "old outcomes could not be forgotten; trying again later");
        }
    }

    /// Says once that the journal cannot be written, and once that it can be again.
    fn log_journal(&mut self, problem: Option<&JournalError>) {
        if self.journal_problem.as_ref() == problem {
            return;
        }
        match problem {
            Some(error) => tracing::error!(%error, "the journal could not be written"),
            None => tracing::info!("the journal can be written again"),
        }
        self.journal_problem = problem.cloned();
    }

    /// Takes the end of a job.
    fn ended(&mut self, end: JobEnd) {
        log_end(&end);
        self.tally.count(&end, self.runner.clock.utc());
        if let Some(waiting) = self.ends.remove(&end.job_id) {
            // Whoever cancelled it may have gone.
            let _ = waiting.send(end);
        }
    }

    fn send(&mut self, message: Outgoing) {
        // What was made for an earlier connection would be dropped by the session anyway.
        self.messages
            .retain(|waiting| waiting.connection == message.connection);
        if !self.messages.is_empty() {
            self.messages.push_back(message);
            return;
        }
        if let Err(TrySendError::Full(message)) = self.runner.outgoing.try_send(message) {
            self.messages.push_back(message);
        }
    }

    /// Keeps the roads to the encoders as they come and go.
    fn pave(&mut self, id: EncoderId, event: &EncoderEvent) {
        let road = match event {
            EncoderEvent::Attached(attachment) => Road::to(attachment.commands.clone()),
            EncoderEvent::Detached => Road::default(),
            EncoderEvent::Ready(_)
            | EncoderEvent::Fault { .. }
            | EncoderEvent::Polled(_)
            | EncoderEvent::Verifying { .. }
            | EncoderEvent::Operation { .. } => return,
        };
        if self.roads.len() <= id.0 {
            self.roads.resize_with(id.0 + 1, Road::default);
        }
        if let Some(place) = self.roads.get_mut(id.0) {
            *place = road;
        }
    }

    fn command(&mut self, id: EncoderId, command: EncoderCommand) {
        if let Some(road) = self.roads.get_mut(id.0) {
            road.waiting.push_back(command);
            road.hand_on();
        }
    }

    fn retry_commands(&mut self) {
        self.roads.iter_mut().for_each(Road::hand_on);
    }

    fn now(&self) -> Now {
        Now {
            at: self.runner.clock.now(),
            utc: self.runner.clock.utc(),
        }
    }
}

fn log_end(end: &JobEnd) {
    tracing::info!(
        job = %end.job_id,
        encoder = %end.encoder_key,
        kind = ?end.kind,
        outcome = end.error.map_or("success", encoder_protocols::wire::ErrorCode::as_str),
        touched = ?end.touched,
        queued_ms = milliseconds(end.queued),
        waited_ms = milliseconds(end.waited),
        planned_ms = milliseconds(end.planned),
        worked_ms = milliseconds(end.worked),
        "job ended"
    );
}

fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10_000.0).round() / 10.0
}
