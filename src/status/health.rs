//! Whether keys can be encoded: the whole chain in one word, and what breaks it.

use serde::{Deserialize, Serialize};

use super::{EncoderState, SessionState, Status};

/// Free room below which the journal will soon be in want of some, in bytes.
const LITTLE_ROOM: u64 = 50 * 1024 * 1024;

/// Whether keys can be encoded.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Health {
    /// In one word.
    pub state: HealthState,
    /// What is wrong, the worst first.
    pub problems: Vec<String>,
}

/// Whether keys can be encoded, in one word.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthState {
    /// Everything works.
    Ok,
    /// Keys can be encoded, and something should be looked at.
    Degraded,
    /// No key can be encoded.
    Down,
}

impl HealthState {
    /// The state's name, as JSON spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Down => "down",
        }
    }
}

impl Health {
    /// What a status amounts to; its own `health` is not looked at.
    pub fn of(status: &Status) -> Self {
        let mut found = Vec::new();
        found.extend(of_coordinator(status));
        found.extend(of_journal(status));
        found.extend(of_encoders(status));
        let lesser = status.config.refused.iter();
        let lesser = lesser.map(|problem| format!("the changed settings are not used: {problem}"));
        let lesser = lesser
            .chain(status.journal.found.iter().cloned())
            .chain(status.problems.iter().cloned());
        found.extend(lesser.map(|problem| (HealthState::Degraded, problem)));
        // Stable: what was found first stays first among its equals.
        found.sort_by_key(|(state, _)| std::cmp::Reverse(*state));
        Self {
            state: found.first().map_or(HealthState::Ok, |(state, _)| *state),
            problems: found.into_iter().map(|(_, problem)| problem).collect(),
        }
    }
}

fn of_coordinator(status: &Status) -> Option<(HealthState, String)> {
    let coordinator = &status.coordinator;
    if coordinator.state == SessionState::Connected {
        return None;
    }
    let problem = coordinator.last_problem.as_ref();
    let problem = problem.map_or("it has not answered yet", |told| told.text.as_str());
    let text = format!("not connected to {}: {problem}", coordinator.url);
    Some((HealthState::Down, text))
}

fn of_journal(status: &Status) -> Option<(HealthState, String)> {
    let journal = &status.journal;
    if let Some(problem) = &journal.problem {
        let text = format!("the journal cannot be written: {problem}");
        return Some((HealthState::Down, text));
    }
    let free = journal.free_bytes.filter(|free| *free < LITTLE_ROOM)?;
    let text = format!(
        "only {} MiB are free in {}",
        free / (1024 * 1024),
        journal.state_dir.display()
    );
    Some((HealthState::Degraded, text))
}

fn of_encoders(status: &Status) -> Vec<(HealthState, String)> {
    let answers = |state: EncoderState| state.answers();
    let some_answer = status.encoders.iter().any(|encoder| answers(encoder.state));
    let state = if some_answer {
        HealthState::Degraded
    } else {
        HealthState::Down
    };
    let silent = status.encoders.iter();
    let silent = silent.filter(|encoder| !answers(encoder.state));
    let mut found: Vec<_> = silent
        .map(|encoder| {
            let problem = match (encoder.state, &encoder.problem) {
                (_, Some(problem)) => problem.as_str(),
                (EncoderState::Starting, None) => "it is being opened",
                (
                    EncoderState::Ready
                    | EncoderState::Busy
                    | EncoderState::Lent
                    | EncoderState::Fault
                    | EncoderState::Absent,
                    None,
                ) => "it does not answer",
            };
            (state, format!("encoder {}: {problem}", encoder.name))
        })
        .collect();
    if status.encoders.is_empty() {
        let text =
            "no encoder is plugged in, or none that may be asked: `encoder-agent devices` says why";
        found.push((HealthState::Down, text.to_owned()));
    }
    found
}
