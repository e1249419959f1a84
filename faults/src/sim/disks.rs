//! Disks that fill up, lose their journal, go back to an old image, or are copied to a second PC.

use encoder_agent::journal::MemoryJournal;
use uuid::Uuid;

use super::{
    common::{Common, SECOND},
    journal::Disk,
    world::{CLONE, Event, World},
};
use crate::invariants::Memory;

impl World {
    pub(super) fn fill_disk(&mut self, index: usize) {
        let time = self.common.up_to(40 * SECOND);
        if let Some(pc) = self.pcs.get_mut(index) {
            self.common.count("disk full");
            self.common
                .note(|| format!("chaos: the disk of pc{index} is full"));
            pc.disk.full = true;
            self.after(time, Event::Room(index));
        }
    }

    pub(super) fn room(&mut self, index: usize) {
        if let Some(pc) = self.pcs.get_mut(index) {
            pc.disk.full = false;
        }
    }

    /// The journal is lost or damaged: the next start sets it aside and begins a new one.
    pub(super) fn lose_journal(&mut self, index: usize) {
        if index == CLONE {
            return;
        }
        self.kill_agent(index, true);
        let journal = MemoryJournal::new(Uuid::from_u128(self.common.fresh()));
        if let Some(pc) = self.pcs.get_mut(index).filter(|pc| !pc.gone) {
            self.common.count("journal lost");
            self.common
                .note(|| format!("chaos: the journal of pc{index} is lost"));
            pc.disk.problem = Some("a damaged journal was set aside".to_owned());
            pc.disk.replace(&mut self.common, journal);
            self.expect_next_guests(index);
        }
    }

    /// Nobody waits for what a desk has forgotten: as soon as it works again the next guests ask for their keys.
    fn expect_next_guests(&mut self, index: usize) {
        let now = self.common.now;
        let Some(pc) = self.pcs.get(index) else {
            return;
        };
        let back = pc.starts_at.map_or(0, |at| at.saturating_sub(now));
        for encoder in pc.hardware.clone() {
            let after = back + self.common.up_to(3 * SECOND);
            self.after(after, Event::NextGuest(encoder));
        }
    }

    /// An image of the disk is taken, or an old one comes back.
    pub(super) fn image(&mut self, index: usize) {
        if self.common.dice.chance(500) {
            return self.old_image(index);
        }
        if let Some(pc) = self.pcs.get_mut(index) {
            pc.disk.images.push(pc.disk.journal.clone());
        }
    }

    /// The PC gets an old image of its disk.
    pub(super) fn old_image(&mut self, index: usize) {
        let Some(pc) = self.pcs.get_mut(index).filter(|_| index != CLONE) else {
            return;
        };
        let old = pc.disk.images.len();
        let Some(image) = pc.disk.images.get(self.common.dice.index(old)).cloned() else {
            return;
        };
        self.kill_agent(index, true);
        if let Some(pc) = self.pcs.get_mut(index).filter(|pc| !pc.gone) {
            self.common.count("old disk image restored");
            self.common
                .note(|| format!("chaos: pc{index} gets an old disk image"));
            pc.disk.replace(&mut self.common, image);
        }
    }

    /// A second machine gets the first one's disk, token and all; or is switched off.
    pub(super) fn clone_pc(&mut self) {
        if self.pcs.get(CLONE).is_some_and(|pc| pc.process.is_some()) {
            return self.switch_clone_off();
        }
        let Some(first) = self.pcs.first() else {
            return;
        };
        if first.gone {
            return;
        }
        self.switch_clone_off();
        let Some(first) = self.pcs.first() else {
            return;
        };
        let (journal, jobs) = (first.disk.journal.clone(), first.disk.jobs.clone());
        self.common.count("pc cloned");
        self.common.note(|| "chaos: pc0 is cloned".to_owned());
        share(&mut self.common, &journal);
        self.common.forked = true;
        if let Some(clone) = self.pcs.get_mut(CLONE) {
            clone.disk.journal = journal;
            clone.disk.jobs = jobs;
            clone.disk.full = false;
            clone.start(&mut self.common);
        }
        self.wake(CLONE);
    }

    /// The second machine is found out and never used again: what only it knew is forgotten.
    pub(super) fn switch_clone_off(&mut self) {
        self.kill_agent(CLONE, false);
        if let Some(clone) = self.pcs.get_mut(CLONE) {
            clone.starts_at = None;
            share(&mut self.common, &clone.disk.journal);
            forget_all(&mut self.common, &clone.disk);
            clone.disk.journal = MemoryJournal::new(Uuid::from_u128(self.common.fresh()));
        }
    }
}

/// What this journal holds open is not its alone any more.
pub(super) fn share(common: &mut Common, journal: &MemoryJournal) {
    let contents = journal.contents();
    for job in contents.open_jobs {
        common.ledger.forgot(Memory::Journal, job.facts.job_id);
    }
    for owed in contents.unacknowledged {
        common.ledger.forgot(Memory::Journal, owed.finished.job_id);
    }
}

/// Nothing of what this PC alone accepted is heard again.
pub(super) fn forget_all(common: &mut Common, disk: &Disk) {
    for job in &disk.jobs {
        if common.is_accepted_by(*job, disk.pc) {
            common.ledger.forgot(Memory::Journal, *job);
        }
    }
}
