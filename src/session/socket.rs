//! The road to the coordinator: TCP, TLS where the URL asks for it, and the websocket on top.

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use encoder_protocols::wire::{
    CLIENT_CERTIFICATE_REQUIRED, MAX_MESSAGE_BYTES, REFUSAL_HEADER, SOCKET_PATH, SUBPROTOCOL,
};
use futures_util::{Sink, Stream};
use jiff::Timestamp;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{
        self, Message, Utf8Bytes,
        client::IntoClientRequest,
        error::{CapacityError, ProtocolError},
        handshake::client::Request,
        http::{HeaderMap, HeaderValue, Response, header},
        protocol::{CloseFrame, WebSocketConfig, frame::coding::CloseCode},
    },
};

use super::{
    action::Farewell,
    error::{ConnectError, ConnectionEnd},
    retry_after, tls, tunnel,
};
use crate::{
    config::{CoordinatorSettings, CoordinatorUrl, ProxySettings, Secret},
    pairing::Fingerprint,
};

/// How long TCP, TLS and upgrade may take together.
pub(super) const CONNECT_LIMIT: Duration = Duration::from_secs(20);

/// How long one of several addresses of the host may take to answer, so that a dead one does not use up the attempt.
const ADDRESS_LIMIT: Duration = Duration::from_secs(5);

/// How long a farewell may take to leave.
const FAREWELL_LIMIT: Duration = Duration::from_secs(1);

/// The size of the read buffer and of the write buffer, in bytes. The library's own are 128 KiB.
const BUFFER_BYTES: usize = 2 * 1024;

/// How much may wait to be written before the other side counts as stalled, in bytes.
const MAX_UNWRITTEN_BYTES: usize = 4 * MAX_MESSAGE_BYTES;

/// Connects to one coordinator.
#[derive(Clone)]
pub(super) struct Connector {
    url: CoordinatorUrl,
    proxy: Option<ProxySettings>,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    pins: Option<tls::SharedPins>,
}

impl Connector {
    /// Prepares the road; opens nothing yet.
    ///
    /// # Errors
    /// [`tls::TlsSetupError`] when the URL asks for encryption and no trust can be set up.
    pub(super) fn new(coordinator: &CoordinatorSettings) -> Result<Self, tls::TlsSetupError> {
        if !coordinator.url.is_secure() {
            return Self::with_tls(coordinator, None);
        }
        let (config, pins) = tls::client_config(coordinator)?;
        let connector = Self::with_tls(coordinator, Some(config))?;
        Ok(Self { pins, ..connector })
    }

    /// What alone the coordinator is believed by; none where others may be believed too, or it is not encrypted.
    pub(super) fn pins(&self) -> Option<&tls::SharedPins> {
        self.pins.as_ref()
    }

    /// The same for the first contact, by a fingerprint if one is given; notes what to know the coordinator by.
    ///
    /// # Errors
    /// As [`Connector::new`].
    pub(super) fn first_contact(
        coordinator: &CoordinatorSettings,
        fingerprint: Option<Fingerprint>,
    ) -> Result<(Self, tls::Met), tls::TlsSetupError> {
        if !coordinator.url.is_secure() {
            return Ok((Self::with_tls(coordinator, None)?, tls::Met::default()));
        }
        let (config, met) = tls::first_contact(coordinator, fingerprint)?;
        Ok((Self::with_tls(coordinator, Some(config))?, met))
    }

    fn with_tls(
        coordinator: &CoordinatorSettings,
        config: Option<Arc<ClientConfig>>,
    ) -> Result<Self, tls::TlsSetupError> {
        let name = || tls::server_name(coordinator.url.host());
        let tls = match config {
            Some(config) => Some((TlsConnector::from(config), name()?)),
            None => None,
        };
        Ok(Self {
            url: coordinator.url.clone(),
            proxy: coordinator.proxy.clone(),
            tls,
            pins: None,
        })
    }

    /// The coordinator's base URL.
    pub(super) fn url(&self) -> &CoordinatorUrl {
        &self.url
    }

    /// Where agents connect.
    pub(super) fn socket_url(&self) -> String {
        self.url.socket_url(SOCKET_PATH)
    }

    /// Connects, within [`CONNECT_LIMIT`]. `utc` is the time of day, for a `Retry-After` that names a date.
    pub(super) async fn connect(
        &self,
        token: &Secret,
        utc: Timestamp,
    ) -> Result<Socket, ConnectError> {
        let attempt = self.attempt(token, utc);
        match tokio::time::timeout(CONNECT_LIMIT, attempt).await {
            Ok(result) => result,
            Err(_) => Err(ConnectError::Timeout {
                url: self.socket_url(),
                limit: CONNECT_LIMIT,
            }),
        }
    }

    async fn attempt(&self, token: &Secret, utc: Timestamp) -> Result<Socket, ConnectError> {
        let mut tcp = self.open().await?;
        self.pass_proxy(&mut tcp).await?;
        let stream = self.encrypt(tcp).await?;
        let (socket, _) = self.upgrade(stream, token, utc).await?;
        Ok(socket)
    }

    /// The proxy on the way, if there is one.
    pub(super) fn proxy(&self) -> Option<&ProxySettings> {
        self.proxy.as_ref()
    }

    /// Host and port of the first stop: the proxy's, else the coordinator's.
    pub(super) fn first_stop(&self) -> (&str, u16) {
        match &self.proxy {
            Some(proxy) => (&proxy.host, proxy.port),
            None => (self.url.host(), self.url.port()),
        }
    }

    /// How the road is protected, for people.
    pub(super) fn encryption(&self) -> &'static str {
        if self.tls.is_some() {
            "the certificate is trusted"
        } else {
            "none: the url is plain http"
        }
    }

    /// The addresses of the first stop.
    pub(super) async fn look_up(&self) -> Result<Vec<SocketAddr>, ConnectError> {
        let found = tokio::net::lookup_host(self.first_stop()).await;
        let found: Vec<_> = found.map_err(|error| self.unreached(&error))?.collect();
        if found.is_empty() {
            let none = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
            return Err(self.unreached(&none));
        }
        Ok(found)
    }

    /// A TCP connection to the first stop, at whichever of its addresses answers.
    pub(super) async fn open(&self) -> Result<TcpStream, ConnectError> {
        let mut problem = io::Error::from(io::ErrorKind::NotFound);
        for address in self.look_up().await? {
            let connecting = tokio::time::timeout(ADDRESS_LIMIT, TcpStream::connect(address));
            let connected = connecting
                .await
                .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            match connected.and_then(|tcp| tcp.set_nodelay(true).map(|()| tcp)) {
                Ok(tcp) => return Ok(tcp),
                Err(error) => problem = error,
            }
        }
        Err(self.unreached(&problem))
    }

    fn unreached(&self, error: &io::Error) -> ConnectError {
        match &self.proxy {
            None => ConnectError::Unreachable {
                url: self.socket_url(),
                problem: error.to_string(),
            },
            Some(proxy) => self.no_way(proxy, error.to_string(), None),
        }
    }

    fn no_way(&self, proxy: &ProxySettings, problem: String, status: Option<u16>) -> ConnectError {
        ConnectError::Proxy {
            proxy: proxy.to_string(),
            url: self.socket_url(),
            problem,
            status,
        }
    }

    /// Has the proxy, if there is one, open a tunnel to the coordinator.
    pub(super) async fn pass_proxy(&self, tcp: &mut TcpStream) -> Result<(), ConnectError> {
        let Some(proxy) = &self.proxy else {
            return Ok(());
        };
        let (target, credentials) = (self.url.host_and_port(), proxy.credentials.as_ref());
        let opened = tunnel::open(tcp, &target, credentials).await;
        opened.map_err(|error| self.no_way(proxy, error.to_string(), error.status()))
    }

    /// Encrypts the connection where the URL asks for it.
    pub(super) async fn encrypt(&self, tcp: TcpStream) -> Result<Box<dyn Duplex>, ConnectError> {
        let Some((connector, name)) = &self.tls else {
            return Ok(Box::new(tcp));
        };
        match connector.connect(name.clone(), tcp).await {
            Ok(encrypted) => Ok(Box::new(encrypted)),
            Err(error) => Err(ConnectError::Tls {
                url: self.socket_url(),
                problem: tls::TlsProblem::of(&error),
            }),
        }
    }

    /// Makes it a websocket; gives the head of the coordinator's answer besides.
    pub(super) async fn upgrade(
        &self,
        stream: Box<dyn Duplex>,
        token: &Secret,
        utc: Timestamp,
    ) -> Result<(Socket, HeaderMap), ConnectError> {
        let request = self.request(token)?;
        let (stream, response) = client_async_with_config(request, stream, Some(socket_config()))
            .await
            .map_err(|error| self.refused(error, utc))?;
        let socket = Socket {
            stream,
            unflushed: false,
        };
        Ok((socket, response.into_parts().0.headers))
    }

    fn request(&self, token: &Secret) -> Result<Request, ConnectError> {
        let url = self.socket_url();
        let handshake = |error: tungstenite::Error| ConnectError::Handshake {
            url: url.clone(),
            problem: error.to_string(),
        };
        let mut request = url.as_str().into_client_request().map_err(handshake)?;
        let bearer = zeroize::Zeroizing::new(format!("Bearer {}", token.expose()));
        let mut bearer = HeaderValue::from_str(&bearer)
            .map_err(|_| ConnectError::Token("it cannot stand in an http header".to_owned()))?;
        bearer.set_sensitive(true);
        let headers = request.headers_mut();
        headers.insert(header::AUTHORIZATION, bearer);
        headers.insert(
            header::SEC_WEBSOCKET_PROTOCOL,
            HeaderValue::from_static(SUBPROTOCOL),
        );
        let agent = concat!("encoder-agent/", env!("CARGO_PKG_VERSION"));
        headers.insert(header::USER_AGENT, HeaderValue::from_static(agent));
        Ok(request)
    }

    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "a foreign enum, shown as it says itself"
    )]
    fn refused(&self, error: tungstenite::Error, utc: Timestamp) -> ConnectError {
        let url = self.socket_url();
        match error {
            tungstenite::Error::Http(response) => status_error(url, &response, utc),
            tungstenite::Error::Protocol(ProtocolError::SecWebSocketSubProtocolError(_)) => {
                ConnectError::SubProtocol { url }
            }
            tungstenite::Error::Io(error) => tls::answered(url, &error),
            other => ConnectError::Handshake {
                url,
                problem: other.to_string(),
            },
        }
    }
}

fn status_error<T>(url: String, response: &Response<T>, utc: Timestamp) -> ConnectError {
    let status = response.status().as_u16();
    let refusal = response.headers().get(REFUSAL_HEADER);
    match status {
        403 if refusal.is_some_and(|refusal| refusal == CLIENT_CERTIFICATE_REQUIRED) => {
            ConnectError::NoClientCertificate { url }
        }
        401 | 403 => ConnectError::TokenRefused { url, status },
        404 => ConnectError::NotFound { url },
        429 | 503 => ConnectError::Unavailable {
            url,
            status,
            retry_after: retry_after_header(response.headers(), utc),
        },
        _ => ConnectError::Status { url, status },
    }
}

fn retry_after_header(headers: &HeaderMap, utc: Timestamp) -> Option<Duration> {
    let text = |name| {
        headers
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
    };
    retry_after::parse(text(header::RETRY_AFTER)?, text(header::DATE), utc)
}

fn socket_config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(BUFFER_BYTES)
        .max_write_buffer_size(MAX_UNWRITTEN_BYTES)
        .max_message_size(Some(MAX_MESSAGE_BYTES))
        .max_frame_size(Some(MAX_MESSAGE_BYTES))
}

/// A stream of bytes both ways.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// What [`Socket::next`] waits for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Incoming {
    /// A text frame.
    Text(Utf8Bytes),
    /// A ping or a pong; pings are answered by the library.
    Heartbeat,
    /// Everything that was queued has left.
    Written,
}

/// One websocket connection. Writing never waits: what is sent is queued, and leaves while [`Socket::next`] is polled.
pub(super) struct Socket {
    stream: WebSocketStream<Box<dyn Duplex>>,
    unflushed: bool,
}

impl Socket {
    /// Whether something still has to leave.
    pub(super) fn is_unflushed(&self) -> bool {
        self.unflushed
    }

    /// Queues a text frame.
    pub(super) fn send_text(&mut self, text: String) -> Result<(), ConnectionEnd> {
        self.send(Message::text(text))
    }

    /// Queues a ping.
    pub(super) fn send_ping(&mut self) -> Result<(), ConnectionEnd> {
        self.send(Message::Ping(tungstenite::Bytes::new()))
    }

    fn send(&mut self, message: Message) -> Result<(), ConnectionEnd> {
        self.unflushed = true;
        Pin::new(&mut self.stream).start_send(message).map_err(end)
    }

    /// Writes what is queued and waits for what comes; while `reads` is false only writes. Loses nothing when it is
    /// dropped halfway.
    pub(super) async fn next(&mut self, reads: bool) -> Result<Incoming, ConnectionEnd> {
        poll_fn(|context| self.poll_next(context, reads)).await
    }

    fn poll_next(
        &mut self,
        context: &mut Context<'_>,
        reads: bool,
    ) -> Poll<Result<Incoming, ConnectionEnd>> {
        if self.unflushed {
            match Pin::new(&mut self.stream).poll_flush(context) {
                Poll::Ready(Ok(())) => {
                    self.unflushed = false;
                    return Poll::Ready(Ok(Incoming::Written));
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(end(error))),
                Poll::Pending => {}
            }
        }
        if !reads {
            return Poll::Pending;
        }
        let incoming = std::task::ready!(Pin::new(&mut self.stream).poll_next(context));
        Poll::Ready(self.incoming(incoming))
    }

    fn incoming(
        &mut self,
        incoming: Option<Result<Message, tungstenite::Error>>,
    ) -> Result<Incoming, ConnectionEnd> {
        match incoming {
            Some(Ok(Message::Text(text))) => Ok(Incoming::Text(text)),
            Some(Ok(Message::Ping(_))) => {
                self.unflushed = true;
                Ok(Incoming::Heartbeat)
            }
            Some(Ok(Message::Pong(_) | Message::Frame(_))) => Ok(Incoming::Heartbeat),
            Some(Ok(Message::Binary(_))) => Err(ConnectionEnd::Binary),
            Some(Ok(Message::Close(frame))) => Err(closed(frame)),
            Some(Err(error)) => Err(end(error)),
            None => Err(ConnectionEnd::Closed(String::new())),
        }
    }

    /// Says farewell and ends the connection; waits no longer than [`FAREWELL_LIMIT`] for the words to leave.
    pub(super) async fn close(mut self, farewell: Farewell) {
        let (code, reason) = match farewell {
            Farewell::Leaving => (CloseCode::Away, "the agent leaves"),
            Farewell::ProtocolBreach => (
                CloseCode::Policy,
                "a message was not as the protocol has it",
            ),
        };
        let frame = CloseFrame {
            code,
            reason: Utf8Bytes::from_static(reason),
        };
        let _ = tokio::time::timeout(FAREWELL_LIMIT, self.stream.close(Some(frame))).await;
    }
}

fn closed(frame: Option<CloseFrame>) -> ConnectionEnd {
    let reason = frame.map_or_else(String::new, |frame| {
        let words: String = frame
            .reason
            .chars()
            .filter(|character| !character.is_control())
            .collect();
        format!("code {} {words}", u16::from(frame.code))
    });
    ConnectionEnd::Closed(reason.trim().to_owned())
}

#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "a foreign enum, shown as it says itself"
)]
fn end(error: tungstenite::Error) -> ConnectionEnd {
    match error {
        tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed => {
            ConnectionEnd::Closed(String::new())
        }
        tungstenite::Error::Capacity(CapacityError::MessageTooLong { size, max_size }) => {
            ConnectionEnd::Oversize {
                size,
                limit: max_size,
            }
        }
        tungstenite::Error::WriteBufferFull(_) => ConnectionEnd::Stalled,
        other => ConnectionEnd::Broken(other.to_string()),
    }
}
