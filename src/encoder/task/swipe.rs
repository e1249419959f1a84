//! Operations on cards that are drawn through the encoder.

use encoder_protocols::{
    card::{
        CardContents, CardError, CardImage, CardLinkError, WriteError, job_error_without_uid,
        magstripe::TrackContents,
    },
    wire::JobId,
};
use tokio_util::sync::CancellationToken;

use super::{
    EncoderTask, Left,
    operation::{Begun, is_from},
};
use crate::{
    drivers::Encoder,
    encoder::{CardOperation, EncoderEvent, OperationError, OperationResult},
};

/// How often a card may be swiped in vain for one reading.
const SWIPES: u32 = 3;

/// Operations on swiped cards.
impl<O> EncoderTask<O> {
    pub(super) async fn operate_swipe(
        &mut self,
        encoder: &mut dyn Encoder,
        job_id: JobId,
        operation: CardOperation,
    ) -> Result<(), Left> {
        let cancel = CancellationToken::new();
        let result = match operation {
            CardOperation::Prepare(image) => {
                let checked = check(&image);
                let prepared = match checked {
                    Ok(()) => {
                        let work = encoder.prepare(None, &image, self.rules(), &cancel);
                        self.watch_over(job_id, work, &cancel, Begun::Nothing).await
                    }
                    Err(error) => Err(error),
                };
                match prepared {
                    Ok(()) => {
                        self.finish(job_id, Ok(OperationResult::Prepared)).await;
                        return self.hold(encoder, job_id, Some(image)).await;
                    }
                    Err(error) => Err(error),
                }
            }
            CardOperation::Verify(image) => {
                let verified = self.verify_swipe(encoder, job_id, &image, Begun::Nothing);
                verified.await.map(|()| OperationResult::Verified)
            }
            CardOperation::Read(plan) => {
                let mut swipes = 1;
                let read = loop {
                    let work = encoder.read(None, &plan, &cancel);
                    match self.watch_over(job_id, work, &cancel, Begun::Nothing).await {
                        Err(error) if swipes < SWIPES && may_swipe_again(&error) => swipes += 1,
                        read => break read,
                    }
                };
                read.map(|contents| OperationResult::Read(masked(contents)))
            }
            CardOperation::Erase(tracks) => {
                let work = encoder.erase(&tracks, &cancel);
                match self.watch_over(job_id, work, &cancel, Begun::Nothing).await {
                    Ok(()) => Ok(OperationResult::Written),
                    Err(WriteError { error, changed }) => {
                        return self.fail_swipe(job_id, &error, changed).await;
                    }
                }
            }
        };
        match result {
            Ok(_) => self.conclude(job_id, result).await,
            Err(error) => self.fail_swipe(job_id, &error, false).await,
        }
    }

    /// Waits for the swipe that writes, and then for one that shows what stands on the card.
    pub(super) async fn commit_swipe(
        &mut self,
        encoder: &mut dyn Encoder,
        job_id: JobId,
        image: &CardImage,
    ) -> Result<(), Left> {
        let cancel = CancellationToken::new();
        let mut unheard = || {};
        let work = encoder.write(&mut unheard, &cancel);
        let written = self.watch_over(job_id, work, &cancel, Begun::Nothing).await;
        if let Err(WriteError { error, changed }) = written {
            return self.fail_swipe(job_id, &error, changed).await;
        }
        self.emit(EncoderEvent::Verifying { job_id }).await;
        let verified = self.verify_swipe(encoder, job_id, image, Begun::Verifying);
        match verified.await {
            Ok(()) => self.conclude(job_id, Ok(OperationResult::Written)).await,
            Err(error) => self.fail_swipe(job_id, &error, true).await,
        }
    }

    /// Compares what is swiped with the image. It only reads, so a bad swipe, or one of another card, may be followed by
    /// a better one.
    async fn verify_swipe(
        &mut self,
        encoder: &mut dyn Encoder,
        job_id: JobId,
        image: &CardImage,
        begun: Begun,
    ) -> Result<(), CardError> {
        let cancel = CancellationToken::new();
        let mut swipes = 1;
        loop {
            let work = encoder.verify(None, image, &cancel);
            match self.watch_over(job_id, work, &cancel, begun).await {
                Err(error) if swipes < SWIPES && may_swipe_again(&error) => swipes += 1,
                verified => return verified,
            }
        }
    }

    async fn fail_swipe(
        &mut self,
        job_id: JobId,
        error: &CardError,
        changed: bool,
    ) -> Result<(), Left> {
        let failed = OperationError {
            error: job_error_without_uid(error, changed),
            card_left: false,
        };
        self.finish(job_id, Err(failed)).await;
        self.after(error)
    }
}

/// What no driver needs to look at: whether the image is one at all.
fn check(image: &CardImage) -> Result<(), CardError> {
    match image {
        CardImage::Magstripe(image) => Ok(image.check()?),
        // The driver says what it expected.
        CardImage::MifareClassic(_) | CardImage::Type2(_) => Ok(()),
    }
}

fn may_swipe_again(error: &CardError) -> bool {
    let is_bad = is_from(error, |source| matches!(source, CardLinkError::BadSwipe(_)));
    is_bad
        || matches!(
            error,
            CardError::Unreadable { .. } | CardError::Differs { .. }
        )
}

/// Payment data does not leave the agent.
fn masked(mut contents: CardContents) -> CardContents {
    if let CardContents::Magstripe { tracks } = &mut contents {
        TrackContents::mask_payment_data(tracks);
    }
    contents
}
