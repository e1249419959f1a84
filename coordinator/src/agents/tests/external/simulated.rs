//! Simulated encoders of systems with a key server: it is asked for them as for any.

use std::time::Duration;

use axum::http::StatusCode;
use encoder_protocols::card::{CardImage, Technology};
use serde_json::json;

use super::{Answer, External, OutboundError, answer, image};
use crate::{agents::tests::fake::text, jobs::SystemId, key_server, store::jobs};

#[tokio::test]
async fn a_simulated_card_gets_the_key_servers_image() {
    let external = External::start().await;
    let site = &external.site;
    let encoder = site.simulated().await;
    let credential = site.credential().await;
    let attempt = site.encode(&encoder, &credential).await;
    let (question, reply) = external.asked().await;
    assert_eq!(
        text(&attempt["action_attempt_id"]),
        question.job.to_string()
    );
    assert_eq!(question.n, 1);
    assert_eq!(question.card.technology, Technology::MifareClassic1k);
    assert_eq!(question.credential["acs_credential_id"], json!(credential));
    let first = question.card.uid.unwrap();

    let other = site.credential().await;
    let meanwhile = site.encode(&encoder, &other).await;
    let (second, second_reply) = external.asked().await;
    assert_ne!(second.card.uid, Some(first), "another card out of the box");
    second_reply.send(answer(&image("0b"))).unwrap();
    assert_eq!(site.ended(&meanwhile).await["status"], "success");

    reply.send(answer(&image("0a"))).unwrap();
    let ended = site.ended(&attempt).await;
    assert_eq!(ended["result"]["card_number"], first.to_string(), "{ended}");
    let mut conn = site.bench.state.store.read().await.unwrap();
    let stored = jobs::by_id(&mut conn, question.job).await.unwrap().unwrap();
    assert_eq!(stored.system, SystemId(site.bench.system));
    let sealed = stored.binding.unwrap().content.unwrap().image.unwrap();
    let key = site.bench.state.store.master_key();
    let Some(CardImage::MifareClassic(written)) = key_server::open(key, question.job, 1, &sealed)
    else {
        panic!("expected the image that the key server gave");
    };
    assert_eq!(written.sectors[0].blocks[0].data, [0x0a; 16]);
    drop(conn);

    let change = json!({"acs_credential_id": credential, "ends_at": "2027-02-01T12:00:00Z"});
    let path = "/acs/credentials/update";
    site.bench.post(path, change).await.ok("acs_credential");
    let again = site.encode(&encoder, &credential).await;
    let (question, reply) = external.asked().await;
    assert_eq!(question.card.uid, Some(first), "its own card");
    reply.send(answer(&image("0c"))).unwrap();
    assert_eq!(site.ended(&again).await["status"], "success");
}

#[tokio::test]
async fn without_an_image_nothing_is_written_on_a_simulated_card_either() {
    let external = External::start().await;
    let site = &external.site;
    let encoder = site.simulated().await;
    let words = "our locks read other cards";
    let refuse = json!({"refuse": {"code": "incompatible_card_format", "message": words}});
    for (reply, code, message) in [
        (answer(&refuse), "incompatible_card_format", words),
        (
            Err(OutboundError::Late(Duration::from_secs(10))),
            "uncategorized_error",
            "no answer within 10 s",
        ),
        (
            Ok(Answer {
                status: StatusCode::INTERNAL_SERVER_ERROR,
                body: Some("{}".into()),
            }),
            "uncategorized_error",
            "500",
        ),
    ] {
        let credential = site.credential().await;
        let attempt = site.encode(&encoder, &credential).await;
        let (_, answered) = external.asked().await;
        answered.send(reply).unwrap();
        let error = &site.ended(&attempt).await["error"];
        assert_eq!(error["type"], code, "{error}");
        assert_eq!(error["touched"], "untouched", "{error}");
        assert!(text(&error["message"]).contains(message), "{error}");
        let path = format!("/acs/credentials/get?acs_credential_id={credential}");
        let shown = site.bench.get(&path).await;
        assert_eq!(shown.ok("acs_credential")["is_issued"], false);
    }
}

#[tokio::test]
async fn a_key_server_is_not_asked_where_there_is_no_card_and_not_heard_where_there_is_no_job() {
    let external = External::start().await;
    let site = &external.site;
    let encoder = site.simulated().await;
    let fails = json!({"acs_encoder_id": encoder, "error_code": "no_credential_on_encoder"});
    site.simulate("encode_will_fail", fails).await;
    let credential = site.credential().await;
    let attempt = site.encode(&encoder, &credential).await;
    let ended = site.ended(&attempt).await;
    assert_eq!(ended["error"]["type"], "no_card_on_encoder", "{ended}");
    assert!(external.asked_nothing().await);

    let attempt = site.encode(&encoder, &credential).await;
    let (_, late) = external.asked().await;
    let gone = json!({"acs_credential_id": credential});
    site.bench
        .post("/acs/credentials/delete", gone)
        .await
        .ok("ok");
    let ended = site.ended(&attempt).await;
    assert_eq!(ended["error"]["type"], "credential_deleted", "{ended}");
    late.send(answer(&image("01"))).unwrap();
    let next = site.credential().await;
    let attempt = site.encode(&encoder, &next).await;
    let (_, reply) = external.asked().await;
    reply.send(answer(&image("02"))).unwrap();
    assert_eq!(site.ended(&attempt).await["status"], "success");
    let events = site
        .bench
        .events(&format!("acs_credential_id={credential}"))
        .await;
    assert_eq!(events, ["acs_credential.deleted"]);
}
