//! Every key that is made from a site key (README, "Keys").

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroize;

use super::record::Format;
use crate::card::{ClassicKey, KeySlot, Password, Uid};

const MAC_KEY_LABEL: &[u8] = b"EK1 mac key\0";
const SINGLE_RECORD_LABEL: &[u8] = b"EK1 record\0";
const EXTENDED_RECORD_LABEL: &[u8] = b"EK2 record\0";
const CLASSIC_KEY_A_LABEL: &[u8] = b"EK1 classic key A\0";
const CLASSIC_KEY_B_LABEL: &[u8] = b"EK1 classic key B\0";
const TYPE2_PASSWORD_LABEL: &[u8] = b"EK1 type 2 password\0";

/// SHA-256's block: a shorter HMAC key counts as if filled up with zeros (RFC 2104, section 2).
const HMAC_BLOCK: usize = 64;
const MAC_LENGTH: usize = 8;

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

fn uid_length(uid: &Uid) -> [u8; 1] {
    [u8::try_from(uid.as_bytes().len()).unwrap_or(u8::MAX)]
}
