//! The journal's thread, and the handle through which the agent speaks with it.

use std::{
    fs::{File, OpenOptions, TryLockError},
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    time::Duration,
};

use encoder_protocols::wire::JobFinished;
use jiff::Timestamp;
use tokio::sync::oneshot;

use super::{JournalContents, JournalError, Recall, Record, store::Store};

/// The journal's file in the state folder.
const FILE_NAME: &str = "journal.sqlite";

/// The file whose lock says that an agent uses the state folder.
const LOCK_NAME: &str = "agent.lock";

/// How long nothing must have been asked before the log is folded into the file.
const IDLE: Duration = Duration::from_secs(2);

/// After how many transactions the log is folded into the file even if there is no idle time.
const MAX_TRANSACTIONS_IN_LOG: u32 = 5_000;

/// The journal. The file is closed when the handle is dropped; [`Journal::close`] waits for that.
#[derive(Debug)]
pub struct Journal {
    requests: Sender<Request>,
}

type Answer<T> = oneshot::Sender<Result<T, JournalError>>;

enum Request {
    Append(Vec<Record>, Answer<()>),
    Recall(Recall, Answer<Vec<JobFinished>>),
    Compact(Timestamp, Answer<()>),
    Close(oneshot::Sender<()>),
}

impl Journal {
    /// Opens the journal in `state_dir`, making folder and file where there are none, and reads it. Blocks.
    ///
    /// A damaged file is set aside under another name, which `problems` of the contents tell, and a new one is begun.
    /// `utc` is the time of day, for that name and for forgetting what is older than the retention.
    ///
    /// # Errors
    /// [`JournalError`]: the folder is not writable, in use by another agent, or its journal is from a newer version.
    pub fn open(state_dir: &Path, utc: Timestamp) -> Result<(Self, JournalContents), JournalError> {
        create_private_dir(state_dir)?;
        let lock = lock(state_dir)?;
        let path = state_dir.join(FILE_NAME);
        let (mut store, contents) = match read(&path) {
            Err(JournalError::Damaged { reason }) => {
                let aside = set_aside(&path, utc)?;
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
        store.compact(utc)?;
        Ok((Self::start(store, Some(lock))?, contents))
    }

    /// A journal that is gone with the process, for tests.
    ///
    /// # Errors
    /// [`JournalError`] if the system gives neither memory nor a thread.
    pub fn in_memory() -> Result<(Self, JournalContents), JournalError> {
        let store = Store::open(Path::new(":memory:"))?;
        let contents = store.contents()?;
        Ok((Self::start(store, None)?, contents))
    }

    /// Makes `records` durable: all of them or, on an error, none.
    ///
    /// # Errors
    /// [`JournalError`]: nothing may be done or said that depends on these records.
    pub async fn append(&self, records: Vec<Record>) -> Result<(), JournalError> {
        self.ask(|answer| Request::Append(records, answer)).await
    }

    /// Looks outcomes up, acknowledged ones included.
    ///
    /// # Errors
    /// [`JournalError`] when the file cannot be read.
    pub async fn recall(&self, recall: Recall) -> Result<Vec<JobFinished>, JournalError> {
        self.ask(|answer| Request::Recall(recall, answer)).await
    }

    /// Forgets outcomes that were acknowledged longer than the retention before `now`.
    ///
    /// # Errors
    /// [`JournalError`] when the file cannot be written.
    pub async fn compact(&self, now: Timestamp) -> Result<(), JournalError> {
        self.ask(|answer| Request::Compact(now, answer)).await
    }

    /// Closes the file and waits for it.
    pub async fn close(self) {
        let (answer, closed) = oneshot::channel();
        // An error of either means that the thread has ended, and the file is closed with it.
        let _ = self.requests.send(Request::Close(answer));
        let _ = closed.await;
    }

    async fn ask<T>(&self, request: impl FnOnce(Answer<T>) -> Request) -> Result<T, JournalError> {
        let (answer, answered) = oneshot::channel();
        self.requests
            .send(request(answer))
            .map_err(|_| JournalError::Closed)?;
        answered.await.map_err(|_| JournalError::Closed)?
    }

    fn start(store: Store, lock: Option<File>) -> Result<Self, JournalError> {
        let (requests, incoming) = channel();
        std::thread::Builder::new()
            .name("journal".into())
            .spawn(move || {
                let closed = serve(store, &incoming);
                drop(lock);
                if let Some(closed) = closed {
                    let _ = closed.send(());
                }
            })
            .map_err(|error| JournalError::Io {
                reason: format!("cannot start the journal's thread: {error}"),
            })?;
        Ok(Self { requests })
    }
}

/// Answers requests until the handle is gone. The store is closed at the return.
fn serve(mut store: Store, incoming: &Receiver<Request>) -> Option<oneshot::Sender<()>> {
    let mut in_log = 0_u32;
    loop {
        let request = match incoming.recv_timeout(IDLE) {
            Ok(request) => request,
            Err(RecvTimeoutError::Timeout) => {
                checkpoint(&store, &mut in_log);
                match incoming.recv() {
                    Ok(request) => request,
                    Err(_) => return None,
                }
            }
            Err(RecvTimeoutError::Disconnected) => return None,
        };
        let mut appends = Vec::new();
        let mut next = Some(request);
        // Appends that wait together become durable together, with one flush of the disk.
        while let Some(Request::Append(records, answer)) = next {
            appends.push((records, answer));
            next = incoming.try_recv().ok();
        }
        if !appends.is_empty() {
            append_all(&mut store, appends);
            in_log += 1;
        }
        match next {
            Some(Request::Recall(recall, answer)) => drop(answer.send(store.recall(recall))),
            Some(Request::Compact(now, answer)) => drop(answer.send(store.compact(now))),
            Some(Request::Close(closed)) => {
                drop(store);
                return Some(closed);
            }
            Some(Request::Append(..)) | None => {}
        }
        if in_log >= MAX_TRANSACTIONS_IN_LOG {
            checkpoint(&store, &mut in_log);
        }
    }
}

fn append_all(store: &mut Store, appends: Vec<(Vec<Record>, Answer<()>)>) {
    let together = store.append(appends.iter().flat_map(|(records, _)| records));
    let several = appends.len() > 1;
    for (records, answer) in appends {
        // One that cannot be written must not take the others with it.
        let result = match &together {
            Err(_) if several => store.append(records.iter()),
            result => result.clone(),
        };
        drop(answer.send(result));
    }
}

fn checkpoint(store: &Store, in_log: &mut u32) {
    if *in_log == 0 {
        return;
    }
    *in_log = 0;
    if let Err(error) = store.checkpoint() {
        tracing::warn!(%error, "the journal's log could not be folded into its file; trying again later");
    }
}

fn read(path: &Path) -> Result<(Store, JournalContents), JournalError> {
    create_private_file(path)?;
    let store = Store::open(path)?;
    let contents = store.contents()?;
    Ok((store, contents))
}

fn lock(state_dir: &Path) -> Result<File, JournalError> {
    let path = state_dir.join(LOCK_NAME);
    let file = create_private_file(&path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(JournalError::Locked {
            path: state_dir.to_owned(),
        }),
        Err(TryLockError::Error(error)) => Err(cannot_open(&path, &error)),
    }
}

/// Renames the file and what SQLite keeps beside it.
fn set_aside(path: &Path, utc: Timestamp) -> Result<PathBuf, JournalError> {
    let suffix = format!(".damaged-{}", utc.strftime("%Y%m%dT%H%M%SZ"));
    let renamed = |part: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(part);
        PathBuf::from(name)
    };
    let aside = renamed(&suffix);
    std::fs::rename(path, &aside).map_err(|error| cannot_open(&aside, &error))?;
    for part in ["-wal", "-shm"] {
        let beside = renamed(part);
        if beside.exists() {
            let to = renamed(&format!("{suffix}{part}"));
            std::fs::rename(&beside, &to).map_err(|error| cannot_open(&to, &error))?;
        }
    }
    Ok(aside)
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

fn create_private_file(path: &Path) -> Result<File, JournalError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
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
