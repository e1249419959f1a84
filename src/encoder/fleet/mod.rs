//! The fleet: which encoders this agent drives, as devices come and go.
//!
//! Encoders that the configuration gives a port are there from the start and stay. Others are found: a device that is
//! surely of a family is opened, one that may be is asked where the configuration allows that, and what answers joins
//! under the key that it is recognised by. An encoder that is unplugged leaves, and comes back to the same place.

mod found;
mod trial;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use encoder_protocols::{moment::Moment, wire::EncoderKey};
use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::{
    sync::{mpsc, watch},
    task::{JoinError, JoinSet},
};
use tokio_util::sync::CancellationToken;

use self::trial::{Answered, Trials, Tried};
use super::{
    Attachment, EncoderCommand, EncoderEvent, EncoderId, EncoderSettings, Start, task::spawn,
};
use crate::{
    clock::Clock,
    discovery::{Access, Candidate, DiscoverySettings, Lister, Match, Verdict, Watcher},
    drivers::Driver,
    pulse::{Pulse, SignOfLife},
    transport::{Opener, same_node},
};

/// How many commands may wait for an encoder's task.
const CHANNEL_ROOM: usize = 64;

/// The shortest time between two looks without news.
const SOONEST: Duration = Duration::from_millis(500);

/// What a fleet is made of.
pub struct FleetParts {
    /// The encoders that the configuration gives a port, and their commands.
    pub configured: Vec<(EncoderSettings, mpsc::Receiver<EncoderCommand>)>,
    /// The keys of all encoders that are known at the start: first the configured ones in their order, then others. The
    /// place in the list is the [`EncoderId`].
    pub keys: Vec<EncoderKey>,
    /// The device families to look for.
    pub drivers: &'static [&'static dyn Driver],
    /// How devices are looked for.
    pub discovery: DiscoverySettings,
    /// Who lists them.
    pub lister: Lister,
    /// Who opens their ports.
    pub opener: Opener,
    /// The clock that moments are of.
    pub clock: Clock,
    /// The PC's name, for the names of encoders that nobody has named.
    pub hostname: String,
    /// Where encoders report.
    pub events: mpsc::Sender<(EncoderId, EncoderEvent)>,
    /// What changes while it runs.
    pub changes: mpsc::Receiver<FleetChange>,
    /// What is wrong with devices that are no encoders yet, in words.
    pub problems: watch::Sender<Vec<String>>,
    /// Where its tasks give their signs of life.
    pub pulse: Pulse,
}

/// Settings that were changed while the fleet runs.
#[derive(Clone, Debug)]
pub struct FleetChange {
    /// How devices are looked for from now on, where that is another way; whether they are looked for, and where, stays.
    pub discovery: Option<DiscoverySettings>,
    /// More encoders that have a port.
    pub added: Vec<EncoderSettings>,
}

/// The encoders of this agent.
pub struct Fleet {
    parts: FleetParts,
}

type Ended = BoxFuture<'static, (EncoderId, Result<(), JoinError>)>;

/// The fleet while it runs.
struct Running {
    parts: FleetParts,
    leave: CancellationToken,
    plugged: watch::Sender<()>,
    configured_ports: Vec<PathBuf>,
    tasks: FuturesUnordered<Ended>,
    /// Found encoders whose task runs, or has been told to end.
    live: BTreeMap<EncoderId, Live>,
    trials: Trials,
    trying: JoinSet<Tried>,
    /// Devices that answered while the task that they had before still ended.
    waiting: Vec<Answered>,
    /// What was attached when it was last looked.
    seen: Vec<Candidate>,
    /// It was said which listed encoders are not there.
    has_told_missing: bool,
    sign: SignOfLife,
}

/// A found encoder.
struct Live {
    instance: String,
    port: PathBuf,
    stop: CancellationToken,
}

/// What wakes the fleet.
enum Wake {
    Leave,
    Look { news: bool },
    Tried(Box<Tried>),
    Changed(Box<FleetChange>),
    Ended(EncoderId, Result<(), JoinError>),
}

impl Fleet {
    /// A fleet that is ready to run.
    pub fn new(parts: FleetParts) -> Self {
        Self { parts }
    }

    /// Runs until `leave` is cancelled, and then until the last encoder's task has ended. Ends earlier when a task ended
    /// that nobody had told to.
    pub async fn run(self, leave: CancellationToken) {
        let mut running = Running::new(self.parts, leave);
        running.start_configured();
        running.serve().await;
        running.end().await;
    }
}

impl Running {
    fn new(parts: FleetParts, leave: CancellationToken) -> Self {
        Self {
            sign: parts.pulse.task("discovery"),
            parts,
            leave: leave.child_token(),
            plugged: watch::Sender::new(()),
            configured_ports: Vec::new(),
            tasks: FuturesUnordered::new(),
            live: BTreeMap::new(),
            trials: Trials::default(),
            trying: JoinSet::new(),
            waiting: Vec::new(),
            seen: Vec::new(),
            has_told_missing: false,
        }
    }

    fn start_configured(&mut self) {
        let configured = std::mem::take(&mut self.parts.configured);
        for (index, (settings, commands)) in configured.into_iter().enumerate() {
            self.configured_ports.push(settings.port.clone());
            let stop = self.leave.clone();
            self.spawn(EncoderId(index), settings, None, commands, stop);
        }
    }

    async fn serve(&mut self) {
        let is_enabled = self.parts.discovery.enabled;
        let mut watcher = Watcher::new(self.parts.discovery.nodes());
        let mut looked_at = None;
        loop {
            let look_at = self.look_at(looked_at, watcher.interval());
            let wake = tokio::select! {
                never = self.sign.answer() => match never {},
                () = self.leave.cancelled() => Wake::Leave,
                Some((id, ended)) = self.tasks.next() => Wake::Ended(id, ended),
                Some(tried) = self.trying.join_next() => match tried {
                    Ok(tried) => Wake::Tried(Box::new(tried)),
                    // Trying a device panicked: its cause is in the log, and the agent ends as for any other part.
                    Err(_) => Wake::Leave,
                },
                Some(change) = self.parts.changes.recv() => Wake::Changed(Box::new(change)),
                () = watcher.changed() => Wake::Look { news: true },
                () = self.parts.clock.sleep_until(look_at), if is_enabled => Wake::Look { news: false },
            };
            match wake {
                Wake::Leave => return,
                Wake::Ended(id, ended) => {
                    if !self.ended(id, ended).await {
                        return;
                    }
                }
                Wake::Tried(tried) => self.tried(*tried).await,
                Wake::Changed(change) => {
                    self.change(*change).await;
                    looked_at = None;
                }
                Wake::Look { news } => {
                    if news {
                        self.plugged.send_replace(());
                    }
                    if is_enabled {
                        self.look().await;
                    }
                    looked_at = Some(self.parts.clock.now());
                }
            }
        }
    }

    /// Takes changed settings; encoders that are there keep theirs.
    async fn change(&mut self, change: FleetChange) {
        if let Some(discovery) = change.discovery {
            self.parts.discovery = discovery;
            self.has_told_missing = false;
        }
        for settings in change.added {
            let id = self.id_of(&settings.key);
            let (commands, commanded) = mpsc::channel(CHANNEL_ROOM);
            self.configured_ports.push(settings.port.clone());
            let attachment = Attachment {
                settings: settings.clone(),
                commands,
            };
            self.emit(id, EncoderEvent::Attached(Box::new(attachment)))
                .await;
            let stop = self.leave.clone();
            self.spawn(id, settings, None, commanded, stop);
        }
    }

    /// When to look again without news.
    fn look_at(&self, looked_at: Option<Moment>, interval: Duration) -> Moment {
        let Some(looked_at) = looked_at else {
            return self.parts.clock.now();
        };
        let regular = looked_at + interval;
        match self.trials.next_due() {
            Some(due) => due.max(looked_at + SOONEST).min(regular),
            None => regular,
        }
    }

    /// Lets all tasks end.
    async fn end(&mut self) {
        self.leave.cancel();
        self.waiting.clear();
        while self.sign.during(self.trying.join_next()).await.is_some() {}
        while self.sign.during(self.tasks.next()).await.is_some() {}
    }

    /// A task ended; false when it should not have.
    async fn ended(&mut self, id: EncoderId, ended: Result<(), JoinError>) -> bool {
        let told = self
            .live
            .remove(&id)
            .is_some_and(|live| live.stop.is_cancelled());
        if !told || ended.is_err() {
            return false;
        }
        self.emit(id, EncoderEvent::Detached).await;
        for answered in std::mem::take(&mut self.waiting) {
            self.join(answered).await;
        }
        true
    }

    /// Looks what is attached, lets go of what is not any more, and tries what is new.
    async fn look(&mut self) {
        let lister = self.parts.lister.clone();
        let listing = tokio::task::spawn_blocking(move || lister.list());
        let listed = self.sign.during(listing).await;
        self.seen = match listed {
            Ok(Ok(candidates)) => candidates,
            Ok(Err(error)) => {
                tracing::debug!(%error, "the system does not tell what is attached");
                return;
            }
            Err(_) => return,
        };
        let present = |instance: &str| {
            let mut seen = self.seen.iter();
            seen.any(|candidate| {
                candidate.instance == instance && candidate.access != Access::Missing
            })
        };
        for live in self.live.values().filter(|live| !present(&live.instance)) {
            if !live.stop.is_cancelled() {
                tracing::info!(port = %live.port.display(), "an encoder was unplugged");
                live.stop.cancel();
            }
        }
        self.waiting
            .retain(|answered| present(&answered.candidate.instance));
        self.trials.retain(present);
        self.tell_missing();
        self.try_all();
        self.tell_problems();
    }

    /// Says once at the start which listed encoders are not plugged in, so that a mistyped key is noticed.
    fn tell_missing(&mut self) {
        if std::mem::replace(&mut self.has_told_missing, true) {
            return;
        }
        for listed in self.parts.discovery.missing(&self.seen) {
            tracing::warn!(
                name = %listed.name, key = %listed.key,
                "an encoder of the configuration is not plugged in, or `key` is not its key: `encoder-agent devices` prints every one"
            );
        }
    }

    fn try_all(&mut self) {
        let now = self.parts.clock.now();
        for candidate in &self.seen {
            if self.is_taken(candidate) || !self.trials.is_due(candidate, now) {
                continue;
            }
            let discovery = &self.parts.discovery;
            let found = Match::among(self.parts.drivers, candidate);
            let drivers = discovery.allowed(self.parts.drivers, candidate, &found);
            if drivers.is_empty() {
                self.trials.pass_over(candidate, &found);
                continue;
            }
            let listed = discovery.listed_as(candidate);
            let is_exact = listed.is_some() || matches!(found.verdict, Verdict::Exact(_));
            match &candidate.access {
                Access::Missing => {}
                Access::NotPermitted { group } => {
                    self.trials
                        .not_permitted(now, candidate, group.clone(), is_exact);
                }
                Access::Permitted => {
                    self.trials.begin(&candidate.instance, is_exact);
                    let ways = drivers
                        .into_iter()
                        .map(|driver| trial::way(candidate, driver, listed));
                    self.trying.spawn(trial::try_drivers(
                        candidate.clone(),
                        ways.collect(),
                        self.parts.opener.clone(),
                        self.parts.clock,
                        self.leave.child_token(),
                    ));
                }
            }
        }
    }

    /// Whether somebody in this agent has the device already, or is about to.
    fn is_taken(&self, candidate: &Candidate) -> bool {
        let is_candidate = |path: &Path| same_node(path, &candidate.port);
        self.live
            .values()
            .any(|live| live.instance == candidate.instance)
            || self
                .waiting
                .iter()
                .any(|other| other.candidate.instance == candidate.instance)
            || self.configured_ports.iter().any(|port| is_candidate(port))
    }

    async fn tried(&mut self, tried: Tried) {
        let now = self.parts.clock.now();
        match tried {
            Tried::Answered(answered) => {
                self.trials.answered(&answered.candidate.instance);
                self.join(*answered).await;
            }
            Tried::Failed {
                candidate,
                failures,
            } => self.trials.failed(now, &candidate, &failures),
        }
        self.tell_problems();
    }

    fn spawn(
        &mut self,
        id: EncoderId,
        settings: EncoderSettings,
        opened: Option<Box<dyn crate::drivers::Encoder>>,
        commands: mpsc::Receiver<EncoderCommand>,
        shutdown: CancellationToken,
    ) {
        let sign = self.parts.pulse.task(format!("encoder {}", settings.name));
        let task = spawn(Start {
            id,
            settings,
            clock: self.parts.clock,
            opener: self.parts.opener.clone(),
            opened,
            plugged: self.plugged.subscribe(),
            commands,
            events: self.parts.events.clone(),
            shutdown,
            sign,
        });
        self.tasks.push(Box::pin(async move { (id, task.await) }));
    }

    fn tell_problems(&self) {
        let problems = self.trials.problems();
        self.parts.problems.send_if_modified(|told| {
            let differs = *told != problems;
            *told = problems;
            differs
        });
    }

    async fn emit(&mut self, id: EncoderId, event: EncoderEvent) {
        // Nobody listens any more only when the agent ends.
        let taken = self.parts.events.send((id, event));
        let _ = self.sign.during(taken).await;
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests;
