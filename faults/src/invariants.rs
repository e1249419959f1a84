//! What must hold whatever fails, written once and checked against what a harness saw.
//!
//! A harness tells a [`Ledger`] what really happened to cards and what either side said of its jobs, in the order in
//! which it happened. What can be judged at once is judged at once; [`Ledger::settle`] judges the rest when everything
//! has come to rest. A card is named by the UID that is printed on it: all cards of a harness have different ones.

use std::collections::{BTreeMap, BTreeSet};

use encoder_protocols::{
    card::Uid,
    wire::{JobId, Touched},
};
use uuid::Uuid;

mod settling;
#[cfg(test)]
mod tests;

/// What must hold.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Invariant {
    /// (1) A job changes at most one card.
    OneCardPerJob,
    /// (2) After a success every byte of the image is on the card whose UID is the card number.
    SuccessIsOnTheCard,
    /// (3) Every accepted job has exactly one outcome, the same on both sides, and its credential shows it.
    OneOutcome,
    /// (4) At most one card ever carries a complete image of a credential.
    OneCompleteCard,
    /// (5) After `untouched` not one byte of any card was changed.
    UntouchedIsUntouched,
    /// (6) Nothing waits for ever.
    NothingWaits,
    /// (7) A card that was just written is not overwritten for another credential before it was lifted.
    FreshCard,
}

impl Invariant {
    /// All of them, in their order.
    pub const ALL: [Self; 7] = [
        Self::OneCardPerJob,
        Self::SuccessIsOnTheCard,
        Self::OneOutcome,
        Self::OneCompleteCard,
        Self::UntouchedIsUntouched,
        Self::NothingWaits,
        Self::FreshCard,
    ];

    /// Its name, as harnesses print it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OneCardPerJob => "one card per job",
            Self::SuccessIsOnTheCard => "success is on the card",
            Self::OneOutcome => "one outcome",
            Self::OneCompleteCard => "one complete card",
            Self::UntouchedIsUntouched => "untouched is untouched",
            Self::NothingWaits => "nothing waits",
            Self::FreshCard => "fresh card",
        }
    }
}

/// An invariant that did not hold.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Violation {
    /// Which one.
    pub invariant: Invariant,
    /// What was seen.
    pub words: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.invariant.name(), self.words)
    }
}

/// A memory that a fault can set back.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Memory {
    /// The journal of the agent that ran the job: lost, damaged, replaced by an older disk image, or shared with a
    /// second machine from then on.
    Journal,
    /// The coordinator's store: replaced by an older copy.
    Store,
}

/// A job's outcome as a journal or the coordinator holds it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Told {
    /// Whether it is a success.
    pub success: bool,
    /// What it says of cards.
    pub touched: Touched,
    /// The card's number, where it names one.
    pub card_number: Option<String>,
}

/// An attempt as the coordinator shows it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Shown {
    /// It waits.
    Pending,
    /// It succeeded.
    Success,
    /// It failed, with what its error says of cards.
    Failed(Touched),
}

/// What the coordinator holds of a job that ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stored {
    /// What its outcome did to cards.
    pub touched: Touched,
    /// Whether it counts an `untouched` as `unknown`, because another process of the agent was bound to the card.
    pub pinned: bool,
}

/// Everything that a harness saw.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    jobs: BTreeMap<JobId, Job>,
    cards: BTreeMap<Uid, Card>,
    /// Every card that ever carried the credential's complete image and was not destroyed, with the job that wrote it.
    complete: BTreeMap<Uuid, BTreeMap<Uid, JobId>>,
    /// The cards that each credential is tied to at the coordinator, by job.
    ties: BTreeMap<(Uuid, JobId), BTreeSet<Option<Uid>>>,
    waits: BTreeSet<String>,
    violations: Vec<Violation>,
}

#[derive(Clone, Debug, Default)]
struct Job {
    credential: Option<Uuid>,
    /// The number that its image assigns, where the card has no UID.
    assigned: Option<String>,
    accepted: bool,
    changed: BTreeSet<Uid>,
    finished: Vec<Told>,
    /// The cards on which its image was complete when its encoder said so.
    read_back: Option<BTreeSet<Uid>>,
    shown: Option<Shown>,
    /// What is shown comes from a copy: nobody can blame it for not knowing what came after.
    from_copy: bool,
    stored: Option<Stored>,
    /// The store went back to a copy once: an outcome from then on may be of another run of the job than the agent's.
    went_back: bool,
    forgotten: BTreeSet<Memory>,
    /// Both memories that could know of it were set back at the same time: no rule can repair that, and nothing is
    /// asked of it.
    excused: bool,
    released: bool,
}

#[derive(Clone, Debug, Default)]
struct Card {
    /// Which job's complete image is on it.
    carries: Option<JobId>,
    /// Who changed it since it was last lifted.
    fresh: Option<(JobId, Option<Uuid>)>,
}

impl Ledger {
    /// An empty ledger.
    pub fn new() -> Self {
        Self::default()
    }

    /// What has been found so far.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// A job of this credential (none for a scan) was asked for.
    pub fn asked(&mut self, job: JobId, credential: Option<Uuid>) {
        self.job(job).credential = credential;
    }

    /// The job's image assigns the card this number, as the card has no UID; to the harness it has a name all the same.
    pub fn assigned(&mut self, job: JobId, number: String) {
        self.job(job).assigned = Some(number);
    }

    /// An agent's journal holds that it accepted the job.
    pub fn accepted(&mut self, job: JobId) {
        self.job(job).accepted = true;
    }

    /// A byte of the card changed because of this job; told once at least for each job that changed it, in order.
    pub fn changed(&mut self, card: Uid, job: JobId) {
        let record = self.job(job);
        let credential = record.credential;
        record.changed.insert(card);
        let (cards, excused) = (record.changed.len(), record.excused);
        let denied = record
            .finished
            .iter()
            .any(|told| told.touched == Touched::Untouched);
        let shown = record.shown == Some(Shown::Failed(Touched::Untouched)) && !record.from_copy;
        let forgotten = record.forgotten.contains(&Memory::Journal);
        if cards > 1 && !excused {
            self.violate(
                Invariant::OneCardPerJob,
                format!("job {job} changed {cards} cards"),
            );
        }
        if (denied && !forgotten) || (shown && !excused) {
            let words = format!("job {job} changed card {card} after it had ended as untouched");
            self.violate(Invariant::UntouchedIsUntouched, words);
        }
        let entry = self.cards.entry(card).or_default();
        let before = entry.fresh.replace((job, credential));
        entry.carries = None;
        if let Some((earlier, written)) = before
            && earlier != job
            && (written != credential || written.is_none())
            && !self.is_excused(earlier)
        {
            let words = format!(
                "job {job} overwrote card {card}, which job {earlier} had written just before"
            );
            self.violate(Invariant::FreshCard, words);
        }
    }

    /// The card carries every byte of the image of this encode now.
    pub fn carries(&mut self, card: Uid, job: JobId) {
        self.cards.entry(card).or_default().carries = Some(job);
        let (credential, excused) = (self.job(job).credential, self.is_excused(job));
        let Some(credential) = credential else { return };
        let cards = self.complete.entry(credential).or_default();
        cards.insert(card, job);
        if cards.len() > 1 && !excused {
            let words = format!("credential {credential} was complete on {cards:?}");
            self.violate(Invariant::OneCompleteCard, words);
        }
    }

    /// The cards that carry, or carried, the credential's complete image and were not destroyed.
    pub fn complete_on(&self, credential: Uuid) -> Vec<Uid> {
        let cards = self.complete.get(&credential);
        cards
            .into_iter()
            .flat_map(BTreeMap::keys)
            .copied()
            .collect()
    }

    /// The card left the field of its encoder.
    pub fn lifted(&mut self, card: Uid) {
        self.cards.entry(card).or_default().fresh = None;
    }

    /// The operator destroyed the card, and said so by releasing its credential.
    pub fn destroyed(&mut self, card: Uid) {
        for cards in self.complete.values_mut() {
            cards.remove(&card);
        }
    }

    /// The operator released the credential: what held it until now holds it no more.
    pub fn released(&mut self, credential: Uuid) {
        for job in self.jobs.values_mut() {
            if job.credential == Some(credential) {
                job.released = true;
            }
        }
    }

    /// The encoder says that the image of this encode was read back completely. A success is judged by the card as it is
    /// now; where a harness cannot tell this moment, by the card as it is when the outcome is told.
    pub fn read_back(&mut self, job: JobId) {
        self.job(job).read_back = Some(self.carrying(job));
    }

    fn carrying(&self, job: JobId) -> BTreeSet<Uid> {
        let carrying = |card: &Card| card.carries == Some(job);
        let cards = self.cards.iter().filter(|(_, card)| carrying(card));
        cards.map(|(uid, _)| *uid).collect()
    }

    /// A memory that held something of the job was set back behind it.
    pub fn forgot(&mut self, memory: Memory, job: JobId) {
        let record = self.job(job);
        record.forgotten.insert(memory);
        if memory == Memory::Store {
            record.went_back = true;
            record.shown = None;
            record.stored = None;
        }
        record.excused |= record.forgotten.len() == 2;
        if !record.excused {
            return;
        }
        // What nobody knows of any more cannot be protected: see the crate's README.
        for cards in self.complete.values_mut() {
            cards.retain(|_, by| *by != job);
        }
    }

    /// An agent's journal holds this outcome of the job. The same outcome may be told again.
    pub fn finished(&mut self, job: JobId, told: Told) {
        let record = self.job(job);
        if record.finished.contains(&told) {
            return;
        }
        record.finished.push(told.clone());
        let forgotten = record.forgotten.contains(&Memory::Journal);
        let (count, changed) = (record.finished.len(), !record.changed.is_empty());
        if count > 1 && !forgotten {
            let words = format!("job {job} has {count} different outcomes");
            self.violate(Invariant::OneOutcome, words);
        }
        if told.touched == Touched::Untouched && changed && !forgotten {
            let words = format!("the agent says that job {job} changed nothing");
            self.violate(Invariant::UntouchedIsUntouched, words);
        }
        if told.success {
            self.check_success(job, &told);
        }
    }

    /// The coordinator shows the attempt so.
    pub fn shows(&mut self, job: JobId, shown: Shown) {
        let record = self.job(job);
        let before = record.shown.replace(shown.clone());
        record.from_copy &= before.as_ref() == Some(&shown);
        let blind = record.from_copy;
        let (changed, excused) = (!record.changed.is_empty(), record.excused);
        let ended = before.filter(|before| *before != Shown::Pending);
        if ended.is_some_and(|before| before != shown) {
            let words = format!("the ended attempt of job {job} became {shown:?}");
            self.violate(Invariant::OneOutcome, words);
        }
        if shown == Shown::Failed(Touched::Untouched) && changed && !excused && !blind {
            let words = format!("the attempt of job {job} says that nothing was changed");
            self.violate(Invariant::UntouchedIsUntouched, words);
        }
    }

    /// The coordinator holds this outcome of the job, in its row or as that of a job it does not know. A store that had
    /// forgotten the job knows of it again.
    pub fn stored(&mut self, job: JobId, stored: Stored) {
        let record = self.job(job);
        record.forgotten.remove(&Memory::Store);
        let before = record.stored.replace(stored);
        let (changed, excused) = (!record.changed.is_empty(), record.excused);
        let corrected =
            record.went_back && before.is_some_and(|before| before.touched == Touched::Untouched);
        let differs = before.is_some_and(|before| before.touched != stored.touched);
        if differs && !corrected {
            let words = format!("the stored outcome of job {job} became {stored:?}");
            self.violate(Invariant::OneOutcome, words);
        }
        if stored.touched == Touched::Untouched && changed && !excused {
            let words = format!("the coordinator holds that job {job} changed nothing");
            self.violate(Invariant::UntouchedIsUntouched, words);
        }
    }

    /// The copy that the coordinator's store went back to shows the attempt so.
    pub fn copy_shows(&mut self, job: JobId, shown: Shown) {
        let record = self.job(job);
        record.shown = Some(shown);
        record.from_copy = true;
    }

    /// The copy that the coordinator's store went back to holds this outcome of the job.
    pub fn copy_holds(&mut self, job: JobId, stored: Stored) {
        let record = self.job(job);
        record.forgotten.remove(&Memory::Store);
        record.stored = Some(stored);
        record.went_back = true;
    }

    /// At the end, the coordinator ties the credential to this card because of this job. None: to an unknown card.
    pub fn tied(&mut self, credential: Uuid, job: JobId, card: Option<Uid>) {
        self.ties.entry((credential, job)).or_default().insert(card);
    }

    /// At the end, something still waits although nothing stands in its way.
    pub fn waits(&mut self, what: impl Into<String>) {
        self.waits.insert(what.into());
    }

    fn job(&mut self, job: JobId) -> &mut Job {
        self.jobs.entry(job).or_default()
    }

    fn is_excused(&self, job: JobId) -> bool {
        self.jobs.get(&job).is_some_and(|job| job.excused)
    }

    fn violate(&mut self, invariant: Invariant, words: String) {
        self.violations.push(Violation { invariant, words });
    }

    /// A success of an encode is judged against the card as it is at that moment.
    fn check_success(&mut self, job: JobId, told: &Told) {
        if self.job(job).credential.is_none() {
            return;
        }
        let read_back = self.job(job).read_back.clone();
        let on = read_back.unwrap_or_else(|| self.carrying(job));
        let assigned = self.job(job).assigned.clone();
        let number = |card: &Uid| assigned.clone().unwrap_or_else(|| card.to_string());
        let is_there = on.iter().any(|card| told.card_number == Some(number(card)));
        if told.touched != Touched::Written || !is_there {
            let words = format!(
                "job {job} succeeded as {:?} on card {:?}; its image is complete on {on:?}",
                told.touched, told.card_number
            );
            self.violate(Invariant::SuccessIsOnTheCard, words);
        }
    }
}
