//! The session's task: joins state machine, socket and clock.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    pin::Pin,
    time::Duration,
};

use encoder_protocols::{
    moment::Moment,
    wire::{AgentMessage, NextPins, SecretText, WireMessage},
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, trace, warn};

use super::{
    Outgoing, SessionEvent, TlsSetupError,
    action::{Action, Notice, NoticeLevel},
    backoff::system_jitter,
    error::{ConnectError, ConnectionEnd},
    machine::Machine,
    socket::{Connector, Incoming, Socket},
    status::{Board, SessionStatus},
    tls::SharedPins,
    token::TokenStore,
};
use crate::{
    clock::Clock,
    config::{CoordinatorSettings, Secret},
    pairing::{self, Pins},
    pulse::SignOfLife,
};

/// How often the configured token is looked at while the coordinator refuses it.
const TOKEN_LOOK: Duration = Duration::from_secs(2);

type Attempt = Pin<Box<dyn Future<Output = Attempted> + Send>>;

/// What came of an attempt, and the configured token as it was then.
struct Attempted {
    configured: Option<Secret>,
    result: Result<Socket, ConnectError>,
}

/// The conversation with one coordinator.
pub struct Session {
    machine: Machine,
    connector: Connector,
    tokens: TokenStore,
    /// The file of the pairing, if there is one.
    pairing: Option<PathBuf>,
    clock: Clock,
    board: Board,
    line: Line,
    /// The configured token as it was at the last attempt.
    tried: Option<Secret>,
    unflushed_since: Option<Moment>,
    pending: VecDeque<SessionEvent>,
    events: mpsc::Sender<SessionEvent>,
    outgoing: mpsc::Receiver<Outgoing>,
}

/// Where the session stands with its socket.
enum Line {
    Down,
    Connecting(Attempt),
    Up(Box<Socket>),
}

/// What happened.
enum Happening {
    Stop,
    Time,
    /// What the configured token is now.
    TokenLook(Option<Secret>),
    Attempt(Attempted),
    Frame(Result<Incoming, ConnectionEnd>),
    Outgoing(Option<Outgoing>),
    EventTaken,
    JobsGone,
}

impl Session {
    /// Prepares a session; opens no connection yet. A rotated token is kept in `state_dir`.
    ///
    /// `events` carries what happens to the jobs, `outgoing` what they say.
    ///
    /// # Errors
    /// [`TlsSetupError`] when the URL asks for encryption and no trust can be set up.
    pub fn new(
        coordinator: &CoordinatorSettings,
        state_dir: &Path,
        clock: Clock,
        events: mpsc::Sender<SessionEvent>,
        outgoing: mpsc::Receiver<Outgoing>,
    ) -> Result<Self, TlsSetupError> {
        let tokens = TokenStore::new(coordinator, state_dir);
        if let Err(error) = tokens.seal() {
            warn!("a token stays unencrypted on the disk: {error}");
        }
        Ok(Self {
            machine: Machine::new(clock.now(), system_jitter()),
            connector: Connector::new(coordinator)?,
            tokens,
            pairing: coordinator.pairing.as_ref().map(|it| it.file.clone()),
            clock,
            board: Board::new(clock.utc()),
            line: Line::Down,
            tried: None,
            unflushed_since: None,
            pending: VecDeque::new(),
            events,
            outgoing,
        })
    }

    /// How it stands, from now on.
    pub fn status(&self) -> watch::Receiver<SessionStatus> {
        self.board.watch()
    }

    /// Keeps the conversation going until `stop` is cancelled or the jobs are gone; then says farewell and ends.
    pub async fn run(mut self, stop: CancellationToken, mut sign: SignOfLife) {
        loop {
            self.act(&mut sign).await;
            if self.machine.is_stopped() {
                return;
            }
            self.note_unflushed();
            let happening = self.wait(&stop, &mut sign).await;
            self.take(happening);
        }
    }

    /// Does what the machine wants.
    async fn act(&mut self, sign: &mut SignOfLife) {
        while let Some(action) = self.machine.poll_action() {
            match action {
                Action::Connect { refusals } => self.line = self.connect(refusals),
                Action::Disconnect { farewell } => {
                    let line = std::mem::replace(&mut self.line, Line::Down);
                    if let (Line::Up(socket), Some(farewell)) = (line, farewell) {
                        sign.during(socket.close(farewell)).await;
                    }
                }
                Action::Send(message) => self.send(&message),
                Action::Ping => self.ping(),
                Action::StoreToken(token) => {
                    sign.during(store_token(self.tokens.clone(), token)).await;
                }
                Action::StorePins(next) => {
                    // Whoever may inspect the connection could announce anything.
                    let pins = self.connector.pins().cloned();
                    if let Some((shared, file)) = pins.zip(self.pairing.clone()) {
                        sign.during(store_pins(shared, file, &next)).await;
                    }
                }
                Action::Event(event) => {
                    if let SessionEvent::Message { message, .. } = &event {
                        self.board.heard(message);
                    }
                    self.pending.push_back(event);
                }
                Action::Log(notice) => {
                    log(&notice);
                    self.board.note(&notice, self.clock.utc());
                }
            }
        }
        self.board.stands(self.machine.standing(), self.clock.utc());
    }

    fn connect(&mut self, refusals: u32) -> Line {
        let tokens = self.tokens.clone();
        let connector = self.connector.clone();
        let utc = self.clock.utc();
        debug!(url = connector.socket_url(), "connecting");
        Line::Connecting(Box::pin(async move {
            let read = move || (tokens.configured().ok(), tokens.token(refusals));
            let (configured, token) = match aside(read).await {
                Ok((configured, token)) => (configured, token.map_err(|error| error.to_string())),
                Err(error) => (None, Err(error.to_string())),
            };
            let result = match token {
                Ok(token) => connector.connect(&token, utc).await,
                Err(problem) => Err(ConnectError::Token(problem)),
            };
            Attempted { configured, result }
        }))
    }

    fn send(&mut self, message: &AgentMessage) {
        let text = message.encode();
        trace!(bytes = text.len(), "sending a message");
        if let Line::Up(socket) = &mut self.line
            && let Err(end) = socket.send_text(text)
        {
            self.machine.handle_end(self.clock.now(), &end);
        }
    }

    fn ping(&mut self) {
        if let Line::Up(socket) = &mut self.line
            && let Err(end) = socket.send_ping()
        {
            self.machine.handle_end(self.clock.now(), &end);
        }
    }

    /// Remembers since when the other side has taken nothing.
    fn note_unflushed(&mut self) {
        let unflushed = matches!(&self.line, Line::Up(socket) if socket.is_unflushed());
        self.unflushed_since = match self.unflushed_since {
            _ if !unflushed => None,
            Some(since) => Some(since),
            None => Some(self.clock.now()),
        };
    }

    fn stalls_at(&self) -> Option<Moment> {
        self.unflushed_since
            .map(|since| since + self.machine.stall_limit())
    }

    async fn wait(&mut self, stop: &CancellationToken, sign: &mut SignOfLife) -> Happening {
        let deadline = [self.machine.poll_timeout(), self.stalls_at()]
            .into_iter()
            .flatten()
            .min();
        let clock = self.clock;
        let timer = async move {
            match deadline {
                Some(moment) => clock.sleep_until(moment).await,
                None => std::future::pending().await,
            }
        };
        let has_event = !self.pending.is_empty();
        let takes_outgoing = self.unflushed_since.is_none();
        let tokens = &self.tokens;
        tokio::select! {
            biased;
            never = sign.answer() => match never {},
            () = stop.cancelled() => Happening::Stop,
            permit = self.events.reserve(), if has_event => {
                match (permit, self.pending.pop_front()) {
                    (Ok(permit), Some(event)) => permit.send(event),
                    (Ok(_), None) => {}
                    (Err(_), _) => return Happening::JobsGone,
                }
                Happening::EventTaken
            }
            outgoing = self.outgoing.recv(), if takes_outgoing => Happening::Outgoing(outgoing),
            () = timer => Happening::Time,
            configured = look_for_token(tokens), if self.machine.awaits_token() => Happening::TokenLook(configured),
            happening = self.line.next(!has_event) => happening,
        }
    }

    fn take(&mut self, happening: Happening) {
        let now = self.clock.now();
        match happening {
            Happening::Stop | Happening::JobsGone | Happening::Outgoing(None) => {
                self.machine.stop()
            }
            Happening::EventTaken | Happening::Frame(Ok(Incoming::Written)) => {}
            Happening::Time => self.take_time(now),
            Happening::TokenLook(configured) => {
                if configured.is_some() && configured != self.tried {
                    self.machine.handle_new_token(now);
                }
            }
            Happening::Attempt(Attempted { configured, result }) => {
                self.tried = configured;
                match result {
                    Ok(socket) => {
                        self.line = Line::Up(Box::new(socket));
                        self.machine.handle_connected(now);
                    }
                    Err(error) => {
                        self.line = Line::Down;
                        self.machine.handle_connect_failed(now, &error);
                    }
                }
            }
            Happening::Frame(Ok(Incoming::Text(text))) => {
                trace!(bytes = text.len(), "a message came");
                self.machine.handle_text(now, &text);
            }
            Happening::Frame(Ok(Incoming::Heartbeat)) => self.machine.handle_heartbeat(now),
            Happening::Frame(Err(end)) => self.machine.handle_end(now, &end),
            Happening::Outgoing(Some(outgoing)) => {
                if self.machine.takes(outgoing.connection) {
                    self.send(&outgoing.message);
                } else {
                    debug!(
                        connection = outgoing.connection,
                        "dropped a message for a connection that is over"
                    );
                }
            }
        }
    }

    fn take_time(&mut self, now: Moment) {
        if self.stalls_at().is_some_and(|moment| now >= moment) {
            self.unflushed_since = None;
            self.machine.handle_end(now, &ConnectionEnd::Stalled);
        }
        self.machine.handle_timeout(now);
    }
}

impl Line {
    async fn next(&mut self, reads: bool) -> Happening {
        match self {
            Self::Down => std::future::pending().await,
            Self::Connecting(attempt) => Happening::Attempt(attempt.await),
            Self::Up(socket) => Happening::Frame(socket.next(reads).await),
        }
    }
}

/// Does what asks the disk away from this thread: it is the one that the encoders' bytes pass through, and a disk may hang.
fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    tokio::task::spawn_blocking(work)
}

/// The configured token a while later; none where it cannot be read.
async fn look_for_token(tokens: &TokenStore) -> Option<Secret> {
    tokio::time::sleep(TOKEN_LOOK).await;
    let tokens = tokens.clone();
    aside(move || tokens.configured().ok()).await.ok().flatten()
}

/// Keeps a rotated token.
async fn store_token(tokens: TokenStore, token: SecretText) {
    let token = Secret::new(token.0);
    let stored = aside(move || tokens.store(token.expose())).await;
    match stored {
        Ok(Ok(())) => {
            info!("the coordinator gave a new token; it is used from the next connection on")
        }
        Ok(Err(error)) => error!("{error}; the old token stays in use"),
        Err(error) => error!("cannot keep the new token: {error}; the old token stays in use"),
    }
}

/// Believes a coordinator that is known by this, too.
async fn store_pins(shared: SharedPins, file: PathBuf, next: &NextPins) {
    let Some(pins) = Pins::announced(next) else {
        warn!(
            "what the coordinator announces as its next certificate is none; it will not be believed"
        );
        return;
    };
    let added = tokio::task::spawn_blocking(move || pairing::add_pins(&file, pins)).await;
    match added {
        Ok(Ok(None)) => {}
        Ok(Ok(Some(pins))) => {
            shared.put(pins);
            info!(
                "the coordinator will have another certificate, which is believed from now on too"
            );
        }
        Ok(Err(error)) => error!("{error}; the coordinator's next certificate is not believed"),
        Err(error) => error!("cannot keep the coordinator's next certificate: {error}"),
    }
}

fn log(notice: &Notice) {
    match notice.level {
        NoticeLevel::Error => error!("{}", notice.text),
        NoticeLevel::Warn => warn!("{}", notice.text),
        NoticeLevel::Info => info!("{}", notice.text),
        NoticeLevel::Debug => debug!("{}", notice.text),
    }
}

#[cfg(test)]
mod tests;
