//! The ends of jobs on simulated encoders.

mod asking;

pub(super) use asking::SimulatedAnswer;

use encoder_protocols::{
    card::{CardDescription, Technology, Uid, key_record::KeyRecord},
    wire::{ErrorCode, JobError, JobFinished, JobKind, Outcome, Touched},
};
use jiff::{Timestamp, ToSpan as _};
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::{
    Round,
    scanned::{failed, take_seen, wrong_tag},
    take::need_holds,
    task::Task,
};
use crate::{
    access_system::{Decoded, Seen},
    ids,
    jobs::{Book, CredentialId, Decision, JobRecord, PlanContent},
    simulation::{Found, Simulation},
    store::{
        StoreError,
        credentials::{self, CredentialRow},
        key_servers, simulations, systems,
    },
};

/// The first byte of the UIDs of simulated cards: NXP's (ISO/IEC 7816-6), as of most cards in use.
const MAKER: u8 = 0x04;

impl Task {
    /// Ends every simulated job whose time has come, or asks its system's key server first.
    pub(super) async fn simulate_due(
        &mut self,
        book: &mut Book,
        conn: &mut SqliteConnection,
        round: &mut Round,
    ) -> Result<(), StoreError> {
        let now = self.clock.utc();
        for id in book.simulated_due(now) {
            if self.asking_simulated.contains(&id) {
                continue;
            }
            let Some(job) = book.job(id).cloned() else {
                continue;
            };
            let decision = match job.kind {
                JobKind::Encode => self.encode_simulated(book, conn, &job, now).await?,
                JobKind::Scan => scan(book, conn, &job, now).await?,
            };
            let key = self.store.master_key();
            round.carry_out(conn, key, now, decision).await?;
        }
        Ok(())
    }

    async fn encode_simulated(
        &mut self,
        book: &mut Book,
        conn: &mut SqliteConnection,
        job: &JobRecord,
        now: Timestamp,
    ) -> Result<Decision, StoreError> {
        let Some(credential) = job.credential else {
            return Ok(Decision::default());
        };
        let simulation = simulations::of_job(conn, job.id).await?;
        if let Simulation::Failure { code, .. } = simulation
            && code != ErrorCode::EncodingInterrupted
        {
            let finished = ended(job, Err(untouched(code)));
            return Ok(book.simulated(now, None, &finished, None));
        }
        need_holds(book, conn, credential).await?;
        let uid = held_uid(book, credential).unwrap_or_else(|| new_uid(now));
        let card = CardDescription::new(Technology::MifareClassic1k, uid);
        let Some(row) = credentials::by_id(conn, credential.0).await? else {
            return Ok(Decision::default());
        };
        let key = self.store.master_key();
        if let Some(server) = key_servers::of_system(conn, key, job.system.0).await? {
            self.ask_about_simulated(conn, job, server, (card, &row), now)
                .await?;
            return Ok(Decision::default());
        }
        let content = content(conn, &row, now).await?;
        Ok(write(book, job, (card, content), simulation, now))
    }
}

/// The card that the credential may go onto alone, if there is one.
fn held_uid(book: &Book, credential: CredentialId) -> Option<Uid> {
    book.holds(credential).iter().find_map(|hold| hold.uid)
}

/// Writes a simulated card, whole or in part.
fn write(
    book: &mut Book,
    job: &JobRecord,
    (card, content): (CardDescription, PlanContent),
    simulation: Simulation,
    now: Timestamp,
) -> Decision {
    let finished = match simulation {
        Simulation::Failure { code, .. } => {
            let message = "the card was lifted before the write was over";
            let error = error(code, message, Touched::Unknown);
            JobFinished {
                card: Some(card),
                ..ended(job, Err(error))
            }
        }
        Simulation::Success | Simulation::Found(_) => JobFinished {
            card: Some(card),
            card_number: card.card_number(),
            issued_at: Some(now),
            ..ended(job, Ok(Touched::Written))
        },
    };
    book.simulated(now, Some((card, content)), &finished, None)
}

async fn scan(
    book: &mut Book,
    conn: &mut SqliteConnection,
    job: &JobRecord,
    now: Timestamp,
) -> Result<Decision, StoreError> {
    let found = match simulations::of_job(conn, job.id).await? {
        Simulation::Failure { code, .. } => {
            let finished = ended(job, Err(untouched(code)));
            return Ok(book.simulated(now, None, &finished, None));
        }
        Simulation::Found(found) => found,
        Simulation::Success => Found::Known { credential: None },
    };
    let seen = see(conn, job, found, now).await?;
    let finished = ended(job, Ok(Touched::Untouched));
    let number = seen.card_number.as_deref();
    let (finished, scanned) = if wrong_tag(conn, job, number).await?.is_some() {
        // An encoder leaves such a card alone until the wait for another one is over.
        let none = untouched(ErrorCode::NoCardOnEncoder);
        (failed(&finished, none), None)
    } else {
        take_seen(conn, job, &finished, &seen, now).await?
    };
    Ok(book.simulated(now, None, &finished, scanned))
}

/// What a scan sees of the card that it is to find.
async fn see(
    conn: &mut SqliteConnection,
    job: &JobRecord,
    found: Found,
    now: Timestamp,
) -> Result<Seen, StoreError> {
    let known = match found {
        Found::Known { credential } | Found::OutOfSync { credential } => {
            on_card(conn, job, credential).await?
        }
        Found::Unknown | Found::Empty => None,
    };
    let system = systems::by_id(conn, job.system.0).await?;
    let assigns = system.is_some_and(|system| system.kind.assigns_cards());
    let number = known.as_ref().and_then(CredentialRow::card_number);
    let number = number.map_or_else(|| new_uid(now).to_string(), str::to_owned);
    let decoded = match (found, &known) {
        (Found::Unknown, _) => Decoded::Record {
            record: record(ids::new_id(now), now),
            card_number: Some(number.clone()),
        },
        (Found::Known { .. } | Found::OutOfSync { .. }, Some(row)) => {
            let mut record = record_of(conn, row, now).await?;
            if matches!(found, Found::OutOfSync { .. }) {
                record.ends_at = Some(record.ends_at.unwrap_or(now) - 24.hours());
            }
            Decoded::Record {
                record,
                card_number: Some(number.clone()),
            }
        }
        (Found::Known { .. } | Found::OutOfSync { .. }, None) | (Found::Empty, _) => {
            Decoded::Nothing
        }
    };
    let is_empty = assigns && matches!(decoded, Decoded::Nothing);
    Ok(Seen {
        card_number: (!is_empty).then_some(number),
        decoded,
    })
}

/// The credential of the card that a scan finds: the one that was named, else the one that was issued last.
async fn on_card(
    conn: &mut SqliteConnection,
    job: &JobRecord,
    named: Option<Uuid>,
) -> Result<Option<CredentialRow>, StoreError> {
    match named {
        Some(id) => credentials::by_id(conn, id).await,
        None => credentials::newest_issued(conn, job.system.0).await,
    }
}

async fn record_of(
    conn: &mut SqliteConnection,
    row: &CredentialRow,
    now: Timestamp,
) -> Result<KeyRecord, StoreError> {
    let id = row.acs_credential_id;
    Ok(KeyRecord {
        issued_at: row.issued.as_ref().map_or(now, |issued| issued.at),
        starts_at: row.starts_at,
        ends_at: row.ends_at,
        entrances: credentials::entrance_numbers(conn, id).await?,
        ..record(id, now)
    })
}

fn record(credential_id: Uuid, now: Timestamp) -> KeyRecord {
    KeyRecord {
        credential_id,
        issued_at: now,
        starts_at: None,
        ends_at: None,
        entrances: Vec::new(),
    }
}

async fn content(
    conn: &mut SqliteConnection,
    row: &CredentialRow,
    now: Timestamp,
) -> Result<PlanContent, StoreError> {
    Ok(PlanContent {
        key_version: 0,
        revision: row.content_version,
        starts_at: row.starts_at,
        ends_at: row.ends_at,
        entrances: credentials::entrance_numbers(conn, row.acs_credential_id).await?,
        issued_at: now,
        image: None,
    })
}

fn ended(job: &JobRecord, end: Result<Touched, JobError>) -> JobFinished {
    let touched = match &end {
        Ok(touched) => *touched,
        Err(error) => error.touched,
    };
    JobFinished {
        sequence: 0,
        job_id: job.id,
        kind: job.kind,
        credential_id: job.credential.map(|credential| credential.0),
        outcome: if end.is_ok() {
            Outcome::Success
        } else {
            Outcome::Error
        },
        touched,
        card: None,
        card_number: None,
        issued_at: None,
        contents: None,
        error: end.err(),
    }
}

fn untouched(code: ErrorCode) -> JobError {
    let message = match code {
        ErrorCode::NoCardOnEncoder => {
            "no card was put on the encoder in time; put one down and ask again"
        }
        ErrorCode::ActionAttemptExpired => "the attempt's time ran out; ask for it again",
        ErrorCode::BridgeDisconnected
        | ErrorCode::CredentialCannotBeReissued
        | ErrorCode::CredentialDeleted
        | ErrorCode::EncoderCommunicationTimeout
        | ErrorCode::EncoderNotOnline
        | ErrorCode::EncodingInterrupted
        | ErrorCode::IncompatibleCardFormat
        | ErrorCode::UncategorizedError => "the encoder failed",
    };
    error(code, message, Touched::Untouched)
}

fn error(code: ErrorCode, message: &str, touched: Touched) -> JobError {
    JobError {
        code,
        message: format!("{message} (simulated)"),
        touched,
        hardware: None,
    }
}

/// The UID of a card that nobody has seen before. Random: it stands for a card out of the box.
fn new_uid(now: Timestamp) -> Uid {
    let id = ids::new_id(now);
    let mut bytes = [MAKER; 7];
    for (to, from) in bytes.iter_mut().skip(1).zip(id.as_bytes().iter().rev()) {
        *to = *from;
    }
    Uid::of_seven(bytes)
}
