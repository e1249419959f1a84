use proptest::{collection::vec, prelude::*};

use super::*;

fn information(direction: Direction, payload: &[u8]) -> Frame {
    Frame::Information {
        direction,
        payload: payload.to_vec(),
    }
}

fn decode(pieces: &[&[u8]]) -> (Vec<Result<Frame, FrameError>>, u64) {
    let mut decoder = FrameDecoder::new();
    let mut found = Vec::new();
    for piece in pieces {
        decoder.push(piece);
        while let Some(next) = decoder.poll() {
            found.push(next);
        }
    }
    (found, decoder.noise())
}

fn frames(input: &[u8]) -> Vec<Frame> {
    decode(&[input])
        .0
        .into_iter()
        .filter_map(Result::ok)
        .collect()
}

#[test]
fn tells_the_short_frames_apart() {
    assert_eq!(frames(&ACK), [Frame::Ack]);
    assert_eq!(frames(&NACK), [Frame::Nack]);
    assert_eq!(frames(&SYNTAX_ERROR), [Frame::SyntaxError]);
    assert_eq!(
        frames(&ACK[1..5]),
        [Frame::Ack],
        "no preamble, no postamble"
    );
}

#[test]
fn a_normal_frame_of_len_ff_is_not_taken_for_an_extended_one() {
    let payload = [0x5A; 254];
    let bytes = encode_information(Direction::ChipToHost, &payload).unwrap();
    assert_eq!(bytes[..6], [0x00, 0x00, 0xFF, 0xFF, 0x01, 0xD5]);
    assert_eq!(
        frames(&bytes),
        [information(Direction::ChipToHost, &payload)]
    );
}

#[test]
fn the_longest_frame_is_extended_and_one_more_byte_is_refused() {
    let payload = [0x11; MAX_PAYLOAD];
    let bytes = encode_information(Direction::HostToChip, &payload).unwrap();
    assert_eq!(
        bytes[..9],
        [0x00, 0x00, 0xFF, 0xFF, 0xFF, 0x01, 0x09, 0xF6, 0xD4]
    );
    assert_eq!(
        frames(&bytes),
        [information(Direction::HostToChip, &payload)]
    );
    assert_eq!(
        encode_information(Direction::HostToChip, &[0; MAX_PAYLOAD + 1]),
        Err(PayloadTooLong { length: 265 })
    );
}

#[test]
fn an_extended_frame_may_be_short() {
    let input = [0x00, 0xFF, 0xFF, 0xFF, 0x00, 0x02, 0xFE, 0xD5, 0x15, 0x16];
    assert_eq!(
        frames(&input),
        [information(Direction::ChipToHost, &[0x15])]
    );
}

#[test]
fn lengths_that_no_frame_has_are_errors_at_once() {
    let zero = [0x00, 0xFF, 0x00, 0x00];
    assert_eq!(
        decode(&[&zero]).0,
        [Err(FrameError::LengthChecksum { offset: 0 })]
    );
    let too_long = [0x00, 0xFF, 0xFF, 0xFF, 0x01, 0x0A, 0xF5];
    assert_eq!(
        decode(&[&too_long]).0,
        [Err(FrameError::LengthChecksum { offset: 0 })]
    );
    let huge = [0x00, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x02];
    assert_eq!(
        decode(&[&huge]).0.first(),
        Some(&Err(FrameError::LengthChecksum { offset: 0 }))
    );
}

#[test]
fn a_bad_length_checksum_hides_no_frame_behind_it() {
    let mut input = vec![0x00, 0xFF, 0x05, 0x00];
    input.extend(ACK);
    let (found, noise) = decode(&[&input]);
    assert_eq!(
        found,
        [
            Err(FrameError::LengthChecksum { offset: 0 }),
            Ok(Frame::Ack)
        ]
    );
    assert_eq!(noise, 2, "FF 05");
}

#[test]
fn a_bad_data_checksum_tells_where() {
    let mut input = vec![0x55, 0x55, 0x00];
    let mut broken = encode_information(Direction::ChipToHost, &[0x41, 0x00, 0x07]).unwrap();
    broken[8] ^= 0x10;
    input.extend(&broken);
    input.extend(ACK);
    let (found, _) = decode(&[&input]);
    assert_eq!(
        found,
        [Err(FrameError::DataChecksum { offset: 4 }), Ok(Frame::Ack)]
    );
}

#[test]
fn a_frame_that_lost_a_byte_does_not_swallow_the_next() {
    let mut input = encode_information(Direction::ChipToHost, &[0x41, 0x00, 0x07]).unwrap();
    input.remove(6);
    let whole = encode_information(Direction::ChipToHost, &[0x41, 0x00]).unwrap();
    input.extend(&whole);
    assert_eq!(
        frames(&input),
        [information(Direction::ChipToHost, &[0x41, 0x00])]
    );
}

#[test]
fn a_false_beginning_can_be_given_up() {
    let mut decoder = FrameDecoder::new();
    decoder.push(&[0x00, 0xFF, 0x80, 0x80, 0x01]);
    decoder.push(&ACK);
    assert_eq!(decoder.poll(), None, "128 bytes are awaited");
    assert!(decoder.is_partial());
    decoder.abandon_partial();
    assert_eq!(decoder.poll(), Some(Ok(Frame::Ack)));
}

#[test]
fn an_unknown_identifier_is_skipped_as_a_whole() {
    let mut input = vec![0x00, 0xFF, 0x03, 0xFD, 0x7F, 0x01, 0x02, 0x7E];
    input.extend(ACK);
    let expected = FrameError::UnknownIdentifier {
        tfi: 0x7F,
        offset: 0,
    };
    assert_eq!(decode(&[&input]).0, [Err(expected), Ok(Frame::Ack)]);
}

#[test]
fn the_buffer_stays_bounded_without_polling() {
    let mut decoder = FrameDecoder::new();
    for _ in 0..100 {
        decoder.push(&[0xAA; 1000]);
        assert!(decoder.buffer.len() <= MAX_BUFFER);
    }
    decoder.push(&ACK);
    assert_eq!(decoder.poll(), Some(Ok(Frame::Ack)));
    assert_eq!(decoder.noise(), 100_000);
}

#[test]
fn debug_shows_no_payload() {
    let frame = information(Direction::HostToChip, &[0x40, 0x01, 0x60, 0xDE, 0xAD]);
    assert_eq!(format!("{frame:?}"), "HostToChip(40, 4 bytes)");
    let mut decoder = FrameDecoder::new();
    decoder.push(&[0x00, 0xFF, 0xDE, 0xAD]);
    assert_eq!(
        format!("{decoder:?}"),
        "FrameDecoder { buffered: 4, offset: 0, noise: 0 }"
    );
}

fn any_frame() -> impl Strategy<Value = Frame> {
    let direction = prop_oneof![Just(Direction::HostToChip), Just(Direction::ChipToHost)];
    prop_oneof![
        4 => (direction, vec(any::<u8>(), 0..=MAX_PAYLOAD))
            .prop_map(|(direction, payload)| Frame::Information { direction, payload }),
        1 => Just(Frame::Ack),
        1 => Just(Frame::Nack),
        1 => Just(Frame::SyntaxError),
    ]
}

/// Noise in which no frame can seem to begin: `00 FF` does not occur, so what follows it is decidable.
fn plain_noise() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..40).prop_map(|mut noise| {
        let mut before = 0x00;
        noise.retain(|byte| {
            let keep = (before, *byte) != (0x00, 0xFF);
            if keep {
                before = *byte;
            }
            keep
        });
        noise
    })
}

/// Cuts `bytes` into pieces of the given lengths, then the rest.
fn pieces<'a>(mut bytes: &'a [u8], lengths: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for length in lengths {
        let (piece, rest) = bytes.split_at((*length).min(bytes.len()));
        pieces.push(piece);
        bytes = rest;
    }
    pieces.push(bytes);
    pieces
}

proptest! {
    #[test]
    fn what_is_encoded_decodes_to_itself(frame in any_frame()) {
        let bytes = frame.encode().unwrap();
        let (found, noise) = decode(&[&bytes]);
        prop_assert_eq!(found, [Ok(frame)]);
        prop_assert_eq!(noise, 0);
    }

    #[test]
    fn noise_around_frames_and_any_split_change_nothing(
        parts in vec((plain_noise(), any_frame(), any::<bool>(), any::<bool>()), 1..6),
        lengths in vec(0usize..20, 0..60),
    ) {
        let mut bytes = Vec::new();
        for (noise, frame, preamble, postamble) in &parts {
            bytes.extend(noise);
            let encoded = frame.encode().unwrap();
            let from = usize::from(!preamble);
            let to = encoded.len() - usize::from(!postamble);
            bytes.extend(&encoded[from..to]);
        }
        let expected: Vec<_> = parts.iter().map(|(_, frame, ..)| Ok(frame.clone())).collect();
        let noise: usize = parts
            .iter()
            .map(|(noise, ..)| noise.iter().filter(|byte| **byte != 0).count())
            .sum();
        prop_assert_eq!(decode(&pieces(&bytes, &lengths)), (expected, noise as u64));
    }

    #[test]
    fn random_bytes_never_panic_and_any_split_finds_the_same(
        bytes in vec(prop_oneof![3 => any::<u8>(), 1 => Just(0x00), 1 => Just(0xFF)], 0..900),
        lengths in vec(0usize..50, 0..60),
    ) {
        prop_assert_eq!(decode(&pieces(&bytes, &lengths)), decode(&[&bytes]));
    }

    #[test]
    fn one_changed_byte_never_gives_another_information_frame(
        frame in any_frame(),
        at in any::<prop::sample::Index>(),
        change in 1u8..,
    ) {
        let mut bytes = frame.encode().unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= change;
        // A data byte that becomes a start code may begin a frame inside the broken one; the whole frame itself must not change.
        let changed = frames(&bytes).into_iter().any(|found| {
            matches!((&found, &frame), (
                Frame::Information { payload: found, .. },
                Frame::Information { payload: sent, .. },
            ) if found.len() == sent.len() && found != sent)
        });
        prop_assert!(!changed);
    }
}
