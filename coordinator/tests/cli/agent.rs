//! An agent that connects to the service and listens.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest as _},
};

use super::program::Service;

/// How long something may take that must happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// The demo's agent, connected.
pub(super) struct Agent {
    socket: WebSocketStream<TcpStream>,
}

impl Agent {
    pub(super) async fn connect(service: &Service) -> Self {
        let endpoint = service.demo["endpoint"].as_str().unwrap();
        let address = endpoint.strip_prefix("http://").unwrap();
        let url = format!("ws://{address}/agents/socket");
        let mut request = url.into_client_request().unwrap();
        let token = service.demo["agent_token"].as_str().unwrap();
        let headers = request.headers_mut();
        headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
        let protocol = "encoder-agent.v1".parse().unwrap();
        headers.insert("sec-websocket-protocol", protocol);
        let stream = TcpStream::connect(address).await.unwrap();
        let (socket, _) = client_async(request, stream).await.unwrap();
        let mut agent = Self { socket };
        let hello = json!({
            "type": "hello", "agent_id": uuid::Uuid::new_v4(), "boot_id": uuid::Uuid::new_v4(), "version": "0.0.0", "os": "test",
            "hostname": "bench", "open_jobs": [], "last_sequence": 0,
        });
        let hello = Message::Text(hello.to_string().into());
        agent.socket.send(hello).await.unwrap();
        let welcome = agent.next().await;
        assert_eq!(welcome["type"], "welcome", "{welcome}");
        agent
    }

    /// Lists an encoder, and waits until the service has taken that.
    pub(super) async fn list_encoder(&mut self) {
        let abilities = json!({"encode": true, "scan": true, "technologies": []});
        let encoder = json!({
            "key": "usb:0403:6001:A9XK01", "key_scope": "system", "name": "Front Desk", "driver": "pn532", "state": "ready",
            "abilities": abilities, "adopted": true, "simulated": false,
        });
        let inventory = json!({"type": "inventory", "encoders": [encoder], "problems": []});
        let inventory = Message::Text(inventory.to_string().into());
        self.socket.send(inventory).await.unwrap();
        let settings = self.next().await;
        assert_eq!(settings["type"], "encoder_settings", "{settings}");
    }

    /// The next message.
    async fn next(&mut self) -> Value {
        let said = async {
            loop {
                let frame = self.socket.next().await.unwrap().unwrap();
                if let Message::Text(text) = frame {
                    return serde_json::from_str(&text).unwrap();
                }
            }
        };
        let said = tokio::time::timeout(PATIENCE, said).await;
        said.expect("the service says something")
    }

    /// The last message of the session.
    pub(super) async fn bye(&mut self) -> Value {
        let bye = self.next().await;
        assert_eq!(bye["type"], "bye", "{bye}");
        bye
    }
}
