//! Every statement in the sources: those that stand there whole are put before the planner as they are, those that are built
//! are run by the requests below.

use std::{fs, path::Path};

use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::http::bench::Bench;

/// How a statement begins.
const VERBS: [&str; 6] = [
    "SELECT ", "INSERT ", "UPDATE ", "DELETE ", "WITH ", "REPLACE ",
];

#[tokio::test]
async fn every_statement_has_an_index() {
    let bench = Bench::start().await;
    ask_for_everything(&bench).await;
    settle(&bench).await;
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut statements = Vec::new();
    collect(&sources, &mut statements);
    assert!(statements.len() > 120, "{} statements", statements.len());
    let mut conn = bench.state.store.read().await.unwrap();
    for sql in statements {
        // The recorder has looked at the statements that are built from this.
        if is_built_upon(&sql) {
            continue;
        }
        let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
        let is_whole = sqlx::query(explain).fetch_all(&mut *conn).await.is_ok();
        assert!(
            is_whole,
            "a statement is built from this, and no request of this test runs it: {sql}"
        );
        if let Some(scan) = scan_of(&mut conn, &sql).await {
            panic!("{scan}");
        }
    }
}

/// Lists everything by every filter.
async fn ask_for_everything(bench: &Bench) {
    let (system, key) = (bench.system, "k");
    let door = bench.entrance(system, "Room 101").await;
    let space = json!({"name": "Rooms", "space_key": key, "acs_entrance_ids": [door]});
    let space = bench.post("/spaces/create", space).await.ok("space")["space_id"].clone();
    let person =
        json!({"full_name": "Jane", "email_address": "j@example.com", "user_identity_key": key});
    let person = bench.post("/user_identities/create", person).await;
    let person = person.ok("user_identity")["user_identity_id"].clone();
    let grant = json!({
        "user_identity_id": person,
        "access_grant_key": key,
        "space_ids": [space],
        "requested_access_methods": [{"mode": "card"}],
    });
    let grant = bench.post("/access_grants/create", grant).await;
    let grant = grant.ok("access_grant").clone();
    let (grant, method) = (&grant["access_grant_id"], &grant["access_method_ids"][0]);
    let list = json!({"acs_system_id": system});
    let cards = bench.post("/acs/credentials/list", list).await;
    let credential = cards.ok("acs_credentials")[0].clone();
    let (credential, user) = (&credential["acs_credential_id"], &credential["acs_user_id"]);
    let account = bench
        .get(&format!("/acs/systems/get?acs_system_id={system}"))
        .await;
    let account = account.ok("acs_system")["connected_account_id"].clone();
    let encoder = Uuid::new_v4();
    let before = "created_before=2030-01-01";
    let since = "/events/list?since=2020-01-01";
    let asked = [
        format!("/acs/credentials/list?acs_user_id={user}&search=x&{before}"),
        format!("/acs/credentials/list?acs_user_id={user}&search=xyz"),
        format!("/acs/credentials/list?acs_system_id={system}"),
        format!("/acs/credentials/list?acs_system_id={system}&acs_user_id={user}"),
        format!("/acs/credentials/list?user_identity_id={person}"),
        format!("/acs/credentials/list_accessible_entrances?acs_credential_id={credential}"),
        format!("/acs/credentials/unmanaged/list?acs_system_id={system}"),
        format!("/acs/users/list?acs_system_id={system}&search=x&{before}"),
        format!("/acs/users/list?acs_system_id={system}&search=xyz"),
        "/acs/users/list".to_owned(),
        format!("/acs/users/list?user_identity_id={person}"),
        format!("/acs/users/list?user_identity_id={person}&acs_system_id={system}"),
        "/acs/users/list?user_identity_email_address=j@example.com".to_owned(),
        "/acs/users/list?user_identity_phone_number=1".to_owned(),
        "/acs/entrances/list".to_owned(),
        format!("/acs/entrances/list?acs_system_id={system}&search=x"),
        format!("/acs/entrances/list?acs_credential_id={credential}"),
        format!("/acs/entrances/list?space_id={space}"),
        format!("/acs/entrances/list?acs_entrance_ids={door}"),
        format!("/acs/entrances/list?connected_account_id={account}"),
        format!("/acs/encoders/list?acs_system_id={system}"),
        format!("/acs/encoders/list?acs_encoder_ids={encoder}"),
        "/acs/systems/list?search=x".to_owned(),
        format!("/acs/systems/list?connected_account_id={account}"),
        format!("/user_identities/list?search=x&{before}"),
        "/user_identities/list?search=xyz".to_owned(),
        format!("/user_identities/list?user_identity_ids={person}"),
        format!("/user_identities/get?user_identity_key={key}"),
        "/spaces/list?search=x".to_owned(),
        format!("/spaces/get?space_key={key}"),
        "/access_grants/list".to_owned(),
        format!("/access_grants/list?access_grant_ids={grant}"),
        format!("/access_grants/list?access_grant_key={key}"),
        "/access_grants/list?reservation_key=x".to_owned(),
        format!("/access_grants/list?user_identity_id={person}"),
        format!("/access_grants/list?space_id={space}"),
        format!("/access_grants/list?acs_entrance_id={door}"),
        format!("/access_grants/list?acs_system_id={system}"),
        format!("/access_grants/get?access_grant_key={key}"),
        format!("/access_grants/get_related?access_grant_ids={grant}"),
        "/access_methods/list".to_owned(),
        format!("/access_methods/list?access_grant_id={grant}"),
        format!("/access_methods/list?acs_entrance_id={door}"),
        format!("/access_methods/list?space_id={space}"),
        format!("/access_methods/get_related?access_method_ids={method}"),
        "/action_attempts/list".to_owned(),
        format!("/action_attempts/list?action_attempt_ids={encoder}"),
        since.to_owned(),
        "/events/list?between=2020-01-01&between=2030-01-01".to_owned(),
        format!("{since}&event_type=acs_user.created"),
        format!("{since}&event_types=acs_user.created&event_types=acs_user.deleted"),
        format!("{since}&event_type=acs_user.created&acs_system_id={system}"),
        format!(
            "{since}&event_type=acs_user.created&acs_user_id={}",
            text(user)
        ),
        format!("{since}&event_ids={encoder}&event_ids={encoder}"),
        format!("{since}&acs_system_ids={system}"),
        format!("{since}&connected_account_id={}", text(&account)),
        format!("{since}&acs_credential_id={}", text(credential)),
        format!("{since}&acs_encoder_id={encoder}"),
        format!("{since}&acs_entrance_id={door}"),
        format!(
            "{since}&access_grant_ids={0}&access_grant_ids={0}",
            text(grant)
        ),
        format!(
            "{since}&access_method_ids={0}&access_method_ids={0}",
            text(method)
        ),
    ];
    for path in asked {
        // Ids are JSON texts up to here.
        bench.get(&path.replace('"', "")).await.ok("ok");
    }
}

fn text(id: &serde_json::Value) -> &str {
    id.as_str().unwrap()
}

/// Waits until every connection has reported what it ran.
async fn settle(bench: &Bench) {
    let store = &bench.state.store;
    let mut readers = Vec::new();
    for _ in 0..super::super::READERS {
        readers.push(store.read().await.unwrap());
    }
    for conn in &mut readers {
        sqlx::query("SELECT 1").execute(&mut **conn).await.unwrap();
    }
    let mut writer = store.writer().await;
    sqlx::query("SELECT 1").execute(&mut *writer).await.unwrap();
}

/// Every text below a folder that begins as a statement, tests aside.
fn collect(folder: &Path, statements: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if name != "tests" {
                collect(&path, statements);
            }
        } else if name.ends_with(".rs") && !["tests.rs", "statements.rs"].contains(&name.as_str()) {
            let source = fs::read_to_string(&path).unwrap();
            let source = source.split("#[cfg(test)]\nmod tests {").next().unwrap();
            let found = texts(source).into_iter();
            let is_statement = |text: &String| VERBS.iter().any(|verb| text.starts_with(verb));
            statements.extend(found.filter(is_statement));
        }
    }
}

/// The texts in a source, as the program sees them.
fn texts(source: &str) -> Vec<String> {
    let mut texts = Vec::new();
    for line_or_text in source.split("//").enumerate().map(|(index, part)| {
        // What follows a comment sign counts again from the next line on.
        if index == 0 {
            part
        } else {
            part.split_once('\n').map_or("", |(_, rest)| rest)
        }
    }) {
        let mut rest = line_or_text;
        while let Some(start) = rest.find('"') {
            let (text, after) = text_of(&rest[start + 1..]);
            texts.push(text);
            rest = after;
        }
    }
    texts
}

/// A text up to its closing sign, its escapes resolved, and what follows.
fn text_of(source: &str) -> (String, &str) {
    let mut text = String::new();
    let mut chars = source.char_indices().peekable();
    while let Some((index, char)) = chars.next() {
        match char {
            '"' => return (text, &source[index + 1..]),
            '\\' => match chars.next() {
                Some((_, '\n')) => {
                    while chars.next_if(|(_, next)| next.is_whitespace()).is_some() {}
                }
                Some((_, escaped)) => text.push(escaped),
                None => break,
            },
            other => text.push(other),
        }
    }
    (text, "")
}
