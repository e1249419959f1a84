//! The SQL store: SQLite in WAL mode, every commit on disk before it is answered.
//!
//! One file per resource, with its row structs and typed functions. They take a connection: [`Store::read`] gives
//! one that sees a consistent state, [`Store::write`] a transaction that has the only right to write.

pub mod access_grants;
pub mod access_methods;
pub mod agents;
pub mod api_keys;
pub mod attempts;
pub mod audit;
pub mod backup;
mod columns;
pub mod commands;
pub mod credentials;
pub mod deliveries;
pub mod encoders;
pub mod entrances;
pub mod events;
pub mod figures;
pub mod holds;
pub mod jobs;
pub mod key_servers;
pub mod meta;
pub mod pairing;
pub mod personal_access_tokens;
mod rows;
mod search;
pub mod simulations;
pub mod site_keys;
pub mod spaces;
#[cfg(test)]
pub(crate) mod statements;
pub mod systems;
pub mod user_identities;
pub mod users;
pub mod webhooks;
pub mod workspaces;

use std::{
    io,
    ops::{Deref, DerefMut},
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;
use sqlx::{
    Connection as _, Sqlite, SqliteConnection, SqlitePool, Transaction,
    migrate::{MigrateError, Migrator},
    pool::PoolConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::sync::watch;
use uuid::Uuid;

use crate::{
    secrets::{MasterKey, SecretsError},
    tokens::NoRandomness,
};

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// How long a statement waits for another process (a command beside the running service) to finish its write.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// How many requests read side by side.
const READERS: u32 = 4;

/// How many rows the database's thread may be ahead of whoever reads them: a page of the usual length, so that the two do
/// not wake each other for every few rows.
const ROWS_AHEAD: usize = 512;

/// How much of the database each reader keeps at hand, as SQLite's `cache_size` takes it: 8 MiB.
const READER_CACHE: &str = "-8192";

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database file cannot be made or opened.
    #[error("cannot open the database {path}: {source}")]
    Unavailable {
        /// The database file.
        path: PathBuf,
        /// What went wrong.
        source: sqlx::Error,
    },
    /// The database file cannot be created.
    #[error("cannot create the database {path}: {source}")]
    NotCreated {
        /// The database file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A newer version of this program has changed the database.
    #[error(
        "the database {path} is of version {found}, this program knows versions up to {known}: run the newer program"
    )]
    Newer {
        /// The database file.
        path: PathBuf,
        /// The newest migration in the database.
        found: i64,
        /// The newest migration that this program has.
        known: i64,
    },
    /// The tables could not be brought up to date.
    #[error("cannot bring the database up to date: {0}")]
    Migration(#[from] MigrateError),
    /// A statement failed.
    #[error("database: {0}")]
    Query(#[from] sqlx::Error),
    /// A secret could not be sealed or opened.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// No random bytes for a key.
    #[error(transparent)]
    Random(#[from] NoRandomness),
    /// All 65,535 entrance numbers of a system are taken.
    #[error("the system has all 65535 entrances that a card can name: make another system")]
    EntrancesExhausted,
}

impl StoreError {
    /// Whether the database cannot be written now: its disk is full or read-only or fails, or another process keeps it
    /// busy. Nothing was changed, and later it may go.
    pub fn is_unwritable(&self) -> bool {
        /// SQLite's primary result codes `SQLITE_BUSY`, `SQLITE_READONLY`, `SQLITE_IOERR`, `SQLITE_FULL` and
        /// `SQLITE_CANTOPEN`.
        const UNWRITABLE: [i32; 5] = [5, 8, 10, 13, 14];
        let Self::Query(error) = self else {
            return false;
        };
        let code = error.as_database_error().and_then(|error| error.code());
        // The low byte of an extended result code is the primary one.
        let primary = code
            .and_then(|code| code.parse().ok())
            .map(|code: i32| code & 0xff);
        primary.is_some_and(|code| UNWRITABLE.contains(&code))
            || matches!(error, sqlx::Error::PoolTimedOut)
    }
}

/// The open database and the master key of its secrets.
#[derive(Clone, Debug)]
pub struct Store {
    writer: SqlitePool,
    readers: SqlitePool,
    master_key: MasterKey,
    store_id: Uuid,
    written: watch::Sender<()>,
}

impl Store {
    /// Opens the database file, making it, its tables and the master key file where they are missing.
    ///
    /// # Errors
    /// [`StoreError`] when a file cannot be made or read, the database is newer than this program, or the master key
    /// is missing or not the database's.
    pub async fn open(
        database: &Path,
        master_key_file: &Path,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        #[cfg(test)]
        statements::listen();
        create_private(database).map_err(|source| StoreError::NotCreated {
            path: database.to_owned(),
            source,
        })?;
        let unavailable = |source| StoreError::Unavailable {
            path: database.to_owned(),
            source,
        };
        let options = connect_options(database);
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .after_release(|conn, _| Box::pin(is_reusable(conn)))
            .connect_with(options.clone())
            .await
            .map_err(unavailable)?;
        migrate(&writer, database).await?;
        let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await?;
        let (store_id, master_key) = meta::identify(&mut transaction, master_key_file, now).await?;
        transaction.commit().await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .connect_with(
                options
                    .pragma("query_only", "1")
                    .pragma("cache_size", READER_CACHE),
            )
            .await
            .map_err(unavailable)?;
        Ok(Self {
            writer,
            readers,
            master_key,
            store_id,
            written: watch::Sender::new(()),
        })
    }

    /// A connection that only reads.
    ///
    /// # Errors
    /// [`StoreError::Query`] when none is free in time.
    pub async fn read(&self) -> Result<PoolConnection<Sqlite>, StoreError> {
        Ok(self.readers.acquire().await?)
    }

    /// A transaction that may write: the only one in this process. Dropped without a commit it changes nothing.
    ///
    /// # Errors
    /// [`StoreError::Query`] when another process keeps the database busy.
    pub async fn write(&self) -> Result<WriteTransaction, StoreError> {
        Ok(WriteTransaction {
            transaction: self.writer.begin_with("BEGIN IMMEDIATE").await?,
            written: self.written.clone(),
        })
    }

    /// Changes with every commit of this process, so that whoever waits for something need not poll.
    pub fn written(&self) -> watch::Receiver<()> {
        self.written.subscribe()
    }

    /// The connection that writes, for a test that breaks it.
    #[cfg(test)]
    pub(crate) async fn writer(&self) -> PoolConnection<Sqlite> {
        self.writer
            .acquire()
            .await
            .expect("nobody else has it for long")
    }

    /// The key of the store's secrets.
    pub fn master_key(&self) -> &MasterKey {
        &self.master_key
    }

    /// The store's identity: agents tell by it whether they talk to the store they know.
    pub fn store_id(&self) -> Uuid {
        self.store_id
    }

    /// Closes all connections; the write-ahead log is folded into the database.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// A transaction that may write.
#[derive(Debug)]
pub struct WriteTransaction {
    transaction: Transaction<'static, Sqlite>,
    written: watch::Sender<()>,
}

impl WriteTransaction {
    /// Makes the changes last.
    ///
    /// # Errors
    /// What the database says; then nothing was changed.
    pub async fn commit(self) -> Result<(), sqlx::Error> {
        self.transaction.commit().await?;
        self.written.send_replace(());
        Ok(())
    }
}

impl Deref for WriteTransaction {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.transaction
    }
}

impl DerefMut for WriteTransaction {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.transaction
    }
}

/// One page of a list.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Page<T> {
    /// The rows, in the order of their creation.
    pub rows: Vec<T>,
    /// Whether more rows follow.
    pub has_next: bool,
}

impl<T> Page<T> {
    /// Makes a page of at most `limit` rows out of a query for one more than that.
    pub(crate) fn cut(mut rows: Vec<T>, limit: u32) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let has_next = rows.len() > limit;
        rows.truncate(limit);
        Self { rows, has_next }
    }

    /// The last row, if more rows follow on the next page.
    pub(crate) fn last_before_more(&self) -> Option<&T> {
        self.rows.last().filter(|_| self.has_next)
    }
}

/// Where a page begins and how long it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PageRequest {
    /// The last id of the page before; none for the first page.
    pub after: Option<Uuid>,
    /// The most rows to return, at least 1.
    pub limit: u32,
}

impl PageRequest {
    /// The id after which the page begins, as it sorts in the store.
    pub(crate) fn after_text(&self) -> String {
        self.after.map(|id| id.to_string()).unwrap_or_default()
    }

    /// How many rows to ask for so that the answer tells whether more follow.
    pub(crate) fn fetch(&self) -> i64 {
        i64::from(self.limit) + 1
    }
}

/// Whether a connection has ended its transaction. Where the disk is full SQLite rolls back by itself, and sqlx then takes
/// the transaction for open for ever: such a connection makes place for a new one.
async fn is_reusable(conn: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    // A rollback may still be on its way to the connection's thread.
    conn.ping().await?;
    Ok(!conn.is_in_transaction())
}

fn connect_options(database: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(database)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .row_buffer_size(ROWS_AHEAD)
        .busy_timeout(BUSY_TIMEOUT)
}

/// Makes the database file, if it is missing, so that only its owner may read it: it names guests and their cards.
fn create_private(database: &Path) -> io::Result<()> {
    match crate::secrets::write_private(database, b"") {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result,
    }
}

async fn migrate(writer: &SqlitePool, database: &Path) -> Result<(), StoreError> {
    match MIGRATIONS.run(writer).await {
        Err(MigrateError::VersionMissing(_) | MigrateError::VersionTooNew(..)) => {
            let found = sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations")
                .fetch_one(writer)
                .await?;
            let known = MIGRATIONS.iter().map(|m| m.version).max();
            Err(StoreError::Newer {
                path: database.to_owned(),
                found,
                known: known.unwrap_or_default(),
            })
        }
        result => Ok(result?),
    }
}

#[cfg(test)]
pub(crate) mod tests;
