//! `support`: everything that whoever helps must know, in one text file without secrets.

mod redaction;
#[cfg(test)]
mod tests;

use std::{
    fmt::Write as _,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use jiff::Timestamp;

use self::redaction::Redaction;
use super::{Exit, Output, SettingsArgs, devices, doctor, running};
use crate::{
    clock::Clock,
    config::{Settings, shown},
    platform,
    status::Status,
};

/// How many lines of the log are taken along.
#[cfg(not(windows))]
const LOG_LINES: &str = "2000";

/// The most of a log file that is taken along, in bytes.
const MOST_OF_A_LOG: usize = 512 * 1024;

/// Gather version, settings, status, findings, devices and log into one text file, without tokens and passwords, for whoever helps
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    settings: SettingsArgs,
    /// The file to write, which must not be there yet; `-` for standard output
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Writes the bundle and prints its name.
pub(super) fn support(args: &Args, output: &Output) -> Exit {
    let now = Clock::start().utc();
    let runtime = match super::runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            output.complain(error);
            return Exit::Failed;
        }
    };
    let bundle = runtime.block_on(gather(&args.settings, now, output));
    let file = args.file.clone().unwrap_or_else(|| {
        let stamp = now.strftime("%Y%m%dT%H%M%SZ");
        PathBuf::from(format!("encoder-agent-support-{stamp}.txt"))
    });
    if file == Path::new("-") {
        output.line(bundle);
        return Exit::Done;
    }
    match write_private(&file, &bundle) {
        Ok(()) => {
            output.line(file.display());
            Exit::Done
        }
        Err(error) => {
            output.complain(format!("cannot write {}: {error}", file.display()));
            Exit::Failed
        }
    }
}

/// All of it, redacted.
async fn gather(args: &SettingsArgs, now: Timestamp, output: &Output) -> String {
    let text = fs::read_to_string(&args.config);
    let settings = args.load();
    let environment: Vec<_> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let redaction = Redaction::gather(text.as_deref().ok(), settings.as_ref().ok(), &environment);
    let agent = running::status(args).await;
    let mut bundle = Bundle::default();
    bundle.section("version", env!("CARGO_PKG_VERSION"));
    bundle.section("system", &system(now));
    bundle.section("settings", &settings_shown(args, &text, &settings));
    let status = match &agent {
        Ok(status) => serde_json::to_string_pretty(status).unwrap_or_default(),
        Err(error) => error.to_string(),
    };
    bundle.section("status", &status);
    let findings = doctor::examine(args, output).await;
    let findings = findings.iter().map(serde_json::to_string);
    let findings: Vec<_> = findings.map(Result::unwrap_or_default).collect();
    bundle.section("doctor", &findings.join("\n"));
    if let Ok(settings) = &settings {
        bundle.section(
            "devices",
            &attached(settings, agent.ok().as_ref(), output).await,
        );
        bundle.section("state directory", &state(settings));
    }
    bundle.section("log", &log());
    redaction.apply(&bundle.0)
}

#[derive(Default)]
struct Bundle(String);

impl Bundle {
    fn section(&mut self, title: &str, text: &str) {
        // Writing to a text fails never.
        let _ = writeln!(self.0, "== {title} ==\n{}\n", text.trim_end());
    }
}

fn system(now: Timestamp) -> String {
    let mut text = format!(
        "time {now}\nos {}\npc {}\n",
        platform::os_name(),
        platform::host_name()
    );
    #[cfg(unix)]
    {
        let name = rustix::system::uname();
        let _ = writeln!(
            text,
            "kernel {} {} {}\nuser {}, group {}",
            name.sysname().to_string_lossy(),
            name.release().to_string_lossy(),
            name.machine().to_string_lossy(),
            rustix::process::geteuid().as_raw(),
            rustix::process::getegid().as_raw()
        );
    }
    if let Some(since_boot) = platform::time_since_boot() {
        let _ = writeln!(text, "up for {}", crate::status::duration(since_boot));
    }
    text
}

fn settings_shown(
    args: &SettingsArgs,
    text: &io::Result<String>,
    settings: &Result<Settings, crate::config::ConfigError>,
) -> String {
    let mut told = format!("{}\n", args.config.display());
    if let Err(error) = settings {
        let _ = writeln!(told, "cannot be used: {error}");
    }
    match text.as_ref().map(|text| shown(text)) {
        Ok(Some(shown)) => {
            told.push_str(&serde_json::to_string_pretty(&shown).unwrap_or_default());
        }
        Ok(None) => told.push_str("not shown: no toml"),
        Err(_) => {}
    }
    told
}

/// Every device; none is opened for this, since the doctor has just done so.
async fn attached(settings: &Settings, agent: Option<&Status>, output: &Output) -> String {
    let reports = devices::look(settings, true, agent, output).await;
    let reports = reports.iter().map(serde_json::to_string);
    let reports: Vec<_> = reports.map(Result::unwrap_or_default).collect();
    reports.join("\n")
}

/// Names and sizes; what stands in the files stays there.
fn state(settings: &Settings) -> String {
    let Some(state_dir) = &settings.state_dir else {
        return "none".to_owned();
    };
    let mut text = format!("{}\n", state_dir.display());
    if let Some(free) = platform::free_bytes(state_dir) {
        let _ = writeln!(text, "{free} bytes free");
    }
    match fs::read_dir(state_dir) {
        Ok(entries) => {
            for entry in entries.flatten() {
                let size = entry.metadata().map_or(0, |metadata| metadata.len());
                let _ = writeln!(text, "{} {size}", entry.file_name().to_string_lossy());
            }
        }
        Err(error) => {
            let _ = writeln!(text, "cannot be listed: {error}");
        }
    }
    text
}

/// What the service has logged lately.
#[cfg(not(windows))]
fn log() -> String {
    let asked = std::process::Command::new("journalctl")
        .args([
            "--unit=encoder-agent.service",
            "--no-pager",
            "--output=short-iso",
        ])
        .arg(format!("--lines={LOG_LINES}"))
        .output();
    match asked {
        Ok(said) if said.status.success() => end_of(&said.stdout),
        Ok(said) => String::from_utf8_lossy(&said.stderr).into_owned(),
        Err(error) => format!("journalctl cannot be asked: {error}"),
    }
}

/// What the service has logged lately.
#[cfg(windows)]
fn log() -> String {
    match fs::read(super::service::log_path()) {
        Ok(log) => end_of(&log),
        Err(error) => format!("the log cannot be read: {error}"),
    }
}

fn end_of(log: &[u8]) -> String {
    let end = log.get(log.len().saturating_sub(MOST_OF_A_LOG)..);
    String::from_utf8_lossy(end.unwrap_or(log)).into_owned()
}

/// Writes a file that only its owner may read, and none that is there already.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.write_all(text.as_bytes())
}
