//! `encoder-coordinator serve`

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::Args;
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    layer::SubscriberExt as _,
};

use super::{CliError, output};
use crate::{
    database::Database,
    desk::DeskSettings,
    encryption::CertificateFiles,
    outbound::Reach,
    serve::{ServeError, ServeOptions, Service},
    state::StopSignal,
    systemd,
};

#[derive(Args, Debug)]
pub(super) struct ServeArguments {
    /// The address to listen on; port 0 takes any free one. A socket that systemd hands over takes its place
    #[arg(long, default_value = "127.0.0.1:8480")]
    listen: SocketAddr,
    /// A further address, on which GET /metrics tells Prometheus how many agents, jobs and deliveries there are; unencrypted
    #[arg(long, value_name = "ADDRESS")]
    metrics: Option<SocketAddr>,
    /// The certificate that connections are encrypted with, and those between it and its authority, as a PEM file; read
    /// again when it changes
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,
    /// The certificate's private key, as a PEM file
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
    /// The authorities that agents' certificates must come from, as a PEM file: agents without one are refused, clients of the
    /// API need none. Read again when it changes
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    client_ca: Option<PathBuf>,
    /// The certificate that a planned change will bring, with those between it and its authority, or the authority's alone, as a
    /// PEM file: each agent that connects is told, and believes it from then on too
    #[arg(long, value_name = "FILE")]
    next_certificate: Option<PathBuf>,
    /// The database, as sqlite:PATH; made if it is missing
    #[arg(long)]
    database: Database,
    /// The master key file [default: PATH.master-key]
    #[arg(long, value_name = "FILE")]
    master_key: Option<PathBuf>,
    /// Make a workspace to try the service with, and print its keys as one JSON line. Its keys are also kept in the
    /// clear, in PATH.demo-keys.json
    #[arg(long)]
    seed_demo: bool,
    /// A further host name that requests may name; may be given several times
    #[arg(long, value_name = "NAME")]
    allow_host: Vec<String>,
    /// How often each side of an agent's session pings, in milliseconds; silence for two intervals is a dead link
    #[arg(long, value_name = "MS", default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(50..=22_000))]
    heartbeat_ms: u64,
    /// Let webhooks and questions to key servers go to this machine and to private networks, and there also by plain http
    #[arg(long)]
    allow_private_targets: bool,
    /// CA certificates that webhook endpoints and key servers may be trusted by besides the system's, as a PEM file
    #[arg(long, value_name = "FILE")]
    target_ca: Option<PathBuf>,
    /// The database was restored from a copy: hear every agent before a credential of the copy is put on a card
    #[arg(long)]
    restored: bool,
}

impl ServeArguments {
    pub(super) async fn run(self) -> Result<(), CliError> {
        start_logging();
        let listening = systemd::listening_socket().map_err(ServeError::Inherited)?;
        let options = ServeOptions {
            listen: self.listen,
            metrics: self.metrics,
            certificate: self
                .tls_certificate
                .zip(self.tls_key)
                .map(|(certificate, key)| CertificateFiles {
                    certificate,
                    key,
                    client_authorities: self.client_ca,
                }),
            next_certificate: self.next_certificate,
            database: self.database,
            master_key: self.master_key,
            seed_demo: self.seed_demo,
            allowed_hosts: self.allow_host,
            reach: if self.allow_private_targets {
                Reach::Private
            } else {
                Reach::Public
            },
            target_ca: self.target_ca,
            desk: DeskSettings {
                heartbeat: Duration::from_millis(self.heartbeat_ms),
                restored: self.restored,
            },
        };
        let service = Service::start_on(&options, listening).await?;
        let signals = Signals::take().map_err(|source| CliError::System {
            what: "cannot wait for signals",
            source,
        })?;
        tokio::spawn(stop_on_signal(signals, service.stop_signal()));
        if let Some(demo) = service.demo() {
            output::line(demo.line(&service.endpoint()));
        }
        systemd::ready();
        tokio::spawn(systemd::feed_watchdog(service.rounds()));
        service.run().await;
        Ok(())
    }
}

/// Log lines go to standard error; `RUST_LOG` says how many.
fn start_logging() {
    use tracing_subscriber::util::SubscriberInitExt as _;

    let wanted = std::env::var("RUST_LOG").ok();
    let filter = wanted.and_then(|wanted| wanted.parse().ok());
    let filter = filter.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    let lines = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .finish()
        .with(filter);
    // Only fails where a program that embeds this command logs already.
    let _ = lines.try_init();
}

/// What ends the service from outside. Signals count from here on, so take them before anything says that the service
/// runs.
#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn take() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn received(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// What ends the service from outside. Signals count from here on, so take them before anything says that the service
/// runs.
#[cfg(windows)]
struct Signals(tokio::signal::windows::CtrlC);

#[cfg(windows)]
impl Signals {
    fn take() -> std::io::Result<Self> {
        tokio::signal::windows::ctrl_c().map(Self)
    }

    async fn received(&mut self) {
        self.0.recv().await;
    }
}

async fn stop_on_signal(mut signals: Signals, stop: StopSignal) {
    signals.received().await;
    tracing::info!("stopping");
    systemd::stopping();
    stop.stop();
}
