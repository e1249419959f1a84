//! What every part of a run shares: the time, the dice, the table, the weather, and what was seen.

use std::collections::{BTreeMap, BTreeSet};

use encoder_protocols::{card::virtual_card::CardKind, moment::Moment, wire::JobId};
use jiff::{SignedDuration, Timestamp};

use super::{
    dice::Dice,
    table::{Hardware, Seen, Shared, Table, lock},
};
use crate::invariants::{Ledger, Memory};

/// Virtual time since the beginning of the run, in microseconds.
pub(super) type Micros = u64;

pub(super) const MILLISECOND: Micros = 1_000;
pub(super) const SECOND: Micros = 1_000_000;

/// When every run begins, in seconds since 1970.
const DAWN: i64 = 1_795_000_000;

/// The longest time for which a PC stays away: more than an attempt of a bound job may last.
pub(super) const LONGEST_OUTAGE: Micros = 300 * SECOND;

/// A fault that is aimed at a moment in which it may hurt most.
#[derive(Clone, Copy, Debug)]
pub(super) enum Aim {
    /// The agent's process is killed.
    KillAgent(usize),
    /// The agent's PC loses its power.
    PowerCut(usize),
    /// The coordinator is killed.
    KillCoordinator,
    /// The agent's connection breaks.
    CutLink(usize),
    /// The encoder's cable comes loose.
    Unplug(usize),
    /// The cards are lifted from the encoder.
    Lift(usize),
    /// The card is replaced by another one.
    Swap(usize),
    /// The agent's process stands still for a while.
    Freeze(usize),
    /// The agent's PC loses its journal.
    LoseJournal(usize),
    /// The agent's PC gets an old image of its disk.
    OldImage(usize),
    /// The store goes back to a copy.
    Restore,
}

/// How often what happens, in this run: of 1,000, unless it says otherwise.
#[derive(Clone, Debug)]
pub(super) struct Weather {
    /// How often a step of the machines has a fault aimed at it.
    pub(super) aim: u64,
    /// How often a write has one aimed at it.
    pub(super) aim_at_writes: u64,
    /// Which faults there are.
    pub(super) kills: bool,
    pub(super) coordinator_kills: bool,
    pub(super) link_cuts: bool,
    pub(super) stalls: bool,
    pub(super) unplugs: bool,
    pub(super) lifts: bool,
    pub(super) freezes: bool,
    pub(super) clock_jumps: bool,
    pub(super) disk_full: bool,
    pub(super) journal_losses: bool,
    pub(super) old_images: bool,
    pub(super) clones: bool,
    pub(super) restores: bool,
    pub(super) moves: bool,
    pub(super) deletes: bool,
    pub(super) operator: bool,
    /// PCs stay away for longer than any attempt lasts.
    pub(super) outages: bool,
    /// An encoder breaks for good.
    pub(super) breaks: bool,
    /// How often a look misses a card that lies there.
    pub(super) blinks: u64,
    /// How often an exchange with a card is disturbed.
    pub(super) noise: u64,
    /// The longest time of one exchange with a card.
    pub(super) exchange: Micros,
    /// The longest time of a flush to a PC's disk.
    pub(super) flush: Micros,
    /// The longest time of a commit in the coordinator's store.
    pub(super) commit: Micros,
    /// How often the access system's key server takes its time.
    pub(super) slow_plans: u64,
    /// The longest time on the network, one way.
    pub(super) network: Micros,
    /// The time between two looks for a card.
    pub(super) poll: Micros,
    /// The longest pause between two things that people do.
    pub(super) pace: Micros,
    /// How long the faults last.
    pub(super) storm: Micros,
}

impl Weather {
    pub(super) fn roll(dice: &mut Dice) -> Self {
        let mut often = |choices: &[u64]| dice.pick(choices).unwrap_or(0);
        let aim = often(&[0, 4, 10, 25, 60]);
        let aim_at_writes = often(&[0, 150, 400, 700]);
        let blinks = often(&[0, 0, 20, 200]);
        let noise = often(&[0, 0, 5, 40]);
        let exchange = often(&[4, 20, 20, 80, 400]) * MILLISECOND;
        let flush = often(&[0, 3, 8, 60, 600]) * MILLISECOND;
        let commit = often(&[1, 8, 8, 100, 1500]) * MILLISECOND;
        let slow_plans = often(&[0, 0, 100, 400]);
        let network = often(&[1, 10, 40, 400, 2500]) * MILLISECOND;
        let poll = often(&[100, 200, 200, 400]) * MILLISECOND;
        let pace = often(&[1500, 3000, 6000]) * MILLISECOND;
        let storm = often(&[10, 20, 40, 80]) * SECOND;
        let mut some = |per_mille| dice.chance(per_mille);
        let outages = some(10);
        let storm = if outages {
            storm + LONGEST_OUTAGE
        } else {
            storm
        };
        Self {
            aim,
            aim_at_writes,
            kills: some(600),
            coordinator_kills: some(500),
            link_cuts: some(500),
            stalls: some(400),
            unplugs: some(400),
            lifts: some(600),
            freezes: some(300),
            clock_jumps: some(250),
            disk_full: some(250),
            journal_losses: some(200),
            old_images: some(200),
            clones: some(150),
            restores: some(250),
            moves: some(400),
            deletes: some(400),
            operator: some(250),
            outages,
            breaks: some(60),
            blinks,
            noise,
            exchange,
            flush,
            commit,
            slow_plans,
            network,
            poll,
            pace,
            storm,
        }
    }
}

/// How often something happened.
pub type Coverage = BTreeMap<&'static str, u64>;

/// What every part of a run shares.
pub(super) struct Common {
    pub(super) now: Micros,
    pub(super) dice: Dice,
    pub(super) weather: Weather,
    pub(super) table: Shared,
    pub(super) ledger: Ledger,
    pub(super) coverage: Coverage,
    pub(super) trace: Option<Vec<String>>,
    /// Faults that are to happen soon.
    pub(super) aims: Vec<(Micros, Aim)>,
    /// Jobs whose card people were asked to lift.
    pub(super) lifts_asked: BTreeSet<JobId>,
    /// The storm is over: nothing fails any more.
    pub(super) calm: bool,
    fresh: u128,
    /// There is, or was, a second machine with the first one's journal.
    pub(super) forked: bool,
    /// Whose journal accepted a job first.
    accepted_by: BTreeMap<JobId, usize>,
}

impl Common {
    pub(super) fn new(seed: u64, traced: bool, encoders: Vec<Hardware>) -> Self {
        let mut dice = Dice::new(seed);
        let weather = Weather::roll(&mut dice);
        let kinds = [
            CardKind::ClassicMini,
            CardKind::Classic1k,
            CardKind::Classic1k,
            CardKind::Ultralight,
            CardKind::Ntag213,
            CardKind::Desfire,
            CardKind::RandomUid,
        ];
        let table_dice = Dice::new(dice.next());
        let table = Table::new(&kinds, encoders, weather.noise, table_dice);
        Self {
            now: 0,
            dice,
            weather,
            table: std::sync::Arc::new(std::sync::Mutex::new(table)),
            ledger: Ledger::new(),
            coverage: Coverage::new(),
            trace: traced.then(Vec::new),
            aims: Vec::new(),
            lifts_asked: BTreeSet::new(),
            calm: false,
            fresh: 0,
            forked: false,
            accepted_by: BTreeMap::new(),
        }
    }

    /// A number that was not used in this run.
    pub(super) fn fresh(&mut self) -> u128 {
        self.fresh += 1;
        self.fresh
    }

    pub(super) fn count(&mut self, what: &'static str) {
        *self.coverage.entry(what).or_default() += 1;
    }

    /// A PC's journal holds that it accepted the job. Where two do, because two machines share a token, neither journal
    /// knows all of the job.
    pub(super) fn accepted(&mut self, job: JobId, pc: usize) {
        self.ledger.accepted(job);
        if *self.accepted_by.entry(job).or_insert(pc) != pc {
            self.ledger.forgot(Memory::Journal, job);
        }
    }

    /// A second machine writes the first one's journal on: the numbers of their outcomes collide. Together with a store
    /// that goes back to a copy, which asks for outcomes by their numbers, that is a memory lost on both sides.
    pub(super) fn is_forked(&self, job: JobId) -> bool {
        let by = self.accepted_by.get(&job);
        self.forked && by.is_some_and(|pc| *pc != 1)
    }

    /// Whether this PC's journal was the first to accept the job.
    pub(super) fn is_accepted_by(&self, job: JobId, pc: usize) -> bool {
        self.accepted_by.get(&job) == Some(&pc)
    }

    /// A PC's journal holds an outcome of the job.
    pub(super) fn finished(&mut self, job: JobId, pc: usize) {
        if self.accepted_by.get(&job).is_some_and(|first| *first != pc) {
            self.ledger.forgot(Memory::Journal, job);
        }
    }

    /// Adds a line to the trace, if one is wanted.
    pub(super) fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let seconds = self.now / SECOND;
            let micros = self.now % SECOND;
            trace.push(format!("{seconds:>5}.{micros:06} {}", line()));
        }
    }

    /// A time between nothing and `longest`.
    pub(super) fn up_to(&mut self, longest: Micros) -> Micros {
        self.dice.below(longest + 1)
    }

    pub(super) fn exchange_time(&mut self) -> Micros {
        let longest = if self.calm {
            5 * MILLISECOND
        } else {
            self.weather.exchange
        };
        MILLISECOND + self.up_to(longest)
    }

    /// The machines have reached a step that a fault may hit.
    pub(super) fn step_of(&mut self, agent: Option<usize>) {
        if self.calm || !self.dice.chance(self.weather.aim) {
            return;
        }
        let after = self.up_to(20 * MILLISECOND);
        let aims = match agent {
            Some(pc) => self.aims_at(pc, None),
            None => vec![Aim::KillCoordinator, Aim::KillCoordinator, Aim::Restore],
        };
        self.aim(after, &aims);
    }

    /// A write has begun: a fault may hit it anywhere.
    pub(super) fn write_began(&mut self, pc: usize, encoder: usize) {
        if self.calm || !self.dice.chance(self.weather.aim_at_writes) {
            return;
        }
        let after = self.up_to(8 * self.weather.exchange);
        let aims = self.aims_at(pc, Some(encoder));
        self.aim(after, &aims);
    }

    fn aim(&mut self, after: Micros, aims: &[Aim]) {
        if let Some(aim) = self.dice.pick(aims).filter(|aim| self.allows(*aim)) {
            self.aims.push((self.now + after, aim));
        }
    }

    fn aims_at(&self, pc: usize, encoder: Option<usize>) -> Vec<Aim> {
        let mut aims = vec![
            Aim::KillAgent(pc),
            Aim::KillAgent(pc),
            Aim::PowerCut(pc),
            Aim::KillCoordinator,
            Aim::CutLink(pc),
            Aim::Freeze(pc),
            Aim::LoseJournal(pc),
            Aim::OldImage(pc),
        ];
        if let Some(encoder) = encoder {
            aims.extend([Aim::Unplug(encoder), Aim::Lift(encoder), Aim::Swap(encoder)]);
        }
        aims
    }

    fn allows(&self, aim: Aim) -> bool {
        match aim {
            Aim::KillAgent(_) | Aim::PowerCut(_) => self.weather.kills,
            Aim::KillCoordinator => self.weather.coordinator_kills,
            Aim::CutLink(_) => self.weather.link_cuts,
            Aim::Unplug(_) => self.weather.unplugs,
            Aim::Lift(_) | Aim::Swap(_) => self.weather.lifts,
            Aim::Freeze(_) => self.weather.freezes,
            Aim::LoseJournal(_) => self.weather.journal_losses,
            Aim::OldImage(_) => self.weather.old_images,
            Aim::Restore => self.weather.restores,
        }
    }

    /// An encoder says that an image was read back.
    pub(super) fn read_back(&mut self, job: JobId) {
        self.note_cards();
        self.ledger.read_back(job);
    }

    /// Enters what the cards did into the ledger.
    pub(super) fn note_cards(&mut self) {
        let seen = std::mem::take(&mut lock(&self.table).seen);
        for seen in seen {
            self.note(|| format!("card: {seen:?}"));
            match seen {
                Seen::Changed(card, job) => self.ledger.changed(card, job),
                Seen::Left(card) => self.ledger.lifted(card),
                Seen::Carries(card, job) => {
                    self.count("image complete on a card");
                    self.ledger.carries(card, job);
                }
            }
        }
    }
}

/// The time of day where a clock is off by `skew` microseconds.
pub(super) fn utc(now: Micros, skew: i64) -> Timestamp {
    let micros = i64::try_from(now).unwrap_or(i64::MAX).saturating_add(skew);
    Timestamp::from_second(DAWN)
        .and_then(|dawn| dawn.checked_add(SignedDuration::from_micros(micros)))
        .unwrap_or(Timestamp::UNIX_EPOCH)
}

/// A moment on a process's own clock.
pub(super) fn moment(micros: Micros) -> Moment {
    Moment::after_origin(std::time::Duration::from_micros(micros))
}
