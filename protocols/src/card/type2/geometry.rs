//! Pages (data sheets, "Memory organization" and "Lock bytes").

use crate::card::{CardError, Technology};

/// The page of the one-time programmable bits, on NTAGs the capability container.
pub(super) const OTP_PAGE: u8 = 3;
/// The pages below hold the UID and the static lock bytes.
pub(super) const FIRST_WRITABLE_PAGE: u8 = OTP_PAGE;
pub(super) const FIRST_USER_PAGE: u8 = 4;
/// The page whose last two bytes are the static lock bytes.
pub(super) const STATIC_LOCK_PAGE: u8 = 2;
/// The last page that the static lock bytes rule.
const LAST_STATIC_PAGE: u8 = 15;

/// What a technology's memory looks like.
#[derive(Clone, Copy, Debug)]
pub(in crate::card) struct Geometry {
    pub(super) pages: u8,
    pub(in crate::card) last_user_page: u8,
    pub(super) dynamic_lock: Option<DynamicLock>,
    pub(super) configuration: Option<Configuration>,
    pub(super) fast_read: bool,
}

/// The lock bits of the pages beyond the 16 that every card has.
#[derive(Clone, Copy, Debug)]
pub(super) struct DynamicLock {
    pub(super) page: u8,
    /// How many pages one bit locks.
    pages_per_bit: u8,
}

/// Where a card keeps its protection.
#[derive(Clone, Copy, Debug)]
pub(super) enum Configuration {
    /// CFG0 on this page, then CFG1, PWD, PACK.
    Password(u8),
    /// AUTH0 on this page, then AUTH1, then the 3DES key.
    TripleDes(u8),
}

/// What a page is there for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Role {
    /// Data.
    User,
    /// Bits that can only be set: OTP and lock bytes; a counter.
    OneWay,
    /// Configuration, with bits that can only be set among the others.
    Configuration,
    /// The UID, or a secret that cannot be read back.
    Untouchable,
}

impl Geometry {
    pub(in crate::card) fn of(technology: Technology) -> Result<Self, CardError> {
        let password = |pages, last_user_page, lock, configuration| Self {
            pages,
            last_user_page,
            dynamic_lock: lock,
            configuration: Some(Configuration::Password(configuration)),
            fast_read: true,
        };
        let lock = |page, pages_per_bit| {
            Some(DynamicLock {
                page,
                pages_per_bit,
            })
        };
        Ok(match technology {
            Technology::Ultralight => Self {
                pages: 16,
                last_user_page: 0x0F,
                dynamic_lock: None,
                configuration: None,
                fast_read: false,
            },
            Technology::UltralightC => Self {
                pages: 48,
                last_user_page: 0x27,
                dynamic_lock: lock(0x28, 4),
                configuration: Some(Configuration::TripleDes(0x2A)),
                fast_read: false,
            },
            Technology::UltralightEv1Ul11 => password(20, 0x0F, None, 0x10),
            Technology::UltralightEv1Ul21 => password(41, 0x23, lock(0x24, 2), 0x25),
            Technology::Ntag213 => password(45, 0x27, lock(0x28, 2), 0x29),
            Technology::Ntag215 => password(135, 0x81, lock(0x82, 16), 0x83),
            Technology::Ntag216 => password(231, 0xE1, lock(0xE2, 16), 0xE3),
            Technology::MifareClassicMini
            | Technology::MifareClassic1k
            | Technology::MifareClassic4k
            | Technology::Desfire
            | Technology::IsoDep
            | Technology::Magstripe
            | Technology::Unknown => {
                return Err(CardError::WrongTechnology {
                    expected: "a MIFARE Ultralight or NTAG21x",
                    got: technology,
                });
            }
        })
    }

    /// The page of CFG0 on a card that knows passwords.
    pub(in crate::card) const fn password_configuration(&self) -> Option<u8> {
        match self.configuration {
            Some(Configuration::Password(page)) => Some(page),
            Some(Configuration::TripleDes(_)) | None => None,
        }
    }

    /// The last of the two pages that hold AUTH0 and what it protects from.
    pub(super) const fn last_configuration_page(&self) -> Option<u8> {
        match self.configuration {
            Some(Configuration::Password(first) | Configuration::TripleDes(first)) => {
                Some(first + 1)
            }
            None => None,
        }
    }

    /// The last page that can be read; a `READ` that begins before it and goes beyond brings the first pages of the card.
    pub(super) const fn last_readable_page(&self) -> u8 {
        match self.configuration {
            // MF0ICU2, section 7.5.9: the key behind the configuration is never read.
            Some(Configuration::TripleDes(first)) => first + 1,
            Some(Configuration::Password(_)) | None => self.pages - 1,
        }
    }

    /// What a page of this card is there for.
    pub(super) fn role(&self, page: u8) -> Role {
        if page < FIRST_WRITABLE_PAGE {
            return Role::Untouchable;
        }
        if (FIRST_USER_PAGE..=self.last_user_page).contains(&page) {
            return Role::User;
        }
        match self.configuration {
            Some(Configuration::Password(first) | Configuration::TripleDes(first))
                if page >= first =>
            {
                // The two pages of configuration; the secrets follow.
                if page < first + 2 {
                    Role::Configuration
                } else {
                    Role::Untouchable
                }
            }
            _ => Role::OneWay,
        }
    }

    /// Whether the lock bytes lock a user page: the static ones, and the first three of the dynamic lock page.
    pub(super) fn is_locked(&self, page: u8, fixed: [u8; 2], dynamic: [u8; 3]) -> bool {
        if page <= LAST_STATIC_PAGE {
            // Bits 3 to 15 lock pages 3 to 15; bits 0 to 2 freeze lock bits.
            return u16::from_le_bytes(fixed) >> page & 1 != 0;
        }
        let Some(lock) = self.dynamic_lock else {
            return false;
        };
        let [d0, d1, _] = dynamic;
        let group = (page - LAST_STATIC_PAGE - 1) / lock.pages_per_bit;
        if matches!(self.configuration, Some(Configuration::TripleDes(_))) {
            // MF0ICU2: bits 0 and 4 freeze the three bits above them (pages 16 to 27, 28 to 39).
            return d0 >> (1 + group + group / 3) & 1 != 0;
        }
        u16::from_le_bytes([d0, d1]) >> group & 1 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Technology; 7] = [
        Technology::Ultralight,
        Technology::UltralightC,
        Technology::UltralightEv1Ul11,
        Technology::UltralightEv1Ul21,
        Technology::Ntag213,
        Technology::Ntag215,
        Technology::Ntag216,
    ];

    #[test]
    fn user_pages_are_the_capacity() {
        for technology in ALL {
            let geometry = Geometry::of(technology).unwrap();
            let user = (0..geometry.pages).filter(|page| geometry.role(*page) == Role::User);
            assert_eq!(user.count() * 4, technology.capacity() as usize);
        }
    }

    #[test]
    fn every_user_page_has_its_lock_bit() {
        for technology in ALL {
            let geometry = Geometry::of(technology).unwrap();
            for page in FIRST_USER_PAGE..=geometry.last_user_page {
                assert!(!geometry.is_locked(page, [0x07, 0], [0; 3]));
                assert!(geometry.is_locked(page, [0xFF; 2], [0xFF; 3]));
            }
        }
    }

    #[test]
    fn knows_the_data_sheets_lock_bits() {
        let is_locked = |technology, page, fixed, dynamic| {
            Geometry::of(technology)
                .unwrap()
                .is_locked(page, fixed, dynamic)
        };
        assert!(is_locked(Technology::Ultralight, 4, [0x10, 0], [0; 3]));
        assert!(is_locked(Technology::Ultralight, 15, [0, 0x80], [0; 3]));
        // NTAG213: bit 0 of the second byte locks pages 32 and 33.
        assert!(is_locked(Technology::Ntag213, 33, [0; 2], [0, 0x01, 0]));
        assert!(!is_locked(Technology::Ntag213, 34, [0; 2], [0, 0x01, 0]));
        // NTAG215: bit 7 locks pages 128 and 129; NTAG216: bit 5 of the second byte locks 224 and 225.
        assert!(is_locked(Technology::Ntag215, 129, [0; 2], [0x80, 0, 0]));
        assert!(is_locked(Technology::Ntag216, 225, [0; 2], [0, 0x20, 0]));
        // Ultralight C: bit 1 locks pages 16 to 19, bit 5 pages 28 to 31; bit 4 only freezes.
        assert!(is_locked(Technology::UltralightC, 19, [0; 2], [0x02, 0, 0]));
        assert!(is_locked(Technology::UltralightC, 28, [0; 2], [0x20, 0, 0]));
        assert!(!is_locked(
            Technology::UltralightC,
            28,
            [0; 2],
            [0x10, 0, 0]
        ));
    }

    #[test]
    fn roles_of_the_pages_at_the_end() {
        let ntag = Geometry::of(Technology::Ntag213).unwrap();
        let roles: Vec<_> = (0x27..0x2D).map(|page| ntag.role(page)).collect();
        assert_eq!(
            roles,
            [
                Role::User,
                Role::OneWay,
                Role::Configuration,
                Role::Configuration,
                Role::Untouchable,
                Role::Untouchable,
            ]
        );
        let ultralight_c = Geometry::of(Technology::UltralightC).unwrap();
        assert_eq!(ultralight_c.role(0x29), Role::OneWay);
        assert_eq!(ultralight_c.role(0x2C), Role::Untouchable);
    }
}
