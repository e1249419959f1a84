//! The document as a page for people: one HTML file that needs nothing else, no script and no style from elsewhere.

use std::{
    fmt::{self, Write as _},
    sync::LazyLock,
};

use serde_json::{Map, Value};

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem;\
    color:#1d2733;background:#fff}h1,h2,h3{line-height:1.2}h2{margin-top:3rem;border-bottom:1px solid #d5dce4}\
    h3{margin-top:2rem;font-size:1.05rem}code,pre{font:.9em ui-monospace,monospace}pre{background:#f4f6f8;padding:.8rem;\
    overflow:auto}table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;padding:.3rem .6rem;\
    border-bottom:1px solid #e6ebf0}nav{columns:3}nav a{display:block}b.verb{background:#e6ebf0;border-radius:.2rem;\
    padding:0 .3rem;margin-right:.3rem;font-size:.8em}details{margin:.5rem 0}.need{color:#7a3d00}";

/// The page of a document.
pub(super) fn of(document: &Value) -> String {
    let mut page = String::new();
    // Writing to a string cannot fail.
    let _ = write_page(&mut page, document);
    page
}

fn write_page(page: &mut String, document: &Value) -> fmt::Result {
    let title = escaped(text(&document["info"]["title"]));
    write!(
        page,
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>{title}</title><style>{STYLE}</style><h1>{title} {}</h1><p>{}</p>\
         <p>For programs: <a href=\"/openapi.json\">/openapi.json</a>.</p>",
        escaped(text(&document["info"]["version"])),
        escaped(text(&document["info"]["description"])),
    )?;
    write_security(page, document)?;
    write!(page, "<h2>Paths</h2><nav>")?;
    for path in members(&document["paths"]).keys() {
        let path = escaped(path);
        write!(page, "<a href=\"#{path}\">{path}</a>")?;
    }
    write!(page, "</nav>")?;
    for (path, item) in members(&document["paths"]) {
        write_path(page, document, path, item)?;
    }
    write!(
        page,
        "<h2>Errors</h2><p>Each error is one of these, with its status:</p><table>"
    )?;
    for (name, response) in members(&document["components"]["responses"]) {
        let types = &document["components"]["schemas"][name]["properties"]["error"]["properties"];
        write!(
            page,
            "<tr><td>{} {}<td>{}",
            escaped(name.trim_start_matches("error_")),
            escaped(text(&response["description"])),
            choices(&types["type"]["enum"]),
        )?;
    }
    write!(page, "</table><h2>Objects</h2>")?;
    for (name, schema) in members(&document["components"]["schemas"]) {
        if is_of_a_path(name) {
            continue;
        }
        let name = escaped(name);
        write!(page, "<h3 id=\"object:{name}\">{name}</h3>")?;
        write_schema(page, schema)?;
    }
    Ok(())
}

/// Whether a schema is shown where its path is.
fn is_of_a_path(name: &str) -> bool {
    name.ends_with("_request") || name.ends_with("_answer") || name.starts_with("error_")
}

fn write_security(page: &mut String, document: &Value) -> fmt::Result {
    write!(page, "<h2>Keys</h2><table>")?;
    for (name, scheme) in members(&document["components"]["securitySchemes"]) {
        let how = match scheme["type"].as_str() {
            Some("http") => "Authorization: Bearer …".to_owned(),
            _ => format!("{}: …", text(&scheme["name"])),
        };
        write!(
            page,
            "<tr><td>{}<td><code>{}</code><td>{}",
            escaped(name),
            escaped(&how),
            escaped(text(&scheme["description"])),
        )?;
    }
    write!(page, "</table>")
}

fn write_path(page: &mut String, document: &Value, path: &str, item: &Value) -> fmt::Result {
    let operations = members(item);
    let Some(one) = operations
        .get("post")
        .or_else(|| operations.values().next())
    else {
        return Ok(());
    };
    write!(page, "<h3 id=\"{0}\">", escaped(path))?;
    for verb in operations.keys() {
        write!(
            page,
            "<b class=\"verb\">{}</b>",
            escaped(&verb.to_ascii_uppercase())
        )?;
    }
    write!(
        page,
        "<code>{}</code></h3><p>{}</p>",
        escaped(path),
        escaped(text(&one["summary"]))
    )?;
    if let Some(need) = one["description"].as_str() {
        write!(page, "<p class=\"need\">{}</p>", escaped(need))?;
    }
    let schemas = &document["components"]["schemas"];
    if let Some(request) = schema_of(&one["requestBody"]) {
        write_fields(page, &schemas[request])?;
    }
    if let Some(answer) = schema_of(&one["responses"]["200"]) {
        write!(page, "<details><summary>Answer</summary>")?;
        write_schema(page, &schemas[answer])?;
        write!(page, "</details>")?;
    }
    Ok(())
}

/// The fields of a request, whose needs stand in words above them.
fn write_fields(page: &mut String, schema: &Value) -> fmt::Result {
    let object = schema["allOf"].get(0).unwrap_or(schema);
    if members(&object["properties"]).is_empty() {
        return Ok(());
    }
    write_schema(page, object)
}

/// An object's fields as a table, anything else as its JSON.
fn write_schema(page: &mut String, schema: &Value) -> fmt::Result {
    let fields = members(&schema["properties"]);
    if fields.is_empty() {
        let json = serde_json::to_string_pretty(schema).unwrap_or_default();
        return write!(
            page,
            "<details><summary>Schema</summary><pre>{}</pre></details>",
            escaped(&json)
        );
    }
    write!(page, "<table><tr><th>Field<th>Type<th>")?;
    write_rows(page, "", schema)?;
    write!(page, "</table>")
}

fn write_rows(page: &mut String, prefix: &str, schema: &Value) -> fmt::Result {
    let required = schema["required"].as_array();
    for (name, field) in members(&schema["properties"]) {
        let is_required = required.is_some_and(|names| names.iter().any(|it| it == name));
        let path = format!("{prefix}{name}");
        write!(
            page,
            "<tr><td><code>{}</code><td>{}<td>{}{}",
            escaped(&path),
            kind(field),
            if is_required { "required. " } else { "" },
            notes(field),
        )?;
        write_rows(page, &format!("{path}."), field)?;
        write_rows(page, &format!("{path}[]."), &field["items"])?;
    }
    Ok(())
}

/// What kind of value a field takes.
fn kind(schema: &Value) -> String {
    if let Some(target) = schema["$ref"].as_str() {
        let name = escaped(last(target));
        return format!("<a href=\"#object:{name}\">{name}</a>");
    }
    for key in ["anyOf", "oneOf"] {
        if let Some(variants) = schema[key].as_array() {
            let kinds: Vec<_> = variants.iter().map(kind).collect();
            return kinds.join(" or ");
        }
    }
    let names: Vec<_> = match schema["type"].as_array() {
        Some(names) => names.iter().map(text).collect(),
        None => vec![text(&schema["type"])],
    };
    let mut kind = escaped(&names.join(" or "));
    if let Some(format) = schema["format"].as_str() {
        kind = format!("{kind} ({})", escaped(format));
    }
    if schema["items"].is_object() {
        kind = format!("{kind} of {}", self::kind(&schema["items"]));
    }
    kind
}

/// What else is to be known of a field: its words, choices and limits.
fn notes(schema: &Value) -> String {
    let mut notes = escaped(text(&schema["description"]));
    if schema["enum"].is_array() {
        notes = format!("{notes} {}", choices(&schema["enum"]));
    }
    for (key, words) in [
        ("default", "default"),
        ("minimum", "at least"),
        ("minLength", "characters, at least"),
        ("maxLength", "characters, at most"),
        ("minItems", "elements, at least"),
        ("maxItems", "elements, at most"),
    ] {
        if let Some(limit) = schema.get(key).filter(|limit| !limit.is_null()) {
            notes = format!("{notes} {words} {};", escaped(&limit.to_string()));
        }
    }
    notes
}

/// The name of the schema of a request's or answer's JSON.
fn schema_of(content: &Value) -> Option<&str> {
    let schema = &content["content"]["application/json"]["schema"];
    schema["$ref"].as_str().map(last)
}

fn choices(values: &Value) -> String {
    let values = values.as_array().map(Vec::as_slice).unwrap_or_default();
    let codes: Vec<_> = values
        .iter()
        .map(|value| format!("<code>{}</code>", escaped(value.as_str().unwrap_or("null"))))
        .collect();
    codes.join(" ")
}

fn members(value: &Value) -> &Map<String, Value> {
    static NONE: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);
    value.as_object().unwrap_or(&NONE)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn last(target: &str) -> &str {
    target.rsplit_once('/').map_or(target, |(_, name)| name)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_document_says_cannot_become_markup() {
        let document = json!({"info": {"title": "<script>\"&", "version": "1"}});
        let page = of(&document);
        assert!(page.contains("&lt;script&gt;&quot;&amp;"));
        assert!(!page.contains("<script"));
    }
}
