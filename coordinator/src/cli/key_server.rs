//! `encoder-coordinator system key-server …` and `system key-server-secret …`

use clap::Args;
use serde_json::json;
use sqlx::SqliteConnection;

use super::{
    CliError, output,
    resource::{self, StoreArguments, SystemArgument},
};
use crate::{
    outbound::{Reach, Target},
    secrets::MasterKey,
    store::{
        key_servers::{self, KeyServerRow},
        systems::SystemRow,
    },
};

#[derive(Args, Debug)]
pub(super) struct Move {
    #[command(flatten)]
    store: StoreArguments,
    #[command(flatten)]
    system: SystemArgument,
    /// The key server's new URL
    url: String,
}

#[derive(Args, Debug)]
pub(super) struct Renew {
    #[command(flatten)]
    store: StoreArguments,
    #[command(flatten)]
    system: SystemArgument,
    /// Make a new secret, and sign with the old one no more: for one that has got out
    #[arg(long)]
    at_once: bool,
    /// Make none, but sign with the newest one alone from now on
    #[arg(long, conflicts_with = "at_once")]
    end_old: bool,
}

impl Move {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let target = Target::parse(&self.url, Reach::Private)?;
        let (store, now) = self.store.open().await?;
        let mut conn = store.write().await?;
        let system = self.system.row(&mut conn).await?;
        let id = system.acs_system_id;
        if !key_servers::set_url(&mut conn, id, target.as_str()).await? {
            return Err(CliError::HasNoKeyServer(system.name));
        }
        let workspace = Some(system.workspace_id);
        resource::note(&mut conn, "system.key_server", workspace, id, now).await?;
        conn.commit().await?;
        store.close().await;
        let row = vec![
            ("acs_system_id", json!(id)),
            ("key_server", json!(target.as_str())),
        ];
        output::one(row, self.store.json);
        Ok(())
    }
}

impl Renew {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let (store, now) = self.store.open().await?;
        let mut conn = store.write().await?;
        let system = self.system.row(&mut conn).await?;
        let (id, workspace) = (system.acs_system_id, Some(system.workspace_id));
        let server = self.change(&mut conn, store.master_key(), system).await?;
        let action = "system.key_server_secret";
        resource::note(&mut conn, action, workspace, id, now).await?;
        conn.commit().await?;
        store.close().await;
        let mut row = vec![
            ("acs_system_id", json!(id)),
            ("key_server", json!(server.url)),
        ];
        if !self.end_old {
            row.push(("key_server_secret", json!(server.key.secret().as_str())));
        }
        row.push(("secrets_in_use", json!(server.keys().count())));
        output::one(row, self.store.json);
        Ok(())
    }

    async fn change(
        &self,
        conn: &mut SqliteConnection,
        master_key: &MasterKey,
        system: SystemRow,
    ) -> Result<KeyServerRow, CliError> {
        let id = system.acs_system_id;
        let Some(server) = key_servers::of_system(conn, master_key, id).await? else {
            return Err(CliError::HasNoKeyServer(system.name));
        };
        let has_two = server.earlier_key.is_some();
        if self.end_old {
            if !has_two {
                return Err(CliError::OneSecret(system.name));
            }
            key_servers::end_earlier_key(conn, id).await?;
            return Ok(KeyServerRow {
                earlier_key: None,
                ..server
            });
        }
        if has_two && !self.at_once {
            return Err(CliError::TwoSecrets(system.name));
        }
        Ok(key_servers::renew_key(conn, master_key, server, !self.at_once).await?)
    }
}
