//! How long lists and lookups take over HTTP in a store of 100,000 credentials and a million events, and how long the next
//! deliveries to webhooks take to find: `cargo bench --package encoder-coordinator --bench store_at_size`.
//!
//! The service is the program itself, or the one that `STORE_AT_SIZE_PROGRAM` names; one client asks it over one
//! connection, 300 times each. The figures are from the request's first byte to the answer's last.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a bench reads the clock and prints its figures"
)]

#[path = "store_at_size/fill.rs"]
mod fill;

use std::{
    error::Error,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use encoder_coordinator::{
    clock::Clock,
    store::{Store, deliveries},
};
use serde_json::Value;
use uuid::Uuid;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// How often each request is made.
const TIMES: usize = 300;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
    let folder = tempfile::tempdir()?;
    let seed = Service::start(folder.path())?.seed.clone();
    let began = Instant::now();
    let known = fill::fill(&folder.path().join("store.db"), &seed).await?;
    println!(
        "filled in {:.1} s: {} credentials, {} events, {} deliveries",
        began.elapsed().as_secs_f64(),
        fill::CREDENTIALS,
        fill::EVENTS,
        fill::DELIVERIES,
    );
    println!("{:<58} {:>6} {:>9} {:>9}", "request", "rows", "p50", "p99");
    let service = Service::start(folder.path())?;
    let mut client = Client::connect(&service.seed)?;
    for (name, path) in requests(&known) {
        measure(&mut client, name, &path)?;
    }
    deep_pages(&mut client, &known)?;
    drop(service);
    fill::fill_webhooks(&folder.path().join("store.db"), &known).await?;
    dispatch(folder.path(), &known).await
}

/// What is asked, with its name.
fn requests(known: &fill::Known) -> Vec<(&'static str, String)> {
    let fill::Known {
        system,
        credential,
        user,
        identity,
        grant,
        method,
        attempt,
        event,
        ..
    } = known;
    let since = format!("/events/list?since={}", known.begin);
    let last_day = format!("/events/list?since={}", known.last_day);
    vec![
        (
            "a credential",
            format!("/acs/credentials/get?acs_credential_id={credential}"),
        ),
        (
            "credentials of a system, 500",
            format!("/acs/credentials/list?acs_system_id={system}"),
        ),
        (
            "credentials of a system, 20",
            format!("/acs/credentials/list?acs_system_id={system}&limit=20"),
        ),
        (
            "credentials whose id contains this",
            format!("/acs/credentials/list?acs_system_id={system}&search={credential}"),
        ),
        (
            "credentials whose name contains these two letters",
            format!("/acs/credentials/list?acs_system_id={system}&search=ue"),
        ),
        (
            "credentials whose name contains two signs that are nowhere",
            format!("/acs/credentials/list?acs_system_id={system}&search=%7C%7C"),
        ),
        (
            "credentials of a user",
            format!("/acs/credentials/list?acs_user_id={user}"),
        ),
        (
            "credentials of a person",
            format!("/acs/credentials/list?user_identity_id={identity}"),
        ),
        (
            "a credential's entrances",
            format!("/acs/credentials/list_accessible_entrances?acs_credential_id={credential}"),
        ),
        ("a user", format!("/acs/users/get?acs_user_id={user}")),
        (
            "users, 500",
            format!("/acs/users/list?acs_system_id={system}"),
        ),
        (
            "users whose name contains this",
            format!("/acs/users/list?acs_system_id={system}&search=guest%2019999"),
        ),
        (
            "users of a person",
            format!("/acs/users/list?user_identity_id={identity}"),
        ),
        (
            "a person",
            format!("/user_identities/get?user_identity_id={identity}"),
        ),
        ("people, 500", "/user_identities/list".to_owned()),
        (
            "an access grant",
            format!("/access_grants/get?access_grant_id={grant}"),
        ),
        ("access grants, 500", "/access_grants/list".to_owned()),
        (
            "access grants of a person",
            format!("/access_grants/list?user_identity_id={identity}"),
        ),
        (
            "an access method",
            format!("/access_methods/get?access_method_id={method}"),
        ),
        (
            "access methods of a grant",
            format!("/access_methods/list?access_grant_id={grant}"),
        ),
        ("access methods, 500", "/access_methods/list".to_owned()),
        (
            "an action attempt",
            format!("/action_attempts/get?action_attempt_id={attempt}"),
        ),
        ("action attempts, 500", "/action_attempts/list".to_owned()),
        ("an event", format!("/events/get?event_id={event}")),
        ("events since ever, 500", since.clone()),
        ("events of the last day, 500", last_day.clone()),
        (
            "events between two times, 500",
            format!(
                "/events/list?between={}&between={}",
                known.begin, known.last_day
            ),
        ),
        (
            "events of a frequent type, 500",
            format!("{since}&event_type=acs_credential.issued"),
        ),
        (
            "events of a rare type",
            format!("{since}&event_type=acs_encoder.added"),
        ),
        (
            "events of a type that never was",
            format!("{since}&event_type=acs_user.deleted"),
        ),
        (
            "events of three types, 500",
            format!(
                "{since}&event_types=acs_credential.issued&event_types=acs_encoder.added&event_types=acs_user.deleted"
            ),
        ),
        (
            "events of a system, 500",
            format!("{since}&acs_system_id={system}"),
        ),
        (
            "events of a credential",
            format!("{since}&acs_credential_id={credential}"),
        ),
        ("events of a user", format!("{since}&acs_user_id={user}")),
        (
            "events of an access method",
            format!("{since}&access_method_id={method}"),
        ),
    ]
}

/// Walks through lists to their last pages, and measures those.
fn deep_pages(client: &mut Client, known: &fill::Known) -> Outcome<()> {
    for (name, path) in [
        (
            "credentials of a system, last pages",
            format!("/acs/credentials/list?acs_system_id={}", known.system),
        ),
        (
            "users, last pages",
            format!("/acs/users/list?acs_system_id={}", known.system),
        ),
        (
            "action attempts, last pages",
            "/action_attempts/list?limit=500".to_owned(),
        ),
    ] {
        let mut pages = vec![path.clone()];
        loop {
            let page = pages.last().map(String::as_str).unwrap_or_default();
            let answer: Value = serde_json::from_slice(&client.get(page)?)?;
            let Some(cursor) = answer["pagination"]["next_page_cursor"].as_str() else {
                break;
            };
            pages.push(format!("{path}&page_cursor={cursor}"));
        }
        let last = &pages[pages.len().saturating_sub(10)..];
        let mut times = Vec::with_capacity(TIMES);
        let mut rows = 0;
        for page in last.iter().cycle().take(TIMES) {
            let began = Instant::now();
            let body = client.get(page)?;
            times.push(began.elapsed());
            rows = rows_of(&body)?;
        }
        report(&format!("{name} (of {})", pages.len()), rows, times);
    }
    Ok(())
}

/// What the courier asks of the store before every round.
async fn dispatch(folder: &Path, known: &fill::Known) -> Outcome<()> {
    let clock = Clock::start();
    let (database, key) = (folder.join("store.db"), folder.join("store.db.master-key"));
    let store = Store::open(&database, &key, clock.utc()).await?;
    let mut conn = store.read().await?;
    let (mut waiting, mut due) = (Vec::new(), Vec::new());
    let mut rows = (0, 0);
    for _ in 0..TIMES {
        let began = Instant::now();
        rows.0 = deliveries::waiting(&mut conn, clock.utc()).await?.len();
        waiting.push(began.elapsed());
        let began = Instant::now();
        rows.1 = deliveries::due(&mut conn, known.webhook, clock.utc(), 64)
            .await?
            .len();
        due.push(began.elapsed());
    }
    report("webhooks with something to send (no HTTP)", rows.0, waiting);
    report("a webhook's next deliveries (no HTTP)", rows.1, due);
    Ok(())
}

fn measure(client: &mut Client, name: &str, path: &str) -> Outcome<()> {
    let mut times = Vec::with_capacity(TIMES);
    let mut rows = 0;
    for _ in 0..TIMES {
        let began = Instant::now();
        let body = client.get(path)?;
        times.push(began.elapsed());
        rows = rows_of(&body)?;
    }
    report(name, rows, times);
    Ok(())
}

/// How many resources an answer has.
fn rows_of(body: &[u8]) -> Outcome<usize> {
    let answer: Value = serde_json::from_slice(body)?;
    let values = answer.as_object().into_iter().flat_map(|map| map.values());
    let lists = values.filter_map(Value::as_array).map(Vec::len);
    Ok(lists.max().unwrap_or(1))
}

fn report(name: &str, rows: usize, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1000.0;
    println!("{name:<58} {rows:>6} {:>6.2} ms {:>6.2} ms", at(50), at(99));
}

/// The program, serving; stopped when it is dropped.
struct Service {
    child: Child,
    seed: Value,
}

impl Service {
    fn start(folder: &Path) -> Outcome<Self> {
        let built = || env!("CARGO_BIN_EXE_encoder-coordinator").into();
        let program = std::env::var_os("STORE_AT_SIZE_PROGRAM").unwrap_or_else(built);
        let mut child = Command::new(program)
            .args(["serve", "--listen", "127.0.0.1:0", "--seed-demo"])
            .args(["--database", "sqlite:store.db"])
            .current_dir(folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut line = String::new();
        let out = child.stdout.take().ok_or("no output")?;
        BufReader::new(out).read_line(&mut line)?;
        let seed = serde_json::from_str(&line)?;
        Ok(Self { child, seed })
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One connection that stays open.
struct Client {
    stream: BufReader<TcpStream>,
    host: String,
    key: String,
}

impl Client {
    fn connect(seed: &Value) -> Outcome<Self> {
        let endpoint = seed["endpoint"].as_str().ok_or("no endpoint")?;
        let host = endpoint.trim_start_matches("http://").to_owned();
        let stream = TcpStream::connect(&host)?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream: BufReader::new(stream),
            key: seed["api_key"].as_str().ok_or("no key")?.to_owned(),
            host,
        })
    }

    /// The answer's body, whole.
    fn get(&mut self, path: &str) -> Outcome<Vec<u8>> {
        let (host, key) = (&self.host, &self.key);
        let head =
            format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {key}\r\n\r\n");
        self.stream.get_mut().write_all(head.as_bytes())?;
        let mut status = String::new();
        self.stream.read_line(&mut status)?;
        let mut length = 0;
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line)?;
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        if !status.contains(" 200 ") {
            return Err(format!("{path}: {status} {}", String::from_utf8_lossy(&body)).into());
        }
        Ok(body)
    }
}

/// The id of the row with this number among those that were made in steps of so many milliseconds.
fn id_of(begin_ms: i64, step_ms: i64, number: i64) -> Uuid {
    let at = u128::try_from(begin_ms + number * step_ms).unwrap_or_default();
    let number = u128::try_from(number).unwrap_or_default();
    Uuid::from_u128(at << 80 | 0x7000_8000_u128 << 48 | number)
}
