//! The MSR605X's way over USB HID: the bytes of the serial protocol in reports of 64 bytes, both ways.
//!
//! A report is a header and up to 63 bytes of a message: bit 7 of the header marks the message's first report, bit 6 its last,
//! bits 5 to 0 say how many bytes of it are in the report. What stands behind them means nothing.

use zeroize::Zeroizing;

/// The length of a report, without a report id.
pub const REPORT_BYTES: usize = 64;

const FIRST: u8 = 0x80;
const LAST: u8 = 0x40;
const LENGTH: u8 = 0x3F;
/// How much of a message one report takes.
const PAYLOAD_BYTES: usize = REPORT_BYTES - 1;

/// The longest message that is believed: more than a raw block of three tracks of 255 bytes.
pub const LONGEST_MESSAGE: usize = 1024;

/// A report that cannot be right.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ReportError {
    /// It is not as long as the device's reports are.
    #[error("expected a report of {REPORT_BYTES} bytes, got {0}")]
    WrongLength(usize),
    /// Its header names a length that a report in its place cannot have.
    #[error(
        "a report's header says {0:#04x}: only a message's last report may be less than full, and none may be empty"
    )]
    LyingLength(u8),
    /// A message goes on that has not begun, or begins while another one is not over.
    #[error("a report with header {0:#04x} came out of its order")]
    OutOfOrder(u8),
    /// More reports than any message has.
    #[error("a message goes on beyond {LONGEST_MESSAGE} bytes")]
    Endless,
}

/// The reports that carry `message`; none for an empty one.
pub fn encode(message: &[u8]) -> Vec<[u8; REPORT_BYTES]> {
    let count = message.len().div_ceil(PAYLOAD_BYTES);
    let parts = message.chunks(PAYLOAD_BYTES).enumerate();
    parts
        .map(|(number, part)| {
            let mut report = [0; REPORT_BYTES];
            let first = if number == 0 { FIRST } else { 0 };
            let last = if number + 1 == count { LAST } else { 0 };
            // A part has at most 63 bytes.
            let length = u8::try_from(part.len()).unwrap_or(LENGTH);
            let bytes = std::iter::once(first | last | length).chain(part.iter().copied());
            for (to, from) in report.iter_mut().zip(bytes) {
                *to = from;
            }
            report
        })
        .collect()
}

/// Puts messages together from reports.
#[derive(Clone, Debug, Default)]
pub struct ReportDecoder {
    /// What has come of the message under way; none between messages.
    message: Option<Zeroizing<Vec<u8>>>,
}

impl ReportDecoder {
    /// A decoder that awaits a message's first report.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one report. A message comes back with its last one.
    ///
    /// # Errors
    /// [`ReportError`]; the message under way is given up.
    pub fn push(&mut self, report: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, ReportError> {
        let under_way = self.message.take();
        let Some((header, payload)) = report
            .split_first()
            .filter(|_| report.len() == REPORT_BYTES)
        else {
            return Err(ReportError::WrongLength(report.len()));
        };
        let (first, last) = (header & FIRST != 0, header & LAST != 0);
        let length = usize::from(header & LENGTH);
        let Some(part) = payload
            .get(..length)
            .filter(|_| length == PAYLOAD_BYTES || (last && length > 0))
        else {
            return Err(ReportError::LyingLength(*header));
        };
        if first == under_way.is_some() {
            return Err(ReportError::OutOfOrder(*header));
        }
        let mut message = under_way.unwrap_or_default();
        message.extend(part);
        if message.len() > LONGEST_MESSAGE {
            return Err(ReportError::Endless);
        }
        if last {
            return Ok(Some(message));
        }
        self.message = Some(message);
        Ok(None)
    }

    /// Whether a message has begun and is not over.
    pub fn is_partial(&self) -> bool {
        self.message.is_some()
    }

    /// Gives up the message under way.
    pub fn clear(&mut self) {
        self.message = None;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decoded(reports: &[[u8; REPORT_BYTES]]) -> Vec<Vec<u8>> {
        let mut decoder = ReportDecoder::new();
        let pushed = reports
            .iter()
            .filter_map(|report| decoder.push(report).unwrap());
        pushed.map(|message| message.to_vec()).collect()
    }

    fn report(header: u8) -> [u8; REPORT_BYTES] {
        let mut report = [0xEE; REPORT_BYTES];
        report[0] = header;
        report
    }

    #[test]
    fn junk_behind_the_payload_means_nothing() {
        let mut decoder = ReportDecoder::new();
        let mut answer = report(0xC2);
        answer[1..3].copy_from_slice(b"\x1By");
        let message = decoder.push(&answer).unwrap().unwrap();
        assert_eq!(message.as_slice(), b"\x1By");
    }

    #[test]
    fn wrong_lengths_lies_and_disorder_are_told_and_the_next_message_comes_whole() {
        let empty: &[u8] = &[];
        for (reports, error) in [
            (vec![empty.to_vec()], ReportError::WrongLength(0)),
            (vec![vec![0xC2, 0x1B, 0x79]], ReportError::WrongLength(3)),
            (vec![vec![0xC2; 65]], ReportError::WrongLength(65)),
            (vec![report(0xC0).to_vec()], ReportError::LyingLength(0xC0)),
            (vec![report(0x80).to_vec()], ReportError::LyingLength(0x80)),
            (vec![report(0xBE).to_vec()], ReportError::LyingLength(0xBE)),
            (vec![report(0x41).to_vec()], ReportError::OutOfOrder(0x41)),
            (vec![report(0x3F).to_vec()], ReportError::OutOfOrder(0x3F)),
            (
                vec![report(0xBF).to_vec(), report(0xC5).to_vec()],
                ReportError::OutOfOrder(0xC5),
            ),
            (
                vec![report(0xBF).to_vec(), report(0x3E).to_vec()],
                ReportError::LyingLength(0x3E),
            ),
        ] {
            let mut decoder = ReportDecoder::new();
            let (last, before) = reports.split_last().unwrap();
            for report in before {
                assert_eq!(decoder.push(report), Ok(None));
            }
            assert_eq!(decoder.push(last), Err(error));
            assert!(!decoder.is_partial());
            let whole = encode(b"\x1Be");
            assert_eq!(
                decoder.push(&whole[0]).unwrap().unwrap().as_slice(),
                b"\x1Be"
            );
        }
    }

    #[test]
    fn a_message_without_end_is_given_up() {
        let mut decoder = ReportDecoder::new();
        decoder.push(&report(0xBF)).unwrap();
        let errors = (0..1_000).filter_map(|_| decoder.push(&report(0x3F)).err());
        let errors: Vec<_> = errors.collect();
        assert_eq!(errors.first(), Some(&ReportError::Endless));
        assert!(
            errors[1..]
                .iter()
                .all(|error| *error == ReportError::OutOfOrder(0x3F))
        );
        assert_eq!(errors.len(), 1_000 - LONGEST_MESSAGE / 63 + 1);
    }

    proptest! {
        #[test]
        fn messages_come_back_as_they_were(messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..=LONGEST_MESSAGE), 1..4)) {
            let reports: Vec<_> = messages.iter().flat_map(|message| encode(message)).collect();
            prop_assert_eq!(decoded(&reports), messages);
        }

        #[test]
        fn any_reports_are_taken_without_harm(reports in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..70), 0..60)) {
            let mut decoder = ReportDecoder::new();
            for report in &reports {
                if let Ok(Some(message)) = decoder.push(report) {
                    prop_assert!((1..=LONGEST_MESSAGE).contains(&message.len()));
                }
            }
        }
    }
}
