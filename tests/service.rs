//! The agent as a process: start, settings, signals, refusals. No encoder is attached.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    reason = "a failure is a panic, in what the tests share too"
)]

mod desk;

use std::{os::unix::net::UnixDatagram, path::Path, time::Duration};

use desk::{AgentProcess, Desk, coordinator::Coordinator, soon};
use encoder_protocols::wire::{AgentMessage, Bye, ByeReason, EncoderState, ServiceMessage};
use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message;

const NO_PORT: &str = "/dev/no-such-port";

async fn desk() -> Desk {
    Desk::new(Path::new(NO_PORT), "").await
}

#[tokio::test]
async fn it_says_hello_shows_its_encoders_and_leaves_in_order() {
    let desk = desk().await;
    let mut agent = desk.run();
    let (mut line, hello) = desk.welcomed(0).await;
    assert_eq!(hello.version, env!("CARGO_PKG_VERSION"));
    assert_eq!(hello.last_sequence, 0);
    assert!(hello.open_jobs.is_empty());
    assert!(!hello.hostname.is_empty() && !hello.os.is_empty());
    let encoder = line
        .hear_some(|message| {
            let AgentMessage::Inventory { encoders, .. } = message else {
                return None;
            };
            encoders
                .into_iter()
                .find(|encoder| encoder.state == EncoderState::Fault)
        })
        .await;
    assert_eq!(encoder.key.0, format!("port:{NO_PORT}"));
    assert_eq!(encoder.name, "Front Desk");
    assert!(encoder.problem.unwrap().contains(NO_PORT));
    agent.terminate();
    let farewell = line.hear_frame().await;
    assert!(
        matches!(farewell, Some(Message::Close(Some(_)))),
        "{farewell:?}"
    );
    assert_eq!(agent.end().await.code(), Some(0));
    assert_eq!(agent.standard_output(), "");
}

#[tokio::test]
async fn it_keeps_its_id_and_draws_another_boot_id() {
    let desk = desk().await;
    let mut hellos = Vec::new();
    for _ in 0..2 {
        let mut agent = desk.run();
        hellos.push(desk.session().await.1);
        agent.signal(Signal::INT);
        assert_eq!(agent.end().await.code(), Some(0));
    }
    assert_eq!(hellos[0].agent_id, hellos[1].agent_id);
    assert_ne!(hellos[0].boot_id, hellos[1].boot_id);
}

#[tokio::test]
async fn a_refused_token_is_said_once_and_not_hammered() {
    let desk = desk().await;
    let agent = desk.run();
    let mut tcp = desk.tcp().await;
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(soon("a byte", tcp.read_u8()).await.unwrap());
    }
    tcp.write_all(b"HTTP/1.1 401 Unauthorized\r\n\r\n")
        .await
        .unwrap();
    agent.logs("refused the token (http 401)").await;
    // An ordinary failure would be followed by another attempt within a second.
    let again = tokio::time::timeout(Duration::from_millis(1_500), desk.tcp()).await;
    assert!(again.is_err());
    assert_eq!(agent.log().matches("refused the token").count(), 1);
    assert!(!agent.log().contains("agent-token"));
}

#[tokio::test]
async fn the_service_manager_is_told() {
    let desk = desk().await;
    let path = desk.directory.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    let mut command = desk.command("run");
    command
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "200000");
    let mut agent = AgentProcess::start(command);
    manager.set_read_timeout(Some(desk::PATIENCE)).unwrap();
    let heard = || {
        let mut buffer = [0; 64];
        let length = manager.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    assert_eq!(heard(), "READY=1");
    assert_eq!(heard(), "WATCHDOG=1");
    assert_eq!(heard(), "WATCHDOG=1");
    agent.terminate();
    let last = std::iter::repeat_with(heard).find(|state| state != "WATCHDOG=1");
    assert_eq!(last.as_deref(), Some("STOPPING=1"));
    assert_eq!(agent.end().await.code(), Some(0));
}

#[tokio::test]
async fn settings_that_cannot_be_used_end_with_2() {
    let desk = desk().await;
    let file = desk.settings_file();
    let sound = std::fs::read_to_string(&file).unwrap();
    for (text, expected) in [
        (
            sound.replace("[[encoder]]", "[[encoders]]"),
            "did you mean `encoder`?",
        ),
        (
            sound.replace("state_dir = \"state\"", "state_dir = 7"),
            "`state_dir`: expected the path of a directory",
        ),
        (
            sound.replace("[[encoder]]", "[[encoder]]\nbaud = \"fast\""),
            "`encoder[0].baud`: expected a whole number",
        ),
        (sound.replace("[log]", "[log"), "expected TOML"),
        (String::new(), "`state_dir`: missing"),
        (
            sound.replace("token = \"agent-token\"", ""),
            "this agent is not paired",
        ),
        (
            sound.replace("state_dir = \"state\"", ""),
            "`state_dir`: missing",
        ),
        (
            "state_dir = \"state\"".to_owned(),
            "this agent is not paired",
        ),
    ] {
        std::fs::write(&file, text).unwrap();
        for command in ["run", "check"] {
            let (code, output, errors) = desk.output(command);
            assert_eq!(code, Some(2), "{command}: {expected}");
            let said = if command == "run" { errors } else { output };
            assert!(said.contains(expected), "{said}");
        }
    }
    std::fs::write(&file, "").unwrap();
    let (_, output, _) = desk.output("check");
    for missing in ["`state_dir`", "not paired"] {
        assert!(output.contains(missing), "{output}");
    }
    std::fs::remove_file(&file).unwrap();
    let (code, _, errors) = desk.output("run");
    assert_eq!(code, Some(2));
    assert!(errors.contains("cannot read the configuration"), "{errors}");
}

#[tokio::test]
async fn check_prints_findings_or_ok() {
    let desk = desk().await;
    let (code, output, _) = desk.output("check");
    assert_eq!(code, Some(1));
    assert_eq!(
        output,
        "encoder \"Front Desk\": port /dev/no-such-port: no such port; plug the encoder in, or correct `port` in the configuration\n"
    );
    let sound = Desk::new(Path::new("/dev/null"), "").await;
    assert_eq!(
        sound.output("check"),
        (Some(0), "ok\n".to_owned(), String::new())
    );
}

#[tokio::test]
async fn a_second_agent_on_the_same_state_is_refused() {
    let desk = desk().await;
    let _first = desk.run();
    desk.session().await;
    let (code, _, errors) = desk.output("run");
    assert_eq!(code, Some(1));
    assert!(
        errors.contains("another encoder-agent uses the state folder"),
        "{errors}"
    );
}

#[tokio::test]
async fn a_second_pc_with_the_same_token_says_so_and_comes_back_late() {
    let desk = desk().await;
    let agent = desk.run();
    let (mut line, _) = desk.session().await;
    let in_use = ServiceMessage::Bye(Bye {
        reason: ByeReason::AgentInUse,
        message: "front desk PC is connected already".to_owned(),
    });
    line.say(&in_use).await;
    line.hear_end().await;
    agent
        .logs("another agent uses this token; give each PC a token of its own")
        .await;
    agent.logs("connecting again in ").await;
    let log = agent.log();
    let (_, wait) = log.rsplit_once("connecting again in ").unwrap();
    let (seconds, _) = wait.split_once('.').unwrap();
    assert!(seconds.parse::<u32>().unwrap() >= 30, "{log}");
}

#[tokio::test]
async fn it_reaches_a_coordinator_that_encrypts_and_trusts_no_other() {
    let certificates =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("coordinator/src/encryption/testdata");
    let certificate = certificates.join("desk.pem");
    let coordinator = Coordinator::encrypting(&certificate, &certificates.join("desk.key"));
    let desk = desk().await;
    for (trusted, expected) in [
        (&certificate, "connected; session "),
        (
            &certificates.join("renewed.pem"),
            "no trusted encryption with wss://127.0.0.1:",
        ),
    ] {
        let settings = format!(
            "state_dir = \"state\"\n\
             [coordinator]\nurl = \"{}\"\ntoken = \"{}\"\nextra_ca_file = \"{}\"\n\
             [discovery]\nenabled = false\n\
             [[encoder]]\nname = \"Front Desk\"\ndriver = \"pn532\"\nport = \"{NO_PORT}\"\n",
            coordinator.endpoint,
            coordinator.demo.agent_token,
            trusted.display()
        );
        std::fs::write(desk.settings_file(), settings).unwrap();
        let mut agent = desk.run();
        agent.logs(expected).await;
        agent.terminate();
        agent.end().await;
    }
}

#[tokio::test]
async fn the_doctor_looks_on_while_the_agent_stays_connected() {
    let coordinator = Coordinator::start();
    let desk = desk().await;
    let settings = format!(
        "state_dir = \"state\"\n\
         [coordinator]\nurl = \"{}\"\ntoken = \"{}\"\n\
         [discovery]\nenabled = false\n\
         [[encoder]]\nname = \"Front Desk\"\ndriver = \"pn532\"\nport = \"{NO_PORT}\"\n",
        coordinator.endpoint, coordinator.demo.agent_token,
    );
    std::fs::write(desk.settings_file(), settings).unwrap();
    let mut agent = desk.run();
    agent.logs("connected; session ").await;
    let (code, findings, _) = desk.output("doctor");
    // The encoder's port is not there; the road is walked to its end, and the clock is the same.
    assert_eq!(code, Some(2), "{findings}");
    for expected in ["ok      websocket", "ok      clock", "BROKEN  encoder"] {
        assert!(findings.contains(expected), "{expected}: {findings}");
    }
    agent.terminate();
    agent.end().await;
    let log = agent.log();
    assert_eq!(log.matches("connected; session ").count(), 1, "{log}");
    assert!(!log.contains("another agent uses this token"), "{log}");
}

#[tokio::test]
async fn log_lines_can_be_json() {
    let desk = desk().await;
    let mut command = desk.command("run");
    command.args(["--set", "log.format=json"]);
    let mut agent = AgentProcess::start(command);
    agent.logs("the agent runs").await;
    agent.terminate();
    agent.end().await;
    for line in agent.log().lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(line["level"].is_string(), "{line}");
    }
}

#[tokio::test]
async fn in_the_journal_each_line_has_its_priority_and_no_time_of_its_own() {
    use std::os::unix::fs::MetadataExt;

    let desk = desk().await;
    let path = desk.directory.path().join("journal");
    let file = std::fs::File::create(&path).unwrap();
    let metadata = file.metadata().unwrap();
    let stream = format!("{}:{}", metadata.dev(), metadata.ino());
    let mut agent = desk
        .command("run")
        .stderr(file)
        .env("JOURNAL_STREAM", stream)
        .spawn()
        .unwrap();
    let logged = async {
        loop {
            let log = std::fs::read_to_string(&path).unwrap();
            if log.contains("the agent runs") && log.contains("cannot be used") {
                return log;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let log = soon("the log", logged).await;
    agent.kill().unwrap();
    agent.wait().unwrap();
    for line in log.lines() {
        let priority = if line.contains("cannot be used") {
            "<4>"
        } else if line.contains("the agent runs") {
            "<6>"
        } else {
            "<"
        };
        assert!(line.starts_with(priority), "{line}");
        assert!(
            !line.contains(" INFO ") && !line.contains(" WARN "),
            "{line}"
        );
    }
}
