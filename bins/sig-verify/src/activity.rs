//! Whether accounts are active, where that has to be asked of their hosts.
//!
//! An `#account` of the account's own host says so itself. Its host is asked (`getRepoStatus`)
//! when a relay says it instead, and when an account that is held inactive commits all the same:
//! such word may have been missed, and an account must not be cut off for that. What a host answers
//! is believed for a minute, or until there is other word.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::pds::{Hosts, Question, Said};

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

/// What hosts said, and who asks them.
#[derive(Default)]
pub(crate) struct Activity {
    hosts: Option<Hosts>,
    young: HashMap<Box<str>, Record>,
    old: HashMap<Box<str>, Record>,
}

impl Activity {
    /// With someone who asks hosts, or with nobody: then there are no answers.
    pub(crate) fn new(hosts: Option<Hosts>) -> Activity {
        Activity { hosts, ..Activity::default() }
    }

    /// Whether hosts can be asked at all.
    pub(crate) fn can_ask(&self) -> bool {
        self.hosts.is_some()
    }

    /// What an account's host says of it.
    pub(crate) fn word(&self, did: &str, pds: &str) -> Word {
        if self.hosts.is_none() {
            return Word::Said(Said::Silence);
        }
        match self.young.get(did).or_else(|| self.old.get(did)) {
            Some(it) if &*it.pds == pds && it.at.elapsed() < BELIEVED => Word::Said(it.said),
            _ => Word::Ask,
        }
    }

    /// Forgets what was said of an account: there is later word.
    pub(crate) fn forget(&mut self, did: &str) {
        self.young.remove(did);
        self.old.remove(did);
    }

    /// Asks an account's host. The answer comes by [`Activity::answer`].
    pub(crate) fn ask(&mut self, did: &str, pds: &str) {
        if let Some(hosts) = &mut self.hosts {
            hosts.ask(Question { did: did.into(), pds: pds.into() });
        }
    }

    /// Whether an answer is still to come.
    pub(crate) fn is_asked(&self) -> bool {
        self.hosts.as_ref().is_some_and(Hosts::is_asked)
    }

    /// Takes in one answer, if one comes within `wait`; says whose account it is about, and
    /// whether it was an answer at all.
    pub(crate) fn answer(&mut self, wait: Duration) -> Option<(Box<str>, bool)> {
        let (Question { did, pds }, said) = self.hosts.as_mut()?.answer(wait)?;
        self.old.remove(&did);
        if self.young.len() >= GENERATION_MAX {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(did.clone(), Record { pds, said, at: Instant::now() });
        Some((did, said != Said::Silence))
    }
}
