//! `devices`: the configured encoders, and whether each of them works. Needs no coordinator.

use std::time::Duration;

use futures_util::future::join_all;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::{Exit, Output, SettingsArgs};
use crate::{
    clock::Clock,
    drivers::{self, EncoderError},
    encoder::{EncoderIdentity, EncoderSettings},
    transport::{Opener, PortError},
};

/// How long one encoder may take to answer.
const PATIENCE: Duration = Duration::from_secs(8);

/// List the configured encoders, what they say of themselves, and what to do about those that do not work
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Print one line of JSON for each encoder
    #[arg(long)]
    json: bool,
}

/// Asks all encoders at the same time and prints them in the order of the configuration.
pub(super) fn devices(args: &Args, output: &Output) -> Exit {
    let settings = match args.settings.load() {
        Ok(settings) => settings,
        Err(error) => {
            output.complain(error);
            return Exit::Unusable;
        }
    };
    let encoders = match settings.require_encoders() {
        Ok(encoders) => encoders,
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
    let answers = runtime.block_on(join_all(encoders.iter().map(ask)));
    let reports: Vec<_> = encoders
        .iter()
        .zip(&answers)
        .map(|(encoder, answer)| Report::new(encoder, answer))
        .collect();
    for report in &reports {
        if args.json {
            output.line(serde_json::to_string(report).unwrap_or_default());
        } else {
            report.lines().iter().for_each(|line| output.line(line));
        }
    }
    if reports.iter().all(|report| report.problem.is_none()) {
        Exit::Done
    } else {
        Exit::Failed
    }
}

async fn ask(settings: &EncoderSettings) -> Result<EncoderIdentity, EncoderError> {
    let cancel = CancellationToken::new();
    let opening = async {
        let encoder = drivers::open(&Opener::system(), settings, Clock::start(), &cancel).await?;
        let identity = encoder.identity();
        encoder.close().await;
        Ok(identity)
    };
    let patience = async {
        tokio::time::sleep(PATIENCE).await;
        cancel.cancel();
        std::future::pending().await
    };
    tokio::select! {
        answer = opening => answer,
        never = patience => never,
    }
}

/// What is told of one encoder.
#[derive(Debug, Serialize)]
struct Report<'a> {
    name: &'a str,
    key: &'a str,
    driver: &'a str,
    port: String,
    state: &'static str,
    model: Option<&'a str>,
    serial: Option<&'a str>,
    firmware: Option<&'a str>,
    problem: Option<String>,
}

impl<'a> Report<'a> {
    fn new(
        settings: &'a EncoderSettings,
        answer: &'a Result<EncoderIdentity, EncoderError>,
    ) -> Self {
        let identity = answer.as_ref().ok();
        Self {
            name: &settings.name,
            key: &settings.key.0,
            driver: &settings.driver,
            port: settings.port.display().to_string(),
            state: match answer {
                Ok(_) => "ready",
                Err(EncoderError::Port(PortError::Busy { .. })) => "in use",
                Err(_) => "fault",
            },
            model: identity.and_then(|identity| identity.model.as_deref()),
            serial: identity.and_then(|identity| identity.serial.as_deref()),
            firmware: identity.and_then(|identity| identity.firmware.as_deref()),
            problem: answer.as_ref().err().map(ToString::to_string),
        }
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = vec![self.name.to_owned()];
        let facts = [
            ("state", Some(self.state)),
            ("driver", Some(self.driver)),
            ("port", Some(self.port.as_str())),
            ("model", self.model),
            ("serial", self.serial),
            ("firmware", self.firmware),
            ("problem", self.problem.as_deref()),
        ];
        for (fact, value) in facts {
            lines.extend(value.map(|value| format!("  {fact:<9} {value}")));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use encoder_protocols::wire::{Abilities, EncoderKey, KeyScope};

    use super::*;

    #[test]
    fn a_working_encoder_is_told_with_its_firmware() {
        let answer = Ok(EncoderIdentity {
            model: Some("PN532".to_owned()),
            serial: None,
            firmware: Some("1.6".to_owned()),
            abilities: Abilities::default(),
        });
        assert_eq!(
            Report::new(&settings("/dev/ttyUSB0"), &answer).lines(),
            [
                "Front Desk",
                "  state     ready",
                "  driver    pn532",
                "  port      /dev/ttyUSB0",
                "  model     PN532",
                "  firmware  1.6",
            ]
        );
    }

    #[test]
    fn a_missing_port_is_told_with_what_to_do() {
        let settings = settings("/dev/no-such-port");
        let runtime = super::super::runtime().unwrap();
        let answer = runtime.block_on(ask(&settings));
        let report = Report::new(&settings, &answer);
        assert_eq!(report.state, "fault");
        assert_eq!(
            report.problem.as_deref(),
            Some(
                "there is no port /dev/no-such-port: plug the encoder in, or correct `port` in the configuration"
            )
        );
        assert_eq!(
            serde_json::to_value(&report).unwrap()["model"],
            serde_json::Value::Null
        );
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn an_encoder_that_works_is_ready_and_one_that_is_held_in_use() {
        use crate::emulation::{EmulationOptions, PtyEncoder};

        let board = PtyEncoder::start(&EmulationOptions::default()).unwrap();
        let port = board.path().unwrap().unwrap();
        let settings = settings(&port.display().to_string());
        let answer = ask(&settings).await;
        assert_eq!(Report::new(&settings, &answer).state, "ready");
        let cancel = CancellationToken::new();
        let held = drivers::open(&Opener::system(), &settings, Clock::start(), &cancel).await;
        let answer = ask(&settings).await;
        let report = Report::new(&settings, &answer);
        assert_eq!(report.state, "in use");
        assert!(report.problem.is_some());
        assert!(held.is_ok());
    }

    fn settings(port: &str) -> EncoderSettings {
        EncoderSettings {
            key: EncoderKey(format!("port:{port}")),
            key_scope: KeyScope::Agent,
            name: "Front Desk".to_owned(),
            driver: "pn532".to_owned(),
            port: PathBuf::from(port),
            baud: None,
            dtr: None,
            rts: None,
            named: true,
            adopted: true,
            lift_between_cards: true,
            allow_irreversible: false,
            poll_interval: Duration::from_millis(200),
            simulated: false,
        }
    }
}
