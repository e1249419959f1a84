//! `/health`, `/status` and `/metrics` over HTTP, for monitors on this very PC.
//!
//! Only a loopback address is ever listened to. A page in a browser must not reach it either: the request's `Host` must name
//! this PC, so that a foreign name that resolves to it (DNS rebinding) does not, and an `Origin` must be this very page's.
//! One request a connection, bounded in size and time.

use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{HealthState, Status, metrics};
use crate::pulse::SignOfLife;

/// The longest head of a request, in bytes.
const LONGEST_HEAD: usize = 4 * 1024;

/// How many headers a request may have.
const MOST_HEADERS: usize = 32;

/// How long one request may take, from the connection to the last byte of the answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many requests are answered at the same time.
const MOST_CLIENTS: usize = 8;

/// How long accepting pauses after the system refused it.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Why the page cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// Others could reach it.
    #[error("{0} is no loopback address: expected one such as 127.0.0.1:9180")]
    NotLoopback(SocketAddr),
    /// The system gives no such address.
    #[error(
        "cannot listen on {address}: {source}; take another port, or stop the program that has it"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

/// The listening page.
#[derive(Debug)]
pub struct Page {
    listener: TcpListener,
    address: SocketAddr,
}

impl Page {
    /// Listens on a loopback address.
    ///
    /// # Errors
    /// [`PageError`] when it is none, or is in use.
    pub async fn listen(address: SocketAddr) -> Result<Self, PageError> {
        if !address.ip().is_loopback() {
            return Err(PageError::NotLoopback(address));
        }
        let refused = |source| PageError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        Ok(Self { listener, address })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers requests with what `look` tells, until `stop`. None of it stands for an agent that does not answer itself.
    pub async fn serve<F>(
        self,
        look: impl Fn() -> F + Clone + Send + 'static,
        stop: CancellationToken,
        mut sign: SignOfLife,
    ) where
        F: Future<Output = Option<Status>> + Send,
    {
        let places = Arc::new(Semaphore::new(MOST_CLIENTS));
        loop {
            // Whoever comes when all places are taken waits in the system's own queue, which is bounded too.
            let place = Arc::clone(&places).acquire_owned();
            let Ok(place) = sign.during(place).await else {
                return;
            };
            let accepted = tokio::select! {
                never = sign.answer() => match never {},
                () = stop.cancelled() => return,
                accepted = self.listener.accept() => accepted,
            };
            let Ok((stream, _)) = accepted else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let (look, address) = (look.clone(), self.address);
            tokio::spawn(async move {
                // A client that is too slow, or gone, is no matter.
                let _ = timeout(PATIENCE, attend(stream, address, look)).await;
                drop(place);
            });
        }
    }
}

async fn attend<F>(
    mut stream: TcpStream,
    address: SocketAddr,
    look: impl Fn() -> F,
) -> io::Result<()>
where
    F: Future<Output = Option<Status>>,
{
    let asked = match head(&mut stream).await? {
        Some(head) => asked(&head, address),
        None => Err(Refusal::TooLong),
    };
    let (answer, has_body) = match asked {
        Ok(asked) => (answer(asked.page, look().await.as_ref()), asked.with_body),
        Err(refusal) => (refusal.answer(), true),
    };
    stream.write_all(answer.head().as_bytes()).await?;
    if has_body {
        stream.write_all(answer.body.as_bytes()).await?;
    }
    stream.shutdown().await
}

/// Reads up to the empty line; none where that is too far.
async fn head(stream: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let mut head = Vec::with_capacity(512);
    let mut piece = [0; 512];
    loop {
        let length = stream.read(&mut piece).await?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        head.extend_from_slice(piece.get(..length).unwrap_or_default());
        if head.windows(4).any(|four| four == b"\r\n\r\n") {
            return Ok(Some(head));
        }
        if head.len() > LONGEST_HEAD {
            return Ok(None);
        }
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Asked {
    page: Path,
    with_body: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Path {
    Health,
    Status,
    Metrics,
}

/// Why a request is not answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Refusal {
    Malformed,
    TooLong,
    Method,
    NoSuchPath,
    ForeignHost,
    ForeignOrigin,
}

fn asked(head: &[u8], address: SocketAddr) -> Result<Asked, Refusal> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) | Err(_) => return Err(Refusal::Malformed),
    }
    let all = |name: &'static str| {
        let headers = request.headers.iter();
        let named = headers.filter(move |header| header.name.eq_ignore_ascii_case(name));
        named.map(|header| std::str::from_utf8(header.value).unwrap_or_default().trim())
    };
    let mut hosts = all("host");
    match (hosts.next(), hosts.next()) {
        (Some(host), None) if is_ours(host, address) => {}
        _ => return Err(Refusal::ForeignHost),
    }
    let is_own = |origin: &str| {
        origin
            .strip_prefix("http://")
            .is_some_and(|host| is_ours(host, address))
    };
    let is_same_site = |site: &str| matches!(site, "same-origin" | "none");
    if !all("origin").all(is_own) || !all("sec-fetch-site").all(is_same_site) {
        return Err(Refusal::ForeignOrigin);
    }
    let with_body = match request.method {
        Some("GET") => true,
        Some("HEAD") => false,
        _ => return Err(Refusal::Method),
    };
    let path = request.path.unwrap_or_default();
    let page = match path.split('?').next() {
        Some("/health") => Path::Health,
        Some("/status") => Path::Status,
        Some("/metrics") => Path::Metrics,
        _ => return Err(Refusal::NoSuchPath),
    };
    Ok(Asked { page, with_body })
}

/// Whether a `Host` names this PC, and our port if any.
fn is_ours(host: &str, address: SocketAddr) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        Some(_) | None => (host, None),
    };
    let is_our_port = port.is_none_or(|port| port.parse() == Ok(address.port()));
    let is_loopback = || {
        let bare = name
            .strip_prefix('[')
            .and_then(|name| name.strip_suffix(']'));
        let parsed: Result<std::net::IpAddr, _> = bare.unwrap_or(name).parse();
        parsed.is_ok_and(|ip| ip.is_loopback())
    };
    is_our_port && (name.eq_ignore_ascii_case("localhost") || is_loopback())
}

struct Answer {
    status: &'static str,
    kind: &'static str,
    body: String,
}

const JSON: &str = "application/json";
const PLAIN: &str = "text/plain; charset=utf-8";

fn answer(page: Path, status: Option<&Status>) -> Answer {
    let Some(status) = status else {
        return Answer {
            status: "503 Service Unavailable",
            kind: JSON,
            body: "{\"state\":\"down\",\"problems\":[\"the agent's jobs do not answer\"]}\n"
                .to_owned(),
        };
    };
    let json = |text: serde_json::Result<String>| text.unwrap_or_default() + "\n";
    let (kind, body) = match page {
        Path::Health => (JSON, json(serde_json::to_string(&status.health))),
        Path::Status => (JSON, json(serde_json::to_string(status))),
        Path::Metrics => ("text/plain; version=0.0.4; charset=utf-8", metrics(status)),
    };
    let is_down = page == Path::Health && status.health.state == HealthState::Down;
    Answer {
        status: if is_down {
            "503 Service Unavailable"
        } else {
            "200 OK"
        },
        kind,
        body,
    }
}

impl Refusal {
    fn answer(self) -> Answer {
        let (status, what) = match self {
            Self::Malformed => ("400 Bad Request", "expected an http/1.1 request"),
            Self::TooLong => (
                "431 Request Header Fields Too Large",
                "the request's head is too long",
            ),
            Self::Method => ("405 Method Not Allowed", "expected GET or HEAD"),
            Self::NoSuchPath => ("404 Not Found", "expected /health, /status or /metrics"),
            Self::ForeignHost => (
                "421 Misdirected Request",
                "expected a Host that names this very pc, such as localhost",
            ),
            Self::ForeignOrigin => ("403 Forbidden", "no page of another origin may ask"),
        };
        Answer {
            status,
            kind: PLAIN,
            body: format!("{what}\n"),
        }
    }
}

impl Answer {
    fn head(&self) -> String {
        format!(
            "HTTP/1.1 {}\r\ncontent-type: {}\r\ncontent-length: {}\r\ncache-control: no-store\r\nx-content-type-options: nosniff\r\n\
             content-security-policy: default-src 'none'\r\nconnection: close\r\n\r\n",
            self.status,
            self.kind,
            self.body.len()
        )
    }
}

#[cfg(test)]
mod tests;
