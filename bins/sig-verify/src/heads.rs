//! What is known of each account from its own events: the head of its chain, which is the last
//! commit that was proved, and whether its host said that it is not active.
//!
//! A commit says which one it follows (`since`) and from which tree (`prevData`). Held against the
//! head it is the next one, a repeat of the head (another host's copy, or one sent again), one that
//! came too late, or one behind a gap. A gap never stops an account: its head moves on.
//!
//! What is remembered is bounded: two generations of accounts, the older of which is forgotten when
//! the younger is full, about 510 MB in all. What is in use stays. An account that was forgotten is
//! met as for the first time, unless there is an archive that knows it: that is asked for accounts that
//! are not remembered, and looked at anew when some are forgotten ([`crate::resume`]).

use std::borrow::Cow;
use std::collections::HashMap;
use std::num::NonZeroU64;

use atproto::event::Event;
use atproto::{Cid, PlcDid, Tid};
use frame::verdict::{Rule, notes};

use crate::resume::Archived;

/// Accounts of a generation: as many as a table of 2^21 places takes.
const GENERATION_MAX: usize = (1 << 21) / 8 * 7;

/// An account that is no did:plc counts as so many: its name alone may take 261 bytes.
const OTHER_COUNTS: usize = 4;

/// An account's last commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) rev: Tid,
    pub(crate) commit: Cid,
    /// The root of its tree.
    pub(crate) data: Cid,
}

/// A host by a hash of its canonical name, the same in every run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HostKey(NonZeroU64);

impl HostKey {
    pub(crate) fn of(name: &str) -> HostKey {
        HostKey(NonZeroU64::new(archive::host_key(name)).unwrap_or(NonZeroU64::MIN))
    }

    pub(crate) fn number(self) -> u64 {
        self.0.get()
    }

    pub(crate) fn from_number(number: u64) -> Option<HostKey> {
        NonZeroU64::new(number).map(HostKey)
    }
}

/// What is known of an account.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) head: Option<Head>,
    /// The host that said that it is not active. The word of a host counts as long as the
    /// account is there.
    pub(crate) away: Option<HostKey>,
    /// The head is that of a whole repository that was fetched: what came before it is in there.
    pub(crate) healed: bool,
}

/// What an event says of the state that it follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// A commit on top of this rev, and of this tree if it says so.
    Commit { since: Option<Tid>, prev_data: Option<Cid> },
    /// A `#sync`, or nothing that is signed.
    Other,
}

impl Step {
    pub(crate) fn of(event: &Event<'_>) -> Step {
        match event {
            Event::Commit(commit) => Step::Commit {
                since: commit.since.and_then(|since| since.parse().ok()),
                prev_data: commit.prev_data,
            },
            _ => Step::Other,
        }
    }
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

/// The accounts that are remembered.
#[derive(Debug)]
pub(crate) struct Heads {
    young: Generation,
    old: Generation,
    generation_max: usize,
    archived: Option<Archived>,
}

impl Default for Heads {
    fn default() -> Heads {
        Heads::new(GENERATION_MAX)
    }
}

#[derive(Debug, Default)]
struct Generation {
    plc: HashMap<PlcDid, Account>,
    /// did:web and whatever else there may be.
    others: HashMap<Box<str>, Account>,
}

impl Heads {
    fn new(generation_max: usize) -> Heads {
        let (young, old) = Default::default();
        Heads { young, old, generation_max, archived: None }
    }

    /// Asks an archive for what is not remembered.
    pub(crate) fn ask(&mut self, archived: Option<Archived>) {
        self.archived = archived;
    }

    /// Whether the archive could be asked.
    ///
    /// # Errors
    /// What it said.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        self.archived.as_mut().map_or(Ok(()), Archived::check)
    }

    /// What is known of an account.
    pub(crate) fn get(&mut self, did: &str) -> Account {
        if let Some(account) = self.young.get(did) {
            return account;
        }
        let archived = |archived: &mut Archived| archived.get(did);
        let known = self.old.take(did).or_else(|| self.archived.as_mut().and_then(archived));
        let Some(account) = known else { return Account::default() };
        self.put(did, account);
        account
    }

    /// All that is remembered, what was used last at the end.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Cow<'_, str>, Account)> {
        self.old.iter().chain(self.young.iter())
    }

    /// Forgets all accounts, and keeps the memory for others.
    #[cfg(test)]
    pub(crate) fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
    }

    /// Remembers an account.
    pub(crate) fn put(&mut self, did: &str, account: Account) {
        if self.young.len() >= self.generation_max {
            // The tables change places, so that their memory is taken once.
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
            self.archived.iter_mut().for_each(Archived::renew);
        }
        self.young.put(did, account);
    }
}

impl Generation {
    fn len(&self) -> usize {
        self.plc.len() + OTHER_COUNTS * self.others.len()
    }

    fn iter(&self) -> impl Iterator<Item = (Cow<'_, str>, Account)> {
        let plc = self.plc.iter().map(|(did, account)| (did.to_string().into(), *account));
        plc.chain(self.others.iter().map(|(did, account)| ((&**did).into(), *account)))
    }

    fn clear(&mut self) {
        self.plc.clear();
        self.others.clear();
    }

    fn get(&self, did: &str) -> Option<Account> {
        match PlcDid::parse(did) {
            Some(did) => self.plc.get(&did),
            None => self.others.get(did),
        }
        .copied()
    }

    fn take(&mut self, did: &str) -> Option<Account> {
        match PlcDid::parse(did) {
            Some(did) => self.plc.remove(&did),
            None => self.others.remove(did),
        }
    }

    fn put(&mut self, did: &str, account: Account) {
        match PlcDid::parse(did) {
            Some(did) => {
                self.plc.insert(did, account);
            }
            None => match self.others.get_mut(did) {
                Some(place) => *place = account,
                None => {
                    self.others.insert(did.into(), account);
                }
            },
        }
    }
}

/// Where an event stands that would make `next` the account's head.
pub(crate) fn place(account: &Account, step: Step, next: &Head) -> Place {
    let Some(head) = &account.head else { return Place::Next(notes::FIRST) };
    if next.rev == head.rev && next.commit == head.commit {
        // Hosts send a `#sync` behind each account's first commit. It is an event of its own.
        return if step == Step::Other { Place::Next(0) } else { Place::Repeat };
    }
    if next.rev <= head.rev {
        return if account.healed { Place::Repeat } else { Place::Stale };
    }
    let follows = match step {
        // A commit of the old form names the rev before it and nothing else.
        Step::Commit { since, prev_data } => {
            since == Some(head.rev) && prev_data.is_none_or(|data| data == head.data)
        }
        Step::Other => next.data == head.data,
    };
    Place::Next(if follows { 0 } else { notes::GAP })
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

    fn account(number: u64) -> Account {
        let cid = |what: &str| Cid::dag_cbor(format!("{what} {number}").as_bytes());
        let head = Head { rev: Tid::new(number, 0), commit: cid("commit"), data: cid("data") };
        Account { head: Some(head), ..Account::default() }
    }

    #[test]
    fn memory_is_bounded_and_what_is_in_use_stays() {
        let mut heads = Heads::new(1000);
        let did = |number: u64| {
            let mut bytes = [0; 15];
            bytes[..8].copy_from_slice(&number.to_le_bytes());
            PlcDid::from_bytes(bytes).to_string()
        };
        heads.put("did:web:pds.example", account(7));
        for number in 0..5000 {
            heads.put(&did(number), account(number % 100));
            if number % 100 == 0 {
                assert_eq!(heads.get("did:web:pds.example"), account(7));
            }
        }
        assert_eq!(heads.get(&did(0)), Account::default());
        assert!(heads.young.len() + heads.old.len() <= 2000 + OTHER_COUNTS);
        // Names that anyone can make up.
        for number in 0..5000 {
            heads.put(&format!("did:web:{number}.pds.example"), account(7));
        }
        assert!(heads.young.others.len() + heads.old.others.len() <= 2000 / OTHER_COUNTS + 2);
    }

    /// What --help says.
    #[test]
    fn all_of_it_takes_510_megabytes() {
        // A place of a table has its entry and a byte of its hash.
        let bytes = 2 * GENERATION_MAX / 7 * 8 * (size_of::<(PlcDid, Account)>() + 1);
        println!("{bytes} bytes for {} accounts", 2 * GENERATION_MAX);
        assert!((500_000_000..515_000_000).contains(&bytes), "{bytes}");
        let of_name = "did:web:".len() + 253;
        let other = size_of::<(Box<str>, Account)>() + 1 + of_name;
        assert!(other * 2 * GENERATION_MAX / OTHER_COUNTS < 515_000_000, "{other}");
    }
}
