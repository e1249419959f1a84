//! Pages of lists: opaque cursors and the `pagination` object.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Params, Reply};
use crate::store::Page;

/// Marks this service's cursors and their version.
const MARK: &[u8] = b"p1";

/// The id after which a page begins, from a cursor of this service.
pub fn decode_cursor(cursor: &str) -> Option<Uuid> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    Uuid::from_slice(bytes.strip_prefix(MARK)?).ok()
}

/// A list's answer: its rows under `key` and the `pagination` object that leads to the next page.
pub fn page_json<T>(
    key: &str,
    page: &Page<T>,
    params: &Params,
    id: impl Fn(&T) -> Uuid,
    row: impl Fn(&T) -> Value,
) -> Reply {
    let cursor = page.last_before_more().map(|row| encode_cursor(id(row)));
    reply(key, page.rows.iter().map(row).collect(), cursor, params)
}

/// The same for rows that are shown already.
pub fn page_of_shown<T>(
    key: &str,
    page: Page<(T, Value)>,
    params: &Params,
    id: impl Fn(&T) -> Uuid,
) -> Reply {
    let last = page.last_before_more();
    let cursor = last.map(|(row, _)| encode_cursor(id(row)));
    let shown = page.rows.into_iter().map(|(_, shown)| shown);
    reply(key, shown.collect(), cursor, params)
}

fn reply(key: &str, rows: Vec<Value>, cursor: Option<String>, params: &Params) -> Reply {
    Reply::of(key, rows).with(
        "pagination",
        json!({
            "has_next_page": cursor.is_some(),
            "next_page_cursor": cursor,
            "next_page_url": cursor.as_deref().map(|cursor| params.url_of_page(cursor)),
        }),
    )
}

fn encode_cursor(last: Uuid) -> String {
    URL_SAFE_NO_PAD.encode([MARK, last.as_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_leads_back_to_its_id() {
        let id = Uuid::from_u128(7);
        assert_eq!(decode_cursor(&encode_cursor(id)), Some(id));
        for foreign in ["", "x", "AAAA", &id.to_string()] {
            assert_eq!(decode_cursor(foreign), None);
        }
    }
}
