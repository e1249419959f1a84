//! What the doctor says of one thing.

use serde::Serialize;

use crate::cli::Exit;

/// How it is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::cli) enum State {
    /// As it should be.
    Good,
    /// Was not looked at, since something before it is broken or nobody allows it.
    Skipped,
    /// It works, and somebody should look at it.
    Warning,
    /// It does not work.
    Broken,
}

/// What was looked at, how it is, and what mends it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(in crate::cli) struct Finding {
    /// What was looked at.
    pub(super) part: String,
    pub(super) state: State,
    /// What was seen, or what is wrong.
    pub(super) what: String,
    /// What to do about it, where that is not said already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fix: Option<String>,
}

impl Finding {
    pub(super) fn new(part: &str, state: State, what: impl Into<String>) -> Self {
        Self {
            part: part.to_owned(),
            state,
            what: what.into(),
            fix: None,
        }
    }

    pub(super) fn fixed_by(mut self, fix: Option<impl Into<String>>) -> Self {
        self.fix = fix.map(Into::into);
        self
    }

    pub(super) fn lines(&self) -> Vec<String> {
        let mark = match self.state {
            State::Good => "ok",
            State::Skipped => "--",
            State::Warning => "!",
            State::Broken => "BROKEN",
        };
        let mut lines = vec![format!("{mark:<7} {:<14} {}", self.part, self.what)];
        lines.extend(self.fix.iter().map(|fix| format!("{:<22} fix: {fix}", "")));
        lines
    }
}

/// The exit code of the worst: 0 where nothing is wrong, 1 where something is to be looked at, 2 where something is broken.
pub(super) fn exit(findings: &[Finding]) -> Exit {
    match findings.iter().map(|finding| finding.state).max() {
        None | Some(State::Good | State::Skipped) => Exit::Done,
        Some(State::Warning) => Exit::Failed,
        Some(State::Broken) => Exit::Unusable,
    }
}
