//! Copies of the live database.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};

use super::{Store, StoreError, agents};
use crate::secrets::write_private;

/// What follows the copy's name until it is whole.
const PARTIAL_SUFFIX: &str = ".partial";

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Something is there already.
    #[error("{0} exists already: name a file that does not, a backup overwrites nothing")]
    Exists(PathBuf),
    /// SQLite takes file names in UTF-8 alone.
    #[error("the name {0} is no UTF-8 text, which SQLite needs: name another file")]
    Name(PathBuf),
    /// A file cannot be made or stored.
    #[error("cannot write {path}: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The database cannot be copied.
    #[error("cannot copy the database to {path}: {source}")]
    Copy {
        /// The copy.
        path: PathBuf,
        /// What the database said.
        source: StoreError,
    },
}

impl Store {
    /// Copies the database as it stands at one moment, also while a service writes to it. The copy is stamped as one, so
    /// that a service started from it goes on as a restored one; only its owner may read it. It is at `target` once it is
    /// whole and on the disk, or not at all.
    ///
    /// # Errors
    /// [`BackupError`] when `target` exists, or a file cannot be written.
    pub async fn copy_to(&self, target: &Path, now: Timestamp) -> Result<(), BackupError> {
        let mut name = target.as_os_str().to_owned();
        name.push(PARTIAL_SUFFIX);
        let partial = PathBuf::from(name);
        reserve(target)?;
        let copied = self.copy_through(&partial, target, now).await;
        if copied.is_err() {
            // What is left of a copy that failed is of no use; where it cannot be removed, its name tells.
            let _ = fs::remove_file(&partial);
            let _ = fs::remove_file(target);
        }
        copied
    }

    async fn copy_through(
        &self,
        partial: &Path,
        target: &Path,
        now: Timestamp,
    ) -> Result<(), BackupError> {
        let text = partial
            .to_str()
            .ok_or_else(|| BackupError::Name(partial.to_owned()))?;
        // Whoever has reserved the target is the only one here: a partial copy is left from one that was killed.
        let _ = fs::remove_file(partial);
        reserve(partial)?;
        let failed = |source| BackupError::Copy {
            path: target.to_owned(),
            source,
        };
        let copied = self.copy_stamped(partial, text, now).await;
        copied.map_err(failed)?;
        let unstored = |source| BackupError::File {
            path: target.to_owned(),
            source,
        };
        File::open(partial)
            .and_then(|file| file.sync_all())
            .map_err(unstored)?;
        fs::rename(partial, target).map_err(unstored)?;
        sync_folder(target).map_err(unstored)
    }

    async fn copy_stamped(
        &self,
        copy: &Path,
        name: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut conn = self.writer.acquire().await?;
        sqlx::query("VACUUM INTO ?")
            .bind(name)
            .execute(&mut *conn)
            .await?;
        stamp(copy, now).await
    }
}

/// Makes an empty file that only its owner may read.
fn reserve(path: &Path) -> Result<(), BackupError> {
    write_private(path, b"").map_err(|source| {
        if source.kind() == io::ErrorKind::AlreadyExists {
            BackupError::Exists(path.to_owned())
        } else {
            BackupError::File {
                path: path.to_owned(),
                source,
            }
        }
    })
}

/// Stamps the copy. What the operator had asked of the live store is not to be done to it.
async fn stamp(copy: &Path, now: Timestamp) -> Result<(), StoreError> {
    let mut conn = SqliteConnectOptions::new()
        .filename(copy)
        .journal_mode(sqlx::sqlite::SqliteJournalMode::Delete)
        .connect()
        .await?;
    let mut transaction = conn.begin().await?;
    sqlx::query("DELETE FROM operator_commands")
        .execute(&mut *transaction)
        .await?;
    agents::stamp_copy(&mut transaction, now).await?;
    transaction.commit().await?;
    Ok(conn.close().await?)
}

/// Makes a new name in a folder survive a power cut, where the system can.
fn sync_folder(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    async fn open(folder: &Path, name: &str) -> Store {
        let key = folder.join("key");
        Store::open(&folder.join(name), &key, Clock::start().utc())
            .await
            .unwrap()
    }

    async fn is_stamped(store: &Store) -> bool {
        let mut conn = store.write().await.unwrap();
        agents::note_restored(&mut conn, false, Clock::start().utc())
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn the_copy_is_whole_and_stamped_and_the_live_store_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let live = open(folder.path(), "live.db").await;
        let copy = folder.path().join("copy.db");
        live.copy_to(&copy, Clock::start().utc()).await.unwrap();
        let again = live.copy_to(&copy, Clock::start().utc()).await.unwrap_err();
        assert!(matches!(again, BackupError::Exists(_)), "{again}");
        assert!(!is_stamped(&live).await);
        let restored = open(folder.path(), "copy.db").await;
        assert_eq!(restored.store_id(), live.store_id());
        assert!(is_stamped(&restored).await);
        assert!(!folder.path().join("copy.db.partial").exists());
    }

    #[tokio::test]
    async fn a_copy_that_fails_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let live = open(folder.path(), "live.db").await;
        fs::create_dir(folder.path().join("copy.db.partial")).unwrap();
        let copy = folder.path().join("copy.db");
        live.copy_to(&copy, Clock::start().utc()).await.unwrap_err();
        assert!(!copy.exists());
        let missing = folder.path().join("nowhere").join("copy.db");
        let error = live
            .copy_to(&missing, Clock::start().utc())
            .await
            .unwrap_err();
        assert!(matches!(error, BackupError::File { .. }), "{error}");
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn only_its_owner_may_read_the_copy() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let live = open(folder.path(), "live.db").await;
        let copy = folder.path().join("copy.db");
        live.copy_to(&copy, Clock::start().utc()).await.unwrap();
        assert_eq!(
            fs::metadata(&copy).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
}
