//! What the paths answer: the published API document, of which `openapi/seam.json` is a subset, with the differences of
//! this service.
//!
//! Where this service differs on purpose, [`FIELDS`], [`guide_vocabulary`], [`unassigned_cards`] and [`copied_agents`] say how
//! and why; there is no other place for it.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

/// A field that this service answers although the document does not name it.
struct Field {
    /// The objects that have it: those that the document gives all of these fields.
    of: &'static [&'static str],
    name: &'static str,
    schema: fn() -> Value,
    /// Why it is there.
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
        of: &["access_methods", "ok"],
        name: "pagination",
        schema: || json!({"$ref": "#/components/schemas/pagination"}),
        why: "access methods are listed page by page too: without a filter, and of a space or an entrance, there may be \
              thousands",
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

static PUBLISHED: LazyLock<Value> = LazyLock::new(|| {
    let subset = include_str!("../../../openapi/seam.json");
    // The subset is part of the program, and the tests read it.
    let mut document: Value = serde_json::from_str(subset).unwrap_or_default();
    guide_vocabulary(&mut document);
    unassigned_cards(&mut document);
    copied_agents(&mut document);
    adapt(&mut document, true);
    document
});

/// The schemas that the answers share.
pub(super) fn components() -> Map<String, Value> {
    let schemas = PUBLISHED["components"]["schemas"].as_object();
    schemas.cloned().unwrap_or_default()
}

/// What a path answers on success.
pub(super) fn of_path(path: &str) -> Option<Value> {
    let operations = PUBLISHED["paths"][path].as_object()?;
    let any_method = operations.values().next()?;
    let answer = &any_method["responses"]["200"]["content"]["application/json"]["schema"];
    answer.is_object().then(|| answer.clone())
}

/// The key's vocabulary `guide`, which is the default: the card guides say `ENCODE_ACCESS_METHOD`, whose result is the
/// access method, and `no_card_on_encoder`. Each error of a card may end each action with a card.
fn guide_vocabulary(document: &mut Value) {
    let access_method = json!({"$ref": "#/components/schemas/access_method"});
    let attempt = &mut document["components"]["schemas"]["action_attempt"];
    let Some(variants) = attempt["oneOf"].as_array_mut() else {
        return;
    };
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
        if let Some(credential) = document.pointer_mut(&answer) {
            *credential = json!({"oneOf": [
                {"$ref": "#/components/schemas/acs_credential"},
                {"$ref": "#/components/schemas/unmanaged_acs_credential"},
            ]});
        }
    }
}

/// The event `acs_system.agent_copied`: the token or the disk of an agent is on a second PC. The document has events of devices
/// and systems, none of which says so; `acs_system.disconnected` would say that no card can be encoded, which is not so.
fn copied_agents(document: &mut Value) {
    let events = document.pointer_mut("/components/schemas/event/oneOf");
    let Some(events) = events.and_then(Value::as_array_mut) else {
        return;
    };
    let named = |event: &&Value| event["properties"]["event_type"]["enum"][0] == "acs_system.added";
    let Some(mut event) = events.iter().find(named).cloned() else {
        return;
    };
    event["properties"]["event_type"]["enum"] = json!(["acs_system.agent_copied"]);
    for (name, schema) in [
        ("agent_id", json!({"type": "string", "format": "uuid"})),
        ("agent_name", json!({"type": "string"})),
        ("detail", json!({"type": "string"})),
    ] {
        event["properties"][name] = schema;
        if let Some(required) = event["required"].as_array_mut() {
            required.push(json!(name));
        }
    }
    events.push(event);
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

/// Turns schemas of `OpenAPI` 3.0 into those of 3.1. `is_map`: the value maps names to anything.
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
    if let Some(known) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        for field in FIELDS {
            if field.of.iter().all(|name| known.contains_key(*name)) {
                known.entry(field.name).or_insert_with(|| {
                    let mut schema = (field.schema)();
                    if schema.get("$ref").is_none() {
                        schema["description"] = json!(field.why);
                    }
                    schema
                });
            }
        }
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
