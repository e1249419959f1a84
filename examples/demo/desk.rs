//! Coordinator, agent and emulated encoder, each on its own thread.

use std::{error::Error, fs, path::Path, sync::mpsc, thread::JoinHandle};

use encoder_agent::{
    agent::Agent,
    config::{Layers, Settings},
    emulation::{EmulationOptions, PtyEncoder},
};
use encoder_coordinator::{
    demo::Demo,
    desk::DeskSettings,
    outbound::Reach,
    serve::{ServeError, ServeOptions, Service},
    state::StopSignal,
};
use tokio_util::sync::CancellationToken;

/// A front desk with everything on it. Dropping it stops all of it, agent first.
pub(crate) struct Desk {
    /// The coordinator's base URL.
    pub(crate) endpoint: String,
    /// The keys to it.
    pub(crate) demo: Demo,
    /// The encoder, to put cards on.
    pub(crate) encoder: PtyEncoder,
    coordinator: Part<StopSignal>,
    agent: Part<CancellationToken>,
    _folder: tempfile::TempDir,
}

/// A thread with what stops it.
struct Part<S> {
    stop: S,
    thread: Option<JoinHandle<()>>,
}

impl Desk {
    /// Starts everything in a new folder in `place`, without a card on the encoder; `more` goes into the encoder's table
    /// of the agent's settings.
    pub(crate) fn open_in(place: &Path, more: &str) -> Result<Self, Box<dyn Error>> {
        let folder = tempfile::tempdir_in(place)?;
        let port = folder.path().join("encoder");
        let encoder = PtyEncoder::start(&EmulationOptions {
            link: Some(port.clone()),
            ..EmulationOptions::default()
        })?;
        let (coordinator, endpoint, demo) = start_coordinator(folder.path())?;
        let agent = start_agent(folder.path(), &port, &endpoint, &demo, more)?;
        Ok(Self {
            endpoint,
            demo,
            encoder,
            coordinator,
            agent,
            _folder: folder,
        })
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.agent.stop.cancel();
        join(&mut self.agent.thread);
        self.coordinator.stop.stop();
        join(&mut self.coordinator.thread);
    }
}

fn join(thread: &mut Option<JoinHandle<()>>) {
    if let Some(thread) = thread.take()
        && thread.join().is_err()
    {
        eprintln!("a part of the desk panicked");
    }
}

fn start_coordinator(folder: &Path) -> Result<(Part<StopSignal>, String, Demo), Box<dyn Error>> {
    let options = ServeOptions {
        listen: "127.0.0.1:0".parse()?,
        metrics: None,
        certificate: None,
        next_certificate: None,
        database: format!("sqlite:{}", folder.join("coordinator.sqlite").display()).parse()?,
        master_key: None,
        seed_demo: true,
        allowed_hosts: Vec::new(),
        reach: Reach::default(),
        target_ca: None,
        desk: DeskSettings::default(),
    };
    let (tell, started) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let result = runtime().block_on(async {
            let service = Service::start(&options).await?;
            let demo = service.demo().cloned();
            let _ = tell.send((service.stop_signal(), service.endpoint(), demo));
            service.run().await;
            Ok::<_, ServeError>(())
        });
        if let Err(error) = result {
            eprintln!("coordinator: {error}");
        }
    });
    let (stop, endpoint, demo) = started.recv()?;
    let demo = demo.ok_or("the coordinator made no demo workspace")?;
    let part = Part {
        stop,
        thread: Some(thread),
    };
    Ok((part, endpoint, demo))
}

fn start_agent(
    folder: &Path,
    port: &Path,
    endpoint: &str,
    demo: &Demo,
    more: &str,
) -> Result<Part<CancellationToken>, Box<dyn Error>> {
    let file = folder.join("agent.toml");
    fs::write(
        &file,
        format!(
            "state_dir = {:?}\n[coordinator]\nurl = {endpoint:?}\ntoken = {:?}\n[[encoder]]\nname = \"Front Desk\"\n\
             driver = \"pn532\"\nport = {:?}\nsimulated = true\n{more}",
            folder.join("agent"),
            demo.agent_token,
            port,
        ),
    )?;
    let settings = Settings::load(&Layers {
        file,
        environment: Vec::new(),
        overrides: Vec::new(),
    })?;
    let stop = CancellationToken::new();
    let agent = Agent::prepare(&settings, stop.clone())?;
    let thread = std::thread::spawn(move || {
        if let Err(error) = runtime().block_on(agent.run()) {
            eprintln!("agent: {error}");
        }
    });
    Ok(Part {
        stop,
        thread: Some(thread),
    })
}

fn runtime() -> tokio::runtime::Runtime {
    #[allow(
        clippy::expect_used,
        reason = "a process that cannot make a runtime cannot run the demo"
    )]
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a tokio runtime")
}
