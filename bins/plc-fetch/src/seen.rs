//! What was stored lately, so that what comes again is not stored again.
//!
//! The directory is asked again about a time that was fetched already, because operations of the
//! same millisecond can come on two pages and some appear a little after later ones. What is
//! remembered is what that time can hold.

use std::collections::{HashMap, VecDeque};

use crate::page::Line;

/// How far back the directory is asked again.
pub(crate) const BACK_MS: u64 = 60_000;

/// How far back operations are remembered: as far as is asked, and as an operation that appears
/// late may lie behind that.
pub(crate) const KEEP_MS: u64 = 10 * BACK_MS;

/// Most operations that are remembered, some 200 MB: 1,700 a second for that time.
const OPERATIONS_MAX: usize = 1 << 20;

/// Operations by DID and CID.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    times: HashMap<Box<str>, u64>,
    /// In the order of coming, which is nearly that of time.
    order: VecDeque<Box<str>>,
    newest_ms: Option<u64>,
}

impl Seen {
    /// Remembers an operation; says whether it is one that was not there.
    pub(crate) fn add(&mut self, line: &Line) -> bool {
        if self.times.contains_key(&line.name) {
            return false;
        }
        self.times.insert(line.name.clone(), line.created_ms);
        self.order.push_back(line.name.clone());
        self.newest_ms = self.newest_ms.max(Some(line.created_ms));
        self.forget();
        true
    }

    /// createdAt of the newest operation.
    pub(crate) fn newest_ms(&self) -> Option<u64> {
        self.newest_ms
    }

    /// Forgets what is too old to be asked about. One that is young keeps those behind it: few,
    /// as they come in the order of time but for some.
    fn forget(&mut self) {
        let limit = self.newest_ms.unwrap_or(0).saturating_sub(KEEP_MS);
        while let Some(first) = self.order.front() {
            let young = self.times.get(first).is_some_and(|time| *time >= limit);
            if young && self.order.len() <= OPERATIONS_MAX {
                return;
            }
            if let Some(first) = self.order.pop_front() {
                self.times.remove(&first);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, created_ms: u64) -> Line {
        Line { place: 0..0, name: name.into(), created_ms, seq: None }
    }

    #[test]
    fn what_was_seen_within_the_time_that_is_asked_again_is_known() {
        let mut seen = Seen::default();
        assert_eq!(seen.newest_ms(), None);
        assert!(seen.add(&line("a", 1_000_000)));
        assert!(seen.add(&line("b", 1_600_000)));
        assert!(seen.add(&line("late", 1_100_000)));
        assert!(!seen.add(&line("a", 1_000_000)), "ten minutes back are remembered");
        assert!(seen.add(&line("c", 1_600_001)));
        assert!(!seen.times.contains_key("a"));
        assert!(!seen.add(&line("late", 1_100_000)));
        assert_eq!(seen.newest_ms(), Some(1_600_001));
    }
}
