//! The MIFARE Ultralight family and NTAG21x (NXP MF0ICU1, MF0ICU2, MF0ULX1, NTAG213/215/216 data sheets).

mod layout;
mod locks;

pub(super) use layout::Layout;

use super::{
    CardAnswer, Step,
    eeprom::{Eeprom, PowerLost},
};
use layout::Counters;

// Commands (NTAG213/215/216, table 22; MF0ULX1, table 20; MF0ICU2, section 7.6).
const READ: u8 = 0x30;
const FAST_READ: u8 = 0x3A;
const WRITE: u8 = 0xA2;
const COMPATIBILITY_WRITE: u8 = 0xA0;
const GET_VERSION: u8 = 0x60;
const PWD_AUTH: u8 = 0x1B;
const READ_CNT: u8 = 0x39;
const INCR_CNT: u8 = 0xA5;
const CHECK_TEARING_EVENT: u8 = 0x3E;
const READ_SIG: u8 = 0x3C;
const AUTHENTICATE: u8 = 0x1A;
const AUTHENTICATE_CONTINUED: u8 = 0xAF;

/// NAK for an invalid argument (NTAG213/215/216, table 23).
const INVALID_ARGUMENT: u8 = 0x0;
/// NAK for an overflow of a counter or of the authentication attempts (NTAG213/215/216, table 23).
const COUNTER_OVERFLOW: u8 = 0x4;

/// The page of the static lock bytes.
const STATIC_LOCK_PAGE: u8 = 2;
/// The page of the one-time programmable bits, on an NTAG the capability container.
const OTP_PAGE: u8 = 3;
/// CFG1 byte 0: reading is protected too.
const PROT: u8 = 0x80;
/// CFG1 byte 0: the configuration is locked for ever.
const CFGLCK: u8 = 0x40;
/// CFG1 byte 0, NTAG21x: the NFC counter counts.
const NFC_CNT_EN: u8 = 0x10;
/// CFG1 byte 0, NTAG21x: reading the NFC counter needs the password.
const NFC_CNT_PWD_PROT: u8 = 0x08;
/// CFG1 byte 0: the failed attempts after which the password is refused for ever; 0 for no limit.
const AUTHLIM: u8 = 0x07;
/// The number of the only counter of an NTAG21x.
const NFC_COUNTER: u8 = 2;
/// Counters have 24 bits.
const COUNTER_LIMIT: u32 = 0x00FF_FFFF;
/// What a counter's tearing flag reads when no write was torn.
const NOT_TORN: u8 = 0xBD;

type Page = [u8; 4];

#[derive(Clone, Debug)]
pub(super) struct Type2 {
    layout: Layout,
    authenticated: bool,
    /// The page of a compatibility write whose data is awaited.
    awaited: Option<u8>,
    /// The NFC counter counts one read in each stay in the field.
    counted: bool,
    counters: [u32; 3],
    failed_attempts: u8,
    in_force: Configuration,
}

/// The configuration that is in force: what CFG0 and CFG1 held when the power came on. Only password and acknowledgement
/// take effect at once (NXP support, community thread 488217).
#[derive(Clone, Copy, Debug, Default)]
struct Configuration {
    first_protected: u8,
    flags: u8,
}

impl Type2 {
    pub(super) fn new(layout: Layout) -> Self {
        Self {
            layout,
            authenticated: false,
            awaited: None,
            counted: false,
            counters: [0; 3],
            failed_attempts: 0,
            in_force: Configuration::default(),
        }
    }

    /// The power comes on.
    pub(super) fn power_on(&mut self, eeprom: &Eeprom) {
        self.counted = false;
        self.in_force = match self.layout.configuration {
            Some(first) => {
                let [_, _, _, first_protected] = self.page(eeprom, first);
                let [flags, ..] = self.page(eeprom, first + 1);
                Configuration {
                    first_protected,
                    flags,
                }
            }
            None => Configuration {
                first_protected: u8::MAX,
                flags: 0,
            },
        };
    }

    pub(super) fn reset(&mut self) {
        self.authenticated = false;
        self.awaited = None;
    }

    pub(super) fn answer(&mut self, eeprom: &mut Eeprom, frame: &[u8]) -> Step {
        if let Some(page) = self.awaited.take() {
            return match frame {
                // Only the first 4 of the 16 bytes are written.
                [a, b, c, d, rest @ ..] if rest.len() == 12 => {
                    self.write(eeprom, page, [*a, *b, *c, *d])
                }
                _ => refuse(INVALID_ARGUMENT),
            };
        }
        match *frame {
            [READ, page] => self.read(eeprom, page),
            [WRITE, page, a, b, c, d] => self.write(eeprom, page, [a, b, c, d]),
            [COMPATIBILITY_WRITE, page] if self.writable(eeprom, page) => {
                self.awaited = Some(page);
                Step::Stay(CardAnswer::Ack)
            }
            [AUTHENTICATE, 0] if self.layout.has_3des => challenge(),
            [_, ..] if self.layout.version.is_some() => self.answer_ev1(eeprom, frame),
            // 3DES authentication of an Ultralight C always fails here, like every unknown command.
            [AUTHENTICATE_CONTINUED, ..] => refuse(INVALID_ARGUMENT),
            _ => refuse(INVALID_ARGUMENT),
        }
    }

    /// The commands that came with EV1 and NTAG21x.
    fn answer_ev1(&mut self, eeprom: &Eeprom, frame: &[u8]) -> Step {
        match *frame {
            [GET_VERSION] => data(self.layout.version.unwrap_or_default()),
            [FAST_READ, first, last] => self.fast_read(eeprom, first, last),
            [PWD_AUTH, a, b, c, d] => self.authenticate(eeprom, [a, b, c, d]),
            [READ_CNT, counter] => self.read_counter(counter),
            [INCR_CNT, counter, a, b, c, _] => {
                self.increment_counter(counter, u32::from_le_bytes([a, b, c, 0]))
            }
            [CHECK_TEARING_EVENT, counter]
                if self.layout.counters == Counters::Three && counter < 3 =>
            {
                data([NOT_TORN])
            }
            [READ_SIG, 0] => data(signature(eeprom)),
            _ => refuse(INVALID_ARGUMENT),
        }
    }

    fn read(&mut self, eeprom: &Eeprom, page: u8) -> Step {
        let end = self.readable_end(eeprom);
        if page >= end {
            return refuse(INVALID_ARGUMENT);
        }
        self.count_read();
        let pages = (page..end).chain((0..end).cycle()).take(4);
        data(self.visible(eeprom, pages))
    }

    fn fast_read(&mut self, eeprom: &Eeprom, first: u8, last: u8) -> Step {
        if first > last || last >= self.readable_end(eeprom) {
            return refuse(INVALID_ARGUMENT);
        }
        self.count_read();
        data(self.visible(eeprom, first..=last))
    }

    /// The pages as they read: password and acknowledgement are zeros.
    fn visible(&self, eeprom: &Eeprom, pages: impl Iterator<Item = u8>) -> Vec<u8> {
        pages
            .flat_map(|page| {
                let secret = self
                    .layout
                    .configuration
                    .is_some_and(|first| page == first + 2 || page == first + 3);
                if secret {
                    [0; 4]
                } else {
                    self.page(eeprom, page)
                }
            })
            .collect()
    }

    /// The first page that cannot be read: that of the protected part, or that after the last one.
    fn readable_end(&self, eeprom: &Eeprom) -> u8 {
        let protects_reading = if self.layout.has_3des {
            // AUTH1 bit 0 clear: reading needs the authentication too (MF0ICU2, section 7.5.8).
            let [auth1, ..] = self.page(eeprom, layout::AUTH1_PAGE);
            auth1 & 0x01 == 0
        } else {
            self.in_force.flags & PROT != 0
        };
        if protects_reading && !self.authenticated {
            self.layout.readable_pages.min(self.first_protected(eeprom))
        } else {
            self.layout.readable_pages
        }
    }

    fn write(&mut self, eeprom: &mut Eeprom, page: u8, new: Page) -> Step {
        if !self.writable(eeprom, page) {
            return refuse(INVALID_ARGUMENT);
        }
        let old = self.page(eeprom, page);
        let new = match page {
            STATIC_LOCK_PAGE => locks::static_locks_after(old, new),
            OTP_PAGE => union(old, new),
            _ if Some(page) == self.layout.dynamic_lock => {
                locks::dynamic_locks_after(self.layout.locks, old, new)
            }
            _ if self.layout.has_3des && page == layout::COUNTER_PAGE => {
                let Some(counted) = count_up(old, new) else {
                    return refuse(COUNTER_OVERFLOW);
                };
                counted
            }
            _ => new,
        };
        match eeprom.store(usize::from(page), new) {
            Ok(()) => Step::Stay(CardAnswer::Ack),
            Err(PowerLost) => Step::Drop(CardAnswer::Silent),
        }
    }

    fn writable(&self, eeprom: &Eeprom, page: u8) -> bool {
        let exists = (STATIC_LOCK_PAGE..self.layout.pages).contains(&page);
        let protected = page >= self.first_protected(eeprom) && !self.authenticated;
        let configuration_locked = self
            .layout
            .configuration
            .is_some_and(|first| page == first || page == first + 1)
            && self.in_force.flags & CFGLCK != 0;
        exists && !protected && !configuration_locked && !self.locked(eeprom, page)
    }

    /// Whether the lock bits make the page read-only.
    fn locked(&self, eeprom: &Eeprom, page: u8) -> bool {
        let [_, _, low, high] = self.page(eeprom, STATIC_LOCK_PAGE);
        let dynamic = self
            .layout
            .dynamic_lock
            .map_or([0; 4], |page| self.page(eeprom, page));
        locks::static_locked([low, high], page)
            || locks::dynamic_locked(self.layout.locks, dynamic, page)
    }

    /// AUTH0, the first page that the password or key protects.
    fn first_protected(&self, eeprom: &Eeprom) -> u8 {
        if self.layout.has_3des {
            let [auth0, ..] = self.page(eeprom, layout::AUTH0_PAGE);
            return auth0;
        }
        self.in_force.first_protected
    }

    fn page(&self, eeprom: &Eeprom, page: u8) -> Page {
        eeprom.unit(usize::from(page)).unwrap_or_default()
    }

    fn authenticate(&mut self, eeprom: &Eeprom, password: Page) -> Step {
        self.authenticated = false;
        let Some(first) = self.layout.configuration else {
            return refuse(INVALID_ARGUMENT);
        };
        let limit = self.in_force.flags & AUTHLIM;
        if limit != 0 && self.failed_attempts >= limit {
            return refuse(COUNTER_OVERFLOW);
        }
        if password != self.page(eeprom, first + 2) {
            self.failed_attempts = self.failed_attempts.saturating_add(u8::from(limit != 0));
            return refuse(INVALID_ARGUMENT);
        }
        self.failed_attempts = 0;
        self.authenticated = true;
        let [high, low, ..] = self.page(eeprom, first + 3);
        data([high, low])
    }

    fn count_read(&mut self) {
        let counts = self.layout.counters == Counters::Nfc && self.in_force.flags & NFC_CNT_EN != 0;
        let [_, _, counter] = &mut self.counters;
        if counts && !self.counted {
            *counter = (*counter + 1).min(COUNTER_LIMIT);
            self.counted = true;
        }
    }

    fn read_counter(&self, counter: u8) -> Step {
        let flags = self.in_force.flags;
        let allowed = match self.layout.counters {
            Counters::None => false,
            Counters::Three => true,
            Counters::Nfc => {
                counter == NFC_COUNTER
                    && flags & NFC_CNT_EN != 0
                    && (flags & NFC_CNT_PWD_PROT == 0 || self.authenticated)
            }
        };
        match self.counters.get(usize::from(counter)) {
            Some(value) if allowed => {
                let [a, b, c, _] = value.to_le_bytes();
                data([a, b, c])
            }
            _ => refuse(INVALID_ARGUMENT),
        }
    }

    fn increment_counter(&mut self, counter: u8, by: u32) -> Step {
        let counter = self.counters.get_mut(usize::from(counter));
        let Some(counter) = counter.filter(|_| self.layout.counters == Counters::Three) else {
            return refuse(INVALID_ARGUMENT);
        };
        match counter.checked_add(by).filter(|sum| *sum <= COUNTER_LIMIT) {
            Some(sum) => {
                *counter = sum;
                Step::Stay(CardAnswer::Ack)
            }
            None => refuse(COUNTER_OVERFLOW),
        }
    }
}

/// An encrypted random number that nobody can answer: the cipher is left out.
fn challenge() -> Step {
    let mut answer = vec![AUTHENTICATE_CONTINUED];
    answer.extend([0x7B, 0x1D, 0x9A, 0x44, 0xE2, 0x05, 0xC8, 0x36]);
    Step::Stay(CardAnswer::Data(answer))
}

/// 32 bytes that belong to the UID. No genuine signature: the maker's key is not ours.
fn signature(eeprom: &Eeprom) -> Vec<u8> {
    let seed = eeprom.bytes().iter().take(8);
    seed.cycle()
        .zip(0x5A_u8..)
        .map(|(byte, mask)| byte.wrapping_mul(31) ^ mask)
        .take(32)
        .collect()
}

/// The one-way counter of an Ultralight C: set once from zero, afterwards advanced by the low nibble
/// (MF0ICU2, section 7.5.11); `None` when it is full.
fn count_up([low, high, ..]: Page, [new_low, new_high, ..]: Page) -> Option<Page> {
    let old = u16::from_le_bytes([low, high]);
    let counted = if old == 0 {
        u16::from_le_bytes([new_low, new_high])
    } else {
        old.checked_add(u16::from(new_low & 0x0F))?
    };
    let [low, high] = counted.to_le_bytes();
    Some([low, high, 0, 0])
}

/// Bits that can only be set.
fn union([a, b, c, d]: Page, [e, f, g, h]: Page) -> Page {
    [a | e, b | f, c | g, d | h]
}

fn data(bytes: impl Into<Vec<u8>>) -> Step {
    Step::Stay(CardAnswer::Data(bytes.into()))
}

fn refuse(code: u8) -> Step {
    Step::Drop(CardAnswer::Nak(code))
}
