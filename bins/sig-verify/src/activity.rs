//! Whether accounts are active, where that has to be asked of their hosts.
//!
//! An `#account` of the account's own host says so itself. Its host is asked (`getRepoStatus`)
//! when a relay says it instead, and when an account that is held inactive commits all the same:
//! such word may have been missed, and an account must not be cut off for that. What a host answers
//! is believed for a minute, or until there is other word.

use std::time::{Duration, Instant};

use crate::generations::Generations;

/// What a host says of an account of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said {
    /// Whether its repository may be had.
    Active(bool),
    /// Nothing that could be read.
    Silence,
}

/// How long an answer is believed, and the shortest time between two questions about an account.
const BELIEVED: Duration = Duration::from_secs(60);

/// How many answers a generation holds: two of them, at about 150 bytes each.
const GENERATION_MAX: usize = 1 << 15;

/// What can be said of an account's activity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    /// What its host said.
    Said(Said),
    /// Its host has to be asked first.
    Ask,
}

#[derive(Debug)]
struct Record {
    pds: Box<str>,
    said: Said,
    at: Instant,
}

/// What hosts said.
#[derive(Debug)]
pub(crate) struct Activity(Generations<Record>);

impl Default for Activity {
    fn default() -> Activity {
        Activity(Generations::new(GENERATION_MAX))
    }
}

impl Activity {
    /// What an account's host says of it.
    pub(crate) fn word(&self, did: &str, pds: &str) -> Word {
        match self.0.get(did) {
            Some(it) if &*it.pds == pds && it.at.elapsed() < BELIEVED => Word::Said(it.said),
            _ => Word::Ask,
        }
    }

    /// Forgets what was said of an account: there is later word.
    pub(crate) fn forget(&mut self, did: &str) {
        self.0.remove(did);
    }

    /// Remembers what a host said.
    pub(crate) fn learn(&mut self, did: Box<str>, pds: Box<str>, said: Said) {
        self.0.insert(did, Record { pds, said, at: Instant::now() });
    }
}
