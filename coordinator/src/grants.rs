//! What an access grant leads to: in each access system whose entrances it gives, a user and one access method for each
//! method that was asked for. An access method is one card; its credential says what belongs on it.

use std::collections::{BTreeMap, BTreeSet};

use encoder_protocols::card::key_record::RecordContentError;
use jiff::Timestamp;
use sqlx::SqliteConnection;
use uuid::Uuid;

use crate::{
    access_system,
    provider::ProviderMetadata,
    store::{
        StoreError,
        access_grants::{self, GrantRow},
        access_methods::{self, AccessMethodFilter, AccessMethodRow},
        credentials::{self, IssueState},
        entrances::{self, EntranceRow},
        events::{self, EventSubject, EventType},
        systems, user_identities, users,
    },
};

/// Why a grant's access methods were not brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    /// A card of the embedded access system cannot carry what the grant gives there.
    #[error("{0}")]
    DoesNotFit(#[from] RecordContentError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Brings the access methods of a grant up to date with its times, entrances and requests. An access method that was
/// deleted is not made again.
///
/// # Errors
/// [`ProvisionError::DoesNotFit`] when a card cannot carry what is asked for; nothing may be committed then.
pub async fn provision(
    conn: &mut SqliteConnection,
    grant: &GrantRow,
    now: Timestamp,
) -> Result<(), ProvisionError> {
    let (workspace, id) = (grant.workspace_id, grant.access_grant_id);
    let mut by_system: BTreeMap<Uuid, Vec<EntranceRow>> = BTreeMap::new();
    for entrance in entrances::of_grant(conn, workspace, id).await? {
        let system = by_system.entry(entrance.acs_system_id).or_default();
        system.push(entrance);
    }
    let filter = AccessMethodFilter {
        access_grant_ids: Some(vec![id]),
        ..AccessMethodFilter::default()
    };
    for method in access_methods::list(conn, workspace, &filter).await? {
        let entrances = by_system.get(&method.acs_system_id);
        renew(
            conn,
            grant,
            &method,
            entrances.map_or(&[], Vec::as_slice),
            now,
        )
        .await?;
    }
    let made: BTreeSet<_> = access_methods::ever_made(conn, id)
        .await?
        .into_iter()
        .collect();
    for request in access_grants::requests(conn, &[id]).await? {
        for (system, entrances) in &by_system {
            if !made.contains(&(request.position, *system)) {
                make(conn, grant, request.position, *system, entrances, now).await?;
            }
        }
    }
    Ok(())
}

/// Makes an access method of a grant in a system, with the credential that belongs on its card. Where cards are assigned
/// instead of encoded, the credential comes with the card.
async fn make(
    conn: &mut SqliteConnection,
    grant: &GrantRow,
    position: i64,
    acs_system_id: Uuid,
    entrances: &[EntranceRow],
    now: Timestamp,
) -> Result<(), ProvisionError> {
    let Some(system) = systems::by_id(conn, acs_system_id).await? else {
        return Ok(());
    };
    if system.kind.assigns_cards() {
        access_methods::create(conn, grant, position, acs_system_id, None, now).await?;
        return Ok(());
    }
    check_fits(grant, entrances, now)?;
    let person = user_identities::find(conn, grant.workspace_id, grant.user_identity_id).await?;
    let Some(person) = person else { return Ok(()) };
    let user = users::of_identity(conn, &system, &person, now).await?;
    let validity = (Some(grant.starts_at), grant.ends_at);
    let provider = ProviderMetadata::of_kind(system.kind);
    let credential = credentials::create(conn, &user, provider, validity, entrances, now).await?;
    let credential = Some(credential.acs_credential_id);
    access_methods::create(conn, grant, position, acs_system_id, credential, now).await?;
    Ok(())
}

/// Brings an access method up to date with its grant.
async fn renew(
    conn: &mut SqliteConnection,
    grant: &GrantRow,
    method: &AccessMethodRow,
    entrances: &[EntranceRow],
    now: Timestamp,
) -> Result<(), ProvisionError> {
    let Some(credential) = &method.credential else {
        return Ok(());
    };
    if !method.kind.assigns_cards() {
        check_fits(grant, entrances, now)?;
    }
    let validity = (Some(grant.starts_at), grant.ends_at);
    let ids = ids_of(entrances);
    let changed = credentials::set_content(conn, credential, validity, &ids, now).await?;
    let on_card = method.issue_state() == IssueState::Issued;
    if changed && on_card && !method.kind.assigns_cards() {
        let required = EventType::AccessMethodCardEncodingRequired;
        access_methods::record(conn, method, required, now, now).await?;
    }
    Ok(())
}

/// Which doors the cards of some grants open, before something happens to the cards.
#[derive(Debug)]
pub struct Doors(Vec<(GrantRow, BTreeSet<Uuid>)>);

impl Doors {
    /// Looks at the grants that these credentials are for.
    ///
    /// # Errors
    /// [`StoreError::Query`] when a statement fails.
    pub async fn before(
        conn: &mut SqliteConnection,
        credentials: impl IntoIterator<Item = Uuid>,
    ) -> Result<Self, StoreError> {
        let mut seen = Vec::new();
        for credential in credentials {
            let Some(method) = access_methods::of_credential(conn, credential).await? else {
                continue;
            };
            let id = method.access_grant_id;
            if !seen
                .iter()
                .any(|(grant, _): &(GrantRow, _)| grant.access_grant_id == id)
                && let Some(grant) = access_grants::find(conn, method.workspace_id, id).await?
            {
                seen.push((grant, open_doors(conn, id).await?));
            }
        }
        Ok(Self(seen))
    }

    /// Looks at one grant.
    ///
    /// # Errors
    /// [`StoreError::Query`] when a statement fails.
    pub async fn of_grant(
        conn: &mut SqliteConnection,
        grant: GrantRow,
    ) -> Result<Self, StoreError> {
        let doors = open_doors(conn, grant.access_grant_id).await?;
        Ok(Self(vec![(grant, doors)]))
    }

    /// Records which doors the cards open that they did not open before, and the other way round.
    ///
    /// # Errors
    /// [`StoreError::Query`] when a statement fails.
    pub async fn record_changes(
        self,
        conn: &mut SqliteConnection,
        at: Timestamp,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        for (grant, before) in &self.0 {
            record_doors(conn, grant, before, at, now).await?;
        }
        Ok(())
    }
}

/// Every door that cards of a grant open now, as far as this store knows what they carry.
async fn open_doors(
    conn: &mut SqliteConnection,
    access_grant_id: Uuid,
) -> Result<BTreeSet<Uuid>, StoreError> {
    let doors = access_methods::doors(conn, access_grant_id).await?;
    Ok(doors.into_iter().collect())
}

async fn record_doors(
    conn: &mut SqliteConnection,
    grant: &GrantRow,
    before: &BTreeSet<Uuid>,
    at: Timestamp,
    now: Timestamp,
) -> Result<(), StoreError> {
    let (workspace, id) = (grant.workspace_id, grant.access_grant_id);
    let after = open_doors(conn, id).await?;
    let wanted = entrances::of_grant(conn, workspace, id).await?;
    let wanted: BTreeSet<_> = ids_of(&wanted).into_iter().collect();
    let granted = after.difference(before);
    let granted = granted.map(|door| (EventType::AccessGrantAccessGrantedToDoor, Some(*door)));
    let lost = before.difference(&after);
    let lost = lost.map(|door| (EventType::AccessGrantAccessToDoorLost, Some(*door)));
    let complete = wanted.is_subset(&after) && !wanted.is_subset(before);
    let complete = complete.then_some((EventType::AccessGrantAccessGrantedToAllDoors, None));
    for (event_type, acs_entrance_id) in granted.chain(lost).chain(complete) {
        let subject = EventSubject {
            acs_entrance_id,
            ..grant.event_subject()
        };
        events::record(conn, workspace, event_type, subject, at, now).await?;
    }
    Ok(())
}

/// The ids of entrances.
pub fn ids_of(entrances: &[EntranceRow]) -> Vec<Uuid> {
    entrances.iter().map(|row| row.acs_entrance_id).collect()
}

fn check_fits(
    grant: &GrantRow,
    entrances: &[EntranceRow],
    now: Timestamp,
) -> Result<(), RecordContentError> {
    let numbers = entrances.iter().map(|entrance| entrance.number).collect();
    access_system::check_fits((Some(grant.starts_at), grant.ends_at), numbers, now)
}
