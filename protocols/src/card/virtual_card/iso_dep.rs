//! ISO/IEC 14443-4 cards that no image fits: a DESFire EV1 without applications, and a card with a random UID.

use super::{CardAnswer, CardKind, Step, kind::uid_of_known_length};
use crate::card::Uid;

/// RATS (ISO/IEC 14443-4, 5.6.1).
const RATS: u8 = 0xE0;
/// S(DESELECT) without CID (ISO/IEC 14443-4, 7.1.1.3).
pub(super) const S_DESELECT: u8 = 0xC2;
/// I-block without chaining, CID and NAD; bit 0 is the block number (ISO/IEC 14443-4, 7.1.1.1).
const I_BLOCK: u8 = 0x02;

/// The class byte of native DESFire commands wrapped in APDUs.
const DESFIRE_CLASS: u8 = 0x90;
const GET_VERSION: u8 = 0x60;
const ADDITIONAL_FRAME: u8 = 0xAF;
const SELECT_APPLICATION: u8 = 0x5A;
const GET_APPLICATION_IDS: u8 = 0x6A;

// The second status byte of a wrapped DESFire answer; the first is 91.
const OK: u8 = 0x00;
const ILLEGAL_COMMAND: u8 = 0x1C;
const WRONG_LENGTH: u8 = 0x7E;
const APPLICATION_NOT_FOUND: u8 = 0xA0;

/// ISO/IEC 7816-4: instruction code not supported.
const INSTRUCTION_NOT_SUPPORTED: [u8; 2] = [0x6D, 0x00];
/// ISO/IEC 7816-4: class not supported.
const CLASS_NOT_SUPPORTED: [u8; 2] = [0x6E, 0x00];
/// ISO/IEC 7816-4: file or application not found.
const FILE_NOT_FOUND: [u8; 2] = [0x6A, 0x82];
/// ISO/IEC 7816-4: SELECT.
const ISO_SELECT: u8 = 0xA4;

#[derive(Clone, Debug)]
pub(super) struct IsoDep {
    active: bool,
    version_part: u8,
    /// State of the generator of UIDs; none for a card whose UID is fixed.
    draws: Option<u64>,
}

impl IsoDep {
    /// A card with a random UID draws the same row of UIDs from the same first `uid`.
    pub(super) fn new(kind: CardKind, uid: &Uid) -> Self {
        let seed = uid
            .as_bytes()
            .iter()
            .fold(0, |seed, byte| seed << 8 | u64::from(*byte));
        Self {
            active: false,
            version_part: 0,
            draws: (kind == CardKind::RandomUid).then_some(seed),
        }
    }

    pub(super) fn reset(&mut self) {
        self.active = false;
        self.version_part = 0;
    }

    /// A new random UID: 08 and three bytes (ISO/IEC 14443-3, 6.5.4), drawn by SplitMix64.
    pub(super) fn draw_uid(&mut self) -> Option<Uid> {
        let state = self.draws?.wrapping_add(0x9E37_79B9_7F4A_7C15);
        self.draws = Some(state);
        let mixed = (state ^ state >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        let [a, b, c, ..] = (mixed ^ mixed >> 31).to_le_bytes();
        Some(uid_of_known_length(&[0x08, a, b, c]))
    }

    pub(super) fn answer(&mut self, kind: CardKind, uid: &Uid, frame: &[u8]) -> Step {
        match *frame {
            [RATS, _] if !self.active => {
                self.active = true;
                Step::Stay(CardAnswer::Data(kind.ats().to_vec()))
            }
            [S_DESELECT] if self.active => Step::Drop(CardAnswer::Data(vec![S_DESELECT])),
            [pcb, ref apdu @ ..] if self.active && pcb & 0xFE == I_BLOCK => {
                let mut answer = vec![pcb];
                answer.extend(if kind == CardKind::Desfire {
                    self.desfire(uid, apdu)
                } else {
                    plain(apdu)
                });
                Step::Stay(CardAnswer::Data(answer))
            }
            _ => Step::Drop(CardAnswer::Silent),
        }
    }

    /// The few native commands that a DESFire answers before any authentication.
    fn desfire(&mut self, uid: &Uid, apdu: &[u8]) -> Vec<u8> {
        let part = std::mem::take(&mut self.version_part);
        match *apdu {
            [DESFIRE_CLASS, GET_VERSION, 0, 0, 0] => {
                self.version_part = 1;
                vec![
                    0x04,
                    0x01,
                    0x01,
                    0x01,
                    0x00,
                    0x18,
                    0x05,
                    0x91,
                    ADDITIONAL_FRAME,
                ]
            }
            [DESFIRE_CLASS, ADDITIONAL_FRAME, 0, 0, 0] if part == 1 => {
                self.version_part = 2;
                vec![
                    0x04,
                    0x01,
                    0x01,
                    0x01,
                    0x04,
                    0x18,
                    0x05,
                    0x91,
                    ADDITIONAL_FRAME,
                ]
            }
            [DESFIRE_CLASS, ADDITIONAL_FRAME, 0, 0, 0] if part == 2 => {
                // UID, batch number, week and year of production.
                let mut answer = uid.as_bytes().to_vec();
                answer.extend([0xBA, 0x54, 0x11, 0x22, 0x33, 0x30, 0x24, 0x91, OK]);
                answer
            }
            [DESFIRE_CLASS, GET_APPLICATION_IDS, 0, 0, 0] => vec![0x91, OK],
            [DESFIRE_CLASS, SELECT_APPLICATION, 0, 0, 3, a, b, c, 0] => {
                let known = [a, b, c] == [0; 3];
                vec![0x91, if known { OK } else { APPLICATION_NOT_FOUND }]
            }
            [DESFIRE_CLASS, SELECT_APPLICATION, ..] => vec![0x91, WRONG_LENGTH],
            [DESFIRE_CLASS, ..] => vec![0x91, ILLEGAL_COMMAND],
            _ => CLASS_NOT_SUPPORTED.to_vec(),
        }
    }
}

fn plain(apdu: &[u8]) -> Vec<u8> {
    match apdu {
        [0x00, ISO_SELECT, ..] => FILE_NOT_FOUND.to_vec(),
        [0x00, ..] => INSTRUCTION_NOT_SUPPORTED.to_vec(),
        _ => CLASS_NOT_SUPPORTED.to_vec(),
    }
}
