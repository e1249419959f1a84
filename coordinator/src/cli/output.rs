//! The one place that writes for the person or script that called.

use std::{
    fmt,
    io::{self, Write as _},
};

use serde_json::{Map, Value};

/// One row of a command's result: names and values, in the order in which people read them.
pub(super) type Row = Vec<(&'static str, Value)>;

/// Writes one row: as JSON on one line, or one name and value per line.
pub(super) fn one(row: Row, as_json: bool) {
    if as_json {
        return line(Value::Object(object(row)));
    }
    let width = row.iter().map(|(name, _)| name.len()).max();
    for (name, value) in row {
        let width = width.unwrap_or_default();
        line(format_args!("{name:width$}  {}", plain(&value)));
    }
}

/// Writes rows: as one JSON list, or as a table with a head.
pub(super) fn all(rows: Vec<Row>, as_json: bool) {
    if as_json {
        let rows = rows.into_iter().map(|row| Value::Object(object(row)));
        return line(Value::Array(rows.collect()));
    }
    let Some(first) = rows.first() else { return };
    let head: Vec<_> = first.iter().map(|(name, _)| (*name).to_owned()).collect();
    let cells = rows
        .iter()
        .map(|row| row.iter().map(|(_, value)| plain(value)).collect());
    let table: Vec<Vec<String>> = std::iter::once(head).chain(cells).collect();
    let widths: Vec<usize> = (0..table.first().map_or(0, Vec::len))
        .map(|column| {
            let cells = table.iter().filter_map(|row| row.get(column));
            cells
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or_default()
        })
        .collect();
    for row in &table {
        let padded: Vec<_> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        line(padded.join("  ").trim_end());
    }
}

/// Writes one line of result. A reader that has gone away is no error.
pub(super) fn line(text: impl fmt::Display) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{text}");
    let _ = out.flush();
}

/// Writes a line for a person at the terminal beside the result.
pub(super) fn note(text: impl fmt::Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Writes one line of complaint.
pub(super) fn complain(text: impl fmt::Display) {
    let _ = writeln!(io::stderr().lock(), "encoder-coordinator: {text}");
}

fn object(row: Row) -> Map<String, Value> {
    row.into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}
