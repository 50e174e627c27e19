//! Hosts by role and name, numbered as they are met.

use std::collections::HashMap;

use frame::HostId;
use frame::host::{HOSTS_MAX, Role};

use crate::Error;

/// A host as the archive knows it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Host {
    /// As what it was listened to.
    pub role: Role,
    /// Its canonical name.
    pub name: Box<str>,
}

/// How far a host has been archived: everything up to this seq of this epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostMark {
    /// The host's canonical name.
    pub name: String,
    /// As what it was listened to.
    pub role: Role,
    /// Its epoch.
    pub epoch: u32,
    /// Up to where.
    pub seq: u64,
}

/// A host's number, good for one reader or writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostNo(pub(crate) u32);

impl HostNo {
    /// The id under which frames of this room speak of the host. It is never 0, which frames have
    /// that speak of no host.
    #[must_use]
    pub fn id(self) -> HostId {
        HostId(self.0 + 1)
    }

    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// Hosts and their numbers.
#[derive(Debug, Default, Clone)]
pub(crate) struct Hosts {
    list: Vec<Host>,
    by_name: HashMap<Box<str>, [Option<HostNo>; 2]>,
}

impl Hosts {
    /// The number of this host, a new one if it was not met before.
    pub(crate) fn number(&mut self, role: Role, name: &str) -> Result<HostNo, Error> {
        let [pds, relay] = self.by_name.get(name).copied().unwrap_or_default();
        let known = match role {
            Role::Pds => pds,
            Role::Relay => relay,
        };
        if let Some(number) = known {
            return Ok(number);
        }
        if self.list.len() >= HOSTS_MAX {
            return Err(Error::TooManyHosts { limit: HOSTS_MAX });
        }
        let number = HostNo(self.list.len() as u32);
        self.list.push(Host { role, name: name.into() });
        let [pds, relay] = self.by_name.entry(name.into()).or_default();
        match role {
            Role::Pds => *pds = Some(number),
            Role::Relay => *relay = Some(number),
        }
        Ok(number)
    }

    pub(crate) fn get(&self, number: HostNo) -> Option<&Host> {
        self.list.get(number.index())
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Host> {
        self.list.iter()
    }
}

/// The last mark of each host.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Marks {
    by_host: Vec<Option<(u32, u64)>>,
}

impl Marks {
    /// The last word stands, whichever way it moves: a host may have been joined anew.
    pub(crate) fn set(&mut self, host: HostNo, epoch: u32, seq: u64) {
        if self.by_host.len() <= host.index() {
            self.by_host.resize(host.index() + 1, None);
        }
        if let Some(slot) = self.by_host.get_mut(host.index()) {
            *slot = Some((epoch, seq));
        }
    }

    pub(crate) fn clear(&mut self) {
        self.by_host.clear();
    }

    /// Hosts that have a mark: number, epoch, seq.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (HostNo, u32, u64)> {
        self.by_host.iter().enumerate().filter_map(|(host, mark)| {
            let (epoch, seq) = (*mark)?;
            Some((HostNo(host as u32), epoch, seq))
        })
    }

    /// The marks with their hosts' names, by name.
    pub(crate) fn named(&self, hosts: &Hosts) -> Vec<HostMark> {
        let mut named: Vec<HostMark> = self
            .iter()
            .filter_map(|(host, epoch, seq)| {
                let host = hosts.get(host)?;
                Some(HostMark { name: host.name.to_string(), role: host.role, epoch, seq })
            })
            .collect();
        named.sort_by(|a, b| (&a.name, a.role as u8).cmp(&(&b.name, b.role as u8)));
        named
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_two_roles_is_two_hosts() {
        let mut hosts = Hosts::default();
        let pds = hosts.number(Role::Pds, "a.example").unwrap();
        let relay = hosts.number(Role::Relay, "a.example").unwrap();
        assert_ne!(pds, relay);
        assert_eq!(hosts.number(Role::Pds, "a.example").unwrap(), pds);
        assert_eq!(hosts.get(relay).unwrap().role, Role::Relay);
    }

    #[test]
    fn the_last_mark_of_a_host_stands() {
        let mut marks = Marks::default();
        marks.set(HostNo(3), 0, 9);
        marks.set(HostNo(3), 1, 2);
        assert_eq!(marks.iter().collect::<Vec<_>>(), [(HostNo(3), 1, 2)]);
    }
}
