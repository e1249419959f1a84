//! Every type of event of the published API document: what causes it here, or why nothing does.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    fake::{Site, text},
    grants::{granted, issue},
};
use crate::{jobs::EncoderId, operator::Command};

const A: &str = "aabbccdd";
const B: &str = "bbccddee";

/// What is done, in this order, and the events that come of it.
const CAUSED: &[(&str, &[&str])] = &[
    ("an encoder is plugged in", &["acs_encoder.added"]),
    ("a user is made", &["acs_user.created"]),
    ("a credential is encoded", &["acs_credential.issued"]),
    (
        "its card is encoded with another credential",
        &["acs_credential.reissued", "acs_credential.invalidated"],
    ),
    ("a credential is deleted", &["acs_credential.deleted"]),
    ("a user is deleted", &["acs_user.deleted"]),
    (
        "a grant is made",
        &[
            "access_grant.created",
            "access_method.created",
            "access_method.card_encoding_required",
        ],
    ),
    (
        "its access method is encoded",
        &[
            "access_method.issued",
            "access_grant.access_granted_to_door",
            "access_grant.access_granted_to_all_doors",
        ],
    ),
    (
        "its times are changed",
        &["access_grant.access_times_changed"],
    ),
    (
        "its card is encoded with another grant's access method",
        &[
            "access_method.reissued",
            "access_method.revoked",
            "access_grant.access_to_door_lost",
        ],
    ),
    ("an access method is deleted", &["access_method.deleted"]),
    ("a grant is deleted", &["access_grant.deleted"]),
    ("an encoder is disowned", &["acs_encoder.removed"]),
];

/// What never happens here, and why.
const NOT_CAUSED: &[(&str, &str)] = &[
    (
        "access_grant.could_not_create_requested_access_methods",
        "a grant whose cards cannot carry what it asks for is refused as a whole",
    ),
    (
        "access_method.delay_in_issuing",
        "a card is issued when somebody puts it on the encoder: there is nothing that is late",
    ),
    (
        "access_method.failed_to_issue",
        "the same; an encode that fails says so in its action attempt",
    ),
    (
        "acs_system.added",
        "systems are made on the command line, before anybody listens",
    ),
    ("acs_system.connected", "systems are part of this service"),
    (
        "acs_system.disconnected",
        "systems are part of this service",
    ),
    ("acs_access_group.deleted", "there are no access groups"),
    (
        "acs_entrance.added",
        "entrances are made on the command line",
    ),
    ("acs_entrance.removed", "entrances stay"),
];

/// The types that the document names.
fn documented() -> BTreeSet<String> {
    let document = include_str!("../../../openapi/seam.json");
    let document: Value = serde_json::from_str(document).unwrap();
    let events = document["components"]["schemas"]["event"]["oneOf"].as_array();
    let name = |event: &Value| text(&event["properties"]["event_type"]["enum"][0]);
    events.unwrap().iter().map(name).collect()
}

#[test]
fn the_lists_name_every_documented_type_once() {
    let caused = CAUSED.iter().flat_map(|(_, types)| types.iter());
    let listed: Vec<&str> = caused
        .chain(NOT_CAUSED.iter().map(|(name, _)| name))
        .copied()
        .collect();
    let set: BTreeSet<String> = listed.iter().map(|&name| name.to_owned()).collect();
    assert_eq!(set.len(), listed.len(), "a type stands there twice");
    assert_eq!(set, documented());
}

/// The types that have come since it was asked last.
struct News<'a> {
    site: &'a Site,
    heard: usize,
    told: usize,
}

impl News<'_> {
    /// Fails unless what `CAUSED` says next is what was done, and its events have come.
    async fn of(&mut self, done: &str) {
        let (expected, types) = CAUSED[self.told];
        assert_eq!(done, expected);
        self.told += 1;
        let all = self.site.bench.events("").await;
        let new: BTreeSet<_> = all[self.heard..].iter().map(String::as_str).collect();
        for name in types {
            assert!(new.contains(name), "{done}: {name} is missing in {new:?}");
        }
        self.heard = all.len();
    }
}

#[tokio::test]
async fn every_type_that_can_be_caused_is() {
    let site = Site::start().await;
    let mut news = News {
        site: &site,
        heard: 0,
        told: 0,
    };
    let bench = &site.bench;
    let act = async |path: &str, body: Value| {
        bench.post(path, body).await.ok("ok");
    };
    let (mut agent, encoder) = site.desk("desk").await;
    news.of("an encoder is plugged in").await;

    let first = site.credential().await;
    news.of("a user is made").await;
    site.issue(&mut agent, &encoder, &first, A).await;
    news.of("a credential is encoded").await;
    let second = site.credential().await;
    site.issue(&mut agent, &encoder, &second, A).await;
    news.of("its card is encoded with another credential").await;
    let user = site.credential_now(&first).await["acs_user_id"].clone();
    let id = json!({"acs_credential_id": first});
    act("/acs/credentials/delete", id).await;
    news.of("a credential is deleted").await;
    act("/acs/users/delete", json!({"acs_user_id": user})).await;
    news.of("a user is deleted").await;

    let (grant, method) = granted(&site).await;
    news.of("a grant is made").await;
    issue(&site, &mut agent, &encoder, &method, B).await;
    news.of("its access method is encoded").await;
    let grant = json!({"access_grant_id": grant["access_grant_id"]});
    let mut times = grant.clone();
    times["ends_at"] = json!("2027-11-30T11:00:00Z");
    act("/access_grants/update", times).await;
    news.of("its times are changed").await;
    let (_, other) = granted(&site).await;
    issue(&site, &mut agent, &encoder, &other, B).await;
    news.of("its card is encoded with another grant's access method")
        .await;
    let id = json!({"access_method_id": other["access_method_id"]});
    act("/access_methods/delete", id).await;
    news.of("an access method is deleted").await;
    act("/access_grants/delete", grant).await;
    news.of("a grant is deleted").await;

    let command = Command::AdoptEncoder {
        encoder: EncoderId(encoder.parse().unwrap()),
        adopted: false,
    };
    site.command(&command).await.unwrap();
    news.of("an encoder is disowned").await;

    assert_eq!(news.told, CAUSED.len());
    let caused: BTreeSet<_> = CAUSED.iter().flat_map(|(_, types)| *types).collect();
    let came = bench.events("").await;
    let came: BTreeSet<_> = came.iter().map(String::as_str).collect();
    assert_eq!(came.len(), caused.len(), "{came:?}");
}
