//! What else could lead from one workspace to another: a personal access token of one of them, and webhooks.

use axum::{body::Body, http::Request};

use super::*;
use crate::store::{
    api_keys::Vocabulary,
    deliveries::{self, DeliveryFilter},
    personal_access_tokens,
};

async fn ask(bench: &Bench, token: &str, workspace: Uuid, path: &str, body: &Value) -> Answered {
    let request = Request::post(path)
        .header("host", "127.0.0.1:8480")
        .header("authorization", format!("Bearer {token}"))
        .header("seam-workspace", workspace.to_string())
        .header("content-type", "application/json");
    bench
        .send(request.body(Body::from(body.to_string())).unwrap())
        .await
}

#[tokio::test]
async fn a_personal_access_token_of_one_workspace_finds_nothing_of_another() {
    let bench = Bench::start().await;
    let theirs = Neighbour::of(&bench).await;
    let mut conn = bench.state.store.write().await.unwrap();
    let now = bench.state.clock.utc();
    let own = [bench.workspace];
    let made = personal_access_tokens::create(&mut conn, &own, "", Vocabulary::Guide, now).await;
    let (_, token) = made.unwrap();
    conn.commit().await.unwrap();
    for (path, body, missing) in theirs.requests() {
        let here = ask(&bench, &token, bench.workspace, path, &body).await;
        let expected = format!("{missing}_not_found");
        assert_eq!(here.error(), (404, &*expected), "{path} {body}");
        let there = ask(&bench, &token, theirs.workspace, path, &body).await;
        assert_eq!(there.error(), (401, "unauthorized"), "{path} {body}");
    }
}

#[tokio::test]
async fn the_events_of_a_workspace_go_to_its_own_webhooks_alone() {
    let bench = Bench::start().await;
    let theirs = Neighbour::of(&bench).await;
    let queued = async |workspace_id: Uuid| {
        let filter = DeliveryFilter {
            workspace_id: Some(workspace_id),
            ..DeliveryFilter::default()
        };
        let mut conn = bench.state.store.read().await.unwrap();
        deliveries::list(&mut conn, &filter, 1000)
            .await
            .unwrap()
            .len()
    };
    let before = queued(theirs.workspace).await;
    let url = json!({"url": "https://hooks.example.com/ours"});
    bench.post("/webhooks/create", url).await.ok("webhook");
    let user = json!({"acs_system_id": bench.system, "full_name": "Ours"});
    bench.post("/acs/users/create", user).await.ok("acs_user");
    assert_eq!(queued(bench.workspace).await, 1);
    assert_eq!(queued(theirs.workspace).await, before);
    let user = json!({"acs_system_id": theirs.system, "full_name": "Theirs"});
    let made = bench.post_as(&theirs.key, "/acs/users/create", user).await;
    made.ok("acs_user");
    assert_eq!(queued(bench.workspace).await, 1);
    assert_eq!(queued(theirs.workspace).await, before + 1);
}
