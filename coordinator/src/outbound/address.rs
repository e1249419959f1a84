//! Which addresses may be connected to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use Kind::{Private, Unusable};

/// How far requests may reach.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Reach {
    /// Addresses of the public internet only.
    #[default]
    Public,
    /// Also this machine and private networks. Never link-local addresses, where clouds keep their metadata.
    Private,
}

/// An address that may not be connected to.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{address} is a {what} address, and those are refused{advice}", advice = self.advice())]
pub struct Refusal {
    /// The address.
    pub address: IpAddr,
    /// What it is for, in words.
    pub what: &'static str,
    is_private: bool,
}

impl Refusal {
    /// What the operator can do.
    const fn advice(&self) -> &'static str {
        if self.is_private {
            " unless the service runs with --allow-private-targets"
        } else {
            ""
        }
    }
}

/// What an address block is good for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// This machine and networks of one's own.
    Private,
    /// No unicast host that a request could be meant for, or one that hides another address.
    Unusable,
}

/// The IPv4 blocks that are not public unicast (IANA special-purpose registry, RFC 6890; RFC 1112).
const V4: [(Ipv4Addr, u32, Kind, &str); 15] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8, Unusable, "unspecified"),
    (Ipv4Addr::new(10, 0, 0, 0), 8, Private, "private"),
    (Ipv4Addr::new(100, 64, 0, 0), 10, Private, "shared"),
    (Ipv4Addr::new(127, 0, 0, 0), 8, Private, "loopback"),
    (Ipv4Addr::new(169, 254, 0, 0), 16, Unusable, "link-local"),
    (Ipv4Addr::new(172, 16, 0, 0), 12, Private, "private"),
    (Ipv4Addr::new(192, 0, 0, 0), 24, Unusable, "reserved"),
    (Ipv4Addr::new(192, 0, 2, 0), 24, Unusable, "documentation"),
    (Ipv4Addr::new(192, 88, 99, 0), 24, Unusable, "6to4 relay"),
    (Ipv4Addr::new(192, 168, 0, 0), 16, Private, "private"),
    (Ipv4Addr::new(198, 18, 0, 0), 15, Unusable, "benchmarking"),
    (
        Ipv4Addr::new(198, 51, 100, 0),
        24,
        Unusable,
        "documentation",
    ),
    (Ipv4Addr::new(203, 0, 113, 0), 24, Unusable, "documentation"),
    (Ipv4Addr::new(224, 0, 0, 0), 4, Unusable, "multicast"),
    (Ipv4Addr::new(240, 0, 0, 0), 4, Unusable, "reserved"),
];

/// The IPv6 blocks that have a name of their own here; the first that fits counts. Addresses that carry an IPv4 address
/// are refused as a whole: whoever means that address can name it.
const V6: [(Ipv6Addr, u32, Kind, &str); 14] = [
    (Ipv6Addr::UNSPECIFIED, 128, Unusable, "unspecified"),
    (Ipv6Addr::LOCALHOST, 128, Private, "loopback"),
    (Ipv6Addr::UNSPECIFIED, 96, Unusable, "IPv4-compatible"),
    (v6(0, 0, 0xffff), 96, Unusable, "IPv4-mapped"),
    (v6(0x0064, 0xff9b, 0), 32, Unusable, "NAT64"),
    (v6(0x2001, 0, 0), 32, Unusable, "Teredo"),
    (v6(0x2001, 0, 0), 23, Unusable, "reserved"),
    (v6(0x2001, 0x0db8, 0), 32, Unusable, "documentation"),
    (v6(0x2002, 0, 0), 16, Unusable, "6to4"),
    (v6(0x3fff, 0, 0), 20, Unusable, "documentation"),
    (v6(0xfc00, 0, 0), 7, Private, "private"),
    (v6(0xfe80, 0, 0), 10, Unusable, "link-local"),
    (v6(0xfec0, 0, 0), 10, Unusable, "site-local"),
    (v6(0xff00, 0, 0), 8, Unusable, "multicast"),
];

/// Global unicast: the only IPv6 space handed out so far (RFC 4291, section 2.4; IANA).
const V6_GLOBAL: (Ipv6Addr, u32) = (v6(0x2000, 0, 0), 3);

/// An address by its first two groups and its sixth.
const fn v6(first: u16, second: u16, sixth: u16) -> Ipv6Addr {
    Ipv6Addr::new(first, second, 0, 0, 0, sixth, 0, 0)
}

/// Whether an address may be connected to. Returns whether it is public.
///
/// # Errors
/// [`Refusal`] when it lies beyond `reach`.
pub fn check(address: IpAddr, reach: Reach) -> Result<bool, Refusal> {
    match (kind_of(address), reach) {
        (None, _) => Ok(true),
        (Some((Private, _)), Reach::Private) => Ok(false),
        (Some((kind, what)), _) => Err(Refusal {
            address,
            what,
            is_private: kind == Private,
        }),
    }
}

/// What an address that is not public is.
fn kind_of(address: IpAddr) -> Option<(Kind, &'static str)> {
    match address {
        IpAddr::V4(address) => V4
            .iter()
            .find(|(block, length, ..)| v4_has(*block, *length, address))
            .map(|&(_, _, kind, what)| (kind, what)),
        IpAddr::V6(address) => V6
            .iter()
            .find(|(block, length, ..)| v6_has(*block, *length, address))
            .map(|&(_, _, kind, what)| (kind, what))
            .or_else(|| {
                let (block, length) = V6_GLOBAL;
                (!v6_has(block, length, address)).then_some((Unusable, "reserved"))
            }),
    }
}

fn v4_has(block: Ipv4Addr, length: u32, address: Ipv4Addr) -> bool {
    (block.to_bits() ^ address.to_bits()).leading_zeros() >= length
}

fn v6_has(block: Ipv6Addr, length: u32, address: Ipv6Addr) -> bool {
    (block.to_bits() ^ address.to_bits()).leading_zeros() >= length
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refused(address: &str, reach: Reach) -> Option<&'static str> {
        check(address.parse().unwrap(), reach)
            .err()
            .map(|refusal| refusal.what)
    }

    #[test]
    fn public_addresses_are_taken() {
        for address in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "192.169.0.0",
            "223.255.255.255",
            "2606:4700:4700::1111",
            "2001:4860:4860::8888",
            "2a00::1",
        ] {
            for reach in [Reach::Public, Reach::Private] {
                assert_eq!(
                    check(address.parse().unwrap(), reach),
                    Ok(true),
                    "{address}"
                );
            }
        }
    }

    #[test]
    fn private_addresses_are_taken_only_where_that_is_allowed() {
        for address in [
            "127.0.0.1",
            "127.255.255.254",
            "10.0.0.1",
            "100.64.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "::1",
            "fc00::1",
            "fd12:3456::1",
        ] {
            assert!(refused(address, Reach::Public).is_some(), "{address}");
            let checked = check(address.parse().unwrap(), Reach::Private);
            assert_eq!(checked, Ok(false), "{address}");
        }
    }

    #[test]
    fn other_addresses_are_never_taken() {
        for (address, what) in [
            ("0.0.0.0", "unspecified"),
            ("0.1.2.3", "unspecified"),
            ("169.254.169.254", "link-local"),
            ("192.0.0.170", "reserved"),
            ("192.0.2.1", "documentation"),
            ("198.19.255.255", "benchmarking"),
            ("224.0.0.1", "multicast"),
            ("239.255.255.250", "multicast"),
            ("255.255.255.255", "reserved"),
            ("::", "unspecified"),
            ("::7f00:1", "IPv4-compatible"),
            ("::ffff:127.0.0.1", "IPv4-mapped"),
            ("::ffff:8.8.8.8", "IPv4-mapped"),
            ("64:ff9b::7f00:1", "NAT64"),
            ("64:ff9b:1::1", "NAT64"),
            ("2001::1", "Teredo"),
            ("2001:20::1", "reserved"),
            ("2001:db8::1", "documentation"),
            ("2002:7f00:1::", "6to4"),
            ("3fff::1", "documentation"),
            ("fe80::1", "link-local"),
            ("fec0::1", "site-local"),
            ("ff02::1", "multicast"),
            ("100::1", "reserved"),
            ("4000::1", "reserved"),
        ] {
            for reach in [Reach::Public, Reach::Private] {
                assert_eq!(refused(address, reach), Some(what), "{address}");
            }
        }
    }

    proptest! {
        /// The standard library's own predicates, which know fewer blocks, agree wherever they speak.
        #[test]
        fn nothing_that_the_standard_library_calls_special_passes_as_public(bits: u32, high: u16, low: u128) {
            let v4 = Ipv4Addr::from_bits(bits);
            if v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_multicast()
                || v4.is_broadcast() || v4.is_documentation() || v4.is_unspecified()
            {
                prop_assert!(check(v4.into(), Reach::Public).is_err());
            }
            let v6 = Ipv6Addr::from_bits((u128::from(high) << 112) | (low >> 16));
            if v6.is_loopback() || v6.is_multicast() || v6.is_unspecified() || v6.to_ipv4().is_some()
                || v6.is_unique_local() || v6.is_unicast_link_local()
            {
                prop_assert!(check(v6.into(), Reach::Public).is_err());
            }
        }

        #[test]
        fn an_ipv4_address_inside_an_ipv6_address_is_never_reached(bits: u32) {
            let bits = u128::from(bits);
            let mapped = (0xffff << 32) | bits;
            let nat64 = (0x0064_ff9b << 96) | bits;
            let six_to_four = (0x2002 << 112) | (bits << 80);
            for address in [bits, mapped, nat64, six_to_four] {
                let address = Ipv6Addr::from_bits(address);
                let checked = check(address.into(), Reach::Private);
                prop_assert!(address == Ipv6Addr::LOCALHOST || checked.is_err());
            }
        }
    }
}
