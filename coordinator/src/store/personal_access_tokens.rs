//! Personal access tokens, kept as hashes: one token opens several workspaces, and every request names the one it means.

use jiff::Timestamp;
use sqlx::{FromRow, Row as _, SqliteConnection, sqlite::SqliteRow};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{StoreError, api_keys::Vocabulary, columns};
use crate::{ids, tokens};

/// A personal access token without its secret.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PersonalAccessTokenRow {
    /// The token's id.
    pub personal_access_token_id: Uuid,
    /// Whose it is, in its maker's words.
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

impl FromRow<'_, SqliteRow> for PersonalAccessTokenRow {
    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            personal_access_token_id: columns::id(row, "personal_access_token_id")?,
            label: row.try_get("label")?,
            prefix: row.try_get("prefix")?,
            vocabulary: Vocabulary::from_column(row.try_get("vocabulary")?),
            created_at: columns::time(row, "created_ms")?,
            revoked_at: columns::optional_time(row, "revoked_ms")?,
        })
    }
}

/// Makes a token that opens `workspaces`; the secret is returned here and nowhere else.
///
/// # Errors
/// [`StoreError`] when a statement or the random source fails.
pub async fn create(
    conn: &mut SqliteConnection,
    workspaces: &[Uuid],
    label: &str,
    vocabulary: Vocabulary,
    now: Timestamp,
) -> Result<(PersonalAccessTokenRow, Zeroizing<String>), StoreError> {
    let secret = tokens::new_personal_access_token()?;
    let token = PersonalAccessTokenRow {
        personal_access_token_id: ids::new_id(now),
        label: label.to_owned(),
        prefix: tokens::shown_prefix(&secret),
        vocabulary,
        created_at: now,
        revoked_at: None,
    };
    let id = token.personal_access_token_id.to_string();
    sqlx::query(
        "INSERT INTO personal_access_tokens (personal_access_token_id, label, prefix, token_hash, vocabulary, created_ms) \
         VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(&id)
    .bind(label)
    .bind(&token.prefix)
    .bind(tokens::hash(&secret).as_slice())
    .bind(vocabulary.as_str())
    .bind(now.as_millisecond())
    .execute(&mut *conn)
    .await?;
    for workspace in workspaces {
        sqlx::query(
            "INSERT OR IGNORE INTO personal_access_token_workspaces (personal_access_token_id, workspace_id) VALUES (?, ?)",
        )
        .bind(&id)
        .bind(workspace.to_string())
        .execute(&mut *conn)
        .await?;
    }
    Ok((token, secret))
}

/// The token with this secret, unless it was revoked.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn find_by_secret(
    conn: &mut SqliteConnection,
    secret: &str,
) -> Result<Option<PersonalAccessTokenRow>, StoreError> {
    Ok(sqlx::query_as(
        "SELECT * FROM personal_access_tokens WHERE token_hash = ? AND revoked_ms IS NULL",
    )
    .bind(tokens::hash(secret).as_slice())
    .fetch_optional(conn)
    .await?)
}

/// The workspaces that a token opens, oldest first.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn workspaces(conn: &mut SqliteConnection, token: Uuid) -> Result<Vec<Uuid>, StoreError> {
    let rows = sqlx::query(
        "SELECT workspace_id FROM personal_access_token_workspaces WHERE personal_access_token_id = ? \
         ORDER BY workspace_id",
    )
    .bind(token.to_string())
    .fetch_all(conn)
    .await?;
    let ids = rows.iter().map(|row| columns::id(row, "workspace_id"));
    Ok(ids.collect::<Result<_, _>>()?)
}

/// All tokens, revoked ones too.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn list(conn: &mut SqliteConnection) -> Result<Vec<PersonalAccessTokenRow>, StoreError> {
    Ok(
        sqlx::query_as("SELECT * FROM personal_access_tokens ORDER BY personal_access_token_id")
            .fetch_all(conn)
            .await?,
    )
}

/// Revokes a token: it opens nothing from now on. Returns whether such a token was open.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn revoke(
    conn: &mut SqliteConnection,
    token: Uuid,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE personal_access_tokens SET revoked_ms = ? WHERE personal_access_token_id = ? AND revoked_ms IS NULL",
    )
    .bind(now.as_millisecond())
    .bind(token.to_string())
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}
