//! The journal's thread, and the handle through which the agent speaks with it.

use std::{
    fs::File,
    path::Path,
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    time::Duration,
};

use encoder_protocols::wire::JobFinished;
use jiff::Timestamp;
use tokio::sync::oneshot;

use super::{JournalContents, JournalError, Recall, Record, files, store::Store};

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
    /// `utc` is the time of day, for that name. A full disk is no obstacle to a journal that is there already.
    ///
    /// # Errors
    /// [`JournalError`]: the folder or the file is not writable, in use by another agent, another program's, or from a newer
    /// version.
    pub fn open(state_dir: &Path, utc: Timestamp) -> Result<(Self, JournalContents), JournalError> {
        let (lock, store, contents) = files::open(state_dir, utc)?;
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

#[cfg(test)]
impl Journal {
    /// One on a disk that cannot be written.
    pub(crate) fn read_only() -> (Self, JournalContents) {
        let store = Store::open(Path::new(":memory:")).unwrap();
        store.forbid_writing();
        let contents = store.contents().unwrap();
        (Self::start(store, None).unwrap(), contents)
    }

    /// One whose disk hangs as long as the last is kept.
    pub(crate) fn hanging() -> (JournalContents, Self, impl std::any::Any) {
        let store = Store::open(Path::new(":memory:")).unwrap();
        let (requests, unanswered) = channel();
        (store.contents().unwrap(), Self { requests }, unanswered)
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
