//! What the last run proved shortly before it ended, and may not have got to the other end.

use std::collections::HashMap;

use atproto::{Cid, Tid};

use crate::heads::Account;

/// An event that was proved before, as it comes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Again {
    /// What was known of its account before it came the first time.
    For(Account),
    /// It came again already.
    Twice,
}

#[derive(Debug)]
struct Change {
    before: Account,
    rev: Tid,
    commit: Cid,
    came: bool,
}

/// Changes of the last run.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    accounts: HashMap<Box<str>, Vec<Change>>,
}

impl Recent {
    /// Remembers a change, if it moved the account's head.
    pub(super) fn put(&mut self, did: &str, before: Account, after: Account) {
        let Some(head) = after.head.filter(|_| after.head != before.head) else { return };
        let change = Change { before, rev: head.rev, commit: head.commit, came: false };
        match self.accounts.get_mut(did) {
            Some(changes) => changes.push(change),
            None => drop(self.accounts.insert(did.into(), vec![change])),
        }
    }

    /// Whether this commit was proved by the last run.
    pub(crate) fn again(&self, did: &str, rev: Tid, commit: &Cid) -> Option<Again> {
        let mut changes = self.accounts.get(did)?.iter();
        let change = changes.find(|it| it.rev == rev && it.commit == *commit)?;
        Some(if change.came { Again::Twice } else { Again::For(change.before) })
    }

    /// Notes that it is proved again.
    pub(crate) fn came(&mut self, did: &str, rev: Tid, commit: &Cid) {
        let changes = self.accounts.get_mut(did).into_iter().flatten();
        changes.filter(|it| it.rev == rev && it.commit == *commit).for_each(|it| it.came = true);
    }
}
