//! How the agent is, for people, monitors and the commands of this PC: one snapshot without any secret.

mod health;
mod metrics;
mod page;
mod tally;
mod text;

use std::path::PathBuf;

use encoder_protocols::wire::{EncoderKey, JobId, JobKind};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use health::{Health, HealthState};
pub use metrics::metrics;
pub use page::{Page, PageError};
pub use tally::{Counts, LastError, StageSeconds, Tally};
pub use text::{duration, lines};

/// How the agent is.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Status {
    /// Whether keys can be encoded, in short.
    pub health: Health,
    /// The process.
    pub agent: AgentStatus,
    /// Its settings.
    pub config: ConfigStatus,
    /// The way to the coordinator.
    pub coordinator: CoordinatorStatus,
    /// Every encoder that is known.
    pub encoders: Vec<EncoderStatus>,
    /// The journal.
    pub journal: JournalStatus,
    /// What has ended since the start.
    pub jobs: Tally,
    /// What is wrong with devices that are no encoders yet, and with the status itself.
    pub problems: Vec<String>,
}

/// The process.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct AgentStatus {
    /// The agent's version.
    pub version: String,
    /// The operating system, for people.
    pub os: String,
    /// The PC's name.
    pub hostname: String,
    /// The agent's own id.
    pub agent_id: Uuid,
    /// The process's id.
    pub process_id: u32,
    /// When it started.
    pub started_at: Timestamp,
    /// How long ago that was, by the monotonic clock, in seconds.
    pub uptime_s: u64,
}

/// The settings that are in use.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ConfigStatus {
    /// Their file.
    pub file: PathBuf,
    /// When they were read.
    pub read_at: Timestamp,
    /// Why those that were read later are not used.
    pub refused: Option<String>,
    /// What was changed meanwhile and counts only after a restart.
    pub after_restart: Vec<String>,
}

/// The way to the coordinator.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct CoordinatorStatus {
    /// Its base URL.
    pub url: String,
    /// The proxy on the way, without user name and password.
    pub proxy: Option<String>,
    /// Where the token comes from; never the token.
    pub token: String,
    /// Whether the session stands.
    pub state: SessionState,
    /// Since when that is so.
    pub since: Timestamp,
    /// How many sessions have stood since the start.
    pub sessions: u64,
    /// What went wrong last, also where it has gone well since.
    pub last_problem: Option<Told>,
    /// What the coordinator has told in the session that stands.
    #[serde(default)]
    pub view: Option<ServersView>,
}

/// The agent as the coordinator sees it, as far as it tells.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ServersView {
    /// The session's id, for both logs.
    pub session_id: Uuid,
    /// The id of the coordinator's store.
    pub store_id: Uuid,
    /// The last of this agent's outcomes that it has stored.
    pub last_sequence: u64,
    /// It knows of something that this agent's journal has forgotten.
    pub journal_behind: bool,
    /// The encoders that it has taken into its own list.
    pub encoders: Vec<ServersEncoder>,
}

/// An encoder as the coordinator has it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ServersEncoder {
    /// What it is recognised by.
    pub key: EncoderKey,
    /// The name that it was given there, if any.
    pub display_name: Option<String>,
    /// Whether it is given jobs.
    pub adopted: bool,
}

/// Whether the session with the coordinator stands.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionState {
    /// It is being opened.
    Connecting,
    /// It stands.
    Connected,
    /// It failed, and is tried again after a while.
    Waiting,
}

/// Something that was said, and when.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Told {
    /// When.
    pub at: Timestamp,
    /// What.
    pub text: String,
}

/// One encoder.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct EncoderStatus {
    /// What it is recognised by.
    pub key: EncoderKey,
    /// Its name.
    pub name: String,
    /// The driver's name.
    pub driver: String,
    /// Its port.
    pub port: PathBuf,
    /// How it is.
    pub state: EncoderState,
    /// What is wrong with it.
    pub problem: Option<String>,
    /// The device's model.
    pub model: Option<String>,
    /// The device's serial number.
    pub serial: Option<String>,
    /// The device's firmware.
    pub firmware: Option<String>,
    /// Whether it takes jobs.
    pub adopted: bool,
    /// Whether an emulator stands behind its port.
    pub simulated: bool,
    /// The job at the head of its queue.
    pub job: Option<JobStatus>,
    /// How many jobs wait behind that one.
    pub waiting: usize,
}

/// How an encoder is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EncoderState {
    /// It is being opened.
    Starting,
    /// It answers and has nothing to do.
    Ready,
    /// It has a job.
    Busy,
    /// A command of this PC uses it.
    Lent,
    /// It does not work.
    Fault,
    /// It is not plugged in.
    Absent,
}

impl EncoderState {
    /// The state's name, as JSON and metrics spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Busy => "busy",
            Self::Lent => "lent",
            Self::Fault => "fault",
            Self::Absent => "absent",
        }
    }

    /// Whether the device answers.
    pub const fn answers(self) -> bool {
        matches!(self, Self::Ready | Self::Busy | Self::Lent)
    }
}

/// The job at the head of an encoder's queue.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct JobStatus {
    /// The job, which is also the action attempt.
    pub job_id: JobId,
    /// What it is.
    pub kind: JobKind,
    /// How far it is.
    pub stage: JobStage,
    /// What it waits for, in words; none while the encoder works.
    pub waits_for: Option<String>,
    /// How long ago it was accepted, in seconds.
    pub age_s: u64,
}

/// How far a job is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum JobStage {
    /// No card of its own lies there.
    Waiting,
    /// A card is presented to the coordinator.
    Planning,
    /// The card is authenticated; nothing changes.
    Preparing,
    /// The card is read.
    Reading,
    /// Bytes change, or are read back.
    Writing,
    /// The swipe that writes is awaited.
    AwaitingSwipe,
    /// The swipe that verifies is awaited.
    AwaitingSecondSwipe,
    /// What became of a write is looked at.
    Looking,
}

impl JobStage {
    /// The stage in words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Planning => "presented",
            Self::Preparing => "preparing",
            Self::Reading => "reading",
            Self::Writing => "writing",
            Self::AwaitingSwipe => "awaiting a swipe",
            Self::AwaitingSecondSwipe => "awaiting the second swipe",
            Self::Looking => "looking at an interrupted write",
        }
    }
}

/// The journal.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct JournalStatus {
    /// Where it is kept.
    pub state_dir: PathBuf,
    /// Why it cannot be written, while that is so.
    pub problem: Option<String>,
    /// What was wrong with it at the start.
    pub found: Vec<String>,
    /// Jobs without an outcome.
    pub open_jobs: usize,
    /// Outcomes that the coordinator has not acknowledged.
    pub owed_outcomes: usize,
    /// The free room on its file system, where the system tells, in bytes.
    pub free_bytes: Option<u64>,
}

/// What the jobs tell of themselves.
#[derive(Clone, Debug, PartialEq)]
pub struct JobsStatus {
    /// The agent's own id.
    pub agent_id: Uuid,
    /// Every encoder that is known.
    pub encoders: Vec<EncoderStatus>,
    /// Why the journal cannot be written, while that is so.
    pub journal_problem: Option<String>,
    /// What was wrong with the journal at the start.
    pub journal_found: Vec<String>,
    /// Jobs without an outcome.
    pub open_jobs: usize,
    /// Outcomes that the coordinator has not acknowledged.
    pub owed_outcomes: usize,
    /// What is wrong with devices that are no encoders yet.
    pub device_problems: Vec<String>,
}

#[cfg(test)]
pub(crate) mod tests;
