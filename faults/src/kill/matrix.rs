//! All cases: which there are, in which order and how many at a time they are played, and what came of them.

use std::{
    collections::{BTreeMap, VecDeque},
    fs,
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use encoder_agent::clock::Clock;

use super::{
    Gate, HarnessError,
    case::{Case, Disk, KillAt, Step, Then},
    disk::{Shim, StepKind},
    phase::Phase,
    play::{Played, Reference, Stage, play, reference},
    site::{Programs, Template},
};

/// After how many cases the progress is told.
const PROGRESS: usize = 100;

/// What is to be played, and where.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder of the programs `encoder-agent` and `encoder-coordinator`.
    pub programs: PathBuf,
    /// Where sites are kept while they are played; those of failed cases stay.
    pub folder: PathBuf,
    /// Everything, not only what fits the time of a run before a change lands.
    pub full: bool,
    /// How many cases are under way at a time; most of them wait.
    pub lanes: usize,
    /// How many of them use the machine at a time.
    pub active: usize,
    /// Only the case of this name.
    pub case: Option<String>,
}

/// What came of all cases.
#[derive(Debug, Default)]
pub struct Matrix {
    /// How many were played.
    pub cases: usize,
    /// How many of them broke an invariant, or could not be played to their end.
    pub violations: usize,
    phases: BTreeMap<(&'static str, Phase), usize>,
    outcomes: BTreeMap<String, usize>,
    failures: Vec<(Case, Vec<String>)>,
}

impl Matrix {
    /// Plays the cases; `say` gets a line for whatever a person wants to see at once.
    ///
    /// # Errors
    /// [`HarnessError`] when the programs, the folder or an undisturbed encode are not as they must be.
    pub fn play(options: &Options, say: &(dyn Fn(&str) + Sync)) -> Result<Self, HarnessError> {
        fs::create_dir_all(&options.folder).map_err(HarnessError::system("the sites' folder"))?;
        let programs = Programs {
            agent: options.programs.join("encoder-agent"),
            coordinator: options.programs.join("encoder-coordinator"),
        };
        let stage = Stage {
            template: Template::make(programs, &options.folder)?,
            shim: Shim::compile(&options.folder)?,
            folder: options.folder.clone(),
            gate: Gate::new(options.active),
        };
        let cases = match &options.case {
            Some(name) => vec![name.parse()?],
            None => {
                let reference = stage.gate.inside(|| reference(&stage))?;
                say(&reference.to_string());
                all(&reference, options.full)
            }
        };
        Ok(play_all(&stage, cases, options.lanes, say))
    }

    /// How far the jobs were at the kill, how they ended, and which cases failed: lines for a person.
    pub fn summary(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for ((victim, phase), count) in &self.phases {
            lines.push(format!("{victim} killed {}: {count}", phase.name()));
        }
        for (outcome, count) in &self.outcomes {
            lines.push(format!("ended as {outcome}: {count}"));
        }
        for (case, violations) in &self.failures {
            lines.push(format!("FAILED {case}; alone: --case {case}"));
            lines.extend(violations.iter().map(|words| format!("  {words}")));
        }
        lines
    }

    fn take(&mut self, case: Case, played: Result<Played, HarnessError>, say: &dyn Fn(&str)) {
        self.cases += 1;
        let victim = if case.at.is_coordinator() {
            "coordinator"
        } else {
            "agent"
        };
        let violations = match played {
            Ok(played) => {
                *self.phases.entry((victim, played.phase)).or_default() += 1;
                *self.outcomes.entry(played.verdict.outcome).or_default() += 1;
                played.verdict.violations
            }
            Err(error) => vec![error.to_string()],
        };
        if let Some(first) = violations.first() {
            self.violations += 1;
            say(&format!("FAILED {case}: {first}"));
            self.failures.push((case, violations));
        }
    }
}

impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "one encode: {} bytes to the device, {} from it, {} journal steps ({} more at the first start), {} store steps",
            self.bytes.to_device,
            self.bytes.to_agent,
            self.journal.len(),
            self.boot.len(),
            self.store.len()
        )
    }
}

fn play_all(stage: &Stage, cases: Vec<Case>, lanes: usize, say: &(dyn Fn(&str) + Sync)) -> Matrix {
    let total = cases.len();
    let clock = Clock::start();
    let waiting = Mutex::new(VecDeque::from(cases));
    let matrix = Mutex::new(Matrix::default());
    let next = || {
        waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front()
    };
    std::thread::scope(|scope| {
        for _ in 0..lanes.min(total) {
            scope.spawn(|| {
                while let Some(case) = next() {
                    let played = stage.gate.inside(|| play(stage, case));
                    let mut matrix = matrix.lock().unwrap_or_else(PoisonError::into_inner);
                    matrix.take(case, played, say);
                    if matrix.cases % PROGRESS == 0 {
                        let time = clock.now().since_origin();
                        say(&progress(matrix.cases, total, time));
                    }
                }
            });
        }
    });
    matrix.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn progress(cases: usize, total: usize, time: Duration) -> String {
    format!("{cases} of {total} cases after {} s", time.as_secs())
}

/// Every case, those first that wait longest. Without `full` every kill is played: of a process alone with every card at
/// the databases' steps and with the three cards by turns at the bytes, with the power cut at the steps by turns.
fn all(reference: &Reference, full: bool) -> Vec<Case> {
    let mut cases = Vec::new();
    for at in kills(&reference.boot) {
        for disk in Disk::ALL {
            let at = KillAt::Boot(at);
            let then = Then::Same;
            cases.push(Case { at, disk, then });
        }
    }
    let journal = kills(&reference.journal).map(KillAt::Journal);
    let store = kills(&reference.store).map(KillAt::Store);
    for (turn, at) in journal.chain(store).enumerate() {
        for (number, disk) in Disk::ALL.into_iter().enumerate() {
            let by_turns = !full && disk != Disk::Kept;
            push(&mut cases, at, disk, by_turns.then_some(turn + number));
        }
    }
    let to_device = (1..=reference.bytes.to_device).map(KillAt::ToDevice);
    let to_agent = (1..=reference.bytes.to_agent).map(KillAt::ToAgent);
    for (turn, at) in to_device.chain(to_agent).enumerate() {
        push(&mut cases, at, Disk::Kept, (!full).then_some(turn));
        if full {
            push(&mut cases, at, Disk::Cut, None);
        }
    }
    cases.sort_by_key(|case| case.then == Then::Same);
    cases
}

/// With the card whose turn it is; with every card where they do not take turns.
fn push(cases: &mut Vec<Case>, at: KillAt, disk: Disk, turn: Option<usize>) {
    for (number, then) in Then::ALL.into_iter().enumerate() {
        if turn.is_none_or(|turn| turn % Then::ALL.len() == number) {
            cases.push(Case { at, disk, then });
        }
    }
}

/// Before every step; after a write is before the next one, but after a flush is a place of its own.
fn kills(steps: &[StepKind]) -> impl Iterator<Item = Step> {
    (1..).zip(steps).flat_map(|(number, kind)| {
        let before = Step {
            number,
            after: false,
        };
        let after = Step {
            number,
            after: true,
        };
        [Some(before), (*kind == StepKind::Flush).then_some(after)]
            .into_iter()
            .flatten()
    })
}
