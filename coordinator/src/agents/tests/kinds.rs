//! Kinds of access systems: what goes with a job, and what a scan takes and tells.

use encoder_protocols::{
    card::{CardContents, CardDescription},
    wire::{AgentMessage, CardPresented, Job, JobFinished, Outcome, Plan, ServiceMessage, Touched},
};
use serde_json::{Value, json};

use super::fake::{Fake, Site, card, text};
use crate::{
    access_system::tests::as_read,
    store::systems::{self, SystemKind},
};

const KNOWN: &str = "aabbccdd";
const NEW: &str = "bbccddee";

async fn site_of(kind: SystemKind) -> Site {
    let site = Site::start().await;
    let mut conn = site.bench.state.store.write().await.unwrap();
    systems::set_kind(&mut conn, site.bench.system, kind)
        .await
        .unwrap();
    conn.commit().await.unwrap();
    site
}

#[tokio::test]
async fn a_job_carries_the_options_and_a_scan_reads_the_card_back() {
    let site = site_of(SystemKind::Visionline).await;
    let (mut agent, encoder) = site.desk("desk").await;
    let room = site.bench.entrance(site.bench.system, "Room 101").await;
    let credential = site.credential_for(&[room]).await;
    let attempt = site.encode(&encoder, &credential).await;
    let job = agent.job().await;
    let content = job.content.clone().unwrap();
    assert_eq!(content.entrances, ["Room 101"]);
    let options = &content.provider.unwrap()["visionline_metadata"];
    assert_eq!(options["card_function_type"], "guest");
    let image = agent.present_for_image(&job, 1, KNOWN).await;
    agent.finish_written(&job, KNOWN).await;
    let ended = site.ended(&attempt).await;
    assert_eq!(ended["result"]["visionline_metadata"]["card_id"], KNOWN);

    let scan = site
        .scanned(&mut agent, &encoder, card(KNOWN), as_read(&image))
        .await;
    let read = &scan["result"]["acs_credential_on_encoder"]["visionline_metadata"];
    assert_eq!(read["card_id"], KNOWN);
    assert_eq!(read["card_holder"], "Jane Doe");
    assert_eq!(read["guest_acs_entrance_ids"], json!([room]));
    assert_eq!(read["common_acs_entrance_ids"], json!([]));
    assert_eq!(read["number_of_issued_cards"], 1);
    assert_eq!(read["cancelled"], false);
    assert_eq!(read["pending_auto_update"], false);
}

#[tokio::test]
async fn a_job_of_the_embedded_system_carries_none() {
    let site = Site::start().await;
    let (mut agent, encoder) = site.desk("desk").await;
    let credential = site.credential().await;
    site.encode(&encoder, &credential).await;
    assert_eq!(agent.job().await.content, None);
}

async fn scan(site: &Site, agent: &mut Fake, encoder: &str, new_tags: bool) -> (Value, Job) {
    let body = json!({
        "acs_encoder_id": encoder,
        "salto_ks_metadata": {"detect_new_tags": new_tags},
    });
    let asked = site.bench.post("/acs/encoders/scan_credential", body).await;
    let attempt = asked.ok("action_attempt").clone();
    let job = agent.job().await;
    agent
        .say(AgentMessage::JobAccepted { job_id: job.job_id })
        .await;
    (attempt, job)
}

async fn take(agent: &mut Fake, job: &Job, n: u64, found: CardDescription) {
    let plan = agent.present(job, n, found).await;
    assert_eq!(plan.n, n);
    assert!(matches!(plan.plan, Plan::Read { .. }), "{plan:?}");
    let finished = JobFinished {
        contents: Some(CardContents::UidOnly),
        ..agent.outcome(job, Outcome::Success, Touched::Untouched, Some(found))
    };
    agent.finish(finished).await;
}

#[tokio::test]
async fn a_scan_takes_registered_tags_or_new_ones() {
    let site = site_of(SystemKind::SaltoKs).await;
    let (mut agent, encoder) = site.desk("desk").await;
    let tag = site.bench.registered_card(site.bench.system, KNOWN).await;

    let (attempt, job) = scan(&site, &mut agent, &encoder, false).await;
    for (n, ignored) in [(1, NEW), (2, "08112233")] {
        let plan = agent.present(&job, n, card(ignored)).await;
        assert_eq!((plan.n, plan.plan), (n, Plan::Ignore));
    }
    take(&mut agent, &job, 3, card(KNOWN)).await;
    let ended = site.ended(&attempt).await;
    let found = &ended["result"]["acs_credential_on_seam"];
    assert_eq!(found["acs_credential_id"], json!(tag));
    assert_eq!(found["external_type"], "salto_ks_tag");
    let path = format!(
        "/acs/credentials/unmanaged/list?acs_system_id={}",
        site.bench.system
    );
    let listed = site.bench.get(&path).await;
    assert_eq!(listed.ok("acs_credentials").as_array().unwrap().len(), 1);

    let (attempt, job) = scan(&site, &mut agent, &encoder, true).await;
    let plan = agent.present(&job, 1, card(KNOWN)).await;
    assert_eq!(plan.plan, Plan::Ignore);
    take(&mut agent, &job, 2, card(NEW)).await;
    let ended = site.ended(&attempt).await;
    let found = &ended["result"]["acs_credential_on_seam"];
    assert_eq!(found["card_number"], NEW);
    let listed = site.bench.get(&path).await;
    assert_eq!(listed.ok("acs_credentials").as_array().unwrap().len(), 2);

    let (attempt, job) = scan(&site, &mut agent, &encoder, false).await;
    take(&mut agent, &job, 1, card(NEW)).await;
    assert_eq!(site.ended(&attempt).await["status"], "success");
}

#[tokio::test]
async fn a_new_tag_is_registered_and_assigned_at_once() {
    let site = site_of(SystemKind::SaltoKs).await;
    let (mut agent, encoder) = site.desk("desk").await;
    let user = json!({"acs_system_id": site.bench.system, "full_name": "Jane Doe"});
    let user = site.bench.post("/acs/users/create", user).await;
    let user = user.ok("acs_user")["acs_user_id"].clone();
    let body = json!({
        "acs_encoder_id": encoder,
        "acs_user_id": user,
        "salto_ks_metadata": {"detect_new_tags": true},
    });
    let path = "/acs/encoders/scan_to_assign_credential";
    let attempt = site.bench.post(path, body.clone()).await;
    let attempt = attempt.ok("action_attempt").clone();
    assert_eq!(attempt["action_type"], "SCAN_TO_ASSIGN_CREDENTIAL");
    let job = agent.job().await;
    agent
        .say(AgentMessage::JobAccepted { job_id: job.job_id })
        .await;
    take(&mut agent, &job, 1, card(NEW)).await;
    let ended = site.ended(&attempt).await;
    assert_eq!(ended["result"]["acs_user_id"], user);
    assert_eq!(ended["result"]["card_number"], NEW);

    let mut known = body;
    known["salto_ks_metadata"]["detect_new_tags"] = json!(false);
    let attempt = site.bench.post(path, known).await;
    let attempt = attempt.ok("action_attempt").clone();
    let job = agent.job().await;
    let plan = agent.present(&job, 1, card(KNOWN)).await;
    assert_eq!(plan.plan, Plan::Ignore);
    take(&mut agent, &job, 2, card(NEW)).await;
    assert_eq!(site.ended(&attempt).await["status"], "success");
}

/// A tag may be registered between its presentation and the end of the scan.
#[tokio::test]
async fn a_tag_is_judged_once_more_when_it_was_read() {
    let site = site_of(SystemKind::SaltoKs).await;
    let (mut agent, encoder) = site.desk("desk").await;
    let (attempt, job) = scan(&site, &mut agent, &encoder, true).await;
    let plan = agent.present(&job, 1, card(NEW)).await;
    assert!(matches!(plan.plan, Plan::Read { .. }), "{plan:?}");
    site.bench.registered_card(site.bench.system, NEW).await;
    let finished = JobFinished {
        contents: Some(CardContents::UidOnly),
        ..agent.outcome(&job, Outcome::Success, Touched::Untouched, Some(card(NEW)))
    };
    agent.finish(finished).await;
    let ended = site.ended(&attempt).await;
    assert_eq!(ended["status"], "error", "{ended}");
    let message = text(&ended["error"]["message"]);
    assert!(message.contains("registered already"), "{message}");
}

#[tokio::test]
async fn an_ignored_card_of_an_ended_scan_is_answered_by_a_cancel() {
    let site = site_of(SystemKind::SaltoKs).await;
    let (mut agent, encoder) = site.desk("desk").await;
    let (attempt, job) = scan(&site, &mut agent, &encoder, false).await;
    let error = super::encodes::error(
        encoder_protocols::wire::ErrorCode::NoCardOnEncoder,
        Touched::Untouched,
    );
    agent.fail(&job, error).await;
    assert_eq!(site.ended(&attempt).await["status"], "error");
    agent
        .say(AgentMessage::CardPresented(CardPresented {
            job_id: job.job_id,
            n: 1,
            card: card(NEW),
        }))
        .await;
    let told = agent.next().await;
    assert!(matches!(told, ServiceMessage::Cancel { .. }), "{told:?}");
}

#[tokio::test]
async fn new_tags_are_refused_elsewhere_and_malformed_ones_named() {
    for kind in [
        SystemKind::Embedded,
        SystemKind::Brivo,
        SystemKind::SaltoSpace,
    ] {
        let site = site_of(kind).await;
        let (_agent, encoder) = site.desk("desk").await;
        for (metadata, expected) in [
            (json!({"detect_new_tags": true}), "only Salto KS"),
            (json!({"detect_new_tags": "x"}), "Expected boolean"),
        ] {
            let body = json!({"acs_encoder_id": encoder, "salto_ks_metadata": metadata});
            let answer = site.bench.post("/acs/encoders/scan_credential", body).await;
            assert_eq!(answer.error(), (400, "invalid_input"));
            let errors = &answer.body["error"]["validation_errors"];
            let complaint = text(&errors["salto_ks_metadata"]["detect_new_tags"]["_errors"][0]);
            assert!(complaint.contains(expected), "{kind:?}: {complaint}");
        }
        let body = json!({"acs_encoder_id": encoder, "salto_ks_metadata": 7});
        let answer = site.bench.post("/acs/encoders/scan_credential", body).await;
        assert_eq!(answer.error(), (400, "invalid_input"));
    }
}
