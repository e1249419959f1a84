//! What an encoder's task answers the pulse, whatever its device does.

use super::*;
use crate::pulse::{Pulse, tests::beats};

/// How long each thing lasts.
const LONG: Duration = Duration::from_secs(605);

/// How often all is well within [`LONG`].
const BEATS: u32 = 60;

fn bench(pulse: &Pulse, script: Script) -> Bench {
    Bench::watched(script, pulse.task("encoder Front Desk"))
}

#[tokio::test(start_paused = true)]
async fn a_device_that_is_not_there_is_no_want_of_life() {
    let pulse = Pulse::default();
    let _bench = bench(
        &pulse,
        Script {
            unplugged: u32::MAX,
            ..Script::default()
        },
    );
    assert_eq!(beats(&pulse, LONG).await, BEATS);
}

#[tokio::test(start_paused = true)]
async fn nor_is_a_wait_for_a_card_even_if_nobody_takes_what_is_told() {
    let pulse = Pulse::default();
    let bench = bench(&pulse, Script::default());
    bench.command(EncoderCommand::Watch).await;
    assert_eq!(beats(&pulse, LONG).await, BEATS);
    let looks = bench
        .asked()
        .iter()
        .filter(|asked| **asked == "poll")
        .count();
    // There is room for eight events, and one is in hand.
    assert_eq!(looks, 8);
}

#[tokio::test(start_paused = true)]
async fn nor_is_a_preparation_or_a_write_that_lasts() {
    let pulse = Pulse::default();
    let mut bench = bench(
        &pulse,
        Script {
            prepare_time: LONG,
            write_time: LONG,
            ..Script::default()
        },
    );
    assert!(matches!(bench.event().await, EncoderEvent::Ready(_)));
    bench.command(prepare()).await;
    let (fed, prepared) = tokio::join!(beats(&pulse, LONG), bench.operation());
    assert_eq!(fed, BEATS);
    assert!(matches!(prepared, Ok(OperationResult::Prepared)));
    bench
        .command(EncoderCommand::Commit { job_id: job() })
        .await;
    assert_eq!(beats(&pulse, LONG).await, BEATS);
    assert!(matches!(
        bench.event().await,
        EncoderEvent::Verifying { .. }
    ));
    assert!(matches!(
        bench.operation().await,
        Ok(OperationResult::Written)
    ));
}

#[tokio::test(start_paused = true)]
async fn a_device_that_keeps_its_task_for_ever_is() {
    let pulse = Pulse::default();
    let mut bench = bench(
        &pulse,
        Script {
            poll_time: Duration::MAX,
            ..Script::default()
        },
    );
    assert!(matches!(bench.event().await, EncoderEvent::Ready(_)));
    assert_eq!(beats(&pulse, Duration::from_secs(25)).await, 2);
    bench.command(EncoderCommand::Watch).await;
    assert_eq!(beats(&pulse, LONG).await, 0);
    assert_eq!(*pulse.silent().borrow(), ["encoder Front Desk"]);
}
