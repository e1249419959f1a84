//! API keys, agent tokens, pairing codes and fleet tokens: random, shown once, kept only as a hash.

use std::fmt::Write as _;

use encoder_protocols::wire::{CODE_ALPHABET, CODE_LENGTH, FLEET_TOKEN_PREFIX};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// How every API key begins; SDKs check it before they send anything.
pub const API_KEY_PREFIX: &str = "seam_";

/// How every personal access token begins; SDKs then send the header `seam-workspace`.
pub const PERSONAL_ACCESS_TOKEN_PREFIX: &str = "seam_at";

/// How every agent token begins.
pub const AGENT_TOKEN_PREFIX: &str = "agent_";

/// Random bytes in a key or token.
const RANDOM_BYTES: usize = 24;

/// How many characters a pairing code is made of.
const ALPHABET_LENGTH: u8 = CODE_ALPHABET.len() as u8;

/// How many characters of a key are kept in the clear to tell keys apart.
const SHOWN_CHARACTERS: usize = 10;

/// The system's random source failed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the system's random source failed: {0}")]
pub struct NoRandomness(#[from] pub(crate) getrandom::Error);

/// A new API key. Its random part is hexadecimal, so it never looks like the `seam_at…`, `seam_cst…` or `seam_pk…`
/// that SDKs take for other kinds of token.
///
/// # Errors
/// [`NoRandomness`] when the system gives no random bytes.
pub fn new_api_key() -> Result<Zeroizing<String>, NoRandomness> {
    new_token(API_KEY_PREFIX)
}

/// A new personal access token.
///
/// # Errors
/// [`NoRandomness`] when the system gives no random bytes.
pub fn new_personal_access_token() -> Result<Zeroizing<String>, NoRandomness> {
    new_token(PERSONAL_ACCESS_TOKEN_PREFIX)
}

/// A new agent token.
///
/// # Errors
/// [`NoRandomness`] when the system gives no random bytes.
pub fn new_agent_token() -> Result<Zeroizing<String>, NoRandomness> {
    new_token(AGENT_TOKEN_PREFIX)
}

/// A new fleet token.
///
/// # Errors
/// [`NoRandomness`] when the system gives no random bytes.
pub fn new_fleet_token() -> Result<Zeroizing<String>, NoRandomness> {
    new_token(FLEET_TOKEN_PREFIX)
}

/// A new pairing code; every one is as likely as any other.
///
/// # Errors
/// [`NoRandomness`] when the system gives no random bytes.
pub fn new_pairing_code() -> Result<Zeroizing<String>, NoRandomness> {
    let mut code = Zeroizing::new(String::with_capacity(CODE_LENGTH));
    while code.len() < CODE_LENGTH {
        let mut byte = [0u8];
        getrandom::fill(&mut byte)?;
        let [byte] = byte;
        // The remainders of what is left out would come up more often than the others.
        let even = u8::MAX - u8::MAX % ALPHABET_LENGTH;
        if byte < even
            && let Some(character) = CODE_ALPHABET.get(usize::from(byte % ALPHABET_LENGTH))
        {
            code.push(char::from(*character));
        }
    }
    Ok(code)
}

/// A pairing code as people read it out: two groups of four.
pub fn shown_code(code: &str) -> Zeroizing<String> {
    let (left, right) = code.split_at_checked(CODE_LENGTH / 2).unwrap_or((code, ""));
    Zeroizing::new(format!("{left}-{right}"))
}

/// A pairing code from what somebody has typed; none where it cannot be one.
pub fn parse_code(typed: &str) -> Option<Zeroizing<String>> {
    let mut code = Zeroizing::new(String::with_capacity(CODE_LENGTH));
    for character in typed.chars() {
        if character == '-' || character.is_whitespace() {
            continue;
        }
        let character = character.to_ascii_uppercase();
        let is_one = u8::try_from(character).is_ok_and(|byte| CODE_ALPHABET.contains(&byte));
        if !is_one || code.len() == CODE_LENGTH {
            return None;
        }
        code.push(character);
    }
    (code.len() == CODE_LENGTH).then_some(code)
}

/// What the store keeps of a key or token, and finds it by. Keys are long and random, so one round is enough.
pub fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// [`hash`] in lower-case hex.
pub fn hash_text(token: &str) -> String {
    hex(&hash(token))
}

/// The first characters of a key or token, which people may see: too few to guess the rest.
pub fn shown_prefix(token: &str) -> String {
    token.chars().take(SHOWN_CHARACTERS).collect()
}

fn new_token(prefix: &str) -> Result<Zeroizing<String>, NoRandomness> {
    let mut bytes = Zeroizing::new([0u8; RANDOM_BYTES]);
    getrandom::fill(bytes.as_mut_slice())?;
    let mut token = Zeroizing::new(String::with_capacity(prefix.len() + 2 * RANDOM_BYTES));
    token.push_str(prefix);
    push_hex(&mut token, bytes.as_slice());
    Ok(token)
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    push_hex(&mut text, bytes);
    text
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ_and_are_never_taken_for_another_kind() {
        let (one, other) = (new_api_key().unwrap(), new_api_key().unwrap());
        assert_ne!(*one, *other);
        for foreign in ["seam_at", "seam_cst", "seam_pk"] {
            assert!(!one.starts_with(foreign));
        }
        assert_eq!(one.len(), 5 + 48);
        let token = new_personal_access_token().unwrap();
        assert!(token.starts_with("seam_at"));
        assert!(new_agent_token().unwrap().starts_with("agent_"));
    }

    #[test]
    fn a_code_is_taken_as_people_type_it() {
        let code = new_pairing_code().unwrap();
        assert_eq!(code.len(), CODE_LENGTH);
        assert_eq!(parse_code(&shown_code(&code)).unwrap(), code);
        assert_eq!(*parse_code(" bcdf 23-45\n").unwrap(), "BCDF2345");
        for none in ["", "BCDF234", "BCDF23456", "BCDF-O123", "BCDF\u{e9}345"] {
            assert!(parse_code(none).is_none(), "{none}");
        }
    }

    #[test]
    fn the_shown_prefix_keeps_the_secret() {
        let key = new_api_key().unwrap();
        assert_eq!(shown_prefix(&key).len(), 10);
    }
}
