//! API keys and agent tokens: random, shown once, kept only as their SHA-256.

use std::fmt::Write as _;

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
    fn the_shown_prefix_keeps_the_secret() {
        let key = new_api_key().unwrap();
        assert_eq!(shown_prefix(&key).len(), 10);
    }
}
