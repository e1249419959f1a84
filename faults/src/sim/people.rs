//! What people do: ask for keys and scans, move cards, change and delete credentials, release and retire.

use encoder_coordinator::{
    jobs::CredentialId,
    store::credentials::{CredentialRow, IssueState},
};
use encoder_protocols::card::{Uid, virtual_card::CardKind};

use super::{
    common::{Common, MILLISECOND, SECOND},
    desk::Input,
    table::{Card, Table, lock},
    world::{ENCODERS, Event, MOBILE, STRIPES, World},
};

impl World {
    /// The property's software asks for something, and for the next thing a while later.
    pub(super) fn property(&mut self) {
        if self.common.calm {
            return;
        }
        let pause = self.common.up_to(self.common.weather.pace);
        self.after(pause, Event::Property);
        match self.common.dice.below(100) {
            0..=69 => self.ask_for_a_key(),
            70..=81 => self.ask_for_a_scan(),
            82..=89 if self.common.weather.deletes => self.delete_credential(),
            _ => self.change_credential(),
        }
    }

    /// An encoder that the coordinator knows, with the hardware behind it.
    fn some_encoder(&mut self) -> Option<(usize, encoder_coordinator::jobs::EncoderId)> {
        let hardware = self.common.dice.pick(&ENCODERS)?;
        let plugged = lock(&self.common.table).encoders.get(hardware)?.pc;
        let home = usize::from(hardware == 2 || hardware == STRIPES);
        let pc = plugged.unwrap_or(home);
        Some((hardware, self.encoder_at(hardware, pc)?))
    }

    fn some_credential(&mut self, wanted: impl Fn(&CredentialRow) -> bool) -> Option<CredentialId> {
        let rows = &self.coordinator.store.credentials;
        let fitting: Vec<CredentialId> = rows
            .iter()
            .filter(|(_, row)| row.deleted_at.is_none() && wanted(row))
            .map(|(id, _)| *id)
            .collect();
        self.common.dice.pick(&fitting)
    }

    /// One that is on a card and of which the store does not know: the guest stands there and asks once more.
    fn some_forgotten_credential(&mut self) -> Option<CredentialId> {
        let rows = self.coordinator.store.credentials.iter();
        let forgotten: Vec<CredentialId> = rows
            .filter(|(id, row)| {
                row.deleted_at.is_none()
                    && row.issued.is_none()
                    && !self.common.ledger.complete_on(id.0).is_empty()
            })
            .map(|(id, _)| *id)
            .collect();
        self.common.dice.pick(&forgotten)
    }

    fn ask_for_a_key(&mut self) {
        let Some((hardware, encoder)) = self.some_encoder() else {
            return;
        };
        let waiting = |row: &CredentialRow| row.issue_state() != IssueState::Issued;
        let credential = match self.common.dice.below(10) {
            0..=2 => None,
            3 | 4 => self.some_forgotten_credential(),
            _ => self.some_credential(waiting),
        };
        let credential = credential.unwrap_or_else(|| self.new_credential());
        self.ask(encoder, Some(credential));
        if self.common.dice.chance(650) {
            let after = self.common.up_to(6 * SECOND);
            self.after(after, Event::Put(hardware));
        }
        // The same again, or the next guest's, at once.
        if self.common.dice.chance(150) {
            self.ask(encoder, Some(credential));
        } else if self.common.dice.chance(150) {
            let next = self.new_credential();
            self.ask(encoder, Some(next));
        }
    }

    /// A guest asks for a key at this encoder, whatever lies there.
    pub(super) fn next_guest(&mut self, hardware: usize) {
        if self.common.calm {
            return;
        }
        let plugged = lock(&self.common.table).encoders.get(hardware).copied();
        let pc = plugged.and_then(|at| at.pc);
        if let Some(encoder) = pc.and_then(|pc| self.encoder_at(hardware, pc)) {
            let credential = self.new_credential();
            self.ask(encoder, Some(credential));
        }
    }

    fn ask_for_a_scan(&mut self) {
        if let Some((hardware, encoder)) = self.some_encoder() {
            self.ask(encoder, None);
            self.after(SECOND, Event::Put(hardware));
        }
    }

    fn delete_credential(&mut self) {
        let Some(credential) = self.some_credential(|_| true) else {
            return;
        };
        let now = self.coordinator.utc(&self.common);
        let Some(desk) = &mut self.coordinator.desk else {
            return;
        };
        desk.inputs.push_back(Input::CredentialDeleted(credential));
        self.common.count("credential deleted");
        self.coordinator.change_store(|store| {
            if let Some(row) = store.credentials.get_mut(&credential) {
                std::rc::Rc::make_mut(row).deleted_at = Some(now);
            }
        });
        self.wake_coordinator();
    }

    /// A credential that is on a card changes, so that the same card wants to be written again.
    fn change_credential(&mut self) {
        let issued = |row: &CredentialRow| row.issued.is_some();
        let Some(credential) = self.some_credential(issued) else {
            return;
        };
        self.coordinator.change_store(|store| {
            if let Some(row) = store.credentials.get_mut(&credential) {
                std::rc::Rc::make_mut(row).content_version += 1;
            }
        });
        let Some((hardware, encoder)) = self.some_encoder() else {
            return;
        };
        self.ask(encoder, Some(credential));
        let Some(uid) = self
            .common
            .ledger
            .complete_on(credential.0)
            .first()
            .copied()
        else {
            return;
        };
        // Whoever asks for it again has the very card at hand, mostly.
        let card = lock(&self.common.table)
            .cards
            .iter()
            .position(|card| card.uid == uid);
        let is_field = hardware != STRIPES;
        if let Some(card) = card.filter(|_| is_field && self.common.dice.chance(700)) {
            self.lift_all(hardware);
            self.put(card, hardware);
        }
    }

    /// Somebody does something with the cards at an encoder.
    pub(super) fn clerk(&mut self, encoder: usize) {
        if self.common.calm {
            return;
        }
        let pause = 50 * MILLISECOND + self.common.up_to(2 * self.common.weather.pace);
        self.after(pause, Event::Clerk(encoder));
        if encoder == STRIPES {
            return self.swipe_if_asked();
        }
        let lying = lock(&self.common.table).lying(encoder);
        let Some(first) = lying.first().copied() else {
            return self.put_card(encoder);
        };
        match self.common.dice.below(100) {
            0..=44 => self.lift_all(encoder),
            45..=64 => self.swap(encoder),
            65..=71 => self.put_another(encoder),
            72..=79 => {
                self.lift_all(encoder);
                self.put(first, encoder);
            }
            _ => {}
        }
    }

    /// Somebody draws a card through the stripe encoder, mostly when it asks for one, and mostly the one it asks for.
    fn swipe_if_asked(&mut self) {
        let (writes, reads, last) = {
            let stripes = &lock(&self.common.table).stripes;
            let writes = stripes.awaits_write();
            (writes, stripes.awaits_swipe() && !writes, stripes.last)
        };
        let likely = if writes || reads { 850 } else { 100 };
        if !self.common.dice.chance(likely) {
            return;
        }
        let same = last.filter(|_| reads && self.common.dice.chance(800));
        let card = same.or_else(|| self.some_stripe());
        if let Some(card) = card {
            let is_bad = self.common.dice.chance(5 * self.common.weather.noise);
            self.swipe(card, is_bad);
        }
    }

    fn some_stripe(&mut self) -> Option<usize> {
        let mut table = lock(&self.common.table);
        let usable = |table: &Table| {
            let cards = table.stripes.cards.iter().enumerate();
            let usable = cards.filter(|(_, card)| !card.destroyed);
            usable.map(|(at, _)| at).collect::<Vec<usize>>()
        };
        if usable(&table).len() < 4 {
            table.stripes.add();
        }
        let cards = usable(&table);
        drop(table);
        self.common.dice.pick(&cards)
    }

    /// A card is drawn through the stripe encoder.
    pub(super) fn swipe(&mut self, card: usize, is_bad: bool) {
        self.common
            .note(|| format!("people: swipe card {card}, badly: {is_bad}"));
        self.common.count("card swiped");
        let pc = {
            let mut table = lock(&self.common.table);
            let seen = table.stripes.swipe(card, is_bad);
            table.seen.extend(seen);
            table.encoders.get(STRIPES).and_then(|at| at.pc)
        };
        self.common.note_cards();
        if let Some(pc) = pc {
            self.wake(pc);
        }
    }

    /// Puts a card on an encoder on which none lies.
    pub(super) fn put_card(&mut self, encoder: usize) {
        if encoder != STRIPES
            && !self.common.calm
            && lock(&self.common.table).lying(encoder).is_empty()
        {
            self.put_another(encoder);
        }
    }

    fn put_another(&mut self, encoder: usize) {
        let free: Vec<usize> = {
            let table = lock(&self.common.table);
            let is_free = |card: &Card| card.lies_on.is_none() && !card.destroyed;
            let numbered = table.cards.iter().enumerate();
            numbered
                .filter(|(_, card)| is_free(card))
                .map(|(at, _)| at)
                .collect()
        };
        if let Some(card) = self.common.dice.pick(&free) {
            self.put(card, encoder);
        }
    }

    pub(super) fn swap(&mut self, encoder: usize) {
        if encoder == STRIPES {
            return self.swipe_if_asked();
        }
        self.lift_all(encoder);
        self.put_another(encoder);
    }

    fn put(&mut self, card: usize, encoder: usize) {
        self.common
            .note(|| format!("people: put card {card} on encoder {encoder}"));
        if let Some(uid) = lock(&self.common.table).lift(card) {
            self.common.ledger.lifted(uid);
        }
        lock(&self.common.table).put(card, encoder);
    }

    pub(super) fn lift_all(&mut self, encoder: usize) {
        let lying = lock(&self.common.table).lying(encoder);
        for card in lying {
            let lifted = lock(&self.common.table).lift(card);
            if let Some(uid) = lifted {
                self.common
                    .note(|| format!("people: lift card {uid} from encoder {encoder}"));
                self.common.ledger.lifted(uid);
            }
        }
    }

    /// The operator's word that every card which holds the credential is destroyed; it is true.
    pub(super) fn release(&mut self) {
        let held: Vec<CredentialId> = {
            let holds = self.coordinator.store.holds.iter();
            holds
                .filter(|(_, holds)| !holds.is_empty())
                .map(|(id, _)| *id)
                .collect()
        };
        let Some(credential) = self.common.dice.pick(&held) else {
            return;
        };
        if let Some(desk) = &mut self.coordinator.desk {
            desk.inputs.push_back(Input::Released(credential));
            self.wake_coordinator();
        }
    }

    /// The encoder that moves is carried to another PC. No card stays on it.
    pub(super) fn carry_encoder(&mut self) {
        self.lift_all(MOBILE);
        let (from, to) = {
            let mut table = lock(&self.common.table);
            let from = table.encoders.get(MOBILE).and_then(|at| at.pc);
            table.unplug(MOBILE);
            (from, usize::from(from == Some(0)))
        };
        self.common
            .note(|| format!("people: carry the encoder from {from:?} to pc{to}"));
        self.common.count("encoder moved");
        if let Some(from) = from {
            self.wake(from);
        }
        let after = self.common.up_to(10 * SECOND);
        self.after(after, Event::Plug(MOBILE, to));
    }
}

impl Common {
    /// Destroys every card that holds the credential or carries it.
    pub(super) fn destroy_cards(&mut self, credential: CredentialId, named: &[Uid]) {
        let mut uids = self.ledger.complete_on(credential.0);
        uids.extend(named);
        let mut table = lock(&self.table);
        for at in 0..table.cards.len() {
            let uid = table.cards.get(at).map(|card| card.uid);
            if let Some(uid) = uid.filter(|uid| uids.contains(uid)) {
                if table.lift(at).is_some() {
                    self.ledger.lifted(uid);
                }
                if let Some(card) = table.cards.get_mut(at) {
                    card.destroyed = true;
                }
                self.ledger.destroyed(uid);
            }
        }
        for card in &mut table.stripes.cards {
            if uids.contains(&card.name) {
                card.destroyed = true;
                self.ledger.destroyed(card.name);
            }
        }
        self.ledger.released(credential.0);
        let usable = table.cards.iter().filter(|card| !card.destroyed).count();
        if usable < 6 {
            table.add(CardKind::ClassicMini);
        }
    }
}
