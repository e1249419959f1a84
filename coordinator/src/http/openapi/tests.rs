//! That the document tells what the router has and what the readers take.

use axum::{
    body::Body,
    http::{Method, Request, StatusCode},
};
use serde_json::{Map, Value, json};

use super::*;
use crate::http::bench::Bench;

async fn text(bench: &Bench, path: &str) -> (StatusCode, String, String) {
    use tower::ServiceExt as _;
    let request = Request::get(path)
        .header("host", "localhost")
        .body(Body::empty())
        .unwrap();
    let router = crate::http::router(bench.state.clone());
    let response = router.oneshot(request).await.unwrap();
    let media = response.headers()["content-type"]
        .to_str()
        .unwrap()
        .to_owned();
    let status = response.status();
    let body = axum::body::to_bytes(response.into_body(), usize::MAX).await;
    let body = String::from_utf8(body.unwrap().to_vec()).unwrap();
    (status, media, body)
}

async fn document(bench: &Bench) -> Value {
    let (status, media, body) = text(bench, JSON_PATH).await;
    assert_eq!((status, &*media), (StatusCode::OK, "application/json"));
    serde_json::from_str(&body).unwrap()
}

#[tokio::test]
async fn every_path_is_told_and_answers_and_no_other_is_told() {
    let bench = Bench::start().await;
    let document = document(&bench).await;
    assert_eq!(document["openapi"], json!("3.1.0"));
    let told = document["paths"].as_object().unwrap();
    let (_, paths) = crate::http::routes().into_parts();
    for path in &paths {
        let item = told[path.path].as_object();
        let item = item.unwrap_or_else(|| panic!("{} is not told", path.path));
        let mut verbs: Vec<_> = item.keys().map(|verb| verb.to_uppercase()).collect();
        let mut methods: Vec<_> = path.methods.iter().map(Method::to_string).collect();
        verbs.sort_unstable();
        methods.sort_unstable();
        assert_eq!(verbs, methods, "{}", path.path);
        assert!(answer_of(path).is_some(), "{} has no answer", path.path);
        assert!(
            path.asked(&bench.state).is_finished,
            "{} must read its parameters and finish the reader before it does anything",
            path.path
        );
    }
    let mut known: Vec<_> = paths.iter().map(|path| path.path).collect();
    known.extend([JSON_PATH, PAGE_PATH]);
    for (path, item) in told {
        assert!(known.contains(&&**path), "{path} is not there");
        for verb in item.as_object().unwrap().keys() {
            let method = verb.to_uppercase().parse().unwrap();
            let answer = bench.call(method, path, &bench.key, Some(json!({}))).await;
            let missing = [StatusCode::NOT_FOUND, StatusCode::METHOD_NOT_ALLOWED];
            assert!(
                !missing.contains(&answer.status),
                "{verb} {path}: {answer:?}"
            );
        }
    }
}

#[tokio::test]
async fn every_reference_leads_somewhere_and_operations_have_names_of_their_own() {
    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Array(values) => values.iter().for_each(|it| references(it, found)),
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str));
                fields.values().for_each(|it| references(it, found));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let bench = Bench::start().await;
    let document = document(&bench).await;
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(!found.is_empty());
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    let items = document["paths"].as_object().unwrap().values();
    let operations = items.flat_map(|item| item.as_object().unwrap().values());
    let mut ids: Vec<_> = operations
        .map(|it| it["operationId"].as_str().unwrap())
        .collect();
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all);
}

#[tokio::test]
async fn the_page_shows_every_path_and_needs_nothing_from_elsewhere() {
    let bench = Bench::start().await;
    let document = document(&bench).await;
    let (status, media, page) = text(&bench, PAGE_PATH).await;
    assert_eq!(
        (status, &*media),
        (StatusCode::OK, "text/html; charset=utf-8")
    );
    for path in document["paths"].as_object().unwrap().keys() {
        assert!(page.contains(&format!("<h3 id=\"{path}\">")), "{path}");
    }
    for foreign in ["<script", "<link", "<img", "@import", "src=", "href=\"http"] {
        assert!(!page.contains(foreign), "{foreign}");
    }
}

/// A field of a request: where it is, its schema, and whether it is required.
struct Field {
    path: Vec<String>,
    schema: Value,
    is_required: bool,
}

fn fields(schema: &Value, prefix: &[String], found: &mut Vec<Field>) {
    let object = schema["allOf"].get(0).unwrap_or(schema);
    let required = object["required"].as_array().cloned().unwrap_or_default();
    for (name, schema) in object["properties"].as_object().into_iter().flatten() {
        let path = [prefix, std::slice::from_ref(name)].concat();
        fields(schema, &path, found);
        fields(
            &schema["items"],
            &[&path[..], &["0".to_owned()]].concat(),
            found,
        );
        found.push(Field {
            path,
            schema: schema.clone(),
            is_required: required.contains(&json!(name)),
        });
    }
}

/// A body with this value at this place, and nothing else.
fn body(path: &[String], value: Value) -> Value {
    match path {
        [] => value,
        [index, rest @ ..] if index == "0" => json!([body(rest, value)]),
        [name, rest @ ..] => json!({ name: body(rest, value) }),
    }
}

fn is_kind(schema: &Value, kind: &str) -> bool {
    schema["type"] == kind
        || schema["type"]
            .as_array()
            .is_some_and(|kinds| kinds.contains(&json!(kind)))
        || schema["anyOf"]
            .as_array()
            .is_some_and(|any| any.iter().any(|it| is_kind(it, kind)))
}

/// Values that the schema refuses.
fn refused(schema: &Value) -> Vec<Value> {
    let mut refused = vec![json!(true), json!({})];
    if is_kind(schema, "boolean") {
        refused = vec![json!("true"), json!(1)];
    } else if is_kind(schema, "object") {
        refused = vec![json!("text"), json!([])];
    } else if !is_kind(schema, "integer") {
        refused.push(json!(7));
    }
    if !is_kind(schema, "null") {
        refused.push(Value::Null);
    }
    if schema["enum"].is_array() || schema["format"] == "uuid" || schema["format"] == "email" {
        refused.push(json!("none such"));
    }
    if let Some(longest) = schema["maxLength"].as_u64() {
        let longest = usize::try_from(longest).unwrap();
        refused.push(json!("x".repeat(longest + 1)));
    }
    if schema["minLength"].is_u64() {
        refused.push(json!(" "));
    }
    if let Some(most) = schema["maxItems"].as_u64() {
        let most = usize::try_from(most).unwrap();
        refused.push(json!(vec!["x"; most + 1]));
    }
    if let Some(least) = schema["minimum"].as_i64() {
        refused.extend([json!(least - 1), json!(0.5)]);
    }
    if schema["items"]["enum"].is_array() || schema["items"]["format"] == "uuid" {
        refused.push(json!(["none such"]));
    }
    refused
}

/// Values that the schema takes.
fn taken(schema: &Value) -> Vec<Value> {
    let mut taken = schema["enum"].as_array().cloned().unwrap_or_default();
    if is_kind(schema, "null") {
        taken.push(Value::Null);
    }
    if is_kind(schema, "array") && schema["minItems"].is_null() {
        taken.push(json!([]));
    }
    if schema["format"] == "uuid" {
        taken.push(json!(uuid::Uuid::nil()));
    }
    if let Some(least) = schema["minimum"].as_u64() {
        taken.extend([json!(least), schema["maximum"].clone()]);
    }
    taken
}

/// What the answer says is wrong with the field or with something in it.
fn error_at<'a>(answer: &'a Value, path: &[String]) -> Option<&'a Value> {
    let tree = &answer["error"]["validation_errors"];
    path.iter().try_fold(tree, |node, name| node.get(name))
}

#[tokio::test]
async fn what_the_document_takes_and_refuses_the_readers_take_and_refuse() {
    let bench = Bench::start().await;
    let document = document(&bench).await;
    let (_, paths) = crate::http::routes().into_parts();
    let mut seen = 0;
    for path in paths.iter().filter(|path| path.needs_key()) {
        let reference = document["paths"][path.path]["post"]["requestBody"]["content"]
            ["application/json"]["schema"]["$ref"]
            .as_str()
            .unwrap();
        let schema = document
            .pointer(reference.strip_prefix('#').unwrap())
            .unwrap();
        let mut found = Vec::new();
        fields(schema, &[], &mut found);
        for field in found {
            seen += 1;
            for value in refused(&field.schema) {
                let body = body(&field.path, value);
                let answer = bench.post(path.path, body.clone()).await;
                let told = error_at(&answer.body, &field.path);
                assert!(told.is_some(), "{} takes {body}: {answer:?}", path.path);
            }
            for value in taken(&field.schema) {
                // Who gives nothing may be told that something is needed.
                let is_nothing = value.is_null() || value == json!([]);
                let body = body(&field.path, value);
                let answer = bench.post(path.path, body.clone()).await;
                let told = error_at(&answer.body, &field.path)
                    .map(Value::to_string)
                    .filter(|told| !(is_nothing && told.contains("Required, or")))
                    // What depends on another field cannot be said of one alone.
                    .filter(|told| !told.contains("goes with"));
                assert!(told.is_none(), "{} refuses {body}: {answer:?}", path.path);
            }
            if field.is_required && field.path.len() == 1 {
                let answer = bench.post(path.path, json!({})).await;
                let told = error_at(&answer.body, &field.path).unwrap();
                assert_eq!(told["_errors"], json!(["Required"]), "{}", path.path);
            }
        }
    }
    assert!(seen > 150, "{seen}");
}

#[tokio::test]
async fn one_of_the_needed_fields_is_needed_and_named() {
    let bench = Bench::start().await;
    let document = document(&bench).await;
    let mut seen = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        let Some(words) = item["post"]["description"].as_str() else {
            continue;
        };
        seen += 1;
        let name = path.trim_matches('/').replace('/', "_");
        let schema = &document["components"]["schemas"][format!("{name}_request")];
        let needs = &schema["allOf"].as_array().unwrap()[1..];
        let answer = bench.post(path, json!({})).await;
        for need in needs {
            let (rule, variants): (_, Vec<_>) = need
                .as_object()
                .unwrap()
                .iter()
                .find_map(|(rule, it)| Some((rule, it.as_array()?.iter().collect())))
                .unwrap();
            let names = variants
                .iter()
                .map(|it| it["required"][0].as_str().unwrap());
            let names: Vec<_> = names.collect();
            assert!(words.contains(&names.join(", ")), "{path}: {words}");
            let told = error_at(&answer.body, &[names[0].to_owned()]).unwrap();
            assert!(told.to_string().contains("Required, or"), "{path}: {told}");
            // An id for all of them, be it no id: whoever gives two of them is told.
            let both: Map<_, _> = names
                .iter()
                .map(|it| ((*it).to_owned(), json!("x")))
                .collect();
            let answer = bench.post(path, Value::Object(both)).await;
            let told = answer.body["error"]["validation_errors"].to_string();
            let is_told = told.contains("give only one of");
            assert_eq!(is_told, rule == "oneOf", "{path}: {told}");
        }
    }
    assert!(seen > 10, "{seen}");
}

#[tokio::test]
async fn what_a_query_may_say_is_read_from_a_query() {
    let bench = Bench::start().await;
    let document = document(&bench).await;
    let mut seen = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for verb in ["get", "delete"] {
            let parameters = item[verb]["parameters"].as_array();
            for parameter in parameters.into_iter().flatten() {
                let name = parameter["name"].as_str().unwrap();
                // What need not be there may be empty, too.
                let filled = parameter["schema"].pointer("/anyOf/0");
                let schema = filled.unwrap_or(&parameter["schema"]);
                let wrong = match schema["format"]
                    .as_str()
                    .or(schema["items"]["format"].as_str())
                {
                    Some("uuid") => "front-desk",
                    _ if is_kind(schema, "integer") => "many",
                    _ if is_kind(schema, "boolean") => "maybe",
                    _ => continue,
                };
                seen += 1;
                let method = verb.to_uppercase().parse().unwrap();
                let uri = format!("{path}?{name}={wrong}&_strict=true");
                let answer = bench.call(method, &uri, &bench.key, None).await;
                assert_eq!(answer.error(), (400, "invalid_input"), "{uri}");
                let at: Vec<_> = name.split('.').map(str::to_owned).collect();
                assert!(error_at(&answer.body, &at).is_some(), "{uri}: {answer:?}");
            }
        }
    }
    assert!(seen > 50, "{seen}");
}
