//! Agents that come back, and a service that is killed or goes back to a copy.

use encoder_protocols::wire::{
    AgentMessage, EncoderKey, ErrorCode, JobKind, OpenJob, OpenJobState, Outcome, Plan,
    ServiceMessage, Touched,
};
use serde_json::json;

use super::fake::{Fake, Site, card, text};
use crate::desk::DeskSettings;

const A: &str = "aabbccdd";
const B: &str = "bbccddee";

#[tokio::test]
async fn an_outcome_that_was_not_acknowledged_is_taken_once_after_a_reconnect() {
    let site = Site::start().await;
    let (_, token) = site.agent("desk").await;
    let mut agent = Fake::connect(&site, &token).await;
    let encoder = agent.list(&site, &["desk"]).await.remove(0);
    let credential = site.credential().await;
    let attempt = site.encode(&encoder, &credential).await;
    let job = agent.job().await;
    agent.present_for_image(&job, 1, A).await;
    let outcome = agent.outcome(&job, Outcome::Success, Touched::Written, Some(card(A)));
    agent.say(AgentMessage::JobFinished(outcome.clone())).await;
    assert_eq!(site.ended(&attempt).await["status"], "success");
    agent.socket.close(None).await.unwrap();
    let welcome = reconnect(
        &mut agent,
        &site,
        &token,
        &job,
        OpenJobState::Finished { sequence: 1 },
    )
    .await;
    assert_eq!(welcome.last_sequence, 1);
    assert_eq!(welcome.store_id, site.bench.state.store.store_id());
    agent.finish(outcome).await;
    assert_eq!(site.events_of(&credential).await, ["acs_credential.issued"]);
}

/// Connects again as soon as the service has noticed that the first connection is gone.
pub(super) async fn reconnect(
    agent: &mut Fake,
    site: &Site,
    token: &str,
    job: &encoder_protocols::wire::Job,
    state: OpenJobState,
) -> encoder_protocols::wire::Welcome {
    let open = OpenJob {
        job_id: job.job_id,
        encoder_key: EncoderKey("desk".into()),
        kind: JobKind::Encode,
        credential_id: job.credential_id,
        state,
    };
    loop {
        agent.reconnect(site, token).await;
        agent.hello(vec![open.clone()]).await;
        match agent.next().await {
            ServiceMessage::Welcome(welcome) => return welcome,
            ServiceMessage::Bye(_) => {}
            other => panic!("expected welcome, got {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_killed_service_goes_on_where_it_was_and_makes_the_same_plan_again() {
    let site = Site::start().await;
    let (_, token) = site.agent("desk").await;
    let mut agent = Fake::connect(&site, &token).await;
    let encoder = agent.list(&site, &["desk"]).await.remove(0);
    let credential = site.credential().await;
    let attempt = site.encode(&encoder, &credential).await;
    let job = agent.job().await;
    let image = agent.present_for_image(&job, 1, A).await;
    let change = json!({"acs_credential_id": credential, "ends_at": "2027-02-01T12:00:00Z"});
    site.bench
        .post("/acs/credentials/update", change)
        .await
        .ok("acs_credential");
    let site = site.restart(DeskSettings::default()).await;
    let started = OpenJobState::Started {
        uid: card(A).uid,
        n: 1,
    };
    reconnect(&mut agent, &site, &token, &job, started).await;
    assert_eq!(agent.verify(job.job_id, 1, A).await, Plan::Verify { image });
    let foreign = agent.verify(job.job_id, 1, B).await;
    assert!(
        matches!(
            foreign,
            Plan::Refuse {
                code: ErrorCode::EncodingInterrupted,
                ..
            }
        ),
        "{foreign:?}"
    );
    agent.finish_written(&job, A).await;
    let ended = site.ended(&attempt).await;
    assert_eq!(ended["status"], "success");
    assert_eq!(
        ended["result"]["warnings"][0]["warning_code"],
        "needs_to_be_reissued"
    );
}

#[tokio::test]
async fn a_service_killed_after_any_step_of_an_encode_still_ends_it_once() {
    for killed_after in 0..4 {
        let mut site = Site::start().await;
        let (_, token) = site.agent("desk").await;
        let mut agent = Fake::connect(&site, &token).await;
        let encoder = agent.list(&site, &["desk"]).await.remove(0);
        let credential = site.credential().await;
        let attempt = site.encode(&encoder, &credential).await;
        let job = agent.job().await;
        let mut n = 0;
        for step in 0..4 {
            match step {
                0 => {
                    agent
                        .say(AgentMessage::JobAccepted { job_id: job.job_id })
                        .await
                }
                1 | 2 => {
                    n += 1;
                    agent
                        .present_for_image(&job, n, if n == 1 { B } else { A })
                        .await;
                }
                _ => agent.finish_written(&job, A).await,
            }
            if step == killed_after {
                site = site.restart(DeskSettings::default()).await;
                let state = match step {
                    3 => OpenJobState::Finished { sequence: 1 },
                    _ => OpenJobState::Accepted,
                };
                reconnect(&mut agent, &site, &token, &job, state).await;
                agent.list(&site, &["desk"]).await;
            }
        }
        let ended = site.ended(&attempt).await;
        assert_eq!(
            ended["status"], "success",
            "killed after step {killed_after}"
        );
        assert_eq!(ended["result"]["card_number"], A);
        assert_eq!(site.events_of(&credential).await, ["acs_credential.issued"]);
        let again = site.encode(&encoder, &credential).await;
        assert_eq!(again["error"]["type"], "credential_cannot_be_reissued");
    }
}

#[tokio::test]
async fn a_restored_service_binds_nothing_of_the_copy_before_its_agents_were_heard() {
    let site = Site::start().await;
    let (_, silent) = site.agent("reception").await;
    let (mut agent, encoder) = site.desk("desk").await;
    let credential = site.credential().await;
    agent.socket.close(None).await.unwrap();
    let settings = DeskSettings {
        restored: true,
        ..DeskSettings::default()
    };
    let site = site.restart(settings).await;
    let (mut second, _) = site.desk("second").await;
    let early = site.encode(&encoder, &credential).await;
    assert_eq!(early["error"]["type"], "uncategorized_error");
    let message = text(&early["error"]["message"]);
    assert!(
        message.contains("reception") && message.contains("desk"),
        "{message}"
    );
    let newer = site.credential().await;
    let path = format!("/acs/encoders/list?acs_system_id={}", site.bench.system);
    let listed = site.bench.get(&path).await;
    let listed = listed.ok("acs_encoders").as_array().unwrap().clone();
    let own = listed
        .iter()
        .find(|row| row["display_name"] == "second")
        .unwrap();
    let own = text(&own["acs_encoder_id"]);
    assert_eq!(site.encode(&own, &newer).await["status"], "pending");
    second.job().await;
    Fake::connect(&site, &silent).await;
    let half = site.encode(&own, &credential).await;
    let message = text(&half["error"]["message"]);
    assert!(
        !message.contains("reception") && message.contains("desk"),
        "{message}"
    );
}
