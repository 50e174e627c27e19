//! Who a name on the network belongs to.

/// The part of a name that somebody registered: what is below a public suffix of ICANN's. Suffixes
/// that companies let others register below are counted with the company, because nothing is paid
/// for those. `None` for names without a suffix; an address is not to come here.
pub fn registrable(name: &str) -> Option<&str> {
    let mut rest = name;
    let mut suffix = psl::suffix(rest.as_bytes())?;
    while suffix.typ() == Some(psl::Type::Private) {
        // The suffix itself is what was registered: judge it without its first label.
        rest = rest.get(rest.len().checked_sub(suffix.as_bytes().len())?..)?;
        suffix = psl::suffix(rest.split_once('.')?.1.as_bytes())?;
    }
    let below = rest.len().checked_sub(suffix.as_bytes().len() + 1)?;
    let label = rest.get(..below)?.rfind('.').map_or(0, |dot| dot + 1);
    name.get(name.len() - (rest.len() - label)..)
}

#[cfg(test)]
mod tests {
    use super::registrable;

    #[test]
    fn a_registrable_domain_is_below_a_suffix_of_icann() {
        for (name, domain) in [
            ("pds.example.com", Some("example.com")),
            ("example.com", Some("example.com")),
            ("a.b.example.co.uk", Some("example.co.uk")),
            ("morel.us-east.host.bsky.network", Some("bsky.network")),
            ("someone.github.io", Some("github.io")),
            ("a.someone.workers.dev", Some("workers.dev")),
            ("com", None),
        ] {
            assert_eq!(registrable(name), domain, "{name}");
        }
    }
}
