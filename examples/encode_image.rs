//! Puts a card image from a JSON file on the card that lies on an encoder, or is swiped through it twice, without a coordinator:
//! `cargo run --example encode_image -- --port /dev/ttyUSB0 --image image.json`
//!
//! Prints the card's number when every byte of the image was written and read back: its UID, or the number that the image assigns.

use std::{
    error::Error,
    fs,
    io::{Write, stderr, stdout},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::Parser;
use encoder_agent::{
    clock::Clock,
    drivers::{self, Encoder},
    encoder::{EncoderSettings, Poll},
    transport::Opener,
};
use encoder_protocols::{
    card::{CardDescription, CardImage, WriteRules},
    wire::{EncoderKey, KeyScope},
};
use tokio_util::sync::CancellationToken;

/// The time between two looks for a card.
const LOOK: Duration = Duration::from_millis(100);

/// Write a card image to the card on an encoder and read it back
#[derive(Debug, Parser)]
struct Args {
    /// The encoder's serial port
    #[arg(long, value_name = "PATH")]
    port: PathBuf,
    /// The card image, as JSON
    #[arg(long, value_name = "FILE")]
    image: PathBuf,
    /// The encoder's driver
    #[arg(long, value_name = "NAME", default_value = "pn532")]
    driver: String,
    /// Only compare the card with the image
    #[arg(long)]
    verify_only: bool,
    /// How long to wait for a card, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    wait: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match encode(&Args::parse()).await {
        Ok(number) => {
            // A reader that has gone away is no error.
            let _ = writeln!(stdout(), "{number}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(stderr(), "encode_image: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn encode(args: &Args) -> Result<String, Box<dyn Error>> {
    let text = fs::read_to_string(&args.image)
        .map_err(|error| format!("cannot read {}: {error}", args.image.display()))?;
    let image: CardImage = serde_json::from_str(&text)
        .map_err(|error| format!("{} is no card image: {error}", args.image.display()))?;
    let cancel = CancellationToken::new();
    let mut encoder =
        drivers::open(&Opener::system(), &settings(args), Clock::start(), &cancel).await?;
    let done = work(encoder.as_mut(), args, &image).await;
    encoder.close().await;
    done
}

async fn work(
    encoder: &mut dyn Encoder,
    args: &Args,
    image: &CardImage,
) -> Result<String, Box<dyn Error>> {
    let cancel = CancellationToken::new();
    let wait = Duration::from_secs(args.wait);
    let card = tokio::time::timeout(wait, find(encoder, &cancel))
        .await
        .map_err(|_| {
            format!(
                "no card within {} s: lay one card on the encoder",
                args.wait
            )
        })??;
    if !args.verify_only {
        let rules = WriteRules::default();
        encoder.prepare(card.uid, image, rules, &cancel).await?;
        encoder.write(&mut || {}, &cancel).await?;
    }
    encoder.verify(card.uid, image, &cancel).await?;
    let number = card.uid.map(|uid| uid.to_string());
    let number = number.or_else(|| image.card_number().map(str::to_owned));
    number.ok_or_else(|| format!("the {} has no number", card.technology).into())
}

/// The first card that lies there alone, or the one that is to be swiped.
async fn find(
    encoder: &mut dyn Encoder,
    cancel: &CancellationToken,
) -> Result<CardDescription, Box<dyn Error>> {
    loop {
        if let Poll::Card(card) = encoder.poll(cancel).await? {
            return Ok(card);
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn settings(args: &Args) -> EncoderSettings {
    EncoderSettings {
        key: EncoderKey(format!("port:{}", args.port.display())),
        key_scope: KeyScope::Agent,
        name: "encode_image".to_owned(),
        driver: args.driver.clone(),
        port: args.port.clone(),
        baud: None,
        dtr: None,
        rts: None,
        named: true,
        adopted: true,
        lift_between_cards: false,
        allow_irreversible: false,
        poll_interval: LOOK,
        simulated: false,
    }
}
