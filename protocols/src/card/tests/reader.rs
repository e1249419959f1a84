//! A reader that holds a virtual card and can be told to fail at any exchange.

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};

use crate::{
    card::{
        CandidateKey, CardDescription, CardLink, CardLinkError, KeySlot,
        virtual_card::{CardAnswer, CardKind, VirtualCard},
    },
    fault::HardwareFault,
};

/// One exchange as the reader saw it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Step {
    Select,
    Authenticate(KeySlot, u8),
    Read(u8),
    Write(u8),
    Other(u8),
}

/// What goes wrong at an exchange.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Trouble {
    /// The card is lifted before it and stays away.
    Lifted,
    /// The command is lost on its way to the card.
    CommandLost,
    /// The card's answer is lost.
    AnswerLost,
    /// The reader's port is gone.
    PortGone,
    /// The card was away before it, and came back as [`Reader::elsewhere`] left it.
    Elsewhere,
}

pub(super) struct Reader {
    pub(super) card: VirtualCard,
    pub(super) log: Vec<Step>,
    /// At which exchange, counted from 0, what goes wrong.
    pub(super) trouble: Option<(usize, Trouble)>,
    /// A NAK is reported like a card that is gone, as some readers do.
    pub(super) reports_naks_as_gone: bool,
    /// What is written on the card where it is while it is away.
    pub(super) elsewhere: Vec<u8>,
    lifted: bool,
}

impl Reader {
    pub(super) fn with(kind: CardKind) -> Self {
        Self::holding(VirtualCard::new(kind, None).unwrap())
    }

    pub(super) fn holding(mut card: VirtualCard) -> Self {
        card.select();
        Self {
            card,
            log: Vec::new(),
            trouble: None,
            reports_naks_as_gone: false,
            elsewhere: Vec::new(),
            lifted: false,
        }
    }

    pub(super) fn description(&self) -> CardDescription {
        CardDescription::new(self.card.kind().technology(), self.card.uid())
    }

    /// Puts the card down again; nothing goes wrong any more.
    pub(super) fn again(mut self) -> Self {
        self.card.power_off();
        let reports_naks_as_gone = self.reports_naks_as_gone;
        Self {
            reports_naks_as_gone,
            ..Self::holding(self.card)
        }
    }

    pub(super) fn block(&self, block: usize) -> [u8; 16] {
        self.card.memory()[block * 16..][..16].try_into().unwrap()
    }

    pub(super) fn page(&self, page: usize) -> [u8; 4] {
        self.card.memory()[page * 4..][..4].try_into().unwrap()
    }

    /// Changes memory as only the factory could.
    pub(super) fn patch(&mut self, offset: usize, bytes: &[u8]) {
        let mut memory = self.card.memory().to_vec();
        memory[offset..][..bytes.len()].copy_from_slice(bytes);
        self.card.load(&memory).unwrap();
    }

    fn run<T>(
        &mut self,
        step: Step,
        work: impl FnOnce(&mut VirtualCard) -> Result<T, CardAnswer>,
    ) -> Result<T, CardLinkError> {
        let trouble = self
            .trouble
            .filter(|(at, _)| *at == self.log.len())
            .map(|(_, trouble)| trouble);
        self.log.push(step);
        match trouble {
            Some(Trouble::Lifted) => self.lifted = true,
            Some(Trouble::CommandLost) => return Err(CardLinkError::Disturbed(fault("0x02"))),
            Some(Trouble::PortGone) => return Err(CardLinkError::PortGone("unplugged".into())),
            Some(Trouble::Elsewhere) => {
                self.card.load(&self.elsewhere).unwrap();
                self.card.power_off();
            }
            Some(Trouble::AnswerLost) | None => {}
        }
        if self.lifted {
            return Err(CardLinkError::CardGone(fault("0x01")));
        }
        let answer = work(&mut self.card);
        if self.card.take_torn() {
            self.lifted = true;
        }
        if trouble == Some(Trouble::AnswerLost) {
            return Err(CardLinkError::Disturbed(fault("0x02")));
        }
        answer.map_err(|answer| match answer {
            CardAnswer::Nak(_) if !self.reports_naks_as_gone => {
                CardLinkError::Refused(fault("nak"))
            }
            _ => CardLinkError::CardGone(fault("0x01")),
        })
    }

    fn data(&mut self, step: Step, command: &[u8]) -> Result<Vec<u8>, CardLinkError> {
        self.run(step, |card| match card.exchange(command) {
            CardAnswer::Data(data) => Ok(data),
            other => Err(other),
        })
    }

    fn acknowledged(&mut self, step: Step, command: &[u8]) -> Result<(), CardLinkError> {
        self.run(step, |card| match card.exchange(command) {
            CardAnswer::Ack => Ok(()),
            other => Err(other),
        })
    }
}

impl CardLink for Reader {
    fn card(&self) -> CardDescription {
        self.description()
    }

    async fn reselect(&mut self) -> Result<(), CardLinkError> {
        self.run(Step::Select, |card| {
            card.select();
            Ok(())
        })
    }

    async fn authenticate(&mut self, block: u8, key: &CandidateKey) -> Result<(), CardLinkError> {
        let was_lifted = self.lifted;
        let result = self.run(Step::Authenticate(key.slot, block), |card| {
            let uid = card.uid();
            let last_four = uid.as_bytes().last_chunk().unwrap();
            card.authenticate(key.slot, block, &key.key.0, last_four)
                .then_some(())
                .ok_or(CardAnswer::Nak(0))
        });
        match result {
            Err(CardLinkError::Refused(_)) if !was_lifted => {
                Err(CardLinkError::AuthenticationRefused(fault("0x14")))
            }
            result => result,
        }
    }

    async fn read(&mut self, address: u8) -> Result<[u8; 16], CardLinkError> {
        let data = self.data(Step::Read(address), &[0x30, address])?;
        Ok(data.try_into().unwrap())
    }

    async fn write_block(&mut self, block: u8, data: &[u8; 16]) -> Result<(), CardLinkError> {
        let command = [&[0xA0, block], data.as_slice()].concat();
        self.acknowledged(Step::Write(block), &command)
    }

    async fn write_page(&mut self, page: u8, data: &[u8; 4]) -> Result<(), CardLinkError> {
        let command = [&[0xA2, page], data.as_slice()].concat();
        self.acknowledged(Step::Write(page), &command)
    }

    async fn transceive(&mut self, command: &[u8]) -> Result<Vec<u8>, CardLinkError> {
        self.data(Step::Other(command[0]), command)
    }
}

fn fault(code: &str) -> HardwareFault {
    HardwareFault {
        driver: "bench".into(),
        code: code.into(),
        meaning: "as told by the test".into(),
    }
}

/// Runs a future that never has to wait.
pub(super) fn run<T>(future: impl Future<Output = T> + Send) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the bench's reader answers at once"),
    }
}
