//! The operator's commands, in the turn of whoever decides.

use encoder_protocols::wire::{SecretText, ServiceMessage};
use jiff::Timestamp;
use sqlx::SqliteConnection;

use super::{
    Round, load,
    take::{need_holds, need_job},
};
use crate::{
    clock::Clock,
    ids,
    jobs::{
        AgentId, Book, Change, CredentialId, Decision, Delivery, EncoderId, NotReleased, SystemId,
    },
    operator::{Answer, Command, EndedJob, Kept, Refused, Released, Report},
    store::{
        Store, StoreError,
        agents::{self, AgentRow},
        audit::{self, AuditEntry},
        commands, jobs, systems, workspaces,
    },
};

/// Does what waits to be done, in a process that has the database to itself.
///
/// # Errors
/// [`StoreError`] when the store fails; what was done until then stays done.
pub async fn work_off(store: &Store, clock: Clock) -> Result<(), StoreError> {
    super::note_restored(store, clock, false).await?;
    let waiting = commands::waiting(&mut *store.read().await?).await?;
    for command in waiting {
        let mut book = load(store, clock).await?;
        let mut transaction = store.write().await?;
        let mut round = Round::default();
        let now = clock.utc();
        obey(&mut book, &mut transaction, store, now, command, &mut round).await?;
        transaction.commit().await?;
    }
    Ok(())
}

/// Does one command and stores the answer.
pub(super) async fn obey(
    book: &mut Book,
    conn: &mut SqliteConnection,
    store: &Store,
    now: Timestamp,
    waiting: commands::Waiting,
    round: &mut Round,
) -> Result<(), StoreError> {
    // Whoever asked may have given up meanwhile.
    if !commands::waits(conn, waiting.id).await? {
        return Ok(());
    }
    let answer = match waiting.command {
        None => Err(Refused::UnknownCommand),
        Some(command) => {
            let (answer, decisions) = decide(book, conn, now, &command).await?;
            for decision in decisions {
                round
                    .carry_out(conn, store.master_key(), now, decision)
                    .await?;
            }
            if answer.is_ok() {
                note(conn, &command, now).await?;
            }
            answer
        }
    };
    commands::answer(conn, waiting.id, &answer).await
}

async fn decide(
    book: &mut Book,
    conn: &mut SqliteConnection,
    now: Timestamp,
    command: &Command,
) -> Result<Done, StoreError> {
    Ok(match command {
        Command::AdoptEncoder { encoder, adopted } => {
            let set = book.set_encoder(*encoder, |record| record.adopted = *adopted);
            changed_encoder(*encoder, set)
        }
        Command::CreateEncoder { system, name } => {
            create_encoder(book, conn, now, *system, name).await?
        }
        Command::RenameEncoder { encoder, name } => {
            let set = book.set_encoder(*encoder, |record| record.display_name.clone_from(name));
            changed_encoder(*encoder, set)
        }
        Command::RenameAgent { agent, name } => rename_agent(book, conn, now, *agent, name).await?,
        Command::RenewToken {
            agent,
            prefix,
            hash,
        } => renew(book, conn, now, *agent, (prefix, hash)).await?,
        Command::RotateToken { agent } => rotate(book, conn, now, *agent).await?,
        Command::RevokeAgent { agent } => revoke(book, conn, now, *agent).await?,
        Command::RetireAgent { agent } => retire(book, conn, now, *agent).await?,
        Command::ReleaseCredential { credential } => release(book, conn, now, *credential).await?,
        Command::ReleaseSystem { system } => release_all(book, conn, now, *system).await?,
    })
}

async fn create_encoder(
    book: &mut Book,
    conn: &mut SqliteConnection,
    now: Timestamp,
    system: SystemId,
    name: &str,
) -> Result<Done, StoreError> {
    let workspace = match systems::by_id(conn, system.0).await? {
        Some(row) => workspaces::find(conn, row.workspace_id).await?,
        None => None,
    };
    if !workspace.is_some_and(|workspace| workspace.is_sandbox) {
        return Ok(refused(Refused::NotSandbox { system }));
    }
    let encoder = EncoderId(ids::new_id(now));
    let decision = book.add_simulated(now, encoder, system, name);
    Ok((Ok(Report::Created { encoder }), vec![decision]))
}

fn changed_encoder(encoder: EncoderId, set: Option<Decision>) -> Done {
    match set {
        Some(decision) => (Ok(Report::Changed), vec![decision]),
        None => refused(Refused::UnknownEncoder { encoder }),
    }
}

/// What came of a command, and what else follows from it.
type Done = (Answer, Vec<Decision>);

fn refused(refused: Refused) -> Done {
    (Err(refused), Vec::new())
}

/// Brings the agent to hand, if there is one.
async fn need_agent(
    book: &mut Book,
    conn: &mut SqliteConnection,
    now: Timestamp,
    agent: AgentId,
) -> Result<Result<AgentRow, Refused>, StoreError> {
    let Some(row) = agents::by_id(conn, agent.0).await? else {
        return Ok(Err(Refused::UnknownAgent { agent }));
    };
    if book.agent(agent).is_none() {
        book.admit_agent(row.record(now));
    }
    Ok(Ok(row))
}

/// Brings the agent to hand, if its token opens something.
async fn need_unrevoked(
    book: &mut Book,
    conn: &mut SqliteConnection,
    now: Timestamp,
    agent: AgentId,
) -> Result<Result<(), Refused>, StoreError> {
    let known = need_agent(book, conn, now, agent).await?;
    Ok(known.and_then(|row| match row.revoked_at {
        Some(_) => Err(Refused::AlreadyRevoked { agent }),
        None => Ok(()),
    }))
}

/// Ends the agent's session, whose token opens nothing any more; whether a new one does is not touched.
pub(super) fn end_session(book: &mut Book, now: Timestamp, agent: AgentId) -> Decision {
    Decision {
        changes: Vec::new(),
        ..book.revoke(now, agent)
    }
}

async fn rename_agent(
    book: &mut Book,
    conn: &mut SqliteConnection,
    now: Timestamp,
    agent: AgentId,
    name: &str,
) -> Result<Done, StoreError> {
    agents::rename(conn, agent.0, name).await?;
    let Some(row) = agents::by_id(conn, agent.0).await? else {
        return Ok(refused(Refused::UnknownAgent { agent }));
    };
    book.admit_agent(row.record(now));
    Ok((Ok(Report::Changed), Vec::new()))
}

async fn renew(
    book: &mut Book,
    conn: &mut SqliteConnection,
    now: Timestamp,
    agent: AgentId,
    (prefix, hash): (&str, &str),
) -> Result<Done, StoreError> {
    match need_agent(book, conn, now, agent).await? {
        Err(unknown) => return Ok(refused(unknown)),
        Ok(row) if row.retired_at.is_some() => return Ok(refused(Refused::Retired { agent })),
        Ok(_) => {}
    }
    // The new token counts from here on, whether the old one was revoked before or not.
    agents::renew_token(conn, agent.0, prefix, hash).await?;
    let ended = end_session(book, now, agent);
    Ok((Ok(Report::Changed), vec![ended]))
}

/// Hands the agent a new token, if it is there to take it.
async fn rotate(
    book: &mut Book,
    conn: &mut SqliteConnection,
    now: Timestamp,
    agent: AgentId,
) -> Result<Done, StoreError> {
    if let Err(why) = need_unrevoked(book, conn, now, agent).await? {
        return Ok(refused(why));
    }
    let session = book.agent(agent).and_then(|record| record.session.as_ref());
    let Some(session) = session.map(|session| session.id) else {
        return Ok(refused(Refused::NotConnected { agent }));
    };
    let token = agents::make_next_token(conn, agent.0).await?;
    let token = SecretText(token.to_string());
    let handed = Delivery::Message(session, ServiceMessage::Token { token });
    let decision = Decision {
        messages: vec![handed],
        ..Decision::default()
    };
    Ok((Ok(Report::Changed), vec![decision]))
}

async fn revoke(
    book: &mut Book,
    conn: &mut SqliteConnection,
    now: Timestamp,
    agent: AgentId,
) -> Result<Done, StoreError> {
    if let Err(why) = need_unrevoked(book, conn, now, agent).await? {
        return Ok(refused(why));
    }
    let decision = book.revoke(now, agent);
    let still_awaited = book.awaited_agents().any(|awaited| awaited.id == agent);
    Ok((Ok(Report::Revoked { still_awaited }), vec![decision]))
}

async fn retire(
    book: &mut Book,
    conn: &mut SqliteConnection,
    now: Timestamp,
    agent: AgentId,
) -> Result<Done, StoreError> {
    match need_agent(book, conn, now, agent).await? {
        Err(unknown) => return Ok(refused(unknown)),
        Ok(row) if row.retired_at.is_some() => {
            return Ok(refused(Refused::AlreadyRetired { agent }));
        }
        Ok(_) => {}
    }
    let was_awaited = book.awaited_agents().any(|awaited| awaited.id == agent);
    let decision = book.retire(now, agent);
    let ended = decision.changes.iter().filter_map(ended_job).collect();
    let report = Report::Retired { ended, was_awaited };
    Ok((Ok(report), vec![decision]))
}

fn ended_job(change: &Change) -> Option<EndedJob> {
    let (job, credential, touched) = if let Change::SaveJob(job) = change {
        (job.id, job.credential, job.outcome?)
    } else if let Change::PutOrphan(orphan) = change {
        (orphan.job, orphan.credential, orphan.outcome?.1)
    } else {
        return None;
    };
    Some(EndedJob {
        job,
        credential,
        touched,
    })
}

/// Releases one credential.
async fn release(
    book: &mut Book,
    conn: &mut SqliteConnection,
    now: Timestamp,
    credential: CredentialId,
) -> Result<Done, StoreError> {
    let mut cards = Vec::new();
    for hold in jobs::holds(conn, credential).await? {
        need_job(book, conn, hold.job).await?;
        if !cards.contains(&hold.uid) {
            cards.push(hold.uid);
        }
    }
    need_holds(book, conn, credential).await?;
    Ok(match book.release(now, credential) {
        Ok(decision) => {
            let released = vec![Released { credential, cards }];
            let kept = Vec::new();
            (Ok(Report::Released { released, kept }), vec![decision])
        }
        Err(NotReleased::StillOpen(job)) => refused(Refused::StillOpen { credential, job }),
        Err(NotReleased::NotHeld) => refused(Refused::NotHeld { credential }),
    })
}

/// Releases every credential of a system, except those that an agent may still write.
async fn release_all(
    book: &mut Book,
    conn: &mut SqliteConnection,
    now: Timestamp,
    system: SystemId,
) -> Result<Done, StoreError> {
    let (mut all_released, mut all_kept, mut all_decisions) = (Vec::new(), Vec::new(), Vec::new());
    for credential in jobs::held_credentials(conn, system).await? {
        let (answer, decisions) = release(book, conn, now, credential).await?;
        all_decisions.extend(decisions);
        match answer {
            Ok(Report::Released { released, .. }) => all_released.extend(released),
            Err(Refused::StillOpen { credential, job }) => all_kept.push(Kept { credential, job }),
            Ok(_) | Err(_) => {}
        }
    }
    let report = Report::Released {
        released: all_released,
        kept: all_kept,
    };
    Ok((Ok(report), all_decisions))
}

/// A line for the audit of what the operator did.
async fn note(
    conn: &mut SqliteConnection,
    command: &Command,
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut entry = AuditEntry {
        detail: Some("by the operator".to_owned()),
        ..AuditEntry::default()
    };
    match command {
        Command::AdoptEncoder { encoder, adopted } => {
            let (yes, no) = ("encoder.adopt", "encoder.disown");
            entry.action = if *adopted { yes } else { no }.into();
            entry.acs_encoder_id = Some(encoder.0);
        }
        Command::CreateEncoder { system, name } => {
            entry.action = "encoder.create".into();
            entry.acs_system_id = Some(system.0);
            entry.detail = Some(format!("by the operator, simulated, {name:?}"));
        }
        Command::RenameEncoder { encoder, name } => {
            entry.action = "encoder.rename".into();
            entry.acs_encoder_id = Some(encoder.0);
            entry.detail = Some(format!("by the operator, to {name:?}"));
        }
        Command::RenameAgent { agent, name } => {
            entry.action = "agent.rename".into();
            entry.agent_id = Some(agent.0);
            entry.detail = Some(format!("by the operator, to {name:?}"));
        }
        Command::RenewToken { agent, prefix, .. } => {
            entry.action = "agent.token".into();
            entry.agent_id = Some(agent.0);
            entry.detail = Some(format!("by the operator, now {prefix}…"));
        }
        Command::RotateToken { agent } => {
            entry.action = "agent.rotate".into();
            entry.agent_id = Some(agent.0);
        }
        Command::RevokeAgent { agent } => {
            entry.action = "agent.revoke".into();
            entry.agent_id = Some(agent.0);
        }
        Command::RetireAgent { agent } => {
            entry.action = "agent.retire".into();
            entry.agent_id = Some(agent.0);
        }
        Command::ReleaseCredential { credential } => {
            entry.action = "credential.release".into();
            entry.acs_credential_id = Some(credential.0);
        }
        Command::ReleaseSystem { system } => {
            entry.action = "credential.release_all".into();
            entry.acs_system_id = Some(system.0);
        }
    }
    tracing::info!(action = %entry.action, detail = ?entry.detail, "the operator's command is done");
    audit::record(conn, &entry, now).await
}
