//! Trying devices: who was asked, what came of it, and when to ask again.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use encoder_protocols::moment::Moment;
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    discovery::{Access, Candidate, Match},
    drivers::{Driver, Encoder, EncoderError},
    encoder::{EncoderSettings, closed::Closed},
    transport::{Opener, PortError, PortSettings},
};

/// How long one driver may take to bring its device up.
const PATIENCE: Duration = Duration::from_secs(8);

/// The pauses between attempts with a device that is surely of a family.
const PAUSES_EXACT: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(10),
];

/// The pauses between questions to a device that only may be of one: it may have been asleep at first, and should not be
/// molested for ever.
const PAUSES_POSSIBLE: [Duration; 4] = [
    Duration::from_secs(2),
    Duration::from_secs(15),
    Duration::from_secs(60),
    Duration::from_secs(300),
];

/// The pause after an attempt that ended before a byte was sent.
const PAUSE_UNOPENED: Duration = Duration::from_secs(2);

/// A device that answered a driver.
pub(super) struct Answered {
    pub(super) candidate: Candidate,
    pub(super) driver: &'static dyn Driver,
    pub(super) encoder: Box<dyn Encoder>,
}

/// What came of trying a device.
pub(super) enum Tried {
    Answered(Box<Answered>),
    Failed {
        candidate: Box<Candidate>,
        failures: Vec<(&'static str, EncoderError)>,
    },
}

/// A driver, and how it opens its port.
pub(super) type Way = (&'static dyn Driver, PortSettings);

/// How a driver opens a device's port; the configuration may have said so.
pub(super) fn way(
    candidate: &Candidate,
    driver: &'static dyn Driver,
    listed: Option<&EncoderSettings>,
) -> Way {
    let port = PortSettings {
        path: candidate.port.clone(),
        baud: listed
            .and_then(|listed| listed.baud)
            .unwrap_or(driver.baud()),
        dtr: listed.and_then(|listed| listed.dtr),
        rts: listed.and_then(|listed| listed.rts),
    };
    (driver, port)
}

/// Asks the device behind a port in the way of each driver, one after the other, until one is answered.
pub(super) async fn try_drivers(
    candidate: Candidate,
    ways: Vec<Way>,
    opener: Opener,
    clock: Clock,
    stop: CancellationToken,
) -> Tried {
    let mut failures = Vec::new();
    for way in ways {
        let driver = way.0;
        let asked = ask(way, &opener, clock, stop.child_token()).await;
        match asked {
            Ok(encoder) => {
                return Tried::Answered(Box::new(Answered {
                    candidate,
                    driver,
                    encoder,
                }));
            }
            Err(error) => {
                let is_over = matches!(error, EncoderError::Port(_)) || stop.is_cancelled();
                failures.push((driver.name(), error));
                if is_over {
                    break;
                }
            }
        }
    }
    Tried::Failed {
        candidate: Box::new(candidate),
        failures,
    }
}

async fn ask(
    (driver, wanted): Way,
    opener: &Opener,
    clock: Clock,
    cancel: CancellationToken,
) -> Result<Box<dyn Encoder>, EncoderError> {
    let starting = async {
        let port = opener.open(wanted).await?;
        driver.start(port, clock, &cancel).await
    };
    let patience = async {
        tokio::time::sleep(PATIENCE).await;
        cancel.cancel();
        std::future::pending().await
    };
    tokio::select! {
        started = starting => started,
        never = patience => never,
    }
}

/// What is known of devices that are no encoders of the fleet, by their instance.
#[derive(Default)]
pub(super) struct Trials {
    of: BTreeMap<String, Trial>,
}

#[derive(Default)]
struct Trial {
    is_exact: bool,
    is_running: bool,
    attempts: usize,
    /// When to try again, where nothing but time is waited for.
    next: Option<Moment>,
    closed: Closed,
    problem: Option<String>,
    conflict: Option<String>,
    /// What the log said last.
    logged: Option<String>,
}

impl Trials {
    /// Forgets devices that are not there any more.
    pub(super) fn retain(&mut self, is_present: impl Fn(&str) -> bool) {
        self.of
            .retain(|instance, trial| trial.is_running || is_present(instance));
    }

    /// Whether the device is to be tried now; one that was closed and is so no more at once.
    pub(super) fn is_due(&self, candidate: &Candidate, now: Moment) -> bool {
        self.of.get(&candidate.instance).is_none_or(|trial| {
            let is_opened = trial.closed.is_closed() && candidate.access == Access::Permitted;
            !trial.is_running && (is_opened || trial.next.is_none_or(|next| next <= now))
        })
    }

    /// When the next device is to be tried again.
    pub(super) fn next_due(&self) -> Option<Moment> {
        self.of.values().filter_map(|trial| trial.next).min()
    }

    pub(super) fn begin(&mut self, instance: &str, is_exact: bool) {
        let trial = self.of.entry(instance.to_owned()).or_default();
        trial.is_exact = is_exact;
        trial.is_running = true;
        trial.next = None;
    }

    /// Notes that nobody may be tried; said once in the log.
    pub(super) fn pass_over(&mut self, candidate: &Candidate, found: &Match) {
        let trial = self.of.entry(candidate.instance.clone()).or_default();
        if trial.logged.as_ref() != Some(&found.why) {
            let port = candidate.port.display();
            tracing::debug!(%port, why = %found.why, "a device is left alone");
            trial.logged = Some(found.why.clone());
        }
    }

    /// Notes that a device may not be opened; told once it stays so.
    pub(super) fn not_permitted(
        &mut self,
        now: Moment,
        candidate: &Candidate,
        group: Option<String>,
        is_exact: bool,
    ) {
        let error = PortError::NotPermitted {
            path: candidate.port.clone(),
            group,
        };
        let trial = self.of.entry(candidate.instance.clone()).or_default();
        trial.is_exact = is_exact;
        trial.next = trial.closed.note(now);
        if trial.next.is_none() {
            trial.tell(error.to_string());
        }
    }

    pub(super) fn answered(&mut self, instance: &str) {
        if let Some(trial) = self.of.get_mut(instance) {
            *trial = Trial::default();
        }
    }

    /// Notes what is wrong with a device that works all the same.
    pub(super) fn conflict(&mut self, instance: &str, conflict: Option<String>) {
        let trial = self.of.entry(instance.to_owned()).or_default();
        if let Some(conflict) = &conflict {
            tracing::warn!("{conflict}");
        }
        trial.conflict = conflict;
    }

    pub(super) fn failed(
        &mut self,
        now: Moment,
        candidate: &Candidate,
        failures: &[(&'static str, EncoderError)],
    ) {
        let Some(trial) = self.of.get_mut(&candidate.instance) else {
            return;
        };
        trial.is_running = false;
        if let Some(group) = closed_to(failures) {
            let is_exact = trial.is_exact;
            return self.not_permitted(now, candidate, group, is_exact);
        }
        trial.closed.end();
        let is_unopened = failures
            .iter()
            .any(|(_, error)| matches!(error, EncoderError::Port(_)));
        let pauses = if trial.is_exact {
            PAUSES_EXACT
        } else {
            PAUSES_POSSIBLE
        };
        let pause = if is_unopened {
            PAUSE_UNOPENED
        } else {
            let pause = pauses.get(trial.attempts).or(pauses.last());
            trial.attempts += 1;
            pause.copied().unwrap_or(PAUSE_UNOPENED)
        };
        trial.next = Some(now + pause);
        let mut problem = String::new();
        for (driver, error) in failures {
            let separator = if problem.is_empty() { "" } else { "; " };
            let _ = write!(problem, "{separator}{driver}: {error}");
        }
        trial.tell(format!("{}: {problem}", candidate.port.display()));
    }

    /// What people should know: encoders that do not work, and ports that may not be opened. A device that only might have
    /// been an encoder and is none is nobody's problem.
    pub(super) fn problems(&self) -> Vec<String> {
        let of_trials = self.of.values().flat_map(|trial| {
            let problem = trial.problem.iter().filter(|_| trial.is_exact);
            problem.chain(&trial.conflict)
        });
        of_trials.cloned().collect()
    }
}

/// The group that a port belongs to which could not be opened for want of permission.
fn closed_to(failures: &[(&'static str, EncoderError)]) -> Option<Option<String>> {
    failures.iter().find_map(|(_, error)| {
        let EncoderError::Port(PortError::NotPermitted { group, .. }) = error else {
            return None;
        };
        Some(group.clone())
    })
}

impl Trial {
    fn tell(&mut self, problem: String) {
        if self.logged.as_ref() != Some(&problem) {
            if self.is_exact {
                tracing::warn!("{problem}");
            } else {
                tracing::info!("{problem}");
            }
            self.logged = Some(problem.clone());
        }
        self.problem = Some(problem);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{encoder::closed::UDEV_WITHIN, transport::PortKind};

    const GROUP: &str = "dialout";

    fn candidate() -> Candidate {
        Candidate {
            port: "/dev/hidraw0".into(),
            kind: PortKind::Hid,
            usb: None,
            reports: None,
            socket: None,
            instance: "1".to_owned(),
            access: Access::NotPermitted {
                group: Some(GROUP.to_owned()),
            },
        }
    }

    fn not_permitted() -> [(&'static str, EncoderError); 1] {
        let error = PortError::NotPermitted {
            path: "/dev/hidraw0".into(),
            group: Some(GROUP.to_owned()),
        };
        [("msr605", EncoderError::Port(error))]
    }

    #[test]
    fn a_closed_device_is_told_only_when_udev_had_its_time() {
        let mut trials = Trials::default();
        let plugged = Moment::ORIGIN + Duration::from_secs(60);
        for (after, told) in [(0, 0), (1, 0), (2, 1), (3, 1)] {
            let now = plugged + Duration::from_secs(after);
            trials.not_permitted(now, &candidate(), Some(GROUP.to_owned()), true);
            assert_eq!(trials.problems().len(), told, "after {after} s");
        }
        trials.begin("1", true);
        trials.answered("1");
        assert_eq!(trials.problems(), Vec::<String>::new());
        let later = plugged + Duration::from_secs(9);
        trials.not_permitted(later, &candidate(), Some(GROUP.to_owned()), true);
        assert_eq!(trials.next_due(), Some(later + UDEV_WITHIN));
        assert_eq!(trials.problems(), Vec::<String>::new());
    }

    #[test]
    fn a_device_that_udev_has_opened_is_tried_at_once() {
        let mut trials = Trials::default();
        let now = Moment::ORIGIN + Duration::from_secs(60);
        trials.not_permitted(now, &candidate(), Some(GROUP.to_owned()), true);
        let soon = now + Duration::from_millis(40);
        assert!(!trials.is_due(&candidate(), soon));
        let opened = Candidate {
            access: Access::Permitted,
            ..candidate()
        };
        assert!(trials.is_due(&opened, soon));
    }

    #[test]
    fn a_device_that_closes_between_the_look_and_the_opening_has_the_same_time() {
        let mut trials = Trials::default();
        let mut now = Moment::ORIGIN + Duration::from_secs(60);
        for told in [0, 0, 1, 1] {
            trials.begin("1", true);
            trials.failed(now, &candidate(), &not_permitted());
            assert_eq!(trials.problems().len(), told, "{now:?}");
            now = now + UDEV_WITHIN / 2;
        }
        // Opened, and then silent: another matter.
        trials.begin("1", true);
        let silent = EncoderError::Silent {
            device: "MSR encoder",
            waited_ms: 500,
        };
        trials.failed(now, &candidate(), &[("msr605", silent)]);
        trials.begin("1", true);
        trials.failed(now, &candidate(), &not_permitted());
        assert_eq!(trials.next_due(), Some(now + UDEV_WITHIN));
    }
}
