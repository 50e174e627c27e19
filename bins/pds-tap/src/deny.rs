//! Hosts that are not to be listened to, whoever names them.
//!
//! A file has one entry a line, `#` begins a comment:
//!
//! | line               | denies                                                |
//! |--------------------|-------------------------------------------------------|
//! | `pds.example.com`  | that host, and every name below it, at any port       |
//! | `example.com`      | likewise: a domain                                    |
//! | `a.example:8443`   | that host at that port alone                          |
//! | `192.0.2.7`        | that address, also when a name leads to it            |

use std::collections::HashSet;
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::Context;
use net::Endpoint;

/// What is denied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Deny {
    domains: HashSet<String>,
    /// Canonical names with a port.
    places: HashSet<String>,
    addresses: HashSet<IpAddr>,
}

impl Deny {
    /// Reads all files.
    ///
    /// # Errors
    /// A file that can't be read, or a line that names nothing.
    pub(crate) fn read(files: &[PathBuf]) -> anyhow::Result<Self> {
        let mut deny = Self::default();
        for path in files {
            let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
            for (number, line) in crate::hosts::entries(&text) {
                let place = || format!("{}: line {number}", path.display());
                deny.add(line).with_context(place)?;
            }
        }
        Ok(deny)
    }

    fn add(&mut self, line: &str) -> Result<(), net::Error> {
        if let Ok(address) = line.parse::<IpAddr>() {
            self.addresses.insert(address.to_canonical());
            return Ok(());
        }
        // `*.example.com` and `.example.com` are what other programs call a domain.
        let line = line.strip_prefix('*').unwrap_or(line);
        let endpoint = crate::hosts::parse(line.strip_prefix('.').unwrap_or(line))?;
        match endpoint.address() {
            _ if has_port(&endpoint) => _ = self.places.insert(endpoint.canonical),
            Some(address) => _ = self.addresses.insert(address.to_canonical()),
            None => _ = self.domains.insert(endpoint.host),
        }
        Ok(())
    }

    /// Whether a host may not be listened to, as far as its name says.
    pub(crate) fn denies(&self, endpoint: &Endpoint) -> bool {
        let mut name = Some(endpoint.host.as_str());
        let names = std::iter::from_fn(|| {
            let this = name?;
            name = this.split_once('.').map(|(_, parent)| parent);
            Some(this)
        });
        self.places.contains(&endpoint.canonical)
            || endpoint.address().is_some_and(|address| self.denies_address(address))
            || names.into_iter().any(|name| self.domains.contains(name))
    }

    /// Whether nothing at this address may be listened to.
    pub(crate) fn denies_address(&self, address: IpAddr) -> bool {
        self.addresses.contains(&address.to_canonical())
    }
}

/// Whether the canonical name goes on behind the host.
fn has_port(endpoint: &Endpoint) -> bool {
    let bracketed = if endpoint.host.contains(':') { 2 } else { 0 };
    endpoint.canonical.len() > endpoint.host.len() + bracketed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_domains_places_and_addresses_are_denied() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deny");
        let text = "# no\nEvil.example # all of it\n*.worse.example\nhttps://a.example:8443/\n\
                    192.0.2.7\n[2001:db8::1]\n2001:db8::3\n127.0.0.1:99\n";
        fs::write(&path, text).unwrap();
        let deny = Deny::read(&[path]).unwrap();
        for (name, denied) in [
            ("evil.example", true),
            ("pds.EVIL.example.", true),
            ("wss://evil.example:4000", true),
            ("notevil.example", false),
            ("example", false),
            ("a.worse.example", true),
            ("a.example", false),
            ("a.example:8443", true),
            ("b.a.example:8443", false),
            ("192.0.2.7", true),
            ("wss://192.0.2.7:5", true),
            ("[::ffff:192.0.2.7]", true),
            ("[2001:db8::1]:9", true),
            ("[2001:db8::2]", false),
            ("[2001:db8::3]", true),
            ("127.0.0.1:99", true),
            ("127.0.0.1:98", false),
        ] {
            assert_eq!(deny.denies(&name.parse().unwrap()), denied, "{name}");
        }
        assert!(deny.denies_address("192.0.2.7".parse().unwrap()));
        assert!(!deny.denies_address("192.0.2.8".parse().unwrap()));
    }

    #[test]
    fn a_line_that_names_nothing_is_told_with_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deny");
        fs::write(&path, "a.example\nhttps://a/b\n").unwrap();
        let error = Deny::read(std::slice::from_ref(&path)).unwrap_err();
        assert!(format!("{error:#}").contains("deny: line 2: "), "{error:#}");
        assert!(Deny::read(&[dir.path().join("none")]).is_err());
    }
}
