//! A site of its own for each case: a coordinator with its database, and an agent with its journal.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddrV4},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use encoder_protocols::{card::Uid, wire::JobId};
use rusqlite::{Connection, OpenFlags, OptionalExtension};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    HarnessError,
    api::Api,
    disk::{Shim, Watch},
    process::Process,
    until,
};

/// The port of every coordinator; each has an address of its own in 127.0.0.0/8, so that none is taken by another
/// process while a killed coordinator is away.
const PORT: u16 = 8480;

/// How long a process may take to answer for the first time, and an agent to bring its encoder.
const STARTING: Duration = Duration::from_secs(60);

const DATABASE: &str = "coordinator.sqlite";
const STATE: &str = "agent";

/// The programs under test.
#[derive(Clone, Debug)]
pub(super) struct Programs {
    pub(super) agent: PathBuf,
    pub(super) coordinator: PathBuf,
}

/// What every site begins with: a database with a system, an agent's token and two credentials.
#[derive(Clone, Debug)]
pub(super) struct Template {
    programs: Programs,
    folder: PathBuf,
    api_key: String,
    agent_token: String,
    system: Uuid,
    pub(super) credentials: [Uuid; 2],
}

impl Template {
    /// Makes it in `folder`, with the coordinator itself.
    pub(super) fn make(programs: Programs, folder: &Path) -> Result<Self, HarnessError> {
        let folder = folder.join("template");
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(HarnessError::system("an earlier template"))?;
        }
        fs::create_dir_all(&folder).map_err(HarnessError::system("the template's folder"))?;
        let mut template = Self {
            programs,
            folder,
            api_key: String::new(),
            agent_token: String::new(),
            system: Uuid::nil(),
            credentials: [Uuid::nil(); 2],
        };
        template.seed()?;
        let site = Site::at(template.clone(), template.folder.clone());
        let mut coordinator = site.start_coordinator(None)?;
        for credential in &mut template.credentials {
            *credential = site.create_credential()?;
        }
        if !coordinator.stop()? {
            return Err(HarnessError::Ended("coordinator"));
        }
        Ok(template)
    }

    /// Lets the coordinator make its demo workspace, whose one line of output holds the keys.
    fn seed(&mut self) -> Result<(), HarnessError> {
        let failed = HarnessError::system("seeding the database");
        let mut seeding = Command::new(&self.programs.coordinator)
            .args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--seed-demo",
                "--database",
            ])
            .arg(database_name(&self.folder))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed)?;
        let mut line = String::new();
        if let Some(output) = seeding.stdout.take() {
            use std::io::BufRead as _;
            std::io::BufReader::new(output)
                .read_line(&mut line)
                .map_err(HarnessError::system("the seed's keys"))?;
        }
        seeding
            .kill()
            .and_then(|()| seeding.wait())
            .map_err(HarnessError::system("ending the seed"))?;
        let seed: Value = serde_json::from_str(&line)
            .map_err(|error| HarnessError::unreadable("the seed's keys")(error.into()))?;
        let text = |name: &str| seed[name].as_str().unwrap_or_default().to_owned();
        self.api_key = text("api_key");
        self.agent_token = text("agent_token");
        self.system = text("acs_system_id").parse().unwrap_or_default();
        Ok(())
    }
}

/// One site.
#[derive(Debug)]
pub(super) struct Site {
    template: Template,
    pub(super) folder: PathBuf,
    address: SocketAddrV4,
    pub(super) api: Api,
}

impl Site {
    /// A copy of the template in `folder`.
    pub(super) fn copy(template: &Template, folder: PathBuf) -> Result<Self, HarnessError> {
        let failed = || HarnessError::system("copying the template");
        fs::create_dir_all(&folder).map_err(failed())?;
        for entry in fs::read_dir(&template.folder).map_err(failed())? {
            let entry = entry.map_err(failed())?;
            fs::copy(entry.path(), folder.join(entry.file_name())).map_err(failed())?;
        }
        Ok(Self::at(template.clone(), folder))
    }

    fn at(template: Template, folder: PathBuf) -> Self {
        static SITES: AtomicU32 = AtomicU32::new(1);
        let [_, second, third, fourth] = SITES.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let address = SocketAddrV4::new(Ipv4Addr::new(127, 1 + second, third, fourth), PORT);
        let api = Api::new(format!("http://{address}"), template.api_key.clone());
        Self {
            template,
            folder,
            address,
            api,
        }
    }

    pub(super) fn credentials(&self) -> [Uuid; 2] {
        self.template.credentials
    }

    pub(super) fn system(&self) -> Uuid {
        self.template.system
    }

    pub(super) fn database(&self) -> PathBuf {
        self.folder.join(DATABASE)
    }

    pub(super) fn master_key(&self) -> PathBuf {
        self.folder.join(format!("{DATABASE}.master-key"))
    }

    pub(super) fn state_dir(&self) -> PathBuf {
        self.folder.join(STATE)
    }

    /// The coordinator's database files.
    pub(super) fn watch_store(&self) -> Watch {
        self.watch("store-steps", self.database())
    }

    /// The agent's journal files.
    pub(super) fn watch_journal(&self) -> Watch {
        self.watch("journal-steps", self.state_dir().join("journal.sqlite"))
    }

    fn watch(&self, folder: &str, files: PathBuf) -> Watch {
        Watch {
            files,
            folder: self.folder.join(folder),
            kill: None,
        }
    }

    /// Starts the coordinator and waits until it answers.
    pub(super) fn start_coordinator(
        &self,
        watched: Option<(&Shim, &Watch)>,
    ) -> Result<Process, HarnessError> {
        let mut command = Command::new(&self.template.programs.coordinator);
        command
            .args(["serve", "--listen", &self.address.to_string(), "--database"])
            .arg(database_name(&self.folder));
        put_between(&mut command, watched)?;
        let log = self.folder.join("coordinator.log");
        let mut process = Process::start("coordinator", command, &log)?;
        let up = until(STARTING, || Ok(!process.runs()? || self.api.is_up()))?;
        if up && process.runs()? {
            Ok(process)
        } else {
            Err(HarnessError::Ended("coordinator"))
        }
    }

    /// Starts the agent with its encoder at `port`.
    pub(super) fn start_agent(
        &self,
        port: &Path,
        poll_interval_ms: u32,
        watched: Option<(&Shim, &Watch)>,
    ) -> Result<Process, HarnessError> {
        let file = self.folder.join("agent.toml");
        let settings = format!(
            "state_dir = {:?}\n[coordinator]\nurl = \"ws://{}\"\ntoken = {:?}\n[log]\nlevel = \"debug\"\n\
             [[encoder]]\nname = \"Front Desk\"\ndriver = \"pn532\"\nport = {:?}\nsimulated = true\n\
             poll_interval_ms = {poll_interval_ms}\n",
            self.state_dir(),
            self.address,
            self.template.agent_token,
            port,
        );
        fs::write(&file, settings).map_err(HarnessError::system("the agent's settings"))?;
        let mut command = Command::new(&self.template.programs.agent);
        command.args(["run", "--config"]).arg(file);
        put_between(&mut command, watched)?;
        Process::start("agent", command, &self.folder.join("agent.log"))
    }

    /// Waits until the coordinator knows the encoder as ready; answers with its id.
    pub(super) fn encoder(&self) -> Result<String, HarnessError> {
        let mut encoder = None;
        let ready = until(STARTING, || {
            encoder = self.look_up(
                "SELECT acs_encoder_id FROM encoder_places
                 WHERE listed = 1 AND json_extract(description, '$.state') = 'ready'",
                "",
            )?;
            Ok(encoder.is_some())
        })?;
        encoder
            .filter(|_| ready)
            .ok_or_else(|| HarnessError::NotInTime("the encoder's inventory".to_owned()))
    }

    /// Whether the job is bound to a card.
    pub(super) fn is_bound(&self, job: JobId) -> Result<bool, HarnessError> {
        let found: Option<i64> =
            self.look_up("SELECT n FROM bindings WHERE job_id = ?", &job.to_string())?;
        Ok(found.is_some())
    }

    /// Whether the coordinator has taken the job's outcome.
    pub(super) fn has_outcome(&self, job: JobId) -> Result<bool, HarnessError> {
        let found: Option<String> = self.look_up(
            "SELECT touched FROM jobs WHERE job_id = ? AND touched IS NOT NULL",
            &job.to_string(),
        )?;
        Ok(found.is_some())
    }

    /// Whether the coordinator waits for nothing more of the job.
    pub(super) fn is_settled(&self, job: JobId) -> Result<bool, HarnessError> {
        let found: Option<String> = self.look_up(
            "SELECT job_id FROM jobs WHERE job_id = ? AND unsettled = 0",
            &job.to_string(),
        )?;
        Ok(found.is_some())
    }

    /// The card that the credential is tied to; none while it may go onto any.
    pub(super) fn held_on(&self, credential: Uuid) -> Result<Option<Uid>, HarnessError> {
        let found: Option<String> = self.look_up(
            "SELECT uid FROM holds WHERE acs_credential_id = ?",
            &credential.to_string(),
        )?;
        Ok(found.and_then(|uid| uid.parse().ok()))
    }

    /// The first value of a query of the running coordinator's database.
    fn look_up<T: rusqlite::types::FromSql>(
        &self,
        sql: &str,
        key: &str,
    ) -> Result<Option<T>, HarnessError> {
        let read = || {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let database = Connection::open_with_flags(self.database(), flags)?;
            database.busy_timeout(STARTING)?;
            let mut statement = database.prepare(sql)?;
            if statement.parameter_count() == 0 {
                statement.query_row([], |row| row.get(0)).optional()
            } else {
                statement.query_row([key], |row| row.get(0)).optional()
            }
        };
        read().map_err(|error| HarnessError::unreadable("the running store")(error.into()))
    }

    fn create_credential(&self) -> Result<Uuid, HarnessError> {
        let system = self.template.system;
        let user = self.api.post(
            "/acs/users/create",
            &json!({"acs_system_id": system, "full_name": "Jane Doe"}),
        )?;
        let created = self.api.post(
            "/acs/credentials/create",
            &json!({
                "acs_user_id": user["acs_user"]["acs_user_id"],
                "access_method": "card",
                "starts_at": "2026-01-01T15:00:00.000Z",
                "ends_at": "2099-01-04T12:00:00.000Z",
            }),
        )?;
        let id = created["acs_credential"]["acs_credential_id"].as_str();
        id.and_then(|id| id.parse().ok())
            .ok_or_else(|| HarnessError::Http {
                path: "/acs/credentials/create".to_owned(),
                answer: created.to_string(),
            })
    }
}

fn database_name(folder: &Path) -> String {
    format!("sqlite:{}", folder.join(DATABASE).display())
}

fn put_between(
    command: &mut Command,
    watched: Option<(&Shim, &Watch)>,
) -> Result<(), HarnessError> {
    if let Some((shim, watch)) = watched {
        fs::create_dir_all(&watch.folder).map_err(HarnessError::system("the steps' folder"))?;
        shim.watch(command, watch);
    }
    Ok(())
}
