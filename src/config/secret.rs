//! A text that must not show itself.

use zeroize::Zeroizing;

/// A secret text: never formatted, overwritten in memory when it is dropped.
#[derive(Clone, Eq, PartialEq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Wraps a text.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself, for the one place that sends or stores it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Why a text cannot be a token. Says nothing of the text itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TokenProblem {
    /// Nothing is there.
    #[error("it is empty")]
    Empty,
    /// It has characters that cannot stand in an HTTP header, or white space.
    #[error("it has white space or characters outside ASCII within it")]
    Unprintable,
}

/// Takes a text as a bearer token; white space around it is dropped.
///
/// # Errors
/// [`TokenProblem`] when the text cannot stand in an `Authorization` header (RFC 6750, section 2.1).
pub fn parse_token(text: &str) -> Result<Secret, TokenProblem> {
    let token = text.trim();
    if token.is_empty() {
        return Err(TokenProblem::Empty);
    }
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(TokenProblem::Unprintable);
    }
    Ok(Secret::new(token.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_show_itself() {
        let secret = Secret::new("hush".to_owned());
        assert_eq!(format!("{secret:?}"), "Secret(…)");
        assert_eq!(secret.expose(), "hush");
    }

    #[test]
    fn tokens_are_trimmed_and_checked() {
        assert_eq!(parse_token(" abc\n").unwrap().expose(), "abc");
        assert_eq!(parse_token(" \n"), Err(TokenProblem::Empty));
        assert_eq!(parse_token("a b"), Err(TokenProblem::Unprintable));
        assert_eq!(parse_token("a\u{e9}"), Err(TokenProblem::Unprintable));
    }
}
