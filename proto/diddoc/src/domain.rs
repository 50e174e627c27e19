//! Domains that no account is named by, however well they are spelled.

/// Top-level domains that are not of the public network (atproto, "Handle", "Additional Non-Syntax
/// Restrictions"); the same hold for did:web.
const RESERVED: [&str; 8] =
    ["alt", "arpa", "example", "internal", "invalid", "local", "localhost", "onion"];

/// The reserved top-level domain that a domain ends in, if it does.
pub(crate) fn reserved(domain: &str) -> Option<&'static str> {
    let top = top(domain);
    RESERVED.into_iter().find(|reserved| top.eq_ignore_ascii_case(reserved))
}

/// Whether a domain is of a test network: nobody can own one in the public one.
pub(crate) fn is_test(domain: &str) -> bool {
    top(domain).eq_ignore_ascii_case("test")
}

fn top(domain: &str) -> &str {
    domain.rsplit_once('.').map_or(domain, |(_, top)| top)
}
