//! `encoder-coordinator webhook …`

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::{
    CliError,
    output::{self, Row},
    resource::{self, StoreArguments},
};
use crate::store::{
    deliveries::{self, DeliveryFilter, DeliveryRow, DeliveryState},
    events::{self, EventRow},
    webhooks::{self, WebhookRow},
};

#[derive(Args, Debug)]
pub(super) struct WebhookArguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the webhooks of a workspace, without their secrets
    List(List),
    /// List deliveries, the newest first: accepted ones are kept for 7 days, given-up ones for 30
    Deliveries(Deliveries),
    /// Send an event once more; a running service does so within a second
    Replay(Replay),
}

#[derive(Args, Debug)]
struct List {
    #[command(flatten)]
    store: StoreArguments,
    /// The workspace; may be left out where there is only one
    #[arg(long, value_name = "ID")]
    workspace: Option<Uuid>,
}

#[derive(Args, Debug)]
struct Deliveries {
    #[command(flatten)]
    store: StoreArguments,
    /// Only those of this workspace
    #[arg(long, value_name = "ID")]
    workspace: Option<Uuid>,
    /// Only those to this webhook
    #[arg(long, value_name = "ID")]
    webhook: Option<Uuid>,
    /// Only those of this event
    #[arg(long, value_name = "ID")]
    event: Option<Uuid>,
    /// Only those that stand there
    #[arg(long, value_enum)]
    state: Option<State>,
    /// The most to list
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u32,
}

/// The states of deliveries as the command line names them.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum State {
    /// Behind an earlier event of the same object
    Queued,
    /// To be sent when it is due
    Pending,
    /// Accepted by the endpoint
    Delivered,
    /// Given up after the last attempt
    Failed,
}

impl From<State> for DeliveryState {
    fn from(state: State) -> Self {
        match state {
            State::Queued => Self::Queued,
            State::Pending => Self::Pending,
            State::Delivered => Self::Delivered,
            State::Failed => Self::Failed,
        }
    }
}

#[derive(Args, Debug)]
struct Replay {
    #[command(flatten)]
    store: StoreArguments,
    /// The event's id
    event: Uuid,
    /// To this webhook, whichever types it takes; otherwise to all webhooks of its workspace that take its type
    #[arg(long, value_name = "ID")]
    webhook: Option<Uuid>,
}

impl WebhookArguments {
    pub(super) async fn run(self) -> Result<(), CliError> {
        match self.action {
            Action::List(list) => list.run().await,
            Action::Deliveries(deliveries) => deliveries.run().await,
            Action::Replay(replay) => replay.run().await,
        }
    }
}

impl List {
    async fn run(self) -> Result<(), CliError> {
        let (store, _) = self.store.open().await?;
        let mut conn = store.read().await?;
        let workspace = resource::workspace(&mut conn, self.workspace).await?;
        let id = workspace.workspace_id;
        let webhooks = webhooks::list(&mut conn, store.master_key(), id).await?;
        drop(conn);
        store.close().await;
        output::all(webhooks.iter().map(webhook_row).collect(), self.store.json);
        Ok(())
    }
}

impl Deliveries {
    async fn run(self) -> Result<(), CliError> {
        let (store, _) = self.store.open().await?;
        let mut conn = store.read().await?;
        let filter = DeliveryFilter {
            workspace_id: self.workspace,
            webhook_id: self.webhook,
            event_id: self.event,
            state: self.state.map(DeliveryState::from),
        };
        let found = deliveries::list(&mut conn, &filter, self.limit).await?;
        drop(conn);
        store.close().await;
        output::all(found.iter().map(delivery_row).collect(), self.store.json);
        Ok(())
    }
}

impl Replay {
    async fn run(self) -> Result<(), CliError> {
        let (store, now) = self.store.open().await?;
        let mut conn = store.write().await?;
        let event = events::by_id(&mut conn, self.event)
            .await?
            .ok_or(CliError::UnknownEvent(self.event))?;
        let webhooks = match self.webhook {
            Some(id) => {
                let key = store.master_key();
                webhooks::find(&mut conn, key, event.workspace_id, id)
                    .await?
                    .ok_or(CliError::Unknown {
                        what: "webhook",
                        id,
                    })?;
                vec![id]
            }
            None => takers(&mut conn, &event).await?,
        };
        let mut replayed = Vec::new();
        for webhook in webhooks {
            let delivery = deliveries::replay(&mut conn, webhook, &event, now).await?;
            replayed.push(vec![
                ("delivery_id", json!(delivery)),
                ("webhook_id", json!(webhook)),
                ("event_id", json!(event.event_id)),
            ]);
        }
        let workspace = Some(event.workspace_id);
        resource::note(&mut conn, "webhook.replay", workspace, event.event_id, now).await?;
        conn.commit().await?;
        store.close().await;
        output::all(replayed, self.store.json);
        Ok(())
    }
}

/// The webhooks that take the event; none is an error, for the operator expects something to be sent.
async fn takers(conn: &mut SqliteConnection, event: &EventRow) -> Result<Vec<Uuid>, CliError> {
    let takers = webhooks::taking(conn, event.workspace_id, &event.event_type).await?;
    if takers.is_empty() {
        return Err(CliError::NoTaker(event.event_type.clone()));
    }
    Ok(takers)
}

fn webhook_row(webhook: &WebhookRow) -> Row {
    vec![
        ("webhook_id", json!(webhook.webhook_id)),
        ("workspace_id", json!(webhook.workspace_id)),
        ("url", json!(webhook.url)),
        ("event_types", json!(webhook.event_types)),
        ("created_at", json!(webhook.created_at.to_string())),
    ]
}

fn delivery_row(delivery: &DeliveryRow) -> Row {
    let is_waiting = match delivery.state {
        DeliveryState::Pending => true,
        DeliveryState::Queued | DeliveryState::Delivered | DeliveryState::Failed => false,
    };
    let due_at = is_waiting.then(|| delivery.due_at.to_string());
    vec![
        ("delivery_id", json!(delivery.delivery_id)),
        ("webhook_id", json!(delivery.webhook_id)),
        ("event_id", json!(delivery.event_id)),
        ("event_type", json!(delivery.event_type)),
        ("state", json!(delivery.state.as_str())),
        ("attempts", json!(delivery.attempts)),
        ("due_at", json!(due_at)),
        ("last_at", json!(delivery.last_at.map(|at| at.to_string()))),
        ("last_status", json!(delivery.last_status)),
        ("last_error", json!(delivery.last_error)),
    ]
}
