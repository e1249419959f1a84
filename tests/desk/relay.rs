//! A line between an agent and the coordinator that hears what the agent says and changes nothing.

use std::sync::Arc;

use encoder_protocols::wire::{AgentMessage, SUBPROTOCOL, WireMessage};
use futures_util::{SinkExt, StreamExt};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinHandle,
};
use tokio_tungstenite::{
    accept_hdr_async, client_async,
    tungstenite::{
        Message,
        client::IntoClientRequest,
        handshake::server::{Request, Response},
        http::HeaderValue,
    },
};

use super::soon;

/// What the agent said, message by message; the line ends when it is dropped.
pub(crate) struct Relay {
    heard: mpsc::UnboundedReceiver<(AgentMessage, String)>,
    carrying: JoinHandle<()>,
}

impl Relay {
    /// Carries every session of `listener` on to the coordinator at `authority`, as the agent of `token`.
    pub(super) fn start(listener: Arc<TcpListener>, authority: &str, token: &str) -> Self {
        let (tell, heard) = mpsc::unbounded_channel();
        let (authority, token) = (authority.to_owned(), token.to_owned());
        let carrying = tokio::spawn(async move {
            while let Ok((agent, _)) = listener.accept().await {
                carry(agent, &authority, &token, &tell).await;
            }
        });
        Self { heard, carrying }
    }

    /// The first message from now on that `pick` takes, and every message up to it as text.
    pub(crate) async fn hear_some<T>(
        &mut self,
        mut pick: impl FnMut(&AgentMessage) -> Option<T>,
    ) -> (T, String) {
        let mut said = String::new();
        let picked = async {
            loop {
                let (message, text) = self.heard.recv().await.unwrap();
                said.push_str(&text);
                if let Some(picked) = pick(&message) {
                    return picked;
                }
            }
        };
        (soon("the message", picked).await, said)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.carrying.abort();
    }
}

/// Carries one session until either side ends it.
async fn carry(
    agent: TcpStream,
    authority: &str,
    token: &str,
    tell: &mpsc::UnboundedSender<(AgentMessage, String)>,
) {
    let protocol = HeaderValue::from_static(SUBPROTOCOL);
    agent.set_nodelay(true).unwrap();
    let upgrade = |_: &Request, mut response: Response| {
        let headers = response.headers_mut();
        headers.insert("sec-websocket-protocol", protocol.clone());
        Ok(response)
    };
    let Ok(mut agent) = accept_hdr_async(agent, upgrade).await else {
        return;
    };
    let mut request = format!("ws://{authority}/agents/socket")
        .into_client_request()
        .unwrap();
    let bearer = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
    request.headers_mut().insert("authorization", bearer);
    request
        .headers_mut()
        .insert("sec-websocket-protocol", protocol.clone());
    let service = TcpStream::connect(authority).await.unwrap();
    service.set_nodelay(true).unwrap();
    let (mut service, _) = client_async(request, service).await.unwrap();
    loop {
        tokio::select! {
            frame = agent.next() => {
                let Some(Ok(frame)) = frame else { return };
                if let Message::Text(text) = &frame {
                    let message = AgentMessage::decode(text).unwrap();
                    let _ = tell.send((message, text.to_string()));
                }
                if service.send(frame).await.is_err() {
                    return;
                }
            }
            frame = service.next() => {
                let Some(Ok(frame)) = frame else { return };
                if agent.send(frame).await.is_err() {
                    return;
                }
            }
        }
    }
}
