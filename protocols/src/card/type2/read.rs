//! Reading pages, and as many more as a key record says that it takes.

use super::{
    geometry::Geometry,
    guard::Guard,
    session::{Opening, Session},
};
use crate::card::{CardContents, CardError, CardLink, Type2Read, key_record};

const PAGE_LENGTH: usize = 4;

/// Reads the planned pages, as far as the card allows.
pub(in crate::card) async fn read<L: CardLink>(
    link: &mut L,
    plan: &Type2Read,
) -> Result<CardContents, CardError> {
    let geometry = Geometry::of(link.card().technology)?;
    let mut session = Session::new(link, geometry, None);
    let (first, last) = (plan.first_page, plan.last_page);
    let mut data = read_span(&mut session, plan, first, last).await?;
    if let Some((first, last)) = extension(plan, &data) {
        data.extend(read_span(&mut session, plan, first, last).await?);
    }
    Ok(CardContents::Type2 {
        first_page: plan.first_page,
        data,
    })
}

/// The pages of the extension of the record that `data` begins with, if it has one and they lie where the plan has them.
fn extension(plan: &Type2Read, data: &[u8]) -> Option<(u8, u8)> {
    let pages = key_record::extension_length(data) / PAGE_LENGTH;
    let read = usize::from(plan.last_page.checked_sub(plan.first_page)?) + 1;
    let first = plan.last_page.checked_add(1)?;
    let last = plan.last_page.checked_add(u8::try_from(pages).ok()?)?;
    let is_there = pages > 0 && data.len() == read * PAGE_LENGTH;
    (is_there && last <= plan.last_extension_page?).then_some((first, last))
}

/// Reads some of the pages, as far as the card allows.
async fn read_span<L: CardLink>(
    session: &mut Session<'_, L>,
    plan: &Type2Read,
    first: u8,
    last: u8,
) -> Result<Vec<u8>, CardError> {
    let last = last.min(session.geometry.last_readable_page());
    match open(session, plan, last).await? {
        Some(guard) => read_unprotected(session, first, last, guard).await,
        None => read_on(session, first, last).await,
    }
}

/// Opens the card if a password does it; otherwise tells what keeps it shut.
async fn open<L: CardLink>(
    session: &mut Session<'_, L>,
    plan: &Type2Read,
    last_page: u8,
) -> Result<Option<Guard>, CardError> {
    let opening = Opening {
        reads: last_page,
        writes: None,
        passwords: &plan.passwords,
        allow_irreversible: false,
    };
    match session.unlock(&opening).await {
        Ok(_) => Ok(None),
        Err(CardError::NoPassword { .. } | CardError::TriesLimited { .. }) => {
            session.guard().await.map(Some)
        }
        Err(error) => Err(error),
    }
}

/// Reads what lies before the protected pages. A `READ` that runs into them brings the first pages of the card instead, so
/// where it is unknown where they begin, only the first page of each answer is taken.
async fn read_unprotected<L: CardLink>(
    session: &mut Session<'_, L>,
    first: u8,
    last: u8,
    guard: Guard,
) -> Result<Vec<u8>, CardError> {
    let first_protected = match guard {
        Guard::Password(configuration) => configuration.first_page(),
        Guard::TripleDes { first_page, .. } => first_page,
        Guard::Hidden => return read_singly(session, first, last).await,
        Guard::Absent => u8::MAX,
    };
    match first_protected.checked_sub(1) {
        Some(end) => read_on(session, first, last.min(end)).await,
        None => Ok(Vec::new()),
    }
}

/// Reads until the card refuses.
async fn read_on<L: CardLink>(
    session: &mut Session<'_, L>,
    first: u8,
    last: u8,
) -> Result<Vec<u8>, CardError> {
    match session.read_pages(first, last).await {
        Err(CardError::Unreadable { .. }) => read_singly(session, first, last).await,
        read => read,
    }
}

async fn read_singly<L: CardLink>(
    session: &mut Session<'_, L>,
    first: u8,
    last: u8,
) -> Result<Vec<u8>, CardError> {
    let mut data = Vec::new();
    for page in first..=last {
        match session.read(page).await {
            Ok(read) => data.extend(read.iter().take(4)),
            Err(CardError::Unreadable { .. }) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(data)
}
