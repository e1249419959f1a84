//! Finding cards: InListPassiveTarget, InAutoPoll, GetGeneralStatus (UM0701-02, 7.3.5, 7.3.13, 7.2.3).

use std::time::Duration;

use nom::{
    IResult, Parser,
    branch::alt,
    bytes::complete::take,
    combinator::{all_consuming, map, map_opt, verify},
    error::{Error, ErrorKind},
    multi::{count, length_data},
    number::complete::u8 as byte,
};

use super::{CardData, Status, status};
use crate::card::Uid;

/// BrTy of ISO/IEC 14443 type A at 106 kbit/s.
const TYPE_A: u8 = 0x00;
/// The byte that stands before a part of a UID that goes on (ISO/IEC 14443-3, 6.5.4).
const CASCADE_TAG: u8 = 0x88;
/// The bytes of a UID that one cascade level holds beside its tag.
const CASCADE_PART: usize = 3;
/// SEL_RES bit 5: the card speaks ISO/IEC 14443-4.
const SAK_ISO_DEP: u8 = 0x20;
/// The chip keeps at most two targets.
const MAX_TARGETS: u8 = 2;

/// What one try to activate a card may take.
const ACTIVATION_TRY: Duration = Duration::from_millis(30);
const ACTIVATION_MARGIN: Duration = Duration::from_millis(200);
/// MxRtyPassiveActivation 255: the chip tries for ever.
const ENDLESS: u8 = 0xFF;
/// When the link gives up a search that the chip would not end.
const ENDLESS_TIMEOUT: Duration = Duration::from_secs(10);
/// The unit of the period of InAutoPoll.
const POLL_PERIOD_MS: u64 = 150;

/// How many cards to look for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TargetCount {
    /// One.
    One,
    /// Two, the most that the chip can.
    Two,
}

/// InListPassiveTarget for ISO/IEC 14443 type A at 106 kbit/s.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ListPassiveTarget {
    /// At most how many cards.
    pub max_targets: TargetCount,
    /// Only the card with this UID.
    pub uid: Option<Uid>,
}

impl ListPassiveTarget {
    pub(super) fn encode(&self, payload: &mut Vec<u8>) {
        payload.push(match self.max_targets {
            TargetCount::One => 1,
            TargetCount::Two => 2,
        });
        payload.push(TYPE_A);
        if let Some(uid) = &self.uid {
            cascade(uid.as_bytes(), payload);
        }
    }
}

/// A UID as the anticollision takes it: a cascade tag before every three bytes but the last four.
fn cascade(uid: &[u8], payload: &mut Vec<u8>) {
    let mut left = uid;
    while left.len() > CASCADE_PART + 1 {
        let (part, rest) = left.split_at(CASCADE_PART);
        payload.push(CASCADE_TAG);
        payload.extend(part);
        left = rest;
    }
    payload.extend(left);
}

/// A type A card in the field.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ListedTarget {
    /// Its number in later commands, 1 or 2.
    pub number: u8,
    /// SENS_RES (ATQA), high byte first: 00 04 for a MIFARE Classic 1K.
    pub sens_res: [u8; 2],
    /// SEL_RES (SAK).
    pub sel_res: u8,
    /// Its UID.
    pub uid: Uid,
    /// ATS of an ISO/IEC 14443-4 card, with its length byte; only if the chip sends RATS by itself.
    pub ats: Option<Vec<u8>>,
}

pub(super) fn listed(data: &[u8]) -> IResult<&[u8], Vec<ListedTarget>> {
    // Without automatic RATS an ISO/IEC 14443-4 card has no ATS, and the next record follows at once.
    alt((
        |data| listed_targets(data, true),
        |data| listed_targets(data, false),
    ))
    .parse(data)
}

fn listed_targets(data: &[u8], with_ats: bool) -> IResult<&[u8], Vec<ListedTarget>> {
    let (mut data, found) = target_count(data)?;
    let mut targets = Vec::new();
    for number in 1..=found {
        let (rest, target) = verify(
            |data| listed_target(data, with_ats),
            |target: &ListedTarget| target.number == number,
        )
        .parse(data)?;
        targets.push(target);
        data = rest;
    }
    if data.is_empty() {
        Ok((data, targets))
    } else {
        Err(nom::Err::Error(Error::new(data, ErrorKind::Eof)))
    }
}

fn target_count(data: &[u8]) -> IResult<&[u8], u8> {
    verify(byte, |count| *count <= MAX_TARGETS).parse(data)
}

fn listed_target(data: &[u8], with_ats: bool) -> IResult<&[u8], ListedTarget> {
    let (data, (number, sens_high, sens_low, sel_res)) = (byte, byte, byte, byte).parse(data)?;
    let (data, uid) = map_opt(length_data(byte), |uid: &[u8]| Uid::new(uid).ok()).parse(data)?;
    let has_ats = with_ats && sel_res & SAK_ISO_DEP != 0;
    let (data, ats) = match data.first() {
        Some(length) if has_ats => {
            let (data, ats) = verify(take(*length), |ats: &[u8]| !ats.is_empty()).parse(data)?;
            (data, Some(ats.to_vec()))
        }
        Some(_) | None => (data, None),
    };
    let target = ListedTarget {
        number,
        sens_res: [sens_high, sens_low],
        sel_res,
        uid,
        ats,
    };
    Ok((data, target))
}

pub(super) fn list_timeout(activation_retries: u8) -> Duration {
    if activation_retries == ENDLESS {
        return ENDLESS_TIMEOUT;
    }
    // The chip tries once and then the given number of times again.
    ACTIVATION_TRY * (u32::from(activation_retries) + 1) + ACTIVATION_MARGIN
}

/// InAutoPoll: looks for several kinds of targets in turn.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AutoPoll {
    /// How often, 1 to 254; 255 for ever.
    pub rounds: u8,
    /// How long one kind is polled for, in steps of 150 ms, 1 to 15.
    pub period: u8,
    /// The kinds: 10 for MIFARE, 20 for ISO/IEC 14443-4 type A, and so on; at most 15.
    pub kinds: Vec<u8>,
}

impl AutoPoll {
    pub(super) fn encode(&self, payload: &mut Vec<u8>) {
        payload.extend([self.rounds, self.period]);
        payload.extend(&self.kinds);
    }

    pub(super) fn timeout(&self) -> Duration {
        if self.rounds == ENDLESS {
            return ENDLESS_TIMEOUT;
        }
        let kinds = self.kinds.len().min(usize::from(u8::MAX)) as u64;
        let steps = u64::from(self.rounds) * u64::from(self.period) * kinds;
        Duration::from_millis(POLL_PERIOD_MS * steps) + ACTIVATION_MARGIN
    }
}

/// A target that InAutoPoll found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PolledTarget {
    /// Its kind, as in the request.
    pub kind: u8,
    /// Its data, laid out as its kind has it.
    pub data: CardData,
}

pub(super) fn polled(data: &[u8]) -> IResult<&[u8], Vec<PolledTarget>> {
    let (data, found) = target_count(data)?;
    let target = map((byte, length_data(byte)), |(kind, data)| PolledTarget {
        kind,
        data: CardData::new(data),
    });
    all_consuming(count(target, usize::from(found))).parse(data)
}

/// The answer to GetGeneralStatus.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GeneralStatus {
    /// The last error.
    pub error: Status,
    /// Whether a foreign RF field is there.
    pub foreign_field: bool,
    /// The targets that the chip holds.
    pub targets: Vec<ActivatedTarget>,
    /// The state of the security companion.
    pub sam_status: u8,
}

/// A target that the chip holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ActivatedTarget {
    /// Its number.
    pub number: u8,
    /// Reception: 0 for 106 kbit/s, 1 for 212, 2 for 424.
    pub receive_rate: u8,
    /// Transmission, likewise.
    pub transmit_rate: u8,
    /// Modulation: 00 for MIFARE, ISO/IEC 14443-3 A and B, 10 for FeliCa, 01 for active mode, 02 for Jewel.
    pub modulation: u8,
}

impl GeneralStatus {
    pub(super) fn parse(data: &[u8]) -> IResult<&[u8], Self> {
        let (data, (error, field, found)) = (status, byte, target_count).parse(data)?;
        let target = map(
            (byte, byte, byte, byte),
            |(number, receive_rate, transmit_rate, modulation)| ActivatedTarget {
                number,
                receive_rate,
                transmit_rate,
                modulation,
            },
        );
        let (data, (targets, sam_status)) =
            all_consuming((count(target, usize::from(found)), byte)).parse(data)?;
        let status = Self {
            error,
            foreign_field: field != 0,
            targets,
            sam_status,
        };
        Ok((data, status))
    }
}
