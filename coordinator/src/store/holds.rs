//! What holds which credential, for people.

use sqlx::{Row as _, SqliteConnection};
use uuid::Uuid;

use super::{StoreError, columns};
use crate::jobs::HoldState;

/// A credential's tie to a card, with what people know it by.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HoldRow {
    /// The credential.
    pub acs_credential_id: Uuid,
    /// Its name; none when the store does not know it.
    pub display_name: Option<String>,
    /// The card, in lower-case hex; none when nobody knows which.
    pub uid: Option<String>,
    /// What the hold rests on.
    pub state: HoldState,
    /// The job that holds it.
    pub job_id: Uuid,
    /// Whether the store does not know that job.
    pub is_orphan: bool,
    /// The name of the job's agent.
    pub agent_name: Option<String>,
}

impl HoldRow {
    /// Whether it is not certain that the card carries the credential.
    pub fn is_doubtful(&self) -> bool {
        self.state != HoldState::Written || self.is_orphan
    }
}

/// Every hold, in the order of the credentials.
///
/// # Errors
/// [`StoreError::Query`] when the statement fails.
pub async fn list(conn: &mut SqliteConnection) -> Result<Vec<HoldRow>, StoreError> {
    let rows = sqlx::query(
        "SELECT h.acs_credential_id, c.display_name, h.uid, h.state, h.job_id, j.job_id IS NULL AS is_orphan, \
         a.name AS agent_name FROM holds h \
         LEFT JOIN credentials c ON c.acs_credential_id = h.acs_credential_id \
         LEFT JOIN jobs j ON j.job_id = h.job_id LEFT JOIN orphans o ON o.job_id = h.job_id \
         LEFT JOIN agents a ON a.agent_id = coalesce(j.agent_id, o.agent_id) \
         ORDER BY h.acs_credential_id, h.job_id, h.uid",
    )
    .fetch_all(conn)
    .await?;
    let rows = rows.iter().map(|row| {
        let uid: String = row.try_get("uid")?;
        Ok(HoldRow {
            acs_credential_id: columns::id(row, "acs_credential_id")?,
            display_name: row.try_get("display_name")?,
            uid: Some(uid).filter(|uid| !uid.is_empty()),
            state: columns::from_name(row, "state")?,
            job_id: columns::id(row, "job_id")?,
            is_orphan: row.try_get("is_orphan")?,
            agent_name: row.try_get("agent_name")?,
        })
    });
    Ok(rows.collect::<Result<_, sqlx::Error>>()?)
}
