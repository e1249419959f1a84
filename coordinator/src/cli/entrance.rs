//! `encoder-coordinator entrance …`

use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    CliError,
    output::{self, Row},
    resource::{self, StoreArguments, SystemArgument},
};
use crate::store::{
    PageRequest,
    entrances::{self, EntranceFilter, EntranceRow},
};

#[derive(Args, Debug)]
pub(super) struct EntranceArguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make an entrance
    Create(Create),
    /// List the entrances of an access system
    List(List),
}

#[derive(Args, Debug)]
struct Create {
    #[command(flatten)]
    store: StoreArguments,
    #[command(flatten)]
    system: SystemArgument,
    /// The entrance's name
    #[arg(long)]
    name: String,
    /// It is for everybody, as a pool is, and no guest's own room
    #[arg(long)]
    common: bool,
}

#[derive(Args, Debug)]
struct List {
    #[command(flatten)]
    store: StoreArguments,
    #[command(flatten)]
    system: SystemArgument,
}

impl EntranceArguments {
    pub(super) async fn run(self) -> Result<(), CliError> {
        match self.action {
            Action::Create(create) => create.run().await,
            Action::List(list) => list.run().await,
        }
    }
}

impl Create {
    async fn run(self) -> Result<(), CliError> {
        let (store, now) = self.store.open().await?;
        let mut conn = store.write().await?;
        let system = self.system.row(&mut conn).await?;
        let id = system.acs_system_id;
        let entrance = entrances::create(&mut conn, id, &self.name, now).await?;
        if self.common {
            entrances::set_common(&mut conn, entrance.acs_entrance_id).await?;
        }
        let workspace = Some(system.workspace_id);
        let id = entrance.acs_entrance_id;
        resource::note(&mut conn, "entrance.create", workspace, id, now).await?;
        conn.commit().await?;
        store.close().await;
        output::one(row(&entrance), self.store.json);
        Ok(())
    }
}

impl List {
    async fn run(self) -> Result<(), CliError> {
        let (store, _) = self.store.open().await?;
        let mut conn = store.read().await?;
        let system = self.system.row(&mut conn).await?;
        let filter = EntranceFilter {
            acs_system_id: Some(system.acs_system_id),
            ..EntranceFilter::default()
        };
        let page = PageRequest {
            after: None,
            limit: u32::from(u16::MAX),
        };
        let found = entrances::list(&mut conn, system.workspace_id, &filter, page).await?;
        drop(conn);
        store.close().await;
        output::all(found.rows.iter().map(row).collect(), self.store.json);
        Ok(())
    }
}

fn row(entrance: &EntranceRow) -> Row {
    vec![
        ("acs_entrance_id", json!(entrance.acs_entrance_id)),
        ("acs_system_id", json!(entrance.acs_system_id)),
        ("number", json!(entrance.number)),
        ("name", json!(entrance.display_name)),
    ]
}
