//! `doctor`: everything between this PC's encoders and the coordinator, each part by itself, with what mends it.
//!
//! It changes nothing and may run beside the service: the service keeps its ports and its session.

mod acceptance;
mod finding;
#[cfg(target_os = "linux")]
mod hindrances;
mod server;
#[cfg(test)]
mod tests;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use encoder_protocols::wire::SOCKET_PATH;
use jiff::SignedDuration;

use super::{Exit, Output, SettingsArgs, check, devices, running};
use crate::{
    clock::Clock,
    config::{ConfigError, CoordinatorSettings, Settings, Unpaired},
    local::ClientError,
    session::{self, ConnectError, Hop, TlsProblem},
    status::{HealthState, Status, duration},
};
use devices::{Report, State as DeviceState};
pub(super) use finding::Finding;
use finding::{State, exit};

/// How far the clocks of PC and coordinator may be apart before it is worth a word. Times on cards are in minutes.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(60);

/// Look at everything between encoders and coordinator, and say what is wrong and what mends it; ends with 0 where all is
/// well, 1 where something should be looked at, 2 where something is broken
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Print one line of JSON for each finding
    #[arg(long)]
    json: bool,
    /// Instead, write, read back and restore a spare card on each encoder: the check for a real desk; needs the running agent and
    /// administrator rights
    #[arg(long)]
    acceptance: bool,
    #[command(flatten)]
    spare: acceptance::Spare,
}

/// Prints everything that it has found.
pub(super) fn doctor(args: &Args, output: &Output) -> Exit {
    let findings = match super::runtime() {
        Ok(runtime) if args.acceptance => {
            runtime.block_on(acceptance::accept(&args.settings, &args.spare, output))
        }
        Ok(runtime) => runtime.block_on(examine(&args.settings, output)),
        Err(error) => vec![Finding::new("system", State::Broken, error.to_string())],
    };
    for finding in &findings {
        if args.json {
            output.line(serde_json::to_string(finding).unwrap_or_default());
        } else {
            finding.lines().iter().for_each(|line| output.line(line));
        }
    }
    exit(&findings)
}

/// Looks at everything.
pub(super) async fn examine(args: &SettingsArgs, output: &Output) -> Vec<Finding> {
    examine_on(&System::default(), args, output).await
}

/// Where the system tells what else concerns its devices.
#[derive(Clone, Debug)]
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "nothing is told"))]
struct System {
    /// `/run/udev/data`, unless it lies elsewhere.
    udev: PathBuf,
    /// `/proc`, unless it lies elsewhere.
    processes: PathBuf,
}

impl Default for System {
    fn default() -> Self {
        Self {
            udev: "/run/udev/data".into(),
            processes: "/proc".into(),
        }
    }
}

#[cfg_attr(
    not(target_os = "linux"),
    allow(unused_variables, reason = "nothing is told")
)]
async fn examine_on(system: &System, args: &SettingsArgs, output: &Output) -> Vec<Finding> {
    let settings = match args.load() {
        Ok(settings) => settings,
        Err(error) => return vec![broken("configuration", error)],
    };
    let lacking = check::missing(&settings);
    if !lacking.is_empty() {
        return lacking.into_iter().map(of_lacking).collect();
    }
    let mut findings = of_this_pc(&settings);
    findings.extend(of_pairing(&settings));
    if let (Some(coordinator), Some(state_dir)) = (&settings.coordinator, &settings.state_dir) {
        findings.extend(of_the_road(coordinator, state_dir, Clock::start()).await);
    }
    let agent = running::status(args).await;
    findings.push(of_agent(&agent));
    findings.extend(agent.as_ref().ok().and_then(server::of));
    let reports = devices::look(&settings, false, agent.as_ref().ok(), output).await;
    findings.extend(of_encoders(&reports));
    #[cfg(target_os = "linux")]
    findings.extend(hindrances::of(&settings, system));
    findings
}

fn broken(part: &str, what: impl ToString) -> Finding {
    Finding::new(part, State::Broken, what.to_string())
}

/// A setting that `run` cannot do without, or the pairing.
fn of_lacking(error: ConfigError) -> Finding {
    match &error {
        ConfigError::Unpaired(unpaired) => {
            let url = match unpaired {
                Unpaired::WithAnother { listed, .. } => listed,
                Unpaired::Never | Unpaired::Unreadable(_) | Unpaired::Damaged(_) => "URL",
            };
            broken("pairing", &error).fixed_by(Some(pair_command(url)))
        }
        ConfigError::Unreadable { .. }
        | ConfigError::NotToml { .. }
        | ConfigError::UnknownKey { .. }
        | ConfigError::Missing { .. }
        | ConfigError::WrongType { .. }
        | ConfigError::BadValue { .. }
        | ConfigError::BadOverride
        | ConfigError::Layers { .. } => broken("configuration", error),
    }
}

/// What pairs this PC; the code is asked for.
fn pair_command(url: &str) -> String {
    if cfg!(windows) {
        format!("encoder-agent pair {url}")
    } else {
        format!("sudo encoder-agent pair {url}")
    }
}

/// Whom the agent is paired with, and whether that counts here; nothing where the token stands in the settings.
fn of_pairing(settings: &Settings) -> Option<Finding> {
    const PART: &str = "pairing";
    let coordinator = settings.coordinator.as_ref()?;
    let pairing = coordinator.pairing.as_ref()?;
    let url = pairing.url.to_string();
    if let Some(file) = check::of_another_machine(settings) {
        let what = format!(
            "{} was made on another machine: this disk was copied",
            file.display()
        );
        return Some(broken(PART, what).fixed_by(Some(pair_command(&url))));
    }
    if coordinator.accept_inspection {
        let what = format!(
            "paired with {url}, and coordinator.accept_inspection = true: a proxy that this pc trusts may read keys and token"
        );
        let fix = format!(
            "take accept_inspection out of {}, and have the proxy leave {} alone",
            settings.file.display(),
            coordinator.url.host()
        );
        return Some(Finding::new(PART, State::Warning, what).fixed_by(Some(fix)));
    }
    let what = format!(
        "paired with {url} as agent {} of \"{}\"",
        pairing.agent_id, pairing.system_name
    );
    Some(Finding::new(PART, State::Good, what))
}

/// Configuration, state directory, journal, token, certificates.
fn of_this_pc(settings: &Settings) -> Vec<Finding> {
    let problems = check::of_state_and_trust(settings);
    if problems.is_empty() {
        let file = settings.file.display();
        let what = format!("{file}: settings, state directory, journal and token can be used");
        return vec![Finding::new("this pc", State::Good, what)];
    }
    let problems = problems.into_iter();
    problems.map(|problem| broken("this pc", problem)).collect()
}

/// Every hop to the coordinator, and its clock.
async fn of_the_road(
    coordinator: &CoordinatorSettings,
    state_dir: &Path,
    clock: Clock,
) -> Vec<Finding> {
    let road = match session::walk(coordinator, state_dir, || clock.utc()).await {
        Ok(road) => road,
        Err(error) => return vec![broken(Hop::Encryption.name(), error)],
    };
    let mut findings: Vec<_> = road.hops.iter().map(of_hop).collect();
    let is_walked = |hop: &Hop| road.hops.iter().any(|walked| walked.hop == *hop);
    let is_there = |hop: &Hop| *hop != Hop::Proxy || coordinator.proxy.is_some();
    let left = Hop::ALL.iter();
    let left = left.filter(|hop| is_there(hop) && !is_walked(hop));
    findings.extend(left.map(|hop| Finding::new(hop.name(), State::Skipped, "not reached")));
    findings.extend(road.ahead.map(of_clocks));
    findings
}

fn of_hop(walked: &session::Walked) -> Finding {
    match &walked.seen {
        Ok(seen) => Finding::new(walked.hop.name(), State::Good, seen),
        Err(error) => broken(walked.hop.name(), error).fixed_by(fix(error)),
    }
}

/// The command that mends it, where pairing again does.
fn fix(error: &ConnectError) -> Option<String> {
    let ConnectError::Tls {
        url,
        problem: TlsProblem::NotPinned { .. },
    } = error
    else {
        return None;
    };
    Some(pair_command(url.strip_suffix(SOCKET_PATH).unwrap_or(url)))
}

/// The coordinator's clock decides what is too late, so a wrong one here costs nothing but confusion in the logs.
fn of_clocks(ahead: SignedDuration) -> Finding {
    let apart = ahead.unsigned_abs();
    if apart <= CLOCK_TOLERANCE {
        let what = "this pc's clock and the coordinator's agree";
        return Finding::new("clock", State::Good, what);
    }
    let word = if ahead.is_positive() {
        "behind"
    } else {
        "ahead of"
    };
    let what = format!(
        "this pc's clock is {} s {word} the coordinator's",
        apart.as_secs()
    );
    let fix = if cfg!(windows) {
        "w32tm /resync"
    } else {
        "sudo timedatectl set-ntp true"
    };
    Finding::new("clock", State::Warning, what).fixed_by(Some(fix))
}

/// The running agent, as it sees itself.
fn of_agent(agent: &Result<Status, ClientError>) -> Finding {
    let status = match agent {
        Ok(status) => status,
        Err(error @ ClientError::NotRunning(_)) => {
            return Finding::new("agent", State::Skipped, error.to_string());
        }
        Err(
            error @ (ClientError::NotPermitted(_)
            | ClientError::HungUp
            | ClientError::Garbled
            | ClientError::Silent
            | ClientError::Refused(_)),
        ) => return Finding::new("agent", State::Warning, error.to_string()),
    };
    let running = duration(Duration::from_secs(status.agent.uptime_s));
    let version = &status.agent.version;
    if status.health.state == HealthState::Ok {
        let what = format!("version {version} runs for {running}, and all is well");
        return Finding::new("agent", State::Good, what);
    }
    let problems = status.health.problems.join("; ");
    let what = format!("version {version} runs for {running}, and reports: {problems}");
    Finding::new("agent", State::Warning, what)
}

/// Every device that is an encoder or may be one.
fn of_encoders(reports: &[Report]) -> Vec<Finding> {
    let mut findings: Vec<_> = reports.iter().filter_map(of_encoder).collect();
    let counts = |finding: &Finding| finding.state != State::Skipped;
    if !findings.iter().any(counts) {
        let what = "no encoder answers";
        let fix = "plug one in; `encoder-agent devices` tells of every device why it is none";
        findings.push(Finding::new("encoder", State::Warning, what).fixed_by(Some(fix)));
    }
    findings
}

fn of_encoder(report: &Report) -> Option<Finding> {
    let name = report.name.as_ref().unwrap_or(&report.port);
    let is_the_agents = report
        .held_by
        .as_ref()
        .is_some_and(|holder| holder.starts_with("encoder-agent"));
    let (state, what) = match report.state {
        DeviceState::NoEncoder | DeviceState::NoAnswer | DeviceState::WouldBeOpened => return None,
        DeviceState::Ready => {
            let facts = [&report.model, &report.firmware].into_iter().flatten();
            let facts: Vec<_> = facts.map(String::as_str).collect();
            let whom = if report.held_by.is_some() {
                " the running agent"
            } else {
                ""
            };
            let facts = facts.join(", ");
            (State::Good, format!("{name} answers{whom}: {facts}"))
        }
        DeviceState::InUse if is_the_agents => {
            let what = format!("{name}: the agent runs and has it");
            return Some(Finding::new("encoder", State::Good, what));
        }
        DeviceState::LeftAlone => {
            let why = report.why.as_deref().unwrap_or_default();
            (
                State::Skipped,
                format!("{name} may be an encoder and is left alone: {why}"),
            )
        }
        DeviceState::InUse | DeviceState::Fault | DeviceState::NotPermitted => {
            let state = if report.problem.is_some() {
                State::Broken
            } else {
                State::Warning
            };
            let problem = report.problem.as_deref().unwrap_or("it may not be opened");
            (state, format!("{name}: {problem}"))
        }
    };
    Some(Finding::new("encoder", state, what).fixed_by(report.fix.clone()))
}
