//! The status for people.

use std::time::Duration;

use encoder_protocols::wire::JobKind;

use super::{EncoderStatus, SessionState, Status};

/// The status, line by line.
pub fn lines(status: &Status) -> Vec<String> {
    let mut lines = vec![format!("health       {}", status.health.state.as_str())];
    lines.extend(
        status
            .health
            .problems
            .iter()
            .map(|problem| format!("             {problem}")),
    );
    let agent = &status.agent;
    lines.push(format!(
        "agent        {} on {} ({}), running for {}, process {}",
        agent.version,
        agent.hostname,
        agent.os,
        duration(Duration::from_secs(agent.uptime_s)),
        agent.process_id
    ));
    lines.extend(of_config(status));
    lines.extend(of_coordinator(status));
    lines.extend(of_journal(status));
    lines.extend(of_jobs(status));
    for encoder in &status.encoders {
        lines.extend(of_encoder(encoder));
    }
    lines
}

/// A time as people say it: its two largest units.
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

fn of_config(status: &Status) -> Vec<String> {
    let config = &status.config;
    let mut lines = vec![format!(
        "settings     {}, read {}",
        config.file.display(),
        config.read_at
    )];
    let later = config.after_restart.join(", ");
    if !later.is_empty() {
        lines.push(format!(
            "             changed, and in use only after a restart: {later}"
        ));
    }
    lines
}

fn of_coordinator(status: &Status) -> Vec<String> {
    let coordinator = &status.coordinator;
    let state = match coordinator.state {
        SessionState::Connecting => "connecting",
        SessionState::Connected => "connected",
        SessionState::Waiting => "not connected, waiting for the next attempt,",
    };
    let mut lines = vec![format!(
        "coordinator  {}: {state} since {}",
        coordinator.url, coordinator.since
    )];
    if let Some(proxy) = &coordinator.proxy {
        lines.push(format!("             through the proxy {proxy}"));
    }
    lines.push(format!("token        {}", coordinator.token));
    if let Some(told) = &coordinator.last_problem {
        lines.push(format!(
            "             last problem, {}: {}",
            told.at, told.text
        ));
    }
    lines
}

fn of_journal(status: &Status) -> Vec<String> {
    let journal = &status.journal;
    let state = if journal.problem.is_none() {
        "writable"
    } else {
        "cannot be written"
    };
    let free = journal
        .free_bytes
        .map(|free| format!(", {} MiB free", free / (1024 * 1024)))
        .unwrap_or_default();
    vec![format!(
        "journal      {}: {state}{free}, {} open jobs, {} outcomes not acknowledged",
        journal.state_dir.display(),
        journal.open_jobs,
        journal.owed_outcomes
    )]
}

fn of_jobs(status: &Status) -> Vec<String> {
    let jobs = &status.jobs;
    let mut lines = vec![format!(
        "jobs         since the start {} encodes and {} scans succeeded, {} and {} failed",
        jobs.encodes.succeeded, jobs.scans.succeeded, jobs.encodes.failed, jobs.scans.failed
    )];
    if let Some(last) = &jobs.last_error {
        lines.push(format!(
            "             last error, {}: {} of {} on {}",
            last.at,
            last.code.as_str(),
            last.job_id,
            last.encoder_key
        ));
    }
    lines
}

fn of_encoder(encoder: &EncoderStatus) -> Vec<String> {
    let facts = [&encoder.model, &encoder.serial, &encoder.firmware];
    let facts: Vec<_> = facts.into_iter().flatten().map(String::as_str).collect();
    let mut lines = vec![format!(
        "encoder      {}: {}{}",
        encoder.name,
        encoder.state.as_str(),
        if encoder.adopted { "" } else { ", not adopted" },
    )];
    lines.push(format!(
        "             {} at {}, key {}{}{}",
        encoder.driver,
        encoder.port.display(),
        encoder.key,
        if facts.is_empty() { "" } else { ": " },
        facts.join(", ")
    ));
    if let Some(problem) = &encoder.problem {
        lines.push(format!("             {problem}"));
    }
    if let Some(job) = &encoder.job {
        let kind = match job.kind {
            JobKind::Encode => "encode",
            JobKind::Scan => "scan",
        };
        let waits = job
            .waits_for
            .as_ref()
            .map(|what| format!(", waits for {what}"))
            .unwrap_or_default();
        let behind = match encoder.waiting {
            0 => String::new(),
            waiting => format!("; {waiting} behind it"),
        };
        lines.push(format!(
            "             {kind} {}, {} old: {}{waits}{behind}",
            job.job_id,
            duration(Duration::from_secs(job.age_s)),
            job.stage.as_str()
        ));
    }
    lines
}
