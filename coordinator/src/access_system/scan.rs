//! What a scan found, as the HTTP API prints it.

use encoder_protocols::card::key_record::KeyRecord;
use jiff::Timestamp;
use serde_json::{Value, json};
use sqlx::SqliteConnection;

use super::{Decoded, out_of_sync};
use crate::{
    http::{credential_json, time_json},
    provider::ProviderMetadata,
    store::{
        StoreError,
        credentials::{self, CredentialRow, IssueState},
        entrances,
        systems::{SystemKind, SystemRow},
        users,
    },
};

/// The warning that card and service tell different things.
pub(super) const OUT_OF_SYNC: &str = "acs_credential_on_encoder_out_of_sync";
/// The warning that no credential of ours belongs to what the card carries.
const NOT_FOUND: &str = "acs_credential_on_seam_not_found";

/// What a scan saw.
#[derive(Debug)]
pub struct Seen {
    /// The card's number, if it has one that stays the same.
    pub card_number: Option<String>,
    /// What the card carries.
    pub decoded: Decoded,
}

/// The result of a scan: what the card carries, the credential it belongs to, and where the two differ. A card without
/// a record of ours is a success with its number alone; where cards are registered and assigned instead of encoded, a
/// card that the system does not know is registered.
///
/// # Errors
/// [`StoreError::Query`] when a statement fails.
pub async fn scan_result(
    conn: &mut SqliteConnection,
    system: &SystemRow,
    seen: &Seen,
    now: Timestamp,
) -> Result<Value, StoreError> {
    let number = seen.card_number.as_deref();
    if system.kind.assigns_cards()
        && let Some(number) = number
    {
        let id = system.acs_system_id;
        let known = credentials::by_registered_number(conn, id, number).await?;
        let registered = match known {
            Some(known) => known,
            None => credentials::register(conn, system, number, now).await?,
        };
        return Ok(json!({
            "acs_credential_on_encoder": on_encoder_by_number(Some(number)),
            "acs_credential_on_seam": credential_json(&registered),
            "warnings": [],
        }));
    }
    let message = match &seen.decoded {
        Decoded::Record {
            record,
            card_number,
        } => return record_json(conn, system, record, card_number.as_deref(), now).await,
        Decoded::NotAuthentic => {
            "The card carries a record that is not authentic: it was copied from another card, changed, written in part, \
             or made by another system. Nothing of it is shown."
        }
        Decoded::PaymentData => {
            "The card is a payment card. What stands on it was not read any further, and is not shown."
        }
        Decoded::Nothing => "The card carries no credential of this access system.",
        Decoded::Unread => return unread_json(conn, system, number).await,
    };
    Ok(foreign(number, message))
}

/// The credential that was last put on the card of this number, if it is known and was not deleted.
///
/// # Errors
/// [`StoreError::Query`] when a statement fails.
pub async fn last_written(
    conn: &mut SqliteConnection,
    system: &SystemRow,
    card_number: Option<&str>,
) -> Result<Option<CredentialRow>, StoreError> {
    let id = system.acs_system_id;
    let on_card = match card_number {
        Some(number) => credentials::on_card(conn, id, number).await?,
        None => None,
    };
    let known = match on_card {
        Some(credential) => credentials::by_id(conn, credential).await?,
        None => None,
    };
    Ok(known.filter(|row| row.deleted_at.is_none() && row.issued.is_some()))
}

/// The result of a scan of a card that only a key server could read. What was put on it last is known by its number.
async fn unread_json(
    conn: &mut SqliteConnection,
    system: &SystemRow,
    card_number: Option<&str>,
) -> Result<Value, StoreError> {
    let known = last_written(conn, system, card_number).await?;
    let Some(known) = known else {
        return Ok(foreign(
            card_number,
            "This service has put no credential on the card that it still knows.",
        ));
    };
    let warnings = match known.issue_state() {
        IssueState::Issued => json!([]),
        IssueState::Waiting | IssueState::ChangedSince | IssueState::Doubtful => json!([warning(
            OUT_OF_SYNC,
            "The credential was changed after it was put on the card, or what the card carries is not certain."
        )]),
    };
    Ok(json!({
        "acs_credential_on_encoder": on_encoder_by_number(card_number),
        "acs_credential_on_seam": credential_json(&known),
        "warnings": warnings,
    }))
}

/// The result of a scan that found a record of ours.
async fn record_json(
    conn: &mut SqliteConnection,
    system: &SystemRow,
    record: &KeyRecord,
    card_number: Option<&str>,
    now: Timestamp,
) -> Result<Value, StoreError> {
    let known = credentials::by_id(conn, record.credential_id).await?;
    let known =
        known.filter(|row| row.acs_system_id == system.acs_system_id && row.deleted_at.is_none());
    let warnings = match &known {
        None => json!([warning(
            NOT_FOUND,
            "The credential on the card is not known to this service, or was deleted."
        )]),
        Some(credential) => out_of_sync::warnings(conn, card_number, record, credential).await?,
    };
    let mut on_encoder = json!({
        "card_number": card_number,
        "created_at": time_json(record.issued_at),
        "starts_at": record.starts_at.map(time_json),
        "ends_at": record.ends_at.map(time_json),
        "is_issued": true,
    });
    if system.kind == SystemKind::Visionline {
        let known = known.as_ref();
        let read = visionline_json(conn, system, record, card_number, known, now).await?;
        on_encoder["visionline_metadata"] = read;
    }
    Ok(json!({
        "acs_credential_on_encoder": on_encoder,
        "acs_credential_on_seam": known.as_ref().map(credential_json),
        "warnings": warnings,
    }))
}

/// What a Visionline system tells of a card that it has read.
async fn visionline_json(
    conn: &mut SqliteConnection,
    system: &SystemRow,
    record: &KeyRecord,
    card_number: Option<&str>,
    known: Option<&CredentialRow>,
    now: Timestamp,
) -> Result<Value, StoreError> {
    let doors = entrances::by_numbers(conn, system.acs_system_id, &record.entrances).await?;
    let ids = |common: bool| -> Value {
        let doors = doors.iter().filter(|door| door.is_common == common);
        doors.map(|door| json!(door.acs_entrance_id)).collect()
    };
    let mut read = json!({
        "guest_acs_entrance_ids": ids(false),
        "common_acs_entrance_ids": ids(true),
        "cancelled": known.is_none(),
        "expired": record.ends_at.is_some_and(|end| end < now),
    });
    if let Some(number) = card_number {
        read["card_id"] = json!(number);
    }
    let Some(known) = known else { return Ok(read) };
    read["number_of_issued_cards"] = json!(u8::from(known.issued.is_some()));
    read["pending_auto_update"] = json!(known.issue_state() == IssueState::ChangedSince);
    if let Some(ProviderMetadata::Visionline(options)) = &known.provider
        && let Some(format) = options.card_format
    {
        read["card_format"] = json!(format);
    }
    if let Some(user) = known.acs_user_id
        && let Some(user) = users::find(conn, system.workspace_id, user).await?
    {
        read["card_holder"] = json!(user.details.full_name);
    }
    Ok(read)
}

/// A card that tells nothing of ours.
fn foreign(card_number: Option<&str>, message: &str) -> Value {
    json!({
        "acs_credential_on_encoder": on_encoder_by_number(card_number),
        "acs_credential_on_seam": null,
        "warnings": [warning(NOT_FOUND, message)],
    })
}

/// A card of which nothing but its number is known.
fn on_encoder_by_number(card_number: Option<&str>) -> Value {
    json!({
        "card_number": card_number,
        "created_at": null,
        "starts_at": null,
        "ends_at": null,
        "is_issued": null,
    })
}

pub(super) fn warning(code: &str, message: &str) -> Value {
    json!({"warning_code": code, "warning_message": message})
}
