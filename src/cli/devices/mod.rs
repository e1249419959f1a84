//! `devices`: the encoders of this PC, and every device that is or might be one. Needs no coordinator.

mod dry_run;
mod report;
#[cfg(test)]
mod tests;

use std::{path::Path, time::Duration};

use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

#[cfg(target_os = "linux")]
pub(super) use self::report::{PACKAGED_RULES, RELOAD_RULES, release};
pub(super) use self::report::{Report, State};
use super::{
    Exit, Output, SettingsArgs,
    found::{allowed, opened_by},
    running,
};
use crate::{
    clock::Clock,
    config::Settings,
    discovery::{
        Access, Candidate, Lister, Match, Verdict,
        identity::{by_place, display_name},
    },
    drivers::{self, Driver, EncoderError},
    encoder::{EncoderIdentity, EncoderSettings},
    platform,
    status::{EncoderState, EncoderStatus, Status},
    transport::{Opener, same_node},
};

/// How long one encoder may take to answer.
const PATIENCE: Duration = Duration::from_secs(8);

/// List the encoders of this PC, what they say of themselves, every other serial and HID device with why it is none, and
/// what to do about those that do not work
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Print one line of JSON for each device
    #[arg(long)]
    json: bool,
    /// Open nothing, and print what would be sent where
    #[arg(long)]
    dry_run: bool,
}

/// Asks all encoders at the same time and prints them in the order of the configuration, then what else is attached.
pub(super) fn devices(args: &Args, output: &Output) -> Exit {
    let settings = match args.settings.load() {
        Ok(settings) => settings,
        Err(error) => {
            output.complain(error);
            return Exit::Unusable;
        }
    };
    if let Err(error) = settings.require_encoders() {
        output.complain(error);
        return Exit::Unusable;
    }
    let runtime = match super::runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            output.complain(error);
            return Exit::Failed;
        }
    };
    let reports = runtime.block_on(async {
        let agent = running::status(&args.settings).await.ok();
        look(&settings, args.dry_run, agent.as_ref(), output).await
    });
    for report in &reports {
        if args.json {
            output.line(serde_json::to_string(report).unwrap_or_default());
        } else {
            report.lines().iter().for_each(|line| output.line(line));
        }
    }
    if reports.iter().any(|report| report.problem.is_some()) {
        Exit::Failed
    } else {
        Exit::Done
    }
}

/// Looks at every device; those that the running agent has are told as it knows them.
pub(super) async fn look(
    settings: &Settings,
    dry_run: bool,
    agent: Option<&Status>,
    output: &Output,
) -> Vec<Report> {
    let lister = Lister::system(&settings.discovery);
    let candidates = if settings.discovery.enabled {
        lister.list().unwrap_or_else(|error| {
            output.complain(format!(
                "the system does not tell what is attached: {error}"
            ));
            Vec::new()
        })
    } else {
        Vec::new()
    };
    let configured = settings.encoders.iter();
    let configured = join_all(configured.map(|encoder| async {
        let known = candidates.iter();
        let candidate = known
            .clone()
            .find(|other| same_node(&encoder.port, &other.port));
        let mut report = Report::configured(encoder, candidate);
        let held = holds(agent, &encoder.port);
        if dry_run {
            report.state = State::WouldBeOpened;
            report.would_send = dry_run::first_words(std::slice::from_ref(encoder)).await;
        } else if let Some(held) = held {
            report.take_agents(held);
        } else {
            report.take_answer(&ask(encoder).await);
        }
        report
    }))
    .await;
    let others = candidates.iter().filter(|candidate| {
        let mut listed = settings.encoders.iter();
        !listed.any(|encoder| same_node(&encoder.port, &candidate.port))
    });
    let others = others.map(|candidate| found(candidate, settings, dry_run, agent));
    let others = join_all(others).await;
    let missing = settings.discovery.missing(&candidates).map(Report::missing);
    configured
        .into_iter()
        .chain(others)
        .chain(missing)
        .collect()
}

/// What is attached and not configured: asked where the agent would ask it too.
async fn found(
    candidate: &Candidate,
    settings: &Settings,
    dry_run: bool,
    agent: Option<&Status>,
) -> Report {
    let matched = Match::of(candidate);
    let mut report = Report::found(candidate, &matched);
    if let Some(held) = holds(agent, &candidate.port).filter(|_| !dry_run) {
        report.take_agents(held);
        return report;
    }
    let listed = settings.discovery.listed_as(candidate);
    if let Some(listed) = listed {
        report.list(listed);
    }
    let allowed = allowed(candidate, &matched, settings);
    let drivers: Vec<&'static dyn Driver> = match &matched.verdict {
        Verdict::Exact(_) | Verdict::Possible(_) | Verdict::Foreign if listed.is_some() => {
            allowed.clone()
        }
        Verdict::Exact(driver) => vec![*driver],
        Verdict::Possible(drivers) => drivers.clone(),
        Verdict::Foreign => return report,
    };
    let is_exact = listed.is_some() || matches!(matched.verdict, Verdict::Exact(_));
    if dry_run {
        let wanted: Vec<_> = drivers
            .iter()
            .map(|driver| opened_by(candidate, *driver, settings))
            .collect();
        report.would_send = dry_run::first_words(&wanted).await;
    }
    if allowed.is_empty() {
        report.leave_alone(candidate);
        return report;
    }
    if candidate.access != Access::Permitted {
        report.not_permitted(candidate, is_exact);
        return report;
    }
    if dry_run {
        report.state = State::WouldBeOpened;
        return report;
    }
    for driver in allowed {
        let answer = ask(&opened_by(candidate, driver, settings)).await;
        let is_last = !matches!(
            answer,
            Err(EncoderError::Silent { .. }
                | EncoderError::WrongDevice { .. }
                | EncoderError::Garbled { .. })
        );
        if let Ok(identity) = &answer {
            report.recognise(driver.name(), candidate, identity, settings);
        }
        if is_exact || is_last {
            report.take_answer(&answer);
            return report;
        }
        report.no_answer(driver.name(), &answer);
    }
    report
}

/// The encoder at this port, where the running agent has it.
fn holds<'a>(agent: Option<&'a Status>, port: &Path) -> Option<&'a EncoderStatus> {
    let mut encoders = agent?.encoders.iter();
    encoders.find(|encoder| encoder.state != EncoderState::Absent && same_node(&encoder.port, port))
}

impl Report {
    /// Takes the name and key that the agent gives a device which answered.
    fn recognise(
        &mut self,
        driver: &str,
        candidate: &Candidate,
        identity: &EncoderIdentity,
        settings: &Settings,
    ) {
        let discovery = &settings.discovery;
        let recognition = discovery
            .number_of(candidate, driver, identity)
            .unwrap_or_else(|| by_place(candidate));
        let listed = discovery.listed(&recognition.key);
        match listed.filter(|listed| listed.driver == driver) {
            Some(listed) => self.list(listed),
            None => {
                self.key = Some(recognition.key.0);
                self.name = Some(display_name(&platform::host_name(), identity, driver));
                self.driver = Some(driver.to_owned());
            }
        }
    }
}

async fn ask(settings: &EncoderSettings) -> Result<EncoderIdentity, EncoderError> {
    let cancel = CancellationToken::new();
    let opening = async {
        let opener = Opener::system();
        let encoder = drivers::open(&opener, settings, Clock::start(), &cancel).await?;
        let identity = encoder.identity();
        encoder.close().await;
        Ok(identity)
    };
    let patience = async {
        tokio::time::sleep(PATIENCE).await;
        cancel.cancel();
        std::future::pending().await
    };
    tokio::select! {
        answer = opening => answer,
        never = patience => never,
    }
}
