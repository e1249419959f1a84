//! The running service: database, HTTP API, and an orderly stop.

use std::{
    fs::{File, TryLockError},
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use crate::{
    clock::Clock,
    connections::{self, Limits},
    database::Database,
    demo::{self, Demo, DemoError},
    desk::{Desk, DeskSettings},
    encryption::{CertificateError, CertificateFiles, Encryption, next_pins},
    http::{self, Hosts},
    metrics,
    outbound::{Client, Reach, SystemResolver, TlsSetupError, client_config},
    pairing::Guard,
    state::{App, AppState, StopSignal},
    store::{Store, StoreError, meta},
    webhooks::{Courier, Post},
};

/// What follows the database's name in the name of the lock file.
const LOCK_SUFFIX: &str = ".serve-lock";

/// How long a starting service waits for a command that has the lock.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
/// How often it looks meanwhile.
const LOCK_LOOK: Duration = Duration::from_millis(50);

/// What those who read `/metrics` may take.
const METRICS_LIMITS: Limits = Limits {
    connections: 16,
    head: Duration::from_secs(10),
    stall: Duration::from_secs(10),
};

/// How long requests that are under way may go on once the service is to stop.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// What the service is to do.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// The address to listen on; port 0 takes any free one.
    pub listen: SocketAddr,
    /// The address of `/metrics`; none for nowhere.
    pub metrics: Option<SocketAddr>,
    /// The certificate that connections are encrypted with; none for plain HTTP.
    pub certificate: Option<CertificateFiles>,
    /// A PEM file with the certificate of a planned change, or with its authority's: agents are told of it.
    pub next_certificate: Option<PathBuf>,
    /// The database.
    pub database: Database,
    /// The master key file; none for the one beside the database.
    pub master_key: Option<PathBuf>,
    /// Whether to make a workspace to try the service with.
    pub seed_demo: bool,
    /// Further host names that requests may name.
    pub allowed_hosts: Vec<String>,
    /// How far requests to webhook endpoints and key servers reach.
    pub reach: Reach,
    /// A PEM file with CA certificates that they may be trusted by, besides the system's.
    pub target_ca: Option<PathBuf>,
    /// How the desk works.
    pub desk: DeskSettings,
}

/// Why the service did not start or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Which address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The socket that the process was started with cannot be used.
    #[error(
        "cannot listen on the socket that the process was started with: {0}; expected one TCP socket that listens (LISTEN_FDS)"
    )]
    Inherited(io::Error),
    /// Another service runs on the database.
    #[error(
        "another encoder-coordinator serves this database ({0} is locked): stop it first, two would put one credential on two cards"
    )]
    AlreadyServed(PathBuf),
    /// The file that keeps a second service away cannot be made.
    #[error("cannot lock {path}: {source}")]
    Lock {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Connections cannot be encrypted.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The demo's workspace could not be made.
    #[error(transparent)]
    Demo(#[from] DemoError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No encrypted requests to webhook endpoints can be made.
    #[error(transparent)]
    Targets(#[from] TlsSetupError),
}

/// A service that listens and is ready to run.
#[derive(Debug)]
pub struct Service {
    listener: TcpListener,
    address: SocketAddr,
    metrics: Option<TcpListener>,
    encryption: Option<Arc<Encryption>>,
    state: AppState,
    demo: Option<Demo>,
    courier: Courier,
    _lock: File,
}

impl Service {
    /// Opens the database, makes the demo if it is asked for, and listens. Connections wait until [`Service::run`].
    ///
    /// # Errors
    /// [`ServeError`] when the database cannot be opened, the demo not made, or the address not listened on.
    pub async fn start(options: &ServeOptions) -> Result<Self, ServeError> {
        Self::start_on(options, None).await
    }

    /// The same; takes the connections of a socket that listens already, where there is one, in place of the options'
    /// address.
    ///
    /// # Errors
    /// As [`Service::start`].
    pub async fn start_on(
        options: &ServeOptions,
        listening: Option<std::net::TcpListener>,
    ) -> Result<Self, ServeError> {
        let clock = Clock::start();
        let certificate = options.certificate.clone().map(Encryption::load);
        let encryption = certificate.transpose()?.map(Arc::new);
        let lock = wait_for_lock(&options.database).await?;
        let key_file = options
            .database
            .master_key_file(options.master_key.as_deref());
        let store = Store::open(options.database.path(), &key_file, clock.utc()).await?;
        note_key(&store, encryption.as_deref()).await?;
        let demo = if options.seed_demo {
            Some(demo::seed(&store, &options.database, clock.utc()).await?)
        } else {
            None
        };
        let tls = client_config(options.target_ca.as_deref())?;
        let client = Arc::new(Client::new(options.reach, Arc::new(SystemResolver), tls));
        let courier = Courier::new(store.clone(), Arc::clone(&client) as Arc<dyn Post>);
        let (listener, address) = match listening {
            Some(listening) => adopt(listening)?,
            None => listen(options.listen).await?,
        };
        let metrics = match options.metrics {
            Some(address) => Some(listen(address).await?.0),
            None => None,
        };
        let desk = Desk::start_with(store.clone(), clock, options.desk, client).await?;
        let state = Arc::new(App {
            store,
            clock,
            desk,
            hosts: Hosts::new(address, &options.allowed_hosts),
            reach: options.reach,
            next_pins: options
                .next_certificate
                .as_deref()
                .map(next_pins)
                .transpose()?,
            pairing: Guard::default(),
            stop: StopSignal::default(),
        });
        Ok(Self {
            listener,
            address,
            metrics,
            encryption,
            state,
            demo,
            courier,
            _lock: lock,
        })
    }

    /// The base URL at which this machine reaches the service.
    pub fn endpoint(&self) -> String {
        let ip = match self.address {
            SocketAddr::V4(address) if address.ip().is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(address) if address.ip().is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            address @ (SocketAddr::V4(_) | SocketAddr::V6(_)) => address.ip(),
        };
        let scheme = if self.encryption.is_some() {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{}", SocketAddr::new(ip, self.address.port()))
    }

    /// The demo's workspace, if it was asked for.
    pub fn demo(&self) -> Option<&Demo> {
        self.demo.as_ref()
    }

    /// Changes whenever the desk's task comes round to what waits for it, several times a second.
    pub(crate) fn rounds(&self) -> watch::Receiver<u64> {
        self.state.desk.rounds()
    }

    /// Asks the service to stop; may be used from any task.
    pub fn stop_signal(&self) -> StopSignal {
        self.state.stop.clone()
    }

    /// Answers requests until the stop signal, then lets those under way finish and closes the database.
    pub async fn run(self) {
        let Self {
            listener,
            address,
            metrics,
            encryption,
            state,
            courier,
            _lock,
            demo: _,
        } = self;
        let encrypted = encryption.is_some();
        tracing::info!(%address, encrypted, store = %state.store.store_id(), "listening");
        let courier = tokio::spawn(courier.run(state.clock, state.stop.clone()));
        if let Some(encryption) = encryption.clone() {
            let (following, stop) = (Arc::clone(&encryption), state.stop.clone());
            tokio::spawn(async move { following.follow(&stop).await });
            tokio::spawn(note_new_keys(state.clone(), encryption));
        }
        if let Some(listener) = metrics {
            let (app, stop) = (metrics::router(state.clone()), state.stop.clone());
            tokio::spawn(async move {
                connections::serve(listener, app, METRICS_LIMITS, None, &stop).await;
            });
        }
        let app = http::router(state.clone());
        tokio::select! {
            () = connections::serve(listener, app, Limits::default(), encryption, &state.stop) => {}
            () = grace(&state.stop) => {
                tracing::warn!("requests were still under way; they are cut off");
            }
        }
        state.stop.stop();
        finish(courier).await;
        state.store.close().await;
        tracing::info!("stopped");
    }
}

/// Keeps the fingerprint that new pairing codes are shown with.
async fn note_key(store: &Store, encryption: Option<&Encryption>) -> Result<(), StoreError> {
    let fingerprint = encryption.map(Encryption::fingerprint);
    let mut conn = store.write().await?;
    meta::set_key_fingerprint(&mut conn, fingerprint.as_deref()).await?;
    Ok(conn.commit().await?)
}

/// Keeps that of every certificate that takes the place of another.
async fn note_new_keys(state: AppState, encryption: Arc<Encryption>) {
    loop {
        tokio::select! {
            () = state.stop.stopped() => return,
            () = encryption.renewed() => {}
        }
        if let Err(error) = note_key(&state.store, Some(&encryption)).await {
            tracing::error!(%error, "new pairing codes are shown with the fingerprint of the certificate before");
        }
    }
}

/// A command that does its work itself, because no service runs, has the lock for a moment.
async fn wait_for_lock(database: &Database) -> Result<File, ServeError> {
    let patience = tokio::time::Instant::now() + LOCK_PATIENCE;
    loop {
        match lock(database) {
            Err(ServeError::AlreadyServed(_)) if tokio::time::Instant::now() < patience => {
                tokio::time::sleep(LOCK_LOOK).await;
            }
            result => return result,
        }
    }
}

/// Keeps every other process that decides on jobs off the database for as long as the file is open.
///
/// # Errors
/// [`ServeError::AlreadyServed`] while another one has it; [`ServeError::Lock`] when the file cannot be made.
pub(crate) fn lock(database: &Database) -> Result<File, ServeError> {
    let path = database.beside(LOCK_SUFFIX);
    let opened = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path);
    let locked = opened
        .map_err(TryLockError::Error)
        .and_then(|file| file.try_lock().map(|()| file));
    locked.map_err(|error| match error {
        TryLockError::WouldBlock => ServeError::AlreadyServed(path),
        TryLockError::Error(source) => ServeError::Lock { path, source },
    })
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ServeError> {
    let failed = |source| ServeError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

fn adopt(listening: std::net::TcpListener) -> Result<(TcpListener, SocketAddr), ServeError> {
    let adopted = listening
        .set_nonblocking(true)
        .and_then(|()| TcpListener::from_std(listening))
        .and_then(|listener| Ok((listener.local_addr()?, listener)));
    match adopted {
        Ok((address, listener)) => Ok((listener, address)),
        Err(error) => Err(ServeError::Inherited(error)),
    }
}

/// Lets the deliveries that are under way end.
async fn finish(courier: JoinHandle<()>) {
    if let Err(error) = courier.await {
        tracing::error!(%error, "the webhook courier failed");
    }
}

async fn grace(stop: &StopSignal) {
    stop.stopped().await;
    tokio::time::sleep(STOP_GRACE).await;
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    fn options(folder: &std::path::Path) -> ServeOptions {
        let database = folder.join("store.db");
        ServeOptions {
            listen: "127.0.0.1:0".parse().unwrap(),
            metrics: None,
            certificate: None,
            next_certificate: None,
            database: format!("sqlite:{}", database.display()).parse().unwrap(),
            master_key: None,
            seed_demo: true,
            allowed_hosts: Vec::new(),
            reach: Reach::default(),
            target_ca: None,
            desk: DeskSettings::default(),
        }
    }

    /// Sends one request over a real connection and returns the whole answer.
    async fn ask(service: SocketAddr, request: &str) -> String {
        let mut stream = tokio::net::TcpStream::connect(service).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn it_answers_over_a_socket_and_stops_when_told() {
        let folder = tempfile::tempdir().unwrap();
        let service = Service::start(&options(folder.path())).await.unwrap();
        let (address, stop) = (service.address, service.stop_signal());
        assert_eq!(service.endpoint(), format!("http://{address}"));
        let running = tokio::spawn(service.run());
        let request =
            format!("GET /health HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        let answer = ask(address, &request).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        // An idle connection must not keep the service from stopping.
        let _idle = tokio::net::TcpStream::connect(address).await.unwrap();
        stop.stop();
        running.await.unwrap();
        assert!(tokio::net::TcpStream::connect(address).await.is_err());
    }

    #[tokio::test]
    async fn a_second_service_on_the_database_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let options = options(folder.path());
        let first = Service::start(&options).await.unwrap();
        let error = Service::start(&options).await.unwrap_err();
        assert!(matches!(error, ServeError::AlreadyServed(_)), "{error}");
        drop(first);
        Service::start(&options).await.unwrap();
    }

    #[tokio::test]
    async fn an_address_in_use_is_named() {
        let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let first = Service::start(&options(folder.path())).await.unwrap();
        let mut again = options(elsewhere.path());
        again.listen = first.address;
        let error = Service::start(&again).await.unwrap_err().to_string();
        assert!(error.contains(&first.address.to_string()), "{error}");
    }
}
