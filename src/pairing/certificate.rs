//! The few facts of a certificate (RFC 5280) that rustls does not tell: its issuer's name, its key, and from when to when it
//! holds.

use jiff::{Timestamp, civil, tz::TimeZone};

/// Tags of DER (ITU-T X.690, section 8).
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const VERSION: u8 = 0xa0;

/// The object identifiers 2.5.4.3 and 2.5.4.10 (RFC 5280, appendix A.1).
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const ORGANISATION: &[u8] = &[0x55, 0x04, 0x0a];

/// The longest part of a name that people are shown, in characters.
const LONGEST_PART: usize = 64;

/// Facts of a certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Certificate<'a> {
    /// The issuer's name, encoded.
    pub(crate) issuer: &'a [u8],
    /// The name of whom it is about, encoded.
    pub(crate) subject: &'a [u8],
    /// The whole `SubjectPublicKeyInfo`.
    pub(crate) key: &'a [u8],
    /// From when it holds.
    pub(crate) not_before: Timestamp,
    /// Until when it holds.
    pub(crate) not_after: Timestamp,
}

impl<'a> Certificate<'a> {
    /// Reads the fixed part of a certificate; none where it is none.
    pub(crate) fn parse(der: &'a [u8]) -> Option<Self> {
        let outer = Reader(der).expect(SEQUENCE)?;
        let mut fields = Reader(Reader(outer.contents).expect(SEQUENCE)?.contents);
        if fields.0.first() == Some(&VERSION) {
            fields.next()?;
        }
        let (_serial, _algorithm) = (fields.next()?, fields.expect(SEQUENCE)?);
        let issuer = fields.expect(SEQUENCE)?;
        let mut validity = Reader(fields.expect(SEQUENCE)?.contents);
        let (not_before, not_after) = (time(validity.next()?)?, time(validity.next()?)?);
        let subject = fields.expect(SEQUENCE)?;
        let key = fields.expect(SEQUENCE)?;
        Some(Self {
            issuer: issuer.whole,
            subject: subject.whole,
            key: key.whole,
            not_before,
            not_after,
        })
    }

    /// The issuer's common name and organisation, as far as it has them, for people.
    pub(crate) fn issuer_name(&self) -> String {
        let common_name = part(self.issuer, COMMON_NAME);
        let organisation = part(self.issuer, ORGANISATION);
        match (common_name, organisation) {
            (Some(name), Some(organisation)) => format!("\"{name}\" of \"{organisation}\""),
            (Some(name), None) | (None, Some(name)) => format!("\"{name}\""),
            (None, None) => "nobody by name".to_owned(),
        }
    }
}

/// One element of DER.
struct Element<'a> {
    tag: u8,
    contents: &'a [u8],
    whole: &'a [u8],
}

/// Reads one element after the other.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn next(&mut self) -> Option<Element<'a>> {
        let (tag, rest) = self.0.split_first()?;
        let (first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(*first), rest),
            // Lengths of one to three bytes are enough for any certificate.
            0x81..=0x83 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                let length = bytes
                    .iter()
                    .fold(0, |length, byte| length << 8 | usize::from(*byte));
                (length, rest)
            }
            _ => return None,
        };
        let (contents, behind) = rest.split_at_checked(length)?;
        let whole = self.0.get(..self.0.len() - behind.len())?;
        self.0 = behind;
        Some(Element {
            tag: *tag,
            contents,
            whole,
        })
    }

    fn expect(&mut self, tag: u8) -> Option<Element<'a>> {
        self.next().filter(|element| element.tag == tag)
    }
}

/// A part of a name, as people may see it.
fn part(name: &[u8], wanted: &[u8]) -> Option<String> {
    let mut sets = Reader(Reader(name).expect(SEQUENCE)?.contents);
    while let Some(set) = sets.expect(SET) {
        let mut attributes = Reader(set.contents);
        while let Some(attribute) = attributes.expect(SEQUENCE) {
            let mut fields = Reader(attribute.contents);
            let kind = fields.expect(OBJECT_IDENTIFIER)?;
            let value = fields.next()?;
            if kind.contents == wanted {
                let text = String::from_utf8_lossy(value.contents);
                let shown = text.chars().filter(|character| !character.is_control());
                return Some(shown.take(LONGEST_PART).collect());
            }
        }
    }
    None
}

/// A time (RFC 5280, section 4.1.2.5): with two digits of the year from 1950 on, or with four.
fn time(element: Element<'_>) -> Option<Timestamp> {
    let text = str::from_utf8(element.contents).ok()?.strip_suffix('Z')?;
    let text = match element.tag {
        UTC_TIME if text.starts_with(['5', '6', '7', '8', '9']) => format!("19{text}"),
        UTC_TIME => format!("20{text}"),
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    if text.len() != 14 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<i8>().ok();
    let year = text.get(..4)?.parse::<i16>().ok()?;
    let (month, day) = (number(4..6)?, number(6..8)?);
    let (hour, minute, second) = (number(8..10)?, number(10..12)?, number(12..14)?);
    let date = civil::DateTime::new(year, month, day, hour, minute, second, 0).ok()?;
    Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rustls::pki_types::{CertificateDer, pem::PemObject as _};

    use super::*;

    fn coordinator() -> CertificateDer<'static> {
        let pem = include_bytes!("../session/testdata/coordinator.pem");
        CertificateDer::from_pem_slice(pem).unwrap()
    }

    #[test]
    fn a_certificates_facts_are_read() {
        let der = coordinator();
        let facts = Certificate::parse(&der).unwrap();
        let parsed = rustls::server::ParsedCertificate::try_from(&der).unwrap();
        assert_eq!(facts.key, &*parsed.subject_public_key_info());
        assert!(facts.not_before < facts.not_after);
        assert!(
            facts.issuer_name().starts_with('"'),
            "{}",
            facts.issuer_name()
        );
        assert_ne!(facts.issuer, facts.subject);
    }

    #[test]
    fn both_forms_of_time_are_read() {
        for (tag, text, expected) in [
            (UTC_TIME, "491231235959Z", Some("2049-12-31T23:59:59Z")),
            (UTC_TIME, "500101000000Z", Some("1950-01-01T00:00:00Z")),
            (
                GENERALIZED_TIME,
                "20500101000000Z",
                Some("2050-01-01T00:00:00Z"),
            ),
            (GENERALIZED_TIME, "20501301000000Z", None),
            (UTC_TIME, "4912312359Z", None),
            (UTC_TIME, "+91231235959Z", None),
            (SEQUENCE, "491231235959Z", None),
        ] {
            let element = Element {
                tag,
                contents: text.as_bytes(),
                whole: &[],
            };
            let expected = expected.map(|time| time.parse().unwrap());
            assert_eq!(time(element), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn noise_is_no_certificate_and_harms_nothing(noise: Vec<u8>) {
            let _ = Certificate::parse(&noise);
        }

        #[test]
        fn a_spoilt_certificate_harms_nothing(place in 0usize..1024, byte: u8, cut in 0usize..1024) {
            let mut der = coordinator().to_vec();
            let length = der.len();
            der[place % length] = byte;
            der.truncate(length - cut % length);
            if let Some(facts) = Certificate::parse(&der) {
                let _ = facts.issuer_name();
            }
        }
    }
}
