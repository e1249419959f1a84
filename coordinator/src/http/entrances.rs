//! `/acs/entrances/*`.

use axum::extract::State;
use serde_json::{Value, json};
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::{
    Answer, ApiError, Caller, Params, Reply, Resource, Routes, page_json, read, spaces, systems,
    time_json,
};
use crate::{
    state::AppState,
    store::{
        credentials,
        entrances::{self, EntranceFilter, EntranceRow},
        systems::SystemKind,
    },
};

/// How many entrances a page has unless the request says otherwise.
const DEFAULT_LIMIT: u32 = 900;

pub(super) fn routes() -> Routes {
    Routes::new()
        .route("/acs/entrances/get", "Returns an entrance.", read(get))
        .route("/acs/entrances/list", "Lists entrances.", read(list))
}

async fn get(State(state): State<AppState>, caller: Caller, params: Params) -> Answer {
    let mut reader = params.reader();
    let id = reader.id("acs_entrance_id");
    reader.finish()?;
    let mut conn = state.store.read().await?;
    let entrance = find(&mut conn, &caller, id?).await?;
    Ok(Reply::of("acs_entrance", entrance_json(&entrance)))
}

async fn list(State(state): State<AppState>, caller: Caller, params: Params) -> Answer {
    let (filter, page) = {
        let mut reader = params.reader();
        let system = reader.optional_id("acs_system_id");
        let account = reader.optional_id("connected_account_id");
        let credential = reader.optional_id("acs_credential_id");
        let ids = reader.optional_ids("acs_entrance_ids");
        let search = reader.optional_text("search");
        let page = reader.page(DEFAULT_LIMIT);
        let space = reader.optional_id("space_id");
        reader.refuse("location_id", "locations are spaces now: give space_id");
        reader.refuse("customer_key", "customers are not offered by this service");
        reader.finish()?;
        let filter = EntranceFilter {
            acs_system_id: system?,
            connected_account_id: account?,
            acs_credential_id: credential?,
            space_id: space?,
            acs_entrance_ids: ids?,
            search: search?,
        };
        (filter, page?)
    };
    let mut conn = state.store.read().await?;
    if let Some(id) = filter.acs_system_id {
        systems::find(&mut conn, &caller, id).await?;
    }
    if let Some(id) = filter.acs_credential_id {
        credentials::find(&mut conn, caller.workspace_id, id)
            .await?
            .ok_or(ApiError::NotFound(Resource::AcsCredential, id))?;
    }
    if let Some(id) = filter.space_id {
        spaces::find(&mut conn, &caller, id).await?;
    }
    let found = entrances::list(&mut conn, caller.workspace_id, &filter, page).await?;
    Ok(page_json(
        "acs_entrances",
        &found,
        &params,
        |entrance| entrance.acs_entrance_id,
        entrance_json,
    ))
}

/// The entrance with this id.
pub(super) async fn find(
    conn: &mut SqliteConnection,
    caller: &Caller,
    id: Uuid,
) -> Result<EntranceRow, ApiError> {
    entrances::find(conn, caller.workspace_id, id)
        .await?
        .ok_or(ApiError::NotFound(Resource::AcsEntrance, id))
}

/// An entrance as the API shows it.
pub(super) fn entrance_json(entrance: &EntranceRow) -> Value {
    let mut json = json!({
        "acs_entrance_id": entrance.acs_entrance_id,
        "acs_system_id": entrance.acs_system_id,
        "connected_account_id": entrance.connected_account_id,
        "display_name": entrance.display_name,
        "created_at": time_json(entrance.created_at),
        "can_unlock_with_card": true,
        "can_unlock_with_cloud_key": false,
        "can_unlock_with_code": false,
        "can_unlock_with_mobile_key": false,
        "space_ids": entrance.space_ids,
        "errors": [],
        "warnings": [],
    });
    if let Some((field, metadata)) = provider_metadata(entrance) {
        json[field] = metadata;
    }
    json
}

/// The entrance in the words of its system's maker, and under which name; none where the maker has no words for cards.
fn provider_metadata(entrance: &EntranceRow) -> Option<(&'static str, Value)> {
    let name = &entrance.display_name;
    let of_kind = |guest: &'static str, common: &'static str| {
        if entrance.is_common { common } else { guest }
    };
    match entrance.kind {
        SystemKind::Visionline => Some((
            "visionline_metadata",
            json!({"door_category": of_kind("guest", "common"), "door_name": name, "profiles": []}),
        )),
        SystemKind::Vostio => Some((
            "assa_abloy_vostio_metadata",
            json!({
                "door_name": name,
                "door_number": entrance.number,
                "door_type": of_kind("GuestDoor", "CommonDoor"),
            }),
        )),
        SystemKind::SaltoSpace => Some(("salto_space_metadata", json!({"door_name": name}))),
        SystemKind::SaltoKs => Some(("salto_ks_metadata", json!({"door_name": name}))),
        SystemKind::Hotek if entrance.is_common => {
            let number = entrance.number.to_string();
            let metadata = json!({"common_area_name": name, "common_area_number": number});
            Some(("hotek_metadata", metadata))
        }
        SystemKind::Hotek => Some(("hotek_metadata", json!({"room_number": name}))),
        SystemKind::Embedded | SystemKind::Brivo | SystemKind::External => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::bench::Bench;

    fn names(list: &Value) -> Vec<&str> {
        let rows = list.as_array().unwrap().iter();
        rows.map(|row| row["display_name"].as_str().unwrap())
            .collect()
    }

    #[tokio::test]
    async fn a_list_is_filtered_by_what_a_query_can_say() {
        let bench = Bench::start().await;
        let annexe = bench.system_of(bench.workspace).await;
        let first = bench.entrance(bench.system, "Room 101").await;
        let second = bench.entrance(bench.system, "Room 102").await;
        bench.entrance(annexe, "Pool").await;
        for (query, expected) in [
            (String::new(), vec!["Room 101", "Room 102", "Pool"]),
            (format!("acs_system_id={annexe}"), vec!["Pool"]),
            (
                format!("acs_entrance_ids={first}&acs_entrance_ids={second}&_strict=true"),
                vec!["Room 101", "Room 102"],
            ),
            (format!("acs_entrance_ids={second}"), vec!["Room 102"]),
            ("acs_entrance_ids=".to_owned(), vec![]),
            ("search=room".to_owned(), vec!["Room 101", "Room 102"]),
            ("search=%27%25".to_owned(), vec![]),
            (
                "location_id=&page_cursor=&search=pool".to_owned(),
                vec!["Pool"],
            ),
        ] {
            let answer = bench.get(&format!("/acs/entrances/list?{query}")).await;
            assert_eq!(names(answer.ok("acs_entrances")), expected, "{query}");
            assert!(answer.ok("pagination")["has_next_page"].is_boolean());
        }
    }

    #[tokio::test]
    async fn filters_that_are_not_offered_are_refused() {
        let bench = Bench::start().await;
        let answer = bench.get("/acs/entrances/list?customer_key=c").await;
        assert_eq!(answer.error(), (400, "invalid_input"));
        let answer = bench.get("/acs/entrances/list?acs_entrance_ids=x").await;
        assert_eq!(
            answer.body["error"]["validation_errors"]["acs_entrance_ids"]["0"]["_errors"],
            json!(["Invalid uuid"])
        );
    }

    #[tokio::test]
    async fn an_entrance_opens_with_cards() {
        let bench = Bench::start().await;
        let id = bench.entrance(bench.system, "Room 101").await;
        let answer = bench
            .get(&format!("/acs/entrances/get?acs_entrance_id={id}"))
            .await;
        let entrance = answer.ok("acs_entrance");
        assert_eq!(entrance["can_unlock_with_card"], json!(true));
        assert_eq!(entrance["acs_system_id"], json!(bench.system));
    }
}
