//! Magnetic stripe encoders: MSR206, MSR605 and MSR606 on a serial line, MSR605X as a USB HID device.
//!
//! A card is drawn through while the device waits for one. Coercivity, densities and bits per character are lost with each
//! reset, so all of them are set for every write, and the last for every read.

#[cfg(test)]
pub(crate) mod bench;
mod device;
mod stripe;
#[cfg(test)]
mod tests;

use std::time::Duration;

use encoder_protocols::{
    card::{
        CardContents, CardDescription, CardError, CardImage, CardLinkError, Place, ReadPlan,
        Technology, Uid, WriteError, WriteRules,
        magstripe::{MagstripeRead, Track},
    },
    fault::HardwareFault,
    msr605::{
        command::{Leds, Reply, Request},
        status::{DRIVER, Status},
    },
    wire::Abilities,
};
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use self::{
    device::{About, Device, DeviceError, refused, unexpected},
    stripe::{contents, image_of, plan_of, read_request, setting, write_request},
};
use super::{Claim, CommandCost, Driver, Encoder, EncoderError, HidSign, Probing, Sign, UsbId};
use crate::{
    clock::Clock,
    encoder::{EncoderIdentity, Poll, Signal},
    transport::Port,
};

/// The line's speed of all but a few MSR206, which a switch sets to 38400.
const BAUD: u32 = 9_600;

/// A report's header and its filling, and the block's frame.
const FRAMING: u32 = 16;

/// The device's own time for a setting, and what lies between PC and line.
const PAUSE: Duration = Duration::from_millis(50);

/// The bridge chips of the devices on the market, each on countless other devices too, and the MSR605X, which took its id from
/// MagTek: a swipe reader of theirs has the same.
const DEVICES: &[Claim] = &[
    Claim::bridge(0x067B, 0x2303, "Prolific PL2303"),
    Claim::bridge(0x10C4, 0xEA60, "Silicon Labs CP210x"),
    Claim {
        usb: UsbId {
            vendor: 0x0801,
            product: 0x0003,
        },
        sign: Sign::Hid(HidSign {
            report_bytes: 64,
            strangers: &["magtek", "mag-tek"],
        }),
    },
];

/// The family.
pub(super) struct Msr605;

impl Driver for Msr605 {
    fn name(&self) -> &'static str {
        DRIVER
    }

    fn claims(&self) -> &'static [Claim] {
        DEVICES
    }

    fn probing(&self) -> Probing {
        Probing::Intrusive
    }

    fn baud(&self) -> u32 {
        BAUD
    }

    fn command_cost(&self) -> CommandCost {
        CommandCost {
            framing: FRAMING,
            pause: PAUSE,
        }
    }

    fn start<'a>(
        &'a self,
        port: Port,
        clock: Clock,
        cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<Box<dyn Encoder>, EncoderError>> {
        Box::pin(async move {
            let mut device = Device::new(port, clock);
            let about = device.bring_up(cancel).await?;
            let encoder: Box<dyn Encoder> = Box::new(Msr605Encoder {
                device,
                about,
                prepared: None,
            });
            Ok(encoder)
        })
    }
}

/// An open encoder.
struct Msr605Encoder {
    device: Device,
    about: About,
    /// The command that the next swipe is to carry out.
    prepared: Option<Request>,
}

impl Msr605Encoder {
    async fn be_up(&mut self, cancel: &CancellationToken) -> Result<(), EncoderError> {
        if !self.device.is_up {
            self.about = self.device.bring_up(cancel).await?;
        }
        Ok(())
    }

    async fn prepare(
        &mut self,
        image: &CardImage,
        cancel: &CancellationToken,
    ) -> Result<(), CardError> {
        self.prepared = None;
        let image = image_of(image)?;
        image.check()?;
        let request = write_request(image)?;
        self.be_up(cancel).await.map_err(bring_up_failed)?;
        let heads = self.about.model.tracks().unwrap_or([true; 3]);
        for track in &image.tracks {
            let has_head = heads.get(usize::from(track.track.number() - 1));
            if has_head == Some(&false) {
                return Err(CardError::Link {
                    at: Some(Place::Track(track.track)),
                    source: CardLinkError::Faulty(fault(
                        "no-head",
                        "this model has no head for the track",
                    )),
                });
            }
        }
        let set_up = self.device.set_up(&setting(image), cancel).await;
        set_up.map_err(DeviceError::on_card)?;
        self.prepared = Some(request);
        Ok(())
    }

    async fn write(
        &mut self,
        verifying: &mut (dyn FnMut() + Send),
        cancel: &CancellationToken,
    ) -> Result<(), WriteError> {
        let Some(request) = self.prepared.take() else {
            let source = CardLinkError::Faulty(fault("unprepared", "nothing is prepared"));
            return Err(WriteError {
                error: CardError::Link { at: None, source },
                changed: false,
            });
        };
        let before = self.device.counters();
        let (error, changed) = match self.device.ask(request, cancel).await {
            Ok(Reply::Status(Status::Ok)) => {
                verifying();
                return Ok(());
            }
            // These two come at once: no card was awaited.
            Ok(Reply::Status(status @ (Status::Format | Status::InvalidCommand))) => {
                (DeviceError::Refused(status), false)
            }
            Ok(Reply::Status(status)) => (DeviceError::Refused(status), true),
            Ok(_) => (unexpected(), true),
            Err(DeviceError::Cancelled) => {
                let took_none = self.device.took_no_card_since(before).await;
                (DeviceError::Cancelled, !took_none)
            }
            Err(error) => (error, true),
        };
        Err(WriteError {
            error: error.on_card(),
            changed,
        })
    }

    async fn read(
        &mut self,
        plan: &MagstripeRead,
        cancel: &CancellationToken,
    ) -> Result<CardContents, CardError> {
        self.prepared = None;
        self.be_up(cancel).await.map_err(bring_up_failed)?;
        let (bits, request) = read_request(plan.form);
        let set = self.device.set_bits(bits, cancel).await;
        set.map_err(DeviceError::on_card)?;
        let swipe = self.device.ask(request, cancel).await;
        match swipe.map_err(DeviceError::on_card)? {
            Reply::Iso(swipe) => contents(plan, &swipe.tracks, swipe.status),
            Reply::Raw(swipe) => contents(plan, &swipe.tracks, swipe.status),
            Reply::Status(status) => Err(CardError::Link {
                at: None,
                source: refused(status),
            }),
            Reply::Done
            | Reply::LeadingZeros(_)
            | Reply::Coercivity(_)
            | Reply::Model(_)
            | Reply::Firmware(_) => Err(unexpected().on_card()),
        }
    }
}

impl Encoder for Msr605Encoder {
    fn identity(&self) -> EncoderIdentity {
        EncoderIdentity {
            model: Some(format!("MSR605 (model {})", char::from(self.about.model.0))),
            serial: None,
            firmware: self.about.firmware.clone(),
            abilities: Abilities {
                encode: true,
                scan: true,
                makes_keys: false,
                technologies: vec![Technology::Magstripe],
            },
        }
    }

    fn poll<'a>(
        &'a mut self,
        cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<Poll, EncoderError>> {
        Box::pin(async move {
            self.be_up(cancel).await?;
            Ok(Poll::Card(CardDescription::to_be_swiped()))
        })
    }

    // Nothing waits for a swipe between two calls.
    fn rest(&mut self) -> BoxFuture<'_, Result<(), EncoderError>> {
        self.prepared = None;
        Box::pin(std::future::ready(Ok(())))
    }

    fn prepare<'a>(
        &'a mut self,
        _uid: Option<Uid>,
        image: &'a CardImage,
        _rules: WriteRules,
        cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<(), CardError>> {
        Box::pin(self.prepare(image, cancel))
    }

    fn write<'a>(
        &'a mut self,
        verifying: &'a mut (dyn FnMut() + Send),
        cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<(), WriteError>> {
        Box::pin(self.write(verifying, cancel))
    }

    fn erase<'a>(
        &'a mut self,
        tracks: &'a [Track],
        cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<(), WriteError>> {
        let named = Track::ALL.map(|track| tracks.contains(&track));
        Box::pin(async move {
            // A mask that names none would erase the first.
            if named == [false; 3] {
                return Ok(());
            }
            self.be_up(cancel).await.map_err(|error| WriteError {
                error: bring_up_failed(error),
                changed: false,
            })?;
            self.prepared = Some(Request::Erase(named));
            self.write(&mut || {}, cancel).await
        })
    }

    fn verify<'a>(
        &'a mut self,
        _uid: Option<Uid>,
        image: &'a CardImage,
        cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<(), CardError>> {
        Box::pin(async move {
            let image = image_of(image)?;
            match self.read(&image.verifying_read(), cancel).await? {
                CardContents::Magstripe { tracks } => image.compare(&tracks),
                CardContents::MifareClassic { .. }
                | CardContents::Type2 { .. }
                | CardContents::UidOnly => Err(unexpected().on_card()),
            }
        })
    }

    fn read<'a>(
        &'a mut self,
        _uid: Option<Uid>,
        plan: &'a ReadPlan,
        cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<CardContents, CardError>> {
        Box::pin(async move { self.read(plan_of(plan)?, cancel).await })
    }

    fn signal(&mut self, signal: Signal) -> BoxFuture<'_, Result<(), EncoderError>> {
        let leds = match signal {
            Signal::Waiting | Signal::Working => Leds::Yellow,
            Signal::Done => Leds::Green,
            Signal::Failed => Leds::Red,
            Signal::Off => Leds::Off,
        };
        Box::pin(async move { Ok(self.device.show(leds).await?) })
    }

    fn health(&mut self) -> BoxFuture<'_, Result<(), EncoderError>> {
        Box::pin(async move {
            let never = CancellationToken::new();
            let test = self.device.demand(Request::CommunicationTest, &never);
            if test.await.is_err() {
                self.device.is_up = false;
                self.be_up(&never).await?;
            }
            Ok(())
        })
    }

    fn lost(&mut self) -> BoxFuture<'_, EncoderError> {
        Box::pin(async move { EncoderError::Port(self.device.port.closed().await) })
    }

    fn close(mut self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            if let Err(error) = self.device.show(Leds::Off).await {
                tracing::debug!(?error, "could not switch the lights off");
            }
            self.device.port.close();
        })
    }
}

fn fault(code: &str, meaning: &str) -> HardwareFault {
    HardwareFault {
        driver: DRIVER.to_owned(),
        code: code.to_owned(),
        meaning: meaning.to_owned(),
    }
}

fn bring_up_failed(error: EncoderError) -> CardError {
    let source = match error {
        EncoderError::Silent { waited_ms, .. } => CardLinkError::Silent(waited_ms),
        EncoderError::Cancelled => CardLinkError::Cancelled,
        EncoderError::Garbled { fault, .. } | EncoderError::Faulty(fault) => {
            CardLinkError::Faulty(fault)
        }
        EncoderError::Port(_)
        | EncoderError::WrongDevice { .. }
        | EncoderError::UnknownDriver { .. } => CardLinkError::PortGone(error.to_string()),
    };
    CardError::Link { at: None, source }
}
