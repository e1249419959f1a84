//! `/events/*`.

use axum::extract::State;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{
    Answer, ApiError, Caller, Invalid, Params, Reader, Reply, Resource, Routes, read,
    reader::given, time_json,
};
use crate::{
    state::AppState,
    store::events::{self, EventFilter, EventRow, EventSubject},
};

/// How many events are listed unless the request says otherwise.
const DEFAULT_LIMIT: u32 = 500;

/// What the API lets events be filtered by and this service has none of. Ignored, they would list too much.
const UNKNOWN: &[&str] = &[
    "access_code_id",
    "access_code_ids",
    "acs_access_group_id",
    "connect_webview_id",
    "customer_key",
    "device_id",
    "device_ids",
    "space_id",
    "space_ids",
    "user_identity_id",
];

pub(super) fn routes() -> Routes {
    Routes::new()
        .route("/events/get", "Returns an event.", read(get))
        .route("/events/list", "Lists events of an interval.", read(list))
}

async fn get(State(state): State<AppState>, caller: Caller, params: Params) -> Answer {
    let mut reader = params.reader();
    let id = reader.id("event_id");
    reader.finish()?;
    let id = id?;
    let mut conn = state.store.read().await?;
    let event = events::find(&mut conn, caller.workspace_id, id)
        .await?
        .ok_or(ApiError::NotFound(Resource::Event, id))?;
    Ok(Reply::of("event", event_json(&event)))
}

async fn list(State(state): State<AppState>, caller: Caller, params: Params) -> Answer {
    let mut reader = params.reader();
    let filter = read_filter(&mut reader);
    reader.finish()?;
    let mut conn = state.store.read().await?;
    let events = events::list(&mut conn, caller.workspace_id, &filter?).await?;
    Ok(Reply::of_rows("events", events.iter().map(event_json)))
}

fn read_filter(reader: &mut Reader<'_>) -> Result<EventFilter, Invalid> {
    let interval = read_interval(reader);
    let event_type = reader.optional_text("event_type");
    let event_types = reader.optional_texts("event_types");
    let event_ids = reader.optional_ids("event_ids");
    let system_ids = reader.optional_ids("acs_system_ids");
    let grant_ids = reader.optional_ids("access_grant_ids");
    let method_ids = reader.optional_ids("access_method_ids");
    for name in UNKNOWN {
        reader.refuse(name, "this service has no events of such a resource");
    }
    let subject = read_subject(reader);
    let offset = reader.optional_number("unstable_offset");
    let limit = reader.limit(DEFAULT_LIMIT);
    let (after, before) = interval?;
    Ok(EventFilter {
        after,
        before,
        event_types: match event_type? {
            Some(event_type) => Some(vec![event_type]),
            None => event_types?,
        },
        event_ids: event_ids?,
        acs_system_ids: system_ids?,
        access_grant_ids: grant_ids?,
        access_method_ids: method_ids?,
        subject: subject?,
        offset: offset?.unwrap_or_default(),
        limit: limit?,
    })
}

fn read_subject(reader: &mut Reader<'_>) -> Result<EventSubject, Invalid> {
    let system = reader.optional_id("acs_system_id");
    let account = reader.optional_id("connected_account_id");
    let credential = reader.optional_id("acs_credential_id");
    let encoder = reader.optional_id("acs_encoder_id");
    let user = reader.optional_id("acs_user_id");
    let entrance = reader.optional_id("acs_entrance_id");
    let grant = reader.optional_id("access_grant_id");
    let method = reader.optional_id("access_method_id");
    Ok(EventSubject {
        acs_system_id: system?,
        connected_account_id: account?,
        acs_credential_id: credential?,
        acs_encoder_id: encoder?,
        acs_user_id: user?,
        acs_entrance_id: entrance?,
        access_grant_id: grant?,
        access_method_id: method?,
    })
}

/// `since`, or both ends of `between`.
fn read_interval(reader: &mut Reader<'_>) -> Result<(Timestamp, Option<Timestamp>), Invalid> {
    let since = reader.optional_time("since");
    let between = reader.optional_interval("between");
    reader.any_of(&[("since", given(&since)), ("between", given(&between))]);
    match (since?, between?) {
        (Some(since), _) => Ok((since, None)),
        (None, Some((after, before))) => Ok((after, Some(before))),
        (None, None) => Err(Invalid),
    }
}

/// An event as the API tells it, and as webhooks get it.
pub fn event_json(event: &EventRow) -> Value {
    let mut json = Map::new();
    let mut put = |key: &str, value: Value| {
        json.insert(key.to_owned(), value);
    };
    put("event_id", json!(event.event_id));
    put("event_type", json!(event.event_type));
    put("event_description", json!(event.description));
    put("workspace_id", json!(event.workspace_id));
    put("created_at", time_json(event.created_at));
    put("occurred_at", time_json(event.occurred_at));
    let subject = &event.subject;
    for (key, id) in [
        ("acs_system_id", subject.acs_system_id),
        ("connected_account_id", subject.connected_account_id),
        ("acs_credential_id", subject.acs_credential_id),
        ("acs_encoder_id", subject.acs_encoder_id),
        ("acs_user_id", subject.acs_user_id),
        ("acs_entrance_id", subject.acs_entrance_id),
        ("access_method_id", subject.access_method_id),
        // An event of an access method lists its grants among its details.
        (
            "access_grant_id",
            subject
                .access_grant_id
                .filter(|_| subject.access_method_id.is_none()),
        ),
    ] {
        if let Some(id) = id {
            put(key, json!(id));
        }
    }
    let details = event.details.as_ref().and_then(Value::as_object);
    for (key, value) in details.into_iter().flatten() {
        put(key, value.clone());
    }
    Value::Object(json)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::bench::Bench;

    /// Makes one event.
    async fn user(bench: &Bench, name: &str) -> Value {
        let body = json!({"acs_system_id": bench.system, "full_name": name});
        let answer = bench.post("/acs/users/create", body).await;
        answer.ok("acs_user")["acs_user_id"].clone()
    }

    #[tokio::test]
    async fn a_list_needs_an_interval() {
        let bench = Bench::start().await;
        for (body, field) in [
            (json!({}), "since"),
            (json!({"since": "yesterday"}), "since"),
            (json!({"between": ["2026-01-01"]}), "between"),
            (json!({"between": ["2026-01-02", "2026-01-01"]}), "between"),
            (json!({"between": ["2026-01-01", "x"]}), "between"),
            (json!({"between": "2026-01-01"}), "between"),
        ] {
            let answer = bench.post("/events/list", body.clone()).await;
            assert_eq!(answer.error(), (400, "invalid_input"), "{body}");
            let errors = &answer.body["error"]["validation_errors"];
            assert!(errors[field].is_object(), "{body}: {errors}");
        }
    }

    #[tokio::test]
    async fn a_list_is_filtered() {
        let bench = Bench::start().await;
        let anna = user(&bench, "Anna").await;
        let bert = user(&bench, "Bert").await;
        let since = "2020-01-01T00:00:00Z";
        let anna_id = anna.as_str().unwrap();
        for (query, expected) in [
            (format!("since={since}"), vec![&anna, &bert]),
            (format!("since={since}&limit=1"), vec![&anna]),
            (
                format!("since={since}&limit=1&unstable_offset=1"),
                vec![&bert],
            ),
            (format!("since={since}&acs_user_id={anna_id}"), vec![&anna]),
            (
                format!("since={since}&event_type=acs_user.created"),
                vec![&anna, &bert],
            ),
            (
                format!("since={since}&event_types=acs_user.created&event_types=acs_encoder.added"),
                vec![&anna, &bert],
            ),
            (
                format!("since={since}&event_type=acs_encoder.added"),
                vec![],
            ),
            (
                format!("since={since}&acs_system_ids={}", bench.system),
                vec![&anna, &bert],
            ),
            (
                format!("since={since}&acs_system_id={}", bench.workspace),
                vec![],
            ),
            (format!("between={since}&between=2020-02-01"), vec![]),
            (
                format!("between={since}&between=2999-01-01"),
                vec![&anna, &bert],
            ),
            ("since=2999-01-01".to_owned(), vec![]),
        ] {
            let answer = bench.get(&format!("/events/list?{query}")).await;
            let events = answer.ok("events").as_array().unwrap();
            let users: Vec<_> = events.iter().map(|event| &event["acs_user_id"]).collect();
            assert_eq!(users, expected, "{query}");
        }
    }

    #[tokio::test]
    async fn events_of_several_types_come_in_the_order_of_time() {
        let bench = Bench::start().await;
        let mut users = Vec::new();
        for name in ["Anna", "Bert"] {
            let user = user(&bench, name).await;
            let gone = json!({"acs_user_id": user});
            bench.post("/acs/users/delete", gone).await.ok("ok");
            users.push(user);
        }
        let both = "event_types=acs_user.deleted&event_types=acs_user.created&event_types=acs_user.deleted";
        let types = bench.events(both).await;
        let (made, gone) = ("acs_user.created", "acs_user.deleted");
        assert_eq!(types, [made, gone, made, gone]);
        let middle = bench
            .events(&format!("{both}&limit=2&unstable_offset=1"))
            .await;
        assert_eq!(middle, [gone, made]);
        let anna = users[0].as_str().unwrap();
        let hers = bench.events(&format!("{both}&acs_user_id={anna}")).await;
        assert_eq!(hers, [made, gone]);
    }

    #[tokio::test]
    async fn an_event_is_read_by_its_id() {
        let bench = Bench::start().await;
        user(&bench, "Anna").await;
        let list = bench
            .post("/events/list", json!({"since": "2020-01-01"}))
            .await;
        let event = &list.ok("events")[0];
        for field in [
            "event_id",
            "event_type",
            "event_description",
            "workspace_id",
            "created_at",
            "occurred_at",
            "acs_system_id",
            "connected_account_id",
        ] {
            assert!(event[field].is_string(), "{field}");
        }
        let body = json!({"event_id": event["event_id"]});
        let got = bench.post("/events/get", body).await;
        assert_eq!(got.ok("event"), event);
    }
}
