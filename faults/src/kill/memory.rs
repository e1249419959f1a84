//! What both sides remember of a case when both have been stopped.

use std::collections::BTreeMap;

use encoder_agent::journal::{Journal, Recall};
use encoder_coordinator::{
    access_system::AccessSystem,
    jobs::{CredentialId, Hold, JobRecord},
    store::{Store, StoreError, jobs},
};
use encoder_protocols::{
    card::{CardImage, ClassicImage, SectorImage},
    wire::{JobFinished, JobId},
};
use jiff::Timestamp;

use super::{
    HarnessError, block_on,
    scene::{Scene, Seen},
    site::Site,
};

/// How many bytes a block of a MIFARE Classic card has, and how many blocks its small sectors have.
const BLOCK_BYTES: usize = 16;
const SECTOR_BLOCKS: usize = 4;

#[derive(Debug)]
pub(super) struct Memory {
    /// The outcomes that the agent's journal holds.
    pub(super) journal: BTreeMap<JobId, JobFinished>,
    /// What is wrong with what the agent's journal holds.
    pub(super) problems: Vec<String>,
    /// The jobs that the coordinator's store holds.
    pub(super) store: BTreeMap<JobId, Remembered>,
    /// The cards that the store ties credentials to.
    pub(super) holds: Vec<Hold>,
}

/// A job as the store holds it.
#[derive(Debug)]
pub(super) struct Remembered {
    pub(super) job: JobRecord,
    /// Every byte that goes onto the bound card.
    image: Option<ClassicImage>,
}

impl Memory {
    pub(super) fn of(scene: &Scene<'_>) -> Result<Self, HarnessError> {
        let asked: Vec<JobId> = scene
            .seen
            .iter()
            .filter_map(|seen| match seen {
                Seen::Asked(job, _) => Some(*job),
                Seen::Cards(..)
                | Seen::Lifted(_)
                | Seen::Attempt(..)
                | Seen::Credential { .. }
                | Seen::Waits(_)
                | Seen::Wrong(_) => None,
            })
            .collect();
        let (journal, problems) = block_on(journal(&scene.site, &asked))??;
        let (store, holds) = block_on(store(&scene.site, &asked))?
            .map_err(|error| HarnessError::unreadable("the store")(error.into()))?;
        Ok(Self {
            journal,
            problems,
            store,
            holds,
        })
    }
}

impl Remembered {
    /// Whether a card with these bytes carries every byte of the job's image.
    pub(super) fn is_complete_on(&self, card: &[u8]) -> bool {
        let image = self.image.as_ref();
        image.is_some_and(|image| image.sectors.iter().all(|sector| is_on(sector, card)))
    }

    /// The number of the card that the job is bound to.
    pub(super) fn bound_card(&self) -> Option<String> {
        let bound = self.job.binding.as_ref()?;
        bound.card.card_number()
    }
}

fn is_on(sector: &SectorImage, card: &[u8]) -> bool {
    let first = usize::from(sector.sector) * SECTOR_BLOCKS;
    let block = |number: usize| card.chunks(BLOCK_BYTES).nth(first + number);
    let data = sector
        .blocks
        .iter()
        .all(|image| block(image.block.into()) == Some(&image.data));
    data && sector.trailer.as_ref().is_none_or(|trailer| {
        let bytes = [
            trailer.key_a.0.as_slice(),
            &trailer.access_bits,
            &[trailer.user_byte],
            &trailer.key_b.0,
        ]
        .concat();
        block(SECTOR_BLOCKS - 1) == Some(&bytes)
    })
}

type Outcomes = BTreeMap<JobId, JobFinished>;

async fn journal(site: &Site, asked: &[JobId]) -> Result<(Outcomes, Vec<String>), HarnessError> {
    let unreadable = HarnessError::unreadable("the agent's journal");
    let (journal, contents) = Journal::open(&site.state_dir(), Timestamp::UNIX_EPOCH)
        .map_err(|error| unreadable(error.into()))?;
    let mut problems = contents.problems;
    problems.extend(contents.open_jobs.iter().map(|open| {
        let job = open.facts.job_id;
        format!("nothing waits: the agent's journal still holds job {job} as open")
    }));
    problems.extend(contents.unacknowledged.iter().map(|owed| {
        let job = owed.finished.job_id;
        format!("one outcome: that of job {job} was never acknowledged")
    }));
    let mut outcomes = BTreeMap::new();
    for job in asked {
        let recalled = journal.recall(Recall::Job(*job)).await;
        for outcome in recalled.map_err(|error| unreadable(error.into()))? {
            outcomes.insert(*job, outcome);
        }
    }
    journal.close().await;
    Ok((outcomes, problems))
}

type Stored = (BTreeMap<JobId, Remembered>, Vec<Hold>);

async fn store(site: &Site, asked: &[JobId]) -> Result<Stored, StoreError> {
    let store = Store::open(&site.database(), &site.master_key(), Timestamp::UNIX_EPOCH).await?;
    let mut conn = store.read().await?;
    let system = AccessSystem::load(&mut conn, store.master_key(), site.system()).await?;
    let mut remembered = BTreeMap::new();
    for id in asked {
        if let Some(job) = jobs::by_id(&mut conn, *id).await? {
            let image = image(&system, &job);
            remembered.insert(*id, Remembered { job, image });
        }
    }
    let mut holds = Vec::new();
    for credential in site.credentials() {
        holds.extend(jobs::holds(&mut conn, CredentialId(credential)).await?);
    }
    drop(conn);
    store.close().await;
    Ok((remembered, holds))
}

fn image(system: &AccessSystem, job: &JobRecord) -> Option<ClassicImage> {
    let bound = job.binding.as_ref()?;
    let content = bound.content.as_ref()?;
    match system.image(&bound.card, job.credential?.0, content) {
        Ok(CardImage::MifareClassic(image)) => Some(image),
        Ok(CardImage::Type2(_) | CardImage::Magstripe(_)) | Err(_) => None,
    }
}
