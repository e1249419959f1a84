//! What a scan that succeeded leads to: its result, or the card's assignment to a user.

use std::borrow::Cow;

use encoder_protocols::{
    card::{CardContents, CardDescription, Technology},
    wire::{ErrorCode, JobError, JobFinished, JobKind, Outcome, Touched},
};
use jiff::Timestamp;
use serde_json::Value;
use sqlx::SqliteConnection;
use uuid::Uuid;

use crate::{
    access_system::{AccessSystem, Decoded, Seen, last_written, scan_result},
    http::credential_json,
    jobs::JobRecord,
    secrets::MasterKey,
    store::{
        StoreError,
        attempts::{self, Aim, Tags},
        credentials::{self, CredentialRow},
        systems::{self, SystemRow},
        users::{self, UserRow},
    },
};

/// An outcome as the book is to take it, and the result of a scan that succeeded.
type Taken<'a> = (Cow<'a, JobFinished>, Option<Value>);

/// Works out what a job's scan found. A card that cannot be assigned makes the outcome a failed one.
pub(super) async fn take_scan<'a>(
    conn: &mut SqliteConnection,
    master_key: &MasterKey,
    job: Option<&JobRecord>,
    finished: &'a JobFinished,
    now: Timestamp,
) -> Result<Taken<'a>, StoreError> {
    let unchanged = Cow::Borrowed(finished);
    let succeeded = finished.outcome == Outcome::Success;
    let Some(job) = job.filter(|job| job.kind == JobKind::Scan && succeeded) else {
        return Ok((unchanged, None));
    };
    let card = finished.card.unwrap_or(CardDescription {
        technology: Technology::Unknown,
        uid: None,
        capacity: 0,
    });
    let contents = finished.contents.as_ref().unwrap_or(&CardContents::UidOnly);
    let bound = job.binding.as_ref().map(|binding| binding.uid);
    let assigns = matches!(attempts::aim(conn, job.id).await?, Some(Aim::AssignTo(_)));
    let ended = !job.attempt.is_pending() || job.outcome.is_some();
    if ended || (assigns && bound != Some(card.uid)) {
        return Ok((unchanged, None));
    }
    let card_number = card.card_number();
    if let Some(message) = wrong_tag(conn, job, card_number.as_deref()).await? {
        return Ok((failed(finished, uncategorized(message)), None));
    }
    let system = AccessSystem::load(conn, master_key, job.system.0).await?;
    let seen = Seen {
        card_number,
        decoded: system.decode(&card, contents),
    };
    take_seen(conn, job, finished, &seen, now).await
}

/// Works out what comes of what a scan saw: its result, or the card's assignment.
pub(super) async fn take_seen<'a>(
    conn: &mut SqliteConnection,
    job: &JobRecord,
    finished: &'a JobFinished,
    seen: &Seen,
    now: Timestamp,
) -> Result<Taken<'a>, StoreError> {
    let unchanged = Cow::Borrowed(finished);
    let Some(system) = systems::by_id(conn, job.system.0).await? else {
        return Ok((unchanged, None));
    };
    let Some(Aim::AssignTo(user)) = attempts::aim(conn, job.id).await? else {
        let found = scan_result(conn, &system, seen, now).await?;
        return Ok((unchanged, Some(found)));
    };
    match assign(conn, &system, user, seen, now).await? {
        Ok(credential) => Ok((unchanged, Some(credential_json(&credential)))),
        Err(message) => Ok((failed(finished, uncategorized(message)), None)),
    }
}

/// Whether a scan takes a presented card: where it looks for registered tags or for new ones, only those. What is drawn
/// through the encoder is not known before it was read, so it is taken, and judged then.
pub(super) async fn takes_tag(
    conn: &mut SqliteConnection,
    job: Option<&JobRecord>,
    card: &CardDescription,
) -> Result<bool, StoreError> {
    let scan = job.filter(|job| job.kind == JobKind::Scan && !card.technology.is_swiped());
    let Some(job) = scan else { return Ok(true) };
    let number = card.card_number();
    Ok(wrong_tag(conn, job, number.as_deref()).await?.is_none())
}

/// Why a card is none that the scan is for.
pub(super) async fn wrong_tag(
    conn: &mut SqliteConnection,
    job: &JobRecord,
    number: Option<&str>,
) -> Result<Option<&'static str>, StoreError> {
    let Some(tags) = attempts::tags(conn, job.id).await? else {
        return Ok(None);
    };
    let known = match number {
        Some(number) => credentials::by_registered_number(conn, job.system.0, number).await?,
        None => None,
    };
    Ok(match tags {
        _ if number.is_none() => {
            Some("the card has no number that stays the same; use another card")
        }
        Tags::Registered if known.is_none() => {
            Some("the tag is not registered; scan it with detect_new_tags")
        }
        Tags::New if known.is_some() => {
            Some("the tag is registered already; scan it without detect_new_tags")
        }
        Tags::Registered | Tags::New => None,
    })
}

/// The outcome of a scan that read its card and came to nothing all the same.
pub(super) fn failed<'a>(finished: &JobFinished, error: JobError) -> Cow<'a, JobFinished> {
    Cow::Owned(JobFinished {
        outcome: Outcome::Error,
        error: Some(error),
        ..finished.clone()
    })
}

fn uncategorized(message: &str) -> JobError {
    JobError {
        code: ErrorCode::UncategorizedError,
        message: message.to_owned(),
        touched: Touched::Untouched,
        hardware: None,
    }
}

/// Gives the scanned card's credential to a user, or says why not.
async fn assign(
    conn: &mut SqliteConnection,
    system: &SystemRow,
    acs_user_id: Uuid,
    seen: &Seen,
    now: Timestamp,
) -> Result<Result<CredentialRow, &'static str>, StoreError> {
    const NO_USER: &str = "the user was deleted while the scan waited; name another one";
    let Some(user) = users::find(conn, system.workspace_id, acs_user_id).await? else {
        return Ok(Err(NO_USER));
    };
    if system.kind.assigns_cards() {
        return assign_registered(conn, system, &user, seen.card_number.as_deref(), now).await;
    }
    let number = seen.card_number.as_deref();
    let known = match &seen.decoded {
        Decoded::Record { record, .. } => credentials::by_id(conn, record.credential_id).await?,
        Decoded::Unread => last_written(conn, system, number).await?,
        Decoded::NotAuthentic | Decoded::Nothing | Decoded::PaymentData => {
            return Ok(Err(
                "the card carries no credential of this access system; encode one first",
            ));
        }
    };
    let known =
        known.filter(|row| row.acs_system_id == system.acs_system_id && row.deleted_at.is_none());
    let Some(credential) = known else {
        return Ok(Err(
            "the credential on the card was deleted; encode a new one",
        ));
    };
    if credential
        .acs_user_id
        .is_some_and(|owner| owner != acs_user_id)
    {
        return Ok(Err(OTHERS));
    }
    credentials::set_user(conn, credential.acs_credential_id, Some(acs_user_id)).await?;
    let assigned = credentials::by_id(conn, credential.acs_credential_id).await?;
    Ok(Ok(assigned.unwrap_or(credential)))
}

const OTHERS: &str = "the card belongs to another user; unassign it first";

/// Gives a registered card to a user; one that is not known yet is registered.
async fn assign_registered(
    conn: &mut SqliteConnection,
    system: &SystemRow,
    user: &UserRow,
    number: Option<&str>,
    now: Timestamp,
) -> Result<Result<CredentialRow, &'static str>, StoreError> {
    let Some(number) = number else {
        return Ok(Err(
            "the card has no number that stays the same; use another card",
        ));
    };
    let known = credentials::by_registered_number(conn, system.acs_system_id, number).await?;
    let card = match known {
        Some(card) if card.acs_user_id == Some(user.acs_user_id) => return Ok(Ok(card)),
        Some(card) if card.acs_user_id.is_some() => return Ok(Err(OTHERS)),
        Some(card) => card,
        None => credentials::register(conn, system, number, now).await?,
    };
    let assigned = credentials::assign(conn, &card, user, (None, None), &[], now).await?;
    Ok(Ok(assigned))
}
