//! Why a connection was not made, and why one ended.

use std::time::Duration;

use encoder_protocols::wire::{PairRefusal, SUBPROTOCOL};

use super::tls::TlsProblem;

/// Why an attempt to connect failed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ConnectError {
    /// The token cannot be read.
    #[error("cannot read the token: {0}")]
    Token(String),
    /// The coordinator does not know the token (HTTP 401 or 403).
    #[error(
        "{url} refused the token (http {status}); it was revoked, or the agent retired: pair again with `encoder-agent pair`, or, if the token stands in the settings, put a new one there; trying again seldom"
    )]
    TokenRefused {
        /// Where.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// The coordinator asks for a certificate, and the agent has none.
    #[error("{url}: {}", PairRefusal::ClientCertificateRequired)]
    NoClientCertificate {
        /// Where.
        url: String,
    },
    /// The coordinator asks for patience (HTTP 429 or 503).
    #[error("{url} is not available now (http {status}){}", after(*retry_after))]
    Unavailable {
        /// Where.
        url: String,
        /// The HTTP status.
        status: u16,
        /// How long it asks to wait.
        retry_after: Option<Duration>,
    },
    /// Nothing for agents is there (HTTP 404).
    #[error(
        "{url} is not there (http 404); `coordinator.url` must be the coordinator's base url, without the path for agents"
    )]
    NotFound {
        /// Where.
        url: String,
    },
    /// Any other answer than an upgrade.
    #[error(
        "{url} answered http {status} instead of a websocket; is `coordinator.url` the coordinator's base url?"
    )]
    Status {
        /// Where.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// The upgrade did not name our sub-protocol.
    #[error(
        "{url} does not speak {SUBPROTOCOL}; agent and coordinator must be of matching versions"
    )]
    SubProtocol {
        /// Where.
        url: String,
    },
    /// No TCP connection.
    #[error(
        "cannot reach {url}: {problem}; is the coordinator running there, and `coordinator.url` right? trying again"
    )]
    Unreachable {
        /// Where.
        url: String,
        /// What the system said.
        problem: String,
    },
    /// The proxy opens no way.
    #[error("the proxy {proxy} opens no way to {url}: {problem}{}", credentials(*status))]
    Proxy {
        /// Which proxy, without its password.
        proxy: String,
        /// Where to.
        url: String,
        /// What it or the system said.
        problem: String,
        /// The HTTP status that it answered, if it did.
        status: Option<u16>,
    },
    /// No trusted encryption.
    #[error("no trusted encryption with {url}: {problem}")]
    Tls {
        /// Where.
        url: String,
        /// What is wrong with it.
        problem: TlsProblem,
    },
    /// What came was no websocket upgrade.
    #[error("{url} did not answer as a websocket should: {problem}")]
    Handshake {
        /// Where.
        url: String,
        /// What was wrong.
        problem: String,
    },
    /// The whole attempt took too long.
    #[error("{url} did not answer within {} s", limit.as_secs())]
    Timeout {
        /// Where.
        url: String,
        /// The limit for TCP, TLS and upgrade together.
        limit: Duration,
    },
}

/// HTTP 407 alone asks for credentials (RFC 9110, section 15.5.8).
fn credentials(status: Option<u16>) -> &'static str {
    match status {
        Some(407) => {
            "; it wants a user name and password: coordinator.proxy = \"http://user:password@host:port\""
        }
        Some(_) => "; ask whoever runs it to let the coordinator's host and port through",
        None => "; is `coordinator.proxy`, or HTTPS_PROXY in the environment, right?",
    }
}

fn after(retry_after: Option<Duration>) -> String {
    retry_after.map_or_else(String::new, |delay| {
        format!(" and asks to come back in {} s", delay.as_secs())
    })
}

/// Why a connection ended, other than by our own will.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ConnectionEnd {
    /// The other side closed it.
    #[error("the coordinator closed the connection{}", reason(.0))]
    Closed(String),
    /// The connection broke.
    #[error("the connection to the coordinator broke: {0}")]
    Broken(String),
    /// A binary frame came.
    #[error("the coordinator sent a binary frame; expected text frames of {SUBPROTOCOL}")]
    Binary,
    /// A message was larger than the protocol allows.
    #[error("the coordinator sent a message of {size} bytes; expected at most {limit}")]
    Oversize {
        /// The message's size in bytes, as far as it was announced.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The other side takes nothing.
    #[error("the coordinator takes no messages")]
    Stalled,
}

fn reason(text: &str) -> String {
    if text.is_empty() {
        String::new()
    } else {
        format!(": {text}")
    }
}
