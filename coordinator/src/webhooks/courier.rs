//! The task that sends deliveries: looks what is due, sends it, stores what came of it.

use std::{collections::BTreeSet, fmt, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use axum::http::StatusCode;
use encoder_protocols::moment::Moment;
use futures_util::FutureExt as _;
use jiff::Timestamp;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::{Dispatch, Post, Sealed, next_attempt};
use crate::{
    clock::Clock,
    outbound::OutboundError,
    state::StopSignal,
    store::{
        Store, StoreError,
        deliveries::{self, Attempt, DeliveryState, Due},
        events, webhooks,
    },
};

/// How long a look at the store waits at most. So what another process wrote is found, and a clock that was set forward
/// is noticed.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long the service's stop waits for deliveries that are under way. Those that are cut off are sent again after the
/// next start.
const STOP_GRACE: Duration = Duration::from_secs(3);

/// How often ended deliveries are forgotten, and how many of each kind at a time.
const FORGET_EVERY: Duration = Duration::from_secs(60);
const FORGET_AT_ONCE: u32 = 1_000;

/// For how long accepted and given-up deliveries can be listed.
const KEEP_DELIVERED: Duration = Duration::from_secs(7 * 24 * 60 * 60);
const KEEP_FAILED: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The longest error that is stored, in characters.
const MAX_ERROR: usize = 300;

/// Sends the deliveries of a store.
pub struct Courier {
    store: Store,
    post: Arc<dyn Post>,
    dispatch: Dispatch,
    sends: JoinSet<Sent>,
    /// What came back and is not stored yet.
    unstored: Vec<Sent>,
    forgot_at: Option<Moment>,
}

impl fmt::Debug for Courier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Courier")
            .field("post", &self.post)
            .field("dispatch", &self.dispatch)
            .finish_non_exhaustive()
    }
}

/// A delivery that came back.
#[derive(Debug)]
struct Sent {
    webhook_id: Uuid,
    due: Due,
    result: Result<StatusCode, Failure>,
    took: Duration,
}

/// Why a delivery was not accepted.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Outbound(#[from] OutboundError),
    #[error("sending it failed inside this service; the log says why")]
    Panicked,
}

impl Courier {
    /// A courier that has sent nothing yet.
    pub fn new(store: Store, post: Arc<dyn Post>) -> Self {
        Self {
            store,
            post,
            dispatch: Dispatch::default(),
            sends: JoinSet::new(),
            unstored: Vec::new(),
            forgot_at: None,
        }
    }

    /// Sends what is due until the service stops.
    pub async fn run(mut self, clock: Clock, stop: StopSignal) {
        let mut written = self.store.written();
        while !stop.is_stopped() {
            written.mark_unchanged();
            let wait = self.turn_or_log(&clock).await;
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                // The store, and with it the sender, lives as long as the courier.
                _ = written.changed() => {}
                sent = self.next_sent() => self.unstored.push(sent),
                () = stop.stopped() => {}
            }
        }
        let rest = tokio::time::timeout(STOP_GRACE, async {
            while !self.sends.is_empty() {
                let sent = self.next_sent().await;
                self.unstored.push(sent);
            }
        });
        if rest.await.is_err() {
            tracing::info!(
                "webhook deliveries were under way; they are sent again after the next start"
            );
        }
        if let Err(error) = self.store_results(clock.utc()).await {
            tracing::error!(%error, "what came of webhook deliveries was not stored; they are sent again");
        }
    }

    /// One turn; returns how long to wait for the next at most.
    async fn turn_or_log(&mut self, clock: &Clock) -> Duration {
        let now = clock.utc();
        let turn = AssertUnwindSafe(async {
            let next = self.turn(now).await?;
            self.forget(clock).await.map(|()| next)
        });
        match turn.catch_unwind().await {
            Ok(Ok(Some(next))) => {
                let wait = Duration::try_from(next.duration_since(now)).unwrap_or_default();
                wait.min(LOOK_EVERY)
            }
            Ok(Ok(None)) => LOOK_EVERY,
            Ok(Err(error)) => {
                tracing::error!(%error, "webhook deliveries wait: the store failed");
                LOOK_EVERY
            }
            Err(_) => {
                tracing::error!("webhook deliveries wait: a turn of theirs panicked");
                LOOK_EVERY
            }
        }
    }

    /// Stores what came back and starts what is due. Returns when the next delivery is due that is not due yet.
    pub(super) async fn turn(&mut self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        while let Some(sent) = self.sends.try_join_next() {
            self.unstored.extend(joined(sent));
        }
        self.store_results(now).await?;
        let mut conn = self.store.read().await?;
        let waiting = deliveries::waiting(&mut conn, now).await?;
        drop(conn);
        let all: BTreeSet<_> = waiting.iter().map(|one| one.webhook_id).collect();
        self.dispatch.retain(&all);
        let due = waiting.iter().filter(|one| one.is_due);
        let mut order: Vec<_> = due.map(|one| one.webhook_id).collect();
        self.dispatch.order(&mut order);
        for webhook_id in order {
            if let Err(error) = self.start(webhook_id, now).await {
                // A row that cannot be read must not hold up the other webhooks.
                tracing::error!(%error, webhook = %webhook_id, "deliveries wait: the store failed");
            }
        }
        Ok(waiting.iter().filter_map(|one| one.next_at).min())
    }

    /// Starts as many due deliveries to a webhook as there is room for.
    async fn start(&mut self, webhook_id: Uuid, now: Timestamp) -> Result<(), StoreError> {
        let room = self.dispatch.room(webhook_id);
        if room == 0 {
            return Ok(());
        }
        let limit = room + self.dispatch.sending(webhook_id);
        let mut conn = self.store.read().await?;
        let due = deliveries::due(&mut conn, webhook_id, now, limit).await?;
        let key = self.store.master_key();
        let Some(webhook) = webhooks::by_id(&mut conn, key, webhook_id).await? else {
            return Ok(());
        };
        for due in due {
            if self.dispatch.room(webhook_id) == 0 {
                break;
            }
            let event = events::find(&mut conn, webhook.workspace_id, due.event_id).await?;
            if let Some(event) = event
                && self.dispatch.start(webhook_id, due.delivery_id)
            {
                let message = Sealed::new(&webhook, &event, now);
                self.sends
                    .spawn(send(webhook_id, due, self.post.post(message)));
            }
        }
        Ok(())
    }

    /// Waits for a delivery to come back; forever while none is under way.
    async fn next_sent(&mut self) -> Sent {
        loop {
            match self.sends.join_next().await {
                Some(result) => {
                    if let Some(sent) = joined(result) {
                        return sent;
                    }
                }
                None => std::future::pending().await,
            }
        }
    }

    /// Stores what came back, in one transaction. Until that is done the deliveries count as under way, so that they
    /// are not sent again.
    async fn store_results(&mut self, now: Timestamp) -> Result<(), StoreError> {
        if self.unstored.is_empty() {
            return Ok(());
        }
        let mut conn = self.store.write().await?;
        for sent in &self.unstored {
            let state = deliveries::settle(&mut conn, &attempt(sent, now)).await?;
            if state == Some(DeliveryState::Failed) {
                tracing::warn!(webhook = %sent.webhook_id, event = %sent.due.event_id, "a delivery is given up");
            }
        }
        conn.commit().await?;
        for sent in self.unstored.drain(..) {
            let accepted = is_accepted(&sent).then_some(sent.took);
            self.dispatch
                .end(sent.webhook_id, sent.due.delivery_id, accepted);
        }
        Ok(())
    }

    /// Forgets deliveries that ended long ago, now and then.
    async fn forget(&mut self, clock: &Clock) -> Result<(), StoreError> {
        let now = clock.now();
        if self.forgot_at.is_some_and(|at| now < at + FORGET_EVERY) {
            return Ok(());
        }
        let mut conn = self.store.write().await?;
        deliveries::forget(
            &mut conn,
            clock.utc(),
            KEEP_DELIVERED,
            KEEP_FAILED,
            FORGET_AT_ONCE,
        )
        .await?;
        conn.commit().await?;
        self.forgot_at = Some(now);
        Ok(())
    }
}

/// Sends one delivery and measures how long it takes. A panic in it becomes a failed attempt.
async fn send(
    webhook_id: Uuid,
    due: Due,
    posting: impl Future<Output = Result<StatusCode, OutboundError>>,
) -> Sent {
    let began = tokio::time::Instant::now();
    let result = match AssertUnwindSafe(posting).catch_unwind().await {
        Ok(result) => result.map_err(Failure::from),
        Err(_) => Err(Failure::Panicked),
    };
    Sent {
        webhook_id,
        due,
        result,
        took: began.elapsed(),
    }
}

/// The result of a task. None is ever cancelled while the courier lives, and panics are caught within.
fn joined(result: Result<Sent, tokio::task::JoinError>) -> Option<Sent> {
    result
        .inspect_err(|error| tracing::error!(%error, "a delivery's task is gone"))
        .ok()
}

fn is_accepted(sent: &Sent) -> bool {
    matches!(&sent.result, Ok(status) if status.is_success())
}

/// What is stored of an attempt.
fn attempt(sent: &Sent, now: Timestamp) -> Attempt {
    let error = match &sent.result {
        Ok(status) if status.is_success() => None,
        Ok(status) if status.is_redirection() => Some(format!(
            "status {}: redirects are not followed; give the webhook its final URL",
            status.as_u16()
        )),
        Ok(status) => Some(format!("status {}", status.as_u16())),
        Err(failure) => Some(failure.to_string().chars().take(MAX_ERROR).collect()),
    };
    let attempts = sent.due.attempts.saturating_add(1);
    Attempt {
        delivery_id: sent.due.delivery_id,
        at: now,
        status: sent.result.as_ref().ok().map(StatusCode::as_u16),
        retry_at: error.as_ref().and_then(|_| next_attempt(attempts, now)),
        error,
    }
}
