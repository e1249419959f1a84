//! Lists, and objects of texts.

use jiff::Timestamp;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{Invalid, MAX_LIST, MAX_TEXT, Reader, expected_of, parse_id, parse_time};
use crate::http::asked;

impl Reader<'_> {
    /// A required list of ids.
    pub fn ids(&mut self, name: &str) -> Result<Vec<Uuid>, Invalid> {
        let ids = self.optional_ids(name)?;
        self.required(name, ids)
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
        if self.notes(name, || asked::list(asked::id(), most)) {
            return Ok(None);
        }
        let Some(texts) = self.texts(name, most)? else {
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

    /// A list of texts that may be absent; one text alone counts as a list of it in a query.
    pub fn optional_texts(&mut self, name: &str) -> Result<Option<Vec<String>>, Invalid> {
        if self.notes(name, || asked::list(asked::text(0, MAX_TEXT), MAX_LIST)) {
            return Ok(None);
        }
        self.texts(name, MAX_LIST)
    }

    /// A list of names that may be absent, each of 1 to `longest` characters.
    pub fn optional_names(
        &mut self,
        longest: usize,
        name: &str,
    ) -> Result<Option<Vec<String>>, Invalid> {
        if self.notes(name, || asked::list(asked::text(1, longest), MAX_LIST)) {
            return Ok(None);
        }
        let Some(names) = self.texts(name, MAX_LIST)? else {
            return Ok(None);
        };
        let fits = |text: &String| !text.trim().is_empty() && text.chars().count() <= longest;
        match names.iter().position(|text| !fits(text)) {
            None => Ok(Some(names)),
            Some(index) => Err(self.wrong(
                &format!("{name}.{index}"),
                format!("String must contain 1 to {longest} character(s)"),
            )),
        }
    }

    /// Two times, the second after the first, if they are given.
    pub fn optional_interval(
        &mut self,
        name: &str,
    ) -> Result<Option<(Timestamp, Timestamp)>, Invalid> {
        if self.notes(name, asked::interval) {
            return Ok(None);
        }
        let Some(texts) = self.texts(name, MAX_LIST)? else {
            return Ok(None);
        };
        let [after, before] = texts.as_slice() else {
            return Err(self.wrong(name, "Array must contain exactly 2 element(s)"));
        };
        match (parse_time(after), parse_time(before)) {
            (Some(after), Some(before)) if after < before => Ok(Some((after, before))),
            (Some(_), Some(_)) => Err(self.wrong(name, "the second time must be after the first")),
            _ => Err(self.wrong(name, "Invalid datetime")),
        }
    }

    /// How many objects a required list has, at least one. Their fields are read as `name.0.field`.
    pub fn objects(&mut self, name: &str) -> Result<usize, Invalid> {
        if let Some(notes) = &self.notes {
            notes.objects(name, MAX_LIST);
            notes.required(name);
            return Ok(1);
        }
        let values = match self.raw(name) {
            None | Some((Value::Null, _)) => return Err(self.wrong(name, "Required")),
            Some((Value::Array(values), _)) => values,
            Some((other, _)) => return Err(self.unexpected(name, "array", other)),
        };
        if values.len() > MAX_LIST {
            let message = format!("Array must contain at most {MAX_LIST} element(s)");
            return Err(self.wrong(name, message));
        }
        if values.is_empty() {
            return Err(self.wrong(name, "Array must contain at least 1 element(s)"));
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
        if self.notes(name, || asked::list(asked::choice(choices), MAX_LIST)) {
            return Ok(None);
        }
        let Some(texts) = self.texts(name, MAX_LIST)? else {
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

    /// An object of texts and nulls that may be absent.
    pub fn optional_texts_by_name(
        &mut self,
        name: &str,
    ) -> Result<Option<Map<String, Value>>, Invalid> {
        if self.notes(name, || asked::texts_by_name(MAX_LIST, MAX_TEXT)) {
            return Ok(None);
        }
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

    /// Refuses a list with anything in it; the empty list, which some clients always send, asks for nothing.
    pub fn refuse_list(&mut self, name: &str, message: &str) {
        if self.notes(name, || asked::empty_list(message)) {
            return;
        }
        if let Ok(Some(values)) = self.texts(name, MAX_LIST)
            && !values.is_empty()
        {
            self.wrong(name, message);
        }
    }

    fn texts(&mut self, name: &str, most: usize) -> Result<Option<Vec<String>>, Invalid> {
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
            let path = format!("{name}.{index}");
            match value {
                Value::String(text) if text.chars().count() > MAX_TEXT => {
                    let message = format!("String must contain at most {MAX_TEXT} character(s)");
                    self.wrong(&path, message);
                }
                Value::String(text) => texts.push(text.clone()),
                Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::Array(_)
                | Value::Object(_) => {
                    self.unexpected(&path, "string", value);
                }
            }
        }
        if texts.len() == values.len() {
            Ok(Some(texts))
        } else {
            Err(Invalid)
        }
    }
}
