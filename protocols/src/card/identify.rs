//! Which technology a selected ISO/IEC 14443-A card is of.
//!
//! The selection (ATQA, SAK, UID, ATS) tells most; cards of the Ultralight family and NTAGs are told apart by asking
//! them. Sources: NXP AN10833 "MIFARE type identification procedure" (SAK table); the `GET_VERSION` tables in the data
//! sheets of MF0ULx1 and NTAG213/215/216; MF0ICU2, "Authenticate".

use super::{CardDescription, Technology, Uid};

/// ATQA of cards with a 7-byte UID and a proprietary anticollision, high byte first: DESFire.
const DESFIRE_ATQA: [u8; 2] = [0x03, 0x44];
/// The ATS of every DESFire from its second byte on: TL itself is left out.
const DESFIRE_ATS: [u8; 5] = [0x75, 0x77, 0x81, 0x02, 0x80];
const GET_VERSION: &[u8] = &[0x60];
/// Starts a 3DES authentication with key 0; only its first answer is awaited.
const TRIPLE_DES_PROBE: &[u8] = &[0x1A, 0x00];
/// First byte of the answer to [`TRIPLE_DES_PROBE`].
const MORE_FOLLOWS: u8 = 0xAF;

/// What a reader's selection of a card gave.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Selection<'a> {
    /// ATQA (SENS_RES), high byte first, as readers print it.
    pub atqa: [u8; 2],
    /// SAK (SEL_RES) of the last cascade level.
    pub sak: u8,
    /// The UID.
    pub uid: Uid,
    /// The ATS with or without its length byte; empty where the reader asked for none.
    pub ats: &'a [u8],
}

/// What is known of a card.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Identified {
    /// Its technology.
    As(Technology),
    /// The card must be asked first. Refusing is an answer too, after which the card must be selected again.
    Ask(Question),
}

/// A question to a card of the Ultralight family or an NTAG.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Question {
    /// `GET_VERSION`.
    Version,
    /// Does it know 3DES?
    TripleDes,
}

/// Judges a selection.
pub fn identify(selection: &Selection<'_>) -> Identified {
    let has_long_uid = selection.uid.as_bytes().len() == 7;
    Identified::As(match selection.sak {
        // 28 and 38: SmartMX that imitates a Classic; 88: Infineon's.
        0x08 | 0x28 | 0x88 => Technology::MifareClassic1k,
        0x09 => Technology::MifareClassicMini,
        0x18 | 0x38 => Technology::MifareClassic4k,
        0x00 if has_long_uid => return Identified::Ask(Question::Version),
        0x20 if has_long_uid && is_desfire(selection) => Technology::Desfire,
        0x20 => Technology::IsoDep,
        _ => Technology::Unknown,
    })
}

impl Question {
    /// The command to send.
    pub const fn command(self) -> &'static [u8] {
        match self {
            Self::Version => GET_VERSION,
            Self::TripleDes => TRIPLE_DES_PROBE,
        }
    }

    /// What the card's answer tells; `None` where it refused or did not answer, and yet could be selected again.
    ///
    /// After an answered [`Question::TripleDes`] the card waits for the second half: select it again.
    pub fn answered(self, answer: Option<&[u8]>) -> Identified {
        match (self, answer) {
            (Self::Version, Some(version)) => Identified::As(by_version(version)),
            (Self::Version, None) => Identified::Ask(Self::TripleDes),
            (Self::TripleDes, Some([MORE_FOLLOWS, challenge @ ..])) if challenge.len() == 8 => {
                Identified::As(Technology::UltralightC)
            }
            (Self::TripleDes, Some(_)) => Identified::As(Technology::Unknown),
            (Self::TripleDes, None) => Identified::As(Technology::Ultralight),
        }
    }
}

impl Selection<'_> {
    /// The card, once its technology is known.
    pub fn describe(&self, technology: Technology) -> CardDescription {
        CardDescription::new(technology, self.uid)
    }
}

fn is_desfire(selection: &Selection<'_>) -> bool {
    if selection.ats.is_empty() {
        return selection.atqa == DESFIRE_ATQA;
    }
    selection.ats.ends_with(&DESFIRE_ATS)
}

/// By product type, major version and size. The subtype (17 or 50 pF) and the minor version do not matter; a major
/// version other than 1 is another product, such as NTAG I2C, with another layout.
fn by_version(version: &[u8]) -> Technology {
    match version {
        [0x00, 0x04, 0x03, _, 0x01, _, 0x0B, _] => Technology::UltralightEv1Ul11,
        [0x00, 0x04, 0x03, _, 0x01, _, 0x0E, _] => Technology::UltralightEv1Ul21,
        [0x00, 0x04, 0x04, _, 0x01, _, 0x0F, _] => Technology::Ntag213,
        [0x00, 0x04, 0x04, _, 0x01, _, 0x11, _] => Technology::Ntag215,
        [0x00, 0x04, 0x04, _, 0x01, _, 0x13, _] => Technology::Ntag216,
        _ => Technology::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by_selection(atqa: [u8; 2], sak: u8, uid: &str, ats: &[u8]) -> Identified {
        identify(&Selection {
            atqa,
            sak,
            uid: uid.parse().unwrap(),
            ats,
        })
    }

    const SHORT: &str = "deadbeef";
    const LONG: &str = "04a1b2c3d4e5f6";

    #[test]
    fn tells_technologies_by_their_selection() {
        let desfire = [0x06, 0x75, 0x77, 0x81, 0x02, 0x80];
        let plus_sl3 = [
            0x0C, 0x75, 0x77, 0x80, 0x02, 0xC1, 0x05, 0x2F, 0x2F, 0x01, 0xBC, 0xD6,
        ];
        for (atqa, sak, uid, ats, technology) in [
            (
                [0x00, 0x04],
                0x08,
                SHORT,
                &[][..],
                Technology::MifareClassic1k,
            ),
            ([0x00, 0x44], 0x08, LONG, &[], Technology::MifareClassic1k),
            ([0x00, 0x02], 0x18, SHORT, &[], Technology::MifareClassic4k),
            ([0x00, 0x42], 0x18, LONG, &[], Technology::MifareClassic4k),
            (
                [0x00, 0x04],
                0x09,
                SHORT,
                &[],
                Technology::MifareClassicMini,
            ),
            ([0x00, 0x04], 0x28, SHORT, &[], Technology::MifareClassic1k),
            ([0x00, 0x02], 0x38, SHORT, &[], Technology::MifareClassic4k),
            ([0x00, 0x04], 0x10, SHORT, &[], Technology::Unknown),
            ([0x00, 0x02], 0x11, SHORT, &[], Technology::Unknown),
            ([0x03, 0x44], 0x20, LONG, &desfire, Technology::Desfire),
            ([0x03, 0x44], 0x20, LONG, &desfire[1..], Technology::Desfire),
            ([0x03, 0x44], 0x20, LONG, &[], Technology::Desfire),
            ([0x00, 0x44], 0x20, LONG, &plus_sl3, Technology::IsoDep),
            ([0x00, 0x04], 0x20, "08112233", &[], Technology::IsoDep),
            ([0x00, 0x04], 0x00, SHORT, &[], Technology::Unknown),
        ] {
            assert_eq!(
                by_selection(atqa, sak, uid, ats),
                Identified::As(technology),
                "{atqa:02x?} {sak:02x}"
            );
        }
    }

    #[test]
    fn asks_ultralights_and_ntags() {
        let asked = by_selection([0x00, 0x44], 0x00, LONG, &[]);
        assert_eq!(asked, Identified::Ask(Question::Version));
        assert_eq!(Question::Version.command(), [0x60]);
        for (version, technology) in [
            ([0, 4, 3, 1, 1, 0, 0x0B, 3], Technology::UltralightEv1Ul11),
            ([0, 4, 3, 2, 1, 0, 0x0E, 3], Technology::UltralightEv1Ul21),
            ([0, 4, 4, 2, 1, 0, 0x0F, 3], Technology::Ntag213),
            ([0, 4, 4, 2, 1, 0, 0x11, 3], Technology::Ntag215),
            ([0, 4, 4, 2, 1, 0, 0x13, 3], Technology::Ntag216),
            // NTAG I2C 1K has NTAG216's size code.
            ([0, 4, 4, 5, 2, 1, 0x13, 3], Technology::Unknown),
            ([0, 4, 4, 1, 1, 0, 0x0B, 3], Technology::Unknown),
        ] {
            assert_eq!(
                Question::Version.answered(Some(&version)),
                Identified::As(technology)
            );
        }
        assert_eq!(
            Question::Version.answered(Some(&[0, 4])),
            Identified::As(Technology::Unknown)
        );
    }

    #[test]
    fn tells_ultralight_c_by_its_challenge() {
        assert_eq!(
            Question::Version.answered(None),
            Identified::Ask(Question::TripleDes)
        );
        assert_eq!(Question::TripleDes.command(), [0x1A, 0x00]);
        let challenge = [0xAF, 1, 2, 3, 4, 5, 6, 7, 8];
        let answered = |answer| Question::TripleDes.answered(answer);
        assert_eq!(
            answered(Some(&challenge)),
            Identified::As(Technology::UltralightC)
        );
        assert_eq!(answered(Some(&[0x00])), Identified::As(Technology::Unknown));
        assert_eq!(answered(None), Identified::As(Technology::Ultralight));
    }

    #[test]
    fn describes_the_card_with_its_capacity() {
        let selection = Selection {
            atqa: [0x00, 0x44],
            sak: 0x00,
            uid: LONG.parse().unwrap(),
            ats: &[],
        };
        let card = selection.describe(Technology::Ntag215);
        assert_eq!((card.uid, card.capacity), (Some(selection.uid), 504));
    }
}
