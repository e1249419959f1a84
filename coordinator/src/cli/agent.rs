//! `encoder-coordinator agent …`

use clap::{Args, Subcommand};
use serde_json::json;
use uuid::Uuid;

use super::{
    CliError,
    output::{self, Row},
    resource::{self, StoreArguments},
};
use crate::store::agents::{self, AgentRow};

#[derive(Args, Debug)]
pub(super) struct AgentArguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make an agent of an access system; its token is shown once
    Create(Create),
    /// List all agents, without their tokens
    List(StoreArguments),
    /// Revoke an agent's token; its session ends within a second
    Revoke(Revoke),
}

#[derive(Args, Debug)]
struct Create {
    #[command(flatten)]
    store: StoreArguments,
    /// The access system; may be left out where there is only one
    #[arg(long, value_name = "ID")]
    system: Option<Uuid>,
    /// The agent's name, for example that of its desk
    #[arg(long)]
    name: String,
}

#[derive(Args, Debug)]
struct Revoke {
    #[command(flatten)]
    store: StoreArguments,
    /// The agent's id
    id: Uuid,
}

impl AgentArguments {
    pub(super) async fn run(self) -> Result<(), CliError> {
        match self.action {
            Action::Create(create) => create.run().await,
            Action::List(arguments) => list(&arguments).await,
            Action::Revoke(revoke) => revoke.run().await,
        }
    }
}

impl Create {
    async fn run(self) -> Result<(), CliError> {
        let (store, now) = self.store.open().await?;
        let mut conn = store.write().await?;
        let system = resource::system(&mut conn, self.system).await?;
        let (agent, token) =
            agents::create(&mut conn, system.acs_system_id, &self.name, now).await?;
        let workspace = Some(system.workspace_id);
        resource::note(&mut conn, "agent.create", workspace, agent.agent_id, now).await?;
        conn.commit().await?;
        store.close().await;
        let shown = ("agent_token", json!(token.as_str()));
        output::one(
            row(&agent).into_iter().chain([shown]).collect(),
            self.store.json,
        );
        Ok(())
    }
}

impl Revoke {
    async fn run(self) -> Result<(), CliError> {
        let (store, now) = self.store.open().await?;
        let mut conn = store.write().await?;
        if !agents::revoke(&mut conn, self.id, now).await? {
            return Err(CliError::Unknown {
                what: "agent",
                id: self.id,
            });
        }
        resource::note(&mut conn, "agent.revoke", None, self.id, now).await?;
        conn.commit().await?;
        store.close().await;
        output::one(vec![("revoked", json!(self.id))], self.store.json);
        Ok(())
    }
}

async fn list(arguments: &StoreArguments) -> Result<(), CliError> {
    let (store, _) = arguments.open().await?;
    let rows = agents::all(&mut *store.read().await?).await?;
    store.close().await;
    output::all(rows.iter().map(row).collect(), arguments.json);
    Ok(())
}

fn row(agent: &AgentRow) -> Row {
    vec![
        ("agent_id", json!(agent.agent_id)),
        ("acs_system_id", json!(agent.acs_system_id)),
        ("name", json!(agent.name)),
        ("prefix", json!(agent.prefix)),
        ("created_at", json!(agent.created_at.to_string())),
        (
            "revoked_at",
            json!(agent.revoked_at.map(|time| time.to_string())),
        ),
    ]
}
