//! `run`: the service itself.

use super::{Exit, Output, SettingsArgs};

/// Run the agent until it is told to stop
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    settings: SettingsArgs,
}

/// Runs until a signal; a second one stops at once.
pub(super) fn run(args: &Args, output: &Output) -> Exit {
    let settings = match args.settings.load() {
        Ok(settings) => settings,
        Err(error) => {
            output.complain(error);
            return Exit::Unusable;
        }
    };
    if let Err(error) = super::tracing::start(settings.log) {
        output.complain(error);
        return Exit::Failed;
    }
    if let Err(error) = settings.require_coordinator() {
        output.complain(error);
        return Exit::Unusable;
    }
    Exit::Done
}
