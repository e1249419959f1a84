//! Looks at every statement that the tests run: none may walk through a table that grows with the guests.
//!
//! The database driver reports each statement it has run. Here they are collected from all tests of this process, each one is
//! put before SQLite's planner once, and the test that ends next fails where the plan is a scan.

use std::{
    collections::BTreeSet,
    sync::{Mutex, OnceLock, PoisonError, mpsc},
    thread,
};

use sqlx::{ConnectOptions as _, Row as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

use super::MIGRATIONS;

/// Tables that stay small: they grow with hotels, desks and operators, not with guests.
const SMALL: &[&str] = &[
    "agents",
    "api_keys",
    "awaited_agents",
    "copy_stamp",
    "encoder_places",
    "encoders",
    "operator_commands",
    "personal_access_token_workspaces",
    "pairing_grants",
    "pairings",
    "personal_access_tokens",
    "restored",
    "site_keys",
    "spaces",
    "store_meta",
    "systems",
    "webhooks",
    "workspaces",
    "_sqlx_migrations",
];

/// Indexes that hold few rows of a table: walking through them is no scan of the table.
const FEW: &[&str] = &["jobs_unsettled", "orphans_open"];

/// Statements whose answer is the whole table, by how they begin, and who asks for that.
const WHOLE: &[(&str, &str)] = &[
    (
        "SELECT h.acs_credential_id, c.display_name",
        "`credential holds` shows every hold",
    ),
    (
        "SELECT DISTINCT h.acs_credential_id FROM holds",
        "`credential release --all`, and only that",
    ),
    (
        "SELECT * FROM orphans ORDER BY",
        "`orphans` shows every outcome that nobody asked for",
    ),
    (
        "INSERT INTO restored (only_row, until_ms) SELECT 1",
        "the first start from a backup looks how far that goes",
    ),
    ("SELECT count(*) AS n FROM", "tests count rows"),
    (
        "SELECT coalesce(sum(attempts), 0) FROM webhook_deliveries",
        "tests count what was sent",
    ),
    (
        "SELECT detail FROM audit WHERE action",
        "tests read the audit trail",
    ),
];

/// What is to be looked at, and what was found.
struct Desk {
    statements: mpsc::Sender<Note>,
    seen: Mutex<BTreeSet<String>>,
}

enum Note {
    Statement(String),
    /// Asks for what was found wrong so far.
    Account(mpsc::Sender<Vec<String>>),
}

static DESK: OnceLock<Desk> = OnceLock::new();

/// Begins to listen, once a process. Called before a store is opened.
pub(crate) fn listen() {
    DESK.get_or_init(|| {
        let (statements, notes) = mpsc::channel();
        thread::spawn(move || judge(&notes));
        let desk = Desk {
            statements,
            seen: Mutex::default(),
        };
        // Where a test has a subscriber of its own, the statements go there.
        let _ = tracing::subscriber::set_global_default(Recorder);
        desk
    });
}

/// Fails the test that ends with it where a statement of this process was found to scan.
#[derive(Debug, Default)]
pub(crate) struct Watch;

impl Drop for Watch {
    fn drop(&mut self) {
        let Some(desk) = DESK.get() else { return };
        let (answer, account) = mpsc::channel();
        if thread::panicking() || desk.statements.send(Note::Account(answer)).is_err() {
            return;
        }
        let found = account.recv().unwrap_or_default();
        assert!(found.is_empty(), "{}", found.join("\n"));
    }
}

/// Whether this was run as a part of longer statements, and never by itself.
fn is_built_upon(part: &str) -> bool {
    let Some(desk) = DESK.get() else { return false };
    let seen = lock(&desk.seen);
    !seen.contains(part.trim()) && seen.iter().any(|sql| sql.contains(part))
}

fn lock(seen: &Mutex<BTreeSet<String>>) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Looks at statements for as long as the process lives.
fn judge(notes: &mpsc::Receiver<Note>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut conn = runtime.block_on(async {
        let options = SqliteConnectOptions::new()
            .filename(":memory:")
            .disable_statement_logging();
        let mut conn = options.connect().await.unwrap();
        MIGRATIONS.run(&mut conn).await.unwrap();
        conn
    });
    let mut found = Vec::new();
    for note in notes {
        match note {
            Note::Statement(sql) => found.extend(runtime.block_on(scan_of(&mut conn, &sql))),
            Note::Account(answer) => {
                let _ = answer.send(found.clone());
            }
        }
    }
}

/// What is wrong with a statement's plan, if anything is.
async fn scan_of(conn: &mut SqliteConnection, sql: &str) -> Option<String> {
    if WHOLE
        .iter()
        .any(|(beginning, _)| sql.starts_with(beginning))
    {
        return None;
    }
    let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
    // What cannot be explained is no query of rows: VACUUM, PRAGMA, BEGIN.
    let rows = sqlx::query(explain).fetch_all(conn).await.ok()?;
    let plan: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
    let scans: Vec<_> = plan.iter().filter(|step| is_scan(step, sql)).collect();
    (!scans.is_empty()).then(|| format!("{scans:?}\n  in {plan:?}\n  of {sql}"))
}

/// Whether a step of a plan walks through a table that grows.
fn is_scan(step: &str, sql: &str) -> bool {
    let Some(rest) = step.strip_prefix("SCAN ") else {
        return false;
    };
    let name = rest.split(' ').next().unwrap_or_default();
    // A row of constants, a part of the query that was worked out before, and the elements of a JSON list.
    let walks_few = FEW.iter().any(|index| rest.ends_with(index));
    if name == "CONSTANT" || rest.contains("VIRTUAL TABLE") || walks_few {
        return false;
    }
    match table_of(name, sql) {
        Some(table) => !SMALL.contains(&table.as_str()),
        None => false,
    }
}

/// The table that goes by a name in a statement; none for a subquery.
fn table_of(name: &str, sql: &str) -> Option<String> {
    let words = sql
        .split(|c: char| c.is_whitespace() || c == ',' || c == '(' || c == ')')
        .filter(|word| !word.is_empty());
    let words: Vec<&str> = words.chain(["", ""]).collect();
    let named = words.windows(4).find_map(|window| {
        let [before, table, next, after] = window else {
            return None;
        };
        let is_table = ["FROM", "JOIN", "UPDATE", "INTO"].contains(before);
        let alias = if *next == "AS" { after } else { next };
        (is_table && (*table == name || *alias == name)).then(|| (*table).to_owned())
    });
    // A name that WITH gives to a subquery is no table.
    let common = format!("{name} AS (");
    named.filter(|table| !(table == name && sql.contains(&common)))
}

/// Hears the database driver alone.
struct Recorder;

impl Subscriber for Recorder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "sqlx::query" && *metadata.level() <= Level::DEBUG
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut statement = Statement::default();
        event.record(&mut statement);
        let sql = if statement.whole.is_empty() {
            statement.summary
        } else {
            statement.whole
        };
        let sql = sql.trim().to_owned();
        let Some(desk) = DESK.get() else { return };
        if !sql.is_empty() && lock(&desk.seen).insert(sql.clone()) {
            let _ = desk.statements.send(Note::Statement(sql));
        }
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// A statement as the driver reports it: the whole of it only where the summary is not.
#[derive(Default)]
struct Statement {
    summary: String,
    whole: String,
}

impl Visit for Statement {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "summary" => value.clone_into(&mut self.summary),
            "db.statement" => value.clone_into(&mut self.whole),
            _ => {}
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

mod tests;
