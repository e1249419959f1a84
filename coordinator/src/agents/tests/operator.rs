//! The operator's commands in a running service.

use encoder_protocols::wire::{
    AgentMessage, ByeReason, ErrorCode, JobFinished, Outcome, SUBPROTOCOL, ServiceMessage, Touched,
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    encodes::error,
    fake::{Fake, Site, card, text},
};
use crate::{
    desk::DeskSettings,
    jobs::{AgentId, CredentialId, EncoderId, SystemId},
    operator::{Command, Refused, Report},
    store::holds,
    tokens,
};

const A: &str = "aabbccdd";
const B: &str = "bbccddee";

fn credential_id(text: &str) -> CredentialId {
    CredentialId(text.parse().unwrap())
}

async fn health(site: &Site) -> Value {
    let answer = site.bench.get("/health").await;
    answer.ok("awaited_agents").clone()
}

#[tokio::test]
async fn a_retired_agents_session_ends_and_its_jobs_too() {
    let site = Site::start().await;
    let (id, token) = site.agent("desk").await;
    let mut agent = Fake::connect(&site, &token).await;
    let encoders = agent.list(&site, &["desk", "door"]).await;
    let (bound, waiting) = (site.credential().await, site.credential().await);
    let one = site.encode(&encoders[0], &bound).await;
    let job = agent.job().await;
    agent.present_for_image(&job, 1, A).await;
    let two = site.encode(&encoders[1], &waiting).await;
    agent.job().await;
    let agent_id = AgentId(id);
    let report = site
        .command(&Command::RetireAgent { agent: agent_id })
        .await;
    let Ok(Report::Retired { ended, was_awaited }) = report else {
        panic!("expected it to be retired, got {report:?}");
    };
    let mut touched: Vec<_> = ended
        .iter()
        .map(|job| (job.credential, job.touched))
        .collect();
    touched.sort_by_key(|(credential, _)| *credential);
    let mut expected = [
        (Some(credential_id(&bound)), Touched::Unknown),
        (Some(credential_id(&waiting)), Touched::Untouched),
    ];
    expected.sort_by_key(|(credential, _)| *credential);
    assert_eq!((touched, was_awaited), (expected.to_vec(), false));
    assert_eq!(agent.bye().await.reason, ByeReason::Retired);
    let (one, two) = (site.ended(&one).await, site.ended(&two).await);
    assert_eq!(one["error"]["type"], "encoding_interrupted");
    assert_eq!(one["error"]["touched"], "unknown");
    assert_eq!(two["error"]["type"], "bridge_disconnected");
    assert!(
        super::fake::dial(site.address, Some(&token), None)
            .await
            .is_err()
    );
    let again = site
        .command(&Command::RetireAgent { agent: agent_id })
        .await;
    assert_eq!(again, Err(Refused::AlreadyRetired { agent: agent_id }));
    let gone = site.encode(&encoders[1], &waiting).await;
    assert_eq!(gone["error"]["type"], "encoder_not_online");
}

#[tokio::test]
async fn a_released_credential_goes_onto_another_card_and_is_issued_no_more_meanwhile() {
    let site = Site::start().await;
    let (mut agent, encoder) = site.desk("desk").await;
    let credential = site.credential().await;
    site.issue(&mut agent, &encoder, &credential, A).await;
    let held = site.encode(&encoder, &credential).await;
    assert_eq!(held["error"]["type"], "credential_cannot_be_reissued");
    let id = credential_id(&credential);
    let report = site
        .command(&Command::ReleaseCredential { credential: id })
        .await;
    let Ok(Report::Released { released, kept }) = report else {
        panic!("expected a release, got {report:?}");
    };
    assert_eq!(released[0].cards, [Some(A.parse().unwrap())]);
    assert_eq!((released.len(), kept.len()), (1, 0));
    assert_eq!(site.credential_now(&credential).await["is_issued"], false);
    let again = site
        .command(&Command::ReleaseCredential { credential: id })
        .await;
    assert_eq!(again, Err(Refused::NotHeld { credential: id }));
    let (ended, _) = site.issue(&mut agent, &encoder, &credential, B).await;
    assert_eq!(ended["status"], "success");
    assert_eq!(
        site.events_of(&credential).await,
        [
            "acs_credential.issued",
            "acs_credential.invalidated",
            "acs_credential.issued"
        ]
    );
    let conn = &mut *site.bench.state.store.read().await.unwrap();
    let lines: Vec<String> = sqlx::query_scalar(
        "SELECT action FROM audit WHERE acs_credential_id = ? AND action LIKE '%release%' ORDER BY audit_id",
    )
    .bind(&credential)
    .fetch_all(conn)
    .await
    .unwrap();
    assert_eq!(lines, ["encode.released", "credential.release"]);
}

#[tokio::test]
async fn what_an_agent_may_still_write_is_left_when_a_system_is_released() {
    let site = Site::start().await;
    let (mut agent, encoder) = site.desk("desk").await;
    let (torn, open) = (site.credential().await, site.credential().await);
    let attempt = site.encode(&encoder, &torn).await;
    let job = agent.job().await;
    agent.present_for_image(&job, 1, A).await;
    agent
        .fail(
            &job,
            error(ErrorCode::EncodingInterrupted, Touched::Unknown),
        )
        .await;
    site.ended(&attempt).await;
    site.encode(&encoder, &open).await;
    let job = agent.job().await;
    agent.present_for_image(&job, 1, B).await;
    let doubtful = holds::list(&mut site.bench.state.store.read().await.unwrap())
        .await
        .unwrap();
    assert!(doubtful.iter().all(holds::HoldRow::is_doubtful));
    assert_eq!(doubtful.len(), 2);
    let system = SystemId(site.bench.system);
    let report = site.command(&Command::ReleaseSystem { system }).await;
    let Ok(Report::Released { released, kept }) = report else {
        panic!("expected a release, got {report:?}");
    };
    let released: Vec<_> = released.iter().map(|one| one.credential).collect();
    assert_eq!(released, [credential_id(&torn)]);
    assert_eq!(
        (kept[0].credential, kept[0].job),
        (credential_id(&open), job.job_id)
    );
    let still = site
        .command(&Command::ReleaseCredential {
            credential: credential_id(&open),
        })
        .await;
    assert!(matches!(still, Err(Refused::StillOpen { .. })), "{still:?}");
}

#[tokio::test]
async fn an_encoders_name_and_adoption_reach_its_agent_and_the_api_at_once() {
    let site = Site::start().await;
    let (mut agent, encoder) = site.desk("desk").await;
    let id = EncoderId(encoder.parse().unwrap());
    let name = Some("Front desk".to_owned());
    let renamed = site
        .command(&Command::RenameEncoder {
            encoder: id,
            name: name.clone(),
        })
        .await;
    assert_eq!(renamed, Ok(Report::Changed));
    let ServiceMessage::EncoderSettings(told) = agent.next().await else {
        panic!("expected the encoder's settings");
    };
    assert_eq!((told.display_name, told.adopted), (name, true));
    let path = format!("/acs/encoders/get?acs_encoder_id={encoder}");
    let shown = site.bench.get(&path).await;
    assert_eq!(shown.ok("acs_encoder")["display_name"], "Front desk");
    let disown = Command::AdoptEncoder {
        encoder: id,
        adopted: false,
    };
    assert_eq!(site.command(&disown).await, Ok(Report::Changed));
    let ServiceMessage::EncoderSettings(told) = agent.next().await else {
        panic!("expected the encoder's settings");
    };
    assert!(!told.adopted);
    let refused = site.scan(&encoder).await;
    assert_eq!(refused["error"]["type"], "uncategorized_error");
    let nobody = EncoderId(Uuid::from_u128(7));
    let unknown = site
        .command(&Command::AdoptEncoder {
            encoder: nobody,
            adopted: true,
        })
        .await;
    assert_eq!(unknown, Err(Refused::UnknownEncoder { encoder: nobody }));
}

#[tokio::test]
async fn a_renamed_agent_keeps_its_session_and_errors_tell_its_new_name() {
    let site = Site::start().await;
    let (id, token) = site.agent("desk").await;
    let mut agent = Fake::connect(&site, &token).await;
    let encoder = agent.list(&site, &["desk"]).await.remove(0);
    let name = "Lobby".to_owned();
    let renamed = site
        .command(&Command::RenameAgent {
            agent: AgentId(id),
            name,
        })
        .await;
    assert_eq!(renamed, Ok(Report::Changed));
    site.scan(&encoder).await;
    let job = agent.job().await;
    agent
        .say(AgentMessage::JobAccepted { job_id: job.job_id })
        .await;
    agent
        .fail(&job, error(ErrorCode::NoCardOnEncoder, Touched::Untouched))
        .await;
    drop(agent);
    let gone = site.until_disconnected(&encoder).await;
    assert!(
        text(&gone["error"]["message"]).contains("\"Lobby\""),
        "{gone}"
    );
}

#[tokio::test]
async fn a_revoked_agent_stays_awaited_until_it_is_retired() {
    let site = Site::start().await;
    let (id, _) = site.agent("gone").await;
    let credential = site.credential().await;
    let settings = DeskSettings {
        restored: true,
        ..DeskSettings::default()
    };
    let site = site.restart(settings).await;
    let (mut agent, encoder) = site.desk("desk").await;
    let agent_id = AgentId(id);
    let revoked = site
        .command(&Command::RevokeAgent { agent: agent_id })
        .await;
    assert_eq!(
        revoked,
        Ok(Report::Revoked {
            still_awaited: true
        })
    );
    assert_eq!(health(&site).await[0]["name"], "gone");
    let early = site.encode(&encoder, &credential).await;
    assert!(text(&early["error"]["message"]).contains("gone"), "{early}");
    let retired = site
        .command(&Command::RetireAgent { agent: agent_id })
        .await;
    let Ok(Report::Retired { was_awaited, .. }) = retired else {
        panic!("expected it to be retired, got {retired:?}");
    };
    assert!(was_awaited);
    assert_eq!(health(&site).await, json!([]));
    let (ended, _) = site.issue(&mut agent, &encoder, &credential, A).await;
    assert_eq!(ended["status"], "success");
}

#[tokio::test]
async fn a_command_of_another_version_is_refused_and_the_service_goes_on() {
    let site = Site::start().await;
    let mut conn = site.bench.state.store.write().await.unwrap();
    sqlx::query(
        "INSERT INTO operator_commands (command, asked_ms) VALUES ('{\"command\":\"new\"}', ?)",
    )
    .bind(site.bench.state.clock.utc().as_millisecond())
    .execute(&mut *conn)
    .await
    .unwrap();
    conn.commit().await.unwrap();
    let nobody = AgentId(Uuid::from_u128(7));
    let answer = site.command(&Command::RevokeAgent { agent: nobody }).await;
    assert_eq!(answer, Err(Refused::UnknownAgent { agent: nobody }));
    let answers: Vec<String> =
        sqlx::query_scalar("SELECT answer FROM operator_commands ORDER BY command_id LIMIT 1")
            .fetch_all(&mut *site.bench.state.store.read().await.unwrap())
            .await
            .unwrap();
    assert!(answers[0].contains("unknown_command"), "{answers:?}");
}

#[tokio::test]
async fn a_new_token_takes_the_old_ones_place_and_the_jobs_stay_the_agents_own() {
    let site = Site::start().await;
    let (id, token) = site.agent("desk").await;
    let mut agent = Fake::connect(&site, &token).await;
    let encoder = agent.list(&site, &["desk"]).await.remove(0);
    let credential = site.credential().await;
    let attempt = site.encode(&encoder, &credential).await;
    let job = agent.job().await;
    agent.present_for_image(&job, 1, A).await;
    let renewed = tokens::new_agent_token().unwrap();
    let agent_id = AgentId(id);
    let command = Command::RenewToken {
        agent: agent_id,
        prefix: tokens::shown_prefix(&renewed),
        hash: tokens::hash_text(&renewed),
    };
    assert_eq!(site.command(&command).await, Ok(Report::Changed));
    assert_eq!(agent.bye().await.reason, ByeReason::Revoked);
    let old = super::fake::dial(site.address, Some(&token), Some(SUBPROTOCOL)).await;
    assert!(old.is_err());
    agent.reconnect(&site, &renewed).await;
    agent.greet(vec![]).await;
    agent.finish_written(&job, A).await;
    assert_eq!(site.ended(&attempt).await["status"], "success");
    site.command(&Command::RetireAgent { agent: agent_id })
        .await
        .unwrap();
    assert_eq!(
        site.command(&command).await,
        Err(Refused::Retired { agent: agent_id })
    );
}

#[tokio::test]
async fn an_interrupted_write_leaves_the_cards_credential_in_doubt_until_it_is_encoded_again() {
    let site = Site::start().await;
    let (mut agent, encoder) = site.desk("desk").await;
    let (first, second) = (site.credential().await, site.credential().await);
    site.issue(&mut agent, &encoder, &first, A).await;
    assert_eq!(site.credential_now(&first).await["warnings"], json!([]));
    let attempt = site.encode(&encoder, &second).await;
    let job = agent.job().await;
    agent.present_for_image(&job, 1, A).await;
    let torn = agent.outcome(&job, Outcome::Error, Touched::Unknown, Some(card(A)));
    let told = error(ErrorCode::EncodingInterrupted, Touched::Unknown);
    agent
        .finish(JobFinished {
            error: Some(told),
            ..torn
        })
        .await;
    site.ended(&attempt).await;
    let doubtful = site.credential_now(&first).await;
    assert_eq!(doubtful["is_issued"], true);
    assert_eq!(
        doubtful["warnings"][0]["warning_code"],
        "needs_to_be_reissued"
    );
    assert!(
        text(&doubtful["warnings"][0]["message"]).contains("not certain"),
        "{doubtful}"
    );
    // The old guest's key may be put back onto that card, unchanged as it is; the new one too.
    let (ended, _) = site.issue(&mut agent, &encoder, &first, A).await;
    assert_eq!(ended["status"], "success");
    assert_eq!(site.credential_now(&first).await["warnings"], json!([]));
    let (ended, _) = site.issue(&mut agent, &encoder, &second, A).await;
    assert_eq!(ended["status"], "success");
    assert_eq!(site.credential_now(&first).await["is_issued"], false);
}
