//! The command line: `serve`, and the commands that take an empty database to a first key. Each of them works while
//! `serve` is running.

mod agent;
mod ask;
mod backup;
mod card;
mod credential;
mod encoder;
mod entrance;
mod key;
mod key_server;
mod orphans;
mod output;
mod pairing;
mod resource;
mod serve;
mod system;
mod token;
mod webhook;
mod workspace;

use std::{io, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use uuid::Uuid;

use crate::{
    operator::Refused,
    outbound::TargetError,
    serve::ServeError,
    store::{StoreError, backup::BackupError},
};

/// Offers card encoders through the HTTP API of the Seam card guides.
#[derive(Debug, Parser)]
#[command(name = "encoder-coordinator", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service
    Serve(serve::ServeArguments),
    /// Make or list workspaces
    Workspace(workspace::WorkspaceArguments),
    /// Make or list access systems
    System(system::SystemArguments),
    /// Make or list the entrances of an access system
    Entrance(entrance::EntranceArguments),
    /// Make, list or revoke API keys
    Key(key::KeyArguments),
    /// Make, list or revoke personal access tokens, which open several workspaces
    Token(token::TokenArguments),
    /// Make, list, rename, revoke or retire agents: the desk PCs of an access system
    Agent(agent::AgentArguments),
    /// Make pairing codes and fleet tokens, which agents trade for a token of their own
    Pairing(pairing::PairingArguments),
    /// List webhooks and their deliveries, or send an event once more
    Webhook(webhook::WebhookArguments),
    /// List, rename, adopt or disown encoders
    Encoder(encoder::EncoderArguments),
    /// List what cards hold credentials, or say that such a card is destroyed
    Credential(credential::CredentialArguments),
    /// Copy the database, also while the service runs; the master key file is not in it
    Backup(backup::BackupArguments),
    /// List what agents said of jobs that the store does not know, for example after a restore
    Orphans(orphans::OrphansArguments),
    /// Register the cards of an access system that assigns cards instead of encoding them
    Card(card::CardArguments),
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum CliError {
    /// The service failed.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no copy.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The command was not done.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// A service runs and does not answer.
    #[error(
        "the running service did not take the command in time, so it was taken back: its log says why"
    )]
    NoAnswer,
    /// What cannot be undone was not said twice.
    #[error("nothing was done: this cannot be undone, so say it twice: add `--confirm {id}`")]
    NotConfirmed { id: Uuid },
    /// The operating system refused something the process needs.
    #[error("{what}: {source}")]
    System {
        what: &'static str,
        source: io::Error,
    },
    /// A file cannot be read.
    #[error("cannot read {}: {source}", file.display())]
    File { file: PathBuf, source: io::Error },
    /// The system has no registered cards.
    #[error(
        "cards of the system {0:?} are encoded, not registered: only systems made with --kind brivo or salto-ks have registered cards"
    )]
    CardsAreEncoded(String),
    /// The key server's URL is none.
    #[error("--key-server: {0}")]
    Target(#[from] TargetError),
    /// The kind needs a key server.
    #[error("a system of kind external needs a key server: add --key-server URL")]
    NoKeyServer,
    /// The system makes its images itself.
    #[error(
        "the system {0:?} was made without a key server: make one with `system create --key-server URL`"
    )]
    HasNoKeyServer(String),
    /// The secret before the present one still counts.
    #[error(
        "two secrets sign the questions to the key server of {0:?} already: end the older one with `--end-old` first, or both with `--at-once`"
    )]
    TwoSecrets(String),
    /// No secret before the present one counts.
    #[error(
        "one secret alone signs the questions to the key server of {0:?}: there is no old one to end"
    )]
    OneSecret(String),
    /// The kind's cards are not encoded.
    #[error(
        "cards of {0} systems are assigned, not encoded, so there is nothing for a key server to make"
    )]
    NothingToMake(&'static str),
    /// There is nothing that the command could be about.
    #[error("there is no {what} yet: make one with `encoder-coordinator {what} create`")]
    None { what: &'static str },
    /// The command does not say what it is about.
    #[error(
        "there are several {what}s: say which with --{what} ID (`encoder-coordinator {what} list` shows them)"
    )]
    Several { what: &'static str },
    /// The id is unknown.
    #[error("there is no {what} with id {id}: `encoder-coordinator {what} list` shows them")]
    Unknown { what: &'static str, id: Uuid },
    /// The time is over already.
    #[error("--expires: expected a time to come, such as 2046-12-24T18:00:00Z or 30d")]
    Expiry,
    /// The event is unknown.
    #[error("there is no event with id {0}: `/events/list` shows them")]
    UnknownEvent(Uuid),
    /// No webhook takes the event.
    #[error(
        "no webhook of the event's workspace takes {0}: name one with --webhook ID to send it all the same"
    )]
    NoTaker(String),
}

impl From<sqlx::Error> for CliError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// The command line's form, which manual pages and completions are made of.
pub fn command() -> clap::Command {
    <Arguments as clap::CommandFactory>::command()
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = runtime().and_then(|runtime| runtime.block_on(run(arguments.command)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::complain(&error);
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<(), CliError> {
    match command {
        Command::Serve(arguments) => arguments.run().await,
        Command::Workspace(arguments) => arguments.run().await,
        Command::System(arguments) => arguments.run().await,
        Command::Entrance(arguments) => arguments.run().await,
        Command::Key(arguments) => arguments.run().await,
        Command::Token(arguments) => arguments.run().await,
        Command::Agent(arguments) => arguments.run().await,
        Command::Pairing(arguments) => arguments.run().await,
        Command::Webhook(arguments) => arguments.run().await,
        Command::Encoder(arguments) => arguments.run().await,
        Command::Credential(arguments) => arguments.run().await,
        Command::Backup(arguments) => arguments.run().await,
        Command::Orphans(arguments) => arguments.run().await,
        Command::Card(arguments) => arguments.run().await,
    }
}

/// One thread for everything but the database, which has its own.
fn runtime() -> Result<tokio::runtime::Runtime, CliError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| CliError::System {
            what: "cannot start",
            source,
        })
}
