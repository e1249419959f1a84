//! What a scan found, as the HTTP API prints it.

use encoder_protocols::card::{
    CardContents, CardDescription, key_record::KeyRecord, magstripe::TrackFound,
};
use jiff::Timestamp;
use serde_json::{Value, json};
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::{AccessSystem, Decoded};
use crate::{
    http::{credential_json, time_json},
    store::{
        StoreError,
        credentials::{self, CredentialRow},
        systems,
    },
};

/// The warning that card and service tell different things.
const OUT_OF_SYNC: &str = "acs_credential_on_encoder_out_of_sync";
/// The warning that no credential of ours belongs to what the card carries.
const NOT_FOUND: &str = "acs_credential_on_seam_not_found";

/// The result of a scan: what the card carries, the credential it belongs to, and where the two differ. A card without
/// a record of ours is a success with its number alone; where cards are registered and assigned instead of encoded, a
/// card that the system does not know is registered.
///
/// # Errors
/// [`StoreError::Query`] when a statement fails.
pub async fn scan_result(
    conn: &mut SqliteConnection,
    system: &AccessSystem,
    acs_system_id: Uuid,
    card: &CardDescription,
    contents: &CardContents,
    now: Timestamp,
) -> Result<Value, StoreError> {
    let row = systems::by_id(conn, acs_system_id).await?;
    if let Some(row) = row.filter(|row| row.kind.assigns_cards())
        && let Some(number) = card.card_number()
    {
        let known = credentials::by_registered_number(conn, acs_system_id, &number).await?;
        let registered = match known {
            Some(known) => known,
            None => credentials::register(conn, &row, &number, now).await?,
        };
        let found = on_encoder_by_number(card);
        return Ok(json!({
            "acs_credential_on_encoder": found,
            "acs_credential_on_seam": credential_json(&registered),
            "warnings": [],
        }));
    }
    let (record, card_number) = match system.decode(card, contents) {
        Decoded::Record {
            record,
            card_number,
        } => (record, card_number),
        Decoded::NotAuthentic => {
            return Ok(foreign(
                card,
                "The card carries a record that is not authentic: it was copied from another card, changed, written in part, \
                 or made by another system. Nothing of it is shown.",
            ));
        }
        Decoded::Nothing if has_payment_data(contents) => {
            return Ok(foreign(
                card,
                "The card is a payment card. What stands on it was not read any further, and is not shown.",
            ));
        }
        Decoded::Nothing => {
            return Ok(foreign(
                card,
                "The card carries no credential of this access system.",
            ));
        }
    };
    let known = credentials::by_id(conn, record.credential_id).await?;
    let known = known.filter(|row| row.acs_system_id == acs_system_id && row.deleted_at.is_none());
    let warnings = match &known {
        None => json!([warning(
            NOT_FOUND,
            "The credential on the card is not known to this service, or was deleted."
        )]),
        Some(credential) => out_of_sync(card_number.as_deref(), &record, credential),
    };
    Ok(json!({
        "acs_credential_on_encoder": {
            "card_number": card_number,
            "created_at": time_json(record.issued_at),
            "starts_at": record.starts_at.map(time_json),
            "ends_at": record.ends_at.map(time_json),
            "is_issued": true,
        },
        "acs_credential_on_seam": known.as_ref().map(credential_json),
        "warnings": warnings,
    }))
}

/// Whether the agent kept a payment card's data to itself.
fn has_payment_data(contents: &CardContents) -> bool {
    let CardContents::Magstripe { tracks } = contents else {
        return false;
    };
    let mut tracks = tracks.iter();
    tracks.any(|track| matches!(track.found, TrackFound::PaymentData { .. }))
}

/// A card that tells nothing of ours.
fn foreign(card: &CardDescription, message: &str) -> Value {
    json!({
        "acs_credential_on_encoder": on_encoder_by_number(card),
        "acs_credential_on_seam": null,
        "warnings": [warning(NOT_FOUND, message)],
    })
}

/// A card of which nothing but its number is known.
fn on_encoder_by_number(card: &CardDescription) -> Value {
    json!({
        "card_number": card.card_number(),
        "created_at": null,
        "starts_at": null,
        "ends_at": null,
        "is_issued": null,
    })
}

/// One warning that names every property in which card and credential differ; none when they do not.
fn out_of_sync(card_number: Option<&str>, record: &KeyRecord, credential: &CredentialRow) -> Value {
    let issued = credential.issued.as_ref();
    let number = issued.and_then(|issued| issued.card_number.as_deref());
    let mut differing = Vec::new();
    if card_number != number {
        differing.push("card_number");
    }
    if seconds(record.starts_at) != seconds(credential.starts_at) {
        differing.push("starts_at");
    }
    if seconds(record.ends_at) != seconds(credential.ends_at) {
        differing.push("ends_at");
    }
    if issued.is_none() {
        differing.push("is_issued");
    }
    if differing.is_empty() {
        return json!([]);
    }
    let message = format!(
        "The following properties are out of sync between acs_credential_on_encoder and acs_credential_on_seam: {}",
        differing.join(", ")
    );
    json!([warning(OUT_OF_SYNC, &message)])
}

fn warning(code: &str, message: &str) -> Value {
    json!({"warning_code": code, "warning_message": message})
}

/// A time at the record's resolution.
fn seconds(time: Option<Timestamp>) -> Option<i64> {
    time.map(Timestamp::as_second)
}
