//! Settings that are read again while the agent runs (SIGHUP): what can count at once does, and no job ends for it.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    reason = "a failure is a panic, in what the tests share too"
)]

mod desk;

use std::{fs, path::Path};

use desk::{
    Desk,
    setting::{Bench, CARD, INSTANT, Setting, finished, write},
};
use encoder_agent::status::Status;
use encoder_protocols::wire::{AgentMessage, EncoderState, Outcome, Progress};
use rustix::process::Signal;

fn status(desk: &Desk) -> Status {
    let output = desk.command("status").arg("--json").output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Puts `text` in the place of the settings and asks the agent to read them.
fn change<B>(setting: &Setting<B>, text: &str) {
    fs::write(setting.desk.settings_file(), text).unwrap();
    setting.agent.signal(Signal::HUP);
}

fn settings<B>(setting: &Setting<B>) -> String {
    fs::read_to_string(setting.desk.settings_file()).unwrap()
}

/// Waits until the inventory lists these names, all of them ready or busy.
async fn encoders_are(setting: &mut Setting, names: &[&str]) {
    setting
        .line
        .hear_some(|message| {
            let AgentMessage::Inventory { encoders, .. } = message else {
                return None;
            };
            let works = |state| matches!(state, EncoderState::Ready | EncoderState::Busy);
            let told: Vec<_> = encoders
                .iter()
                .filter(|encoder| works(encoder.state))
                .map(|encoder| encoder.name.as_str())
                .collect();
            (told == names).then_some(())
        })
        .await;
}

#[tokio::test]
async fn a_job_goes_on_while_encoders_are_renamed_and_added() {
    let mut setting = Setting::new(INSTANT).await;
    let job = setting.encode().await;
    setting
        .progress(&job, |progress| *progress == Progress::WaitingForCard)
        .await;
    let other = tempfile::tempdir().unwrap();
    let _second = Bench::new(other.path(), INSTANT);
    let more = format!(
        "\n[[encoder]]\nname = \"Bar\"\ndriver = \"pn532\"\nport = \"{}\"\n",
        other.path().join("encoder").display()
    );
    let text = settings(&setting).replace("Front Desk", "Reception") + &more;
    change(&setting, &text);
    encoders_are(&mut setting, &["Reception", "Bar"]).await;
    setting.bench.place(CARD);
    let presented = setting.presented(&job).await;
    setting.plan(&presented, write(1)).await;
    let ended = finished(&mut setting.line).await;
    assert_eq!(
        (ended.job_id, ended.outcome),
        (job.job_id, Outcome::Success)
    );
    let told = status(&setting.desk);
    assert_eq!(told.config.refused, None);
    assert_eq!(told.config.after_restart, Vec::<String>::new());
    assert_eq!(told.coordinator.sessions, 1);
    setting.stop().await;
}

#[tokio::test]
async fn what_needs_a_restart_is_told_and_the_logs_level_counts_at_once() {
    let mut setting = Setting::new(INSTANT).await;
    let text = settings(&setting)
        .replace("level = \"debug\"", "level = \"trace\"\nformat = \"json\"")
        .replace("agent-token", "another-token");
    assert!(!setting.agent.log().contains("TRACE"));
    change(&setting, &text);
    for what in ["coordinator", "log.format"] {
        setting
            .agent
            .logs(&format!("{what} takes effect after a restart"))
            .await;
    }
    // The next message is traced.
    setting.encode().await;
    setting.agent.logs("TRACE").await;
    let told = status(&setting.desk);
    assert_eq!(told.config.after_restart, ["coordinator", "log.format"]);
    assert!(!setting.agent.log().contains("another-token"));
    setting.stop().await;
}

#[tokio::test]
async fn settings_that_cannot_be_used_change_nothing_and_are_told_until_they_can() {
    let setting = Setting::new(INSTANT).await;
    let sound = settings(&setting);
    for (broken, expected) in [
        (
            sound.replace("[[encoder]]", "[[encoders]]"),
            "did you mean `encoder`?",
        ),
        (
            sound.replace("state_dir", "# state_dir"),
            "`state_dir`: missing",
        ),
        (format!("{sound}]"), "expected TOML"),
    ] {
        change(&setting, &broken);
        setting.agent.logs(expected).await;
        // A command reads the settings, too, and needs sound ones.
        fs::write(setting.desk.settings_file(), &sound).unwrap();
        let refused = status(&setting.desk).config.refused.unwrap();
        assert!(refused.contains(expected), "{refused}");
    }
    assert!(
        setting
            .agent
            .log()
            .contains("the changed settings are not used")
    );
    change(&setting, &sound);
    setting.agent.logs("the settings were read again").await;
    let told = status(&setting.desk);
    assert_eq!(told.config.refused, None);
    assert_eq!(told.encoders.len(), 1);
    setting.stop().await;
}

#[tokio::test]
async fn a_listed_port_whose_encoder_was_found_before_stays_with_it() {
    #[cfg(target_os = "linux")]
    {
        use desk::tree::Tree;

        let tree = Tree::new();
        let setting = Setting::found(INSTANT, &tree).await;
        let node = tree.dev().join("ttyUSB0");
        let more = format!(
            "\n[[encoder]]\nname = \"Bar\"\ndriver = \"pn532\"\nport = \"{}\"\n",
            Path::new(&node).display()
        );
        let text = settings(&setting) + &more;
        change(&setting, &text);
        setting
            .agent
            .logs("[[encoder]] \"Bar\" takes effect after a restart")
            .await;
        assert_eq!(status(&setting.desk).encoders.len(), 1);
        setting.stop().await;
    }
}
