//! `encoder-coordinator token …`

use clap::{Args, Subcommand};
use serde_json::json;
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::{
    CliError,
    key::Names,
    output::{self, Row},
    resource::{self, StoreArguments},
};
use crate::store::{
    StoreError,
    personal_access_tokens::{self, PersonalAccessTokenRow},
};

#[derive(Args, Debug)]
pub(super) struct TokenArguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a personal access token; it is shown once
    Create(Create),
    /// List the personal access tokens, without their secrets
    List(List),
    /// Revoke a personal access token at once and for good
    Revoke(Revoke),
}

#[derive(Args, Debug)]
struct Create {
    #[command(flatten)]
    store: StoreArguments,
    /// A workspace that it opens, and so on for each; may be left out where there is only one
    #[arg(long = "workspace", value_name = "ID")]
    workspaces: Vec<Uuid>,
    /// Whose token it is
    #[arg(long, default_value = "")]
    label: String,
    /// Which names the answers use where the API's sources differ
    #[arg(long, value_enum, default_value_t = Names::Guide)]
    vocabulary: Names,
}

#[derive(Args, Debug)]
struct List {
    #[command(flatten)]
    store: StoreArguments,
}

#[derive(Args, Debug)]
struct Revoke {
    #[command(flatten)]
    store: StoreArguments,
    /// The token's id
    id: Uuid,
}

impl TokenArguments {
    pub(super) async fn run(self) -> Result<(), CliError> {
        match self.action {
            Action::Create(create) => create.run().await,
            Action::List(list) => list.run().await,
            Action::Revoke(revoke) => revoke.run().await,
        }
    }
}

impl Create {
    async fn run(self) -> Result<(), CliError> {
        let (store, now) = self.store.open().await?;
        let mut conn = store.write().await?;
        let mut workspaces = Vec::new();
        if self.workspaces.is_empty() {
            workspaces.push(resource::workspace(&mut conn, None).await?.workspace_id);
        }
        for id in self.workspaces {
            workspaces.push(resource::workspace(&mut conn, Some(id)).await?.workspace_id);
        }
        let vocabulary = self.vocabulary.into();
        let (token, secret) =
            personal_access_tokens::create(&mut conn, &workspaces, &self.label, vocabulary, now)
                .await?;
        let id = token.personal_access_token_id;
        for workspace in workspaces {
            let action = "personal_access_token.create";
            resource::note(&mut conn, action, Some(workspace), id, now).await?;
        }
        let row = row(&mut conn, &token).await?;
        conn.commit().await?;
        store.close().await;
        let shown = ("personal_access_token", json!(secret.as_str()));
        output::one(row.into_iter().chain([shown]).collect(), self.store.json);
        Ok(())
    }
}

impl List {
    async fn run(self) -> Result<(), CliError> {
        let (store, _) = self.store.open().await?;
        let mut conn = store.read().await?;
        let mut rows = Vec::new();
        for token in personal_access_tokens::list(&mut conn).await? {
            rows.push(row(&mut conn, &token).await?);
        }
        drop(conn);
        store.close().await;
        output::all(rows, self.store.json);
        Ok(())
    }
}

impl Revoke {
    async fn run(self) -> Result<(), CliError> {
        let (store, now) = self.store.open().await?;
        let mut conn = store.write().await?;
        if !personal_access_tokens::revoke(&mut conn, self.id, now).await? {
            return Err(CliError::Unknown {
                what: "token",
                id: self.id,
            });
        }
        let action = "personal_access_token.revoke";
        resource::note(&mut conn, action, None, self.id, now).await?;
        conn.commit().await?;
        store.close().await;
        output::one(vec![("revoked", json!(self.id))], self.store.json);
        Ok(())
    }
}

async fn row(
    conn: &mut SqliteConnection,
    token: &PersonalAccessTokenRow,
) -> Result<Row, StoreError> {
    let id = token.personal_access_token_id;
    let workspaces = personal_access_tokens::workspaces(conn, id).await?;
    let revoked_at = token.revoked_at.map(|time| time.to_string());
    Ok(vec![
        ("personal_access_token_id", json!(id)),
        ("workspace_ids", json!(workspaces)),
        ("label", json!(token.label)),
        ("prefix", json!(token.prefix)),
        ("vocabulary", json!(token.vocabulary.as_str())),
        ("created_at", json!(token.created_at.to_string())),
        ("revoked_at", json!(revoked_at)),
    ])
}
