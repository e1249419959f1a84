//! The road to the coordinator, hop by hop, for whoever looks for what is wrong with it.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use tokio_tungstenite::tungstenite::http::{HeaderMap, header};

use super::{
    error::ConnectError,
    retry_after,
    socket::{CONNECT_LIMIT, Connector},
    tls::TlsSetupError,
    token::TokenStore,
};
use crate::config::CoordinatorSettings;

/// A part of the road.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Hop {
    /// The name of the first stop, proxy or coordinator, has an address.
    Lookup,
    /// The first stop takes TCP connections.
    Connection,
    /// The proxy opens a tunnel.
    Proxy,
    /// The coordinator is who it says.
    Encryption,
    /// The coordinator takes the token and opens a websocket.
    Websocket,
}

impl Hop {
    /// Every hop, in the order of the road.
    pub const ALL: [Self; 5] = [
        Self::Lookup,
        Self::Connection,
        Self::Proxy,
        Self::Encryption,
        Self::Websocket,
    ];

    /// Its name, for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lookup => "name lookup",
            Self::Connection => "connection",
            Self::Proxy => "proxy",
            Self::Encryption => "encryption",
            Self::Websocket => "websocket",
        }
    }
}

/// A hop that was tried: what was seen, or why it goes no further.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Walked {
    /// Which.
    pub hop: Hop,
    /// What was seen, or what is wrong and what to do about it.
    pub seen: Result<String, ConnectError>,
}

/// The road as far as it could be walked.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Road {
    /// The hops in their order; only the last can have failed.
    pub hops: Vec<Walked>,
    /// How far the coordinator's clock is ahead of `utc`, where it told the time; an HTTP date has whole seconds.
    pub ahead: Option<SignedDuration>,
}

/// Walks the road with the token that the agent would use. Says no word of the conversation, so that an agent which is
/// connected stays so. `utc` is this PC's time of day, asked for when it is needed.
///
/// # Errors
/// [`TlsSetupError`] when the URL asks for encryption and no trust can be set up.
pub async fn walk(
    coordinator: &CoordinatorSettings,
    state_dir: &Path,
    utc: impl Fn() -> Timestamp,
) -> Result<Road, TlsSetupError> {
    let connector = Connector::new(coordinator)?;
    let tokens = TokenStore::new(coordinator, state_dir);
    let mut road = Road::default();
    // The hop that fails has been noted.
    let _ = road.follow(&connector, &tokens, utc).await;
    Ok(road)
}

impl Road {
    async fn follow(
        &mut self,
        connector: &Connector,
        tokens: &TokenStore,
        utc: impl Fn() -> Timestamp,
    ) -> Option<()> {
        let (host, port) = connector.first_stop();
        let found = self
            .hop(Hop::Lookup, connector, connector.look_up())
            .await?;
        let addresses: Vec<_> = found.iter().map(|found| found.ip().to_string()).collect();
        self.note(Hop::Lookup, format!("{host} is {}", addresses.join(", ")));
        let mut tcp = self
            .hop(Hop::Connection, connector, connector.open())
            .await?;
        let peer = tcp
            .peer_addr()
            .map_or_else(|_| format!("port {port}"), |peer| peer.to_string());
        self.note(Hop::Connection, format!("{peer} takes connections"));
        if let Some(proxy) = connector.proxy() {
            self.hop(Hop::Proxy, connector, connector.pass_proxy(&mut tcp))
                .await?;
            self.note(Hop::Proxy, format!("{proxy} opens a tunnel"));
        }
        let stream = self
            .hop(Hop::Encryption, connector, connector.encrypt(tcp))
            .await?;
        self.note(Hop::Encryption, connector.encryption().to_owned());
        let token = tokens
            .token(0)
            .map_err(|error| ConnectError::Token(error.to_string()));
        let upgrade = async { connector.upgrade(stream, &token?, utc()).await };
        let (_, head) = self.hop(Hop::Websocket, connector, upgrade).await?;
        self.note(
            Hop::Websocket,
            format!("{} takes the token", connector.socket_url()),
        );
        self.compare_clocks(&head, utc());
        Some(())
    }

    fn note(&mut self, hop: Hop, seen: String) {
        self.hops.push(Walked {
            hop,
            seen: Ok(seen),
        });
    }

    /// What the hop gives; none, and the reason noted, where it goes no further.
    async fn hop<T>(
        &mut self,
        hop: Hop,
        connector: &Connector,
        walking: impl Future<Output = Result<T, ConnectError>>,
    ) -> Option<T> {
        let walked = tokio::time::timeout(CONNECT_LIMIT, walking).await;
        let seen = walked.unwrap_or_else(|_| {
            Err(ConnectError::Timeout {
                url: connector.socket_url(),
                limit: CONNECT_LIMIT,
            })
        });
        match seen {
            Ok(seen) => Some(seen),
            Err(error) => {
                let seen = Err(error);
                self.hops.push(Walked { hop, seen });
                None
            }
        }
    }

    fn compare_clocks(&mut self, head: &HeaderMap, utc: Timestamp) {
        let date = head.get(header::DATE).and_then(|date| date.to_str().ok());
        let told = date.and_then(retry_after::timestamp);
        self.ahead = told.map(|told| told.duration_since(utc));
    }
}
