//! Where a request goes.

use std::{fmt, net::IpAddr};

use axum::http::{HeaderValue, Uri};
use rustls::pki_types::ServerName;
use url::{Host, Position, Url};

use super::{Reach, TargetError, check};

/// The URL of a target. Its path and query may be secret, so it shows only its origin when it is formatted.
#[derive(Clone, Eq, PartialEq)]
pub struct Target(Url);

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({}/…)", &self.0[..Position::BeforePath])
    }
}

impl Target {
    /// Reads a URL: `https`, or `http` where private addresses may be reached; no user name, password or fragment; no
    /// address that may not be connected to.
    ///
    /// # Errors
    /// [`TargetError`] that says what is wrong.
    pub fn parse(text: &str, reach: Reach) -> Result<Self, TargetError> {
        let url = Url::parse(text).map_err(|error| TargetError::Malformed(error.to_string()))?;
        match (url.scheme(), reach) {
            ("https", _) | ("http", Reach::Private) => {}
            ("http", Reach::Public) => return Err(TargetError::ClearText),
            (other, _) => return Err(TargetError::Scheme(other.to_owned())),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(TargetError::Credentials);
        }
        if url.fragment().is_some() {
            return Err(TargetError::Fragment);
        }
        let target = Self(url);
        if let Some(address) = target.address() {
            target.check(address, reach)?;
        }
        Ok(target)
    }

    /// The URL as it is stored and shown to its owner.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Whether the request goes encrypted.
    pub(super) fn is_secure(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// Whether this address may be connected to: within reach, and public only with encryption.
    pub(super) fn check(&self, address: IpAddr, reach: Reach) -> Result<(), TargetError> {
        let is_public = check(address, reach)?;
        if is_public && !self.is_secure() {
            return Err(TargetError::ClearText);
        }
        Ok(())
    }

    /// The host as a name or address.
    pub(super) fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// The address, where the host is one.
    pub(super) fn address(&self) -> Option<IpAddr> {
        match self.0.host()? {
            Host::Domain(_) => None,
            Host::Ipv4(address) => Some(address.into()),
            Host::Ipv6(address) => Some(address.into()),
        }
    }

    /// The port.
    pub(super) fn port(&self) -> u16 {
        // Both schemes have a default.
        self.0.port_or_known_default().unwrap_or_default()
    }

    /// The name that the certificate must carry.
    pub(super) fn server_name(&self) -> Option<ServerName<'static>> {
        match self.address() {
            Some(address) => Some(ServerName::from(address)),
            None => ServerName::try_from(self.host().trim_end_matches('.').to_owned()).ok(),
        }
    }

    /// The `Host` header.
    pub(super) fn authority(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(&self.0[Position::BeforeHost..Position::AfterPort]).ok()
    }

    /// The path and query, as the request line names them.
    pub(super) fn uri(&self) -> Option<Uri> {
        self.0[Position::BeforePath..Position::AfterQuery]
            .parse()
            .ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn https_urls_are_taken() {
        for (text, host, port, authority, uri) in [
            (
                "https://example.com",
                "example.com",
                443,
                "example.com",
                "/",
            ),
            (
                "HTTPS://Example.com:8443/a/b?c=d",
                "example.com",
                8443,
                "example.com:8443",
                "/a/b?c=d",
            ),
            ("https://1.1.1.1/x", "1.1.1.1", 443, "1.1.1.1", "/x"),
            (
                "https://[2606:4700::1]:1/",
                "[2606:4700::1]",
                1,
                "[2606:4700::1]:1",
                "/",
            ),
            (
                "https://bücher.example/ü",
                "xn--bcher-kva.example",
                443,
                "xn--bcher-kva.example",
                "/%C3%BC",
            ),
        ] {
            let target = Target::parse(text, Reach::Public).unwrap();
            assert_eq!(target.host(), host, "{text}");
            assert_eq!(target.port(), port, "{text}");
            assert_eq!(target.authority().unwrap(), authority, "{text}");
            assert_eq!(target.uri().unwrap(), uri, "{text}");
            assert!(target.server_name().is_some(), "{text}");
        }
    }

    #[test]
    fn what_is_no_safe_target_is_refused_with_its_reason() {
        for (text, expected) in [
            ("", "expected a URL"),
            ("example.com/x", "expected a URL"),
            ("https://", "expected a URL"),
            ("https://exa mple.com", "expected a URL"),
            ("https://example.com:70000", "expected a URL"),
            ("ftp://example.com", "expected an https URL, got ftp"),
            ("file:///etc/passwd", "expected an https URL, got file"),
            ("gopher://example.com", "expected an https URL, got gopher"),
            ("http://example.com", "--allow-private-targets"),
            ("https://user@example.com", "user name or password"),
            ("https://:pass@example.com", "user name or password"),
            ("https://example.com/#x", "fragment"),
            ("https://127.0.0.1", "loopback"),
            ("https://2130706433/", "loopback"),
            ("https://0x7f.1/", "loopback"),
            ("https://0177.0.0.1/", "loopback"),
            ("https://127.1/", "loopback"),
            ("https://[::1]/", "loopback"),
            ("https://[::ffff:10.0.0.1]/", "IPv4-mapped"),
            ("https://169.254.169.254/latest", "link-local"),
            ("https://１２７.0.0.1/", "loopback"),
        ] {
            let error = Target::parse(text, Reach::Public).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn plain_http_goes_to_private_addresses_only() {
        let target = Target::parse("http://10.0.0.1/x", Reach::Private).unwrap();
        assert_eq!(target.port(), 80);
        assert_eq!(
            Target::parse("http://1.1.1.1/x", Reach::Private),
            Err(TargetError::ClearText)
        );
        let named = Target::parse("http://example.com/x", Reach::Private).unwrap();
        assert_eq!(
            named.check("1.1.1.1".parse().unwrap(), Reach::Private),
            Err(TargetError::ClearText)
        );
        assert_eq!(
            named.check("10.0.0.1".parse().unwrap(), Reach::Private),
            Ok(())
        );
    }

    #[test]
    fn the_path_is_not_shown() {
        let target = Target::parse("https://example.com/secret?key=1", Reach::Public).unwrap();
        assert_eq!(format!("{target:?}"), "Target(https://example.com/…)");
    }
}
