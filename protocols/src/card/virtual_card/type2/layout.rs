//! Where the members of the family keep what.

use super::locks::LockLayout;
use crate::card::virtual_card::CardKind;

/// The 16-bit counter of an Ultralight C.
pub(super) const COUNTER_PAGE: u8 = 0x29;
/// AUTH0 of an Ultralight C: the first protected page.
pub(super) const AUTH0_PAGE: u8 = 0x2A;
/// AUTH1 of an Ultralight C: whether reading is protected too.
pub(super) const AUTH1_PAGE: u8 = 0x2B;

/// Byte 9, called internal.
const INTERNAL: u8 = 0x48;
/// The cascade tag that goes into the first check byte (ISO/IEC 14443-3, 6.5.4).
const CASCADE_TAG: u8 = 0x88;
/// The 3DES key of an Ultralight C as delivered (MF0ICU2, section 7.5.9), as it lies in pages 2C to 2F.
const FACTORY_3DES_KEY: [u8; 16] = *b"BREAKMEIFYOUCAN!";

/// Which counters a chip has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Counters {
    None,
    Three,
    Nfc,
}

/// One member of the family.
#[derive(Clone, Copy, Debug)]
pub(in crate::card::virtual_card) struct Layout {
    kind: CardKind,
    pub(super) pages: u8,
    pub(super) readable_pages: u8,
    /// GET_VERSION; none for those without the command.
    pub(super) version: Option<[u8; 8]>,
    pub(super) dynamic_lock: Option<u8>,
    pub(super) locks: LockLayout,
    /// CFG0; CFG1, PWD and PACK follow.
    pub(super) configuration: Option<u8>,
    pub(super) counters: Counters,
    pub(super) has_3des: bool,
}

impl Layout {
    /// The layout of a card of this kind; none for other families.
    pub(in crate::card::virtual_card) fn of(kind: CardKind) -> Option<Self> {
        let plain = |pages| Self {
            kind,
            pages,
            readable_pages: pages,
            version: None,
            dynamic_lock: None,
            locks: LockLayout::NONE,
            configuration: None,
            counters: Counters::None,
            has_3des: false,
        };
        let ev1 = |pages, size| Self {
            version: Some([0x00, 0x04, 0x03, 0x01, 0x01, 0x00, size, 0x03]),
            configuration: Some(pages - 4),
            counters: Counters::Three,
            ..plain(pages)
        };
        let ntag = |pages, size, locks| Self {
            version: Some([0x00, 0x04, 0x04, 0x02, 0x01, 0x00, size, 0x03]),
            configuration: Some(pages - 4),
            dynamic_lock: Some(pages - 5),
            locks,
            counters: Counters::Nfc,
            ..plain(pages)
        };
        Some(match kind {
            CardKind::Ultralight => plain(16),
            CardKind::UltralightC => Self {
                // The key pages 2C to 2F cannot be read.
                readable_pages: 0x2C,
                dynamic_lock: Some(0x28),
                locks: LockLayout::ULTRALIGHT_C,
                has_3des: true,
                ..plain(48)
            },
            CardKind::UltralightEv1Ul11 => ev1(20, 0x0B),
            CardKind::UltralightEv1Ul21 => Self {
                dynamic_lock: Some(36),
                locks: LockLayout::UL21,
                ..ev1(41, 0x0E)
            },
            CardKind::Ntag213 => ntag(45, 0x0F, LockLayout::NTAG213),
            CardKind::Ntag215 => ntag(135, 0x11, LockLayout::NTAG215),
            CardKind::Ntag216 => ntag(231, 0x13, LockLayout::NTAG216),
            CardKind::ClassicMini
            | CardKind::Classic1k
            | CardKind::Classic4k
            | CardKind::Desfire
            | CardKind::RandomUid => return None,
        })
    }

    /// The memory as delivered.
    pub(in crate::card::virtual_card) fn factory_memory(&self, uid: &[u8]) -> Vec<u8> {
        let mut memory = Vec::with_capacity(usize::from(self.pages) * 4);
        let (first, last) = uid.split_at_checked(3).unwrap_or((uid, &[]));
        memory.extend_from_slice(first);
        memory.push(first.iter().fold(CASCADE_TAG, |check, byte| check ^ byte));
        memory.extend_from_slice(last);
        memory.push(last.iter().fold(0, |check, byte| check ^ byte));
        memory.extend([INTERNAL, 0x00, 0x00]);
        for (page, content) in self.factory_pages() {
            memory.resize(usize::from(page) * 4, 0);
            memory.extend(content);
        }
        memory.resize(usize::from(self.pages) * 4, 0);
        memory
    }

    /// The pages after the lock bytes that are not zero, in order.
    fn factory_pages(&self) -> Vec<(u8, [u8; 4])> {
        let mut pages = match self.kind {
            CardKind::Ntag213 => vec![
                (3, [0xE1, 0x10, 0x12, 0x00]),
                (4, [0x01, 0x03, 0xA0, 0x0C]),
                (5, [0x34, 0x03, 0x00, 0xFE]),
            ],
            CardKind::Ntag215 => vec![(3, [0xE1, 0x10, 0x3E, 0x00]), (4, [0x03, 0x00, 0xFE, 0x00])],
            CardKind::Ntag216 => vec![(3, [0xE1, 0x10, 0x6D, 0x00]), (4, [0x03, 0x00, 0xFE, 0x00])],
            CardKind::UltralightC => vec![(AUTH0_PAGE, [0x30, 0x00, 0x00, 0x00])],
            CardKind::ClassicMini
            | CardKind::Classic1k
            | CardKind::Classic4k
            | CardKind::Ultralight
            | CardKind::UltralightEv1Ul11
            | CardKind::UltralightEv1Ul21
            | CardKind::Desfire
            | CardKind::RandomUid => vec![],
        };
        if self.has_3des {
            // The key lies byte-reversed in each half (MF0ICU2, table 9).
            let (first, second) = FACTORY_3DES_KEY.split_at(8);
            let stored: Vec<u8> = first
                .iter()
                .rev()
                .chain(second.iter().rev())
                .copied()
                .collect();
            let stored = stored
                .chunks_exact(4)
                .filter_map(|page| page.try_into().ok());
            pages.extend((0x2C..).zip(stored));
        }
        if let Some(first) = self.configuration {
            let mirror_or_mod = match self.counters {
                Counters::Nfc => 0x04,
                Counters::None | Counters::Three => 0x00,
            };
            if let Some(page) = self.dynamic_lock {
                pages.push((page, [0x00, 0x00, 0x00, 0xBD]));
            }
            pages.push((first, [mirror_or_mod, 0x00, 0x00, 0xFF]));
            pages.push((first + 1, [0x00, 0x05, 0x00, 0x00]));
            pages.push((first + 2, [0xFF; 4]));
        }
        pages
    }
}
