//! The document itself, made of what the paths ask for and answer.

use axum::http::{Method, StatusCode};
use serde_json::{Map, Value, json};
use utoipa::openapi::{
    Components, Content, ContentBuilder, HttpMethod, Info, InfoBuilder, License, ObjectBuilder,
    OpenApi, OpenApiBuilder, PathItem, PathsBuilder, Ref, RefOr, Required, Response,
    ResponseBuilder, ServerBuilder, Tag,
    header::HeaderBuilder,
    path::{
        Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn, PathItemBuilder,
    },
    request_body::{RequestBody, RequestBodyBuilder},
    schema::{SchemaFormat, Type},
    security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityRequirement, SecurityScheme},
    tag::TagBuilder,
};

use super::{JSON_PATH, PAGE_PATH, answer_of, components};
use crate::{
    http::{
        asked::{Asked, schema_json, schema_ref},
        error::error_types,
        frame::REQUEST_ID,
        routes::Path,
    },
    state::AppState,
};

const JSON: &str = "application/json";

const ABOUT: &str = "Card encoders over HTTP, as the Seam card guides describe them. Reads are taken as GET with a query \
    or as POST with a JSON body, changes as POST or as the verb that names them. In a query a key given several times \
    is a list, `a=` is null or an empty list, and `b.c=1` is field `c` of object `b`. Null counts as absent unless a \
    field's own words say otherwise, and unknown parameters are ignored. Times are RFC 3339 in UTC.";

/// What the server answers before it reads a request, with nothing in it.
const TOO_LONG: [(u16, &str); 2] = [
    (414, "The query is too long: POST the same as a body"),
    (431, "The head is too long: POST the same as a body"),
];

const API_KEY: &str = "api_key";
const TOKEN: &str = "personal_access_token";
const WORKSPACE: &str = "seam_workspace";

/// The document of these paths.
pub(super) fn of(paths: &[Path], state: &AppState) -> Value {
    let mut schemas = components();
    schemas.insert("validation_errors".to_owned(), validation_errors());
    let mut listed = PathsBuilder::new();
    let mut tags: Vec<Tag> = Vec::new();
    for path in paths {
        let asked = path.asked(state);
        let name = name_of(path.path);
        let body = schema_json(&asked.body());
        schemas.insert(format!("{name}_request"), body);
        if let Some(answer) = answer_of(path) {
            schemas.insert(format!("{name}_answer"), answer);
        }
        listed = listed.path(path.path, item(path, &asked, &name));
        let tag = tag_of(path.path);
        if tags.iter().all(|known| known.name != tag) {
            tags.push(TagBuilder::new().name(tag).build());
        }
    }
    for (path, item) in of_the_document() {
        listed = listed.path(path, item);
    }
    let errors = error_types();
    let mut shared = Components::new();
    for (status, types) in &errors {
        let name = format!("error_{}", status.as_u16());
        schemas.insert(name.clone(), error_schema(types));
        shared
            .responses
            .insert(name.clone(), RefOr::T(error_answer(*status, &name)));
    }
    for (status, words) in TOO_LONG {
        let response = ResponseBuilder::new().description(words).build();
        let name = format!("error_{status}");
        shared.responses.insert(name, RefOr::T(response));
    }
    add_security(&mut shared);
    let document = OpenApiBuilder::new()
        .info(info())
        .servers(Some([ServerBuilder::new().url("/").build()]))
        .paths(listed)
        .tags(Some(tags))
        .components(Some(shared))
        .build();
    complete(&document, schemas)
}

/// The document as JSON, with the schemas, which are JSON already.
fn complete(document: &OpenApi, schemas: Map<String, Value>) -> Value {
    // The types of a document have text keys only, so they can be written as JSON.
    let mut document = serde_json::to_value(document).unwrap_or_default();
    document["components"]["schemas"] = Value::Object(schemas);
    document
}

fn info() -> Info {
    let license = License::new(env!("CARGO_PKG_LICENSE"));
    InfoBuilder::new()
        .title("encoder-coordinator")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(ABOUT))
        .license(Some(license))
        .build()
}

/// The name of a path in other names: `/acs/encoders/get` is `acs_encoders_get`.
fn name_of(path: &str) -> String {
    path.trim_matches('/').replace('/', "_")
}

/// The resource of a path: `/acs/encoders/get` belongs to `acs/encoders`.
fn tag_of(path: &str) -> String {
    let path = path.trim_matches('/');
    path.rsplit_once('/')
        .map_or(path, |(tag, _)| tag)
        .to_owned()
}

fn item(path: &Path, asked: &Asked, name: &str) -> PathItem {
    let mut item = PathItemBuilder::new();
    for method in path.methods {
        let Some(verb) = verb(method) else { continue };
        item = item.operation(verb, operation(path, asked, name, method));
    }
    item.build()
}

fn verb(method: &Method) -> Option<HttpMethod> {
    match method.as_str() {
        "GET" => Some(HttpMethod::Get),
        "POST" => Some(HttpMethod::Post),
        "PUT" => Some(HttpMethod::Put),
        "PATCH" => Some(HttpMethod::Patch),
        "DELETE" => Some(HttpMethod::Delete),
        _ => None,
    }
}

fn operation(path: &Path, asked: &Asked, name: &str, method: &Method) -> Operation {
    let verb = method.as_str().to_ascii_lowercase();
    let mut operation = OperationBuilder::new()
        .operation_id(Some(format!("{name}_{verb}")))
        .tag(tag_of(path.path))
        .summary(Some(path.summary))
        .response("200", done(name));
    if !asked.needs.is_empty() {
        let words: Vec<_> = asked.needs.iter().map(|need| need.words()).collect();
        operation = operation.description(Some(words.join(" ")));
    }
    for status in error_types().keys() {
        if path.needs_key() || *status != StatusCode::UNAUTHORIZED {
            let code = status.as_u16();
            let answer = Ref::from_response_name(format!("error_{code}"));
            operation = operation.response(code.to_string(), answer);
        }
    }
    if path.needs_key() {
        operation = operation
            .security(SecurityRequirement::new::<_, [&str; 0], &str>(API_KEY, []))
            .security(
                SecurityRequirement::new::<_, [&str; 0], &str>(TOKEN, [])
                    .add::<_, [&str; 0], &str>(WORKSPACE, []),
            );
    } else {
        operation = operation.security(SecurityRequirement::default());
        return operation.build();
    }
    let in_query = [Method::GET, Method::DELETE].contains(method);
    if in_query {
        for (status, _) in TOO_LONG {
            let answer = Ref::from_response_name(format!("error_{status}"));
            operation = operation.response(status.to_string(), answer);
        }
        operation.parameters(Some(query(asked))).build()
    } else {
        operation.request_body(Some(body(name))).build()
    }
}

fn query(asked: &Asked) -> Vec<Parameter> {
    let fields = asked.query().into_iter();
    fields
        .map(|field| {
            ParameterBuilder::new()
                .name(field.name)
                .parameter_in(ParameterIn::Query)
                .required(if field.is_required {
                    Required::True
                } else {
                    Required::False
                })
                .schema(Some(field.schema))
                .build()
        })
        .collect()
}

fn body(name: &str) -> RequestBody {
    RequestBodyBuilder::new()
        .content(
            JSON,
            Content::new(Some(schema_ref(&format!("{name}_request")))),
        )
        .required(Some(Required::True))
        .build()
}

fn done(name: &str) -> Response {
    let content = Content::new(Some(schema_ref(&format!("{name}_answer"))));
    with_request_id(
        ResponseBuilder::new()
            .description("Done")
            .content(JSON, content),
    )
}

fn with_request_id(response: ResponseBuilder) -> Response {
    let id = ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(SchemaFormat::Custom("uuid".to_owned())));
    let header = HeaderBuilder::new()
        .schema(Some(id))
        .description(Some("Names the request in the service's log."))
        .build();
    response.header(REQUEST_ID.as_str(), header).build()
}

/// The document's own paths, which anybody may read.
fn of_the_document() -> [(&'static str, PathItem); 2] {
    let item = |name: &str, summary: &str, media: &str, content: Content| {
        let response = ResponseBuilder::new()
            .description("Done")
            .content(media, content);
        let operation = OperationBuilder::new()
            .operation_id(Some(name))
            .tag("document")
            .summary(Some(summary))
            .security(SecurityRequirement::default())
            .response("200", with_request_id(response))
            .response("421", Ref::from_response_name("error_421"));
        PathItem::new(HttpMethod::Get, operation)
    };
    let json = ContentBuilder::new()
        .schema(Some(ObjectBuilder::new()))
        .build();
    let page = ObjectBuilder::new().schema_type(Type::String);
    let page = ContentBuilder::new().schema(Some(page)).build();
    [
        (
            JSON_PATH,
            item("openapi_json", "Returns this document.", JSON, json),
        ),
        (
            PAGE_PATH,
            item("docs", "Shows this document to people.", "text/html", page),
        ),
    ]
}

fn error_answer(status: StatusCode, schema: &str) -> Response {
    let why = status.canonical_reason().unwrap_or("Error");
    let content = Content::new(Some(schema_ref(schema)));
    with_request_id(
        ResponseBuilder::new()
            .description(why)
            .content(JSON, content),
    )
}

fn error_schema(types: &[String]) -> Value {
    json!({
        "type": "object",
        "properties": {
            "error": {
                "type": "object",
                "properties": {
                    "type": {"type": "string", "enum": types},
                    "message": {"type": "string"},
                    "data": {"type": "object", "description": "What programs may want besides the message."},
                    "validation_errors": {"$ref": "#/components/schemas/validation_errors"},
                },
                "required": ["type", "message"],
            },
            "ok": {"type": "boolean", "enum": [false]},
        },
        "required": ["error", "ok"],
    })
}

/// A tree that mirrors the request.
fn validation_errors() -> Value {
    json!({
        "type": "object",
        "properties": {"_errors": {"type": "array", "items": {"type": "string"}}},
        "required": ["_errors"],
        "additionalProperties": {"$ref": "#/components/schemas/validation_errors"},
    })
}

fn add_security(components: &mut Components) {
    let bearer = |words: &str| {
        let mut http = Http::new(HttpAuthScheme::Bearer);
        http.description = Some(words.to_owned());
        SecurityScheme::Http(http)
    };
    components.add_security_scheme(
        API_KEY,
        bearer(
            "An API key, `seam_…`, which opens one workspace: `encoder-coordinator key create`.",
        ),
    );
    components.add_security_scheme(
        TOKEN,
        bearer("A personal access token, `seam_at…`: `encoder-coordinator token create`."),
    );
    components.add_security_scheme(
        WORKSPACE,
        SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(
            "seam-workspace",
            "The id of the workspace that a personal access token is used for.",
        ))),
    );
}
