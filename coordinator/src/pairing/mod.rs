//! Pairing: an agent trades a code or a fleet token for a token of its own.
//!
//! The answer may get lost. Whoever repeats the same attempt then gets another token for the same agent, until the agent was
//! heard with one; and nobody else does, since the attempt's key is the agent's own.

mod attempts;

use std::{
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use encoder_protocols::{
    moment::Moment,
    wire::{FLEET_TOKEN_PREFIX, PairAnswer, PairRefusal, PairRequest, SecretText},
};
use jiff::{SignedDuration, Timestamp};
use sqlx::SqliteConnection;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::{
    secrets::MasterKey,
    store::{
        Store, StoreError,
        agents::{self, AgentRow},
        audit::{self, AuditEntry},
        pairing::{self, GrantKind, GrantRow},
        systems,
    },
    tokens,
};
pub use attempts::Attempts;

/// How long a pairing code holds.
pub const CODE_LIFETIME: SignedDuration = SignedDuration::from_mins(15);

/// What a secret is digested for, so that no digest of another purpose is one of these.
const PURPOSE: &str = "pairing";

/// The longest name of a PC that is kept, in characters.
const LONGEST_NAME: usize = 100;

/// The most that is kept of what tells a machine from others, in characters.
const LONGEST_MACHINE: usize = 64;

/// The fewest characters of an attempt's key: a short one could be guessed.
const SHORTEST_ATTEMPT: usize = 32;

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum NotPaired {
    /// What was brought gives none.
    #[error("{0}")]
    Refused(PairRefusal),
    /// Too many wrong codes were tried.
    #[error("{}", PairRefusal::TooManyAttempts)]
    TooMany {
        /// How long nobody may try.
        wait: Duration,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<PairRefusal> for NotPaired {
    fn from(refusal: PairRefusal) -> Self {
        Self::Refused(refusal)
    }
}

/// The wrong tries so far, for all requests.
#[derive(Debug, Default)]
pub struct Guard(Mutex<Attempts>);

impl Guard {
    fn attempts(&self) -> MutexGuard<'_, Attempts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the store finds a code or fleet token by.
pub fn digest(key: &MasterKey, secret: &str) -> [u8; 32] {
    key.digest(PURPOSE, secret)
}

/// Trades what the request brings for a token. Wrong codes count against `address`; fleet tokens are too long to be guessed.
///
/// # Errors
/// [`NotPaired`] with what the agent is told.
pub async fn pair(
    store: &Store,
    guard: &Guard,
    request: &PairRequest,
    address: IpAddr,
    (now, utc): (Moment, Timestamp),
) -> Result<PairAnswer, NotPaired> {
    if request.attempt.0.len() < SHORTEST_ATTEMPT {
        return Err(PairRefusal::Malformed.into());
    }
    let typed = request.secret.0.trim();
    if typed.starts_with(FLEET_TOKEN_PREFIX) {
        return trade(store, request, typed, GrantKind::FleetToken, utc).await;
    }
    let code: Zeroizing<String> = tokens::parse_code(typed).ok_or(PairRefusal::Malformed)?;
    let begun = guard.attempts().begin(now, address);
    begun.map_err(|wait| NotPaired::TooMany { wait })?;
    let traded = trade(store, request, &code, GrantKind::Code, utc).await;
    // What the store could not tell says nothing of the code.
    if matches!(traded, Ok(_) | Err(NotPaired::Store(_))) {
        guard.attempts().was_right(address);
    }
    traded
}

async fn trade(
    store: &Store,
    request: &PairRequest,
    secret: &str,
    kind: GrantKind,
    now: Timestamp,
) -> Result<PairAnswer, NotPaired> {
    let hash = digest(store.master_key(), secret);
    // Guesses do not get as far as the one connection that writes.
    need_grant(&mut *store.read().await?, &hash, kind).await?;
    let mut conn = store.write().await?;
    let grant = need_grant(&mut conn, &hash, kind).await?;
    let attempt = tokens::hash(&request.attempt.0);
    let id = grant.pairing_grant_id;
    let before = pairing::agent_of_attempt(&mut conn, id, &attempt).await?;
    let (agent, token) = match before {
        Some(agent) => renew_unheard(&mut conn, &grant, agent, now).await?,
        None => {
            check(&grant, now)?;
            let (agent, token) = admit(&mut conn, &grant, request, now).await?;
            pairing::note(&mut conn, id, &attempt, agent.agent_id, now).await?;
            (agent, token)
        }
    };
    let machine = request.machine.as_deref();
    let machine = machine.map(|machine| short(machine, LONGEST_MACHINE));
    agents::set_machine(&mut conn, agent.agent_id, machine.as_deref()).await?;
    note(&mut conn, &grant, &agent, machine.as_deref(), now).await?;
    let system = systems::by_id(&mut conn, grant.acs_system_id).await?;
    conn.commit().await.map_err(StoreError::from)?;
    tracing::info!(agent = %agent.name, agent_id = %agent.agent_id, "an agent was paired");
    Ok(PairAnswer {
        agent_id: agent.agent_id,
        token: SecretText(token.to_string()),
        system_name: system.map(|system| system.name).unwrap_or_default(),
    })
}

/// The code or fleet token, whether it can still be used or not.
async fn need_grant(
    conn: &mut SqliteConnection,
    hash: &[u8; 32],
    kind: GrantKind,
) -> Result<GrantRow, NotPaired> {
    let found = pairing::find(conn, hash).await?;
    let unknown = match kind {
        GrantKind::Code => PairRefusal::CodeUnknown,
        GrantKind::FleetToken => PairRefusal::FleetTokenUnknown,
    };
    let found = found.filter(|grant| grant.kind == kind);
    found.ok_or(NotPaired::Refused(unknown))
}

/// Whether it can pair one more agent.
fn check(grant: &GrantRow, now: Timestamp) -> Result<(), PairRefusal> {
    let (used, expired) = match grant.kind {
        GrantKind::Code => (PairRefusal::CodeUsed, PairRefusal::CodeExpired),
        GrantKind::FleetToken => (PairRefusal::FleetTokenUsed, PairRefusal::FleetTokenExpired),
    };
    if grant.revoked_at.is_some() {
        return Err(PairRefusal::FleetTokenRevoked);
    }
    if grant.used >= grant.uses {
        return Err(used);
    }
    if grant.expires_at <= now {
        return Err(expired);
    }
    Ok(())
}

type WithToken = (AgentRow, Zeroizing<String>);

/// Another token for the agent of an attempt whose answer was lost, while nobody was heard with the one before.
async fn renew_unheard(
    conn: &mut SqliteConnection,
    grant: &GrantRow,
    agent: Uuid,
    now: Timestamp,
) -> Result<WithToken, NotPaired> {
    // This attempt is one of those that were counted.
    let uncounted = GrantRow {
        used: 0,
        ..grant.clone()
    };
    check(&uncounted, now)?;
    let used = match grant.kind {
        GrantKind::Code => PairRefusal::CodeUsed,
        GrantKind::FleetToken => PairRefusal::FleetTokenUsed,
    };
    let row = agents::by_id(conn, agent).await?;
    let unheard = row.filter(|row| {
        row.revoked_at.is_none() && (row.own_id.is_none() || grant.agent_id.is_some())
    });
    let row = unheard.ok_or(used)?;
    let token = renew(conn, &row).await?;
    Ok((row, token))
}

/// The agent that the grant is for, else a new one under the PC's name.
async fn admit(
    conn: &mut SqliteConnection,
    grant: &GrantRow,
    request: &PairRequest,
    now: Timestamp,
) -> Result<WithToken, NotPaired> {
    let Some(agent) = grant.agent_id else {
        let name = short(&request.hostname, LONGEST_NAME);
        let name = if name.is_empty() { "agent" } else { &name };
        return Ok(agents::create(conn, grant.acs_system_id, name, now).await?);
    };
    let row = agents::by_id(conn, agent).await?;
    let row = row
        .filter(|row| row.retired_at.is_none())
        .ok_or(PairRefusal::AgentRetired)?;
    let token = renew(conn, &row).await?;
    Ok((row, token))
}

async fn renew(
    conn: &mut SqliteConnection,
    agent: &AgentRow,
) -> Result<Zeroizing<String>, StoreError> {
    let token = tokens::new_agent_token()?;
    let (prefix, hash) = (tokens::shown_prefix(&token), tokens::hash_text(&token));
    agents::renew_token(conn, agent.agent_id, &prefix, &hash).await?;
    Ok(token)
}

/// Lines for the audit and the log; also where another agent was paired on the same PC, or on one whose disk was copied
/// together with the machine's id.
async fn note(
    conn: &mut SqliteConnection,
    grant: &GrantRow,
    agent: &AgentRow,
    machine: Option<&str>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let with = match grant.kind {
        GrantKind::Code => "code",
        GrantKind::FleetToken => "fleet token",
    };
    let mut detail = format!("with the {with} {}", grant.pairing_grant_id);
    let others = match machine {
        Some(machine) => agents::of_machine(conn, agent, machine).await?,
        None => Vec::new(),
    };
    for other in others {
        tracing::warn!(agent = %agent.name, other = %other.name, other_id = %other.agent_id,
            "two agents were paired on one machine: revoke the one that is not used any more, or give the copied PC a \
             machine-id of its own");
        detail.push_str(&format!("; same machine as {}", other.agent_id));
    }
    let entry = AuditEntry {
        action: "agent.pair".into(),
        acs_system_id: Some(grant.acs_system_id),
        agent_id: Some(agent.agent_id),
        detail: Some(detail),
        ..AuditEntry::default()
    };
    audit::record(conn, &entry, now).await
}

/// A text from outside as people may see it: so many characters at most, none of them control characters.
pub(crate) fn short(text: &str, most: usize) -> String {
    let shown = text.chars().filter(|character| !character.is_control());
    shown.take(most).collect::<String>().trim().to_owned()
}
