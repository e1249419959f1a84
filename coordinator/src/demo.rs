//! A workspace to try the service with: `serve --seed-demo`.
//!
//! The database keeps only hashes of keys and tokens. So that every start can print ones that work, the demo's are
//! also kept in the clear in a file beside the database (`PATH.demo-keys.json`, mode 0600). Where that file is lost,
//! new ones are made and the old ones revoked. Nothing of this exists without `--seed-demo`.

use std::{fmt, fs, io, path::PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::SqliteConnection;
use uuid::Uuid;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::{
    database::Database,
    secrets,
    store::{
        PageRequest, Store, StoreError, agents,
        api_keys::{self, Vocabulary},
        entrances::{self, EntranceFilter},
        meta,
        systems::{self, SystemFilter, SystemRow},
        workspaces,
    },
};

const WORKSPACE_NAME: &str = "Demo";
const SYSTEM_NAME: &str = "Demo hotel";
const ENTRANCE_NAMES: [&str; 2] = ["Room 101", "Main entrance"];
const KEY_LABEL: &str = "demo";
const AGENT_NAME: &str = "Demo desk";

/// What follows the database's name in the name of the file with the demo's keys.
const KEYS_SUFFIX: &str = ".demo-keys.json";

/// Why the demo could not be made.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file with the demo's keys cannot be written or replaced.
    #[error("demo keys file {path}: {source}")]
    KeysFile {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What a caller needs to know of the demo's workspace.
#[derive(Clone, Eq, PartialEq)]
pub struct Demo {
    /// The key to the HTTP API.
    pub api_key: String,
    /// The agent's token.
    pub agent_token: String,
    /// The system.
    pub acs_system_id: Uuid,
    /// Its entrances.
    pub acs_entrance_ids: Vec<Uuid>,
}

impl fmt::Debug for Demo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Demo")
            .field("acs_system_id", &self.acs_system_id)
            .field("acs_entrance_ids", &self.acs_entrance_ids)
            .finish_non_exhaustive()
    }
}

impl Demo {
    /// The one line that a script reads: `{"endpoint", "api_key", "agent_token", "acs_system_id",
    /// "acs_entrance_ids"}`.
    pub fn line(&self, endpoint: &str) -> String {
        serde_json::json!({
            "endpoint": endpoint,
            "api_key": self.api_key,
            "agent_token": self.agent_token,
            "acs_system_id": self.acs_system_id,
            "acs_entrance_ids": self.acs_entrance_ids,
        })
        .to_string()
    }
}

/// The demo's secrets as their file keeps them.
#[derive(Deserialize, Serialize, Zeroize, ZeroizeOnDrop)]
struct DemoKeys {
    api_key: String,
    agent_token: String,
}

/// Makes the demo's workspace, or finds the one that was made before.
///
/// # Errors
/// [`DemoError`] when the store fails or the file with the demo's keys cannot be written.
pub async fn seed(store: &Store, database: &Database, now: Timestamp) -> Result<Demo, DemoError> {
    let path = database.beside(KEYS_SUFFIX);
    let mut conn = store.write().await?;
    let system = system(&mut conn, store, now).await?;
    let (keys, are_new) = match working_keys(&mut conn, &system, read_keys(&path)).await? {
        Some(keys) => (keys, false),
        None => (new_keys(&mut conn, &system, now).await?, true),
    };
    let filter = EntranceFilter {
        acs_system_id: Some(system.acs_system_id),
        ..EntranceFilter::default()
    };
    let page = PageRequest {
        after: None,
        limit: u32::from(u16::MAX),
    };
    let entrances = entrances::list(&mut conn, system.workspace_id, &filter, page).await?;
    conn.commit().await.map_err(StoreError::from)?;
    if are_new {
        write_keys(&path, &keys).map_err(|source| DemoError::KeysFile { path, source })?;
    }
    Ok(Demo {
        api_key: keys.api_key.clone(),
        agent_token: keys.agent_token.clone(),
        acs_system_id: system.acs_system_id,
        acs_entrance_ids: entrances
            .rows
            .iter()
            .map(|row| row.acs_entrance_id)
            .collect(),
    })
}

/// The demo's system, made with its workspace and entrances where there is none.
async fn system(
    conn: &mut SqliteConnection,
    store: &Store,
    now: Timestamp,
) -> Result<SystemRow, StoreError> {
    if let Some(workspace) = meta::demo_workspace(conn).await? {
        let systems = systems::list(conn, workspace, &SystemFilter::default()).await?;
        if let Some(first) = systems.into_iter().next() {
            return Ok(first.system);
        }
    }
    let workspace = workspaces::create(conn, WORKSPACE_NAME, true, now).await?;
    let id = workspace.workspace_id;
    meta::set_demo_workspace(conn, id).await?;
    let system = systems::create(conn, store.master_key(), id, SYSTEM_NAME, None, now).await?;
    for name in ENTRANCE_NAMES {
        entrances::create(conn, system.acs_system_id, name, now).await?;
    }
    Ok(system)
}

/// The kept keys, if both still open the demo.
async fn working_keys(
    conn: &mut SqliteConnection,
    system: &SystemRow,
    kept: Option<DemoKeys>,
) -> Result<Option<DemoKeys>, StoreError> {
    let Some(kept) = kept else { return Ok(None) };
    let key = api_keys::find_by_secret(conn, &kept.api_key).await?;
    let agent = agents::find_by_token(conn, &kept.agent_token).await?;
    let work = key.is_some_and(|key| key.workspace_id == system.workspace_id)
        && agent.is_some_and(|agent| agent.acs_system_id == system.acs_system_id);
    Ok(work.then_some(kept))
}

/// New keys for the demo; the ones before open nothing from now on.
async fn new_keys(
    conn: &mut SqliteConnection,
    system: &SystemRow,
    now: Timestamp,
) -> Result<DemoKeys, StoreError> {
    for key in api_keys::list(conn, system.workspace_id).await? {
        if key.label == KEY_LABEL {
            api_keys::revoke(conn, key.api_key_id, now).await?;
        }
    }
    for agent in agents::all(conn).await? {
        if agent.acs_system_id == system.acs_system_id && agent.name == AGENT_NAME {
            agents::revoke(conn, agent.agent_id, now).await?;
        }
    }
    let vocabulary = Vocabulary::Guide;
    let (_, api_key) =
        api_keys::create(conn, system.workspace_id, KEY_LABEL, vocabulary, now).await?;
    let (_, agent_token) = agents::create(conn, system.acs_system_id, AGENT_NAME, now).await?;
    Ok(DemoKeys {
        api_key: api_key.to_string(),
        agent_token: agent_token.to_string(),
    })
}

/// The kept keys; none where there is no such file or it is not readable as one.
fn read_keys(path: &std::path::Path) -> Option<DemoKeys> {
    let text = zeroize::Zeroizing::new(fs::read(path).ok()?);
    serde_json::from_slice(&text).ok()
}

fn write_keys(path: &std::path::Path, keys: &DemoKeys) -> io::Result<()> {
    let text = zeroize::Zeroizing::new(serde_json::to_vec_pretty(keys)?);
    secrets::replace_private(path, &text)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::clock::Clock;

    async fn open(folder: &Path) -> (Store, Database, Timestamp) {
        let path = folder.join("store.db");
        let database: Database = format!("sqlite:{}", path.display()).parse().unwrap();
        let now = Clock::start().utc();
        let store = Store::open(&path, &database.master_key_file(None), now).await;
        (store.unwrap(), database, now)
    }

    #[tokio::test]
    async fn a_second_seed_keeps_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let (store, database, now) = open(folder.path()).await;
        let first = seed(&store, &database, now).await.unwrap();
        assert_eq!(first.acs_entrance_ids.len(), 2);
        store.close().await;
        let (store, database, now) = open(folder.path()).await;
        assert_eq!(seed(&store, &database, now).await.unwrap(), first);
    }

    #[tokio::test]
    async fn lost_keys_are_replaced_and_the_old_ones_revoked() {
        let folder = tempfile::tempdir().unwrap();
        let (store, database, now) = open(folder.path()).await;
        let first = seed(&store, &database, now).await.unwrap();
        fs::write(database.beside(KEYS_SUFFIX), "{\"api_key\": \"seam_x\"}").unwrap();
        let second = seed(&store, &database, now).await.unwrap();
        assert_eq!(second.acs_system_id, first.acs_system_id);
        assert_eq!(second.acs_entrance_ids, first.acs_entrance_ids);
        assert_ne!(second.api_key, first.api_key);
        let mut conn = store.read().await.unwrap();
        for (secret, opens) in [(&first.api_key, false), (&second.api_key, true)] {
            let key = api_keys::find_by_secret(&mut conn, secret).await.unwrap();
            assert_eq!(key.is_some(), opens);
        }
        for (token, opens) in [(&first.agent_token, false), (&second.agent_token, true)] {
            let agent = agents::find_by_token(&mut conn, token).await.unwrap();
            assert_eq!(agent.is_some(), opens);
        }
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn the_keys_file_is_private_and_debug_output_has_no_keys() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let (store, database, now) = open(folder.path()).await;
        let demo = seed(&store, &database, now).await.unwrap();
        let mode = fs::metadata(database.beside(KEYS_SUFFIX))
            .unwrap()
            .permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
        let shown = format!("{demo:?}");
        assert!(!shown.contains(&demo.api_key) && !shown.contains(&demo.agent_token));
        let line: serde_json::Value = serde_json::from_str(&demo.line("http://x")).unwrap();
        assert_eq!(line["endpoint"], "http://x");
        assert_eq!(line["api_key"], demo.api_key);
    }
}
