//! Device families: one file each, and the list of them.

mod claim;
mod error;
mod msr605;
mod pn532;

pub use claim::{Claim, HidSign, Sign, UsbId};
pub use error::EncoderError;
#[cfg(test)]
pub(crate) use pn532::bench;

use std::time::Duration;

use encoder_protocols::card::{
    CardContents, CardError, CardImage, ReadPlan, Technology, Uid, WriteError, WriteRules,
    magstripe::Track, write_estimate,
};
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    encoder::{EncoderIdentity, EncoderSettings, Poll, Signal},
    transport::{Opener, Port, PortSettings},
};

/// Every device family that this agent drives.
pub const DRIVERS: &[&dyn Driver] = &[&pn532::Pn532, &msr605::Msr605];

/// What a driver writes to a port to find out whether its device is there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Probing {
    /// Nothing: the port's own description is enough, or the device speaks first.
    Passive,
    /// Bytes that another device might misunderstand: only to devices that are surely of this family, and on ports
    /// where the configuration allows it.
    Intrusive,
}

/// What one command to a device costs at most, besides the time that the card's own bytes take on the line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CommandCost {
    /// Bytes that the device's protocol adds to a command and its answer.
    pub framing: u32,
    /// The time for the exchange over the air, the card's memory, and what lies between PC and line.
    pub pause: Duration,
}

/// A device family.
pub trait Driver: Sync {
    /// The name that the configuration and reports use.
    fn name(&self) -> &'static str;

    /// The USB devices that are, or may be, of this family.
    fn claims(&self) -> &'static [Claim];

    /// What finding out for certain takes.
    fn probing(&self) -> Probing;

    /// The line's speed, unless the configuration says otherwise, in bits per second.
    fn baud(&self) -> u32;

    /// What each command costs.
    fn command_cost(&self) -> CommandCost;

    /// Brings up the device behind `port`. Ends with [`EncoderError::Cancelled`] soon after `cancel`.
    fn start<'a>(
        &'a self,
        port: Port,
        clock: Clock,
        cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<Box<dyn Encoder>, EncoderError>>;
}

/// An open device that writes and reads cards.
///
/// A card lies on the encoder and has a UID, or is drawn through it and has none: such an encoder *swipes*, as the
/// technologies among its abilities say. It sees no card before it reads or writes it, so each method below that works on a
/// card waits for somebody to swipe one, until `cancel`: how long to wait is the caller's affair. Payment data never
/// reaches such a driver's `prepare`, and is masked after its `read`.
///
/// One thing at a time: dropping the future of a method leaves the device in an unknown state, so methods that may
/// take long end with an error soon after `cancel` instead.
pub trait Encoder: Send {
    /// What the device said of itself.
    fn identity(&self) -> EncoderIdentity;

    /// Looks for cards once. An encoder that swipes answers [`CardDescription::to_be_swiped`] whenever it works.
    ///
    /// [`CardDescription::to_be_swiped`]: encoder_protocols::card::CardDescription::to_be_swiped
    fn poll<'a>(
        &'a mut self,
        cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<Poll, EncoderError>>;

    /// Lets go of any card and switches the field off; ends any waiting for a swipe.
    fn rest(&mut self) -> BoxFuture<'_, Result<(), EncoderError>>;

    /// Selects the card `uid` again, checks that `image` fits it and authenticates everything the image will need;
    /// changes nothing. The encoder then holds the card for [`Encoder::write`]. One that swipes checks that it can write the
    /// image and is set up for it (coercivity, densities), and awaits no swipe yet.
    fn prepare<'a>(
        &'a mut self,
        uid: Option<Uid>,
        image: &'a CardImage,
        rules: WriteRules,
        cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<(), CardError>>;

    /// Writes what was prepared and reads it back; calls `verifying` when the last byte is written. Nothing stops it, and
    /// `cancel` comes never.
    ///
    /// An encoder that swipes waits for the swipe that writes, and ends with the device's word that it did; reading back
    /// takes another swipe, by [`Encoder::verify`]. On `cancel` it is reset, and that nothing was written is true only where
    /// it told of no swipe before the reset and answers well after it.
    ///
    /// # Errors
    /// [`WriteError`], which says whether a byte may have changed.
    fn write<'a>(
        &'a mut self,
        verifying: &'a mut (dyn FnMut() + Send),
        cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<(), WriteError>>;

    /// Compares the card `uid`, or the next one swiped, with `image`; changes nothing. Ends after one swipe, well or not.
    fn verify<'a>(
        &'a mut self,
        uid: Option<Uid>,
        image: &'a CardImage,
        cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<(), CardError>>;

    /// Reads the card `uid`, or the next one swiped. Ends after one swipe, well or not.
    fn read<'a>(
        &'a mut self,
        uid: Option<Uid>,
        plan: &'a ReadPlan,
        cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<CardContents, CardError>>;

    /// Erases these tracks of the next card swiped; waits for it until `cancel`, as [`Encoder::write`] does. Only an encoder that
    /// swipes can.
    ///
    /// # Errors
    /// [`WriteError`], which says whether a byte may have changed.
    fn erase<'a>(
        &'a mut self,
        _tracks: &'a [Track],
        _cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<(), WriteError>> {
        let error = no_stripe();
        Box::pin(std::future::ready(Err(WriteError {
            error,
            changed: false,
        })))
    }

    /// Shows people how it went, where the device can.
    fn signal(&mut self, signal: Signal) -> BoxFuture<'_, Result<(), EncoderError>>;

    /// Asks the device whether it still works.
    fn health(&mut self) -> BoxFuture<'_, Result<(), EncoderError>>;

    /// Resolves when the port goes away. Dropping the future loses nothing.
    fn lost(&mut self) -> BoxFuture<'_, EncoderError>;

    /// Leaves the device at rest and gives its port back.
    fn close(self: Box<Self>) -> BoxFuture<'static, ()>;
}

/// Only a magnetic stripe can be erased.
pub(crate) const fn no_stripe() -> CardError {
    CardError::WrongTechnology {
        expected: "a magnetic stripe",
        got: Technology::Unknown,
    }
}

/// The driver of that name.
pub fn driver(name: &str) -> Option<&'static dyn Driver> {
    DRIVERS.iter().find(|driver| driver.name() == name).copied()
}

/// What preparing, writing and verifying `image` takes at most on this encoder, as long as no exchange is disturbed. For
/// ever where no driver of that name is known.
pub fn write_time(settings: &EncoderSettings, image: &CardImage) -> Duration {
    driver(&settings.driver).map_or(Duration::MAX, |driver| {
        let baud = settings.baud.unwrap_or(driver.baud());
        let CommandCost { framing, pause } = driver.command_cost();
        write_estimate(image).duration(baud, framing, pause)
    })
}

/// Every driver's name, with commas between, for messages.
pub fn names() -> String {
    let names: Vec<_> = DRIVERS.iter().map(|driver| driver.name()).collect();
    names.join(", ")
}

/// Opens the port and brings up the device behind it.
///
/// # Errors
/// [`EncoderError`] says what is wrong and what to do.
pub async fn open(
    opener: &Opener,
    settings: &EncoderSettings,
    clock: Clock,
    cancel: &CancellationToken,
) -> Result<Box<dyn Encoder>, EncoderError> {
    let driver = driver(&settings.driver).ok_or_else(|| EncoderError::UnknownDriver {
        name: settings.driver.clone(),
        known: names(),
    })?;
    let wanted = PortSettings {
        path: settings.port.clone(),
        baud: settings.baud.unwrap_or(driver.baud()),
        dtr: settings.dtr,
        rts: settings.rts,
    };
    let port = opener.open(wanted).await?;
    driver.start(port, clock, cancel).await
}
