//! Pairing: certificates, what a coordinator announces of itself, its answer, and what an agent asks it for.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use encoder_agent::{
    fuzzing::{http_answer, issuer},
    pairing::Pins,
};
use encoder_protocols::wire::{MAX_PAIRING_BYTES, NextPins, PairAnswer, PairError};

use super::{input::Input, service};

/// A certificate to be spoilt.
const CERTIFICATE: &str = include_str!("../../src/pairing/testdata/paired.pem");

/// The longest name of an issuer, in characters: two parts of it, and what stands around them.
const LONGEST_ISSUER: usize = 2 * 64 + 10;

pub fn run(bytes: &[u8]) {
    let Some((kind, rest)) = bytes.split_first() else {
        return;
    };
    match kind {
        b'c' => named(rest),
        b's' => spoilt(&mut Input::new(rest)),
        b'n' => announced(rest),
        b'h' => answered(rest),
        _ => service::paired(&mut Input::new(rest)),
    }
}

/// Nobody's name does anything to a terminal or fills it.
fn named(der: &[u8]) {
    if let Some(name) = issuer(der) {
        assert!(!name.chars().any(char::is_control), "{name:?}");
        assert!(name.chars().count() <= LONGEST_ISSUER, "{name:?}");
    }
}

/// Bytes of a real certificate are put in the place of others.
fn spoilt(input: &mut Input<'_>) {
    let lines = CERTIFICATE.lines();
    let base64: String = lines.filter(|line| !line.starts_with('-')).collect();
    let mut der = STANDARD.decode(base64).expect("a certificate");
    while !input.is_empty() {
        let place = usize::from(u16::from_le_bytes(input.array())) % der.len();
        der[place] = input.byte();
    }
    named(&der);
}

/// What is believed is kept so that it is read as the same, and nothing of it is new twice.
fn announced(text: &[u8]) {
    let Ok(next) = serde_json::from_slice::<NextPins>(text) else {
        return;
    };
    let Some(pins) = Pins::announced(&next) else {
        return;
    };
    let kept = serde_json::to_string(&pins).expect("pins are texts");
    let read: Pins = serde_json::from_str(&kept).expect("what is kept is read");
    assert_eq!(read, pins);
    let mut known = Pins::default();
    known.add(pins.clone());
    assert!(!known.add(pins));
}

/// An answer ends, is not too long, and shows no token.
fn answered(bytes: &[u8]) {
    let Some((_, body)) = http_answer(bytes) else {
        return;
    };
    assert!(body.len() <= MAX_PAIRING_BYTES);
    let _ = serde_json::from_slice::<PairError>(&body);
    if let Ok(answer) = serde_json::from_slice::<PairAnswer>(&body)
        && answer.token.0.len() > 20
    {
        let shown = format!("{:?}", answer.token);
        assert!(!shown.contains(&answer.token.0), "a token shows itself");
    }
}
