//! Accounts whose chain has a gap, and how it is closed: the whole repository is fetched from the
//! account's host and proved, and takes the place of what was missed.
//!
//! One account is tried again after a minute at the soonest, after a failure with pauses that double
//! up to an hour. An account whose event went unchecked, because the directory gave no answer, is
//! looked at a minute later. After a `hole` the host's list of accounts says which of those that are known here
//! have moved on meanwhile.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::generations::Generations;
use crate::pds::{Asked, Question};

/// The pause between two tries for one account, after the first failure and at most.
const PAUSE: Duration = Duration::from_secs(60);
const PAUSE_MAX: Duration = Duration::from_secs(3600);

/// How many accounts a generation remembers that were tried: two of them, at 100 bytes.
const GENERATION_MAX: usize = 1 << 16;

/// Accounts that are looked at later; of more, the gaps show when their next commits come.
const LATE_MAX: usize = 1 << 12;

/// Hosts whose lists are waited for; of more, the holes stay open until their accounts come by.
const LISTS_MAX: usize = 1 << 12;

/// What is done about a commit that does not continue its account's chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum OnGap {
    /// Pass it on, noted
    Pass,
    /// Hold its account back until the gap is closed (--heal)
    Hold,
}

/// What is to become of an event behind a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// The account's repository is to be fetched first.
    Fetch,
    /// It goes on with its note.
    Pass,
    /// It does not go on.
    Hold,
}

#[derive(Debug, Clone, Copy)]
struct Try {
    next: Instant,
    pause: Duration,
}

/// Which accounts were tried when, and what is still to be done.
#[derive(Debug)]
pub(crate) struct Heal {
    is_on: bool,
    on_gap: OnGap,
    tries: Generations<Try>,
    /// Accounts that a list has shown to be behind.
    repos: VecDeque<Question>,
    lists: VecDeque<Question>,
    /// Accounts with events that went unchecked, and when they are looked at.
    late: VecDeque<(Instant, Box<str>)>,
    /// Frames that are to go on.
    frames: VecDeque<Vec<u8>>,
}

impl Heal {
    pub(crate) fn new(is_on: bool, on_gap: OnGap) -> Heal {
        Heal {
            is_on,
            on_gap,
            tries: Generations::new(GENERATION_MAX),
            repos: VecDeque::new(),
            lists: VecDeque::new(),
            late: VecDeque::new(),
            frames: VecDeque::new(),
        }
    }

    /// Whether gaps are closed at all.
    pub(crate) fn is_on(&self) -> bool {
        self.is_on
    }

    /// What is to become of an event of this account that is behind a gap.
    pub(crate) fn wish(&self, did: &str) -> Wish {
        let tried = self.tried(did);
        match self.on_gap {
            _ if self.is_on && tried.is_none_or(|tried| tried.next <= Instant::now()) => {
                Wish::Fetch
            }
            OnGap::Pass => Wish::Pass,
            OnGap::Hold => Wish::Hold,
        }
    }

    fn tried(&self, did: &str) -> Option<&Try> {
        self.tries.get(did)
    }

    /// Notes what came of a try.
    pub(crate) fn tell(&mut self, did: &str, is_healed: bool) {
        let pause = match self.tried(did) {
            Some(tried) if !is_healed => (tried.pause * 2).min(PAUSE_MAX),
            _ => PAUSE,
        };
        self.tries.insert(did.into(), Try { next: Instant::now() + pause, pause });
    }

    /// Looks at an account later: an event of its went unchecked.
    pub(crate) fn put_late(&mut self, did: &str) {
        let is_in = || self.late.iter().any(|(_, other)| **other == *did);
        if self.is_on && self.late.len() < LATE_MAX && !is_in() {
            self.late.push_back((Instant::now() + PAUSE, did.into()));
        }
    }

    /// The next account that is to be looked at by now.
    pub(crate) fn pop_late(&mut self) -> Option<Box<str>> {
        let is_due = self.late.front()?.0 <= Instant::now();
        is_due.then(|| self.late.pop_front().map(|(_, did)| did)).flatten()
    }

    /// A `repo` frame that is to go on before anything else of its account.
    pub(crate) fn put_frame(&mut self, frame: Vec<u8>) {
        self.frames.push_back(frame);
    }

    /// The next frame that is to go on.
    pub(crate) fn pop_frame(&mut self) -> Option<Vec<u8>> {
        self.frames.pop_front()
    }

    /// Asks for a host's accounts, behind this one.
    pub(crate) fn put_list(&mut self, pds: &str, behind: &str) {
        if self.is_on && self.lists.len() < LISTS_MAX {
            self.lists.push_back(Question { asked: Asked::List(behind.into()), pds: pds.into() });
        }
    }

    /// Asks for the repository of an account that is behind.
    pub(crate) fn put_repo(&mut self, did: &str, pds: &str) {
        if self.tried(did).is_none_or(|tried| tried.next <= Instant::now()) {
            self.repos.push_back(Question { asked: Asked::Repo(did.into()), pds: pds.into() });
        }
    }

    /// The next question; a further list only when the accounts of the last one are through.
    pub(crate) fn pop_question(&mut self) -> Option<Question> {
        self.repos.pop_front().or_else(|| self.lists.pop_front())
    }

    /// Whether there is something to do.
    pub(crate) fn is_busy(&self) -> bool {
        !self.repos.is_empty() || !self.lists.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_left_alone_between_two_tries() {
        let mut heal = Heal::new(true, OnGap::Hold);
        assert_eq!(heal.wish("a"), Wish::Fetch);
        heal.tell("a", false);
        assert_eq!((heal.wish("a"), heal.wish("b")), (Wish::Hold, Wish::Fetch));
        let pauses: Vec<Duration> = (0..8)
            .map(|_| {
                heal.tell("a", false);
                heal.tried("a").unwrap().pause
            })
            .collect();
        assert_eq!(pauses[..3], [120, 240, 480].map(Duration::from_secs));
        assert_eq!(pauses[7], PAUSE_MAX);
        heal.tell("a", true);
        assert_eq!(heal.tried("a").unwrap().pause, PAUSE);
        assert_eq!(Heal::new(false, OnGap::Pass).wish("a"), Wish::Pass);
    }

    #[test]
    fn an_account_with_unchecked_events_is_looked_at_once_and_later() {
        let mut heal = Heal::new(true, OnGap::Pass);
        heal.put_late("a");
        heal.put_late("a");
        assert_eq!((heal.late.len(), heal.pop_late()), (1, None));
        heal.late[0].0 = Instant::now();
        assert_eq!(heal.pop_late().as_deref(), Some("a"));
        assert!(!heal.is_busy() && heal.pop_late().is_none(), "the end is not held up by it");
    }

    #[test]
    fn a_further_list_waits_for_the_accounts_of_the_last_one() {
        let mut heal = Heal::new(true, OnGap::Pass);
        heal.put_list("pds.example", "");
        assert!(matches!(heal.pop_question(), Some(Question { asked: Asked::List(_), .. })));
        heal.put_repo("a", "pds.example");
        heal.put_list("pds.example", "a");
        assert!(matches!(heal.pop_question(), Some(Question { asked: Asked::Repo(_), .. })));
        assert!(heal.is_busy());
        assert!(matches!(heal.pop_question(), Some(Question { asked: Asked::List(_), .. })));
        assert!(!heal.is_busy() && heal.pop_question().is_none());
    }
}
