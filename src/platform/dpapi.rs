//! The data protection of Windows (DPAPI): it encrypts with a key that Windows keeps, and that no file of the agent's holds.
//!
//! The key is the PC's and not an account's: an administrator pairs, and the service's account reads the token. So it guards
//! what leaves the PC (a copied folder, a backup) and not against the PC's own programs; the rights on the folder do that.

use std::{io, ptr, slice};

use windows_sys::Win32::{
    Foundation::LocalFree,
    Security::Cryptography::{
        CRYPT_INTEGER_BLOB, CRYPTPROTECT_LOCAL_MACHINE, CRYPTPROTECT_UI_FORBIDDEN,
        CryptProtectData, CryptUnprotectData,
    },
};
use zeroize::{Zeroize, Zeroizing};

/// Encrypts for any account of this PC.
///
/// # Errors
/// The system's error.
pub(super) fn protect(secret: &[u8]) -> io::Result<Zeroizing<Vec<u8>>> {
    let given = blob(secret)?;
    let mut made = CRYPT_INTEGER_BLOB::default();
    // A service has nobody who could be asked anything.
    let flags = CRYPTPROTECT_LOCAL_MACHINE | CRYPTPROTECT_UI_FORBIDDEN;
    // SAFETY: `given` is `secret`, which is only read and outlives the call; null is allowed for all that may be left out;
    // `made` is what the system writes to.
    let done = unsafe {
        CryptProtectData(
            &given,
            ptr::null(),
            ptr::null(),
            ptr::null(),
            ptr::null(),
            flags,
            &mut made,
        )
    };
    taken(done, made)
}

/// Decrypts what [`protect`] has made on this PC.
///
/// # Errors
/// The system's error, above all for what was made on another one.
pub(super) fn unprotect(sealed: &[u8]) -> io::Result<Zeroizing<Vec<u8>>> {
    let given = blob(sealed)?;
    let mut made = CRYPT_INTEGER_BLOB::default();
    // SAFETY: as in `protect`.
    let done = unsafe {
        CryptUnprotectData(
            &given,
            ptr::null_mut(),
            ptr::null(),
            ptr::null(),
            ptr::null(),
            CRYPTPROTECT_UI_FORBIDDEN,
            &mut made,
        )
    };
    taken(done, made)
}

/// Bytes as the system takes them.
fn blob(bytes: &[u8]) -> io::Result<CRYPT_INTEGER_BLOB> {
    Ok(CRYPT_INTEGER_BLOB {
        cbData: u32::try_from(bytes.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
        pbData: bytes.as_ptr().cast_mut(),
    })
}

/// Copies what the system has made, and gives it back its memory, overwritten.
fn taken(done: i32, made: CRYPT_INTEGER_BLOB) -> io::Result<Zeroizing<Vec<u8>>> {
    if done == 0 {
        return Err(io::Error::last_os_error());
    }
    if made.pbData.is_null() {
        return Ok(Zeroizing::default());
    }
    let length = usize::try_from(made.cbData).map_err(|_| io::ErrorKind::InvalidData)?;
    // SAFETY: the call has succeeded, so these are as many bytes that belong to nobody else until `LocalFree`.
    let bytes = unsafe { slice::from_raw_parts_mut(made.pbData, length) };
    let copy = Zeroizing::new(bytes.to_vec());
    bytes.zeroize();
    // SAFETY: the system has allotted it for the caller to free so, and nothing refers to it any more.
    unsafe { LocalFree(made.pbData.cast()) };
    Ok(copy)
}
