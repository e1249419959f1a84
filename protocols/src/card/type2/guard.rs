//! The password protection that a card has now (NTAG213_215_216, section 8.5.7, MF0ULX1, section 8.5.7; MF0ICU2,
//! section 7.5.8).

use crate::card::{Password, Type2Protection};

const PROT: u8 = 0x80;
const CFGLCK: u8 = 0x40;
const AUTHLIM: u8 = 0x07;
/// AUTH0 that protects nothing: no card has this page.
const NO_PAGE: u8 = 0xFF;
/// AUTH1 of an Ultralight C: set where only writing is protected.
const WRITING_ONLY: u8 = 0x01;

/// CFG0 and CFG1 of an Ultralight EV1 or NTAG21x.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct PasswordConfiguration {
    pub(super) cfg0: [u8; 4],
    pub(super) cfg1: [u8; 4],
}

/// What a card's protection means for a procedure.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Guard {
    /// The card knows no protection.
    Absent,
    /// Protected by a password from a page on.
    Password(PasswordConfiguration),
    /// Protected by a 3DES key from a page on.
    TripleDes {
        /// AUTH0.
        first_page: u8,
        /// Reading needs the key too.
        reading: bool,
    },
    /// The card does not even show its configuration: it is protected, and what it makes of wrong passwords is unknown.
    Hidden,
}

impl PasswordConfiguration {
    /// From the two pages.
    pub(super) const fn from_pages(pages: [u8; 8]) -> Self {
        let [a, b, c, d, e, f, g, h] = pages;
        Self {
            cfg0: [a, b, c, d],
            cfg1: [e, f, g, h],
        }
    }

    /// The same configuration with another protection.
    pub(super) const fn protected(self, protection: &Type2Protection) -> Self {
        let [mirror, reserved, mirror_page, _] = self.cfg0;
        let [access, r0, r1, r2] = self.cfg1;
        let prot = if protection.protect_reading { PROT } else { 0 };
        Self {
            cfg0: [
                mirror,
                reserved,
                mirror_page,
                protection.first_protected_page,
            ],
            cfg1: [access & !PROT | prot, r0, r1, r2],
        }
    }

    /// The same configuration without a protected page.
    pub(super) const fn lifted(self) -> Self {
        let [mirror, reserved, mirror_page, _] = self.cfg0;
        Self {
            cfg0: [mirror, reserved, mirror_page, NO_PAGE],
            cfg1: self.cfg1,
        }
    }

    /// AUTH0.
    pub(super) const fn first_page(self) -> u8 {
        self.cfg0[3]
    }

    pub(super) const fn protects_reading(self) -> bool {
        self.cfg1[0] & PROT != 0
    }

    /// CFGLCK: the two configuration pages can never be changed again.
    pub(super) const fn is_final(self) -> bool {
        self.cfg1[0] & CFGLCK != 0
    }

    const fn most_tries(self) -> u8 {
        self.cfg1[0] & AUTHLIM
    }
}

impl Guard {
    /// From AUTH0 of an Ultralight C and its AUTH1, none where that cannot be read.
    pub(super) const fn triple_des(first_page: u8, auth1: Option<u8>) -> Self {
        let reading = match auth1 {
            Some(auth1) => auth1 & WRITING_ONLY == 0,
            None => true,
        };
        Self::TripleDes {
            first_page,
            reading,
        }
    }

    /// Whether reading up to the page `reads`, or writing up to the page `writes`, needs the card to be opened first.
    pub(super) fn forbids(self, reads: u8, writes: Option<u8>) -> bool {
        let (first_page, reading) = match self {
            Self::Absent => return false,
            Self::Hidden => return true,
            Self::Password(present) => (present.first_page(), present.protects_reading()),
            Self::TripleDes {
                first_page,
                reading,
            } => (first_page, reading),
        };
        (reading && first_page <= reads) || writes.is_some_and(|last| first_page <= last)
    }

    /// Whether the card counts wrong passwords, or may do so.
    pub(super) const fn counts_tries(self) -> bool {
        match self {
            Self::Absent | Self::TripleDes { .. } => false,
            Self::Password(configuration) => configuration.most_tries() > 0,
            Self::Hidden => true,
        }
    }

    /// How many of `passwords` may be tried. The count of wrong tries so far cannot be read, and a card that has counted
    /// too many is locked for ever: where it counts or may count, only the first is tried; where a single one would lock
    /// it, none. Leave to pass one-way doors allows the first in the one case, and all where nothing is known.
    pub(super) fn tries(self, passwords: &[Password], allow_irreversible: bool) -> usize {
        let locks_at_once = match self {
            Self::Password(configuration) => configuration.most_tries() == 1,
            Self::Absent | Self::TripleDes { .. } | Self::Hidden => false,
        };
        match self {
            Self::Absent | Self::TripleDes { .. } => 0,
            Self::Password(_) | Self::Hidden if locks_at_once && !allow_irreversible => 0,
            Self::Hidden if allow_irreversible => passwords.len(),
            Self::Password(_) | Self::Hidden if self.counts_tries() => passwords.len().min(1),
            Self::Password(_) | Self::Hidden => passwords.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(first_page: u8, access: u8) -> Guard {
        Guard::Password(PasswordConfiguration {
            cfg0: [0x04, 0, 0, first_page],
            cfg1: [access, 0, 0, 0],
        })
    }

    #[test]
    fn protection_begins_at_auth0() {
        assert!(guard(4, 0).forbids(3, Some(15)));
        assert!(!guard(4, 0).forbids(15, None));
        assert!(guard(4, PROT).forbids(15, None));
        assert!(!guard(16, PROT).forbids(15, Some(15)));
        assert!(guard(16, PROT).forbids(16, Some(15)));
        assert!(!guard(16, 0).forbids(16, Some(15)));
        assert!(!guard(NO_PAGE, PROT).forbids(0xE6, Some(0xE6)));
        assert!(Guard::Hidden.forbids(0, None));
        assert!(Guard::triple_des(4, None).forbids(4, None));
        assert!(!Guard::triple_des(4, Some(WRITING_ONLY)).forbids(4, None));
    }

    #[test]
    fn passwords_are_spared_where_wrong_ones_are_counted() {
        let passwords = [Password([1; 4]), Password([2; 4])];
        let tries = |guard: Guard, allowed| guard.tries(&passwords, allowed);
        assert_eq!(tries(guard(4, 0), false), 2);
        assert_eq!(tries(guard(4, 5), false), 1);
        assert_eq!(tries(guard(4, 1), false), 0);
        assert_eq!(tries(guard(4, 1), true), 1);
        assert_eq!(tries(Guard::Hidden, false), 1);
        assert_eq!(tries(Guard::Hidden, true), 2);
        assert_eq!(tries(Guard::Absent, true), 0);
    }

    #[test]
    fn protecting_keeps_every_other_bit() {
        let before = PasswordConfiguration {
            cfg0: [0x04, 1, 2, 0xFF],
            cfg1: [0x15, 3, 4, 5],
        };
        let protection = Type2Protection {
            password: Password([9; 4]),
            acknowledge: [8; 2],
            first_protected_page: 4,
            protect_reading: true,
        };
        let after = before.protected(&protection);
        assert_eq!(after.cfg0, [0x04, 1, 2, 4]);
        assert_eq!(after.cfg1, [0x95, 3, 4, 5]);
        assert_eq!(after.lifted().cfg0, before.cfg0);
        assert_eq!(after.lifted().cfg1, after.cfg1);
    }
}
