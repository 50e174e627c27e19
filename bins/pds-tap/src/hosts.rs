//! What a host to listen to is, and how people and lists write it.

use frame::host::Role;
use net::{Endpoint, Policy};

/// The path at which hosts serve events.
pub(crate) const PATH: &str = "/xrpc/com.atproto.sync.subscribeRepos";

/// A host to listen to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) endpoint: Endpoint,
    pub(crate) role: Role,
    /// Named by an option: whoever runs the tool wants to hear of it.
    pub(crate) named: bool,
    /// It is not known whether it speaks TLS: a relay of a test network, which doesn't, lists it.
    pub(crate) either: bool,
}

impl Target {
    /// Whether it may be part of the public network: not an address of this one.
    pub(crate) fn is_public(&self) -> bool {
        self.endpoint.address().is_none_or(net::address::is_public)
    }
}

/// The entries of a file, each with the number of its line: one a line; blank lines and what is
/// behind a `#` don't count.
pub(crate) fn entries(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = (1..).zip(text.lines());
    let lines = lines.map(|(number, line)| {
        (number, line.split_once('#').map_or(line, |(front, _)| front).trim())
    });
    lines.filter(|(_, line)| !line.is_empty())
}

/// Reads a host as people write it: `wss://`, `ws://`, `https://`, `http://` or a bare name, with
/// or without the path that every host has.
///
/// # Errors
/// When it doesn't name a host.
pub(crate) fn parse(text: &str) -> Result<Endpoint, net::Error> {
    let text = text.trim();
    text.split_once('?').map_or(text, |(front, _)| front).strip_suffix(PATH).unwrap_or(text).parse()
}

/// Whether a bare name of a list may be taken. It comes from the directory, where anyone can write
/// what he likes: it has to be a host name in the public network, at the usual port, or this tool
/// would knock at doors for strangers.
pub(crate) fn is_for_all(endpoint: &Endpoint, policy: Policy) -> bool {
    const HTTPS: u16 = 443;
    let is_host_name = endpoint.address().is_none() && endpoint.host.contains('.');
    policy.allow_private || (is_host_name && endpoint.port == HTTPS)
}

/// What is said about names that may not be taken.
pub(crate) const LEFT_OUT: &str = "names are left out: a bare name has to be a public host name \
    at port 443; write wss://NAME:PORT to mean another, --allow-private takes local ones";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_may_come_with_the_path_that_all_have() {
        for text in [
            "wss://a.example",
            "https://a.example/",
            "a.example",
            "wss://a.example/xrpc/com.atproto.sync.subscribeRepos",
            "wss://a.example/xrpc/com.atproto.sync.subscribeRepos?cursor=1",
        ] {
            assert_eq!(parse(text).unwrap().canonical, "a.example", "{text}");
        }
        assert!(parse("wss://a.example/other").is_err());
    }

    #[test]
    fn a_bare_name_is_a_host_name_at_the_usual_port() {
        for (text, is_one) in [
            ("a.example", true),
            ("a.example:443", true),
            ("a.example:22", false),
            ("localhost", false),
            ("1.1.1.1", false),
            ("[2606:4700::1]", false),
        ] {
            let endpoint = parse(text).unwrap();
            assert_eq!(is_for_all(&endpoint, Policy::default()), is_one, "{text}");
            assert!(is_for_all(&endpoint, Policy { allow_private: true }));
        }
    }
}
