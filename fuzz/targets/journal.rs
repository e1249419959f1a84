//! Journals whose records are anything, and files whose rows or bytes were damaged: a typed error or a new journal, and
//! an agent that starts from whatever was read.

use std::{path::Path, time::Duration};

use encoder_agent::{
    jobs::{Action, Jobs, Now},
    journal::{
        Guard, JobFacts, Journal, JournalContents, JournalError, MemoryJournal, Recall, Record,
    },
};
use encoder_protocols::{
    card::{CardContents, CardDescription, Technology},
    moment::Moment,
    wire::{
        AgentMessage, EncoderKey, ErrorCode, JobError, JobFinished, JobId, JobKind, Outcome,
        Touched, WireMessage as _,
    },
};
use jiff::SignedDuration;
use rusqlite::{Connection, types::Value};

use super::{
    agent::{facts, noon, settings},
    input::Input,
};

pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let folder = tempfile::tempdir().unwrap();
    let records = records(&mut input);
    let agent_id = write(folder.path(), &records);
    let mut model = MemoryJournal::new(agent_id);
    model.append(&records);
    let damage = input.below(4);
    match damage {
        0 => {}
        1 => bytes_damaged(folder.path(), &mut input),
        _ => rows_damaged(folder.path(), &mut input),
    }
    let damaged = damage != 0;
    match Journal::open(folder.path(), noon()) {
        Ok((journal, contents)) => {
            if !damaged {
                assert_eq!(
                    contents,
                    model.contents(),
                    "the file and its meaning differ"
                );
            }
            read_all(&journal, &contents);
            start(contents);
            close(journal);
        }
        Err(JournalError::Newer { .. } | JournalError::Io { .. } | JournalError::DiskFull) => {
            assert!(damaged);
        }
        // Neither its header nor its tables look like a journal's any more.
        Err(JournalError::Foreign { .. }) => assert_eq!(damage, 1),
        Err(error) => panic!("a damaged file is set aside: {error}"),
    }
}

fn records(input: &mut Input<'_>) -> Vec<Record> {
    let count = input.below(12);
    let mut accepted = Vec::new();
    let mut finished = Vec::new();
    let mut records = Vec::new();
    for _ in 0..count {
        let job = JobId(input.id(1));
        let is_open = accepted.contains(&job) && !finished.contains(&job);
        match input.below(8) {
            0..=2 if !accepted.contains(&job) && !finished.contains(&job) => {
                accepted.push(job);
                records.push(Record::Accepted(job_facts(job, input)));
            }
            3 if is_open => records.push(Record::Presented {
                job_id: job,
                n: u64::from(input.byte()),
                uid: input.flag().then(|| input.uid()),
            }),
            4 if is_open => records.push(Record::Started {
                job_id: job,
                n: u64::from(input.byte()),
                card: CardDescription::new(Technology::Ntag213, input.uid()),
            }),
            5 if !finished.contains(&job) => {
                finished.push(job);
                let sequence = finished.len() as u64;
                records.push(Record::Finished(Box::new(outcome(job, sequence, input))));
            }
            6 => records.push(Record::Acknowledged {
                sequence: u64::from(input.below(6)),
                at: noon(),
            }),
            7 => records.push(Record::Guarded {
                encoder_key: EncoderKey(input.pick(&["desk", "door"]).to_string()),
                guards: guards(input),
            }),
            _ => records.push(Record::Store(input.id(8))),
        }
    }
    records
}

fn job_facts(job_id: JobId, input: &mut Input<'_>) -> JobFacts {
    // The file keeps microseconds.
    let micros = |time: jiff::Timestamp| {
        jiff::Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(noon())
    };
    JobFacts {
        job_id,
        encoder_key: EncoderKey(input.text(12)),
        kind: *input.pick(&[JobKind::Encode, JobKind::Scan]),
        credential_id: input.flag().then(|| input.id(2)),
        created_at: micros(input.time(noon())),
        deadline: micros(input.time(noon())),
        server_offset: SignedDuration::from_micros(input.number() as i64),
        card_wait: Duration::from_micros(input.number() >> 1),
    }
}

fn outcome(job_id: JobId, sequence: u64, input: &mut Input<'_>) -> JobFinished {
    let error = JobError {
        code: ErrorCode::NoCardOnEncoder,
        message: input.text(20),
        touched: Touched::Untouched,
        hardware: None,
    };
    JobFinished {
        sequence,
        job_id,
        kind: JobKind::Scan,
        credential_id: None,
        outcome: *input.pick(&[Outcome::Success, Outcome::Error]),
        touched: Touched::Untouched,
        card: input
            .flag()
            .then(|| CardDescription::new(Technology::Ntag213, input.uid())),
        card_number: input.flag().then(|| input.text(20)),
        issued_at: input.flag().then(|| input.time(noon())),
        contents: input.flag().then(|| CardContents::Type2 {
            first_page: 4,
            data: input.bytes(16).to_vec(),
        }),
        error: input.flag().then_some(error),
    }
}

fn guards(input: &mut Input<'_>) -> Vec<Guard> {
    let count = input.below(3);
    let guards = (0..count).map(|_| match input.below(2) {
        0 => Guard::Any,
        _ => Guard::Written {
            uid: input.uid(),
            credential_id: input.flag().then(|| input.id(2)),
        },
    });
    guards.collect()
}

/// Writes a journal as an agent does, and returns its agent's id.
fn write(folder: &Path, records: &[Record]) -> uuid::Uuid {
    let (journal, contents) = Journal::open(folder, noon()).unwrap();
    wait(journal.append(records.to_vec())).unwrap();
    close(journal);
    contents.agent_id
}

fn close(journal: Journal) {
    wait(journal.close());
}

fn wait<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(work)
}

/// Values that the tables do not mean, in any column of any row.
fn rows_damaged(folder: &Path, input: &mut Input<'_>) {
    const COLUMNS: [(&str, &str); 21] = [
        ("agent", "agent_id"),
        ("agent", "last_sequence"),
        ("agent", "store_id"),
        ("jobs", "job_id"),
        ("jobs", "encoder_key"),
        ("jobs", "kind"),
        ("jobs", "credential_id"),
        ("jobs", "created_at"),
        ("jobs", "deadline"),
        ("jobs", "server_offset"),
        ("jobs", "card_wait"),
        ("jobs", "n"),
        ("jobs", "cards"),
        ("jobs", "started_n"),
        ("jobs", "started_card"),
        ("jobs", "sequence"),
        ("jobs", "finished"),
        ("jobs", "contents"),
        ("jobs", "acknowledged_at"),
        ("guards", "encoder_key"),
        ("guards", "guards"),
    ];
    let connection = Connection::open(folder.join("journal.sqlite")).unwrap();
    let mut changes = 0;
    while !input.is_empty() && changes < 8 {
        changes += 1;
        let (table, column) = *input.pick(&COLUMNS);
        let value = match input.below(5) {
            0 => Value::Null,
            1 | 2 => Value::Integer(input.number() as i64),
            3 => Value::Text(input.text(60)),
            _ => Value::Blob(input.bytes(20).to_vec()),
        };
        let row = input.below(4);
        let change = format!(
            "UPDATE {table} SET {column} = ?1 WHERE rowid IN \
             (SELECT rowid FROM {table} ORDER BY rowid LIMIT 1 OFFSET ?2)"
        );
        // What the tables' own constraints refuse is no damage.
        let _ = connection.execute(&change, rusqlite::params![value, row]);
    }
    if input.below(16) == 1 {
        let _ = connection.execute("DELETE FROM agent", []);
    }
}

fn bytes_damaged(folder: &Path, input: &mut Input<'_>) {
    let file = folder.join("journal.sqlite");
    let mut bytes = std::fs::read(&file).unwrap();
    if input.below(8) == 0 {
        bytes.truncate(usize::from(u16::from_le_bytes(input.array())));
    }
    let mut changes = 0;
    while !input.is_empty() && changes < 64 && !bytes.is_empty() {
        changes += 1;
        let at = usize::from(u16::from_le_bytes(input.array())) % bytes.len();
        bytes[at] = input.byte();
    }
    std::fs::write(&file, bytes).unwrap();
}

/// Every outcome that can be asked for is one, or the question fails.
fn read_all(journal: &Journal, contents: &JournalContents) {
    for job in &contents.open_jobs {
        let _ = wait(journal.recall(Recall::Job(job.facts.job_id)));
    }
    for sequence in [0, 1, u64::MAX] {
        let _ = wait(journal.recall(Recall::After {
            sequence,
            limit: 100,
        }));
    }
    let _ = wait(journal.compact(jiff::Timestamp::MAX));
}

/// An agent starts from it and comes to rest.
fn start(contents: JournalContents) {
    let settings = [settings("desk", true), settings("door", false)];
    let mut now = Now {
        at: Moment::ORIGIN,
        utc: noon(),
    };
    let mut jobs = Jobs::recover(facts(2), &settings, contents, now);
    carry_out(&mut jobs, now);
    let connected = encoder_agent::session::SessionEvent::Connected { connection: 1 };
    jobs.handle_session(now, connected);
    carry_out(&mut jobs, now);
    for _ in 0..64 {
        let Some(at) = jobs.poll_timeout() else { break };
        now.at = now.at.max(at);
        jobs.handle_timeout(now);
        carry_out(&mut jobs, now);
    }
    jobs.drain(now);
    carry_out(&mut jobs, now);
}

fn carry_out(jobs: &mut Jobs, now: Now) {
    for _ in 0..1_000 {
        match jobs.poll_action() {
            None => return,
            Some(Action::Persist(_)) => jobs.handle_stored(now, Ok(())),
            Some(Action::Recall(_)) => jobs.handle_recalled(now, Ok(vec![])),
            Some(Action::Send(outgoing)) => {
                let text = outgoing.message.encode();
                assert_eq!(AgentMessage::decode(&text), Ok(outgoing.message));
            }
            Some(Action::Command(..) | Action::Ended(_)) => {}
        }
    }
    panic!("no end of actions");
}
