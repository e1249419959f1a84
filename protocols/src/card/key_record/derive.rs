//! Every key that is made from a site key (README, "Keys").

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use uuid::Uuid;
use zeroize::Zeroize;

use super::record::Format;
use crate::card::{ClassicKey, KeySlot, Password, Uid};

const MAC_KEY_LABEL: &[u8] = b"EK1 mac key\0";
const SINGLE_RECORD_LABEL: &[u8] = b"EK1 record\0";
const EXTENDED_RECORD_LABEL: &[u8] = b"EK2 record\0";
const CLASSIC_KEY_A_LABEL: &[u8] = b"EK1 classic key A\0";
const CLASSIC_KEY_B_LABEL: &[u8] = b"EK1 classic key B\0";
const STRIPE_RECORD_LABEL: &[u8] = b"EK1 stripe record\0";
const STRIPE_NUMBER_LABEL: &[u8] = b"EK1 stripe number\0";
const TYPE2_PASSWORD_LABEL: &[u8] = b"EK1 type 2 password\0";

/// SHA-256's block: a shorter HMAC key counts as if filled up with zeros (RFC 2104, section 2).
const HMAC_BLOCK: usize = 64;
const MAC_LENGTH: usize = 8;

/// The first digit of a stripe's number: of those that ISO/IEC 7812 leaves to nations, so that no reader takes it for the
/// number of a payment card.
const STRIPE_NUMBER_PREFIX: char = '9';
/// All digits of a stripe's number.
pub(super) const CARD_NUMBER_DIGITS: usize = 16;
/// The digits of a stripe's MAC.
pub(super) const MAC_DIGITS: usize = 13;

/// The number of a site key within its access system, as it stands in the record.
pub type KeyVersion = u8;

/// The secret of one access system from which the keys of all its cards are made: 32 random bytes. Wiped when dropped,
/// and never shown when formatted.
#[derive(Clone, Eq, PartialEq, Zeroize)]
#[zeroize(drop)]
pub struct SiteKey([u8; 32]);

/// A site key and the version under which records name it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct VersionedSiteKey {
    /// Its version.
    pub version: KeyVersion,
    /// The key.
    pub key: SiteKey,
}

/// The password of one Ultralight EV1 or NTAG21x and what the card answers to it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DerivedPassword {
    /// PWD.
    pub password: Password,
    /// PACK.
    pub acknowledge: [u8; 2],
}

impl SiteKey {
    /// A site key from its bytes, which must come from a good source of randomness.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, for storing them encrypted.
    pub const fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key of `sector` on the MIFARE Classic card `uid`.
    pub fn classic_key(&self, slot: KeySlot, sector: u8, uid: &Uid) -> ClassicKey {
        let label = match slot {
            KeySlot::A => CLASSIC_KEY_A_LABEL,
            KeySlot::B => CLASSIC_KEY_B_LABEL,
        };
        let mut digest = hmac(
            &self.0,
            &[label, &[sector], &uid_length(uid), uid.as_bytes()],
        );
        let key = ClassicKey(first(&digest));
        digest.zeroize();
        key
    }

    /// The password and PACK of the Ultralight EV1 or NTAG21x `uid`.
    pub fn type2_password(&self, uid: &Uid) -> DerivedPassword {
        let mut digest = hmac(
            &self.0,
            &[TYPE2_PASSWORD_LABEL, &uid_length(uid), uid.as_bytes()],
        );
        let [p0, p1, p2, p3, a0, a1] = first(&digest);
        digest.zeroize();
        DerivedPassword {
            password: Password([p0, p1, p2, p3]),
            acknowledge: [a0, a1],
        }
    }

    /// The number of the magnetic stripe that carries this credential as issued at this second.
    pub(super) fn stripe_number(&self, credential_id: &Uuid, issued_at: u32) -> String {
        let parts: [&[u8]; 3] = [
            STRIPE_NUMBER_LABEL,
            credential_id.as_bytes(),
            &issued_at.to_be_bytes(),
        ];
        let mut digest = hmac(&self.0, &parts);
        let digits = last_digits(&digest, CARD_NUMBER_DIGITS - 1);
        digest.zeroize();
        format!("{STRIPE_NUMBER_PREFIX}{digits}")
    }

    /// The MAC that binds a stripe's digits to the number beside them.
    pub(super) fn stripe_mac(&self, card_number: &str, digits: &str) -> String {
        let mut mac_key = hmac(&self.0, &[MAC_KEY_LABEL]);
        let parts: [&[u8]; 3] = [
            STRIPE_RECORD_LABEL,
            card_number.as_bytes(),
            digits.as_bytes(),
        ];
        let digest = hmac(&mac_key, &parts);
        mac_key.zeroize();
        last_digits(&digest, MAC_DIGITS)
    }

    /// Whether `mac` is that of the digits; takes the same time for every wrong one.
    pub(super) fn is_stripe_mac(&self, card_number: &str, digits: &str, mac: &str) -> bool {
        let right = self.stripe_mac(card_number, digits);
        let differing = right.bytes().zip(mac.bytes());
        right.len() == mac.len()
            && differing.fold(0, |all, (right, read)| all | (right ^ read)) == 0
    }

    /// The MAC that binds the record bytes before it, and its extension, to the card `uid`.
    pub(super) fn record_mac(
        &self,
        format: Format,
        uid: &Uid,
        body: &[u8],
        extension: &[u8],
    ) -> [u8; MAC_LENGTH] {
        let digest = self.record_digest(format, uid, body, extension);
        first(&digest.finalize().into_bytes().into())
    }

    /// Whether `mac` is that of the record; takes the same time for every wrong one.
    pub(super) fn is_record_mac(
        &self,
        format: Format,
        uid: &Uid,
        body: &[u8],
        extension: &[u8],
        mac: &[u8; MAC_LENGTH],
    ) -> bool {
        self.record_digest(format, uid, body, extension)
            .verify_truncated_left(mac)
            .is_ok()
    }

    fn record_digest(
        &self,
        format: Format,
        uid: &Uid,
        body: &[u8],
        extension: &[u8],
    ) -> Hmac<Sha256> {
        let label = match format {
            Format::Single => SINGLE_RECORD_LABEL,
            Format::Extended => EXTENDED_RECORD_LABEL,
        };
        let mut mac_key = hmac(&self.0, &[MAC_KEY_LABEL]);
        let mut digest = keyed(&mac_key);
        mac_key.zeroize();
        for part in [label, &uid_length(uid), uid.as_bytes(), body, extension] {
            digest.update(part);
        }
        digest
    }
}

impl fmt::Debug for SiteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SiteKey(…)")
    }
}

fn hmac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let mut digest = keyed(key);
    for part in parts {
        digest.update(part);
    }
    digest.finalize().into_bytes().into()
}

fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    let mut block = [0; HMAC_BLOCK];
    for (to, from) in block.iter_mut().zip(key) {
        *to = *from;
    }
    let keyed = Hmac::new(&block.into());
    block.zeroize();
    keyed
}

/// The first `N` bytes of a digest.
fn first<const N: usize>(digest: &[u8; 32]) -> [u8; N] {
    const { assert!(N <= 32) };
    let mut head = [0; N];
    for (to, from) in head.iter_mut().zip(digest) {
        *to = *from;
    }
    head
}

/// The last `digits` decimal digits of a digest's first 8 bytes as a number.
fn last_digits(digest: &[u8; 32], digits: usize) -> String {
    let number = u64::from_be_bytes(first(digest)).to_string();
    let padded = format!("{number:0>20}");
    padded.chars().skip(padded.len() - digits).collect()
}

fn uid_length(uid: &Uid) -> [u8; 1] {
    [u8::try_from(uid.as_bytes().len()).unwrap_or(u8::MAX)]
}
