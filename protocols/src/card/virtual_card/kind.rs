//! The kinds of virtual cards and what each shows at its selection.

use std::{fmt, str::FromStr};

use crate::card::{Technology, Uid};

/// A kind of virtual card.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum CardKind {
    /// MIFARE Classic Mini, 320 bytes.
    ClassicMini,
    /// MIFARE Classic 1K.
    Classic1k,
    /// MIFARE Classic 4K.
    Classic4k,
    /// MIFARE Ultralight.
    Ultralight,
    /// MIFARE Ultralight C. Its memory answers; the 3DES authentication always fails.
    UltralightC,
    /// MIFARE Ultralight EV1, MF0UL11.
    UltralightEv1Ul11,
    /// MIFARE Ultralight EV1, MF0UL21.
    UltralightEv1Ul21,
    /// NTAG213.
    Ntag213,
    /// NTAG215.
    Ntag215,
    /// NTAG216.
    Ntag216,
    /// A DESFire EV1 that tells its version and has no applications.
    Desfire,
    /// An ISO/IEC 14443-4 card that draws a new UID at each selection.
    RandomUid,
}

/// No kind of card has this name.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("unknown card {0:?}; known: {known}", known = CardKind::names())]
pub struct UnknownCardKind(pub String);

impl CardKind {
    /// All kinds.
    pub const ALL: [Self; 12] = [
        Self::ClassicMini,
        Self::Classic1k,
        Self::Classic4k,
        Self::Ultralight,
        Self::UltralightC,
        Self::UltralightEv1Ul11,
        Self::UltralightEv1Ul21,
        Self::Ntag213,
        Self::Ntag215,
        Self::Ntag216,
        Self::Desfire,
        Self::RandomUid,
    ];

    /// The name used on command lines.
    pub fn name(self) -> &'static str {
        match self {
            Self::ClassicMini => "classic-mini",
            Self::Classic1k => "classic-1k",
            Self::Classic4k => "classic-4k",
            Self::Ultralight => "ultralight",
            Self::UltralightC => "ultralight-c",
            Self::UltralightEv1Ul11 => "ultralight-ev1-ul11",
            Self::UltralightEv1Ul21 => "ultralight-ev1-ul21",
            Self::Ntag213 => "ntag213",
            Self::Ntag215 => "ntag215",
            Self::Ntag216 => "ntag216",
            Self::Desfire => "desfire",
            Self::RandomUid => "random-uid",
        }
    }

    /// All names, for messages.
    pub fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }

    /// The technology as card logic should recognise it.
    pub fn technology(self) -> Technology {
        match self {
            Self::ClassicMini => Technology::MifareClassicMini,
            Self::Classic1k => Technology::MifareClassic1k,
            Self::Classic4k => Technology::MifareClassic4k,
            Self::Ultralight => Technology::Ultralight,
            Self::UltralightC => Technology::UltralightC,
            Self::UltralightEv1Ul11 => Technology::UltralightEv1Ul11,
            Self::UltralightEv1Ul21 => Technology::UltralightEv1Ul21,
            Self::Ntag213 => Technology::Ntag213,
            Self::Ntag215 => Technology::Ntag215,
            Self::Ntag216 => Technology::Ntag216,
            Self::Desfire => Technology::Desfire,
            Self::RandomUid => Technology::IsoDep,
        }
    }

    pub(super) fn is_classic(self) -> bool {
        matches!(self, Self::ClassicMini | Self::Classic1k | Self::Classic4k)
    }

    /// The UID of a card that was given none; right lengths by construction.
    pub(super) fn default_uid(self) -> Uid {
        let bytes: &[u8] = match self {
            Self::ClassicMini | Self::Classic1k | Self::Classic4k => &[0xDE, 0xAD, 0xBE, 0xEF],
            Self::Desfire => &[0x04, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66],
            Self::RandomUid => &[0x08, 0x5E, 0xED, 0x01],
            Self::Ultralight
            | Self::UltralightC
            | Self::UltralightEv1Ul11
            | Self::UltralightEv1Ul21
            | Self::Ntag213
            | Self::Ntag215
            | Self::Ntag216 => &[0x04, 0xA1, 0xB2, 0xC3, 0xD4, 0xE5, 0xF6],
        };
        uid_of_known_length(bytes)
    }

    pub(super) fn uid_lengths(self) -> &'static [usize] {
        if self.is_classic() {
            &[4, 7]
        } else if self == Self::RandomUid {
            &[4]
        } else {
            &[7]
        }
    }

    /// ATQA, high byte first (NXP AN10833, table 5): bit 6 tells a 7-byte UID.
    pub(super) fn atqa(self, uid_length: usize) -> [u8; 2] {
        let double_size = if uid_length == 7 { 0x40 } else { 0x00 };
        match self {
            Self::ClassicMini | Self::Classic1k => [0x00, 0x04 | double_size],
            Self::Classic4k => [0x00, 0x02 | double_size],
            Self::Desfire => [0x03, 0x44],
            Self::RandomUid => [0x03, 0x04],
            Self::Ultralight
            | Self::UltralightC
            | Self::UltralightEv1Ul11
            | Self::UltralightEv1Ul21
            | Self::Ntag213
            | Self::Ntag215
            | Self::Ntag216 => [0x00, 0x44],
        }
    }

    /// SAK (NXP AN10833, table 6).
    pub(super) fn sak(self) -> u8 {
        match self {
            Self::ClassicMini => 0x09,
            Self::Classic1k => 0x08,
            Self::Classic4k => 0x18,
            Self::Desfire | Self::RandomUid => 0x20,
            Self::Ultralight
            | Self::UltralightC
            | Self::UltralightEv1Ul11
            | Self::UltralightEv1Ul21
            | Self::Ntag213
            | Self::Ntag215
            | Self::Ntag216 => 0x00,
        }
    }

    pub(super) fn ats(self) -> &'static [u8] {
        if matches!(self, Self::Desfire) {
            &[0x06, 0x75, 0x77, 0x81, 0x02, 0x80]
        } else if matches!(self, Self::RandomUid) {
            &[0x05, 0x78, 0x80, 0x70, 0x02]
        } else {
            &[]
        }
    }
}

/// A UID from bytes whose length the caller knows to be right.
#[allow(
    clippy::expect_used,
    reason = "all callers pass constant arrays of 4 or 7 bytes"
)]
pub(super) fn uid_of_known_length(bytes: &[u8]) -> Uid {
    Uid::new(bytes).expect("4 or 7 bytes")
}

impl fmt::Display for CardKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for CardKind {
    type Err = UnknownCardKind;

    fn from_str(text: &str) -> Result<Self, UnknownCardKind> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == text)
            .ok_or_else(|| UnknownCardKind(text.to_owned()))
    }
}
