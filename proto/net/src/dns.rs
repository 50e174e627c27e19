//! From a name to the addresses that may be used.

use std::net::{SocketAddr, ToSocketAddrs};

use crate::{Endpoint, Error, Policy};

/// At most so many addresses of a host are taken: an answer can hold hundreds.
const ADDRESSES_MAX: usize = 16;

/// Looks a host up, by the system's resolver, and keeps the addresses that the policy allows.
///
/// Blocks as long as the resolver likes (its own time-out, usually 5 to 30 s). The result is never
/// empty and keeps the resolver's order.
///
/// # Errors
/// [`Error::Resolve`] when there is no address, [`Error::Private`] when none may be used.
pub fn resolve(endpoint: &Endpoint, policy: Policy) -> Result<Vec<SocketAddr>, Error> {
    let addresses: Vec<SocketAddr> = match endpoint.address() {
        Some(address) => vec![SocketAddr::new(address, endpoint.port)],
        None => (endpoint.host.as_str(), endpoint.port)
            .to_socket_addrs()
            .map_err(|source| Error::Resolve { host: endpoint.host.clone(), source })?
            .collect(),
    };
    allowed(&endpoint.host, &addresses, policy)
}

/// The addresses that the policy allows, at most [`ADDRESSES_MAX`].
pub(crate) fn allowed(
    host: &str,
    addresses: &[SocketAddr],
    policy: Policy,
) -> Result<Vec<SocketAddr>, Error> {
    let kept: Vec<SocketAddr> = addresses
        .iter()
        .filter(|address| policy.allows(address.ip()))
        .take(ADDRESSES_MAX)
        .copied()
        .collect();
    match addresses.first() {
        _ if !kept.is_empty() => Ok(kept),
        Some(first) => Err(Error::Private { host: host.into(), address: first.ip() }),
        None => Err(Error::Resolve {
            host: host.into(),
            source: std::io::Error::new(std::io::ErrorKind::NotFound, "it has no address"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_allowed_addresses_come_out() {
        let addresses: Vec<SocketAddr> = ["10.0.0.1:443", "1.1.1.1:443", "[::1]:443"]
            .iter()
            .map(|text| text.parse().unwrap())
            .collect();
        assert_eq!(
            allowed("h", &addresses, Policy::default()).unwrap(),
            ["1.1.1.1:443".parse().unwrap()]
        );
        assert_eq!(
            allowed("h", &addresses, Policy { allow_private: true }).unwrap().len(),
            addresses.len()
        );
    }

    #[test]
    fn a_name_for_the_inside_is_refused_after_the_look_up() {
        let endpoint: Endpoint = "ws://localhost:1".parse().unwrap();
        let refused = resolve(&endpoint, Policy::default());
        assert!(matches!(refused, Err(Error::Private { .. })), "{refused:?}");
        assert!(!resolve(&endpoint, Policy { allow_private: true }).unwrap().is_empty());
        // The resolver of the C library takes this for 127.0.0.1.
        let endpoint: Endpoint = "ws://2130706433:1".parse().unwrap();
        assert!(resolve(&endpoint, Policy::default()).is_err());
    }

    #[test]
    fn addresses_need_no_look_up() {
        let endpoint: Endpoint = "ws://[::1]:7".parse().unwrap();
        let found = resolve(&endpoint, Policy { allow_private: true }).unwrap();
        assert_eq!(found, ["[::1]:7".parse().unwrap()]);
    }
}
