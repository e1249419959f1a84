//! The conversation with one agent.

use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use encoder_protocols::{
    moment::Moment,
    wire::{
        AgentMessage, Bye, ByeReason, DEAD_INTERVALS, DecodeError, Hello, ServiceMessage,
        WireMessage,
    },
};
use tokio::sync::mpsc;

use super::clash;
use crate::{
    desk::{DeskError, OUTBOX, Outgoing},
    ids,
    jobs::{AgentId, SessionId},
    pairing,
    state::AppState,
    store::agents::AgentRow,
};

/// How long an agent may take for its first message.
const HELLO_TIME: Duration = Duration::from_secs(10);
/// How long a session has to show that it is alive once another one has come with its token.
const PROBE_TIME: Duration = Duration::from_secs(3);

/// How often a second session looks whether the first one's place is free, until that one has shown that it is alive.
const PLACE_INTERVAL: Duration = Duration::from_millis(200);

/// How long a connection that can no longer be read stays open after its goodbye.
const UNREAD_TIME: Duration = Duration::from_secs(1);

/// What a frame was.
enum Heard {
    /// A sign of life.
    Nothing,
    /// A message.
    Message(Box<AgentMessage>),
    /// A message of an unknown type.
    Unknown(String),
    /// Something that breaks the protocol.
    Garbage(String),
    /// The connection is over.
    Closed,
}

/// Speaks with an agent until its connection ends.
pub(super) async fn run(state: AppState, agent: AgentRow, mut socket: WebSocket) {
    let hello = match tokio::time::timeout(HELLO_TIME, first_message(&mut socket)).await {
        Ok(Ok(hello)) => hello,
        Ok(Err(None)) => return,
        Ok(Err(Some(reason))) => return say_bye(&mut socket, protocol_error(reason)).await,
        Err(_) => {
            let reason = format!("no hello within {} s", HELLO_TIME.as_secs());
            return say_bye(&mut socket, protocol_error(reason)).await;
        }
    };
    let token_of = AgentId(agent.agent_id);
    let hostname = pairing::short(&hello.hostname, 100);
    let session = SessionId(ids::new_id(state.clock.utc()));
    let (outbox, outgoing) = mpsc::channel(OUTBOX);
    let version = hello.version.clone();
    let id = match open(&state, token_of, session, hello, outbox).await {
        Ok(id) => id,
        Err(error) => {
            tracing::warn!(agent = %agent.name, %error, "an agent is turned away");
            note_clash(&state, &agent, error, &hostname).await;
            return say_bye(&mut socket, turned_away(error)).await;
        }
    };
    tracing::info!(agent = %agent.name, %session, %version, "an agent has connected");
    let heartbeat = state.desk.heartbeat();
    let mut conversation = Conversation {
        heard_until: state.clock.now() + heartbeat * DEAD_INTERVALS,
        state,
        agent: id,
        session,
        socket,
        outgoing,
        heartbeat,
    };
    let End { why, bye } = conversation.run().await;
    tracing::info!(agent = %agent.name, %session, reason = why, "an agent's session has ended");
    // A stopping service closes its store; the next one begins without sessions anyway.
    if !conversation.state.stop.is_stopped() {
        conversation.state.desk.lost(id, session).await;
    }
    // Nothing is heard from here on, so that the agent's next session need not wait for the goodbye.
    if let Some(bye) = bye {
        say_bye(&mut conversation.socket, bye).await;
    }
}

/// Tells the operator where two PCs are one agent.
async fn note_clash(state: &AppState, agent: &AgentRow, error: DeskError, hostname: &str) {
    let seen = match error {
        DeskError::AgentInUse => format!("used by two PCs at once, the second is {hostname}"),
        DeskError::JournalInUse => {
            format!(
                "its disk is a copy, and the PC that it was copied from is connected: {hostname}"
            )
        }
        DeskError::AnothersJournal
        | DeskError::Failed
        | DeskError::Revoked
        | DeskError::Unknown => return,
    };
    if let Err(error) = clash::note(state, agent, &seen).await {
        tracing::error!(%error, "a second PC of an agent could not be noted");
    }
}

/// Opens the session. While another one has the agent's place, waits for as long as that one has to show that it is
/// alive: an agent that comes again after its PC lost the power is the same one, and the dead link its own.
async fn open(
    state: &AppState,
    agent: AgentId,
    session: SessionId,
    hello: Hello,
    outbox: mpsc::Sender<Outgoing>,
) -> Result<AgentId, DeskError> {
    let until = state.clock.now() + PROBE_TIME + PLACE_INTERVAL;
    loop {
        let opened = state
            .desk
            .open(agent, session, hello.clone(), outbox.clone())
            .await;
        let waits = matches!(opened, Err(DeskError::AgentInUse | DeskError::JournalInUse));
        if !waits || state.clock.now() >= until {
            return opened;
        }
        tokio::time::sleep(PLACE_INTERVAL).await;
    }
}

/// Why a session ends, and the last message if one can be sent.
struct End {
    why: &'static str,
    bye: Option<Bye>,
}

impl From<&'static str> for End {
    fn from(why: &'static str) -> Self {
        Self { why, bye: None }
    }
}

struct Conversation {
    state: AppState,
    agent: AgentId,
    session: SessionId,
    socket: WebSocket,
    outgoing: mpsc::Receiver<Outgoing>,
    heartbeat: Duration,
    /// When the link counts as dead unless something is heard.
    heard_until: Moment,
}

impl Conversation {
    /// Speaks until the session ends; returns why it did.
    async fn run(&mut self) -> End {
        let clock = self.state.clock;
        let stop = self.state.stop.clone();
        let mut stopped = std::pin::pin!(stop.stopped());
        let mut pings = tokio::time::interval(self.heartbeat);
        loop {
            let silent = tokio::time::sleep_until(clock.instant(self.heard_until));
            tokio::select! {
                frame = self.socket.recv() => {
                    self.heard_until = clock.now() + self.heartbeat * DEAD_INTERVALS;
                    if let Err(end) = self.heard(heard(frame)).await {
                        return end;
                    }
                }
                outgoing = self.outgoing.recv() => match outgoing {
                    Some(outgoing) => if let Err(end) = self.send(outgoing).await {
                        return end;
                    },
                    None => return End::from("it did not keep up, or the store failed"),
                },
                _ = pings.tick() => if !self.put(Message::Ping(Default::default())).await {
                    return End::from("the link is gone");
                },
                () = silent => return End::from("it was silent for two heartbeats"),
                () = &mut stopped => {
                    let bye = Bye {
                        reason: ByeReason::Restart,
                        message: "the service stops; come back later".to_owned(),
                    };
                    return End { why: "the service stops", bye: Some(bye) };
                }
            }
        }
    }

    async fn heard(&mut self, heard: Heard) -> Result<(), End> {
        match heard {
            Heard::Nothing => Ok(()),
            Heard::Closed => Err(End::from("the agent closed it, or the link is gone")),
            Heard::Message(message) if matches!(*message, AgentMessage::Hello(_)) => {
                Err(self.breach("a second hello within one session".to_owned()))
            }
            Heard::Message(message) => {
                let desk = &self.state.desk;
                let handed = desk.said(self.agent, self.session, *message).await;
                handed.map_err(|_| End::from("the desk has stopped"))
            }
            Heard::Unknown(message_type) => {
                let answer = ServiceMessage::Unsupported { message_type };
                self.send(Outgoing::Message(Box::new(answer))).await
            }
            Heard::Garbage(reason) => Err(self.breach(reason)),
        }
    }

    fn breach(&self, reason: String) -> End {
        tracing::warn!(agent = ?self.agent, reason, "what an agent sent is no message of the protocol; compare the versions");
        End {
            why: "the agent broke the protocol",
            bye: Some(protocol_error(reason)),
        }
    }

    async fn send(&mut self, outgoing: Outgoing) -> Result<(), End> {
        match outgoing {
            Outgoing::Message(mut message) => {
                if let ServiceMessage::Welcome(welcome) = &mut *message {
                    welcome.next_pins.clone_from(&self.state.next_pins);
                }
                if self.put(Message::Text(message.encode().into())).await {
                    Ok(())
                } else {
                    Err(End::from("the link is gone"))
                }
            }
            Outgoing::End(bye) => Err(End {
                why: "the service ended it",
                bye: Some(bye),
            }),
            Outgoing::Probe => {
                let soon = self.state.clock.now() + PROBE_TIME;
                self.heard_until = self.heard_until.min(soon);
                if self.put(Message::Ping(Default::default())).await {
                    Ok(())
                } else {
                    Err(End::from("the link is gone"))
                }
            }
        }
    }

    /// Writes one frame; false when that fails, or until the link counts as dead: nothing is heard meanwhile.
    async fn put(&mut self, frame: Message) -> bool {
        let until = self.state.clock.instant(self.heard_until);
        let sent = tokio::time::timeout_at(until, self.socket.send(frame)).await;
        matches!(sent, Ok(Ok(())))
    }
}

/// Waits for `hello`.
async fn first_message(socket: &mut WebSocket) -> Result<Hello, Option<String>> {
    loop {
        match heard(socket.recv().await) {
            Heard::Nothing => {}
            Heard::Message(message) => {
                return match *message {
                    AgentMessage::Hello(hello) => Ok(hello),
                    AgentMessage::Inventory { .. }
                    | AgentMessage::JobAccepted { .. }
                    | AgentMessage::JobRefused(_)
                    | AgentMessage::JobProgress { .. }
                    | AgentMessage::CardPresented(_)
                    | AgentMessage::PlanRequest(_)
                    | AgentMessage::JobFinished(_)
                    | AgentMessage::Unsupported { .. } => {
                        Err(Some("expected hello as the first message".to_owned()))
                    }
                };
            }
            Heard::Unknown(kind) => {
                return Err(Some(format!(
                    "expected hello as the first message, got `{kind}`"
                )));
            }
            Heard::Garbage(reason) => return Err(Some(reason)),
            Heard::Closed => return Err(None),
        }
    }
}

fn heard(frame: Option<Result<Message, axum::Error>>) -> Heard {
    match frame {
        None | Some(Ok(Message::Close(_))) => Heard::Closed,
        Some(Ok(Message::Ping(_) | Message::Pong(_))) => Heard::Nothing,
        Some(Ok(Message::Binary(_))) => {
            Heard::Garbage("expected text frames, got a binary one".to_owned())
        }
        Some(Ok(Message::Text(text))) => match AgentMessage::decode(&text) {
            Ok(message) => Heard::Message(Box::new(message)),
            Err(DecodeError::UnknownType(message_type)) => Heard::Unknown(message_type),
            Err(error @ (DecodeError::NotAMessage | DecodeError::Malformed { .. })) => {
                Heard::Garbage(error.to_string())
            }
        },
        Some(Err(error)) => broken(&error),
    }
}

/// A frame that cannot be read: too long or malformed, which the agent is told, or no frame at all.
fn broken(error: &axum::Error) -> Heard {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if error.is::<std::io::Error>() || is_reset(error) {
            return Heard::Closed;
        }
        cause = error.source();
    }
    Heard::Garbage(error.to_string())
}

/// Whether the agent's process was killed: its system ends the connection without the websocket's own closing.
fn is_reset(error: &(dyn std::error::Error + 'static)) -> bool {
    use tungstenite::error::{Error, ProtocolError::ResetWithoutClosingHandshake};
    matches!(
        error.downcast_ref(),
        Some(Error::Protocol(ResetWithoutClosingHandshake))
    )
}

fn protocol_error(reason: String) -> Bye {
    Bye {
        reason: ByeReason::ProtocolError,
        message: reason,
    }
}

fn turned_away(error: DeskError) -> Bye {
    let reason = match error {
        DeskError::AgentInUse | DeskError::JournalInUse => ByeReason::AgentInUse,
        DeskError::AnothersJournal => ByeReason::ProtocolError,
        DeskError::Revoked => ByeReason::Revoked,
        DeskError::Failed | DeskError::Unknown => ByeReason::Restart,
    };
    Bye {
        reason,
        message: error.to_string(),
    }
}

/// The last message, then the websocket's own closing. Where they do not get through, the link is gone anyway.
async fn say_bye(socket: &mut WebSocket, bye: Bye) {
    let code = match bye.reason {
        ByeReason::ProtocolError => close_code::POLICY,
        ByeReason::Restart => close_code::RESTART,
        ByeReason::AgentInUse | ByeReason::Retired | ByeReason::Revoked => close_code::NORMAL,
    };
    let text = ServiceMessage::Bye(bye).encode();
    let goodbye = async {
        let _ = socket.send(Message::Text(text.into())).await;
        let close = CloseFrame {
            code,
            reason: Default::default(),
        };
        let _ = socket.send(Message::Close(Some(close))).await;
        let mut closed = false;
        while let Some(Ok(frame)) = socket.recv().await {
            closed |= matches!(frame, Message::Close(_));
        }
        if !closed {
            // What the agent sent and nobody read resets the connection once it is dropped, and a reset overtakes the
            // goodbye: the agent gets time to read it.
            tokio::time::sleep(UNREAD_TIME).await;
        }
    };
    let _ = tokio::time::timeout(PROBE_TIME, goodbye).await;
}
