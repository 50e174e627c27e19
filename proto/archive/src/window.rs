//! The newest events by identity, so that what comes again after a restart is stored once.

use std::collections::{HashSet, VecDeque};

use crate::content::Identity;
use crate::prefix::ByPrefix;

/// A bounded set that forgets the oldest. Its memory is taken at the start.
#[derive(Debug)]
pub(crate) struct Window {
    /// What was stored before the start. It is not forgotten: a host that is joined late sends again
    /// what lies behind its mark, however much has come from others meanwhile.
    before: HashSet<Identity, ByPrefix>,
    seen: HashSet<Identity, ByPrefix>,
    order: VecDeque<Identity>,
    limit: usize,
}

impl Window {
    pub(crate) fn new(limit: usize) -> Window {
        let limit = limit.max(1);
        Window {
            before: HashSet::default(),
            seen: HashSet::with_capacity_and_hasher(limit, ByPrefix::default()),
            order: VecDeque::with_capacity(limit),
            limit,
        }
    }

    /// This was stored before the start.
    pub(crate) fn was_before(&mut self, identity: Identity) {
        self.before.insert(identity);
    }

    /// Adds an identity; false if it was there.
    pub(crate) fn add(&mut self, identity: Identity) -> bool {
        if self.before.contains(&identity) || self.seen.contains(&identity) {
            return false;
        }
        if self.order.len() >= self.limit
            && let Some(oldest) = self.order.pop_front()
        {
            self.seen.remove(&oldest);
        }
        self.order.push_back(identity);
        self.seen.insert(identity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_was_before_is_not_forgotten() {
        let mut window = Window::new(2);
        window.was_before([7; 8]);
        for value in 0..6 {
            assert!(window.add([value; 8]));
            assert!(!window.add([7; 8]));
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_last_distinct_ones(
            values in proptest::collection::vec(0u8..40, 0..200),
            limit in 1usize..30,
        ) {
            let mut window = Window::new(limit);
            let mut model: VecDeque<u8> = VecDeque::new();
            for value in values {
                let new = !model.contains(&value);
                if new {
                    model.push_back(value);
                    if model.len() > limit {
                        model.pop_front();
                    }
                }
                let mut identity = [0; 8];
                identity[0] = value;
                prop_assert_eq!(window.add(identity), new);
            }
        }
    }
}
