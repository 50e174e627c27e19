//! Answers of the directory, remembered: "no" and silence included, and no more than so many.

use std::time::Instant;

use crate::generations::Generations;
use crate::identity::Identity;
use crate::resolve::{Answer, Question};

/// How many accounts of the PLC directory a generation holds. Two of them, at about 300 bytes an
/// account, are 80 MB.
pub(crate) const PLC_MAX: usize = 1 << 17;

/// How many did:web a generation holds. Anyone can make up more of them than there are accounts,
/// so they have a place of their own, and push out nobody but each other.
pub(crate) const WEB_MAX: usize = 1 << 14;

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
    /// When it answered last.
    pub(crate) said: Instant,
    /// Whether the account is said to have changed since.
    pub(crate) changed: bool,
}

/// What is remembered. What is asked for is young again, so what is in use stays.
#[derive(Debug)]
pub(crate) struct Known(Generations<Record>);

impl Known {
    /// Nothing yet, and never more than two generations of so many accounts.
    pub(crate) fn new(generation_max: usize) -> Known {
        Known(Generations::new(generation_max))
    }

    /// What is remembered of an account.
    pub(crate) fn get(&mut self, did: &str) -> Option<&mut Record> {
        self.0.renew(did)
    }

    /// Remembers an answer. Silence takes nothing away from what was said before.
    pub(crate) fn insert(&mut self, question: &Question, answer: Answer, at: Instant) {
        let before = self.0.remove(&question.did);
        let with_history = question.history;
        let said = |identity, silent| Record {
            identity,
            silent,
            with_history,
            at,
            said: at,
            changed: false,
        };
        let record = match (answer, before) {
            (Answer::Found(identity), _) => said(Some(identity), false),
            (Answer::Missing, _) => said(None, false),
            (Answer::Silence, Some(before)) => Record { silent: true, at, ..before },
            (Answer::Silence, None) => Record { with_history: false, ..said(None, true) },
        };
        self.0.insert(question.did.clone(), record);
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
        let max = 1000;
        let mut known = Known::new(max);
        let now = Instant::now();
        for number in 0..5 * max {
            known.insert(&question(number), Answer::Missing, now);
            assert!(known.get("did:plc:0").is_some(), "asked for each time, at {number}");
        }
        assert!(known.get("did:plc:1").is_none());
        assert!(known.0.len() <= 2 * max);
    }

    #[test]
    fn silence_takes_nothing_away_from_what_was_said() {
        let mut known = Known::new(10);
        let now = Instant::now();
        let identity = Identity { key: didindex::Key::Missing, pds: None, periods: Vec::new() };
        known.insert(&question(1), Answer::Found(identity.clone()), now);
        let later = now + std::time::Duration::from_secs(1);
        known.insert(&question(1), Answer::Silence, later);
        let record = known.get("did:plc:1").unwrap();
        assert!(record.silent && record.said == now && record.at == later);
        assert_eq!(record.identity.as_ref(), Some(&identity));
        known.insert(&question(1), Answer::Missing, now);
        let record = known.get("did:plc:1").unwrap();
        assert!(!record.silent && record.identity.is_none());
    }
}
