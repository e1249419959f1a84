//! The whole PN532 driver over a line on which anything may come: an emulated chip whose answers are lost, cut, doubled
//! or replaced by bytes of the input.

use std::{cell::RefCell, rc::Rc, time::Duration};

use encoder_agent::{
    clock::Clock,
    drivers::{Encoder, driver},
    transport::Port,
};
use encoder_protocols::{
    card::{
        Uid, WriteRules,
        virtual_card::{CardKind, VirtualCard},
    },
    pn532::{
        emulator::{Emulator, Pace},
        frame::{Direction, FrameDecoder, encode_information},
    },
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio_util::sync::CancellationToken;

use super::{images, input::Input};

/// No operation takes longer on the driver's own clock, whatever comes over the line.
const LONGEST: Duration = Duration::from_secs(30 * 60);

pub fn run(bytes: &[u8]) {
    let (line, rest) = bytes.split_at(bytes.len() / 2);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, course(line.to_vec(), &mut Input::new(rest)));
}

type Chip = Rc<RefCell<Emulator>>;

async fn course(line: Vec<u8>, input: &mut Input<'_>) {
    let clock = Clock::of_the_runtime();
    let chip = Rc::new(RefCell::new(Emulator::new(Pace::default())));
    let kind = *input.pick(&CardKind::ALL);
    let card = VirtualCard::new(kind, None).unwrap();
    let uid = card.uid();
    chip.borrow_mut().place(clock.now(), "card", card);
    let (port, far) = Port::memory();
    tokio::task::spawn_local(carry(chip.clone(), clock, far, line));
    let cancel = CancellationToken::new();
    let family = driver("pn532").unwrap();
    let Ok(mut encoder) = family.start(port, clock, &cancel).await else {
        return;
    };
    let classic = kind.name().starts_with("classic");
    let mut steps = 0;
    while !input.is_empty() && steps < 24 {
        steps += 1;
        let begun = clock.now();
        step(&mut *encoder, &chip, uid, classic, input).await;
        let took = clock.now().since(begun);
        assert!(took < LONGEST, "one operation took {took:?}");
    }
    encoder.close().await;
}

/// One operation; only a write changes the card.
async fn step(
    encoder: &mut dyn Encoder,
    chip: &Chip,
    uid: Uid,
    classic: bool,
    input: &mut Input<'_>,
) {
    let cancel = CancellationToken::new();
    if input.below(16) == 0 {
        cancel.cancel();
    }
    let before = memory(chip);
    let uid = if input.below(16) == 0 {
        input.uid()
    } else {
        uid
    };
    match input.below(8) {
        0 | 1 => drop(encoder.poll(&cancel).await),
        2 => drop(encoder.rest().await),
        3 => {
            let plan = images::plan(input, classic);
            let _ = encoder.read(Some(uid), &plan, &cancel).await;
        }
        4 => {
            let image = images::image(input, classic);
            let _ = encoder.verify(Some(uid), &image, &cancel).await;
        }
        5 => drop(encoder.health().await),
        _ => {
            let image = images::image(input, classic);
            let rules = WriteRules {
                allow_irreversible: input.flag(),
            };
            let prepared = encoder.prepare(Some(uid), &image, rules, &cancel).await;
            assert_eq!(memory(chip), before, "preparing changed the card");
            if prepared.is_ok()
                && let Err(error) = encoder.write(&mut || {}, &CancellationToken::new()).await
            {
                let unchanged = memory(chip) == before;
                assert!(error.changed || unchanged, "it says unchanged");
            }
            return;
        }
    }
    assert_eq!(memory(chip), before, "reading changed the card");
}

fn memory(chip: &Chip) -> Vec<u8> {
    let mut chip = chip.borrow_mut();
    let card = chip.card_mut("card");
    card.map(|card| card.memory().to_vec()).unwrap_or_default()
}

/// The line between the port and the chip. Every answer of the chip takes a byte of `line` that says what becomes of it;
/// once there are no more, all come through.
async fn carry(chip: Chip, clock: Clock, mut far: DuplexStream, line: Vec<u8>) {
    let mut line = Input::new(&line);
    let mut buffer = [0; 512];
    loop {
        let due = {
            let mut chip = chip.borrow_mut();
            chip.handle_timeout(clock.now());
            chip.poll_timeout()
        };
        loop {
            let Some(bytes) = chip.borrow_mut().poll_transmit(clock.now()) else {
                break;
            };
            let Some(bytes) = disturbed(bytes, &mut line) else {
                return;
            };
            if far.write_all(&bytes).await.is_err() {
                return;
            }
        }
        let read = tokio::select! {
            biased;
            read = far.read(&mut buffer) => read,
            () = until(clock, due) => continue,
        };
        match read {
            Ok(0) | Err(_) => return,
            Ok(count) => chip
                .borrow_mut()
                .handle_input(clock.now(), &buffer[..count]),
        }
    }
}

async fn until(clock: Clock, due: Option<encoder_protocols::moment::Moment>) {
    match due {
        Some(due) => clock.sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// What arrives of the chip's bytes; none where the line breaks for good.
fn disturbed(bytes: Vec<u8>, line: &mut Input<'_>) -> Option<Vec<u8>> {
    if line.is_empty() {
        return Some(bytes);
    }
    Some(match line.byte() {
        0 => vec![],
        1 => [bytes.clone(), bytes].concat(),
        2 => bytes[..bytes.len() / 2].to_vec(),
        3 => [line.bytes(64), &bytes].concat(),
        4 => [&bytes, line.bytes(64)].concat(),
        5 => line.bytes(255).to_vec(),
        6..=15 => replaced(&bytes, line),
        16 => return None,
        _ => bytes,
    })
}

/// The same answer with other contents: a status, or all that follows the response code.
fn replaced(bytes: &[u8], line: &mut Input<'_>) -> Vec<u8> {
    let mut decoder = FrameDecoder::new();
    decoder.push(bytes);
    let mut arrived = Vec::new();
    while let Some(frame) = decoder.poll() {
        use encoder_protocols::pn532::frame::Frame;
        match frame {
            Ok(Frame::Information { mut payload, .. }) => {
                match line.below(4) {
                    0 => {
                        if let Some(status) = payload.get_mut(1) {
                            *status = line.byte();
                        }
                    }
                    1 => {
                        let at = usize::from(line.byte()) % payload.len().max(1);
                        if let Some(byte) = payload.get_mut(at) {
                            *byte ^= 1 << line.below(8);
                        }
                    }
                    2 => payload.truncate(usize::from(line.byte())),
                    _ => {
                        payload.truncate(1);
                        payload.extend(line.bytes(64));
                    }
                }
                let frame = encode_information(Direction::ChipToHost, &payload);
                arrived.extend(frame.unwrap_or_default());
            }
            Ok(frame) => arrived.extend(frame.encode().unwrap_or_default()),
            Err(_) => {}
        }
    }
    arrived
}
