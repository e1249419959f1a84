//! Key servers of integrators: they say what goes onto a card whose format only they know.
//!
//! Once a card was presented, its system's key server is asked, over [`crate::outbound`], what to put on this very card.
//! The question is signed as webhooks are; the answer is an image or a refusal, and is looked through before any of it
//! goes to an agent. The image is sealed and stored with the job's binding, so that it is asked for once: whatever becomes
//! of the agent, the service or the key server, the plan of a binding is the same bytes.

mod answer;

pub use answer::{BadAnswer, read_answer};

use std::{fmt, time::Duration};

use axum::body::Bytes;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use encoder_protocols::{
    card::{CardDescription, CardImage},
    wire::{ErrorCode, JobId},
};
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::{
    jobs::Refusal,
    outbound::{Answer, Client, Limits, OutboundError, Target},
    secrets::{MasterKey, SecretsError},
    store::{entrances::EntranceRow, key_servers::KeyServerRow},
    webhooks::signed_headers,
};

/// The longest that a key server may take: somebody stands at the desk with the card.
pub const DEADLINE: Duration = Duration::from_secs(10);
/// The longest answer taken, in bytes: the image of a whole 4K card has about 20,000.
pub const MAX_ANSWER: usize = 128 * 1024;

/// Under which name images are sealed.
const TABLE: &str = "bindings";

/// What a key server is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// Whom.
    pub server: KeyServerRow,
    /// For which job.
    pub job: JobId,
    /// Which of the job's presentations this is.
    pub n: u64,
    /// The card.
    pub card: CardDescription,
    /// The credential that it is to carry, as it is described to the key server.
    pub credential: Value,
    /// How long it may take.
    pub limit: Duration,
}

/// Asks key servers.
pub trait AskKeyServer: fmt::Debug + Send + Sync {
    /// Posts a question and returns the answer as it came.
    ///
    /// # Errors
    /// [`OutboundError`] when there is none.
    fn ask(
        &self,
        question: Question,
        now: Timestamp,
    ) -> BoxFuture<'static, Result<Answer, OutboundError>>;
}

impl AskKeyServer for Client {
    fn ask(
        &self,
        question: Question,
        now: Timestamp,
    ) -> BoxFuture<'static, Result<Answer, OutboundError>> {
        let client = self.clone();
        Box::pin(async move {
            let target = Target::parse(&question.server.url, client.reach())?;
            let body = question.body();
            let id = format!("{}.{}", question.job, question.n);
            let headers = signed_headers(question.server.keys(), &id, now, body.as_bytes());
            let limits = Limits {
                deadline: question.limit,
                max_answer: MAX_ANSWER,
            };
            client
                .post(&target, headers, Bytes::from(body), &limits)
                .await
        })
    }
}

/// Asks nobody: for a process without a way out.
#[derive(Clone, Copy, Debug)]
pub struct AsksNobody;

impl AskKeyServer for AsksNobody {
    fn ask(
        &self,
        _question: Question,
        _now: Timestamp,
    ) -> BoxFuture<'static, Result<Answer, OutboundError>> {
        let nobody = OutboundError::NoAnswer("this process asks no key server".to_owned());
        Box::pin(std::future::ready(Err(nobody)))
    }
}

impl Question {
    fn body(&self) -> String {
        json!({
            "job_id": self.job,
            "presentation": self.n,
            "uid": self.card.uid,
            "technology": self.card.technology,
            "capacity": self.card.capacity,
            "credential": self.credential,
        })
        .to_string()
    }
}

/// A credential as a key server is told of it: as the API shows it, with its entrances.
pub fn credential_with_doors(mut credential: Value, doors: &[EntranceRow]) -> Value {
    credential["acs_entrances"] = doors
        .iter()
        .map(|door| {
            json!({
                "acs_entrance_id": door.acs_entrance_id,
                "number": door.number,
                "display_name": door.display_name,
            })
        })
        .collect();
    credential
}

/// What a key server's answer comes to: the image for the card, or why there is none. Nothing is written then.
///
/// # Errors
/// [`Refusal`] with the key server's own words, or with what is wrong with its answer.
pub fn judge(
    answered: Result<Answer, OutboundError>,
    card: &CardDescription,
) -> Result<CardImage, Refusal> {
    let no_image = |why: String| {
        Refusal::new(
            ErrorCode::UncategorizedError,
            format!("the key server gave no image, so nothing was written: {why}"),
        )
    };
    let answer = answered.map_err(|error| no_image(error.to_string()))?;
    if !answer.status.is_success() {
        return Err(no_image(format!("it answered {}", answer.status)));
    }
    let body = answer.body.ok_or_else(|| {
        no_image(format!(
            "its answer is longer than {MAX_ANSWER} bytes, or broke off"
        ))
    })?;
    match read_answer(&body, card) {
        Ok(image) => Ok(image),
        Err(BadAnswer::Refused(refusal)) => Err(refusal),
        Err(bad) => Err(no_image(bad.to_string())),
    }
}

/// Seals an image to be kept with a binding.
///
/// # Errors
/// [`SecretsError`] when the random source fails.
pub fn seal(
    master_key: &MasterKey,
    job: JobId,
    n: u64,
    image: &CardImage,
) -> Result<String, SecretsError> {
    // Images are structs of numbers, texts and lists: serialising them cannot fail.
    let plain = Zeroizing::new(serde_json::to_vec(image).unwrap_or_default());
    let sealed = master_key.seal(TABLE, &place(job, n), &plain)?;
    Ok(STANDARD.encode(sealed))
}

/// Opens an image that was kept with a binding; none where it is not one.
pub fn open(master_key: &MasterKey, job: JobId, n: u64, sealed: &str) -> Option<CardImage> {
    let sealed = STANDARD.decode(sealed).ok()?;
    let plain = master_key.open(TABLE, &place(job, n), &sealed).ok()?;
    serde_json::from_slice(&plain).ok()
}

fn place(job: JobId, n: u64) -> String {
    format!("{job}/{n}")
}
