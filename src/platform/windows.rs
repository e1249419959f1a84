//! Windows: the service control dispatcher, and what the PC says of itself.

use std::{
    ffi::OsString,
    io,
    path::PathBuf,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;
use windows_service::{
    define_windows_service,
    service::{
        ServiceControl, ServiceControlAccept, ServiceExitCode, ServiceState, ServiceStatus,
        ServiceType,
    },
    service_control_handler::{self, ServiceControlHandlerResult, ServiceStatusHandle},
    service_dispatcher,
};

/// The service's name, which its account has too.
pub const SERVICE_NAME: &str = "encoder-agent";

/// How long the system may wait for the next word of a service that starts or stops.
const WAIT_HINT: Duration = Duration::from_secs(10);

/// Where the registry says which folders all users share.
const COMMON_FOLDERS: &str = r"SOFTWARE\Microsoft\Windows\CurrentVersion\Explorer\Shell Folders";

/// How often a service that stops says that it still does.
const STILL_STOPPING: Duration = Duration::from_secs(1);

/// Told once when the system wants the service to stop.
static STOP: Notify = Notify::const_new();

/// Whether it was told: before a shutdown the system may say so more than once, and only the first counts.
static STOP_WANTED: AtomicBool = AtomicBool::new(false);

type Body = Box<dyn FnOnce(&ServiceNotifier) -> u32 + Send>;

/// What the service does; the system's callback has no room for it.
static BODY: Mutex<Option<Body>> = Mutex::new(None);

/// Runs `body` as the service that the system has started this process for. Blocks until the service has stopped.
///
/// `body` answers 0, or an error code of its own, at which the system starts the service again.
///
/// # Errors
/// The system's error, above all when it was not the system that started the process.
pub fn run_as_service(
    body: impl FnOnce(&ServiceNotifier) -> u32 + Send + 'static,
) -> io::Result<()> {
    *BODY.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(body));
    service_dispatcher::start(SERVICE_NAME, service_entry).map_err(system_error)
}

define_windows_service!(service_entry, service_main);

fn service_main(_arguments: Vec<OsString>) {
    let body = BODY.lock().unwrap_or_else(PoisonError::into_inner).take();
    // Without a handle there is nobody to tell; the system notices that the process ends.
    let (Some(body), Ok(handle)) = (body, service_control_handler::register(SERVICE_NAME, heed))
    else {
        return;
    };
    let notifier = ServiceNotifier {
        service: Some(Service {
            handle,
            checkpoint: AtomicU32::new(0),
            stopping: AtomicBool::new(false),
        }),
    };
    notifier.report(ServiceState::StartPending, 0);
    let code = body(&notifier);
    notifier.report(ServiceState::Stopped, code);
}

/// Must capture nothing: windows-service frees what a handler has captured after the first stop, and the system may ask again.
fn heed(control: ServiceControl) -> ServiceControlHandlerResult {
    let is_stop = matches!(
        control,
        ServiceControl::Stop | ServiceControl::Preshutdown | ServiceControl::Shutdown
    );
    if is_stop && !STOP_WANTED.swap(true, Ordering::Relaxed) {
        STOP.notify_one();
    }
    if is_stop || matches!(control, ServiceControl::Interrogate) {
        ServiceControlHandlerResult::NoError
    } else {
        ServiceControlHandlerResult::NotImplemented
    }
}

/// The system's error behind one of windows-service.
pub fn system_error(error: windows_service::Error) -> io::Error {
    if let windows_service::Error::Winapi(source) = error {
        source
    } else {
        io::Error::other(error)
    }
}

/// Returns once the system wants the service to stop; never in a process that is none.
pub(super) async fn stop_wanted() {
    STOP.notified().await;
}

/// Tells the system how the service is; does nothing in a process that is none.
#[derive(Debug)]
pub struct ServiceNotifier {
    service: Option<Service>,
}

#[derive(Debug)]
struct Service {
    handle: ServiceStatusHandle,
    /// Goes up with each word while it starts or stops, which says that it does not hang.
    checkpoint: AtomicU32,
    stopping: AtomicBool,
}

impl ServiceNotifier {
    /// For a process that is no service.
    ///
    /// # Errors
    /// None.
    pub fn from_environment() -> io::Result<Self> {
        Ok(Self { service: None })
    }

    /// Nobody watches.
    pub fn watchdog_interval(&self) -> Option<Duration> {
        None
    }

    /// How often [`ServiceNotifier::alive`] is wanted while the service stops; it is not before.
    pub fn stopping_interval(&self) -> Option<Duration> {
        let service = self.service.as_ref()?;
        service
            .stopping
            .load(Ordering::Relaxed)
            .then_some(STILL_STOPPING)
    }

    /// The service is up.
    pub fn ready(&self) {
        self.report(ServiceState::Running, 0);
    }

    /// The service is stopping, and may take a while.
    pub fn stopping(&self) {
        if let Some(service) = &self.service {
            service.stopping.store(true, Ordering::Relaxed);
        }
        self.report(ServiceState::StopPending, 0);
    }

    /// The service still stops.
    pub fn alive(&self) {
        if self.stopping_interval().is_some() {
            self.report(ServiceState::StopPending, 0);
        }
    }

    fn report(&self, state: ServiceState, code: u32) {
        let Some(service) = &self.service else { return };
        let is_pending = matches!(
            state,
            ServiceState::StartPending | ServiceState::StopPending
        );
        let checkpoint = if is_pending {
            service.checkpoint.fetch_add(1, Ordering::Relaxed) + 1
        } else {
            0
        };
        let status = ServiceStatus {
            service_type: ServiceType::OWN_PROCESS,
            current_state: state,
            controls_accepted: match state {
                ServiceState::Running => {
                    ServiceControlAccept::STOP | ServiceControlAccept::PRESHUTDOWN
                }
                ServiceState::Stopped
                | ServiceState::StartPending
                | ServiceState::StopPending
                | ServiceState::ContinuePending
                | ServiceState::PausePending
                | ServiceState::Paused => ServiceControlAccept::empty(),
            },
            exit_code: match code {
                0 => ServiceExitCode::NO_ERROR,
                code => ServiceExitCode::ServiceSpecific(code),
            },
            checkpoint,
            wait_hint: if is_pending {
                WAIT_HINT
            } else {
                Duration::ZERO
            },
            process_id: None,
        };
        if let Err(error) = service.handle.set_service_status(status) {
            tracing::warn!(%error, ?state, "the system could not be told of the service's state");
        }
    }
}

/// The operating system's name, for people.
pub fn os_name() -> String {
    let version = windows_version::OsVersion::current();
    format!(
        "Windows {}.{}.{}",
        version.major, version.minor, version.build
    )
}

/// The runtime's clock goes on while the PC sleeps.
pub fn time_since_boot() -> Option<Duration> {
    None
}

/// `encoder-agent` in the folder that Windows has for programs' data (`%ProgramData%`): settings, state and logs.
///
/// The registry tells it, since the environment is whatever the one who starts a program makes it.
pub fn settings_dir() -> PathBuf {
    let folders = windows_registry::LOCAL_MACHINE.open(COMMON_FOLDERS);
    let root = folders.and_then(|folders| folders.get_string("Common AppData"));
    let root = root.unwrap_or_else(|_| r"C:\ProgramData".to_owned());
    PathBuf::from(root).join("encoder-agent")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_is_no_service_tells_nobody() {
        let notifier = ServiceNotifier::from_environment().unwrap();
        notifier.ready();
        notifier.stopping();
        notifier.alive();
        assert_eq!(notifier.stopping_interval(), None);
    }

    #[test]
    fn settings_lie_where_windows_keeps_programs_data() {
        let wanted = std::env::var_os("ProgramData").unwrap();
        assert_eq!(settings_dir(), PathBuf::from(wanted).join("encoder-agent"));
    }

    #[test]
    fn the_systems_name_has_its_build() {
        let name = os_name();
        let numbers = name.strip_prefix("Windows ").unwrap();
        assert_eq!(numbers.split('.').count(), 3, "{name}");
    }
}
