//! Where the names of hosts come from: options, files, relays' listings; and who is denied.
//!
//! Files are read again on SIGHUP. A file that can't be read then stays as it was: a typing error
//! must not cut off thousands of hosts. What a relay has listed once stays: a relay that forgets a
//! host is no reason to.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context;
use frame::host::Role;
use net::{Endpoint, Policy};

use crate::deny::Deny;
use crate::hosts::{self, Target};

/// So many hosts are held in all; more names than that are nobody's network.
const HOSTS_MAX: usize = 200_000;

/// All sources of names.
pub(crate) struct Sources {
    policy: Policy,
    named: Vec<Target>,
    files: Vec<List>,
    deny_files: Vec<PathBuf>,
    deny: Deny,
    /// With the word whether it may as well be without TLS.
    listed: Vec<(Endpoint, bool)>,
    listed_names: HashSet<String>,
}

/// A file of hosts.
struct List {
    path: PathBuf,
    /// Standard input and pipes are read once.
    again: bool,
    hosts: Vec<Endpoint>,
    /// Names that a list may not hold.
    left_out: usize,
}

impl Sources {
    /// Reads all files.
    ///
    /// # Errors
    /// A host in two roles, a named address that may not be reached (misuse), a file that can't be
    /// read or a line in it that names no host.
    pub(crate) fn open(
        (pdses, relays): (&[Endpoint], &[Endpoint]),
        files: &[PathBuf],
        deny_files: &[PathBuf],
        policy: Policy,
    ) -> anyhow::Result<Self> {
        let mut named: Vec<Target> = Vec::new();
        let pdses = pdses.iter().map(|host| (host, Role::Pds));
        for (endpoint, role) in pdses.chain(relays.iter().map(|relay| (relay, Role::Relay))) {
            may_be_named(endpoint, policy)?;
            let same = |target: &&Target| target.endpoint.canonical == endpoint.canonical;
            match named.iter().find(same) {
                None => named.push(Target {
                    endpoint: endpoint.clone(),
                    role,
                    named: true,
                    either: false,
                }),
                Some(before) if before.role == role => {}
                Some(_) => {
                    return Err(cli::usage(format!("{endpoint} is named as a PDS and as a relay")));
                }
            }
        }
        let files = files.iter().map(|path| List::open(path, policy)).collect::<Result<_, _>>()?;
        Ok(Self {
            policy,
            named,
            files,
            deny_files: deny_files.to_vec(),
            deny: Deny::read(deny_files)?,
            listed: Vec::new(),
            listed_names: HashSet::new(),
        })
    }

    /// Reads the files again. What can't be read stays as it was, and why is given back.
    pub(crate) fn read_again(&mut self) -> Vec<anyhow::Error> {
        let mut errors = Vec::new();
        for list in self.files.iter_mut().filter(|list| list.again) {
            match List::open(&list.path, self.policy) {
                Ok(read) => *list = read,
                Err(error) => errors.push(error),
            }
        }
        match Deny::read(&self.deny_files) {
            Ok(deny) => self.deny = deny,
            Err(error) => errors.push(error),
        }
        errors
    }

    /// Takes what a relay has listed. Only a test network has relays without TLS, and there hosts
    /// may be without it, too. Gives back how many names could not be taken.
    pub(crate) fn take_listing(&mut self, relay: &Endpoint, names: &[String]) -> usize {
        let mut left_out = 0;
        for name in names {
            let Some(endpoint) = hosts::parse(&format!("wss://{name}"))
                .ok()
                .filter(|endpoint| hosts::is_for_all(endpoint, self.policy))
                .filter(|_| self.listed.len() < HOSTS_MAX)
            else {
                left_out += 1;
                continue;
            };
            if self.listed_names.insert(endpoint.canonical.clone()) {
                self.listed.push((endpoint, !relay.tls && self.policy.allow_private));
            }
        }
        left_out
    }

    /// Who is denied.
    pub(crate) fn deny(&self) -> &Deny {
        &self.deny
    }

    /// How many names in files could not be taken.
    pub(crate) fn left_out(&self) -> usize {
        self.files.iter().map(|list| list.left_out).sum()
    }

    /// All hosts that are to be listened to, each once, in the order of their sources. What is
    /// named by an option has its role from there.
    pub(crate) fn wanted(&self) -> Vec<Target> {
        let mut known: HashSet<&str> = HashSet::new();
        let named = self.named.iter().map(|target| (&target.endpoint, target.role, true, false));
        let of_files = self.files.iter().flat_map(|list| &list.hosts);
        let of_files = of_files.map(|endpoint| (endpoint, Role::Pds, false, false));
        let listed = self.listed.iter();
        let listed = listed.map(|(endpoint, either)| (endpoint, Role::Pds, false, *either));
        named
            .chain(of_files)
            .chain(listed)
            .filter(|(endpoint, ..)| known.insert(&endpoint.canonical))
            .filter(|(endpoint, ..)| !self.deny.denies(endpoint))
            .take(HOSTS_MAX)
            .map(|(endpoint, role, named, either)| Target {
                endpoint: endpoint.clone(),
                role,
                named,
                either,
            })
            .collect()
    }
}

/// Whether something that was named by hand may be reached, as far as its name says.
///
/// # Errors
/// Misuse: it is an address that may not be.
pub(crate) fn may_be_named(endpoint: &Endpoint, policy: Policy) -> anyhow::Result<()> {
    match endpoint.address() {
        Some(address) if !policy.allows(address) => Err(cli::usage(format!(
            "{endpoint} is no public address; --allow-private lets it be reached"
        ))),
        _ => Ok(()),
    }
}

impl List {
    /// One host a line; blank lines and what is behind a `#` don't count. `-` is standard input.
    /// An URL is what a person wrote and meant; a bare name may be anybody's.
    fn open(path: &Path, policy: Policy) -> anyhow::Result<Self> {
        let read = || -> anyhow::Result<Self> {
            let mut text = String::new();
            let again = match path.to_str() {
                Some("-") => {
                    std::io::stdin().lock().read_to_string(&mut text)?;
                    false
                }
                _ => {
                    File::open(path)?.read_to_string(&mut text)?;
                    fs::metadata(path)?.is_file()
                }
            };
            let (mut hosts, mut left_out) = (Vec::new(), 0);
            for (number, line) in hosts::entries(&text) {
                let endpoint = hosts::parse(line).with_context(|| format!("line {number}"))?;
                match line.contains("://") || hosts::is_for_all(&endpoint, policy) {
                    true => hosts.push(endpoint),
                    false => left_out += 1,
                }
            }
            Ok(Self { path: path.into(), again, hosts, left_out })
        };
        read().with_context(|| path.display().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: Policy = Policy { allow_private: true };

    fn names(sources: &Sources) -> Vec<String> {
        sources.wanted().into_iter().map(|target| target.endpoint.canonical).collect()
    }

    fn host(text: &str) -> Endpoint {
        hosts::parse(text).unwrap()
    }

    #[test]
    fn files_are_read_line_by_line_and_each_host_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hosts");
        fs::write(&path, "# all\nb.example\n\n a.example # again\nWSS://B.example/\n").unwrap();
        let files = [path];
        let sources =
            Sources::open((&[host("a.example")], &[]), &files, &[], Policy::default()).unwrap();
        assert_eq!(names(&sources), ["a.example", "b.example"]);
        fs::write(&files[0], "a.example\nftp://b\n").unwrap();
        let error = Sources::open((&[], &[]), &files, &[], ANY).err().unwrap();
        assert!(format!("{error:#}").contains("hosts: line 2: "), "{error:#}");
    }

    #[test]
    fn what_can_not_be_meant_is_misuse() {
        let both = [host("a.example")];
        assert!(Sources::open((&both, &both), &[], &[], ANY).is_err());
        let local = [host("ws://127.0.0.1:1")];
        assert!(Sources::open((&local, &[]), &[], &[], Policy::default()).is_err());
        assert!(Sources::open((&local, &[]), &[], &[], ANY).is_ok());
    }

    #[test]
    fn files_are_read_again_and_a_bad_one_stays_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let (path, denied) = (dir.path().join("hosts"), dir.path().join("deny"));
        let lines = "a.example\nb.example\nc.evil.example\nd.example:22\nwss://d.example:23\n";
        fs::write(&path, lines).unwrap();
        fs::write(&denied, "evil.example\n").unwrap();
        let (files, deny) = ([path.clone()], [denied.clone()]);
        let mut sources = Sources::open((&[], &[]), &files, &deny, Policy::default()).unwrap();
        assert_eq!(names(&sources), ["a.example", "b.example", "d.example:23"]);
        assert_eq!(sources.left_out(), 1);
        fs::write(&path, "b.example\ne.example\n").unwrap();
        fs::write(&denied, "b.example\n").unwrap();
        assert!(sources.read_again().is_empty());
        assert_eq!(names(&sources), ["e.example"]);
        fs::write(&path, "a b\n").unwrap();
        fs::remove_file(&denied).unwrap();
        assert_eq!(sources.read_again().len(), 2);
        assert_eq!(names(&sources), ["e.example"]);
    }

    #[test]
    fn what_a_relay_lists_is_taken_once_and_only_if_it_is_a_host_name() {
        let listing = ["a.example", "b.example:22", "10.0.0.1", "https://x/y", "a.example", ""];
        let listing = listing.map(String::from);
        let relay = host("https://relay.example");
        let mut sources = Sources::open((&[], &[]), &[], &[], Policy::default()).unwrap();
        assert_eq!(sources.take_listing(&relay, &listing), 4);
        sources.take_listing(&relay, &["c.example".into()]);
        assert_eq!(names(&sources), ["a.example", "c.example"]);
        let relay = host("http://127.0.0.1:7");
        let mut sources = Sources::open((&[], &[]), &[], &[], ANY).unwrap();
        assert_eq!(sources.take_listing(&relay, &["127.0.0.1:8".into()]), 0);
        assert!(sources.wanted()[0].either);
    }

    #[test]
    fn a_relay_that_a_file_calls_a_host_stays_a_relay() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hosts");
        fs::write(&path, "relay.example\n").unwrap();
        let relays = [host("relay.example")];
        let sources = Sources::open((&[], &relays), &[path], &[], ANY).unwrap();
        assert_eq!(sources.wanted().len(), 1);
        assert_eq!(sources.wanted()[0].role, Role::Relay);
    }
}
