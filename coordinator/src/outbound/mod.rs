//! Requests to addresses that integrators choose: webhook endpoints and key servers.
//!
//! Whoever may name a target must not reach what only this machine can reach. So a target is `https`, its host is
//! resolved once, every address is checked, and the connection goes to the very address that was checked; the name
//! counts only for the certificate and the `Host` header. Redirects are not followed, no proxy is used, and answers
//! are capped in size and time. Every request has a connection of its own.

mod address;
mod error;
mod exchange;
mod resolver;
mod target;
mod tls;

use std::{fmt, sync::Arc, time::Duration};

use axum::{
    body::Bytes,
    http::{HeaderMap, StatusCode},
};
use rustls::ClientConfig;

pub use address::{Reach, Refusal, check};
pub use error::{OutboundError, TargetError, TlsSetupError};
pub use resolver::{Resolve, SystemResolver};
pub use target::Target;
pub use tls::client_config;

/// How long a request may take, and how much of its answer is kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// For everything together: name, connection, encryption, request and answer.
    pub deadline: Duration,
    /// The longest answer taken, in bytes, its head not counted.
    pub max_answer: usize,
}

/// An answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its body; none where it was longer than allowed, broke off, or was not there in time.
    pub body: Option<Bytes>,
}

/// Makes requests to targets. Cheap to copy.
#[derive(Clone)]
pub struct Client {
    reach: Reach,
    resolver: Arc<dyn Resolve>,
    tls: Arc<ClientConfig>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("reach", &self.reach)
            .field("resolver", &self.resolver)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// A client that reaches as far as `reach` says.
    pub fn new(reach: Reach, resolver: Arc<dyn Resolve>, tls: Arc<ClientConfig>) -> Self {
        Self {
            reach,
            resolver,
            tls,
        }
    }

    /// How far it reaches.
    pub fn reach(&self) -> Reach {
        self.reach
    }

    /// Posts `body` to the target. Any status is an answer, a redirect too. Adds `host`, `content-length`,
    /// `connection` and `user-agent`; everything else, `content-type` too, is the caller's.
    ///
    /// # Errors
    /// [`OutboundError`] when the target is refused, cannot be reached, or gives no answer in time.
    pub async fn post(
        &self,
        target: &Target,
        headers: HeaderMap,
        body: Bytes,
        limits: &Limits,
    ) -> Result<Answer, OutboundError> {
        exchange::post(self, target, headers, body, limits).await
    }
}

#[cfg(test)]
mod tests;
