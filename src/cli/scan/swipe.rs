//! A card that is drawn through the encoder: it is asked for, and what stands on it read.

use encoder_protocols::card::{
    CardContents, CardDescription, CardError, CardLinkError, ReadPlan,
    magstripe::{MagstripeRead, Track, TrackContents, TrackForm, TrackFound},
};
use tokio_util::sync::CancellationToken;

use super::found::Found;
use crate::{cli::Output, drivers::Encoder};

/// Waits for a swipe that brings something, and reads it with payment data masked.
pub(super) async fn read(
    encoder: &mut dyn Encoder,
    card: CardDescription,
    cancel: &CancellationToken,
    output: &Output,
) -> Result<Found, String> {
    let plan = ReadPlan::Magstripe(MagstripeRead {
        form: TrackForm::Iso,
        tracks: Track::ALL.to_vec(),
    });
    output.complain("draw the card through the encoder");
    loop {
        match encoder.read(None, &plan, cancel).await {
            Ok(CardContents::Magstripe { mut tracks }) => {
                TrackContents::mask_payment_data(&mut tracks);
                if tracks.iter().any(is_brought) {
                    return Ok(Found::Swiped { card, tracks });
                }
                output.complain("nothing could be read: draw it through again, with its stripe to the head, or another");
            }
            Ok(
                CardContents::MifareClassic { .. }
                | CardContents::Type2 { .. }
                | CardContents::UidOnly,
            ) => {
                return Err(
                    "the encoder read another card than one that is drawn through".to_owned(),
                );
            }
            Err(error) if is_bad_swipe(&error) => {
                output.complain(format!("{error}: draw it through again"));
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}

fn is_brought(contents: &TrackContents) -> bool {
    match contents.found {
        TrackFound::Iso { .. } | TrackFound::Raw { .. } | TrackFound::PaymentData { .. } => true,
        TrackFound::Blank | TrackFound::Unreadable => false,
    }
}

fn is_bad_swipe(error: &CardError) -> bool {
    matches!(
        error,
        CardError::Link {
            source: CardLinkError::BadSwipe(_),
            ..
        }
    )
}
