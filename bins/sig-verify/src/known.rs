//! Answers of the directory, remembered: "no" and silence included, and no more than so many.

use std::time::Instant;

use crate::generations::Generations;
use crate::identity::Identity;
use crate::resolve::{Answer, Question, Told};

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
    /// When that was asked for, unix ns: the answer knows of nothing later.
    pub(crate) asked_ns: u64,
    /// Whether it answered otherwise than the time before.
    pub(crate) differs: bool,
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

    /// Remembers an answer that came at that time. Silence takes nothing away from what was said
    /// before.
    pub(crate) fn insert(&mut self, told: Told, at: Instant) {
        let Told { question: Question { did, history }, answer, asked_ns } = told;
        let before = self.0.remove(&did);
        let said = |identity: Option<Identity>, before: Option<Record>| Record {
            differs: before.is_some_and(|before| !is_same(&before.identity, &identity)),
            identity,
            silent: false,
            with_history: history,
            at,
            said: at,
            asked_ns,
            changed: false,
        };
        let record = match (answer, before) {
            (Answer::Found(identity), before) => said(Some(identity), before),
            (Answer::Missing, before) => said(None, before),
            (Answer::Silence, Some(before)) => Record { silent: true, at, ..before },
            (Answer::Silence, None) => {
                Record { with_history: false, silent: true, ..said(None, None) }
            }
        };
        self.0.insert(did, record);
    }
}

/// Whether two answers say the same of an account, former keys apart.
fn is_same(one: &Option<Identity>, other: &Option<Identity>) -> bool {
    let of = |it: &Option<Identity>| it.as_ref().map(|it| (it.key, it.pds.clone()));
    of(one) == of(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(number: usize, answer: Answer) -> Told {
        let question = Question { did: format!("did:plc:{number}").into(), history: false };
        Told { question, answer, asked_ns: 7 }
    }

    #[test]
    fn memory_is_bounded_and_what_is_in_use_stays() {
        let max = 1000;
        let mut known = Known::new(max);
        let now = Instant::now();
        for number in 0..5 * max {
            known.insert(told(number, Answer::Missing), now);
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
        known.insert(told(1, Answer::Found(identity.clone())), now);
        let later = now + std::time::Duration::from_secs(1);
        known.insert(Told { asked_ns: 9, ..told(1, Answer::Silence) }, later);
        let record = known.get("did:plc:1").unwrap();
        assert!(record.silent && record.said == now && record.at == later);
        assert_eq!(record.asked_ns, 7, "silence knows nothing");
        assert_eq!(record.identity.as_ref(), Some(&identity));
        assert!(!record.differs);
        known.insert(told(1, Answer::Missing), now);
        let record = known.get("did:plc:1").unwrap();
        assert!(!record.silent && record.identity.is_none() && record.differs);
    }
}
