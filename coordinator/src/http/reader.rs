//! Reads typed parameters and collects everything that is wrong with them, so that one answer names it all.

use jiff::{Timestamp, civil};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{ApiError, ValidationErrors, page::decode_cursor, params::kind_of};
use crate::store::PageRequest;

/// The longest text taken, in characters.
const MAX_TEXT: usize = 1000;

/// The longest list taken, unless the parameter says otherwise.
const MAX_LIST: usize = 500;

/// The largest page given, whatever was asked for.
const MAX_LIMIT: u32 = 1000;

/// The parameter is wrong. What is wrong stands in the reader, whose [`Reader::finish`] answers it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Invalid;

impl From<Invalid> for ApiError {
    fn from(_: Invalid) -> Self {
        Self::InvalidInput("a parameter is missing or wrong".to_owned())
    }
}

/// Reads the parameters of one request, field by field. A dot in a name leads into an object.
///
/// Each function returns its value or [`Invalid`]; after the last one call [`Reader::finish`], which answers with
/// every error at once, and only then use the values. Null counts as absent.
#[derive(Debug)]
pub struct Reader<'a> {
    body: &'a Map<String, Value>,
    query: &'a Map<String, Value>,
    errors: ValidationErrors,
}

impl<'a> Reader<'a> {
    pub(super) fn new(body: &'a Map<String, Value>, query: &'a Map<String, Value>) -> Self {
        Self {
            body,
            query,
            errors: ValidationErrors::default(),
        }
    }

    /// A required id.
    pub fn id(&mut self, name: &str) -> Result<Uuid, Invalid> {
        let id = self.optional_id(name)?;
        self.required(name, id)
    }

    /// An id that may be absent.
    pub fn optional_id(&mut self, name: &str) -> Result<Option<Uuid>, Invalid> {
        match self.optional_text(name)? {
            None => Ok(None),
            Some(text) => match parse_id(&text) {
                Some(id) => Ok(Some(id)),
                None => Err(self.wrong(name, "Invalid uuid")),
            },
        }
    }

    /// A list of ids that may be absent.
    pub fn optional_ids(&mut self, name: &str) -> Result<Option<Vec<Uuid>>, Invalid> {
        self.optional_ids_up_to(MAX_LIST, name)
    }

    /// A list of `most` ids at most that may be absent.
    pub fn optional_ids_up_to(
        &mut self,
        most: usize,
        name: &str,
    ) -> Result<Option<Vec<Uuid>>, Invalid> {
        let Some(texts) = self.optional_texts_up_to(most, name)? else {
            return Ok(None);
        };
        let mut ids = Vec::with_capacity(texts.len());
        for (index, text) in texts.iter().enumerate() {
            match parse_id(text) {
                Some(id) => ids.push(id),
                None => self.errors.push(&format!("{name}.{index}"), "Invalid uuid"),
            }
        }
        if ids.len() == texts.len() {
            Ok(Some(ids))
        } else {
            Err(Invalid)
        }
    }

    /// A required text of at least one character.
    pub fn text(&mut self, name: &str) -> Result<String, Invalid> {
        let text = self.optional_text(name)?;
        let text = self.required(name, text)?;
        if text.trim().is_empty() {
            return Err(self.wrong(name, "String must contain at least 1 character(s)"));
        }
        Ok(text)
    }

    /// A text that may be absent. In a query the empty text counts as absent.
    pub fn optional_text(&mut self, name: &str) -> Result<Option<String>, Invalid> {
        match self.value(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.chars().count() > MAX_TEXT => Err(self.wrong(
                name,
                format!("String must contain at most {MAX_TEXT} character(s)"),
            )),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(other) => Err(self.unexpected(name, "string", other)),
        }
    }

    /// A list of texts that may be absent; one text alone counts as a list of it.
    pub fn optional_texts(&mut self, name: &str) -> Result<Option<Vec<String>>, Invalid> {
        self.optional_texts_up_to(MAX_LIST, name)
    }

    fn optional_texts_up_to(
        &mut self,
        most: usize,
        name: &str,
    ) -> Result<Option<Vec<String>>, Invalid> {
        let values = match self.raw(name) {
            None | Some((Value::Null, _)) => return Ok(None),
            Some((Value::Array(values), _)) => values.as_slice(),
            Some((Value::String(text), true)) if text.is_empty() => &[],
            Some((text @ Value::String(_), true)) => std::slice::from_ref(text),
            Some((other, _)) => return Err(self.unexpected(name, "array", other)),
        };
        if values.len() > most {
            return Err(self.wrong(
                name,
                format!("Array must contain at most {most} element(s)"),
            ));
        }
        let mut texts = Vec::with_capacity(values.len());
        for (index, value) in values.iter().enumerate() {
            match value {
                Value::String(text) => texts.push(text.clone()),
                Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::Array(_)
                | Value::Object(_) => {
                    self.unexpected(&format!("{name}.{index}"), "string", value);
                }
            }
        }
        if texts.len() == values.len() {
            Ok(Some(texts))
        } else {
            Err(Invalid)
        }
    }

    /// A time that may be absent: RFC 3339 with its offset, or a date, which begins at midnight UTC. Cut to
    /// milliseconds.
    pub fn optional_time(&mut self, name: &str) -> Result<Option<Timestamp>, Invalid> {
        match self.optional_text(name)? {
            None => Ok(None),
            Some(text) => match parse_time(&text) {
                Some(time) => Ok(Some(time)),
                None => Err(self.wrong(name, "Invalid datetime")),
            },
        }
    }

    /// A required text that must be one of `choices`.
    pub fn choice(
        &mut self,
        name: &str,
        choices: &[&'static str],
    ) -> Result<&'static str, Invalid> {
        let text = self.optional_text(name)?;
        let text = self.required(name, text)?;
        match choices.iter().find(|choice| **choice == text) {
            Some(choice) => Ok(choice),
            None => {
                let expected: Vec<_> = choices.iter().map(|c| format!("'{c}'")).collect();
                let expected = expected.join(" | ");
                Err(self.wrong(name, format!("Invalid enum value. Expected {expected}")))
            }
        }
    }

    /// A whole number that may be absent.
    pub fn optional_number(&mut self, name: &str) -> Result<Option<u32>, Invalid> {
        let number = match self.raw(name) {
            None | Some((Value::Null, _)) => return Ok(None),
            Some((Value::String(text), true)) if text.is_empty() => return Ok(None),
            Some((Value::String(text), true)) => text.parse::<f64>().ok(),
            Some((Value::Number(number), _)) => number.as_f64(),
            Some((other, _)) => return Err(self.unexpected(name, "number", other)),
        };
        match number.and_then(whole) {
            Some(number) => Ok(Some(number)),
            None => Err(self.wrong(name, "Expected a whole number of at least 0")),
        }
    }

    /// `limit` and `page_cursor`.
    pub fn page(&mut self, default_limit: u32) -> Result<PageRequest, Invalid> {
        let limit = self.limit(default_limit);
        let after = match self.optional_text("page_cursor")? {
            None => None,
            Some(cursor) => match decode_cursor(&cursor) {
                Some(after) => Some(after),
                None => {
                    return Err(self.wrong(
                        "page_cursor",
                        "Invalid cursor: give the next_page_cursor of the page before",
                    ));
                }
            },
        };
        Ok(PageRequest {
            after,
            limit: limit?,
        })
    }

    /// `limit`: how many rows to return at most.
    pub fn limit(&mut self, default: u32) -> Result<u32, Invalid> {
        match self.optional_number("limit")? {
            None => Ok(default),
            Some(0) => Err(self.wrong("limit", "Number must be greater than 0")),
            Some(limit) => Ok(limit.min(MAX_LIMIT)),
        }
    }

    /// Whether the request gives this field at all, and not as null.
    pub fn is_given(&self, name: &str) -> bool {
        !matches!(self.value(name), None | Some(Value::Null))
    }

    /// Refuses a field that the API has but this service cannot act on.
    pub fn refuse(&mut self, name: &str, message: &str) {
        if self.is_given(name) {
            self.errors.push(name, message);
        }
    }

    /// Notes an error that no single function could see.
    pub fn wrong(&mut self, name: &str, message: impl Into<String>) -> Invalid {
        self.errors.push(name, message);
        Invalid
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// [`ApiError::Validation`] with everything that was wrong.
    pub fn finish(self) -> Result<(), ApiError> {
        if self.errors.is_empty() {
            Ok(())
        } else {
            Err(ApiError::Validation(self.errors))
        }
    }

    fn required<T>(&mut self, name: &str, value: Option<T>) -> Result<T, Invalid> {
        value.ok_or_else(|| self.wrong(name, "Required"))
    }

    fn unexpected(&mut self, name: &str, expected: &str, got: &Value) -> Invalid {
        self.wrong(
            name,
            format!("Expected {expected}, received {}", kind_of(got)),
        )
    }

    /// The field's value; the empty text of a query, which stands for null, is none.
    fn value(&self, name: &str) -> Option<&'a Value> {
        match self.raw(name) {
            Some((Value::String(text), true)) if text.is_empty() => None,
            found => found.map(|(value, _)| value),
        }
    }

    /// The field's value, and whether it came in the query.
    fn raw(&self, name: &str) -> Option<(&'a Value, bool)> {
        let in_body = lookup(self.body, name).map(|value| (value, false));
        in_body.or_else(|| lookup(self.query, name).map(|value| (value, true)))
    }
}

fn lookup<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let mut segments = name.split('.');
    let mut value = fields.get(segments.next()?)?;
    for segment in segments {
        value = value.get(segment)?;
    }
    Some(value)
}

/// A UUID in its hyphenated form; the other forms that the parser knows are no ids of this API.
fn parse_id(text: &str) -> Option<Uuid> {
    const HYPHENATED: usize = 36;
    (text.len() == HYPHENATED)
        .then(|| Uuid::try_parse(text).ok())
        .flatten()
}

pub(super) fn parse_time(text: &str) -> Option<Timestamp> {
    let time = text.parse::<Timestamp>().ok().or_else(|| {
        let date = text.parse::<civil::Date>().ok()?;
        let midnight = date.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
        (text.len() == "2026-11-21".len()).then(|| midnight.timestamp())
    })?;
    Timestamp::from_millisecond(time.as_millisecond()).ok()
}

/// The number, if it is whole and fits.
fn whole(number: f64) -> Option<u32> {
    if number.fract() != 0.0 || !(0.0..=f64::from(u32::MAX)).contains(&number) {
        return None;
    }
    format!("{number:.0}").parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn all_errors_are_told_at_once() {
        let body = fields(json!({"a": 1, "ids": ["x", 2], "t": "tomorrow", "limit": 0}));
        let query = Map::new();
        let mut reader = Reader::new(&body, &query);
        assert!(reader.id("a").is_err());
        assert!(reader.id("b").is_err());
        assert!(reader.optional_ids("ids").is_err());
        assert!(reader.optional_time("t").is_err());
        assert!(reader.page(500).is_err());
        assert_eq!(
            reader.finish().unwrap_err().to_string(),
            "a: Expected string, received number; b: Required; ids.1: Expected string, received number; \
             t: Invalid datetime; limit: Number must be greater than 0"
        );
    }

    #[test]
    fn a_query_gives_numbers_and_single_lists_as_text() {
        let body = Map::new();
        let id = "0198a000-0000-7000-8000-000000000001";
        let query = fields(json!({"limit": "5", "ids": id, "none": "", "page_cursor": ""}));
        let mut reader = Reader::new(&body, &query);
        assert_eq!(
            reader.page(500),
            Ok(PageRequest {
                after: None,
                limit: 5
            })
        );
        assert_eq!(
            reader.optional_ids("ids"),
            Ok(Some(vec![Uuid::try_parse(id).unwrap()]))
        );
        assert_eq!(reader.optional_ids("none"), Ok(Some(vec![])));
        assert_eq!(reader.optional_text("none"), Ok(None));
        reader.finish().unwrap();
    }

    #[test]
    fn a_body_does_not() {
        let body = fields(json!({"limit": "5", "ids": "x"}));
        let query = Map::new();
        let mut reader = Reader::new(&body, &query);
        assert!(reader.page(500).is_err());
        assert!(reader.optional_ids("ids").is_err());
    }

    #[test]
    fn times_need_an_offset_or_are_dates() {
        assert_eq!(
            parse_time("2026-11-21T10:00:00.1239Z").unwrap().to_string(),
            "2026-11-21T10:00:00.123Z"
        );
        assert_eq!(
            parse_time("2026-11-21").unwrap().to_string(),
            "2026-11-21T00:00:00Z"
        );
        for text in [
            "",
            "2026-11-21T10:00:00",
            "10:00",
            "yesterday",
            "1700000000",
        ] {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }

    #[test]
    fn other_spellings_of_a_uuid_are_no_ids() {
        assert!(parse_id("0198a000-0000-7000-8000-000000000001").is_some());
        assert!(parse_id("0198a000000070008000000000000001").is_none());
        assert!(parse_id("{0198a000-0000-7000-8000-000000000001}").is_none());
        assert!(parse_id("../../etc/passwd").is_none());
    }

    #[test]
    fn only_whole_numbers_are_taken() {
        assert_eq!(whole(7.0), Some(7));
        for number in [7.5, -1.0, 5e9, f64::NAN, f64::INFINITY] {
            assert_eq!(whole(number), None, "{number}");
        }
    }
}
