//! `emulate`: an emulated encoder behind a pseudo terminal, steered by lines of text.

use std::{
    fs,
    io::{self, BufRead},
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use encoder_protocols::{
    card::{Uid, virtual_card::CardKind},
    msr605::{self, emulator::StripeKind},
    pn532,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::mpsc,
    task::JoinSet,
};

use super::{Exit, Output};
use crate::{
    emulation::{
        self, Emulated, EmulationError, EmulationOptions, PtyEncoder, PtyMsr605, one_line,
    },
    platform::StopSignals,
};

/// The longest line that the control socket takes, in bytes.
const LONGEST_LINE: u64 = 4096;
/// How long `quit` waits for its answer to be read.
const FAREWELL: Duration = Duration::from_secs(1);

/// Emulate an encoder behind a pseudo terminal
///
/// Prints `ok PORT CARD` when the port can be opened, then takes commands, a line each, from standard input and from the
/// control socket, and answers each with a line `ok …` or `error …`. The end of standard input ends nothing; `quit`, SIGINT and
/// SIGTERM end the emulator and remove its link.
#[derive(Debug, clap::Args)]
#[command(after_help = format!(
    "Commands while a pn532 runs:\n{}\n\nCommands while an msr605 or msr605x runs:\n{}",
    emulation::HELP,
    emulation::msr605::HELP,
))]
pub(super) struct Args {
    /// The encoder to emulate
    #[arg(value_enum)]
    encoder: Device,
    /// Link this path to the pseudo terminal; a left-over link is replaced
    #[arg(long, value_name = "PATH")]
    link: Option<PathBuf>,
    /// The kind of the card that lies there, or is at hand for swiping, at the start; by default classic-1k or hico
    #[arg(long, value_name = "KIND")]
    card: Option<Card>,
    /// Its UID, in hex; a magnetic stripe has none
    #[arg(long, value_name = "HEX")]
    uid: Option<Uid>,
    /// Start without a card
    #[arg(long, conflicts_with_all = ["card", "uid"])]
    no_card: bool,
    /// Let bytes take their time on the line, at the rate that the host sets
    #[arg(long)]
    pace: bool,
    /// Let the exchange with the card, or the swipe, take its typical time
    #[arg(long)]
    rf: bool,
    /// Take commands from a unix socket at this path, too
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Device {
    /// NXP PN532 on its serial line
    Pn532,
    /// MSR605 magnetic stripe encoder on its serial line
    Msr605,
    /// MSR605X magnetic stripe encoder: its HID reports of 64 bytes, one behind the other
    Msr605x,
}

/// The kind of a card for any of the encoders.
#[derive(Clone, Copy, Debug)]
enum Card {
    Contactless(CardKind),
    Stripe(StripeKind),
}

impl FromStr for Card {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let stripe = text.parse().map(Self::Stripe);
        stripe.or_else(|unknown| match text.parse() {
            Ok(kind) => Ok(Self::Contactless(kind)),
            Err(contactless) => Err(format!("{contactless}; for an msr605: {unknown}")),
        })
    }
}

/// Runs until `quit` or a signal.
pub(super) fn emulate(args: &Args, output: &Output) -> Exit {
    match attempt(args, output) {
        Ok(()) => Exit::Done,
        Err(error) => {
            output.complain(error);
            Exit::Failed
        }
    }
}

/// Why the emulator cannot run.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Emulation(#[from] EmulationError),
    #[error("cannot listen on the control socket {path}: {source}")]
    Control { path: PathBuf, source: io::Error },
    #[error("{0}")]
    Card(&'static str),
    #[error("cannot set up the process: {0}")]
    Process(#[from] io::Error),
}

fn attempt(args: &Args, output: &Output) -> Result<(), Failure> {
    let runtime = super::runtime()?;
    let served = runtime.block_on(serve(args, output));
    runtime.shutdown_background();
    served
}

async fn serve(args: &Args, output: &Output) -> Result<(), Failure> {
    let mut signals = StopSignals::listen()?;
    let control = args
        .control
        .as_deref()
        .map(ControlSocket::bind)
        .transpose()?;
    let (encoder, card) = match args.encoder {
        Device::Pn532 => start_pn532(args)?,
        Device::Msr605 => start_msr605(args, PtyMsr605::start)?,
        Device::Msr605x => start_msr605(args, PtyMsr605::start_reporting)?,
    };
    let encoder = encoder.as_ref();
    let path = encoder.path()?.unwrap_or_default();
    output.line(format_args!("ok {} {card}", path.display()));

    let mut lines = standard_input()?;
    tokio::select! {
        () = signals.next() => {}
        () = obey_standard_input(&mut lines, encoder, output) => {}
        () = obey_socket(control.as_ref(), encoder) => {}
    }
    Ok(())
}

/// The encoder, and its first card in words.
type Started = (Box<dyn Emulated>, String);

fn start_pn532(args: &Args) -> Result<Started, Failure> {
    let kind = match args.card {
        None => CardKind::Classic1k,
        Some(Card::Contactless(kind)) => kind,
        Some(Card::Stripe(_)) => {
            return Err(Failure::Card(
                "a pn532 has no slot for magnetic stripes; give another `--card`",
            ));
        }
    };
    let encoder = PtyEncoder::start(&EmulationOptions {
        link: args.link.clone(),
        pace: pn532::emulator::Pace {
            wire: args.pace,
            rf: args.rf,
        },
    })?;
    let card = if args.no_card {
        "none".to_owned()
    } else {
        encoder.place_new(kind, args.uid)?.to_string()
    };
    Ok((Box::new(encoder), card))
}

fn start_msr605(
    args: &Args,
    start: fn(Option<&Path>, msr605::emulator::Pace) -> Result<PtyMsr605, EmulationError>,
) -> Result<Started, Failure> {
    let kind = match (args.card, args.uid) {
        (None, None) => StripeKind::HiCo,
        (Some(Card::Stripe(kind)), None) => kind,
        (Some(Card::Contactless(_)), _) | (_, Some(_)) => {
            return Err(Failure::Card(
                "an msr605 takes cards with a magnetic stripe, which have no uid; give `--card hico` or `--card loco`",
            ));
        }
    };
    let pace = msr605::emulator::Pace {
        wire: args.pace,
        swipe: args.rf,
    };
    let encoder = start(args.link.as_deref(), pace)?;
    let card = if args.no_card {
        "none".to_owned()
    } else {
        encoder.place_new(kind)?.to_string()
    };
    Ok((Box::new(encoder), card))
}

/// The lines of standard input, read by a thread of their own that ends with the process.
fn standard_input() -> io::Result<mpsc::Receiver<String>> {
    let (sender, lines) = mpsc::channel(1);
    std::thread::Builder::new()
        .name("standard-input".to_owned())
        .spawn(move || {
            for line in io::stdin().lock().lines().map_while(Result::ok) {
                if sender.blocking_send(line).is_err() {
                    return;
                }
            }
        })?;
    Ok(lines)
}

/// Ends with `quit`.
async fn obey_standard_input(
    lines: &mut mpsc::Receiver<String>,
    encoder: &dyn Emulated,
    output: &Output,
) {
    while let Some(line) = lines.recv().await {
        match obey(encoder, &line) {
            Obeyed::Answer(answer) => output.line(answer),
            Obeyed::Quit => {
                output.line("ok");
                return;
            }
        }
    }
    std::future::pending().await
}

enum Obeyed {
    Answer(String),
    Quit,
}

fn obey(encoder: &dyn Emulated, line: &str) -> Obeyed {
    let line = line.trim();
    if line == "quit" {
        return Obeyed::Quit;
    }
    Obeyed::Answer(match encoder.command(line) {
        Ok(answer) => format!("ok {answer}").trim_end().to_owned(),
        Err(error) => format!("error {}", one_line(&error.to_string())),
    })
}

/// A listening socket whose file goes with it.
struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl ControlSocket {
    /// A socket file that nobody listens on was left over and is replaced.
    fn bind(path: &Path) -> Result<Self, Failure> {
        let failed = |source| Failure::Control {
            path: path.to_owned(),
            source,
        };
        let left_over = std::os::unix::net::UnixStream::connect(path)
            .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
        if left_over {
            fs::remove_file(path).map_err(failed)?;
        }
        Ok(Self {
            listener: UnixListener::bind(path).map_err(failed)?,
            path: path.to_owned(),
        })
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = fs::remove_file(&self.path);
    }
}

/// Ends with `quit`; without a socket never.
async fn obey_socket(socket: Option<&ControlSocket>, encoder: &dyn Emulated) {
    let Some(socket) = socket else {
        return std::future::pending().await;
    };
    let (lines, mut asked) = mpsc::channel(1);
    let mut callers = JoinSet::new();
    loop {
        tokio::select! {
            accepted = socket.listener.accept() => {
                // A caller that has gone again is no concern of others.
                if let Ok((stream, _)) = accepted {
                    callers.spawn(attend(stream, lines.clone()));
                }
            }
            Some(_) = callers.join_next() => {}
            Some(Asked { line, answer }) = asked.recv() => match obey(encoder, &line) {
                Obeyed::Answer(text) => {
                    let _ = answer.send(text);
                }
                Obeyed::Quit => {
                    let _ = answer.send("ok".to_owned());
                    let answered = async {
                        while let Some(Ok(caller)) = callers.join_next().await {
                            if matches!(caller, Ok(Left::AfterQuit)) {
                                return;
                            }
                        }
                    };
                    // A caller that does not read its answer holds nobody up.
                    let _ = tokio::time::timeout(FAREWELL, answered).await;
                    return;
                }
            },
        }
    }
}

/// A line from a caller, and where its answer goes.
struct Asked {
    line: String,
    answer: tokio::sync::oneshot::Sender<String>,
}

/// How a caller left.
enum Left {
    Early,
    AfterQuit,
}

/// Answers one caller's lines until it goes, or the emulator ends.
async fn attend(stream: UnixStream, lines: mpsc::Sender<Asked>) -> io::Result<Left> {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    loop {
        let mut line = String::new();
        if (&mut read).take(LONGEST_LINE).read_line(&mut line).await? == 0 {
            return Ok(Left::Early);
        }
        let quits = line.trim() == "quit";
        let (answer, answered) = tokio::sync::oneshot::channel();
        if lines.send(Asked { line, answer }).await.is_err() {
            return Ok(Left::Early);
        }
        let Ok(text) = answered.await else {
            return Ok(Left::Early);
        };
        write.write_all(format!("{text}\n").as_bytes()).await?;
        if quits {
            return Ok(Left::AfterQuit);
        }
    }
}
