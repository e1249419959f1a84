//! Each invariant is caught when an observation breaks it, and only then.

use super::*;

const C: Uuid = Uuid::from_u128(100);
const D: Uuid = Uuid::from_u128(101);

fn job(number: u128) -> JobId {
    JobId(Uuid::from_u128(number))
}

fn card(number: u8) -> Uid {
    Uid::new(&[number, 2, 3, 4]).unwrap()
}

fn told(touched: Touched, on: Option<Uid>) -> Told {
    Told {
        success: touched == Touched::Written,
        touched,
        card_number: on.map(|uid| uid.to_string()),
    }
}

fn stored(touched: Touched) -> Stored {
    Stored {
        touched,
        pinned: false,
    }
}

/// An encode of `C` by job 1 that was accepted.
fn accepted() -> Ledger {
    let mut ledger = Ledger::new();
    ledger.asked(job(1), Some(C));
    ledger.accepted(job(1));
    ledger
}

/// The same, written onto card 1.
fn written() -> Ledger {
    let mut ledger = accepted();
    ledger.changed(card(1), job(1));
    ledger.carries(card(1), job(1));
    ledger
}

/// The same, with its success known to both sides.
fn succeeded() -> Ledger {
    let mut ledger = written();
    ledger.finished(job(1), told(Touched::Written, Some(card(1))));
    ledger.stored(job(1), stored(Touched::Written));
    ledger.shows(job(1), Shown::Success);
    ledger.tied(C, job(1), Some(card(1)));
    ledger
}

fn broken(ledger: Ledger) -> Vec<Invariant> {
    let found = ledger.settle();
    found
        .into_iter()
        .map(|violation| violation.invariant)
        .collect()
}

#[test]
fn a_job_as_promised_breaks_nothing() {
    assert_eq!(broken(succeeded()), []);
}

#[test]
fn a_job_that_changes_two_cards_is_caught() {
    let mut ledger = succeeded();
    ledger.changed(card(2), job(1));
    assert_eq!(broken(ledger), [Invariant::OneCardPerJob]);
}

#[test]
fn a_success_without_the_whole_image_is_caught() {
    let mut ledger = accepted();
    ledger.changed(card(1), job(1));
    ledger.finished(job(1), told(Touched::Written, Some(card(1))));
    assert_eq!(
        ledger.violations()[0].invariant,
        Invariant::SuccessIsOnTheCard
    );
}

#[test]
fn a_success_that_names_another_card_is_caught() {
    let mut ledger = written();
    ledger.finished(job(1), told(Touched::Written, Some(card(2))));
    assert_eq!(
        ledger.violations()[0].invariant,
        Invariant::SuccessIsOnTheCard
    );
}

#[test]
fn an_accepted_job_without_an_outcome_is_caught() {
    let mut ledger = accepted();
    ledger.shows(job(1), Shown::Failed(Touched::Untouched));
    assert_eq!(broken(ledger), [Invariant::OneOutcome]);
}

#[test]
fn an_outcome_that_never_came_is_caught() {
    let mut ledger = accepted();
    ledger.finished(job(1), told(Touched::Untouched, None));
    assert_eq!(broken(ledger), [Invariant::OneOutcome]);
}

#[test]
fn two_different_outcomes_are_caught() {
    let mut ledger = accepted();
    ledger.finished(job(1), told(Touched::Untouched, None));
    ledger.finished(job(1), told(Touched::Unknown, None));
    assert_eq!(ledger.violations()[0].invariant, Invariant::OneOutcome);
}

#[test]
fn sides_that_differ_are_caught_unless_the_coordinator_doubts_an_untouched() {
    let end = |pinned| {
        let mut ledger = accepted();
        ledger.finished(job(1), told(Touched::Untouched, None));
        let touched = Touched::Unknown;
        ledger.stored(job(1), Stored { touched, pinned });
        ledger.tied(C, job(1), Some(card(1)));
        broken(ledger)
    };
    assert_eq!(end(false), [Invariant::OneOutcome]);
    assert_eq!(end(true), []);
}

#[test]
fn an_attempt_that_changes_after_its_end_is_caught() {
    let mut ledger = succeeded();
    ledger.shows(job(1), Shown::Failed(Touched::Unknown));
    assert_eq!(broken(ledger), [Invariant::OneOutcome]);
}

#[test]
fn a_credential_that_does_not_show_its_card_is_caught() {
    let mut ledger = succeeded();
    ledger.ties.clear();
    assert_eq!(broken(ledger), [Invariant::OneOutcome]);
}

#[test]
fn a_credential_that_is_tied_although_nothing_changed_is_caught() {
    let mut ledger = accepted();
    ledger.finished(job(1), told(Touched::Untouched, None));
    ledger.stored(job(1), stored(Touched::Untouched));
    ledger.tied(C, job(1), Some(card(1)));
    assert_eq!(broken(ledger), [Invariant::OneOutcome]);
}

#[test]
fn a_credential_on_two_cards_is_caught() {
    let mut ledger = succeeded();
    ledger.asked(job(2), Some(C));
    ledger.changed(card(2), job(2));
    ledger.carries(card(2), job(2));
    assert_eq!(broken(ledger), [Invariant::OneCompleteCard]);
}

#[test]
fn a_destroyed_card_carries_nothing() {
    let mut ledger = succeeded();
    ledger.destroyed(card(1));
    ledger.released(C);
    ledger.asked(job(2), Some(C));
    ledger.changed(card(2), job(2));
    ledger.carries(card(2), job(2));
    assert_eq!(broken(ledger), []);
}

#[test]
fn an_untouched_that_touched_is_caught_on_either_side_and_in_either_order() {
    let mut agent = accepted();
    agent.changed(card(1), job(1));
    agent.finished(job(1), told(Touched::Untouched, None));
    let mut late = accepted();
    late.finished(job(1), told(Touched::Untouched, None));
    late.changed(card(1), job(1));
    let mut shown = accepted();
    shown.changed(card(1), job(1));
    shown.shows(job(1), Shown::Failed(Touched::Untouched));
    let mut held = accepted();
    held.changed(card(1), job(1));
    held.stored(job(1), stored(Touched::Untouched));
    for ledger in [agent, late, shown, held] {
        assert_eq!(
            ledger.violations()[0].invariant,
            Invariant::UntouchedIsUntouched
        );
    }
}

#[test]
fn what_waits_at_the_end_is_caught() {
    let mut ledger = succeeded();
    ledger.waits("the agent still holds job 1");
    assert_eq!(broken(ledger), [Invariant::NothingWaits]);
    let mut pending = Ledger::new();
    pending.asked(job(1), Some(C));
    pending.shows(job(1), Shown::Pending);
    assert_eq!(broken(pending), [Invariant::NothingWaits]);
}

#[test]
fn a_fresh_card_that_is_overwritten_is_caught() {
    let overwrite = |credential, lifted| {
        let mut ledger = succeeded();
        if lifted {
            ledger.lifted(card(1));
        }
        ledger.asked(job(2), Some(credential));
        ledger.changed(card(1), job(2));
        broken(ledger)
    };
    assert_eq!(overwrite(D, false), [Invariant::FreshCard]);
    assert_eq!(overwrite(D, true), []);
    assert_eq!(overwrite(C, false), []);
}

#[test]
fn only_what_both_memories_forgot_is_excused() {
    let twice = |memories: &[Memory]| {
        let mut ledger = succeeded();
        for memory in memories {
            ledger.forgot(*memory, job(1));
        }
        ledger.asked(job(2), Some(C));
        ledger.changed(card(2), job(2));
        ledger.carries(card(2), job(2));
        broken(ledger).contains(&Invariant::OneCompleteCard)
    };
    assert!(twice(&[Memory::Journal]));
    assert!(twice(&[Memory::Store]));
    assert!(!twice(&[Memory::Journal, Memory::Store]));
}
