//! `encoder-agent emulate` as a program: its commands, its socket, its ends.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    reason = "a test may stop at what it did not expect"
)]

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

struct Emulate {
    child: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    directory: TempDir,
}

impl Emulate {
    /// Starts it and answers its first line, too.
    fn start(arguments: &[&str]) -> (Self, String) {
        Self::start_device("pn532", arguments)
    }

    fn start_device(device: &str, arguments: &[&str]) -> (Self, String) {
        let directory = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_encoder-agent"))
            .args(["emulate", device, "--link"])
            .arg(directory.path().join("tty"))
            .arg("--control")
            .arg(directory.path().join("control"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let commands = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().unwrap());
        let mut emulate = Self {
            child,
            commands,
            answers,
            directory,
        };
        let ready = emulate.answer();
        let port = emulate.link().display().to_string();
        let ready = ready.strip_prefix("ok ").unwrap();
        let card = ready.strip_prefix(port.as_str()).unwrap().trim().to_owned();
        (emulate, card)
    }

    fn link(&self) -> std::path::PathBuf {
        self.directory.path().join("tty")
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn say(&mut self, command: &str) -> String {
        writeln!(self.commands.as_ref().unwrap(), "{command}").unwrap();
        self.answer()
    }

    /// Waits for the end, which leaves nothing behind.
    fn ended(mut self) {
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        let gone = |name: &str| Path::symlink_metadata(&self.directory.path().join(name)).is_err();
        assert!(gone("tty") && gone("control"));
    }
}

#[test]
fn it_obeys_standard_input_until_it_is_told_to_quit() {
    let (mut emulate, card) = Emulate::start(&["--card", "ntag213", "--uid", "04000000000001"]);
    assert_eq!(card, "card-1 ntag213 uid 04000000000001");
    assert!(emulate.link().exists());
    assert_eq!(emulate.say("card"), "ok card-1 ntag213 uid 04000000000001");
    assert_eq!(
        emulate.say("remove"),
        "ok card-1 ntag213 uid 04000000000001"
    );
    assert_eq!(emulate.say("unplug"), "ok");
    assert!(!emulate.link().exists());
    assert_eq!(
        emulate.say("plug"),
        format!("ok {}", emulate.link().display())
    );
    let error = emulate.say("fault nothing");
    assert!(
        error.starts_with("error unknown fault \"nothing\""),
        "{error}"
    );
    assert_eq!(emulate.say("quit"), "ok");
    emulate.ended();
}

#[test]
fn it_obeys_its_socket_and_quits_by_it() {
    let (emulate, card) = Emulate::start(&["--no-card"]);
    assert_eq!(card, "none");
    let control = UnixStream::connect(emulate.directory.path().join("control")).unwrap();
    // Another caller that says nothing holds nobody up.
    let _idle = UnixStream::connect(emulate.directory.path().join("control")).unwrap();
    let mut answers = BufReader::new(control.try_clone().unwrap()).lines();
    let mut say = |command: &str| {
        writeln!(&control, "{command}").unwrap();
        answers.next().unwrap().unwrap()
    };
    assert_eq!(
        say("place classic-1k uid 01020304"),
        "ok card-1 classic-1k uid 01020304"
    );
    assert_eq!(
        say("dance"),
        "error unknown command \"dance\"; `help` lists the commands"
    );
    assert_eq!(say("quit"), "ok");
    emulate.ended();
}

#[test]
fn a_stripe_encoder_keeps_a_card_at_hand() {
    let (mut emulate, card) = Emulate::start_device("msr605", &["--card", "loco"]);
    assert_eq!(card, "card-1 loco");
    assert_eq!(emulate.say("encode card-1 %A B?|;1?|"), "ok");
    assert_eq!(emulate.say("tracks"), "ok %A B?|;1?|");
    assert_eq!(emulate.say("waits"), "ok no");
    assert_eq!(emulate.say("remove"), "ok card-1 loco");
    assert_eq!(emulate.say("quit"), "ok");
    emulate.ended();
}

#[test]
fn signals_end_it_well_and_the_end_of_its_input_does_not() {
    for signal in [Signal::TERM, Signal::INT] {
        let (mut emulate, _) = Emulate::start(&[]);
        assert_eq!(emulate.say("card"), "ok card-1 classic-1k uid deadbeef");
        drop(emulate.commands.take());
        let control = UnixStream::connect(emulate.directory.path().join("control")).unwrap();
        writeln!(&control, "card").unwrap();
        let mut answer = String::new();
        BufReader::new(&control).read_line(&mut answer).unwrap();
        assert_eq!(answer, "ok card-1 classic-1k uid deadbeef\n");
        let process = i32::try_from(emulate.child.id())
            .ok()
            .and_then(Pid::from_raw);
        kill_process(process.unwrap(), signal).unwrap();
        emulate.ended();
    }
}

#[test]
fn what_it_cannot_start_it_says() {
    let directory = tempfile::tempdir().unwrap();
    let taken = directory.path().join("tty");
    std::fs::write(&taken, "mine").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_encoder-agent"))
        .args(["emulate", "pn532", "--link"])
        .arg(&taken)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(
        complaint.contains("is no left-over link; remove it or give another path"),
        "{complaint}"
    );
    for (device, arguments) in [
        ("pn532", ["--card", "hico"]),
        ("msr605", ["--card", "ntag213"]),
        ("msr605", ["--uid", "01020304"]),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_encoder-agent"))
            .args(["emulate", device])
            .args(arguments)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{device} {arguments:?}");
    }
    for arguments in [["--card", "mifare"], ["--uid", "xyz"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_encoder-agent"))
            .args(["emulate", "pn532"])
            .args(arguments)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
}
