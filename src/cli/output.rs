//! The one place that writes for the person or script that called.

use std::io::{self, Write};

/// Standard output for results and standard error for complaints.
#[derive(Clone, Copy, Debug)]
pub struct Output(());

impl Output {
    /// The process's own.
    pub fn standard() -> Self {
        Self(())
    }

    /// Writes one line of result. A reader that has gone away is no error.
    pub fn line(&self, text: impl std::fmt::Display) {
        let _ = writeln!(io::stdout().lock(), "{text}");
    }

    /// Asks for a line of input.
    pub fn ask(&self, text: impl std::fmt::Display) {
        let mut out = io::stderr().lock();
        let _ = write!(out, "{text}");
        let _ = out.flush();
    }

    /// Writes one line of complaint.
    pub fn complain(&self, text: impl std::fmt::Display) {
        let _ = writeln!(io::stderr().lock(), "encoder-agent: {text}");
    }
}
