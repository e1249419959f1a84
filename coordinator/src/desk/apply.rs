//! A decision's rows, as the store takes them.

use encoder_protocols::wire::JobKind;
use jiff::Timestamp;
use sqlx::SqliteConnection;

use crate::{
    grants::Doors,
    http::{access_method_json, credential_json},
    jobs::{AgentId, Attempt, AuditAction, AuditEntry, Change, EncoderRecord, Issue, JobRecord},
    store::{
        StoreError, access_methods, agents,
        attempts::{self, Aim},
        audit, credentials, encoders,
        events::{self, EventType},
        jobs, systems,
    },
};

/// Writes one row.
pub(super) async fn apply(
    conn: &mut SqliteConnection,
    now: Timestamp,
    change: Change,
) -> Result<(), StoreError> {
    match change {
        Change::AgentHeard(agent) => note_heard(conn, agent).await,
        Change::AgentRetired(agent) => agents::retire(conn, agent, now).await,
        Change::AgentRevoked(agent) => agents::revoke(conn, agent.0, now).await.map(|_| ()),
        Change::Audit(entry) => record_audit(conn, &entry).await,
        Change::CardInDoubt(system, uid) => {
            credentials::record_doubt(conn, system.0, &uid.to_string()).await
        }
        Change::DropHolds(job) => jobs::drop_holds(conn, job).await,
        Change::Issue(issue) => record_issue(conn, &issue, now).await,
        Change::PutHold(hold) => jobs::put_hold(conn, &hold).await,
        Change::PutOrphan(orphan) => {
            tracing::warn!(job = %orphan.job, agent = %orphan.agent, outcome = ?orphan.outcome, "an unknown job is kept");
            jobs::put_orphan(conn, &orphan).await
        }
        Change::ReleaseCredential(credential) => {
            jobs::release(conn, credential).await?;
            let doors = Doors::before(conn, [credential.0]).await?;
            credentials::record_lost(conn, credential.0, now).await?;
            doors.record_changes(conn, now, now).await
        }
        Change::SaveAgent(agent) => agents::save(conn, &agent).await,
        Change::SaveEncoder(encoder, is_new) => save_encoder(conn, &encoder, is_new, now).await,
        Change::SaveJob(job) => save_job(conn, &job).await,
    }
}

/// A restored store has heard the agent.
async fn note_heard(conn: &mut SqliteConnection, agent: AgentId) -> Result<(), StoreError> {
    agents::heard(conn, agent).await?;
    let awaited = agents::restored(conn).await?.awaited.len();
    tracing::info!(%agent, still_awaited = awaited, "restored store: this agent was heard");
    Ok(())
}

/// Stores a job with its attempt. The result of an encode is its credential as it stands now.
async fn save_job(conn: &mut SqliteConnection, job: &JobRecord) -> Result<(), StoreError> {
    let result = match (&job.attempt, job.kind, job.credential) {
        (Attempt::Success { .. }, JobKind::Encode, Some(credential)) => {
            let row = credentials::by_id(conn, credential.0).await?;
            row.as_ref().map(credential_json)
        }
        (Attempt::Success { result }, _, _) => result.clone(),
        (Attempt::Pending | Attempt::Error(_), _, _) => None,
    };
    attempts::save(conn, job, result.as_ref()).await?;
    jobs::save(conn, job).await?;
    if matches!(job.attempt, Attempt::Success { .. })
        && let Some(Aim::AccessMethod(id)) = attempts::aim(conn, job.id).await?
        && let Some(method) = access_methods::by_id(conn, id).await?
    {
        attempts::keep_access_method(conn, job.id, &access_method_json(&method)).await?;
    }
    Ok(())
}

/// Stores an encoder. From its adoption on it is offered, until it is disowned; both are events.
async fn save_encoder(
    conn: &mut SqliteConnection,
    encoder: &EncoderRecord,
    is_new: bool,
    now: Timestamp,
) -> Result<(), StoreError> {
    let was_offered = !is_new && encoders::is_adopted(conn, encoder.id.0).await?;
    encoders::save(conn, encoder).await?;
    let event = match (was_offered, encoder.adopted) {
        (false, true) => EventType::AcsEncoderAdded,
        (true, false) => EventType::AcsEncoderRemoved,
        (true, true) | (false, false) => return Ok(()),
    };
    let Some(system) = systems::by_id(conn, encoder.system.0).await? else {
        return Ok(());
    };
    let row = encoders::find(conn, system.workspace_id, encoder.id.0).await?;
    if let Some(row) = row {
        events::record(conn, row.workspace_id, event, row.event_subject(), now, now).await?;
    }
    Ok(())
}

async fn record_issue(
    conn: &mut SqliteConnection,
    issue: &Issue,
    now: Timestamp,
) -> Result<(), StoreError> {
    let overwritten = match issue.uid {
        Some(uid) => credentials::on_card(conn, issue.system.0, &uid.to_string()).await?,
        None => None,
    };
    let concerned = overwritten.into_iter().chain([issue.credential.0]);
    let doors = Doors::before(conn, concerned).await?;
    let issue = credentials::Issue {
        acs_credential_id: issue.credential.0,
        version: issue.revision,
        card_uid: issue.uid,
        card_number: issue.card_number.clone(),
        at: issue.issued_at,
        job_id: Some(issue.job.0),
    };
    credentials::record_issued(conn, &issue, now).await?;
    doors.record_changes(conn, issue.at, now).await
}

async fn record_audit(conn: &mut SqliteConnection, entry: &AuditEntry) -> Result<(), StoreError> {
    let action = match (entry.kind, entry.action) {
        (JobKind::Encode, action) => encode_action(action),
        (JobKind::Scan, action) => scan_action(action),
    };
    let row = audit::AuditEntry {
        action: action.into(),
        acs_system_id: entry.system.map(|id| id.0),
        api_key_id: entry.api_key,
        agent_id: entry.agent.map(|id| id.0),
        acs_encoder_id: entry.encoder.map(|id| id.0),
        job_id: Some(entry.job.0),
        acs_credential_id: entry.credential.map(|id| id.0),
        card_uid: entry.uid.map(|uid| uid.to_string()),
        outcome: entry.result.clone(),
        ..audit::AuditEntry::default()
    };
    audit::record(conn, &row, entry.at).await
}

const fn encode_action(action: AuditAction) -> &'static str {
    match action {
        AuditAction::Bound => "encode.bound",
        AuditAction::Ended => "encode.ended",
        AuditAction::Outcome => "encode.outcome",
        AuditAction::Orphan => "encode.orphan",
        AuditAction::Released => "encode.released",
        AuditAction::Requested => "encode.requested",
    }
}

const fn scan_action(action: AuditAction) -> &'static str {
    match action {
        AuditAction::Bound => "scan.bound",
        AuditAction::Ended => "scan.ended",
        AuditAction::Outcome => "scan.outcome",
        AuditAction::Orphan => "scan.orphan",
        AuditAction::Released => "scan.released",
        AuditAction::Requested => "scan.requested",
    }
}
