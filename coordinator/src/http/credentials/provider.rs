//! The options that makers of access systems add to a credential: `visionline_metadata` and the like.

use serde_json::{Value, json};
use sqlx::SqliteConnection;
use uuid::Uuid;

use crate::{
    http::{ApiError, Caller, Invalid, Reader, Resource},
    provider::{CardFormat, CardFunction, Hotek, ProviderMetadata, SaltoSpace, Visionline, Vostio},
    store::{
        credentials::{self, CredentialFilter, CredentialRow},
        entrances::EntranceRow,
        systems::SystemKind,
        users::UserRow,
    },
};

const VISIONLINE: &str = "visionline_metadata";
const VOSTIO: &str = "assa_abloy_vostio_metadata";
const SALTO_SPACE: &str = "salto_space_metadata";
const HOTEK: &str = "hotek_metadata";

/// What a card of 48 bytes has room for: guest rooms, common doors, and further ones of either.
const RFID48_GUEST: usize = 33;
const RFID48_COMMON: usize = 28;
const RFID48_FURTHER: usize = 7;

const NOT_BOTH: &str = "a card joins the earlier ones or overrides them: give one of the two";

/// Reads the options of every maker that the request names.
pub(super) fn read(reader: &mut Reader<'_>) -> Result<Vec<ProviderMetadata>, Invalid> {
    // Everything is read before anything is returned, so that one answer names all that is wrong.
    let visionline = optional(reader, VISIONLINE, read_visionline);
    let vostio = optional(reader, VOSTIO, read_vostio);
    let salto_space = optional(reader, SALTO_SPACE, read_salto_space);
    let hotek = optional(reader, HOTEK, read_hotek);
    let given = [
        visionline?.map(ProviderMetadata::Visionline),
        vostio?.map(ProviderMetadata::Vostio),
        salto_space?.map(ProviderMetadata::SaltoSpace),
        hotek?.map(ProviderMetadata::Hotek),
    ];
    Ok(given.into_iter().flatten().collect())
}

/// The options of a credential in this kind of system.
///
/// # Errors
/// [`ApiError::Validation`] where another maker's are given.
pub(super) fn of_kind(
    kind: SystemKind,
    given: Vec<ProviderMetadata>,
) -> Result<Option<ProviderMetadata>, ApiError> {
    if let Some(foreign) = given.iter().find(|given| given.kind() != kind) {
        let message = format!(
            "only {} systems take it, and this one is {}",
            foreign.kind().name(),
            kind.name()
        );
        return Err(ApiError::field(foreign.field(), message));
    }
    let given = given.into_iter().next();
    Ok(given.or_else(|| ProviderMetadata::of_kind(kind)))
}

/// Refuses options that this user's credential for these entrances cannot have.
///
/// # Errors
/// [`ApiError`] names the option, or the credential that is missing.
pub(super) async fn check(
    conn: &mut SqliteConnection,
    caller: &Caller,
    user: &UserRow,
    entrances: &[EntranceRow],
    provider: &ProviderMetadata,
) -> Result<(), ApiError> {
    match provider {
        ProviderMetadata::Visionline(options) => {
            check_rfid48(entrances, options)?;
            check_joined(conn, caller, user.acs_system_id, options).await
        }
        ProviderMetadata::Vostio(options) => check_overridden(entrances, options),
        ProviderMetadata::SaltoSpace(options) => check_first_key(conn, user, *options).await,
        ProviderMetadata::Hotek(_) => Ok(()),
    }
}

/// The options of a credential as the API shows them, and under which name.
pub(super) fn shown(credential: &CredentialRow) -> Option<(&'static str, Value)> {
    let options = credential.provider.clone();
    let provider = options.or_else(|| ProviderMetadata::of_kind(credential.kind))?;
    let mut shown = Value::Object(provider.options());
    match &provider {
        ProviderMetadata::Visionline(_) => {
            shown["guest_acs_entrance_ids"] = door_ids(credential, false);
            shown["common_acs_entrance_ids"] = door_ids(credential, true);
            let issued = credential.issued.as_ref();
            if let Some(number) = issued.and_then(|issued| issued.card_number.as_deref()) {
                shown["card_id"] = json!(number);
            }
        }
        ProviderMetadata::Vostio(_) => {
            let doors = credential.doors.iter();
            shown["door_names"] = doors.map(|door| door.display_name.as_str()).collect();
        }
        ProviderMetadata::SaltoSpace(_) | ProviderMetadata::Hotek(_) => {}
    }
    Some((provider.field(), shown))
}

fn door_ids(credential: &CredentialRow, common: bool) -> Value {
    let doors = credential.doors.iter();
    let doors = doors.filter(|door| door.is_common == common);
    doors.map(|door| json!(door.acs_entrance_id)).collect()
}

fn optional<T>(
    reader: &mut Reader<'_>,
    name: &str,
    read: impl FnOnce(&mut Reader<'_>) -> Result<T, Invalid>,
) -> Result<Option<T>, Invalid> {
    if reader.optional_object(name)? {
        read(reader).map(Some)
    } else {
        Ok(None)
    }
}

fn read_visionline(reader: &mut Reader<'_>) -> Result<Visionline, Invalid> {
    const JOINERS: &str = "visionline_metadata.joiner_acs_credential_ids";
    let format = reader.optional_choice("visionline_metadata.card_format", &["TLCode", "rfid48"]);
    let function = reader.optional_choice(
        "visionline_metadata.card_function_type",
        &["guest", "staff"],
    );
    let overrides = reader.optional_flag("visionline_metadata.override");
    let is_override = reader.optional_flag("visionline_metadata.is_override_key");
    let auto_join = reader.optional_flag("visionline_metadata.auto_join");
    let joined = reader.optional_ids(JOINERS);
    reader.refuse(
        "visionline_metadata.assa_abloy_credential_service_mobile_endpoint_id",
        "mobile keys are not offered by this service",
    );
    let (overrides, is_override) = (overrides?, is_override?);
    let (auto_join, joined) = (auto_join?.unwrap_or(false), joined?.unwrap_or_default());
    if overrides
        .zip(is_override)
        .is_some_and(|(new, old)| new != old)
    {
        let message = "says another thing than override, whose older name it is";
        return Err(reader.wrong("visionline_metadata.is_override_key", message));
    }
    let overrides = overrides.or(is_override).unwrap_or(false);
    if overrides && (auto_join || !joined.is_empty()) {
        return Err(reader.wrong("visionline_metadata.override", NOT_BOTH));
    }
    if auto_join && !joined.is_empty() {
        let message = "auto_join finds the credentials to join by itself: give one of the two";
        return Err(reader.wrong(JOINERS, message));
    }
    Ok(Visionline {
        card_format: format?.map(|format| match format {
            "rfid48" => CardFormat::Rfid48,
            _ => CardFormat::TlCode,
        }),
        card_function_type: match function? {
            Some("staff") => CardFunction::Staff,
            Some(_) | None => CardFunction::Guest,
        },
        overrides,
        auto_join,
        joiner_acs_credential_ids: joined,
    })
}

fn read_vostio(reader: &mut Reader<'_>) -> Result<Vostio, Invalid> {
    const JOIN_ALL: &str = "assa_abloy_vostio_metadata.join_all_guest_acs_entrances";
    const OVERRIDE_ALL: &str = "assa_abloy_vostio_metadata.override_all_guest_acs_entrances";
    const OVERRIDDEN: &str = "assa_abloy_vostio_metadata.override_guest_acs_entrance_ids";
    let auto_join = reader.optional_flag("assa_abloy_vostio_metadata.auto_join");
    let join_all = reader.optional_flag(JOIN_ALL);
    let override_all = reader.optional_flag(OVERRIDE_ALL);
    let overridden = reader.optional_ids(OVERRIDDEN);
    let options = Vostio {
        auto_join: auto_join?.unwrap_or(false),
        join_all_guest_acs_entrances: join_all?.unwrap_or(false),
        override_all_guest_acs_entrances: override_all?.unwrap_or(false),
        override_guest_acs_entrance_ids: overridden?.unwrap_or_default(),
    };
    let joins = options.auto_join || options.join_all_guest_acs_entrances;
    if joins && options.override_all_guest_acs_entrances {
        return Err(reader.wrong(OVERRIDE_ALL, NOT_BOTH));
    }
    if joins && !options.override_guest_acs_entrance_ids.is_empty() {
        return Err(reader.wrong(OVERRIDDEN, NOT_BOTH));
    }
    Ok(options)
}

fn read_salto_space(reader: &mut Reader<'_>) -> Result<SaltoSpace, Invalid> {
    const UPDATE: &str = "salto_space_metadata.update_current_key";
    let assign = reader.optional_flag("salto_space_metadata.assign_new_key");
    let update = reader.optional_flag(UPDATE);
    let options = SaltoSpace {
        assign_new_key: assign?.unwrap_or(false),
        update_current_key: update?.unwrap_or(false),
    };
    if options.assign_new_key && options.update_current_key {
        let message = "a key is new or the user's current one: give one of the two";
        return Err(reader.wrong(UPDATE, message));
    }
    Ok(options)
}

fn read_hotek(reader: &mut Reader<'_>) -> Result<Hotek, Invalid> {
    const OVERRIDE: &str = "hotek_metadata.override";
    let auto_join = reader.optional_flag("hotek_metadata.auto_join");
    let overrides = reader.optional_flag(OVERRIDE);
    let options = Hotek {
        auto_join: auto_join?.unwrap_or(false),
        overrides: overrides?.unwrap_or(false),
    };
    if options.auto_join && options.overrides {
        return Err(reader.wrong(OVERRIDE, NOT_BOTH));
    }
    Ok(options)
}

fn check_rfid48(entrances: &[EntranceRow], options: &Visionline) -> Result<(), ApiError> {
    if options.card_format != Some(CardFormat::Rfid48) {
        return Ok(());
    }
    let common = entrances.iter().filter(|door| door.is_common).count();
    let guest = entrances.len().saturating_sub(common);
    let further = guest.saturating_sub(RFID48_GUEST) + common.saturating_sub(RFID48_COMMON);
    if further <= RFID48_FURTHER {
        return Ok(());
    }
    Err(ApiError::field(
        "visionline_metadata.card_format",
        format!(
            "rfid48 has room for {RFID48_GUEST} guest rooms, {RFID48_COMMON} common doors and {RFID48_FURTHER} more, \
             got {guest} and {common}: give TLCode"
        ),
    ))
}

async fn check_joined(
    conn: &mut SqliteConnection,
    caller: &Caller,
    acs_system_id: Uuid,
    options: &Visionline,
) -> Result<(), ApiError> {
    for (index, id) in options.joiner_acs_credential_ids.iter().enumerate() {
        let joined = credentials::find(conn, caller.workspace_id, *id)
            .await?
            .ok_or(ApiError::NotFound(Resource::AcsCredential, *id))?;
        if joined.acs_system_id != acs_system_id {
            return Err(ApiError::field(
                &format!("visionline_metadata.joiner_acs_credential_ids.{index}"),
                "the credential belongs to another access system than the acs_user",
            ));
        }
    }
    Ok(())
}

fn check_overridden(entrances: &[EntranceRow], options: &Vostio) -> Result<(), ApiError> {
    let overridden = options.override_guest_acs_entrance_ids.iter();
    for (index, id) in overridden.enumerate() {
        let door = entrances.iter().find(|door| door.acs_entrance_id == *id);
        let message = match door {
            Some(door) if !door.is_common => continue,
            Some(_) => "the entrance is for everybody, so no card of it can be overridden",
            None => "the entrance is none of allowed_acs_entrance_ids",
        };
        return Err(ApiError::field(
            &format!("assa_abloy_vostio_metadata.override_guest_acs_entrance_ids.{index}"),
            message,
        ));
    }
    Ok(())
}

/// A Salto Space user has one card.
async fn check_first_key(
    conn: &mut SqliteConnection,
    user: &UserRow,
    options: SaltoSpace,
) -> Result<(), ApiError> {
    if !options.assign_new_key {
        return Ok(());
    }
    let filter = CredentialFilter {
        acs_user_id: Some(user.acs_user_id),
        ..CredentialFilter::default()
    };
    let earlier = credentials::all(conn, user.workspace_id, &filter).await?;
    let Some(earlier) = earlier.first() else {
        return Ok(());
    };
    Err(ApiError::field(
        "salto_space_metadata.assign_new_key",
        format!(
            "the user has the card of credential {} already: delete that one first",
            earlier.acs_credential_id
        ),
    ))
}

#[cfg(test)]
mod tests;
