//! `status`: how the running agent is.

use std::time::Duration;

use super::{Exit, Output, SettingsArgs, running};
use crate::{
    local::{Address, ClientError},
    status::{HealthState, Status, lines},
};

/// The time between two looks of `--watch`.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Clears the terminal and begins at its top (ECMA-48, ED and CUP).
const CLEAR: &str = "\x1b[2J\x1b[H";

/// Show how the running agent is: its connection, encoders, jobs and journal; ends with 0 where keys can be encoded, 1 where
/// something is wrong or no agent runs
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Go on showing it, once a second, until interrupted
    #[arg(long)]
    watch: bool,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// Prints the status, once or again and again.
pub(super) fn status(args: &Args, output: &Output) -> Exit {
    let addresses = match running::addresses(&args.settings) {
        Ok(addresses) => addresses,
        Err(error) => {
            output.complain(error);
            return Exit::Unusable;
        }
    };
    let looked = super::runtime()
        .map_err(|error| error.to_string())
        .and_then(|runtime| {
            runtime
                .block_on(look(args, &addresses, output))
                .map_err(|error| error.to_string())
        });
    match looked {
        Ok(HealthState::Ok | HealthState::Degraded) => Exit::Done,
        Ok(HealthState::Down) => Exit::Failed,
        Err(problem) => {
            output.complain(problem);
            Exit::Failed
        }
    }
}

async fn look(
    args: &Args,
    addresses: &[Address],
    output: &Output,
) -> Result<HealthState, ClientError> {
    if !args.watch {
        let status = running::reach(addresses).await?.status().await?;
        show(&status, args, output);
        return Ok(status.health.state);
    }
    tokio::select! {
        never = watch(args, addresses, output) => match never {},
        _ = tokio::signal::ctrl_c() => Ok(HealthState::Ok),
    }
}

/// Goes on also while no agent runs: one that is restarted comes back.
async fn watch(args: &Args, addresses: &[Address], output: &Output) -> std::convert::Infallible {
    let mut client = None;
    loop {
        let reached = match client.take() {
            Some(client) => Ok(client),
            None => running::reach(addresses).await,
        };
        let told = match reached {
            Ok(mut reached) => {
                let status = reached.status().await;
                if status.is_ok() {
                    client = Some(reached);
                }
                status
            }
            Err(error) => Err(error),
        };
        match told {
            Ok(status) => {
                if !args.json {
                    output.line(CLEAR);
                }
                show(&status, args, output);
            }
            Err(error) => output.complain(error),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn show(status: &Status, args: &Args, output: &Output) {
    if args.json {
        output.line(serde_json::to_string(status).unwrap_or_default());
    } else {
        lines(status).iter().for_each(|line| output.line(line));
    }
}
