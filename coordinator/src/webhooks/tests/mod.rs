//! Deliveries in virtual time, over a real store, to endpoints that behave and to endpoints that do not.

mod running;
mod world;

use std::time::Duration;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::store::{
    deliveries::{self, DeliveryState},
    events::{self, EventType},
    webhooks,
};
use world::{Act, World};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const ALL: &[&str] = &["*"];

#[tokio::test]
async fn what_arrives_is_the_event_as_the_api_tells_it_signed_with_the_webhooks_key() {
    let mut world = World::new().await;
    let id = world
        .webhook("https://a.example", ALL, Act::Answer(204))
        .await;
    let event_id = world.issue(1).await;
    world.settle().await;
    let [got] = &world.got("https://a.example")[..] else {
        panic!("not one message");
    };
    let mut conn = world.store.read().await.unwrap();
    let event = events::find(&mut conn, world.workspace, event_id).await;
    let event = event.unwrap().unwrap();
    assert_eq!(got.event(), crate::http::event_json(&event));
    assert_eq!(got.event()["event_id"], event_id.to_string());
    assert_eq!(got.header("content-type"), "application/json");
    assert_eq!(got.header("svix-id"), event_id.to_string());
    assert_eq!(
        got.header("svix-timestamp"),
        world.now.as_second().to_string()
    );
    let webhook = webhooks::by_id(&mut conn, world.store.master_key(), id).await;
    let key = webhook.unwrap().unwrap().key;
    let signature = key.sign(&event_id.to_string(), world.now, &got.body);
    assert_eq!(got.header("svix-signature"), signature);
    assert_eq!(world.states(id).await, [DeliveryState::Delivered]);
}

#[tokio::test]
async fn an_endpoint_that_fails_for_days_is_tried_eight_times_and_then_given_up() {
    for (act, status, error) in [
        (Act::Answer(500), Some(500), "status 500"),
        (Act::Answer(302), Some(302), "redirects are not followed"),
        (Act::Answer(410), Some(410), "status 410"),
        (Act::Answer(429), Some(429), "status 429"),
        (Act::Break, None, "connection closed"),
        (Act::Panic, None, "inside this service"),
    ] {
        let mut world = World::new().await;
        let id = world.webhook("https://a.example", ALL, act).await;
        world.issue(1).await;
        let began = world.now;
        let mut times = Vec::new();
        loop {
            let next = world.settle().await;
            if world.got("https://a.example").len() > times.len() {
                times.push(world.now.duration_since(began).as_secs());
            }
            match next {
                Some(next) => world.now = next,
                None => break,
            }
        }
        assert_eq!(times, [0, 5, 305, 2105, 9305, 27_305, 63_305, 99_305]);
        let [delivery] = &world.deliveries(id).await[..] else {
            panic!("not one delivery");
        };
        assert_eq!(delivery.state, DeliveryState::Failed);
        assert_eq!((delivery.attempts, delivery.last_status), (8, status));
        assert_eq!(delivery.last_at, Some(world.now));
        let told = delivery.last_error.as_deref().unwrap();
        assert!(told.contains(error), "{told}");
        world.pass(3 * DAY).await;
        assert_eq!(world.got("https://a.example").len(), 8);
    }
}

#[tokio::test]
async fn every_attempt_has_the_same_id_and_a_signature_of_its_own_time() {
    let mut world = World::new().await;
    world
        .webhook("https://a.example", ALL, Act::Answer(503))
        .await;
    world.issue(1).await;
    world.pass(Duration::from_secs(10)).await;
    let [first, second] = &world.got("https://a.example")[..] else {
        panic!("not two attempts");
    };
    assert_eq!(first.header("svix-id"), second.header("svix-id"));
    assert_eq!(first.body, second.body);
    assert_ne!(
        first.header("svix-timestamp"),
        second.header("svix-timestamp")
    );
    assert_ne!(
        first.header("svix-signature"),
        second.header("svix-signature")
    );
}

#[tokio::test]
async fn the_events_of_one_object_wait_for_each_other_and_for_nothing_else() {
    let mut world = World::new().await;
    let id = world
        .webhook("https://a.example", ALL, Act::Reject(1))
        .await;
    let blocked = [
        world.issue(1).await,
        world.issue(1).await,
        world.issue(1).await,
    ];
    let free = [
        world.issue(2).await,
        world.issue(3).await,
        world.issue(2).await,
    ];
    world.pass(Duration::from_secs(60)).await;
    let mut got = world.got_events("https://a.example");
    got.retain(|event| *event != blocked[0]);
    assert_eq!(
        got, free,
        "the line of the first credential waits, the others go on"
    );
    use DeliveryState::{Delivered, Pending, Queued};
    let states = [Pending, Queued, Queued, Delivered, Delivered, Delivered];
    assert_eq!(world.states(id).await, states);
    world.behave("https://a.example", Act::Answer(200));
    world.pass(DAY).await;
    assert_eq!(world.states(id).await, [Delivered; 6]);
    let got = world.got_events("https://a.example");
    assert_eq!(got[got.len() - 3..], blocked);
}

#[tokio::test]
async fn after_one_is_given_up_the_next_of_the_object_is_tried_in_full() {
    let mut world = World::new().await;
    let id = world
        .webhook("https://a.example", ALL, Act::Answer(500))
        .await;
    let (first, second) = (world.issue(1).await, world.issue(1).await);
    world.pass(3 * DAY).await;
    assert_eq!(world.states(id).await, [DeliveryState::Failed; 2]);
    let expected = [[first; 8], [second; 8]].concat();
    assert_eq!(world.got_events("https://a.example"), expected);
}

#[tokio::test]
async fn dead_and_hanging_endpoints_delay_nobody_else() {
    let mut world = World::new().await;
    world
        .webhook("https://good.example", ALL, Act::Answer(200))
        .await;
    for n in 0..20 {
        let act = if n % 2 == 0 { Act::Hang } else { Act::Break };
        world
            .webhook(&format!("https://bad{n}.example"), ALL, act)
            .await;
    }
    let mut events = Vec::new();
    for n in 0..30 {
        events.push(world.issue(n % 7).await);
    }
    // No time passes at all.
    world.settle().await;
    let mut got = world.got_events("https://good.example");
    got.sort();
    assert_eq!(got, events);
    assert_eq!(world.got("https://bad0.example").len(), PER_UNPROVEN);
}

#[tokio::test]
async fn a_webhook_whose_key_does_not_open_holds_up_no_other() {
    let mut world = World::new().await;
    let damaged = world
        .webhook("https://damaged.example", ALL, Act::Answer(200))
        .await;
    let good = world
        .webhook("https://good.example", ALL, Act::Answer(200))
        .await;
    let mut conn = world.store.write().await.unwrap();
    sqlx::query("UPDATE webhooks SET sealed = zeroblob(40) WHERE webhook_id = ?")
        .bind(damaged.to_string())
        .execute(&mut *conn)
        .await
        .unwrap();
    conn.commit().await.unwrap();
    world.issue(1).await;
    world.settle().await;
    assert_eq!(world.states(good).await, [DeliveryState::Delivered]);
    assert_eq!(world.states(damaged).await, [DeliveryState::Pending]);
}

#[tokio::test]
async fn a_restart_goes_on_where_the_schedule_was() {
    let mut world = World::new().await;
    let id = world
        .webhook("https://a.example", ALL, Act::Answer(500))
        .await;
    world.issue(1).await;
    world.pass(Duration::from_secs(10)).await;
    assert_eq!(world.got("https://a.example").len(), 2);
    world.restart();
    world.pass(Duration::from_secs(294)).await;
    assert_eq!(world.got("https://a.example").len(), 2, "304 s: too early");
    world.pass(Duration::from_secs(1)).await;
    assert_eq!(world.got("https://a.example").len(), 3);
    assert_eq!(world.deliveries(id).await[0].attempts, 3);
}

#[tokio::test]
async fn what_was_under_way_when_the_service_died_is_sent_again() {
    let mut world = World::new().await;
    let id = world.webhook("https://a.example", ALL, Act::Hang).await;
    let event = world.issue(1).await;
    world.settle().await;
    world.behave("https://a.example", Act::Answer(200));
    world.settle().await;
    assert_eq!(
        world.got_events("https://a.example"),
        [event],
        "it is still under way"
    );
    world.restart();
    world.settle().await;
    assert_eq!(world.got_events("https://a.example"), [event, event]);
    assert_eq!(world.states(id).await, [DeliveryState::Delivered]);
}

#[tokio::test]
async fn an_event_that_was_never_committed_is_never_sent() {
    let mut world = World::new().await;
    world
        .webhook("https://a.example", ALL, Act::Answer(200))
        .await;
    let mut conn = world.store.write().await.unwrap();
    let (kind, now) = (EventType::AcsUserCreated, world.now);
    let subject = events::EventSubject::default();
    let recorded = events::record(&mut conn, world.workspace, kind, subject, now, now);
    recorded.await.unwrap();
    drop(conn);
    world.settle().await;
    assert!(world.got("https://a.example").is_empty());
}

#[tokio::test]
async fn a_webhook_gets_the_types_that_it_takes_at_the_time_of_the_event() {
    let mut world = World::new().await;
    let types = &["acs_user.created", "acs_encoder.added"];
    let id = world
        .webhook("https://a.example", types, Act::Answer(200))
        .await;
    world
        .webhook("https://none.example", &[], Act::Answer(200))
        .await;
    world.record(EventType::AcsCredentialIssued, 1).await;
    let user = world.record(EventType::AcsUserCreated, 1).await;
    let mut conn = world.store.write().await.unwrap();
    let all = ["acs_credential.issued".to_owned()];
    let changed = webhooks::set_event_types(&mut conn, world.workspace, id, &all).await;
    assert!(changed.unwrap());
    conn.commit().await.unwrap();
    world.record(EventType::AcsUserCreated, 2).await;
    let credential = world.record(EventType::AcsCredentialIssued, 2).await;
    world.settle().await;
    let mut got = world.got_events("https://a.example");
    got.sort();
    assert_eq!(got, [user, credential]);
    assert!(world.got("https://none.example").is_empty());
}

#[tokio::test]
async fn a_neighbours_events_are_not_sent() {
    let mut world = World::new().await;
    world
        .webhook("https://a.example", ALL, Act::Answer(200))
        .await;
    let mut conn = world.store.write().await.unwrap();
    let other = crate::store::workspaces::create(&mut conn, "Neighbour", true, world.now).await;
    conn.commit().await.unwrap();
    let ours = std::mem::replace(&mut world.workspace, other.unwrap().workspace_id);
    world.issue(1).await;
    world.settle().await;
    assert!(world.got("https://a.example").is_empty());
    world.workspace = ours;
    world.issue(1).await;
    world.settle().await;
    assert_eq!(world.got("https://a.example").len(), 1);
}

#[tokio::test]
async fn a_deleted_webhook_gets_nothing_more_and_leaves_nothing_behind() {
    let mut world = World::new().await;
    let hanging = world.webhook("https://hangs.example", ALL, Act::Hang).await;
    let failing = world
        .webhook("https://fails.example", ALL, Act::Answer(500))
        .await;
    let kept = world
        .webhook("https://kept.example", ALL, Act::Answer(500))
        .await;
    for credential in [1, 1, 2] {
        world.issue(credential).await;
    }
    world.settle().await;
    let mut conn = world.store.write().await.unwrap();
    for id in [hanging, failing] {
        assert!(
            webhooks::delete(&mut conn, world.workspace, id)
                .await
                .unwrap()
        );
    }
    conn.commit().await.unwrap();
    let before = world.got("https://fails.example").len();
    world.behave("https://hangs.example", Act::Answer(200));
    world.behave("https://kept.example", Act::Answer(200));
    world.pass(3 * DAY).await;
    assert_eq!(world.got("https://fails.example").len(), before);
    assert_eq!(world.got("https://hangs.example").len(), 1);
    assert_eq!(world.states(kept).await, [DeliveryState::Delivered; 3]);
    for id in [hanging, failing] {
        assert!(world.deliveries(id).await.is_empty());
    }
}

#[tokio::test]
async fn a_clock_that_was_set_back_or_forward_stops_nothing() {
    let mut world = World::new().await;
    let id = world
        .webhook("https://a.example", ALL, Act::Answer(500))
        .await;
    world.issue(1).await;
    world.settle().await;
    world.now -= 30 * DAY;
    world.behave("https://a.example", Act::Answer(200));
    world.settle().await;
    assert_eq!(world.states(id).await, [DeliveryState::Delivered]);
    world.behave("https://a.example", Act::Answer(500));
    world.issue(1).await;
    world.settle().await;
    world.now += 60 * DAY;
    world.behave("https://a.example", Act::Answer(200));
    world.settle().await;
    assert_eq!(world.states(id).await, [DeliveryState::Delivered; 2]);
}

#[tokio::test]
async fn a_replayed_event_goes_to_the_end_of_its_objects_line() {
    let mut world = World::new().await;
    let id = world
        .webhook("https://a.example", ALL, Act::Answer(200))
        .await;
    let first = world.issue(1).await;
    world.settle().await;
    world.behave("https://a.example", Act::Answer(500));
    let second = world.issue(1).await;
    world.settle().await;
    let mut conn = world.store.write().await.unwrap();
    let event = events::by_id(&mut conn, first).await.unwrap().unwrap();
    deliveries::replay(&mut conn, id, &event, world.now)
        .await
        .unwrap();
    conn.commit().await.unwrap();
    world.behave("https://a.example", Act::Answer(200));
    world.pass(Duration::from_secs(10)).await;
    assert_eq!(
        world.got_events("https://a.example"),
        [first, second, second, first]
    );
    assert_eq!(world.states(id).await, [DeliveryState::Delivered; 3]);
}

#[tokio::test]
async fn ended_deliveries_are_forgotten_and_waiting_ones_are_not() {
    let mut world = World::new().await;
    let good = world
        .webhook("https://good.example", ALL, Act::Answer(200))
        .await;
    let bad = world
        .webhook("https://bad.example", ALL, Act::Answer(500))
        .await;
    world.issue(1).await;
    world.pass(2 * DAY).await;
    world.issue(1).await;
    world.settle().await;
    let mut conn = world.store.write().await.unwrap();
    let (soon, later) = (world.now + DAY, world.now + 9 * DAY);
    for (now, forgotten) in [(soon, 1), (later, 2)] {
        let done = deliveries::forget(&mut conn, now, 2 * DAY, 7 * DAY, 10).await;
        assert_eq!(done.unwrap(), forgotten);
    }
    conn.commit().await.unwrap();
    assert!(world.states(good).await.is_empty());
    assert_eq!(world.states(bad).await, [DeliveryState::Pending]);
}

#[tokio::test]
async fn looking_for_work_uses_an_index() {
    let world = World::new().await;
    let mut conn = world.store.read().await.unwrap();
    for query in deliveries::QUERIES {
        let plan: Vec<(i64, i64, i64, String)> =
            sqlx::query_as(sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {query}")))
                .fetch_all(&mut *conn)
                .await
                .unwrap();
        for (.., step) in plan {
            let scans = step.starts_with("SCAN d") || step.starts_with("SCAN webhook_deliveries");
            assert!(!scans && !step.contains("TEMP B-TREE"), "{query}: {step}");
        }
    }
}

/// Something that happens to the world.
#[derive(Clone, Debug)]
enum Step {
    Event(u128),
    Behave(usize, Act),
    Pass(Duration),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let act = prop_oneof![
        3 => Just(Act::Answer(200)),
        2 => Just(Act::Answer(500)),
        1 => Just(Act::Hang),
        1 => Just(Act::Break),
        1 => (0..3u128).prop_map(Act::Reject),
    ];
    prop_oneof![
        6 => (0..3u128).prop_map(Step::Event),
        2 => (0..2usize, act).prop_map(|(endpoint, act)| Step::Behave(endpoint, act)),
        2 => (0..50_000u64).prop_map(|seconds| Step::Pass(Duration::from_secs(seconds))),
        1 => Just(Step::Restart),
    ]
}

const URLS: [&str; 2] = ["https://a.example", "https://b.example"];

async fn run(steps: Vec<Step>) {
    let mut world = World::new().await;
    let mut ids = Vec::new();
    for url in URLS {
        ids.push(world.webhook(url, ALL, Act::Answer(200)).await);
    }
    let mut events = vec![Vec::new(); 3];
    for step in steps {
        match step {
            Step::Event(credential) => {
                let event = world.issue(credential).await;
                events[usize::try_from(credential).unwrap()].push(event);
            }
            Step::Behave(endpoint, act) => world.behave(URLS[endpoint], act),
            Step::Pass(time) => world.pass(time).await,
            Step::Restart => world.restart(),
        }
    }
    // In the end everything works, and nothing that hangs is waited for.
    for url in URLS {
        world.behave(url, Act::Answer(200));
    }
    world.restart();
    world.pass(DAY).await;
    for (url, id) in URLS.into_iter().zip(ids) {
        let states = world.states(id).await;
        let ended = [DeliveryState::Delivered, DeliveryState::Failed];
        assert!(
            states.iter().all(|state| ended.contains(state)),
            "{states:?}"
        );
        let got = world.got_events(url);
        for line in &events {
            let mut of_line: Vec<Uuid> = got.clone();
            of_line.retain(|event| line.contains(event));
            of_line.dedup();
            assert_eq!(
                of_line, *line,
                "each event at least once, in order, repeats side by side"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn whatever_happens_every_event_arrives_at_least_once_and_in_order(
        steps in prop::collection::vec(step(), 1..30)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(steps));
    }
}
