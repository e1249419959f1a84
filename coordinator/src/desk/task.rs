//! The task itself: it takes inputs in turn and keeps book and store together.

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::AssertUnwindSafe,
    sync::Arc,
    time::Duration,
};

use encoder_protocols::{moment::Moment, wire::JobId};
use futures_util::FutureExt as _;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{mpsc, watch};

use super::{Input, Outgoing, Problems, Round, Tally, asking::Asking, load};
use crate::{
    clock::Clock,
    jobs::{AgentId, Book, Greeting, SessionId},
    key_server::AskKeyServer,
    operator::Refused,
    store::{Store, StoreError, commands, meta},
};

/// How many inputs share one transaction at most.
const BATCH: usize = 64;
/// How often the operator's commands are looked for, and whether a store that failed can be written again: a revoked token
/// ends its session within a second.
const CHECK: Duration = Duration::from_millis(200);
/// How long a turn waits at least while key servers are asked about simulated cards.
const WHILE_ASKING: Duration = Duration::from_millis(100);
/// How many settled jobs and holds stay at hand.
const SETTLED_AT_HAND: usize = 2_000;
/// How far the time of day may run apart from the time that has passed before it counts as set anew.
const CLOCK_STEP: SignedDuration = SignedDuration::from_secs(1);

/// Why a turn changed nothing.
#[derive(Debug, thiserror::Error)]
enum TurnError {
    #[error("a decision panicked")]
    Panicked,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The desk's task.
pub(super) struct Task {
    pub(super) store: Store,
    pub(super) clock: Clock,
    pub(super) greeting: Greeting,
    /// None after a failed commit, until the store was read anew.
    pub(super) book: Option<Book>,
    pub(super) sessions: BTreeMap<SessionId, (AgentId, mpsc::Sender<Outgoing>)>,
    pub(super) commits: watch::Sender<u64>,
    /// Counts how often the task has come round.
    pub(super) rounds: watch::Sender<u64>,
    /// Whether decisions can be stored.
    pub(super) stores: watch::Sender<bool>,
    /// What agents said to be wrong with themselves.
    pub(super) problems: watch::Sender<Problems>,
    /// What is counted.
    pub(super) tally: Arc<Tally>,
    /// The time of day and the time that had passed, both at the last turn that was stored.
    pub(super) clocks: (Timestamp, Moment),
    /// Asks key servers.
    pub(super) asker: Arc<dyn AskKeyServer>,
    /// The questions under way.
    pub(super) asking: BTreeMap<JobId, Asking>,
    /// The simulated jobs that wait for a key server's answer.
    pub(super) asking_simulated: BTreeSet<JobId>,
    /// Where their answers go.
    pub(super) inputs: mpsc::WeakSender<Input>,
}

impl Task {
    pub(super) async fn run(mut self, mut inputs: mpsc::Receiver<Input>) {
        let mut check = tokio::time::interval(CHECK);
        check.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            self.rounds
                .send_modify(|count| *count = count.wrapping_add(1));
            tokio::select! {
                count = inputs.recv_many(&mut batch, BATCH) => if count == 0 { return },
                () = tokio::time::sleep(self.time_to_next_end()) => {}
                _ = check.tick() => {
                    self.recover().await;
                    self.obey_operator().await;
                    continue;
                }
            }
            self.turn(std::mem::take(&mut batch)).await;
            self.forget_problems();
            self.tally.set_sessions(self.sessions.len());
        }
    }

    /// One turn: everything in `batch`, in one transaction. Returns whether that was stored.
    async fn turn(&mut self, batch: Vec<Input>) -> bool {
        let mut book = match self.book.take() {
            Some(book) => book,
            None => match load(&self.store, self.clock).await {
                Ok(book) => book,
                Err(error) => {
                    self.failed(
                        &error,
                        "the store cannot be read; what was asked for is dropped",
                    );
                    return false;
                }
            },
        };
        let mut round = Round::default();
        let clocks = (self.clock.utc(), self.clock.now());
        let decided = AssertUnwindSafe(self.decide(&mut book, clocks, batch, &mut round));
        let decided = decided.catch_unwind().await;
        match decided.unwrap_or(Err(TurnError::Panicked)) {
            Ok(()) => {
                self.release(round, &mut book);
                book.forget_settled(SETTLED_AT_HAND);
                self.book = Some(book);
                self.clocks = clocks;
                self.commits
                    .send_modify(|count| *count = count.wrapping_add(1));
                true
            }
            Err(error) => {
                // The book is ahead of the store now: it is read anew, and the agents tell anew where they stand.
                self.sessions.clear();
                self.failed(
                    &error,
                    "a decision could not be stored; all sessions start anew",
                );
                false
            }
        }
    }

    async fn decide(
        &mut self,
        book: &mut Book,
        clocks: (Timestamp, Moment),
        batch: Vec<Input>,
        round: &mut Round,
    ) -> Result<(), TurnError> {
        let mut transaction = self.store.write().await?;
        if let Some(by) = clock_step(self.clocks, clocks) {
            tracing::warn!(%by, "the clock of this machine was set anew; what waits goes on for as long as it had left");
            let moved = book.clock_moved(by);
            let key = self.store.master_key();
            let now = self.clock.utc();
            round.carry_out(&mut transaction, key, now, moved).await?;
        }
        let due = book.tick(self.clock.utc());
        round
            .carry_out(
                &mut transaction,
                self.store.master_key(),
                self.clock.utc(),
                due,
            )
            .await?;
        self.simulate_due(book, &mut transaction, round).await?;
        for input in batch {
            self.take(book, &mut transaction, input, round).await?;
        }
        transaction.commit().await.map_err(StoreError::from)?;
        Ok(())
    }

    /// Lets messages and answers go, after the commit. A session that does not keep up is ended.
    fn release(&mut self, round: Round, book: &mut Book) {
        for (kind, ending) in round.ended {
            self.tally.count(kind, ending);
        }
        for (answer, result) in round.answers {
            let _ = answer.send(result);
        }
        for (answer, result) in round.greetings {
            let _ = answer.send(result);
        }
        for (session, outgoing) in round.outgoing {
            let Some((agent, outbox)) = self.sessions.get(&session) else {
                continue;
            };
            let ends = matches!(outgoing, Outgoing::End(_));
            let kept_up = outbox.try_send(outgoing).is_ok();
            if ends || !kept_up {
                book.session_lost(self.clock.utc(), *agent, session);
                self.sessions.remove(&session);
            }
        }
    }

    /// An agent that is away says nothing.
    fn forget_problems(&self) {
        let connected = |agent| self.sessions.values().any(|(live, _)| *live == agent);
        self.problems.send_if_modified(|problems| {
            let before = problems.len();
            problems.retain(|agent, _| connected(*agent));
            problems.len() != before
        });
    }

    fn time_to_next_end(&self) -> Duration {
        let due = self.book.as_ref().and_then(Book::next_due);
        let left = due.map(|due| due.duration_since(self.clock.utc()));
        let left = left.map_or(Duration::from_secs(3600), |left| {
            Duration::try_from(left).unwrap_or_default()
        });
        // The time of a simulated job that waits for an answer has come long ago.
        if self.asking_simulated.is_empty() {
            left
        } else {
            left.max(WHILE_ASKING)
        }
    }

    fn failed(&self, error: &(dyn std::error::Error + Sync), what: &str) {
        tracing::error!(%error, "{what}");
        self.stores
            .send_if_modified(|stores| std::mem::replace(stores, false));
    }

    /// Once a store that failed can be written again, the book is read anew and what was due meanwhile ends.
    async fn recover(&mut self) {
        if *self.stores.borrow() || !can_write(&self.store).await {
            return;
        }
        if self.turn(Vec::new()).await {
            self.stores.send_replace(true);
            tracing::info!("decisions can be stored again");
        }
    }

    /// Does what the operator asked for meanwhile, each command in a turn of its own, so that one that cannot be done
    /// takes nothing else with it.
    async fn obey_operator(&mut self) {
        let waiting = match self.store.read().await {
            Ok(mut conn) => commands::waiting(&mut conn).await,
            Err(error) => Err(error),
        };
        let Ok(waiting) = waiting else { return };
        for command in waiting {
            let id = command.id;
            if !self.turn(vec![Input::Operator(command)]).await {
                self.refuse_command(id).await;
            }
        }
    }

    /// Whoever asked is told; where even that cannot be stored, they see no answer and take the command back.
    async fn refuse_command(&self, id: i64) {
        let Ok(mut transaction) = self.store.write().await else {
            return;
        };
        let refused = commands::answer(&mut transaction, id, &Err(Refused::Failed)).await;
        if refused.is_ok() {
            let _ = transaction.commit().await;
        }
    }
}

async fn can_write(store: &Store) -> bool {
    let Ok(mut transaction) = store.write().await else {
        return false;
    };
    meta::touch(&mut transaction).await.is_ok() && transaction.commit().await.is_ok()
}

/// By how much the time of day moved more than time has passed, if it was set.
fn clock_step(before: (Timestamp, Moment), now: (Timestamp, Moment)) -> Option<SignedDuration> {
    let passed = SignedDuration::try_from(now.1.since(before.1)).unwrap_or(SignedDuration::MAX);
    let step = now.0.duration_since(before.0).saturating_sub(passed);
    (step.abs() >= CLOCK_STEP).then_some(step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_is_told_from_time_that_passes() {
        let start = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24);
        let at = |wall: i64, passed: u64| {
            let wall = start + SignedDuration::from_millis(wall);
            (wall, Moment::after_origin(Duration::from_millis(passed)))
        };
        let step = |wall, passed| clock_step(at(0, 0), at(wall, passed));
        assert_eq!(step(3_600_000, 3_600_000), None);
        assert_eq!(step(3_600_900, 3_600_000), None);
        assert_eq!(
            step(-3_590_000, 10_000),
            Some(SignedDuration::from_hours(-1))
        );
        assert_eq!(step(3_610_000, 10_000), Some(SignedDuration::from_hours(1)));
    }
}
