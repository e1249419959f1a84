//! The field above the antenna and the cards in it.

use crate::card::{
    Uid,
    virtual_card::{TornState, VirtualCard},
};

#[derive(Clone, Debug, Default)]
pub(super) struct Field {
    placed: Vec<Placed>,
    lifted: Vec<(String, VirtualCard)>,
    last_id: u64,
    /// For the next card.
    next_tear: Option<(u64, TornState)>,
}

#[derive(Clone, Debug)]
struct Placed {
    /// Another one each time a card is placed: a card that was lifted in between is not the one that was listed.
    id: CardId,
    name: String,
    card: VirtualCard,
}

/// A card's stay in the field.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct CardId(u64);

impl Field {
    pub(super) fn place(&mut self, name: &str, mut card: VirtualCard) {
        self.last_id += 1;
        if let Some((nth, state)) = self.next_tear.take() {
            card.tear_at_write(nth, state);
        }
        self.placed.push(Placed {
            id: CardId(self.last_id),
            name: name.to_owned(),
            card,
        });
    }

    pub(super) fn remove(&mut self, name: &str) -> Option<VirtualCard> {
        let index = self.placed.iter().position(|placed| placed.name == name)?;
        let mut card = self.placed.remove(index).card;
        card.power_off();
        Some(card)
    }

    pub(super) fn remove_all(&mut self) -> Vec<(String, VirtualCard)> {
        self.switch_off();
        self.placed
            .drain(..)
            .map(|placed| (placed.name, placed.card))
            .collect()
    }

    /// A fault takes all cards away.
    pub(super) fn lift_all(&mut self) {
        let lifted = self.remove_all();
        self.lifted.extend(lifted);
    }

    pub(super) fn take_lifted(&mut self) -> Vec<(String, VirtualCard)> {
        std::mem::take(&mut self.lifted)
    }

    pub(super) fn cards(&self) -> impl Iterator<Item = (&str, &VirtualCard)> {
        self.placed
            .iter()
            .map(|placed| (placed.name.as_str(), &placed.card))
    }

    pub(super) fn card_mut(&mut self, name: &str) -> Option<&mut VirtualCard> {
        self.placed
            .iter_mut()
            .find(|placed| placed.name == name)
            .map(|placed| &mut placed.card)
    }

    pub(super) fn by_id(&mut self, id: CardId) -> Option<&mut VirtualCard> {
        self.placed
            .iter_mut()
            .find(|placed| placed.id == id)
            .map(|placed| &mut placed.card)
    }

    /// The cards that a search for this UID, or for any, finds; those that were halted last, so that a host that lists and
    /// deselects one after the other sees all.
    pub(super) fn matching(&self, uid: Option<&[u8]>) -> Vec<CardId> {
        let wanted = |card: &VirtualCard| uid.is_none_or(|uid| card.uid().as_bytes() == uid);
        let mut found: Vec<&Placed> = self
            .placed
            .iter()
            .filter(|placed| wanted(&placed.card))
            .collect();
        found.sort_by_key(|placed| placed.card.is_halted());
        found.iter().map(|placed| placed.id).collect()
    }

    /// Selects a card and answers the UID that it shows.
    pub(super) fn select(&mut self, id: CardId) -> Option<Uid> {
        self.by_id(id).map(VirtualCard::select)
    }

    /// No carrier any more: all cards lose their power.
    pub(super) fn switch_off(&mut self) {
        for placed in &mut self.placed {
            placed.card.power_off();
        }
    }

    /// Arms the cards that lie there, or the next one that is placed.
    pub(super) fn tear(&mut self, nth: u64, state: TornState) {
        if self.placed.is_empty() {
            self.next_tear = Some((nth, state));
        }
        for placed in &mut self.placed {
            placed.card.tear_at_write(nth, state);
        }
    }

    pub(super) fn cancel_tears(&mut self) {
        self.next_tear = None;
        for placed in &mut self.placed {
            placed.card.cancel_tear();
        }
    }

    pub(super) fn was_torn(&mut self) -> bool {
        // Ask every card, so that none answers for an earlier command later.
        let torn = self
            .placed
            .iter_mut()
            .filter_map(|placed| placed.card.take_torn().then_some(()));
        torn.count() > 0
    }
}
