//! Budgets for names that anyone can register: how many new ones are taken up a day, and how many
//! connections go to one address and to one registrable domain.
//!
//! Addresses of this machine and of private networks are counted only when a limit was asked for:
//! nobody outside can hand them out.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use net::Endpoint;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// New names. Unused budget of a day is kept, a day's worth at most.
#[derive(Debug)]
pub(crate) struct NewNames {
    a_day: u32,
    left: f64,
    at: Instant,
}

impl NewNames {
    pub(crate) fn new(a_day: u32, now: Instant) -> Self {
        Self { a_day, left: f64::from(a_day), at: now }
    }

    /// Takes one up, if there is budget for it.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at).as_secs_f64() / DAY.as_secs_f64();
        self.at = now.max(self.at);
        let a_day = f64::from(self.a_day);
        self.left = (self.left + passed * a_day).min(a_day);
        let any = self.left >= 1.0;
        if any {
            self.left -= 1.0;
        }
        any
    }
}

/// How many connections one address and one registrable domain may have, if that was asked for;
/// 0 is no limit.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CrowdLimits {
    pub(crate) per_address: Option<u32>,
    pub(crate) per_domain: Option<u32>,
}

impl CrowdLimits {
    /// Some fronts have a hundred small hosts behind them.
    const PER_ADDRESS: u32 = 100;
    /// The largest operator has about a hundred hosts below one domain.
    const PER_DOMAIN: u32 = 500;

    fn address(self, address: IpAddr) -> u32 {
        let usual = if net::address::is_public(address) { Self::PER_ADDRESS } else { 0 };
        self.per_address.unwrap_or(usual)
    }

    fn domain(self) -> u32 {
        self.per_domain.unwrap_or(Self::PER_DOMAIN)
    }
}

/// Where a connection counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    address: IpAddr,
    domain: Option<Box<str>>,
}

/// Why there is no room for a connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Crowded {
    /// The address has as many as it may.
    #[error(
        "{limit} hosts at {address} are listened to already, which is the limit (--per-address)"
    )]
    Address {
        /// The address, or for IPv6 the network that one customer has.
        address: IpAddr,
        /// The limit.
        limit: u32,
    },
    /// The domain has.
    #[error("{limit} hosts of {domain} are listened to already, which is the limit (--per-domain)")]
    Domain {
        /// The registrable domain.
        domain: Box<str>,
        /// The limit.
        limit: u32,
    },
}

/// The connections that there are.
#[derive(Debug)]
pub(crate) struct Crowd {
    limits: CrowdLimits,
    addresses: HashMap<IpAddr, u32>,
    domains: HashMap<Box<str>, u32>,
}

impl Crowd {
    pub(crate) fn new(limits: CrowdLimits) -> Self {
        Self { limits, addresses: HashMap::new(), domains: HashMap::new() }
    }

    /// Whether the domain of a host has room, which is known before its name is looked up.
    ///
    /// # Errors
    /// It has none.
    pub(crate) fn has_room(&self, endpoint: &Endpoint) -> Result<(), Crowded> {
        let Some(domain) = domain(endpoint) else { return Ok(()) };
        let limit = self.limits.domain();
        let count = self.domains.get(domain).copied().unwrap_or(0);
        if limit > 0 && count >= limit {
            return Err(Crowded::Domain { domain: domain.into(), limit });
        }
        Ok(())
    }

    /// Counts a connection to a host at an address.
    ///
    /// # Errors
    /// There is no room for it.
    pub(crate) fn enter(&mut self, endpoint: &Endpoint, address: IpAddr) -> Result<Place, Crowded> {
        self.has_room(endpoint)?;
        let limit = self.limits.address(address);
        let address = network(address);
        if limit > 0 && self.addresses.get(&address).is_some_and(|count| *count >= limit) {
            return Err(Crowded::Address { address, limit });
        }
        let domain: Option<Box<str>> = self::domain(endpoint).map(Into::into);
        *self.addresses.entry(address).or_default() += 1;
        if let Some(domain) = &domain {
            *self.domains.entry(domain.clone()).or_default() += 1;
        }
        Ok(Place { address, domain })
    }

    /// The connection is over.
    pub(crate) fn leave(&mut self, place: &Place) {
        one_less(&mut self.addresses, &place.address);
        if let Some(domain) = &place.domain {
            one_less(&mut self.domains, domain);
        }
    }
}

fn one_less<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, u32>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(key);
        }
    }
}

/// The registrable domain of a host that has a name.
fn domain(endpoint: &Endpoint) -> Option<&str> {
    endpoint.address().is_none().then(|| net::registrable(&endpoint.host)).flatten()
}

/// What one customer has: an IPv4 address, or an IPv6 network of 64 bits.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> Endpoint {
        text.parse().unwrap()
    }

    #[test]
    fn new_names_have_a_budget_that_fills_again() {
        let start = Instant::now();
        let mut names = NewNames::new(24, start);
        let taken = |names: &mut NewNames, at| (0..100).filter(|_| names.take(at)).count();
        assert_eq!(taken(&mut names, start), 24);
        assert_eq!(taken(&mut names, start + Duration::from_secs(3 * 3600 + 60)), 3);
        assert_eq!(taken(&mut names, start + 10 * DAY), 24);
    }

    #[test]
    fn an_address_is_below_no_domain() {
        assert_eq!(domain(&host("pds.example.com:444")), Some("example.com"));
        assert_eq!(domain(&host("127.0.0.1:5")), None);
        assert_eq!(domain(&host("[::1]:5")), None);
    }

    #[test]
    fn an_address_and_a_domain_have_room_for_so_many() {
        let limits = CrowdLimits { per_address: Some(2), per_domain: Some(3) };
        let mut crowd = Crowd::new(limits);
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        let other: IpAddr = "192.0.2.2".parse().unwrap();
        let first = crowd.enter(&host("a.evil.com"), address).unwrap();
        crowd.enter(&host("b.evil.com"), address).unwrap();
        let full = crowd.enter(&host("good.com"), address);
        assert_eq!(full, Err(Crowded::Address { address, limit: 2 }));
        crowd.enter(&host("c.evil.com"), other).unwrap();
        let full = Err(Crowded::Domain { domain: "evil.com".into(), limit: 3 });
        assert_eq!(crowd.has_room(&host("d.evil.com")), full);
        crowd.leave(&first);
        assert_eq!(crowd.has_room(&host("d.evil.com")), Ok(()));
        crowd.enter(&host("good.com"), address).unwrap();
    }

    #[test]
    fn an_ipv6_network_is_one_customer() {
        let limits = CrowdLimits { per_address: Some(1), per_domain: None };
        let mut crowd = Crowd::new(limits);
        crowd.enter(&host("a.com"), "2001:db8::1".parse().unwrap()).unwrap();
        assert!(crowd.enter(&host("b.com"), "2001:db8::2".parse().unwrap()).is_err());
        assert!(crowd.enter(&host("b.com"), "2001:db8:0:1::2".parse().unwrap()).is_ok());
    }

    #[test]
    fn local_addresses_are_limited_only_when_asked() {
        let mut crowd = Crowd::new(CrowdLimits::default());
        let (local, public) = ("127.0.0.1".parse().unwrap(), "1.1.1.1".parse().unwrap());
        for port in 1..2000 {
            crowd.enter(&host(&format!("127.0.0.1:{port}")), local).unwrap();
        }
        let entered =
            (0..2000).filter(|n| crowd.enter(&host(&format!("h{n}.com")), public).is_ok());
        assert_eq!(entered.count(), 100);
    }
}
