//! Texts: the messages of both directions, the agent's settings, and every small text that somebody else writes.

use std::path::PathBuf;

use encoder_agent::{
    config::{CoordinatorUrl, Layers, Settings, parse_token},
    fuzzing::retry_after,
};
use encoder_coordinator::http::{Hosts, decode_cursor};
use encoder_protocols::{
    card::{Uid, virtual_card::CardKind},
    pn532::emulator::Fault,
    wire::{AgentMessage, DecodeError, ServiceMessage, WireMessage},
};
use jiff::Timestamp;

pub fn run(bytes: &[u8]) {
    let Some((kind, rest)) = bytes.split_first() else {
        return;
    };
    let text = String::from_utf8_lossy(rest);
    match kind {
        b'a' => message::<AgentMessage>(&text),
        b's' => {
            message::<ServiceMessage>(&text);
            hidden(&text);
        }
        b'c' => settings(&text),
        b'u' => url(&text),
        b'r' => retry(&text),
        b'e' => emulator_line(&text),
        _ => small(&text),
    }
}

/// A message that was read is written so that it is read as the same, whatever it was written like first.
fn message<M: WireMessage + std::fmt::Debug + PartialEq>(text: &str) {
    match M::decode(text) {
        Ok(message) => {
            let written = message.encode();
            let again = M::decode(&written).expect("what it writes it reads");
            assert_eq!(again, message);
            assert_eq!(again.encode(), written);
        }
        Err(DecodeError::UnknownType(name)) => assert!(name.chars().count() <= 64),
        Err(DecodeError::NotAMessage | DecodeError::Malformed { .. }) => {}
    }
}

/// Tokens and keys do not show themselves.
fn hidden(text: &str) {
    match ServiceMessage::decode(text) {
        Ok(ServiceMessage::Token { token }) if token.0.len() > 20 => {
            let shown = format!(
                "{:?}",
                ServiceMessage::Token {
                    token: token.clone()
                }
            );
            assert!(!shown.contains(&token.0), "a token shows itself");
        }
        Ok(message) => drop(format!("{message:?}")),
        Err(_) => {}
    }
}

/// A file, and behind a line `---` overrides of the command line and variables of the environment.
fn settings(text: &str) {
    let (file, layers) = text.split_once("\n---\n").unwrap_or((text, ""));
    let mut environment = Vec::new();
    let mut overrides = Vec::new();
    for line in layers.lines() {
        match line.split_once('=') {
            Some((name, value)) if name.starts_with("ENCODER_AGENT__") => {
                environment.push((name.into(), value.into()));
            }
            _ => overrides.push(line.to_owned()),
        }
    }
    let layers = Layers {
        file: PathBuf::from("/etc/encoder-agent/agent.toml"),
        environment,
        overrides,
    };
    match Settings::parse(file, &layers) {
        Ok(settings) => {
            for encoder in &settings.encoders {
                assert!(!encoder.name.is_empty());
                assert!(!encoder.poll_interval.is_zero());
            }
            let keys: std::collections::BTreeSet<_> = settings
                .encoders
                .iter()
                .map(|encoder| &encoder.key)
                .collect();
            assert_eq!(
                keys.len(),
                settings.encoders.len(),
                "two encoders of one key"
            );
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// What a URL is shown as is the same URL.
fn url(text: &str) {
    if let Ok(url) = CoordinatorUrl::parse(text) {
        assert_ne!(url.port(), 0);
        assert!(!url.host().is_empty());
        let shown = url.to_string();
        assert_eq!(CoordinatorUrl::parse(&shown), Ok(url), "{shown}");
    }
}

fn retry(text: &str) {
    let (value, date) = match text.split_once('\n') {
        Some((value, date)) => (value, Some(date)),
        None => (text, None),
    };
    for utc in [Timestamp::UNIX_EPOCH, Timestamp::MIN, Timestamp::MAX] {
        let _ = retry_after(value, date, utc);
    }
}

/// The words of the emulator's command line that are not file names.
fn emulator_line(text: &str) {
    if let Err(error) = text.parse::<Fault>() {
        assert!(error.to_string().contains("unknown fault"));
    }
    if let Ok(kind) = text.parse::<CardKind>() {
        assert_eq!(kind.name(), text);
    }
    if let Ok(uid) = text.parse::<Uid>() {
        assert_eq!(uid.to_string(), text.to_ascii_lowercase());
    }
    #[cfg(unix)]
    emulator_lines(text);
}

/// Whole command lines, save those that read and write files.
#[cfg(unix)]
fn emulator_lines(text: &str) {
    use encoder_agent::emulation::{EmulationOptions, PtyEncoder};
    let is_command = |line: &&str| {
        let word = line.split_whitespace().next();
        !matches!(
            word,
            None | Some("dump" | "save" | "load" | "unplug" | "plug")
        )
    };
    let lines: Vec<&str> = text.lines().filter(is_command).take(32).collect();
    if !lines.iter().any(|line| line.contains(' ')) {
        return;
    }
    let encoder = PtyEncoder::start(&EmulationOptions::default()).unwrap();
    for line in lines {
        if let Ok(answer) = encoder.command(line) {
            assert!(!answer.contains('\n'), "an answer is one line");
        }
    }
    encoder.stats().expect("a line ended the emulator");
}

fn small(text: &str) {
    if let Ok(token) = parse_token(text) {
        // A shorter one may be part of the words around it.
        let shows = token.expose().len() > 12 && format!("{token:?}").contains(token.expose());
        assert!(!shows, "a token shows itself");
    }
    if let Some(id) = decode_cursor(text) {
        assert!(!id.to_string().is_empty());
    }
    let hosts = Hosts::new(
        "127.0.0.1:8480".parse().unwrap(),
        &["desk.example".to_owned()],
    );
    if hosts.permit(text) {
        let text = text.to_ascii_lowercase();
        let known = ["localhost", "127.0.0.1", "::1", "desk.example"];
        assert!(
            known.iter().any(|name| text.contains(name)) || text.starts_with('['),
            "{text} is no host of this service"
        );
    }
}
