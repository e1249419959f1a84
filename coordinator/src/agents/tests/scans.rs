//! Scans: what a card shows, and what has changed since it was written.

use encoder_protocols::{
    card::{CardContents, CardDescription, Technology},
    wire::{AgentMessage, ErrorCode, Plan, Touched},
};
use serde_json::{Value, json};

use super::{
    encodes::error,
    fake::{Site, card, text},
};
use crate::access_system::tests::as_read;

const A: &str = "aabbccdd";
const B: &str = "bbccddee";

#[tokio::test]
async fn a_scan_shows_what_was_encoded_and_what_has_changed_since() {
    let site = Site::start().await;
    let (mut agent, encoder) = site.desk("desk").await;
    let credential = site.credential().await;
    let (_, image) = site.issue(&mut agent, &encoder, &credential, A).await;
    let in_sync = site
        .scanned(&mut agent, &encoder, card(A), as_read(&image))
        .await;
    assert_eq!(in_sync["status"], "success");
    assert_eq!(in_sync["action_type"], "SCAN_CREDENTIAL");
    let found = &in_sync["result"];
    assert_eq!(found["warnings"], json!([]));
    assert_eq!(found["acs_credential_on_encoder"]["card_number"], A);
    assert_eq!(found["acs_credential_on_encoder"]["is_issued"], true);
    assert_eq!(
        found["acs_credential_on_encoder"]["starts_at"],
        "2026-12-01T15:00:00.000Z"
    );
    assert_eq!(
        found["acs_credential_on_encoder"]["ends_at"],
        "2027-01-04T12:00:00.000Z"
    );
    assert_eq!(
        found["acs_credential_on_seam"]["acs_credential_id"],
        json!(credential)
    );

    let change = json!({"acs_credential_id": credential, "ends_at": "2027-02-01T12:00:00Z"});
    site.bench
        .post("/acs/credentials/update", change)
        .await
        .ok("acs_credential");
    let changed = site
        .scanned(&mut agent, &encoder, card(A), as_read(&image))
        .await;
    assert_eq!(
        changed["result"]["warnings"],
        json!([{
            "warning_code": "acs_credential_on_encoder_out_of_sync",
            "warning_message": "The following properties are out of sync between acs_credential_on_encoder and \
                                acs_credential_on_seam: ends_at",
        }])
    );

    let gone = json!({"acs_credential_id": credential});
    assert!(
        site.bench
            .post("/acs/credentials/delete", gone)
            .await
            .status
            .is_success()
    );
    let deleted = site
        .scanned(&mut agent, &encoder, card(A), as_read(&image))
        .await;
    assert_eq!(deleted["result"]["acs_credential_on_seam"], Value::Null);
    assert_eq!(
        deleted["result"]["acs_credential_on_encoder"]["card_number"],
        A
    );
    let code = &deleted["result"]["warnings"][0]["warning_code"];
    assert_eq!(code, "acs_credential_on_seam_not_found");
}

#[tokio::test]
async fn a_credential_with_many_entrances_goes_onto_a_card_with_room_and_is_scanned_whole() {
    let site = Site::start().await;
    let (mut agent, encoder) = site.desk("desk").await;
    let mut doors = Vec::new();
    for number in 1..=20 {
        let name = format!("Room {number}");
        doors.push(site.bench.entrance(site.bench.system, &name).await);
    }
    let credential = site.credential_for(&doors).await;

    site.encode(&encoder, &credential).await;
    let job = agent.job().await;
    agent
        .say(AgentMessage::JobAccepted { job_id: job.job_id })
        .await;
    let small = CardDescription {
        technology: Technology::Ultralight,
        ..card(B)
    };
    let plan = agent.present(&job, 1, small).await;
    let Plan::Refuse { code, message } = plan.plan else {
        panic!("expected a refusal, got {plan:?}");
    };
    assert_eq!(code, ErrorCode::IncompatibleCardFormat);
    let numbers = "room for 3 entrances, the credential has 20";
    assert!(message.contains(numbers), "{message}");
    agent.fail(&job, error(code, Touched::Untouched)).await;

    let (ended, image) = site.issue(&mut agent, &encoder, &credential, A).await;
    assert_eq!(ended["status"], "success", "{ended}");
    let whole = site
        .scanned(&mut agent, &encoder, card(A), as_read(&image))
        .await;
    assert_eq!(
        whole["result"]["acs_credential_on_seam"]["acs_credential_id"],
        credential
    );
    assert_eq!(whole["result"]["warnings"], json!([]));

    let CardContents::MifareClassic { mut blocks, unread } = as_read(&image) else {
        panic!("a classic card");
    };
    blocks.retain(|block| block.block < 8);
    let contents = CardContents::MifareClassic { blocks, unread };
    let part = site.scanned(&mut agent, &encoder, card(A), contents).await;
    assert_eq!(part["result"]["acs_credential_on_seam"], Value::Null);
    let words = text(&part["result"]["warnings"][0]["warning_message"]);
    assert!(words.contains("not authentic"), "{words}");
}

#[tokio::test]
async fn a_scan_of_a_foreign_card_tells_its_number_and_nothing_else() {
    let site = Site::start().await;
    let (mut agent, encoder) = site.desk("desk").await;
    let credential = site.credential().await;
    let (_, image) = site.issue(&mut agent, &encoder, &credential, A).await;
    let on_encoder = |number: Value| json!({"card_number": number, "created_at": null, "starts_at": null, "ends_at": null, "is_issued": null});
    let empty = site
        .scanned(&mut agent, &encoder, card(B), CardContents::UidOnly)
        .await;
    let copy = site
        .scanned(&mut agent, &encoder, card(B), as_read(&image))
        .await;
    let random = site
        .scanned(
            &mut agent,
            &encoder,
            card("08112233"),
            CardContents::UidOnly,
        )
        .await;
    for (scan, number) in [
        (&empty, json!(B)),
        (&copy, json!(B)),
        (&random, Value::Null),
    ] {
        assert_eq!(scan["status"], "success", "{scan}");
        assert_eq!(
            scan["result"]["acs_credential_on_encoder"],
            on_encoder(number)
        );
        assert_eq!(scan["result"]["acs_credential_on_seam"], Value::Null);
        let code = &scan["result"]["warnings"][0]["warning_code"];
        assert_eq!(code, "acs_credential_on_seam_not_found");
    }
    let words = |scan: &Value| text(&scan["result"]["warnings"][0]["warning_message"]);
    assert!(words(&copy).contains("not authentic"), "{copy}");
    assert!(!words(&empty).contains("not authentic"), "{empty}");
}

#[tokio::test]
async fn a_scan_names_the_entrances_that_only_the_card_or_only_the_credential_opens() {
    let site = Site::start().await;
    let (mut agent, encoder) = site.desk("desk").await;
    let room = site.bench.entrance(site.bench.system, "Room 101").await;
    let suite = site.bench.entrance(site.bench.system, "Suite 7").await;
    let pool = site.bench.entrance(site.bench.system, "Pool").await;
    let body = json!({"name": "Stay", "acs_entrance_ids": [room, pool]});
    let space = site.bench.post("/spaces/create", body).await;
    let space = space.ok("space")["space_id"].clone();
    let body = json!({
        "user_identity": {"full_name": "Jane Doe"},
        "space_ids": [space],
        "requested_access_methods": [{"mode": "card"}],
    });
    let grant = site.bench.post("/access_grants/create", body).await;
    let method = &grant.ok("access_grant")["access_method_ids"][0];
    let body = json!({"acs_encoder_id": encoder, "access_method_id": method});
    let asked = site.bench.post("/access_methods/encode", body).await;
    let job = agent.job().await;
    let image = agent.present_for_image(&job, 1, A).await;
    agent.finish_written(&job, A).await;
    let ended = site.ended(asked.ok("action_attempt")).await;
    assert_eq!(ended["status"], "success", "{ended}");
    let same = site
        .scanned(&mut agent, &encoder, card(A), as_read(&image))
        .await;
    assert_eq!(same["result"]["warnings"], json!([]));

    for (what, doors) in [("add", [suite]), ("remove", [room])] {
        let body = json!({"space_id": space, "acs_entrance_ids": doors});
        let path = format!("/spaces/{what}_acs_entrances");
        site.bench.post(&path, body).await.ok("ok");
    }
    let scan = site
        .scanned(&mut agent, &encoder, card(A), as_read(&image))
        .await;
    assert_eq!(
        scan["result"]["warnings"],
        json!([{
            "warning_code": "acs_credential_on_encoder_out_of_sync",
            "warning_message": "The following properties are out of sync between acs_credential_on_encoder and \
                                acs_credential_on_seam: acs_entrances (only the card opens Room 101; only the \
                                credential opens Suite 7)",
        }])
    );
}
