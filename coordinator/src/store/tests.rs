//! The store as a whole: opening, reopening, and what must be refused.

use std::path::{Path, PathBuf};

use super::{systems::SystemFilter, *};
use crate::clock::Clock;

fn files(folder: &Path) -> (PathBuf, PathBuf) {
    (folder.join("store.db"), folder.join("store.key"))
}

async fn open(folder: &Path) -> Result<Store, StoreError> {
    let (database, key) = files(folder);
    Store::open(&database, &key, Clock::start().utc()).await
}

/// A store with one workspace and one system.
async fn seeded(folder: &Path) -> (Store, Uuid, Uuid) {
    let store = open(folder).await.unwrap();
    let now = Clock::start().utc();
    let mut conn = store.write().await.unwrap();
    let workspace = workspaces::create(&mut conn, "Hotel", false, now)
        .await
        .unwrap()
        .workspace_id;
    let key = store.master_key();
    let system = systems::create(&mut conn, key, workspace, "Site", None, now)
        .await
        .unwrap()
        .acs_system_id;
    conn.commit().await.unwrap();
    (store, workspace, system)
}

#[tokio::test]
async fn a_reopened_store_has_the_same_identity_rows_and_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let (store, workspace, system) = seeded(folder.path()).await;
    let mut conn = store.read().await.unwrap();
    let keys = site_keys::list(&mut conn, store.master_key(), system)
        .await
        .unwrap();
    drop(conn);
    store.close().await;

    let again = open(folder.path()).await.unwrap();
    assert_eq!(again.store_id(), store.store_id());
    let mut conn = again.read().await.unwrap();
    let systems = systems::list(&mut conn, workspace, &SystemFilter::default())
        .await
        .unwrap();
    assert_eq!(systems[0].system.acs_system_id, system);
    let reread = site_keys::list(&mut conn, again.master_key(), system)
        .await
        .unwrap();
    assert_eq!(*reread[0].key, *keys[0].key);
    assert_eq!(reread[0].version, 1);
}

#[tokio::test]
async fn site_keys_count_up_and_differ() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _, system) = seeded(folder.path()).await;
    let mut conn = store.write().await.unwrap();
    let key = store.master_key();
    let version = site_keys::create(&mut conn, key, system, Clock::start().utc())
        .await
        .unwrap();
    assert_eq!(version, 2);
    let keys = site_keys::list(&mut conn, key, system).await.unwrap();
    let versions: Vec<_> = keys.iter().map(|key| key.version).collect();
    assert_eq!(versions, [2, 1]);
    assert_ne!(*keys[0].key, *keys[1].key);
    assert_eq!(format!("{:?}", keys[0]), "SiteKey(2, …)");
}

#[tokio::test]
async fn no_site_key_lies_in_the_database_in_the_clear() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _, system) = seeded(folder.path()).await;
    let mut conn = store.read().await.unwrap();
    let keys = site_keys::list(&mut conn, store.master_key(), system)
        .await
        .unwrap();
    drop(conn);
    store.close().await;
    let bytes = std::fs::read(files(folder.path()).0).unwrap();
    let key = keys[0].key.as_slice();
    assert!(!bytes.windows(key.len()).any(|window| window == key));
}

#[tokio::test]
async fn a_newer_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (store, ..) = seeded(folder.path()).await;
    let mut conn = store.write().await.unwrap();
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (9999, 'from the future', 1, x'00', 0)",
    )
    .execute(&mut *conn)
    .await
    .unwrap();
    conn.commit().await.unwrap();
    store.close().await;
    let error = open(folder.path()).await.unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 9999, .. }));
    assert!(error.to_string().contains("run the newer program"));
}

#[tokio::test]
async fn a_wrong_or_lost_master_key_is_told_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (store, ..) = seeded(folder.path()).await;
    store.close().await;
    let (database, key) = files(folder.path());
    let now = Clock::start().utc();

    let kept = folder.path().join("kept.key");
    std::fs::rename(&key, &kept).unwrap();
    let lost = Store::open(&database, &key, now).await.unwrap_err();
    assert!(matches!(
        lost,
        StoreError::Secrets(SecretsError::Missing(_))
    ));
    assert!(
        !key.exists(),
        "a lost key must not be replaced by a new one"
    );

    MasterKey::load(&key, true).unwrap();
    let wrong = Store::open(&database, &key, now).await.unwrap_err();
    assert!(matches!(
        wrong,
        StoreError::Secrets(SecretsError::Mismatch(_))
    ));

    Store::open(&database, &kept, now).await.unwrap();
}

#[tokio::test]
async fn a_file_that_is_no_database_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (database, _) = files(folder.path());
    std::fs::write(&database, "this is a letter, not a database\n".repeat(200)).unwrap();
    let error = open(folder.path()).await.unwrap_err().to_string();
    assert!(error.contains("database"), "{error}");
    let nowhere = folder.path().join("missing").join("folder");
    let error = open(&nowhere).await.unwrap_err().to_string();
    assert!(error.contains("cannot create the database"), "{error}");
}

#[cfg(unix)]
#[tokio::test]
async fn database_and_key_are_the_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let _store = seeded(folder.path()).await;
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", entry.path());
    }
}

#[tokio::test]
async fn an_uncommitted_write_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (store, ..) = seeded(folder.path()).await;
    let now = Clock::start().utc();
    let mut conn = store.write().await.unwrap();
    workspaces::create(&mut conn, "Half done", false, now)
        .await
        .unwrap();
    drop(conn);
    let mut conn = store.write().await.unwrap();
    assert_eq!(workspaces::list(&mut conn).await.unwrap().len(), 1);
}

#[tokio::test]
async fn two_processes_write_in_turn() {
    let folder = tempfile::tempdir().unwrap();
    let (store, workspace, _) = seeded(folder.path()).await;
    let other = open(folder.path()).await.unwrap();
    let now = Clock::start().utc();
    let mut first = store.write().await.unwrap();
    let second = tokio::spawn(async move {
        let mut conn = other.write().await.unwrap();
        systems::create(&mut conn, other.master_key(), workspace, "B", None, now)
            .await
            .unwrap();
        conn.commit().await.unwrap();
    });
    systems::create(&mut first, store.master_key(), workspace, "A", None, now)
        .await
        .unwrap();
    first.commit().await.unwrap();
    second.await.unwrap();
    let mut conn = store.read().await.unwrap();
    let all = systems::list(&mut conn, workspace, &SystemFilter::default()).await;
    assert_eq!(all.unwrap().len(), 3);
}

#[tokio::test]
async fn readers_cannot_write() {
    let folder = tempfile::tempdir().unwrap();
    let (store, ..) = seeded(folder.path()).await;
    let mut conn = store.read().await.unwrap();
    let now = Clock::start().utc();
    assert!(
        workspaces::create(&mut conn, "x", false, now)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn audit_rows_are_neither_changed_nor_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let (store, workspace, _) = seeded(folder.path()).await;
    let mut conn = store.write().await.unwrap();
    let entry = audit::AuditEntry {
        action: "encode".into(),
        workspace_id: Some(workspace),
        ..audit::AuditEntry::default()
    };
    audit::record(&mut conn, &entry, Clock::start().utc())
        .await
        .unwrap();
    conn.commit().await.unwrap();
    for statement in ["UPDATE audit SET action = 'x'", "DELETE FROM audit"] {
        let mut conn = store.write().await.unwrap();
        let error = sqlx::query(statement)
            .execute(&mut *conn)
            .await
            .unwrap_err();
        assert!(
            error.to_string().contains("audit rows are never"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn entrance_numbers_count_up_and_end_at_65535() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _, system) = seeded(folder.path()).await;
    let now = Clock::start().utc();
    let mut conn = store.write().await.unwrap();
    for number in 1..=3 {
        let entrance = entrances::create(&mut conn, system, "Door", now).await;
        assert_eq!(entrance.unwrap().number, number);
    }
    sqlx::query("UPDATE systems SET next_entrance_number = 65535")
        .execute(&mut *conn)
        .await
        .unwrap();
    let last = entrances::create(&mut conn, system, "Last", now).await;
    assert_eq!(last.unwrap().number, u16::MAX);
    assert!(matches!(
        entrances::create(&mut conn, system, "Too many", now).await,
        Err(StoreError::EntrancesExhausted)
    ));
}

/// A database as the first releases left it, with a credential of a user, is brought up to date.
#[tokio::test]
async fn an_older_database_is_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let (database, key) = files(folder.path());
    std::fs::write(&database, b"").unwrap();
    let old = SqlitePool::connect_with(connect_options(&database))
        .await
        .unwrap();
    let oldest = MIGRATIONS.iter().filter(|it| it.version <= 2).cloned();
    let oldest = Migrator::with_migrations(oldest.collect());
    oldest.run(&old).await.unwrap();
    let id = Uuid::now_v7().to_string();
    for statement in [
        "INSERT INTO workspaces VALUES (?1, 'Hotel', 'Hotel', 0, 1)",
        "INSERT INTO systems VALUES (?1, ?1, ?1, 'Site', NULL, 2, 1)",
        "INSERT INTO acs_users (acs_user_id, workspace_id, acs_system_id, full_name, created_ms) VALUES (?1, ?1, ?1, 'Jane', 1)",
        "INSERT INTO entrances VALUES (?1, ?1, ?1, 1, 'Door', 1)",
        "INSERT INTO credentials (acs_credential_id, workspace_id, acs_system_id, acs_user_id, display_name, created_ms, changed_ms) \
         VALUES (?1, ?1, ?1, ?1, 'Card of Jane', 1, 1)",
        "INSERT INTO credential_entrances VALUES (?1, ?1)",
        "INSERT INTO cards VALUES (?1, 'aabbccdd', ?1, 1)",
    ] {
        sqlx::query(statement)
            .bind(&id)
            .execute(&old)
            .await
            .unwrap();
    }
    old.close().await;

    let store = Store::open(&database, &key, Clock::start().utc())
        .await
        .unwrap();
    let id: Uuid = id.parse().unwrap();
    let mut conn = store.read().await.unwrap();
    let credential = credentials::find(&mut conn, id, id).await.unwrap().unwrap();
    assert_eq!(credential.acs_user_id, Some(id));
    assert_eq!(credential.registered_number, None);
    let doors = entrances::of_credential(&mut conn, id, id).await.unwrap();
    assert_eq!(doors.len(), 1);
    assert!(users::find(&mut conn, id, id).await.unwrap().is_some());
    let broken = sqlx::query("PRAGMA foreign_key_check")
        .fetch_all(&mut *conn)
        .await
        .unwrap();
    assert!(broken.is_empty(), "every reference still leads somewhere");
}

/// The plan of every list that the API offers: each must find its rows by an index.
#[tokio::test]
async fn lists_go_by_an_index() {
    let folder = tempfile::tempdir().unwrap();
    let (store, ..) = seeded(folder.path()).await;
    let mut conn = store.read().await.unwrap();
    for (statement, index) in [
        (
            "SELECT * FROM api_keys WHERE key_hash = x'00' AND revoked_ms IS NULL",
            "key_hash=?",
        ),
        (
            "SELECT * FROM entrances WHERE workspace_id = '' AND acs_system_id = '' AND acs_entrance_id > '' ORDER BY acs_entrance_id LIMIT 9",
            "entrances_of_system",
        ),
        (
            "SELECT * FROM acs_users WHERE workspace_id = '' AND acs_user_id > '' ORDER BY acs_user_id LIMIT 9",
            "acs_users_of_workspace",
        ),
        (
            "SELECT * FROM acs_users WHERE workspace_id = '' AND acs_system_id = '' AND acs_user_id > '' ORDER BY acs_user_id LIMIT 9",
            "acs_users_of_system",
        ),
        (
            "SELECT * FROM credentials WHERE deleted_ms IS NULL AND workspace_id = '' AND acs_system_id = '' AND acs_credential_id > '' ORDER BY acs_credential_id LIMIT 9",
            "credentials_of_system",
        ),
        (
            "SELECT * FROM credentials WHERE deleted_ms IS NULL AND workspace_id = '' AND acs_user_id = '' AND acs_credential_id > '' ORDER BY acs_credential_id LIMIT 9",
            "credentials_of_user",
        ),
        (
            "SELECT * FROM events WHERE workspace_id = '' AND created_ms > 0 ORDER BY created_ms, event_id LIMIT 9",
            "events_by_time",
        ),
        (
            "SELECT * FROM events WHERE workspace_id = '' AND created_ms > 0 AND acs_credential_id = '' ORDER BY created_ms, event_id LIMIT 9",
            "events_of_credential",
        ),
        (
            "SELECT * FROM user_identities WHERE workspace_id = '' AND user_identity_id > '' ORDER BY user_identity_id LIMIT 9",
            "user_identities_of_workspace",
        ),
        (
            "SELECT * FROM user_identities WHERE workspace_id = '' AND lower(email_address) = ''",
            "user_identities_by_email",
        ),
        (
            "SELECT * FROM spaces WHERE workspace_id = '' AND space_id > '' ORDER BY space_id LIMIT 9",
            "spaces_of_workspace",
        ),
        (
            "SELECT * FROM access_grants g WHERE g.deleted_ms IS NULL AND g.workspace_id = '' AND g.access_grant_id > '' ORDER BY g.access_grant_id LIMIT 9",
            "access_grants_of_workspace",
        ),
        (
            "SELECT * FROM access_grants g WHERE g.deleted_ms IS NULL AND g.workspace_id = '' AND g.access_grant_key = ''",
            "access_grants_by_key",
        ),
        (
            "SELECT * FROM access_methods m WHERE m.deleted_ms IS NULL AND m.workspace_id = '' ORDER BY m.access_method_id",
            "access_methods_of_workspace",
        ),
        (
            "SELECT * FROM access_methods m WHERE m.deleted_ms IS NULL AND m.acs_credential_id = ''",
            "access_methods_by_credential",
        ),
        (
            "SELECT * FROM credentials c WHERE c.registered_number IS NOT NULL AND c.deleted_ms IS NULL AND c.acs_system_id = '' AND lower(c.registered_number) = ''",
            "credentials_by_registered_number",
        ),
        (
            "SELECT * FROM events WHERE workspace_id = '' AND created_ms > 0 AND access_grant_id = '' ORDER BY created_ms, event_id LIMIT 9",
            "events_of_grant",
        ),
        (
            "SELECT * FROM events WHERE workspace_id = '' AND created_ms > 0 AND access_method_id = '' ORDER BY created_ms, event_id LIMIT 9",
            "events_of_method",
        ),
    ] {
        let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
        let rows = sqlx::query(explain).fetch_all(&mut *conn).await.unwrap();
        let plan: Vec<String> = rows
            .iter()
            .map(|row| sqlx::Row::get(row, "detail"))
            .collect();
        let plan = plan.join("; ");
        assert!(plan.contains(index), "{statement}: {plan}");
        assert!(
            !plan.contains("SCAN") && !plan.contains("TEMP B-TREE"),
            "{plan}"
        );
    }
}
