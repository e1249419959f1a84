//! The status as metrics, in the text format of Prometheus (exposition format 0.0.4).

use std::fmt::Write as _;

use super::{Counts, HealthState, SessionState, Status};

/// All metrics of a status.
pub fn metrics(status: &Status) -> String {
    let mut text = Text(String::new());
    of_agent(&mut text, status);
    of_journal(&mut text, status);
    of_encoders(&mut text, status);
    of_jobs(&mut text, status);
    text.0
}

fn of_agent(text: &mut Text, status: &Status) {
    text.family("info", "gauge", "The agent's version.");
    text.sample("info", &[("version", &status.agent.version)], 1.0);
    text.family("uptime_seconds", "gauge", "Time since the start.");
    text.sample("uptime_seconds", &[], whole(status.agent.uptime_s));
    text.family("healthy", "gauge", "1 where everything works, 0.5 where something should be looked at, 0 where no key can be encoded.");
    let healthy = match status.health.state {
        HealthState::Ok => 1.0,
        HealthState::Degraded => 0.5,
        HealthState::Down => 0.0,
    };
    text.sample("healthy", &[], healthy);
    text.family(
        "config_refused",
        "gauge",
        "Whether changed settings are not used because something is wrong with them.",
    );
    text.sample("config_refused", &[], flag(status.config.refused.is_some()));
    text.family(
        "coordinator_connected",
        "gauge",
        "Whether the session with the coordinator stands.",
    );
    let connected = status.coordinator.state == SessionState::Connected;
    text.sample("coordinator_connected", &[], flag(connected));
    text.family(
        "coordinator_sessions_total",
        "counter",
        "Sessions that have stood since the start.",
    );
    text.sample(
        "coordinator_sessions_total",
        &[],
        whole(status.coordinator.sessions),
    );
}

fn of_journal(text: &mut Text, status: &Status) {
    let journal = &status.journal;
    text.family(
        "journal_writable",
        "gauge",
        "Whether the journal can be written.",
    );
    text.sample("journal_writable", &[], flag(journal.problem.is_none()));
    text.family("journal_open_jobs", "gauge", "Jobs without an outcome.");
    text.sample("journal_open_jobs", &[], count(journal.open_jobs));
    text.family(
        "journal_owed_outcomes",
        "gauge",
        "Outcomes that the coordinator has not acknowledged.",
    );
    text.sample("journal_owed_outcomes", &[], count(journal.owed_outcomes));
    if let Some(free) = journal.free_bytes {
        text.family(
            "journal_free_bytes",
            "gauge",
            "Free room on the journal's file system.",
        );
        text.sample("journal_free_bytes", &[], whole(free));
    }
}

fn of_encoders(text: &mut Text, status: &Status) {
    text.family("encoder_up", "gauge", "Whether the encoder answers.");
    for encoder in &status.encoders {
        let labels = [
            ("key", encoder.key.0.as_str()),
            ("name", encoder.name.as_str()),
            ("driver", encoder.driver.as_str()),
        ];
        text.sample("encoder_up", &labels, flag(encoder.state.answers()));
    }
    text.family(
        "encoder_jobs",
        "gauge",
        "Jobs on the encoder, the running one among them.",
    );
    for encoder in &status.encoders {
        let jobs = encoder.waiting + usize::from(encoder.job.is_some());
        text.sample("encoder_jobs", &[("key", &encoder.key.0)], count(jobs));
    }
}

fn of_jobs(text: &mut Text, status: &Status) {
    let kinds = [
        ("encode", &status.jobs.encodes),
        ("scan", &status.jobs.scans),
    ];
    text.family(
        "jobs_total",
        "counter",
        "Jobs that have ended since the start.",
    );
    for (
        kind,
        Counts {
            succeeded, failed, ..
        },
    ) in kinds
    {
        for (outcome, number) in [("success", succeeded), ("error", failed)] {
            text.sample(
                "jobs_total",
                &[("kind", kind), ("outcome", outcome)],
                whole(*number),
            );
        }
    }
    text.family(
        "job_seconds_total",
        "counter",
        "Time that ended jobs spent in each stage.",
    );
    for (kind, counts) in kinds {
        for (stage, seconds) in counts.seconds.named() {
            text.sample(
                "job_seconds_total",
                &[("kind", kind), ("stage", stage)],
                seconds,
            );
        }
    }
}

/// What every name begins with.
const PREFIX: &str = "encoder_agent_";

struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a text fails never.
        let _ = writeln!(
            self.0,
            "# HELP {PREFIX}{name} {help}\n# TYPE {PREFIX}{name} {kind}"
        );
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let labels: Vec<_> = labels
            .iter()
            .map(|(label, value)| format!("{label}=\"{}\"", escaped(value)))
            .collect();
        let labels = if labels.is_empty() {
            String::new()
        } else {
            format!("{{{}}}", labels.join(","))
        };
        let _ = writeln!(self.0, "{PREFIX}{name}{labels} {value}");
    }
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

fn flag(holds: bool) -> f64 {
    f64::from(u8::from(holds))
}

/// Counts are far below where a float begins to round.
#[allow(clippy::cast_precision_loss)]
fn whole(number: u64) -> f64 {
    number as f64
}

fn count(number: usize) -> f64 {
    whole(u64::try_from(number).unwrap_or(u64::MAX))
}
