//! One delivery on its way.

use std::{fmt, time::Duration};

use axum::{
    body::Bytes,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
};
use futures_util::future::BoxFuture;
use jiff::Timestamp;

use super::SigningKey;
use crate::{
    http::event_json,
    outbound::{Client, Limits, OutboundError, Target},
    store::{events::EventRow, webhooks::WebhookRow},
};

/// What an endpoint may take. Its answer's body is read for politeness and thrown away.
pub const LIMITS: Limits = Limits {
    deadline: Duration::from_secs(15),
    max_answer: 16 * 1024,
};

const ID: HeaderName = HeaderName::from_static("svix-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("svix-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("svix-signature");

/// A signed message, ready to be posted. Its URL may be secret, so it does not show it when it is formatted.
#[derive(Clone)]
pub struct Sealed {
    /// Where it goes.
    pub url: String,
    /// Its headers: the id, the time and the signature.
    pub headers: HeaderMap,
    /// The event as JSON.
    pub body: Bytes,
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealed")
            .field("headers", &self.headers)
            .finish_non_exhaustive()
    }
}

impl Sealed {
    /// The message that tells a webhook of an event, signed now.
    pub fn new(webhook: &WebhookRow, event: &EventRow, now: Timestamp) -> Self {
        let id = event.event_id.to_string();
        let body = event_json(event).to_string();
        let headers = signed_headers([&webhook.key], &id, now, body.as_bytes());
        Self {
            url: webhook.url.clone(),
            headers,
            body: body.into(),
        }
    }
}

/// The headers of a JSON message that is signed now, with each of these keys: a receiver that knows one of them takes it.
/// The id is of characters that a header may hold.
pub fn signed_headers<'a>(
    keys: impl IntoIterator<Item = &'a SigningKey>,
    id: &str,
    now: Timestamp,
    body: &[u8],
) -> HeaderMap {
    let signatures: Vec<_> = keys
        .into_iter()
        .map(|key| key.sign(id, now, body))
        .collect();
    let signature = signatures.join(" ");
    let mut headers = HeaderMap::new();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers.insert(TIMESTAMP, HeaderValue::from(now.as_second()));
    for (name, value) in [(ID, id), (SIGNATURE, signature.as_str())] {
        // An id and base64 are always header values.
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
    headers
}

/// Posts messages to endpoints.
pub trait Post: fmt::Debug + Send + Sync {
    /// Posts a message and returns the status of the answer.
    ///
    /// # Errors
    /// [`OutboundError`] when there is no answer.
    fn post(&self, message: Sealed) -> BoxFuture<'static, Result<StatusCode, OutboundError>>;
}

impl Post for Client {
    fn post(&self, message: Sealed) -> BoxFuture<'static, Result<StatusCode, OutboundError>> {
        let client = self.clone();
        Box::pin(async move {
            let target = Target::parse(&message.url, client.reach())?;
            let Sealed { headers, body, .. } = message;
            let answer = Self::post(&client, &target, headers, body, &LIMITS).await?;
            Ok(answer.status)
        })
    }
}
