//! What is remembered of accounts for a while, in bounded memory.

use std::collections::HashMap;

/// Two generations: when the younger one is full, the older is forgotten.
#[derive(Debug)]
pub(crate) struct Generations<V> {
    young: HashMap<Box<str>, V>,
    old: HashMap<Box<str>, V>,
    max: usize,
}

impl<V> Generations<V> {
    /// Nothing yet, and never more than two generations of so many accounts.
    pub(crate) fn new(max: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), max }
    }

    /// What is remembered of an account.
    pub(crate) fn get(&self, did: &str) -> Option<&V> {
        self.young.get(did).or_else(|| self.old.get(did))
    }

    /// What is remembered of an account, which is young again: what is in use stays.
    pub(crate) fn renew(&mut self, did: &str) -> Option<&mut V> {
        if let Some((did, value)) = self.old.remove_entry(did) {
            self.put(did, value);
        }
        self.young.get_mut(did)
    }

    /// Remembers something of an account in the place of what was remembered before.
    pub(crate) fn insert(&mut self, did: Box<str>, value: V) {
        self.old.remove(&did);
        self.put(did, value);
    }

    /// Forgets an account; what was remembered of it.
    pub(crate) fn remove(&mut self, did: &str) -> Option<V> {
        self.old.remove(did).or_else(|| self.young.remove(did))
    }

    fn put(&mut self, did: Box<str>, value: V) {
        if self.young.len() >= self.max {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(did, value);
    }

    /// How many accounts are remembered.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}
