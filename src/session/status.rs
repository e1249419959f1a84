//! How the session stands, for whoever looks on.

use encoder_protocols::wire::{EncoderSettings, ServiceMessage, Welcome};
use jiff::Timestamp;
use tokio::sync::watch;

use super::action::{Notice, NoticeLevel};
use crate::status::{ServersEncoder, ServersView, SessionState, Told};

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
    /// What the coordinator has told in the session that stands.
    pub view: Option<ServersView>,
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
            view: None,
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
            if state != SessionState::Connected {
                status.view = None;
            }
            has_changed
        });
    }

    /// Takes what the coordinator says, as far as it tells how it sees this agent.
    pub(super) fn heard(&self, message: &ServiceMessage) {
        self.0.send_if_modified(|status| {
            if let ServiceMessage::Welcome(welcome) = message {
                status.view = Some(view_of(welcome));
                return true;
            }
            let Some(view) = &mut status.view else {
                return false;
            };
            if let ServiceMessage::FinishedAck { sequence } = message {
                view.last_sequence = view.last_sequence.max(*sequence);
            } else if let ServiceMessage::EncoderSettings(told) = message {
                take(view, told);
            }
            true
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

fn view_of(welcome: &Welcome) -> ServersView {
    ServersView {
        session_id: welcome.session_id,
        store_id: welcome.store_id,
        last_sequence: welcome.last_sequence,
        journal_behind: welcome.journal_behind,
        encoders: Vec::new(),
    }
}

fn take(view: &mut ServersView, told: &EncoderSettings) {
    view.encoders.retain(|known| known.key != told.encoder_key);
    view.encoders.push(ServersEncoder {
        key: told.encoder_key.clone(),
        display_name: told.display_name.clone(),
        adopted: told.adopted,
    });
}

#[cfg(test)]
mod tests {
    use encoder_protocols::wire::EncoderKey;
    use uuid::Uuid;

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

    #[test]
    fn it_tells_what_the_coordinator_has_told_as_long_as_the_session_stands() {
        let board = Board::new(at(1));
        let watch = board.watch();
        let settings = |adopted| {
            ServiceMessage::EncoderSettings(EncoderSettings {
                encoder_key: EncoderKey("usb:1".to_owned()),
                display_name: Some("Bar".to_owned()),
                adopted,
            })
        };
        // Nothing is told outside of a session.
        board.heard(&settings(true));
        assert_eq!(watch.borrow().view, None);
        board.heard(&ServiceMessage::Welcome(Welcome {
            session_id: Uuid::from_u128(7),
            store_id: Uuid::from_u128(8),
            last_sequence: 4,
            journal_behind: false,
            heartbeat_ms: 15_000,
            server_time: at(2),
            next_pins: None,
        }));
        board.stands(SessionState::Connected, at(2));
        board.heard(&settings(false));
        board.heard(&settings(true));
        for sequence in [6, 5] {
            board.heard(&ServiceMessage::FinishedAck { sequence });
        }
        let view = watch.borrow().view.clone().unwrap();
        assert_eq!((view.last_sequence, view.store_id), (6, Uuid::from_u128(8)));
        let [encoder] = view.encoders.as_slice() else {
            panic!("{view:?}");
        };
        assert!(encoder.adopted);
        board.stands(SessionState::Waiting, at(3));
        assert_eq!(watch.borrow().view, None);
    }
}
