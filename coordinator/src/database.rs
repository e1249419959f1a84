//! Which database, as the command line names it.

use std::{
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

const SQLITE: &str = "sqlite:";

/// A SQLite database file, named as `sqlite:PATH`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Database(PathBuf);

/// The text names no database that this service can use.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BadDatabase {
    /// Not a SQLite database.
    #[error("expected sqlite:PATH, for example sqlite:/var/lib/encoder-coordinator/store.db")]
    NotSqlite,
    /// Options in the name would be taken for a part of the path.
    #[error("expected sqlite:PATH without options, got a `?` in it")]
    Options,
    /// A database in memory forgets which credential is on which card.
    #[error("expected sqlite:PATH of a file: a database in memory forgets which card holds what")]
    InMemory,
}

impl Database {
    /// The database file.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The master key file: the given one, or the one beside the database.
    pub fn master_key_file(&self, given: Option<&Path>) -> PathBuf {
        given.map_or_else(|| self.beside(".master-key"), Path::to_owned)
    }

    /// The file beside the database whose name is the database's and `suffix`.
    pub fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = OsString::from(&self.0);
        name.push(suffix);
        name.into()
    }
}

impl FromStr for Database {
    type Err = BadDatabase;

    fn from_str(text: &str) -> Result<Self, BadDatabase> {
        let path = text.strip_prefix(SQLITE).ok_or(BadDatabase::NotSqlite)?;
        let path = path.strip_prefix("//").unwrap_or(path);
        match path {
            "" => Err(BadDatabase::NotSqlite),
            ":memory:" => Err(BadDatabase::InMemory),
            path if path.contains('?') => Err(BadDatabase::Options),
            path => Ok(Self(path.into())),
        }
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SQLITE}{}", self.0.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_follows_the_scheme() {
        for (text, path) in [
            ("sqlite:store.db", "store.db"),
            ("sqlite:/var/store.db", "/var/store.db"),
            ("sqlite:///var/store.db", "/var/store.db"),
            ("sqlite://store.db", "store.db"),
        ] {
            assert_eq!(text.parse(), Ok(Database(path.into())), "{text}");
        }
    }

    #[test]
    fn other_databases_are_refused() {
        for (text, error) in [
            ("", BadDatabase::NotSqlite),
            ("store.db", BadDatabase::NotSqlite),
            ("sqlite:", BadDatabase::NotSqlite),
            ("postgres://localhost/x", BadDatabase::NotSqlite),
            ("sqlite::memory:", BadDatabase::InMemory),
            ("sqlite:x.db?mode=ro", BadDatabase::Options),
        ] {
            assert_eq!(text.parse::<Database>(), Err(error), "{text}");
        }
    }

    #[test]
    fn the_master_key_lies_beside_the_database_unless_it_is_named() {
        let database: Database = "sqlite:/var/store.db".parse().unwrap();
        let beside = Path::new("/var/store.db.master-key");
        assert_eq!(database.master_key_file(None), beside);
        let named = Path::new("/etc/key");
        assert_eq!(database.master_key_file(Some(named)), named);
    }
}
