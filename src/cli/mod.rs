//! The command line: one file per command.
//!
//! Every command ends with one of three codes: [`Exit::Done`], [`Exit::Failed`] or [`Exit::Unusable`].

mod cancel;
mod check;
mod devices;
mod doctor;
#[cfg(unix)]
mod emulate;
mod encode;
mod found;
#[cfg(unix)]
mod journal_log;
#[cfg(any(windows, test))]
mod log_file;
mod output;
mod pair;
mod run;
mod running;
mod scan;
#[cfg(windows)]
mod service;
mod settings;
mod status;
mod support;
mod tracing;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use output::Output;
pub use settings::SettingsArgs;

/// Drives the card encoders on a front-desk PC for a coordination service.
#[derive(Debug, Parser)]
#[command(name = "encoder-agent", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Cancel(cancel::Args),
    Check(check::Args),
    Devices(devices::Args),
    Doctor(doctor::Args),
    #[cfg(unix)]
    Emulate(emulate::Args),
    Encode(encode::Args),
    Pair(pair::Args),
    Run(run::Args),
    Scan(scan::Args),
    #[cfg(windows)]
    Service(service::Args),
    Status(status::Args),
    Support(support::Args),
}

/// How a command ended, as its exit code tells.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Exit {
    /// 0: it did what it was asked.
    Done,
    /// 1: it was asked well, but could not do it, or found something wrong.
    Failed,
    /// 2: the command line or the configuration cannot be used.
    Unusable,
}

impl Exit {
    /// The exit code.
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Unusable => 2,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// The command line's form, which manual pages and completions are made of.
pub fn command() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}

/// Reads the command line and does what it says.
pub fn main() -> ExitCode {
    let output = Output::standard();
    let exit = match Cli::parse().command {
        Command::Cancel(args) => cancel::cancel(&args, &output),
        Command::Check(args) => check::check(&args, &output),
        Command::Devices(args) => devices::devices(&args, &output),
        Command::Doctor(args) => doctor::doctor(&args, &output),
        #[cfg(unix)]
        Command::Emulate(args) => emulate::emulate(&args, &output),
        Command::Encode(args) => encode::encode(&args, &output),
        Command::Pair(args) => pair::pair(&args, &output),
        Command::Run(args) => run::run(&args, &output),
        Command::Scan(args) => scan::scan(&args, &output),
        #[cfg(windows)]
        Command::Service(args) => service::service(args, &output),
        Command::Status(args) => status::status(&args, &output),
        Command::Support(args) => support::support(&args, &output),
    };
    exit.into()
}

/// The one-threaded runtime that every command with devices or connections uses.
///
/// # Errors
/// The system's error when it grants no event queue.
pub fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_promised_spellings_are_understood() {
        for line in [
            ["encoder-agent", "run", "--config", "a.toml"],
            ["encoder-agent", "check", "--config", "a.toml"],
            ["encoder-agent", "devices", "--config", "a.toml"],
            ["encoder-agent", "scan", "--config", "a.toml"],
        ] {
            Cli::try_parse_from(line).unwrap();
        }
    }
}
