//! What the commands on resources share: the database, and saying which workspace or system is meant.

use std::{collections::BTreeSet, path::PathBuf};

use clap::Args;
use jiff::Timestamp;
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::CliError;
use crate::{
    clock::Clock,
    database::Database,
    jobs::AgentId,
    serve::{self, ServeError},
    store::{
        Store, agents,
        audit::{self, AuditEntry},
        systems::{self, SystemFilter, SystemRow},
        workspaces::{self, WorkspaceRow},
    },
};

/// Which database a command works on, and how it shows its result.
#[derive(Args, Debug)]
pub(super) struct StoreArguments {
    /// The database, as sqlite:PATH; made if it is missing
    #[arg(long)]
    database: Database,
    /// The master key file [default: PATH.master-key]
    #[arg(long, value_name = "FILE")]
    master_key: Option<PathBuf>,
    /// Show the result as JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Which access system a command is about.
#[derive(Args, Debug)]
pub(super) struct SystemArgument {
    /// The access system; may be left out where there is only one
    #[arg(long, value_name = "ID")]
    system: Option<Uuid>,
}

impl SystemArgument {
    /// The system that was named, or the only one.
    pub(super) async fn row(&self, conn: &mut SqliteConnection) -> Result<SystemRow, CliError> {
        system(conn, self.system).await
    }
}

impl StoreArguments {
    /// The database.
    pub(super) fn database(&self) -> &Database {
        &self.database
    }

    /// The master key file.
    pub(super) fn master_key_file(&self) -> PathBuf {
        self.database.master_key_file(self.master_key.as_deref())
    }

    /// Opens the database. Also gives the time of the command.
    pub(super) async fn open(&self) -> Result<(Store, Timestamp), CliError> {
        let now = Clock::start().utc();
        let store = Store::open(self.database.path(), &self.master_key_file(), now).await?;
        Ok((store, now))
    }
}

/// The workspace with this id, or the only one.
pub(super) async fn workspace(
    conn: &mut SqliteConnection,
    id: Option<Uuid>,
) -> Result<WorkspaceRow, CliError> {
    const WHAT: &str = "workspace";
    match id {
        Some(id) => workspaces::find(conn, id)
            .await?
            .ok_or(CliError::Unknown { what: WHAT, id }),
        None => only(workspaces::list(conn).await?, WHAT),
    }
}

/// The system with this id, or the only one.
pub(super) async fn system(
    conn: &mut SqliteConnection,
    id: Option<Uuid>,
) -> Result<SystemRow, CliError> {
    const WHAT: &str = "system";
    match id {
        Some(id) => systems::by_id(conn, id)
            .await?
            .ok_or(CliError::Unknown { what: WHAT, id }),
        None => only(all_systems(conn).await?, WHAT),
    }
}

/// The systems of every workspace.
pub(super) async fn all_systems(conn: &mut SqliteConnection) -> Result<Vec<SystemRow>, CliError> {
    let mut systems = Vec::new();
    for workspace in workspaces::list(conn).await? {
        let id = workspace.workspace_id;
        let found = systems::list(conn, id, &SystemFilter::default()).await?;
        systems.extend(found.into_iter().map(|counted| counted.system));
    }
    Ok(systems)
}

/// The agents that are connected; none where no service runs.
pub(super) async fn connected(
    conn: &mut SqliteConnection,
    database: &Database,
) -> Result<BTreeSet<AgentId>, CliError> {
    if !matches!(serve::lock(database), Err(ServeError::AlreadyServed(_))) {
        return Ok(BTreeSet::new());
    }
    let agents = agents::all(conn).await?;
    let connected = agents.iter().filter(|agent| agent.connected_at.is_some());
    Ok(connected.map(|agent| AgentId(agent.agent_id)).collect())
}

/// Notes in the audit trail what the operator did.
pub(super) async fn note(
    conn: &mut SqliteConnection,
    action: &'static str,
    workspace_id: Option<Uuid>,
    subject: Uuid,
    now: Timestamp,
) -> Result<(), CliError> {
    let entry = AuditEntry {
        action: action.into(),
        workspace_id,
        detail: Some(format!("{subject}, by the operator")),
        ..AuditEntry::default()
    };
    Ok(audit::record(conn, &entry, now).await?)
}

fn only<T>(rows: Vec<T>, what: &'static str) -> Result<T, CliError> {
    let mut rows = rows.into_iter();
    match (rows.next(), rows.next()) {
        (Some(row), None) => Ok(row),
        (None, _) => Err(CliError::None { what }),
        (Some(_), Some(_)) => Err(CliError::Several { what }),
    }
}
