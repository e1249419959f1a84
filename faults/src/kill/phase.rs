//! How far the job was when the kill fell.

use std::fs;

use encoder_agent::journal::{Journal, JournaledState, Recall};
use encoder_protocols::wire::JobId;
use jiff::Timestamp;

use super::{HarnessError, block_on, scene::Scene};

/// How many blocks the encode writes: three of data, and the trailer.
const BLOCKS: u64 = 4;

/// How far the job was.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Phase {
    BeforeTheJob,
    BeforeThePlan,
    Planned,
    Started,
    MidWrite,
    Written,
    Finished,
    Acknowledged,
}

impl Phase {
    /// In words.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::BeforeTheJob => "before the job",
            Self::BeforeThePlan => "before the plan",
            Self::Planned => "with the plan, before started",
            Self::Started => "started, no block written",
            Self::MidWrite => "in mid-write",
            Self::Written => "all blocks written, not finished",
            Self::Finished => "finished, not acknowledged",
            Self::Acknowledged => "acknowledged",
        }
    }
}

/// As the journal on the disk tells it.
pub(super) fn of_killed_agent(
    scene: &Scene<'_>,
    job: Option<JobId>,
) -> Result<Phase, HarnessError> {
    let Some(job) = job else {
        return Ok(Phase::BeforeTheJob);
    };
    let copy = scene.site.folder.join("journal-at-the-kill");
    let failed = || HarnessError::system("copying the journal");
    fs::create_dir_all(&copy).map_err(failed())?;
    for entry in fs::read_dir(scene.site.state_dir()).map_err(failed())? {
        let entry = entry.map_err(failed())?;
        // The agent's socket lies there too.
        if entry.file_type().map_err(failed())?.is_file() {
            fs::copy(entry.path(), copy.join(entry.file_name())).map_err(failed())?;
        }
    }
    let unreadable = HarnessError::unreadable("the killed agent's journal");
    let (journal, contents) =
        Journal::open(&copy, Timestamp::UNIX_EPOCH).map_err(|error| unreadable(error.into()))?;
    let recalled = block_on(async {
        let recalled = journal.recall(Recall::Job(job)).await;
        journal.close().await;
        recalled
    })?;
    let recalled = recalled.map_err(|error| unreadable(error.into()))?;
    if contents
        .unacknowledged
        .iter()
        .any(|owed| owed.finished.job_id == job)
    {
        return Ok(Phase::Finished);
    }
    if !recalled.is_empty() {
        return Ok(Phase::Acknowledged);
    }
    let open = contents
        .open_jobs
        .iter()
        .find(|open| open.facts.job_id == job);
    Ok(match open.map(|open| &open.state) {
        None => Phase::BeforeTheJob,
        Some(JournaledState::Started { .. }) => of_writes(scene.device.writes()),
        Some(JournaledState::Accepted) if scene.site.is_bound(job)? => Phase::Planned,
        Some(JournaledState::Accepted) => Phase::BeforeThePlan,
    })
}

/// As the store tells it after the start.
pub(super) fn at_killed_coordinator(
    scene: &Scene<'_>,
    job: Option<JobId>,
) -> Result<Phase, HarnessError> {
    let Some(job) = job else {
        return Ok(Phase::BeforeTheJob);
    };
    Ok(if scene.site.has_outcome(job)? {
        Phase::Acknowledged
    } else if scene.device.writes() > 0 {
        of_writes(scene.device.writes())
    } else if scene.site.is_bound(job)? {
        Phase::Planned
    } else {
        Phase::BeforeThePlan
    })
}

const fn of_writes(writes: u64) -> Phase {
    match writes {
        0 => Phase::Started,
        1..BLOCKS => Phase::MidWrite,
        _ => Phase::Written,
    }
}
