//! Encodes and scans on an encoder that cards are drawn through: no UID, so that the job alone is the binding.

use encoder_protocols::{
    card::{
        CardContents, CardDescription, CardImage, ReadPlan,
        magstripe::{MagstripeImage, Track, TrackContents, TrackFound},
    },
    wire::{AgentMessage, ErrorCode, Job, JobFinished, Outcome, Plan, Progress, Touched},
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    encodes::error,
    fake::{Fake, Site, text},
};
use crate::access_system::tests::as_read;

const READY: CardDescription = CardDescription::to_be_swiped();

#[tokio::test]
async fn an_encode_shows_the_number_that_its_image_gives_and_a_scan_finds_it() {
    let site = Site::start().await;
    let (mut agent, encoder) = site.desk("desk").await;
    let credential = site.credential().await;
    let attempt = site.encode(&encoder, &credential).await;
    let job = agent.job().await;
    let image = presented(&mut agent, &job, 1).await;
    image.check().unwrap();
    started(&mut agent, &job).await;
    written(&mut agent, &job, &image).await;
    let ended = site.ended(&attempt).await;
    assert_eq!(ended["status"], "success", "{ended}");
    assert_eq!(ended["result"]["card_number"], json!(image.card_number));
    assert_eq!(ended["result"]["is_issued"], true);
    assert_eq!(site.events_of(&credential).await, ["acs_credential.issued"]);

    let contents = as_read(&CardImage::Magstripe(image.clone()));
    let scanned = scan(&site, &mut agent, &encoder, contents).await;
    let found = &scanned["result"];
    assert_eq!(found["warnings"], json!([]), "{scanned}");
    assert_eq!(
        found["acs_credential_on_encoder"]["card_number"],
        json!(image.card_number)
    );
    assert_eq!(
        found["acs_credential_on_encoder"]["starts_at"],
        "2026-12-01T15:00:00.000Z"
    );
    assert_eq!(
        found["acs_credential_on_seam"]["acs_credential_id"],
        json!(credential)
    );
}

#[tokio::test]
async fn a_written_stripe_holds_its_credential_for_good() {
    for touched in [Touched::Written, Touched::Unknown] {
        let site = Site::start().await;
        let (mut agent, encoder) = site.desk("desk").await;
        let credential = site.credential().await;
        let attempt = site.encode(&encoder, &credential).await;
        let job = agent.job().await;
        let image = presented(&mut agent, &job, 1).await;
        started(&mut agent, &job).await;
        if touched == Touched::Written {
            written(&mut agent, &job, &image).await;
        } else {
            failed(&mut agent, &job, ErrorCode::EncodingInterrupted, touched).await;
        }
        site.ended(&attempt).await;
        let change = json!({"acs_credential_id": credential, "ends_at": "2027-02-01T12:00:00Z"});
        let changed = site.bench.post("/acs/credentials/update", change).await;
        changed.ok("acs_credential");
        let again = site.encode(&encoder, &credential).await;
        assert_eq!(
            again["error"]["type"], "credential_cannot_be_reissued",
            "{again}"
        );
        let words = text(&again["error"]["message"]);
        assert!(words.contains("make a new credential"), "{words}");
    }
}

#[tokio::test]
async fn an_armed_encoder_that_was_reset_lets_the_credential_go_onto_another_card() {
    let site = Site::start().await;
    let (mut agent, encoder) = site.desk("desk").await;
    let credential = site.credential().await;
    let attempt = site.encode(&encoder, &credential).await;
    let job = agent.job().await;
    presented(&mut agent, &job, 1).await;
    started(&mut agent, &job).await;
    let code = ErrorCode::NoCardOnEncoder;
    failed(&mut agent, &job, code, Touched::Untouched).await;
    let ended = site.ended(&attempt).await;
    assert_eq!(ended["error"]["type"], "no_card_on_encoder");
    assert_eq!(ended["error"]["touched"], "untouched");

    let (ended, _) = site
        .issue(&mut agent, &encoder, &credential, "aabbccdd")
        .await;
    assert_eq!(ended["status"], "success", "{ended}");
}

#[tokio::test]
async fn what_waits_for_a_stripe_goes_onto_no_other_card_meanwhile() {
    let site = Site::start().await;
    let (mut agent, encoder) = site.desk("desk").await;
    let credential = site.credential().await;
    let attempt = site.encode(&encoder, &credential).await;
    let job = agent.job().await;
    let first = presented(&mut agent, &job, 1).await;
    // The same agent may present it again: nothing was started. The number is that of the binding.
    let plan = agent.present(&job, 2, READY).await;
    let Plan::Write { image } = plan.plan else {
        panic!("expected a plan to write, got {plan:?}");
    };
    assert_eq!((plan.n, plan.uid), (2, None));
    image_of(image).check().unwrap();
    started(&mut agent, &job).await;
    written(&mut agent, &job, &first).await;
    assert_eq!(site.ended(&attempt).await["status"], "success");
}

#[tokio::test]
async fn another_start_of_the_agent_makes_nothing_of_an_armed_job() {
    let site = Site::start().await;
    let (_, token) = site.agent("desk").await;
    let mut agent = Fake::connect(&site, &token).await;
    let encoder = agent.list(&site, &["desk"]).await.remove(0);
    let credential = site.credential().await;
    let attempt = site.encode(&encoder, &credential).await;
    let job = agent.job().await;
    presented(&mut agent, &job, 1).await;
    agent.reconnect(&site, &token).await;
    agent.boot_id = Uuid::new_v4();
    agent.greet(vec![]).await;
    let ended = site.ended(&attempt).await;
    assert_eq!(ended["status"], "error", "{ended}");
    assert_eq!(ended["error"]["touched"], "unknown");
    agent.list(&site, &["desk"]).await;
    let again = site.encode(&encoder, &credential).await;
    assert_eq!(again["error"]["type"], "credential_cannot_be_reissued");
}

#[tokio::test]
async fn a_credential_with_four_entrances_is_refused_before_a_card_is_swiped() {
    let site = Site::start().await;
    let (mut agent, encoder) = site.desk("desk").await;
    let mut entrances = vec![];
    for name in ["1", "2", "3", "4"] {
        entrances.push(site.bench.entrance(site.bench.system, name).await);
    }
    let credential = site.credential_for(&entrances).await;
    site.encode(&encoder, &credential).await;
    let job = agent.job().await;
    let plan = agent.present(&job, 1, READY).await;
    let Plan::Refuse { code, message } = plan.plan else {
        panic!("expected a refusal, got {plan:?}");
    };
    assert_eq!(code, ErrorCode::IncompatibleCardFormat);
    assert!(message.contains("room for 3"), "{message}");
}

#[tokio::test]
async fn foreign_stripes_and_payment_cards_tell_nothing() {
    let site = Site::start().await;
    let (mut agent, encoder) = site.desk("desk").await;
    let credential = site.credential().await;
    let attempt = site.encode(&encoder, &credential).await;
    let job = agent.job().await;
    let image = presented(&mut agent, &job, 1).await;
    written(&mut agent, &job, &image).await;
    site.ended(&attempt).await;
    let own = as_read(&CardImage::Magstripe(image));
    let mut forged = own.clone();
    if let CardContents::Magstripe { tracks } = &mut forged {
        tracks[0].found = TrackFound::Iso {
            text: "9000000000000000".to_owned(),
        };
    }
    let payment = CardContents::Magstripe {
        tracks: vec![TrackContents {
            track: Track::Two,
            found: TrackFound::PaymentData {
                masked: "************1111".to_owned(),
            },
        }],
    };
    let blank = CardContents::Magstripe { tracks: vec![] };
    for (contents, words) in [
        (forged, "not authentic"),
        (payment, "payment card"),
        (blank, "no credential"),
    ] {
        let scanned = scan(&site, &mut agent, &encoder, contents).await;
        assert_eq!(scanned["status"], "success", "{scanned}");
        let found = &scanned["result"];
        assert_eq!(
            found["acs_credential_on_encoder"]["card_number"],
            Value::Null
        );
        assert_eq!(found["acs_credential_on_seam"], Value::Null);
        let warning = text(&found["warnings"][0]["warning_message"]);
        assert!(warning.contains(words), "{warning}");
        assert!(!scanned.to_string().contains("1111"), "{scanned}");
    }
}

async fn presented(agent: &mut Fake, job: &Job, n: u64) -> MagstripeImage {
    let job_id = job.job_id;
    agent.say(AgentMessage::JobAccepted { job_id }).await;
    let plan = agent.present(job, n, READY).await;
    assert_eq!((plan.n, plan.uid), (n, None));
    match plan.plan {
        Plan::Write { image } => image_of(image),
        other => panic!("expected a plan to write, got {other:?}"),
    }
}

fn image_of(image: CardImage) -> MagstripeImage {
    match image {
        CardImage::Magstripe(image) => image,
        other => panic!("expected a stripe's image, got {other:?}"),
    }
}

async fn started(agent: &mut Fake, job: &Job) {
    for progress in [Progress::Writing { uid: None, n: 1 }, Progress::SwipeCard] {
        let job_id = job.job_id;
        agent
            .say(AgentMessage::JobProgress { job_id, progress })
            .await;
    }
}

async fn written(agent: &mut Fake, job: &Job, image: &MagstripeImage) {
    let finished = agent.outcome(job, Outcome::Success, Touched::Written, Some(READY));
    agent
        .finish(JobFinished {
            card_number: Some(image.card_number.clone()),
            ..finished
        })
        .await;
}

async fn failed(agent: &mut Fake, job: &Job, code: ErrorCode, touched: Touched) {
    let finished = agent.outcome(job, Outcome::Error, touched, Some(READY));
    agent
        .finish(JobFinished {
            error: Some(error(code, touched)),
            ..finished
        })
        .await;
}

async fn scan(site: &Site, agent: &mut Fake, encoder: &str, contents: CardContents) -> Value {
    let attempt = site.scan(encoder).await;
    let job = agent.job().await;
    let plan = agent.present(&job, 1, READY).await;
    assert!(
        matches!(&plan.plan, Plan::Read { plan: ReadPlan::Magstripe(read) } if read.tracks == Track::ALL),
        "{plan:?}"
    );
    let finished = JobFinished {
        contents: Some(contents),
        ..agent.outcome(&job, Outcome::Success, Touched::Untouched, Some(READY))
    };
    agent.finish(finished).await;
    site.ended(&attempt).await
}
