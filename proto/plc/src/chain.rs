//! Which of an account's operations count.
//!
//! An operation names the one it follows (`prev`). With a key of higher rank an account can, for
//! a while, follow an older operation than its last: what came behind that older one is then
//! nullified. The directory has let only those in that were allowed to, so of several operations
//! that follow the same one the one that came last counts, and with it what follows it. A line's
//! own word on that is only as of when it was written.

use std::collections::HashMap;
use std::hash::Hash;

/// An operation, as far as its place in the chain goes.
pub trait Link {
    /// What names it: a CID, or enough of one.
    type Id: Copy + Eq + Hash;

    /// Its own name.
    fn id(&self) -> Self::Id;

    /// The name of the operation it follows; none for the first.
    fn prev(&self) -> Option<Self::Id>;

    /// When the directory accepted it, unix milliseconds.
    fn created_ms(&self) -> u64;
}

/// What an account's operations come to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Chain {
    /// The operations that count, oldest first, by their place in what was given.
    pub valid: Vec<usize>,
    /// How many were there already under the same name.
    pub repeated: usize,
    /// How many were left behind by a later one that follows the same operation.
    pub nullified: usize,
    /// An operation that others follow is not among those given: the first, or one in between.
    /// What came after the gap counts all the same, because the directory has moved on to it.
    pub broken: bool,
}

/// Works out which of the operations of one account count. They may be given in any order; of two
/// accepted in the same millisecond the one given later is the later one.
///
/// Takes memory and time in proportion to their number.
#[must_use]
pub fn valid<L: Link>(operations: &[L]) -> Chain {
    if let [only] = operations {
        // As good as all accounts.
        let broken = only.prev().is_some();
        return Chain { valid: vec![0], broken, ..Chain::default() };
    }
    let mut places = HashMap::with_capacity(operations.len());
    let mut repeated = 0;
    for (place, operation) in operations.iter().enumerate() {
        match places.entry(operation.id()) {
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(place);
            }
            std::collections::hash_map::Entry::Occupied(_) => repeated += 1,
        }
    }
    let mut kept: Vec<usize> = places.values().copied().collect();
    kept.sort_unstable();
    let tree = Tree::new(operations, &places, &kept);
    let mut chain = Chain { repeated, ..Chain::default() };
    for (number, root) in tree.roots.iter().copied().enumerate() {
        let Some(operation) = operations.get(root) else { continue };
        let last = chain.valid.last().and_then(|last| operations.get(*last));
        let later = last.is_none_or(|last| operation.created_ms() > last.created_ms());
        // A second first operation cannot be, whatever the directory says.
        if number == 0 || (operation.prev().is_some() && later) {
            tree.follow(root, &mut chain.valid);
        }
        chain.broken |= number > 0 || operation.prev().is_some();
    }
    // Without a root all of them follow each other in a ring, which no directory has.
    chain.broken |= tree.roots.is_empty() && !kept.is_empty();
    chain.nullified = kept.len() - chain.valid.len();
    chain
}

/// Who follows whom.
struct Tree<'a, L: Link> {
    operations: &'a [L],
    /// Of those that follow an operation, the one that came last.
    next: HashMap<L::Id, usize>,
    /// Those that follow nothing that is here, the last of those that follow the same; the first
    /// of all before others, then by time.
    roots: Vec<usize>,
}

impl<'a, L: Link> Tree<'a, L> {
    fn new(operations: &'a [L], places: &HashMap<L::Id, usize>, kept: &[usize]) -> Self {
        let mut tree = Self { operations, next: HashMap::new(), roots: Vec::new() };
        for place in kept.iter().copied() {
            match tree.operation(place).and_then(L::prev) {
                Some(prev) => {
                    let last = tree.next.entry(prev).or_insert(place);
                    let time = |place: usize| operations.get(place).map(L::created_ms);
                    if time(place) >= time(*last) {
                        *last = place;
                    }
                }
                None => tree.roots.push(place),
            }
        }
        // What follows the same operation is nullified by the last of it, whether that one is
        // here or not.
        let missing = tree.next.iter().filter(|(prev, _)| !places.contains_key(prev));
        tree.roots.extend(missing.map(|(_, last)| *last));
        tree.roots.sort_by_key(|place| {
            let root = operations.get(*place);
            root.map(|root| (root.prev().is_some(), root.created_ms(), *place))
        });
        tree
    }

    /// From an operation on, each one's last follower. Every operation follows one other at most,
    /// so no way that begins at a root comes back to where it was.
    fn follow(&self, root: usize, valid: &mut Vec<usize>) {
        let mut at = Some(root);
        while let Some(place) = at {
            valid.push(place);
            at = self.operation(place).and_then(|found| self.next.get(&found.id()).copied());
        }
    }

    fn operation(&self, place: usize) -> Option<&L> {
        self.operations.get(place)
    }
}
