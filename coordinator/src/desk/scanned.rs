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
    access_system::{AccessSystem, Decoded, scan_result},
    http::credential_json,
    jobs::JobRecord,
    secrets::MasterKey,
    store::{
        StoreError,
        attempts::{self, Aim},
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
    let system = AccessSystem::load(conn, master_key, job.system.0).await?;
    let Some(Aim::AssignTo(user)) = attempts::aim(conn, job.id).await? else {
        let found = scan_result(conn, &system, job.system.0, &card, contents, now).await?;
        return Ok((unchanged, Some(found)));
    };
    let bound = job.binding.as_ref().map(|binding| binding.uid);
    if !job.attempt.is_pending() || job.outcome.is_some() || bound != Some(card.uid) {
        return Ok((unchanged, None));
    }
    let decoded = system.decode(&card, contents);
    match assign(conn, job.system.0, user, &card, decoded, now).await? {
        Ok(credential) => Ok((unchanged, Some(credential_json(&credential)))),
        Err(message) => {
            let failed = JobFinished {
                outcome: Outcome::Error,
                error: Some(JobError {
                    code: ErrorCode::UncategorizedError,
                    message: message.to_owned(),
                    touched: Touched::Untouched,
                    hardware: None,
                }),
                ..finished.clone()
            };
            Ok((Cow::Owned(failed), None))
        }
    }
}

/// Gives the scanned card's credential to a user, or says why not.
async fn assign(
    conn: &mut SqliteConnection,
    acs_system_id: Uuid,
    acs_user_id: Uuid,
    card: &CardDescription,
    decoded: Decoded,
    now: Timestamp,
) -> Result<Result<CredentialRow, &'static str>, StoreError> {
    const NO_USER: &str = "the user was deleted while the scan waited; name another one";
    let Some(system) = systems::by_id(conn, acs_system_id).await? else {
        return Ok(Err(NO_USER));
    };
    let Some(user) = users::find(conn, system.workspace_id, acs_user_id).await? else {
        return Ok(Err(NO_USER));
    };
    if system.kind.assigns_cards() {
        return assign_registered(conn, &system, &user, card, now).await;
    }
    let Decoded::Record { record, .. } = decoded else {
        return Ok(Err(
            "the card carries no credential of this access system; encode one first",
        ));
    };
    let known = credentials::by_id(conn, record.credential_id).await?;
    let known = known.filter(|row| row.acs_system_id == acs_system_id && row.deleted_at.is_none());
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
    card: &CardDescription,
    now: Timestamp,
) -> Result<Result<CredentialRow, &'static str>, StoreError> {
    let Some(number) = card.card_number() else {
        return Ok(Err(
            "the card has no number that stays the same; use another card",
        ));
    };
    let known = credentials::by_registered_number(conn, system.acs_system_id, &number).await?;
    let card = match known {
        Some(card) if card.acs_user_id == Some(user.acs_user_id) => return Ok(Ok(card)),
        Some(card) if card.acs_user_id.is_some() => return Ok(Err(OTHERS)),
        Some(card) => card,
        None => credentials::register(conn, system, &number, now).await?,
    };
    let assigned = credentials::assign(conn, &card, user, (None, None), &[], now).await?;
    Ok(Ok(assigned))
}
