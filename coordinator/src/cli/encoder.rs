//! `encoder-coordinator encoder …`

use clap::{Args, Subcommand};
use serde_json::json;
use uuid::Uuid;

use super::{
    CliError,
    ask::ask,
    output::{self, Row},
    resource::StoreArguments,
};
use crate::{
    jobs::{EncoderId, EncoderRecord},
    operator::Command,
    store::encoders,
};

#[derive(Args, Debug)]
pub(super) struct EncoderArguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List all encoders, with the agent that each was seen at last
    List(StoreArguments),
    /// Give an encoder a name, or take it back
    Rename(Rename),
    /// Let an encoder take jobs
    Adopt(Adopt),
    /// Let an encoder take no jobs
    Disown(Adopt),
}

#[derive(Args, Debug)]
struct Rename {
    #[command(flatten)]
    store: StoreArguments,
    /// The encoder's id
    id: Uuid,
    /// Its name; without one, the name that its agent gives it counts
    name: Option<String>,
}

#[derive(Args, Debug)]
struct Adopt {
    #[command(flatten)]
    store: StoreArguments,
    /// The encoder's id
    id: Uuid,
}

impl EncoderArguments {
    pub(super) async fn run(self) -> Result<(), CliError> {
        match self.action {
            Action::List(arguments) => list(&arguments).await,
            Action::Rename(Rename { store, id, name }) => {
                let encoder = EncoderId(id);
                change(&store, id, &Command::RenameEncoder { encoder, name }).await
            }
            Action::Adopt(Adopt { store, id }) => set_adopted(&store, id, true).await,
            Action::Disown(Adopt { store, id }) => set_adopted(&store, id, false).await,
        }
    }
}

async fn set_adopted(store: &StoreArguments, id: Uuid, adopted: bool) -> Result<(), CliError> {
    let encoder = EncoderId(id);
    change(store, id, &Command::AdoptEncoder { encoder, adopted }).await
}

async fn change(store: &StoreArguments, id: Uuid, command: &Command) -> Result<(), CliError> {
    ask(store, command).await?;
    output::one(vec![("changed", json!(id))], store.json);
    Ok(())
}

async fn list(arguments: &StoreArguments) -> Result<(), CliError> {
    let (store, _) = arguments.open().await?;
    let rows = encoders::all(&mut *store.read().await?).await?;
    store.close().await;
    output::all(rows.iter().map(row).collect(), arguments.json);
    Ok(())
}

fn row(encoder: &EncoderRecord) -> Row {
    let listed = encoder.places.iter().filter(|place| place.listed);
    let place = listed.max_by_key(|place| place.since);
    vec![
        ("acs_encoder_id", json!(encoder.id)),
        ("acs_system_id", json!(encoder.system)),
        ("name", json!(encoder.name())),
        ("key", json!(encoder.key)),
        ("adopted", json!(encoder.adopted)),
        ("agent_id", json!(place.map(|place| place.agent))),
    ]
}
