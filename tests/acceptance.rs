//! `doctor --acceptance` end to end: the agent as a process of its own, an emulated encoder on a pseudo terminal, and what is on the
//! card before and after.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    reason = "a failure is a panic, in what the tests share too"
)]

mod desk;

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command},
    time::Duration,
};

use desk::{
    Desk,
    setting::{CARD, INSTANT, Setting},
    soon,
};
use encoder_protocols::{
    card::virtual_card::{CardKind, TornState},
    msr605::emulator::{Pace, StripeKind},
    pn532::emulator::Fault,
};

/// The code of a finding that something is broken.
const BROKEN: Option<i32> = Some(2);

/// How often a test looks whether the encoder waits for a swipe.
const LOOK: Duration = Duration::from_millis(2);

fn accepting(desk: &Desk, more: &[&str]) -> Command {
    let mut command = desk.command("doctor");
    command.arg("--acceptance").args(more);
    // A file that puts a card back is left where the command runs.
    command.current_dir(desk.directory.path());
    command
}

/// Runs it to its end: the code, what it found, and what it said meanwhile.
fn accept(desk: &Desk, more: &[&str]) -> (Option<i32>, String, String) {
    let output = accepting(desk, more).output().unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

fn all(mut from: impl Read) -> String {
    let mut text = String::new();
    from.read_to_string(&mut text).unwrap();
    text
}

async fn end(child: &mut Child) -> (Option<i32>, String) {
    let status = soon("the command's end", async {
        loop {
            match child.try_wait().unwrap() {
                Some(status) => return status,
                None => tokio::time::sleep(LOOK).await,
            }
        }
    });
    let code = status.await.code();
    (code, all(child.stdout.take().unwrap()))
}

#[tokio::test]
async fn a_blank_card_of_each_kind_is_written_and_left_as_it_was() {
    for (kind, place) in [
        (CardKind::Classic1k, "sector 1"),
        (CardKind::Classic4k, "sector 1"),
        (CardKind::Ntag213, "pages 8 to 11"),
        (CardKind::Ultralight, "pages 8 to 11"),
    ] {
        let setting = Setting::new(INSTANT).await;
        let uid = if kind.to_string().starts_with("classic") {
            CARD
        } else {
            "04a1b2c3d4e5f6"
        };
        setting.bench.place_kind(kind, uid);
        let before = setting.bench.0.memory(Some(uid)).unwrap();
        let (code, found, said) = accept(&setting.desk, &[]);
        assert_eq!(code, Some(0), "{kind}: {found}{said}");
        assert!(found.starts_with("ok      acceptance"), "{kind}: {found}");
        assert!(
            found.contains(uid) && found.contains(place),
            "{kind}: {found}"
        );
        assert!(found.contains("the card left blank"), "{kind}: {found}");
        assert!(said.contains("lay a SPARE card on it"), "{said}");
        assert_eq!(setting.bench.0.memory(Some(uid)).unwrap(), before, "{kind}");
        // Three blocks or four pages, twice.
        assert!(setting.bench.writes(uid) >= 6, "{kind}");
        setting.stop().await;
    }
}

#[tokio::test]
async fn a_card_that_holds_something_is_refused_or_gets_it_back() {
    let setting = Setting::new(INSTANT).await;
    setting.bench.place(CARD);
    let file = setting.desk.directory.path().join("image.json");
    let image = desk::setting::image(0x5a);
    std::fs::write(&file, serde_json::to_vec(&image).unwrap()).unwrap();
    let mut encode = setting.desk.command("encode");
    let written = encode.arg(&file).output().unwrap();
    assert!(written.status.success(), "{written:?}");
    setting.bench.lift_all();
    // That it left is seen before it lies there again.
    let (code, found, _) = accept(&setting.desk, &["--wait", "1"]);
    assert_eq!(code, BROKEN);
    assert!(found.contains("no card within 1 s"), "{found}");
    setting.bench.place(CARD);
    let before = setting.bench.0.memory(Some(CARD)).unwrap();
    let writes = setting.bench.writes(CARD);
    let (code, found, _) = accept(&setting.desk, &[]);
    assert_eq!(code, BROKEN);
    assert!(found.contains("the card is not blank"), "{found}");
    assert_eq!(setting.bench.writes(CARD), writes);
    let (code, found, said) = accept(&setting.desk, &["--overwrite", "--json"]);
    assert_eq!(code, Some(0), "{found}{said}");
    assert!(found.contains("the card left as it was"), "{found}");
    assert_eq!(setting.bench.0.memory(Some(CARD)).unwrap(), before);
    assert!(setting.bench.writes(CARD) > writes);
    setting.stop().await;
}

/// Lifts the card in the middle of the pattern's second block.
fn tear(setting: &Setting) {
    let fault = Fault::Tear {
        nth: 2,
        state: TornState::Mixed,
        lift: true,
    };
    setting.bench.0.inject(fault).unwrap();
}

#[tokio::test]
async fn a_card_that_is_taken_away_is_asked_for_and_put_back() {
    let setting = Setting::new(INSTANT).await;
    setting.bench.place(CARD);
    let before = setting.bench.0.memory(Some(CARD)).unwrap();
    tear(&setting);
    let mut child = accepting(&setting.desk, &[]).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    let asked = said.find(|line| {
        let line = line.as_ref().unwrap();
        line.contains("the card holds a test pattern: lay the same card down again")
    });
    assert!(asked.is_some());
    assert_ne!(setting.bench.0.memory(Some(CARD)).unwrap(), before);
    setting.bench.place(CARD);
    let (code, found) = end(&mut child).await;
    assert_eq!(code, BROKEN, "{found}");
    assert!(
        found.contains("what stood on the card was put back"),
        "{found}"
    );
    assert_eq!(setting.bench.0.memory(Some(CARD)).unwrap(), before);
    setting.stop().await;
}

#[tokio::test]
async fn a_card_that_stays_away_can_be_put_back_later() {
    let setting = Setting::new(INSTANT).await;
    setting.bench.place(CARD);
    let before = setting.bench.0.memory(Some(CARD)).unwrap();
    tear(&setting);
    let (code, found, _) = accept(&setting.desk, &["--wait", "1"]);
    assert_eq!(code, BROKEN);
    let file = format!("restore-{CARD}.json");
    assert!(found.contains("the card holds a test pattern"), "{found}");
    assert!(
        found.contains("sudo encoder-agent encode /") && found.contains(&file),
        "{found}"
    );
    setting.bench.place(CARD);
    let mut encode = setting.desk.command("encode");
    encode.arg(setting.desk.directory.path().join(file));
    let put_back = encode.output().unwrap();
    assert!(put_back.status.success(), "{put_back:?}");
    assert_eq!(setting.bench.0.memory(Some(CARD)).unwrap(), before);
    setting.stop().await;
}

#[tokio::test]
async fn a_stripe_is_written_read_and_erased_or_written_again() {
    let setting = Setting::swiping(Pace::INSTANT).await;
    for (name, texts, swipes, left) in [
        // Read, written, read back, erased, read.
        ("blank", ["", "", ""], 5, "the card left blank"),
        // Read, written, read back, written, read back.
        ("used", ["", ";101?", ""], 5, "the card left as it was"),
    ] {
        setting.bench.create(name, StripeKind::HiCo).unwrap();
        setting.bench.set_texts(name, texts).unwrap();
        let before = setting.bench.command(&format!("tracks {name}")).unwrap();
        let mut child = accepting(&setting.desk, &["--overwrite"]).spawn().unwrap();
        for _ in 0..swipes {
            let waits = async {
                while !setting.bench.waits().unwrap() {
                    tokio::time::sleep(LOOK).await;
                }
            };
            soon("the encoder's wait for a card", waits).await;
            setting.bench.swipe(name).unwrap();
        }
        let (code, found) = end(&mut child).await;
        assert_eq!(
            code,
            Some(0),
            "{name}: {found}{}",
            all(child.stderr.take().unwrap())
        );
        assert!(found.contains(left), "{name}: {found}");
        let after = setting.bench.command(&format!("tracks {name}")).unwrap();
        assert_eq!(after, before, "{name}");
        assert!(setting.bench.writes(Some(name)).unwrap() >= 2, "{name}");
    }
    setting.stop().await;
}

#[tokio::test]
async fn without_the_agent_or_the_encoder_it_says_so() {
    let mut setting = Setting::new(INSTANT).await;
    let (code, found, _) = accept(&setting.desk, &["--encoder", "nobody"]);
    assert_eq!(code, BROKEN);
    assert!(found.contains("no encoder is called \"nobody\""), "{found}");
    setting.agent.terminate();
    setting.agent.end().await;
    let (code, found, _) = accept(&setting.desk, &[]);
    assert_eq!(code, BROKEN);
    assert!(found.contains("no agent runs here"), "{found}");
}
