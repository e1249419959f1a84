//! `encoder-coordinator backup`

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{CliError, output, resource::StoreArguments};

/// Copies the database, also while the service runs.
#[derive(Args, Debug)]
pub(super) struct BackupArguments {
    #[command(flatten)]
    store: StoreArguments,
    /// The file to make
    path: PathBuf,
}

impl BackupArguments {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let (store, now) = self.store.open().await?;
        store.copy_to(&self.path, now).await?;
        store.close().await;
        let key_file = self.store.master_key_file();
        let row = vec![
            ("backup", json!(self.path)),
            ("taken_at", json!(now.to_string())),
            ("master_key_not_included", json!(key_file)),
        ];
        output::one(row, self.store.json);
        output::note(format_args!(
            "The copy is of no use without the master key file {}, which is not in it: keep a copy of that file in another \
             place.",
            key_file.display()
        ));
        Ok(())
    }
}
