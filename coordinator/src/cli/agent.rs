//! `encoder-coordinator agent …`

use clap::{Args, Subcommand};
use serde_json::json;
use uuid::Uuid;

use super::{
    CliError,
    ask::{ask, confirm},
    output::{self, Row},
    resource::{self, StoreArguments, SystemArgument},
};
use crate::{
    jobs::AgentId,
    operator::{Command, Refused, Report},
    store::{
        StoreError,
        agents::{self, AgentRow},
    },
    tokens,
};

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
    /// Give an agent another name
    Rename(Rename),
    /// Make a new token for an agent, shown once; the old one opens nothing any more. What the agent's journal holds stays
    /// its own
    Token(Token),
    /// Hand a connected agent a new token in its session, or every one with --all; the old one opens until the new one was
    /// used
    Rotate(Rotate),
    /// Revoke an agent's token; its session ends within a second. A restored store that waits for the agent goes on
    /// waiting: see `retire`
    Revoke(Revoke),
    /// Say that an agent never comes back: its jobs end, its token is revoked, and nobody waits for it any more
    Retire(Retire),
}

#[derive(Args, Debug)]
struct Create {
    #[command(flatten)]
    store: StoreArguments,
    #[command(flatten)]
    system: SystemArgument,
    /// The agent's name, for example that of its desk
    #[arg(long)]
    name: String,
}

#[derive(Args, Debug)]
struct Rename {
    #[command(flatten)]
    store: StoreArguments,
    /// The agent's id
    id: Uuid,
    /// Its name
    name: String,
}

#[derive(Args, Debug)]
struct Token {
    #[command(flatten)]
    store: StoreArguments,
    /// The agent's id
    id: Uuid,
}

#[derive(Args, Debug)]
struct Rotate {
    #[command(flatten)]
    store: StoreArguments,
    /// The agent's id
    #[arg(required_unless_present = "all")]
    id: Option<Uuid>,
    /// Every agent that is connected
    #[arg(long, conflicts_with = "id")]
    all: bool,
}

#[derive(Args, Debug)]
struct Retire {
    #[command(flatten)]
    store: StoreArguments,
    /// The agent's id
    id: Uuid,
    /// The agent's id once more, in place of typing it when asked
    #[arg(long, value_name = "ID")]
    confirm: Option<Uuid>,
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
            Action::Rename(rename) => rename.run().await,
            Action::Token(token) => token.run().await,
            Action::Rotate(rotate) => rotate.run().await,
            Action::Revoke(revoke) => revoke.run().await,
            Action::Retire(retire) => retire.run().await,
        }
    }
}

impl Create {
    async fn run(self) -> Result<(), CliError> {
        let (store, now) = self.store.open().await?;
        let mut conn = store.write().await?;
        let system = self.system.row(&mut conn).await?;
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

impl Rename {
    async fn run(self) -> Result<(), CliError> {
        let agent = AgentId(self.id);
        let name = self.name;
        ask(&self.store, &Command::RenameAgent { agent, name }).await?;
        output::one(vec![("changed", json!(self.id))], self.store.json);
        Ok(())
    }
}

impl Token {
    async fn run(self) -> Result<(), CliError> {
        let token = tokens::new_agent_token().map_err(StoreError::from)?;
        let command = Command::RenewToken {
            agent: AgentId(self.id),
            prefix: tokens::shown_prefix(&token),
            hash: tokens::hash_text(&token),
        };
        ask(&self.store, &command).await?;
        let row = vec![
            ("agent_id", json!(self.id)),
            ("agent_token", json!(token.as_str())),
        ];
        output::one(row, self.store.json);
        Ok(())
    }
}

impl Rotate {
    async fn run(self) -> Result<(), CliError> {
        let Some(id) = self.id else {
            return self.all().await;
        };
        let agent = AgentId(id);
        ask(&self.store, &Command::RotateToken { agent }).await?;
        output::one(vec![("rotated", json!(id))], self.store.json);
        Ok(())
    }

    /// Goes through all agents; one that cannot be handed a token is told of and keeps nobody else from it.
    async fn all(self) -> Result<(), CliError> {
        let (store, _) = self.store.open().await?;
        let agents = agents::all(&mut *store.read().await?).await?;
        store.close().await;
        let mut rows = Vec::new();
        for row in agents.iter().filter(|row| row.revoked_at.is_none()) {
            let agent = AgentId(row.agent_id);
            let asked = ask(&self.store, &Command::RotateToken { agent }).await;
            let rotated = match asked {
                Ok(_) => true,
                Err(CliError::Refused(Refused::NotConnected { .. })) => false,
                Err(error) => return Err(error),
            };
            rows.push(vec![
                ("agent_id", json!(row.agent_id)),
                ("name", json!(row.name)),
                ("rotated", json!(rotated)),
            ]);
        }
        output::all(rows, self.store.json);
        Ok(())
    }
}

impl Revoke {
    async fn run(self) -> Result<(), CliError> {
        let agent = AgentId(self.id);
        let report = ask(&self.store, &Command::RevokeAgent { agent }).await?;
        let still_awaited = matches!(
            report,
            Report::Revoked {
                still_awaited: true
            }
        );
        let row = vec![
            ("revoked", json!(self.id)),
            ("still_awaited", json!(still_awaited)),
        ];
        output::one(row, self.store.json);
        if still_awaited {
            output::note(
                "The store was restored from a backup and still waits for this agent: credentials of the backup go onto no \
                 card until the agent was heard. If it never comes back: `encoder-coordinator agent retire`.",
            );
        }
        Ok(())
    }
}

impl Retire {
    async fn run(self) -> Result<(), CliError> {
        let agent = AgentId(self.id);
        let what = "This agent never comes back: its PC or its journal is gone for good. What it was writing stays held.";
        confirm(self.id, self.confirm, what)?;
        let report = ask(&self.store, &Command::RetireAgent { agent }).await?;
        let Report::Retired { ended, was_awaited } = report else {
            return Ok(());
        };
        let row = vec![
            ("retired", json!(self.id)),
            ("ended_jobs", json!(ended)),
            ("was_awaited", json!(was_awaited)),
        ];
        output::one(row, self.store.json);
        if was_awaited {
            output::note(
                "The store was restored from a backup and had not heard this agent: which cards it wrote since the backup \
                 nobody knows. `encoder-coordinator credential holds` lists what is held.",
            );
        }
        Ok(())
    }
}

async fn list(arguments: &StoreArguments) -> Result<(), CliError> {
    let (store, _) = arguments.open().await?;
    let mut conn = store.read().await?;
    let rows = agents::all(&mut conn).await?;
    let connected = resource::connected(&mut conn, arguments.database()).await?;
    drop(conn);
    store.close().await;
    let rows = rows.iter().map(|agent| {
        let since = agent.connected_at;
        let since = since.filter(|_| connected.contains(&AgentId(agent.agent_id)));
        let since = since.map(|time| time.to_string());
        row(agent)
            .into_iter()
            .chain([("connected_since", json!(since))])
            .collect()
    });
    output::all(rows.collect(), arguments.json);
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
        (
            "retired_at",
            json!(agent.retired_at.map(|time| time.to_string())),
        ),
        (
            "clash",
            json!(
                agent
                    .clash
                    .as_ref()
                    .map(|(time, seen)| format!("{time}: {seen}"))
            ),
        ),
    ]
}
