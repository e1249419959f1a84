//! Simulated encoders: everything that the API tells of cards, without an agent.

use serde_json::{Value, json};
use uuid::Uuid;

use super::fake::{Site, text};
use crate::{
    jobs::SystemId,
    operator::{Command, Refused, Report},
    store::systems::{self, SystemKind},
};

impl Site {
    /// A simulated encoder of the bench's system.
    pub(super) async fn simulated(&self) -> String {
        let command = Command::CreateEncoder {
            system: SystemId(self.bench.system),
            name: "Front Desk".into(),
        };
        match self.command(&command).await {
            Ok(Report::Created { encoder }) => encoder.to_string(),
            other => panic!("expected an encoder, got {other:?}"),
        }
    }

    pub(super) async fn simulate(&self, what: &str, body: Value) {
        let path = format!("/acs/encoders/simulate/next_credential_{what}");
        self.bench.post(&path, body).await.ok("ok");
    }

    /// An encode, from the request to the end.
    pub(super) async fn encoded(&self, encoder: &str, credential: &str) -> Value {
        let attempt = self.encode(encoder, credential).await;
        self.ended(&attempt).await
    }

    async fn scanned_there(&self, encoder: &str) -> Value {
        let attempt = self.scan(encoder).await;
        assert_eq!(attempt["status"], "pending", "{attempt}");
        self.ended(&attempt).await
    }
}

#[tokio::test]
async fn a_simulated_encoder_is_listed_and_encodes_with_the_events_of_any() {
    let site = Site::start().await;
    let encoder = site.simulated().await;
    let path = format!("/acs/encoders/get?acs_encoder_id={encoder}");
    let shown = site.bench.get(&path).await;
    assert_eq!(shown.ok("acs_encoder")["display_name"], "Front Desk");
    let events = site
        .bench
        .events(&format!("acs_encoder_id={encoder}"))
        .await;
    assert_eq!(events, ["acs_encoder.added"]);

    let credential = site.credential().await;
    let attempt = site.encode(&encoder, &credential).await;
    assert_eq!(attempt["status"], "pending", "{attempt}");
    let again = site.encode(&encoder, &credential).await;
    assert_eq!(again["action_attempt_id"], attempt["action_attempt_id"]);
    let ended = site.ended(&attempt).await;
    assert_eq!(ended["status"], "success", "{ended}");
    let issued = &ended["result"];
    assert_eq!(issued["is_issued"], true);
    assert_eq!(text(&issued["card_number"]).len(), 14);
    let of = format!("acs_credential_id={credential}");
    assert_eq!(site.bench.events(&of).await, ["acs_credential.issued"]);

    let again = site.encoded(&encoder, &credential).await;
    assert_eq!(again["error"]["type"], "credential_cannot_be_reissued");
    let change = json!({"acs_credential_id": credential, "ends_at": "2027-02-01T12:00:00Z"});
    let path = "/acs/credentials/update";
    site.bench.post(path, change).await.ok("acs_credential");
    let renewed = site.encoded(&encoder, &credential).await;
    assert_eq!(renewed["result"]["card_number"], issued["card_number"]);
}

#[tokio::test]
async fn the_next_encode_ends_as_it_was_said_and_the_one_after_as_usual() {
    let site = Site::start().await;
    let encoder = site.simulated().await;
    let fails = |code: &str| json!({"acs_encoder_id": encoder, "error_code": code});
    for (said, code, touched) in [
        (
            "no_credential_on_encoder",
            "no_card_on_encoder",
            "untouched",
        ),
        ("encoding_interrupted", "encoding_interrupted", "unknown"),
        ("uncategorized_error", "uncategorized_error", "untouched"),
        (
            "action_attempt_expired",
            "action_attempt_expired",
            "untouched",
        ),
    ] {
        let credential = site.credential().await;
        site.simulate("encode_will_fail", fails(said)).await;
        let failed = site.encoded(&encoder, &credential).await;
        assert_eq!(failed["error"]["type"], code, "{failed}");
        assert_eq!(failed["error"]["touched"], touched, "{failed}");
        let after = site.encoded(&encoder, &credential).await;
        assert_eq!(after["status"], "success", "{said}: {after}");
    }
    let credential = site.credential().await;
    site.simulate("encode_will_fail", fails("uncategorized_error"))
        .await;
    let succeeds = json!({"acs_encoder_id": encoder, "scenario": "credential_is_issued"});
    site.simulate("encode_will_succeed", succeeds).await;
    let ended = site.encoded(&encoder, &credential).await;
    assert_eq!(
        ended["status"], "success",
        "what was said last counts: {ended}"
    );
}

#[tokio::test]
async fn a_failure_of_one_credential_leaves_others_alone() {
    let site = Site::start().await;
    let encoder = site.simulated().await;
    let (one, other) = (site.credential().await, site.credential().await);
    let body = json!({
        "acs_encoder_id": encoder,
        "acs_credential_id": one,
        "error_code": "uncategorized_error",
    });
    site.simulate("encode_will_fail", body).await;
    assert_eq!(site.encoded(&encoder, &other).await["status"], "success");
    assert_eq!(site.encoded(&encoder, &one).await["status"], "error");
}

#[tokio::test]
async fn a_scan_finds_what_it_was_said_to_find() {
    let site = Site::start().await;
    let encoder = site.simulated().await;
    let empty = site.scanned_there(&encoder).await;
    assert_eq!(empty["result"]["acs_credential_on_seam"], Value::Null);

    let credential = site.credential().await;
    let issued = site.encoded(&encoder, &credential).await;
    let number = &issued["result"]["card_number"];
    let usual = site.scanned_there(&encoder).await;
    assert_eq!(
        usual["result"]["acs_credential_on_encoder"]["card_number"],
        *number
    );
    assert_eq!(
        usual["result"]["acs_credential_on_seam"]["acs_credential_id"],
        json!(credential)
    );
    assert_eq!(usual["result"]["warnings"], json!([]));

    for (scenario, warning, known) in [
        (
            "credential_on_encoder_needs_update",
            "acs_credential_on_encoder_out_of_sync",
            true,
        ),
        (
            "credential_does_not_exist_on_seam",
            "acs_credential_on_seam_not_found",
            false,
        ),
        (
            "credential_on_encoder_is_empty",
            "acs_credential_on_seam_not_found",
            false,
        ),
    ] {
        let body = json!({"acs_encoder_id": encoder, "scenario": scenario});
        site.simulate("scan_will_succeed", body).await;
        let scan = site.scanned_there(&encoder).await;
        let result = &scan["result"];
        assert_eq!(result["warnings"][0]["warning_code"], warning, "{scan}");
        assert_eq!(
            result["acs_credential_on_seam"].is_object(),
            known,
            "{scan}"
        );
    }
    let other = site.credential().await;
    let body = json!({"acs_encoder_id": encoder, "acs_credential_id_on_seam": other});
    site.simulate("scan_will_succeed", body).await;
    let scan = site.scanned_there(&encoder).await;
    assert_eq!(
        scan["result"]["acs_credential_on_seam"]["acs_credential_id"],
        json!(other)
    );
    for (said, code) in [
        ("no_credential_on_encoder", "no_card_on_encoder"),
        ("action_attempt_expired", "action_attempt_expired"),
    ] {
        let body = json!({"acs_encoder_id": encoder, "error_code": said});
        site.simulate("scan_will_fail", body).await;
        assert_eq!(site.scanned_there(&encoder).await["error"]["type"], code);
    }
}

#[tokio::test]
async fn access_methods_and_assigned_cards_work_without_hardware_too() {
    let site = Site::start().await;
    let encoder = site.simulated().await;
    let door = site.bench.entrance(site.bench.system, "Room 101").await;
    let grant = site.bench.grant(&[door]).await;
    let method = &grant["access_method_ids"][0];
    let body = json!({"acs_encoder_id": encoder, "access_method_id": method});
    let attempt = site.bench.post("/access_methods/encode", body).await;
    let ended = site.ended(attempt.ok("action_attempt")).await;
    assert_eq!(ended["action_type"], "ENCODE_ACCESS_METHOD");
    assert_eq!(ended["result"]["is_issued"], true, "{ended}");
    let id = text(&grant["access_grant_id"]);
    let events = site.bench.events(&format!("access_grant_id={id}")).await;
    assert!(
        events.iter().any(|event| event == "access_method.issued"),
        "{events:?}"
    );

    let mut conn = site.bench.state.store.write().await.unwrap();
    systems::set_kind(&mut conn, site.bench.system, SystemKind::SaltoKs)
        .await
        .unwrap();
    conn.commit().await.unwrap();
    let user = json!({"acs_system_id": site.bench.system, "full_name": "Jane Doe"});
    let user = site.bench.post("/acs/users/create", user).await;
    let user = user.ok("acs_user")["acs_user_id"].clone();
    let scan = |new_tags: bool| {
        let body = json!({
            "acs_encoder_id": encoder,
            "acs_user_id": user,
            "salto_ks_metadata": {"detect_new_tags": new_tags},
        });
        async {
            let path = "/acs/encoders/scan_to_assign_credential";
            let attempt = site.bench.post(path, body).await;
            site.ended(attempt.ok("action_attempt")).await
        }
    };
    let unknown =
        json!({"acs_encoder_id": encoder, "scenario": "credential_does_not_exist_on_seam"});
    site.simulate("scan_will_succeed", unknown.clone()).await;
    let none = scan(false).await;
    assert_eq!(none["error"]["type"], "no_card_on_encoder", "{none}");
    site.simulate("scan_will_succeed", unknown).await;
    let assigned = scan(true).await;
    assert_eq!(assigned["result"]["acs_user_id"], user, "{assigned}");
}

#[tokio::test]
async fn a_simulated_job_survives_a_restart() {
    let site = Site::start().await;
    let encoder = site.simulated().await;
    let credential = site.credential().await;
    let attempt = site.encode(&encoder, &credential).await;
    let site = site.restart(Default::default()).await;
    assert_eq!(site.ended(&attempt).await["status"], "success");
}

#[tokio::test]
async fn a_credential_deleted_meanwhile_ends_the_job() {
    let site = Site::start().await;
    let encoder = site.simulated().await;
    let credential = site.credential().await;
    let attempt = site.encode(&encoder, &credential).await;
    let body = json!({"acs_credential_id": credential});
    site.bench
        .post("/acs/credentials/delete", body)
        .await
        .ok("ok");
    let ended = site.ended(&attempt).await;
    assert_eq!(ended["error"]["type"], "credential_deleted");
}

#[tokio::test]
async fn real_encoders_and_real_workspaces_are_not_simulated() {
    let site = Site::start().await;
    let (_agent, real) = site.desk("desk").await;
    for path in [
        "encode_will_succeed",
        "encode_will_fail",
        "scan_will_succeed",
        "scan_will_fail",
    ] {
        let path = format!("/acs/encoders/simulate/next_credential_{path}");
        let answer = site
            .bench
            .post(&path, json!({"acs_encoder_id": real}))
            .await;
        assert_eq!(answer.error(), (400, "invalid_input"), "{path}");
        let message = answer.body["error"]["message"].to_string();
        assert!(message.contains("--simulated"), "{message}");
        let unknown = json!({"acs_encoder_id": Uuid::new_v4()});
        let answer = site.bench.post(&path, unknown).await;
        assert_eq!(answer.error(), (404, "acs_encoder_not_found"));
    }
    let (theirs, key) = site.bench.neighbour().await;
    let command = Command::CreateEncoder {
        system: SystemId(theirs),
        name: "x".into(),
    };
    let refused = site.command(&command).await;
    assert!(
        matches!(refused, Err(Refused::NotSandbox { .. })),
        "{refused:?}"
    );
    let encoder = site.simulated().await;
    let path = "/acs/encoders/simulate/next_credential_scan_will_fail";
    let body = json!({"acs_encoder_id": encoder});
    let answer = site.bench.post_as(&key, path, body).await;
    assert_eq!(answer.error(), (404, "acs_encoder_not_found"));
}

#[tokio::test]
async fn malformed_simulations_are_named() {
    let site = Site::start().await;
    let encoder = site.simulated().await;
    let credential = site.credential().await;
    for (path, body, field) in [
        ("encode_will_succeed", json!({}), "acs_encoder_id"),
        ("encode_will_succeed", json!({"scenario": "x"}), "scenario"),
        (
            "encode_will_succeed",
            json!({"error_code": "encoding_interrupted"}),
            "error_code",
        ),
        (
            "encode_will_fail",
            json!({"error_code": "card_on_fire"}),
            "error_code",
        ),
        ("encode_will_fail", json!({"error_code": 7}), "error_code"),
        (
            "encode_will_fail",
            json!({"acs_credential_id": credential}),
            "acs_credential_id",
        ),
        (
            "encode_will_fail",
            json!({"error_code": "uncategorized_error", "acs_credential_id": "x"}),
            "acs_credential_id",
        ),
        (
            "scan_will_succeed",
            json!({"scenario": "credential_is_issued"}),
            "scenario",
        ),
        (
            "scan_will_succeed",
            json!({"scenario": "credential_on_encoder_is_empty", "acs_credential_id_on_seam": credential}),
            "acs_credential_id_on_seam",
        ),
        (
            "scan_will_fail",
            json!({"error_code": "encoding_interrupted"}),
            "error_code",
        ),
        (
            "scan_will_fail",
            json!({"acs_credential_id": credential}),
            "acs_credential_id",
        ),
    ] {
        let mut body = body;
        if field != "acs_encoder_id" {
            body["acs_encoder_id"] = json!(encoder);
        }
        let path = format!("/acs/encoders/simulate/next_credential_{path}");
        let answer = site.bench.post(&path, body.clone()).await;
        assert_eq!(answer.error(), (400, "invalid_input"), "{path} {body}");
        let errors = &answer.body["error"]["validation_errors"][field];
        assert!(
            errors["_errors"][0].is_string(),
            "{path} {body}: {answer:?}"
        );
    }
    let body = json!({
        "acs_encoder_id": encoder,
        "error_code": "uncategorized_error",
        "acs_credential_id": Uuid::new_v4(),
    });
    let path = "/acs/encoders/simulate/next_credential_encode_will_fail";
    let answer = site.bench.post(path, body).await;
    assert_eq!(answer.error(), (404, "acs_credential_not_found"));
}
