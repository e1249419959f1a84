//! The HTTP proxy on the way to the coordinator: from `coordinator.proxy`, else from the variables that programs share.

use std::{ffi::OsString, net::IpAddr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use percent_encoding::percent_decode_str;
use tokio_tungstenite::tungstenite::http::uri::Authority;

use super::{ConfigError, CoordinatorUrl, Place, Secret, table::Table, url};

/// What `coordinator.proxy` says where no proxy is to be used, whatever the environment says.
const NO_PROXY_AT_ALL: &str = "none";

const EXPECTED: &str = "a proxy such as \"http://proxy.example.com:3128\", or \"none\"";

/// A proxy that opens tunnels by CONNECT.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ProxySettings {
    /// The proxy's name or address; an IPv6 address without its brackets.
    pub host: String,
    /// Its TCP port.
    pub port: u16,
    /// `user:password` in base 64, as basic authentication sends it (RFC 7617, section 2).
    pub credentials: Option<Secret>,
}

/// Why a text names no proxy. Says nothing of the text itself, which may hold a password.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ProxyProblem {
    /// The scheme is another than `http`.
    #[error("its scheme is not http; other proxies are not spoken to")]
    Scheme,
    /// There is no host, or it is none.
    #[error("it names no host")]
    Host,
    /// The port is 0 or above 65535.
    #[error("its port is no number from 1 to 65535")]
    Port,
    /// Something follows host and port.
    #[error("it has a path; give scheme, host and port alone")]
    Path,
}

impl ProxySettings {
    /// Reads `[http://][user:password@]host[:port]`, the way `HTTPS_PROXY` is written; user and password may be
    /// percent-encoded. Without a port it is 80.
    ///
    /// # Errors
    /// [`ProxyProblem`] when it names no HTTP proxy.
    pub fn parse(text: &str) -> Result<Self, ProxyProblem> {
        let rest = match text.split_once("://") {
            None => text,
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some(_) => return Err(ProxyProblem::Scheme),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (user_info, authority) = match rest.rsplit_once('@') {
            Some((user_info, authority)) => (Some(user_info), authority),
            None => (None, rest),
        };
        if authority.contains(['/', '?', '#']) {
            return Err(ProxyProblem::Path);
        }
        let authority: Authority = authority.parse().map_err(|_| ProxyProblem::Host)?;
        let host = url::bare_host(authority.host()).map_err(|_| ProxyProblem::Host)?;
        let port = url::port(authority.as_str(), authority.host(), 80);
        Ok(Self {
            host,
            port: port.map_err(|_| ProxyProblem::Port)?,
            credentials: user_info.map(credentials),
        })
    }
}

impl std::fmt::Display for ProxySettings {
    /// Host and port alone.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&url::host_and_port(&self.host, self.port))
    }
}

fn credentials(user_info: &str) -> Secret {
    let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
    let mut bytes = zeroize::Zeroizing::new(Vec::new());
    bytes.extend(percent_decode_str(user));
    bytes.push(b':');
    bytes.extend(percent_decode_str(password));
    Secret::new(STANDARD.encode(&*bytes))
}

/// The proxy for this URL, if there is to be one: never to this very machine; else as `coordinator.proxy` says; else, as
/// for curl, `https_proxy` or `http_proxy` after the URL's scheme, else `all_proxy`, unless `no_proxy` excepts the host. In
/// lower case they win over those in upper case.
pub(super) fn read(
    table: &Table<'_>,
    url: &CoordinatorUrl,
    environment: &[(OsString, OsString)],
) -> Result<Option<ProxySettings>, ConfigError> {
    let listed = table.text("proxy", EXPECTED)?;
    let listed = match listed.as_deref() {
        None => None,
        Some(NO_PROXY_AT_ALL) => return Ok(None),
        Some(text) => Some(ProxySettings::parse(text).map_err(|problem| {
            table.bad("proxy", problem.to_string(), format!("expected {EXPECTED}"))
        })?),
    };
    if url.is_loopback() {
        return Ok(None);
    }
    match listed {
        Some(proxy) => Ok(Some(proxy)),
        None => from_environment(url, environment),
    }
}

fn from_environment(
    url: &CoordinatorUrl,
    environment: &[(OsString, OsString)],
) -> Result<Option<ProxySettings>, ConfigError> {
    let by_scheme = if url.is_secure() {
        "https_proxy"
    } else {
        "http_proxy"
    };
    let found = [by_scheme, "all_proxy"]
        .into_iter()
        .find_map(|name| variable(environment, name));
    let Some((name, text)) = found else {
        return Ok(None);
    };
    let excepted = variable(environment, "no_proxy");
    if excepted.is_some_and(|(_, list)| is_excepted(list, url.host(), url.port())) {
        return Ok(None);
    }
    let proxy = ProxySettings::parse(text).map_err(|problem| ConfigError::BadValue {
        place: Place::Variable {
            name: name.to_owned(),
        },
        problem: problem.to_string(),
        remedy: "correct it, or set coordinator.proxy, which wins over it".to_owned(),
    })?;
    Ok(Some(proxy))
}

/// The variable of this name in lower or else in upper case, unless it is empty.
fn variable<'a>(environment: &'a [(OsString, OsString)], name: &str) -> Option<(&'a str, &'a str)> {
    let find = |wanted: &str| {
        let found = environment.iter().find(|(name, _)| name == wanted)?;
        let (name, text) = (found.0.to_str()?, found.1.to_str()?.trim());
        (!text.is_empty()).then_some((name, text))
    };
    find(name).or_else(|| find(&name.to_uppercase()))
}

/// Whether a `no_proxy` list excepts a host: `*`, a domain with all below it, an address, or a block of addresses, each
/// with a port or without.
fn is_excepted(list: &str, host: &str, port: u16) -> bool {
    list.split(',')
        .map(str::trim)
        .any(|entry| entry == "*" || excepts(entry, host, port))
}

fn excepts(entry: &str, host: &str, port: u16) -> bool {
    if let Ok(address) = host.parse::<IpAddr>() {
        return match entry.split_once('/') {
            Some((block, bits)) => is_in_block(address, block, bits),
            None => without_port(entry, port).is_some_and(|named| {
                url::bare_host(named).is_ok_and(|named| named.parse() == Ok(address))
            }),
        };
    }
    let Some(domain) = without_port(entry, port) else {
        return false;
    };
    let domain = domain.strip_prefix("*.").unwrap_or(domain);
    let domain = domain.strip_prefix('.').unwrap_or(domain).to_lowercase();
    let host = host.to_lowercase();
    let below = host.strip_suffix(&domain);
    !domain.is_empty() && below.is_some_and(|below| below.is_empty() || below.ends_with('.'))
}

/// The entry's host, if the entry is for this port.
fn without_port(entry: &str, port: u16) -> Option<&str> {
    if entry.parse::<IpAddr>().is_ok() {
        return Some(entry);
    }
    match entry.rsplit_once(':') {
        Some((host, named)) if !named.ends_with(']') => (named.parse() == Ok(port)).then_some(host),
        _ => Some(entry),
    }
}

fn is_in_block(address: IpAddr, block: &str, bits: &str) -> bool {
    let (Ok(block), Ok(bits)) = (block.parse::<IpAddr>(), bits.parse::<u32>()) else {
        return false;
    };
    let (address, block, width) = match (address, block) {
        (IpAddr::V4(address), IpAddr::V4(block)) => (
            u128::from(address.to_bits()),
            u128::from(block.to_bits()),
            32,
        ),
        (IpAddr::V6(address), IpAddr::V6(block)) => (address.to_bits(), block.to_bits(), 128),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
    };
    let Some(ignored) = u32::checked_sub(width, bits) else {
        return false;
    };
    // A shift by all of the width is no shift at all.
    let shifted = |bits: u128| bits.checked_shr(ignored).unwrap_or(0);
    shifted(address) == shifted(block)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        let variables = variables.iter();
        variables
            .map(|(name, value)| (name.into(), value.into()))
            .collect()
    }

    fn found(url: &str, variables: &[(&str, &str)]) -> Option<String> {
        let url = CoordinatorUrl::parse(url).unwrap();
        let found = from_environment(&url, &environment(variables)).unwrap();
        found.map(|proxy| proxy.to_string())
    }

    #[test]
    fn a_proxy_is_read_as_the_environment_names_them() {
        for (text, host, port) in [
            ("http://proxy.example:3128", "proxy.example", 3128),
            ("HTTP://proxy.example/", "proxy.example", 80),
            ("proxy.example:8080", "proxy.example", 8080),
            ("http://[::1]:3128", "::1", 3128),
        ] {
            let proxy = ProxySettings::parse(text).unwrap();
            assert_eq!((proxy.host.as_str(), proxy.port), (host, port), "{text}");
            assert_eq!(proxy.credentials, None);
        }
    }

    #[test]
    fn user_and_password_are_decoded_and_never_shown() {
        let proxy = ProxySettings::parse("http://ann:p%40ss:word@proxy:3128").unwrap();
        // RFC 7617: the first colon alone divides user and password.
        let expected = STANDARD.encode("ann:p@ss:word");
        assert_eq!(proxy.credentials.as_ref().unwrap().expose(), expected);
        for shown in [format!("{proxy}"), format!("{proxy:?}")] {
            assert!(
                !shown.contains("ss:word") && !shown.contains(&expected),
                "{shown}"
            );
        }
    }

    #[test]
    fn what_names_no_http_proxy_is_refused() {
        for (text, expected) in [
            ("", ProxyProblem::Host),
            ("http://", ProxyProblem::Host),
            ("https://proxy", ProxyProblem::Scheme),
            ("socks5://proxy", ProxyProblem::Scheme),
            ("http://proxy:0", ProxyProblem::Port),
            ("http://proxy:x", ProxyProblem::Port),
            ("http://proxy/path", ProxyProblem::Path),
        ] {
            assert_eq!(ProxySettings::parse(text), Err(expected), "{text}");
        }
    }

    #[test]
    fn the_scheme_chooses_the_variable() {
        let variables = [
            ("https_proxy", "a:1"),
            ("HTTP_PROXY", "b:2"),
            ("ALL_PROXY", "c:3"),
        ];
        assert_eq!(
            found("https://keys.example", &variables).as_deref(),
            Some("a:1")
        );
        assert_eq!(
            found("http://keys.example", &variables).as_deref(),
            Some("b:2")
        );
        assert_eq!(
            found("http://keys.example", &variables[2..]).as_deref(),
            Some("c:3")
        );
        assert_eq!(found("https://keys.example", &[]), None);
        let both = [("HTTPS_PROXY", "upper:1"), ("https_proxy", "lower:1")];
        assert_eq!(
            found("https://keys.example", &both).as_deref(),
            Some("lower:1")
        );
        assert_eq!(found("https://keys.example", &[("https_proxy", " ")]), None);
    }

    #[test]
    fn no_proxy_excepts_domains_addresses_and_blocks() {
        for (list, host, expected) in [
            ("*", "keys.example", true),
            ("example", "keys.example", true),
            (".example", "keys.example", true),
            ("*.example", "keys.example", true),
            ("other, KEYS.example", "keys.example", true),
            ("eys.example", "keys.example", false),
            ("keys.example:443", "keys.example", true),
            ("keys.example:80", "keys.example", false),
            ("", "keys.example", false),
            (".", "keys.example", false),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3:443", "10.1.2.3", true),
            ("2.3", "10.1.2.3", false),
            ("10.0.0.0/8", "10.1.2.3", true),
            ("10.0.0.0/8", "11.1.2.3", false),
            ("0.0.0.0/0", "11.1.2.3", true),
            ("10.0.0.0/33", "10.0.0.0", false),
            ("fd00::/8", "fd12::1", true),
            ("::/0", "fd12::1", true),
            ("[fd12::1]:443", "fd12::1", true),
            ("[fd12::1]", "fd12::1", true),
            ("fd00::/8", "10.1.2.3", false),
        ] {
            assert_eq!(is_excepted(list, host, 443), expected, "{list} {host}");
        }
    }

    #[test]
    fn a_variable_that_names_no_proxy_is_named() {
        let url = CoordinatorUrl::parse("https://keys.example").unwrap();
        let variables = environment(&[("HTTPS_PROXY", "socks5://hush@proxy")]);
        let error = from_environment(&url, &variables).unwrap_err().to_string();
        assert!(
            error.starts_with("environment variable HTTPS_PROXY: its scheme"),
            "{error}"
        );
        assert!(!error.contains("hush"), "{error}");
    }
}
