//! `encoder-coordinator card …`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    CliError, output,
    resource::{self, StoreArguments, SystemArgument},
};
use crate::store::credentials;

#[derive(Args, Debug)]
pub(super) struct CardArguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Register cards with an access system whose cards are assigned instead of encoded
    Register(Register),
}

#[derive(Args, Debug)]
struct Register {
    #[command(flatten)]
    store: StoreArguments,
    #[command(flatten)]
    system: SystemArgument,
    /// A file with one card number a line
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Card numbers
    #[arg(required_unless_present = "file")]
    numbers: Vec<String>,
}

impl CardArguments {
    pub(super) async fn run(self) -> Result<(), CliError> {
        match self.action {
            Action::Register(register) => register.run().await,
        }
    }
}

impl Register {
    async fn run(self) -> Result<(), CliError> {
        let numbers = self.numbers()?;
        let (store, now) = self.store.open().await?;
        let mut conn = store.write().await?;
        let system = self.system.row(&mut conn).await?;
        if !system.kind.assigns_cards() {
            return Err(CliError::CardsAreEncoded(system.name));
        }
        let id = system.acs_system_id;
        let mut rows = Vec::new();
        for number in &numbers {
            let known = credentials::by_registered_number(&mut conn, id, number).await?;
            let is_new = known.is_none();
            let card = match known {
                Some(card) => card,
                None => {
                    let card = credentials::register(&mut conn, &system, number, now).await?;
                    let workspace = Some(system.workspace_id);
                    let made = card.acs_credential_id;
                    resource::note(&mut conn, "card.register", workspace, made, now).await?;
                    card
                }
            };
            rows.push(vec![
                ("card_number", json!(number)),
                ("acs_credential_id", json!(card.acs_credential_id)),
                ("is_new", json!(is_new)),
            ]);
        }
        conn.commit().await?;
        store.close().await;
        output::all(rows, self.store.json);
        Ok(())
    }

    fn numbers(&self) -> Result<Vec<String>, CliError> {
        let mut numbers = self.numbers.clone();
        if let Some(file) = &self.file {
            let text = std::fs::read_to_string(file).map_err(|source| CliError::File {
                file: file.clone(),
                source,
            })?;
            numbers.extend(text.lines().map(str::to_owned));
        }
        let numbers = numbers.iter().map(|number| number.trim().to_owned());
        Ok(numbers.filter(|number| !number.is_empty()).collect())
    }
}
