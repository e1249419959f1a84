//! One table of the merged configuration, read key by key with its place for messages.

use std::{collections::BTreeMap, path::Path};

use config::{Value, ValueKind};

use super::error::{ConfigError, Place};

/// The origin that the `config` crate gives to values of the environment.
const FROM_ENVIRONMENT: &str = "the environment";

/// The origin of values of `--set`.
pub(super) const FROM_COMMAND_LINE: &str = "the command line";

/// A table whose keys are all known.
#[derive(Debug)]
pub(super) struct Table<'a> {
    file: &'a Path,
    path: String,
    entries: BTreeMap<String, Value>,
}

impl<'a> Table<'a> {
    /// Takes a value as a table that may hold the keys of `known` and no others.
    pub(super) fn new(
        file: &'a Path,
        path: &str,
        value: Value,
        known: &[&str],
    ) -> Result<Self, ConfigError> {
        let place = place(file, path.to_owned(), &value);
        let came = type_name(&value.kind);
        let ValueKind::Table(entries) = value.kind else {
            return Err(ConfigError::WrongType {
                place,
                expected: format!("a table, written [{path}]"),
                came: came.to_owned(),
            });
        };
        let table = Self {
            file,
            path: path.to_owned(),
            entries: entries.into_iter().collect(),
        };
        table.refuse_unknown(known)?;
        Ok(table)
    }

    fn refuse_unknown(&self, known: &[&str]) -> Result<(), ConfigError> {
        for (key, value) in &self.entries {
            if !known.contains(&key.as_str()) {
                return Err(ConfigError::UnknownKey {
                    place: place(self.file, self.key_path(key), value),
                    nearest: nearest(key, known).map(str::to_owned),
                    known: known.join(", "),
                });
            }
        }
        Ok(())
    }

    /// Where a key of this table stands, or belongs.
    pub(super) fn place(&self, key: &str) -> Place {
        match self.entries.get(key) {
            Some(value) => place(self.file, self.key_path(key), value),
            None => Place::File {
                file: self.file.to_owned(),
                key: self.key_path(key),
            },
        }
    }

    /// The error for a key that has to be there.
    pub(super) fn missing(&self, key: &str, expected: &'static str) -> ConfigError {
        ConfigError::Missing {
            place: self.place(key),
            expected,
        }
    }

    /// The error for a value that cannot be.
    pub(super) fn bad(
        &self,
        key: &str,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> ConfigError {
        ConfigError::BadValue {
            place: self.place(key),
            problem: problem.into(),
            remedy: remedy.into(),
        }
    }

    /// A key's text; empty text counts as text.
    pub(super) fn text(&self, key: &str, expected: &str) -> Result<Option<String>, ConfigError> {
        match self.kind(key) {
            None => Ok(None),
            Some(ValueKind::String(text)) => Ok(Some(text.clone())),
            Some(other) => Err(self.wrong_type(key, expected, type_name(other))),
        }
    }

    /// A key's `true` or `false`; the environment and the command line give it as text.
    pub(super) fn boolean(&self, key: &str) -> Result<Option<bool>, ConfigError> {
        const EXPECTED: &str = "true or false";
        match self.kind(key) {
            None => Ok(None),
            Some(ValueKind::Boolean(value)) => Ok(Some(*value)),
            Some(ValueKind::String(text)) if self.is_textual(key) => match text.as_str() {
                "true" => Ok(Some(true)),
                "false" => Ok(Some(false)),
                other => Err(self.wrong_type(key, EXPECTED, &format!("`{other}`"))),
            },
            Some(other) => Err(self.wrong_type(key, EXPECTED, &shown(other))),
        }
    }

    /// A key's whole number within bounds; the environment and the command line give it as text.
    pub(super) fn integer(
        &self,
        key: &str,
        bounds: std::ops::RangeInclusive<u32>,
        unit: &str,
    ) -> Result<Option<u32>, ConfigError> {
        let (least, most) = (bounds.start(), bounds.end());
        let expected = format!("a whole number from {least} to {most}{unit}");
        let Some(kind) = self.kind(key) else {
            return Ok(None);
        };
        let number = if let ValueKind::I64(number) = kind {
            u32::try_from(*number).ok()
        } else if let (ValueKind::String(text), true) = (kind, self.is_textual(key)) {
            text.parse().ok()
        } else {
            None
        };
        match number.filter(|number| bounds.contains(number)) {
            Some(number) => Ok(Some(number)),
            None => Err(self.wrong_type(key, &expected, &shown(kind))),
        }
    }

    /// A key's own table.
    pub(super) fn table(&self, key: &str, known: &[&str]) -> Result<Option<Self>, ConfigError> {
        self.entries
            .get(key)
            .map(|value| Table::new(self.file, &self.key_path(key), value.clone(), known))
            .transpose()
    }

    /// A key's own table, or one without entries where there is none.
    pub(super) fn table_or_empty(&self, key: &str, known: &[&str]) -> Result<Self, ConfigError> {
        let empty = || Self {
            file: self.file,
            path: self.key_path(key),
            entries: BTreeMap::new(),
        };
        Ok(self.table(key, known)?.unwrap_or_else(empty))
    }

    /// A key's list of tables, written `[[key]]`.
    pub(super) fn tables(&self, key: &str, known: &[&str]) -> Result<Vec<Self>, ConfigError> {
        let values = match self.kind(key) {
            None => return Ok(Vec::new()),
            Some(ValueKind::Array(values)) => values,
            Some(other) => {
                let expected = format!("a list of tables, each written [[{key}]] in the file");
                return Err(self.wrong_type(key, &expected, type_name(other)));
            }
        };
        values
            .iter()
            .enumerate()
            .map(|(index, value)| {
                let path = format!("{}[{index}]", self.key_path(key));
                Table::new(self.file, &path, value.clone(), known)
            })
            .collect()
    }

    fn kind(&self, key: &str) -> Option<&ValueKind> {
        self.entries.get(key).map(|value| &value.kind)
    }

    /// Whether a value comes from a layer that knows nothing but text.
    fn is_textual(&self, key: &str) -> bool {
        !matches!(self.place(key), Place::File { .. })
    }

    fn key_path(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    fn wrong_type(&self, key: &str, expected: &str, came: &str) -> ConfigError {
        ConfigError::WrongType {
            place: self.place(key),
            expected: expected.to_owned(),
            came: came.to_owned(),
        }
    }
}

fn place(file: &Path, key: String, value: &Value) -> Place {
    match value.origin() {
        Some(FROM_ENVIRONMENT) => Place::Environment { key },
        Some(FROM_COMMAND_LINE) => Place::CommandLine { key },
        _ => Place::File {
            file: file.to_owned(),
            key,
        },
    }
}

fn type_name(kind: &ValueKind) -> &'static str {
    match kind {
        ValueKind::Nil => "nothing",
        ValueKind::Boolean(_) => "true or false",
        ValueKind::I64(_) | ValueKind::I128(_) | ValueKind::U64(_) | ValueKind::U128(_) => {
            "a whole number"
        }
        ValueKind::Float(_) => "a number with a point",
        ValueKind::String(_) => "a text",
        ValueKind::Table(_) => "a table",
        ValueKind::Array(_) => "a list",
    }
}

/// A value that is no secret, as a person wrote it, as far as it is short.
fn shown(kind: &ValueKind) -> String {
    match kind {
        ValueKind::Boolean(value) => format!("{value}"),
        ValueKind::I64(value) => format!("{value}"),
        ValueKind::Float(value) => format!("{value}"),
        ValueKind::String(text) if text.chars().count() <= 40 => format!("\"{text}\""),
        ValueKind::Nil
        | ValueKind::I128(_)
        | ValueKind::U64(_)
        | ValueKind::U128(_)
        | ValueKind::String(_)
        | ValueKind::Table(_)
        | ValueKind::Array(_) => type_name(kind).to_owned(),
    }
}

/// The known key that is the fewest edits away, if that is not most of its letters.
fn nearest<'k>(key: &str, known: &[&'k str]) -> Option<&'k str> {
    let key = key.to_lowercase();
    known
        .iter()
        .map(|candidate| (strsim::osa_distance(&key, candidate), *candidate))
        .min()
        .filter(|(distance, candidate)| *distance <= candidate.len().div_ceil(3))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_named_only_when_it_is_near() {
        let known = ["name", "driver", "port"];
        assert_eq!(nearest("prt", &known), Some("port"));
        assert_eq!(nearest("Port", &known), Some("port"));
        // Two letters that have changed places are one edit.
        assert_eq!(nearest("ulr", &["url", "log"]), Some("url"));
        assert_eq!(nearest("drivers", &known), Some("driver"));
        assert_eq!(nearest("colour", &known), None);
    }
}
