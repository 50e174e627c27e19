//! From which side a copy came: a PDS is a side of its own, all relays together are one.
//!
//! A side is a random-looking 128-bit mark that is mixed into the identity of what it sends, so
//! that one set answers "has this come from that side before".

use std::collections::HashMap;

use frame::HostId;
use frame::host::{Host, Role};

/// The marks of the sides of a stream.
pub(crate) struct Sources {
    key: [u8; 32],
    by_id: HashMap<HostId, u128>,
}

impl Sources {
    pub(crate) fn new(key: &[u8; 32]) -> Sources {
        Sources { key: *key, by_id: HashMap::new() }
    }

    /// The mark of the side that this host belongs to.
    pub(crate) fn mark_of(&mut self, id: HostId, host: Host<'_>) -> u128 {
        let key = &self.key;
        *self.by_id.entry(id).or_insert_with(|| match host.role {
            Role::Pds => mark(key, host.name.as_bytes()),
            // No host has an empty name.
            Role::Relay => mark(key, b""),
        })
    }

    /// The id may be another host's from here on.
    pub(crate) fn forget(&mut self, id: HostId) {
        self.by_id.remove(&id);
    }

    pub(crate) fn clear(&mut self) {
        self.by_id.clear();
    }
}

fn mark(key: &[u8; 32], name: &[u8]) -> u128 {
    let identity = atproto::identity::Key(*key);
    // Any keyed hash does; this one is here. The epoch keeps marks apart from events' identities.
    u128::from_le_bytes(atproto::identity::of(
        &identity,
        &String::from_utf8_lossy(name),
        u32::MAX,
        u64::MAX,
        b"",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relays_are_one_side_and_each_pds_its_own() {
        let mut sources = Sources::new(&[7; 32]);
        let pds = |name| Host { role: Role::Pds, name };
        let relay = |name| Host { role: Role::Relay, name };
        let a = sources.mark_of(HostId(1), pds("a.example"));
        let b = sources.mark_of(HostId(2), pds("b.example"));
        let r = sources.mark_of(HostId(3), relay("r.example"));
        assert!(a != b && a != r && b != r);
        assert_eq!(r, sources.mark_of(HostId(4), relay("s.example")));
        sources.forget(HostId(2));
        assert_eq!(a, sources.mark_of(HostId(2), pds("a.example")));
    }
}
