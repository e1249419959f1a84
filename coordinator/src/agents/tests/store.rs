//! A store that cannot be written, and a clock that is set.

use encoder_protocols::wire::{AgentMessage, Outcome, Touched};
use jiff::SignedDuration;
use serde_json::{Value, json};
use sqlx::Row as _;

use super::fake::{Fake, NextFrame as _, Site, card};
use crate::{
    clock::set as clock,
    desk::DeskSettings,
    http::bench::Bench,
    jobs::AgentId,
    operator::{Command, Report},
};

const A: &str = "aabbccdd";

/// Sets how the connection that writes behaves.
async fn set(site: &Site, pragma: &'static str) {
    let mut conn = site.bench.state.store.writer().await;
    sqlx::query(pragma).fetch_all(&mut *conn).await.unwrap();
}

/// Lets every write of the service fail, as on a read-only file system, or go through again.
async fn set_read_only(site: &Site, read_only: bool) {
    let (on, off) = ("PRAGMA query_only = 1", "PRAGMA query_only = 0");
    set(site, if read_only { on } else { off }).await;
}

async fn count(site: &Site, table: &'static str) -> i64 {
    let mut conn = site.bench.state.store.read().await.unwrap();
    let query = sqlx::AssertSqlSafe(format!("SELECT count(*) AS n FROM {table}"));
    let row = sqlx::query(query).fetch_one(&mut *conn).await.unwrap();
    row.get("n")
}

async fn store_status(site: &Site) -> Value {
    let answer = site.bench.get("/health").await;
    answer.ok("service_health_statuses")[0]["status"].clone()
}

#[tokio::test]
async fn a_store_that_cannot_be_written_does_nothing_says_so_and_recovers() {
    let site = Site::start().await;
    let (id, token) = site.agent("desk").await;
    let mut agent = Fake::connect(&site, &token).await;
    let encoder = agent.list(&site, &["desk"]).await.remove(0);
    let credential = site.credential().await;
    let before = (count(&site, "jobs").await, count(&site, "audit").await);
    set_read_only(&site, true).await;
    let body = json!({"acs_system_id": site.bench.system, "full_name": "Jane Doe"});
    let answer = site.bench.post("/acs/users/create", body).await;
    assert_eq!(answer.error(), (503, "service_unavailable"));
    assert_eq!(store_status(&site).await, "down");
    let body = json!({"acs_encoder_id": encoder, "acs_credential_id": credential});
    let answer = site
        .bench
        .post("/acs/encoders/encode_credential", body)
        .await;
    assert_eq!(answer.error(), (503, "service_unavailable"));
    // No message left without its rows: the session ended, and nothing of a job was said in it.
    while let Some(Ok(frame)) = agent.socket.next_frame().await {
        assert!(!frame.is_text(), "{frame:?}");
    }
    assert_eq!(
        (count(&site, "jobs").await, count(&site, "audit").await),
        before
    );
    set_read_only(&site, false).await;
    let name = "Lobby".to_owned();
    let renamed = site
        .command(&Command::RenameAgent {
            agent: AgentId(id),
            name,
        })
        .await;
    assert_eq!(renamed, Ok(Report::Changed));
    let mut agent = Fake::connect(&site, &token).await;
    agent.list(&site, &["desk"]).await;
    let (ended, _) = site.issue(&mut agent, &encoder, &credential, A).await;
    assert_eq!(ended["status"], "success");
    assert_eq!(store_status(&site).await, "healthy");
}

#[tokio::test]
async fn an_outcome_that_cannot_be_stored_is_not_acknowledged_and_is_taken_later() {
    let site = Site::start().await;
    let (_, token) = site.agent("desk").await;
    let mut agent = Fake::connect(&site, &token).await;
    let encoder = agent.list(&site, &["desk"]).await.remove(0);
    let credential = site.credential().await;
    let attempt = site.encode(&encoder, &credential).await;
    let job = agent.job().await;
    agent.present_for_image(&job, 1, A).await;
    set_read_only(&site, true).await;
    let outcome = agent.outcome(&job, Outcome::Success, Touched::Written, Some(card(A)));
    agent.say(AgentMessage::JobFinished(outcome.clone())).await;
    // It is not acknowledged: the session ends instead, and the agent says it again in the next one.
    while let Some(Ok(frame)) = agent.socket.next_frame().await {
        assert!(!frame.is_text(), "{frame:?}");
    }
    let still = site.attempt(&attempt["action_attempt_id"]).await;
    assert_eq!(still["status"], "pending");
    set_read_only(&site, false).await;
    agent.reconnect(&site, &token).await;
    agent.greet(vec![]).await;
    agent.finish(outcome).await;
    assert_eq!(site.ended(&attempt).await["status"], "success");
}

#[tokio::test]
async fn a_clock_that_is_set_while_an_encode_waits_neither_ends_it_nor_lets_it_wait_longer() {
    let bench = Bench::start_by(clock::clock(), DeskSettings::default()).await;
    let site = Site::of(bench).await;
    let (id, token) = site.agent("desk").await;
    let mut agent = Fake::connect(&site, &token).await;
    let encoder = agent.list(&site, &["desk"]).await.remove(0);
    let attempt = site.scan(&encoder).await;
    let job = agent.job().await;
    for hours in [1, -2, 0] {
        clock::set_off(SignedDuration::from_hours(hours));
        let name = format!("{hours}");
        let turn = site
            .command(&Command::RenameAgent {
                agent: AgentId(id),
                name,
            })
            .await;
        assert_eq!(turn, Ok(Report::Changed));
        let now = site.attempt(&attempt["action_attempt_id"]).await;
        assert_eq!(now["status"], "pending", "{hours}: {now}");
        let mut conn = site.bench.state.store.read().await.unwrap();
        let deadline: i64 = sqlx::query_scalar("SELECT deadline_ms FROM jobs WHERE job_id = ?")
            .bind(job.job_id.to_string())
            .fetch_one(&mut *conn)
            .await
            .unwrap();
        let left = deadline - site.bench.state.clock.utc().as_millisecond();
        assert!((0..=60_100).contains(&left), "{hours}: {left}");
    }
}

#[tokio::test]
async fn a_full_disk_is_told_and_what_fits_again_is_stored() {
    let site = Site::start().await;
    // As many pages as there are, and no more.
    set(&site, "PRAGMA max_page_count = 1").await;
    let body = json!({"acs_system_id": site.bench.system, "full_name": "Jane Doe"});
    let mut refused = None;
    for _ in 0..1_000 {
        let answer = site.bench.post("/acs/users/create", body.clone()).await;
        if answer.status != 200 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("a thousand users do not fit into no room");
    assert_eq!(refused.error(), (503, "service_unavailable"));
    let users = count(&site, "acs_users").await;
    // SQLite has rolled back by itself; the connection that it did so on was replaced.
    site.bench
        .post("/acs/users/create", body)
        .await
        .ok("acs_user");
    assert_eq!(count(&site, "acs_users").await, users + 1);
}
