//! How many wrong pairing codes may be tried: from one address, and of all.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use encoder_protocols::moment::Moment;

/// How long wrong codes count: as long as a code holds.
const WINDOW: Duration = Duration::from_secs(15 * 60);

/// How many wrong codes one address may try within [`WINDOW`]. People mistype; and behind a proxy all share one.
pub(crate) const PER_ADDRESS: u32 = 20;

/// How many wrong codes all may try within [`WINDOW`]: one guess in two thousand million hits one of a hundred codes.
pub(crate) const OF_ALL: u32 = 200;

/// The bits of an IPv6 address that one customer has all of (RFC 6177).
const CUSTOMER_BITS: u32 = 64;

/// The tries that were wrong, or whose end is not known yet.
#[derive(Debug, Default)]
pub struct Attempts {
    of_all: Option<Window>,
    by_address: BTreeMap<IpAddr, Window>,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    until: Moment,
    tries: u32,
}

impl Window {
    fn left(found: Option<Self>, now: Moment) -> Self {
        found.filter(|window| window.until > now).unwrap_or(Self {
            until: now + WINDOW,
            tries: 0,
        })
    }
}

impl Attempts {
    /// Counts a try from this address as a wrong one, until [`Attempts::was_right`].
    ///
    /// # Errors
    /// How long nobody may try, where too many were wrong.
    pub fn begin(&mut self, now: Moment, address: IpAddr) -> Result<(), Duration> {
        self.by_address.retain(|_, window| window.until > now);
        let address = customer(address);
        let mut of_all = Window::left(self.of_all, now);
        let mut of_address = Window::left(self.by_address.get(&address).copied(), now);
        for (window, most) in [(&of_all, OF_ALL), (&of_address, PER_ADDRESS)] {
            if window.tries >= most {
                return Err(window.until.since(now));
            }
        }
        of_all.tries += 1;
        of_address.tries += 1;
        self.of_all = Some(of_all);
        // No more addresses come in than there may be wrong tries.
        self.by_address.insert(address, of_address);
        Ok(())
    }

    /// The try was right after all.
    pub fn was_right(&mut self, address: IpAddr) {
        let of_address = self.by_address.get_mut(&customer(address));
        for window in self.of_all.as_mut().into_iter().chain(of_address) {
            window.tries = window.tries.saturating_sub(1);
        }
    }
}

/// The address, or what all addresses of one customer have in common.
fn customer(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let kept = u128::MAX << (Ipv6Addr::BITS - CUSTOMER_BITS);
            Ipv6Addr::from_bits(address.to_bits() & kept).into()
        }
        IpAddr::V4(address) => address.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::ORIGIN + Duration::from_secs(seconds)
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_address_is_stopped_and_others_go_on() {
        let mut attempts = Attempts::default();
        let (one, other) = (address("192.0.2.1"), address("192.0.2.2"));
        for _ in 0..PER_ADDRESS {
            attempts.begin(at(0), one).unwrap();
        }
        assert_eq!(
            attempts.begin(at(60), one),
            Err(Duration::from_secs(14 * 60))
        );
        attempts.begin(at(60), other).unwrap();
        attempts.begin(at(15 * 60), one).unwrap();
    }

    #[test]
    fn right_ones_do_not_count() {
        let mut attempts = Attempts::default();
        let one = address("192.0.2.1");
        for _ in 0..10 * OF_ALL {
            attempts.begin(at(0), one).unwrap();
            attempts.was_right(one);
        }
    }

    #[test]
    fn many_addresses_together_are_stopped_and_take_no_more_room() {
        let mut attempts = Attempts::default();
        for last in 0..1000u32 {
            let address = IpAddr::V4((0xc633_6400 + last).into());
            assert_eq!(attempts.begin(at(0), address).is_ok(), last < OF_ALL);
        }
        assert_eq!(attempts.by_address.len(), OF_ALL as usize);
    }

    #[test]
    fn the_addresses_of_one_customer_count_as_one() {
        assert_eq!(
            customer(address("2001:db8:1:2:3:4:5:6")),
            address("2001:db8:1:2::")
        );
        assert_eq!(customer(address("::ffff:192.0.2.1")), address("192.0.2.1"));
    }
}
