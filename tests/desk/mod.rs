//! A desk for end-to-end tests: the agent as a process of its own, and a coordinator that does what the test says.

#![allow(dead_code, reason = "every test file uses a part of it")]
#![allow(
    clippy::result_large_err,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "test support: a failure is a panic, and the library's upgrade callback has its shape"
)]

pub(crate) mod coordinator;
pub(crate) mod relay;
pub(crate) mod setting;
#[cfg(target_os = "linux")]
pub(crate) mod tree;

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use encoder_protocols::wire::{
    AgentMessage, Hello, SUBPROTOCOL, ServiceMessage, Welcome, WireMessage,
};
use futures_util::{SinkExt, StreamExt};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
};
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async,
    tungstenite::{
        Message,
        handshake::server::{Request, Response},
        http::HeaderValue,
    },
};
use uuid::Uuid;

use self::{coordinator::Coordinator, relay::Relay};

/// How long a test waits before it gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The store that the scripted coordinator says it has.
pub(crate) const STORE: Uuid = Uuid::from_u128(0x5704e);

/// Waits for something that must happen.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .unwrap_or_else(|_| panic!("{what}: it did not happen in time"))
}

/// A directory with settings and state, and the coordinator's end.
pub(crate) struct Desk {
    pub(crate) directory: tempfile::TempDir,
    listener: Arc<TcpListener>,
}

impl Desk {
    /// A desk with one encoder called "Front Desk" on this port; `more` is added to its table.
    pub(crate) async fn new(port: &Path, more: &str) -> Self {
        Self::driving("pn532", port, more).await
    }

    /// The same with an encoder of any driver.
    pub(crate) async fn driving(driver: &str, port: &Path, more: &str) -> Self {
        Self::with_settings(&format!(
            "[discovery]\nenabled = false\n\
             [[encoder]]\nname = \"Front Desk\"\ndriver = \"{driver}\"\nport = \"{}\"\n{more}\n",
            port.display()
        ))
        .await
    }

    /// A desk whose encoders are found among the devices of this tree, where every one may be asked.
    #[cfg(target_os = "linux")]
    pub(crate) async fn finding(tree: &tree::Tree, more: &str) -> Self {
        Self::with_settings(&format!(
            "[discovery]\nprobe = true\nsys = \"{}\"\ndev = \"{}\"\n{more}\n",
            tree.sys().display(),
            tree.dev().display()
        ))
        .await
    }

    /// A desk with these tables beside those of the coordinator and the log.
    pub(crate) async fn with_settings(more: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let settings = format!(
            "state_dir = \"state\"\n\
             [coordinator]\nurl = \"ws://{address}\"\ntoken = \"agent-token\"\n\
             [log]\nlevel = \"debug\"\n{more}",
        );
        fs::write(directory.path().join("agent.toml"), settings).unwrap();
        Self {
            directory,
            listener: Arc::new(listener),
        }
    }

    /// Carries the agent's sessions to a coordinator.
    pub(crate) fn relay(&self, coordinator: &Coordinator) -> Relay {
        let token = &coordinator.demo.agent_token;
        Relay::start(Arc::clone(&self.listener), coordinator.authority(), token)
    }

    pub(crate) fn settings_file(&self) -> PathBuf {
        self.directory.path().join("agent.toml")
    }

    /// The agent's command line, ready to be started.
    pub(crate) fn command(&self, command: &str) -> Command {
        let mut process = Command::new(env!("CARGO_BIN_EXE_encoder-agent"));
        process
            .arg(command)
            .arg("--config")
            .arg(self.settings_file())
            .env_remove("RUST_LOG")
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        process
    }

    /// Starts the agent.
    pub(crate) fn run(&self) -> AgentProcess {
        AgentProcess::start(self.command("run"))
    }

    /// Starts the agent, which may write no file beyond this many bytes.
    pub(crate) fn run_with_files_limited_to(&self, bytes: u64) -> AgentProcess {
        let agent = self.command("run");
        let mut command = Command::new("prlimit");
        command
            .arg(format!("--fsize={bytes}"))
            .arg(agent.get_program())
            .args(agent.get_args())
            .env_remove("RUST_LOG")
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        AgentProcess::start(command)
    }

    /// Runs a command to its end: exit code, standard output, standard error.
    pub(crate) fn output(&self, command: &str) -> (Option<i32>, String, String) {
        let output = self.command(command).output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    }

    /// Takes the next TCP connection.
    pub(crate) async fn tcp(&self) -> TcpStream {
        let (stream, _) = soon("a connection", self.listener.accept()).await.unwrap();
        // As the coordinator does; without it small messages wait for the agent's acknowledgement.
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// Takes the agent's next session up to its `hello`.
    pub(crate) async fn session(&self) -> (Line, Hello) {
        let tcp = self.tcp().await;
        let upgrade = |request: &Request, mut response: Response| {
            assert_eq!(request.uri().path(), "/agents/socket");
            assert_eq!(request.headers()["authorization"], "Bearer agent-token");
            let value = HeaderValue::from_static(SUBPROTOCOL);
            response
                .headers_mut()
                .insert("sec-websocket-protocol", value);
            Ok(response)
        };
        let stream = soon("the upgrade", accept_hdr_async(tcp, upgrade))
            .await
            .unwrap();
        let mut line = Line { stream };
        let first = line.hear().await;
        let AgentMessage::Hello(hello) = first else {
            panic!("the first message was {first:?}");
        };
        (line, hello)
    }

    /// Takes the agent's next session and welcomes it as a store that holds outcomes up to `last_sequence`.
    pub(crate) async fn welcomed(&self, last_sequence: u64) -> (Line, Hello) {
        let (mut line, hello) = self.session().await;
        line.say(&ServiceMessage::Welcome(Welcome {
            session_id: Uuid::from_u128(1),
            store_id: STORE,
            last_sequence,
            journal_behind: false,
            heartbeat_ms: 5_000,
            server_time: "2026-11-21T12:00:00Z".parse().unwrap(),
            next_pins: None,
        }))
        .await;
        (line, hello)
    }
}

/// The coordinator's end of one session.
pub(crate) struct Line {
    stream: WebSocketStream<TcpStream>,
}

impl Line {
    pub(crate) async fn say(&mut self, message: &ServiceMessage) {
        self.say_frame(Message::text(message.encode())).await;
    }

    pub(crate) async fn say_frame(&mut self, frame: Message) {
        soon("sending", self.stream.send(frame)).await.unwrap();
    }

    /// Waits until the agent has ended the session.
    pub(crate) async fn hear_end(&mut self) {
        while !matches!(self.hear_frame().await, None | Some(Message::Close(_))) {}
    }

    /// The agent's next message; panics when the session ends instead.
    pub(crate) async fn hear(&mut self) -> AgentMessage {
        match self.hear_frame().await {
            Some(Message::Text(text)) => AgentMessage::decode(&text).unwrap(),
            other => panic!("expected a message: {other:?}"),
        }
    }

    /// Breaks the connection; one that is over already is no matter.
    pub(crate) async fn hang_up(&mut self) {
        let _ = self.stream.get_mut().shutdown().await;
    }

    /// The first message that `pick` takes, those before it dropped.
    pub(crate) async fn hear_some<T>(
        &mut self,
        mut pick: impl FnMut(AgentMessage) -> Option<T>,
    ) -> T {
        let picked = async {
            loop {
                let message = self.hear().await;
                if let Some(picked) = pick(message) {
                    return picked;
                }
            }
        };
        soon("the message", picked).await
    }

    /// The next frame that is not part of the heartbeat; none at the end.
    pub(crate) async fn hear_frame(&mut self) -> Option<Message> {
        let heard = async {
            loop {
                match self.stream.next().await {
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    Some(Ok(frame)) => return Some(frame),
                    Some(Err(_)) | None => return None,
                }
            }
        };
        soon("a frame", heard).await
    }
}

/// The agent as a process; killed when it is dropped.
pub(crate) struct AgentProcess {
    child: Child,
    log: Arc<Mutex<String>>,
}

impl AgentProcess {
    /// Starts it and gathers what it logs.
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (gathered, errors) = (Arc::clone(&log), child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in BufReader::new(errors).lines().map_while(Result::ok) {
                let mut log = gathered.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        Self { child, log }
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits until a line of the log contains `words`.
    pub(crate) async fn logs(&self, words: &str) {
        let logged = async {
            while !self.log().contains(words) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, logged).await.is_err() {
            panic!("never logged: {words}\n{}", self.log());
        }
    }

    pub(crate) fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
    }

    /// Kills it as a power cut would.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end.
    pub(crate) async fn end(&mut self) -> ExitStatus {
        soon("the agent's end", async {
            loop {
                match self.child.try_wait().unwrap() {
                    Some(status) => return status,
                    None => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        })
        .await
    }

    /// What it wrote on standard output; only after its end.
    pub(crate) fn standard_output(&mut self) -> String {
        let mut text = String::new();
        let mut pipe = self.child.stdout.take().unwrap();
        pipe.read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for AgentProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
