//! `pair`: trades a code or a fleet token for a token of this agent's own, and notes what to know the coordinator by.

use std::{
    fs, io,
    io::{BufRead as _, IsTerminal as _},
    path::{Path, PathBuf},
};

use encoder_protocols::wire::{CloneReport, PairRequest, SecretText};
use zeroize::Zeroizing;

use super::{Exit, Output, SettingsArgs};
use crate::{
    clock::Clock,
    config::{
        ConfigError, CoordinatorSettings, CoordinatorUrl, Place, Secret, Settings, UrlProblem,
    },
    journal::{self, JournalError, LeftBehind},
    pairing::{self, Fingerprint, NewPairing, Pairing, PairingError},
    platform::{self, ADMINISTRATOR},
    session::{self, PairFailure},
};

/// The file with a fleet token among the credentials that systemd hands to the service (`LoadCredential=`).
const CREDENTIAL: &str = "fleet-token";

/// What stands for standard input in place of a file's name.
const STANDARD_INPUT: &str = "-";

/// The longest code or fleet token that is read, in bytes.
const LONGEST_SECRET: u64 = 1024;

/// Pair this agent with its coordinator: trade a code for a token of its own, which is kept in the state directory
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The coordinator's base URL, for example https://keys.example.com
    url: String,
    /// The code that `encoder-coordinator pairing code` has printed; read from standard input where it is left out
    code: Option<String>,
    /// A file with a fleet token to use in place of a code, or - for standard input
    #[arg(long, value_name = "FILE", conflicts_with = "code")]
    fleet_token_file: Option<PathBuf>,
    /// The SHA-256 of the public key or certificate of the coordinator, or of its authority; where it is left out, the
    /// coordinator's certificate must be one that this PC trusts
    #[arg(long, value_name = "SHA256")]
    fingerprint: Option<Fingerprint>,
    /// Begin a new journal, for another access system or coordinator: what this PC still had to tell as the agent that it was
    /// stays in a file beside it. Without it the agent goes on as the one that it was
    #[arg(long)]
    new_journal: bool,
    #[command(flatten)]
    settings: SettingsArgs,
}

/// Why the agent was not paired, or may not run with its pairing.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotPaired {
    #[error("URL: {0}; expected the coordinator's base url such as https://keys.example.com")]
    Url(UrlProblem),
    #[error("URL: {problem}; {remedy}")]
    Road { problem: String, remedy: String },
    #[error(
        "{} has coordinator.url = \"{listed}\", which would win over {asked}: take it out, or pair with {listed}", file.display()
    )]
    OtherUrl {
        file: PathBuf,
        listed: String,
        asked: String,
    },
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("cannot read the {what}: {source}")]
    Secret { what: String, source: io::Error },
    #[error("no code was given: put it behind the url, or into standard input")]
    NoSecret,
    #[error("cannot make the state directory {}: {source}", directory.display())]
    StateDir {
        directory: PathBuf,
        source: io::Error,
    },
    #[error(transparent)]
    Pairing(#[from] PairingError),
    #[error(transparent)]
    Failed(#[from] PairFailure),
    #[error("the journal cannot be set aside: {0}")]
    Journal(#[from] JournalError),
    #[error("cannot set up the process: {0}")]
    Process(#[from] io::Error),
    #[error(
        "{} was made on another machine: this disk was copied. Pair this machine by itself: `encoder-agent pair URL` as {ADMINISTRATOR}, \
         with a code of `encoder-coordinator pairing code`", file.display()
    )]
    OtherMachine { file: PathBuf },
}

impl NotPaired {
    /// How a command ends that goes no further.
    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::Url(_)
            | Self::Road { .. }
            | Self::OtherUrl { .. }
            | Self::Config(_)
            | Self::NoSecret => Exit::Unusable,
            Self::Secret { .. }
            | Self::StateDir { .. }
            | Self::Pairing(_)
            | Self::Failed(_)
            | Self::Journal(_)
            | Self::Process(_)
            | Self::OtherMachine { .. } => Exit::Failed,
        }
    }
}

/// Pairs, and says with whom.
pub(super) fn pair(args: &Args, output: &Output) -> Exit {
    match paired(args) {
        Ok(line) => {
            output.line(line);
            Exit::Done
        }
        Err(error) => {
            output.complain(&error);
            error.exit()
        }
    }
}

fn paired(args: &Args) -> Result<String, NotPaired> {
    let asked = CoordinatorUrl::parse(&args.url).map_err(NotPaired::Url)?;
    let settings = settings(args, &asked)?;
    let state_dir = settings.require_state_dir()?;
    // With the URL said, there always is a coordinator.
    let coordinator = settings.coordinator.as_ref();
    let coordinator = coordinator.ok_or(ConfigError::Unpaired(crate::config::Unpaired::Never))?;
    let secret = secret(args)?;
    make_private(state_dir)?;
    if args.new_journal {
        journal::need_unused(state_dir)?;
    }
    let system = trade(coordinator, state_dir, args.fingerprint, secret)?;
    let left = if args.new_journal {
        journal::set_aside_of_former_agent(state_dir, Clock::start().utc())?
    } else {
        None
    };
    let left = left.map_or_else(String::new, |left| {
        let LeftBehind { file, owed } = left;
        format!(
            "; the journal of the agent that it was is {}, with {owed} jobs whose end was not told",
            file.display()
        )
    });
    let name = platform::host_name();
    let start = if cfg!(windows) {
        "encoder-agent service start"
    } else {
        "systemctl restart encoder-agent"
    };
    Ok(format!(
        "paired with {asked} as \"{name}\" of \"{system}\"; `{start}` lets the agent use it{left}"
    ))
}

/// The settings with this URL; they may name no other.
fn settings(args: &Args, asked: &CoordinatorUrl) -> Result<Settings, NotPaired> {
    let layers = args.settings.layers();
    let listed = Settings::load_to_pair(&layers);
    if let Ok(Some(listed)) = listed.as_ref().map(|found| &found.coordinator)
        && listed.url != *asked
    {
        return Err(NotPaired::OtherUrl {
            file: layers.file,
            listed: listed.url.to_string(),
            asked: asked.to_string(),
        });
    }
    let mut with_url = layers;
    with_url.overrides.push(format!("coordinator.url={asked}"));
    let loaded = Settings::load_to_pair(&with_url);
    if let Err(ConfigError::BadValue {
        place: Place::CommandLine { key },
        problem,
        remedy,
    }) = &loaded
        && key == "coordinator.url"
    {
        return Err(NotPaired::Road {
            problem: problem.clone(),
            remedy: remedy.clone(),
        });
    }
    Ok(loaded?)
}

/// The code or fleet token, from wherever it is.
fn secret(args: &Args) -> Result<Secret, NotPaired> {
    let failed = |what: &str| {
        let what = what.to_owned();
        move |source| NotPaired::Secret { what, source }
    };
    let text = match (&args.fleet_token_file, &args.code) {
        (Some(file), _) if file.as_os_str() == STANDARD_INPUT => {
            line().map_err(failed("fleet token from standard input"))?
        }
        (Some(file), _) => {
            let what = format!("fleet token in {}", file.display());
            read(file).map_err(failed(&what))?
        }
        (None, Some(code)) if code != STANDARD_INPUT => Zeroizing::new(code.clone()),
        (None, Some(_) | None) => {
            if io::stdin().is_terminal() {
                Output::standard().ask("code: ");
            }
            line().map_err(failed("code from standard input"))?
        }
    };
    let secret = text.trim();
    if secret.is_empty() {
        return Err(NotPaired::NoSecret);
    }
    Ok(Secret::new(secret.to_owned()))
}

fn line() -> io::Result<Zeroizing<String>> {
    let mut line = Zeroizing::new(String::new());
    let mut input = io::Read::take(io::stdin().lock(), LONGEST_SECRET);
    input.read_line(&mut line)?;
    Ok(line)
}

fn read(file: &Path) -> io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    let mut input = io::Read::take(fs::File::open(file)?, LONGEST_SECRET);
    io::Read::read_to_string(&mut input, &mut text)?;
    Ok(text)
}

/// Trades the secret, and keeps what came of it. Gives the access system's name.
fn trade(
    coordinator: &CoordinatorSettings,
    state_dir: &Path,
    fingerprint: Option<Fingerprint>,
    secret: Secret,
) -> Result<String, NotPaired> {
    let machine = platform::machine_fact();
    if copied(state_dir, machine.as_deref()) {
        journal::set_aside_of_another_machine(state_dir, Clock::start().utc())?;
    }
    let attempt = pairing::attempt(state_dir, machine.as_deref())?;
    let request = PairRequest {
        secret: SecretText(secret.expose().to_owned()),
        attempt: SecretText(attempt.expose().to_owned()),
        machine: machine.clone(),
        hostname: platform::host_name(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        os: platform::os_name(),
    };
    let traded = super::runtime()?.block_on(session::pair(coordinator, fingerprint, &request))?;
    let made = NewPairing {
        url: coordinator.url.clone(),
        agent_id: traded.answer.agent_id,
        system_name: traded.answer.system_name,
        token: Secret::new(traded.answer.token.0),
        machine,
        pins: traded.pins,
    };
    made.keep(state_dir)?;
    pairing::end_attempt(state_dir);
    Ok(made.system_name)
}

/// Whether the state directory was copied from another machine, journal and all.
fn copied(state_dir: &Path, machine: Option<&str>) -> bool {
    let before = Pairing::read(state_dir);
    before.is_ok_and(|before| before.is_some_and(|before| before.is_of_another_machine(machine)))
}

/// Makes the directory for the agent alone.
fn make_private(directory: &Path) -> Result<(), NotPaired> {
    #[cfg(windows)]
    if directory.starts_with(platform::settings_dir()) {
        super::service::take_folder().map_err(|source| NotPaired::StateDir {
            directory: directory.to_owned(),
            source,
        })?;
    }
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
        .create(directory)
        .map_err(|source| NotPaired::StateDir {
            directory: directory.to_owned(),
            source,
        })
}

/// Pairs by the fleet token that systemd hands over as a credential, where the agent is not paired on this machine yet.
/// Gives the settings with the pairing.
pub(super) fn by_credential(
    args: &SettingsArgs,
    settings: Settings,
) -> Result<Settings, NotPaired> {
    let Some(file) = credential() else {
        return Ok(settings);
    };
    let machine = platform::machine_fact();
    let lacks = match &settings.coordinator {
        None => false,
        Some(found) => found
            .pairing
            .as_ref()
            .map_or(settings.unpaired.is_some(), |pairing| {
                pairing.is_of_another_machine(machine.as_deref())
            }),
    };
    let (true, Some(coordinator)) = (lacks, &settings.coordinator) else {
        return Ok(settings);
    };
    let what = format!("credential {CREDENTIAL}");
    let secret = read(&file).map_err(|source| NotPaired::Secret { what, source })?;
    let state_dir = settings.require_state_dir()?;
    make_private(state_dir)?;
    let secret = Secret::new(secret.trim().to_owned());
    let first = CoordinatorSettings {
        pairing: None,
        ..coordinator.clone()
    };
    let system = trade(&first, state_dir, None, secret)?;
    tracing::info!(url = %coordinator.url, system, "paired by the fleet token among the service's credentials");
    Ok(args.load()?)
}

fn credential() -> Option<PathBuf> {
    let directory = PathBuf::from(std::env::var_os("CREDENTIALS_DIRECTORY")?);
    Some(directory.join(CREDENTIAL)).filter(|file| file.exists())
}

/// Refuses a pairing that was made on another machine, and tells the coordinator of it if that can be reached.
pub(super) fn check_machine(settings: &Settings) -> Result<(), NotPaired> {
    let machine = platform::machine_fact();
    let (Some(coordinator), Some(state_dir)) = (&settings.coordinator, &settings.state_dir) else {
        return Ok(());
    };
    let Some(pairing) = &coordinator.pairing else {
        return Ok(());
    };
    if !pairing.is_of_another_machine(machine.as_deref()) {
        return Ok(());
    }
    let report = CloneReport {
        machine,
        hostname: platform::host_name(),
    };
    let told = super::runtime()?.block_on(session::report_clone(coordinator, state_dir, &report));
    if let Err(error) = told {
        tracing::warn!(%error, "the coordinator could not be told that this machine is a copy");
    }
    Err(NotPaired::OtherMachine {
        file: pairing.file.clone(),
    })
}
