//! The operations of the last days, by account: enough to work out what a new one nullifies.
//!
//! An account can, for 72 hours, follow an older operation than its last. What lies further back
//! is settled, and the index keeps no more of it than what it came to.

use std::collections::HashMap;

use didindex::PlcDid;
use plc::chain::Link;

use crate::record::{Id, Record};

/// How long an account can go back behind its last operation.
pub(crate) const RECOVERY_MS: u64 = 72 * 3600 * 1000;

/// How far back operations are kept: operations can appear a little after later ones.
pub(crate) const KEPT_MS: u64 = RECOVERY_MS + 3600 * 1000;

/// An operation in the window.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kept {
    pub(crate) record: Record,
    /// The index itself was built with it.
    pub(crate) known: bool,
    /// It is nullified, and stays so: no operation that follows later brings one back. What it
    /// follows may have left the window before it.
    pub(crate) nullified: bool,
    /// 1 + place of the account's operation that came before; 0 for its first.
    before: u32,
}

impl Link for Kept {
    type Id = Id;

    fn id(&self) -> Id {
        self.record.id
    }

    fn prev(&self) -> Option<Id> {
        self.record.prev
    }

    fn created_ms(&self) -> u64 {
        self.record.created_ms
    }
}

/// Operations in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Window {
    kept: Vec<Kept>,
    /// 1 + place of the account's last operation.
    last: HashMap<PlcDid, u32>,
}

impl Window {
    /// Takes one in, unless it is there already; says whether it was not.
    pub(crate) fn add(&mut self, record: Record, known: bool, nullified: bool) -> bool {
        let last = self.last.entry(record.did).or_insert(0);
        let mut place = *last;
        while let Some(kept) = at(&self.kept, place) {
            if kept.record.id == record.id {
                return false;
            }
            place = kept.before;
        }
        self.kept.push(Kept { record, known, nullified, before: *last });
        // Four billion operations in memory are more than there is memory.
        *last = self.kept.len() as u32;
        true
    }

    /// The same of one that was in a window.
    pub(crate) fn keep(&mut self, kept: &Kept) {
        self.add(kept.record, kept.known, kept.nullified);
    }

    /// An account's operations, in the order in which they came.
    pub(crate) fn of(&self, did: &PlcDid, out: &mut Vec<Kept>) {
        out.clear();
        let mut place = self.last.get(did).copied().unwrap_or(0);
        while let Some(kept) = at(&self.kept, place) {
            out.push(*kept);
            place = kept.before;
        }
        out.reverse();
    }

    /// Says that the index itself knows an account's operations up to that time.
    pub(crate) fn mark_known(&mut self, did: &PlcDid, up_to_ms: u64) {
        let mut place = self.last.get(did).copied().unwrap_or(0);
        while let Some(kept) = place.checked_sub(1).and_then(|at| self.kept.get_mut(at as usize)) {
            kept.known |= kept.record.created_ms <= up_to_ms;
            place = kept.before;
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.kept.len()
    }

    /// All, in the order in which they came.
    pub(crate) fn all(&self) -> &[Kept] {
        &self.kept
    }

    /// Those that came after the first `count`.
    pub(crate) fn since(&self, count: usize) -> &[Kept] {
        self.kept.get(count..).unwrap_or_default()
    }
}

/// Of the operations of some accounts, all of each that are there, those from `oldest_ms` on; what
/// is nullified is marked.
pub(crate) fn last_days(mut all: Vec<Kept>, oldest_ms: u64) -> Vec<Kept> {
    // Stable: in one millisecond the operation that came later is the later one.
    all.sort_by_key(|kept| kept.record.did);
    for account in all.chunk_by_mut(|a, b| a.record.did == b.record.did) {
        mark_nullified(account);
    }
    all.retain(|kept| kept.record.created_ms >= oldest_ms);
    all
}

/// Marks what is nullified of an account's operations, for good: what lost to a later one that
/// follows the same, and what follows that. Operations that are still to come change nothing of it.
pub(crate) fn mark_nullified(account: &mut [Kept]) {
    if account.len() < 2 {
        return;
    }
    let mut last: HashMap<Id, (u64, usize)> = HashMap::new();
    let mut followers: HashMap<Id, Vec<usize>> = HashMap::new();
    for (place, kept) in account.iter().enumerate() {
        if let Some(prev) = kept.record.prev {
            // In one millisecond the operation that came later is the later one.
            let best = last.entry(prev).or_default();
            *best = (*best).max((kept.record.created_ms, place));
            followers.entry(prev).or_default().push(place);
        }
    }
    let lost = |(place, kept): (usize, &Kept)| {
        let best = kept.record.prev.and_then(|prev| last.get(&prev));
        (kept.nullified || best.is_some_and(|(_, best)| *best != place)).then_some(place)
    };
    let mut lost: Vec<usize> = account.iter().enumerate().filter_map(lost).collect();
    while let Some(kept) = lost.pop().and_then(|place| account.get_mut(place)) {
        kept.nullified = true;
        // Taken out, so that each is looked at once.
        lost.extend(followers.remove(&kept.record.id).unwrap_or_default());
    }
}

fn at(kept: &[Kept], place: u32) -> Option<&Kept> {
    kept.get(place.checked_sub(1)? as usize)
}
