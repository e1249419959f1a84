//! `scan`: waits for a card on an encoder and tells what it is, through the agent where it runs. Needs no coordinator.

mod found;
mod swipe;

use std::{path::Path, time::Duration};

use tokio_util::sync::CancellationToken;

use self::found::Found;
use super::{Exit, Output, SettingsArgs, running};
use crate::{
    clock::Clock,
    config::Settings,
    drivers::{self, Encoder},
    encoder::{EncoderSettings, Poll},
    local::{Ask, ClientError, Reply, Scanned},
    transport::{Opener, same_node},
};

/// Wait for a card and print its technology, number and capacity; of a card that is drawn through, what stands on it
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    settings: SettingsArgs,
    /// The encoder's name, or the port of one that is not configured; may be left out where there is only one
    #[arg(long, value_name = "NAME")]
    encoder: Option<String>,
    /// How long to wait for a card, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    wait: u64,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// Prints the first card that lies there alone.
pub(super) fn scan(args: &Args, output: &Output) -> Exit {
    let settings = match args.settings.load() {
        Ok(settings) => settings,
        Err(error) => {
            output.complain(error);
            return Exit::Unusable;
        }
    };
    let runtime = match super::runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            output.complain(error);
            return Exit::Failed;
        }
    };
    if let Some(asked) = runtime.block_on(ask_agent(args, output)) {
        return tell(asked, args, output);
    }
    let chosen = settings
        .require_encoders()
        .map_err(|error| error.to_string())
        .and_then(|_| ways(&settings, args.encoder.as_deref()));
    let ways = match chosen {
        Ok(ways) => ways,
        Err(problem) => {
            output.complain(problem);
            return Exit::Unusable;
        }
    };
    let found = runtime.block_on(find(&ways, Duration::from_secs(args.wait), output));
    tell(found, args, output)
}

/// The card that the running agent, which has the ports, finds; none where no agent runs.
async fn ask_agent(args: &Args, output: &Output) -> Option<Result<Found, String>> {
    let addresses = running::addresses(&args.settings).ok()?;
    let mut client = match running::reach(&addresses).await {
        Ok(client) => client,
        Err(ClientError::NotRunning(_)) => return None,
        Err(error) => return Some(Err(error.to_string())),
    };
    let ask = Ask::Scan {
        encoder: args.encoder.clone(),
        wait_s: args.wait,
    };
    let reply = running::ask(&mut client, &ask, |advice| output.complain(advice)).await;
    Some(match reply {
        Ok(Reply::Scanned(Scanned { card, tracks: None })) => Ok(Found::Lying(card)),
        Ok(Reply::Scanned(Scanned {
            card,
            tracks: Some(tracks),
        })) => Ok(Found::Swiped { card, tracks }),
        Ok(Reply::Failed(error)) => Err(running::in_words(&error)),
        Ok(Reply::Refused { message }) => Err(message),
        Ok(
            Reply::Status(_)
            | Reply::Progress { .. }
            | Reply::Keep { .. }
            | Reply::Accepted(_)
            | Reply::Cancelled(_)
            | Reply::Encoded(_),
        ) => Err(ClientError::Garbled.to_string()),
        Err(error) => Err(error.to_string()),
    })
}

fn tell(found: Result<Found, String>, args: &Args, output: &Output) -> Exit {
    match found {
        Ok(card) => {
            output.line(if args.json {
                card.as_json()
            } else {
                card.as_text()
            });
            Exit::Done
        }
        Err(problem) => {
            output.complain(problem);
            Exit::Failed
        }
    }
}

/// The ways to open the encoder that is meant: one that is listed, or where none is, one that is attached.
fn ways(settings: &Settings, name: Option<&str>) -> Result<Vec<EncoderSettings>, String> {
    let configured = &settings.encoders;
    let is_configured = |port: &Path| {
        let mut configured = configured.iter();
        configured.any(|encoder| same_node(&encoder.port, port))
    };
    let mut found = super::found::openable(settings);
    found.retain(|way| !is_configured(&way.port));
    let by_key = found.iter().filter(|way| way.named);
    let listed: Vec<_> = configured.iter().chain(by_key).cloned().collect();
    if listed.is_empty() {
        return choose_found(found, name);
    }
    choose(&listed, name).map(|encoder| vec![encoder.clone()])
}

fn choose<'a>(
    encoders: &'a [EncoderSettings],
    name: Option<&str>,
) -> Result<&'a EncoderSettings, String> {
    let names = || {
        let names: Vec<_> = encoders
            .iter()
            .map(|encoder| format!("\"{}\"", encoder.name))
            .collect();
        names.join(", ")
    };
    match (name, encoders) {
        (Some(name), _) => encoders
            .iter()
            .find(|encoder| encoder.name == name)
            .ok_or_else(|| {
                format!(
                    "no encoder is called \"{name}\": expected one of {}",
                    names()
                )
            }),
        (None, [only]) => Ok(only),
        (None, _) => Err(format!(
            "several encoders are configured: choose one with --encoder, of {}",
            names()
        )),
    }
}

/// The ways to open the one encoder that is attached, or the one at the port that is named.
fn choose_found(
    ways: Vec<EncoderSettings>,
    name: Option<&str>,
) -> Result<Vec<EncoderSettings>, String> {
    let mut ports: Vec<_> = ways.iter().map(|way| way.name.clone()).collect();
    ports.dedup();
    let port = match (name, ports.as_slice()) {
        (Some(name), _) => name.to_owned(),
        (None, [only]) => only.clone(),
        (None, []) => {
            return Err(
                "no encoder is plugged in, or none that may be asked: `devices` says why"
                    .to_owned(),
            );
        }
        (None, several) => {
            return Err(format!(
                "several encoders are plugged in: choose one with --encoder, of {}",
                several.join(", ")
            ));
        }
    };
    let chosen: Vec<_> = ways.into_iter().filter(|way| way.name == port).collect();
    if chosen.is_empty() {
        return Err(format!(
            "no encoder is plugged in at {port}: expected one of {}",
            ports.join(", ")
        ));
    }
    Ok(chosen)
}

/// Tries each way to open the encoder, then waits for a card.
async fn find(ways: &[EncoderSettings], wait: Duration, output: &Output) -> Result<Found, String> {
    let clock = Clock::start();
    let cancel = CancellationToken::new();
    let mut problem = String::new();
    for settings in ways {
        match drivers::open(&Opener::system(), settings, clock, &cancel).await {
            Ok(encoder) => return find_on(encoder, settings, wait, &cancel, output).await,
            Err(error) => problem = error.to_string(),
        }
    }
    Err(problem)
}

/// Waits for a card until somebody has no more patience, and leaves the device at rest in any case.
async fn find_on(
    mut encoder: Box<dyn Encoder>,
    settings: &EncoderSettings,
    wait: Duration,
    cancel: &CancellationToken,
    output: &Output,
) -> Result<Found, String> {
    let mut seen = Seen::Nothing;
    let found = {
        let looking = look(encoder.as_mut(), settings, cancel, output, &mut seen);
        let mut looking = std::pin::pin!(looking);
        tokio::select! {
            found = &mut looking => Some(found),
            () = tokio::time::sleep(wait) => {
                cancel.cancel();
                // A card that came at the last moment counts.
                looking.await.ok().map(Ok)
            }
            _ = tokio::signal::ctrl_c() => {
                cancel.cancel();
                let _ = looking.await;
                Some(Err("interrupted".to_owned()))
            }
        }
    };
    encoder.close().await;
    found.unwrap_or_else(|| Err(seen.in_vain(&settings.name, wait)))
}

/// What was seen so far.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Seen {
    Nothing,
    Several,
    /// Cards are drawn through the encoder.
    Slot,
}

impl Seen {
    fn in_vain(self, name: &str, wait: Duration) -> String {
        let seconds = wait.as_secs();
        match self {
            Self::Nothing => format!(
                "no card on \"{name}\" within {seconds} s: lay one card on the encoder and try again"
            ),
            Self::Several => format!(
                "more than one card on \"{name}\" within {seconds} s: lay one card on the encoder and try again"
            ),
            Self::Slot => format!(
                "no card was drawn through \"{name}\" within {seconds} s: try again and draw one through"
            ),
        }
    }
}

/// Looks until one card lies there alone, or was drawn through.
async fn look(
    encoder: &mut dyn Encoder,
    settings: &EncoderSettings,
    cancel: &CancellationToken,
    output: &Output,
    seen: &mut Seen,
) -> Result<Found, String> {
    let mut complained = false;
    loop {
        let poll = encoder.poll(cancel).await;
        match poll.map_err(|error| error.to_string())? {
            Poll::Card(card) if card.technology.is_swiped() => {
                *seen = Seen::Slot;
                return swipe::read(encoder, card, cancel, output).await;
            }
            Poll::Card(card) => return Ok(Found::Lying(card)),
            Poll::Several => {
                *seen = Seen::Several;
                if !complained {
                    output.complain("more than one card lies there: leave one");
                    complained = true;
                }
            }
            Poll::Empty => *seen = Seen::Nothing,
        }
        tokio::select! {
            () = cancel.cancelled() => return Err("cancelled".to_owned()),
            () = tokio::time::sleep(settings.poll_interval) => {}
        }
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use encoder_protocols::{
        card::virtual_card::CardKind,
        wire::{EncoderKey, KeyScope},
    };
    use serde_json::json;

    use super::*;
    use crate::emulation::{EmulationOptions, PtyEncoder};

    #[test]
    fn one_encoder_needs_no_name_and_several_do() {
        let one = [settings("Front Desk", "/dev/a".into())];
        assert_eq!(choose(&one, None), Ok(&one[0]));
        let two = [
            settings("Front Desk", "/dev/a".into()),
            settings("Bar", "/dev/b".into()),
        ];
        assert_eq!(choose(&two, Some("Bar")), Ok(&two[1]));
        assert_eq!(
            choose(&two, None).unwrap_err(),
            "several encoders are configured: choose one with --encoder, of \"Front Desk\", \"Bar\""
        );
        assert_eq!(
            choose(&two, Some("Spa")).unwrap_err(),
            "no encoder is called \"Spa\": expected one of \"Front Desk\", \"Bar\""
        );
    }

    #[tokio::test]
    async fn a_card_is_told_with_number_technology_and_capacity() {
        let board = PtyEncoder::start(&EmulationOptions::default()).unwrap();
        let uid = "04a1b2c3d4e5f6".parse().unwrap();
        board.place_new(CardKind::Ntag213, Some(uid)).unwrap();
        let settings = settings("Front Desk", board.path().unwrap().unwrap());
        let wait = Duration::from_secs(20);
        let found = find(&[settings], wait, &Output::standard()).await.unwrap();
        let Found::Lying(card) = &found else {
            panic!("{found:?}");
        };
        let told: serde_json::Value = serde_json::from_str(&found.as_json()).unwrap();
        assert_eq!(
            told,
            json!({
                "technology": "ntag213",
                "uid": "04a1b2c3d4e5f6",
                "card_number": "04a1b2c3d4e5f6",
                "capacity": card.capacity,
            })
        );
        let text = found.as_text();
        assert!(
            text.contains("card number  04a1b2c3d4e5f6") && text.contains("bytes"),
            "{text}"
        );
    }

    #[tokio::test]
    async fn no_card_is_told_with_what_to_do() {
        let board = PtyEncoder::start(&EmulationOptions::default()).unwrap();
        let settings = settings("Front Desk", board.path().unwrap().unwrap());
        let error = find(&[settings], Duration::ZERO, &Output::standard())
            .await
            .unwrap_err();
        assert_eq!(
            error,
            "no card on \"Front Desk\" within 0 s: lay one card on the encoder and try again"
        );
    }

    fn settings(name: &str, port: std::path::PathBuf) -> EncoderSettings {
        EncoderSettings {
            key: EncoderKey("port:test".to_owned()),
            key_scope: KeyScope::Agent,
            name: name.to_owned(),
            driver: "pn532".to_owned(),
            port,
            baud: None,
            dtr: None,
            rts: None,
            named: true,
            adopted: true,
            lift_between_cards: true,
            allow_irreversible: false,
            poll_interval: Duration::from_millis(50),
            simulated: true,
        }
    }
}
