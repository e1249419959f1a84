//! Who may speak, and what ends a session.

use std::time::Duration;

use encoder_protocols::{
    card::{CardDescription, Technology},
    wire::{
        AgentMessage, ByeReason, CardPresented, EncoderKey, JobId, JobKind, MAX_MESSAGE_BYTES,
        OpenJob, OpenJobState, SUBPROTOCOL, ServiceMessage,
    },
};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::io::AsyncReadExt as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use uuid::Uuid;

use super::fake::{Fake, Site, dial};
use crate::{
    desk::DeskSettings,
    http::bench::Bench,
    jobs::AgentId,
    operator::{Command, Report},
    store::agents,
};

/// The status and body with which a connection was turned away.
async fn refused(site: &Site, token: Option<&str>, protocol: Option<&str>) -> (u16, Value) {
    match dial(site.address, token, protocol).await {
        Err(Error::Http(response)) => {
            let body = response.body().clone().unwrap_or_default();
            let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
            (response.status().as_u16(), body)
        }
        Err(other) => panic!("expected an HTTP answer, got {other}"),
        Ok(_) => panic!("expected a refusal"),
    }
}

#[tokio::test]
async fn a_wrong_token_is_refused_before_the_upgrade() {
    let site = Site::start().await;
    let (id, token) = site.agent("desk").await;
    let mut conn = site.bench.state.store.write().await.unwrap();
    agents::revoke(&mut conn, id, site.bench.state.clock.utc())
        .await
        .unwrap();
    conn.commit().await.unwrap();
    for wrong in [
        None,
        Some(""),
        Some("agent_000"),
        Some(site.bench.key.as_str()),
        Some(token.as_str()),
    ] {
        let (status, body) = refused(&site, wrong, Some(SUBPROTOCOL)).await;
        assert_eq!(status, 401, "{wrong:?}");
        assert_eq!(body["error"]["type"], "unauthorized");
    }
}

#[tokio::test]
async fn another_sub_protocol_is_refused_and_told_what_is_spoken() {
    let site = Site::start().await;
    let (_, token) = site.agent("desk").await;
    for other in [Some("encoder-agent.v2"), Some("chat, superchat"), None] {
        let (status, body) = refused(&site, Some(&token), other).await;
        assert_eq!(status, 400, "{other:?}");
        assert_eq!(body["error"]["type"], "unsupported_subprotocol");
        assert!(
            body["error"]["message"]
                .as_str()
                .unwrap()
                .contains(SUBPROTOCOL)
        );
    }
    let both = dial(
        site.address,
        Some(&token),
        Some("encoder-agent.v2, encoder-agent.v1"),
    )
    .await;
    assert!(both.is_ok());
}

#[tokio::test]
async fn what_is_no_message_of_the_protocol_ends_the_session() {
    let site = Site::start().await;
    let (_, token) = site.agent("desk").await;
    for garbage in [
        Message::Text("{".into()),
        Message::Text("[]".into()),
        Message::Text(r#"{"no":"type"}"#.into()),
        Message::Text(r#"{"type":"card_presented","n":-1}"#.into()),
        Message::Text(r#"{"type":"job_accepted","job_id":"x"}"#.into()),
        Message::Binary(vec![0, 1, 2].into()),
        Message::Text("x".repeat(MAX_MESSAGE_BYTES + 1).into()),
    ] {
        let mut agent = connect_when_free(&site, &token).await;
        agent.socket.send(garbage).await.unwrap();
        assert_eq!(agent.bye().await.reason, ByeReason::ProtocolError);
    }
    let mut agent = connect_when_free(&site, &token).await;
    agent.hello(vec![]).await;
    assert_eq!(agent.bye().await.reason, ByeReason::ProtocolError);
}

#[tokio::test]
async fn the_first_message_must_be_hello() {
    let site = Site::start().await;
    let (_, token) = site.agent("desk").await;
    for first in [
        r#"{"type":"inventory","encoders":[]}"#,
        r#"{"type":"new_in_v9"}"#,
        "garbage",
    ] {
        let mut agent = Fake::dial(&site, &token).await;
        agent.say_text(first.to_owned()).await;
        assert_eq!(
            agent.bye().await.reason,
            ByeReason::ProtocolError,
            "{first}"
        );
    }
}

#[tokio::test]
async fn an_unknown_message_is_answered_and_the_session_goes_on() {
    let site = Site::start().await;
    let (mut agent, encoder) = site.desk("desk").await;
    agent
        .say_text(r#"{"type":"new_in_v9","x":1}"#.to_owned())
        .await;
    let unsupported = ServiceMessage::Unsupported {
        message_type: "new_in_v9".into(),
    };
    assert_eq!(agent.next().await, unsupported);
    site.scan(&encoder).await;
    agent.job().await;
}

#[tokio::test]
async fn one_token_is_one_agent_while_its_first_session_lives() {
    let site = Site::start().await;
    let (_, token) = site.agent("desk").await;
    let mut first = Fake::connect(&site, &token).await;
    let encoder = first.list(&site, &["desk"]).await.remove(0);
    let mut second = Fake::dial(&site, &token).await;
    second.hello(vec![]).await;
    let bye = tokio::select! {
        bye = second.bye() => bye,
        // Whoever reads also answers pings.
        end = first.hear_pings() => panic!("expected nothing but pings, got {end:?}"),
    };
    assert_eq!(bye.reason, ByeReason::AgentInUse);
    site.scan(&encoder).await;
    first.job().await;
    drop(first);
    connect_when_free(&site, &token).await;
}

/// A killed process says no goodbye: its system ends the connection.
#[tokio::test]
async fn an_agent_that_was_killed_and_started_again_is_let_in_at_once() {
    let site = Site::start().await;
    let (_, token) = site.agent("desk").await;
    for _ in 0..20 {
        let killed = Fake::connect(&site, &token).await;
        drop(killed);
        Fake::connect(&site, &token).await;
    }
}

#[tokio::test]
async fn a_first_session_that_does_not_answer_gives_way_to_the_second() {
    let site = Site::start().await;
    let (_, token) = site.agent("desk").await;
    let first = Fake::connect(&site, &token).await;
    // The first one is there and never reads again, as behind the dead link of a PC that lost its power.
    Fake::connect(&site, &token).await;
    drop(first);
}

#[tokio::test]
async fn a_silent_agent_is_dropped_after_two_heartbeats() {
    let settings = DeskSettings {
        heartbeat: Duration::from_millis(100),
        restored: false,
    };
    let site = Site::of(Bench::start_with(settings).await).await;
    let (agent, encoder) = site.desk("desk").await;
    let credential = site.credential().await;
    let attempt = site.encode(&encoder, &credential).await;
    assert_eq!(attempt["status"], "pending");
    let scan = loop {
        let scan = site.scan(&encoder).await;
        if scan["status"] == "error" {
            break scan;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(scan["error"]["type"], "bridge_disconnected");
    drop(agent);
}

#[tokio::test]
async fn a_half_open_link_is_found_within_45_seconds() {
    let site = Site::start().await;
    let (agent, _) = site.desk("desk").await;
    // The agent's end takes every byte and never answers; from here on the timers alone move time.
    let mut line = agent.socket.into_inner();
    tokio::time::pause();
    let silent_since = tokio::time::Instant::now();
    let mut heard = Vec::new();
    line.read_to_end(&mut heard).await.unwrap();
    let found = silent_since.elapsed();
    assert!(!heard.is_empty(), "it never pinged");
    assert!(found <= Duration::from_secs(45), "{found:?}");
}

#[tokio::test]
async fn an_agent_that_answers_pings_stays() {
    let settings = DeskSettings {
        heartbeat: Duration::from_millis(60),
        restored: false,
    };
    let site = Site::of(Bench::start_with(settings).await).await;
    let (mut agent, encoder) = site.desk("desk").await;
    let mut pings = 0;
    while pings < 5 {
        let frame = agent.socket.next().await.unwrap().unwrap();
        pings += u32::from(frame.is_ping());
    }
    site.scan(&encoder).await;
    agent.job().await;
}

#[tokio::test]
async fn revoking_a_token_ends_its_live_session_within_a_second() {
    let site = Site::start().await;
    let (id, token) = site.agent("desk").await;
    let mut agent = Fake::connect(&site, &token).await;
    let agent_id = AgentId(id);
    let revoked = site.bench.state.clock.now();
    let report = site
        .command(&Command::RevokeAgent { agent: agent_id })
        .await;
    let still_awaited = false;
    assert_eq!(report, Ok(Report::Revoked { still_awaited }));
    assert_eq!(agent.bye().await.reason, ByeReason::Revoked);
    let took = site.bench.state.clock.now().since(revoked);
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!(refused(&site, Some(&token), Some(SUBPROTOCOL)).await.0, 401);
}

#[tokio::test]
async fn another_agents_job_or_encoder_ends_the_session() {
    let site = Site::start().await;
    let (mut own, encoder) = site.desk("desk").await;
    site.scan(&encoder).await;
    let job = own.job().await;
    let (_, token) = site.agent("thief").await;
    let mut thief = Fake::connect(&site, &token).await;
    let card = CardDescription {
        technology: Technology::Ntag213,
        uid: None,
        capacity: 144,
    };
    let presented = CardPresented {
        job_id: job.job_id,
        n: 1,
        card,
    };
    thief.say(AgentMessage::CardPresented(presented)).await;
    assert_eq!(thief.bye().await.reason, ByeReason::ProtocolError);

    let mut thief = Fake::dial(&site, &token).await;
    thief.hello(vec![open(job.job_id, "desk")]).await;
    assert_eq!(thief.bye().await.reason, ByeReason::ProtocolError);

    let (_, token) = site.agent("mover").await;
    let mut mover = Fake::connect(&site, &token).await;
    let encoders = mover.list(&site, &["left", "right"]).await;
    site.scan(&encoders[0]).await;
    let job = mover.job().await;
    drop(mover);
    let mut mover = Fake::dial(&site, &token).await;
    mover.hello(vec![open(job.job_id, "right")]).await;
    let bye = mover.bye().await;
    assert!(
        matches!(bye.reason, ByeReason::ProtocolError | ByeReason::AgentInUse),
        "{bye:?}"
    );

    site.scan(&encoder).await;
    own.job().await;
}

#[tokio::test]
async fn a_stopping_service_says_bye() {
    let site = Site::start().await;
    let (mut agent, _) = site.desk("desk").await;
    site.bench.state.stop.stop();
    assert_eq!(agent.bye().await.reason, ByeReason::Restart);
}

#[tokio::test]
async fn an_encoder_keeps_its_id_over_reconnects_and_is_added_once() {
    let site = Site::start().await;
    let (_, token) = site.agent("desk").await;
    let mut agent = Fake::connect(&site, &token).await;
    let first = agent.list(&site, &["desk"]).await;
    drop(agent);
    let mut agent = connect_when_free(&site, &token).await;
    assert_eq!(agent.list(&site, &["desk"]).await, first);
    let path = "/events/list?since=2020-01-01T00:00:00Z&event_type=acs_encoder.added";
    let events = site.bench.get(path).await;
    let events = events.ok("events").as_array().unwrap().clone();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["acs_encoder_id"], Value::String(first[0].clone()));
}

/// Connects once the service has noticed that the connection before is gone.
async fn connect_when_free(site: &Site, token: &str) -> Fake {
    loop {
        let mut agent = Fake::dial(site, token).await;
        agent.hello(vec![]).await;
        match agent.next().await {
            ServiceMessage::Welcome(_) => return agent,
            ServiceMessage::Bye(bye) => assert_eq!(bye.reason, ByeReason::AgentInUse),
            other => panic!("expected welcome, got {other:?}"),
        }
    }
}

fn open(job_id: JobId, key: &str) -> OpenJob {
    OpenJob {
        job_id,
        encoder_key: EncoderKey(key.into()),
        kind: JobKind::Scan,
        credential_id: None::<Uuid>,
        state: OpenJobState::Accepted,
    }
}
