//! `encoder-coordinator encoder …`

use std::collections::BTreeSet;

use clap::{Args, Subcommand};
use serde_json::json;
use uuid::Uuid;

use super::{
    CliError,
    ask::ask,
    output::{self, Row},
    resource::{self, StoreArguments, SystemArgument},
};
use crate::{
    jobs::{AgentId, EncoderId, EncoderRecord, SystemId},
    operator::{Command, Report},
    store::encoders,
};

#[derive(Args, Debug)]
pub(super) struct EncoderArguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a simulated encoder, which no agent has: its jobs end after a second as /acs/encoders/simulate/* says. For
    /// sandbox workspaces
    Create(Create),
    /// List all encoders: whether an agent lists each now, which, and since when it has been there or gone; `agent_offline` is
    /// one that its agent listed last, which is not connected
    List(StoreArguments),
    /// Give an encoder a name, or take it back; a name in its agent's configuration wins over it
    Rename(Rename),
    /// Let an encoder take jobs
    Adopt(Adopt),
    /// Let an encoder take no jobs
    Disown(Adopt),
}

#[derive(Args, Debug)]
struct Create {
    #[command(flatten)]
    store: StoreArguments,
    /// It is a simulated one; the others come with their agents
    #[arg(long, required = true)]
    simulated: bool,
    #[command(flatten)]
    system: SystemArgument,
    /// The encoder's name
    #[arg(long, default_value = "Simulated encoder")]
    name: String,
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
            Action::Create(create) => create.run().await,
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

impl Create {
    async fn run(self) -> Result<(), CliError> {
        let (store, _) = self.store.open().await?;
        let system = self.system.row(&mut *store.read().await?).await?;
        store.close().await;
        let system = SystemId(system.acs_system_id);
        let name = self.name.clone();
        let report = ask(&self.store, &Command::CreateEncoder { system, name }).await?;
        let Report::Created { encoder } = report else {
            return Err(CliError::NoAnswer);
        };
        let row = vec![
            ("acs_encoder_id", json!(encoder)),
            ("acs_system_id", json!(system)),
            ("name", json!(self.name)),
        ];
        output::one(row, self.store.json);
        Ok(())
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
    let mut conn = store.read().await?;
    let rows = encoders::all(&mut conn).await?;
    let agents = resource::connected(&mut conn, arguments.database()).await?;
    drop(conn);
    store.close().await;
    let rows = rows.iter().map(|encoder| row(encoder, &agents));
    output::all(rows.collect(), arguments.json);
    Ok(())
}

/// An encoder; `connected` are the agents that can speak for theirs now.
fn row(encoder: &EncoderRecord, connected: &BTreeSet<AgentId>) -> Row {
    let newest = encoder.places.iter().max_by_key(|place| place.since);
    let listed = encoder.places.iter().filter(|place| place.listed);
    let present = listed.max_by_key(|place| place.since);
    let state = match present {
        _ if encoder.simulated => "simulated",
        Some(place) if !connected.contains(&place.agent) => "agent_offline",
        Some(_) => "present",
        None => "absent",
    };
    vec![
        ("acs_encoder_id", json!(encoder.id)),
        ("acs_system_id", json!(encoder.system)),
        ("name", json!(encoder.name())),
        ("key", json!(encoder.key)),
        ("adopted", json!(encoder.adopted)),
        ("state", json!(state)),
        ("since", json!(present.or(newest).map(|place| place.since))),
        ("agent_id", json!(present.map(|place| place.agent))),
    ]
}

#[cfg(test)]
mod tests {
    use encoder_protocols::wire::{EncoderDescription, EncoderKey, KeyScope};
    use jiff::{Timestamp, ToSpan as _};

    use super::*;
    use crate::jobs::Place;

    fn place(agent: AgentId, listed: bool, since: Timestamp) -> Place {
        let description: EncoderDescription = serde_json::from_value(json!({
            "key": "usb:0403:6001:A9XK01", "key_scope": "system", "name": "Front Desk", "driver": "pn532",
            "state": "ready", "abilities": {"encode": true, "scan": true, "technologies": []}, "simulated": false,
        }))
        .unwrap();
        Place {
            agent,
            listed,
            since,
            description,
        }
    }

    fn told(places: Vec<Place>, connected: &[AgentId]) -> serde_json::Value {
        let record = EncoderRecord {
            id: EncoderId(Uuid::now_v7()),
            system: SystemId(Uuid::now_v7()),
            key: EncoderKey("usb:0403:6001:A9XK01".to_owned()),
            scope: KeyScope::System,
            display_name: None,
            adopted: true,
            simulated: false,
            created_at: Timestamp::UNIX_EPOCH,
            places,
        };
        row(&record, &connected.iter().copied().collect())
            .into_iter()
            .filter(|(name, _)| ["state", "since", "agent_id"].contains(name))
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }

    #[test]
    fn an_encoder_is_where_it_is_listed_and_gone_since_it_was_not() {
        let (here, there) = (AgentId(Uuid::now_v7()), AgentId(Uuid::now_v7()));
        let earlier = Timestamp::UNIX_EPOCH;
        let later = earlier + 1.hour();
        assert_eq!(
            told(
                vec![place(here, true, earlier), place(there, false, later)],
                &[here]
            ),
            json!({"state": "present", "since": earlier, "agent_id": here}),
        );
        assert_eq!(
            told(vec![place(here, true, earlier)], &[there]),
            json!({"state": "agent_offline", "since": earlier, "agent_id": here}),
        );
        assert_eq!(
            told(
                vec![place(here, false, earlier), place(there, false, later)],
                &[here, there]
            ),
            json!({"state": "absent", "since": later, "agent_id": null}),
        );
    }
}
