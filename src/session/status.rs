//! How the session stands, for whoever looks on.

use jiff::Timestamp;
use tokio::sync::watch;

use super::action::{Notice, NoticeLevel};
use crate::status::{SessionState, Told};

/// How the session stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SessionStatus {
    /// Whether it stands.
    pub state: SessionState,
    /// Since when that is so.
    pub since: Timestamp,
    /// How many sessions have stood.
    pub sessions: u64,
    /// What went wrong last.
    pub last_problem: Option<Told>,
}

/// Tells whoever looks on.
#[derive(Debug)]
pub(super) struct Board(watch::Sender<SessionStatus>);

impl Board {
    /// Nothing has happened yet.
    pub(super) fn new(now: Timestamp) -> Self {
        Self(watch::Sender::new(SessionStatus {
            state: SessionState::Connecting,
            since: now,
            sessions: 0,
            last_problem: None,
        }))
    }

    /// A view of it.
    pub(super) fn watch(&self) -> watch::Receiver<SessionStatus> {
        self.0.subscribe()
    }

    /// Takes how it stands now.
    pub(super) fn stands(&self, state: SessionState, now: Timestamp) {
        self.0.send_if_modified(|status| {
            let has_changed = status.state != state;
            if has_changed {
                status.state = state;
                status.since = now;
                status.sessions += u64::from(state == SessionState::Connected);
            }
            has_changed
        });
    }

    /// Takes a line of the log, as far as it tells of trouble.
    pub(super) fn note(&self, notice: &Notice, now: Timestamp) {
        match notice.level {
            NoticeLevel::Error | NoticeLevel::Warn => self.0.send_modify(|status| {
                status.last_problem = Some(Told {
                    at: now,
                    text: notice.text.clone(),
                });
            }),
            NoticeLevel::Info | NoticeLevel::Debug => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn it_tells_since_when_it_stands_and_what_went_wrong_last() {
        let board = Board::new(at(1));
        let watch = board.watch();
        board.note(
            &Notice {
                level: NoticeLevel::Warn,
                text: "refused".to_owned(),
            },
            at(2),
        );
        board.stands(SessionState::Waiting, at(3));
        board.stands(SessionState::Waiting, at(4));
        let told = watch.borrow().clone();
        assert_eq!((told.state, told.since), (SessionState::Waiting, at(3)));
        board.stands(SessionState::Connected, at(5));
        board.note(
            &Notice {
                level: NoticeLevel::Info,
                text: "connected".to_owned(),
            },
            at(5),
        );
        let told = watch.borrow().clone();
        assert_eq!((told.sessions, told.since), (1, at(5)));
        let problem = told.last_problem.unwrap();
        assert_eq!((problem.text.as_str(), problem.at), ("refused", at(2)));
    }
}
