//! Jobs on an encoder that cards are drawn through: the job alone is the binding.

use std::time::Duration;

use encoder_protocols::{
    card::{
        CardContents, CardDescription, CardImage, ReadPlan,
        magstripe::{Coercivity, MagstripeImage, MagstripeRead, Track, TrackForm, TrackImage},
    },
    wire::{
        AgentMessage, ErrorCode, JobError, JobId, OpenJobState, Outcome, Plan, Progress, Touched,
    },
};

use super::bench::{Bench, DESK, error};
use crate::encoder::{CardOperation, EncoderCommand, EncoderEvent, OperationResult, Poll};

const READY: Poll = Poll::Card(CardDescription::to_be_swiped());

#[test]
fn an_encode_is_written_by_one_swipe_and_shown_by_another() {
    let mut bench = Bench::new();
    let job = armed(&mut bench);
    assert_eq!(
        bench.progress(),
        [Progress::Writing { uid: None, n: 1 }, Progress::SwipeCard]
    );
    bench.advance(Duration::from_secs(20));
    swipe(&mut bench, job);
    assert_eq!(bench.progress(), [Progress::SwipeAgain]);
    bench.advance(Duration::from_secs(20));
    bench.operation(job, Ok(OperationResult::Written));
    let [finished] = bench.finished().try_into().unwrap();
    assert_eq!(finished.outcome, Outcome::Success);
    assert_eq!(finished.touched, Touched::Written);
    assert_eq!(finished.card, Some(CardDescription::to_be_swiped()));
    assert_eq!(finished.card_number.as_deref(), Some("1000234"));
    assert_eq!(finished.issued_at, Some(bench.now.utc));
    assert!(bench.journal.contents().guards.is_empty());
}

#[test]
fn nothing_is_presented_as_a_card_that_lies_there() {
    let mut bench = Bench::new();
    bench.encode(1, 1);
    bench.poll(READY);
    bench.poll(READY);
    let sent = bench.take_sent();
    let presented = sent
        .iter()
        .filter(|message| matches!(message, AgentMessage::CardPresented(_)));
    assert_eq!(presented.count(), 1);
    let told = |message: &AgentMessage| matches!(message, AgentMessage::JobProgress { .. });
    assert!(!sent.iter().any(told), "{sent:?}");
}

#[test]
fn the_next_job_of_another_credential_waits_for_no_card_to_leave() {
    let mut bench = Bench::new();
    let job = armed(&mut bench);
    let second = bench.encode(2, 2);
    swipe(&mut bench, job);
    bench.operation(job, Ok(OperationResult::Written));
    bench.take_sent();
    bench.poll(READY);
    let [presented] = bench.presented().try_into().unwrap();
    assert_eq!(presented.job_id, second);
}

#[test]
fn a_forgotten_write_is_no_reason_to_wait_for_a_card_to_leave() {
    let mut bench = Bench::new();
    bench.journal_behind = true;
    bench.disconnect();
    bench.connect();
    assert!(!bench.journal.contents().guards.is_empty());
    bench.encode(1, 1);
    bench.take_sent();
    bench.poll(READY);
    assert_eq!(bench.presented().len(), 1);
}

#[test]
fn nobody_swipes_and_nothing_was_written() {
    let mut bench = Bench::new();
    let job = armed(&mut bench);
    bench.take_commands();
    bench.advance(Duration::from_secs(29));
    assert!(bench.take_commands().is_empty());
    bench.advance(Duration::from_secs(1));
    assert_eq!(aborted(&mut bench), [job]);
    assert!(bench.finished().is_empty(), "the encoder's word is awaited");
    bench.operation(job, Err(reset()));
    let error = bench.failure();
    assert_eq!(error.code, ErrorCode::NoCardOnEncoder);
    assert_eq!(error.touched, Touched::Untouched);
    assert!(error.message.contains("within 30 s"), "{}", error.message);
}

#[test]
fn a_swipe_that_was_faster_than_the_reset_counts() {
    let mut bench = Bench::new();
    let job = armed(&mut bench);
    bench.advance(Duration::from_secs(30));
    swipe(&mut bench, job);
    bench.operation(job, Ok(OperationResult::Written));
    let [finished] = bench.finished().try_into().unwrap();
    assert_eq!(finished.touched, Touched::Written);
}

#[test]
fn a_reset_that_may_have_met_a_swipe_is_unknown() {
    let mut bench = Bench::new();
    let job = armed(&mut bench);
    bench.cancel(job);
    let lost = error(ErrorCode::EncoderNotOnline, Touched::Unknown, false);
    bench.operation(job, Err(lost));
    let error = bench.failure();
    assert_eq!(error.code, ErrorCode::EncodingInterrupted);
    assert_eq!(error.touched, Touched::Unknown);
}

#[test]
fn the_swipe_is_awaited_no_longer_than_both_swipes_fit_before_the_deadline() {
    let mut bench = Bench::new();
    let mut late = bench.encode_job(1, 1);
    late.deadline = late.server_time + jiff::SignedDuration::from_secs(25);
    let job = late.job_id;
    bench.message(encoder_protocols::wire::ServiceMessage::Job(late));
    bench.poll(READY);
    plan(&mut bench, job, 1);
    bench.operation(job, Ok(OperationResult::Prepared));
    bench.take_commands();
    bench.advance(Duration::from_secs(10));
    assert_eq!(aborted(&mut bench), [job]);
    bench.operation(job, Err(reset()));
    assert_eq!(bench.failure().code, ErrorCode::ActionAttemptExpired);

    let mut later = bench.encode_job(2, 2);
    later.deadline = later.server_time + jiff::SignedDuration::from_secs(14);
    let job = later.job_id;
    bench.message(encoder_protocols::wire::ServiceMessage::Job(later));
    bench.poll(READY);
    plan(&mut bench, job, 1);
    assert_eq!(bench.failure().code, ErrorCode::ActionAttemptExpired);
    assert!(!operates(&bench.take_commands()), "nothing was prepared");
}

#[test]
fn a_cancel_resets_the_encoder_and_leaves_no_trace() {
    let mut bench = Bench::new();
    let job = armed(&mut bench);
    bench.take_commands();
    bench.cancel(job);
    bench.cancel(job);
    assert_eq!(aborted(&mut bench), [job]);
    bench.operation(job, Err(reset()));
    let error = bench.failure();
    assert_eq!(error.code, ErrorCode::CredentialDeleted);
    assert_eq!(error.touched, Touched::Untouched);
}

#[test]
fn a_cancel_after_the_swipe_changes_nothing() {
    let mut bench = Bench::new();
    let job = armed(&mut bench);
    swipe(&mut bench, job);
    bench.take_commands();
    bench.cancel(job);
    assert!(bench.take_commands().is_empty());
    bench.operation(job, Ok(OperationResult::Written));
    let [finished] = bench.finished().try_into().unwrap();
    assert_eq!(finished.outcome, Outcome::Success);
}

#[test]
fn a_second_swipe_that_does_not_come_leaves_a_card_that_nobody_knows() {
    let mut bench = Bench::new();
    let job = armed(&mut bench);
    swipe(&mut bench, job);
    bench.take_commands();
    bench.advance(Duration::from_secs(30));
    assert!(matches!(
        bench.take_commands().as_slice(),
        [EncoderCommand::StopVerifying { job_id }] if *job_id == job
    ));
    let stopped = error(ErrorCode::EncodingInterrupted, Touched::Unknown, false);
    bench.operation(job, Err(stopped));
    is_unknown(&bench.failure(), "not drawn through the encoder again");
}

#[test]
fn a_second_swipe_that_shows_something_else_is_no_success() {
    let mut bench = Bench::new();
    let job = armed(&mut bench);
    swipe(&mut bench, job);
    let differs = error(ErrorCode::UncategorizedError, Touched::Unknown, false);
    bench.operation(job, Err(differs));
    let error = bench.failure();
    assert_eq!(error.code, ErrorCode::EncodingInterrupted);
    assert_eq!(error.touched, Touched::Unknown);
}

#[test]
fn a_crash_while_it_awaits_a_swipe_is_never_taken_up_again() {
    let mut bench = Bench::new();
    let job = armed(&mut bench);
    bench.disconnect();
    bench.take_commands();
    bench.restart_and_open();
    is_unknown(&bench.failure(), "create a new credential");
    bench.poll(READY);
    assert!(!operates(&bench.take_commands()));
    let outcome = bench.journal.contents().unacknowledged;
    assert_eq!(outcome[0].finished.job_id, job);
}

#[test]
fn an_encoder_that_leaves_without_a_word_may_have_met_the_swipe() {
    for is_swiped in [false, true] {
        let mut bench = Bench::new();
        let job = armed(&mut bench);
        if is_swiped {
            swipe(&mut bench, job);
        }
        bench.encoder(DESK, EncoderEvent::Detached);
        is_unknown(&bench.failure(), "was unplugged while a card");
    }
}

#[test]
fn a_job_that_was_not_started_is_presented_again_after_a_restart() {
    let mut bench = Bench::new();
    let job = bench.encode(1, 1);
    bench.poll(READY);
    plan(&mut bench, job, 1);
    bench.disconnect();
    bench.restart_and_open();
    bench.take_sent();
    bench.poll(READY);
    let [presented] = bench.presented().try_into().unwrap();
    assert_eq!(presented.n, 2);
}

#[test]
fn a_lost_session_disarms_nothing_and_is_told_again() {
    let mut bench = Bench::new();
    let job = armed(&mut bench);
    bench.disconnect();
    let open = bench.open_jobs();
    assert!(matches!(
        open[0].state,
        OpenJobState::Started { uid: None, n: 1 }
    ));
    assert_eq!(
        bench.progress(),
        [Progress::Writing { uid: None, n: 1 }, Progress::SwipeCard]
    );
    swipe(&mut bench, job);
    bench.operation(job, Ok(OperationResult::Written));
    assert_eq!(bench.finished().len(), 1);
}

#[test]
fn a_stopping_agent_waits_for_no_hand() {
    let mut bench = Bench::new();
    let job = armed(&mut bench);
    bench.take_commands();
    bench.drain();
    assert!(!bench.jobs.is_drained());
    assert!(aborted(&mut bench).contains(&job));
    bench.operation(job, Err(reset()));
    let error = bench.failure();
    assert_eq!(error.code, ErrorCode::EncodingInterrupted);
    assert_eq!(error.touched, Touched::Untouched);
    assert!(bench.jobs.is_drained());
}

#[test]
fn a_stopping_agent_ends_what_it_presented_and_keeps_scans() {
    let mut bench = Bench::new();
    bench.encode(1, 1);
    bench.poll(READY);
    bench.take_sent();
    bench.drain();
    assert_eq!(bench.failure().touched, Touched::Untouched);
    assert!(bench.jobs.is_drained());

    let mut bench = Bench::new();
    let job = reading(&mut bench);
    bench.take_commands();
    bench.drain();
    assert!(bench.jobs.is_drained());
    assert!(aborted(&mut bench).contains(&job));
    assert!(bench.finished().is_empty());
    assert_eq!(bench.journal.contents().open_jobs.len(), 1);
}

#[test]
fn a_stopping_agent_waits_for_no_second_swipe() {
    let mut bench = Bench::new();
    let job = armed(&mut bench);
    swipe(&mut bench, job);
    bench.drain();
    let stopped = error(ErrorCode::EncodingInterrupted, Touched::Unknown, false);
    bench.operation(job, Err(stopped));
    is_unknown(&bench.failure(), "the agent was stopped");
    assert!(bench.jobs.is_drained());
}

#[test]
fn a_scan_waits_for_its_swipe_and_no_longer() {
    let mut bench = Bench::new();
    let job = reading(&mut bench);
    assert_eq!(bench.progress(), [Progress::SwipeCard]);
    let contents = CardContents::Magstripe { tracks: vec![] };
    bench.operation(job, Ok(OperationResult::Read(contents)));
    let [finished] = bench.finished().try_into().unwrap();
    assert_eq!(finished.touched, Touched::Untouched);
    assert_eq!(finished.card_number, None);

    let mut bench = Bench::new();
    let job = reading(&mut bench);
    bench.take_commands();
    bench.advance(Duration::from_secs(30));
    assert_eq!(aborted(&mut bench), [job]);
    assert_eq!(bench.failure().code, ErrorCode::NoCardOnEncoder);
}

#[test]
fn an_image_that_is_refused_ends_the_job_untouched() {
    let mut bench = Bench::new();
    let job = bench.encode(1, 1);
    bench.poll(READY);
    plan(&mut bench, job, 1);
    let refused = error(ErrorCode::UncategorizedError, Touched::Untouched, false);
    bench.operation(job, Err(refused));
    assert_eq!(bench.failure().touched, Touched::Untouched);
}

#[test]
fn no_other_card_can_be_asked_for() {
    let mut bench = Bench::new();
    let job = bench.encode(1, 1);
    bench.poll(READY);
    bench.plan(job, 1, None, Plan::Ignore);
    assert_eq!(bench.failure().code, ErrorCode::UncategorizedError);
}

fn is_unknown(error: &JobError, words: &str) {
    assert_eq!(error.code, ErrorCode::EncodingInterrupted);
    assert_eq!(error.touched, Touched::Unknown);
    for words in [words, "create a new credential"] {
        assert!(error.message.contains(words), "{}", error.message);
    }
}

/// An encode whose write awaits its swipe.
pub(super) fn armed(bench: &mut Bench) -> JobId {
    let job = bench.encode(1, 1);
    bench.poll(READY);
    let [presented] = bench.presented().try_into().unwrap();
    assert_eq!(presented.card, CardDescription::to_be_swiped());
    plan(bench, job, 1);
    bench.operation(job, Ok(OperationResult::Prepared));
    job
}

/// A scan that awaits its swipe.
fn reading(bench: &mut Bench) -> JobId {
    let job = bench.scan(1);
    bench.poll(READY);
    bench.take_sent();
    let plan = ReadPlan::Magstripe(MagstripeRead {
        form: TrackForm::Iso,
        tracks: Track::ALL.to_vec(),
    });
    bench.plan(job, 1, None, Plan::Read { plan });
    job
}

fn plan(bench: &mut Bench, job: JobId, n: u64) {
    let image = CardImage::Magstripe(MagstripeImage {
        card_number: "1000234".to_owned(),
        coercivity: Coercivity::High,
        tracks: vec![TrackImage::iso(Track::Two, "1000234")],
    });
    bench.plan(job, n, None, Plan::Write { image });
}

/// The encoder says that it wrote a card.
fn swipe(bench: &mut Bench, job_id: JobId) {
    bench.encoder(DESK, EncoderEvent::Verifying { job_id });
}

/// The encoder says that it was reset before a swipe.
fn reset() -> crate::encoder::OperationError {
    error(ErrorCode::UncategorizedError, Touched::Untouched, false)
}

fn aborted(bench: &mut Bench) -> Vec<JobId> {
    let commands = bench.take_commands().into_iter();
    commands
        .filter_map(|command| match command {
            EncoderCommand::Abort { job_id } => Some(job_id),
            _ => None,
        })
        .collect()
}

fn operates(commands: &[EncoderCommand]) -> bool {
    commands.iter().any(|command| {
        matches!(
            command,
            EncoderCommand::Commit { .. }
                | EncoderCommand::Operate {
                    operation: CardOperation::Prepare(_),
                    ..
                }
        )
    })
}
