//! What the operator asks on the command line of the process that decides on jobs.

use encoder_protocols::{
    card::Uid,
    wire::{JobId, Touched},
};
use serde::{Deserialize, Serialize};

use crate::jobs::{AgentId, CredentialId, EncoderId, SystemId};

/// What is to be done.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Command {
    /// An encoder takes jobs, or none.
    AdoptEncoder {
        /// Which encoder.
        encoder: EncoderId,
        /// Whether it takes jobs.
        adopted: bool,
    },
    /// A simulated encoder is made.
    CreateEncoder {
        /// In which system.
        system: SystemId,
        /// Its name.
        name: String,
    },
    /// Every card that holds the credential is destroyed.
    ReleaseCredential {
        /// Which credential.
        credential: CredentialId,
    },
    /// Every card that holds a credential of the system is destroyed.
    ReleaseSystem {
        /// Which system.
        system: SystemId,
    },
    /// An agent gets a new token; the old one opens nothing any more.
    RenewToken {
        /// Which agent.
        agent: AgentId,
        /// The new token's first characters.
        prefix: String,
        /// The new token's hash, in lower-case hex: the token itself is nowhere but with whoever asked.
        hash: String,
    },
    /// An agent gets another name.
    RenameAgent {
        /// Which agent.
        agent: AgentId,
        /// Its name.
        name: String,
    },
    /// An agent is handed a new token in its session; the old one opens until the new one was used.
    RotateToken {
        /// Which agent.
        agent: AgentId,
    },
    /// An encoder gets another name.
    RenameEncoder {
        /// Which encoder.
        encoder: EncoderId,
        /// Its name; none for the one that its agent tells.
        name: Option<String>,
    },
    /// An agent never comes back.
    RetireAgent {
        /// Which agent.
        agent: AgentId,
    },
    /// An agent's token opens nothing any more.
    RevokeAgent {
        /// Which agent.
        agent: AgentId,
    },
}

/// What came of a command.
pub type Answer = Result<Report, Refused>;

/// What was done.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "done", rename_all = "snake_case")]
pub enum Report {
    /// A name or a setting was changed.
    Changed,
    /// An encoder was made.
    Created {
        /// Which.
        encoder: EncoderId,
    },
    /// Credentials are tied to no card any more.
    Released {
        /// Which, with the cards that held them.
        released: Vec<Released>,
        /// Those that an agent may still write, and why they were left.
        kept: Vec<Kept>,
    },
    /// The agent was retired.
    Retired {
        /// The jobs that this ended.
        ended: Vec<EndedJob>,
        /// Whether a restored store had waited for it.
        was_awaited: bool,
    },
    /// The token was revoked.
    Revoked {
        /// Whether a restored store goes on waiting for the agent.
        still_awaited: bool,
    },
}

/// A credential that was released.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Released {
    /// Which.
    pub credential: CredentialId,
    /// The cards that held it; none in place of one that nobody knows.
    pub cards: Vec<Option<Uid>>,
}

/// A credential that was not released.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Kept {
    /// Which.
    pub credential: CredentialId,
    /// The job that may still write it.
    pub job: JobId,
}

/// A job that ended with its agent.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct EndedJob {
    /// Which.
    pub job: JobId,
    /// The credential that it encodes; none for a scan.
    pub credential: Option<CredentialId>,
    /// What it did to cards, as far as anybody knows.
    pub touched: Touched,
}

/// Why a command was not done.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, thiserror::Error)]
#[serde(tag = "refused", rename_all = "snake_case")]
pub enum Refused {
    /// The agent was retired before.
    #[error("the agent {agent} was retired before")]
    AlreadyRetired {
        /// Which agent.
        agent: AgentId,
    },
    /// The agent was retired, so it gets no token.
    #[error(
        "the agent {agent} was retired: make a new one with `encoder-coordinator agent create`"
    )]
    Retired {
        /// Which agent.
        agent: AgentId,
    },
    /// The agent's token was revoked before.
    #[error("the token of agent {agent} was revoked before")]
    AlreadyRevoked {
        /// Which agent.
        agent: AgentId,
    },
    /// A token can only be handed over in a session.
    #[error(
        "the agent {agent} is not connected, so it cannot be handed a new token: wait until it is, or use `agent token`"
    )]
    NotConnected {
        /// Which agent.
        agent: AgentId,
    },
    /// The command could not be stored.
    #[error("the service could not store it; its log says why")]
    Failed,
    /// No card holds the credential.
    #[error("no card holds the credential {credential}, so there is nothing to release")]
    NotHeld {
        /// Which credential.
        credential: CredentialId,
    },
    /// A job of the credential is open.
    #[error(
        "job {job} may still put the credential {credential} on a card: wait for its outcome, or retire its agent if that \
         never comes back"
    )]
    StillOpen {
        /// Which credential.
        credential: CredentialId,
        /// Which job.
        job: JobId,
    },
    /// Simulated encoders are for trying things out.
    #[error(
        "the system {system} is in no sandbox workspace, and simulated encoders are for those: make one with \
         `encoder-coordinator workspace create --sandbox`"
    )]
    NotSandbox {
        /// The system.
        system: SystemId,
    },
    /// There is no such agent.
    #[error("there is no agent with id {agent}: `encoder-coordinator agent list` shows them")]
    UnknownAgent {
        /// The id.
        agent: AgentId,
    },
    /// There is no such encoder.
    #[error("there is no encoder with id {encoder}: `encoder-coordinator encoder list` shows them")]
    UnknownEncoder {
        /// The id.
        encoder: EncoderId,
    },
    /// The command is of another version of this program.
    #[error(
        "the running service does not know this command: it is of another version, restart it with this one"
    )]
    UnknownCommand,
}
