//! Where a card and the credential that it carries tell different things.

use std::collections::BTreeSet;

use encoder_protocols::card::key_record::KeyRecord;
use jiff::Timestamp;
use serde_json::{Value, json};
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::scan::{OUT_OF_SYNC, warning};
use crate::store::{
    StoreError,
    credentials::{self, CredentialRow},
    entrances,
};

/// How many entrances of a side are named at most.
const MOST_NAMED: usize = 10;

/// One warning that names every property in which card and credential differ, and the entrances that only one of them
/// opens; none where they do not differ.
///
/// # Errors
/// [`StoreError::Query`] when a statement fails.
pub(super) async fn warnings(
    conn: &mut SqliteConnection,
    card_number: Option<&str>,
    record: &KeyRecord,
    credential: &CredentialRow,
) -> Result<Value, StoreError> {
    let mut differing = properties(card_number, record, credential);
    let doors = doors(conn, record, credential).await?;
    if !doors.is_empty() {
        differing.push("acs_entrances");
    }
    if differing.is_empty() {
        return Ok(json!([]));
    }
    let message = format!(
        "The following properties are out of sync between acs_credential_on_encoder and acs_credential_on_seam: {}{doors}",
        differing.join(", ")
    );
    Ok(json!([warning(OUT_OF_SYNC, &message)]))
}

fn properties(
    card_number: Option<&str>,
    record: &KeyRecord,
    credential: &CredentialRow,
) -> Vec<&'static str> {
    let issued = credential.issued.as_ref();
    let number = issued.and_then(|issued| issued.card_number.as_deref());
    let pairs = [
        ("card_number", card_number != number),
        (
            "starts_at",
            seconds(record.starts_at) != seconds(credential.starts_at),
        ),
        (
            "ends_at",
            seconds(record.ends_at) != seconds(credential.ends_at),
        ),
        ("is_issued", issued.is_none()),
    ];
    let differing = pairs.into_iter().filter(|(_, differs)| *differs);
    differing.map(|(name, _)| name).collect()
}

/// The entrances that only the card or only the credential opens, in a sentence; an empty text where they agree.
async fn doors(
    conn: &mut SqliteConnection,
    record: &KeyRecord,
    credential: &CredentialRow,
) -> Result<String, StoreError> {
    let id = credential.acs_credential_id;
    let wanted: BTreeSet<u16> = credentials::entrance_numbers(conn, id)
        .await?
        .into_iter()
        .collect();
    let carried: BTreeSet<u16> = record.entrances.iter().copied().collect();
    let mut sentences = Vec::new();
    for (side, one, other) in [
        ("card", &carried, &wanted),
        ("credential", &wanted, &carried),
    ] {
        let alone: Vec<u16> = one.difference(other).copied().collect();
        if !alone.is_empty() {
            let names = names(conn, credential.acs_system_id, &alone).await?;
            sentences.push(format!("only the {side} opens {names}"));
        }
    }
    Ok(if sentences.is_empty() {
        String::new()
    } else {
        format!(" ({})", sentences.join("; "))
    })
}

/// The names of entrances. One that the store does not know, as after a restore of an earlier copy, has its number alone.
async fn names(
    conn: &mut SqliteConnection,
    acs_system_id: Uuid,
    numbers: &[u16],
) -> Result<String, StoreError> {
    let known = entrances::by_numbers(conn, acs_system_id, numbers).await?;
    let name = |number: &u16| {
        let known = known.iter().find(|entrance| entrance.number == *number);
        known.map_or_else(
            || format!("the unknown entrance number {number}"),
            |entrance| entrance.display_name.clone(),
        )
    };
    let mut names: Vec<String> = numbers.iter().take(MOST_NAMED).map(name).collect();
    if numbers.len() > MOST_NAMED {
        names.push(format!("{} more", numbers.len() - MOST_NAMED));
    }
    Ok(names.join(", "))
}

/// A time at the record's resolution.
fn seconds(time: Option<Timestamp>) -> Option<i64> {
    time.map(Timestamp::as_second)
}
