//! Access systems: one site with its entrances, site keys and encoders.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, QueryBuilder, Row as _, Sqlite, SqliteConnection, sqlite::SqliteRow};
use uuid::Uuid;

use super::{StoreError, columns, site_keys};
use crate::{ids, secrets::MasterKey};

/// How the cards of an access system come to be.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SystemKind {
    /// The embedded access system, whose key records are encoded onto cards.
    #[default]
    Embedded,
    /// Like Brivo: every card is registered with the system before, and is assigned to a user instead of encoded.
    Brivo,
    /// Like ASSA ABLOY Visionline.
    Visionline,
    /// Like Salto Space.
    SaltoSpace,
    /// Like Salto KS: tags are registered with the system, by a scan that looks for new ones, and assigned.
    SaltoKs,
    /// Like ASSA ABLOY Vostio.
    Vostio,
    /// Like Hotek.
    Hotek,
    /// The integrator's own format: a key server of theirs makes every card's image.
    External,
}

/// A thing as the API prints its maker's word for it: the type, and the type's name for people.
type ExternalType = (&'static str, &'static str);

impl SystemKind {
    /// Whether cards of the system are registered ones that are assigned, and never encoded.
    pub const fn assigns_cards(self) -> bool {
        match self {
            Self::Brivo | Self::SaltoKs => true,
            Self::Embedded
            | Self::Visionline
            | Self::SaltoSpace
            | Self::Vostio
            | Self::Hotek
            | Self::External => false,
        }
    }

    /// Its name for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Brivo => "Brivo",
            Self::Visionline => "Visionline",
            Self::SaltoSpace => "Salto Space",
            Self::SaltoKs => "Salto KS",
            Self::Vostio => "Vostio",
            Self::Hotek => "Hotek",
            Self::External => "external",
        }
    }

    /// What its maker calls a system; none where there is no maker.
    pub const fn system_type(self) -> Option<ExternalType> {
        match self {
            Self::Embedded | Self::External => None,
            Self::Brivo => Some(("brivo_account", "Brivo account")),
            Self::Visionline => Some(("visionline_system", "Visionline system")),
            Self::SaltoSpace => Some(("salto_space_system", "Salto Space system")),
            Self::SaltoKs => Some(("salto_ks_site", "Salto KS site")),
            Self::Vostio => Some(("assa_abloy_vostio", "ASSA ABLOY Vostio")),
            Self::Hotek => Some(("hotek_site", "Hotek site")),
        }
    }

    /// What its maker calls a credential on a card; none where there is no maker.
    pub const fn credential_type(self) -> Option<ExternalType> {
        match self {
            Self::Embedded | Self::External => None,
            Self::Brivo => Some(("brivo_credential", "Brivo credential")),
            Self::Visionline => Some(("visionline_card", "Visionline card")),
            Self::SaltoSpace => Some(("salto_space_key", "Salto Space key")),
            Self::SaltoKs => Some(("salto_ks_tag", "Salto KS tag")),
            Self::Vostio => Some(("assa_abloy_vostio_key", "Vostio key")),
            Self::Hotek => Some(("hotek_card", "Hotek card")),
        }
    }
}

/// An access system.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SystemRow {
    /// Its id.
    pub acs_system_id: Uuid,
    /// The workspace that it belongs to.
    pub workspace_id: Uuid,
    /// The account it stands for in the API; one per system.
    pub connected_account_id: Uuid,
    /// Its name.
    pub name: String,
    /// How its cards come to be.
    pub kind: SystemKind,
    /// The site's IANA time zone, if it is known.
    pub time_zone: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
}

impl FromRow<'_, SqliteRow> for SystemRow {
    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            acs_system_id: columns::id(row, "acs_system_id")?,
            workspace_id: columns::id(row, "workspace_id")?,
            connected_account_id: columns::id(row, "connected_account_id")?,
            name: row.try_get("name")?,
            kind: columns::from_name(row, "kind")?,
            time_zone: row.try_get("time_zone")?,
            created_at: columns::time(row, "created_ms")?,
        })
    }
}

/// How many users a system has, for its description in the API.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CountedSystem {
    /// The system.
    pub system: SystemRow,
    /// Its users.
    pub acs_user_count: i64,
}

impl FromRow<'_, SqliteRow> for CountedSystem {
    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            system: SystemRow::from_row(row)?,
            acs_user_count: row.try_get("acs_user_count")?,
        })
    }
}

/// Which systems to list; every condition that is given must hold.
#[derive(Clone, Debug, Default)]
pub struct SystemFilter {
    /// Only the system of this account.
    pub connected_account_id: Option<Uuid>,
    /// Only systems whose name or id contains this, in any case.
    pub search: Option<String>,
}

const COUNTED: &str = "SELECT s.*, (SELECT count(*) FROM acs_users u \
     WHERE u.workspace_id = s.workspace_id AND u.acs_system_id = s.acs_system_id AND u.deleted_ms IS NULL) AS acs_user_count \
     FROM systems s WHERE s.workspace_id = ";

/// Makes a system, embedded until [`set_kind`] says otherwise, and its first site key.
///
/// # Errors
/// [`StoreError`] when a statement, the random source or the sealing fails.
pub async fn create(
    conn: &mut SqliteConnection,
    master_key: &MasterKey,
    workspace_id: Uuid,
    name: &str,
    time_zone: Option<&str>,
    now: Timestamp,
) -> Result<SystemRow, StoreError> {
    let system = SystemRow {
        acs_system_id: ids::new_id(now),
        workspace_id,
        connected_account_id: ids::new_id(now),
        name: name.to_owned(),
        kind: SystemKind::default(),
        time_zone: time_zone.map(str::to_owned),
        created_at: now,
    };
    sqlx::query(
        "INSERT INTO systems (acs_system_id, workspace_id, connected_account_id, name, time_zone, created_ms) VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(system.acs_system_id.to_string())
    .bind(workspace_id.to_string())
    .bind(system.connected_account_id.to_string())
    .bind(&system.name)
    .bind(&system.time_zone)
    .bind(now.as_millisecond())
    .execute(&mut *conn)
    .await?;
    site_keys::create(conn, master_key, system.acs_system_id, now).await?;
    Ok(system)
}

/// Says how the cards of a new system come to be.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn set_kind(
    conn: &mut SqliteConnection,
    acs_system_id: Uuid,
    kind: SystemKind,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE systems SET kind = ? WHERE acs_system_id = ?")
        .bind(columns::name(&kind)?)
        .bind(acs_system_id.to_string())
        .execute(conn)
        .await?;
    Ok(())
}

/// The system with this id, in whatever workspace.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn by_id(
    conn: &mut SqliteConnection,
    acs_system_id: Uuid,
) -> Result<Option<SystemRow>, StoreError> {
    Ok(
        sqlx::query_as("SELECT * FROM systems WHERE acs_system_id = ?")
            .bind(acs_system_id.to_string())
            .fetch_optional(conn)
            .await?,
    )
}

/// The system with this id, if it belongs to the workspace.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn find(
    conn: &mut SqliteConnection,
    workspace_id: Uuid,
    acs_system_id: Uuid,
) -> Result<Option<SystemRow>, StoreError> {
    let found = by_id(conn, acs_system_id).await?;
    Ok(found.filter(|system| system.workspace_id == workspace_id))
}

/// The same with its users counted, which takes milliseconds where there are many.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn find_counted(
    conn: &mut SqliteConnection,
    workspace_id: Uuid,
    acs_system_id: Uuid,
) -> Result<Option<CountedSystem>, StoreError> {
    let mut query = QueryBuilder::<Sqlite>::new(COUNTED);
    query
        .push_bind(workspace_id.to_string())
        .push(" AND s.acs_system_id = ")
        .push_bind(acs_system_id.to_string());
    Ok(query.build_query_as().fetch_optional(conn).await?)
}

/// The systems of a workspace that pass the filter.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn list(
    conn: &mut SqliteConnection,
    workspace_id: Uuid,
    filter: &SystemFilter,
) -> Result<Vec<CountedSystem>, StoreError> {
    let mut query = QueryBuilder::<Sqlite>::new(COUNTED);
    query.push_bind(workspace_id.to_string());
    if let Some(account) = filter.connected_account_id {
        query
            .push(" AND s.connected_account_id = ")
            .push_bind(account.to_string());
    }
    if let Some(search) = &filter.search {
        query
            .push(" AND instr(lower(s.name || ' ' || s.acs_system_id), ")
            .push_bind(search.to_ascii_lowercase())
            .push(") > 0");
    }
    query.push(" ORDER BY s.acs_system_id");
    Ok(query.build_query_as().fetch_all(conn).await?)
}
