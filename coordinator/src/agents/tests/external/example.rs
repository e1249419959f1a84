//! The example key server, and the change of its secret.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    sync::Arc,
};

use encoder_protocols::{
    card::{CardDescription, CardImage, Technology},
    wire::{ErrorCode, Plan, Touched},
};

use super::{A, B, give_key_server, job, plan, present, site};
use crate::{
    agents::tests::{
        encodes::error,
        fake::{Fake, Site, card},
    },
    outbound::{Client, Reach, SystemResolver, client_config},
    store::key_servers,
    webhooks::SigningKey,
};

/// The example key server, as its users start it.
struct Example {
    process: Child,
    port: u16,
}

impl Example {
    fn start(secret: &str) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/key_server.py");
        let mut process = Command::new("python3")
            .args([script, "0"])
            .env("KEY_SERVER_SECRET", secret)
            .env("SITE_KEY", "000102030405060708090a0b0c0d0e0f")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("python3 is needed to run the example");
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let port = line.trim().rsplit(' ').next().unwrap().parse().unwrap();
        Self { process, port }
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A site whose service asks key servers over the network, and its system's secret.
async fn asking_site() -> (Site, String) {
    let client = Client::new(
        Reach::Private,
        Arc::new(SystemResolver),
        client_config(None).unwrap(),
    );
    let site = site(Arc::new(client)).await;
    let secret = give_key_server(&site).await;
    (site, secret)
}

/// Has this key server asked from now on.
async fn turn_to(site: &Site, example: &Example) {
    let url = format!("http://127.0.0.1:{}/", example.port);
    let mut conn = site.bench.state.store.write().await.unwrap();
    key_servers::set_url(&mut conn, site.bench.system, &url)
        .await
        .unwrap();
    conn.commit().await.unwrap();
}

/// What comes of an encode onto this card: the image that was written, or why there is none.
async fn encoded(
    site: &Site,
    agent: &mut Fake,
    encoder: &str,
    card: CardDescription,
) -> Result<CardImage, (ErrorCode, String)> {
    let (attempt, job) = job(site, agent, encoder).await;
    present(agent, &job, 1, card).await;
    match plan(agent).await.plan {
        Plan::Write { image } => {
            agent
                .finish_written(&job, &card.uid.unwrap().to_string())
                .await;
            assert_eq!(site.ended(&attempt).await["status"], "success");
            Ok(image)
        }
        Plan::Refuse { code, message } => {
            agent.fail(&job, error(code, Touched::Untouched)).await;
            let ended = site.ended(&attempt).await;
            assert_eq!(ended["error"]["touched"], "untouched", "{ended}");
            Err((code, message))
        }
        other => panic!("expected an image or a refusal, got {other:?}"),
    }
}

#[tokio::test]
async fn the_example_key_server_makes_cards() {
    let (site, secret) = asking_site().await;
    let example = Example::start(&secret);
    turn_to(&site, &example).await;
    let (mut agent, encoder) = site.desk("desk").await;
    let mut images = Vec::new();
    for uid in [A, B] {
        images.push(
            encoded(&site, &mut agent, &encoder, card(uid))
                .await
                .unwrap(),
        );
    }
    let [
        CardImage::MifareClassic(one),
        CardImage::MifareClassic(other),
    ] = &images[..]
    else {
        panic!("expected images of MIFARE Classic cards: {images:?}");
    };
    assert_eq!(one.sectors[0].blocks[0].data[..4], *b"LOCK");
    assert_ne!(
        one.sectors[0].trailer, other.sectors[0].trailer,
        "each card has its own keys"
    );

    let ntag = CardDescription {
        technology: Technology::Ntag213,
        ..card(A)
    };
    let (code, message) = encoded(&site, &mut agent, &encoder, ntag)
        .await
        .unwrap_err();
    assert_eq!(code, ErrorCode::IncompatibleCardFormat);
    assert!(message.contains("our locks read"), "{message}");

    let other = SigningKey::random().unwrap();
    let stranger = Example::start(&other.secret());
    turn_to(&site, &stranger).await;
    let refused = encoded(&site, &mut agent, &encoder, card("ccddeeff")).await;
    let (_, message) = refused.unwrap_err();
    assert!(message.contains("401"), "{message}");
}

/// Gives the key server a new secret.
async fn renewed(site: &Site, keep: bool) -> String {
    let store = &site.bench.state.store;
    let mut conn = store.write().await.unwrap();
    let (key, system) = (store.master_key(), site.bench.system);
    let server = key_servers::of_system(&mut conn, key, system)
        .await
        .unwrap();
    let server = key_servers::renew_key(&mut conn, key, server.unwrap(), keep)
        .await
        .unwrap();
    conn.commit().await.unwrap();
    server.key.secret().to_string()
}

#[tokio::test]
async fn a_key_server_changes_over_to_a_new_secret_without_an_outage() {
    let (site, old) = asking_site().await;
    let (mut agent, encoder) = site.desk("desk").await;
    let new = renewed(&site, true).await;
    assert_ne!(old, new);
    let (knows_old, knows_new) = (Example::start(&old), Example::start(&new));
    for (example, uid) in [(&knows_old, "a1000001"), (&knows_new, "a1000002")] {
        turn_to(&site, example).await;
        let image = encoded(&site, &mut agent, &encoder, card(uid)).await;
        assert!(image.is_ok(), "{image:?}");
    }

    let mut conn = site.bench.state.store.write().await.unwrap();
    key_servers::end_earlier_key(&mut conn, site.bench.system)
        .await
        .unwrap();
    conn.commit().await.unwrap();
    let image = encoded(&site, &mut agent, &encoder, card("a1000003")).await;
    assert!(image.is_ok(), "{image:?}");
    turn_to(&site, &knows_old).await;
    let refused = encoded(&site, &mut agent, &encoder, card("a1000004")).await;
    assert!(refused.unwrap_err().1.contains("401"));

    let newest = renewed(&site, false).await;
    turn_to(&site, &knows_new).await;
    let refused = encoded(&site, &mut agent, &encoder, card("a1000005")).await;
    assert!(refused.unwrap_err().1.contains("401"));
    let knows_newest = Example::start(&newest);
    turn_to(&site, &knows_newest).await;
    let image = encoded(&site, &mut agent, &encoder, card("a1000006")).await;
    assert!(image.is_ok(), "{image:?}");
}
