//! A family of HID encoders for tests.

use super::*;

/// A family of HID devices that are there once they are open.
pub(super) struct Swiper;

const CLAIMS: &[Claim] = &[Claim {
    usb: UsbId {
        vendor: 0x0801,
        product: 0x0003,
    },
    sign: Sign::Hid(HidSign {
        report_bytes: 64,
        strangers: &[],
    }),
}];

impl Driver for Swiper {
    fn name(&self) -> &'static str {
        "swiper"
    }

    fn claims(&self) -> &'static [Claim] {
        CLAIMS
    }

    fn probing(&self) -> Probing {
        Probing::Intrusive
    }

    fn baud(&self) -> u32 {
        9_600
    }

    fn command_cost(&self) -> CommandCost {
        CommandCost {
            framing: 0,
            pause: Duration::ZERO,
        }
    }

    fn start<'a>(
        &'a self,
        port: Port,
        _clock: Clock,
        _cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<Box<dyn Encoder>, EncoderError>> {
        let encoder: Box<dyn Encoder> = Box::new(OpenSwiper(port));
        Box::pin(std::future::ready(Ok(encoder)))
    }
}

struct OpenSwiper(Port);

impl Encoder for OpenSwiper {
    fn identity(&self) -> EncoderIdentity {
        EncoderIdentity {
            model: Some("Swiper".to_owned()),
            serial: None,
            firmware: None,
            abilities: Abilities::default(),
        }
    }

    fn poll<'a>(
        &'a mut self,
        _cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<Poll, EncoderError>> {
        Box::pin(std::future::ready(Ok(Poll::Empty)))
    }

    fn rest(&mut self) -> BoxFuture<'_, Result<(), EncoderError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn prepare<'a>(
        &'a mut self,
        _uid: Option<Uid>,
        _image: &'a CardImage,
        _rules: WriteRules,
        _cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<(), CardError>> {
        unreachable!("no card is ever seen")
    }

    fn write<'a>(
        &'a mut self,
        _verifying: &'a mut (dyn FnMut() + Send),
        _cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<(), WriteError>> {
        unreachable!("no card is ever seen")
    }

    fn verify<'a>(
        &'a mut self,
        _uid: Option<Uid>,
        _image: &'a CardImage,
        _cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<(), CardError>> {
        unreachable!("no card is ever seen")
    }

    fn read<'a>(
        &'a mut self,
        _uid: Option<Uid>,
        _plan: &'a ReadPlan,
        _cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<CardContents, CardError>> {
        unreachable!("no card is ever seen")
    }

    fn signal(&mut self, _signal: Signal) -> BoxFuture<'_, Result<(), EncoderError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn health(&mut self) -> BoxFuture<'_, Result<(), EncoderError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn lost(&mut self) -> BoxFuture<'_, EncoderError> {
        Box::pin(async move { EncoderError::Port(self.0.closed().await) })
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }
}
