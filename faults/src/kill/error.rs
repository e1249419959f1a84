//! Why a case could not be played.

use std::{io, path::PathBuf};

/// What keeps the harness itself from going on; says nothing of the product unless it says so.
#[derive(Debug, thiserror::Error)]
pub enum HarnessError {
    /// A file, folder or process could not be used.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// What the system says.
        source: io::Error,
    },
    /// The HTTP API did not answer, or not as it must.
    #[error("{path} answered {answer}")]
    Http {
        /// What was asked.
        path: String,
        /// What came instead.
        answer: String,
    },
    /// Something that must happen did not.
    #[error("{0} did not happen in time")]
    NotInTime(String),
    /// A process ended that should run.
    #[error("{0} ended by itself: see its log in the case's folder")]
    Ended(&'static str),
    /// The disk's shim could not be compiled.
    #[error("cannot compile {0}: install a C compiler as `cc`")]
    NoCompiler(PathBuf),
    /// A store or journal cannot be read.
    #[error("cannot read {what}: {reason}")]
    Unreadable {
        /// Which.
        what: &'static str,
        /// Why.
        reason: String,
    },
    /// No case has this name.
    #[error("no case is called {0:?}: names look like to-device-0012.cut.same")]
    UnknownCase(String),
    /// The kill was planned for a step or byte that was never reached.
    #[error("the kill was never reached, so that the case shows nothing")]
    NotReached,
}

impl HarnessError {
    pub(super) fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        |source| Self::System { what, source }
    }

    pub(super) fn unreadable(
        what: &'static str,
    ) -> impl Fn(Box<dyn std::error::Error + Send + Sync>) -> Self {
        move |error| Self::Unreadable {
            what,
            reason: error.to_string(),
        }
    }
}
