//! `cancel`: frees an encoder that waits.

use super::{Exit, Output, SettingsArgs, running};
use crate::local::{Address, Ask, Cancelled, Reply};

/// End the job that an encoder waits with, for example for a card; a write that has begun is left alone
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    settings: SettingsArgs,
    /// The encoder's name, key or port; may be left out where only one has a job
    #[arg(value_name = "ENCODER")]
    encoder: Option<String>,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// Cancels one job and prints what came of it.
pub(super) fn cancel(args: &Args, output: &Output) -> Exit {
    let addresses = match running::addresses(&args.settings) {
        Ok(addresses) => addresses,
        Err(error) => {
            output.complain(error);
            return Exit::Unusable;
        }
    };
    let asked = super::runtime()
        .map_err(|error| error.to_string())
        .and_then(|runtime| runtime.block_on(ask(args, &addresses)));
    match asked {
        Ok(cancelled) => {
            output.line(if args.json {
                serde_json::to_string(&cancelled).unwrap_or_default()
            } else {
                told(&cancelled)
            });
            Exit::Done
        }
        Err(problem) => {
            output.complain(problem);
            Exit::Failed
        }
    }
}

async fn ask(args: &Args, addresses: &[Address]) -> Result<Cancelled, String> {
    let words = |error: crate::local::ClientError| error.to_string();
    let mut client = running::reach(addresses).await.map_err(words)?;
    let encoder = args.encoder.clone();
    client.ask(&Ask::Cancel { encoder }).await.map_err(words)?;
    match client.reply().await.map_err(words)? {
        Reply::Cancelled(cancelled) => Ok(cancelled),
        Reply::Refused { message } => Err(message),
        Reply::Status(_)
        | Reply::Progress { .. }
        | Reply::Keep { .. }
        | Reply::Accepted(_)
        | Reply::Scanned(_)
        | Reply::Encoded(_)
        | Reply::Failed(_) => Err(words(crate::local::ClientError::Garbled)),
    }
}

fn told(cancelled: &Cancelled) -> String {
    let (job, encoder) = (&cancelled.job_id, &cancelled.encoder_key);
    match &cancelled.error {
        Some(code) => format!("cancelled {job} on {encoder}: {}", code.as_str()),
        None => format!("too late: {job} on {encoder} has succeeded"),
    }
}
