//! The program, its files and its output.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;

/// The service with the demo.
const SERVE: [&str; 4] = ["serve", "--database", "sqlite:store.db", "--seed-demo"];

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_encoder-coordinator"));
    command.args(arguments).current_dir(folder);
    command
}

pub(super) fn run(folder: &Path, arguments: &[&str]) -> Output {
    command(folder, arguments).output().unwrap()
}

/// Runs a command on the folder's database and reads its JSON.
pub(super) fn answer(folder: &Path, arguments: &[&str]) -> Value {
    let common = ["--database", "sqlite:store.db", "--json"];
    let output = run(folder, &[arguments, &common].concat());
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

pub(super) fn complaint(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    assert!(!output.status.success(), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// A running service; stopped when it is dropped.
pub(super) struct Service {
    pub(super) child: Child,
    pub(super) demo: Value,
}

impl Service {
    /// Starts the service with the demo and waits for its line.
    pub(super) fn start(folder: &Path) -> Self {
        Self::start_with(folder, &[], &[])
    }

    /// The same with further arguments and variables.
    pub(super) fn start_with(
        folder: &Path,
        further: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        let address = ["--listen", "127.0.0.1:0"];
        let mut program = command(folder, &[&SERVE[..], &address, further].concat());
        program.envs(environment.iter().copied());
        Self::started(program)
    }

    /// Starts the service with a socket that listens already, as systemd hands it over, and an address that is not this
    /// machine's.
    #[cfg(unix)]
    pub(super) fn start_on(folder: &Path, listener: std::net::TcpListener) -> Self {
        let mut program = Command::new("sh");
        program
            .args(["-c", "LISTEN_FDS=1 LISTEN_PID=$$ exec \"$@\" 3<&0", "sh"])
            .arg(env!("CARGO_BIN_EXE_encoder-coordinator"))
            .args(SERVE)
            .args(["--listen", "192.0.2.1:1"])
            .current_dir(folder)
            .stdin(std::os::fd::OwnedFd::from(listener));
        Self::started(program)
    }

    fn started(mut program: Command) -> Self {
        let mut child = program
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let demo = serde_json::from_str(&line).unwrap_or(Value::Null);
        Self { child, demo }
    }

    /// POST with the demo's key; returns the body.
    pub(super) fn post(&self, path: &str, body: &Value) -> Value {
        let body = body.to_string();
        let head = format!(
            "Content-Type: application/json\r\nContent-Length: {}\r\n",
            body.len()
        );
        self.ask("POST", path, &self.demo["api_key"], &head, &body)
            .1
    }

    /// GET with a key; returns the status line and the body.
    pub(super) fn get(&self, path: &str, key: &Value) -> (String, Value) {
        self.ask("GET", path, key, "", "")
    }

    fn ask(
        &self,
        method: &str,
        path: &str,
        key: &Value,
        head: &str,
        body: &str,
    ) -> (String, Value) {
        let address = self.demo["endpoint"].as_str().unwrap();
        let address = address.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        let key = key.as_str().unwrap();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n{head}\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.lines().next().unwrap().to_owned();
        (status, serde_json::from_str(body).unwrap())
    }

    /// Asks the service to stop and waits for it.
    #[cfg(unix)]
    pub(super) fn terminate(mut self) -> std::process::ExitStatus {
        let pid = self.child.id().to_string();
        let kill = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(kill.unwrap().success());
        self.child.wait().unwrap()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
