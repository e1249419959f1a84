//! Writing what was prepared: user pages, then the password, then pages that may never be changed back.

use super::{
    geometry::{OTP_PAGE, Role},
    prepare::{PreparedType2, Protecting},
    session::Session,
    verify::{Protected, verify_in_one_go, verify_pages, verify_protection},
};
use crate::card::{
    CardError, CardLink, PageImage, Password, WriteError, WriteStage, recovery::Attempts,
};

/// Writes and reads back.
pub(in crate::card) async fn write<L: CardLink>(
    link: &mut L,
    prepared: &PreparedType2,
    progress: &mut (impl FnMut(WriteStage) + Send),
) -> Result<(), WriteError> {
    let mut session = Session::new(link, prepared.geometry, prepared.password.clone());
    session.counts_tries = prepared.counts_tries;
    let written = write_all(&mut session, prepared, progress).await;
    written.map_err(|error| WriteError {
        error,
        changed: session.changed,
    })
}

async fn write_all<L: CardLink>(
    session: &mut Session<'_, L>,
    prepared: &PreparedType2,
    progress: &mut (impl FnMut(WriteStage) + Send),
) -> Result<(), CardError> {
    let (first, last) = in_order(prepared);
    for page in &first {
        session.write(page.page, &page.data).await?;
    }
    if prepared.protecting.is_none() && last.is_empty() {
        progress(WriteStage::Verifying);
    }
    // Before anything that could make them unreadable or final.
    verify_pages(session, &first).await?;
    let mut protected = None;
    if let Some(protecting) = &prepared.protecting {
        write_protection(session, protecting).await?;
        if last.is_empty() {
            progress(WriteStage::Verifying);
        }
        let wanted = Protected {
            protection: &protecting.protection,
            page: protecting.page,
            expected: protecting.after,
        };
        verify_protection(session, wanted).await?;
        protected = Some(wanted);
    }
    if !last.is_empty() {
        for page in &last {
            session.write(page.page, &page.data).await?;
        }
        progress(WriteStage::Verifying);
        verify_pages(session, &last).await?;
    }
    let all = [first, last].concat();
    verify_in_one_go(session, &all, protected).await
}

/// User pages and OTP, then configuration and lock pages, for these decide whether the others can be written.
fn in_order(prepared: &PreparedType2) -> (Vec<&PageImage>, Vec<&PageImage>) {
    let geometry = &prepared.geometry;
    let (first, mut last): (Vec<_>, Vec<_>) = prepared
        .image
        .pages
        .iter()
        .partition(|page| page.page == OTP_PAGE || geometry.role(page.page) == Role::User);
    last.sort_by_key(|page| (geometry.role(page.page) != Role::Configuration, page.page));
    (first, last)
}

/// Sets PWD, PACK, then PROT, and last AUTH0. A password that stays is not written. Where the card is protected and
/// anything but AUTH0 is to change, AUTH0 is lifted first: the card goes by the old one until its power goes (NXP
/// community, thread 488217), and one that was torn on the way opens without any password, even if half of one was
/// written.
async fn write_protection<L: CardLink>(
    session: &mut Session<'_, L>,
    protecting: &Protecting,
) -> Result<(), CardError> {
    let Protecting {
        protection,
        page,
        before,
        after,
    } = protecting;
    let [pack0, pack1] = protection.acknowledge;
    let keeps_password = session.password.as_ref() == Some(&protection.password);
    let is_protected = before.first_page() < session.geometry.pages;
    let lifts =
        is_protected && !before.is_final() && !(keeps_password && before.cfg1 == after.cfg1);
    if lifts {
        session.write(*page, &before.lifted().cfg0).await?;
    }
    if !keeps_password {
        write_password(session, protecting).await?;
    }
    session.write(page + 3, &[pack0, pack1, 0, 0]).await?;
    if before.cfg1 != after.cfg1 {
        session.write(page + 1, &after.cfg1).await?;
    }
    if lifts || before.cfg0 != after.cfg0 {
        session.write(*page, &after.cfg0).await?;
    }
    Ok(())
}

/// Sets PWD. After a write whose end is unknown a card that is protected opens with the new password or with the old one;
/// where it counts wrong passwords, that is not tried out.
async fn write_password<L: CardLink>(
    session: &mut Session<'_, L>,
    protecting: &Protecting,
) -> Result<(), CardError> {
    let page = protecting.page + 2;
    let new = &protecting.protection.password;
    let old = session.password.clone();
    let mut attempts = Attempts::default();
    loop {
        if session.write_once(page, &new.0, &mut attempts).await? {
            if old.is_some() {
                session.password = Some(new.clone());
            }
            return Ok(());
        }
        if let Some(old) = &old {
            open_with_either(session, protecting, old).await?;
        }
    }
}

async fn open_with_either<L: CardLink>(
    session: &mut Session<'_, L>,
    protecting: &Protecting,
    old: &Password,
) -> Result<(), CardError> {
    let new = &protecting.protection.password;
    if session.counts_tries {
        return Err(CardError::TriesLimited { tried: 0, known: 2 });
    }
    if session.try_password(new).await?.is_ok() {
        return Ok(());
    }
    let answer = session.try_password(old).await?;
    answer.map(drop).map_err(|fault| CardError::NoPassword {
        tried: 2,
        fault: Some(fault),
    })
}
