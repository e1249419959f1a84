//! The journal as tables of one SQLite file.

use std::{collections::BTreeMap, path::Path, time::Duration};

use encoder_protocols::{
    card::{CardContents, CardDescription, Uid},
    wire::{EncoderKey, JobFinished, JobId},
};
use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params, types::Type};
use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

use super::{
    Guard, JobFacts, JournalContents, JournalError, JournaledJob, JournaledState, Owed, RETENTION,
    Recall, Record,
};

/// The version of the tables, kept in the file's `user_version`.
const SCHEMA_VERSION: u32 = 1;

/// SQLite's page cache for the journal, in KiB: every access is by index and small.
const CACHE_KIB: i64 = 256;

/// The open file.
pub(super) struct Store {
    connection: Connection,
}

impl Store {
    /// Opens the file, makes the tables if it is new, and checks it.
    pub(super) fn open(path: &Path) -> Result<Self, JournalError> {
        let connection = Connection::open(path).map_err(|error| {
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
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "secure_delete", "ON")?;
        connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
        // The thread checkpoints while it is idle, so that no job waits for it.
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        let mut store = Self { connection };
        store.prepare_tables()?;
        store.check()?;
        Ok(store)
    }

    /// Reads what a starting agent must know.
    pub(super) fn contents(&self) -> Result<JournalContents, JournalError> {
        let (agent_id, last_sequence, store_id) = self.connection.query_row(
            "SELECT agent_id, last_sequence, store_id FROM agent",
            [],
            |row| {
                Ok((
                    parsed(row, 0)?,
                    sequence_of(row, 1)?,
                    optional_uuid(row, 2)?,
                ))
            },
        )?;
        Ok(JournalContents {
            agent_id,
            last_sequence,
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

    fn prepare_tables(&mut self) -> Result<(), JournalError> {
        let found: u32 = self
            .connection
            .pragma_query_value(None, "user_version", |row| row.get(0))?;
        if found > SCHEMA_VERSION {
            return Err(JournalError::Newer {
                found,
                known: SCHEMA_VERSION,
            });
        }
        if found == 0 {
            let transaction = self.connection.transaction()?;
            transaction.execute_batch(include_str!("schema.sql"))?;
            transaction.execute(
                "INSERT INTO agent (id, agent_id) VALUES (1, ?)",
                [Uuid::new_v4().to_string()],
            )?;
            transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
            transaction.commit()?;
        }
        Ok(())
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

fn journaled_job(row: &Row<'_>) -> rusqlite::Result<JournaledJob> {
    let started_n: Option<i64> = row.get(10)?;
    let state = match started_n {
        None => JournaledState::Accepted,
        Some(n) => JournaledState::Started {
            n: u64::try_from(n).unwrap_or_default(),
            card: from_json::<CardDescription>(row, 11)?,
        },
    };
    Ok(JournaledJob {
        facts: JobFacts {
            job_id: JobId(parsed(row, 0)?),
            encoder_key: EncoderKey(row.get(1)?),
            kind: from_json(row, 2)?,
            credential_id: optional_uuid(row, 3)?,
            created_at: timestamp(row, 4)?,
            deadline: timestamp(row, 5)?,
            server_offset: SignedDuration::from_micros(row.get(6)?),
            card_wait: Duration::from_micros(sequence_of(row, 7)?),
        },
        n: sequence_of(row, 8)?,
        cards: from_json(row, 9)?,
        state,
    })
}

fn outcome(row: &Row<'_>) -> rusqlite::Result<JobFinished> {
    let mut finished: JobFinished = from_json(row, 0)?;
    let contents: Option<String> = row.get(1)?;
    finished.contents = match contents {
        None => None,
        Some(_) => Some(from_json::<CardContents>(row, 1)?),
    };
    Ok(finished)
}

fn owed(row: &Row<'_>) -> rusqlite::Result<Owed> {
    let encoder_key: Option<String> = row.get(2)?;
    Ok(Owed {
        finished: outcome(row)?,
        encoder_key: encoder_key.map(EncoderKey),
    })
}

/// SQLite's integers are signed; no count here gets near their end.
fn integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn sequence_of(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, value))
}

fn timestamp(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    Timestamp::from_microsecond(row.get(column)?).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Integer, error.into())
    })
}

fn parsed(row: &Row<'_>, column: usize) -> rusqlite::Result<Uuid> {
    let text: String = row.get(column)?;
    text.parse()
        .map_err(|error: uuid::Error| unreadable(column, error))
}

fn optional_uuid(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Uuid>> {
    let text: Option<String> = row.get(column)?;
    text.map(|text| {
        text.parse()
            .map_err(|error: uuid::Error| unreadable(column, error))
    })
    .transpose()
}

fn from_json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|error| unreadable(column, error))
}

fn to_json(value: &impl Serialize) -> Result<String, JournalError> {
    serde_json::to_string(value).map_err(|error| JournalError::Io {
        reason: error.to_string(),
    })
}

fn unreadable(
    column: usize,
    error: impl std::error::Error + Send + Sync + 'static,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
}
