//! Requests of any kind: paths, fields and values, among them the ids that answers have told.

use axum::{body::Body, http::Request};
use encoder_protocols::wire::JobId;
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::{agent, input::Input, said::Around};

const PATHS: [&str; 65] = [
    "/webhooks/create",
    "/webhooks/get",
    "/webhooks/list",
    "/webhooks/update",
    "/webhooks/delete",
    "/acs/systems/list",
    "/acs/systems/get",
    "/acs/encoders/list",
    "/acs/encoders/get",
    "/acs/encoders/encode_credential",
    "/acs/encoders/scan_credential",
    "/acs/users/create",
    "/acs/users/get",
    "/acs/users/list",
    "/acs/entrances/list",
    "/acs/entrances/get",
    "/acs/credentials/create",
    "/acs/credentials/create",
    "/acs/credentials/get",
    "/acs/credentials/list",
    "/acs/credentials/update",
    "/acs/credentials/delete",
    "/acs/encoders/encode_credential",
    "/action_attempts/get",
    "/action_attempts/list",
    "/events/list",
    "/events/get",
    "/workspaces/get",
    "/health",
    "/acs/users/create",
    "/agents/socket",
    "/nowhere",
    "/access_grants/create",
    "/access_grants/create",
    "/access_grants/get",
    "/access_grants/list",
    "/access_grants/update",
    "/access_grants/delete",
    "/access_grants/request_access_methods",
    "/access_grants/get_related",
    "/access_methods/get",
    "/access_methods/list",
    "/access_methods/encode",
    "/access_methods/encode",
    "/access_methods/assign_card",
    "/access_methods/get_related",
    "/access_methods/delete",
    "/acs/credentials/assign",
    "/acs/credentials/unassign",
    "/acs/credentials/list_accessible_entrances",
    "/acs/credentials/unmanaged/get",
    "/acs/credentials/unmanaged/list",
    "/acs/encoders/scan_to_assign_credential",
    "/acs/users/update",
    "/acs/users/delete",
    "/spaces/create",
    "/spaces/get",
    "/spaces/list",
    "/spaces/update",
    "/spaces/delete",
    "/spaces/add_acs_entrances",
    "/spaces/remove_acs_entrances",
    "/user_identities/create",
    "/user_identities/get",
    "/user_identities/list",
];

const FIELDS: [&str; 58] = [
    "webhook_id",
    "url",
    "acs_system_id",
    "acs_encoder_id",
    "acs_credential_id",
    "acs_user_id",
    "acs_entrance_id",
    "action_attempt_id",
    "event_id",
    "acs_system_ids",
    "acs_encoder_ids",
    "allowed_acs_entrance_ids",
    "acs_entrance_ids",
    "action_attempt_ids",
    "event_ids",
    "event_types",
    "event_type",
    "access_method",
    "full_name",
    "email_address",
    "phone_number",
    "starts_at",
    "ends_at",
    "since",
    "between",
    "created_before",
    "limit",
    "page_cursor",
    "search",
    "code",
    "is_multi_phone_sync_credential",
    "user_identity_id",
    "unstable_offset",
    "access_schedule.starts_at",
    "access_schedule.ends_at",
    "credential_manager_acs_system_id",
    "salto_ks_metadata",
    "connected_account_id",
    "access_grant_id",
    "access_grant_ids",
    "access_grant_key",
    "access_method_id",
    "access_method_ids",
    "space_id",
    "space_ids",
    "space_key",
    "user_identity_ids",
    "user_identity_key",
    "user_identity",
    "requested_access_methods",
    "name",
    "display_name",
    "card_number",
    "include",
    "exclude",
    "is_managed",
    "acs_user_ids",
    "space_keys",
];

/// What an answer may tell the id of.
const RESOURCES: [&str; 8] = [
    "acs_user",
    "acs_credential",
    "action_attempt",
    "acs_encoder",
    "access_grant",
    "access_method",
    "space",
    "user_identity",
];

/// The ids that answers have told.
#[derive(Default)]
pub(super) struct Known {
    ids: Vec<String>,
    jobs: Vec<JobId>,
    pub(super) credentials: Vec<Uuid>,
}

impl Known {
    pub(super) fn note(&mut self, id: &Uuid) {
        self.ids.push(id.to_string());
    }

    pub(super) fn learn(&mut self, answer: &Value) {
        for resource in RESOURCES {
            let id = &answer[resource][format!("{resource}_id")];
            let Some(id) = id.as_str().and_then(|id| Uuid::parse_str(id).ok()) else {
                continue;
            };
            self.note(&id);
            match resource {
                "action_attempt" => self.jobs.push(JobId(id)),
                "acs_credential" => self.credentials.push(id),
                _ => {}
            }
        }
        if let Some(encoders) = answer["acs_encoders"].as_array() {
            let ids = encoders
                .iter()
                .filter_map(|one| one["acs_encoder_id"].as_str());
            self.ids.extend(ids.map(str::to_owned));
        }
        if let Some(cursor) = answer["pagination"]["next_page_cursor"].as_str() {
            self.ids.push(cursor.to_owned());
        }
    }

    pub(super) fn around(&self, now: Timestamp) -> Around<'_> {
        Around {
            now,
            jobs: &self.jobs,
            credentials: &self.credentials,
        }
    }
}

/// A request for any path, by any method, with any body.
pub(super) fn request(key: &str, known: &Known, input: &mut Input<'_>) -> Request<Body> {
    let path = *input.pick(&PATHS);
    let how = input.below(8);
    let fields = fields(path, known, input);
    let builder = Request::builder()
        .header("host", "127.0.0.1:8480")
        .header("authorization", format!("Bearer {key}"));
    let (method, uri, body) = match how {
        0 => ("GET", format!("{path}?{}", query(&fields)), String::new()),
        1 => (
            "DELETE",
            format!("{path}?{}", query(&fields)),
            String::new(),
        ),
        2 => ("POST", path.to_owned(), input.text(200)),
        3 => {
            let raw = escaped(input.bytes(200));
            ("GET", format!("{path}?{raw}"), String::new())
        }
        4 => ("PATCH", path.to_owned(), Value::Object(fields).to_string()),
        _ => ("POST", path.to_owned(), Value::Object(fields).to_string()),
    };
    let builder = match input.below(16) {
        0 => builder.header("x-forwarded-proto", "https"),
        1 => builder,
        _ => builder.header("content-type", "application/json"),
    };
    builder
        .method(method)
        .uri(uri)
        .body(Body::from(body))
        .unwrap()
}

type Fields = serde_json::Map<String, Value>;

/// The fields that a path needs, as the input fills them, and others.
fn fields(path: &str, known: &Known, input: &mut Input<'_>) -> Fields {
    let mut fields = Fields::new();
    let needed: &[&str] = match path {
        "/acs/encoders/encode_credential" => &["acs_credential_id", "acs_encoder_id"],
        "/acs/encoders/scan_credential" => &["acs_encoder_id"],
        "/acs/users/create" => &["acs_system_id", "full_name"],
        "/acs/credentials/create" => &["acs_user_id", "access_method", "ends_at"],
        "/acs/credentials/update" | "/acs/credentials/delete" => &["acs_credential_id", "ends_at"],
        "/acs/credentials/assign" | "/acs/credentials/unassign" => {
            &["acs_credential_id", "acs_user_id"]
        }
        "/acs/encoders/scan_to_assign_credential" => &["acs_encoder_id", "acs_user_id"],
        "/access_grants/create" => &[
            "user_identity",
            "acs_entrance_ids",
            "requested_access_methods",
        ],
        "/access_grants/request_access_methods" => &["access_grant_id", "requested_access_methods"],
        "/access_grants/update" => &["access_grant_id", "ends_at"],
        "/access_grants/get" | "/access_grants/delete" => &["access_grant_id"],
        "/access_grants/get_related" => &["access_grant_ids"],
        "/access_methods/encode" => &["access_method_id", "acs_encoder_id"],
        "/access_methods/assign_card" => &["access_method_id", "card_number"],
        "/access_methods/get" | "/access_methods/delete" => &["access_method_id"],
        "/access_methods/list" => &["access_grant_id"],
        "/access_methods/get_related" => &["access_method_ids"],
        "/spaces/add_acs_entrances" | "/spaces/remove_acs_entrances" => {
            &["space_id", "acs_entrance_ids"]
        }
        "/spaces/create" => &["name", "acs_entrance_ids"],
        "/spaces/update" | "/spaces/delete" | "/spaces/get" => &["space_id", "name"],
        "/user_identities/create" => &["full_name"],
        "/user_identities/get" => &["user_identity_id"],
        "/events/list" => &["since"],
        "/webhooks/create" => &["url", "event_types"],
        "/webhooks/update" => &["webhook_id", "event_types"],
        _ => &[],
    };
    for name in needed {
        if input.below(8) != 0 {
            fields.insert((*name).to_owned(), value(name, known, input));
        }
    }
    for _ in 0..input.below(4) {
        let name = *input.pick(&FIELDS);
        fields.insert(name.to_owned(), value(name, known, input));
    }
    fields
}

fn value(name: &str, known: &Known, input: &mut Input<'_>) -> Value {
    let id = |input: &mut Input<'_>| match known.ids.as_slice() {
        [] => json!(input.id(3)),
        ids => json!(input.pick(ids)),
    };
    match input.below(8) {
        0 => {
            return input
                .pick(&[Value::Null, json!(true), json!([]), json!({}), json!("")])
                .clone();
        }
        1 => return json!(input.text(40)),
        2 => return json!(input.number()),
        _ => {}
    }
    match name {
        "access_method" => json!("card"),
        "user_identity" => json!({"full_name": input.text(20)}),
        "requested_access_methods" => json!([{"mode": input.pick(&["card", "card", "code"])}]),
        "url" => json!(input.pick(&[
            "https://hooks.example/a",
            "http://127.0.0.1:9/",
            "https://10.0.0.1"
        ])),
        "limit" | "unstable_offset" => json!(input.number()),
        "between" => json!([time(input), time(input)]),
        "starts_at" | "ends_at" | "since" | "created_before" => time(input),
        name if name.ends_with("_ids") => json!([id(input), id(input)]),
        name if name.ends_with("_id") || name == "page_cursor" => id(input),
        _ => json!(input.text(40)),
    }
}

fn time(input: &mut Input<'_>) -> Value {
    match input.below(8) {
        0 => json!("-009999-01-02T01:59:59Z"),
        1 => json!("9999-12-30T22:00:00.999999999Z"),
        2 => json!("2026-11-21"),
        3 => json!("1969-12-31T23:59:59.999Z"),
        4 => json!("2106-02-07T06:28:15Z"),
        _ => json!(input.time(agent::noon()).to_string()),
    }
}

fn query(fields: &Fields) -> String {
    let mut pairs = Vec::new();
    for (name, value) in fields {
        let values = match value {
            Value::Array(values) => values.clone(),
            other => vec![other.clone()],
        };
        for value in values {
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            pairs.push(format!("{name}={}", escaped(text.as_bytes())));
        }
    }
    pairs.join("&")
}

/// Bytes as a query may carry them.
fn escaped(bytes: &[u8]) -> String {
    let one = |byte: &u8| match byte {
        b'a'..=b'z' | b'0'..=b'9' | b'.' | b'=' | b'&' | b'_' | b'-' | b'%' => {
            char::from(*byte).to_string()
        }
        byte => format!("%{byte:02X}"),
    };
    bytes.iter().map(one).collect()
}
