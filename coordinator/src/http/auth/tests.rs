use serde_json::json;

use super::*;
use crate::http::bench::{Answered, Bench};

/// A token that opens these workspaces.
async fn token(bench: &Bench, workspaces: &[Uuid]) -> (Uuid, String) {
    let now = bench.state.clock.utc();
    let mut conn = bench.state.store.write().await.unwrap();
    let made =
        personal_access_tokens::create(&mut conn, workspaces, "Jane", Vocabulary::Types, now).await;
    conn.commit().await.unwrap();
    let (token, secret) = made.unwrap();
    (token.personal_access_token_id, secret.to_string())
}

async fn workspace_of(bench: &Bench, key: &str) -> Uuid {
    let answer = bench.post_as(key, "/workspaces/get", json!({})).await;
    let id = answer.ok("workspace")["workspace_id"].as_str().unwrap();
    Uuid::parse_str(id).unwrap()
}

async fn get(bench: &Bench, token: &str, workspace: Option<&str>) -> Answered {
    let mut request = axum::http::Request::get("/workspaces/get")
        .header("host", "localhost")
        .header("authorization", format!("Bearer {token}"));
    if let Some(workspace) = workspace {
        request = request.header("seam-workspace", workspace);
    }
    bench
        .send(request.body(axum::body::Body::empty()).unwrap())
        .await
}

#[tokio::test]
async fn a_personal_access_token_opens_the_workspace_that_the_request_names() {
    let bench = Bench::start().await;
    let (_, key) = bench.neighbour().await;
    let second = workspace_of(&bench, &key).await;
    let (_, token) = token(&bench, &[bench.workspace, second]).await;
    for workspace in [bench.workspace, second] {
        let answer = get(&bench, &token, Some(&workspace.to_string())).await;
        assert_eq!(
            answer.ok("workspace")["workspace_id"],
            json!(workspace.to_string())
        );
    }
}

#[tokio::test]
async fn a_personal_access_token_opens_no_other_workspace_and_none_unnamed() {
    let bench = Bench::start().await;
    let (_, key) = bench.neighbour().await;
    let second = workspace_of(&bench, &key).await.to_string();
    let (_, token) = token(&bench, &[bench.workspace]).await;
    let nowhere = Uuid::nil().to_string();
    for named in [None, Some(""), Some("x"), Some(&*nowhere), Some(&*second)] {
        let answer = get(&bench, &token, named).await;
        assert_eq!(answer.error(), (401, "unauthorized"), "{named:?}");
    }
    let message = |answer: Answered| answer.body["error"]["message"].clone();
    let (absent, foreign) = (
        message(get(&bench, &token, Some(&nowhere)).await),
        message(get(&bench, &token, Some(&second)).await),
    );
    assert_eq!(
        absent, foreign,
        "strangers learn which workspaces there are"
    );
}

#[tokio::test]
async fn a_revoked_personal_access_token_opens_nothing() {
    let bench = Bench::start().await;
    let (id, token) = token(&bench, &[bench.workspace]).await;
    let now = bench.state.clock.utc();
    let mut conn = bench.state.store.write().await.unwrap();
    let revoked = personal_access_tokens::revoke(&mut conn, id, now).await;
    assert!(revoked.unwrap());
    conn.commit().await.unwrap();
    let answer = get(&bench, &token, Some(&bench.workspace.to_string())).await;
    assert_eq!(answer.error(), (401, "unauthorized"));
}
