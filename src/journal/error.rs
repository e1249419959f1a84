//! Why the journal cannot be opened, written or read.

use std::path::PathBuf;

/// What went wrong with the journal, and what to do.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum JournalError {
    /// The state folder or the file cannot be made or opened.
    #[error(
        "cannot open the journal {path}: {reason}; make the state folder and all in it writable for this user"
    )]
    CannotOpen {
        /// The folder or file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// Something else is where the file should be.
    #[error("the journal {path} is no file; move what is there away")]
    NotAFile {
        /// What is in the way.
        path: PathBuf,
    },
    /// Another program's database is where the file should be.
    #[error(
        "the journal {path} is another program's database; move it away, or give the agent its own `state_dir`"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// Another process holds the state folder.
    #[error(
        "another encoder-agent uses the state folder {path}; stop it, or give this one its own `state_dir`"
    )]
    Locked {
        /// The state folder.
        path: PathBuf,
    },
    /// No room is left for the journal.
    #[error("the disk is full, so that the journal cannot be written; free some space")]
    DiskFull,
    /// The file can be read and not written any more.
    #[error(
        "the journal cannot be written: it or its file system is read-only; make it writable again, and look at the disk's health"
    )]
    ReadOnly,
    /// The file's contents are damaged.
    #[error(
        "the journal is damaged ({reason}); restart the agent, which sets it aside and begins a new one"
    )]
    Damaged {
        /// What is damaged.
        reason: String,
    },
    /// A newer version of this program wrote the file.
    #[error(
        "the journal has version {found}, this program knows up to {known}; install the newer encoder-agent again"
    )]
    Newer {
        /// The file's version.
        found: u32,
        /// The newest version that this program knows.
        known: u32,
    },
    /// Reading or writing failed.
    #[error("the journal cannot be read or written: {reason}; look at the disk and its health")]
    Io {
        /// What SQLite says.
        reason: String,
    },
    /// The journal's thread has ended.
    #[error("the journal is closed")]
    Closed,
}

impl From<rusqlite::Error> for JournalError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode as Code;
        let reason = error.to_string();
        let unreadable = matches!(
            error,
            rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::IntegralValueOutOfRange(..)
                | rusqlite::Error::QueryReturnedNoRows
        );
        match error.sqlite_error_code() {
            Some(Code::DiskFull) => Self::DiskFull,
            Some(Code::ReadOnly) => Self::ReadOnly,
            // The statements are fixed: one that the file does not allow misses a table.
            Some(Code::DatabaseCorrupt | Code::NotADatabase | Code::Unknown) => {
                Self::Damaged { reason }
            }
            _ if unreadable => Self::Damaged { reason },
            _ => Self::Io { reason },
        }
    }
}
