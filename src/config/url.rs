//! The coordinator's base URL.

use std::net::IpAddr;

use tokio_tungstenite::tungstenite::http::Uri;

/// Where the coordinator is: `ws`, `wss`, `http` or `https`, a host, a port, and the path that its own paths follow.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CoordinatorUrl {
    secure: bool,
    host: String,
    port: u16,
    base_path: String,
}

/// Why a text is no coordinator URL.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum UrlProblem {
    /// It is no URL at all.
    #[error("it is no url")]
    Malformed,
    /// The scheme is none of the four.
    #[error("its scheme is none of ws, wss, http and https")]
    Scheme,
    /// There is no host.
    #[error("it names no host")]
    Host,
    /// The port is 0 or above 65535.
    #[error("its port is no number from 1 to 65535")]
    Port,
    /// It carries a user name or a password.
    #[error("it carries a user name or password; the token belongs into `token` or `token_file`")]
    UserInfo,
    /// It carries a query or a fragment.
    #[error("it carries a query or a fragment; give the base url alone")]
    Query,
}

impl CoordinatorUrl {
    /// Reads a base URL.
    ///
    /// # Errors
    /// [`UrlProblem`] when it is none; the text itself is not quoted, for it may hold a password.
    pub fn parse(text: &str) -> Result<Self, UrlProblem> {
        if text.contains('#') {
            return Err(UrlProblem::Query);
        }
        let uri: Uri = text.parse().map_err(|_| UrlProblem::Malformed)?;
        let secure = match uri.scheme_str() {
            Some("ws" | "http") => false,
            Some("wss" | "https") => true,
            _ => return Err(UrlProblem::Scheme),
        };
        let authority = uri.authority().ok_or(UrlProblem::Host)?;
        if authority.as_str().contains('@') {
            return Err(UrlProblem::UserInfo);
        }
        if uri.query().is_some() {
            return Err(UrlProblem::Query);
        }
        Ok(Self {
            secure,
            host: bare_host(authority.host())?,
            port: port(
                authority.as_str(),
                authority.host(),
                if secure { 443 } else { 80 },
            )?,
            base_path: uri.path().trim_end_matches('/').to_owned(),
        })
    }

    /// Whether the road is encrypted.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// The host's name or address; an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Both, as an authority of a URL writes them.
    pub fn host_and_port(&self) -> String {
        host_and_port(&self.host, self.port)
    }

    /// Whether the host is this very machine, as far as the URL tells.
    pub fn is_loopback(&self) -> bool {
        match self.host.parse::<IpAddr>() {
            Ok(address) => address.is_loopback(),
            Err(_) => self.host.eq_ignore_ascii_case("localhost"),
        }
    }

    /// A path below the base as a request names it; `path` begins with a slash.
    pub fn request_path(&self, path: &str) -> String {
        format!("{}{path}", self.base_path)
    }

    /// The websocket URL of a path below the base; `path` begins with a slash.
    pub fn socket_url(&self, path: &str) -> String {
        format!("{self}{path}")
    }
}

impl std::fmt::Display for CoordinatorUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.secure { "wss" } else { "ws" };
        write!(f, "{scheme}://{}{}", self.host_and_port(), self.base_path)
    }
}

/// Host and port as an authority of a URL writes them, an IPv6 address within brackets.
pub(super) fn host_and_port(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// A host without the brackets of an IPv6 address.
pub(super) fn bare_host(host: &str) -> Result<String, UrlProblem> {
    let bare = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(host);
    if bare.is_empty() {
        return Err(UrlProblem::Host);
    }
    Ok(bare.to_owned())
}

/// Reads the port from what follows the host, since `Uri` takes a port that is no number for none.
pub(super) fn port(authority: &str, host: &str, default: u16) -> Result<u16, UrlProblem> {
    match authority.strip_prefix(host) {
        Some("") => Ok(default),
        Some(rest) => rest
            .strip_prefix(':')
            .and_then(|digits| digits.parse().ok())
            .filter(|port| *port != 0)
            .ok_or(UrlProblem::Port),
        None => Err(UrlProblem::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scheme_gives_a_websocket_url() {
        for (text, expected) in [
            ("ws://127.0.0.1:8480", "ws://127.0.0.1:8480/x"),
            ("http://localhost", "ws://localhost:80/x"),
            (
                "https://keys.example/base/",
                "wss://keys.example:443/base/x",
            ),
            ("wss://[::1]:8443", "wss://[::1]:8443/x"),
        ] {
            assert_eq!(
                CoordinatorUrl::parse(text).unwrap().socket_url("/x"),
                expected
            );
        }
    }

    #[test]
    fn loopback_is_told_from_the_rest() {
        for (text, expected) in [
            ("ws://127.0.0.7:1", true),
            ("ws://[::1]:1", true),
            ("ws://LOCALHOST:1", true),
            ("ws://10.0.0.1:1", false),
            ("ws://localhost.example:1", false),
        ] {
            assert_eq!(
                CoordinatorUrl::parse(text).unwrap().is_loopback(),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_base_url_is_refused() {
        for (text, expected) in [
            ("", UrlProblem::Malformed),
            ("not a url", UrlProblem::Malformed),
            ("127.0.0.1:8480", UrlProblem::Scheme),
            ("ftp://host", UrlProblem::Scheme),
            ("ws://user:secret@host", UrlProblem::UserInfo),
            ("ws://host/?a=b", UrlProblem::Query),
            ("ws://host/#a", UrlProblem::Query),
            ("ws://host:0", UrlProblem::Port),
            ("ws://host:99999", UrlProblem::Port),
            ("ws://host:x", UrlProblem::Port),
        ] {
            assert_eq!(CoordinatorUrl::parse(text), Err(expected), "{text}");
        }
    }
}
