//! The task with the PN532 driver and an emulated board.

use encoder_protocols::{card::virtual_card::CardKind, pn532::emulator::Fault};

use super::*;
use crate::drivers::bench::{self, encoded};

/// A task with a board of its own.
struct Desk {
    board: bench::Bench,
    commands: mpsc::Sender<EncoderCommand>,
    events: mpsc::Receiver<(EncoderId, EncoderEvent)>,
}

impl Desk {
    async fn ready() -> Self {
        let (board, _port) = bench::Bench::new();
        let (commands, commanded) = mpsc::channel(8);
        let (reported, events) = mpsc::channel(8);
        let plugged = board.clone();
        let open = move || -> Opening {
            let board = plugged.clone();
            Box::pin(async move { board.start(board.plug_in()).await })
        };
        let task = EncoderTask {
            id: EncoderId(0),
            settings: settings(),
            clock: board.clock,
            commands: commanded,
            events: reported,
            shutdown: CancellationToken::new(),
            open,
            plugged: watch::channel(()).1,
            watching: false,
            deferred: VecDeque::new(),
            problem: None,
            closed: Closed::default(),
            sign: SignOfLife::default(),
        };
        tokio::spawn(task.run(None));
        let mut desk = Self {
            board,
            commands,
            events,
        };
        assert!(matches!(desk.event().await, EncoderEvent::Ready(_)));
        desk
    }

    async fn command(&self, command: EncoderCommand) {
        self.commands.send(command).await.unwrap();
    }

    async fn event(&mut self) -> EncoderEvent {
        self.events.recv().await.unwrap().1
    }

    /// Watches until a card lies there and prepares the image for it.
    async fn prepare(&mut self) {
        self.command(EncoderCommand::Watch).await;
        let uid = loop {
            if let EncoderEvent::Polled(Poll::Card(card)) = self.event().await {
                break card.uid;
            }
        };
        self.command(EncoderCommand::Rest).await;
        self.command(EncoderCommand::Operate {
            job_id: job(),
            uid,
            operation: CardOperation::Prepare(bench::image()),
        })
        .await;
        assert!(matches!(self.end().await, Ok(OperationResult::Prepared)));
    }

    async fn commit(&mut self) -> Result<OperationResult, OperationError> {
        self.command(EncoderCommand::Commit { job_id: job() }).await;
        self.end().await
    }

    /// The end of the operation, whatever else is told before.
    async fn end(&mut self) -> Result<OperationResult, OperationError> {
        loop {
            if let EncoderEvent::Operation { result, .. } = self.event().await {
                return result;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn several_encoders_encode_at_the_same_time() {
    let (mut one, mut two) = tokio::join!(Desk::ready(), Desk::ready());
    let encode = async |desk: &mut Desk| {
        desk.board.place(CardKind::Classic1k);
        let factory = desk.board.memory();
        desk.prepare().await;
        desk.board
            .inject(Fault::DelayResponse(5, Duration::from_secs(1)));
        let begin = desk.board.clock.now();
        assert!(matches!(desk.commit().await, Ok(OperationResult::Written)));
        assert_eq!(desk.board.memory(), encoded(&factory));
        desk.board.clock.now().since(begin)
    };
    let begin = one.board.clock.now();
    let (first, second) = tokio::join!(encode(&mut one), encode(&mut two));
    let together = one.board.clock.now().since(begin);
    assert!(
        together < first + second,
        "{together:?} for {first:?} and {second:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_plug_pulled_in_a_write_ends_it_once_and_the_encoder_comes_back() {
    let mut desk = Desk::ready().await;
    desk.board.place(CardKind::Classic1k);
    desk.prepare().await;
    desk.board
        .inject(Fault::DelayResponse(3, Duration::from_millis(90)));
    let board = desk.board.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        board.unplug();
    });
    let error = desk.commit().await.unwrap_err();
    assert_eq!(error.error.touched, Touched::Unknown);
    assert!(!error.card_left);
    assert!(matches!(desk.event().await, EncoderEvent::Fault { .. }));
    assert!(matches!(desk.event().await, EncoderEvent::Ready(_)));
    desk.prepare().await;
    assert!(matches!(desk.commit().await, Ok(OperationResult::Written)));
}

#[tokio::test(start_paused = true)]
async fn a_card_lifted_before_the_commit_is_never_called_written() {
    let mut desk = Desk::ready().await;
    desk.board.place(CardKind::Classic1k);
    desk.prepare().await;
    let card = desk.board.lift();
    let error = desk.commit().await.unwrap_err();
    assert_ne!(error.error.touched, Touched::Written);
    desk.board.place_named("card", card);
    desk.prepare().await;
    assert!(matches!(desk.commit().await, Ok(OperationResult::Written)));
}

#[tokio::test(start_paused = true)]
async fn a_card_exchanged_before_the_preparation_lets_the_job_wait() {
    let mut desk = Desk::ready().await;
    desk.board.place(CardKind::Classic1k);
    desk.command(EncoderCommand::Operate {
        job_id: job(),
        uid: Some("01020304".parse().unwrap()),
        operation: CardOperation::Prepare(bench::image()),
    })
    .await;
    let error = desk.end().await.unwrap_err();
    assert!(error.card_left && error.is_untouched());
}
