//! What the access system makes for cards and reads back from them.

use encoder_protocols::{
    card::{
        BlockContents, CardImage, ClassicImage, Technology, Uid,
        key_record::{MOST_ENTRANCES, SiteKey},
        magstripe::{TrackContents, TrackData, TrackFound},
    },
    wire::{CardPlan, JobId, MAX_MESSAGE_BYTES, Plan, ServiceMessage, WireMessage as _},
};

use super::*;
use crate::store::systems::SystemKind;

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
        acs_user_id: Some(Uuid::nil()),
        user_identity_id: None,
        registered_number: None,
        kind: SystemKind::Embedded,
        provider: None,
        doors: Vec::new(),
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
    for entrances in [vec![0], vec![1; MOST_ENTRANCES + 1]] {
        let refusal = prepare(&system, &card, &entrances).unwrap_err();
        assert_eq!(refusal.code, ErrorCode::UncategorizedError);
        assert!(refusal.message.contains("entrance"), "{}", refusal.message);
    }
    let keyless = prepare(&AccessSystem::new([]), &card, &[]).unwrap_err();
    assert_eq!(keyless.code, ErrorCode::UncategorizedError);
}

#[test]
fn a_card_without_room_for_all_entrances_is_incompatible_and_told_in_numbers() {
    let system = AccessSystem::new(keys(&[1]));
    let twenty: Vec<u16> = (1..=20).collect();
    let small = card(&[1, 2, 3, 4, 5, 6, 7], Technology::Ultralight);
    let refusal = prepare(&system, &small, &twenty).unwrap_err();
    assert_eq!(refusal.code, ErrorCode::IncompatibleCardFormat);
    assert_eq!(
        refusal.message,
        "a MIFARE Ultralight has room for 3 entrances, the credential has 20; \
         use a larger card, or give the credential fewer entrances"
    );
    let large = card(&[1, 2, 3, 4], Technology::MifareClassic1k);
    assert!(prepare(&system, &large, &twenty).is_ok());
}

#[test]
fn the_largest_plans_fit_a_message() {
    let system = AccessSystem::new(keys(&[4, 3, 2, 1]));
    let entrances = vec![u16::MAX; MOST_ENTRANCES];
    let card = card(&[1, 2, 3, 4], Technology::MifareClassic4k);
    let content = prepare(&system, &card, &entrances).unwrap();
    let image = system.image(&card, Uuid::from_u128(7), &content).unwrap();
    for plan in [
        Plan::Write { image },
        Plan::Read {
            plan: system.read_plan(&card),
        },
    ] {
        let message = ServiceMessage::CardPlan(CardPlan {
            job_id: JobId(Uuid::nil()),
            n: 1,
            uid: card.uid,
            plan,
        });
        assert!(message.encode().len() < MAX_MESSAGE_BYTES / 4);
    }
}

#[test]
fn what_was_written_decodes_on_its_own_card_alone() {
    let system = AccessSystem::new(keys(&[1]));
    let own = card(&[1, 2, 3, 4], Technology::MifareClassic1k);
    let copy = card(&[9, 9, 9, 9], Technology::MifareClassic1k);
    for entrances in [vec![5], (1..=20).collect()] {
        let content = prepare(&system, &own, &entrances).unwrap();
        let image = system.image(&own, Uuid::from_u128(7), &content).unwrap();
        let contents = as_read(&image);
        let Decoded::Record { record, .. } = system.decode(&own, &contents) else {
            panic!("expected a record of {entrances:?}");
        };
        assert_eq!(record.credential_id, Uuid::from_u128(7));
        assert_eq!(record.entrances, entrances);
        assert!(matches!(
            system.decode(&copy, &contents),
            Decoded::NotAuthentic
        ));
    }
    assert!(matches!(
        system.decode(&own, &CardContents::UidOnly),
        Decoded::Nothing
    ));
}

/// What a scan of a card with this image reads.
pub(crate) fn as_read(image: &CardImage) -> CardContents {
    let sectors = match image {
        CardImage::MifareClassic(ClassicImage { sectors }) => sectors,
        CardImage::Magstripe(image) => {
            let tracks = image.tracks.iter().map(|image| {
                let TrackData::Iso(text) = &image.data else {
                    panic!("expected characters");
                };
                let found = TrackFound::Iso { text: text.clone() };
                TrackContents {
                    track: image.track,
                    found,
                }
            });
            return CardContents::Magstripe {
                tracks: tracks.collect(),
            };
        }
        CardImage::Type2(_) => panic!("expected a classic image or a stripe's"),
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
