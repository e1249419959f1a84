//! The HTTP header `Retry-After` (RFC 9110, section 10.2.3): seconds, or a date.

use std::time::Duration;

use jiff::{Timestamp, fmt::rfc2822::DateTimeParser};

/// How long to wait. `date` is the answer's own `Date` header: a date is measured against it where it is there, since
/// the clocks of both ends may differ; otherwise against `utc`.
pub(super) fn parse(retry_after: &str, date: Option<&str>, utc: Timestamp) -> Option<Duration> {
    let text = retry_after.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let until = timestamp(text)?;
    let now = date.and_then(timestamp).unwrap_or(utc);
    Some(Duration::try_from(until.duration_since(now)).unwrap_or(Duration::ZERO))
}

/// An HTTP date in its one current form (RFC 9110, section 5.6.7), which is RFC 2822's with the zone `GMT`.
pub(super) fn timestamp(text: &str) -> Option<Timestamp> {
    DateTimeParser::new().parse_timestamp(text.trim()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const UTC: &str = "1994-11-06T08:49:00Z";

    fn seconds(retry_after: &str, date: Option<&str>) -> Option<u64> {
        parse(retry_after, date, UTC.parse().unwrap()).map(|wait| wait.as_secs())
    }

    #[test]
    fn both_forms_are_read() {
        assert_eq!(seconds("120", None), Some(120));
        assert_eq!(seconds(" 0 ", None), Some(0));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:37 GMT", None), Some(37));
    }

    #[test]
    fn the_answers_own_date_counts_before_our_clock() {
        let date = Some("Sun, 06 Nov 1994 08:49:30 GMT");
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:37 GMT", date), Some(7));
    }

    #[test]
    fn a_date_gone_by_is_now() {
        assert_eq!(seconds("Sun, 06 Nov 1994 08:48:00 GMT", None), Some(0));
    }

    #[test]
    fn anything_else_is_nothing() {
        for text in ["", "soon", "-5", "1.5", "Sun, 99 Nov 1994 08:49:37 GMT"] {
            assert_eq!(seconds(text, None), None, "{text}");
        }
    }
}
