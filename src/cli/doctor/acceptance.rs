//! `doctor --acceptance`: a spare card on each encoder is written, read back and put back as it was.

use std::path::PathBuf;

use encoder_protocols::card::{CardDescription, CardImage, magstripe::Coercivity};
use zeroize::Zeroizing;

use super::finding::{Finding, State};
use crate::{
    cli::{Output, SettingsArgs, running},
    local::{Accepted, Address, Ask, Client, ClientError, Reply, Terms},
    private_file,
    status::{EncoderState, EncoderStatus},
};

const PART: &str = "acceptance";

/// How a spare card is used.
#[derive(Debug, clap::Args)]
pub(super) struct Spare {
    /// With --acceptance: only this encoder, by its name, key or port
    #[arg(long, value_name = "NAME", requires = "acceptance")]
    encoder: Option<String>,
    /// With --acceptance: how long to wait for a card, in seconds
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 60,
        requires = "acceptance"
    )]
    wait: u64,
    /// With --acceptance: use also a card that is not blank, where what stands on it can be put back
    #[arg(long, requires = "acceptance")]
    overwrite: bool,
    /// With --acceptance: the stripe is of low coercivity, mostly brown
    #[arg(long, requires = "acceptance")]
    low_coercivity: bool,
}

/// Accepts one encoder after the other.
pub(super) async fn accept(settings: &SettingsArgs, args: &Spare, output: &Output) -> Vec<Finding> {
    let addresses = match running::addresses(settings) {
        Ok(addresses) => addresses,
        Err(error) => return vec![Finding::new(PART, State::Broken, error.to_string())],
    };
    let encoders = match encoders(&addresses, args.encoder.as_deref()).await {
        Ok(encoders) => encoders,
        Err(error) => return vec![Finding::new(PART, State::Broken, error)],
    };
    let mut findings = Vec::new();
    for encoder in encoders {
        findings.push(match one(&addresses, &encoder, args, output).await {
            Ok(accepted) => Finding::new(PART, State::Good, told(&encoder.name, &accepted)),
            Err(problem) => {
                let what = format!("{}: {problem}", encoder.name);
                Finding::new(PART, State::Broken, what)
            }
        });
    }
    findings
}

/// The encoders that are to be accepted.
async fn encoders(addresses: &[Address], name: Option<&str>) -> Result<Vec<EncoderStatus>, String> {
    let status = async { running::reach(addresses).await?.status().await };
    let status = status.await.map_err(|error| error.to_string())?;
    let is_meant = |encoder: &EncoderStatus| match name {
        None => encoder.state != EncoderState::Absent,
        Some(name) => {
            encoder.name.eq_ignore_ascii_case(name)
                || encoder.key.0 == name
                || encoder.port.as_os_str() == name
        }
    };
    let encoders: Vec<_> = status.encoders.into_iter().filter(is_meant).collect();
    match (encoders.as_slice(), name) {
        ([], None) => Err("no encoder is plugged in: `encoder-agent devices` says why".to_owned()),
        ([], Some(name)) => Err(format!("no encoder is called \"{name}\"")),
        _ => Ok(encoders),
    }
}

async fn one(
    addresses: &[Address],
    encoder: &EncoderStatus,
    args: &Spare,
    output: &Output,
) -> Result<Accepted, String> {
    let client = running::reach(addresses).await;
    let mut client = client.map_err(|error| error.to_string())?;
    let coercivity = if args.low_coercivity {
        Coercivity::Low
    } else {
        Coercivity::High
    };
    let ask = Ask::Accept {
        encoder: Some(encoder.key.0.clone()),
        wait_s: args.wait,
        terms: Terms {
            overwrite: args.overwrite,
            coercivity,
        },
    };
    client.ask(&ask).await.map_err(|error| error.to_string())?;
    let mut kept = None;
    let ended = follow(&mut client, &encoder.name, &mut kept, output).await;
    match ended {
        Err((problem, true)) => Err(match kept {
            Some(kept) => format!("{problem}; {}", keep(&kept)),
            None => problem,
        }),
        Err((problem, false)) => Err(problem),
        Ok(accepted) => Ok(accepted),
    }
}

/// What puts a card back.
struct Kept {
    card: CardDescription,
    image: Box<CardImage>,
}

/// Follows the agent to the end; an error says besides whether the card may hold something else than before.
async fn follow(
    client: &mut Client,
    name: &str,
    kept: &mut Option<Kept>,
    output: &Output,
) -> Result<Accepted, (String, bool)> {
    loop {
        let reply = tokio::select! {
            reply = client.hear() => reply.map_err(|error| (error.to_string(), true))?,
            _ = tokio::signal::ctrl_c() => return Err(("interrupted".to_owned(), true)),
        };
        match reply {
            Reply::Progress { text } => output.complain(format!("{name}: {text}")),
            Reply::Keep { card, image } => *kept = Some(Kept { card, image }),
            Reply::Accepted(accepted) => return Ok(accepted),
            Reply::Failed(error) => {
                let may_differ = error.touched != encoder_protocols::wire::Touched::Untouched;
                return Err((running::in_words(&error), may_differ));
            }
            Reply::Refused { message } => return Err((message, false)),
            Reply::Status(_) | Reply::Cancelled(_) | Reply::Scanned(_) | Reply::Encoded(_) => {
                return Err((ClientError::Garbled.to_string(), true));
            }
        }
    }
}

/// Keeps in a file what puts the card back, and says how.
fn keep(kept: &Kept) -> String {
    let name = kept
        .card
        .uid
        .map_or_else(|| "stripe".to_owned(), |uid| uid.to_string());
    let file = PathBuf::from(format!("restore-{name}.json"));
    let file = std::path::absolute(&file).unwrap_or(file);
    let text = serde_json::to_vec(&kept.image).map(Zeroizing::new);
    let written = text
        .map_err(std::io::Error::other)
        .and_then(|text| private_file::replace(&file, &text));
    match written {
        Ok(()) => format!(
            "to put the card back, lay it down again: sudo encoder-agent encode {}",
            file.display()
        ),
        Err(error) => format!(
            "what puts the card back could not be kept in {}: {error}",
            file.display()
        ),
    }
}

fn told(name: &str, accepted: &Accepted) -> String {
    let Accepted {
        card,
        place,
        is_blank,
        read_ms,
        written_ms,
        restored_ms,
    } = accepted;
    let uid = card.uid.map(|uid| format!(" {uid}")).unwrap_or_default();
    let as_before = if *is_blank { "blank" } else { "as it was" };
    format!(
        "{name}: a {}{uid} was read in {read_ms} ms, {place} written and read back in {written_ms} ms, and the card left {as_before} after {restored_ms} ms",
        card.technology
    )
}
