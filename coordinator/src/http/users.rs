//! `/acs/users/*`.

use axum::{Router, extract::State};
use serde_json::{Value, json};

use super::{
    Answer, ApiError, Caller, Invalid, Params, Reader, Reply, Resource, act, page_json, read,
    time_json,
};
use crate::{
    state::AppState,
    store::{
        events::{self, EventSubject, EventType},
        systems,
        users::{self, UserDetails, UserFilter, UserRow},
    },
};

/// How many users a page has unless the request says otherwise.
const DEFAULT_LIMIT: u32 = 500;

const NO_IDENTITIES: &str = "user identities are not offered by this service yet: use acs_user_id";

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/acs/users/create", act(create))
        .route("/acs/users/get", read(get))
        .route("/acs/users/list", read(list))
}

async fn create(State(state): State<AppState>, caller: Caller, params: Params) -> Answer {
    let mut reader = params.reader();
    let system_id = reader.id("acs_system_id");
    let details = read_details(&mut reader);
    reader.refuse("user_identity_id", NO_IDENTITIES);
    refuse_groups(&mut reader);
    reader.finish()?;
    let (system_id, details) = (system_id?, details?);

    let now = state.clock.utc();
    let mut conn = state.store.write().await?;
    let system = systems::find(&mut conn, caller.workspace_id, system_id)
        .await?
        .ok_or(ApiError::NotFound(Resource::AcsSystem, system_id))?
        .system;
    let user = users::create(&mut conn, &system, details, now).await?;
    let subject = EventSubject {
        acs_system_id: Some(user.acs_system_id),
        connected_account_id: Some(user.connected_account_id),
        acs_user_id: Some(user.acs_user_id),
        ..EventSubject::default()
    };
    let created = EventType::AcsUserCreated;
    events::record(&mut conn, user.workspace_id, created, subject, now, now).await?;
    conn.commit().await?;
    Ok(Reply::of("acs_user", user_json(&user)))
}

async fn get(State(state): State<AppState>, caller: Caller, params: Params) -> Answer {
    let mut reader = params.reader();
    reader.refuse("user_identity_id", NO_IDENTITIES);
    let id = reader.id("acs_user_id");
    let system = reader.optional_id("acs_system_id");
    reader.finish()?;
    let (id, system) = (id?, system?);
    let mut conn = state.store.read().await?;
    let user = users::find(&mut conn, caller.workspace_id, id)
        .await?
        .filter(|user| system.is_none_or(|system| system == user.acs_system_id))
        .ok_or(ApiError::NotFound(Resource::AcsUser, id))?;
    Ok(Reply::of("acs_user", user_json(&user)))
}

async fn list(State(state): State<AppState>, caller: Caller, params: Params) -> Answer {
    let mut reader = params.reader();
    let system = reader.optional_id("acs_system_id");
    let before = reader.optional_time("created_before");
    let search = reader.optional_text("search");
    let page = reader.page(DEFAULT_LIMIT);
    for name in [
        "user_identity_id",
        "user_identity_email_address",
        "user_identity_phone_number",
    ] {
        reader.refuse(name, NO_IDENTITIES);
    }
    reader.finish()?;
    let filter = UserFilter {
        acs_system_id: system?,
        created_before: before?,
        search: search?,
    };
    let mut conn = state.store.read().await?;
    if let Some(id) = filter.acs_system_id {
        systems::find(&mut conn, caller.workspace_id, id)
            .await?
            .ok_or(ApiError::NotFound(Resource::AcsSystem, id))?;
    }
    let found = users::list(&mut conn, caller.workspace_id, &filter, page?).await?;
    Ok(page_json(
        "acs_users",
        &found,
        &params,
        |user| user.acs_user_id,
        user_json,
    ))
}

fn read_details(reader: &mut Reader<'_>) -> Result<UserDetails, Invalid> {
    let full_name = reader.text("full_name");
    let email_address = read_email(reader, "email_address");
    let old_email = read_email(reader, "email");
    let phone_number = reader.optional_text("phone_number");
    let starts_at = reader.optional_time("access_schedule.starts_at");
    let ends_at = reader.optional_time("access_schedule.ends_at");
    let (starts_at, ends_at) = (starts_at?, ends_at?);
    if let (Some(starts), Some(ends)) = (starts_at, ends_at)
        && ends <= starts
    {
        return Err(reader.wrong("access_schedule.ends_at", "must be after starts_at"));
    }
    Ok(UserDetails {
        full_name: full_name?,
        email_address: email_address?.or(old_email?),
        phone_number: phone_number?,
        access_starts_at: starts_at,
        access_ends_at: ends_at,
    })
}

/// Access groups; the empty list, which some clients always send, asks for nothing.
fn refuse_groups(reader: &mut Reader<'_>) {
    const NAME: &str = "acs_access_group_ids";
    if let Ok(Some(groups)) = reader.optional_ids(NAME)
        && !groups.is_empty()
    {
        reader.wrong(NAME, "access groups are not offered by this service");
    }
}

/// An e-mail address, if it is given: something on both sides of one `@`.
fn read_email(reader: &mut Reader<'_>, name: &str) -> Result<Option<String>, Invalid> {
    let Some(address) = reader.optional_text(name)? else {
        return Ok(None);
    };
    let fits = address.split_once('@').is_some_and(|(local, domain)| {
        !local.is_empty() && !domain.is_empty() && !domain.contains('@')
    });
    if fits && !address.contains(char::is_whitespace) {
        Ok(Some(address))
    } else {
        Err(reader.wrong(name, "Invalid email"))
    }
}

fn user_json(user: &UserRow) -> Value {
    let details = &user.details;
    let mut json = json!({
        "acs_user_id": user.acs_user_id,
        "acs_system_id": user.acs_system_id,
        "connected_account_id": user.connected_account_id,
        "workspace_id": user.workspace_id,
        "display_name": details.full_name,
        "full_name": details.full_name,
        "created_at": time_json(user.created_at),
        "is_managed": true,
        "is_suspended": false,
        "last_successful_sync_at": null,
        "pending_mutations": [],
        "errors": [],
        "warnings": [],
    });
    if let Some(address) = &details.email_address {
        json["email_address"] = json!(address);
        json["email"] = json!(address);
    }
    if let Some(number) = &details.phone_number {
        json["phone_number"] = json!(number);
    }
    if details.access_starts_at.is_some() || details.access_ends_at.is_some() {
        json["access_schedule"] = json!({
            "starts_at": time_json(details.access_starts_at.unwrap_or(user.created_at)),
            "ends_at": details.access_ends_at.map(time_json),
        });
    }
    json
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::bench::Bench;

    #[tokio::test]
    async fn a_user_has_what_it_was_made_with() {
        let bench = Bench::start().await;
        let body = json!({
            "acs_system_id": bench.system,
            "full_name": "Jane Doe",
            "email_address": "jane@example.com",
            "phone_number": "+15555550100",
            "access_schedule": {"starts_at": "2026-12-01T15:00:00Z", "ends_at": null},
            "acs_access_group_ids": [],
            "favourite_colour": "unknown fields are ignored",
        });
        let made = bench.post("/acs/users/create", body).await;
        let made = made.ok("acs_user");
        assert_eq!(made["email_address"], json!("jane@example.com"));
        assert_eq!(
            made["access_schedule"],
            json!({"starts_at": "2026-12-01T15:00:00.000Z", "ends_at": null})
        );
        let id = made["acs_user_id"].as_str().unwrap();
        let got = bench
            .get(&format!("/acs/users/get?acs_user_id={id}&_strict=true"))
            .await;
        assert_eq!(got.ok("acs_user"), made);
        let system = bench
            .get(&format!("/acs/systems/get?acs_system_id={}", bench.system))
            .await;
        assert_eq!(system.ok("acs_system")["acs_user_count"], json!(1));
        let events = bench.get("/events/list?since=2020-01-01").await;
        assert_eq!(
            events.ok("events")[0]["event_type"],
            json!("acs_user.created")
        );
    }

    #[tokio::test]
    async fn what_is_wrong_with_a_user_is_named() {
        let bench = Bench::start().await;
        let system = bench.system;
        for (extra, path, expected) in [
            (json!({"full_name": null}), "/full_name", "Required"),
            (
                json!({"full_name": " "}),
                "/full_name",
                "String must contain at least 1 character(s)",
            ),
            (
                json!({"full_name": "x".repeat(1001)}),
                "/full_name",
                "String must contain at most 1000 character(s)",
            ),
            (
                json!({"email_address": "jane"}),
                "/email_address",
                "Invalid email",
            ),
            (json!({"email": "a@b@c"}), "/email", "Invalid email"),
            (
                json!({"access_schedule": {"starts_at": "2026-12-02T00:00:00Z", "ends_at": "2026-12-01T00:00:00Z"}}),
                "/access_schedule/ends_at",
                "must be after starts_at",
            ),
            (
                json!({"user_identity_id": bench.workspace}),
                "/user_identity_id",
                NO_IDENTITIES,
            ),
            (
                json!({"acs_access_group_ids": [bench.workspace]}),
                "/acs_access_group_ids",
                "access groups are not offered by this service",
            ),
        ] {
            let mut body = json!({"acs_system_id": system, "full_name": "Jane Doe"});
            for (name, value) in extra.as_object().unwrap() {
                body[name] = value.clone();
            }
            let answer = bench.post("/acs/users/create", body).await;
            assert_eq!(answer.error(), (400, "invalid_input"), "{extra}");
            let tree = &answer.body["error"]["validation_errors"];
            let errors = tree.pointer(&format!("{path}/_errors"));
            assert_eq!(errors, Some(&json!([expected])), "{extra}");
        }
        let none = bench.get("/acs/users/list").await;
        assert_eq!(*none.ok("acs_users"), json!([]));
    }

    #[tokio::test]
    async fn a_user_of_an_unknown_or_foreign_system_is_not_made() {
        let bench = Bench::start().await;
        let (theirs, _) = bench.neighbour().await;
        for system in [theirs, bench.workspace] {
            let body = json!({"acs_system_id": system, "full_name": "Jane Doe"});
            let answer = bench.post("/acs/users/create", body).await;
            assert_eq!(answer.error(), (404, "acs_system_not_found"));
        }
    }

    #[tokio::test]
    async fn a_list_is_searched_and_paged() {
        let bench = Bench::start().await;
        for name in ["Anna", "Bert", "Hanna"] {
            let body = json!({"acs_system_id": bench.system, "full_name": name});
            bench.post("/acs/users/create", body).await.ok("acs_user");
        }
        let found = bench.get("/acs/users/list?search=ANNA&limit=1").await;
        assert_eq!(found.ok("acs_users")[0]["full_name"], json!("Anna"));
        let cursor = found.ok("pagination")["next_page_cursor"].clone();
        let body = json!({"search": "ANNA", "limit": 1, "page_cursor": cursor});
        let next = bench.post("/acs/users/list", body).await;
        assert_eq!(next.ok("acs_users")[0]["full_name"], json!("Hanna"));
        assert_eq!(next.ok("pagination")["has_next_page"], json!(false));
    }
}
