//! Key servers of integrators, from the presented card to the plan.

mod example;
mod simulated;

use std::{sync::Arc, time::Duration};

use axum::http::StatusCode;
use encoder_protocols::{
    card::{CardContents, CardDescription, CardImage, Technology},
    wire::{
        AgentMessage, CardPlan, CardPresented, ErrorCode, Job, OpenJobState, Plan, ServiceMessage,
        Touched,
    },
};
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::{Mutex, mpsc, oneshot};

use super::{
    encodes::error,
    fake::{Fake, Site, card},
    restarts::reconnect,
};
use crate::{
    clock::Clock,
    desk::DeskSettings,
    http::bench::Bench,
    key_server::{AskKeyServer, Question},
    outbound::{Answer, OutboundError},
    store::{
        jobs, key_servers,
        systems::{self, SystemKind},
    },
};

const A: &str = "aabbccdd";
const B: &str = "bbccddee";

type Reply = Result<Answer, OutboundError>;
type Asked = (Question, oneshot::Sender<Reply>);

/// A key server that a test answers for.
#[derive(Debug)]
struct Scripted(mpsc::UnboundedSender<Asked>);

impl AskKeyServer for Scripted {
    fn ask(&self, question: Question, _now: Timestamp) -> BoxFuture<'static, Reply> {
        let (answer, answered) = oneshot::channel();
        self.0.send((question, answer)).unwrap();
        Box::pin(async move { answered.await.unwrap() })
    }
}

/// A site whose system has a key server, and what that is asked.
struct External {
    site: Site,
    asked: Mutex<mpsc::UnboundedReceiver<Asked>>,
}

impl External {
    async fn start() -> Self {
        let (questions, asked) = mpsc::unbounded_channel();
        let site = site(Arc::new(Scripted(questions))).await;
        give_key_server(&site).await;
        let asked = Mutex::new(asked);
        Self { site, asked }
    }

    /// The next question.
    async fn asked(&self) -> Asked {
        let mut asked = self.asked.lock().await;
        let asked = tokio::time::timeout(Duration::from_secs(10), asked.recv());
        asked.await.expect("a question in time").unwrap()
    }

    async fn asked_nothing(&self) -> bool {
        self.asked.lock().await.try_recv().is_err()
    }
}

async fn site(asker: Arc<dyn AskKeyServer>) -> Site {
    Site::of(Bench::start_asking(Clock::start(), DeskSettings::default(), asker).await).await
}

/// Gives the bench's system a key server, and returns its secret.
async fn give_key_server(site: &Site) -> String {
    let store = &site.bench.state.store;
    let (now, system) = (site.bench.state.clock.utc(), site.bench.system);
    let mut conn = store.write().await.unwrap();
    systems::set_kind(&mut conn, system, SystemKind::External)
        .await
        .unwrap();
    let url = "https://keys.example/image";
    let server = key_servers::create(&mut conn, store.master_key(), system, url, now)
        .await
        .unwrap();
    conn.commit().await.unwrap();
    server.key.secret().to_string()
}

fn answer(body: &Value) -> Reply {
    Ok(Answer {
        status: StatusCode::OK,
        body: Some(body.to_string().into()),
    })
}

fn image(data: &str) -> Value {
    json!({"image": {"kind": "mifare_classic", "sectors": [{
        "sector": 1,
        "keys": [{"slot": "a", "key": "ffffffffffff"}],
        "blocks": [{"block": 0, "data": data.repeat(16)}],
    }]}})
}

async fn present(agent: &mut Fake, job: &Job, n: u64, card: CardDescription) {
    let job_id = job.job_id;
    agent
        .say(AgentMessage::CardPresented(CardPresented {
            job_id,
            n,
            card,
        }))
        .await;
}

async fn plan(agent: &mut Fake) -> CardPlan {
    match agent.next().await {
        ServiceMessage::CardPlan(plan) => plan,
        other => panic!("expected a plan, got {other:?}"),
    }
}

async fn written(agent: &mut Fake) -> CardImage {
    match plan(agent).await.plan {
        Plan::Write { image } => image,
        other => panic!("expected an image, got {other:?}"),
    }
}

async fn job(site: &Site, agent: &mut Fake, encoder: &str) -> (Value, Job) {
    let room = site.bench.entrance(site.bench.system, "Room 101").await;
    let credential = site.credential_for(&[room]).await;
    let attempt = site.encode(encoder, &credential).await;
    let job = agent.job().await;
    let job_id = job.job_id;
    agent.say(AgentMessage::JobAccepted { job_id }).await;
    (attempt, job)
}

#[tokio::test]
async fn the_key_servers_image_is_asked_for_once_and_stays_the_plan() {
    let external = External::start().await;
    let site = &external.site;
    let (mut agent, encoder) = site.desk("desk").await;
    let (attempt, job) = job(site, &mut agent, &encoder).await;
    present(&mut agent, &job, 1, card(A)).await;
    let (question, reply) = external.asked().await;
    assert_eq!((question.job, question.n), (job.job_id, 1));
    assert_eq!(question.card, card(A));
    assert!(question.limit <= Duration::from_secs(10));
    let told = &question.credential;
    assert_eq!(told["acs_credential_id"], json!(job.credential_id));
    assert_eq!(told["acs_entrances"][0]["display_name"], "Room 101");

    // The same presentation again: the one question is enough. Messages are taken in turn, so once the wish for another
    // card's plan is refused, the presentation was taken too.
    present(&mut agent, &job, 1, card(A)).await;
    let refused = agent.verify(job.job_id, 1, B).await;
    assert!(matches!(refused, Plan::Refuse { .. }), "{refused:?}");
    reply.send(answer(&image("0a"))).unwrap();
    let first = written(&mut agent).await;
    present(&mut agent, &job, 1, card(A)).await;
    assert_eq!(written(&mut agent).await, first);
    let looked = agent.verify(job.job_id, 1, A).await;
    assert_eq!(looked, Plan::Verify { image: first });
    assert!(external.asked_nothing().await);

    agent.finish_written(&job, A).await;
    let ended = site.ended(&attempt).await;
    assert_eq!(ended["result"]["card_number"], A, "{ended}");
    let scan = site
        .scanned(&mut agent, &encoder, card(A), CardContents::UidOnly)
        .await;
    let found = &scan["result"];
    assert_eq!(found["acs_credential_on_encoder"]["is_issued"], Value::Null);
    assert_eq!(
        found["acs_credential_on_seam"]["acs_credential_id"],
        json!(job.credential_id)
    );
    assert_eq!(found["warnings"], json!([]));
    let other = site
        .scanned(&mut agent, &encoder, card(B), CardContents::UidOnly)
        .await;
    assert_eq!(other["result"]["acs_credential_on_seam"], Value::Null);
    assert!(external.asked_nothing().await, "a scan asks nobody");
}

#[tokio::test]
async fn the_image_outlives_the_service_and_is_never_stored_in_the_clear() {
    let external = External::start().await;
    let (mut agent, encoder) = external.site.desk("desk").await;
    let (_, job) = job(&external.site, &mut agent, &encoder).await;
    present(&mut agent, &job, 1, card(A)).await;
    let (_, reply) = external.asked().await;
    reply.send(answer(&image("0b"))).unwrap();
    let image = written(&mut agent).await;
    let mut conn = external.site.bench.state.store.read().await.unwrap();
    let kept: String = sqlx::query_scalar("SELECT content FROM bindings WHERE job_id = ?")
        .bind(job.job_id.to_string())
        .fetch_one(&mut *conn)
        .await
        .unwrap();
    assert!(
        !kept.contains("ffffffffffff") && !kept.contains("0b0b"),
        "{kept}"
    );
    drop(conn);
    let site = external.site.restart(DeskSettings::default()).await;
    let mut conn = site.bench.state.store.read().await.unwrap();
    let bound = jobs::by_id(&mut conn, job.job_id).await.unwrap();
    let binding = bound.unwrap().binding.unwrap();
    let sealed = binding.content.unwrap().image.unwrap();
    let key = site.bench.state.store.master_key();
    let opened = crate::key_server::open(key, job.job_id, 1, &sealed);
    assert_eq!(opened, Some(image));
    let moved = crate::key_server::open(key, job.job_id, 2, &sealed);
    assert_eq!(moved, None, "it opens in its own place alone");
}

#[tokio::test]
async fn a_refusal_ends_the_job_with_the_key_servers_words() {
    let external = External::start().await;
    let (mut agent, encoder) = external.site.desk("desk").await;
    let (attempt, job) = job(&external.site, &mut agent, &encoder).await;
    present(&mut agent, &job, 1, card(A)).await;
    let (_, reply) = external.asked().await;
    let code = "incompatible_card_format";
    let refuse = json!({"refuse": {"code": code, "message": "our locks read other cards"}});
    reply.send(answer(&refuse)).unwrap();
    let Plan::Refuse { code, message } = plan(&mut agent).await.plan else {
        panic!("expected a refusal");
    };
    assert_eq!(code, ErrorCode::IncompatibleCardFormat);
    assert_eq!(message, "our locks read other cards");
    agent.fail(&job, error(code, Touched::Untouched)).await;
    let ended = external.site.ended(&attempt).await;
    assert_eq!(ended["error"]["type"], "incompatible_card_format");
    assert_eq!(ended["error"]["touched"], "untouched");
}

#[tokio::test]
async fn no_image_means_that_nothing_is_written() {
    let external = External::start().await;
    let (mut agent, encoder) = external.site.desk("desk").await;
    let status = |status: StatusCode, body: &'static str| {
        Ok(Answer {
            status,
            body: Some(body.into()),
        })
    };
    let too_long: Reply = Ok(Answer {
        status: StatusCode::OK,
        body: None,
    });
    for (reply, expected) in [
        (
            Err(OutboundError::Late(Duration::from_secs(10))),
            "no answer within 10 s",
        ),
        (
            Err(OutboundError::NoAddress("keys.example".into())),
            "no address",
        ),
        (status(StatusCode::INTERNAL_SERVER_ERROR, "{}"), "500"),
        (status(StatusCode::FOUND, ""), "302"),
        (status(StatusCode::OK, "<html>"), "no JSON"),
        (too_long, "longer than"),
        (
            answer(
                &json!({"image": {"kind": "type2", "pages": [{"page": 4, "data": "01020304"}]}}),
            ),
            "cannot be written",
        ),
    ] {
        let (attempt, job) = job(&external.site, &mut agent, &encoder).await;
        present(&mut agent, &job, 1, card(A)).await;
        let (_, answered) = external.asked().await;
        answered.send(reply).unwrap();
        let Plan::Refuse { code, message } = plan(&mut agent).await.plan else {
            panic!("expected a refusal");
        };
        assert_eq!(code, ErrorCode::UncategorizedError);
        assert!(message.contains(expected), "{expected}: {message}");
        assert!(message.contains("nothing was written"), "{message}");
        agent.fail(&job, error(code, Touched::Untouched)).await;
        let ended = external.site.ended(&attempt).await;
        assert_eq!(ended["error"]["touched"], "untouched");
    }
}

/// Trace b of the promise: the plan of a card that was taken away comes late.
#[tokio::test]
async fn the_card_presented_last_counts_whatever_is_answered_first() {
    let external = External::start().await;
    let (mut agent, encoder) = external.site.desk("desk").await;
    let (_, job) = job(&external.site, &mut agent, &encoder).await;
    present(&mut agent, &job, 1, card(A)).await;
    let (_, first) = external.asked().await;
    present(&mut agent, &job, 2, card(B)).await;
    let (question, second) = external.asked().await;
    assert_eq!(question.card, card(B));
    // Whether that question still waits or not: it leads to nothing.
    let _ = first.send(answer(&image("01")));
    second.send(answer(&image("02"))).unwrap();
    let answered = plan(&mut agent).await;
    assert_eq!((answered.n, answered.uid), (2, card(B).uid));
}

#[tokio::test]
async fn an_answer_goes_into_the_session_that_presented_the_card_or_nowhere() {
    let external = External::start().await;
    let site = &external.site;
    let (_, token) = site.agent("desk").await;
    let mut agent = Fake::connect(site, &token).await;
    let encoder = agent.list(site, &["desk"]).await.remove(0);
    let (_, job) = job(site, &mut agent, &encoder).await;
    present(&mut agent, &job, 1, card(A)).await;
    let (_, late) = external.asked().await;
    reconnect(&mut agent, site, &token, &job, OpenJobState::Accepted).await;
    late.send(answer(&image("01"))).unwrap();
    present(&mut agent, &job, 2, card(A)).await;
    let (question, reply) = external.asked().await;
    assert_eq!(question.n, 2);
    reply.send(answer(&image("02"))).unwrap();
    let answered = plan(&mut agent).await;
    assert_eq!(answered.n, 2);
}

#[tokio::test]
async fn a_credential_deleted_meanwhile_is_not_written() {
    let external = External::start().await;
    let site = &external.site;
    let (mut agent, encoder) = site.desk("desk").await;
    let (attempt, job) = job(site, &mut agent, &encoder).await;
    present(&mut agent, &job, 1, card(A)).await;
    let (_, reply) = external.asked().await;
    let gone = json!({"acs_credential_id": job.credential_id});
    site.bench
        .post("/acs/credentials/delete", gone)
        .await
        .ok("ok");
    assert_eq!(
        site.ended(&attempt).await["error"]["type"],
        "credential_deleted"
    );
    let told = agent.next().await;
    assert!(matches!(told, ServiceMessage::Cancel { .. }), "{told:?}");
    reply.send(answer(&image("01"))).unwrap();
    let told = agent.next().await;
    assert!(matches!(told, ServiceMessage::Cancel { .. }), "{told:?}");
}

#[tokio::test]
async fn cards_that_take_no_image_are_refused_without_a_question() {
    let external = External::start().await;
    let (mut agent, encoder) = external.site.desk("desk").await;
    let desfire = CardDescription {
        technology: Technology::Desfire,
        ..card(A)
    };
    for unfit in [desfire, card("08112233")] {
        let (_, job) = job(&external.site, &mut agent, &encoder).await;
        present(&mut agent, &job, 1, unfit).await;
        let Plan::Refuse { code, .. } = plan(&mut agent).await.plan else {
            panic!("expected a refusal");
        };
        assert_eq!(code, ErrorCode::IncompatibleCardFormat);
        agent.fail(&job, error(code, Touched::Untouched)).await;
    }
    assert!(external.asked_nothing().await);
}
