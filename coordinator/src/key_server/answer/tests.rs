use encoder_protocols::card::{Technology, Uid};
use serde_json::json;

use super::*;

const KEY: &str = "a1a2a3a4a5a6";

fn card(technology: Technology) -> CardDescription {
    CardDescription::new(technology, Uid::of_seven([4, 1, 2, 3, 4, 5, 6]))
}

fn classic() -> Value {
    json!({"kind": "mifare_classic", "sectors": [{
        "sector": 1,
        "keys": [{"slot": "a", "key": KEY}],
        "blocks": [{"block": 0, "data": "00".repeat(16)}],
        "trailer": {"key_a": KEY, "access_bits": "787788", "user_byte": 0, "key_b": KEY},
    }]})
}

fn read(body: &Value, technology: Technology) -> Result<CardImage, BadAnswer> {
    read_answer(body.to_string().as_bytes(), &card(technology))
}

fn complaint(body: &Value, technology: Technology) -> String {
    read(body, technology).unwrap_err().to_string()
}

#[test]
fn images_of_each_kind_are_taken() {
    let with_nothing = |mut image: Value| {
        image["passwords"] = json!([]);
        image["protection"] = Value::Null;
        image
    };
    let type2 = json!({"kind": "type2", "pages": [{"page": 4, "data": "01020304"}]});
    let stripe = json!({"kind": "magstripe", "card_number": "42", "coercivity": "high",
        "tracks": [{"track": 2, "bpi": 75, "iso": "1234"}]});
    for (image, technology) in [
        (classic(), Technology::MifareClassic1k),
        (type2.clone(), Technology::Ntag213),
        (with_nothing(type2), Technology::Ultralight),
        (stripe, Technology::Magstripe),
    ] {
        let taken = read(&json!({"image": image, "refuse": null}), technology);
        assert!(taken.is_ok(), "{image}: {taken:?}");
    }
}

#[test]
fn images_that_must_not_be_written_are_named() {
    let changed = |path: &str, value: Value| {
        let mut image = classic();
        *image.pointer_mut(path).unwrap() = value;
        image
    };
    let sector = classic()["sectors"][0].clone();
    let key = json!({"slot": "a", "key": KEY});
    for (image, expected) in [
        (
            json!({"kind": "mifare_classic", "sectors": []}),
            "nothing to write",
        ),
        (changed("/sectors/0/blocks", json!([])), ""),
        (changed("/sectors/0/keys", json!([])), "no key for sector 1"),
        (changed("/sectors/0/sector", json!(16)), "sector 16"),
        (changed("/sectors/0/sector", json!(200)), "never be written"),
        (
            changed("/sectors/0/blocks/0/block", json!(3)),
            "never be written",
        ),
        (
            changed("/sectors/0/blocks/0/block", json!(15)),
            "never be written",
        ),
        (
            changed("/sectors/0/blocks/0/data", json!("00")),
            "wrong type or length",
        ),
        (
            changed("/sectors/0/keys/0/key", json!("a1a2a3a4a5a6a7")),
            "wrong type or length",
        ),
        (
            changed("/sectors/0/trailer/access_bits", json!("000000")),
            "the trailer of sector 1",
        ),
        (
            changed("/sectors/0/trailer/access_bits", json!("f8778f")),
            "",
        ),
        (
            json!({"kind": "mifare_classic", "sectors": [sector, sector]}),
            "sector 1 twice",
        ),
        (
            changed("/sectors/0/keys", json!(vec![key; 17])),
            "at most 16",
        ),
        (
            json!({"kind": "type2", "pages": [{"page": 4, "data": "01020304"}]}),
            "expected",
        ),
        (json!({"kind": "punched_card"}), "unknown variant"),
        (json!({"sectors": []}), "kind"),
        (json!([]), "expected"),
    ] {
        if expected.is_empty() {
            continue;
        }
        let complaint = complaint(&json!({"image": image}), Technology::MifareClassic1k);
        assert!(complaint.contains(expected), "{image}: {complaint}");
        assert!(!complaint.contains("a1a2"), "a key is quoted: {complaint}");
    }
    let mut manufacturer = classic();
    manufacturer["sectors"][0]["sector"] = json!(0);
    let complaint = complaint(&json!({"image": manufacturer}), Technology::MifareClassic1k);
    assert!(
        complaint.contains("block 0 can never be written"),
        "{complaint}"
    );
}

#[test]
fn one_way_doors_of_other_cards_are_closed_too() {
    for (page, expected) in [
        (0, "never be written"),
        (2, ""),
        (3, "never be changed back"),
        (40, ""),
    ] {
        let image = json!({"kind": "type2", "pages": [{"page": page, "data": "01020304"}]});
        let answer = read(&json!({"image": image}), Technology::Ntag213);
        let complaint = answer.unwrap_err().to_string();
        assert!(complaint.contains(expected), "page {page}: {complaint}");
    }
    let payment = json!({"kind": "magstripe", "card_number": "42", "coercivity": "high",
        "tracks": [{"track": 2, "bpi": 75, "iso": "4111111111111111=29121010000000000"}]});
    let answer = read(&json!({"image": payment}), Technology::Magstripe);
    assert!(answer.is_err(), "payment data");
}

#[test]
fn unknown_fields_are_named_wherever_they_stand() {
    for path in [
        "",
        "/sectors/0",
        "/sectors/0/keys/0",
        "/sectors/0/blocks/0",
        "/sectors/0/trailer",
    ] {
        let mut image = classic();
        image.pointer_mut(path).unwrap()["lock_forever"] = json!(true);
        let complaint = complaint(&json!({"image": image}), Technology::MifareClassic1k);
        assert!(complaint.contains("lock_forever"), "{path}: {complaint}");
    }
    let beside = json!({"image": classic(), "also": 1});
    assert!(complaint(&beside, Technology::MifareClassic1k).contains("also"));
}

#[test]
fn a_refusal_is_passed_on_and_anything_else_is_none() {
    let refuse = |code: &str| json!({"refuse": {"code": code, "message": "no more keys today"}});
    let answer = read(
        &refuse("incompatible_card_format"),
        Technology::MifareClassic1k,
    );
    let BadAnswer::Refused(refusal) = answer.unwrap_err() else {
        panic!("expected a refusal");
    };
    assert_eq!(refusal.code, ErrorCode::IncompatibleCardFormat);
    assert_eq!(refusal.message, "no more keys today");
    for (body, expected) in [
        (refuse("bridge_disconnected"), "bridge_disconnected"),
        (
            json!({"refuse": {"code": "uncategorized_error"}}),
            "missing field",
        ),
        (json!({}), "neither"),
        (
            json!({"image": classic(), "refuse": {"code": "x", "message": "y"}}),
            "both",
        ),
        (json!([]), ""),
        (json!("x"), ""),
    ] {
        let complaint = complaint(&body, Technology::MifareClassic1k);
        assert!(complaint.contains(expected), "{body}: {complaint}");
    }
    for body in [&b""[..], b"{", b"\xff\xff", b"<html>500</html>"] {
        let answer = read_answer(body, &card(Technology::MifareClassic1k));
        assert!(matches!(answer, Err(BadAnswer::Malformed(_))), "{body:?}");
    }
}
