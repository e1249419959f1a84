//! The task with an encoder that cards are drawn through.

use encoder_protocols::{
    card::magstripe::{
        Coercivity, MagstripeImage, MagstripeRead, Track, TrackContents, TrackForm, TrackFound,
        TrackImage,
    },
    fault::HardwareFault,
};
use tokio::sync::mpsc::UnboundedReceiver;

use super::*;

/// What somebody draws through the encoder: what the device makes of it, or the number of the track that reads otherwise.
#[derive(Clone, Debug)]
enum Swipe {
    Good,
    Bad,
    Other,
    Payment,
}

/// An encoder that answers swipes as they come.
struct Swiped {
    swipes: UnboundedReceiver<Swipe>,
    armed: mpsc::UnboundedSender<&'static str>,
    /// A reset after which the device no longer answers.
    dies: bool,
}

impl Swiped {
    async fn next(
        &mut self,
        what: &'static str,
        cancel: &CancellationToken,
    ) -> Result<Swipe, CardError> {
        self.armed.send(what).unwrap();
        tokio::select! {
            biased;
            () = cancel.cancelled() => Err(link(CardLinkError::Cancelled)),
            swipe = self.swipes.recv() => match swipe {
                Some(Swipe::Bad) => Err(link(CardLinkError::BadSwipe(HardwareFault {
                    driver: "msr".to_owned(),
                    code: "0x39".to_owned(),
                    meaning: "invalid swipe".to_owned(),
                }))),
                Some(swipe) => Ok(swipe),
                None => std::future::pending().await,
            },
        }
    }
}

impl Encoder for Swiped {
    fn identity(&self) -> EncoderIdentity {
        EncoderIdentity {
            model: None,
            serial: None,
            firmware: None,
            abilities: Abilities::default(),
        }
    }

    fn poll<'a>(
        &'a mut self,
        _cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<Poll, EncoderError>> {
        Box::pin(async { Ok(Poll::Empty) })
    }

    fn rest(&mut self) -> BoxFuture<'_, Result<(), EncoderError>> {
        Box::pin(async { Ok(()) })
    }

    fn prepare<'a>(
        &'a mut self,
        uid: Option<Uid>,
        _image: &'a CardImage,
        _rules: WriteRules,
        _cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<(), CardError>> {
        assert_eq!(uid, None);
        self.armed.send("prepare").unwrap();
        Box::pin(async { Ok(()) })
    }

    fn write<'a>(
        &'a mut self,
        _verifying: &'a mut (dyn FnMut() + Send),
        cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<(), WriteError>> {
        Box::pin(async move {
            let dies = self.dies;
            self.next("write", cancel)
                .await
                .map(drop)
                .map_err(|error| WriteError {
                    changed: dies || error != link(CardLinkError::Cancelled),
                    error,
                })
        })
    }

    fn verify<'a>(
        &'a mut self,
        _uid: Option<Uid>,
        _image: &'a CardImage,
        cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<(), CardError>> {
        Box::pin(async move {
            match self.next("verify", cancel).await? {
                Swipe::Other => Err(CardError::Differs {
                    at: encoder_protocols::card::Place::Track(Track::Two),
                }),
                Swipe::Good | Swipe::Bad | Swipe::Payment => Ok(()),
            }
        })
    }

    fn read<'a>(
        &'a mut self,
        _uid: Option<Uid>,
        _plan: &'a ReadPlan,
        cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<CardContents, CardError>> {
        Box::pin(async move {
            let text: &[u8] = match self.next("read", cancel).await? {
                Swipe::Payment => b";4111111111111111=2512101?",
                Swipe::Good | Swipe::Bad | Swipe::Other => b";4111111111111111?",
            };
            let tracks = vec![TrackContents::of_characters(Track::Two, text)];
            Ok(CardContents::Magstripe { tracks })
        })
    }

    fn signal(&mut self, _signal: Signal) -> BoxFuture<'_, Result<(), EncoderError>> {
        Box::pin(async { Ok(()) })
    }

    fn health(&mut self) -> BoxFuture<'_, Result<(), EncoderError>> {
        Box::pin(async { Ok(()) })
    }

    fn lost(&mut self) -> BoxFuture<'_, EncoderError> {
        Box::pin(std::future::pending())
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
}

/// A task with such an encoder, and the hand that swipes.
struct Pool {
    commands: mpsc::Sender<EncoderCommand>,
    events: mpsc::Receiver<(EncoderId, EncoderEvent)>,
    hand: mpsc::UnboundedSender<Swipe>,
    armed: UnboundedReceiver<&'static str>,
    shutdown: CancellationToken,
}

impl Pool {
    async fn ready(dies: bool) -> Self {
        let (hand, swipes) = mpsc::unbounded_channel();
        let (armed_in, armed) = mpsc::unbounded_channel();
        let (commands, commanded) = mpsc::channel(8);
        let (reported, events) = mpsc::channel(8);
        let shutdown = CancellationToken::new();
        let mut encoder = Some(Swiped {
            swipes,
            armed: armed_in,
            dies,
        });
        let open = move || -> Opening {
            let encoder = encoder.take();
            Box::pin(async move {
                let encoder: Box<dyn Encoder> = Box::new(encoder.ok_or_else(gone)?);
                Ok(encoder)
            })
        };
        let task = EncoderTask {
            id: EncoderId(3),
            settings: settings(),
            clock: Clock::start(),
            commands: commanded,
            events: reported,
            shutdown: shutdown.clone(),
            plugged: watch::channel(()).1,
            open,
            watching: false,
            deferred: VecDeque::new(),
            problem: None,
            closed: Closed::default(),
            sign: SignOfLife::default(),
        };
        tokio::spawn(task.run(None));
        let mut pool = Self {
            commands,
            events,
            hand,
            armed,
            shutdown,
        };
        assert!(matches!(pool.event().await, EncoderEvent::Ready(_)));
        pool
    }

    /// The write awaits its swipe.
    async fn armed(dies: bool) -> Self {
        let mut pool = Self::ready(dies).await;
        pool.operate(CardOperation::Prepare(stripe("12345"))).await;
        assert!(matches!(
            pool.operation().await,
            Ok(OperationResult::Prepared)
        ));
        pool.waits_for("prepare").await;
        let commit = EncoderCommand::Commit { job_id: job() };
        pool.commands.send(commit).await.unwrap();
        pool.waits_for("write").await;
        pool
    }

    async fn operate(&self, operation: CardOperation) {
        let operate = EncoderCommand::Operate {
            job_id: job(),
            uid: None,
            operation,
        };
        self.commands.send(operate).await.unwrap();
    }

    async fn waits_for(&mut self, what: &str) {
        assert_eq!(self.armed.recv().await, Some(what));
    }

    fn swipe(&self, swipe: Swipe) {
        self.hand.send(swipe).unwrap();
    }

    async fn event(&mut self) -> EncoderEvent {
        self.events.recv().await.unwrap().1
    }

    async fn written(&mut self) {
        self.swipe(Swipe::Good);
        assert!(matches!(self.event().await, EncoderEvent::Verifying { .. }));
        self.waits_for("verify").await;
    }

    async fn operation(&mut self) -> Result<OperationResult, OperationError> {
        let event = self.event().await;
        let EncoderEvent::Operation { result, .. } = event else {
            panic!("expected the end of an operation, got {event:?}");
        };
        result
    }
}

#[tokio::test(start_paused = true)]
async fn one_swipe_writes_and_another_shows_it() {
    let mut pool = Pool::armed(false).await;
    pool.written().await;
    pool.swipe(Swipe::Good);
    assert!(matches!(
        pool.operation().await,
        Ok(OperationResult::Written)
    ));
}

#[tokio::test(start_paused = true)]
async fn an_abort_before_the_swipe_leaves_every_card_untouched() {
    for shutdown in [false, true] {
        let mut pool = Pool::armed(false).await;
        if shutdown {
            pool.shutdown.cancel();
        } else {
            let abort = EncoderCommand::Abort { job_id: job() };
            pool.commands.send(abort).await.unwrap();
        }
        assert!(pool.operation().await.unwrap_err().is_untouched());
    }
}

#[tokio::test(start_paused = true)]
async fn a_reset_that_the_encoder_does_not_answer_proves_nothing() {
    let mut pool = Pool::armed(true).await;
    let abort = EncoderCommand::Abort { job_id: job() };
    pool.commands.send(abort).await.unwrap();
    let error = pool.operation().await.unwrap_err();
    assert_eq!(error.error.touched, Touched::Unknown);
}

#[tokio::test(start_paused = true)]
async fn a_bad_swipe_while_writing_may_have_changed_the_card() {
    let mut pool = Pool::armed(false).await;
    pool.swipe(Swipe::Bad);
    let error = pool.operation().await.unwrap_err().error;
    assert_eq!(error.code, ErrorCode::EncodingInterrupted);
    assert_eq!(error.touched, Touched::Unknown);
    assert!(
        error.message.contains("create a new credential"),
        "{}",
        error.message
    );
    assert_eq!(error.hardware.unwrap().code, "0x39");
}

#[tokio::test(start_paused = true)]
async fn an_abort_that_crosses_the_swipe_does_not_stop_the_verification() {
    let mut pool = Pool::armed(false).await;
    pool.written().await;
    let abort = EncoderCommand::Abort { job_id: job() };
    pool.commands.send(abort).await.unwrap();
    pool.swipe(Swipe::Good);
    assert!(pool.operation().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn bad_swipes_and_other_cards_may_be_followed_by_the_right_one() {
    let mut pool = Pool::armed(false).await;
    pool.written().await;
    pool.swipe(Swipe::Bad);
    pool.waits_for("verify").await;
    pool.swipe(Swipe::Other);
    pool.waits_for("verify").await;
    pool.swipe(Swipe::Good);
    assert!(pool.operation().await.is_ok());

    let mut pool = Pool::armed(false).await;
    pool.written().await;
    for _ in 0..3 {
        pool.swipe(Swipe::Other);
    }
    let error = pool.operation().await.unwrap_err().error;
    assert_eq!(error.touched, Touched::Unknown);
    assert!(
        error.message.starts_with("track 2 does not hold"),
        "{}",
        error.message
    );
}

#[tokio::test(start_paused = true)]
async fn the_verification_ends_when_nobody_swipes_any_more() {
    let mut pool = Pool::armed(false).await;
    pool.written().await;
    let stop = EncoderCommand::StopVerifying { job_id: job() };
    pool.commands.send(stop).await.unwrap();
    let error = pool.operation().await.unwrap_err();
    assert_eq!(error.error.touched, Touched::Unknown);
}

#[tokio::test(start_paused = true)]
async fn payment_data_never_reaches_the_encoder() {
    let mut pool = Pool::ready(false).await;
    let image = stripe("4111111111111111=2512101");
    pool.operate(CardOperation::Prepare(image)).await;
    let error = pool.operation().await.unwrap_err();
    assert!(error.is_untouched());
    assert!(!error.error.message.contains("4111"));
    assert!(error.error.message.contains("payment card data"));
    assert!(pool.armed.try_recv().is_err(), "the encoder was not asked");
}

#[tokio::test(start_paused = true)]
async fn payment_data_is_masked_before_it_leaves_the_task() {
    let mut pool = Pool::ready(false).await;
    for (swipe, found) in [
        (
            Swipe::Payment,
            TrackFound::PaymentData {
                masked: "************1111".to_owned(),
            },
        ),
        (
            Swipe::Good,
            TrackFound::Iso {
                text: "4111111111111111".to_owned(),
            },
        ),
    ] {
        let plan = ReadPlan::Magstripe(MagstripeRead {
            form: TrackForm::Iso,
            tracks: vec![Track::Two],
        });
        pool.operate(CardOperation::Read(plan)).await;
        pool.swipe(swipe);
        let Ok(OperationResult::Read(CardContents::Magstripe { tracks })) = pool.operation().await
        else {
            panic!("expected tracks");
        };
        assert_eq!(tracks[0].found, found);
    }
}

fn stripe(text: &str) -> CardImage {
    CardImage::Magstripe(MagstripeImage {
        card_number: "1".to_owned(),
        coercivity: Coercivity::Low,
        tracks: vec![TrackImage::iso(Track::Two, text)],
    })
}

fn link(source: CardLinkError) -> CardError {
    CardError::Link { at: None, source }
}
