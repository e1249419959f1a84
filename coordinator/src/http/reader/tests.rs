//! What is taken as which value, and how errors are told.

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
