//! Rows of the journal's tables as values, and values as columns.

use std::time::Duration;

use encoder_protocols::{
    card::{CardContents, CardDescription},
    wire::{EncoderKey, JobFinished, JobId, MAX_COUNT},
};
use jiff::{SignedDuration, Timestamp};
use rusqlite::{Row, types::Type};
use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

use super::{JobFacts, JournalError, JournaledJob, JournaledState, Owed};

pub(super) fn journaled_job(row: &Row<'_>) -> rusqlite::Result<JournaledJob> {
    let started_n: Option<i64> = row.get(10)?;
    let state = match started_n {
        None => JournaledState::Accepted,
        Some(_) => JournaledState::Started {
            n: count(row, 10)?,
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
            card_wait: Duration::from_micros(unsigned(row, 7)?),
        },
        n: count(row, 8)?,
        cards: from_json(row, 9)?,
        state,
    })
}

pub(super) fn outcome(row: &Row<'_>) -> rusqlite::Result<JobFinished> {
    let mut finished: JobFinished = from_json(row, 0)?;
    let contents: Option<String> = row.get(1)?;
    finished.contents = match contents {
        None => None,
        Some(_) => Some(from_json::<CardContents>(row, 1)?),
    };
    Ok(finished)
}

pub(super) fn owed(row: &Row<'_>) -> rusqlite::Result<Owed> {
    let encoder_key: Option<String> = row.get(2)?;
    Ok(Owed {
        finished: outcome(row)?,
        encoder_key: encoder_key.map(EncoderKey),
    })
}

/// SQLite's integers are signed; no count here gets near their end.
pub(super) fn integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A sequence or a presentation; one that no message could carry is damage.
pub(super) fn count(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let value = unsigned(row, column)?;
    if value > MAX_COUNT {
        return Err(rusqlite::Error::IntegralValueOutOfRange(
            column,
            integer(value),
        ));
    }
    Ok(value)
}

fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, value))
}

pub(super) fn timestamp(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    Timestamp::from_microsecond(row.get(column)?).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Integer, error.into())
    })
}

pub(super) fn parsed(row: &Row<'_>, column: usize) -> rusqlite::Result<Uuid> {
    let text: String = row.get(column)?;
    text.parse()
        .map_err(|error: uuid::Error| unreadable(column, error))
}

pub(super) fn optional_uuid(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Uuid>> {
    let text: Option<String> = row.get(column)?;
    text.map(|text| {
        text.parse()
            .map_err(|error: uuid::Error| unreadable(column, error))
    })
    .transpose()
}

pub(super) fn from_json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|error| unreadable(column, error))
}

pub(super) fn to_json(value: &impl Serialize) -> Result<String, JournalError> {
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
