use std::{collections::VecDeque, time::Duration};

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::*;

/// A protocol whose request and reply are lines; it says its request again after 100 ms of silence, twice at most.
#[derive(Default)]
struct LineLink {
    request: Vec<u8>,
    transmit: VecDeque<Vec<u8>>,
    input: Vec<u8>,
    repeats: u32,
    timeout: Option<Moment>,
    reply: Option<Result<Vec<u8>, &'static str>>,
}

const REPEAT: Duration = Duration::from_millis(100);

impl Link for LineLink {
    type Request = Vec<u8>;
    type Reply = Vec<u8>;
    type Error = &'static str;

    fn send(&mut self, now: Moment, request: Vec<u8>) {
        self.request = request.clone();
        self.transmit.push_back(request);
        self.timeout = Some(now + REPEAT);
    }

    fn handle_input(&mut self, _now: Moment, input: &[u8]) {
        self.input.extend_from_slice(input);
        if let Some(end) = self.input.iter().position(|byte| *byte == b'\n') {
            self.reply = Some(Ok(self.input.drain(..=end).collect()));
        }
    }

    fn handle_timeout(&mut self, now: Moment) {
        self.repeats += 1;
        if self.repeats > 2 {
            self.timeout = None;
            self.reply = Some(Err("silent"));
        } else {
            self.transmit.push_back(self.request.clone());
            self.timeout = Some(now + REPEAT);
        }
    }

    fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.transmit.pop_front()
    }

    fn poll_timeout(&self) -> Option<Moment> {
        self.timeout
    }

    fn poll_reply(&mut self) -> Option<Result<Vec<u8>, &'static str>> {
        self.reply.take()
    }

    fn abort(&mut self, _now: Moment) {
        self.transmit.clear();
        self.transmit.push_back(b"stop\n".to_vec());
        self.timeout = None;
    }

    fn reset(&mut self) {
        *self = Self::default();
    }
}

#[tokio::test(start_paused = true)]
async fn a_reply_in_pieces_is_put_together() {
    let (mut port, mut device) = Port::memory();
    let answer = async {
        assert_eq!(read_line(&mut device).await, b"hello\n");
        device.write_all(b"wor").await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
        device.write_all(b"ld\n").await.unwrap();
    };
    let never = CancellationToken::new();
    let (reply, ()) = tokio::join!(ask(&mut port, 1_000, &never), answer);
    assert_eq!(reply.unwrap(), b"world\n");
}

#[tokio::test(start_paused = true)]
async fn the_links_timers_run() {
    let (mut port, mut device) = Port::memory();
    let clock = Clock::start();
    let reply = ask(&mut port, 1_000, &CancellationToken::new()).await;
    assert_eq!(reply, Err(ExchangeError::Link("silent")));
    assert_eq!(clock.now().since_origin(), 3 * REPEAT);
    for _ in 0..3 {
        assert_eq!(read_line(&mut device).await, b"hello\n");
    }
}

#[tokio::test(start_paused = true)]
async fn babble_stops_neither_deadline_nor_timers() {
    let (mut port, mut device) = Port::memory();
    let babble = async {
        loop {
            if device.write_all(&[0x55; 64]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let never = CancellationToken::new();
    tokio::select! {
        reply = ask(&mut port, 150, &never) => assert_eq!(reply, Err(ExchangeError::DeadlinePassed)),
        () = babble => panic!("the port closed"),
    }
    assert_eq!(read_line(&mut device).await, b"hello\n");
    assert_eq!(read_line(&mut device).await, b"hello\n");
    assert_eq!(read_line(&mut device).await, b"stop\n");
}

#[tokio::test(start_paused = true)]
async fn cancelling_tells_the_device_at_once() {
    let (mut port, mut device) = Port::memory();
    let cancel = CancellationToken::new();
    let clock = Clock::start();
    let stop = async {
        assert_eq!(read_line(&mut device).await, b"hello\n");
        cancel.cancel();
    };
    let (reply, ()) = tokio::join!(ask(&mut port, 1_000, &cancel), stop);
    assert_eq!(reply, Err(ExchangeError::Cancelled));
    assert_eq!(clock.now(), Moment::ORIGIN);
    assert_eq!(read_line(&mut device).await, b"stop\n");
}

#[tokio::test(start_paused = true)]
async fn a_device_that_takes_nothing_blocks_neither_request_nor_abort() {
    let (near, _far) = tokio::io::duplex(4);
    let mut port = Port::Memory(near);
    let clock = Clock::start();
    let reply = ask(&mut port, 200, &CancellationToken::new()).await;
    assert_eq!(reply, Err(ExchangeError::DeadlinePassed));
    assert_eq!(
        clock.now().since_origin(),
        Duration::from_millis(200) + ABORT_TIME
    );
}

#[tokio::test(start_paused = true)]
async fn a_closed_port_ends_the_exchange() {
    let (mut port, mut device) = Port::memory();
    let close = async {
        assert_eq!(read_line(&mut device).await, b"hello\n");
        drop(device);
    };
    let never = CancellationToken::new();
    let (reply, ()) = tokio::join!(ask(&mut port, 1_000, &never), close);
    let Err(ExchangeError::Port(error)) = reply else {
        panic!("expected the port's error, got {reply:?}");
    };
    assert!(matches!(error, PortError::Gone { .. }), "{error}");
}

async fn ask(
    port: &mut Port,
    deadline_ms: u64,
    cancel: &CancellationToken,
) -> Result<Vec<u8>, ExchangeError<&'static str>> {
    let clock = Clock::start();
    let stop = Stop {
        deadline: clock.now() + Duration::from_millis(deadline_ms),
        cancel,
    };
    exchange(
        port,
        &mut LineLink::default(),
        clock,
        b"hello\n".to_vec(),
        stop,
    )
    .await
}

async fn read_line(device: &mut DuplexStream) -> Vec<u8> {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        line.push(device.read_u8().await.unwrap());
    }
    line
}
