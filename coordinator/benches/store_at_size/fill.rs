//! A store as a chain of hotels has it after years: filled by SQL, as the service would be busy for hours.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Row as _, SqliteConnection, sqlite::SqliteConnectOptions,
};
use uuid::Uuid;

use super::{Outcome, id_of};

pub(super) const CREDENTIALS: i64 = 100_000;
pub(super) const EVENTS: i64 = 1_000_000;
pub(super) const DELIVERIES: i64 = 200_000;
const PEOPLE: i64 = 20_000;
const WEBHOOKS: i64 = 20;

/// Three years before now.
const YEARS: i64 = 3 * 365 * 24;

/// One of everything, from the middle.
pub(super) struct Known {
    pub(super) system: String,
    pub(super) credential: Uuid,
    pub(super) user: Uuid,
    pub(super) identity: Uuid,
    pub(super) grant: Uuid,
    pub(super) method: Uuid,
    pub(super) attempt: Uuid,
    pub(super) event: Uuid,
    pub(super) webhook: Uuid,
    pub(super) begin: Timestamp,
    place: Place,
    pub(super) last_day: Timestamp,
}

/// Fills the database of a service that was seeded and does not run.
pub(super) async fn fill(database: &Path, seed: &Value) -> Outcome<Known> {
    let mut conn = SqliteConnectOptions::new()
        .filename(database)
        .foreign_keys(false)
        .connect()
        .await?;
    let system = seed["acs_system_id"].as_str().ok_or("no system")?;
    let row = sqlx::query(
        "SELECT workspace_id, connected_account_id FROM systems WHERE acs_system_id = ?",
    )
    .bind(system)
    .fetch_one(&mut conn)
    .await?;
    let now = Timestamp::now();
    let begin = now - SignedDuration::from_hours(YEARS);
    let place = Place {
        workspace: row.get(0),
        account: row.get(1),
        system: system.to_owned(),
        doors: [0, 1].map(|n| {
            seed["acs_entrance_ids"][n]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        }),
        begin: begin.as_millisecond(),
        span: now.as_millisecond() - begin.as_millisecond() - 60_000,
    };
    run(&mut conn, place.statements()).await?;
    let id = |count: i64, number: i64| id_of(place.begin, place.span / count, number);
    Ok(Known {
        credential: id(CREDENTIALS, CREDENTIALS / 2),
        user: id(PEOPLE, PEOPLE / 2),
        identity: id(PEOPLE, PEOPLE / 2),
        grant: id(PEOPLE, PEOPLE / 2),
        method: id(PEOPLE, PEOPLE / 2),
        attempt: id(CREDENTIALS, CREDENTIALS / 2),
        event: id(EVENTS, EVENTS / 2),
        webhook: id(WEBHOOKS, 0),
        last_day: now - SignedDuration::from_hours(24),
        system: place.system.clone(),
        begin,
        place,
    })
}

/// Adds webhooks with deliveries, which a running service would begin to send.
pub(super) async fn fill_webhooks(database: &Path, known: &Known) -> Outcome<()> {
    let options = SqliteConnectOptions::new().filename(database);
    let mut conn = options.foreign_keys(false).connect().await?;
    run(&mut conn, known.place.webhooks()).await
}

async fn run(conn: &mut SqliteConnection, statements: Vec<String>) -> Outcome<()> {
    sqlx::query("BEGIN").execute(&mut *conn).await?;
    for sql in statements {
        sqlx::query(AssertSqlSafe(sql)).execute(&mut *conn).await?;
    }
    sqlx::query("COMMIT").execute(conn).await?;
    Ok(())
}

/// Where everything happens, and when.
pub(super) struct Place {
    workspace: String,
    account: String,
    system: String,
    doors: [String; 2],
    begin: i64,
    span: i64,
}

impl Place {
    /// SQL for the time of row number `number` of `count`.
    fn at(&self, count: i64, number: &str) -> String {
        format!("({} + ({number}) * {})", self.begin, self.span / count)
    }

    /// SQL for its id, as [`id_of`] makes it.
    fn id(&self, count: i64, number: &str) -> String {
        let at = self.at(count, number);
        format!("printf('%08x-%04x-7000-8000-%012x', {at} >> 16, {at} & 65535, {number})")
    }

    /// An insert of so many rows.
    fn insert(count: i64, into: &str, values: &str) -> String {
        format!(
            "WITH RECURSIVE row (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM row WHERE i + 1 < {count}) \
             INSERT INTO {into} SELECT {values} FROM row"
        )
    }

    fn statements(&self) -> Vec<String> {
        let Self {
            workspace: w,
            system: s,
            account,
            doors,
            ..
        } = self;
        let person = self.id(PEOPLE, "i");
        let person_at = self.at(PEOPLE, "i");
        let card = self.id(CREDENTIALS, "i");
        let card_at = self.at(CREDENTIALS, "i");
        let owner = self.id(PEOPLE, "i % 20000");
        let mut statements = vec![
            Self::insert(
                PEOPLE,
                "user_identities (user_identity_id, workspace_id, full_name, email_address, created_ms)",
                &format!(
                    "{person}, '{w}', 'Guest ' || i, 'guest' || i || '@example.com', {person_at}"
                ),
            ),
            Self::insert(
                PEOPLE,
                "acs_users (acs_user_id, workspace_id, acs_system_id, full_name, email_address, created_ms, user_identity_id)",
                &format!(
                    "{person}, '{w}', '{s}', 'Guest ' || i, 'guest' || i || '@example.com', {person_at}, {person}"
                ),
            ),
            Self::insert(
                PEOPLE,
                "access_grants (access_grant_id, workspace_id, user_identity_id, starts_ms, created_ms)",
                &format!("{person}, '{w}', {person}, {person_at}, {person_at}"),
            ),
            Self::insert(
                PEOPLE,
                "requested_access_methods (access_grant_id, position, created_ms)",
                &format!("{person}, 0, {person_at}"),
            ),
            Self::insert(
                CREDENTIALS,
                "credentials (acs_credential_id, workspace_id, acs_system_id, acs_user_id, display_name, \
                 created_ms, changed_ms, issued_version, issued_ms, card_uid, card_number)",
                &format!(
                    "{card}, '{w}', '{s}', {owner}, 'Card of Guest ' || i, {card_at}, {card_at}, iif(i % 2, 1, NULL), \
                 iif(i % 2, {card_at}, NULL), iif(i % 2, printf('%08x', i), NULL), iif(i % 2, printf('%08x', i), NULL)"
                ),
            ),
            Self::insert(
                CREDENTIALS / 2,
                "cards (acs_system_id, uid, acs_credential_id, written_ms)",
                &format!(
                    "'{s}', printf('%08x', i * 2 + 1), {}, {}",
                    self.id(CREDENTIALS, "i * 2 + 1"),
                    self.at(CREDENTIALS, "i * 2 + 1")
                ),
            ),
            Self::insert(
                PEOPLE,
                "access_methods (access_method_id, workspace_id, access_grant_id, position, acs_system_id, \
                 acs_credential_id, created_ms)",
                &format!(
                    "{person}, '{w}', {person}, 0, '{s}', {}, {person_at}",
                    self.id(CREDENTIALS, "i")
                ),
            ),
            Self::insert(
                CREDENTIALS,
                "action_attempts (action_attempt_id, workspace_id, action_type, status, result, created_ms)",
                &format!(
                    "{card}, '{w}', 'ENCODE_CREDENTIAL', 'success', json_object('acs_credential_id', {card}), {card_at}"
                ),
            ),
            Self::insert(
                EVENTS,
                "events (event_id, workspace_id, event_type, description, created_ms, occurred_ms, acs_system_id, \
                 connected_account_id, acs_credential_id, acs_user_id, access_method_id)",
                &format!(
                    "{}, '{w}', CASE WHEN i % 100000 = 7 THEN 'acs_encoder.added' WHEN i % 10 = 1 THEN 'acs_user.created' \
                 WHEN i % 10 < 4 THEN 'access_method.issued' ELSE 'acs_credential.issued' END, 'It happened.', {at}, {at}, '{s}', '{account}', \
                 iif(i % 10 >= 4, {}, NULL), iif(i % 10 = 1, {owner}, NULL), iif(i % 10 IN (0, 2, 3), {owner}, NULL)",
                    self.id(EVENTS, "i"),
                    self.id(CREDENTIALS, "i % 100000"),
                    at = self.at(EVENTS, "i")
                ),
            ),
        ];
        for door in doors {
            statements.push(Self::insert(
                CREDENTIALS,
                "credential_entrances (acs_credential_id, acs_entrance_id)",
                &format!("{card}, '{door}'"),
            ));
            statements.push(Self::insert(
                PEOPLE,
                "grant_entrances (access_grant_id, acs_entrance_id)",
                &format!("{person}, '{door}'"),
            ));
        }
        statements
    }

    fn webhooks(&self) -> Vec<String> {
        let w = &self.workspace;
        vec![
            Self::insert(
                WEBHOOKS,
                "webhooks (webhook_id, workspace_id, url, event_types, sealed, created_ms)",
                &format!(
                    "{}, '{w}', 'https://hooks.example.com/' || i, '[\"*\"]', x'00', {}",
                    self.id(WEBHOOKS, "i"),
                    self.at(WEBHOOKS, "i")
                ),
            ),
            // A quarter each: sent, given up, to be sent, and waiting behind that.
            Self::insert(
                DELIVERIES,
                "webhook_deliveries (webhook_id, event_id, object, state, due_ms, last_ms)",
                &format!(
                    "{}, {}, 'acs_credential/' || ((i / 4) % 50000), \
                 CASE i % 4 WHEN 0 THEN 'delivered' WHEN 1 THEN 'failed' WHEN 2 THEN 'pending' ELSE 'queued' END, \
                 {at}, {at}",
                    self.id(WEBHOOKS, "(i / 4) % 20"),
                    self.id(EVENTS, "i"),
                    at = self.at(DELIVERIES, "i")
                ),
            ),
        ]
    }
}
