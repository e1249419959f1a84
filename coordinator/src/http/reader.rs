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

    /// An e-mail address that may be absent: something on both sides of one `@`.
    pub fn optional_email(&mut self, name: &str) -> Result<Option<String>, Invalid> {
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
        match self.optional_text(name)? {
            Some(text) if text.trim().is_empty() => {
                Err(self.wrong(name, "String must contain at least 1 character(s)"))
            }
            text => Ok(text),
        }
    }

    /// Yes or no, if it is given.
    pub fn optional_flag(&mut self, name: &str) -> Result<Option<bool>, Invalid> {
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

    /// How many objects a required list has. Their fields are read as `name.0.field`.
    pub fn objects(&mut self, name: &str) -> Result<usize, Invalid> {
        let values = match self.raw(name) {
            None | Some((Value::Null, _)) => return Err(self.wrong(name, "Required")),
            Some((Value::Array(values), _)) => values,
            Some((other, _)) => return Err(self.unexpected(name, "array", other)),
        };
        if values.len() > MAX_LIST {
            let message = format!("Array must contain at most {MAX_LIST} element(s)");
            return Err(self.wrong(name, message));
        }
        let mut all_objects = true;
        for (index, value) in values
            .iter()
            .enumerate()
            .filter(|(_, value)| !value.is_object())
        {
            self.unexpected(&format!("{name}.{index}"), "object", value);
            all_objects = false;
        }
        all_objects.then_some(values.len()).ok_or(Invalid)
    }

    /// A list of `choices` that may be absent.
    pub fn optional_choices(
        &mut self,
        name: &str,
        choices: &[&'static str],
    ) -> Result<Option<Vec<&'static str>>, Invalid> {
        let Some(texts) = self.optional_texts(name)? else {
            return Ok(None);
        };
        let mut chosen = Vec::with_capacity(texts.len());
        for (index, text) in texts.iter().enumerate() {
            match choices.iter().find(|choice| *choice == text) {
                Some(choice) => chosen.push(*choice),
                None => {
                    self.wrong(&format!("{name}.{index}"), expected_of(choices));
                }
            }
        }
        if chosen.len() == texts.len() {
            Ok(Some(chosen))
        } else {
            Err(Invalid)
        }
    }

    /// A text that may be absent and must be one of `choices`.
    pub fn optional_choice(
        &mut self,
        name: &str,
        choices: &[&'static str],
    ) -> Result<Option<&'static str>, Invalid> {
        let Some(text) = self.optional_text(name)? else {
            return Ok(None);
        };
        match choices.iter().find(|choice| **choice == text) {
            Some(choice) => Ok(Some(choice)),
            None => Err(self.wrong(name, expected_of(choices))),
        }
    }

    /// Whether an object is given that may be absent. Its fields are read as `name.field`.
    pub fn optional_object(&mut self, name: &str) -> Result<bool, Invalid> {
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
        let text = self.optional_text(name)?;
        let text = self.required(name, text)?;
        match choices.iter().find(|choice| **choice == text) {
            Some(choice) => Ok(choice),
            None => Err(self.wrong(name, expected_of(choices))),
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

    /// Refuses every field of the body but these, as the API's document does for some paths.
    pub fn only(&mut self, known: &[&str]) {
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

    /// An object of texts and nulls that may be absent.
    pub fn optional_texts_by_name(
        &mut self,
        name: &str,
    ) -> Result<Option<Map<String, Value>>, Invalid> {
        let fields = match self.raw(name) {
            None | Some((Value::Null, _)) => return Ok(None),
            Some((Value::Object(fields), _)) => fields,
            Some((other, _)) => return Err(self.unexpected(name, "object", other)),
        };
        if fields.len() > MAX_LIST {
            let message = format!("Object must contain at most {MAX_LIST} field(s)");
            return Err(self.wrong(name, message));
        }
        for (field, value) in fields {
            let path = format!("{name}.{field}");
            match value {
                Value::Null => {}
                Value::String(text) if text.chars().count() <= MAX_TEXT => {}
                Value::String(_) => {
                    let message = format!("String must contain at most {MAX_TEXT} character(s)");
                    return Err(self.wrong(&path, message));
                }
                Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                    return Err(self.unexpected(&path, "string", value));
                }
            }
        }
        Ok(Some(fields.clone()))
    }

    /// Whether the request gives this field as null, which in a query is the empty text.
    pub fn is_null(&self, name: &str) -> bool {
        match self.raw(name) {
            Some((Value::Null, _)) => true,
            Some((Value::String(text), true)) => text.is_empty(),
            Some(_) | None => false,
        }
    }

    /// Refuses a list with anything in it; the empty list, which some clients always send, asks for nothing.
    pub fn refuse_list(&mut self, name: &str, message: &str) {
        if let Ok(Some(values)) = self.optional_texts(name)
            && !values.is_empty()
        {
            self.wrong(name, message);
        }
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
mod tests;
