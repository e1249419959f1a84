//! Journals that cannot be used, as `check` and `run` tell them, and one that cannot be written for a while.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a failure is a panic, in what the tests share too; a test picks one message out of many"
)]

mod desk;

use std::{
    fs::{self, Permissions},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
};

use desk::{
    Desk,
    setting::{CARD, INSTANT, OTHER_CARD, REAL, Setting, finished, write},
};
use encoder_protocols::wire::{
    AgentMessage, JobKind, OpenJob, OpenJobState, Outcome, Progress, RefusalReason, ServiceMessage,
};
use rustix::process::{Pid, Resource, Rlimit, prlimit};

/// The group and user that own nothing.
const NOBODY: u32 = 65_534;

/// A desk whose agent has run once, and its journal.
async fn used_desk() -> (Desk, PathBuf) {
    let desk = Desk::new(Path::new("/dev/null"), "").await;
    let mut agent = desk.run();
    let _session = desk.welcomed(0).await;
    agent.terminate();
    assert_eq!(agent.end().await.code(), Some(0));
    let journal = desk.directory.path().join("state/journal.sqlite");
    assert!(journal.is_file());
    (desk, journal)
}

/// What `check` and `run` say to users who may not write everywhere; both must end with 1.
fn said(desk: &Desk) -> [String; 2] {
    let directory = desk.directory.path();
    fs::set_permissions(directory, Permissions::from_mode(0o777)).unwrap();
    let program = directory.join("encoder-agent");
    if !program.exists() {
        fs::copy(env!("CARGO_BIN_EXE_encoder-agent"), &program).unwrap();
    }
    ["check", "run"].map(|command| {
        let mut process = std::process::Command::new(&program);
        process
            .arg(command)
            .arg("--config")
            .arg(desk.settings_file());
        if rustix::process::geteuid().is_root() {
            process.uid(NOBODY).gid(NOBODY);
        }
        let output = process.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        assert_eq!(output.status.code(), Some(1), "{command}: {said}");
        said
    })
}

fn assert_said(desk: &Desk, words: &str) {
    for said in said(desk) {
        assert!(said.contains(words), "expected {words:?}: {said}");
    }
}

fn open_to_all(journal: &Path) {
    for path in [journal, &journal.with_file_name("agent.lock")] {
        if path.exists() {
            fs::set_permissions(path, Permissions::from_mode(0o666)).unwrap();
        }
    }
    fs::set_permissions(journal.parent().unwrap(), Permissions::from_mode(0o777)).unwrap();
}

fn change(journal: &Path, statement: &str) {
    let connection = rusqlite::Connection::open(journal).unwrap();
    connection.execute_batch(statement).unwrap();
}

#[tokio::test]
async fn a_journal_of_a_newer_version_is_told() {
    let (desk, journal) = used_desk().await;
    change(&journal, "PRAGMA user_version = 9");
    open_to_all(&journal);
    assert_said(
        &desk,
        "the journal has version 9, this program knows up to 1; install the newer encoder-agent again",
    );
}

#[tokio::test]
async fn another_programs_database_is_told() {
    let (desk, journal) = used_desk().await;
    fs::remove_file(&journal).unwrap();
    change(&journal, "CREATE TABLE guests (name TEXT)");
    open_to_all(&journal);
    assert_said(&desk, "is another program's database; move it away");
}

#[tokio::test]
async fn a_folder_in_the_journals_place_is_told() {
    let (desk, journal) = used_desk().await;
    fs::remove_file(&journal).unwrap();
    fs::create_dir(&journal).unwrap();
    open_to_all(&journal);
    assert_said(&desk, "is no file; move what is there away");
}

#[tokio::test]
async fn a_journal_that_may_not_be_written_is_told() {
    let (desk, journal) = used_desk().await;
    open_to_all(&journal);
    fs::set_permissions(&journal, Permissions::from_mode(0o444)).unwrap();
    assert_said(
        &desk,
        "Permission denied (os error 13); make the state folder and all in it writable for this user",
    );
}

#[tokio::test]
async fn a_state_folder_that_may_not_be_written_is_told() {
    let (desk, journal) = used_desk().await;
    open_to_all(&journal);
    fs::set_permissions(journal.parent().unwrap(), Permissions::from_mode(0o555)).unwrap();
    fs::remove_file(&journal).unwrap();
    let [check, run] = said(&desk);
    assert!(
        check.contains("cannot be written: Permission denied"),
        "{check}"
    );
    assert!(run.contains("cannot open the journal"), "{run}");
}

#[tokio::test]
async fn a_damaged_journal_is_set_aside_with_its_name_in_log_and_inventory() {
    let (desk, journal) = used_desk().await;
    let damaged = vec![0x5A; 8192];
    fs::write(&journal, &damaged).unwrap();
    let (code, output, _) = desk.output("check");
    assert_eq!(code, Some(1));
    assert!(
        output.contains("the journal is damaged (") && output.contains("; restart the agent"),
        "{output}"
    );
    let agent = desk.run();
    agent.logs("the journal was damaged").await;
    let (mut line, _) = desk.welcomed(0).await;
    let problems = line
        .hear_some(|message| match message {
            AgentMessage::Inventory { problems, .. } => Some(problems),
            _ => None,
        })
        .await;
    let aside = fs::read_dir(journal.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.to_string_lossy().contains(".damaged-"))
        .unwrap();
    assert_eq!(fs::read(&aside).unwrap(), damaged);
    let name = aside.file_name().unwrap().to_str().unwrap();
    assert!(problems[0].contains(name), "{problems:?}");
    assert!(agent.log().contains(name), "{}", agent.log());
}

#[tokio::test]
async fn a_disk_that_takes_no_more_refuses_jobs_lets_results_out_and_is_noticed_when_it_does_again()
{
    let mut setting = Setting::new(REAL).await;
    setting.bench.place(CARD);
    let job = setting.encode().await;
    let presented = setting.presented(&job).await;
    setting.plan(&presented, write(1)).await;
    setting
        .progress(&job, |progress| {
            matches!(progress, Progress::Writing { .. })
        })
        .await;

    limit_files(&setting, Some(0));
    let known = finished(&mut setting.line).await;
    assert_eq!(known.outcome, Outcome::Success);
    let refused = setting.job(JobKind::Encode, std::time::Duration::from_secs(20));
    setting
        .line
        .say(&ServiceMessage::Job(refused.clone()))
        .await;
    let refusal = setting
        .line
        .hear_some(|message| match message {
            AgentMessage::JobRefused(refusal) => Some(refusal),
            _ => None,
        })
        .await;
    assert_eq!(refusal.job_id, refused.job_id);
    assert_eq!(refusal.reason, RefusalReason::JournalUnavailable);
    setting.welcome_again().await;
    problems(&mut setting, |problems| !problems.is_empty()).await;
    assert_eq!(finished(&mut setting.line).await, known);

    limit_files(&setting, None);
    problems(&mut setting, <[String]>::is_empty).await;
    setting.acknowledge(&known).await;
    setting.bench.lift_all();
    setting.bench.place(OTHER_CARD);
    assert_eq!(setting.encode_all(2).await.outcome, Outcome::Success);
    setting.agent.logs("the journal can be written again").await;
    setting.agent.kill();
    setting.agent = setting.desk.run();
    let hello = setting.welcome_again().await;
    assert_eq!(hello.last_sequence, 2);
    let is_finished = |job: &OpenJob| matches!(job.state, OpenJobState::Finished { .. });
    assert!(hello.open_jobs.iter().all(is_finished), "{hello:?}");
    setting.stop().await;
}

#[tokio::test]
async fn an_agent_starts_with_what_it_owes_while_the_disk_is_full() {
    let mut setting = Setting::new(INSTANT).await;
    setting.bench.place(CARD);
    let job = setting.encode().await;
    let presented = setting.presented(&job).await;
    setting.plan(&presented, write(1)).await;
    let known = finished(&mut setting.line).await;
    setting.agent.kill();
    setting.agent = setting.desk.run_with_files_limited_to(0);
    setting.welcome_again().await;
    assert_eq!(finished(&mut setting.line).await, known);
}

/// From now on the agent may write no file beyond this many bytes.
fn limit_files(setting: &Setting, bytes: Option<u64>) {
    let process = i32::try_from(setting.agent.process_id()).unwrap();
    let limit = Rlimit {
        current: bytes,
        maximum: None,
    };
    prlimit(Pid::from_raw(process), Resource::Fsize, limit).unwrap();
}

/// The problems of the first inventory that is as wanted.
async fn problems(setting: &mut Setting, wanted: impl Fn(&[String]) -> bool) -> Vec<String> {
    setting
        .line
        .hear_some(|message| match message {
            AgentMessage::Inventory { problems, .. } if wanted(&problems) => Some(problems),
            _ => None,
        })
        .await
}
