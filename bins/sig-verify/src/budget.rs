//! How many questions go to the hosts of did:web below one registrable domain: whoever has registered
//! a domain can make up endless names below it, and an account for each.
//!
//! A question beyond the budget has no answer for now, which decides nothing about its account.

use std::collections::HashMap;
use std::time::{Duration, Instant};

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

/// The part of a name that somebody registered: one label below a public suffix of ICANN's. What
/// companies let others register below names of theirs, for nothing, is counted with the company.
fn registrable(name: &str) -> Option<&str> {
    let labels = || name.match_indices('.').map(|(at, _)| at + 1).chain([0]);
    let is_icann = |from: usize| {
        let suffix = psl::suffix(name.get(from..)?.as_bytes())?;
        (suffix.typ() == Some(psl::Type::Icann)).then_some(suffix.as_bytes().len())
    };
    // The longest suffix that is ICANN's, whichever label it is looked for at.
    let suffix = labels().filter_map(is_icann).max()?;
    let below = name.len().checked_sub(suffix + 1)?;
    let label = name.get(..below)?.rfind('.').map_or(0, |dot| dot + 1);
    name.get(label..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_registered_is_below_a_suffix_of_icann() {
        for (name, domain) in [
            ("example.com", Some("example.com")),
            ("a.b.example.com", Some("example.com")),
            ("a.example.co.uk", Some("example.co.uk")),
            ("somebody.github.io", Some("github.io")),
            ("a.somebody.workers.dev", Some("workers.dev")),
            ("com", None),
        ] {
            assert_eq!(registrable(name), domain, "{name}");
        }
    }

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
