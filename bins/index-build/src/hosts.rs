//! The hosts that operations name, by number.

use hashbrown::HashMap;

/// Longest address of a host that is looked at.
const ADDRESS_BYTES_MAX: usize = 300;

/// So much text of addresses is remembered; what comes more is worked out anew.
const KNOWN_BYTES_MAX: usize = 16 << 20;

/// Every host once.
#[derive(Default)]
pub(crate) struct Hosts {
    /// Canonical names.
    names: Vec<Box<str>>,
    numbers: HashMap<Box<str>, u32>,
    /// What addresses, as they are written, come to.
    known: HashMap<Box<str>, Option<u32>>,
    known_bytes: usize,
}

impl Hosts {
    /// The number of the host that an address names, if it names one.
    pub(crate) fn number(&mut self, address: &str) -> Option<u32> {
        if let Some(known) = self.known.get(address) {
            return *known;
        }
        if address.len() > ADDRESS_BYTES_MAX {
            return None;
        }
        let number = net::canonical_host(address).ok().and_then(|name| self.named(&name));
        if self.known_bytes + address.len() <= KNOWN_BYTES_MAX {
            self.known_bytes += address.len();
            self.known.insert(address.into(), number);
        }
        number
    }

    /// The number of the host of that canonical name.
    pub(crate) fn named(&mut self, name: &str) -> Option<u32> {
        if let Some(number) = self.numbers.get(name) {
            return Some(*number);
        }
        let number = u32::try_from(self.names.len()).ok()?;
        self.names.push(name.into());
        self.numbers.insert(name.into(), number);
        Some(number)
    }

    /// All canonical names in the order of their numbers.
    pub(crate) fn names(&self) -> &[Box<str>] {
        &self.names
    }

    /// The canonical name of a host.
    pub(crate) fn name(&self, number: u32) -> Option<&str> {
        self.names.get(number as usize).map(|name| &**name)
    }
}
