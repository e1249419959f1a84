//! The file: what survives, what it refuses, and that it means what the journal in memory means.

use std::{collections::BTreeMap, time::Duration};

use encoder_protocols::{
    card::{CardContents, CardDescription, Technology, Uid},
    wire::{EncoderKey, JobFinished, JobId, JobKind, Outcome, Touched},
};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use uuid::Uuid;

use super::{store::Store, *};

fn utc() -> Timestamp {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

fn job_id(number: u128) -> JobId {
    JobId(Uuid::from_u128(number))
}

fn uid(number: u8) -> Uid {
    Uid::new(&[number, 1, 2, 3, 4, 5, 6]).unwrap()
}

fn card(number: u8) -> CardDescription {
    CardDescription {
        technology: Technology::Ntag213,
        uid: Some(uid(number)),
        capacity: 144,
    }
}

fn facts(number: u128) -> JobFacts {
    JobFacts {
        job_id: job_id(number),
        encoder_key: EncoderKey("desk".into()),
        kind: JobKind::Encode,
        credential_id: Some(Uuid::from_u128(77)),
        created_at: utc(),
        deadline: utc() + SignedDuration::from_mins(1),
        server_offset: SignedDuration::from_millis(-250),
        card_wait: Duration::from_secs(30),
    }
}

fn finished(number: u128, sequence: u64) -> JobFinished {
    JobFinished {
        sequence,
        job_id: job_id(number),
        kind: JobKind::Scan,
        credential_id: None,
        outcome: Outcome::Success,
        touched: Touched::Untouched,
        card: Some(card(1)),
        card_number: Some(uid(1).to_string()),
        issued_at: None,
        contents: Some(CardContents::Type2 {
            first_page: 4,
            data: vec![0xC0, 0xFF, 0xEE],
        }),
        error: None,
    }
}

fn open(dir: &tempfile::TempDir) -> (Journal, JournalContents) {
    Journal::open(dir.path(), utc()).unwrap()
}

#[tokio::test]
async fn everything_survives_a_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, first) = open(&dir);
    let guard = Guard::Written {
        uid: uid(3),
        credential_id: Some(Uuid::from_u128(77)),
    };
    let records = vec![
        Record::Accepted(facts(1)),
        Record::Accepted(facts(2)),
        Record::Accepted(facts(3)),
        Record::Presented {
            job_id: job_id(2),
            n: 2,
            uid: Some(uid(9)),
        },
        Record::Started {
            job_id: job_id(2),
            n: 2,
            card: card(9),
        },
        Record::Finished(Box::new(finished(3, 1))),
        Record::Guarded {
            encoder_key: EncoderKey("desk".into()),
            guards: vec![guard],
        },
        Record::Store(Uuid::from_u128(5)),
    ];
    journal.append(records).await.unwrap();
    journal.close().await;
    let (_journal, contents) = open(&dir);
    assert_eq!(contents.agent_id, first.agent_id);
    assert_eq!(contents.last_sequence, 1);
    assert_eq!(contents.store_id, Some(Uuid::from_u128(5)));
    assert_eq!(contents.open_jobs.len(), 2);
    assert_eq!(contents.open_jobs[0].facts, facts(1));
    assert_eq!(contents.open_jobs[0].n, 1);
    assert_eq!(contents.open_jobs[1].cards, [uid(9)]);
    assert_eq!(
        contents.open_jobs[1].state,
        JournaledState::Started {
            n: 2,
            card: card(9)
        }
    );
    assert_eq!(contents.unacknowledged[0].finished, finished(3, 1));
    assert_eq!(
        contents.unacknowledged[0].encoder_key,
        Some(EncoderKey("desk".into()))
    );
    assert_eq!(
        contents.guards,
        BTreeMap::from([(EncoderKey("desk".into()), vec![guard])])
    );
}

#[tokio::test]
async fn what_a_scan_read_goes_with_its_acknowledgement() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(&dir);
    journal
        .append(vec![Record::Finished(Box::new(finished(1, 1)))])
        .await
        .unwrap();
    journal
        .append(vec![Record::Acknowledged {
            sequence: 1,
            at: utc(),
        }])
        .await
        .unwrap();
    let recalled = journal.recall(Recall::Job(job_id(1))).await.unwrap();
    let without = JobFinished {
        contents: None,
        ..finished(1, 1)
    };
    assert_eq!(recalled, [without]);
    journal.close().await;
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(6).any(|window| window == b"c0ffee"));
    }
}

#[tokio::test]
async fn tombstones_are_kept_for_their_retention() {
    let (journal, _) = Journal::in_memory().unwrap();
    let records = vec![
        Record::Finished(Box::new(finished(1, 1))),
        Record::Finished(Box::new(finished(2, 2))),
        Record::Acknowledged {
            sequence: 1,
            at: utc(),
        },
    ];
    journal.append(records).await.unwrap();
    let day = |days: i64| utc() + SignedDuration::from_hours(24 * days);
    journal.compact(day(180)).await.unwrap();
    assert_eq!(
        journal.recall(Recall::Job(job_id(1))).await.unwrap().len(),
        1
    );
    journal.compact(day(181)).await.unwrap();
    assert!(
        journal
            .recall(Recall::Job(job_id(1)))
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        journal.recall(Recall::Job(job_id(2))).await.unwrap().len(),
        1
    );
}

#[tokio::test]
async fn appends_that_wait_together_all_become_durable() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(&dir);
    let appends = (1..=50).map(|number| journal.append(vec![Record::Accepted(facts(number))]));
    for result in futures_util::future::join_all(appends).await {
        result.unwrap();
    }
    journal.close().await;
    assert_eq!(open(&dir).1.open_jobs.len(), 50);
}

#[tokio::test]
async fn an_append_that_fails_takes_no_other_with_it() {
    let (journal, _) = Journal::in_memory().unwrap();
    let accepted = || vec![Record::Accepted(facts(1))];
    let (first, second, third) = tokio::join!(
        journal.append(accepted()),
        journal.append(accepted()),
        journal.append(vec![Record::Finished(Box::new(finished(2, 1)))]),
    );
    assert!(first.is_ok() && third.is_ok());
    assert!(matches!(second, Err(JournalError::Io { .. })));
    assert_eq!(
        journal.recall(Recall::Job(job_id(2))).await.unwrap().len(),
        1
    );
}

#[tokio::test]
async fn a_second_agent_is_told_who_has_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(&dir);
    let second = Journal::open(dir.path(), utc()).unwrap_err();
    assert!(matches!(second, JournalError::Locked { .. }));
    assert!(
        second
            .to_string()
            .contains("another encoder-agent uses the state folder")
    );
    journal.close().await;
    open(&dir);
}

#[tokio::test]
async fn a_damaged_journal_is_set_aside_and_told() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, first) = open(&dir);
    journal.close().await;
    std::fs::write(dir.path().join("journal.sqlite"), vec![0x5A; 8192]).unwrap();
    let (journal, contents) = open(&dir);
    assert_ne!(contents.agent_id, first.agent_id);
    let aside = "journal.sqlite.damaged-20261121T120000Z";
    assert!(contents.problems[0].contains(aside));
    assert_eq!(
        std::fs::read(dir.path().join(aside)).unwrap(),
        vec![0x5A; 8192]
    );
    journal
        .append(vec![Record::Accepted(facts(1))])
        .await
        .unwrap();
}

#[tokio::test]
async fn a_second_damage_overwrites_nothing_that_was_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    for (fill, aside) in [
        (0x5A, "journal.sqlite.damaged-20261121T120000Z"),
        (0xA5, "journal.sqlite.damaged-20261121T120000Z-2"),
        (0x55, "journal.sqlite.damaged-20261121T120000Z-3"),
    ] {
        std::fs::write(dir.path().join("journal.sqlite"), vec![fill; 8192]).unwrap();
        open(&dir).0.close().await;
        assert_eq!(
            std::fs::read(dir.path().join(aside)).unwrap(),
            vec![fill; 8192]
        );
    }
}

#[tokio::test]
async fn a_journal_that_lacks_a_table_its_agent_or_its_mark_is_set_aside() {
    for statement in [
        "DROP TABLE guards",
        "DELETE FROM agent",
        "PRAGMA application_id = 1",
    ] {
        let dir = tempfile::tempdir().unwrap();
        open(&dir).0.close().await;
        change(&dir, statement);
        assert_eq!(open(&dir).1.problems.len(), 1, "{statement}");
    }
}

#[tokio::test]
async fn another_programs_database_is_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    change(&dir, "CREATE TABLE guests (name TEXT)");
    let path = dir.path().join("journal.sqlite");
    let before = std::fs::read(&path).unwrap();
    let error = Journal::open(dir.path(), utc()).unwrap_err();
    assert_eq!(error, JournalError::Foreign { path: path.clone() });
    assert_eq!(inspect(dir.path()), Err(error));
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn a_folder_in_the_journals_place_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.sqlite");
    std::fs::create_dir(&path).unwrap();
    let error = Journal::open(dir.path(), utc()).unwrap_err();
    assert_eq!(error, JournalError::NotAFile { path });
    assert_eq!(inspect(dir.path()), Err(error));
}

#[tokio::test]
async fn a_look_at_the_journal_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(inspect(dir.path()), Ok(()));
    let (journal, _) = open(&dir);
    // In use by an agent: not looked at.
    assert_eq!(inspect(dir.path()), Ok(()));
    journal
        .append(vec![Record::Accepted(facts(1))])
        .await
        .unwrap();
    journal.close().await;
    assert_eq!(inspect(dir.path()), Ok(()));
    let path = dir.path().join("journal.sqlite");
    let (journal, contents) = open(&dir);
    assert_eq!(contents.open_jobs.len(), 1);
    journal.close().await;
    std::fs::write(&path, vec![0x5A; 8192]).unwrap();
    let found = inspect(dir.path()).unwrap_err();
    assert!(matches!(found, JournalError::Damaged { .. }), "{found}");
    assert_eq!(std::fs::read(&path).unwrap(), vec![0x5A; 8192]);
}

#[tokio::test]
async fn a_full_disk_takes_nothing_keeps_everything_and_is_no_obstacle_to_reading() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(&dir.path().join("journal.sqlite")).unwrap();
    let accepted = |number| Record::Accepted(facts(number));
    store.append([accepted(0)].iter()).unwrap();
    store.limit_pages(1);
    let mut number = 0;
    let full = loop {
        number += 1;
        if let Err(error) = store.append([accepted(number)].iter()) {
            break error;
        }
    };
    assert_eq!(full, JournalError::DiskFull);
    let kept = store.contents().unwrap().open_jobs.len();
    assert_eq!(kept, usize::try_from(number).unwrap());
    store.limit_pages(u32::MAX);
    store.append([accepted(number)].iter()).unwrap();
    assert_eq!(store.contents().unwrap().open_jobs.len(), kept + 1);
}

/// Changes the journal's file as no agent would.
fn change(dir: &tempfile::TempDir, statement: &str) {
    let connection = rusqlite::Connection::open(dir.path().join("journal.sqlite")).unwrap();
    connection.execute(statement, []).unwrap();
}

#[tokio::test]
async fn a_journal_with_an_unreadable_row_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(&dir);
    journal
        .append(vec![Record::Accepted(facts(1))])
        .await
        .unwrap();
    journal.close().await;
    let connection = rusqlite::Connection::open(dir.path().join("journal.sqlite")).unwrap();
    connection
        .execute("UPDATE jobs SET kind = 'paint'", [])
        .unwrap();
    drop(connection);
    let (_journal, contents) = open(&dir);
    assert_eq!(contents.problems.len(), 1);
    assert!(contents.open_jobs.is_empty());
}

#[tokio::test]
async fn a_count_that_no_message_could_carry_is_damage() {
    for change in [
        "UPDATE agent SET last_sequence = 9223372036854775807",
        "UPDATE jobs SET n = 9007199254740992",
        "UPDATE jobs SET started_n = -1, started_card = '{}'",
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (journal, _) = open(&dir);
        let accepted = vec![Record::Accepted(facts(1))];
        journal.append(accepted).await.unwrap();
        journal.close().await;
        let file = dir.path().join("journal.sqlite");
        let connection = rusqlite::Connection::open(file).unwrap();
        connection.execute(change, []).unwrap();
        drop(connection);
        let (_journal, contents) = open(&dir);
        assert_eq!(contents.problems.len(), 1, "{change}");
        assert_eq!(contents.last_sequence, 0, "{change}");
    }
}

#[tokio::test]
async fn a_newer_journal_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(&dir);
    journal.close().await;
    let path = dir.path().join("journal.sqlite");
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", 9).unwrap();
    drop(connection);
    let error = Journal::open(dir.path(), utc()).unwrap_err();
    assert_eq!(error, JournalError::Newer { found: 9, known: 1 });
    let connection = rusqlite::Connection::open(&path).unwrap();
    let agents: u32 = connection
        .query_row("SELECT count(*) FROM agent", [], |row| row.get(0))
        .unwrap();
    assert_eq!(agents, 1);
}

#[test]
fn a_folder_that_cannot_be_made_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = Journal::open(&file.join("state"), utc()).unwrap_err();
    assert!(matches!(error, JournalError::CannotOpen { .. }));
}

#[cfg(unix)]
#[tokio::test]
async fn nobody_else_may_read_the_journal() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let state_dir = dir.path().join("state");
    let (journal, _) = Journal::open(&state_dir, utc()).unwrap();
    journal
        .append(vec![Record::Accepted(facts(1))])
        .await
        .unwrap();
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&state_dir), 0o700);
    for entry in std::fs::read_dir(&state_dir).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
    }
}

fn record() -> impl Strategy<Value = Record> {
    let guard = prop_oneof![
        Just(Guard::Any),
        (0..3_u8).prop_map(|number| Guard::Written {
            uid: uid(number),
            credential_id: None,
        }),
    ];
    let guards = proptest::collection::vec(guard, 0..3);
    prop_oneof![
        (0..6_u128, 1..5_u64, 0..4_u8).prop_map(|(job, n, number)| Record::Presented {
            job_id: job_id(job),
            n,
            uid: Some(uid(number)),
        }),
        (0..6_u128, 1..5_u64, 0..4_u8).prop_map(|(job, n, number)| Record::Started {
            job_id: job_id(job),
            n,
            card: card(number),
        }),
        (1..30_u64).prop_map(|sequence| Record::Acknowledged {
            sequence,
            at: utc()
        }),
        (0..40_u64).prop_map(Record::SequenceFloor),
        guards.prop_map(|guards| Record::Guarded {
            encoder_key: EncoderKey("desk".into()),
            guards,
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_file_means_what_the_memory_means(
        records in proptest::collection::vec(record(), 0..30),
        ends in proptest::collection::vec(0..6_u128, 0..6),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (journal, contents) = open(&dir);
        let mut memory = MemoryJournal::new(contents.agent_id);
        let mut all: Vec<Record> = (0..6).map(|number| Record::Accepted(facts(number))).collect();
        let ends: std::collections::BTreeSet<_> = ends.into_iter().collect();
        let half = records.len() / 2;
        all.extend_from_slice(&records[..half]);
        all.extend(ends.iter().zip(1..).map(|(job, sequence)| {
            Record::Finished(Box::new(finished(*job, sequence)))
        }));
        all.extend_from_slice(&records[half..]);
        memory.append(&all);
        runtime.block_on(async {
            journal.append(all).await.unwrap();
            let after = Recall::After { sequence: 1, limit: 3 };
            assert_eq!(journal.recall(after).await.unwrap(), memory.recall(after));
            journal.close().await;
        });
        prop_assert_eq!(open(&dir).1, memory.contents());
    }
}

#[test]
fn a_former_agents_journal_is_set_aside_and_the_cards_that_lie_there_stay_known() {
    let directory = tempfile::tempdir().unwrap();
    let left = set_aside_of_former_agent(directory.path(), utc()).unwrap();
    assert_eq!(left, None);
    let path = directory.path().join("journal.sqlite");
    let mut store = Store::open(&path).unwrap();
    let guards = vec![Guard::Written {
        uid: uid(1),
        credential_id: None,
    }];
    let records = [
        Record::Accepted(facts(1)),
        Record::Finished(Box::new(finished(2, 1))),
        Record::Guarded {
            encoder_key: EncoderKey("desk".into()),
            guards: guards.clone(),
        },
    ];
    store.append(records.iter()).unwrap();
    let before = store.contents().unwrap();
    drop(store);
    let left = set_aside_of_former_agent(directory.path(), utc());
    let left = left.unwrap().unwrap();
    assert_eq!(left.owed, 2);
    let after = Store::open(&path).unwrap().contents().unwrap();
    assert_ne!(after.agent_id, before.agent_id);
    assert_eq!(after.open_jobs.len() + after.unacknowledged.len(), 0);
    assert_eq!(
        after.guards,
        BTreeMap::from([(EncoderKey("desk".into()), guards)])
    );
    assert_eq!(Store::open(&left.file).unwrap().contents().unwrap(), before);
}
