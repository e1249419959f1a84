//! `encode`: puts a card image from a file on a card, without a coordinator.

use std::{fs, path::PathBuf};

use encoder_protocols::card::CardImage;
use zeroize::Zeroizing;

use super::{Exit, Output, SettingsArgs, running};
use crate::local::{Address, Ask, ClientError, Encoded, Reply};

/// The largest image file, in bytes.
const LARGEST_FILE: u64 = 200 * 1024;

/// Write a card image to the card on an encoder and read it back: no job of the coordinator, which hears nothing of it; needs
/// the running agent and administrator rights
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    settings: SettingsArgs,
    /// The card image: a file in JSON, as the coordinator sends images
    #[arg(value_name = "IMAGE")]
    image: PathBuf,
    /// The encoder's name, key or port; may be left out where there is only one
    #[arg(long, value_name = "NAME")]
    encoder: Option<String>,
    /// How long to wait for a card, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    wait: u64,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// Writes one card and prints its number.
pub(super) fn encode(args: &Args, output: &Output) -> Exit {
    let prepared = read_image(args).and_then(|image| {
        let addresses = running::addresses(&args.settings).map_err(|error| error.to_string())?;
        Ok((image, addresses))
    });
    let (image, addresses) = match prepared {
        Ok(prepared) => prepared,
        Err(problem) => {
            output.complain(problem);
            return Exit::Unusable;
        }
    };
    let encoded = super::runtime()
        .map_err(|error| error.to_string())
        .and_then(|runtime| runtime.block_on(write(args, image, &addresses, output)));
    match encoded {
        Ok(encoded) => {
            output.line(if args.json {
                serde_json::to_string(&encoded).unwrap_or_default()
            } else {
                told(&encoded)
            });
            Exit::Done
        }
        Err(problem) => {
            output.complain(problem);
            Exit::Failed
        }
    }
}

/// Reads the file. What stands in it is never quoted: it holds keys.
fn read_image(args: &Args) -> Result<Box<CardImage>, String> {
    let file = args.image.display();
    let size = fs::metadata(&args.image).map(|metadata| metadata.len());
    let size = size.map_err(|error| format!("cannot read {file}: {error}"))?;
    if size > LARGEST_FILE {
        return Err(format!(
            "{file} is no card image: it is larger than {LARGEST_FILE} bytes"
        ));
    }
    let text = fs::read_to_string(&args.image).map(Zeroizing::new);
    let text = text.map_err(|error| format!("cannot read {file}: {error}"))?;
    let image = serde_json::from_str(&text);
    image.map(Box::new).map_err(|error| {
        format!(
            "{file} is no card image: line {}, column {}: expected an image as the coordinator sends it",
            error.line(),
            error.column()
        )
    })
}

async fn write(
    args: &Args,
    image: Box<CardImage>,
    addresses: &[Address],
    output: &Output,
) -> Result<Encoded, String> {
    let client = running::reach(addresses).await;
    let mut client = client.map_err(|error| error.to_string())?;
    let ask = Ask::Encode {
        encoder: args.encoder.clone(),
        wait_s: args.wait,
        image,
    };
    let reply = running::ask(&mut client, &ask, |advice| output.complain(advice)).await;
    match reply.map_err(|error| error.to_string())? {
        Reply::Encoded(encoded) => Ok(encoded),
        Reply::Failed(error) => Err(running::in_words(&error)),
        Reply::Refused { message } => Err(message),
        Reply::Status(_)
        | Reply::Progress { .. }
        | Reply::Keep { .. }
        | Reply::Accepted(_)
        | Reply::Cancelled(_)
        | Reply::Scanned(_) => Err(ClientError::Garbled.to_string()),
    }
}

fn told(encoded: &Encoded) -> String {
    let number = encoded.card_number.as_deref().unwrap_or("none");
    format!("card number  {number}")
}
