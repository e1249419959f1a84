//! Which events are listed, and how they are found among a million others.

use std::collections::BTreeSet;

use jiff::Timestamp;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};
use uuid::Uuid;

use super::{
    super::{StoreError, columns, rows},
    EventRow, EventSubject,
};

/// Which events to list; every condition that is given must hold. The interval excludes both its ends.
#[derive(Clone, Debug)]
pub struct EventFilter {
    /// Only events recorded after this time.
    pub after: Timestamp,
    /// Only events recorded before this time.
    pub before: Option<Timestamp>,
    /// Only events of one of these types.
    pub event_types: Option<Vec<String>>,
    /// Only these events.
    pub event_ids: Option<Vec<Uuid>>,
    /// Only events of one of these systems.
    pub acs_system_ids: Option<Vec<Uuid>>,
    /// Only events of one of these access grants.
    pub access_grant_ids: Option<Vec<Uuid>>,
    /// Only events of one of these access methods.
    pub access_method_ids: Option<Vec<Uuid>>,
    /// Only events that name these resources.
    pub subject: EventSubject,
    /// How many to skip.
    pub offset: u32,
    /// The most to return.
    pub limit: u32,
}

impl EventFilter {
    /// Whether it names things of which each has few events.
    fn names_few(&self) -> bool {
        self.event_ids.is_some()
            || self.access_grant_ids.is_some()
            || self.access_method_ids.is_some()
    }
}

/// How many types' walks are merged at most; SQLite takes 500 terms of a compound query. With more types there are
/// hardly events of others.
const MOST_WALKS: usize = 40;

/// The events of a workspace that pass the filter, the oldest first.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn list(
    conn: &mut SqliteConnection,
    workspace_id: Uuid,
    filter: &EventFilter,
) -> Result<Vec<EventRow>, StoreError> {
    let mut query = QueryBuilder::<Sqlite>::new("");
    if filter.names_few() {
        push_conditions(
            &mut query,
            workspace_id,
            filter,
            filter.event_types.as_deref(),
            "+",
        );
        query.push(" ORDER BY +created_ms, +event_id");
    } else {
        push_walks(&mut query, workspace_id, filter);
        query.push(" ORDER BY created_ms, event_id");
    }
    query
        .push(" LIMIT ")
        .push_bind(filter.limit)
        .push(" OFFSET ")
        .push_bind(filter.offset);
    Ok(rows::fetch_all(query, conn).await?)
}

/// The events of a workspace in order of time: where several types are asked for, each type's walk through its own index,
/// merged; a rare type would else be looked for among all events.
fn push_walks(query: &mut QueryBuilder<Sqlite>, workspace_id: Uuid, filter: &EventFilter) {
    // A type that is named twice is walked once.
    let types: Option<BTreeSet<&String>> =
        filter.event_types.as_ref().map(|it| it.iter().collect());
    let types: Option<Vec<String>> = types.map(|it| it.into_iter().cloned().collect());
    let each: Vec<_> = match types.as_deref() {
        Some(several @ [_, _, ..])
            if several.len() <= MOST_WALKS && !filter.subject.names_object() =>
        {
            several.chunks(1).map(Some).collect()
        }
        all => vec![all],
    };
    let walks = each.len();
    for (index, types) in each.into_iter().enumerate() {
        if walks == 1 {
            push_conditions(query, workspace_id, filter, types, "");
            return;
        }
        let joined = if index == 0 { "" } else { " UNION ALL " };
        query.push(joined).push("SELECT * FROM (");
        push_conditions(query, workspace_id, filter, types, "");
        let enough = i64::from(filter.offset) + i64::from(filter.limit);
        query
            .push(" ORDER BY created_ms, event_id LIMIT ")
            .push_bind(enough)
            .push(")");
    }
}

/// Every condition but the order. The `plus` sign keeps SQLite from an index for workspace and time, where another
/// condition leads to few events.
fn push_conditions(
    query: &mut QueryBuilder<Sqlite>,
    workspace_id: Uuid,
    filter: &EventFilter,
    types: Option<&[String]>,
    plus: &'static str,
) {
    query
        .push("SELECT * FROM events WHERE ")
        .push(if filter.event_ids.is_some() { plus } else { "" })
        .push("workspace_id = ")
        .push_bind(workspace_id.to_string())
        .push(" AND ")
        .push(plus)
        .push("created_ms > ")
        .push_bind(filter.after.as_millisecond());
    if let Some(before) = filter.before {
        query
            .push(" AND ")
            .push(plus)
            .push("created_ms < ")
            .push_bind(before.as_millisecond());
    }
    for (column, values) in [
        ("event_id", &filter.event_ids),
        ("access_method_id", &filter.access_method_ids),
        ("access_grant_id", &filter.access_grant_ids),
    ] {
        columns::push_any(query, column, values.as_deref());
    }
    let of_few = filter.names_few() || filter.subject.names_object();
    let (by_type, by_system) = match types {
        Some(_) if of_few => ("+event_type", "acs_system_id"),
        Some(_) => ("event_type", "+acs_system_id"),
        None => ("event_type", "acs_system_id"),
    };
    columns::push_any(query, by_type, types);
    columns::push_any(query, by_system, filter.acs_system_ids.as_deref());
    push_subject(query, &filter.subject, by_system);
}

fn push_subject(query: &mut QueryBuilder<Sqlite>, subject: &EventSubject, by_system: &'static str) {
    if let Some(system) = subject.acs_system_id {
        query
            .push(" AND ")
            .push(by_system)
            .push(" = ")
            .push_bind(system.to_string());
    }
    if let Some(account) = subject.connected_account_id {
        query
            .push(" AND ")
            .push(by_system)
            .push(" = (SELECT acs_system_id FROM systems WHERE connected_account_id = ")
            .push_bind(account.to_string())
            .push(")");
    }
    let columns = [
        (" AND acs_credential_id = ", subject.acs_credential_id),
        (" AND acs_encoder_id = ", subject.acs_encoder_id),
        (" AND acs_user_id = ", subject.acs_user_id),
        (" AND acs_entrance_id = ", subject.acs_entrance_id),
        (" AND access_grant_id = ", subject.access_grant_id),
        (" AND access_method_id = ", subject.access_method_id),
    ];
    for (condition, id) in columns {
        if let Some(id) = id {
            query.push(condition).push_bind(id.to_string());
        }
    }
}
