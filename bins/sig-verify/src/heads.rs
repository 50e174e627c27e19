//! The head of each account's chain: the last commit that was proved.
//!
//! A commit says which one it follows (`since`) and from which tree (`prevData`). Held against the
//! head it is the next one, a repeat of the head (another host's copy, or one sent again), one that
//! came too late, or one behind a gap. A gap never stops an account: its head moves on.
//!
//! What is remembered is bounded: two generations of accounts, the older of which is forgotten when
//! the younger is full, about 400 MB in all. What is in use stays. An account that was forgotten is
//! met as for the first time.

use std::collections::HashMap;

use atproto::event::{Commit, Event};
use atproto::{Cid, PlcDid, Tid};
use frame::verdict::{Rule, notes};

/// Accounts of a generation: as many as a table of 2^21 places takes.
const GENERATION_MAX: usize = (1 << 21) / 8 * 7;

/// An account's last commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) rev: Tid,
    pub(crate) commit: Cid,
    /// The root of its tree.
    pub(crate) data: Cid,
}

/// How an event stands to its account's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// It is the head, once more.
    Repeat,
    /// It is earlier than the head, or another commit under the head's rev.
    Stale,
    /// It follows, as far as can be told; with what is to be noted.
    Next(u32),
}

/// The heads that are remembered.
#[derive(Debug)]
pub(crate) struct Heads {
    young: Generation,
    old: Generation,
    generation_max: usize,
}

impl Default for Heads {
    fn default() -> Heads {
        Heads::new(GENERATION_MAX)
    }
}

#[derive(Debug, Default)]
struct Generation {
    plc: HashMap<PlcDid, Head>,
    /// did:web and whatever else there may be.
    others: HashMap<Box<str>, Head>,
}

impl Heads {
    fn new(generation_max: usize) -> Heads {
        Heads { young: Generation::default(), old: Generation::default(), generation_max }
    }

    /// The head of an account, if it is known.
    pub(crate) fn get(&mut self, did: &str) -> Option<Head> {
        if let Some(head) = self.young.get(did) {
            return Some(head);
        }
        let head = self.old.take(did)?;
        self.put(did, head);
        Some(head)
    }

    /// Forgets all accounts, and keeps the memory for others.
    #[cfg(test)]
    pub(crate) fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
    }

    /// Remembers the head of an account.
    pub(crate) fn put(&mut self, did: &str, head: Head) {
        if self.young.len() >= self.generation_max {
            // The tables change places, so that their memory is taken once.
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
        }
        self.young.put(did, head);
    }
}

impl Generation {
    fn len(&self) -> usize {
        self.plc.len() + self.others.len()
    }

    fn clear(&mut self) {
        self.plc.clear();
        self.others.clear();
    }

    fn get(&self, did: &str) -> Option<Head> {
        match PlcDid::parse(did) {
            Some(did) => self.plc.get(&did),
            None => self.others.get(did),
        }
        .copied()
    }

    fn take(&mut self, did: &str) -> Option<Head> {
        match PlcDid::parse(did) {
            Some(did) => self.plc.remove(&did),
            None => self.others.remove(did),
        }
    }

    fn put(&mut self, did: &str, head: Head) {
        match PlcDid::parse(did) {
            Some(did) => {
                self.plc.insert(did, head);
            }
            None => match self.others.get_mut(did) {
                Some(place) => *place = head,
                None => {
                    self.others.insert(did.into(), head);
                }
            },
        }
    }
}

/// Whether an event says that it is the head, by its envelope alone: what claims to be a repeat is
/// dropped, so nothing else of it matters.
pub(crate) fn repeats(head: &Head, event: &Event<'_>) -> bool {
    let Event::Commit(commit) = event else { return false };
    commit.commit == head.commit && commit.rev.parse() == Ok(head.rev)
}

/// Where an event stands that would make `next` the account's head.
pub(crate) fn place(head: Option<&Head>, event: &Event<'_>, next: &Head) -> Place {
    let Some(head) = head else { return Place::Next(notes::FIRST) };
    let is_sync = matches!(event, Event::Sync(_));
    if next.rev == head.rev && next.commit == head.commit {
        // Hosts send a `#sync` behind each account's first commit. It is an event of its own.
        return if is_sync { Place::Next(0) } else { Place::Repeat };
    }
    if next.rev <= head.rev {
        return Place::Stale;
    }
    let follows = match event {
        Event::Commit(commit) => follows(head, commit),
        _ => next.data == head.data,
    };
    Place::Next(if follows { 0 } else { notes::GAP })
}

/// A commit of the old form names the rev before it and nothing else.
fn follows(head: &Head, commit: &Commit<'_>) -> bool {
    let since = commit.since.and_then(|since| since.parse::<Tid>().ok());
    since == Some(head.rev) && commit.prev_data.is_none_or(|data| data == head.data)
}

impl Place {
    /// What refuses an event there.
    pub(crate) fn notes(self) -> Result<u32, Rule> {
        match self {
            Place::Repeat => Err(Rule::REPEAT),
            Place::Stale => Err(Rule::STALE_REV),
            Place::Next(notes) => Ok(notes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(number: u64) -> Head {
        let cid = |what: &str| Cid::dag_cbor(format!("{what} {number}").as_bytes());
        let rev = Tid::new(number, 0);
        Head { rev, commit: cid("commit"), data: cid("data") }
    }

    #[test]
    fn memory_is_bounded_and_what_is_in_use_stays() {
        let mut heads = Heads::new(1000);
        let did = |number: u64| {
            let mut bytes = [0; 15];
            bytes[..8].copy_from_slice(&number.to_le_bytes());
            PlcDid::from_bytes(bytes).to_string()
        };
        heads.put("did:web:pds.example", head(7));
        for number in 0..5000 {
            heads.put(&did(number), head(number % 100));
            if number % 100 == 0 {
                assert_eq!(heads.get("did:web:pds.example"), Some(head(7)));
            }
        }
        assert_eq!(heads.get(&did(0)), None);
        assert!(heads.young.len() + heads.old.len() <= 2000);
    }
}
