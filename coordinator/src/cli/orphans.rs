//! `encoder-coordinator orphans`

use clap::Args;
use serde_json::json;

use super::{
    CliError,
    output::{self, Row},
    resource::StoreArguments,
};
use crate::{
    jobs::Orphan,
    store::{agents, jobs},
};

/// Lists the jobs that agents named and the store does not know.
#[derive(Args, Debug)]
pub(super) struct OrphansArguments {
    #[command(flatten)]
    store: StoreArguments,
}

impl OrphansArguments {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let (store, _) = self.store.open().await?;
        let mut conn = store.read().await?;
        let mut rows = Vec::new();
        for orphan in jobs::orphans(&mut conn).await? {
            let agent = agents::by_id(&mut conn, orphan.agent.0).await?;
            rows.push(row(&orphan, agent.map(|agent| agent.name)));
        }
        drop(conn);
        store.close().await;
        output::all(rows, self.store.json);
        Ok(())
    }
}

fn row(orphan: &Orphan, agent: Option<String>) -> Row {
    let (outcome, touched) = orphan.outcome.unzip();
    vec![
        ("job_id", json!(orphan.job)),
        ("kind", json!(orphan.kind)),
        ("acs_credential_id", json!(orphan.credential)),
        ("card", json!(orphan.uid)),
        ("outcome", json!(outcome)),
        ("touched", json!(touched)),
        ("agent", json!(agent)),
        ("seen_at", json!(orphan.seen_at.to_string())),
    ]
}
