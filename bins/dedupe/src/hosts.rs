//! Who sends: the hosts of the stream, what side each is, and what came of its events.
//!
//! A PDS is a side of its own, and all relays together are one. A side is a random-looking
//! 128-bit mark that is mixed into the hashes of what it sends, so that one set answers "has this
//! come from that side before".

use std::collections::HashMap;

use frame::HostId;
use frame::host::{Host, Role};
use seen::Key;

/// A host, by its place in [`Hosts`]: the same in every stream of a run.
pub(crate) type Number = usize;

/// What is known of a host.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) name: Box<str>,
    /// The mark of its side.
    pub(crate) side: u128,
    pub(crate) tally: Tally,
}

/// What a host has sent.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    pub(crate) events: u64,
    pub(crate) bytes: u64,
    /// Signed events of which it was the first to send one.
    pub(crate) first: u64,
    /// Events of which one had come before, from whomever; whether they were dropped or not.
    pub(crate) copies: u64,
    pub(crate) seq: u64,
    pub(crate) last_ns: u64,
}

/// All hosts that streams have named.
#[derive(Debug, Default)]
pub(crate) struct Hosts {
    by_id: HashMap<HostId, Number>,
    known: Vec<Known>,
    pdses: HashMap<Box<str>, Number>,
    relays: HashMap<Box<str>, Number>,
}

impl Hosts {
    /// The id is this host's from here on.
    pub(crate) fn name(&mut self, id: HostId, host: Host<'_>, key: &Key) {
        let number = self.number(host, key);
        self.by_id.insert(id, number);
    }

    /// The number of a host, which is learned if it is not known.
    pub(crate) fn number(&mut self, host: Host<'_>, key: &Key) -> Number {
        let Host { role, name } = host;
        let (by_name, side) = match role {
            Role::Pds => (&mut self.pdses, name),
            // All are one side, and no host has an empty name.
            Role::Relay => (&mut self.relays, ""),
        };
        if let Some(number) = by_name.get(name) {
            return *number;
        }
        let number = self.known.len();
        by_name.insert(name.into(), number);
        let tally = Tally::default();
        self.known.push(Known { name: name.into(), side: mark(key, side), tally });
        number
    }

    /// Ids mean other hosts from here on.
    pub(crate) fn start(&mut self) {
        self.by_id.clear();
    }

    pub(crate) fn of_id(&self, id: HostId) -> Option<(Number, &Known)> {
        let number = *self.by_id.get(&id)?;
        Some((number, self.known.get(number)?))
    }

    /// The mark of a PDS, if one of that name sends.
    pub(crate) fn side_of_pds(&self, name: &str) -> Option<u128> {
        Some(self.known.get(*self.pdses.get(name)?)?.side)
    }

    pub(crate) fn known(&self, number: Number) -> Option<&Known> {
        self.known.get(number)
    }

    pub(crate) fn tally(&mut self, number: Number) -> Option<&mut Tally> {
        Some(&mut self.known.get_mut(number)?.tally)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Known> {
        self.known.iter()
    }
}

/// The letter keeps marks apart from the identities of events, which begin with others.
fn mark(key: &Key, name: &str) -> u128 {
    key.hash(|take| {
        take(b"h");
        take(name.as_bytes());
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relays_are_one_side_and_each_pds_its_own() {
        let (mut hosts, key) = (Hosts::default(), Key::of([7; 16]));
        let mut side = |id, role, name| {
            hosts.name(HostId(id), Host { role, name }, &key);
            hosts.of_id(HostId(id)).unwrap().1.side
        };
        let a = side(1, Role::Pds, "a.example");
        let b = side(2, Role::Pds, "b.example");
        let r = side(3, Role::Relay, "a.example");
        assert!(a != b && a != r && b != r);
        assert_eq!(r, side(4, Role::Relay, "s.example"));
        assert_eq!(a, side(2, Role::Pds, "a.example"), "an id is named again");
        assert_eq!(hosts.side_of_pds("b.example"), Some(b));
        assert_eq!(hosts.side_of_pds("s.example"), None);
        hosts.start();
        assert!(hosts.of_id(HostId(1)).is_none());
        assert_eq!(hosts.iter().count(), 4);
    }
}
