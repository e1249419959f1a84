//! Reads typed parameters and collects everything that is wrong with them, so that one answer names it all.

mod lists;
mod needs;

use jiff::{Timestamp, civil};
use serde_json::{Map, Value};
use utoipa::openapi::Schema;
use uuid::Uuid;

use super::{
    ApiError, ValidationErrors,
    asked::{self, Notes},
    page::decode_cursor,
    params::kind_of,
};
use crate::store::PageRequest;

pub(super) use needs::{filled, given};

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
///
/// What is read is also what the API document says: see `asked`.
#[derive(Debug)]
pub struct Reader<'a> {
    body: &'a Map<String, Value>,
    query: &'a Map<String, Value>,
    errors: ValidationErrors,
    notes: Option<Notes>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(body: &'a Map<String, Value>, query: &'a Map<String, Value>) -> Self {
        Self {
            body,
            query,
            errors: ValidationErrors::default(),
            notes: None,
        }
    }

    /// The same reader, which notes what is read if there are notes.
    pub(super) fn noting(self, notes: Option<Notes>) -> Self {
        Self { notes, ..self }
    }

    /// A required id.
    pub fn id(&mut self, name: &str) -> Result<Uuid, Invalid> {
        let id = self.optional_id(name)?;
        self.required(name, id)
    }

    /// An id that may be absent.
    pub fn optional_id(&mut self, name: &str) -> Result<Option<Uuid>, Invalid> {
        if self.notes(name, asked::id) {
            return Ok(None);
        }
        match self.optional_text(name)? {
            None => Ok(None),
            Some(text) => match parse_id(&text) {
                Some(id) => Ok(Some(id)),
                None => Err(self.wrong(name, "Invalid uuid")),
            },
        }
    }

    /// A required text of at least one character.
    pub fn text(&mut self, name: &str) -> Result<String, Invalid> {
        let text = self.optional_filled_text(name)?;
        self.required(name, text)
    }

    /// A required address of a web service, which whoever asks for it must check.
    pub fn url(&mut self, name: &str) -> Result<String, Invalid> {
        if self.notes(name, || asked::url(MAX_TEXT)) {
            return self.required(name, None);
        }
        self.text(name)
    }

    /// A text that may be absent. In a query the empty text counts as absent.
    pub fn optional_text(&mut self, name: &str) -> Result<Option<String>, Invalid> {
        if self.notes(name, || asked::text(0, MAX_TEXT)) {
            return Ok(None);
        }
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

    /// A time that may be absent: RFC 3339 with its offset, or a date, which begins at midnight UTC. Cut to
    /// milliseconds.
    pub fn optional_time(&mut self, name: &str) -> Result<Option<Timestamp>, Invalid> {
        if self.notes(name, asked::time) {
            return Ok(None);
        }
        match self.optional_text(name)? {
            None => Ok(None),
            Some(text) => match parse_time(&text) {
                Some(time) => Ok(Some(time)),
                None => Err(self.wrong(name, "Invalid datetime")),
            },
        }
    }

    /// An e-mail address that may be absent: something on both sides of one `@`.
    pub fn optional_email(&mut self, name: &str) -> Result<Option<String>, Invalid> {
        if self.notes(name, || asked::email(MAX_TEXT)) {
            return Ok(None);
        }
        let Some(address) = self.optional_text(name)? else {
            return Ok(None);
        };
        let fits = address.split_once('@').is_some_and(|(local, domain)| {
            !local.is_empty() && !domain.is_empty() && !domain.contains('@')
        });
        if fits && !address.contains(char::is_whitespace) {
            Ok(Some(address))
        } else {
            Err(self.wrong(name, "Invalid email"))
        }
    }

    /// A text of at least one character that may be absent.
    pub fn optional_filled_text(&mut self, name: &str) -> Result<Option<String>, Invalid> {
        if self.notes(name, || asked::text(1, MAX_TEXT)) {
            return Ok(None);
        }
        match self.optional_text(name)? {
            Some(text) if text.trim().is_empty() => {
                Err(self.wrong(name, "String must contain at least 1 character(s)"))
            }
            text => Ok(text),
        }
    }

    /// Yes or no, if it is given.
    pub fn optional_flag(&mut self, name: &str) -> Result<Option<bool>, Invalid> {
        if self.notes(name, asked::flag) {
            return Ok(None);
        }
        match self.raw(name) {
            None | Some((Value::Null, _)) => Ok(None),
            Some((Value::Bool(flag), _)) => Ok(Some(*flag)),
            Some((Value::String(text), true)) if text.is_empty() => Ok(None),
            Some((Value::String(text), true)) if text == "true" || text == "false" => {
                Ok(Some(text == "true"))
            }
            Some((other, _)) => Err(self.unexpected(name, "boolean", other)),
        }
    }

    /// Whether an object is given that may be absent. Its fields are read as `name.field`.
    pub fn optional_object(&mut self, name: &str) -> Result<bool, Invalid> {
        if let Some(notes) = &self.notes {
            notes.object(name);
            return Ok(true);
        }
        match self.value(name) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Object(_)) => Ok(true),
            Some(other) => Err(self.unexpected(name, "object", other)),
        }
    }

    /// A required text that must be one of `choices`.
    pub fn choice(
        &mut self,
        name: &str,
        choices: &[&'static str],
    ) -> Result<&'static str, Invalid> {
        let chosen = self.optional_choice(name, choices)?;
        self.required(name, chosen)
    }

    /// A required text that must be one of the API's `known` choices, and of them the one that is offered here; `why`
    /// says what the others are not.
    pub fn offered_choice(
        &mut self,
        name: &str,
        known: &[&'static str],
        offered: &'static str,
        why: &str,
    ) -> Result<&'static str, Invalid> {
        if self.notes(name, || asked::choice(&[offered])) {
            return self.required(name, None);
        }
        match self.choice(name, known)? {
            choice if choice == offered => Ok(offered),
            other => Err(self.wrong(name, format!("{why}, got '{other}': give '{offered}'"))),
        }
    }

    /// A text that must be one of `choices` and may be absent.
    pub fn optional_choice(
        &mut self,
        name: &str,
        choices: &[&'static str],
    ) -> Result<Option<&'static str>, Invalid> {
        if self.notes(name, || asked::choice(choices)) {
            return Ok(None);
        }
        let Some(text) = self.optional_text(name)? else {
            return Ok(None);
        };
        match choices.iter().find(|choice| **choice == text) {
            Some(choice) => Ok(Some(choice)),
            None => Err(self.wrong(name, expected_of(choices))),
        }
    }

    /// A whole number that may be absent.
    pub fn optional_number(&mut self, name: &str) -> Result<Option<u32>, Invalid> {
        if self.notes(name, || asked::whole(0, None)) {
            return Ok(None);
        }
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
        if self.notes("limit", || asked::whole(1, Some(default))) {
            return Ok(default);
        }
        match self.optional_number("limit")? {
            None => Ok(default),
            Some(0) => Err(self.wrong("limit", "Number must be greater than 0")),
            Some(limit) => Ok(limit.min(MAX_LIMIT)),
        }
    }

    /// Refuses every field of the body but these, as the API's document does for some paths.
    pub fn only(&mut self, known: &[&str]) {
        if let Some(notes) = &self.notes {
            notes.only();
        }
        for name in self.body.keys() {
            if !known.contains(&name.as_str()) {
                self.errors.push(name, "Unrecognized key in object");
            }
        }
    }

    /// Whether the request gives this field at all, and not as null.
    pub fn is_given(&self, name: &str) -> bool {
        !matches!(self.value(name), None | Some(Value::Null))
    }

    /// Whether the request gives this field as null, which in a query is the empty text.
    pub fn is_null(&self, name: &str) -> bool {
        match self.raw(name) {
            Some((Value::Null, _)) => true,
            Some((Value::String(text), true)) => text.is_empty(),
            Some(_) | None => false,
        }
    }

    /// Refuses a field that the API has but this service cannot act on.
    pub fn refuse(&mut self, name: &str, message: &str) {
        if self.notes(name, || asked::nothing(message)) {
            return;
        }
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
        if let Some(notes) = self.notes {
            notes.finish();
            return Err(Invalid.into());
        }
        if self.errors.is_empty() {
            Ok(())
        } else {
            Err(ApiError::Validation(self.errors))
        }
    }

    /// Insists on a value that was read.
    pub fn required<T>(&mut self, name: &str, value: Option<T>) -> Result<T, Invalid> {
        if let Some(notes) = &self.notes {
            notes.required(name);
            return Err(Invalid);
        }
        value.ok_or_else(|| self.wrong(name, "Required"))
    }

    /// Notes the field, if this reader notes; it has no values to read then.
    fn notes(&self, name: &str, schema: impl FnOnce() -> Schema) -> bool {
        if let Some(notes) = &self.notes {
            notes.field(name, schema());
        }
        self.notes.is_some()
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

fn expected_of(choices: &[&str]) -> String {
    let expected: Vec<_> = choices.iter().map(|c| format!("'{c}'")).collect();
    format!("Invalid enum value. Expected {}", expected.join(" | "))
}

fn lookup<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let mut segments = name.split('.');
    let mut value = fields.get(segments.next()?)?;
    for segment in segments {
        value = match value {
            Value::Array(values) => values.get(segment.parse::<usize>().ok()?)?,
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Object(_) => value.get(segment)?,
        };
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

fn parse_time(text: &str) -> Option<Timestamp> {
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
mod tests;
