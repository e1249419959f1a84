//! What a scan found, for people and for scripts.

use std::fmt::Write as _;

use encoder_protocols::card::{
    CardDescription,
    key_record::{StripeMark, stripe_mark},
    magstripe::{TrackContents, TrackFound},
};
use serde_json::json;

/// A card.
#[derive(Debug)]
pub(super) enum Found {
    /// It lies on the encoder.
    Lying(CardDescription),
    /// It was drawn through.
    Swiped {
        card: CardDescription,
        /// Without a payment card's data.
        tracks: Vec<TrackContents>,
    },
}

impl Found {
    pub(super) fn as_json(&self) -> String {
        let card = self.card();
        let mut told = json!({
            "technology": card.technology,
            "uid": card.uid,
            "card_number": card.card_number(),
            "capacity": card.capacity,
        });
        if let Self::Swiped { tracks, .. } = self {
            told["tracks"] = json!(tracks);
            told["key_record"] = json!(null);
            if let Some(mark) = stripe_mark(tracks) {
                told["card_number"] = json!(mark.card_number);
                told["key_record"] = json!({
                    "site_key_version": mark.site_key_version,
                    "card_number": mark.card_number,
                });
            }
        }
        told.to_string()
    }

    pub(super) fn as_text(&self) -> String {
        match self {
            Self::Lying(card) => lying(card),
            Self::Swiped { card, tracks } => swiped(card, tracks),
        }
    }

    const fn card(&self) -> &CardDescription {
        match self {
            Self::Lying(card) | Self::Swiped { card, .. } => card,
        }
    }
}

fn lying(card: &CardDescription) -> String {
    let uid = card
        .uid
        .map_or_else(|| "none".to_owned(), |uid| uid.to_string());
    let number = card
        .card_number()
        .unwrap_or_else(|| "none: the card draws a new uid each time".to_owned());
    format!(
        "technology   {}\nuid          {uid}\ncard number  {number}\ncapacity     {} bytes",
        card.technology, card.capacity
    )
}

fn swiped(card: &CardDescription, tracks: &[TrackContents]) -> String {
    let mut text = format!("technology   {}", card.technology);
    for contents in tracks {
        let _ = write!(text, "\n{}      {}", contents.track, shown(&contents.found));
    }
    let (number, record) = match stripe_mark(tracks) {
        Some(StripeMark {
            site_key_version,
            card_number,
        }) => (
            card_number,
            format!(
                "of site key {site_key_version}; whether it is authentic, and what it opens, a scan of the coordinator tells"
            ),
        ),
        None => ("none".to_owned(), "none".to_owned()),
    };
    let _ = write!(text, "\ncard number  {number}\nkey record   {record}");
    text
}

fn shown(found: &TrackFound) -> String {
    match found {
        TrackFound::Iso { text } => text.clone(),
        TrackFound::Raw { .. } => "bits that are no characters".to_owned(),
        TrackFound::Blank => "blank".to_owned(),
        TrackFound::Unreadable => "unreadable".to_owned(),
        TrackFound::PaymentData { masked } => format!("payment card, not shown {masked}")
            .trim_end()
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use encoder_protocols::card::magstripe::Track;

    use super::*;

    fn track(track: Track, text: &str) -> TrackContents {
        TrackContents::of_characters(track, text.as_bytes())
    }

    fn swiped_card(tracks: Vec<TrackContents>) -> Found {
        Found::Swiped {
            card: CardDescription::to_be_swiped(),
            tracks,
        }
    }

    #[test]
    fn a_stripe_is_told_track_by_track_with_the_record_that_it_may_carry() {
        let mut digits = "691007".to_owned();
        digits.push_str(&"4".repeat(98));
        let found = swiped_card(vec![
            track(Track::One, ""),
            track(Track::Two, ";9000000000000001?"),
            track(Track::Three, &format!(";{digits}?")),
        ]);
        let text = found.as_text();
        for line in [
            "technology   magnetic stripe card",
            "track 1      blank",
            "track 2      9000000000000001",
            "card number  9000000000000001",
        ] {
            assert!(text.lines().any(|told| told == line), "{text}");
        }
        assert!(text.contains("key record   of site key 7;"), "{text}");
        let told: serde_json::Value = serde_json::from_str(&found.as_json()).unwrap();
        assert_eq!(told["key_record"]["site_key_version"], 7);
        assert_eq!(told["card_number"], "9000000000000001");
        assert_eq!(told["tracks"][1]["text"], "9000000000000001");
    }

    #[test]
    fn a_foreign_stripe_has_no_number_and_a_payment_card_shows_none() {
        let mut tracks = vec![
            track(Track::One, "%B4111111111111111^DOE/JANE^2512101?"),
            track(Track::Two, ";4111111111111111=2512101?"),
            track(Track::Three, ""),
        ];
        TrackContents::mask_payment_data(&mut tracks);
        let found = swiped_card(tracks);
        for told in [found.as_text(), found.as_json()] {
            assert!(!told.contains("41111") && !told.contains("DOE"), "{told}");
        }
        assert!(found.as_text().contains("key record   none"));
        assert!(
            found
                .as_text()
                .contains("payment card, not shown ************1111")
        );
        let told: serde_json::Value = serde_json::from_str(&found.as_json()).unwrap();
        assert_eq!(told["key_record"], serde_json::Value::Null);
        assert_eq!(told["card_number"], serde_json::Value::Null);
    }
}
