//! Workspaces are strictly apart on the websocket too: whatever an agent says of another workspace's jobs, credentials
//! and encoders, nothing happens there.

use encoder_protocols::wire::{
    AgentMessage, ByeReason, CardPresented, EncoderKey, Job, JobFinished, JobId, JobRefused,
    KeyScope, OpenJob, OpenJobState, Outcome, PlanPurpose, PlanRequest, Progress, RefusalReason,
    ServiceMessage, Touched,
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::fake::{Fake, Site, card, description, text};

const THEIR_KEY: &str = "their-encoder";

/// Another workspace with an agent that has been sent an encode.
struct Neighbour {
    key: String,
    agent: Fake,
    encoder: String,
    credential: String,
    attempt: Value,
    job: Job,
}

impl Neighbour {
    async fn of(site: &Site) -> Self {
        let (system, key) = site.bench.neighbour().await;
        let (_, token) = site.agent_of(system, "theirs").await;
        let mut agent = Fake::connect(site, &token).await;
        agent.say(inventory(THEIR_KEY)).await;
        let told = agent.next().await;
        assert!(
            matches!(told, ServiceMessage::EncoderSettings(_)),
            "{told:?}"
        );
        let ask = async |path: &str, answer: &str, body: Value| {
            let answered = site.bench.post_as(&key, path, body).await;
            answered.ok(answer).clone()
        };
        let of_system = json!({"acs_system_id": system});
        let encoders = ask("/acs/encoders/list", "acs_encoders", of_system).await;
        let encoder = text(&encoders[0]["acs_encoder_id"]);
        let user = json!({"acs_system_id": system, "full_name": "Their guest"});
        let user = ask("/acs/users/create", "acs_user", user).await;
        let card = json!({"acs_user_id": user["acs_user_id"], "access_method": "card"});
        let card = ask("/acs/credentials/create", "acs_credential", card).await;
        let credential = text(&card["acs_credential_id"]);
        let encode = json!({"acs_encoder_id": encoder, "acs_credential_id": credential});
        let path = "/acs/encoders/encode_credential";
        let attempt = ask(path, "action_attempt", encode).await;
        let job = agent.job().await;
        Self {
            key,
            agent,
            encoder,
            credential,
            attempt,
            job,
        }
    }

    /// Everything that the other workspace can see of itself.
    async fn shown(&self, site: &Site) -> Vec<Value> {
        let mut shown = Vec::new();
        for (path, body) in [
            ("/acs/encoders/get", json!({"acs_encoder_id": self.encoder})),
            (
                "/acs/credentials/get",
                json!({"acs_credential_id": self.credential}),
            ),
            ("/action_attempts/list", json!({})),
            ("/events/list", json!({"since": "2020-01-01"})),
        ] {
            let answer = site.bench.post_as(&self.key, path, body).await;
            answer.ok("ok");
            shown.push(answer.body);
        }
        shown
    }

    /// One of each message, about what is theirs. A new kind of message does not compile here before it is said as well.
    fn messages(&self, speaker: &mut Fake) -> Vec<AgentMessage> {
        let job_id = self.job.job_id;
        let finished = |outcome, touched, speaker: &mut Fake| JobFinished {
            credential_id: self.job.credential_id,
            ..speaker.outcome(&self.job, outcome, touched, Some(card("deadbeef")))
        };
        let said = vec![
            AgentMessage::JobAccepted { job_id },
            AgentMessage::JobRefused(JobRefused {
                job_id,
                reason: RefusalReason::QueueFull,
                message: "no".into(),
            }),
            AgentMessage::JobProgress {
                job_id,
                progress: Progress::WaitingForCard,
            },
            AgentMessage::CardPresented(CardPresented {
                job_id,
                n: 1,
                card: card("deadbeef"),
            }),
            AgentMessage::PlanRequest(PlanRequest {
                job_id,
                uid: "deadbeef".parse().unwrap(),
                n: 1,
                purpose: PlanPurpose::Verify,
            }),
            AgentMessage::JobFinished(finished(Outcome::Success, Touched::Written, speaker)),
            // A job that nobody knows, with their credential: it would hold that one for ever.
            AgentMessage::JobFinished(JobFinished {
                job_id: JobId(Uuid::new_v4()),
                ..finished(Outcome::Error, Touched::Unknown, speaker)
            }),
        ];
        for message in &said {
            match message {
                AgentMessage::JobAccepted { .. }
                | AgentMessage::JobRefused(_)
                | AgentMessage::JobProgress { .. }
                | AgentMessage::CardPresented(_)
                | AgentMessage::PlanRequest(_)
                | AgentMessage::JobFinished(_) => {}
                AgentMessage::Hello(_)
                | AgentMessage::Inventory { .. }
                | AgentMessage::Unsupported { .. } => unreachable!("said by other tests here"),
            }
        }
        said
    }
}

fn inventory(key: &str) -> AgentMessage {
    let mut encoder = description(key);
    encoder.key_scope = KeyScope::System;
    AgentMessage::Inventory {
        encoders: vec![encoder],
        problems: vec![],
    }
}

/// Their job goes on to its end as if nobody had spoken.
async fn goes_on(mut theirs: Neighbour, site: &Site) {
    let job = theirs.job.clone();
    theirs.agent.present_for_image(&job, 1, "0badcafe").await;
    theirs.agent.finish_written(&job, "0badcafe").await;
    let body = json!({"action_attempt_id": theirs.attempt["action_attempt_id"]});
    let path = "/action_attempts/get";
    let mut commits = site.bench.state.desk.commits();
    loop {
        commits.borrow_and_update();
        let answer = site.bench.post_as(&theirs.key, path, body.clone()).await;
        let attempt = answer.ok("action_attempt").clone();
        if attempt["status"] != "pending" {
            assert_eq!(attempt["result"]["card_number"], "0badcafe", "{attempt}");
            return;
        }
        commits.changed().await.unwrap();
    }
}

#[tokio::test]
async fn what_an_agent_says_of_another_workspaces_job_ends_its_session_and_nothing_else() {
    let site = Site::start().await;
    let theirs = Neighbour::of(&site).await;
    let before = theirs.shown(&site).await;
    let (mut first, _) = site.desk("first").await;
    let messages = theirs.messages(&mut first);
    for (number, message) in messages.into_iter().enumerate() {
        let (_, token) = site.agent(&format!("desk {number}")).await;
        let mut ours = Fake::connect(&site, &token).await;
        ours.say(message.clone()).await;
        assert_eq!(
            ours.bye().await.reason,
            ByeReason::ProtocolError,
            "{message:?}"
        );
    }
    assert_eq!(theirs.shown(&site).await, before);
    goes_on(theirs, &site).await;
}

#[tokio::test]
async fn an_agent_that_lists_another_workspaces_job_as_its_own_changes_nothing_there() {
    let site = Site::start().await;
    let theirs = Neighbour::of(&site).await;
    let before = theirs.shown(&site).await;
    let states = [
        OpenJobState::Accepted,
        OpenJobState::Started {
            uid: Some("deadbeef".parse().unwrap()),
            n: 1,
        },
        OpenJobState::Finished { sequence: 1 },
    ];
    for (number, state) in states.into_iter().enumerate() {
        let (_, token) = site.agent(&format!("desk {number}")).await;
        let mut ours = Fake::dial(&site, &token).await;
        ours.hello(vec![OpenJob {
            job_id: theirs.job.job_id,
            encoder_key: EncoderKey(THEIR_KEY.into()),
            kind: theirs.job.kind,
            credential_id: theirs.job.credential_id,
            state,
        }])
        .await;
        assert_eq!(ours.bye().await.reason, ByeReason::ProtocolError);
    }
    assert_eq!(theirs.shown(&site).await, before);
    goes_on(theirs, &site).await;
}

#[tokio::test]
async fn an_encoder_of_the_same_key_is_another_one_in_another_workspace() {
    let site = Site::start().await;
    let theirs = Neighbour::of(&site).await;
    let before = theirs.shown(&site).await;
    let (_, token) = site.agent("desk").await;
    let mut ours = Fake::connect(&site, &token).await;
    ours.say(inventory(THEIR_KEY)).await;
    let told = ours.next().await;
    assert!(
        matches!(told, ServiceMessage::EncoderSettings(_)),
        "{told:?}"
    );
    let body = json!({"acs_system_id": site.bench.system});
    let listed = site.bench.post("/acs/encoders/list", body).await;
    let listed = listed.ok("acs_encoders").as_array().unwrap();
    let own: Vec<_> = listed
        .iter()
        .map(|row| text(&row["acs_encoder_id"]))
        .collect();
    assert_eq!(own.len(), 1);
    assert_ne!(own[0], theirs.encoder);
    drop(ours);
    site.until_disconnected(&own[0]).await;
    assert_eq!(theirs.shown(&site).await, before);
    goes_on(theirs, &site).await;
}
