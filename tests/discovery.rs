//! Encoders that are plugged in and out while the agent runs, through the agent as a process and a coordinator that does
//! what the test says.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failure is a panic, in what the tests share too"
)]

mod desk;

use std::path::Path;

use desk::{
    Desk,
    setting::{ADAPTER, Bench, CARD, INSTANT, OTHER_CARD, REAL, Setting, finished, write},
    tree::Tree,
};
use encoder_protocols::wire::{
    AgentMessage, EncoderSettings, ErrorCode, JobKind, KeyScope, Outcome, RefusalReason,
    ServiceMessage, Touched,
};

#[tokio::test]
async fn an_encoder_is_found_serves_and_keeps_its_key_under_another_name() {
    let tree = Tree::new();
    let mut setting = Setting::found(INSTANT, &tree).await;
    setting.bench.place(CARD);
    assert_eq!(setting.encode_all(1).await.outcome, Outcome::Success);
    setting.unplug_adapter(&tree, "ttyUSB0");
    setting.lists_none().await;
    setting.plug_adapter(&tree, "ttyUSB1").await;
    setting.bench.place(OTHER_CARD);
    setting.bench.lift(CARD);
    assert_eq!(setting.encode_all(2).await.outcome, Outcome::Success);
    setting.stop().await;
}

#[tokio::test]
async fn an_encoder_unplugged_in_the_middle_of_a_write_serves_the_next_job() {
    let tree = Tree::new();
    let mut setting = Setting::found(REAL, &tree).await;
    setting.bench.place(CARD);
    let job = setting.encode().await;
    let presented = setting.presented(&job).await;
    setting.plan(&presented, write(3)).await;
    setting.bench.is_written(CARD).await;
    setting.unplug_adapter(&tree, "ttyUSB0");
    let ended = finished(&mut setting.line).await;
    assert_eq!(ended.touched, Touched::Unknown);
    setting.acknowledge(&ended).await;
    setting.plug_adapter(&tree, "ttyUSB0").await;
    setting.bench.lift_all();
    setting.bench.place(OTHER_CARD);
    assert_eq!(setting.encode_all(4).await.outcome, Outcome::Success);
    setting.stop().await;
}

#[tokio::test]
async fn a_job_that_waits_on_an_encoder_which_stays_away_ends_untouched() {
    let tree = Tree::new();
    let mut setting = Setting::found(INSTANT, &tree).await;
    setting.encode().await;
    setting.unplug_adapter(&tree, "ttyUSB0");
    let ended = finished(&mut setting.line).await;
    assert_eq!(ended.touched, Touched::Untouched);
    assert_eq!(ended.error.unwrap().code, ErrorCode::EncoderNotOnline);
    setting.stop().await;
}

#[tokio::test]
async fn a_job_outlives_a_moment_without_its_encoder() {
    let tree = Tree::new();
    let mut setting = Setting::found(INSTANT, &tree).await;
    let job = setting.encode().await;
    setting.unplug_adapter(&tree, "ttyUSB0");
    setting.bench.0.plug().unwrap();
    let terminal = setting.bench.0.path().unwrap().unwrap();
    tree.plug_serial("ttyUSB2", ADAPTER, &terminal);
    setting.bench.place(CARD);
    let presented = setting.presented(&job).await;
    setting.plan(&presented, write(5)).await;
    let ended = finished(&mut setting.line).await;
    assert_eq!(ended.outcome, Outcome::Success);
    setting.stop().await;
}

#[tokio::test]
async fn an_encoder_that_is_not_listed_takes_no_job_before_it_is_adopted() {
    let directory = tempfile::tempdir().unwrap();
    let _bench = Bench::new(directory.path(), INSTANT);
    let tree = Tree::new();
    let desk = Desk::finding(&tree, "adopt = \"listed\"").await;
    let mut agent = desk.run();
    let (mut line, _) = desk.welcomed(0).await;
    tree.plug_serial("ttyUSB0", ADAPTER, &directory.path().join("encoder"));
    let encoder = line
        .hear_some(|message| {
            let AgentMessage::Inventory { encoders, .. } = message else {
                return None;
            };
            encoders.into_iter().next()
        })
        .await;
    assert!(!encoder.adopted && !encoder.named);
    assert_eq!(encoder.key_scope, KeyScope::System);
    let job = desk::setting::job_on(&encoder.key, JobKind::Scan);
    line.say(&ServiceMessage::Job(job.clone())).await;
    let reason = line
        .hear_some(|message| {
            let AgentMessage::JobRefused(refused) = message else {
                return None;
            };
            Some(refused.reason)
        })
        .await;
    assert_eq!(reason, RefusalReason::Unsupported);
    let adopted = EncoderSettings {
        encoder_key: encoder.key.clone(),
        display_name: None,
        adopted: true,
    };
    line.say(&ServiceMessage::EncoderSettings(adopted)).await;
    let job = desk::setting::job_on(&encoder.key, JobKind::Scan);
    line.say(&ServiceMessage::Job(job.clone())).await;
    let accepted = AgentMessage::JobAccepted { job_id: job.job_id };
    line.hear_some(|message| (message == accepted).then_some(()))
        .await;
    agent.terminate();
    assert_eq!(agent.end().await.code(), Some(0));
}

#[tokio::test]
async fn a_configured_port_is_not_found_a_second_time() {
    let directory = tempfile::tempdir().unwrap();
    let _bench = Bench::new(directory.path(), INSTANT);
    let port = directory.path().join("encoder");
    let tree = Tree::new();
    tree.plug_serial("ttyUSB0", ADAPTER, &port);
    let more = format!(
        "[[encoder]]\nname = \"Front Desk\"\ndriver = \"pn532\"\nport = \"{}\"",
        Path::new(&tree.node("ttyUSB0")).display()
    );
    let desk = Desk::finding(&tree, &more).await;
    let mut agent = desk.run();
    let (mut line, _) = desk.welcomed(0).await;
    let encoders = line
        .hear_some(|message| {
            let AgentMessage::Inventory { encoders, .. } = message else {
                return None;
            };
            let is_ready = |state| state == encoder_protocols::wire::EncoderState::Ready;
            encoders
                .iter()
                .any(|encoder| is_ready(encoder.state))
                .then_some(encoders)
        })
        .await;
    assert_eq!(encoders.len(), 1);
    assert_eq!(encoders[0].name, "Front Desk");
    assert!(encoders[0].key.0.starts_with("port:"));
    agent.terminate();
    assert_eq!(agent.end().await.code(), Some(0));
}

#[tokio::test]
async fn a_second_agent_says_that_the_encoder_is_in_use_and_disturbs_nothing() {
    let mut setting = Setting::new(INSTANT).await;
    setting.bench.place(CARD);
    let second = Desk::new(&setting.port(), "").await;
    let mut agent = second.run();
    let (mut line, _) = second.welcomed(0).await;
    let problem = line
        .hear_some(|message| {
            let AgentMessage::Inventory { encoders, .. } = message else {
                return None;
            };
            encoders[0].problem.clone()
        })
        .await;
    assert!(problem.contains("is in use by"), "{problem}");
    assert_eq!(setting.encode_all(1).await.outcome, Outcome::Success);
    agent.terminate();
    assert_eq!(agent.end().await.code(), Some(0));
    setting.stop().await;
}
