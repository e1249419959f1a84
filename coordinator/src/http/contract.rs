//! Checks every answer of the tests against the API document that is served.
//!
//! The check is stricter than the document: a field that it does not name is an error too. With `CONTRACT_TALLY` set to a
//! file, a line is added to it for each answer that was checked, so that a run of the tests can tell how many there were.

use std::{
    collections::HashMap,
    fs::File,
    io::Write as _,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use axum::http::{Method, StatusCode};
use jsonschema::Validator;
use serde_json::{Map, Value, json};

use super::{error::error_types, openapi};

const TALLY: &str = "CONTRACT_TALLY";

/// What each path answers on success.
static ANSWERS: LazyLock<HashMap<&'static str, Value>> = LazyLock::new(|| {
    let (_, paths) = super::routes().into_parts();
    let answers = paths.iter();
    let answer = |path: &super::routes::Path| Some((path.path, openapi::answer_of(path)?));
    answers.filter_map(answer).collect()
});

static COMPONENTS: LazyLock<Map<String, Value>> = LazyLock::new(openapi::components);

static VALIDATORS: LazyLock<Mutex<HashMap<String, Arc<Validator>>>> = LazyLock::new(Mutex::default);

/// Every path of the published document, with the methods that it takes.
pub(super) fn published() -> Vec<(String, Vec<Method>)> {
    let document: Value = serde_json::from_str(include_str!("../../openapi/seam.json")).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let methods = |path: &Value| {
        let names = path.as_object().unwrap().keys();
        names
            .map(|name| name.to_ascii_uppercase().parse().unwrap())
            .collect()
    };
    paths
        .iter()
        .map(|(path, value)| (path.clone(), methods(value)))
        .collect()
}

/// Fails the test where an answer is not what the document says.
pub(super) fn check(path: &str, status: StatusCode, body: &Value) {
    // What agents ask for is not of the API.
    if path.starts_with("/agents/") {
        return;
    }
    let errors = if status.is_success() {
        let Some(answer) = ANSWERS.get(path) else {
            return;
        };
        breaches(path, answer, body)
    } else {
        unknown_error(status, body)
    };
    tally(path, errors.is_empty());
    assert!(
        errors.is_empty(),
        "{path} breaks the document: {}\n{body:#}",
        errors.join("; ")
    );
}

fn breaches(path: &str, answer: &Value, body: &Value) -> Vec<String> {
    let validator = {
        // A test that failed elsewhere leaves the map as good as it was.
        let mut validators = VALIDATORS.lock().unwrap_or_else(PoisonError::into_inner);
        let known = validators.entry(path.to_owned());
        let validator = known.or_insert_with(|| Arc::new(validator_of(answer)));
        Arc::clone(validator)
    };
    validator
        .iter_errors(body)
        .map(|error| format!("{} at {}", error, error.instance_path()))
        .collect()
}

/// What is wrong with an error: its status or its type stands in no list.
fn unknown_error(status: StatusCode, body: &Value) -> Vec<String> {
    let types = error_types();
    let of_a_path = [StatusCode::NOT_FOUND, StatusCode::METHOD_NOT_ALLOWED];
    let kind = body["error"]["type"].as_str().unwrap_or_default();
    let known = types
        .get(&status)
        .is_some_and(|types| types.iter().any(|known| known == kind));
    let no_path =
        of_a_path.contains(&status) && ["route_not_found", "method_not_allowed"].contains(&kind);
    if (known || no_path) && body["ok"] == json!(false) && body["error"]["message"].is_string() {
        Vec::new()
    } else {
        vec![format!("{status} with the type {kind:?} is not documented")]
    }
}

fn tally(path: &str, is_valid: bool) {
    let Some(file) = std::env::var_os(TALLY) else {
        return;
    };
    let mut file = File::options()
        .create(true)
        .append(true)
        .open(file)
        .unwrap();
    let word = if is_valid { "valid" } else { "invalid" };
    // One write, so that lines of tests that run at the same time stay whole.
    let line = format!("{word} {path}\n");
    file.write_all(line.as_bytes()).unwrap();
}

fn validator_of(answer: &Value) -> Validator {
    let mut schema = answer.clone();
    tighten(&mut schema);
    let mut needed = Map::new();
    collect_components(&schema, &mut needed);
    schema["components"] = json!({"schemas": needed});
    jsonschema::options()
        .should_validate_formats(true)
        .build(&schema)
        .unwrap()
}

/// The components that a schema refers to, and those that they refer to.
fn collect_components(schema: &Value, needed: &mut Map<String, Value>) {
    match schema {
        Value::Array(values) => values.iter().for_each(|it| collect_components(it, needed)),
        Value::Object(fields) => fields
            .values()
            .for_each(|it| collect_components(it, needed)),
        Value::String(text) => {
            let Some(name) = text.strip_prefix("#/components/schemas/") else {
                return;
            };
            if !needed.contains_key(name) {
                let mut component = COMPONENTS[name].clone();
                tighten(&mut component);
                needed.insert(name.to_owned(), component.clone());
                collect_components(&component, needed);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Makes a schema refuse fields that it does not name.
fn tighten(schema: &mut Value) {
    match schema {
        Value::Array(values) => values.iter_mut().for_each(tighten),
        Value::Object(fields) => {
            let names_fields = fields.get("properties").is_some_and(Value::is_object);
            if names_fields && !fields.contains_key("additionalProperties") {
                fields.insert("additionalProperties".to_owned(), json!(false));
            }
            for (name, value) in fields {
                if name == "properties" {
                    let named = value.as_object_mut().into_iter().flatten();
                    named.for_each(|(_, schema)| tighten(schema));
                } else {
                    tighten(value);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn the_check_sees_missing_wrong_and_unknown_fields() {
    const PATH: &str = "/acs/encoders/get";
    const NONE: [&str; 0] = [];
    let good = json!({"acs_encoder": {
        "acs_encoder_id": "0198a000-0000-7000-8000-000000000001",
        "acs_system_id": "0198a000-0000-7000-8000-000000000001",
        "connected_account_id": "0198a000-0000-7000-8000-000000000001",
        "workspace_id": "0198a000-0000-7000-8000-000000000001",
        "display_name": "Front Desk",
        "created_at": "2026-11-21T10:00:00.000Z",
        "errors": [],
    }, "ok": true});
    assert_eq!(breaches(PATH, &ANSWERS[PATH], &good), NONE);
    for (field, value) in [
        ("display_name", None),
        ("display_name", Some(json!(7))),
        ("acs_encoder_id", Some(json!("front desk"))),
        ("created_at", Some(json!("yesterday"))),
        ("errors", Some(json!([{"error_code": "made_up"}]))),
        ("errors", Some(Value::Null)),
        ("colour", Some(json!("blue"))),
    ] {
        let mut bad = good.clone();
        let encoder = bad["acs_encoder"].as_object_mut().unwrap();
        encoder.remove(field);
        encoder.extend(value.clone().map(|value| (field.to_owned(), value)));
        assert_ne!(
            breaches(PATH, &ANSWERS[PATH], &bad),
            NONE,
            "{field}: {value:?}"
        );
    }
}
