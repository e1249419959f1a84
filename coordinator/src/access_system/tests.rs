//! What the access system makes for cards and reads back from them.

use encoder_protocols::card::{
    BlockContents, CardImage, ClassicImage, Technology, Uid, key_record::SiteKey,
};

use super::*;

fn keys(versions: &[u8]) -> impl Iterator<Item = VersionedSiteKey> {
    versions.iter().map(|version| VersionedSiteKey {
        version: *version,
        key: SiteKey::new([*version; 32]),
    })
}

fn card(uid: &[u8], technology: Technology) -> CardDescription {
    CardDescription {
        technology,
        uid: Some(Uid::new(uid).unwrap()),
        capacity: 716,
    }
}

fn credential() -> CredentialRow {
    let at: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
    CredentialRow {
        acs_credential_id: Uuid::from_u128(7),
        workspace_id: Uuid::nil(),
        acs_system_id: Uuid::nil(),
        connected_account_id: Uuid::nil(),
        acs_user_id: Uuid::nil(),
        display_name: "card".into(),
        starts_at: None,
        ends_at: Some(at),
        created_at: at,
        content_version: 3,
        changed_at: at,
        issued: None,
        deleted_at: None,
    }
}

fn prepare(
    system: &AccessSystem,
    card: &CardDescription,
    entrances: &[u16],
) -> Result<PlanContent, Refusal> {
    let now = "2026-11-21T09:00:00Z".parse().unwrap();
    system.prepare(card, &credential(), entrances.to_vec(), now)
}

#[test]
fn a_plan_stays_the_same_bytes_after_a_newer_site_key_was_made() {
    let card = card(&[1, 2, 3, 4], Technology::MifareClassic1k);
    let old = AccessSystem::new(keys(&[2, 1]));
    let content = prepare(&old, &card, &[1]).unwrap();
    let newer = AccessSystem::new(keys(&[3, 2, 1]));
    let image = |system: &AccessSystem| system.image(&card, Uuid::from_u128(7), &content).unwrap();
    assert_eq!(image(&old), image(&newer));
}

#[test]
fn cards_that_cannot_carry_a_record_are_incompatible() {
    let system = AccessSystem::new(keys(&[1]));
    for card in [
        card(&[1, 2, 3, 4], Technology::Desfire),
        card(&[1, 2, 3, 4], Technology::Unknown),
        card(&[8, 2, 3, 4], Technology::MifareClassic1k),
    ] {
        let refusal = prepare(&system, &card, &[]).unwrap_err();
        assert_eq!(refusal.code, ErrorCode::IncompatibleCardFormat, "{card:?}");
        assert_eq!(system.read_plan(&card), ReadPlan::UidOnly);
    }
}

#[test]
fn a_credential_that_fits_no_record_is_refused_without_blaming_the_card() {
    let system = AccessSystem::new(keys(&[1]));
    let card = card(&[1, 2, 3, 4, 5, 6, 7], Technology::Ntag213);
    let refusal = prepare(&system, &card, &[1, 2, 3, 4]).unwrap_err();
    assert_eq!(refusal.code, ErrorCode::UncategorizedError);
    assert!(refusal.message.contains("entrances"), "{}", refusal.message);
    let keyless = prepare(&AccessSystem::new([]), &card, &[]).unwrap_err();
    assert_eq!(keyless.code, ErrorCode::UncategorizedError);
}

#[test]
fn what_was_written_decodes_on_its_own_card_alone() {
    let system = AccessSystem::new(keys(&[1]));
    let own = card(&[1, 2, 3, 4], Technology::MifareClassic1k);
    let content = prepare(&system, &own, &[5]).unwrap();
    let image = system.image(&own, Uuid::from_u128(7), &content).unwrap();
    let contents = as_read(&image);
    assert!(matches!(
        system.decode(&own, &contents),
        Decoded::Record(record) if record.credential_id == Uuid::from_u128(7) && record.entrances == [5]
    ));
    let copy = card(&[9, 9, 9, 9], Technology::MifareClassic1k);
    assert!(matches!(
        system.decode(&copy, &contents),
        Decoded::NotAuthentic
    ));
    assert!(matches!(
        system.decode(&own, &CardContents::UidOnly),
        Decoded::Nothing
    ));
}

/// What a scan of a card with this image reads.
pub(crate) fn as_read(image: &CardImage) -> CardContents {
    let CardImage::MifareClassic(ClassicImage { sectors }) = image else {
        panic!("expected a classic image");
    };
    let blocks = sectors.iter().flat_map(|sector| {
        sector.blocks.iter().map(|block| BlockContents {
            block: sector.sector * 4 + block.block,
            data: block.data,
        })
    });
    CardContents::MifareClassic {
        blocks: blocks.collect(),
        unread: vec![],
    }
}
