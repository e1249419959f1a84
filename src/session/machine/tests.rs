use encoder_protocols::wire::{JobId, SecretText};
use uuid::Uuid;

use super::*;

/// A machine under virtual time whose jitter always draws the longest wait.
struct Bench {
    machine: Machine,
    now: Moment,
}

impl Bench {
    fn new() -> Self {
        Self {
            machine: Machine::new(Moment::ORIGIN, Box::new(|longest| longest)),
            now: Moment::ORIGIN,
        }
    }

    fn connecting() -> Self {
        let mut bench = Self::new();
        bench.machine.handle_timeout(bench.now);
        assert!(matches!(
            bench.actions()[..],
            [Action::Connect { refusals: 0 }]
        ));
        bench
    }

    fn connected() -> Self {
        let mut bench = Self::connecting();
        bench.machine.handle_connected(bench.now);
        assert!(matches!(
            bench.actions()[..],
            [Action::Event(SessionEvent::Connected { connection: 1 })]
        ));
        bench
    }

    fn open() -> Self {
        let mut bench = Self::connected();
        bench.welcome();
        bench.actions();
        bench
    }

    fn welcome(&mut self) {
        self.text(&welcome(10_000));
    }

    fn text(&mut self, text: &str) {
        self.machine.handle_text(self.now, text);
    }

    fn message(&mut self, message: &ServiceMessage) {
        self.text(&message.encode());
    }

    fn bye(&mut self, reason: ByeReason) {
        self.message(&ServiceMessage::Bye(Bye {
            reason,
            message: "words".to_owned(),
        }));
    }

    fn actions(&mut self) -> Vec<Action> {
        std::iter::from_fn(|| self.machine.poll_action()).collect()
    }

    /// Lets time pass, in steps of the machine's own timeouts.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(timeout) = self
            .machine
            .poll_timeout()
            .filter(|timeout| *timeout <= end)
        {
            self.now = self.now.max(timeout);
            self.machine.handle_timeout(self.now);
        }
        self.now = end;
    }

    fn pass_seconds(&mut self, seconds: u64) {
        self.pass(Duration::from_secs(seconds));
    }

    fn fail(&mut self, error: &ConnectError) {
        self.machine.handle_connect_failed(self.now, error);
    }

    /// The seconds until the next attempt.
    fn waits(&self) -> u64 {
        assert!(
            matches!(self.machine.state, State::Waiting { .. }),
            "{:?}",
            self.machine.state
        );
        self.machine
            .poll_timeout()
            .unwrap()
            .since(self.now)
            .as_secs()
    }
}

fn welcome(heartbeat_ms: u64) -> String {
    ServiceMessage::Welcome(Welcome {
        session_id: Uuid::nil(),
        store_id: Uuid::nil(),
        last_sequence: 0,
        journal_behind: false,
        heartbeat_ms,
        server_time: jiff::Timestamp::UNIX_EPOCH,
        next_pins: None,
    })
    .encode()
}

fn notices(actions: &[Action]) -> Vec<(NoticeLevel, String)> {
    actions
        .iter()
        .filter_map(|action| {
            let Action::Log(notice) = action else {
                return None;
            };
            Some((notice.level, notice.text.clone()))
        })
        .filter(|(_, text)| !text.starts_with("connecting again"))
        .collect()
}

fn farewell(actions: &[Action]) -> Option<Option<Farewell>> {
    actions.iter().find_map(|action| {
        let Action::Disconnect { farewell } = action else {
            return None;
        };
        Some(*farewell)
    })
}

fn tells_disconnected(actions: &[Action]) -> bool {
    actions.iter().any(|action| {
        matches!(
            action,
            Action::Event(SessionEvent::Disconnected { connection: 1 })
        )
    })
}

fn unreachable() -> ConnectError {
    ConnectError::Unreachable {
        url: "ws://x".to_owned(),
        problem: "refused".to_owned(),
    }
}

fn refused() -> ConnectError {
    ConnectError::TokenRefused {
        url: "ws://x".to_owned(),
        status: 401,
    }
}

fn cancel() -> ServiceMessage {
    ServiceMessage::Cancel {
        job_id: JobId(Uuid::nil()),
        code: encoder_protocols::wire::ErrorCode::ActionAttemptExpired,
        message: String::new(),
    }
}

#[test]
fn it_connects_at_once_and_hands_the_welcome_on() {
    let mut bench = Bench::connected();
    assert!(bench.machine.takes(1));
    assert!(!bench.machine.takes(2));
    bench.welcome();
    let actions = bench.actions();
    assert_eq!(
        notices(&actions),
        [(
            NoticeLevel::Info,
            format!("connected; session {}", Uuid::nil())
        )]
    );
    assert!(matches!(
        actions[..],
        [
            _,
            Action::Event(SessionEvent::Message {
                connection: 1,
                message: ServiceMessage::Welcome(_)
            })
        ]
    ));
}

#[test]
fn the_jobs_messages_are_handed_on() {
    let mut bench = Bench::open();
    bench.message(&cancel());
    assert!(matches!(
        bench.actions()[..],
        [Action::Event(SessionEvent::Message {
            connection: 1,
            message: ServiceMessage::Cancel { .. }
        })]
    ));
}

#[test]
fn failures_back_off_and_are_said_once() {
    let mut bench = Bench::connecting();
    let mut waits = Vec::new();
    let mut levels = Vec::new();
    for _ in 0..8 {
        bench.fail(&unreachable());
        levels.extend(
            notices(&bench.actions())
                .into_iter()
                .map(|(level, _)| level),
        );
        waits.push(bench.waits());
        bench.pass_seconds(bench.waits());
        assert!(matches!(bench.actions()[..], [Action::Connect { .. }]));
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 64]);
    assert_eq!(levels[0], NoticeLevel::Warn);
    assert!(levels[1..].iter().all(|level| *level == NoticeLevel::Debug));
}

#[test]
fn another_trouble_is_said_again() {
    let mut bench = Bench::connecting();
    for (error, expected) in [
        (unreachable(), NoticeLevel::Warn),
        (refused(), NoticeLevel::Error),
        (unreachable(), NoticeLevel::Warn),
    ] {
        bench.fail(&error);
        assert_eq!(notices(&bench.actions()), [(expected, error.to_string())]);
        bench.pass_seconds(bench.waits());
        bench.actions();
    }
}

#[test]
fn a_refused_token_is_tried_seldom_and_counted() {
    let mut bench = Bench::connecting();
    for (refusals, wait) in [(1, 120), (2, 180), (3, 300), (4, 540), (5, 900), (6, 900)] {
        bench.fail(&refused());
        bench.actions();
        assert_eq!(bench.waits(), wait);
        bench.pass_seconds(wait);
        assert!(matches!(bench.actions()[..], [Action::Connect { refusals: r }] if r == refusals));
    }
}

#[test]
fn another_token_is_tried_at_once() {
    let mut bench = Bench::connecting();
    bench.fail(&unreachable());
    assert!(!bench.machine.awaits_token());
    bench.pass_seconds(bench.waits());
    bench.fail(&refused());
    assert!(bench.machine.awaits_token());
    bench.actions();
    bench.machine.handle_new_token(bench.now);
    assert_eq!(bench.waits(), 0);
    assert_eq!(notices(&bench.actions())[0].0, NoticeLevel::Info);
    bench.pass_seconds(0);
    assert!(matches!(
        bench.actions()[..],
        [Action::Connect { refusals: 0 }]
    ));
}

#[test]
fn a_taken_token_forgets_the_refusals() {
    let mut bench = Bench::connecting();
    bench.fail(&refused());
    bench.pass_seconds(bench.waits());
    bench.machine.handle_connected(bench.now);
    bench.welcome();
    bench
        .machine
        .handle_end(bench.now, &ConnectionEnd::Closed(String::new()));
    bench.actions();
    bench.pass_seconds(bench.waits());
    assert!(matches!(
        bench.actions()[..],
        [Action::Connect { refusals: 0 }]
    ));
}

#[test]
fn retry_after_is_waited_for() {
    let mut bench = Bench::connecting();
    bench.fail(&ConnectError::Unavailable {
        url: "ws://x".to_owned(),
        status: 503,
        retry_after: Some(Duration::from_secs(40)),
    });
    assert_eq!(bench.waits(), 41);
    assert_eq!(
        notices(&bench.actions()),
        [(
            NoticeLevel::Warn,
            "ws://x is not available now (http 503) and asks to come back in 40 s".to_owned()
        )]
    );
}

#[test]
fn no_welcome_within_ten_seconds_ends_the_connection() {
    let mut bench = Bench::connected();
    bench.pass(Duration::from_millis(9_999));
    assert!(bench.actions().is_empty());
    bench.pass(Duration::from_millis(1));
    let actions = bench.actions();
    assert_eq!(farewell(&actions), Some(Some(Farewell::ProtocolBreach)));
    assert!(tells_disconnected(&actions));
    assert_eq!(
        notices(&actions)[0].1,
        "the coordinator sent no `welcome` within 10 s of the upgrade"
    );
    assert!(!bench.machine.takes(1));
}

#[test]
fn heartbeats_do_not_take_the_welcomes_place() {
    let mut bench = Bench::connected();
    bench.pass_seconds(9);
    bench.machine.handle_heartbeat(bench.now);
    bench.pass_seconds(1);
    assert!(tells_disconnected(&bench.actions()));
}

#[test]
fn a_first_message_that_is_no_welcome_ends_the_connection() {
    let mut bench = Bench::connected();
    bench.message(&cancel());
    let actions = bench.actions();
    assert_eq!(farewell(&actions), Some(Some(Farewell::ProtocolBreach)));
    assert_eq!(
        notices(&actions)[0].1,
        "the coordinator's first message was not `welcome`"
    );
}

#[test]
fn a_second_welcome_ends_the_connection() {
    let mut bench = Bench::open();
    bench.welcome();
    assert_eq!(
        farewell(&bench.actions()),
        Some(Some(Farewell::ProtocolBreach))
    );
}

#[test]
fn it_pings_every_interval_while_something_comes() {
    let mut bench = Bench::open();
    for _ in 0..5 {
        bench.pass_seconds(10);
        assert!(matches!(bench.actions()[..], [Action::Ping]));
        bench.machine.handle_heartbeat(bench.now);
    }
}

#[test]
fn silence_for_two_intervals_is_a_dead_link() {
    let mut bench = Bench::open();
    bench.pass(Duration::from_millis(19_999));
    assert!(matches!(bench.actions()[..], [Action::Ping]));
    bench.pass(Duration::from_millis(1));
    let actions = bench.actions();
    assert_eq!(farewell(&actions), Some(None));
    assert!(tells_disconnected(&actions));
    assert_eq!(
        notices(&actions)[0],
        (
            NoticeLevel::Warn,
            "nothing came from the coordinator for 20.0 s: the link is dead".to_owned()
        )
    );
}

#[test]
fn an_absurd_heartbeat_is_bounded() {
    for (heartbeat_ms, expected) in [(0, Duration::from_millis(50)), (u64::MAX, MAX_HEARTBEAT)] {
        let mut bench = Bench::connected();
        bench.text(&welcome(heartbeat_ms));
        let until = bench.machine.poll_timeout().unwrap().since(bench.now);
        assert_eq!(until, expected);
    }
}

#[test]
fn a_half_open_link_is_found_within_45_seconds_whatever_the_welcome_says() {
    for heartbeat_ms in [0, 15_000, 20_000, 60_000, u64::MAX] {
        let mut bench = Bench::connected();
        bench.text(&welcome(heartbeat_ms));
        bench.actions();
        let silent_since = bench.now;
        let found = loop {
            let wake = bench.machine.poll_timeout().unwrap();
            bench.now = wake;
            bench.machine.handle_timeout(wake);
            if tells_disconnected(&bench.actions()) {
                break wake.since(silent_since);
            }
        };
        assert!(found <= Duration::from_secs(45), "{found:?}");
    }
}

#[test]
fn an_unknown_type_is_answered_each_time_and_logged_once() {
    let mut bench = Bench::open();
    for expected in [NoticeLevel::Warn, NoticeLevel::Debug] {
        bench.text(r#"{"type":"dance","to":"music"}"#);
        let actions = bench.actions();
        assert_eq!(notices(&actions)[0].0, expected);
        assert!(matches!(
            &actions[1],
            Action::Send(AgentMessage::Unsupported { message_type }) if message_type == "dance"
        ));
    }
    assert!(bench.machine.takes(1));
}

#[test]
fn remembered_types_are_bounded() {
    let mut bench = Bench::open();
    for number in 0..100 {
        bench.text(&format!(r#"{{"type":"dance{number}"}}"#));
    }
    assert_eq!(bench.machine.unknown_types.len(), MAX_REMEMBERED_TYPES);
}

#[test]
fn what_is_no_message_ends_the_connection_unquoted() {
    for text in [
        "",
        "hush",
        "[]",
        r#"{"type":5}"#,
        r#"{"type":"token","token":["hush"]}"#,
    ] {
        let mut bench = Bench::open();
        bench.text(text);
        let actions = bench.actions();
        assert_eq!(
            farewell(&actions),
            Some(Some(Farewell::ProtocolBreach)),
            "{text}"
        );
        let said = notices(&actions)[0].1.clone();
        assert!(
            said.starts_with("the coordinator broke the protocol: "),
            "{said}"
        );
        assert!(!said.contains("hush"), "{said}");
    }
}

#[test]
fn binary_and_oversize_end_the_connection() {
    for end in [
        ConnectionEnd::Binary,
        ConnectionEnd::Oversize {
            size: 300_000,
            limit: 262_144,
        },
    ] {
        let mut bench = Bench::open();
        bench.machine.handle_end(bench.now, &end);
        let actions = bench.actions();
        assert_eq!(farewell(&actions), Some(Some(Farewell::ProtocolBreach)));
        assert_eq!(notices(&actions)[0].1, end.to_string());
    }
}

#[test]
fn each_bye_waits_as_it_should() {
    for (reason, wait, level) in [
        (ByeReason::AgentInUse, 31, NoticeLevel::Error),
        (ByeReason::ProtocolError, 1, NoticeLevel::Error),
        (ByeReason::Restart, 3, NoticeLevel::Info),
        (ByeReason::Retired, 120, NoticeLevel::Error),
        (ByeReason::Revoked, 120, NoticeLevel::Error),
    ] {
        for mut bench in [Bench::connected(), Bench::open()] {
            bench.bye(reason);
            let actions = bench.actions();
            assert_eq!(
                farewell(&actions),
                Some(Some(Farewell::Leaving)),
                "{reason:?}"
            );
            assert!(tells_disconnected(&actions));
            assert_eq!(notices(&actions)[0].0, level);
            assert!(notices(&actions)[0].1.ends_with("(words)"));
            assert_eq!(bench.waits(), wait, "{reason:?}");
        }
    }
}

#[test]
fn the_backoff_starts_over_after_a_good_connection_only() {
    for (stood, expected) in [(59, 8), (60, 1)] {
        let mut bench = Bench::connecting();
        for _ in 0..3 {
            bench.fail(&unreachable());
            bench.pass_seconds(bench.waits());
        }
        bench.machine.handle_connected(bench.now);
        bench.welcome();
        for _ in 0..stood {
            bench.pass_seconds(1);
            bench.machine.handle_heartbeat(bench.now);
        }
        bench
            .machine
            .handle_end(bench.now, &ConnectionEnd::Broken("reset".to_owned()));
        assert_eq!(bench.waits(), expected, "stood {stood} s");
    }
}

#[test]
fn each_connection_has_a_number_of_its_own() {
    let mut bench = Bench::open();
    bench
        .machine
        .handle_end(bench.now, &ConnectionEnd::Closed(String::new()));
    bench.pass_seconds(bench.waits());
    bench.machine.handle_connected(bench.now);
    assert!(bench.machine.takes(2));
    assert!(!bench.machine.takes(1));
}

#[test]
fn a_new_token_is_stored_and_not_handed_on() {
    let mut bench = Bench::open();
    bench.message(&ServiceMessage::Token {
        token: SecretText("new".to_owned()),
    });
    let actions = bench.actions();
    assert!(matches!(&actions[..], [Action::StoreToken(token)] if token.0 == "new"));
    assert!(!format!("{actions:?}").contains("new"));
}

#[test]
fn an_unsupported_answer_is_logged_and_not_handed_on() {
    let mut bench = Bench::open();
    bench.message(&ServiceMessage::Unsupported {
        message_type: "inventory".to_owned(),
    });
    let actions = bench.actions();
    assert_eq!(
        notices(&actions),
        [(
            NoticeLevel::Warn,
            "the coordinator does not know our message type `inventory`".to_owned()
        )]
    );
    assert_eq!(actions.len(), 1);
}

#[test]
fn stopping_says_farewell_and_wants_nothing_more() {
    let mut bench = Bench::open();
    bench.machine.stop();
    let actions = bench.actions();
    assert_eq!(farewell(&actions), Some(Some(Farewell::Leaving)));
    assert!(bench.machine.is_stopped());
    assert_eq!(bench.machine.poll_timeout(), None);
    bench.machine.handle_connected(bench.now);
    bench.welcome();
    assert!(bench.actions().is_empty());
}

#[test]
fn what_comes_after_the_end_is_not_taken() {
    let mut bench = Bench::open();
    bench
        .machine
        .handle_end(bench.now, &ConnectionEnd::Closed(String::new()));
    bench.actions();
    bench.message(&cancel());
    bench.machine.handle_end(bench.now, &ConnectionEnd::Binary);
    bench.fail(&unreachable());
    assert!(bench.actions().is_empty());
}
