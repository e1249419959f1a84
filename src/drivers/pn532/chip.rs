//! The chip: commands and answers over the link, and what sets it up as a reader.

use std::time::Duration;

use encoder_protocols::{
    link::Link,
    pn532::{
        command::{
            FirmwareVersion, ListPassiveTarget, ListedTarget, Parameters, Reply, Request,
            RfConfiguration, SamConfiguration, TargetCount,
        },
        link::{Counters, LinkError, LinkTiming, Pn532Link},
    },
};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    drivers::EncoderError,
    transport::{ExchangeError, Port, PortError, Stop, exchange},
};

/// The chip's name, for messages.
pub(super) const DEVICE: &str = "PN532";

/// How often the chip is told to wake up before it counts as absent.
const WAKE_UPS: u8 = 3;

/// How often a card is tried to be activated beyond the first time. More than none, since a card that is still active
/// from the last look answers only the second time.
const ACTIVATION_RETRIES: u8 = 2;

/// The target number that means every one.
const ALL_TARGETS: u8 = 0;

/// The chip on its line.
pub(super) struct Chip {
    pub(super) port: Port,
    link: Pn532Link,
    clock: Clock,
    /// False from the moment on at which it fell silent, until it was set up anew.
    pub(super) is_up: bool,
}

/// Why the chip did not do as asked.
#[derive(Debug)]
pub(super) enum ChipError {
    Port(PortError),
    Silent(Duration),
    Garbled(LinkError),
    Cancelled,
}

impl Chip {
    /// A chip that was not spoken to yet.
    pub(super) fn new(port: Port, clock: Clock) -> Self {
        Self {
            port,
            link: Pn532Link::new(LinkTiming::default()),
            clock,
            is_up: false,
        }
    }

    /// Sends one command and waits for its answer.
    pub(super) async fn ask(
        &mut self,
        request: Request,
        cancel: &CancellationToken,
    ) -> Result<Reply, ChipError> {
        let longest = self.link.longest(&request);
        let stop = Stop {
            deadline: self.clock.now() + longest,
            cancel,
        };
        let reply = exchange(&mut self.port, &mut self.link, self.clock, request, stop).await;
        let error = match reply {
            Ok(reply) => return Ok(reply),
            Err(ExchangeError::Port(error)) => ChipError::Port(error),
            Err(ExchangeError::Cancelled) => return Err(ChipError::Cancelled),
            Err(ExchangeError::DeadlinePassed | ExchangeError::Link(LinkError::Silent { .. })) => {
                ChipError::Silent(longest)
            }
            Err(ExchangeError::Link(error)) => ChipError::Garbled(error),
        };
        self.is_up = false;
        Err(error)
    }

    /// Wakes the chip and sets it up as a reader.
    pub(super) async fn bring_up(
        &mut self,
        cancel: &CancellationToken,
    ) -> Result<FirmwareVersion, EncoderError> {
        self.wake_up(cancel).await?;
        let reply = self.ask(Request::GetFirmwareVersion, cancel).await?;
        let Reply::FirmwareVersion(version) = reply else {
            return Err(unexpected().into());
        };
        if version.ic != FirmwareVersion::PN532 {
            return Err(EncoderError::WrongDevice {
                expected: DEVICE,
                got: format!("a chip of type {:#04x}", version.ic),
            });
        }
        self.ask(Request::SetParameters(Parameters::READER), cancel)
            .await?;
        let retries = RfConfiguration::MaxRetries {
            atr: 0xFF,
            psl: 0x01,
            passive_activation: ACTIVATION_RETRIES,
        };
        self.ask(Request::RfConfiguration(retries), cancel).await?;
        self.is_up = true;
        Ok(version)
    }

    /// After power-up the first SAMConfiguration may be lost, or acknowledged and never answered (libnfc issues 85 and
    /// 528).
    async fn wake_up(&mut self, cancel: &CancellationToken) -> Result<(), EncoderError> {
        let mut tries = 0;
        let heard = self.link.counters();
        loop {
            tries += 1;
            self.link.reset();
            let sam = Request::SamConfiguration(SamConfiguration::NORMAL);
            match self.ask(sam, cancel).await {
                Ok(_) => return Ok(()),
                Err(error @ (ChipError::Port(_) | ChipError::Cancelled)) => {
                    return Err(error.into());
                }
                Err(ChipError::Silent(_) | ChipError::Garbled(_)) if tries < WAKE_UPS => {}
                Err(error) => return Err(self.absent(error, heard)),
            }
        }
    }

    /// Why the chip could not be woken, judged by what else was heard on the line since `before`.
    fn absent(&self, error: ChipError, before: Counters) -> EncoderError {
        let now = self.link.counters();
        let noise = now.noise_bytes - before.noise_bytes;
        let frames = now.skipped_frames - before.skipped_frames;
        if matches!(error, ChipError::Silent(_)) && noise + frames > 0 {
            return EncoderError::WrongDevice {
                expected: DEVICE,
                got: format!("{noise} bytes and {frames} frames that answer nothing"),
            };
        }
        error.into()
    }

    /// The cards in the field, at most two.
    pub(super) async fn list(
        &mut self,
        cancel: &CancellationToken,
    ) -> Result<Vec<ListedTarget>, ChipError> {
        let list = ListPassiveTarget {
            max_targets: TargetCount::Two,
            uid: None,
        };
        let reply = self.ask(Request::InListPassiveTarget(list), cancel).await?;
        let Reply::Targets(targets) = reply else {
            return Err(unexpected());
        };
        Ok(targets)
    }

    pub(super) async fn rf_off(&mut self, cancel: &CancellationToken) -> Result<(), ChipError> {
        self.ask(Request::InRelease(ALL_TARGETS), cancel).await?;
        let off = RfConfiguration::Field {
            on: false,
            avoid_collision: false,
        };
        self.ask(Request::RfConfiguration(off), cancel).await?;
        Ok(())
    }
}

impl From<ChipError> for EncoderError {
    fn from(error: ChipError) -> Self {
        match error {
            ChipError::Port(error) => Self::Port(error),
            ChipError::Silent(waited) => Self::Silent {
                device: DEVICE,
                waited_ms: milliseconds(waited),
            },
            ChipError::Garbled(error) => Self::Garbled {
                device: DEVICE,
                fault: error.fault(),
            },
            ChipError::Cancelled => Self::Cancelled,
        }
    }
}

/// The link answers each request with its own reply, so this is not met.
pub(super) fn unexpected() -> ChipError {
    ChipError::Garbled(LinkError::SyntaxError)
}

pub(super) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
