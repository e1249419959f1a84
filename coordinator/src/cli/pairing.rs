//! `encoder-coordinator pairing …`

use clap::{Args, Subcommand};
use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};
use serde_json::json;
use uuid::Uuid;

use super::{
    CliError,
    output::{self, Row},
    resource::{self, StoreArguments, SystemArgument},
};
use crate::{
    pairing::{CODE_LIFETIME, digest},
    store::{
        StoreError, agents, meta,
        pairing::{self, GrantKind, GrantRow, NewGrant},
        systems::SystemRow,
    },
    tokens,
};

#[derive(Args, Debug)]
pub(super) struct PairingArguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a code that pairs one agent within 15 minutes; it is shown once
    Code(Code),
    /// Make, list or revoke fleet tokens, with which scripts pair many agents
    FleetToken(FleetTokenArguments),
}

#[derive(Args, Debug)]
struct Code {
    #[command(flatten)]
    store: StoreArguments,
    #[command(flatten)]
    system: SystemArgument,
    /// Pair this agent again, in place of making a new one: its journal, its jobs and its encoders stay its own, and its
    /// token until then opens nothing any more
    #[arg(long, value_name = "ID", conflicts_with = "system")]
    agent: Option<Uuid>,
}

#[derive(Args, Debug)]
struct FleetTokenArguments {
    #[command(subcommand)]
    action: FleetTokenAction,
}

#[derive(Debug, Subcommand)]
enum FleetTokenAction {
    /// Make a fleet token; it is shown once
    Create(Create),
    /// List the fleet tokens, without their secrets; those that have expired for a day
    List(StoreArguments),
    /// Revoke a fleet token: it pairs no agent any more, and those that it has paired stay
    Revoke(Revoke),
}

#[derive(Args, Debug)]
struct Create {
    #[command(flatten)]
    store: StoreArguments,
    #[command(flatten)]
    system: SystemArgument,
    /// How many agents it pairs
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    uses: u32,
    /// Until when: a time such as 2026-12-24T18:00:00Z, or how long, such as 8h or 30d
    #[arg(long, value_name = "WHEN", default_value = "7d", value_parser = parse_expiry)]
    expires: Expiry,
    /// What people call it
    #[arg(long, default_value = "")]
    label: String,
}

#[derive(Args, Debug)]
struct Revoke {
    #[command(flatten)]
    store: StoreArguments,
    /// The fleet token's id
    id: Uuid,
}

/// When something is over.
#[derive(Clone, Copy, Debug)]
enum Expiry {
    At(Timestamp),
    After(SignedDuration),
}

impl Expiry {
    /// The time that is meant; none where that is beyond the calendar, or over already.
    fn time(self, now: Timestamp) -> Option<Timestamp> {
        let time = match self {
            Self::At(time) => time,
            Self::After(duration) => now.checked_add(duration).ok()?,
        };
        (time > now).then_some(time)
    }
}

fn parse_expiry(text: &str) -> Result<Expiry, String> {
    const EXPECTED: &str =
        "expected a time such as 2026-12-24T18:00:00Z, or how long, such as 8h or 30d";
    if let Ok(time) = text.parse() {
        return Ok(Expiry::At(time));
    }
    let span: Span = text.parse().map_err(|_| EXPECTED.to_owned())?;
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours());
    duration.map(Expiry::After).map_err(|_| EXPECTED.to_owned())
}

impl PairingArguments {
    pub(super) async fn run(self) -> Result<(), CliError> {
        match self.action {
            Action::Code(code) => code.run().await,
            Action::FleetToken(fleet) => match fleet.action {
                FleetTokenAction::Create(create) => create.run().await,
                FleetTokenAction::List(arguments) => list(&arguments).await,
                FleetTokenAction::Revoke(revoke) => revoke.run().await,
            },
        }
    }
}

impl Code {
    async fn run(self) -> Result<(), CliError> {
        let (store, now) = self.store.open().await?;
        let mut conn = store.write().await?;
        let system = match self.agent {
            None => self.system.row(&mut conn).await?,
            Some(id) => {
                let what = "agent";
                let agent = agents::by_id(&mut conn, id).await?;
                let agent = agent.filter(|agent| agent.retired_at.is_none());
                let agent = agent.ok_or(CliError::Unknown { what, id })?;
                resource::system(&mut conn, Some(agent.acs_system_id)).await?
            }
        };
        let fingerprint = meta::key_fingerprint(&mut conn).await?;
        let code = tokens::new_pairing_code().map_err(StoreError::from)?;
        let new = NewGrant {
            acs_system_id: system.acs_system_id,
            kind: GrantKind::Code,
            agent_id: self.agent,
            label: String::new(),
            uses: 1,
            expires_at: now.saturating_add(CODE_LIFETIME).unwrap_or(now),
        };
        let hash = digest(store.master_key(), &code);
        let grant = pairing::create(&mut conn, &new, &hash, now).await?;
        note(&mut conn, "pairing_code.create", &system, &grant, now).await?;
        conn.commit().await?;
        store.close().await;
        let row = vec![
            ("pairing_code", json!(tokens::shown_code(&code).as_str())),
            ("acs_system_id", json!(grant.acs_system_id)),
            ("system_name", json!(system.name)),
            ("agent_id", json!(grant.agent_id)),
            ("expires_at", json!(grant.expires_at.to_string())),
            ("fingerprint", json!(fingerprint)),
        ];
        output::one(row, self.store.json);
        output::note(
            "On the desk PC, within 15 minutes: encoder-agent pair URL CODE; where that PC does not trust the certificate: \
             with --fingerprint FINGERPRINT",
        );
        Ok(())
    }
}

impl Create {
    async fn run(self) -> Result<(), CliError> {
        let (store, now) = self.store.open().await?;
        let expires_at = self.expires.time(now).ok_or(CliError::Expiry)?;
        let mut conn = store.write().await?;
        let system = self.system.row(&mut conn).await?;
        let fingerprint = meta::key_fingerprint(&mut conn).await?;
        let token = tokens::new_fleet_token().map_err(StoreError::from)?;
        let new = NewGrant {
            acs_system_id: system.acs_system_id,
            kind: GrantKind::FleetToken,
            agent_id: None,
            label: self.label,
            uses: self.uses,
            expires_at,
        };
        let hash = digest(store.master_key(), &token);
        let grant = pairing::create(&mut conn, &new, &hash, now).await?;
        note(&mut conn, "fleet_token.create", &system, &grant, now).await?;
        conn.commit().await?;
        store.close().await;
        let shown = [
            ("fleet_token", json!(token.as_str())),
            ("fingerprint", json!(fingerprint)),
        ];
        let row = row(&grant).into_iter().chain(shown).collect();
        output::one(row, self.store.json);
        Ok(())
    }
}

impl Revoke {
    async fn run(self) -> Result<(), CliError> {
        let (store, now) = self.store.open().await?;
        let mut conn = store.write().await?;
        if pairing::revoke(&mut conn, self.id, now).await?.is_none() {
            let what = "pairing fleet-token";
            return Err(CliError::Unknown { what, id: self.id });
        }
        resource::note(&mut conn, "fleet_token.revoke", None, self.id, now).await?;
        conn.commit().await?;
        store.close().await;
        output::one(vec![("revoked", json!(self.id))], self.store.json);
        Ok(())
    }
}

async fn list(arguments: &StoreArguments) -> Result<(), CliError> {
    let (store, _) = arguments.open().await?;
    let rows = pairing::all(&mut *store.read().await?, GrantKind::FleetToken).await?;
    store.close().await;
    output::all(rows.iter().map(row).collect(), arguments.json);
    Ok(())
}

async fn note(
    conn: &mut sqlx::SqliteConnection,
    action: &'static str,
    system: &SystemRow,
    grant: &GrantRow,
    now: Timestamp,
) -> Result<(), CliError> {
    let workspace = Some(system.workspace_id);
    resource::note(conn, action, workspace, grant.pairing_grant_id, now).await
}

fn row(grant: &GrantRow) -> Row {
    let revoked_at = grant.revoked_at.map(|time| time.to_string());
    vec![
        ("fleet_token_id", json!(grant.pairing_grant_id)),
        ("acs_system_id", json!(grant.acs_system_id)),
        ("label", json!(grant.label)),
        ("uses", json!(grant.uses)),
        ("used", json!(grant.used)),
        ("created_at", json!(grant.created_at.to_string())),
        ("expires_at", json!(grant.expires_at.to_string())),
        ("revoked_at", json!(revoked_at)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_or_how_long_is_understood() {
        let now: Timestamp = "2026-12-01T12:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("2026-12-24T18:00:00Z", Some("2026-12-24T18:00:00Z")),
            ("8h", Some("2026-12-01T20:00:00Z")),
            ("30d", Some("2026-12-31T12:00:00Z")),
            ("2026-11-30T12:00:00Z", None),
            ("0h", None),
        ] {
            let time = parse_expiry(text).unwrap().time(now);
            let expected: Option<Timestamp> = expected.map(|time| time.parse().unwrap());
            assert_eq!(time, expected, "{text}");
        }
        for text in ["", "soon", "1 month", "30"] {
            assert!(parse_expiry(text).is_err(), "{text}");
        }
    }
}
