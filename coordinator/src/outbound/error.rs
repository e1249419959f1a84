//! Why a request was not made or not answered.

use std::{io, path::PathBuf, time::Duration};

use super::Refusal;

/// Why a text names no target.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TargetError {
    /// Not a URL.
    #[error("expected a URL as https://host/path: {0}")]
    Malformed(String),
    /// Another scheme.
    #[error("expected an https URL, got {0}")]
    Scheme(String),
    /// Not encrypted.
    #[error(
        "expected an https URL; plain http is taken only for private addresses, where the service runs with --allow-private-targets"
    )]
    ClearText,
    /// A user name or password.
    #[error(
        "a URL with a user name or password in it is refused: put what must be secret into the path"
    )]
    Credentials,
    /// A fragment, which is never sent.
    #[error("a URL with a fragment (#…) is refused: it would not be sent")]
    Fragment,
    /// The host is an address that may not be connected to.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    /// The target is not to be connected to.
    #[error(transparent)]
    Refused(#[from] TargetError),
    /// The host's name could not be resolved.
    #[error("cannot resolve {host}: {source}")]
    Unresolved {
        /// The host.
        host: String,
        /// What the system said.
        source: io::Error,
    },
    /// The name has no address.
    #[error("{0} has no address")]
    NoAddress(String),
    /// No connection.
    #[error("cannot connect to {address}: {source}")]
    Unreachable {
        /// The address that was tried last.
        address: std::net::SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// No encryption that can be trusted.
    #[error("no trusted encryption with {host}: {problem}")]
    Tls {
        /// The host.
        host: String,
        /// What went wrong.
        problem: String,
    },
    /// The connection ended early, or what came is no HTTP answer.
    #[error("no HTTP answer: {0}")]
    NoAnswer(String),
    /// No answer in time.
    #[error("no answer within {} s", .0.as_secs_f64())]
    Late(Duration),
}

impl From<Refusal> for OutboundError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal.into())
    }
}

/// Why no encrypted requests can be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsSetupError {
    /// The file with further certificates cannot be read.
    #[error("{}: {problem}; expected a PEM file with CA certificates", file.display())]
    Certificates {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The certificates cannot be used.
    #[error("cannot set up encryption with these certificates: {0}")]
    Unusable(#[from] rustls::Error),
}
