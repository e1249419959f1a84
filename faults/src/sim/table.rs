//! The desk's table: cards, and the encoders that they lie on. Bytes move here, one exchange at a time.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll as Readiness, Waker},
};

use encoder_agent::encoder::Poll;
use encoder_protocols::{
    card::{
        CandidateKey, CardDescription, CardImage, CardLink, CardLinkError, KeySlot, Uid,
        virtual_card::{CardAnswer, CardKind, TornState, VirtualCard},
    },
    fault::HardwareFault,
    wire::JobId,
};

use super::{dice::Dice, stripe::Stripes, world::STRIPES};

/// A card and where it is.
pub(super) struct Card {
    pub(super) chip: VirtualCard,
    /// The UID that is printed on it.
    pub(super) uid: Uid,
    pub(super) lies_on: Option<usize>,
    pub(super) destroyed: bool,
    /// It was lifted from this encoder during an exchange: what a write of that moment leaves behind.
    torn: Option<(usize, TornState)>,
}

/// An encoder.
#[derive(Clone, Copy)]
pub(super) struct Hardware {
    /// The PC that it is plugged into.
    pub(super) pc: Option<usize>,
    /// Counts the times that its connection was lost.
    pub(super) generation: u64,
}

/// What the bytes of a card did.
#[derive(Clone, Copy, Debug)]
pub(super) enum Seen {
    Changed(Uid, JobId),
    Carries(Uid, JobId),
    /// It left the field during that exchange.
    Left(Uid),
}

/// Cards and encoders.
pub(super) struct Table {
    pub(super) cards: Vec<Card>,
    pub(super) encoders: Vec<Hardware>,
    pub(super) seen: Vec<Seen>,
    /// The stripe encoder, and the cards for it.
    pub(super) stripes: Stripes,
    /// Of 1,000 exchanges, how many are disturbed.
    pub(super) noise: u64,
    dice: Dice,
}

/// The table as several hold it.
pub(super) type Shared = Arc<Mutex<Table>>;

/// The table, also where a holder panicked: the run is over then anyway.
pub(super) fn lock(table: &Shared) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Table {
    pub(super) fn new(kinds: &[CardKind], encoders: Vec<Hardware>, noise: u64, dice: Dice) -> Self {
        let mut table = Self {
            cards: Vec::new(),
            encoders,
            seen: Vec::new(),
            stripes: Stripes::default(),
            noise,
            dice,
        };
        for kind in kinds {
            table.add(*kind);
        }
        for _ in 0..4 {
            table.stripes.add();
        }
        table
    }

    /// A new card from the factory.
    pub(super) fn add(&mut self, kind: CardKind) -> usize {
        // Not 8: that first byte is for random UIDs.
        let number = u8::try_from(self.cards.len() + 0x20).unwrap_or(u8::MAX);
        let seven = [4, number, 3, 4, 5, 6, 7];
        let four = [number, 0x22, 0x33, 0x44];
        let uid = match kind {
            CardKind::ClassicMini | CardKind::Classic1k | CardKind::Classic4k => Uid::new(&four),
            CardKind::RandomUid => Uid::new(&[8, number, 1, 1]),
            CardKind::Ultralight
            | CardKind::UltralightC
            | CardKind::UltralightEv1Ul11
            | CardKind::UltralightEv1Ul21
            | CardKind::Ntag213
            | CardKind::Ntag215
            | CardKind::Ntag216
            | CardKind::Desfire => Uid::new(&seven),
        };
        let made = uid.ok().and_then(|uid| {
            let chip = VirtualCard::new(kind, Some(uid)).ok()?;
            Some((chip, uid))
        });
        if let Some((chip, uid)) = made {
            self.cards.push(Card {
                chip,
                uid,
                lies_on: None,
                destroyed: false,
                torn: None,
            });
        }
        self.cards.len() - 1
    }

    pub(super) fn lying(&self, encoder: usize) -> Vec<usize> {
        let on = |card: &Card| card.lies_on == Some(encoder);
        (0..self.cards.len())
            .filter(|at| self.cards.get(*at).is_some_and(on))
            .collect()
    }

    pub(super) fn put(&mut self, card: usize, encoder: usize) {
        if let Some(card) = self.cards.get_mut(card) {
            card.lies_on = Some(encoder);
            card.torn = None;
            card.chip.power_off();
        }
    }

    /// Lifts a card; a write that is on its way at this moment may still reach it, whole or in part.
    pub(super) fn lift(&mut self, at: usize) -> Option<Uid> {
        let torn = [
            None,
            Some(TornState::Old),
            Some(TornState::New),
            Some(TornState::Mixed),
        ];
        let torn = torn.get(self.dice.index(torn.len())).copied().flatten();
        let card = self.cards.get_mut(at)?;
        let encoder = card.lies_on.take()?;
        card.torn = torn.map(|state| (encoder, state));
        if card.torn.is_none() {
            card.chip.power_off();
        }
        Some(card.uid)
    }

    /// Cuts an encoder's connection, or its power.
    pub(super) fn unplug(&mut self, encoder: usize) {
        if let Some(hardware) = self.encoders.get_mut(encoder) {
            hardware.pc = None;
            hardware.generation += 1;
        }
        if encoder == STRIPES {
            self.stripes.reset();
        }
        for card in &mut self.cards {
            if card.lies_on == Some(encoder) {
                card.chip.power_off();
            }
        }
    }

    pub(super) fn plug(&mut self, encoder: usize, pc: usize) {
        if let Some(hardware) = self.encoders.get_mut(encoder) {
            hardware.pc = Some(pc);
        }
    }

    /// One look for cards.
    pub(super) fn poll(&mut self, encoder: usize) -> Poll {
        let lying = self.lying(encoder);
        match lying.as_slice() {
            [] => Poll::Empty,
            [card] => self
                .cards
                .get_mut(*card)
                .map_or(Poll::Empty, |card| Poll::Card(describe(&mut card.chip))),
            _ => Poll::Several,
        }
    }

    /// Notes whether a card holds every byte of the image of this job, whoever wrote it.
    pub(super) fn compare(&mut self, uid: Uid, job: JobId, image: &CardImage) {
        let card = self.cards.iter().find(|card| card.chip.uid() == uid);
        if let Some(card) = card.filter(|card| holds(card.chip.memory(), image)) {
            self.seen.push(Seen::Carries(card.uid, job));
        }
    }

    fn is_connected(&self, encoder: usize, generation: u64) -> bool {
        self.encoders
            .get(encoder)
            .is_some_and(|hardware| hardware.pc.is_some() && hardware.generation == generation)
    }
}

fn describe(chip: &mut VirtualCard) -> CardDescription {
    let uid = chip.select();
    CardDescription::new(chip.kind().technology(), uid)
}

/// A reader's hold on a card for one job. Every exchange takes its time: the future waits once before each.
pub(super) struct Link {
    pub(super) table: Shared,
    pub(super) encoder: usize,
    pub(super) generation: u64,
    pub(super) uid: Uid,
    pub(super) card: CardDescription,
    pub(super) job: JobId,
    /// What is being written.
    pub(super) image: Option<CardImage>,
    pub(super) cancel: Arc<AtomicBool>,
}

impl Link {
    /// Selects the card that was presented, if it is the only one.
    pub(super) async fn select(&mut self) -> Result<(), CardLinkError> {
        Pause::default().await;
        let mut table = lock(&self.table);
        self.check(&table)?;
        let lying = table.lying(self.encoder);
        let [only] = lying.as_slice() else {
            return Err(if lying.is_empty() {
                gone()
            } else {
                CardLinkError::SeveralCards
            });
        };
        let Some(card) = table.cards.get_mut(*only) else {
            return Err(gone());
        };
        if card.chip.uid() != self.uid {
            return Err(CardLinkError::CardSwapped);
        }
        self.card = describe(&mut card.chip);
        // A card with a random UID has drawn another one.
        self.uid = card.chip.uid();
        Ok(())
    }

    fn check(&self, table: &Table) -> Result<(), CardLinkError> {
        if self.cancel.load(Ordering::Relaxed) {
            return Err(CardLinkError::Cancelled);
        }
        if table.is_connected(self.encoder, self.generation) {
            Ok(())
        } else {
            Err(CardLinkError::PortGone("unplugged".into()))
        }
    }

    /// One exchange over the air.
    async fn air<T>(
        &mut self,
        writes: bool,
        work: impl FnOnce(&mut VirtualCard) -> Result<T, CardAnswer> + Send,
    ) -> Result<T, CardLinkError> {
        Pause::default().await;
        let mut table = lock(&self.table);
        self.check(&table)?;
        let noise = table.noise;
        let (lost, unheard) = (table.dice.chance(noise), table.dice.chance(noise));
        let worn = table.dice.chance(noise / 5);
        if lost {
            return Err(disturbed());
        }
        let (encoder, uid) = (self.encoder, self.uid);
        let found = table.cards.iter_mut().find(|card| {
            let leaves = card.torn.is_some_and(|(from, _)| from == encoder);
            card.chip.uid() == uid && (card.lies_on == Some(encoder) || leaves)
        });
        let card = found.ok_or_else(gone)?;
        let printed = card.uid;
        let torn = card.torn.take().map(|(_, state)| state);
        if let Some(state) = torn {
            if !writes {
                card.chip.power_off();
                return Err(gone());
            }
            card.chip.tear_at_write(1, state);
        }
        let before = if writes {
            card.chip.memory().to_vec()
        } else {
            Vec::new()
        };
        let answer = work(&mut card.chip);
        card.chip.cancel_tear();
        // A worn card acknowledges what it does not keep.
        if worn && writes && card.chip.load(&before).is_err() {
            card.chip.power_off();
        }
        let changed = writes && card.chip.memory() != before;
        let whole = writes
            && self
                .image
                .as_ref()
                .is_some_and(|image| holds(card.chip.memory(), image));
        if torn.is_some() {
            card.chip.take_torn();
            card.chip.power_off();
        }
        if changed {
            table.seen.push(Seen::Changed(printed, self.job));
        }
        if whole {
            table.seen.push(Seen::Carries(printed, self.job));
        }
        if torn.is_some() {
            table.seen.push(Seen::Left(printed));
            return Err(gone());
        }
        if unheard {
            return Err(disturbed());
        }
        answer.map_err(|answer| match answer {
            CardAnswer::Nak(_) => CardLinkError::Refused(fault("nak")),
            CardAnswer::Data(_) | CardAnswer::Ack | CardAnswer::Silent => gone(),
        })
    }

    async fn data(&mut self, command: &[u8]) -> Result<Vec<u8>, CardLinkError> {
        self.air(false, |card| match card.exchange(command) {
            CardAnswer::Data(data) => Ok(data),
            other @ (CardAnswer::Ack | CardAnswer::Nak(_) | CardAnswer::Silent) => Err(other),
        })
        .await
    }

    async fn store(&mut self, command: &[u8]) -> Result<(), CardLinkError> {
        self.air(true, |card| match card.exchange(command) {
            CardAnswer::Ack => Ok(()),
            other @ (CardAnswer::Data(_) | CardAnswer::Nak(_) | CardAnswer::Silent) => Err(other),
        })
        .await
    }
}

impl CardLink for Link {
    fn card(&self) -> CardDescription {
        self.card
    }

    async fn reselect(&mut self) -> Result<(), CardLinkError> {
        self.select().await
    }

    async fn authenticate(&mut self, block: u8, key: &CandidateKey) -> Result<(), CardLinkError> {
        let (slot, bytes): (KeySlot, [u8; 6]) = (key.slot, key.key.0);
        let result = self
            .air(false, |card| {
                let uid = card.uid();
                let last_four = uid.as_bytes().last_chunk().ok_or(CardAnswer::Silent)?;
                card.authenticate(slot, block, &bytes, last_four)
                    .then_some(())
                    .ok_or(CardAnswer::Nak(0))
            })
            .await;
        match result {
            Err(CardLinkError::Refused(_)) => {
                Err(CardLinkError::AuthenticationRefused(fault("0x14")))
            }
            result => result,
        }
    }

    async fn read(&mut self, address: u8) -> Result<[u8; 16], CardLinkError> {
        let data = self.data(&[0x30, address]).await?;
        data.try_into().map_err(|_| disturbed())
    }

    async fn write_block(&mut self, block: u8, data: &[u8; 16]) -> Result<(), CardLinkError> {
        let command = [&[0xA0, block], data.as_slice()].concat();
        self.store(&command).await
    }

    async fn write_page(&mut self, page: u8, data: &[u8; 4]) -> Result<(), CardLinkError> {
        let command = [&[0xA2, page], data.as_slice()].concat();
        self.store(&command).await
    }

    async fn transceive(&mut self, command: &[u8]) -> Result<Vec<u8>, CardLinkError> {
        self.data(command).await
    }
}

/// Not ready the first time it is asked, ready the second: the run decides how much time lies between.
#[derive(Default)]
struct Pause {
    asked: bool,
}

impl Future for Pause {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Readiness<()> {
        if std::mem::replace(&mut self.asked, true) {
            Readiness::Ready(())
        } else {
            Readiness::Pending
        }
    }
}

/// Asks a future once whether it is done.
pub(super) fn ask<T>(future: &mut Pin<Box<dyn Future<Output = T> + Send>>) -> Option<T> {
    match future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Readiness::Ready(done) => Some(done),
        Readiness::Pending => None,
    }
}

/// Whether a memory holds every byte of an image; it is compared here, not by the procedures under test.
fn holds(memory: &[u8], image: &CardImage) -> bool {
    let at = |place: usize, bytes: &[u8]| memory.get(place..place + bytes.len()) == Some(bytes);
    match image {
        CardImage::MifareClassic(image) => image.sectors.iter().all(|sector| {
            // Only the small sectors 0 to 31 are written here.
            let first = usize::from(sector.sector) * 64;
            let blocks = sector
                .blocks
                .iter()
                .all(|block| at(first + usize::from(block.block) * 16, &block.data));
            let trailer = sector.trailer.as_ref().is_none_or(|trailer| {
                at(first + 48, &trailer.key_a.0)
                    && at(first + 54, &trailer.access_bits)
                    && at(first + 57, &[trailer.user_byte])
                    && at(first + 58, &trailer.key_b.0)
            });
            blocks && trailer
        }),
        CardImage::Type2(image) => image
            .pages
            .iter()
            .all(|page| at(usize::from(page.page) * 4, &page.data)),
        // No card with a UID has a stripe.
        CardImage::Magstripe(_) => false,
    }
}

pub(super) fn fault(code: &str) -> HardwareFault {
    HardwareFault {
        driver: "virtual".into(),
        code: code.into(),
        meaning: "as the run decided".into(),
    }
}

fn gone() -> CardLinkError {
    CardLinkError::CardGone(fault("0x01"))
}

fn disturbed() -> CardLinkError {
    CardLinkError::Disturbed(fault("0x02"))
}
