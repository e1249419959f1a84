//! Access grants down to the card: encoded, changed, overwritten, scanned to be assigned.

use encoder_protocols::{
    card::CardContents,
    wire::{
        AgentMessage, ErrorCode, JobError, JobFinished, Outcome, Plan, ServiceMessage, Touched,
    },
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::fake::{Fake, Site, card, text};
use crate::{
    access_system::tests::as_read,
    store::{api_keys, api_keys::Vocabulary, systems, systems::SystemKind},
};

const A: &str = "aabbccdd";
const B: &str = "bbccddee";

/// A grant to two doors, and its access method.
pub(super) async fn granted(site: &Site) -> (Value, Value) {
    let doors = [
        site.bench.entrance(site.bench.system, "Hall").await,
        site.bench.entrance(site.bench.system, "101").await,
    ];
    let grant = site.bench.grant(&doors).await;
    let method = method(site, &grant["access_method_ids"][0]).await;
    (grant, method)
}

async fn method(site: &Site, id: &Value) -> Value {
    let path = format!("/access_methods/get?access_method_id={}", text(id));
    site.bench.get(&path).await.ok("access_method").clone()
}

async fn encode(site: &Site, encoder: &str, method: &Value) -> Value {
    let body = json!({"acs_encoder_id": encoder, "access_method_id": method["access_method_id"]});
    let answer = site.bench.post("/access_methods/encode", body).await;
    answer.ok("action_attempt").clone()
}

/// Encodes the access method on the card from the request to the end.
pub(super) async fn issue(
    site: &Site,
    agent: &mut Fake,
    encoder: &str,
    method: &Value,
    uid: &str,
) -> Value {
    let attempt = encode(site, encoder, method).await;
    assert_eq!(attempt["status"], "pending", "{attempt}");
    let job = agent.job().await;
    agent.present_for_image(&job, 1, uid).await;
    agent.finish_written(&job, uid).await;
    site.ended(&attempt).await
}

async fn events(site: &Site, method: &Value) -> Vec<String> {
    let id = text(&method["access_method_id"]);
    site.bench.events(&format!("access_method_id={id}")).await
}

/// A key to the bench's workspace that speaks the words of the published types.
async fn types_key(site: &Site) -> String {
    let state = &site.bench.state;
    let mut conn = state.store.write().await.unwrap();
    let now = state.clock.utc();
    let made = api_keys::create(
        &mut conn,
        site.bench.workspace,
        "types",
        Vocabulary::Types,
        now,
    );
    let (_, key) = made.await.unwrap();
    conn.commit().await.unwrap();
    key.to_string()
}

#[tokio::test]
async fn an_access_method_is_encoded_and_says_so() {
    let site = Site::start().await;
    let (mut agent, encoder) = site.desk("desk").await;
    let (grant, before) = granted(&site).await;
    assert_eq!(before["is_encoding_required"], true);
    let ended = issue(&site, &mut agent, &encoder, &before, A).await;
    assert_eq!(ended["status"], "success");
    assert_eq!(ended["action_type"], "ENCODE_ACCESS_METHOD");
    let result = &ended["result"];
    assert_eq!(result["access_method_id"], before["access_method_id"]);
    assert_eq!(result["is_issued"], true);
    assert_eq!(result["issued_at"], "2026-11-21T10:00:00.000Z");
    assert_eq!(result["card_number"], A);
    assert_eq!(result["is_encoding_required"], false);
    assert_eq!(result["is_ready_for_encoding"], false);
    assert_eq!(result["pending_mutations"], json!([]));
    assert_eq!(method(&site, &before["access_method_id"]).await, *result);
    assert_eq!(
        events(&site, &before).await,
        [
            "access_method.created",
            "access_method.card_encoding_required",
            "access_method.issued",
        ]
    );
    let id = text(&grant["access_grant_id"]);
    let doors = site.bench.events(&format!("access_grant_id={id}")).await;
    assert_eq!(
        doors[4..],
        [
            "access_grant.access_granted_to_door",
            "access_grant.access_granted_to_door",
            "access_grant.access_granted_to_all_doors",
        ]
    );
    let again = encode(&site, &encoder, &before).await;
    assert_eq!(again["status"], "error");
    assert_eq!(again["error"]["type"], "credential_cannot_be_reissued");
    assert_eq!(again["action_type"], "ENCODE_ACCESS_METHOD");
}

#[tokio::test]
async fn a_key_of_the_types_vocabulary_sees_the_credential() {
    let site = Site::start().await;
    let (mut agent, encoder) = site.desk("desk").await;
    let (_, before) = granted(&site).await;
    let ended = issue(&site, &mut agent, &encoder, &before, A).await;
    let key = types_key(&site).await;
    let body = json!({"action_attempt_id": ended["action_attempt_id"]});
    let seen = site.bench.post_as(&key, "/action_attempts/get", body).await;
    let seen = seen.ok("action_attempt");
    assert_eq!(seen["action_type"], "ENCODE_CREDENTIAL");
    assert!(seen["result"]["acs_credential_id"].is_string(), "{seen}");
    assert_eq!(seen["result"]["card_number"], A);
    let list = site.bench.get("/action_attempts/list").await;
    assert_eq!(*list.ok("action_attempts"), json!([ended]));
}

#[tokio::test]
async fn a_result_stays_as_it_was_at_the_success() {
    let site = Site::start().await;
    let (mut agent, encoder) = site.desk("desk").await;
    let (grant, before) = granted(&site).await;
    let ended = issue(&site, &mut agent, &encoder, &before, A).await;
    let id = json!({"access_grant_id": grant["access_grant_id"]});
    site.bench.post("/access_grants/delete", id).await.ok("ok");
    assert_eq!(site.attempt(&ended["action_attempt_id"]).await, ended);
}

#[tokio::test]
async fn encode_credential_takes_an_access_method_too() {
    let site = Site::start().await;
    let (mut agent, encoder) = site.desk("desk").await;
    let (_, before) = granted(&site).await;
    let path = "/acs/encoders/encode_credential";
    let body = json!({"acs_encoder_id": encoder, "access_method_id": before["access_method_id"]});
    let attempt = site.bench.post(path, body).await;
    let attempt = attempt.ok("action_attempt").clone();
    let job = agent.job().await;
    agent.present_for_image(&job, 1, A).await;
    agent.finish_written(&job, A).await;
    let ended = site.ended(&attempt).await;
    assert_eq!(ended["action_type"], "ENCODE_CREDENTIAL");
    assert_eq!(ended["result"]["card_number"], A);
    assert_eq!(
        method(&site, &before["access_method_id"]).await["is_issued"],
        true
    );
}

#[tokio::test]
async fn a_changed_access_method_goes_onto_its_own_card_again() {
    let site = Site::start().await;
    let (mut agent, encoder) = site.desk("desk").await;
    let (grant, before) = granted(&site).await;
    issue(&site, &mut agent, &encoder, &before, A).await;
    let id = &grant["access_grant_id"];
    let later = json!({"access_grant_id": id, "ends_at": "2028-02-01T12:00:00Z"});
    site.bench
        .post("/access_grants/update", later)
        .await
        .ok("ok");

    let changed = method(&site, &before["access_method_id"]).await;
    assert_eq!(changed["is_issued"], true);
    assert_eq!(changed["is_encoding_required"], true);
    assert_eq!(
        changed["warnings"][0]["warning_code"],
        "updating_access_times"
    );
    let mutation = &changed["pending_mutations"][0];
    assert_eq!(mutation["mutation_code"], "updating_access_times");
    assert_eq!(mutation["from"]["ends_at"], "2027-12-31T11:00:00.000Z");
    assert_eq!(mutation["to"]["ends_at"], "2028-02-01T12:00:00.000Z");
    let path = format!("/access_grants/get?access_grant_id={}", text(id));
    let shown = site.bench.get(&path).await;
    let mutation = &shown.ok("access_grant")["pending_mutations"][0];
    assert_eq!(mutation["access_method_ids"], grant["access_method_ids"]);
    let credentials = site.bench.get("/acs/credentials/list").await;
    let warning = &credentials.ok("acs_credentials")[0]["warnings"][0];
    assert_eq!(warning["warning_code"], "needs_to_be_reissued");

    encode(&site, &encoder, &before).await;
    let job = agent.job().await;
    let other = agent.present(&job, 1, card(B)).await;
    assert!(
        matches!(
            other.plan,
            Plan::Refuse {
                code: ErrorCode::CredentialCannotBeReissued,
                ..
            }
        ),
        "{other:?}"
    );
    agent.fail(&job, refused(&other.plan)).await;
    let ended = issue(&site, &mut agent, &encoder, &before, A).await;
    assert_eq!(ended["status"], "success");
    assert_eq!(ended["result"]["pending_mutations"], json!([]));
    assert_eq!(ended["result"]["is_encoding_required"], false);
    assert_eq!(
        events(&site, &before).await[2..],
        [
            "access_method.issued",
            "access_method.card_encoding_required",
            "access_method.issued",
        ]
    );
}

fn refused(plan: &Plan) -> JobError {
    let Plan::Refuse { code, message } = plan else {
        panic!("expected a refusal, got {plan:?}");
    };
    JobError {
        code: *code,
        message: message.clone(),
        touched: Touched::Untouched,
        hardware: None,
    }
}

#[tokio::test]
async fn a_change_of_entrances_needs_the_card_again_too() {
    let site = Site::start().await;
    let (mut agent, encoder) = site.desk("desk").await;
    let door = site.bench.entrance(site.bench.system, "101").await;
    let body = json!({"name": "Room", "acs_entrance_ids": [door]});
    let space = site.bench.post("/spaces/create", body).await;
    let space = space.ok("space")["space_id"].clone();
    let body = json!({
        "user_identity": {"full_name": "Jane Doe"},
        "space_ids": [space],
        "requested_access_methods": [{"mode": "card"}],
    });
    let grant = site.bench.post("/access_grants/create", body).await;
    let grant = grant.ok("access_grant").clone();
    let before = method(&site, &grant["access_method_ids"][0]).await;
    issue(&site, &mut agent, &encoder, &before, A).await;
    let pool = site.bench.entrance(site.bench.system, "Pool").await;
    let add = json!({"space_id": space, "acs_entrance_ids": [pool]});
    site.bench
        .post("/spaces/add_acs_entrances", add)
        .await
        .ok("ok");
    let changed = method(&site, &before["access_method_id"]).await;
    assert_eq!(changed["is_encoding_required"], true);
    assert_eq!(
        changed["pending_mutations"][0]["mutation_code"],
        "provisioning_access"
    );
    issue(&site, &mut agent, &encoder, &before, A).await;
    let id = text(&grant["access_grant_id"]);
    let query = format!("access_grant_id={id}&event_type=access_grant.access_granted_to_all_doors");
    assert_eq!(
        site.bench.events(&query).await.len(),
        2,
        "with the first and with the new door"
    );
}

#[tokio::test]
async fn a_card_that_is_encoded_for_the_next_guest_is_lost_to_the_first() {
    let site = Site::start().await;
    let (mut agent, encoder) = site.desk("desk").await;
    let (first_grant, first) = granted(&site).await;
    let (_, second) = granted(&site).await;
    issue(&site, &mut agent, &encoder, &first, A).await;
    issue(&site, &mut agent, &encoder, &second, A).await;
    assert_eq!(
        events(&site, &second).await[2..],
        ["access_method.reissued"]
    );
    assert_eq!(
        events(&site, &first).await[2..],
        [
            "access_method.issued",
            "access_method.revoked",
            "access_method.card_encoding_required",
        ]
    );
    let lost = method(&site, &first["access_method_id"]).await;
    assert_eq!(lost["is_issued"], false);
    assert_eq!(lost["is_encoding_required"], true);
    assert_eq!(lost["card_number"], Value::Null);
    let id = text(&first_grant["access_grant_id"]);
    let query = format!("access_grant_id={id}&event_type=access_grant.access_to_door_lost");
    assert_eq!(site.bench.events(&query).await.len(), 2);
}

#[tokio::test]
async fn deleting_an_access_method_ends_its_waiting_encode() {
    let site = Site::start().await;
    let (mut agent, encoder) = site.desk("desk").await;
    let (grant, before) = granted(&site).await;
    let attempt = encode(&site, &encoder, &before).await;
    let job = agent.job().await;
    let id = json!({"access_grant_id": grant["access_grant_id"]});
    site.bench.post("/access_methods/delete", id).await.ok("ok");
    let ended = site.ended(&attempt).await;
    assert_eq!(ended["error"]["type"], "credential_deleted");
    assert_eq!(ended["action_type"], "ENCODE_ACCESS_METHOD");
    let told = agent.next().await;
    assert!(
        matches!(&told, ServiceMessage::Cancel { job_id, .. } if *job_id == job.job_id),
        "{told:?}"
    );
}

#[tokio::test]
async fn what_cannot_be_encoded_is_refused_before_a_job_is_made() {
    let site = Site::start().await;
    let (_agent, encoder) = site.desk("desk").await;
    let annexe = site.bench.system_of(site.bench.workspace).await;
    let there = site.bench.entrance(annexe, "There").await;
    let elsewhere = site.bench.grant(&[there]).await;
    let (_, here) = granted(&site).await;
    for (body, expected) in [
        (json!({}), (400, "invalid_input")),
        (
            json!({"acs_encoder_id": encoder, "access_method_id": elsewhere["access_method_ids"][0]}),
            (400, "invalid_input"),
        ),
        (
            json!({"acs_encoder_id": encoder, "access_method_id": Uuid::new_v4()}),
            (404, "access_method_not_found"),
        ),
        (
            json!({"acs_encoder_id": Uuid::new_v4(), "access_method_id": here["access_method_id"]}),
            (404, "acs_encoder_not_found"),
        ),
    ] {
        let answer = site
            .bench
            .post("/access_methods/encode", body.clone())
            .await;
        assert_eq!(answer.error(), expected, "{body}");
    }
    let attempts = site.bench.get("/action_attempts/list").await;
    assert_eq!(*attempts.ok("action_attempts"), json!([]));
}

/// Scans a card to assign it, from the request to the end.
async fn scan_to_assign(
    site: &Site,
    agent: &mut Fake,
    encoder: &str,
    person: &Value,
    (uid, contents): (&str, CardContents),
) -> Value {
    let path = "/acs/encoders/scan_to_assign_credential";
    let body = json!({"acs_encoder_id": encoder, "user_identity_id": person});
    let attempt = site.bench.post(path, body).await;
    let attempt = attempt.ok("action_attempt").clone();
    assert_eq!(attempt["action_type"], "SCAN_TO_ASSIGN_CREDENTIAL");
    let job = agent.job().await;
    agent
        .say(AgentMessage::JobAccepted { job_id: job.job_id })
        .await;
    let plan = agent.present(&job, 1, card(uid)).await;
    assert!(matches!(plan.plan, Plan::Read { .. }), "{plan:?}");
    let finished = JobFinished {
        contents: Some(contents),
        ..agent.outcome(&job, Outcome::Success, Touched::Untouched, Some(card(uid)))
    };
    agent.finish(finished).await;
    site.ended(&attempt).await
}

#[tokio::test]
async fn a_scanned_card_of_nobody_is_assigned_and_others_are_not() {
    let site = Site::start().await;
    let (mut agent, encoder) = site.desk("desk").await;
    let credential = site.credential().await;
    let (_, image) = site.issue(&mut agent, &encoder, &credential, A).await;
    let person = site.bench.person("John Doe").await;
    let taken = scan_to_assign(&site, &mut agent, &encoder, &person, (A, as_read(&image))).await;
    assert_eq!(taken["status"], "error");
    assert_eq!(taken["error"]["type"], "uncategorized_error");
    let foreign = (B, CardContents::UidOnly);
    let empty = scan_to_assign(&site, &mut agent, &encoder, &person, foreign).await;
    assert_eq!(empty["error"]["type"], "uncategorized_error");

    let owner = site.credential_now(&credential).await["acs_user_id"].clone();
    let body = json!({"acs_credential_id": credential, "acs_user_id": owner});
    site.bench
        .post("/acs/credentials/unassign", body)
        .await
        .ok("acs_credential");
    let done = scan_to_assign(&site, &mut agent, &encoder, &person, (A, as_read(&image))).await;
    assert_eq!(done["status"], "success", "{done}");
    assert_eq!(done["result"]["acs_credential_id"], json!(credential));
    assert_eq!(done["result"]["user_identity_id"], person);
    assert_eq!(site.credential_now(&credential).await, done["result"]);
}

#[tokio::test]
async fn where_cards_are_registered_a_scan_registers_and_assigns_them() {
    let site = Site::start().await;
    let (mut agent, encoder) = site.desk("desk").await;
    let state = &site.bench.state;
    let mut conn = state.store.write().await.unwrap();
    systems::set_kind(&mut conn, site.bench.system, SystemKind::Brivo)
        .await
        .unwrap();
    conn.commit().await.unwrap();

    let seen = site
        .scanned(&mut agent, &encoder, card(A), CardContents::UidOnly)
        .await;
    let on_seam = &seen["result"]["acs_credential_on_seam"];
    assert_eq!(on_seam["is_managed"], false);
    assert_eq!(on_seam["card_number"], A);
    let again = site
        .scanned(&mut agent, &encoder, card(A), CardContents::UidOnly)
        .await;
    assert_eq!(again["result"]["acs_credential_on_seam"], *on_seam);

    let person = site.bench.person("Jane Doe").await;
    for uid in [A, B] {
        let scanned = (uid, CardContents::UidOnly);
        let done = scan_to_assign(&site, &mut agent, &encoder, &person, scanned).await;
        assert_eq!(done["status"], "success", "{done}");
        assert_eq!(done["result"]["card_number"], uid);
        assert_eq!(done["result"]["is_managed"], true);
    }
    let list = site
        .bench
        .post("/acs/credentials/unmanaged/list", json!({}))
        .await;
    assert_eq!(*list.ok("acs_credentials"), json!([]));
    let body =
        json!({"acs_encoder_id": encoder, "acs_credential_id": on_seam["acs_credential_id"]});
    let refused = site
        .bench
        .post("/acs/encoders/encode_credential", body)
        .await;
    assert_eq!(refused.error(), (400, "invalid_input"));
}

#[tokio::test]
async fn another_agents_outcome_assigns_nothing() {
    let site = Site::start().await;
    let (mut agent, encoder) = site.desk("desk").await;
    let (mut stranger, _) = site.desk("annexe").await;
    let credential = site.credential().await;
    let (_, image) = site.issue(&mut agent, &encoder, &credential, A).await;
    let owner = site.credential_now(&credential).await["acs_user_id"].clone();
    let body = json!({"acs_credential_id": credential, "acs_user_id": owner});
    let path = "/acs/credentials/unassign";
    site.bench.post(path, body).await.ok("acs_credential");

    let path = "/acs/encoders/scan_to_assign_credential";
    let body = json!({"acs_encoder_id": encoder, "acs_user_id": owner});
    site.bench.post(path, body).await.ok("action_attempt");
    let job = agent.job().await;
    agent.present(&job, 1, card(A)).await;
    let forged = JobFinished {
        contents: Some(as_read(&image)),
        ..stranger.outcome(&job, Outcome::Success, Touched::Untouched, Some(card(A)))
    };
    stranger.say(AgentMessage::JobFinished(forged)).await;
    stranger.bye().await;
    let now = site.credential_now(&credential).await;
    assert_eq!(now.get("acs_user_id"), None, "{now}");
}

#[tokio::test]
async fn tags_are_detected_in_salto_ks_systems_alone() {
    let site = Site::start().await;
    let (_agent, encoder) = site.desk("desk").await;
    let metadata = json!({"detect_new_tags": true});
    let body = json!({"acs_encoder_id": encoder, "salto_ks_metadata": metadata});
    let refused = site.bench.post("/acs/encoders/scan_credential", body).await;
    assert_eq!(refused.error(), (400, "invalid_input"));
    let metadata = json!({"detect_new_tags": false});
    let body = json!({"acs_encoder_id": encoder, "salto_ks_metadata": metadata});
    let taken = site.bench.post("/acs/encoders/scan_credential", body).await;
    assert_eq!(taken.ok("action_attempt")["status"], "pending");
}
