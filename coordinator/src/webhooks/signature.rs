//! Signatures of deliveries, as Svix makes them and the SDKs verify them: HMAC-SHA256 (RFC 2104) over
//! `id.timestamp.body`.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use sha2::Sha256;
use zeroize::{Zeroize as _, Zeroizing};

use crate::tokens::NoRandomness;

/// How every secret begins, before its key in base64.
const PREFIX: &str = "whsec_";

/// Length of a key, in bytes.
const KEY_BYTES: usize = 24;

/// The block size of SHA-256, in bytes (FIPS 180-4).
const BLOCK_BYTES: usize = 64;

/// The version of the signature scheme.
const VERSION: &str = "v1";

/// The key with which a webhook's deliveries are signed. Never shows itself when it is formatted.
#[derive(Clone)]
pub struct SigningKey(Zeroizing<[u8; KEY_BYTES]>);

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(…)")
    }
}

impl SigningKey {
    /// A new key.
    ///
    /// # Errors
    /// [`NoRandomness`] when the system gives no random bytes.
    pub fn random() -> Result<Self, NoRandomness> {
        let mut key = Zeroizing::new([0u8; KEY_BYTES]);
        getrandom::fill(key.as_mut_slice()).map_err(NoRandomness)?;
        Ok(Self(key))
    }

    /// A key from its bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        <[u8; KEY_BYTES]>::try_from(bytes)
            .ok()
            .map(|key| Self(Zeroizing::new(key)))
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_slice()
    }

    /// The secret as its owner gets it.
    pub fn secret(&self) -> Zeroizing<String> {
        let mut encoded = STANDARD.encode(self.0.as_slice());
        let secret = Zeroizing::new(format!("{PREFIX}{encoded}"));
        encoded.zeroize();
        secret
    }

    /// The value of the `svix-signature` header. `sent_at` counts in whole seconds.
    pub fn sign(&self, message_id: &str, sent_at: Timestamp, body: &[u8]) -> String {
        let mut mac = self.keyed();
        mac.update(message_id.as_bytes());
        mac.update(format!(".{}.", sent_at.as_second()).as_bytes());
        mac.update(body);
        let code = mac.finalize().into_bytes();
        format!("{VERSION},{}", STANDARD.encode(code))
    }

    /// HMAC under this key. A key shorter than the hash's block is filled up with zeros (RFC 2104, section 2).
    fn keyed(&self) -> Hmac<Sha256> {
        let mut block = Zeroizing::new([0u8; BLOCK_BYTES]);
        if let Some(start) = block.first_chunk_mut() {
            *start = *self.0;
        }
        Hmac::new((&*block).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the Svix documentation ("Verifying Webhooks Manually").
    #[test]
    fn the_documented_example_is_signed_as_documented() {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let key = STANDARD.decode(&secret[PREFIX.len()..]).unwrap();
        let key = SigningKey::from_bytes(&key).unwrap();
        assert_eq!(*key.secret(), secret);
        let signature = key.sign(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            Timestamp::from_second(1_614_265_330).unwrap(),
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn keys_differ_and_do_not_show_themselves() {
        let (one, other) = (SigningKey::random().unwrap(), SigningKey::random().unwrap());
        assert_ne!(one.as_bytes(), other.as_bytes());
        assert_eq!(format!("{one:?}"), "SigningKey(…)");
        assert!(SigningKey::from_bytes(&[0; 23]).is_none());
    }
}
