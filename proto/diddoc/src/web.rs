//! did:web: a host name that is a DID, whose document the host itself keeps.
//!
//! Of what the method allows, the AT Protocol takes host names alone: no path, no port, none of
//! the domains that are reserved. `localhost%3APORT`, without TLS, is for test networks.

use atproto::syntax;

use crate::domain;

const PREFIX: &str = "did:web:";
const PATH: &str = "/.well-known/did.json";

/// Whether this is of the method did:web, well formed or not.
#[must_use]
pub fn is_web(did: &str) -> bool {
    did.starts_with(PREFIX)
}

/// Whether an account can have this did:web. In a network that is `private`, `.test` and
/// `localhost%3APORT` are names like others.
#[must_use]
pub fn is_possible(did: &str, private: bool) -> bool {
    place(did, private).is_some()
}

/// Where the document of a did:web lies; nothing for one that no account can have
/// ([`is_possible`]).
#[must_use]
pub fn url(did: &str, private: bool) -> Option<String> {
    Some(match place(did, private)? {
        Place::Host(name) => format!("https://{name}{PATH}"),
        Place::Local(port) => format!("http://localhost:{port}{PATH}"),
    })
}

enum Place<'a> {
    Host(&'a str),
    Local(u16),
}

fn place(did: &str, private: bool) -> Option<Place<'_>> {
    let name = did.strip_prefix(PREFIX)?;
    if let Some(port) = name.strip_prefix("localhost%3A").filter(|_| private) {
        // `u16::from_str` takes a leading plus sign.
        let port = Some(port).filter(|port| port.bytes().all(|digit| digit.is_ascii_digit()))?;
        return Some(Place::Local(port.parse().ok()?));
    }
    // A host name by the same rules as a handle's: no address, no port, no path.
    let is_host = syntax::is_handle(name) && domain::reserved(name).is_none();
    (is_host && (private || !domain::is_test(name))).then_some(Place::Host(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_did_web_is_a_host_and_nothing_else() {
        let good = "https://example.com/.well-known/did.json";
        assert_eq!(url("did:web:example.com", false).as_deref(), Some(good));
        for bad in [
            "did:web:",
            "did:web:localhost",
            "did:web:example",
            "did:web:example.com.",
            "did:web:example.com:path",
            "did:web:example.com%3A8443",
            "did:web:example.com%2Fpath",
            "did:web:a.b@c.d",
            "did:web:a_b.com",
            "did:web:10.0.0.1",
            "did:web:%5B::1%5D",
            "did:web:printer.local",
            "did:web:a.Internal",
            "did:web:a.test",
            "did:web:localhost%3A80",
            "did:plc:example.com",
        ] {
            assert_eq!(url(bad, false), None, "{bad}");
        }
        let long = format!("did:web:{}com", "a.".repeat(126));
        assert_eq!(url(&long, false), None, "no host has a name of 255 bytes");
    }

    #[test]
    fn a_test_network_has_names_of_its_own() {
        let local = url("did:web:localhost%3A2583", true);
        assert_eq!(local.as_deref(), Some("http://localhost:2583/.well-known/did.json"));
        let test = url("did:web:a.test", true);
        assert_eq!(test.as_deref(), Some("https://a.test/.well-known/did.json"));
        for bad in ["localhost%3A99999", "localhost%3A+80", "localhost%3A", "127.0.0.1%3A80"] {
            assert_eq!(url(&format!("did:web:{bad}"), true), None, "{bad}");
        }
    }
}
