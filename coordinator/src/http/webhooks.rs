//! `/webhooks/*`.

use axum::extract::State;
use serde_json::{Value, json};

use super::{
    Answer, ApiError, Caller, Invalid, Params, Reader, Reply, Resource, Routes, act, read, remove,
    replace,
};
use crate::{
    outbound::{Reach, Target},
    state::AppState,
    store::{
        audit::{self, AuditEntry},
        webhooks::{self, ALL_EVENTS, WebhookRow},
    },
};

/// The most webhooks of a workspace: each of them is looked at for every event.
const MAX_WEBHOOKS: u32 = 100;

/// The longest name of an event type, in characters.
const MAX_EVENT_TYPE: usize = 100;

const EVENT_TYPES: &str = "event_types";

pub(super) fn routes() -> Routes {
    Routes::new()
        .route(
            "/webhooks/create",
            "Makes a webhook, to which events are sent.",
            act(create),
        )
        .route("/webhooks/get", "Returns a webhook.", read(get))
        .route("/webhooks/list", "Lists webhooks.", read(list))
        .route(
            "/webhooks/update",
            "Changes which events a webhook gets.",
            replace(update),
        )
        .route("/webhooks/delete", "Deletes a webhook.", remove(delete))
}

async fn create(State(state): State<AppState>, caller: Caller, params: Params) -> Answer {
    let mut reader = params.reader();
    let target = read_target(&mut reader, state.reach);
    let event_types = read_event_types(&mut reader);
    reader.finish()?;
    let (target, event_types) = (target?, event_types?);
    let event_types = event_types.unwrap_or_else(|| vec![ALL_EVENTS.to_owned()]);

    let now = state.clock.utc();
    let mut conn = state.store.write().await?;
    if webhooks::count(&mut conn, caller.workspace_id).await? >= MAX_WEBHOOKS {
        return Err(ApiError::InvalidInput(format!(
            "this workspace has {MAX_WEBHOOKS} webhooks, which is the most: delete one first"
        )));
    }
    let webhook = webhooks::create(
        &mut conn,
        state.store.master_key(),
        caller.workspace_id,
        target.as_str(),
        &event_types,
        now,
    )
    .await?;
    let entry = entry("webhook.create", &caller, &webhook.webhook_id.to_string());
    audit::record(&mut conn, &entry, now).await?;
    conn.commit().await?;
    Ok(Reply::of("webhook", webhook_json(&webhook)))
}

async fn get(State(state): State<AppState>, caller: Caller, params: Params) -> Answer {
    let mut reader = params.reader();
    let id = reader.id("webhook_id");
    reader.finish()?;
    let id = id?;
    let mut conn = state.store.read().await?;
    let key = state.store.master_key();
    let webhook = webhooks::find(&mut conn, key, caller.workspace_id, id)
        .await?
        .ok_or(ApiError::NotFound(Resource::Webhook, id))?;
    Ok(Reply::of("webhook", webhook_json(&webhook)))
}

async fn list(State(state): State<AppState>, caller: Caller, params: Params) -> Answer {
    params.reader().finish()?;
    let mut conn = state.store.read().await?;
    let key = state.store.master_key();
    let webhooks = webhooks::list(&mut conn, key, caller.workspace_id).await?;
    let webhooks: Vec<_> = webhooks.iter().map(webhook_json).collect();
    Ok(Reply::of("webhooks", webhooks))
}

async fn update(State(state): State<AppState>, caller: Caller, params: Params) -> Answer {
    let mut reader = params.reader();
    let id = reader.id("webhook_id");
    let event_types = read_event_types(&mut reader)
        .and_then(|event_types| reader.required(EVENT_TYPES, event_types));
    reader.finish()?;
    let (id, event_types) = (id?, event_types?);
    let mut conn = state.store.write().await?;
    if !webhooks::set_event_types(&mut conn, caller.workspace_id, id, &event_types).await? {
        return Err(ApiError::NotFound(Resource::Webhook, id));
    }
    conn.commit().await?;
    Ok(Reply::done())
}

async fn delete(State(state): State<AppState>, caller: Caller, params: Params) -> Answer {
    let mut reader = params.reader();
    let id = reader.id("webhook_id");
    reader.finish()?;
    let id = id?;
    let mut conn = state.store.write().await?;
    if !webhooks::delete(&mut conn, caller.workspace_id, id).await? {
        return Err(ApiError::NotFound(Resource::Webhook, id));
    }
    let entry = entry("webhook.delete", &caller, &id.to_string());
    audit::record(&mut conn, &entry, state.clock.utc()).await?;
    conn.commit().await?;
    Ok(Reply::done())
}

fn read_target(reader: &mut Reader<'_>, reach: Reach) -> Result<Target, Invalid> {
    let url = reader.url("url")?;
    Target::parse(&url, reach).map_err(|error| reader.wrong("url", error.to_string()))
}

/// The event types, if they are given. Any name is taken: the API has more types than this service reports.
fn read_event_types(reader: &mut Reader<'_>) -> Result<Option<Vec<String>>, Invalid> {
    reader.optional_names(MAX_EVENT_TYPE, EVENT_TYPES)
}

fn entry(action: &'static str, caller: &Caller, subject: &str) -> AuditEntry {
    AuditEntry {
        action: action.into(),
        workspace_id: Some(caller.workspace_id),
        api_key_id: Some(caller.api_key_id),
        detail: Some(subject.to_owned()),
        ..AuditEntry::default()
    }
}

fn webhook_json(webhook: &WebhookRow) -> Value {
    json!({
        "webhook_id": webhook.webhook_id,
        "url": webhook.url,
        "event_types": webhook.event_types,
        "secret": webhook.key.secret().as_str(),
    })
}

#[cfg(test)]
mod tests {
    use axum::http::Method;

    use super::*;
    use crate::http::bench::Bench;

    const URL: &str = "https://example.com/hook";

    async fn create(bench: &Bench, body: Value) -> Value {
        let made = bench.post("/webhooks/create", body).await;
        made.ok("webhook").clone()
    }

    #[tokio::test]
    async fn a_webhook_is_made_read_changed_and_deleted() {
        let bench = Bench::start().await;
        let made = create(&bench, json!({"url": URL})).await;
        assert_eq!(made["url"], json!(URL));
        assert_eq!(made["event_types"], json!(["*"]));
        assert!(made["secret"].as_str().unwrap().starts_with("whsec_"));
        let id = made["webhook_id"].as_str().unwrap();
        let path = format!("/webhooks/get?webhook_id={id}&_strict=true");
        assert_eq!(*bench.get(&path).await.ok("webhook"), made);
        let listed = bench.get("/webhooks/list").await;
        assert_eq!(*listed.ok("webhooks"), json!([made]));
        for (method, event_type) in [(Method::PUT, "acs_user.created"), (Method::POST, "*")] {
            let body = json!({"webhook_id": id, "event_types": [event_type]});
            let changed = bench
                .call(method, "/webhooks/update", &bench.key, Some(body))
                .await;
            assert_eq!(*changed.ok("ok"), json!(true));
            let got = bench.get(&path).await;
            assert_eq!(got.ok("webhook")["event_types"], json!([event_type]));
            assert_eq!(got.ok("webhook")["secret"], made["secret"]);
        }
        let path = format!("/webhooks/delete?webhook_id={id}");
        let deleted = bench.call(Method::DELETE, &path, &bench.key, None).await;
        deleted.ok("ok");
        let again = bench
            .post("/webhooks/delete", json!({"webhook_id": id}))
            .await;
        assert_eq!(again.error(), (404, "webhook_not_found"));
        assert_eq!(*bench.get("/webhooks/list").await.ok("webhooks"), json!([]));
    }

    #[tokio::test]
    async fn what_is_wrong_with_a_webhook_is_named() {
        let bench = Bench::start().await;
        for (body, path, expected) in [
            (json!({}), "/url", "Required"),
            (json!({"url": "example.com"}), "/url", "expected a URL"),
            (json!({"url": "http://example.com"}), "/url", "https"),
            (
                json!({"url": "https://a:b@example.com"}),
                "/url",
                "password",
            ),
            (json!({"url": "https://127.0.0.1/"}), "/url", "loopback"),
            (
                json!({"url": "https://169.254.169.254/"}),
                "/url",
                "link-local",
            ),
            (
                json!({"url": URL, "event_types": "*"}),
                "/event_types",
                "Expected array",
            ),
            (
                json!({"url": URL, "event_types": ["*", ""]}),
                "/event_types/1",
                "1 to 100",
            ),
        ] {
            let answer = bench.post("/webhooks/create", body.clone()).await;
            assert_eq!(answer.error(), (400, "invalid_input"), "{body}");
            let tree = &answer.body["error"]["validation_errors"];
            let errors = tree.pointer(&format!("{path}/_errors/0"));
            let error = errors.and_then(Value::as_str).unwrap_or_default();
            assert!(error.contains(expected), "{body}: {tree}");
        }
        let made = create(&bench, json!({"url": URL, "event_types": []})).await;
        assert_eq!(made["event_types"], json!([]));
        let body = json!({"webhook_id": made["webhook_id"]});
        let answer = bench.post("/webhooks/update", body).await;
        assert_eq!(answer.error(), (400, "invalid_input"));
    }

    #[tokio::test]
    async fn a_neighbours_webhook_is_not_found() {
        let bench = Bench::start().await;
        let (_, theirs) = bench.neighbour().await;
        let made = create(&bench, json!({"url": URL})).await;
        let body = json!({"webhook_id": made["webhook_id"], "event_types": []});
        for path in ["get", "update", "delete"] {
            let path = format!("/webhooks/{path}");
            let answer = bench.post_as(&theirs, &path, body.clone()).await;
            assert_eq!(answer.error(), (404, "webhook_not_found"), "{path}");
        }
        let listed = bench
            .call(Method::GET, "/webhooks/list", &theirs, None)
            .await;
        assert_eq!(*listed.ok("webhooks"), json!([]));
        assert_eq!(
            *bench.get("/webhooks/list").await.ok("webhooks"),
            json!([made])
        );
    }

    #[tokio::test]
    async fn a_workspace_has_a_hundred_webhooks_at_most() {
        let bench = Bench::start().await;
        for _ in 0..MAX_WEBHOOKS {
            create(&bench, json!({"url": URL})).await;
        }
        let answer = bench.post("/webhooks/create", json!({"url": URL})).await;
        assert_eq!(answer.error(), (400, "invalid_input"));
    }

    #[tokio::test]
    async fn the_store_keeps_no_secret_in_the_clear() {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        let bench = Bench::start().await;
        let made = create(&bench, json!({"url": URL})).await;
        let secret = made["secret"]
            .as_str()
            .unwrap()
            .strip_prefix("whsec_")
            .unwrap();
        let key = STANDARD.decode(secret).unwrap();
        let mut conn = bench.state.store.read().await.unwrap();
        let sealed: Vec<u8> = sqlx::query_scalar("SELECT sealed FROM webhooks")
            .fetch_one(&mut *conn)
            .await
            .unwrap();
        for bytes in [secret.as_bytes(), &key] {
            assert!(!sealed.windows(bytes.len()).any(|window| window == bytes));
        }
    }
}
