//! Which hosts to listen to: from options and files.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

use anyhow::Context;
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
}

impl Target {
    /// Whether it may be part of the public network: not an address of this one.
    pub(crate) fn is_public(&self) -> bool {
        self.endpoint.address().is_none_or(net::address::is_public)
    }
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

/// All hosts, each once: those of the options, then those of the files.
///
/// # Errors
/// A host in two roles, a named address that may not be reached (misuse), a file that can't be
/// read or a line in it that names no host.
pub(crate) fn collect(
    hosts: &[Endpoint],
    relays: &[Endpoint],
    files: &[std::path::PathBuf],
    policy: Policy,
) -> anyhow::Result<Vec<Target>> {
    let mut targets = Targets::default();
    let named = hosts.iter().map(|host| (host, Role::Pds));
    for (endpoint, role) in named.chain(relays.iter().map(|relay| (relay, Role::Relay))) {
        if endpoint.address().is_some_and(|address| !policy.allows(address)) {
            return Err(cli::usage(format!(
                "{endpoint} is no public address; --allow-private lets it be reached"
            )));
        }
        targets.add(endpoint.clone(), role, true)?;
    }
    for path in files {
        read(path, &mut targets).with_context(|| path.display().to_string())?;
    }
    if targets.list.is_empty() {
        return Err(cli::usage("no host to listen to; name one with --host, --relay or --hosts"));
    }
    Ok(targets.list)
}

#[derive(Default)]
struct Targets {
    list: Vec<Target>,
    roles: HashMap<String, Role>,
}

impl Targets {
    fn add(&mut self, endpoint: Endpoint, role: Role, named: bool) -> anyhow::Result<()> {
        match self.roles.insert(endpoint.canonical.clone(), role) {
            None => self.list.push(Target { endpoint, role, named }),
            Some(before) if before == role => {}
            Some(_) => {
                return Err(cli::usage(format!("{endpoint} is named as a PDS and as a relay")));
            }
        }
        Ok(())
    }
}

/// One host a line; blank lines and what is behind a `#` don't count. `-` is standard input.
fn read(path: &Path, targets: &mut Targets) -> anyhow::Result<()> {
    let mut text = String::new();
    match path.to_str() {
        Some("-") => std::io::stdin().lock().read_to_string(&mut text)?,
        _ => std::fs::File::open(path)?.read_to_string(&mut text)?,
    };
    for (number, line) in text.lines().enumerate() {
        let line = line.split_once('#').map_or(line, |(front, _)| front).trim();
        if !line.is_empty() {
            let endpoint = parse(line).with_context(|| format!("line {}", number + 1))?;
            targets.add(endpoint, Role::Pds, false)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: Policy = Policy { allow_private: true };

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
    fn files_are_read_line_by_line_and_each_host_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hosts");
        std::fs::write(&path, "# all\nb.example\n\n a.example # again\nWSS://B.example/\n")
            .unwrap();
        let named = [parse("a.example").unwrap()];
        let targets = collect(&named, &[], std::slice::from_ref(&path), ANY).unwrap();
        let names: Vec<&str> = targets.iter().map(|t| t.endpoint.canonical.as_str()).collect();
        assert_eq!(names, ["a.example", "b.example"]);
        std::fs::write(&path, "a.example\nftp://b\n").unwrap();
        let error = collect(&[], &[], &[path], ANY).unwrap_err();
        assert!(format!("{error:#}").contains("hosts: line 2: "), "{error:#}");
    }

    #[test]
    fn what_can_not_be_meant_is_misuse() {
        let host = [parse("a.example").unwrap()];
        assert!(collect(&host, &host, &[], ANY).is_err());
        assert!(collect(&[], &[], &[], ANY).is_err());
        let local = [parse("ws://127.0.0.1:1").unwrap()];
        assert!(collect(&local, &[], &[], Policy::default()).is_err());
        assert!(collect(&local, &[], &[], ANY).is_ok());
    }
}
