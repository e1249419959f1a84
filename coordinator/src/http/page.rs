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
    Reply::of_rows(key, page.rows.iter().map(row)).with(
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
    use crate::{http::bench::Bench, store::systems::SystemKind};

    /// Lists read many rows at once by another way than single objects are read.
    #[tokio::test]
    async fn a_list_shows_what_is_shown_of_each_object() {
        let bench = Bench::start().await;
        let system = bench.system_of_kind(SystemKind::Visionline).await;
        let doors = [
            bench.entrance(system, "\"101\" \\ Zoë").await,
            bench.entrance(bench.system, "Door\n2").await,
        ];
        let person = json!({"full_name": "O\"Neil 🗝", "email_address": "o@example.com"});
        let person = bench.post("/user_identities/create", person).await;
        let grant = json!({
            "user_identity_id": person.ok("user_identity")["user_identity_id"],
            "name": "Two\tnights",
            "acs_entrance_ids": doors,
            "requested_access_methods": [{"mode": "card"}],
        });
        bench
            .post("/access_grants/create", grant)
            .await
            .ok("access_grant");
        for (path, list, one) in [
            ("/acs/credentials", "acs_credentials", "acs_credential"),
            ("/acs/users", "acs_users", "acs_user"),
            ("/user_identities", "user_identities", "user_identity"),
            ("/access_grants", "access_grants", "access_grant"),
            ("/access_methods", "access_methods", "access_method"),
        ] {
            let listed = bench.get(&format!("{path}/list")).await;
            let listed = listed.ok(list).as_array().unwrap().clone();
            assert!(!listed.is_empty(), "{path}");
            for row in listed {
                let id = format!("{one}_id");
                let got = bench
                    .post(&format!("{path}/get"), json!({&id: row[&id]}))
                    .await;
                assert_eq!(got.ok(one), &row, "{path}");
            }
        }
        let since = "/events/list?since=2020-01-01";
        for event in bench.get(since).await.ok("events").as_array().unwrap() {
            let id = json!({"event_id": event["event_id"]});
            assert_eq!(bench.post("/events/get", id).await.ok("event"), event);
        }
    }

    #[test]
    fn a_cursor_leads_back_to_its_id() {
        let id = Uuid::from_u128(7);
        assert_eq!(decode_cursor(&encode_cursor(id)), Some(id));
        for foreign in ["", "x", "AAAA", &id.to_string()] {
            assert_eq!(decode_cursor(foreign), None);
        }
    }
}
