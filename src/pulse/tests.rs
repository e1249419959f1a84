use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use tokio::time::Instant;

use super::*;

const INTERVAL: Duration = Duration::from_secs(10);

/// A task that answers until `stuck` is told, and then no more.
fn answering(pulse: &Pulse, name: &str) -> tokio::task::JoinHandle<()> {
    let mut sign = pulse.task(name);
    tokio::spawn(async move { match sign.answer().await {} })
}

/// How often all have answered within this time.
pub(crate) async fn beats(pulse: &Pulse, time: Duration) -> u32 {
    let alive = AtomicU32::new(0);
    let beating = pulse.beat(INTERVAL, || {
        alive.fetch_add(1, SeqCst);
    });
    let _ = timeout(time, beating).await;
    alive.into_inner()
}

#[tokio::test(start_paused = true)]
async fn it_beats_at_every_interval_at_which_all_answer() {
    let pulse = Pulse::default();
    assert_eq!(beats(&pulse, Duration::from_secs(35)).await, 3);
    let _one = answering(&pulse, "one");
    let _two = answering(&pulse, "two");
    assert_eq!(beats(&pulse, Duration::from_secs(35)).await, 3);
    assert!(pulse.silent().borrow().is_empty());
}

#[tokio::test(start_paused = true)]
async fn one_that_is_stuck_stops_it_and_is_named_until_it_answers_or_ends() {
    let pulse = Pulse::default();
    let _one = answering(&pulse, "one");
    let mut stuck = pulse.task("stuck");
    let mut silent = pulse.silent();
    let asked = pulse.clone();
    let beating = tokio::spawn(async move { beats(&asked, Duration::from_secs(96)).await });
    let begin = Instant::now();
    silent.changed().await.unwrap();
    assert_eq!(*silent.borrow_and_update(), ["stuck"]);
    assert_eq!(begin.elapsed(), INTERVAL + UNNAMED_FOR);
    sleep(Duration::from_secs(30)).await;
    // It goes on: at 45 s, and from then on each 10 s.
    let stuck = tokio::spawn(async move { match stuck.answer().await {} });
    silent.changed().await.unwrap();
    assert!(silent.borrow_and_update().is_empty());
    assert_eq!(begin.elapsed(), Duration::from_secs(45));
    sleep(Duration::from_secs(12)).await;
    // One that has ended is asked no more: whether it should have is another's affair.
    stuck.abort();
    assert_eq!(beating.await.unwrap(), 6);
    assert!(!silent.has_changed().unwrap());
}

#[tokio::test(start_paused = true)]
async fn one_that_works_long_answers_meanwhile_and_one_that_joins_late_is_asked_from_then_on() {
    let pulse = Pulse::default();
    let mut sign = pulse.task("working");
    let work = sign.during(sleep(Duration::from_secs(600)));
    let (beats, ()) = tokio::join!(beats(&pulse, Duration::from_secs(595)), async {
        let _ = timeout(Duration::from_secs(595), work).await;
    });
    assert_eq!(beats, 59);
    let late = pulse.task("late");
    assert!(pulse.0.unanswered().is_empty());
    pulse.0.question.send_modify(|question| *question += 1);
    assert_eq!(pulse.0.unanswered(), ["working", "late"]);
    drop((sign, late));
    assert!(pulse.0.unanswered().is_empty());
}
