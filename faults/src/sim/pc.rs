//! A desk PC: its disk, and the agent's process that comes and goes.

use std::{
    collections::{BTreeSet, VecDeque},
    path::PathBuf,
    time::Duration,
};

use encoder_agent::{
    encoder::{EncoderEvent, EncoderId, EncoderSettings},
    jobs::{Action, AgentFacts, Jobs, Now},
    journal::{JournalError, MemoryJournal, Record},
    session::{self, Machine, SessionEvent},
};
use encoder_protocols::{
    moment::Moment,
    wire::{EncoderKey, JobId, KeyScope, WireMessage},
};
use uuid::Uuid;

use super::{
    common::{Common, MILLISECOND, Micros, SECOND, moment, utc},
    dice::Dice,
    journal::{Disk, told},
    tasks::EncoderTask,
};
use crate::invariants::Memory;

/// How long a stopping agent waits for a running write.
pub(super) const DRAIN_FOR: Micros = 20 * SECOND;

/// What the session wants of the network.
#[derive(Clone, Debug)]
pub(super) enum Wish {
    Connect,
    Disconnect,
    Text(String),
    Ping,
}

pub(super) struct Write {
    pub(super) records: Vec<Record>,
    pub(super) done_at: Micros,
}

/// A run of the agent's program.
pub(super) struct Process {
    pub(super) boot: Uuid,
    pub(super) jobs: Jobs,
    pub(super) session: Machine,
    pub(super) tasks: Vec<EncoderTask>,
    pub(super) started_at: Micros,
    pub(super) from_session: VecDeque<SessionEvent>,
    pub(super) from_encoders: VecDeque<(EncoderId, EncoderEvent)>,
    pub(super) write: Option<Write>,
    pub(super) draining_until: Option<Micros>,
    /// Outcomes that went out before they could be made durable.
    pub(super) undurable: BTreeSet<JobId>,
}

/// A desk PC.
pub(super) struct Pc {
    pub(super) index: usize,
    /// Which agent its token belongs to.
    pub(super) agent: usize,
    pub(super) settings: Vec<EncoderSettings>,
    /// Which encoder stands behind each setting.
    pub(super) hardware: Vec<usize>,
    pub(super) disk: Disk,
    pub(super) process: Option<Process>,
    pub(super) frozen_until: Micros,
    /// The wall clock's error in microseconds.
    pub(super) skew: i64,
    /// When an agent that was stopped or killed starts again.
    pub(super) starts_at: Option<Micros>,
    /// It is out of service for good.
    pub(super) gone: bool,
}

impl Process {
    /// Its monotonic clock, which goes on while the PC sleeps.
    pub(super) fn clock(&self, now: Micros) -> Micros {
        now.saturating_sub(self.started_at)
    }

    pub(super) fn real(&self, moment: Moment) -> Micros {
        let micros = u64::try_from(moment.since_origin().as_micros()).unwrap_or(u64::MAX);
        micros.saturating_add(self.started_at)
    }

    /// When it wants to run without any input.
    pub(super) fn wakes_at(&self) -> Micros {
        let tasks = self.tasks.iter().map(EncoderTask::wakes_at);
        let write = self.write.as_ref().map(|write| write.done_at);
        let jobs = self.jobs.poll_timeout().filter(|_| write.is_none());
        let timers = [jobs, self.session.poll_timeout()];
        let timers = timers.into_iter().flatten().map(|at| self.real(at));
        tasks
            .chain(write)
            .chain(timers)
            .chain(self.draining_until)
            .min()
            .unwrap_or(Micros::MAX)
    }
}

impl Pc {
    pub(super) fn new(
        index: usize,
        agent: usize,
        hardware: Vec<usize>,
        keys: &[(&str, KeyScope)],
        common: &mut Common,
    ) -> Self {
        let settings = keys
            .iter()
            .zip(&hardware)
            .map(|((key, scope), _)| EncoderSettings {
                key: EncoderKey((*key).to_owned()),
                key_scope: *scope,
                name: (*key).to_owned(),
                driver: "pn532".to_owned(),
                port: PathBuf::from("/dev/virtual"),
                baud: None,
                dtr: None,
                rts: None,
                named: true,
                adopted: true,
                lift_between_cards: true,
                allow_irreversible: false,
                poll_interval: Duration::from_micros(common.weather.poll),
                simulated: true,
            })
            .collect();
        let journal = MemoryJournal::new(Uuid::from_u128(common.fresh()));
        Self {
            index,
            agent,
            settings,
            hardware,
            disk: Disk {
                pc: index,
                journal,
                problem: None,
                full: false,
                images: Vec::new(),
                jobs: BTreeSet::new(),
            },
            process: None,
            frozen_until: 0,
            skew: 0,
            starts_at: None,
            gone: false,
        }
    }

    /// Starts the agent's program.
    pub(super) fn start(&mut self, common: &mut Common) {
        let boot = Uuid::from_u128(common.fresh());
        let mut contents = self.disk.journal.contents();
        contents.problems.extend(self.disk.problem.clone());
        let now = Now {
            at: moment(0),
            utc: utc(common.now, self.skew),
        };
        let facts = AgentFacts {
            boot_id: boot,
            version: "0".to_owned(),
            os: "virtual".to_owned(),
            hostname: format!("pc{}", self.index),
        };
        let jobs = Jobs::recover(facts, &self.settings, contents, now);
        let mut dice = Dice::new(common.dice.next());
        let jitter = move |longest: Duration| {
            let micros = u64::try_from(longest.as_micros()).unwrap_or(u64::MAX);
            Duration::from_micros(dice.below(micros.saturating_add(1)))
        };
        let tasks = self
            .settings
            .iter()
            .zip(&self.hardware)
            .map(|(settings, hardware)| {
                EncoderTask::new(settings.clone(), *hardware, self.index, common.now)
            });
        self.starts_at = None;
        self.process = Some(Process {
            boot,
            jobs,
            session: Machine::new(moment(0), Box::new(jitter)),
            tasks: tasks.collect(),
            started_at: common.now,
            from_session: VecDeque::new(),
            from_encoders: VecDeque::new(),
            write: None,
            draining_until: None,
            undurable: BTreeSet::new(),
        });
        common.count("agent started");
        let index = self.index;
        common.note(|| format!("pc{index}: the agent starts"));
    }

    /// The process is gone at once. What was on its way to the disk is there or not.
    pub(super) fn kill(&mut self, common: &mut Common) {
        let Some(process) = self.process.take() else {
            return;
        };
        if process.tasks.iter().any(EncoderTask::is_writing) {
            common.count("agent killed in mid-write");
        }
        let flushed = common.dice.chance(500) && !self.disk.full;
        let mut undurable = process.undurable;
        if let Some(write) = process.write {
            common.count("agent killed during a flush");
            if flushed {
                for record in &write.records {
                    if let Record::Finished(finished) = record {
                        undurable.remove(&finished.job_id);
                    }
                }
                self.disk.append(common, &write.records);
            }
        }
        // The disk was full, so that these outcomes went out without being durable: this side has forgotten them.
        for job in undurable {
            common.count("outcome forgotten with a full disk");
            common.ledger.forgot(Memory::Journal, job);
        }
    }

    /// The agent is told to stop.
    pub(super) fn stop(&mut self, common: &mut Common) {
        let now = self.now(common);
        if let Some(process) = &mut self.process
            && process.draining_until.is_none()
            && process.write.is_none()
        {
            common.count("agent drained");
            process.jobs.drain(now);
            process.draining_until = Some(common.now + DRAIN_FOR);
        }
    }

    pub(super) fn now(&self, common: &Common) -> Now {
        let at = self
            .process
            .as_ref()
            .map_or(0, |process| process.clock(common.now));
        Now {
            at: moment(at),
            utc: utc(common.now, self.skew),
        }
    }

    /// Runs everything that is due; returns what the session wants of the network, and whether the process has ended.
    pub(super) fn run(&mut self, common: &mut Common) -> (Vec<Wish>, bool) {
        let mut wishes = Vec::new();
        let mut spins = 0;
        while self.run_once(common, &mut wishes) {
            spins += 1;
            if spins == 10_000 {
                common.ledger.waits("an agent does the same thing for ever");
                break;
            }
        }
        let now = common.now;
        let drained = self.process.as_ref().is_some_and(|process| {
            let idle = process.jobs.is_drained() && process.write.is_none();
            process
                .draining_until
                .is_some_and(|until| idle || until <= now)
        });
        if drained && let Some(process) = &mut self.process {
            // Leaving, the encoders' tasks end the write that runs.
            if process.tasks.iter().any(EncoderTask::must_end) {
                process.draining_until = Some(now + MILLISECOND);
                return (wishes, false);
            }
            process.session.stop();
            self.drain_session(&mut wishes);
            self.kill(common);
            return (wishes, true);
        }
        (wishes, false)
    }

    pub(super) fn run_once(&mut self, common: &mut Common, wishes: &mut Vec<Wish>) -> bool {
        let now = self.now(common);
        let mut moved = self.flushed(common, now, wishes);
        let Some(process) = &mut self.process else {
            return false;
        };
        if process
            .session
            .poll_timeout()
            .is_some_and(|at| at <= now.at)
        {
            process.session.handle_timeout(now.at);
            moved = true;
        }
        for (index, task) in process.tasks.iter_mut().enumerate() {
            for event in task.advance(common) {
                process.from_encoders.push_back((EncoderId(index), event));
                moved = true;
            }
        }
        moved |= self.drain_session(wishes);
        moved |= self.take_input(common, now, wishes);
        moved
    }

    /// The end of a flush.
    pub(super) fn flushed(
        &mut self,
        common: &mut Common,
        now: Now,
        wishes: &mut Vec<Wish>,
    ) -> bool {
        let Some(process) = &mut self.process else {
            return false;
        };
        let Some(write) = process.write.take_if(|write| write.done_at <= common.now) else {
            return false;
        };
        let result = if self.disk.full {
            common.count("journal write refused");
            for record in &write.records {
                if let Record::Finished(finished) = record {
                    // It goes out all the same, and is judged as it is now.
                    process.undurable.insert(finished.job_id);
                    common.ledger.finished(finished.job_id, told(finished));
                }
            }
            Err(JournalError::DiskFull)
        } else {
            for record in &write.records {
                if let Record::Finished(finished) = record {
                    process.undurable.remove(&finished.job_id);
                }
            }
            self.disk.append(common, &write.records);
            Ok(())
        };
        if common.weather.old_images && self.disk.images.len() < 8 && common.dice.chance(100) {
            self.disk.images.push(self.disk.journal.clone());
        }
        process.jobs.handle_stored(now, result);
        common.step_of(Some(self.index));
        self.carry_out(common, now, wishes);
        true
    }

    pub(super) fn drain_session(&mut self, wishes: &mut Vec<Wish>) -> bool {
        let Some(process) = &mut self.process else {
            return false;
        };
        let mut moved = false;
        while let Some(action) = process.session.poll_action() {
            moved = true;
            match action {
                session::Action::Connect { .. } => wishes.push(Wish::Connect),
                session::Action::Disconnect { .. } => wishes.push(Wish::Disconnect),
                session::Action::Send(message) => wishes.push(Wish::Text(message.encode())),
                session::Action::Ping => wishes.push(Wish::Ping),
                session::Action::Event(event) => process.from_session.push_back(event),
                session::Action::StorePins(_)
                | session::Action::StoreToken(_)
                | session::Action::Log(_) => {}
            }
        }
        moved
    }

    /// Hands the jobs one input, from either side.
    pub(super) fn take_input(
        &mut self,
        common: &mut Common,
        now: Now,
        wishes: &mut Vec<Wish>,
    ) -> bool {
        let Some(process) = &mut self.process else {
            return false;
        };
        if process.write.is_some() {
            return false;
        }
        let encoders_first = common.dice.chance(500);
        let from_encoder = if encoders_first || process.from_session.is_empty() {
            process.from_encoders.pop_front()
        } else {
            None
        };
        if let Some((id, event)) = from_encoder {
            if !matches!(event, EncoderEvent::Polled(_)) {
                let index = self.index;
                common.note(|| format!("pc{index}: encoder {}: {}", id.0, brief(&event)));
            }
            process.jobs.handle_encoder(now, id, event);
        } else if let Some(event) = process.from_session.pop_front() {
            process.jobs.handle_session(now, event);
        } else if process.jobs.poll_timeout().is_some_and(|at| at <= now.at) {
            process.jobs.handle_timeout(now);
        } else {
            return false;
        }
        self.carry_out(common, now, wishes);
        true
    }

    /// Carries out what the jobs want, up to the next write to the disk.
    pub(super) fn carry_out(&mut self, common: &mut Common, now: Now, wishes: &mut Vec<Wish>) {
        let Some(process) = &mut self.process else {
            return;
        };
        while let Some(action) = process.jobs.poll_action() {
            match action {
                Action::Persist(records) => {
                    let longest = if common.calm {
                        MILLISECOND
                    } else {
                        common.weather.flush
                    };
                    let done_at = common.now + common.up_to(longest);
                    process.write = Some(Write { records, done_at });
                    common.step_of(Some(self.index));
                    return;
                }
                Action::Recall(recall) => {
                    let found = self.disk.journal.recall(recall);
                    process.jobs.handle_recalled(now, Ok(found));
                }
                Action::Send(outgoing) => {
                    if process.session.takes(outgoing.connection) {
                        let text = outgoing.message.encode();
                        wishes.push(Wish::Text(text));
                    }
                }
                Action::Command(id, command) => {
                    let index = self.index;
                    common.note(|| format!("pc{index}: to encoder {}: {}", id.0, brief(&command)));
                    if let Some(task) = process.tasks.get_mut(id.0) {
                        task.command(command);
                    }
                }
                Action::Ended(end) => {
                    common.count(end.error.map_or("job succeeded", |code| code.as_str()));
                }
            }
        }
    }
}

/// A line of a trace, without the bytes of images and plans.
pub(super) fn brief(thing: &impl std::fmt::Debug) -> String {
    let text = format!("{thing:?}");
    text.chars().take(300).collect()
}
