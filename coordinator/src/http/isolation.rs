//! Workspaces are strictly apart: with a key to one, the ids, keys and cursors of another lead nowhere.

mod neighbour;
mod requesters;
mod requests;
mod walked;

use axum::http::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use super::bench::{Answered, Bench};
use crate::desk::DeskSettings;
use neighbour::Neighbour;

/// The lists that need no filter.
const LISTS: [&str; 11] = [
    "/acs/systems/list",
    "/acs/entrances/list",
    "/acs/users/list",
    "/acs/credentials/list",
    "/acs/credentials/unmanaged/list",
    "/user_identities/list",
    "/spaces/list",
    "/access_grants/list",
    "/access_methods/list",
    "/action_attempts/list",
    "/webhooks/list",
];

/// What every list of a workspace holds, without any filter.
async fn lists(bench: &Bench, key: &str) -> Vec<Answered> {
    let mut answers = Vec::new();
    for path in LISTS {
        answers.push(bench.post_as(key, path, json!({})).await);
    }
    let all = json!({"since": "2020-01-01"});
    answers.push(bench.post_as(key, "/events/list", all).await);
    answers
}

#[tokio::test]
async fn the_resources_of_another_workspace_do_not_exist() {
    let bench = Bench::start().await;
    let theirs = Neighbour::of(&bench).await;
    let before: Vec<_> = lists(&bench, &theirs.key)
        .await
        .into_iter()
        .map(|it| it.body)
        .collect();
    for (path, body, missing) in theirs.requests() {
        let ours = bench.post(path, body.clone()).await;
        let expected = format!("{missing}_not_found");
        assert_eq!(ours.error(), (404, &*expected), "{path} {body}");
    }
    let after: Vec<_> = lists(&bench, &theirs.key)
        .await
        .into_iter()
        .map(|it| it.body)
        .collect();
    assert_eq!(before, after, "a refused request changes nothing");
}

#[tokio::test]
async fn the_same_requests_find_them_with_the_workspaces_own_key() {
    let bench = Bench::start().await;
    let theirs = Neighbour::of(&bench).await;
    let bench = bench.restarted(DeskSettings::default()).await;
    for (path, body, missing) in theirs.requests() {
        if path.ends_with("/delete") {
            continue;
        }
        let answer = bench.post_as(&theirs.key, path, body.clone()).await;
        let found = answer.status == StatusCode::OK || answer.error().0 == 400;
        assert!(found, "{path} {body} ({missing}): {answer:?}");
    }
}

#[tokio::test]
async fn no_list_shows_anything_of_another_workspace() {
    let bench = Bench::start().await;
    let theirs = Neighbour::of(&bench).await;
    for answer in lists(&bench, &bench.key).await {
        assert_eq!(answer.status, StatusCode::OK);
        let shown = answer.body.to_string();
        for id in [
            &json!(theirs.system),
            &theirs.user,
            &theirs.person,
            &theirs.grant,
        ] {
            assert!(!shown.contains(id.as_str().unwrap()), "{shown}");
        }
    }
    for body in [
        json!({"access_grant_ids": [theirs.grant]}),
        json!({"reservation_key": "party"}),
    ] {
        let list = bench.post("/access_grants/list", body).await;
        assert_eq!(*list.ok("access_grants"), json!([]));
    }
    let party = json!({"reservation_key": "party"});
    bench.post("/access_methods/delete", party).await.ok("ok");
    let method = json!({"access_method_id": theirs.method});
    let kept = bench
        .post_as(&theirs.key, "/access_methods/get", method)
        .await;
    assert_eq!(kept.status, StatusCode::OK);
}

#[tokio::test]
async fn a_cursor_of_another_workspace_leads_to_ones_own_rows_only() {
    let bench = Bench::start().await;
    let theirs = Neighbour::of(&bench).await;
    bench
        .post_as(
            &theirs.key,
            "/user_identities/create",
            json!({"full_name": "Second"}),
        )
        .await
        .ok("user_identity");
    let first = bench
        .post_as(&theirs.key, "/user_identities/list", json!({"limit": 1}))
        .await;
    let cursor = first.ok("pagination")["next_page_cursor"].clone();
    let ours = bench.person("Ours").await;
    let body = json!({"page_cursor": cursor});
    let page = bench.post("/user_identities/list", body).await;
    let rows = page.ok("user_identities").as_array().unwrap();
    let ids: Vec<_> = rows.iter().map(|row| &row["user_identity_id"]).collect();
    assert_eq!(ids, [&ours]);
    let mut paged = 0;
    for (path, whole) in LISTS.iter().zip(lists(&bench, &bench.key).await) {
        if whole.body["pagination"].is_null() {
            continue;
        }
        let body = json!({"page_cursor": cursor});
        let page = bench.post(path, body).await;
        let part_of_ours = |(key, rows): (&String, &Value)| {
            let whole = whole.body[key].as_array();
            let mut rows = rows.as_array().into_iter().flatten();
            rows.all(|row| whole.is_some_and(|it| it.contains(row)))
        };
        let answer = page.body.as_object().unwrap();
        assert!(answer.iter().all(part_of_ours), "{path}: {answer:?}");
        paged += 1;
    }
    assert_eq!(paged, 9);
}
