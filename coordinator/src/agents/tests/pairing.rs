//! Codes and fleet tokens are traded for tokens, and told apart where they are refused.

use axum::{
    body::Body,
    http::{Method, Request},
};
use encoder_protocols::wire::{
    ByeReason, JobFinished, Outcome, PAIR_PATH, ServiceMessage, Touched,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use uuid::Uuid;

use super::fake::{Fake, Site, card};
use crate::{
    clock::set as clock,
    desk::DeskSettings,
    http::bench::{Answered, Bench},
    jobs::AgentId,
    operator::{Command, Refused},
    pairing::digest,
    store::{
        agents,
        pairing::{self, GrantKind, GrantRow, NewGrant},
    },
    tokens,
};

/// A new code or fleet token for the site's system, and its secret.
async fn grant(site: &Site, kind: GrantKind, agent: Option<Uuid>, uses: u32) -> (GrantRow, String) {
    let (secret, lifetime) = match kind {
        GrantKind::Code => (
            tokens::new_pairing_code().unwrap(),
            crate::pairing::CODE_LIFETIME,
        ),
        GrantKind::FleetToken => (
            tokens::new_fleet_token().unwrap(),
            SignedDuration::from_hours(48),
        ),
    };
    let store = &site.bench.state.store;
    let now = site.bench.state.clock.utc();
    let new = NewGrant {
        acs_system_id: site.bench.system,
        kind,
        agent_id: agent,
        label: String::new(),
        uses,
        expires_at: now + lifetime,
    };
    let hash = digest(store.master_key(), &secret);
    let mut conn = store.write().await.unwrap();
    let row = pairing::create(&mut conn, &new, &hash, now).await.unwrap();
    conn.commit().await.unwrap();
    (row, secret.to_string())
}

async fn code(site: &Site) -> String {
    grant(site, GrantKind::Code, None, 1).await.1
}

/// Asks as an agent of this PC does; `attempt` is its key.
async fn pair(site: &Site, secret: &str, attempt: char, machine: &str) -> Answered {
    let body = json!({
        "secret": secret, "attempt": attempt.to_string().repeat(64), "machine": machine, "hostname": "DESK-1", "version": "0.1.0",
        "os": "Linux",
    });
    site.bench.post(PAIR_PATH, body).await
}

fn token(answer: &Answered) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.headers["cache-control"], "no-store");
    answer.body["token"].as_str().unwrap().to_owned()
}

fn refused(answer: &Answered) -> (u16, String) {
    let (status, kind) = answer.error();
    (status, kind.to_owned())
}

async fn opens(site: &Site, token: &str) -> bool {
    let mut conn = site.bench.state.store.read().await.unwrap();
    agents::find_by_token(&mut conn, token)
        .await
        .unwrap()
        .is_some()
}

async fn row(site: &Site, id: &Value) -> agents::AgentRow {
    let id = id.as_str().unwrap().parse().unwrap();
    let mut conn = site.bench.state.store.read().await.unwrap();
    agents::by_id(&mut conn, id).await.unwrap().unwrap()
}

async fn audit(site: &Site, action: &'static str) -> Vec<String> {
    let mut conn = site.bench.state.store.read().await.unwrap();
    sqlx::query_scalar("SELECT detail FROM audit WHERE action = ? ORDER BY rowid")
        .bind(action)
        .fetch_all(&mut *conn)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_code_gives_one_agent_a_token_that_connects() {
    let site = Site::start().await;
    let code = code(&site).await;
    // As people type it.
    let typed = format!(" {}-{}", &code[..4].to_lowercase(), &code[4..]);
    let answer = pair(&site, &typed, 'a', "m1").await;
    assert_eq!(answer.body["system_name"], "Site");
    Fake::connect(&site, &token(&answer)).await;
    let agent = row(&site, &answer.body["agent_id"]).await;
    assert_eq!(
        (agent.name.as_str(), agent.machine.as_deref()),
        ("DESK-1", Some("m1"))
    );
    assert_eq!(audit(&site, "agent.pair").await.len(), 1);
    let again = pair(&site, &code, 'b', "m1").await;
    assert_eq!(refused(&again), (403, "code_used".to_owned()));
}

#[tokio::test]
async fn what_is_no_code_is_told_apart() {
    let site = Site::start().await;
    for (secret, kind) in [
        ("BCDF2345", "code_unknown"),
        ("BCDF234", "malformed"),
        ("", "malformed"),
        ("fleet_00", "fleet_token_unknown"),
    ] {
        let answer = pair(&site, secret, 'a', "m1").await;
        assert_eq!(refused(&answer), (403, kind.to_owned()), "{secret}");
    }
    let code = code(&site).await;
    let short = json!({"secret": code, "attempt": "a", "hostname": "x", "version": "1", "os": "x"});
    let answer = site.bench.post(PAIR_PATH, short).await;
    assert_eq!(refused(&answer), (403, "malformed".to_owned()));
    let answer = site.bench.post(PAIR_PATH, json!({"secret": 7})).await;
    assert_eq!(refused(&answer), (400, "malformed".to_owned()));
}

#[tokio::test]
async fn a_code_holds_for_a_quarter_of_an_hour() {
    let bench = Bench::start_by(clock::clock(), DeskSettings::default()).await;
    let site = Site::of(bench).await;
    let (early, late) = (code(&site).await, code(&site).await);
    clock::set_off(SignedDuration::from_mins(14));
    token(&pair(&site, &early, 'a', "m1").await);
    clock::set_off(SignedDuration::from_mins(15));
    let answer = pair(&site, &late, 'b', "m2").await;
    assert_eq!(refused(&answer), (403, "code_expired".to_owned()));
    // An answer that was lost is not given again either.
    let answer = pair(&site, &early, 'a', "m1").await;
    assert_eq!(refused(&answer), (403, "code_expired".to_owned()));
}

#[tokio::test]
async fn a_lost_answer_is_given_again_and_makes_no_second_agent() {
    let site = Site::start().await;
    let code = code(&site).await;
    let first = pair(&site, &code, 'a', "m1").await;
    let again = pair(&site, &code, 'a', "m1").await;
    assert_eq!(first.body["agent_id"], again.body["agent_id"]);
    assert!(!opens(&site, &token(&first)).await);
    Fake::connect(&site, &token(&again)).await;
    // Once the agent was heard the answer was not lost.
    let late = pair(&site, &code, 'a', "m1").await;
    assert_eq!(refused(&late), (403, "code_used".to_owned()));
}

#[tokio::test]
async fn guesses_are_stopped_and_a_fleet_goes_on() {
    let site = Site::start().await;
    let code = code(&site).await;
    let (_, fleet) = grant(&site, GrantKind::FleetToken, None, 2).await;
    for _ in 0..20 {
        pair(&site, "BCDF2345", 'a', "m1").await;
    }
    let answer = pair(&site, &code, 'a', "m1").await;
    assert_eq!(refused(&answer), (429, "too_many_attempts".to_owned()));
    let wait: u64 = answer.headers["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((800..=901).contains(&wait), "{wait}");
    token(&pair(&site, &fleet, 'a', "m1").await);
}

#[tokio::test]
async fn a_fleet_token_pairs_as_many_as_it_says() {
    let bench = Bench::start_by(clock::clock(), DeskSettings::default()).await;
    let site = Site::of(bench).await;
    let (_, fleet) = grant(&site, GrantKind::FleetToken, None, 2).await;
    let one = pair(&site, &fleet, 'a', "m1").await;
    let two = pair(&site, &fleet, 'b', "m2").await;
    assert_ne!(one.body["agent_id"], two.body["agent_id"]);
    assert_ne!(token(&one), token(&two));
    let three = pair(&site, &fleet, 'c', "m3").await;
    assert_eq!(refused(&three), (403, "fleet_token_used".to_owned()));
    let (_, late) = grant(&site, GrantKind::FleetToken, None, 2).await;
    let (row, revoked) = grant(&site, GrantKind::FleetToken, None, 2).await;
    let mut conn = site.bench.state.store.write().await.unwrap();
    let now = site.bench.state.clock.utc();
    let system = pairing::revoke(&mut conn, row.pairing_grant_id, now)
        .await
        .unwrap();
    conn.commit().await.unwrap();
    assert_eq!(system, Some(site.bench.system));
    let answer = pair(&site, &revoked, 'd', "m4").await;
    assert_eq!(refused(&answer), (403, "fleet_token_revoked".to_owned()));
    clock::set_off(SignedDuration::from_hours(48));
    let answer = pair(&site, &late, 'd', "m4").await;
    assert_eq!(refused(&answer), (403, "fleet_token_expired".to_owned()));
}

#[tokio::test]
async fn what_is_long_over_is_forgotten() {
    let bench = Bench::start_by(clock::clock(), DeskSettings::default()).await;
    let site = Site::of(bench).await;
    let code_before = code(&site).await;
    token(&pair(&site, &code_before, 'a', "m1").await);
    clock::set_off(SignedDuration::from_hours(25));
    code(&site).await;
    let answer = pair(&site, &code_before, 'b', "m1").await;
    assert_eq!(refused(&answer), (403, "code_unknown".to_owned()));
}

#[tokio::test]
async fn an_agent_can_be_paired_again() {
    let site = Site::start().await;
    let (id, before) = site.agent("desk").await;
    let (_, code) = grant(&site, GrantKind::Code, Some(id), 1).await;
    let answer = pair(&site, &code, 'a', "m1").await;
    assert_eq!(answer.body["agent_id"], json!(id));
    assert!(!opens(&site, &before).await);
    assert!(opens(&site, &token(&answer)).await);
    assert_eq!(row(&site, &json!(id)).await.name, "desk");
    let agent = AgentId(id);
    let (_, code) = grant(&site, GrantKind::Code, Some(id), 1).await;
    site.command(&Command::RetireAgent { agent }).await.unwrap();
    let answer = pair(&site, &code, 'b', "m1").await;
    assert_eq!(refused(&answer), (403, "agent_retired".to_owned()));
}

#[tokio::test]
async fn copies_of_a_machine_are_noted() {
    let site = Site::start().await;
    let one = pair(&site, &code(&site).await, 'a', "m1").await;
    let two = pair(&site, &code(&site).await, 'b', "m1").await;
    let noted = audit(&site, "agent.pair").await;
    let expected = format!("same machine as {}", one.body["agent_id"].as_str().unwrap());
    assert!(
        !noted[0].contains("same machine") && noted[1].ends_with(&expected),
        "{noted:?}"
    );
    // A copy that does not connect tells of itself.
    for _ in 0..2 {
        let report = Request::builder()
            .method(Method::POST)
            .uri("/agents/clone")
            .header("host", "127.0.0.1:8480")
            .header("authorization", format!("Bearer {}", token(&two)))
            .body(Body::from(r#"{"hostname": "COPY"}"#))
            .unwrap();
        assert_eq!(site.bench.send(report).await.status, 204);
    }
    let (_, seen) = row(&site, &two.body["agent_id"]).await.clash.unwrap();
    assert_eq!(seen, "copied to another PC, COPY");
    assert_eq!(audit(&site, "agent.clash").await, [seen.as_str()]);
    let path = "/events/list?since=2020-01-01T00:00:00Z&event_type=acs_system.agent_copied";
    let events = site.bench.get(path).await;
    let events = events.ok("events").as_array().unwrap();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["agent_id"], two.body["agent_id"]);
    assert_eq!(events[0]["agent_name"], "DESK-1");
    assert_eq!(events[0]["detail"], seen);
    assert_eq!(events[0]["acs_system_id"], json!(site.bench.system));
}

/// A PC whose agent was paired, has done a job, and was told of no acknowledgement; its token is revoked.
struct Former {
    agent: Fake,
    id: Value,
    encoder: String,
    credential: String,
    owed: JobFinished,
}

impl Former {
    async fn start(site: &Site) -> Self {
        let answer = pair(site, &code(site).await, 'a', "m1").await;
        let mut agent = Fake::connect(site, &token(&answer)).await;
        let encoder = agent.list(site, &["desk"]).await.remove(0);
        let told = site.credential().await;
        site.issue(&mut agent, &encoder, &told, "aabbccdd").await;
        let credential = site.credential().await;
        site.encode(&encoder, &credential).await;
        let job = agent.job().await;
        agent.present_for_image(&job, 1, "bbccddee").await;
        let on = Some(card("bbccddee"));
        let owed = agent.outcome(&job, Outcome::Success, Touched::Written, on);
        Self {
            agent,
            id: answer.body["agent_id"].clone(),
            encoder,
            credential,
            owed,
        }
    }

    fn agent_id(&self) -> AgentId {
        AgentId(self.id.as_str().unwrap().parse().unwrap())
    }

    async fn revoke(&mut self, site: &Site) {
        let agent = self.agent_id();
        site.command(&Command::RevokeAgent { agent }).await.unwrap();
        assert_eq!(self.agent.bye().await.reason, ByeReason::Revoked);
    }
}

async fn names(site: &Site) -> Vec<Uuid> {
    let mut conn = site.bench.state.store.read().await.unwrap();
    let agents = agents::all(&mut conn).await.unwrap();
    agents.iter().map(|agent| agent.agent_id).collect()
}

#[tokio::test]
async fn a_pc_that_is_paired_anew_goes_on_as_the_agent_whose_journal_it_has() {
    let site = Site::start().await;
    let mut former = Former::start(&site).await;
    let before = names(&site).await;
    former.revoke(&site).await;
    let answer = pair(&site, &code(&site).await, 'b', "m1").await;
    assert_ne!(answer.body["agent_id"], former.id);
    let (token, owed) = (token(&answer), former.owed.clone());
    former.agent.reconnect(&site, &token).await;
    let welcome = former.agent.greet(Vec::new()).await;
    // Of what was told before nothing is told again.
    assert_eq!(welcome.last_sequence, owed.sequence - 1);
    former.agent.finish(owed).await;
    let credential = site.credential_now(&former.credential).await;
    assert_eq!(credential["is_issued"], true);
    let listed = former.agent.list(&site, &["desk"]).await;
    assert_eq!(listed, [former.encoder]);
    assert_eq!(names(&site).await, before);
    assert_eq!(audit(&site, "agent.rejoin").await.len(), 1);
    assert!(opens(&site, &token).await);
}

#[tokio::test]
async fn a_journal_whose_agent_is_connected_or_elsewhere_is_refused_by_name() {
    let site = Site::start().await;
    let mut former = Former::start(&site).await;
    // The same machine to all appearances, and another one.
    let copies = [
        ("m1", ByeReason::AgentInUse, "is connected from another pc"),
        ("m2", ByeReason::ProtocolError, "is another agent's"),
    ];
    for (attempt, (machine, reason, said)) in ['b', 'c'].into_iter().zip(copies) {
        let answer = pair(&site, &code(&site).await, attempt, machine).await;
        let mut copy = Fake::dial(&site, &token(&answer)).await;
        copy.agent_id = former.agent.agent_id;
        copy.hello(Vec::new()).await;
        let bye = tokio::select! {
            bye = copy.bye() => bye,
            other = former.agent.hear_pings() => panic!("the first session ended: {other:?}"),
        };
        assert_eq!(bye.reason, reason, "{bye:?}");
        assert!(
            bye.message.contains(said) && bye.message.contains("--new-journal"),
            "{bye:?}"
        );
    }
    assert_eq!(audit(&site, "agent.clash").await.len(), 1);
    former.agent.finish(former.owed.clone()).await;
}

#[tokio::test]
async fn pairing_an_agent_again_ends_the_session_of_its_old_token() {
    let site = Site::start().await;
    let (id, before) = site.agent("desk").await;
    let mut connected = Fake::connect(&site, &before).await;
    let (_, code) = grant(&site, GrantKind::Code, Some(id), 1).await;
    let answer = pair(&site, &code, 'a', "m1").await;
    assert_eq!(connected.bye().await.reason, ByeReason::Revoked);
    connected.reconnect(&site, &token(&answer)).await;
    connected.greet(Vec::new()).await;
}

#[tokio::test]
async fn a_second_pc_with_the_same_token_is_noted() {
    let site = Site::start().await;
    let (id, token) = site.agent("desk").await;
    let mut first = Fake::connect(&site, &token).await;
    let mut second = Fake::dial(&site, &token).await;
    second.hello(Vec::new()).await;
    // The first one shows that it is alive by reading.
    let bye = tokio::select! {
        bye = second.bye() => bye,
        other = first.hear_pings() => panic!("the first session ended: {other:?}"),
    };
    assert_eq!(bye.reason, ByeReason::AgentInUse);
    let (_, seen) = row(&site, &json!(id)).await.clash.unwrap();
    assert!(seen.starts_with("used by two PCs at once"), "{seen}");
}

#[tokio::test]
async fn a_token_is_rotated_and_the_old_one_opens_until_the_new_one_was_used() {
    let site = Site::start().await;
    let (id, old) = site.agent("desk").await;
    let agent = AgentId(id);
    let rotate = Command::RotateToken { agent };
    assert_eq!(
        site.command(&rotate).await,
        Err(Refused::NotConnected { agent })
    );
    let mut connected = Fake::connect(&site, &old).await;
    site.command(&rotate).await.unwrap();
    let ServiceMessage::Token { token: new } = connected.next().await else {
        panic!("expected a token");
    };
    assert!(opens(&site, &old).await);
    connected.reconnect(&site, &old).await;
    connected.reconnect(&site, &new.0).await;
    connected.greet(Vec::new()).await;
    assert!(!opens(&site, &old).await);
    assert!(opens(&site, &new.0).await);
    // One that was never used dies with the next.
    for _ in 0..2 {
        site.command(&rotate).await.unwrap();
    }
    let mut handed = Vec::new();
    while handed.len() < 2 {
        if let ServiceMessage::Token { token } = connected.next().await {
            handed.push(token.0);
        }
    }
    let mut conn = site.bench.state.store.read().await.unwrap();
    let mut next = Vec::new();
    for token in &handed {
        let found = agents::find_by_next_token(&mut conn, token).await.unwrap();
        next.push(found.is_some());
    }
    assert_eq!(next, [false, true]);
    drop(conn);
    site.command(&Command::RevokeAgent { agent }).await.unwrap();
    assert_eq!(connected.bye().await.reason, ByeReason::Revoked);
    let mut conn = site.bench.state.store.read().await.unwrap();
    let found = agents::find_by_next_token(&mut conn, &handed[1])
        .await
        .unwrap();
    assert!(found.is_none());
}

/// No secret is kept as it is, nor as a hash that a short one could be found from.
#[tokio::test]
async fn the_store_has_no_secret_in_it() {
    let site = Site::start().await;
    let (row, code) = grant(&site, GrantKind::Code, None, 1).await;
    assert!(row.expires_at > Timestamp::UNIX_EPOCH);
    let mut conn = site.bench.state.store.read().await.unwrap();
    let hash: Vec<u8> =
        sqlx::query_scalar("SELECT secret_hash FROM pairing_grants WHERE pairing_grant_id = ?")
            .bind(row.pairing_grant_id.to_string())
            .fetch_one(&mut *conn)
            .await
            .unwrap();
    assert_eq!(hash, digest(site.bench.state.store.master_key(), &code));
    assert_ne!(hash, tokens::hash(&code));
}
