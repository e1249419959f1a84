//! The running agent as the coordinator sees it: what it told in the session that stands.

use super::finding::{Finding, State};
use crate::status::{EncoderState, EncoderStatus, ServersView, Status};

const PART: &str = "server's view";

/// What the coordinator makes of this agent; nothing while no session stands, of which others tell.
pub(super) fn of(status: &Status) -> Option<Finding> {
    let view = status.coordinator.view.as_ref()?;
    Some(
        of_store(view)
            .or_else(|| of_untaken(view, &status.encoders))
            .or_else(|| of_unadopted(view, &status.encoders))
            .unwrap_or_else(|| well(view, status)),
    )
}

fn of_store(view: &ServersView) -> Option<Finding> {
    let what = "it has stored outcomes that this agent's journal has forgotten: the journal was restored or set aside; \
                cards that lie on an encoder must be lifted once";
    view.journal_behind
        .then(|| Finding::new(PART, State::Warning, what))
}

/// Encoders that it was told of and has not taken.
fn of_untaken(view: &ServersView, encoders: &[EncoderStatus]) -> Option<Finding> {
    let known =
        |encoder: &&EncoderStatus| view.encoders.iter().any(|other| other.key == encoder.key);
    let untaken = there(encoders).filter(|encoder| !known(encoder));
    let names = quoted(untaken)?;
    let what = format!("it has not taken {names}, which gets no jobs");
    Some(Finding::new(PART, State::Warning, what).fixed_by(Some(
        "ask again in a moment; if it stays, look into the coordinator's log",
    )))
}

fn of_unadopted(view: &ServersView, encoders: &[EncoderStatus]) -> Option<Finding> {
    let is_unadopted = |encoder: &&EncoderStatus| {
        let mut known = view.encoders.iter();
        known.any(|other| other.key == encoder.key && !other.adopted)
    };
    let names = quoted(there(encoders).filter(is_unadopted))?;
    let what = format!("{names} is not adopted there, and gets no jobs");
    let fix = "on the server: encoder-coordinator encoder adopt ID, with the id of `encoder list`";
    Some(Finding::new(PART, State::Warning, what).fixed_by(Some(fix)))
}

fn well(view: &ServersView, status: &Status) -> Finding {
    let names = quoted(there(&status.encoders)).unwrap_or_else(|| "no encoder".to_owned());
    let owed = match status.journal.owed_outcomes {
        0 => "all of them".to_owned(),
        owed => format!("{owed} are on their way"),
    };
    let what = format!(
        "session {} with store {}: it has {names}, and outcomes up to number {} ({owed})",
        view.session_id, view.store_id, view.last_sequence
    );
    Finding::new(PART, State::Good, what)
}

fn there(encoders: &[EncoderStatus]) -> impl Iterator<Item = &EncoderStatus> {
    let encoders = encoders.iter();
    encoders.filter(|encoder| encoder.state != EncoderState::Absent)
}

fn quoted<'a>(encoders: impl Iterator<Item = &'a EncoderStatus>) -> Option<String> {
    let names: Vec<_> = encoders
        .map(|encoder| format!("\"{}\"", encoder.name))
        .collect();
    (!names.is_empty()).then(|| names.join(", "))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::status::{ServersEncoder, tests::well as well_status};

    fn finding(change: impl FnOnce(&mut ServersView)) -> Option<Finding> {
        let mut status = well_status();
        let mut view = ServersView {
            session_id: Uuid::from_u128(7),
            store_id: Uuid::from_u128(8),
            last_sequence: 17,
            journal_behind: false,
            encoders: vec![ServersEncoder {
                key: status.encoders[0].key.clone(),
                display_name: None,
                adopted: true,
            }],
        };
        change(&mut view);
        status.coordinator.view = Some(view);
        of(&status)
    }

    #[test]
    fn it_is_told_what_the_coordinator_has_and_what_it_has_not() {
        assert_eq!(of(&well_status()), None);
        let good = finding(|_| {}).unwrap();
        assert_eq!(good.state, State::Good);
        assert!(
            good.what
                .contains("\"Front Desk\", and outcomes up to number 17 (all of them)"),
            "{good:?}"
        );
        for (change, expected) in [
            (
                (|view| view.journal_behind = true) as fn(&mut ServersView),
                "journal has forgotten",
            ),
            (
                |view| view.encoders.clear(),
                "it has not taken \"Front Desk\"",
            ),
            (
                |view| view.encoders[0].adopted = false,
                "is not adopted there",
            ),
        ] {
            let finding = finding(change).unwrap();
            assert_eq!(finding.state, State::Warning);
            assert!(finding.what.contains(expected), "{finding:?}");
        }
    }
}
