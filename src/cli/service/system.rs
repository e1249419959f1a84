//! What the service control of Windows is asked.

use std::{
    ffi::OsString,
    fmt, io,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use windows_service::{
    service::{
        Service, ServiceAccess, ServiceAction, ServiceActionType, ServiceErrorControl,
        ServiceExitCode, ServiceFailureActions, ServiceFailureResetPeriod, ServiceInfo,
        ServiceStartType, ServiceState, ServiceType,
    },
    service_manager::{ServiceManager, ServiceManagerAccess},
};

use crate::platform::{SERVICE_NAME, system_error};

const DISPLAY_NAME: &str = "Encoder Agent";
const DESCRIPTION: &str = "Drives the card encoders of this PC for an encoder-coordinator, and tells it what came of each card.";

/// The virtual account that Windows keeps for the service: no password, no rights but those given to it.
const ACCOUNT: &str = r"NT SERVICE\encoder-agent";

/// How long after each failure the service is started again; the last counts for all that follow.
const RESTART_AFTER: [Duration; 3] = [
    Duration::from_secs(2),
    Duration::from_secs(10),
    Duration::from_secs(60),
];

/// After so long without a failure the next one counts as the first.
const FAILURES_FORGOTTEN: Duration = Duration::from_secs(24 * 60 * 60);

/// How often the service's state is asked for while it changes.
const LOOK: Duration = Duration::from_millis(100);

/// How long a service may take to start or stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// ERROR_ACCESS_DENIED.
const ACCESS_DENIED: i32 = 5;
/// ERROR_INVALID_LEVEL: wine's answer to what it does not know of services.
const INVALID_LEVEL: i32 = 124;
/// ERROR_SERVICE_ALREADY_RUNNING.
const ALREADY_RUNNING: i32 = 1_056;
/// ERROR_SERVICE_DOES_NOT_EXIST.
const DOES_NOT_EXIST: i32 = 1_060;
/// ERROR_SERVICE_NOT_ACTIVE.
const NOT_ACTIVE: i32 = 1_062;
/// ERROR_SERVICE_MARKED_FOR_DELETE.
const MARKED_FOR_DELETE: i32 = 1_072;

/// Why the service cannot be what it should.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("the service is not installed: install it with `encoder-agent service install`")]
    NotInstalled,
    #[error(
        "administrator rights are needed: open the prompt with \"Run as administrator\" and try again"
    )]
    NotPermitted,
    #[error(
        "the service was removed, but a program still looks at it: close services.msc, then try again"
    )]
    BeingRemoved,
    #[error("the service ended by itself with {code}: {} says why", log.display())]
    Ended { code: u32, log: PathBuf },
    #[error("the service has not {awaited} within {} s: look at it again with `encoder-agent service status`", PATIENCE.as_secs())]
    Slow { awaited: &'static str },
    #[error("cannot make the folder {} fit for the service: {reason}", path.display())]
    Folder { path: PathBuf, reason: String },
    #[error("cannot {attempted}: {source}")]
    System {
        attempted: &'static str,
        source: io::Error,
    },
}

impl Failure {
    fn of(attempted: &'static str, error: windows_service::Error) -> Self {
        let source = system_error(error);
        match source.raw_os_error() {
            Some(ACCESS_DENIED) => Self::NotPermitted,
            Some(DOES_NOT_EXIST) => Self::NotInstalled,
            Some(MARKED_FOR_DELETE) => Self::BeingRemoved,
            Some(_) | None => Self::System { attempted, source },
        }
    }
}

/// ERROR_SERVICE_NEVER_STARTED.
const NEVER_STARTED: u32 = 1_077;

/// How the service is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum State {
    NotInstalled,
    Starting,
    /// With its process.
    Running(u32),
    Stopping,
    /// With the code that it ended with, 0 where it was told to.
    Stopped(u32),
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInstalled => f.write_str("not installed"),
            Self::Starting => f.write_str("starting"),
            Self::Running(id) => write!(f, "running, process {id}"),
            Self::Stopping => f.write_str("stopping"),
            Self::Stopped(0) => f.write_str("stopped"),
            Self::Stopped(code) => write!(f, "stopped, ended with {code}"),
        }
    }
}

/// Makes the service, or changes the one there is; whether it was made.
pub(super) fn install(program: &Path, config: &Path, log: &Path) -> Result<bool, Failure> {
    let access = ServiceManagerAccess::CONNECT | ServiceManagerAccess::CREATE_SERVICE;
    let manager = connect(access)?;
    let info = info(program, config, log);
    // START is what setting a restart after failures asks for.
    let rights = ServiceAccess::QUERY_STATUS | ServiceAccess::CHANGE_CONFIG | ServiceAccess::START;
    let (service, is_first) = match existing(&manager, rights)? {
        Some(service) => {
            let changed = service.change_config(&info);
            changed.map_err(|error| Failure::of("change the service", error))?;
            (service, false)
        }
        None => {
            let made = manager.create_service(&info, rights);
            let service = made.map_err(|error| Failure::of("make the service", error))?;
            (service, true)
        }
    };
    service
        .set_description(DESCRIPTION)
        .map_err(|error| Failure::of("describe the service", error))?;
    restart_after_failures(&service).map_err(|error| Failure::of("set the restarts", error))?;
    Ok(is_first)
}

fn existing(manager: &ServiceManager, rights: ServiceAccess) -> Result<Option<Service>, Failure> {
    let opened = manager.open_service(SERVICE_NAME, rights);
    match opened.map_err(|error| Failure::of("open the service", error)) {
        Ok(service) => Ok(Some(service)),
        Err(Failure::NotInstalled) => Ok(None),
        Err(failure) => Err(failure),
    }
}

fn info(program: &Path, config: &Path, log: &Path) -> ServiceInfo {
    ServiceInfo {
        name: SERVICE_NAME.into(),
        display_name: DISPLAY_NAME.into(),
        service_type: ServiceType::OWN_PROCESS,
        start_type: ServiceStartType::AutoStart,
        error_control: ServiceErrorControl::Normal,
        executable_path: program.to_owned(),
        launch_arguments: vec![
            "service".into(),
            "run".into(),
            "--config".into(),
            config.into(),
            "--log".into(),
            log.into(),
        ],
        dependencies: Vec::new(),
        account_name: Some(ACCOUNT.into()),
        account_password: None,
    }
}

fn restart_after_failures(service: &Service) -> windows_service::Result<()> {
    let actions = RESTART_AFTER.map(|delay| ServiceAction {
        action_type: ServiceActionType::Restart,
        delay,
    });
    service.update_failure_actions(ServiceFailureActions {
        reset_period: ServiceFailureResetPeriod::After(FAILURES_FORGOTTEN),
        reboot_msg: None,
        command: None,
        actions: Some(actions.to_vec()),
    })?;
    // Else only a process that vanishes counts, and not one that says with which error it ends.
    match service.set_failure_actions_on_non_crash_failures(true) {
        Err(windows_service::Error::Winapi(error))
            if error.raw_os_error() == Some(INVALID_LEVEL) =>
        {
            Ok(())
        }
        set => set,
    }
}

/// Stops and removes the service; none that is there is fine.
pub(super) fn uninstall() -> Result<(), Failure> {
    match stop() {
        Ok(()) => {}
        Err(Failure::NotInstalled) => return Ok(()),
        Err(failure) => return Err(failure),
    }
    let service = open(ServiceAccess::DELETE)?;
    let deleted = service.delete();
    deleted.map_err(|error| Failure::of("remove the service", error))?;
    drop(service);
    until("gone", || {
        Ok((state()? == State::NotInstalled).then_some(()))
    })
}

/// Starts the service and waits until it is ready; its process.
pub(super) fn start(log: &Path) -> Result<u32, Failure> {
    let service = open(ServiceAccess::START | ServiceAccess::QUERY_STATUS)?;
    if let Err(error) = service.start::<OsString>(&[]) {
        let failure = Failure::of("start the service", error);
        let runs = matches!(&failure, Failure::System { source, .. }
            if source.raw_os_error() == Some(ALREADY_RUNNING));
        if !runs {
            return Err(failure);
        }
    }
    until("started", || match state_of(&service)? {
        State::Running(id) => Ok(Some(id)),
        State::Starting | State::Stopping => Ok(None),
        State::NotInstalled => Err(Failure::NotInstalled),
        State::Stopped(code) => Err(Failure::Ended {
            code,
            log: log.to_owned(),
        }),
    })
}

/// Stops the service and waits until it has.
pub(super) fn stop() -> Result<(), Failure> {
    let service = open(ServiceAccess::STOP | ServiceAccess::QUERY_STATUS)?;
    if matches!(state_of(&service)?, State::Stopped(_)) {
        return Ok(());
    }
    if state_of(&service)? != State::Stopping
        && let Err(error) = service.stop()
    {
        let failure = Failure::of("stop the service", error);
        let ended = matches!(&failure, Failure::System { source, .. }
            if source.raw_os_error() == Some(NOT_ACTIVE));
        if !ended {
            return Err(failure);
        }
    }
    until("stopped", || {
        Ok(matches!(state_of(&service)?, State::Stopped(_)).then_some(()))
    })
}

/// How the service is.
pub(super) fn state() -> Result<State, Failure> {
    let manager = connect(ServiceManagerAccess::CONNECT)?;
    match existing(&manager, ServiceAccess::QUERY_STATUS)? {
        Some(service) => state_of(&service),
        None => Ok(State::NotInstalled),
    }
}

fn state_of(service: &Service) -> Result<State, Failure> {
    let status = service
        .query_status()
        .map_err(|error| Failure::of("ask for the service's state", error))?;
    Ok(match status.current_state {
        ServiceState::StartPending => State::Starting,
        ServiceState::StopPending => State::Stopping,
        ServiceState::Stopped => State::Stopped(match status.exit_code {
            ServiceExitCode::Win32(NEVER_STARTED) => 0,
            ServiceExitCode::Win32(code) | ServiceExitCode::ServiceSpecific(code) => code,
        }),
        // The service accepts no pauses.
        ServiceState::Running
        | ServiceState::Paused
        | ServiceState::PausePending
        | ServiceState::ContinuePending => State::Running(status.process_id.unwrap_or_default()),
    })
}

fn open(access: ServiceAccess) -> Result<Service, Failure> {
    let manager = connect(ServiceManagerAccess::CONNECT)?;
    existing(&manager, access)?.ok_or(Failure::NotInstalled)
}

fn connect(access: ServiceManagerAccess) -> Result<ServiceManager, Failure> {
    ServiceManager::local_computer(None::<&str>, access)
        .map_err(|error| Failure::of("reach the system's services", error))
}

/// Looks again and again until there is an answer.
fn until<T>(
    awaited: &'static str,
    look: impl Fn() -> Result<Option<T>, Failure>,
) -> Result<T, Failure> {
    let looks = PATIENCE.as_millis() / LOOK.as_millis();
    for _ in 0..looks {
        if let Some(answer) = look()? {
            return Ok(answer);
        }
        thread::park_timeout(LOOK);
    }
    Err(Failure::Slow { awaited })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_system_name_what_to_do() {
        let failure = |code| {
            let error = windows_service::Error::Winapi(io::Error::from_raw_os_error(code));
            Failure::of("try", error).to_string()
        };
        assert!(failure(ACCESS_DENIED).starts_with("administrator rights are needed"));
        assert!(failure(DOES_NOT_EXIST).ends_with("`encoder-agent service install`"));
        assert!(failure(MARKED_FOR_DELETE).contains("services.msc"));
        assert!(failure(87).starts_with("cannot try: "));
    }

    #[test]
    fn the_service_starts_by_itself_under_its_own_account() {
        let program = Path::new(r"C:\a b\x.exe");
        let config = Path::new(r"C:\c d\agent.toml");
        let info = info(program, config, Path::new(r"C:\agent.log"));
        assert_eq!(info.start_type, ServiceStartType::AutoStart);
        assert_eq!(info.account_name, Some(ACCOUNT.into()));
        assert!(ACCOUNT.ends_with(SERVICE_NAME));
        let arguments = info.launch_arguments;
        assert_eq!(arguments[3], r"C:\c d\agent.toml");
        assert_eq!(arguments[5], r"C:\agent.log");
    }
}
