//! A card in the chip's field, as the card logic works on it.

use encoder_protocols::{
    card::{CandidateKey, CardDescription, CardLink, CardLinkError, Uid, identify::Question},
    fault::HardwareFault,
    pn532::{
        command::{Communicate, Exchange, Exchanged, ListedTarget, Reply, Request},
        link::LinkError,
        status::{DRIVER, StatusCode},
    },
};
use tokio_util::sync::CancellationToken;

use super::chip::{Chip, ChipError, milliseconds, unexpected};

/// The 4-bit acknowledgement of MIFARE and NTAG cards.
const ACKNOWLEDGE: u8 = 0x0A;

/// A selected card.
#[derive(Clone, Copy)]
pub(super) struct Bound {
    pub(super) card: CardDescription,
    pub(super) uid: Uid,
    pub(super) target: u8,
}

/// A card in the field of a PN532.
pub(super) struct Pn532Card<'a> {
    pub(super) chip: &'a mut Chip,
    pub(super) bound: Bound,
    pub(super) cancel: &'a CancellationToken,
}

impl Pn532Card<'_> {
    async fn exchange(&mut self, exchange: Exchange) -> Result<Exchanged, CardLinkError> {
        data_exchange(self.chip, Request::InDataExchange(exchange), self.cancel).await
    }

    /// A read or write. The 4 bits with which a card refuses it do not show through InDataExchange: the chip calls them
    /// a wrong format. So does it a disturbed answer; only that the next one is as well tells them apart, as with a card
    /// that falls silent.
    async fn transfer(&mut self, exchange: Exchange) -> Result<Exchanged, CardLinkError> {
        let wrong_format = StatusCode::DataFormat.fault();
        match self.exchange(exchange).await {
            Err(CardLinkError::Disturbed(fault)) if fault == wrong_format => {
                Err(CardLinkError::CardGone(fault))
            }
            result => result,
        }
    }
}

impl CardLink for Pn532Card<'_> {
    fn card(&self) -> CardDescription {
        self.bound.card
    }

    async fn reselect(&mut self) -> Result<(), CardLinkError> {
        let target = select_target(self.chip, self.bound.uid, self.cancel).await?;
        self.bound.target = target.number;
        Ok(())
    }

    async fn authenticate(&mut self, block: u8, key: &CandidateKey) -> Result<(), CardLinkError> {
        let Bound { uid, target, .. } = self.bound;
        let exchange = Exchange::authenticate(target, block, key, &uid);
        match self.exchange(exchange).await {
            // A card whose key is another falls silent, and so does one that was lifted; the chip tells them apart.
            Err(CardLinkError::Refused(fault)) => Err(CardLinkError::AuthenticationRefused(fault)),
            result => result.map(drop),
        }
    }

    async fn read(&mut self, address: u8) -> Result<[u8; 16], CardLinkError> {
        let exchange = Exchange::read(self.bound.target, address);
        let answer = self.transfer(exchange).await?;
        let bytes = answer.data.as_bytes();
        bytes
            .try_into()
            .map_err(|_| CardLinkError::Disturbed(wrong_length(16, bytes.len())))
    }

    async fn write_block(&mut self, block: u8, data: &[u8; 16]) -> Result<(), CardLinkError> {
        let exchange = Exchange::write_block(self.bound.target, block, data);
        self.transfer(exchange).await.map(drop)
    }

    async fn write_page(&mut self, page: u8, data: &[u8; 4]) -> Result<(), CardLinkError> {
        let exchange = Exchange::write_page(self.bound.target, page, data);
        self.transfer(exchange).await.map(drop)
    }

    async fn transceive(&mut self, command: &[u8]) -> Result<Vec<u8>, CardLinkError> {
        communicate(self.chip, command, self.cancel).await
    }
}

/// Lists the cards anew and takes the one with this UID, if it is the only one.
pub(super) async fn select_target(
    chip: &mut Chip,
    uid: Uid,
    cancel: &CancellationToken,
) -> Result<ListedTarget, CardLinkError> {
    let mut targets = chip
        .list(cancel)
        .await
        .map_err(card_link_error)?
        .into_iter();
    match (targets.next(), targets.next()) {
        (None, _) => Err(CardLinkError::CardGone(StatusCode::Timeout.fault())),
        (Some(_), Some(_)) => Err(CardLinkError::SeveralCards),
        (Some(target), None) if target.uid == uid => Ok(target),
        (Some(_), None) => Err(CardLinkError::CardSwapped),
    }
}

/// The card's answer; `None` where it refused. It is selected again when it may have fallen back to idle.
pub(super) async fn question_card(
    chip: &mut Chip,
    uid: Uid,
    question: Question,
    cancel: &CancellationToken,
) -> Result<Option<Vec<u8>>, CardLinkError> {
    let answer = match communicate(chip, question.command(), cancel).await {
        Ok(answer) if question == Question::Version => return Ok(Some(answer)),
        Ok(answer) => Some(answer),
        Err(
            CardLinkError::CardGone(_) | CardLinkError::Refused(_) | CardLinkError::Disturbed(_),
        ) => None,
        Err(error) => return Err(error),
    };
    select_target(chip, uid, cancel).await?;
    Ok(answer)
}

/// A card's answer over the air as it is. Where the chip passes on a 4-bit answer, it is one byte.
async fn communicate(
    chip: &mut Chip,
    command: &[u8],
    cancel: &CancellationToken,
) -> Result<Vec<u8>, CardLinkError> {
    let request = Request::InCommunicateThru(Communicate::new(command));
    let answer = data_exchange(chip, request, cancel).await?;
    match answer.data.as_bytes() {
        [short] if *short != ACKNOWLEDGE => Err(CardLinkError::Refused(HardwareFault {
            driver: DRIVER.to_owned(),
            code: format!("nak {short:#03x}"),
            meaning: "the card refused the command".to_owned(),
        })),
        bytes => Ok(bytes.to_vec()),
    }
}

async fn data_exchange(
    chip: &mut Chip,
    request: Request,
    cancel: &CancellationToken,
) -> Result<Exchanged, CardLinkError> {
    let reply = chip.ask(request, cancel).await.map_err(card_link_error)?;
    let Reply::Exchanged(answer) = reply else {
        return Err(card_link_error(unexpected()));
    };
    if answer.status.is_success() {
        Ok(answer)
    } else {
        Err(status_error(answer.status.code))
    }
}

/// What a status says of the card, as far as the chip knows it.
fn status_error(status: StatusCode) -> CardLinkError {
    let fault = status.fault();
    match status {
        StatusCode::Timeout | StatusCode::CardDisappeared | StatusCode::WrongContext => {
            CardLinkError::CardGone(fault)
        }
        StatusCode::AuthenticationFailed => CardLinkError::Refused(fault),
        StatusCode::CardExchanged => CardLinkError::CardSwapped,
        StatusCode::BitCollision => CardLinkError::SeveralCards,
        StatusCode::Crc
        | StatusCode::Parity
        | StatusCode::BitCount
        | StatusCode::MifareFraming
        | StatusCode::RfProtocol
        | StatusCode::DataFormat
        | StatusCode::UidCheckByte => CardLinkError::Disturbed(fault),
        StatusCode::Success
        | StatusCode::BufferTooSmall
        | StatusCode::RfBufferOverflow
        | StatusCode::FieldNotSwitchedOn
        | StatusCode::Overheated
        | StatusCode::InternalBufferOverflow
        | StatusCode::InvalidParameter
        | StatusCode::DepUnsupportedCommand
        | StatusCode::DepInvalidState
        | StatusCode::NotAllowed
        | StatusCode::ReleasedByInitiator
        | StatusCode::Nfcid3Mismatch
        | StatusCode::OverCurrent
        | StatusCode::NadMissing
        | StatusCode::Unlisted(_) => CardLinkError::Faulty(fault),
    }
}

pub(super) fn card_link_error(error: ChipError) -> CardLinkError {
    match error {
        ChipError::Port(error) => CardLinkError::PortGone(error.to_string()),
        ChipError::Silent(waited) | ChipError::Garbled(LinkError::NoResponse(waited)) => {
            CardLinkError::Silent(milliseconds(waited))
        }
        ChipError::Garbled(error) => CardLinkError::Faulty(error.fault()),
        ChipError::Cancelled => CardLinkError::Cancelled,
    }
}

fn wrong_length(expected: usize, got: usize) -> HardwareFault {
    HardwareFault {
        driver: DRIVER.to_owned(),
        code: "length".to_owned(),
        meaning: format!("expected {expected} bytes from the card, got {got}"),
    }
}
