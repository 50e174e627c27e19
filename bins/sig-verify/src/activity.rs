//! Whether accounts are active, where that has to be asked of their hosts.
//!
//! An `#account` of the account's own host says so itself. Its host is asked (`getRepoStatus`)
//! when a relay says it instead, and when an account that is held inactive commits all the same:
//! such word may have been missed, and an account must not be cut off for that. What a host answers
//! is believed for a minute, or until there is other word; but what it said before an event came
//! is not held against that event.

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
    /// Its host said otherwise before the event came, and may be asked again only then.
    Later(Instant),
}

#[derive(Debug)]
struct Record {
    pds: Box<str>,
    said: Said,
    /// When it was asked, unix ns.
    asked_ns: u64,
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
    /// What an account's host says of it, where an event that was received then says that it is
    /// active, or that it is not.
    pub(crate) fn word(&self, did: &str, pds: &str, active: bool, received_ns: u64) -> Word {
        let record = self.0.get(did).filter(|it| &*it.pds == pds && it.at.elapsed() < BELIEVED);
        match record {
            None => Word::Ask,
            Some(it) if it.said == Said::Active(!active) && it.asked_ns < received_ns => {
                Word::Later(it.at + BELIEVED)
            }
            Some(it) => Word::Said(it.said),
        }
    }

    /// Forgets what was said of an account: there is later word.
    pub(crate) fn forget(&mut self, did: &str) {
        self.0.remove(did);
    }

    /// Remembers what a host said that was asked at that time.
    pub(crate) fn learn(&mut self, did: Box<str>, pds: Box<str>, said: Said, asked_ns: u64) {
        self.0.insert(did, Record { pds, said, asked_ns, at: Instant::now() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_before_an_event_came_is_not_held_against_it() {
        let mut activity = Activity::default();
        let word = |activity: &Activity, active, received_ns| {
            activity.word("a", "pds.example", active, received_ns)
        };
        assert_eq!(word(&activity, true, 100), Word::Ask);
        activity.learn("a".into(), "pds.example".into(), Said::Active(false), 100);
        assert_eq!(word(&activity, true, 100), Word::Said(Said::Active(false)));
        assert!(matches!(word(&activity, true, 101), Word::Later(_)));
        assert_eq!(word(&activity, false, 101), Word::Said(Said::Active(false)), "it agrees");
        assert_eq!(activity.word("a", "other.example", true, 100), Word::Ask);
        activity.forget("a");
        assert_eq!(word(&activity, true, 101), Word::Ask);
    }
}
