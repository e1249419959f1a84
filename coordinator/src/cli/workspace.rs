//! `encoder-coordinator workspace …`

use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    CliError,
    output::{self, Row},
    resource::{self, StoreArguments},
};
use crate::store::workspaces::{self, WorkspaceRow};

#[derive(Args, Debug)]
pub(super) struct WorkspaceArguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a workspace
    Create(Create),
    /// List all workspaces
    List(StoreArguments),
}

#[derive(Args, Debug)]
struct Create {
    #[command(flatten)]
    store: StoreArguments,
    /// The workspace's name
    #[arg(long)]
    name: String,
    /// The workspace is for trying things out
    #[arg(long)]
    sandbox: bool,
}

impl WorkspaceArguments {
    pub(super) async fn run(self) -> Result<(), CliError> {
        match self.action {
            Action::Create(create) => create.run().await,
            Action::List(arguments) => list(&arguments).await,
        }
    }
}

impl Create {
    async fn run(self) -> Result<(), CliError> {
        let (store, now) = self.store.open().await?;
        let mut conn = store.write().await?;
        let workspace = workspaces::create(&mut conn, &self.name, self.sandbox, now).await?;
        let id = workspace.workspace_id;
        resource::note(&mut conn, "workspace.create", Some(id), id, now).await?;
        conn.commit().await?;
        store.close().await;
        output::one(row(&workspace), self.store.json);
        Ok(())
    }
}

async fn list(arguments: &StoreArguments) -> Result<(), CliError> {
    let (store, _) = arguments.open().await?;
    let rows = workspaces::list(&mut *store.read().await?).await?;
    store.close().await;
    output::all(rows.iter().map(row).collect(), arguments.json);
    Ok(())
}

fn row(workspace: &WorkspaceRow) -> Row {
    vec![
        ("workspace_id", json!(workspace.workspace_id)),
        ("name", json!(workspace.name)),
        ("is_sandbox", json!(workspace.is_sandbox)),
    ]
}
