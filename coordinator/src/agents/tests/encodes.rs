//! Encodes, and requests that nothing comes of.

use encoder_protocols::{
    card::{CardDescription, Technology},
    fault::HardwareFault,
    wire::{
        AgentMessage, ByeReason, CardPresented, EncoderKey, ErrorCode, JobError, JobFinished,
        JobId, JobKind, OpenJob, OpenJobState, Outcome, Plan, ServiceMessage, Touched,
    },
};
use serde_json::{Value, json};
use sqlx::Row as _;

use super::fake::{Fake, Site, card, text};

const A: &str = "aabbccdd";
const B: &str = "bbccddee";

pub(super) fn error(code: ErrorCode, touched: Touched) -> JobError {
    JobError {
        code,
        message: "as the agent says".into(),
        touched,
        hardware: None,
    }
}

#[tokio::test]
async fn an_encode_succeeds_and_the_credential_says_so() {
    let site = Site::start().await;
    let (mut agent, encoder) = site.desk("desk").await;
    let credential = site.credential().await;
    let (ended, _) = site.issue(&mut agent, &encoder, &credential, A).await;
    assert_eq!(ended["status"], "success");
    assert_eq!(ended["action_type"], "ENCODE_CREDENTIAL");
    assert_eq!(ended["error"], Value::Null);
    let result = &ended["result"];
    assert_eq!(result["acs_credential_id"], json!(credential));
    assert_eq!(result["card_number"], A);
    assert_eq!(result["is_issued"], true);
    assert_eq!(result["issued_at"], "2026-11-21T10:00:00.000Z");
    assert_eq!(result["warnings"], json!([]));
    assert_eq!(site.credential_now(&credential).await, *result);
    assert_eq!(site.events_of(&credential).await, ["acs_credential.issued"]);
}

#[tokio::test]
async fn every_step_of_an_encode_leaves_an_audit_row() {
    let site = Site::start().await;
    let (mut agent, encoder) = site.desk("desk").await;
    let credential = site.credential().await;
    site.issue(&mut agent, &encoder, &credential, A).await;
    let mut conn = site.bench.state.store.read().await.unwrap();
    let rows = sqlx::query(
        "SELECT * FROM audit WHERE acs_credential_id = ? AND job_id IS NOT NULL ORDER BY audit_id",
    )
    .bind(&credential)
    .fetch_all(&mut *conn)
    .await
    .unwrap();
    let lines: Vec<(String, Option<String>, Option<String>)> = rows
        .iter()
        .map(|row| (row.get("action"), row.get("card_uid"), row.get("outcome")))
        .collect();
    let on_a = Some(A.to_owned());
    assert_eq!(
        lines,
        [
            ("encode.requested".to_owned(), None, None),
            ("encode.bound".to_owned(), on_a.clone(), None),
            (
                "encode.outcome".to_owned(),
                on_a.clone(),
                Some("success, written".to_owned())
            ),
            ("encode.ended".to_owned(), on_a, Some("success".to_owned())),
        ]
    );
    for row in &rows {
        for column in [
            "api_key_id",
            "agent_id",
            "acs_encoder_id",
            "job_id",
            "acs_system_id",
        ] {
            assert!(row.get::<Option<String>, _>(column).is_some(), "{column}");
        }
    }
}

#[tokio::test]
async fn a_failed_encode_tells_code_hardware_and_what_it_did_to_the_card() {
    let site = Site::start().await;
    let (mut agent, encoder) = site.desk("desk").await;
    let credential = site.credential().await;
    let attempt = site.encode(&encoder, &credential).await;
    let job = agent.job().await;
    agent.present_for_image(&job, 1, A).await;
    let fault = HardwareFault {
        driver: "pn532".into(),
        code: "0x14".into(),
        meaning: "authentication failed".into(),
    };
    let told = JobError {
        hardware: Some(fault),
        ..error(ErrorCode::EncodingInterrupted, Touched::Unknown)
    };
    agent.fail(&job, told).await;
    let ended = site.ended(&attempt).await;
    assert_eq!(ended["result"], Value::Null);
    assert_eq!(
        ended["error"],
        json!({
            "type": "encoding_interrupted",
            "message": "encoding_interrupted: as the agent says",
            "touched": "unknown",
            "hardware": {"driver": "pn532", "code": "0x14", "meaning": "authentication failed"},
        })
    );
    assert_eq!(site.credential_now(&credential).await["is_issued"], false);
}

#[tokio::test]
async fn a_card_that_cannot_be_used_is_refused_before_anything_is_bound() {
    let site = Site::start().await;
    let (mut agent, encoder) = site.desk("desk").await;
    for card in [
        CardDescription {
            technology: Technology::Desfire,
            ..card(A)
        },
        card("08bbccdd"),
    ] {
        let credential = site.credential().await;
        site.encode(&encoder, &credential).await;
        let job = agent.job().await;
        let plan = agent.present(&job, 1, card).await;
        let Plan::Refuse { code, .. } = plan.plan else {
            panic!("expected a refusal, got {plan:?}");
        };
        assert_eq!(code, ErrorCode::IncompatibleCardFormat);
        agent.fail(&job, error(code, Touched::Untouched)).await;
    }
}

#[tokio::test]
async fn a_card_that_held_another_credential_is_reissued_and_the_other_one_loses_it() {
    let site = Site::start().await;
    let (mut agent, encoder) = site.desk("desk").await;
    let (first, second) = (site.credential().await, site.credential().await);
    site.issue(&mut agent, &encoder, &first, A).await;
    let (ended, _) = site.issue(&mut agent, &encoder, &second, A).await;
    assert_eq!(ended["status"], "success");
    assert_eq!(site.events_of(&second).await, ["acs_credential.reissued"]);
    assert_eq!(
        site.events_of(&first).await,
        ["acs_credential.issued", "acs_credential.invalidated"]
    );
    let lost = site.credential_now(&first).await;
    assert_eq!(
        (&lost["is_issued"], &lost["card_number"]),
        (&json!(false), &Value::Null)
    );
    // The overwritten credential may go back onto the card that it was on, and onto no other.
    site.encode(&encoder, &first).await;
    let job = agent.job().await;
    let elsewhere = agent.present(&job, 1, card(B)).await;
    assert!(
        matches!(
            elsewhere.plan,
            Plan::Refuse {
                code: ErrorCode::CredentialCannotBeReissued,
                ..
            }
        ),
        "{elsewhere:?}"
    );
}

#[tokio::test]
async fn an_unchanged_credential_is_not_encoded_again_and_a_changed_one_on_its_own_card_alone() {
    let site = Site::start().await;
    let (mut agent, encoder) = site.desk("desk").await;
    let credential = site.credential().await;
    site.issue(&mut agent, &encoder, &credential, A).await;
    let again = site.encode(&encoder, &credential).await;
    assert_eq!(again["status"], "error");
    assert_eq!(again["error"]["type"], "credential_cannot_be_reissued");
    let change = json!({"acs_credential_id": credential, "ends_at": "2027-02-01T12:00:00Z"});
    site.bench
        .post("/acs/credentials/update", change)
        .await
        .ok("acs_credential");
    let attempt = site.encode(&encoder, &credential).await;
    let job = agent.job().await;
    let elsewhere = agent.present(&job, 1, card(B)).await;
    assert!(matches!(
        elsewhere.plan,
        Plan::Refuse {
            code: ErrorCode::CredentialCannotBeReissued,
            ..
        }
    ));
    agent
        .fail(
            &job,
            error(ErrorCode::CredentialCannotBeReissued, Touched::Untouched),
        )
        .await;
    site.ended(&attempt).await;
    let (ended, _) = site.issue(&mut agent, &encoder, &credential, A).await;
    assert_eq!(ended["status"], "success");
    assert_eq!(ended["result"]["warnings"], json!([]));
}

#[tokio::test]
async fn pressing_again_answers_with_the_same_attempt() {
    let site = Site::start().await;
    let (mut agent, encoder) = site.desk("desk").await;
    let credential = site.credential().await;
    let first = site.encode(&encoder, &credential).await;
    let second = site.encode(&encoder, &credential).await;
    assert_eq!(first, second);
    let job = agent.job().await;
    assert_eq!(job.job_id.0.to_string(), text(&first["action_attempt_id"]));
    let other = site.credential().await;
    site.encode(&encoder, &other).await;
    assert_eq!(agent.job().await.credential_id.unwrap().to_string(), other);
}

#[tokio::test]
async fn two_encodes_on_one_encoder_queue_up_and_both_succeed() {
    let site = Site::start().await;
    let (mut agent, encoder) = site.desk("desk").await;
    let (first, second) = (site.credential().await, site.credential().await);
    let (one, two) = tokio::join!(
        site.encode(&encoder, &first),
        site.encode(&encoder, &second)
    );
    let jobs = [agent.job().await, agent.job().await];
    for (job, uid) in jobs.iter().zip([A, B]) {
        agent.present_for_image(job, 1, uid).await;
        agent.finish_written(job, uid).await;
    }
    for attempt in [one, two] {
        assert_eq!(site.ended(&attempt).await["status"], "success");
    }
}

#[tokio::test]
async fn an_absent_agent_or_encoder_ends_the_request_at_once() {
    let site = Site::start().await;
    let (mut agent, encoder) = site.desk("desk").await;
    let credential = site.credential().await;
    agent
        .say(AgentMessage::Inventory {
            encoders: vec![],
            problems: vec![],
        })
        .await;
    agent.list(&site, &["other"]).await;
    let unplugged = site.encode(&encoder, &credential).await;
    assert_eq!(unplugged["error"]["type"], "encoder_not_online");
    let (agent, encoder) = site.desk("second").await;
    drop(agent);
    // The service may take a moment to notice; every scan is a new attempt.
    let away = loop {
        let attempt = site.scan(&encoder).await;
        if attempt["status"] == "error" {
            break attempt;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(away["error"]["type"], "bridge_disconnected");
    assert!(text(&away["error"]["message"]).contains("second"));
}

#[tokio::test]
async fn deleting_a_credential_cancels_its_waiting_encode() {
    let site = Site::start().await;
    let (mut agent, encoder) = site.desk("desk").await;
    let credential = site.credential().await;
    let attempt = site.encode(&encoder, &credential).await;
    let job = agent.job().await;
    let gone = json!({"acs_credential_id": credential});
    assert!(
        site.bench
            .post("/acs/credentials/delete", gone)
            .await
            .status
            .is_success()
    );
    let ServiceMessage::Cancel { job_id, code, .. } = agent.next().await else {
        panic!("expected a cancel");
    };
    assert_eq!((job_id, code), (job.job_id, ErrorCode::CredentialDeleted));
    agent.fail(&job, error(code, Touched::Untouched)).await;
    let ended = site.ended(&attempt).await;
    assert_eq!(ended["error"]["type"], "credential_deleted");
}

#[tokio::test]
async fn a_card_for_an_unknown_job_is_answered_by_cancel() {
    let site = Site::start().await;
    let (mut agent, encoder) = site.desk("desk").await;
    site.scan(&encoder).await;
    let mut job = agent.job().await;
    job.job_id.0 = uuid::Uuid::new_v4();
    let presented = CardPresented {
        job_id: job.job_id,
        n: 1,
        card: card(A),
    };
    agent.say(AgentMessage::CardPresented(presented)).await;
    let answer = agent.next().await;
    assert!(
        matches!(answer, ServiceMessage::Cancel { job_id, .. } if job_id == job.job_id),
        "{answer:?}"
    );
}

#[tokio::test]
async fn wrong_requests_are_told_what_is_wrong() {
    let site = Site::start().await;
    let (_agent, encoder) = site.desk("desk").await;
    let credential = site.credential().await;
    let nobody = uuid::Uuid::new_v4();
    let encode = "/acs/encoders/encode_credential";
    let scan = "/acs/encoders/scan_credential";
    let elsewhere = {
        let other = site.bench.system_of(site.bench.workspace).await;
        let body = json!({"acs_system_id": other, "full_name": "Jane"});
        let user = site.bench.post("/acs/users/create", body).await;
        let body =
            json!({"acs_user_id": user.ok("acs_user")["acs_user_id"], "access_method": "card"});
        let made = site.bench.post("/acs/credentials/create", body).await;
        made.ok("acs_credential")["acs_credential_id"].clone()
    };
    for (path, body, expected) in [
        (scan, json!({}), (400, "invalid_input")),
        (
            scan,
            json!({"acs_encoder_id": "desk"}),
            (400, "invalid_input"),
        ),
        (
            scan,
            json!({"acs_encoder_id": nobody}),
            (404, "acs_encoder_not_found"),
        ),
        (
            encode,
            json!({"acs_encoder_id": encoder}),
            (400, "invalid_input"),
        ),
        (
            encode,
            json!({"acs_encoder_id": encoder, "access_method_id": nobody}),
            (404, "access_method_not_found"),
        ),
        (
            encode,
            json!({"acs_encoder_id": nobody, "acs_credential_id": credential}),
            (404, "acs_encoder_not_found"),
        ),
        (
            encode,
            json!({"acs_encoder_id": encoder, "acs_credential_id": nobody}),
            (404, "acs_credential_not_found"),
        ),
        (
            encode,
            json!({"acs_encoder_id": credential, "acs_credential_id": encoder}),
            (404, "acs_encoder_not_found"),
        ),
        (
            encode,
            json!({"acs_encoder_id": encoder, "acs_credential_id": elsewhere}),
            (400, "invalid_input"),
        ),
        ("/acs/encoders/list", json!({}), (400, "invalid_input")),
        (
            "/acs/encoders/get",
            json!({"acs_encoder_id": nobody}),
            (404, "acs_encoder_not_found"),
        ),
        (
            "/action_attempts/get",
            json!({"action_attempt_id": nobody}),
            (404, "action_attempt_not_found"),
        ),
    ] {
        let answer = site.bench.post(path, body.clone()).await;
        assert_eq!(answer.error(), expected, "{path} {body}");
    }
    let (_, key) = site.bench.neighbour().await;
    let body = json!({"acs_encoder_id": encoder});
    let theirs = site.bench.post_as(&key, scan, body).await;
    assert_eq!(theirs.error(), (404, "acs_encoder_not_found"));
}

#[tokio::test]
async fn attempts_are_listed_page_by_page_in_order() {
    let site = Site::start().await;
    let (_agent, encoder) = site.desk("desk").await;
    let mut made = Vec::new();
    for _ in 0..3 {
        made.push(site.scan(&encoder).await["action_attempt_id"].clone());
    }
    let body = json!({"limit": 2});
    let page = site.bench.post("/action_attempts/list", body).await;
    let ids = |answer: &crate::http::bench::Answered| -> Vec<Value> {
        let rows = answer.ok("action_attempts").as_array().unwrap().clone();
        rows.iter()
            .map(|row| row["action_attempt_id"].clone())
            .collect()
    };
    assert_eq!(ids(&page), made[..2]);
    let cursor = &page.body["pagination"]["next_page_cursor"];
    let body = json!({"limit": 2, "page_cursor": cursor});
    let rest = site.bench.post("/action_attempts/list", body).await;
    assert_eq!(ids(&rest), made[2..]);
    let body = json!({"action_attempt_ids": [made[1]]});
    let named = site.bench.post("/action_attempts/list", body).await;
    assert_eq!(ids(&named), made[1..2]);
}

#[tokio::test]
async fn an_agent_says_nothing_of_another_systems_credential() {
    let site = Site::start().await;
    let credential = site.credential().await;
    let before = site.credential_now(&credential).await;
    let (system, _) = site.bench.neighbour().await;
    let (_, token) = site.agent_of(system, "theirs").await;
    let mut agent = Fake::connect(&site, &token).await;
    let named: uuid::Uuid = credential.parse().unwrap();
    agent
        .say(AgentMessage::JobFinished(JobFinished {
            sequence: 1,
            job_id: JobId(named),
            kind: JobKind::Encode,
            credential_id: Some(named),
            outcome: Outcome::Success,
            touched: Touched::Written,
            card: Some(card(A)),
            card_number: None,
            issued_at: None,
            contents: None,
            error: None,
        }))
        .await;
    assert_eq!(agent.bye().await.reason, ByeReason::ProtocolError);
    let mut agent = Fake::dial(&site, &token).await;
    agent
        .hello(vec![OpenJob {
            job_id: JobId(named),
            encoder_key: EncoderKey("theirs".into()),
            kind: JobKind::Encode,
            credential_id: Some(named),
            state: OpenJobState::Accepted,
        }])
        .await;
    assert_eq!(agent.bye().await.reason, ByeReason::ProtocolError);
    assert_eq!(site.credential_now(&credential).await, before);
    let (mut own, encoder) = site.desk("desk").await;
    let (ended, _) = site.issue(&mut own, &encoder, &credential, B).await;
    assert_eq!(ended["status"], "success");
}
