//! Boards with an NXP PN532 on their serial line.

#[cfg(test)]
pub(crate) mod bench;
mod card;
mod chip;
#[cfg(test)]
mod tests;

use std::time::Duration;

use encoder_protocols::{
    card::{
        CardContents, CardDescription, CardError, CardImage, CardLinkError, Prepared, ReadPlan,
        Technology, Uid, WriteError, WriteRules, WriteStage,
        identify::{Identified, Selection, identify},
        prepare, read, verify, write,
    },
    fault::HardwareFault,
    pn532::{
        command::{FirmwareVersion, ListedTarget, Request},
        status::{DRIVER, StatusCode},
    },
    wire::Abilities,
};
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use self::{
    card::{Bound, Pn532Card, question_card, select_target},
    chip::{Chip, ChipError, DEVICE},
};
use super::{Claim, CommandCost, Driver, Encoder, EncoderError, Probing};
use crate::{
    clock::Clock,
    encoder::{EncoderIdentity, Poll, Signal},
    transport::Port,
};

/// The line's speed as the chip comes up.
const BAUD: u32 = 115_200;

/// InDataExchange to the chip has 10 bytes around the card's, its acknowledgement 6, its answer 10.
const FRAMING: u32 = 26;

/// Up to 6 ms over the air, the chip's own time, and the 16 ms for which an FTDI bridge holds an answer back.
const PAUSE: Duration = Duration::from_millis(25);

/// The bridge chips of the boards on the market. Each is on countless other devices too, so only asking tells.
const BRIDGES: &[Claim] = &[
    Claim::bridge(0x1A86, 0x7523, "WCH CH340"),
    Claim::bridge(0x10C4, 0xEA60, "Silicon Labs CP210x"),
    Claim::bridge(0x0403, 0x6001, "FTDI FT232R"),
    Claim::bridge(0x067B, 0x2303, "Prolific PL2303"),
];

/// The technologies that can be written; others are recognised and told by their UID.
const TECHNOLOGIES: &[Technology] = &[
    Technology::MifareClassicMini,
    Technology::MifareClassic1k,
    Technology::MifareClassic4k,
    Technology::Ultralight,
    Technology::UltralightEv1Ul11,
    Technology::UltralightEv1Ul21,
    Technology::Ntag213,
    Technology::Ntag215,
    Technology::Ntag216,
];

/// The family.
pub(super) struct Pn532;

impl Driver for Pn532 {
    fn name(&self) -> &'static str {
        DRIVER
    }

    fn claims(&self) -> &'static [Claim] {
        BRIDGES
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
            let mut chip = Chip::new(port, clock);
            let version = chip.bring_up(cancel).await?;
            let encoder: Box<dyn Encoder> = Box::new(Pn532Encoder {
                chip,
                version,
                known: None,
                prepared: None,
            });
            Ok(encoder)
        })
    }
}

/// An open PN532.
struct Pn532Encoder {
    chip: Chip,
    version: FirmwareVersion,
    /// The card that was last identified: it need not be asked again at every look.
    known: Option<Known>,
    prepared: Option<(Prepared, Bound)>,
}

struct Known {
    uid: Uid,
    sak: u8,
    atqa: [u8; 2],
    card: CardDescription,
}

impl Pn532Encoder {
    async fn look(&mut self, cancel: &CancellationToken) -> Result<Poll, EncoderError> {
        self.prepared = None;
        if !self.chip.is_up {
            self.version = self.chip.bring_up(cancel).await?;
        }
        let targets = match self.chip.list(cancel).await {
            // A chip that lost its power for a moment needs nothing but to be set up anew.
            Err(ChipError::Silent(_)) => {
                self.version = self.chip.bring_up(cancel).await?;
                self.chip.list(cancel).await?
            }
            listed => listed?,
        };
        let target = match targets.as_slice() {
            [] => return Ok(Poll::Empty),
            [target] => target.clone(),
            _ => return Ok(Poll::Several),
        };
        match self.describe(&target, cancel).await {
            Ok(card) => Ok(Poll::Card(card)),
            Err(CardLinkError::SeveralCards) => Ok(Poll::Several),
            // It left while it was asked; the next look tells.
            Err(
                CardLinkError::CardGone(_)
                | CardLinkError::CardSwapped
                | CardLinkError::Disturbed(_),
            ) => Ok(Poll::Empty),
            Err(error) => Err(self.encoder_error(error)),
        }
    }

    /// Selects the card `uid` and no other.
    async fn select(
        &mut self,
        uid: Uid,
        cancel: &CancellationToken,
    ) -> Result<Bound, CardLinkError> {
        self.prepared = None;
        if !self.chip.is_up {
            let up = self.chip.bring_up(cancel).await;
            self.version = up.map_err(|error| bring_up_failed(&error))?;
        }
        let target = select_target(&mut self.chip, uid, cancel).await?;
        let card = self.describe(&target, cancel).await?;
        Ok(Bound {
            card,
            uid,
            target: target.number,
        })
    }

    /// What kind of card a listed target is; it stays selected.
    async fn describe(
        &mut self,
        target: &ListedTarget,
        cancel: &CancellationToken,
    ) -> Result<CardDescription, CardLinkError> {
        if let Some(known) = &self.known
            && (known.uid, known.sak, known.atqa) == (target.uid, target.sel_res, target.sens_res)
        {
            return Ok(known.card);
        }
        let selection = Selection {
            atqa: target.sens_res,
            sak: target.sel_res,
            uid: target.uid,
            ats: target.ats.as_deref().unwrap_or_default(),
        };
        let mut identified = identify(&selection);
        let technology = loop {
            match identified {
                Identified::As(technology) => break technology,
                Identified::Ask(question) => {
                    let answer =
                        question_card(&mut self.chip, target.uid, question, cancel).await?;
                    identified = question.answered(answer.as_deref());
                }
            }
        };
        let card = selection.describe(technology);
        self.known = Some(Known {
            uid: target.uid,
            sak: target.sel_res,
            atqa: target.sens_res,
            card,
        });
        Ok(card)
    }

    async fn prepare(
        &mut self,
        uid: Uid,
        image: &CardImage,
        rules: WriteRules,
        cancel: &CancellationToken,
    ) -> Result<(), CardError> {
        let bound = self.select(uid, cancel).await.map_err(unplaced)?;
        let mut card = self.card(bound, cancel);
        let prepared = prepare(&mut card, image, rules).await?;
        let bound = card.bound;
        self.prepared = Some((prepared, bound));
        Ok(())
    }

    async fn write(&mut self, verifying: &mut (dyn FnMut() + Send)) -> Result<(), WriteError> {
        let Some((prepared, bound)) = self.prepared.take() else {
            let fault = CardLinkError::CardGone(HardwareFault {
                driver: DRIVER.to_owned(),
                code: "unprepared".to_owned(),
                meaning: "no card is prepared".to_owned(),
            });
            return Err(WriteError {
                error: unplaced(fault),
                changed: false,
            });
        };
        let never = CancellationToken::new();
        let mut card = self.card(bound, &never);
        let mut progress = |stage| match stage {
            WriteStage::Verifying => verifying(),
        };
        write(&mut card, &prepared, &mut progress).await
    }

    fn card<'a>(&'a mut self, bound: Bound, cancel: &'a CancellationToken) -> Pn532Card<'a> {
        Pn532Card {
            chip: &mut self.chip,
            bound,
            cancel,
        }
    }

    fn encoder_error(&self, error: CardLinkError) -> EncoderError {
        match error {
            CardLinkError::Cancelled => EncoderError::Cancelled,
            CardLinkError::Silent(waited_ms) => EncoderError::Silent {
                device: DEVICE,
                waited_ms,
            },
            CardLinkError::PortGone(_) => EncoderError::Port(self.chip.port.gone()),
            CardLinkError::CardGone(fault)
            | CardLinkError::AuthenticationRefused(fault)
            | CardLinkError::Refused(fault)
            | CardLinkError::Disturbed(fault)
            | CardLinkError::BadSwipe(fault)
            | CardLinkError::Faulty(fault) => EncoderError::Faulty(fault),
            CardLinkError::CardSwapped | CardLinkError::SeveralCards => {
                EncoderError::Faulty(StatusCode::BitCollision.fault())
            }
        }
    }
}

impl Encoder for Pn532Encoder {
    fn identity(&self) -> EncoderIdentity {
        EncoderIdentity {
            model: Some(DEVICE.to_owned()),
            serial: None,
            firmware: Some(format!(
                "{}.{}",
                self.version.version, self.version.revision
            )),
            abilities: Abilities {
                encode: true,
                scan: true,
                makes_keys: false,
                technologies: TECHNOLOGIES.to_vec(),
            },
        }
    }

    fn poll<'a>(
        &'a mut self,
        cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<Poll, EncoderError>> {
        Box::pin(self.look(cancel))
    }

    fn rest(&mut self) -> BoxFuture<'_, Result<(), EncoderError>> {
        Box::pin(async move {
            self.prepared = None;
            let never = CancellationToken::new();
            Ok(self.chip.rf_off(&never).await?)
        })
    }

    fn prepare<'a>(
        &'a mut self,
        uid: Option<Uid>,
        image: &'a CardImage,
        rules: WriteRules,
        cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<(), CardError>> {
        Box::pin(async move { self.prepare(lying(uid)?, image, rules, cancel).await })
    }

    fn write<'a>(
        &'a mut self,
        verifying: &'a mut (dyn FnMut() + Send),
        _cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<(), WriteError>> {
        Box::pin(self.write(verifying))
    }

    fn verify<'a>(
        &'a mut self,
        uid: Option<Uid>,
        image: &'a CardImage,
        cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<(), CardError>> {
        Box::pin(async move {
            let bound = self.select(lying(uid)?, cancel).await.map_err(unplaced)?;
            verify(&mut self.card(bound, cancel), image).await
        })
    }

    fn read<'a>(
        &'a mut self,
        uid: Option<Uid>,
        plan: &'a ReadPlan,
        cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<CardContents, CardError>> {
        Box::pin(async move {
            let bound = self.select(lying(uid)?, cancel).await.map_err(unplaced)?;
            read(&mut self.card(bound, cancel), plan).await
        })
    }

    // The boards have neither lights nor sounds that the chip reaches.
    fn signal(&mut self, _signal: Signal) -> BoxFuture<'_, Result<(), EncoderError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn health(&mut self) -> BoxFuture<'_, Result<(), EncoderError>> {
        Box::pin(async move {
            let never = CancellationToken::new();
            if self.chip.is_up
                && self
                    .chip
                    .ask(Request::GetFirmwareVersion, &never)
                    .await
                    .is_ok()
            {
                return Ok(());
            }
            self.version = self.chip.bring_up(&never).await?;
            Ok(())
        })
    }

    fn lost(&mut self) -> BoxFuture<'_, EncoderError> {
        Box::pin(async move { EncoderError::Port(self.chip.port.closed().await) })
    }

    fn close(mut self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let never = CancellationToken::new();
            if self.chip.is_up
                && let Err(error) = self.chip.rf_off(&never).await
            {
                tracing::debug!(?error, "could not switch the field off");
            }
            self.chip.port.close();
        })
    }
}

fn bring_up_failed(error: &EncoderError) -> CardLinkError {
    match error {
        EncoderError::Port(error) => CardLinkError::PortGone(error.to_string()),
        EncoderError::Silent { waited_ms, .. } => CardLinkError::Silent(*waited_ms),
        EncoderError::Cancelled => CardLinkError::Cancelled,
        EncoderError::Garbled { fault, .. } | EncoderError::Faulty(fault) => {
            CardLinkError::Faulty(fault.clone())
        }
        EncoderError::WrongDevice { .. } | EncoderError::UnknownDriver { .. } => {
            CardLinkError::PortGone(error.to_string())
        }
    }
}

/// The UID of a card that lies in the field: each has one there.
fn lying(uid: Option<Uid>) -> Result<Uid, CardError> {
    uid.ok_or(CardError::WrongTechnology {
        expected: "card with a uid",
        got: Technology::Magstripe,
    })
}

fn unplaced(source: CardLinkError) -> CardError {
    CardError::Link { at: None, source }
}
