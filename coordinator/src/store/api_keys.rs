//! API keys, kept as hashes.

use jiff::Timestamp;
use sqlx::{FromRow, Row as _, SqliteConnection, sqlite::SqliteRow};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{StoreError, columns};
use crate::{ids, tokens};

/// Which names the answers to a key use where the API's sources differ.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Vocabulary {
    /// The names of the card guides: `no_card_on_encoder`, `ENCODE_ACCESS_METHOD`.
    #[default]
    Guide,
    /// The names of the published types: `no_credential_on_encoder`, `ENCODE_CREDENTIAL`.
    Types,
}

impl Vocabulary {
    /// The vocabulary as the store and the command line write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Guide => "guide",
            Self::Types => "types",
        }
    }

    /// The vocabulary that a column names; the schema lets it be no other.
    pub(super) fn from_column(name: &str) -> Self {
        if name == "types" {
            Self::Types
        } else {
            Self::Guide
        }
    }
}

/// An API key without its secret.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ApiKeyRow {
    /// The key's id.
    pub api_key_id: Uuid,
    /// The workspace that it opens.
    pub workspace_id: Uuid,
    /// What it is for, in its maker's words.
    pub label: String,
    /// Its first characters.
    pub prefix: String,
    /// Which names its answers use.
    pub vocabulary: Vocabulary,
    /// When it was made.
    pub created_at: Timestamp,
    /// Since when it opens nothing.
    pub revoked_at: Option<Timestamp>,
}

impl FromRow<'_, SqliteRow> for ApiKeyRow {
    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            api_key_id: columns::id(row, "api_key_id")?,
            workspace_id: columns::id(row, "workspace_id")?,
            label: row.try_get("label")?,
            prefix: row.try_get("prefix")?,
            vocabulary: Vocabulary::from_column(row.try_get("vocabulary")?),
            created_at: columns::time(row, "created_ms")?,
            revoked_at: columns::optional_time(row, "revoked_ms")?,
        })
    }
}

/// Makes a key; the secret is returned here and nowhere else.
///
/// # Errors
/// [`StoreError`] when the statement or the random source fails.
pub async fn create(
    conn: &mut SqliteConnection,
    workspace_id: Uuid,
    label: &str,
    vocabulary: Vocabulary,
    now: Timestamp,
) -> Result<(ApiKeyRow, Zeroizing<String>), StoreError> {
    let secret = tokens::new_api_key()?;
    let key = ApiKeyRow {
        api_key_id: ids::new_id(now),
        workspace_id,
        label: label.to_owned(),
        prefix: tokens::shown_prefix(&secret),
        vocabulary,
        created_at: now,
        revoked_at: None,
    };
    sqlx::query(
        "INSERT INTO api_keys (api_key_id, workspace_id, label, prefix, key_hash, vocabulary, created_ms) VALUES (?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(key.api_key_id.to_string())
    .bind(workspace_id.to_string())
    .bind(&key.label)
    .bind(&key.prefix)
    .bind(tokens::hash(&secret).as_slice())
    .bind(vocabulary.as_str())
    .bind(now.as_millisecond())
    .execute(conn)
    .await?;
    Ok((key, secret))
}

/// The key with this secret, unless it was revoked.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn find_by_secret(
    conn: &mut SqliteConnection,
    secret: &str,
) -> Result<Option<ApiKeyRow>, StoreError> {
    Ok(
        sqlx::query_as("SELECT * FROM api_keys WHERE key_hash = ? AND revoked_ms IS NULL")
            .bind(tokens::hash(secret).as_slice())
            .fetch_optional(conn)
            .await?,
    )
}

/// The keys of a workspace, revoked ones too.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn list(
    conn: &mut SqliteConnection,
    workspace_id: Uuid,
) -> Result<Vec<ApiKeyRow>, StoreError> {
    Ok(
        sqlx::query_as("SELECT * FROM api_keys WHERE workspace_id = ? ORDER BY api_key_id")
            .bind(workspace_id.to_string())
            .fetch_all(conn)
            .await?,
    )
}

/// Revokes a key: it opens nothing from now on. Returns whether such a key was open.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn revoke(
    conn: &mut SqliteConnection,
    api_key_id: Uuid,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE api_keys SET revoked_ms = ? WHERE api_key_id = ? AND revoked_ms IS NULL",
    )
    .bind(now.as_millisecond())
    .bind(api_key_id.to_string())
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}
