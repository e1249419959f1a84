//! How a secret lies in a file of the state directory: on Windows encrypted with a key of the PC's, elsewhere as it is, for
//! the file's mode keeps it from others.

use std::io;

use zeroize::Zeroizing;

/// What a sealed secret begins with on Windows; base64 follows. No token has a colon.
#[cfg(windows)]
const PREFIX: &str = "dpapi:";

/// The text to put into the file.
///
/// # Errors
/// What the system says.
#[cfg(windows)]
pub(crate) fn sealed(secret: &str) -> io::Result<String> {
    use base64::{Engine as _, engine::general_purpose::STANDARD};

    let protected = super::dpapi::protect(secret.as_bytes())?;
    Ok(format!("{PREFIX}{}", STANDARD.encode(&*protected)))
}

/// The text to put into the file.
///
/// # Errors
/// None.
#[cfg(not(windows))]
pub(crate) fn sealed(secret: &str) -> io::Result<String> {
    Ok(secret.to_owned())
}

/// The secret of a text from the file; one that is not sealed is the secret itself, as agents before wrote it.
///
/// # Errors
/// What the system says, above all of what another PC has sealed.
#[cfg(windows)]
pub(crate) fn unsealed(text: &str) -> io::Result<Zeroizing<String>> {
    use base64::{Engine as _, engine::general_purpose::STANDARD};

    let Some(protected) = text.trim_end().strip_prefix(PREFIX) else {
        return Ok(Zeroizing::new(text.to_owned()));
    };
    let protected = STANDARD
        .decode(protected)
        .map_err(|_| io::ErrorKind::InvalidData)?;
    let secret = super::dpapi::unprotect(&protected)?;
    let secret = std::str::from_utf8(&secret).map_err(|_| io::ErrorKind::InvalidData)?;
    Ok(Zeroizing::new(secret.to_owned()))
}

/// The secret of a text from the file.
///
/// # Errors
/// None.
#[cfg(not(windows))]
pub(crate) fn unsealed(text: &str) -> io::Result<Zeroizing<String>> {
    Ok(Zeroizing::new(text.to_owned()))
}

/// Whether a text lies in the file as [`sealed`] would put it.
pub(crate) fn is_sealed(text: &str) -> bool {
    #[cfg(windows)]
    let is_sealed = text.starts_with(PREFIX);
    #[cfg(not(windows))]
    let is_sealed = {
        let _ = text;
        true
    };
    is_sealed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_is_read_again() {
        for secret in ["", "agent_hush", "schlüssel"] {
            let text = sealed(secret).unwrap();
            assert!(is_sealed(&text));
            assert_eq!(*unsealed(&text).unwrap(), secret);
        }
    }

    #[cfg(windows)]
    #[test]
    fn a_sealed_secret_does_not_show_and_an_older_one_counts() {
        let text = sealed("agent_hush").unwrap();
        assert!(!text.contains("hush"), "{text}");
        assert_ne!(text, sealed("agent_hush").unwrap());
        assert!(!is_sealed("agent_hush"));
        assert_eq!(*unsealed("agent_hush").unwrap(), "agent_hush");
    }

    #[cfg(windows)]
    #[test]
    fn what_was_changed_or_is_no_seal_is_refused() {
        let text = sealed("agent_hush").unwrap();
        let cut = &text[..text.len() - 8];
        for damaged in [cut, "dpapi:", "dpapi:????", "dpapi:AAAA"] {
            unsealed(damaged).unwrap_err();
        }
    }
}
