//! For which hosts the service answers.
//!
//! A web page that a person at the desk opens can make a name of its own point at this machine (DNS rebinding) and
//! so talk to the service as if it were its own site. Such requests name the page's host; they are refused.

use std::net::{IpAddr, SocketAddr};

/// The names that always mean this machine.
const LOOPBACK_NAMES: &[&str] = &["localhost", "127.0.0.1", "::1"];

/// The hosts that requests may name.
#[derive(Clone, Debug)]
pub struct Hosts {
    names: Vec<String>,
    listen: IpAddr,
}

impl Hosts {
    /// The loopback names, the listen address, and the names that the operator allows. Where the service listens on
    /// every address, every address counts: only names can be rebound.
    pub fn new(listen: SocketAddr, allowed: &[String]) -> Self {
        let allowed = allowed.iter().map(|name| name.to_ascii_lowercase());
        Self {
            names: LOOPBACK_NAMES
                .iter()
                .map(|name| (*name).to_owned())
                .chain(allowed)
                .collect(),
            listen: listen.ip(),
        }
    }

    /// Whether a request with this `Host` header is answered. The port does not matter.
    pub fn permit(&self, host: &str) -> bool {
        let Some(name) = without_port(host) else {
            return false;
        };
        if let Ok(address) = name.parse::<IpAddr>()
            && (address == self.listen || self.listen.is_unspecified())
        {
            return true;
        }
        let name = name.strip_suffix('.').unwrap_or(name);
        self.names
            .iter()
            .any(|known| known.eq_ignore_ascii_case(name))
    }
}

/// The host without its port, and without the brackets of an IPv6 address (RFC 3986, section 3.2.2).
fn without_port(host: &str) -> Option<&str> {
    let (name, rest) = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let port = match rest {
        "" => return Some(name),
        rest => rest.strip_prefix(':')?,
    };
    (port.len() <= 5 && port.bytes().all(|digit| digit.is_ascii_digit())).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(listen: &str, allowed: &[&str]) -> Hosts {
        let allowed: Vec<_> = allowed.iter().map(|name| (*name).to_owned()).collect();
        Hosts::new(listen.parse().unwrap(), &allowed)
    }

    #[test]
    fn loopback_names_and_allowed_names_are_answered() {
        let hosts = hosts("127.0.0.1:8480", &["Desk.Hotel.example"]);
        for host in [
            "127.0.0.1:8480",
            "127.0.0.1",
            "localhost:9",
            "LOCALHOST",
            "localhost.",
            "[::1]:8480",
            "desk.hotel.example:443",
        ] {
            assert!(hosts.permit(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:8480",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "localhost:evil",
            "[::1",
            "[::1]x",
            "192.168.1.5",
            "localhost@evil.example",
        ] {
            assert!(!hosts.permit(host), "{host}");
        }
    }

    #[test]
    fn listening_everywhere_answers_for_every_address_but_no_name() {
        let hosts = hosts("0.0.0.0:8480", &[]);
        assert!(hosts.permit("192.168.1.5:8480"));
        assert!(hosts.permit("[fe80::1]:8480"));
        assert!(!hosts.permit("evil.example"));
    }

    #[test]
    fn the_listen_address_is_answered() {
        let hosts = hosts("192.168.1.5:8480", &[]);
        assert!(hosts.permit("192.168.1.5"));
        assert!(!hosts.permit("192.168.1.6"));
    }
}
