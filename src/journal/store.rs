//! The journal as tables of one SQLite file.

use std::{collections::BTreeMap, path::Path};

use encoder_protocols::{
    card::Uid,
    wire::{EncoderKey, JobFinished, JobId},
};
use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use uuid::Uuid;

use super::{
    Guard, JobFacts, JournalContents, JournalError, JournaledJob, Owed, RETENTION, Recall, Record,
    row::{
        count, from_json, integer, journaled_job, optional_uuid, outcome, owed, parsed, to_json,
    },
};

/// The version of the tables, kept in the file's `user_version`.
const SCHEMA_VERSION: u32 = 1;

/// What marks the file as this program's journal: "ENCJ" in the file's `application_id`.
const APPLICATION_ID: i32 = 0x454E_434A;

/// How many tables a journal has.
const OWN_TABLES: u32 = 3;

/// SQLite's page cache for the journal, in KiB: every access is by index and small.
const CACHE_KIB: i64 = 256;

/// The open file.
#[derive(Debug)]
pub(super) struct Store {
    connection: Connection,
}

impl Store {
    /// Opens the file, makes the tables if it is new, and checks it. Another program's file is not changed.
    pub(super) fn open(path: &Path) -> Result<Self, JournalError> {
        let mut store = Self::connect(path, OpenFlags::SQLITE_OPEN_CREATE)?;
        let is_new = store.is_new(path)?;
        let connection = &store.connection;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "secure_delete", "ON")?;
        connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
        // The thread checkpoints while it is idle, so that no job waits for it.
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        if is_new {
            store.make_tables()?;
        }
        store.check()?;
        Ok(store)
    }

    /// Reads a file that is there as a starting agent would, and changes nothing of what it says.
    pub(super) fn inspect(path: &Path) -> Result<(), JournalError> {
        let store = Self::connect(path, OpenFlags::empty())?;
        if store.is_new(path)? {
            return Ok(());
        }
        store.check()?;
        store.contents().map(drop)
    }

    fn connect(path: &Path, create: OpenFlags) -> Result<Self, JournalError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | create;
        let connection = Connection::open_with_flags(path, flags).map_err(|error| {
            let error = JournalError::from(error);
            if let JournalError::Io { reason } = error {
                JournalError::CannotOpen {
                    path: path.to_owned(),
                    reason,
                }
            } else {
                error
            }
        })?;
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        Ok(Self { connection })
    }

    /// Reads what a starting agent must know.
    pub(super) fn contents(&self) -> Result<JournalContents, JournalError> {
        let (agent_id, last_sequence, store_id) = self.connection.query_row(
            "SELECT agent_id, last_sequence, store_id FROM agent",
            [],
            |row| Ok((parsed(row, 0)?, count(row, 1)?, optional_uuid(row, 2)?)),
        )?;
        let last_outcome = self.connection.query_row(
            "SELECT coalesce(max(sequence), 0) FROM jobs",
            [],
            |row| count(row, 0),
        )?;
        Ok(JournalContents {
            agent_id,
            last_sequence,
            last_outcome,
            store_id,
            open_jobs: self.open_jobs()?,
            unacknowledged: self.unacknowledged()?,
            guards: self.guards()?,
            problems: Vec::new(),
        })
    }

    /// Makes everything in `records` durable, or nothing of it.
    pub(super) fn append<'a>(
        &mut self,
        records: impl Iterator<Item = &'a Record>,
    ) -> Result<(), JournalError> {
        let transaction = self.connection.transaction()?;
        for record in records {
            apply(&transaction, record)?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// Looks outcomes up, acknowledged ones included.
    pub(super) fn recall(&self, recall: Recall) -> Result<Vec<JobFinished>, JournalError> {
        let outcomes = match recall {
            Recall::Job(job_id) => self
                .connection
                .prepare_cached(
                    "SELECT finished, contents FROM jobs WHERE job_id = ? AND finished IS NOT NULL",
                )?
                .query_map([job_id.to_string()], outcome)?
                .collect::<Result<_, _>>()?,
            Recall::After { sequence, limit } => self
                .connection
                .prepare_cached(
                    "SELECT finished, contents FROM jobs
                     WHERE sequence > ? ORDER BY sequence LIMIT ?",
                )?
                .query_map(params![integer(sequence), limit], outcome)?
                .collect::<Result<_, _>>()?,
        };
        Ok(outcomes)
    }

    /// Forgets outcomes that were acknowledged longer than [`RETENTION`] before `now`.
    pub(super) fn compact(&mut self, now: Timestamp) -> Result<(), JournalError> {
        let retention = i64::try_from(RETENTION.as_micros()).unwrap_or(i64::MAX);
        let oldest = now.as_microsecond().saturating_sub(retention);
        self.connection
            .execute("DELETE FROM jobs WHERE acknowledged_at < ?", [oldest])?;
        Ok(())
    }

    /// Moves what was appended from the write-ahead log into the file. Needed only to keep the log short.
    pub(super) fn checkpoint(&self) -> Result<(), JournalError> {
        self.connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        Ok(())
    }

    /// Whether the file holds nothing yet. What it holds must be a journal that this version knows.
    fn is_new(&self, path: &Path) -> Result<bool, JournalError> {
        let number = |pragma: &str| -> rusqlite::Result<i32> {
            self.connection
                .pragma_query_value(None, pragma, |row| row.get(0))
        };
        let application = number("application_id")?;
        let version = u32::try_from(number("user_version")?).unwrap_or(u32::MAX);
        let tables: u32 =
            self.connection
                .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        match (application, version, tables) {
            (0, 0, 0) => Ok(true),
            (APPLICATION_ID, ..=SCHEMA_VERSION, _) => Ok(false),
            (APPLICATION_ID, found, _) => Err(JournalError::Newer {
                found,
                known: SCHEMA_VERSION,
            }),
            _ if self.has_own_tables()? => Err(JournalError::Damaged {
                reason: format!("its header carries the application id {application:#010x}"),
            }),
            _ => Err(JournalError::Foreign {
                path: path.to_owned(),
            }),
        }
    }

    /// Whether the tables are a journal's, whatever the header says.
    fn has_own_tables(&self) -> Result<bool, JournalError> {
        let found: u32 = self.connection.query_row(
            "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name IN ('agent', 'jobs', 'guards')",
            [],
            |row| row.get(0),
        )?;
        Ok(found == OWN_TABLES)
    }

    fn make_tables(&mut self) -> Result<(), JournalError> {
        let transaction = self.connection.transaction()?;
        transaction.execute_batch(include_str!("schema.sql"))?;
        transaction.execute(
            "INSERT INTO agent (id, agent_id) VALUES (1, ?)",
            [Uuid::new_v4().to_string()],
        )?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
        transaction.commit()?;
        Ok(())
    }

    /// Lets the file grow to this many pages, or to what it has if that is more.
    #[cfg(test)]
    pub(super) fn limit_pages(&self, pages: u32) {
        self.connection
            .pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
            .unwrap();
    }

    /// Lets nothing be written.
    #[cfg(test)]
    pub(super) fn forbid_writing(&self) {
        self.connection
            .pragma_update(None, "query_only", true)
            .unwrap();
    }

    fn check(&self) -> Result<(), JournalError> {
        let verdict: String = self
            .connection
            .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if verdict == "ok" {
            Ok(())
        } else {
            Err(JournalError::Damaged { reason: verdict })
        }
    }

    fn open_jobs(&self) -> Result<Vec<JournaledJob>, JournalError> {
        let jobs = self
            .connection
            .prepare(
                "SELECT job_id, encoder_key, kind, credential_id, created_at, deadline, server_offset, card_wait,
                        n, cards, started_n, started_card
                 FROM jobs WHERE finished IS NULL ORDER BY accepted_order",
            )?
            .query_map([], journaled_job)?
            .collect::<Result<_, _>>()?;
        Ok(jobs)
    }

    fn unacknowledged(&self) -> Result<Vec<Owed>, JournalError> {
        let outcomes = self
            .connection
            .prepare(
                "SELECT finished, contents, encoder_key FROM jobs
                 WHERE finished IS NOT NULL AND acknowledged_at IS NULL ORDER BY sequence",
            )?
            .query_map([], owed)?
            .collect::<Result<_, _>>()?;
        Ok(outcomes)
    }

    fn guards(&self) -> Result<BTreeMap<EncoderKey, Vec<Guard>>, JournalError> {
        let guards = self
            .connection
            .prepare("SELECT encoder_key, guards FROM guards")?
            .query_map([], |row| Ok((EncoderKey(row.get(0)?), from_json(row, 1)?)))?
            .collect::<Result<_, _>>()?;
        Ok(guards)
    }
}

fn apply(connection: &Connection, record: &Record) -> Result<(), JournalError> {
    match record {
        Record::Accepted(facts) => accept(connection, facts),
        Record::Presented { job_id, n, uid } => present(connection, *job_id, *n, *uid),
        Record::Started { job_id, n, card } => execute(
            connection,
            "UPDATE jobs SET started_n = ?2, started_card = ?3, n = max(n, ?2) WHERE job_id = ?1",
            params![job_id.to_string(), integer(*n), to_json(card)?],
        ),
        Record::Finished(finished) => finish(connection, finished),
        Record::Acknowledged { sequence, at } => execute(
            connection,
            "UPDATE jobs SET acknowledged_at = ?2, contents = NULL WHERE sequence = ?1",
            params![integer(*sequence), at.as_microsecond()],
        ),
        Record::SequenceFloor(sequence) => raise_sequence(connection, *sequence),
        Record::Guarded {
            encoder_key,
            guards,
        } if guards.is_empty() => execute(
            connection,
            "DELETE FROM guards WHERE encoder_key = ?",
            params![encoder_key.0],
        ),
        Record::Guarded {
            encoder_key,
            guards,
        } => execute(
            connection,
            "INSERT OR REPLACE INTO guards (encoder_key, guards) VALUES (?, ?)",
            params![encoder_key.0, to_json(guards)?],
        ),
        Record::Store(store_id) => execute(
            connection,
            "UPDATE agent SET store_id = ?",
            params![store_id.to_string()],
        ),
    }
}

fn accept(connection: &Connection, facts: &JobFacts) -> Result<(), JournalError> {
    execute(
        connection,
        "INSERT INTO jobs (job_id, encoder_key, kind, credential_id, created_at, deadline, server_offset, card_wait, n)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1)",
        params![
            facts.job_id.to_string(),
            facts.encoder_key.0,
            to_json(&facts.kind)?,
            facts.credential_id.map(|id| id.to_string()),
            facts.created_at.as_microsecond(),
            facts.deadline.as_microsecond(),
            i64::try_from(facts.server_offset.as_micros()).unwrap_or(i64::MAX),
            i64::try_from(facts.card_wait.as_micros()).unwrap_or(i64::MAX),
        ],
    )
}

fn present(
    connection: &Connection,
    job_id: JobId,
    n: u64,
    uid: Option<Uid>,
) -> Result<(), JournalError> {
    let job_id = job_id.to_string();
    let cards = connection
        .prepare_cached("SELECT cards FROM jobs WHERE job_id = ?")?
        .query_row([&job_id], |row| from_json::<Vec<Uid>>(row, 0))
        .optional()?;
    let Some(mut cards) = cards else {
        return Ok(());
    };
    if let Some(uid) = uid.filter(|uid| !cards.contains(uid)) {
        cards.push(uid);
    }
    execute(
        connection,
        "UPDATE jobs SET n = max(n, ?2), cards = ?3 WHERE job_id = ?1",
        params![job_id, integer(n), to_json(&cards)?],
    )
}

fn finish(connection: &Connection, finished: &JobFinished) -> Result<(), JournalError> {
    let contents = finished.contents.as_ref().map(to_json).transpose()?;
    let row = JobFinished {
        contents: None,
        ..finished.clone()
    };
    execute(
        connection,
        "INSERT INTO jobs (job_id, sequence, finished, contents) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (job_id) DO UPDATE SET sequence = ?2, finished = ?3, contents = ?4",
        params![
            finished.job_id.to_string(),
            integer(finished.sequence),
            to_json(&row)?,
            contents
        ],
    )?;
    raise_sequence(connection, finished.sequence)
}

fn raise_sequence(connection: &Connection, sequence: u64) -> Result<(), JournalError> {
    execute(
        connection,
        "UPDATE agent SET last_sequence = max(last_sequence, ?)",
        params![integer(sequence)],
    )
}

fn execute(
    connection: &Connection,
    sql: &str,
    params: impl rusqlite::Params,
) -> Result<(), JournalError> {
    connection.prepare_cached(sql)?.execute(params)?;
    Ok(())
}
