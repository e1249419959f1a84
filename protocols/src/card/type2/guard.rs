//! The password protection that a card has now (NTAG213_215_216, section 8.5.7, MF0ULX1, section 8.5.7; MF0ICU2,
//! section 7.5.8).

use crate::card::{Password, Type2Protection};

const PROT: u8 = 0x80;
const CFGLCK: u8 = 0x40;
const AUTHLIM: u8 = 0x07;
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

/// What a procedure means to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Intent {
    /// Read.
    Read,
    /// Write and read.
    Write,
}

impl PasswordConfiguration {
    /// From the first two of four pages as `READ` brings them.
    pub(super) const fn from_read(read: [u8; 16]) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = read;
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
    /// From AUTH0 and AUTH1 of an Ultralight C, the first two of four pages as `READ` brings them.
    pub(super) const fn triple_des(read: [u8; 16]) -> Self {
        let [first_page, _, _, _, auth1, ..] = read;
        Self::TripleDes {
            first_page,
            reading: auth1 & WRITING_ONLY == 0,
        }
    }

    /// Whether pages up to `last_page` need the card to be opened first.
    pub(super) const fn forbids(self, intent: Intent, last_page: u8) -> bool {
        match self {
            Self::Absent => false,
            Self::Hidden => true,
            Self::Password(configuration) => {
                configuration.first_page() <= last_page
                    && (matches!(intent, Intent::Write) || configuration.protects_reading())
            }
            Self::TripleDes {
                first_page,
                reading,
            } => first_page <= last_page && (matches!(intent, Intent::Write) || reading),
        }
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
    /// too many is locked for ever: where it counts, only the first is tried; where a single one would lock it, none,
    /// unless that is allowed.
    pub(super) fn tries(self, passwords: &[Password], allow_irreversible: bool) -> usize {
        let locks_at_once = match self {
            Self::Password(configuration) => configuration.most_tries() == 1,
            Self::Absent | Self::TripleDes { .. } | Self::Hidden => false,
        };
        match self {
            Self::Absent | Self::TripleDes { .. } => 0,
            Self::Password(_) | Self::Hidden if locks_at_once && !allow_irreversible => 0,
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
        assert!(guard(4, 0).forbids(Intent::Write, 15));
        assert!(!guard(4, 0).forbids(Intent::Read, 15));
        assert!(guard(4, PROT).forbids(Intent::Read, 15));
        assert!(!guard(16, PROT).forbids(Intent::Write, 15));
        assert!(!guard(0xFF, PROT).forbids(Intent::Write, 0xE6));
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
    }
}
