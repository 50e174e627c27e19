//! Answers of the directory, remembered: "no" and silence included, and no more than so many.

use std::collections::HashMap;
use std::time::Instant;

use crate::identity::Identity;
use crate::resolve::{Answer, Question};

/// How many accounts a generation holds. Two of them, at about 300 bytes an account, are 80 MB.
const GENERATION_MAX: usize = 1 << 17;

/// What is remembered of an account.
#[derive(Debug)]
pub(crate) struct Record {
    /// What the directory said of it, before it fell silent if it did; `None` for "no".
    pub(crate) identity: Option<Identity>,
    /// Whether there was no answer when it was asked last.
    pub(crate) silent: bool,
    /// Whether it was asked for the account's history.
    pub(crate) with_history: bool,
    /// When it was asked last.
    pub(crate) at: Instant,
}

/// What is remembered. Two generations: when the younger one is full, the older is forgotten.
/// What was asked for since has moved over by then, so what is in use stays.
#[derive(Debug, Default)]
pub(crate) struct Known {
    young: HashMap<Box<str>, Record>,
    old: HashMap<Box<str>, Record>,
}

impl Known {
    /// What is remembered of an account.
    pub(crate) fn get(&mut self, did: &str) -> Option<&Record> {
        if let Some((did, record)) = self.old.remove_entry(did) {
            self.put(did, record);
        }
        self.young.get(did)
    }

    /// Remembers an answer. Silence takes nothing away from what was said before.
    pub(crate) fn insert(&mut self, question: &Question, answer: Answer, at: Instant) {
        let before = self.old.remove(&question.did).or_else(|| self.young.remove(&question.did));
        let record = match (answer, before) {
            (Answer::Found(identity), _) => Record {
                identity: Some(identity),
                silent: false,
                with_history: question.history,
                at,
            },
            (Answer::Missing, _) => {
                Record { identity: None, silent: false, with_history: question.history, at }
            }
            (Answer::Silence, Some(before)) => Record { silent: true, at, ..before },
            (Answer::Silence, None) => {
                Record { identity: None, silent: true, with_history: false, at }
            }
        };
        self.put(question.did.clone(), record);
    }

    fn put(&mut self, did: Box<str>, record: Record) {
        if self.young.len() >= GENERATION_MAX {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(did, record);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(number: usize) -> Question {
        Question { did: format!("did:plc:{number}").into(), history: false }
    }

    #[test]
    fn memory_is_bounded_and_what_is_in_use_stays() {
        let mut known = Known::default();
        let now = Instant::now();
        for number in 0..5 * GENERATION_MAX {
            known.insert(&question(number), Answer::Missing, now);
            assert!(known.get("did:plc:0").is_some(), "asked for each time, at {number}");
        }
        assert!(known.get("did:plc:1").is_none());
        assert!(known.young.len() + known.old.len() <= 2 * GENERATION_MAX);
    }

    #[test]
    fn silence_takes_nothing_away_from_what_was_said() {
        let mut known = Known::default();
        let now = Instant::now();
        let identity = Identity { key: didindex::Key::Missing, pds: None, periods: Vec::new() };
        known.insert(&question(1), Answer::Found(identity.clone()), now);
        known.insert(&question(1), Answer::Silence, now);
        let record = known.get("did:plc:1").unwrap();
        assert!(record.silent);
        assert_eq!(record.identity.as_ref(), Some(&identity));
        known.insert(&question(1), Answer::Missing, now);
        let record = known.get("did:plc:1").unwrap();
        assert!(!record.silent && record.identity.is_none());
    }
}
