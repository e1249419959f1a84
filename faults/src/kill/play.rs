//! Plays one case: an encode, the kill in its middle, the start after it, and what comes next.

use std::{fs, path::PathBuf, time::Duration};

use encoder_protocols::wire::JobId;

use super::{
    Gate, HarnessError,
    api::job_of,
    case::{Case, Disk, KillAt, Then},
    device::{Device, Exchanged, Trap},
    disk::{Shim, StepKind, Watch},
    judge::{self, Verdict},
    next::next_jobs,
    phase::{self, Phase},
    scene::{SOON, Scene, cards},
    site::{Site, Template},
    until,
};

/// How long a kill may take to be reached; the last steps of a journal come with the quiet after the encode.
const REACHING: Duration = Duration::from_secs(20);

/// Between two looks for a card while bytes are counted, in milliseconds: no second look falls into the encode.
const ONE_LOOK_MS: u32 = 5_000;

/// Between two looks for a card afterwards, in milliseconds.
const LOOKS_MS: u32 = 200;

/// How long after the connection the agent's journal has come to rest: what it put off is flushed.
const AT_REST: Duration = Duration::from_millis(600);

/// How long after an encode the journal's log has been folded into its file.
const FOLDED: Duration = Duration::from_millis(3_500);

/// What all cases share.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) template: Template,
    pub(super) shim: Shim,
    pub(super) folder: PathBuf,
    pub(super) gate: Gate,
}

/// What an undisturbed encode takes: how far the kills of the matrix go.
#[derive(Clone, Debug)]
pub(super) struct Reference {
    pub(super) boot: Vec<StepKind>,
    pub(super) journal: Vec<StepKind>,
    pub(super) store: Vec<StepKind>,
    pub(super) bytes: Exchanged,
}

/// What a case showed.
#[derive(Clone, Debug)]
pub(super) struct Played {
    /// How far the job was at the kill.
    pub(super) phase: Phase,
    pub(super) verdict: Verdict,
}

/// Plays an encode that nothing disturbs, and counts its steps and bytes.
pub(super) fn reference(stage: &Stage) -> Result<Reference, HarnessError> {
    let case = Case {
        at: KillAt::ToDevice(0),
        disk: Disk::Kept,
        then: Then::Same,
    };
    let site = Site::copy(&stage.template, stage.folder.join("reference"))?;
    let (store, journal) = (site.watch_store(), site.watch_journal());
    let device = device()?;
    let coordinator = site.start_coordinator(Some((&stage.shim, &store)))?;
    journal.arm()?;
    let agent = site.start_agent(&device.port, ONE_LOOK_MS, Some((&stage.shim, &journal)))?;
    let mut scene = Scene::new(case, &stage.gate, site, device, (coordinator, agent));
    scene.encoder = scene.site.encoder()?;
    pass(AT_REST)?;
    let boot = journal.steps()?;
    store.arm()?;
    scene.device.arm();
    let job = scene.encode(scene.site.credentials()[0])?;
    let attempt = scene.ended(job)?;
    pass(FOLDED)?;
    let reference = Reference {
        journal: journal.steps()?.split_off(boot.len()),
        boot,
        store: store.steps()?,
        bytes: scene.device.exchanged(),
    };
    next_jobs(&mut scene, &attempt)?;
    scene.stop()?;
    match judge::judge(&scene)?.violations.first() {
        None => Ok(reference),
        Some(first) => Err(HarnessError::Unreadable {
            what: "the undisturbed encode",
            reason: first.clone(),
        }),
    }
}

/// Plays one case.
pub(super) fn play(stage: &Stage, case: Case) -> Result<Played, HarnessError> {
    let folder = stage.folder.join(case.to_string());
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(HarnessError::system("an earlier run's folder"))?;
    }
    let site = Site::copy(&stage.template, folder)?;
    let (mut scene, phase) = match case.at {
        KillAt::Boot(_) => kill_starting_agent(stage, case, site)?,
        KillAt::Store(_) => kill_coordinator(stage, case, site)?,
        KillAt::Journal(_) | KillAt::ToDevice(_) | KillAt::ToAgent(_) => {
            kill_agent(stage, case, site)?
        }
    };
    let credential = scene.site.credentials()[0];
    let job = match under_way(&scene)? {
        Some(job) => {
            scene.asked(job, credential);
            job
        }
        None => scene.encode(credential)?,
    };
    let attempt = scene.ended(job)?;
    next_jobs(&mut scene, &attempt)?;
    scene.stop()?;
    let verdict = judge::judge(&scene)?;
    if verdict.violations.is_empty() {
        fs::remove_dir_all(&scene.site.folder)
            .map_err(HarnessError::system("removing the case's folder"))?;
    }
    Ok(Played { phase, verdict })
}

fn device() -> Result<Device, HarnessError> {
    Device::start(&cards())
}

/// The agent dies while it makes its journal; it is started again before anything is asked for.
fn kill_starting_agent<'a>(
    stage: &'a Stage,
    case: Case,
    site: Site,
) -> Result<(Scene<'a>, Phase), HarnessError> {
    let device = device()?;
    let coordinator = site.start_coordinator(None)?;
    let watch = Watch {
        kill: case.at.step(),
        ..site.watch_journal()
    };
    watch.arm()?;
    let agent = site.start_agent(&device.port, ONE_LOOK_MS, Some((&stage.shim, &watch)))?;
    let mut scene = Scene::new(case, &stage.gate, site, device, (coordinator, agent));
    agent_dies(&mut scene, Some(&watch))?;
    start_agent_again(&mut scene)?;
    scene.encoder = scene.site.encoder()?;
    Ok((scene, Phase::BeforeTheJob))
}

fn kill_agent<'a>(
    stage: &'a Stage,
    case: Case,
    site: Site,
) -> Result<(Scene<'a>, Phase), HarnessError> {
    let device = device()?;
    let coordinator = site.start_coordinator(None)?;
    let watch = Watch {
        kill: case.at.step(),
        ..site.watch_journal()
    };
    let watch = (case.disk != Disk::Kept || watch.kill.is_some()).then_some(watch);
    let watched = watch.as_ref().map(|watch| (&stage.shim, watch));
    let agent = site.start_agent(&device.port, ONE_LOOK_MS, watched)?;
    let mut scene = Scene::new(case, &stage.gate, site, device, (coordinator, agent));
    scene.encoder = scene.site.encoder()?;
    if let Some(watch) = &watch {
        stage.gate.aside(|| pass(AT_REST))?;
        watch.arm()?;
    }
    scene.device.arm();
    if let Some(at) = trapped(case.at) {
        let victim = scene.agent.id()?;
        scene.device.set(Trap { at, victim });
    }
    scene.encode(scene.site.credentials()[0])?;
    agent_dies(&mut scene, watch.as_ref())?;
    let job = under_way(&scene)?;
    let phase = phase::of_killed_agent(&scene, job)?;
    start_agent_again(&mut scene)?;
    Ok((scene, phase))
}

fn trapped(at: KillAt) -> Option<Exchanged> {
    match at {
        KillAt::ToDevice(to_device) => Some(Exchanged {
            to_device,
            to_agent: 0,
        }),
        KillAt::ToAgent(to_agent) => Some(Exchanged {
            to_device: 0,
            to_agent,
        }),
        KillAt::Boot(_) | KillAt::Journal(_) | KillAt::Store(_) => None,
    }
}

/// Waits for the kill, and lets the disk and the device lose what they lose with it.
fn agent_dies(scene: &mut Scene<'_>, watch: Option<&Watch>) -> Result<(), HarnessError> {
    let gate = scene.gate;
    let mut killed = || scene.agent.is_killed();
    let soon = until(SOON, &mut killed)?;
    if !soon && !gate.aside(|| until(REACHING, killed))? {
        return Err(HarnessError::NotReached);
    }
    scene.look_at_cards();
    if scene.case.disk != Disk::Kept {
        if let Some(watch) = watch {
            watch.lose(scene.case.disk)?;
        }
        scene.device.power_cycle();
    }
    scene.device.reconnect();
    Ok(())
}

fn start_agent_again(scene: &mut Scene<'_>) -> Result<(), HarnessError> {
    lay_next_card(scene);
    scene.agent = scene.site.start_agent(&scene.device.port, LOOKS_MS, None)?;
    Ok(())
}

fn lay_next_card(scene: &mut Scene<'_>) {
    let card = match scene.case.then {
        Then::Same => Some(scene.cards[0]),
        Then::Other => Some(scene.cards[1]),
        Then::None => None,
    };
    scene.lay(card);
}

fn kill_coordinator<'a>(
    stage: &'a Stage,
    case: Case,
    site: Site,
) -> Result<(Scene<'a>, Phase), HarnessError> {
    let device = device()?;
    let watch = Watch {
        kill: case.at.step(),
        ..site.watch_store()
    };
    let coordinator = site.start_coordinator(Some((&stage.shim, &watch)))?;
    let agent = site.start_agent(&device.port, LOOKS_MS, None)?;
    let mut scene = Scene::new(case, &stage.gate, site, device, (coordinator, agent));
    scene.encoder = scene.site.encoder()?;
    watch.arm()?;
    // The kill may come before the answer; what is left of the request shows in the store.
    let asked = scene.encode(scene.site.credentials()[0]).ok();
    let gate = scene.gate;
    let killed = gate.aside(|| until(REACHING, || scene.coordinator.is_killed()))?;
    if !killed {
        return Err(HarnessError::NotReached);
    }
    watch.lose(case.disk)?;
    lay_next_card(&mut scene);
    scene.coordinator = scene.site.start_coordinator(None)?;
    let job = under_way(&scene)?;
    if let Some(asked) = asked.filter(|asked| job != Some(*asked)) {
        scene.wrong(format!("job {asked} was answered and is not in the store"));
    }
    let phase = phase::at_killed_coordinator(&scene, job)?;
    Ok((scene, phase))
}

/// The encode that the store knows of; none where the kill came before it was stored.
fn under_way(scene: &Scene<'_>) -> Result<Option<JobId>, HarnessError> {
    let attempts = scene.site.api.attempts()?;
    attempts.first().map(job_of).transpose()
}

/// Lets time pass for what shows itself only by its absence.
fn pass(time: Duration) -> Result<(), HarnessError> {
    until(time, || Ok(false)).map(drop)
}
