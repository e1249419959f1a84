//! What comes after a case: the next jobs show that credential, card and encoder are not wedged, and that no rule was
//! forgotten over the restart.

use std::time::Duration;

use encoder_protocols::{card::Uid, wire::JobId};
use serde_json::{Value, json};

use super::{
    HarnessError,
    api::is_pending,
    case::Then,
    scene::{Scene, error_of},
    until,
};

/// How many answers of the encoder are two looks for a card and more.
const LOOKS: u64 = 6;

/// How long a waiting job is watched at most while a fresh card lies there.
const WATCHING: Duration = Duration::from_secs(10);

/// Plays the jobs that follow the one whose attempt has ended as `attempt`.
pub(super) fn next_jobs(scene: &mut Scene<'_>, attempt: &Value) -> Result<(), HarnessError> {
    let credential = scene.site.credentials()[0];
    let held = scene.site.held_on(credential)?;
    another_credential(scene, held)?;
    if attempt["status"] == json!("success") {
        return written_already(scene, held);
    }
    match (held, scene.case.then) {
        (Some(card), Then::Other) => {
            on_a_forbidden_card(scene, card)?;
            on_the_card(scene, card)
        }
        (Some(card), Then::Same | Then::None) => on_the_card(scene, card),
        (None, _) => on_the_card(scene, scene.cards[0]),
    }
}

/// The encoder serves another credential on another card; the card that was just written must be lifted first.
fn another_credential(scene: &mut Scene<'_>, held: Option<Uid>) -> Result<(), HarnessError> {
    let credential = scene.site.credentials()[1];
    let [first, _, third] = scene.cards;
    let fresh = held.filter(|card| *card == first && scene.case.then == Then::Same);
    if fresh.is_none() {
        scene.lay(Some(third));
    }
    let job = scene.encode(credential)?;
    if fresh.is_some() {
        let before = scene.device.memories();
        let looked = scene.device.answers() + LOOKS;
        let gate = scene.gate;
        gate.aside(|| until(WATCHING, || Ok(scene.device.answers() >= looked)))?;
        if scene.device.memories() != before || !is_pending(&scene.site.api.attempt(job)?) {
            scene.wrong("an encode of another credential did not wait until the card was lifted");
        }
        scene.lay(Some(third));
    }
    expect_success(scene, job, "another credential on another card")
}

/// The credential is on a card: it goes onto no other, and need not be written again.
fn written_already(scene: &mut Scene<'_>, held: Option<Uid>) -> Result<(), HarnessError> {
    let Some(card) = held else {
        scene.wrong("a success holds its credential on no card");
        return Ok(());
    };
    scene.lay(Some(card));
    expect_refusal(scene, "a credential that is on a card")
}

/// What happened to the card is not known: no other card may take the credential.
fn on_a_forbidden_card(scene: &mut Scene<'_>, card: Uid) -> Result<(), HarnessError> {
    let [first, second, _] = scene.cards;
    scene.lay(Some(if card == first { second } else { first }));
    expect_refusal(scene, "a credential that is tied to another card")
}

fn on_the_card(scene: &mut Scene<'_>, card: Uid) -> Result<(), HarnessError> {
    scene.lay(Some(card));
    let job = scene.encode(scene.site.credentials()[0])?;
    expect_success(
        scene,
        job,
        "the same credential on the card that may take it",
    )
}

fn expect_success(scene: &mut Scene<'_>, job: JobId, what: &str) -> Result<(), HarnessError> {
    let attempt = scene.ended(job)?;
    if attempt["status"] != json!("success") {
        scene.wrong(format!("{what}: expected success, got {attempt}"));
    }
    Ok(())
}

fn expect_refusal(scene: &mut Scene<'_>, what: &str) -> Result<(), HarnessError> {
    let before = scene.device.memories();
    let job = scene.encode(scene.site.credentials()[0])?;
    let attempt = scene.ended(job)?;
    let is_refused = error_of(&attempt) == Some("credential_cannot_be_reissued");
    if !is_refused || scene.device.memories() != before {
        scene.wrong(format!(
            "{what}: expected credential_cannot_be_reissued and no change, got {attempt}"
        ));
    }
    Ok(())
}
