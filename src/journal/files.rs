//! The state folder: its lock, the journal's file, and what is done with one that cannot be used.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions, TryLockError},
    path::{Path, PathBuf},
};

use jiff::Timestamp;

use super::{JournalContents, JournalError, Record, store::Store};
use crate::private_file;

/// The journal's file in the state folder.
const FILE_NAME: &str = "journal.sqlite";

/// The file whose lock says that an agent uses the state folder.
const LOCK_NAME: &str = "agent.lock";

/// Takes the state folder and reads its journal; makes either where there is none. A damaged journal is set aside.
pub(super) fn open(
    state_dir: &Path,
    utc: Timestamp,
) -> Result<(File, Store, JournalContents), JournalError> {
    create_private_dir(state_dir)?;
    let lock = lock(state_dir)?;
    let path = state_dir.join(FILE_NAME);
    let (store, contents) = match read(&path) {
        Err(JournalError::Damaged { reason }) => {
            let aside = set_aside(&path, "damaged", utc)?;
            let problem = format!(
                "the journal was damaged ({reason}) and set aside as {}; a new one is in use",
                aside.display()
            );
            tracing::error!("{problem}");
            let (store, mut contents) = read(&path)?;
            contents.problems.push(problem);
            (store, contents)
        }
        other => other?,
    };
    Ok((lock, store, contents))
}

/// Whether the journal in `state_dir` could be used, for `check`. None that is there is fine, and so is one that a
/// running agent has open. A damaged one is left where it is.
///
/// # Errors
/// What [`super::Journal::open`] would say, or do something about.
pub fn inspect(state_dir: &Path) -> Result<(), JournalError> {
    let path = state_dir.join(FILE_NAME);
    if is_in_use(state_dir) || !path.try_exists().unwrap_or(true) {
        return Ok(());
    }
    drop(open_private_file(&path, false)?);
    Store::inspect(&path)
}

/// Sets the journal aside that was copied here with another machine's disk: it tells of cards and jobs of that one. Nothing
/// where there is none.
///
/// # Errors
/// [`JournalError`] when an agent uses it, or it cannot be moved.
pub fn set_aside_of_another_machine(state_dir: &Path, utc: Timestamp) -> Result<(), JournalError> {
    need_unused(state_dir)?;
    let path = state_dir.join(FILE_NAME);
    if path.exists() {
        set_aside(&path, "of-another-machine", utc)?;
    }
    Ok(())
}

/// What a journal held that was set aside.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LeftBehind {
    /// The file that holds it now.
    pub file: PathBuf,
    /// How many jobs and results its coordinator has not heard the end of.
    pub owed: usize,
}

/// Sets the journal aside of the agent that this PC was before. Which cards lie on its encoders just written stays known.
/// Nothing where there is none.
///
/// # Errors
/// [`JournalError`] when an agent uses it, or it cannot be read or moved.
pub fn set_aside_of_former_agent(
    state_dir: &Path,
    utc: Timestamp,
) -> Result<Option<LeftBehind>, JournalError> {
    need_unused(state_dir)?;
    let path = state_dir.join(FILE_NAME);
    if !path.exists() {
        return Ok(None);
    }
    let (guards, owed) = match read(&path) {
        Ok((_, contents)) => {
            let owed = contents.open_jobs.len() + contents.unacknowledged.len();
            (contents.guards, owed)
        }
        Err(JournalError::Damaged { .. }) => (BTreeMap::new(), 0),
        Err(error) => return Err(error),
    };
    let file = set_aside(&path, "of-former-agent", utc)?;
    if !guards.is_empty() {
        let (mut store, _) = read(&path)?;
        let kept = guards.into_iter();
        let kept = kept.map(|(encoder_key, guards)| Record::Guarded {
            encoder_key,
            guards,
        });
        store.append(kept.collect::<Vec<_>>().iter())?;
        drop(store);
        private_file::hand_over(&path).map_err(|error| cannot_open(&path, &error))?;
    }
    Ok(Some(LeftBehind { file, owed }))
}

/// Whether no agent uses the journal.
///
/// # Errors
/// [`JournalError::Locked`] while one does.
pub fn need_unused(state_dir: &Path) -> Result<(), JournalError> {
    if is_in_use(state_dir) {
        return Err(JournalError::Locked {
            path: state_dir.to_owned(),
        });
    }
    Ok(())
}

fn is_in_use(state_dir: &Path) -> bool {
    File::open(state_dir.join(LOCK_NAME))
        .is_ok_and(|lock| matches!(lock.try_lock(), Err(TryLockError::WouldBlock)))
}

fn read(path: &Path) -> Result<(Store, JournalContents), JournalError> {
    drop(open_private_file(path, true)?);
    let store = Store::open(path)?;
    let contents = store.contents()?;
    Ok((store, contents))
}

fn lock(state_dir: &Path) -> Result<File, JournalError> {
    let path = state_dir.join(LOCK_NAME);
    let file = open_private_file(&path, true)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(JournalError::Locked {
            path: state_dir.to_owned(),
        }),
        Err(TryLockError::Error(error)) => Err(cannot_open(&path, &error)),
    }
}

/// Renames the file and what SQLite keeps beside it, over nothing that is there already.
fn set_aside(path: &Path, why: &str, utc: Timestamp) -> Result<PathBuf, JournalError> {
    let beside = |part: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(part);
        PathBuf::from(name)
    };
    let stamp = utc.strftime("%Y%m%dT%H%M%SZ");
    let mut suffix = format!(".{why}-{stamp}");
    let mut others = 1;
    while beside(&suffix).exists() {
        others += 1;
        suffix = format!(".{why}-{stamp}-{others}");
    }
    for part in ["", "-wal", "-shm"] {
        let (from, to) = (beside(part), beside(&format!("{suffix}{part}")));
        if from.exists() {
            std::fs::rename(&from, &to).map_err(|error| cannot_open(&to, &error))?;
        }
    }
    Ok(beside(&suffix))
}

fn create_private_dir(path: &Path) -> Result<(), JournalError> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
        .create(path)
        .map_err(|error| cannot_open(path, &error))
}

fn open_private_file(path: &Path, create: bool) -> Result<File, JournalError> {
    if path.metadata().is_ok_and(|found| !found.is_file()) {
        return Err(JournalError::NotAFile {
            path: path.to_owned(),
        });
    }
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .create(create)
        .truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
        .open(path)
        .map_err(|error| cannot_open(path, &error))
}

fn cannot_open(path: &Path, error: &std::io::Error) -> JournalError {
    JournalError::CannotOpen {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}
