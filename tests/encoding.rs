//! Jobs end to end: a scripted coordinator, the agent as a process, and an emulated encoder on a pseudo terminal.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failure is a panic, in what the tests share too"
)]

mod desk;

use std::time::Duration;

use desk::setting::{
    CARD, INSTANT, OTHER_CARD, REAL, Setting, finished, image, image_blocks, transport_key, write,
};
use encoder_protocols::{
    card::{CardContents, ClassicRead, ReadPlan, SectorRead, virtual_card::CardKind},
    wire::{
        AgentMessage, EncoderState, ErrorCode, JobKind, OpenJobState, Outcome, Plan, Progress,
        ServiceMessage, Touched,
    },
};
use rustix::process::Signal;

#[tokio::test]
async fn an_encode_writes_the_image_and_a_scan_reads_it_back() {
    let mut setting = Setting::new(INSTANT).await;
    setting.bench.place(CARD);
    let job = setting.encode().await;
    let presented = setting.presented(&job).await;
    assert_eq!(presented.card.uid.unwrap().to_string(), CARD);
    setting.plan(&presented, write(0x5a)).await;
    let n = presented.n;
    setting
        .progress(
            &job,
            |progress| matches!(progress, Progress::Writing { n: at, .. } if *at == n),
        )
        .await;
    let encoded = finished(&mut setting.line).await;
    assert_eq!(
        (encoded.outcome, encoded.touched),
        (Outcome::Success, Touched::Written)
    );
    assert_eq!(encoded.card_number.as_deref(), Some(CARD));
    assert_eq!(encoded.credential_id, job.credential_id);
    assert_eq!(encoded.sequence, 1);
    assert!(encoded.issued_at.is_some());
    for block in image_blocks() {
        assert_eq!(
            setting.bench.block(CARD, block),
            [0x5a; 16],
            "block {block}"
        );
    }
    setting.acknowledge(&encoded).await;

    let scan = setting.job(JobKind::Scan, Duration::from_secs(20));
    setting.offer(&scan).await;
    let presented = setting.presented(&scan).await;
    let sectors = vec![SectorRead {
        sector: 2,
        keys: transport_key(),
    }];
    let plan = ReadPlan::MifareClassic(ClassicRead {
        sectors,
        extension: vec![],
    });
    setting.plan(&presented, Plan::Read { plan }).await;
    let scanned = finished(&mut setting.line).await;
    assert_eq!(
        (scanned.outcome, scanned.touched),
        (Outcome::Success, Touched::Untouched)
    );
    let Some(CardContents::MifareClassic { blocks, unread }) = scanned.contents else {
        panic!("read {:?}", scanned.contents);
    };
    assert!(unread.is_empty());
    assert_eq!(
        blocks.iter().map(|block| block.block).collect::<Vec<_>>(),
        [8, 9, 10]
    );
    assert!(blocks.iter().all(|block| block.data == [0x5a; 16]));
    assert!(!setting.agent.log().contains("ffffffffffff"));
    setting.stop().await;
}

#[tokio::test]
async fn an_outcome_is_sent_again_until_it_is_acknowledged() {
    let mut setting = Setting::new(INSTANT).await;
    setting.bench.place(CARD);
    let job = setting.encode().await;
    let presented = setting.presented(&job).await;
    setting.plan(&presented, write(1)).await;
    let first = finished(&mut setting.line).await;

    // The session breaks before the acknowledgement.
    let hello = setting.welcome_again().await;
    assert_eq!(hello.open_jobs.len(), 1);
    assert_eq!(
        hello.open_jobs[0].state,
        OpenJobState::Finished { sequence: 1 }
    );
    assert_eq!(finished(&mut setting.line).await, first);

    // The agent is killed, and started again.
    setting.agent.kill();
    setting.agent = setting.desk.run();
    let hello = setting.welcome_again().await;
    assert_eq!(hello.last_sequence, 1);
    assert_eq!(finished(&mut setting.line).await, first);
    setting.acknowledge(&first).await;

    // The same job once more is answered from the journal; the card is not touched.
    let writes = setting.bench.writes(CARD);
    setting.line.say(&ServiceMessage::Job(job)).await;
    assert_eq!(finished(&mut setting.line).await, first);
    assert_eq!(setting.bench.writes(CARD), writes);
    setting.stop().await;
}

#[tokio::test]
async fn a_waiting_job_can_be_cancelled_and_the_next_goes_on() {
    let mut setting = Setting::new(INSTANT).await;
    let job = setting.encode().await;
    setting
        .progress(&job, |progress| *progress == Progress::WaitingForCard)
        .await;
    setting
        .line
        .say(&ServiceMessage::Cancel {
            job_id: job.job_id,
            code: ErrorCode::CredentialDeleted,
            message: "the credential was deleted".to_owned(),
        })
        .await;
    let cancelled = finished(&mut setting.line).await;
    assert_eq!(
        (cancelled.outcome, cancelled.touched),
        (Outcome::Error, Touched::Untouched)
    );
    assert_eq!(cancelled.error.unwrap().code, ErrorCode::CredentialDeleted);
    setting.bench.place(CARD);
    assert_eq!(setting.encode_all(7).await.outcome, Outcome::Success);
    setting.stop().await;
}

#[tokio::test]
async fn no_card_in_time_is_told() {
    let mut setting = Setting::new(INSTANT).await;
    let job = setting.job(JobKind::Encode, Duration::from_millis(300));
    setting.offer(&job).await;
    let ended = finished(&mut setting.line).await;
    assert_eq!(ended.error.unwrap().code, ErrorCode::NoCardOnEncoder);
    assert_eq!(ended.touched, Touched::Untouched);
    setting.stop().await;
}

#[tokio::test]
async fn a_written_card_must_leave_before_the_next_credential() {
    let mut setting = Setting::new(INSTANT).await;
    setting.bench.place(CARD);
    assert_eq!(setting.encode_all(1).await.outcome, Outcome::Success);
    let second = setting.encode().await;
    setting
        .progress(&second, |progress| *progress == Progress::LiftCard)
        .await;
    setting.bench.lift_all();
    setting.bench.place(OTHER_CARD);
    let presented = setting.presented(&second).await;
    assert_eq!(presented.card.uid.unwrap().to_string(), OTHER_CARD);
    setting.plan(&presented, write(2)).await;
    assert_eq!(finished(&mut setting.line).await.outcome, Outcome::Success);
    assert_eq!(setting.bench.block(CARD, 4), [1; 16]);
    assert_eq!(setting.bench.block(OTHER_CARD, 4), [2; 16]);
    setting.stop().await;
}

#[tokio::test]
async fn a_running_write_ends_before_the_agent_stops() {
    let mut setting = Setting::new(REAL).await;
    setting.bench.place(CARD);
    let job = setting.encode().await;
    let presented = setting.presented(&job).await;
    setting.plan(&presented, write(9)).await;
    setting
        .progress(&job, |progress| {
            matches!(progress, Progress::Writing { .. })
        })
        .await;
    setting.agent.terminate();
    let ended = finished(&mut setting.line).await;
    assert_eq!(
        (ended.outcome, ended.touched),
        (Outcome::Success, Touched::Written)
    );
    assert_eq!(setting.agent.end().await.code(), Some(0));
    for block in image_blocks() {
        assert_eq!(setting.bench.block(CARD, block), [9; 16], "block {block}");
    }
}

#[tokio::test]
async fn a_waiting_job_does_not_hold_up_a_stop_and_goes_on_after_the_start() {
    let mut setting = Setting::new(INSTANT).await;
    let job = setting.encode().await;
    setting
        .progress(&job, |progress| *progress == Progress::WaitingForCard)
        .await;
    setting.agent.terminate();
    assert_eq!(setting.agent.end().await.code(), Some(0));

    setting.agent = setting.desk.run();
    let hello = setting.welcome_again().await;
    assert_eq!(hello.open_jobs[0].job_id, job.job_id);
    assert_eq!(hello.open_jobs[0].state, OpenJobState::Accepted);
    setting.bench.place(CARD);
    let presented = setting.presented(&job).await;
    assert!(presented.n > 1, "the first one was spent before the stop");
    setting.plan(&presented, write(5)).await;
    let ended = finished(&mut setting.line).await;
    assert_eq!(
        (ended.job_id, ended.outcome),
        (job.job_id, Outcome::Success)
    );
    setting.stop().await;
}

#[tokio::test]
async fn a_second_signal_stops_at_once_and_the_next_start_looks() {
    let mut setting = Setting::new(REAL).await;
    setting.bench.place(CARD);
    let job = setting.encode().await;
    let presented = setting.presented(&job).await;
    setting.plan(&presented, write(3)).await;
    setting
        .progress(&job, |progress| {
            matches!(progress, Progress::Writing { .. })
        })
        .await;
    setting.agent.terminate();
    setting.agent.logs("told to stop").await;
    setting.agent.signal(Signal::INT);
    assert_eq!(
        setting.agent.end().await.code(),
        Some(1),
        "{}",
        setting.agent.log()
    );

    setting.agent = setting.desk.run();
    let hello = setting.welcome_again().await;
    let expected = OpenJobState::Started {
        uid: presented.card.uid,
        n: presented.n,
    };
    assert_eq!(hello.open_jobs[0].state, expected);
    let request = setting
        .line
        .hear_some(|message| {
            let AgentMessage::PlanRequest(request) = message else {
                return None;
            };
            Some(request)
        })
        .await;
    assert_eq!(
        (request.job_id, Some(request.uid)),
        (job.job_id, presented.card.uid)
    );
    let writes = setting.bench.writes(CARD);
    setting
        .plan(&presented, Plan::Verify { image: image(3) })
        .await;
    let ended = finished(&mut setting.line).await;
    assert_eq!(ended.error.unwrap().code, ErrorCode::EncodingInterrupted);
    assert_eq!(ended.touched, Touched::Unknown);
    assert_eq!(setting.bench.writes(CARD), writes);
    setting.stop().await;
}

#[tokio::test]
async fn an_unplugged_encoder_is_told_its_waiting_job_ends_and_it_comes_back() {
    let mut setting = Setting::new(INSTANT).await;
    let job = setting.encode().await;
    setting.bench.0.unplug().unwrap();
    setting.encoder_is(EncoderState::Fault).await;
    let ended = finished(&mut setting.line).await;
    assert_eq!(ended.job_id, job.job_id);
    assert_eq!(ended.error.unwrap().code, ErrorCode::EncoderNotOnline);
    setting.bench.0.plug().unwrap();
    setting.encoder_is(EncoderState::Ready).await;
    setting.bench.place(CARD);
    assert_eq!(setting.encode_all(8).await.outcome, Outcome::Success);
    setting.stop().await;
}

#[tokio::test]
async fn a_card_lifted_in_the_middle_of_the_write_is_told_and_takes_no_other_card_with_it() {
    let mut setting = Setting::new(REAL).await;
    setting.bench.place(CARD);
    let job = setting.encode().await;
    let presented = setting.presented(&job).await;
    setting.plan(&presented, write(4)).await;
    setting
        .progress(&job, |progress| {
            matches!(progress, Progress::Writing { .. })
        })
        .await;
    setting.bench.is_written(CARD).await;
    setting.bench.lift_all();
    setting.bench.place(OTHER_CARD);
    let ended = finished(&mut setting.line).await;
    assert_eq!(ended.error.unwrap().code, ErrorCode::EncodingInterrupted);
    assert_eq!(ended.touched, Touched::Unknown);
    assert_eq!(setting.bench.writes(OTHER_CARD), 0);
    setting.stop().await;
}

#[tokio::test]
async fn two_cards_at_once_wait_until_one_is_lifted() {
    let mut setting = Setting::new(INSTANT).await;
    setting.bench.place(CARD);
    setting.bench.place(OTHER_CARD);
    let job = setting.encode().await;
    setting
        .progress(&job, |progress| *progress == Progress::SeveralCards)
        .await;
    setting.bench.lift(CARD);
    let presented = setting.presented(&job).await;
    assert_eq!(presented.card.uid.unwrap().to_string(), OTHER_CARD);
    setting.plan(&presented, write(6)).await;
    assert_eq!(finished(&mut setting.line).await.outcome, Outcome::Success);
    assert_eq!(setting.bench.writes(CARD), 0);
    setting.stop().await;
}

#[tokio::test]
async fn a_refused_card_ends_the_job_untouched() {
    let mut setting = Setting::new(INSTANT).await;
    setting
        .bench
        .place_kind(CardKind::Ultralight, "04112233445566");
    let job = setting.encode().await;
    let presented = setting.presented(&job).await;
    let refusal = Plan::Refuse {
        code: ErrorCode::IncompatibleCardFormat,
        message: "this access system cannot use a mifare ultralight".to_owned(),
    };
    setting.plan(&presented, refusal).await;
    let ended = finished(&mut setting.line).await;
    assert_eq!(ended.touched, Touched::Untouched);
    assert_eq!(ended.error.unwrap().code, ErrorCode::IncompatibleCardFormat);
    assert_eq!(setting.bench.writes("04112233445566"), 0);
    setting.stop().await;
}

#[tokio::test]
async fn a_plan_for_another_card_is_not_taken() {
    let mut setting = Setting::new(INSTANT).await;
    setting.bench.place(CARD);
    let job = setting.encode().await;
    let presented = setting.presented(&job).await;
    let mut wrong_card = presented.clone();
    wrong_card.card.uid = Some(OTHER_CARD.parse().unwrap());
    setting.plan(&wrong_card, write(1)).await;
    let mut wrong_n = presented.clone();
    wrong_n.n += 1;
    setting.plan(&wrong_n, write(2)).await;
    setting.plan(&presented, write(3)).await;
    assert_eq!(finished(&mut setting.line).await.outcome, Outcome::Success);
    for block in image_blocks() {
        assert_eq!(setting.bench.block(CARD, block), [3; 16], "block {block}");
    }
    setting.stop().await;
}
