//! Columns as the store writes them: ids as text, times as unix milliseconds.

use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use sqlx::{Error, QueryBuilder, Row as _, Sqlite, error::UnexpectedNullError, sqlite::SqliteRow};
use uuid::Uuid;

/// The columns of one row, by their names. A name that the query has not selected is an error.
pub(super) trait Columns {
    /// Text, or null.
    fn text(&self, column: &str) -> Result<Option<&str>, Error>;

    /// An integer, or null.
    fn integer(&self, column: &str) -> Result<Option<i64>, Error>;
}

impl Columns for SqliteRow {
    fn text(&self, column: &str) -> Result<Option<&str>, Error> {
        self.try_get(column)
    }

    fn integer(&self, column: &str) -> Result<Option<i64>, Error> {
        self.try_get(column)
    }
}

/// Text that is never null.
pub(super) fn text<'a>(row: &'a impl Columns, column: &str) -> Result<&'a str, Error> {
    row.text(column)?.ok_or_else(|| null(column))
}

/// The same, to keep.
pub(super) fn string(row: &impl Columns, column: &str) -> Result<String, Error> {
    Ok(text(row, column)?.to_owned())
}

/// Text that may be null, to keep.
pub(super) fn optional_string(row: &impl Columns, column: &str) -> Result<Option<String>, Error> {
    Ok(row.text(column)?.map(str::to_owned))
}

/// An integer that is never null.
pub(super) fn integer(row: &impl Columns, column: &str) -> Result<i64, Error> {
    row.integer(column)?.ok_or_else(|| null(column))
}

/// Yes or no, as 1 or 0.
pub(super) fn flag(row: &impl Columns, column: &str) -> Result<bool, Error> {
    Ok(integer(row, column)? != 0)
}

fn null(column: &str) -> Error {
    undecodable(column, UnexpectedNullError)
}

/// An id column.
pub(super) fn id(row: &impl Columns, column: &str) -> Result<Uuid, Error> {
    Uuid::try_parse(text(row, column)?).map_err(|error| undecodable(column, error))
}

/// An id column that may be null.
pub(super) fn optional_id(row: &impl Columns, column: &str) -> Result<Option<Uuid>, Error> {
    row.text(column)?
        .map(Uuid::try_parse)
        .transpose()
        .map_err(|error| undecodable(column, error))
}

/// A time column.
pub(super) fn time(row: &impl Columns, column: &str) -> Result<Timestamp, Error> {
    Timestamp::from_millisecond(integer(row, column)?).map_err(|error| undecodable(column, error))
}

/// A time column that may be null.
pub(super) fn optional_time(row: &impl Columns, column: &str) -> Result<Option<Timestamp>, Error> {
    row.integer(column)?
        .map(Timestamp::from_millisecond)
        .transpose()
        .map_err(|error| undecodable(column, error))
}

/// A number column whose values the schema keeps small.
pub(super) fn number<T: TryFrom<i64>>(row: &impl Columns, column: &str) -> Result<T, Error>
where
    T::Error: std::error::Error + Send + Sync + 'static,
{
    T::try_from(integer(row, column)?).map_err(|error| undecodable(column, error))
}

/// An id as the store writes it.
pub(super) fn optional_text(id: Option<Uuid>) -> Option<String> {
    id.map(|id| id.to_string())
}

/// A time as the store writes it.
pub(super) fn optional_ms(time: Option<Timestamp>) -> Option<i64> {
    time.map(Timestamp::as_millisecond)
}

/// The error for a column whose text or number is not what the schema promises.
pub(super) fn undecodable(
    column: &str,
    source: impl std::error::Error + Send + Sync + 'static,
) -> Error {
    Error::ColumnDecode {
        index: column.to_owned(),
        source: Box::new(source),
    }
}

/// A value as a JSON column.
pub(super) fn json<T: Serialize>(value: &T) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| Error::Encode(Box::new(error)))
}

/// A JSON column.
pub(super) fn from_json<T: DeserializeOwned>(row: &impl Columns, column: &str) -> Result<T, Error> {
    serde_json::from_str(text(row, column)?).map_err(|error| undecodable(column, error))
}

/// A JSON column that may be null.
pub(super) fn optional_json<T: DeserializeOwned>(
    row: &impl Columns,
    column: &str,
) -> Result<Option<T>, Error> {
    row.text(column)?
        .map(serde_json::from_str)
        .transpose()
        .map_err(|error| undecodable(column, error))
}

/// A value without fields as the column of its name.
pub(super) fn name<T: Serialize>(value: &T) -> Result<String, Error> {
    match serde_json::to_value(value) {
        Ok(Value::String(name)) => Ok(name),
        Ok(other) => Err(Error::Encode(format!("no name: {other}").into())),
        Err(error) => Err(Error::Encode(Box::new(error))),
    }
}

/// The column of a value's name.
pub(super) fn from_name<T: DeserializeOwned>(row: &impl Columns, column: &str) -> Result<T, Error> {
    serde_json::from_value(Value::String(string(row, column)?))
        .map_err(|error| undecodable(column, error))
}

/// The column of a value's name, which may be null.
pub(super) fn optional_name<T: DeserializeOwned>(
    row: &impl Columns,
    column: &str,
) -> Result<Option<T>, Error> {
    optional_string(row, column)?
        .map(|name| serde_json::from_value(Value::String(name)))
        .transpose()
        .map_err(|error| undecodable(column, error))
}

/// Adds the condition that a row belongs to a workspace. Where `another_leads` another condition leads to few rows:
/// SQLite, which does not know that, is kept from walking through the whole workspace instead by the plus sign.
pub(super) fn push_workspace(
    query: &mut QueryBuilder<Sqlite>,
    column: &'static str,
    workspace_id: Uuid,
    another_leads: bool,
) {
    query
        .push(if another_leads { " AND +" } else { " AND " })
        .push(column)
        .push(" = ")
        .push_bind(workspace_id.to_string());
}

/// Adds the condition that a column has one of many values, such as a page's ids, as one JSON list: as many parameters would
/// take longer to say than their rows to find.
pub(super) fn push_any_of_page(
    query: &mut QueryBuilder<Sqlite>,
    column: &'static str,
    ids: &[Uuid],
) -> Result<(), Error> {
    query
        .push(" AND ")
        .push(column)
        .push(" IN (SELECT value FROM json_each(")
        .push_bind(json(&ids)?)
        .push("))");
    Ok(())
}

/// Adds the condition that a column has one of these values; none where no list of values is given. An empty list is
/// fulfilled by nothing, which SQLite finds without looking at every row where it stands as `NULL`.
pub(super) fn push_any<T: ToString>(
    query: &mut QueryBuilder<Sqlite>,
    column: &'static str,
    values: Option<&[T]>,
) {
    let Some(values) = values else { return };
    query.push(" AND ").push(column).push(" IN (");
    let mut list = query.separated(", ");
    for value in values {
        list.push_bind(value.to_string());
    }
    if values.is_empty() {
        list.push("NULL");
    }
    query.push(")");
}
