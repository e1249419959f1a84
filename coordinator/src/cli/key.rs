//! `encoder-coordinator key …`

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use uuid::Uuid;

use super::{
    CliError,
    output::{self, Row},
    resource::{self, StoreArguments},
};
use crate::store::api_keys::{self, ApiKeyRow, Vocabulary};

#[derive(Args, Debug)]
pub(super) struct KeyArguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make an API key; it is shown once
    Create(Create),
    /// List the API keys of a workspace, without their secrets
    List(List),
    /// Revoke an API key at once and for good
    Revoke(Revoke),
}

#[derive(Args, Debug)]
struct Create {
    #[command(flatten)]
    store: StoreArguments,
    /// The workspace; may be left out where there is only one
    #[arg(long, value_name = "ID")]
    workspace: Option<Uuid>,
    /// What the key is for
    #[arg(long, default_value = "")]
    label: String,
    /// Which names the answers use where the API's sources differ
    #[arg(long, value_enum, default_value_t = Names::Guide)]
    vocabulary: Names,
}

/// The vocabularies as the command line names them.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Names {
    /// Those of the card guides: no_card_on_encoder, ENCODE_ACCESS_METHOD
    Guide,
    /// Those of the published types: no_credential_on_encoder, ENCODE_CREDENTIAL
    Types,
}

impl From<Names> for Vocabulary {
    fn from(names: Names) -> Self {
        match names {
            Names::Guide => Self::Guide,
            Names::Types => Self::Types,
        }
    }
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
struct Revoke {
    #[command(flatten)]
    store: StoreArguments,
    /// The key's id
    id: Uuid,
}

impl KeyArguments {
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
        let workspace = resource::workspace(&mut conn, self.workspace)
            .await?
            .workspace_id;
        let vocabulary = self.vocabulary.into();
        let (key, secret) =
            api_keys::create(&mut conn, workspace, &self.label, vocabulary, now).await?;
        let id = key.api_key_id;
        resource::note(&mut conn, "api_key.create", Some(workspace), id, now).await?;
        conn.commit().await?;
        store.close().await;
        let shown = ("api_key", json!(secret.as_str()));
        output::one(
            row(&key).into_iter().chain([shown]).collect(),
            self.store.json,
        );
        Ok(())
    }
}

impl List {
    async fn run(self) -> Result<(), CliError> {
        let (store, _) = self.store.open().await?;
        let mut conn = store.read().await?;
        let workspace = resource::workspace(&mut conn, self.workspace)
            .await?
            .workspace_id;
        let keys = api_keys::list(&mut conn, workspace).await?;
        drop(conn);
        store.close().await;
        output::all(keys.iter().map(row).collect(), self.store.json);
        Ok(())
    }
}

impl Revoke {
    async fn run(self) -> Result<(), CliError> {
        let (store, now) = self.store.open().await?;
        let mut conn = store.write().await?;
        if !api_keys::revoke(&mut conn, self.id, now).await? {
            return Err(CliError::Unknown {
                what: "key",
                id: self.id,
            });
        }
        resource::note(&mut conn, "api_key.revoke", None, self.id, now).await?;
        conn.commit().await?;
        store.close().await;
        output::one(vec![("revoked", json!(self.id))], self.store.json);
        Ok(())
    }
}

fn row(key: &ApiKeyRow) -> Row {
    vec![
        ("api_key_id", json!(key.api_key_id)),
        ("workspace_id", json!(key.workspace_id)),
        ("label", json!(key.label)),
        ("prefix", json!(key.prefix)),
        ("vocabulary", json!(key.vocabulary.as_str())),
        ("created_at", json!(key.created_at.to_string())),
        (
            "revoked_at",
            json!(key.revoked_at.map(|time| time.to_string())),
        ),
    ]
}
