//! How a command reaches the process that decides on jobs: through a table of the database. Where a service runs, it
//! looks there five times a second; where none does, this process does the command itself and keeps a service from starting
//! meanwhile.

use std::{
    io::{self, IsTerminal as _},
    time::Duration,
};

use uuid::Uuid;

use super::{CliError, output, resource::StoreArguments};
use crate::{
    clock::Clock,
    database::Database,
    desk,
    operator::{Command, Report},
    serve::{self, ServeError},
    store::{Store, commands},
};

/// How long a running service may take for a command.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often the answer is looked for.
const LOOK: Duration = Duration::from_millis(50);

/// Has a command done, and tells what came of it.
pub(super) async fn ask(arguments: &StoreArguments, command: &Command) -> Result<Report, CliError> {
    let (store, now) = arguments.open().await?;
    let mut conn = store.write().await?;
    let id = commands::ask(&mut conn, command, now).await?;
    conn.commit().await?;
    let answer = answer_within(PATIENCE, &store, arguments.database(), id).await;
    store.close().await;
    answer
}

async fn answer_within(
    patience: Duration,
    store: &Store,
    database: &Database,
    id: i64,
) -> Result<Report, CliError> {
    match tokio::time::timeout(patience, answer(store, database, id)).await {
        Ok(answer) => answer,
        Err(_) => give_up(store, id).await,
    }
}

async fn answer(store: &Store, database: &Database, id: i64) -> Result<Report, CliError> {
    loop {
        match serve::lock(database) {
            Ok(_lock) => desk::work_off(store, Clock::start()).await?,
            Err(ServeError::AlreadyServed(_)) => {}
            Err(error) => return Err(error.into()),
        }
        if let Some(answer) = commands::answered(&mut *store.read().await?, id).await? {
            return Ok(answer?);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Takes the command back, so that it is not done behind the operator's back later.
async fn give_up(store: &Store, id: i64) -> Result<Report, CliError> {
    let mut conn = store.write().await?;
    let withdrawn = commands::withdraw(&mut conn, id).await?;
    conn.commit().await?;
    if withdrawn {
        return Err(CliError::NoAnswer);
    }
    match commands::answered(&mut *store.read().await?, id).await? {
        Some(answer) => Ok(answer?),
        None => Err(CliError::NoAnswer),
    }
}

/// Asks a second time for something that cannot be taken back: the id must be said again, with `--confirm` or, at a
/// terminal, by typing it.
pub(super) fn confirm(id: Uuid, confirmed: Option<Uuid>, what: &str) -> Result<(), CliError> {
    let said = match confirmed {
        Some(said) => Some(said),
        None if io::stdin().is_terminal() => {
            output::note(format_args!("{what}\nType {id} to go on:"));
            let mut line = String::new();
            let read = io::stdin().read_line(&mut line);
            read.map_err(|source| CliError::System {
                what: "cannot read the answer",
                source,
            })?;
            line.trim().parse().ok()
        }
        None => None,
    };
    if said == Some(id) {
        Ok(())
    } else {
        Err(CliError::NotConfirmed { id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{jobs::AgentId, operator::Refused};

    struct Bench {
        folder: tempfile::TempDir,
        store: Store,
        id: i64,
    }

    impl Bench {
        /// A store in which a command waits that cannot be done.
        async fn start() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let now = Clock::start().utc();
            let (database, key) = (folder.path().join("store.db"), folder.path().join("key"));
            let store = Store::open(&database, &key, now).await.unwrap();
            let mut conn = store.write().await.unwrap();
            let agent = AgentId(Uuid::from_u128(7));
            let command = Command::RevokeAgent { agent };
            let id = commands::ask(&mut conn, &command, now).await.unwrap();
            conn.commit().await.unwrap();
            Self { folder, store, id }
        }

        fn database(&self) -> Database {
            let path = self.folder.path().join("store.db");
            format!("sqlite:{}", path.display()).parse().unwrap()
        }
    }

    #[tokio::test]
    async fn where_no_service_runs_the_command_is_done_here() {
        let bench = Bench::start().await;
        let answer = answer_within(PATIENCE, &bench.store, &bench.database(), bench.id).await;
        let refused = matches!(answer, Err(CliError::Refused(Refused::UnknownAgent { .. })));
        assert!(refused, "{answer:?}");
    }

    #[tokio::test]
    async fn a_command_that_a_hanging_service_does_not_take_is_taken_back() {
        let bench = Bench::start().await;
        let _hanging = serve::lock(&bench.database()).unwrap();
        let soon = Duration::from_millis(10);
        let answer = answer_within(soon, &bench.store, &bench.database(), bench.id).await;
        assert!(matches!(answer, Err(CliError::NoAnswer)), "{answer:?}");
        let mut conn = bench.store.read().await.unwrap();
        assert!(commands::waiting(&mut conn).await.unwrap().is_empty());
    }

    #[test]
    fn what_cannot_be_undone_must_be_said_with_the_very_id() {
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        assert!(confirm(one, Some(one), "").is_ok());
        let wrong = confirm(one, Some(other), "");
        assert!(matches!(wrong, Err(CliError::NotConfirmed { id }) if id == one));
    }
}
