//! How many questions go to the hosts of did:web below one registrable domain: whoever has registered
//! a domain can make up endless names below it, and an account for each.
//!
//! A question beyond the budget has no answer for now, which decides nothing about its account.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use net::registrable;

/// Questions a minute about names below one domain.
const QUESTIONS_MAX: u32 = 120;

const MINUTE: Duration = Duration::from_secs(60);

/// Domains that are counted at a time; beyond that nobody is asked until the minute is over.
const DOMAINS_MAX: usize = 1 << 14;

/// What was asked within this minute.
#[derive(Debug)]
pub(crate) struct Budget {
    since: Instant,
    asked: HashMap<Box<str>, u32>,
}

impl Budget {
    pub(crate) fn new(now: Instant) -> Budget {
        Budget { since: now, asked: HashMap::new() }
    }

    /// Whether the host of a did:web may be asked; it counts as asked then.
    pub(crate) fn takes(&mut self, did: &str) -> bool {
        self.takes_at(did, Instant::now())
    }

    fn takes_at(&mut self, did: &str, now: Instant) -> bool {
        if now.saturating_duration_since(self.since) >= MINUTE {
            self.asked.clear();
            self.since = now;
        }
        let name = did.rsplit(':').next().unwrap_or(did);
        let domain = registrable(name).unwrap_or(name);
        if let Some(count) = self.asked.get_mut(domain) {
            *count += 1;
            return *count <= QUESTIONS_MAX;
        }
        let has_room = self.asked.len() < DOMAINS_MAX;
        if has_room {
            self.asked.insert(domain.into(), 1);
        }
        has_room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_domain_has_so_many_questions_a_minute_and_others_have_theirs() {
        let start = Instant::now();
        let mut budget = Budget::new(start);
        let taken = (0..1000)
            .filter(|number| budget.takes_at(&format!("did:web:{number}.a.github.io"), start))
            .count();
        assert_eq!(taken, QUESTIONS_MAX as usize);
        assert!(budget.takes_at("did:web:example.com", start));
        assert!(!budget.takes_at("did:web:other.github.io", start));
        assert!(budget.takes_at("did:web:other.github.io", start + MINUTE));
        for number in 0..2 * DOMAINS_MAX {
            budget.takes_at(&format!("did:web:example{number}.com"), start + MINUTE);
        }
        assert!(budget.asked.len() <= DOMAINS_MAX);
    }
}
