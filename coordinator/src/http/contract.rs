//! Checks every answer of the tests against the published API document, of which `openapi/seam.json` is a subset.
//!
//! The check is stricter than the document: a field that it does not name is an error too. Where this service differs
//! on purpose, [`FIELDS`], [`guide_vocabulary`] and [`unassigned_cards`] say how and why; there is no other place for it.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use axum::http::Method;
use jsonschema::Validator;
use serde_json::{Map, Value, json};

/// A field that this service answers although the document does not name it.
struct Field {
    /// The objects that have it: those that the document gives all of these fields.
    of: &'static [&'static str],
    name: &'static str,
    schema: fn() -> Value,
    /// Why it is there.
    #[expect(dead_code, reason = "for readers of the list")]
    why: &'static str,
}

const FIELDS: &[Field] = &[
    Field {
        of: &["acs_credentials", "ok"],
        name: "pagination",
        schema: || json!({"$ref": "#/components/schemas/pagination"}),
        why: "registered cards are listed page by page too, as there may be thousands",
    },
    Field {
        of: &["access_method_id", "is_encoding_required"],
        name: "card_number",
        schema: || json!({"type": ["string", "null"]}),
        why: "the card guide prints it in the result of ENCODE_ACCESS_METHOD",
    },
    Field {
        of: &["access_method_id", "access_grant_ids", "event_type"],
        name: "acs_system_id",
        schema: || json!({"type": "string", "format": "uuid"}),
        why: "the card guide prints it in access_method.issued",
    },
    Field {
        of: &["access_method_id", "access_grant_ids", "event_type"],
        name: "connected_account_id",
        schema: || json!({"type": "string", "format": "uuid"}),
        why: "the card guide prints it in access_method.issued",
    },
    Field {
        of: &["card_function_type", "joiner_acs_credential_ids"],
        name: "card_format",
        schema: || json!({"enum": ["TLCode", "rfid48"]}),
        why: "what was asked for with the credential is shown with it",
    },
    Field {
        of: &["card_function_type", "joiner_acs_credential_ids"],
        name: "override",
        schema: || json!({"type": "boolean"}),
        why: "what was asked for with the credential is shown with it",
    },
    Field {
        of: &["door_names", "key_issuing_request_id"],
        name: "join_all_guest_acs_entrances",
        schema: || json!({"type": "boolean"}),
        why: "what was asked for with the credential is shown with it",
    },
    Field {
        of: &["door_names", "key_issuing_request_id"],
        name: "override_all_guest_acs_entrances",
        schema: || json!({"type": "boolean"}),
        why: "what was asked for with the credential is shown with it",
    },
    Field {
        of: &["acs_credential_id", "assa_abloy_vostio_metadata"],
        name: "salto_space_metadata",
        schema: || flags(&["assign_new_key", "update_current_key"]),
        why: "what was asked for with the credential is shown with it",
    },
    Field {
        of: &["acs_credential_id", "assa_abloy_vostio_metadata"],
        name: "hotek_metadata",
        schema: || flags(&["auto_join", "override"]),
        why: "what was asked for with the credential is shown with it",
    },
    Field {
        of: &["type", "message"],
        name: "touched",
        schema: || json!({"enum": ["untouched", "unknown", "written"]}),
        why: "says whether a byte of the card may have changed",
    },
    Field {
        of: &["type", "message"],
        name: "hardware",
        schema: || {
            json!({
                "type": "object",
                "properties": {
                    "driver": {"type": "string"},
                    "code": {"type": "string"},
                    "meaning": {"type": "string"},
                },
                "required": ["driver", "code", "meaning"],
            })
        },
        why: "the device's own code",
    },
];

/// An object of flags.
fn flags(names: &[&str]) -> Value {
    let flags = names
        .iter()
        .map(|name| ((*name).to_owned(), json!({"type": "boolean"})));
    let flags: Map<_, _> = flags.collect();
    json!({"type": "object", "properties": flags, "additionalProperties": false})
}

/// Errors of cards that the document gives only some of the card actions.
const CARD_ERRORS: &[&str] = &[
    "no_credential_on_encoder",
    "encoder_not_online",
    "encoder_communication_timeout",
    "bridge_disconnected",
];

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let mut document: Value =
        serde_json::from_str(include_str!("../../openapi/seam.json")).unwrap();
    guide_vocabulary(&mut document);
    unassigned_cards(&mut document);
    adapt(&mut document["components"]["schemas"], true);
    document
});

static VALIDATORS: LazyLock<Mutex<HashMap<String, Arc<Validator>>>> = LazyLock::new(Mutex::default);

/// Every path of the document, with the methods that it takes.
pub(super) fn paths() -> Vec<(String, Vec<Method>)> {
    let paths = DOCUMENT["paths"].as_object().unwrap();
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

/// Fails the test where a successful answer is not what the document says. Paths that it lacks are not looked at.
pub(super) fn check(path: &str, body: &Value) {
    let Some(operation) = DOCUMENT["paths"][path].as_object() else {
        return;
    };
    let validator = {
        // A test that failed elsewhere leaves the map as good as it was.
        let mut validators = VALIDATORS.lock().unwrap_or_else(PoisonError::into_inner);
        let known = validators.entry(path.to_owned());
        let validator = known.or_insert_with(|| Arc::new(validator_of(operation)));
        Arc::clone(validator)
    };
    let errors: Vec<_> = validator
        .iter_errors(body)
        .map(|error| format!("{} at {}", error, error.instance_path()))
        .collect();
    assert!(
        errors.is_empty(),
        "{path} breaks the document: {}\n{body:#}",
        errors.join("; ")
    );
}

fn validator_of(operation: &Map<String, Value>) -> Validator {
    let any_method = operation.values().next().unwrap();
    let answer = &any_method["responses"]["200"]["content"]["application/json"]["schema"];
    let mut schema = answer.clone();
    adapt(&mut schema, false);
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
                let component = &DOCUMENT["components"]["schemas"][name];
                needed.insert(name.to_owned(), component.clone());
                collect_components(component, needed);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The key's vocabulary `guide`, which is the default: the card guides say `ENCODE_ACCESS_METHOD`, whose result is the
/// access method, and `no_card_on_encoder`. Each error of a card may end each action with a card.
fn guide_vocabulary(document: &mut Value) {
    let access_method = json!({"$ref": "#/components/schemas/access_method"});
    let variants = document["components"]["schemas"]["action_attempt"]["oneOf"]
        .as_array_mut()
        .unwrap();
    let mut added = Vec::new();
    for variant in variants.iter_mut() {
        let errors = variant.pointer_mut("/properties/error/oneOf");
        if let Some(errors) = errors.and_then(Value::as_array_mut) {
            complete_errors(errors);
        }
        if variant["properties"]["action_type"]["enum"][0] == "ENCODE_CREDENTIAL" {
            let mut guide = variant.clone();
            guide["properties"]["action_type"]["enum"] = json!(["ENCODE_ACCESS_METHOD"]);
            if guide["properties"]["status"]["enum"][0] == "success" {
                guide["properties"]["result"] = access_method.clone();
            }
            added.push(guide);
        }
    }
    variants.append(&mut added);
}

/// A registered card that is unassigned is unmanaged from then on, which the answer says although the document has only
/// managed credentials there.
fn unassigned_cards(document: &mut Value) {
    for method in ["patch", "post"] {
        let answer = format!(
            "/paths/~1acs~1credentials~1unassign/{method}/responses/200/content/application~1json/schema\
             /properties/acs_credential"
        );
        let credential = document.pointer_mut(&answer).unwrap();
        *credential = json!({"oneOf": [
            {"$ref": "#/components/schemas/acs_credential"},
            {"$ref": "#/components/schemas/unmanaged_acs_credential"},
        ]});
    }
}

fn complete_errors(errors: &mut Vec<Value>) {
    let Some(first) = errors.first().cloned() else {
        return;
    };
    let mut named = |name: &str| {
        let known = errors
            .iter()
            .any(|error| error["properties"]["type"]["enum"][0] == name);
        if !known {
            let mut error = first.clone();
            error["properties"]["type"]["enum"] = json!([name]);
            errors.push(error);
        }
    };
    named("no_card_on_encoder");
    for name in CARD_ERRORS {
        named(name);
    }
}

/// Turns an `OpenAPI` 3.0 schema into a JSON schema that also refuses unknown fields. `is_map`: the value maps names to
/// schemas.
fn adapt(value: &mut Value, is_map: bool) {
    match value {
        Value::Array(values) => {
            for value in values {
                adapt(value, false);
            }
        }
        Value::Object(fields) if is_map => {
            for value in fields.values_mut() {
                adapt(value, false);
            }
        }
        Value::Object(fields) => adapt_schema(fields),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn adapt_schema(schema: &mut Map<String, Value>) {
    for (key, value) in &mut *schema {
        match key.as_str() {
            "enum" | "required" => {}
            name => adapt(value, name == "properties"),
        }
    }
    let known = schema
        .get_mut("properties")
        .and_then(Value::as_object_mut)
        .map(|known| {
            for field in FIELDS {
                if field.of.iter().all(|name| known.contains_key(*name)) {
                    known.entry(field.name).or_insert_with(field.schema);
                }
            }
        });
    if known.is_some() && !schema.contains_key("additionalProperties") {
        schema.insert("additionalProperties".to_owned(), json!(false));
    }
    if schema.remove("nullable") == Some(json!(true)) {
        make_nullable(schema);
    }
}

fn make_nullable(schema: &mut Map<String, Value>) {
    if let Some(values) = schema.get_mut("enum").and_then(Value::as_array_mut) {
        values.push(Value::Null);
    }
    if let Some(name) = schema.get("type").cloned() {
        schema.insert("type".to_owned(), json!([name, "null"]));
    } else if let Some(variants) = schema.remove("oneOf") {
        schema.insert(
            "anyOf".to_owned(),
            json!([{"oneOf": variants}, {"type": "null"}]),
        );
    } else {
        // "Null for pending action attempts", says the document of fields that have no type.
        schema.insert("type".to_owned(), json!("null"));
    }
}

#[test]
fn the_check_sees_missing_wrong_and_unknown_fields() {
    let good = json!({"acs_encoder": {
        "acs_encoder_id": "0198a000-0000-7000-8000-000000000001",
        "acs_system_id": "0198a000-0000-7000-8000-000000000001",
        "connected_account_id": "0198a000-0000-7000-8000-000000000001",
        "workspace_id": "0198a000-0000-7000-8000-000000000001",
        "display_name": "Front Desk",
        "created_at": "2026-11-21T10:00:00.000Z",
        "errors": [],
    }, "ok": true});
    check("/acs/encoders/get", &good);
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
        let checked = std::panic::catch_unwind(|| check("/acs/encoders/get", &bad));
        assert!(checked.is_err(), "{field}: {value:?}");
    }
}
