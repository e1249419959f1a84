//! Many rows, read as one value.
//!
//! The driver hands rows over one by one, from the thread of its connection: each value is copied there and freed here, and
//! each row may wake this side. For a page of 500 rows that takes several times as long as SQLite needs to find them. So
//! SQLite writes the rows down as one JSON text, and that is handed over.

use std::{borrow::Cow, collections::HashMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{self, Visitor},
};
use sqlx::{AssertSqlSafe, Error, Execute as _, QueryBuilder, Sqlite, SqliteConnection};

use super::columns::{Columns, undecodable};

/// What is read from the columns of a row.
pub(super) trait FromColumns: Sized {
    /// The columns that are read.
    fn columns() -> Vec<&'static str>;

    /// Reads them.
    fn from_columns(row: &impl Columns) -> Result<Self, Error>;
}

/// Lets the driver read single rows by the same columns.
macro_rules! from_row {
    ($row:ty) => {
        impl sqlx::FromRow<'_, sqlx::sqlite::SqliteRow> for $row {
            fn from_row(row: &sqlx::sqlite::SqliteRow) -> Result<Self, sqlx::Error> {
                <Self as $crate::store::rows::FromColumns>::from_columns(row)
            }
        }
    };
}
pub(super) use from_row;

/// Every row of a query, in its order. Its columns hold text, integers and nulls; JSON that it makes itself must be selected
/// as text.
pub(super) async fn fetch_all<T: FromColumns>(
    mut query: QueryBuilder<Sqlite>,
    conn: &mut SqliteConnection,
) -> Result<Vec<T>, Error> {
    let columns = T::columns();
    let mut query = query.build();
    let arguments = query.take_arguments().map_err(Error::Encode)?;
    // A subquery that is ordered and limited is worked off row by row, in its order.
    let page = [
        "SELECT json_group_array(json_array(",
        &columns.join(", "),
        ")) FROM (",
        query.sql().as_str(),
        ")",
    ]
    .concat();
    let page = sqlx::query_scalar_with(AssertSqlSafe(page), arguments.unwrap_or_default());
    let page: String = page.fetch_one(conn).await?;
    let rows: Vec<Vec<Cell<'_>>> =
        serde_json::from_str(&page).map_err(|error| Error::Decode(Box::new(error)))?;
    let places: HashMap<_, _> = columns.into_iter().zip(0..).collect();
    let read = |cells| {
        let places = &places;
        T::from_columns(&PageRow { places, cells })
    };
    rows.into_iter().map(read).collect()
}

/// A row of a page.
struct PageRow<'a> {
    places: &'a HashMap<&'static str, usize>,
    cells: Vec<Cell<'a>>,
}

impl PageRow<'_> {
    fn cell(&self, column: &str) -> Result<&Cell<'_>, Error> {
        let place = self.places.get(column);
        place
            .and_then(|place| self.cells.get(*place))
            .ok_or_else(|| Error::ColumnNotFound(column.to_owned()))
    }
}

impl Columns for PageRow<'_> {
    fn text(&self, column: &str) -> Result<Option<&str>, Error> {
        match self.cell(column)? {
            Cell::Null => Ok(None),
            Cell::Text(text) => Ok(Some(text)),
            Cell::Integer(_) => Err(undecodable(column, WrongType { expected: "text" })),
        }
    }

    fn integer(&self, column: &str) -> Result<Option<i64>, Error> {
        const EXPECTED: &str = "an integer";
        match self.cell(column)? {
            Cell::Null => Ok(None),
            Cell::Integer(number) => Ok(Some(*number)),
            Cell::Text(_) => Err(undecodable(column, WrongType { expected: EXPECTED })),
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("expected {expected}")]
struct WrongType {
    expected: &'static str,
}

/// One column of one row; its text is borrowed from the page where it stands there without escapes.
#[derive(Debug, PartialEq)]
enum Cell<'a> {
    Null,
    Integer(i64),
    Text(Cow<'a, str>),
}

impl<'de: 'a, 'a> Deserialize<'de> for Cell<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CellVisitor)
    }
}

struct CellVisitor;

impl<'de> Visitor<'de> for CellVisitor {
    type Value = Cell<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("null, an integer or text")
    }

    fn visit_unit<E>(self) -> Result<Cell<'de>, E> {
        Ok(Cell::Null)
    }

    fn visit_i64<E>(self, number: i64) -> Result<Cell<'de>, E> {
        Ok(Cell::Integer(number))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Cell<'de>, E> {
        i64::try_from(number).map(Cell::Integer).map_err(E::custom)
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Cell<'de>, E> {
        Ok(Cell::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Cell<'de>, E> {
        Ok(Cell::Text(Cow::Owned(text.to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use sqlx::Connection as _;

    use super::*;
    use crate::store::columns;

    #[derive(Debug, PartialEq)]
    struct Thing {
        name: Option<String>,
        number: Option<i64>,
    }

    impl FromColumns for Thing {
        fn columns() -> Vec<&'static str> {
            vec!["name", "number"]
        }

        fn from_columns(row: &impl Columns) -> Result<Self, Error> {
            Ok(Self {
                name: columns::optional_string(row, "name")?,
                number: row.integer("number")?,
            })
        }
    }

    from_row!(Thing);

    async fn conn() -> SqliteConnection {
        SqliteConnection::connect("sqlite::memory:").await.unwrap()
    }

    #[tokio::test]
    async fn a_page_is_what_its_rows_are_one_by_one() {
        let mut conn = conn().await;
        let made =
            "CREATE TABLE things (place INTEGER PRIMARY KEY, name TEXT, number INTEGER) STRICT";
        sqlx::query(made).execute(&mut conn).await.unwrap();
        let empty = fetch_all::<Thing>(QueryBuilder::new("SELECT * FROM things"), &mut conn).await;
        assert_eq!(empty.unwrap(), []);
        let names = [
            Some("plain"),
            None,
            Some(""),
            Some("\"\\ \n\t\u{1}\u{7f}\u{2028}"),
            Some("[1, {\"a\": null}]"),
            Some("Zoë 🗝 ключ"),
            Some("a\0b"),
        ];
        let numbers = [None, Some(0), Some(-1), Some(i64::MAX), Some(i64::MIN)];
        for (name, number) in names
            .into_iter()
            .flat_map(|name| numbers.map(|number| (name, number)))
        {
            sqlx::query("INSERT INTO things (name, number) VALUES (?, ?)")
                .bind(name)
                .bind(number)
                .execute(&mut conn)
                .await
                .unwrap();
        }
        let query = || {
            let mut query = QueryBuilder::new("SELECT * FROM things WHERE place > ");
            query
                .push_bind(3)
                .push(" ORDER BY place DESC LIMIT ")
                .push_bind(30);
            query
        };
        let expected: Vec<Thing> = query().build_query_as().fetch_all(&mut conn).await.unwrap();
        assert_eq!(expected.len(), 30);
        let page = fetch_all::<Thing>(query(), &mut conn).await.unwrap();
        assert_eq!(page, expected);
    }

    #[tokio::test]
    async fn a_column_of_another_type_is_refused() {
        let mut conn = conn().await;
        for select in [
            "SELECT 1 AS name, 1 AS number",
            "SELECT 'a' AS name, 'a' AS number",
            "SELECT 'a' AS name, 1.5 AS number",
            "SELECT 'a' AS name",
        ] {
            let found = fetch_all::<Thing>(QueryBuilder::new(select), &mut conn).await;
            assert!(found.is_err(), "{select}: {found:?}");
        }
    }
}
