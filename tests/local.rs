//! What people at the desk ask of the running agent: status, cancel, scan, encode, devices, doctor; with an emulated encoder on a
//! pseudo terminal.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    reason = "a failure is a panic, in what the tests share too"
)]

mod desk;

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    process::{Child, Command},
};

use desk::{
    Desk,
    setting::{CARD, INSTANT, OTHER_CARD, Setting, finished, image, image_blocks, write},
    soon,
};
use encoder_agent::status::{EncoderState, HealthState, JobStage, Status};
use encoder_protocols::{
    msr605::emulator::{Pace, StripeKind},
    wire::{ErrorCode, Outcome, Progress, Touched},
};

/// A command that was run to its end.
struct Ran {
    code: Option<i32>,
    output: String,
    errors: String,
}

fn run(desk: &Desk, command: &str, arguments: &[&str]) -> Ran {
    let output = desk.command(command).args(arguments).output().unwrap();
    Ran {
        code: output.status.code(),
        output: String::from_utf8(output.stdout).unwrap(),
        errors: String::from_utf8(output.stderr).unwrap(),
    }
}

fn status(desk: &Desk) -> Status {
    let ran = run(desk, "status", &["--json"]);
    serde_json::from_str(&ran.output).unwrap_or_else(|_| panic!("{}{}", ran.output, ran.errors))
}

/// Waits until the status is as it should be.
async fn status_is(desk: &Desk, is_so: impl Fn(&Status) -> bool) -> Status {
    let looked = async {
        loop {
            let status = status(desk);
            if is_so(&status) {
                return status;
            }
            tokio::task::yield_now().await;
        }
    };
    soon("the status", looked).await
}

/// The image that fills every data block with one byte, in a file beside the settings.
fn image_file(desk: &Desk, fill: u8) -> String {
    let path = desk.directory.path().join(format!("image-{fill}.json"));
    fs::write(&path, serde_json::to_vec(&image(fill)).unwrap()).unwrap();
    path.display().to_string()
}

#[tokio::test]
async fn the_status_tells_of_connection_encoder_job_and_journal() {
    let mut setting = Setting::new(INSTANT).await;
    let text = run(&setting.desk, "status", &[]);
    assert_eq!(text.code, Some(0), "{}", text.errors);
    for expected in [
        "health       ok",
        ": connected since",
        "encoder      Front Desk: ready",
    ] {
        assert!(
            text.output.contains(expected),
            "{expected}: {}",
            text.output
        );
    }
    let job = setting.encode().await;
    let busy = status_is(&setting.desk, |status| status.encoders[0].job.is_some()).await;
    assert_eq!(busy.health.state, HealthState::Ok);
    assert_eq!(busy.journal.open_jobs, 1);
    assert_eq!(busy.encoders[0].state, EncoderState::Busy);
    assert_eq!(busy.encoders[0].firmware.as_deref(), Some("1.6"));
    let shown = busy.encoders[0].job.as_ref().unwrap();
    assert_eq!((shown.job_id, shown.stage), (job.job_id, JobStage::Waiting));
    assert_eq!(shown.waits_for.as_deref(), Some("a card"));
    // Neither the token nor the coordinator's words.
    let all = serde_json::to_string(&busy).unwrap() + &text.output;
    assert!(!all.contains("agent-token"), "{all}");
    setting.line.hang_up().await;
    let down = status_is(&setting.desk, |status| {
        status.health.state == HealthState::Down
    })
    .await;
    assert!(
        down.health.problems[0].starts_with("not connected to ws://127.0.0.1"),
        "{down:?}"
    );
    assert_eq!(run(&setting.desk, "status", &[]).code, Some(1));
    setting.agent.kill();
}

#[tokio::test]
async fn a_watched_status_goes_on_and_outlives_the_agent() {
    let mut setting = Setting::new(INSTANT).await;
    let mut watching = setting.desk.command("status");
    let mut watching = watching.args(["--watch", "--json"]).spawn().unwrap();
    let mut told = BufReader::new(watching.stdout.take().unwrap()).lines();
    for _ in 0..2 {
        let status: Status = serde_json::from_str(&told.next().unwrap().unwrap()).unwrap();
        assert_eq!(status.encoders[0].state, EncoderState::Ready);
    }
    setting.agent.kill();
    let mut complaints = BufReader::new(watching.stderr.take().unwrap()).lines();
    let gone = complaints.find(|line| {
        let line = line.as_ref().unwrap();
        line.contains("no agent runs here")
    });
    assert!(gone.is_some());
    watching.kill().unwrap();
    watching.wait().unwrap();
}

#[tokio::test]
async fn where_no_agent_runs_the_commands_say_so() {
    let desk = Desk::new(std::path::Path::new("/dev/no-such-port"), "").await;
    for (command, arguments) in [
        ("status", vec![]),
        ("cancel", vec![]),
        ("encode", vec![image_file(&desk, 1)]),
    ] {
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let ran = run(&desk, command, &arguments);
        assert_eq!(ran.code, Some(1), "{command}: {}{}", ran.output, ran.errors);
        assert!(
            ran.errors.contains("no agent runs here"),
            "{command}: {}",
            ran.errors
        );
    }
}

#[tokio::test]
async fn a_cancel_at_the_desk_frees_an_encoder_that_waits() {
    let mut setting = Setting::new(INSTANT).await;
    let idle = run(&setting.desk, "cancel", &[]);
    assert_eq!(idle.code, Some(1));
    assert!(
        idle.errors.contains("there is no job to cancel"),
        "{}",
        idle.errors
    );
    let job = setting.encode().await;
    setting
        .progress(&job, |progress| *progress == Progress::WaitingForCard)
        .await;
    let cancelled = run(&setting.desk, "cancel", &["front desk"]);
    assert_eq!(cancelled.code, Some(0), "{}", cancelled.errors);
    assert!(
        cancelled.output.contains(&job.job_id.to_string()),
        "{}",
        cancelled.output
    );
    let ended = finished(&mut setting.line).await;
    let error = ended.error.clone().unwrap();
    assert_eq!(error.code, ErrorCode::UncategorizedError);
    assert!(
        error.message.starts_with("cancelled at the desk"),
        "{error:?}"
    );
    assert_eq!(ended.touched, Touched::Untouched);
    setting.acknowledge(&ended).await;
    // The next job finds the encoder free.
    setting.bench.place(CARD);
    assert_eq!(setting.encode_all(1).await.outcome, Outcome::Success);
    let told = status(&setting.desk);
    assert_eq!(
        (told.jobs.encodes.succeeded, told.jobs.encodes.failed),
        (1, 1)
    );
    assert_eq!(told.jobs.last_error.unwrap().job_id, job.job_id);
    setting.stop().await;
}

#[tokio::test]
async fn a_write_at_the_desk_is_verified_and_never_a_job() {
    let mut setting = Setting::new(INSTANT).await;
    setting.bench.place(CARD);
    let file = image_file(&setting.desk, 0x5a);
    let written = run(&setting.desk, "encode", &[&file, "--json"]);
    assert_eq!(written.code, Some(0), "{}", written.errors);
    let told: serde_json::Value = serde_json::from_str(&written.output).unwrap();
    assert_eq!(told["card_number"], CARD);
    for block in image_blocks() {
        assert_eq!(setting.bench.block(CARD, block), [0x5a; 16]);
    }
    // No outcome of it goes out; the next one is the first.
    let first = setting.encode().await;
    // Its card must leave before a credential is put on one.
    setting
        .progress(&first, |progress| *progress == Progress::LiftCard)
        .await;
    setting.bench.lift_all();
    setting.bench.place(OTHER_CARD);
    let presented = setting.presented(&first).await;
    setting.plan(&presented, write(1)).await;
    let ended = finished(&mut setting.line).await;
    assert_eq!((ended.sequence, ended.outcome), (1, Outcome::Success));
    assert!(!setting.agent.log().contains("ffffffffffff"));
    setting.stop().await;
}

#[tokio::test]
async fn a_card_that_was_just_given_to_a_guest_is_not_overwritten_at_the_desk() {
    let mut setting = Setting::new(INSTANT).await;
    setting.bench.place(CARD);
    setting.encode_all(1).await;
    let file = image_file(&setting.desk, 2);
    let refused = run(&setting.desk, "encode", &[&file, "--wait", "1"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.errors.contains("lift it"), "{}", refused.errors);
    assert!(image_blocks().all(|block| setting.bench.block(CARD, block) == [1; 16]));
    setting.bench.lift_all();
    setting.bench.place(OTHER_CARD);
    let written = run(&setting.desk, "encode", &[&file]);
    assert_eq!(written.code, Some(0), "{}", written.errors);
    setting.stop().await;
}

#[tokio::test]
async fn a_job_of_the_coordinator_goes_before_a_wait_at_the_desk() {
    let mut setting = Setting::new(INSTANT).await;
    let file = image_file(&setting.desk, 2);
    let mut waiting = setting.desk.command("encode");
    let mut waiting = waiting.args([&file, "--wait", "60"]).spawn().unwrap();
    status_is(&setting.desk, |status| {
        status.encoders[0].state == EncoderState::Lent
    })
    .await;
    let busy = run(&setting.desk, "scan", &[]);
    assert!(busy.errors.contains("is busy"), "{}", busy.errors);
    let job = setting.encode().await;
    let (code, errors) = end(&mut waiting).await;
    assert_eq!(code, Some(1));
    assert!(
        errors.contains("a job of the coordinator needs the encoder"),
        "{errors}"
    );
    setting.bench.place(CARD);
    let presented = setting.presented(&job).await;
    setting.plan(&presented, write(1)).await;
    assert_eq!(finished(&mut setting.line).await.outcome, Outcome::Success);
    let busy = run(&setting.desk, "encode", &[&file, "--encoder", "nobody"]);
    assert!(
        busy.errors.contains("no encoder is called \"nobody\""),
        "{}",
        busy.errors
    );
    setting.stop().await;
}

#[tokio::test]
async fn who_goes_away_or_stops_the_agent_ends_the_wait() {
    let mut setting = Setting::new(INSTANT).await;
    let mut waiting = setting.desk.command("scan").spawn().unwrap();
    status_is(&setting.desk, |status| {
        status.encoders[0].state == EncoderState::Lent
    })
    .await;
    waiting.kill().unwrap();
    waiting.wait().unwrap();
    status_is(&setting.desk, |status| {
        status.encoders[0].state == EncoderState::Ready
    })
    .await;
    let mut waiting = setting.desk.command("scan").spawn().unwrap();
    status_is(&setting.desk, |status| {
        status.encoders[0].state == EncoderState::Lent
    })
    .await;
    setting.agent.terminate();
    let (code, _) = end(&mut waiting).await;
    assert_eq!(code, Some(1));
    assert_eq!(
        setting.agent.end().await.code(),
        Some(0),
        "{}",
        setting.agent.log()
    );
    assert!(
        !setting
            .desk
            .directory
            .path()
            .join("state/agent.sock")
            .exists()
    );
}

async fn end(child: &mut Child) -> (Option<i32>, String) {
    let status = soon("the command's end", async {
        loop {
            match child.try_wait().unwrap() {
                Some(status) => return status,
                None => tokio::task::yield_now().await,
            }
        }
    })
    .await;
    let mut errors = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut errors)
        .unwrap();
    (status.code(), errors)
}

#[tokio::test]
async fn scan_devices_and_doctor_go_through_the_agent_which_has_the_ports() {
    let setting = Setting::new(INSTANT).await;
    setting.bench.place(CARD);
    let scanned = run(&setting.desk, "scan", &["--json"]);
    assert_eq!(scanned.code, Some(0), "{}", scanned.errors);
    let told: serde_json::Value = serde_json::from_str(&scanned.output).unwrap();
    assert_eq!(told["uid"], CARD);
    let devices = run(&setting.desk, "devices", &["--json"]);
    assert_eq!(devices.code, Some(0), "{}", devices.output);
    let told: serde_json::Value = serde_json::from_str(&devices.output).unwrap();
    assert_eq!(
        (&told["state"], &told["firmware"]),
        (&"ready".into(), &"1.6".into())
    );
    assert_eq!(told["held_by"], "the running encoder-agent");
    let mut doctor = setting.desk.command("doctor").spawn().unwrap();
    // It looks at the coordinator too, which has no word for it.
    drop(setting.desk.tcp().await);
    end(&mut doctor).await;
    let mut output = String::new();
    doctor
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut output)
        .unwrap();
    for expected in [
        "ok      agent ",
        "Front Desk answers the running agent: PN532, 1.6",
    ] {
        assert!(output.contains(expected), "{expected}: {output}");
    }
    setting.stop().await;
}

#[tokio::test]
async fn without_an_agent_scan_and_devices_open_the_port_themselves() {
    let mut setting = Setting::new(INSTANT).await;
    setting.bench.place(CARD);
    setting.agent.terminate();
    setting.agent.end().await;
    let scanned = run(&setting.desk, "scan", &["--json"]);
    assert_eq!(scanned.code, Some(0), "{}", scanned.errors);
    let devices = run(&setting.desk, "devices", &["--json"]);
    assert!(
        devices.output.contains("\"held_by\":null"),
        "{}",
        devices.output
    );
}

#[tokio::test]
async fn a_stripe_is_written_at_the_desk_by_one_swipe_and_shown_by_another() {
    let setting = Setting::swiping(Pace::INSTANT).await;
    let encoder_protocols::wire::Plan::Write { image } = desk::setting::write_stripe() else {
        panic!("a plan to write");
    };
    let file = setting.desk.directory.path().join("stripe.json");
    fs::write(&file, serde_json::to_vec(&image).unwrap()).unwrap();
    setting.bench.create("card", StripeKind::HiCo).unwrap();
    let mut command = setting.desk.command("encode");
    let mut encoding = command.arg(&file).spawn().unwrap();
    let mut advice = BufReader::new(encoding.stderr.take().unwrap()).lines();
    for expected in [
        "draw the card through",
        "written: draw the same card through once more",
    ] {
        let line = advice.next().unwrap().unwrap();
        assert!(line.contains(expected), "{line}");
        let asked_for = async {
            while !setting.bench.waits().unwrap() {
                tokio::task::yield_now().await;
            }
        };
        soon("a swipe to be awaited", asked_for).await;
        setting.bench.swipe("card").unwrap();
    }
    let mut output = String::new();
    encoding
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut output)
        .unwrap();
    assert_eq!(output, "card number  1000234\n");
    assert!(encoding.wait().unwrap().success());
    setting.stop().await;
}

#[tokio::test]
async fn a_bad_image_is_refused_and_not_quoted() {
    let setting = Setting::new(INSTANT).await;
    let file = setting.desk.directory.path().join("bad.json");
    for text in [
        "{\"kind\":\"mifare_classic\",\"sectors\":\"a0a1a2a3a4a5\"}",
        "a0a1a2a3a4a5",
        "",
    ] {
        fs::write(&file, text).unwrap();
        let ran = run(&setting.desk, "encode", &[&file.display().to_string()]);
        assert_eq!(ran.code, Some(2));
        assert!(ran.errors.contains("is no card image"), "{}", ran.errors);
        assert!(!ran.errors.contains("a0a1a2"), "{}", ran.errors);
    }
    setting.stop().await;
}

#[tokio::test]
async fn babbling_clients_disturb_nobody() {
    let mut setting = Setting::new(INSTANT).await;
    let socket = setting.desk.directory.path().join("state/agent.sock");
    let babblers: Vec<_> = (0..20)
        .map(|_| UnixStream::connect(&socket).unwrap())
        .collect();
    for mut babbler in &babblers {
        babbler.set_nonblocking(true).unwrap();
        // Those who found no place were hung up on.
        let _ = babbler.write(&[b'x'; 4096]);
    }
    setting.bench.place(CARD);
    assert_eq!(setting.encode_all(1).await.outcome, Outcome::Success);
    drop(babblers);
    status_is_asked(&setting.desk).await;
    setting.stop().await;
}

/// Waits until there is a place again.
async fn status_is_asked(desk: &Desk) {
    let asked = async {
        while run(desk, "status", &[]).code != Some(0) {
            tokio::task::yield_now().await;
        }
    };
    soon("a place", asked).await;
}

#[tokio::test]
async fn monitors_read_the_status_over_http_only_where_it_is_asked_for() {
    let setting = Setting::new(INSTANT).await;
    let log = setting.agent.log();
    assert!(!log.contains("over http"), "{log}");
    setting.stop().await;
    let desk = Desk::with_settings("[local]\nhttp = \"127.0.0.1:0\"\n[discovery]\nenabled = true\nsys = \"none\"\ndev = \"none\"\n").await;
    let mut agent = desk.run();
    agent.logs("the status can be read over http").await;
    let log = agent.log();
    let (_, address) = log.split_once("address=").unwrap();
    let address = address.split_whitespace().next().unwrap().to_owned();
    let mut stream = TcpStream::connect(&address).unwrap();
    write!(stream, "GET /health HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    // No coordinator, no encoder.
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("no encoder is plugged in"), "{answer}");
    agent.terminate();
    assert_eq!(agent.end().await.code(), Some(0));
}

#[tokio::test]
async fn who_is_no_administrator_may_look_and_cancel_and_touches_no_card() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let mut setting = Setting::new(INSTANT).await;
    setting.bench.place(CARD);
    // Others must reach the socket: the directories of a test are their owner's.
    let everyone = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
    for directory in ["", "state"] {
        let directory = setting.desk.directory.path().join(directory);
        fs::set_permissions(directory, everyone.clone()).unwrap();
    }
    let program = fs::read(env!("CARGO_BIN_EXE_encoder-agent")).unwrap();
    let copy = setting.desk.directory.path().join("encoder-agent");
    fs::write(&copy, program).unwrap();
    fs::set_permissions(&copy, everyone.clone()).unwrap();
    let file = image_file(&setting.desk, 7);
    let config = setting.desk.settings_file().display().to_string();
    let as_nobody = |arguments: &[&str]| {
        let output = Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(&copy)
            .args(arguments)
            .args(["--config", &config])
            .output()
            .unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), errors)
    };
    assert_eq!(as_nobody(&["status"]).0, Some(0));
    for arguments in [&["scan"][..], &["encode", file.as_str()]] {
        let (code, errors) = as_nobody(arguments);
        assert_eq!(code, Some(1), "{errors}");
        assert!(
            errors.contains("an administrator") || errors.contains("hung up"),
            "{errors}"
        );
    }
    assert_eq!(setting.bench.writes(CARD), 0);
    setting.bench.lift_all();
    let job = setting.encode().await;
    let (code, errors) = as_nobody(&["cancel"]);
    assert_eq!(code, Some(0), "{errors}");
    let ended = finished(&mut setting.line).await;
    assert_eq!(
        (ended.job_id, ended.touched),
        (job.job_id, Touched::Untouched)
    );
    setting.stop().await;
}
