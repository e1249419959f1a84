//! Magnetic stripes end to end: the HTTP API, the coordinator, the agent as a process, and an emulated MSR605 on a pseudo
//! terminal whose cards the test draws through when they are asked for.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failure is a panic, in what the tests share too"
)]

mod desk;

use std::time::Duration;

use desk::{AgentProcess, Desk, coordinator::Coordinator, relay::Relay, soon};
use encoder_agent::emulation::PtyMsr605;
use encoder_protocols::{
    msr605::emulator::{Pace, StripeKind, Swiped},
    wire::{AgentMessage, EncoderState, Progress},
};
use serde_json::{Value, json};

/// What the messages about a card that may carry a credential must end with.
const NEW_CREDENTIAL: &str = "create a new credential";

/// A payment card as banks hand it out.
const PAYMENT: [&str; 3] = [
    "%B4111111111111111^DOE/JANE^25121010000000000?",
    ";4111111111111111=25121010000000000?",
    "",
];

/// A front desk with everything on it.
struct Site {
    coordinator: Coordinator,
    relay: Relay,
    encoder: PtyMsr605,
    agent: AgentProcess,
    encoder_id: String,
    _desk: Desk,
    _ports: tempfile::TempDir,
}

impl Site {
    async fn open() -> Self {
        let ports = tempfile::tempdir().unwrap();
        let port = ports.path().join("encoder");
        let encoder = PtyMsr605::start(Some(&port), Pace::INSTANT).unwrap();
        let coordinator = Coordinator::start();
        let more = "poll_interval_ms = 50\nsimulated = true";
        let desk = Desk::driving("msr605", &port, more).await;
        let relay = desk.relay(&coordinator);
        let agent = desk.run();
        let encoder_id = coordinator.encoder().await;
        let mut site = Self {
            coordinator,
            relay,
            encoder,
            agent,
            encoder_id,
            _desk: desk,
            _ports: ports,
        };
        site.encoder_is(EncoderState::Ready).await;
        site
    }

    /// Waits until the inventory says so of the encoder.
    async fn encoder_is(&mut self, wanted: EncoderState) {
        let is_so = |message: &AgentMessage| {
            let AgentMessage::Inventory { encoders, .. } = message else {
                return None;
            };
            let mut encoders = encoders.iter();
            encoders
                .any(|encoder| encoder.state == wanted)
                .then_some(())
        };
        self.relay.hear_some(is_so).await;
    }

    /// Waits until the agent asks for this.
    async fn asks(&mut self, wanted: Progress) {
        let asks = |message: &AgentMessage| {
            let AgentMessage::JobProgress { progress, .. } = message else {
                return None;
            };
            (*progress == wanted).then_some(())
        };
        self.relay.hear_some(asks).await;
    }

    /// Draws a card through as soon as the encoder waits for one.
    async fn swipe(&self, card: &str) -> Swiped {
        let waits = async {
            while !self.encoder.waits().unwrap() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        soon("the encoder's wait for a card", waits).await;
        self.encoder.swipe(card).unwrap()
    }

    async fn encode(&self, credential: &str) -> Value {
        self.coordinator.encode(&self.encoder_id, credential).await
    }

    async fn ended(&self, attempt: &Value) -> Value {
        self.coordinator.ended(attempt).await
    }

    /// Encodes a new credential with two good swipes; its id and the attempt's end.
    async fn issue(&mut self, card: &str) -> (String, Value) {
        let credential = self.coordinator.credential().await;
        let attempt = self.encode(&credential).await;
        self.asks(Progress::SwipeCard).await;
        assert_eq!(self.swipe(card).await, Swiped::Written);
        self.asks(Progress::SwipeAgain).await;
        assert_eq!(self.swipe(card).await, Swiped::Read);
        (credential, self.ended(&attempt).await)
    }

    async fn scan(&mut self, card: &str) -> Value {
        let attempt = self.coordinator.scan(&self.encoder_id).await;
        self.asks(Progress::SwipeCard).await;
        assert_eq!(self.swipe(card).await, Swiped::Read);
        self.ended(&attempt).await
    }

    fn blank(&self, name: &str) {
        self.encoder.create(name, StripeKind::HiCo).unwrap();
    }

    async fn stop(mut self) {
        self.agent.terminate();
        assert_eq!(
            self.agent.end().await.code(),
            Some(0),
            "{}",
            self.agent.log()
        );
    }
}

#[tokio::test]
async fn two_swipes_encode_a_stripe_and_a_scan_finds_number_and_record() {
    let mut site = Site::open().await;
    site.blank("key");
    let (credential, encoded) = site.issue("key").await;
    assert_eq!(encoded["status"], "success", "{encoded}");
    let number = &encoded["result"]["card_number"];
    let issued_at = &encoded["result"]["issued_at"];
    assert!(issued_at.is_string(), "{encoded}");
    // The number is the one that stands on track 2.
    let [_, track_2, _] = site.encoder.texts(Some("key")).unwrap();
    let track_2 = track_2.unwrap();
    assert_eq!(*number, json!(track_2.trim_matches([';', '?'])));
    assert_eq!(site.encoder.writes(Some("key")).unwrap(), 1);

    let scanned = site.scan("key").await;
    assert_eq!(scanned["status"], "success", "{scanned}");
    let found = &scanned["result"];
    assert_eq!(found["warnings"], json!([]), "{scanned}");
    let on_card = &found["acs_credential_on_encoder"];
    assert_eq!(on_card["card_number"], *number);
    assert_eq!(on_card["starts_at"], "2026-12-01T15:00:00.000Z");
    assert_eq!(on_card["ends_at"], "2026-12-04T12:00:00.000Z");
    assert_eq!(on_card["is_issued"], true);
    let known = &found["acs_credential_on_seam"];
    assert_eq!(known["acs_credential_id"], json!(credential));
    assert_eq!(known["card_number"], *number);
    assert_eq!(known["issued_at"], *issued_at);
    // What stands on the card is in no log.
    assert!(!site.agent.log().contains(track_2.as_str()));
    site.stop().await;
}

#[tokio::test]
async fn a_second_swipe_of_another_card_proves_nothing_until_the_right_one_comes() {
    let site = Site::open().await;
    site.blank("key");
    site.blank("other");
    let credential = site.coordinator.credential().await;
    let attempt = site.encode(&credential).await;
    assert_eq!(site.swipe("key").await, Swiped::Written);
    assert_eq!(site.swipe("other").await, Swiped::Read);
    assert_eq!(site.swipe("key").await, Swiped::Read);
    let encoded = site.ended(&attempt).await;
    assert_eq!(encoded["status"], "success", "{encoded}");
    assert_eq!(site.encoder.writes(Some("other")).unwrap(), 0);
    site.stop().await;
}

#[tokio::test]
async fn what_a_payment_card_says_does_not_leave_the_agent() {
    let mut site = Site::open().await;
    site.blank("bank");
    site.encoder.set_texts("bank", PAYMENT).unwrap();
    let attempt = site.coordinator.scan(&site.encoder_id).await;
    site.asks(Progress::SwipeCard).await;
    assert_eq!(site.swipe("bank").await, Swiped::Read);
    let finished =
        |message: &AgentMessage| matches!(message, AgentMessage::JobFinished(_)).then_some(());
    let ((), said) = site.relay.hear_some(finished).await;
    let scanned = site.ended(&attempt).await;
    assert_eq!(scanned["status"], "success", "{scanned}");
    let found = &scanned["result"];
    assert_eq!(
        found["acs_credential_on_encoder"]["card_number"],
        Value::Null
    );
    let warning = found["warnings"][0]["warning_message"].as_str().unwrap();
    assert!(warning.contains("payment card"), "{warning}");
    let log = site.agent.log();
    for (place, text) in [
        ("message", said),
        ("log", log),
        ("answer", scanned.to_string()),
    ] {
        assert!(!text.contains("41111"), "in a {place}: {text}");
        assert!(!text.contains("DOE"), "in a {place}: {text}");
    }
    site.stop().await;
}

#[tokio::test]
async fn a_deleted_credential_frees_the_encoder_that_waits_for_its_card() {
    let mut site = Site::open().await;
    site.blank("key");
    let credential = site.coordinator.credential().await;
    let attempt = site.encode(&credential).await;
    site.asks(Progress::SwipeCard).await;
    let delete = json!({"acs_credential_id": credential});
    site.coordinator
        .post("/acs/credentials/delete", delete)
        .await;
    let ended = site.ended(&attempt).await;
    assert_eq!(ended["error"]["type"], "credential_deleted", "{ended}");
    // Nobody's card is written any more.
    let rests = async {
        while site.encoder.waits().unwrap() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    soon("the encoder's rest", rests).await;
    assert_eq!(site.encoder.swipe("key").unwrap(), Swiped::Ignored);
    let (_, encoded) = site.issue("key").await;
    assert_eq!(encoded["status"], "success", "{encoded}");
    assert_eq!(site.encoder.writes(Some("key")).unwrap(), 1);
    site.stop().await;
}

#[tokio::test]
async fn an_encoder_unplugged_while_it_waits_for_a_card_is_told_and_serves_when_it_is_back() {
    let mut site = Site::open().await;
    site.blank("key");
    let credential = site.coordinator.credential().await;
    let attempt = site.encode(&credential).await;
    site.asks(Progress::SwipeCard).await;
    site.encoder.unplug().unwrap();
    let ended = site.ended(&attempt).await;
    // An encoder that cannot be asked any more may have met a swipe.
    assert_eq!(ended["error"]["type"], "encoding_interrupted", "{ended}");
    assert_eq!(ended["error"]["touched"], "unknown", "{ended}");
    let message = ended["error"]["message"].as_str().unwrap();
    assert!(message.contains(NEW_CREDENTIAL), "{message}");
    let again = site.encode(&credential).await;
    assert_eq!(
        again["error"]["type"], "credential_cannot_be_reissued",
        "{again}"
    );
    site.encoder_is(EncoderState::Fault).await;
    site.encoder.plug().unwrap();
    site.encoder_is(EncoderState::Ready).await;
    let (_, encoded) = site.issue("key").await;
    assert_eq!(encoded["status"], "success", "{encoded}");
    site.stop().await;
}

#[tokio::test]
async fn a_swipe_that_fails_has_the_devices_own_code_and_asks_for_a_new_credential() {
    let mut site = Site::open().await;
    site.blank("key");
    // A card drawn through too fast, and one whose stripe is worn.
    for (fault, code) in [("jerk 1", "39"), ("status 1 31", "31")] {
        site.encoder.command(&format!("fault {fault}")).unwrap();
        let credential = site.coordinator.credential().await;
        let attempt = site.encode(&credential).await;
        site.swipe("key").await;
        let ended = site.ended(&attempt).await;
        assert_eq!(ended["error"]["type"], "encoding_interrupted", "{ended}");
        assert_eq!(ended["error"]["touched"], "unknown", "{ended}");
        let hardware = &ended["error"]["hardware"];
        assert_eq!(hardware["driver"], "msr605", "{ended}");
        assert_eq!(hardware["code"], code, "{ended}");
        let message = ended["error"]["message"].as_str().unwrap();
        assert!(message.contains(NEW_CREDENTIAL), "{message}");
        assert!(message.contains(&format!("msr605 {code}")), "{message}");
        site.encoder.clear_faults().unwrap();
    }
    let (_, encoded) = site.issue("key").await;
    assert_eq!(encoded["status"], "success", "{encoded}");
    site.stop().await;
}

/// `scan` as a program, with a card slot in front of it.
struct Scan {
    program: AgentProcess,
    encoder: PtyMsr605,
    _desk: Desk,
    _ports: tempfile::TempDir,
}

impl Scan {
    /// Started, and waiting for a card.
    async fn waiting(arguments: &[&str]) -> Self {
        let ports = tempfile::tempdir().unwrap();
        let port = ports.path().join("encoder");
        let encoder = PtyMsr605::start(Some(&port), Pace::INSTANT).unwrap();
        encoder.create("card", StripeKind::HiCo).unwrap();
        let desk = Desk::driving("msr605", &port, "").await;
        let mut command = desk.command("scan");
        command.args(arguments);
        let program = AgentProcess::start(command);
        program.logs("draw the card through the encoder").await;
        Self {
            program,
            encoder,
            _desk: desk,
            _ports: ports,
        }
    }

    async fn waits(&self) {
        let waits = async {
            while !self.encoder.waits().unwrap() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        soon("the encoder's wait for a card", waits).await;
    }
}

#[tokio::test]
async fn the_scan_command_asks_for_a_swipe_and_masks_a_payment_card() {
    let mut scan = Scan::waiting(&["--json"]).await;
    scan.waits().await;
    // A blank card brings nothing: it is asked for another.
    scan.encoder.swipe("card").unwrap();
    scan.program.logs("draw it through again").await;
    scan.encoder.set_texts("card", PAYMENT).unwrap();
    scan.waits().await;
    scan.encoder.swipe("card").unwrap();
    assert_eq!(scan.program.end().await.code(), Some(0));
    let told = scan.program.standard_output();
    let card: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(card["technology"], "magstripe");
    assert_eq!(card["tracks"][1]["masked"], "************1111");
    assert_eq!(card["key_record"], Value::Null);
    for text in [told, scan.program.log()] {
        assert!(!text.contains("41111") && !text.contains("DOE"), "{text}");
    }
}

#[tokio::test]
async fn an_interrupted_scan_leaves_the_encoder_reset() {
    let mut scan = Scan::waiting(&[]).await;
    scan.waits().await;
    scan.program.signal(rustix::process::Signal::INT);
    assert_eq!(scan.program.end().await.code(), Some(1));
    scan.program.logs("interrupted").await;
    assert!(!scan.encoder.waits().unwrap());
    assert_eq!(scan.encoder.stats().unwrap().aborted, 1);
}

#[tokio::test]
async fn a_scan_that_nobody_swipes_for_says_so_and_leaves_the_encoder_reset() {
    let mut scan = Scan::waiting(&["--wait", "0"]).await;
    assert_eq!(scan.program.end().await.code(), Some(1));
    scan.program.logs("no card was drawn through").await;
    assert!(!scan.encoder.waits().unwrap());
}
