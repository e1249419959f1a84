//! What has ended since the start: counts, times, the last error.

use std::time::Duration;

use encoder_protocols::wire::{EncoderKey, ErrorCode, JobId, JobKind, Touched};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::jobs::JobEnd;

/// What has ended since the start.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Tally {
    /// Encodes.
    pub encodes: Counts,
    /// Scans.
    pub scans: Counts,
    /// The job that failed last.
    pub last_error: Option<LastError>,
}

/// Jobs of one kind.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Counts {
    /// How many succeeded.
    pub succeeded: u64,
    /// How many failed.
    pub failed: u64,
    /// The time that all of them together spent in each stage.
    pub seconds: StageSeconds,
}

/// The time spent in each stage, in seconds.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct StageSeconds {
    /// Behind other jobs.
    pub queued: f64,
    /// For a card.
    pub waited: f64,
    /// For the coordinator's plan.
    pub planned: f64,
    /// On the card.
    pub worked: f64,
}

impl StageSeconds {
    /// Each stage with its name.
    pub const fn named(&self) -> [(&'static str, f64); 4] {
        [
            ("queued", self.queued),
            ("waited", self.waited),
            ("planned", self.planned),
            ("worked", self.worked),
        ]
    }
}

/// A job that failed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct LastError {
    /// When it ended.
    pub at: Timestamp,
    /// The job.
    pub job_id: JobId,
    /// Its encoder.
    pub encoder_key: EncoderKey,
    /// What it was.
    pub kind: JobKind,
    /// The error's code.
    pub code: ErrorCode,
    /// What it did to cards.
    pub touched: Touched,
}

impl Tally {
    /// Takes the end of a job.
    pub fn count(&mut self, end: &JobEnd, at: Timestamp) {
        let counts = match end.kind {
            JobKind::Encode => &mut self.encodes,
            JobKind::Scan => &mut self.scans,
        };
        let seconds = &mut counts.seconds;
        for (sum, time) in [
            (&mut seconds.queued, end.queued),
            (&mut seconds.waited, end.waited),
            (&mut seconds.planned, end.planned),
            (&mut seconds.worked, end.worked),
        ] {
            *sum += Duration::as_secs_f64(&time);
        }
        let Some(code) = end.error else {
            counts.succeeded += 1;
            return;
        };
        counts.failed += 1;
        self.last_error = Some(LastError {
            at,
            job_id: end.job_id,
            encoder_key: end.encoder_key.clone(),
            kind: end.kind,
            code,
            touched: end.touched,
        });
    }
}
