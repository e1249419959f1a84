//! `encoder-coordinator credential …`

use clap::{Args, Subcommand};
use serde_json::json;
use uuid::Uuid;

use super::{
    CliError,
    ask::{ask, confirm},
    output::{self, Row},
    resource::{self, StoreArguments},
};
use crate::{
    jobs::{CredentialId, HoldState, SystemId},
    operator::{Command, Report},
    store::holds::{self, HoldRow},
};

#[derive(Args, Debug)]
pub(super) struct CredentialArguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the credentials that may be on a card, or may not, and nobody knows; with the card and the job that holds
    /// them
    Holds(Holds),
    /// Say that every card which holds a credential is destroyed, so that the credential may go onto another
    Release(Release),
}

#[derive(Args, Debug)]
struct Holds {
    #[command(flatten)]
    store: StoreArguments,
    /// Also list the credentials that were written to their card and read back
    #[arg(long)]
    all: bool,
}

#[derive(Args, Debug)]
struct Release {
    #[command(flatten)]
    store: StoreArguments,
    /// The credential's id
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    id: Option<Uuid>,
    /// Release every credential of the system
    #[arg(long)]
    all: bool,
    /// The access system, with --all; may be left out where there is only one
    #[arg(long, value_name = "ID", requires = "all")]
    system: Option<Uuid>,
    /// The id of the credential (with --all: of the system) once more, in place of typing it when asked
    #[arg(long, value_name = "ID")]
    confirm: Option<Uuid>,
}

impl CredentialArguments {
    pub(super) async fn run(self) -> Result<(), CliError> {
        match self.action {
            Action::Holds(arguments) => list(&arguments).await,
            Action::Release(release) => release.run().await,
        }
    }
}

impl Release {
    async fn run(self) -> Result<(), CliError> {
        let command = match self.id {
            Some(id) => {
                let what = "Every card that holds this credential is destroyed: no guest has one, and none is found again.";
                confirm(id, self.confirm, what)?;
                Command::ReleaseCredential {
                    credential: CredentialId(id),
                }
            }
            None => {
                let system = self.find_system().await?;
                let what = "Every card that holds any credential of this access system is destroyed: no guest has one, and \
                            none is found again.";
                confirm(system, self.confirm, what)?;
                Command::ReleaseSystem {
                    system: SystemId(system),
                }
            }
        };
        if let Report::Released { released, kept } = ask(&self.store, &command).await? {
            let released = released.into_iter().map(|one| {
                vec![
                    ("acs_credential_id", json!(one.credential)),
                    ("released", json!(true)),
                    ("cards", json!(one.cards)),
                    ("open_job", json!(null)),
                ]
            });
            let kept = kept.into_iter().map(|one| {
                vec![
                    ("acs_credential_id", json!(one.credential)),
                    ("released", json!(false)),
                    ("cards", json!([])),
                    ("open_job", json!(one.job)),
                ]
            });
            output::all(released.chain(kept).collect(), self.store.json);
        }
        Ok(())
    }

    async fn find_system(&self) -> Result<Uuid, CliError> {
        let (store, _) = self.store.open().await?;
        let system = resource::system(&mut *store.read().await?, self.system).await;
        store.close().await;
        Ok(system?.acs_system_id)
    }
}

async fn list(arguments: &Holds) -> Result<(), CliError> {
    let (store, _) = arguments.store.open().await?;
    let rows = holds::list(&mut *store.read().await?).await?;
    store.close().await;
    let rows = rows.iter().filter(|row| arguments.all || row.is_doubtful());
    output::all(rows.map(row).collect(), arguments.store.json);
    Ok(())
}

fn row(held: &HoldRow) -> Row {
    let state = match held.state {
        HoldState::Bound => "bound",
        HoldState::Unknown => "unknown",
        HoldState::Written => "written",
    };
    vec![
        ("acs_credential_id", json!(held.acs_credential_id)),
        ("name", json!(held.display_name)),
        ("card", json!(held.uid)),
        ("state", json!(state)),
        ("job_id", json!(held.job_id)),
        (
            "job",
            json!(if held.is_orphan { "orphan" } else { "known" }),
        ),
        ("agent", json!(held.agent_name)),
    ]
}
