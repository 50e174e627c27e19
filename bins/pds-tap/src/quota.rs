//! Limits that a PDS has to keep: how fast it may speak, and for how many accounts.
//!
//! What is too fast is left in its socket and read later: the host feels the pressure, and nothing
//! is lost. A backlog after a break is no flood, so the rate is one over ten minutes. A host that
//! claims more accounts than any has is left alone for a day: each one is work for every later
//! stage. Accounts are counted by a sketch of 256 bytes that knows their number to some 7 %
//! (HyperLogLog: the longest run of zeros in keyed hashes of them, in 256 parts).

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

/// Rests are at least so long: many short ones would cost more than they are worth.
const REST_MIN: Duration = Duration::from_millis(50);

/// So many bytes count as an event more.
const EVENT_BYTES: u64 = 16 << 10;

/// How fast a stranger may speak: as fast as the whole network in its worst seconds.
const STRANGER_EVENTS_A_SECOND: u32 = 2000;

/// What every PDS has to keep; 0 is no limit.
#[derive(Clone, Debug)]
pub(crate) struct Quotas {
    /// `None` is a limit for strangers alone.
    events_a_second: Option<u32>,
    /// The time over which that holds.
    over: Duration,
    pub(crate) accounts: u64,
    hasher: RandomState,
}

impl Quotas {
    pub(crate) fn new((events_a_second, over): (Option<u32>, Duration), accounts: u64) -> Self {
        Self { events_a_second, over, accounts, hasher: RandomState::new() }
    }

    fn rate(&self, is_stranger: bool) -> f64 {
        let usual = if is_stranger { STRANGER_EVENTS_A_SECOND } else { 0 };
        f64::from(self.events_a_second.unwrap_or(usual))
    }
}

/// How much a host has said lately.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    used: f64,
    at: Instant,
}

impl Rate {
    pub(crate) fn new(now: Instant) -> Self {
        Self { used: 0.0, at: now }
    }

    /// The host, perhaps a stranger, has said so much. `Some` when it has to rest for that long.
    pub(crate) fn take(
        &mut self,
        (events, bytes): (u64, u64),
        (quotas, is_stranger): (&Quotas, bool),
        now: Instant,
    ) -> Option<Duration> {
        let rate = quotas.rate(is_stranger);
        if rate == 0.0 {
            return None;
        }
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now.max(self.at);
        self.used = (self.used - passed * rate).max(0.0) + (events + bytes / EVENT_BYTES) as f64;
        let over = self.used - rate * quotas.over.as_secs_f64();
        (over > 0.0).then(|| Duration::from_secs_f64(over / rate).max(REST_MIN))
    }
}

/// About how many accounts a host has spoken for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Accounts(Option<Box<[u8; PARTS]>>);

const PARTS: usize = 256;

impl Accounts {
    /// The host has spoken for an account. `true` when that is one too many.
    pub(crate) fn see(&mut self, did: &str, quotas: &Quotas) -> bool {
        if quotas.accounts == 0 {
            return false;
        }
        let hash = quotas.hasher.hash_one(did);
        let parts = self.0.get_or_insert_with(|| Box::new([0; PARTS]));
        let part = usize::from(hash as u8);
        // The bits that chose the part are pushed out; what comes in stops the count.
        let run = ((hash >> 8) | 1 << 56).trailing_zeros() as u8 + 1;
        match parts.get_mut(part) {
            Some(longest) if run > *longest => *longest = run,
            _ => return false,
        }
        estimate(parts) > quotas.accounts as f64
    }

    /// Begins anew.
    pub(crate) fn forget(&mut self) {
        self.0 = None;
    }
}

/// As the paper has it (Flajolet and others, 2007), with its correction for few.
fn estimate(parts: &[u8; PARTS]) -> f64 {
    const COUNT: f64 = PARTS as f64;
    let sum: f64 = parts.iter().map(|longest| (-f64::from(*longest)).exp2()).sum();
    let raw = 0.7213 / (1.0 + 1.079 / COUNT) * COUNT * COUNT / sum;
    let empty = parts.iter().filter(|longest| **longest == 0).count();
    if raw <= 2.5 * COUNT && empty > 0 { COUNT * (COUNT / empty as f64).ln() } else { raw }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backlog_is_no_flood_and_a_flood_is_slowed_to_the_rate() {
        let quotas = Quotas::new((Some(100), Duration::from_secs(600)), 0);
        let asked = (&quotas, false);
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut rate = Rate::new(start);
        assert_eq!(rate.take((60_000, 0), asked, start), None);
        assert_eq!(rate.take((500, 0), asked, start), Some(Duration::from_secs(5)));
        assert_eq!(rate.take((0, 0), asked, after(5)), None);
        assert_eq!(rate.take((100, 0), asked, after(6)), None);
        // Long events count as more than one.
        let long = rate.take((10, 90 * EVENT_BYTES), asked, after(6)).unwrap();
        assert!(long.abs_diff(Duration::from_secs(1)) < Duration::from_millis(1), "{long:?}");
        let quiet = rate.take((1, 0), asked, after(2000));
        assert_eq!(quiet, None);
        let none = Quotas::new((Some(0), Duration::ZERO), 0);
        assert_eq!(rate.take((u64::MAX, 0), (&none, true), start), None);
        let usual = Quotas::new((None, Duration::from_secs(600)), 0);
        assert_eq!(rate.take((u64::MAX, 0), (&usual, false), start), None);
        assert!(rate.take((2_000_000, 0), (&usual, true), start).is_some());
    }

    #[test]
    fn accounts_are_counted_well_enough_and_each_once() {
        for limit in [20, 1000, 50_000] {
            let quotas = Quotas::new((None, Duration::ZERO), limit);
            let mut accounts = Accounts::default();
            let mut see = |n: u64| accounts.see(&format!("did:plc:{n:024}"), &quotas);
            let over = (0..2 * limit).position(|n| (0..2).any(|_| see(n))).unwrap();
            let share = over as f64 / limit as f64;
            assert!((0.6..1.5).contains(&share), "{over} of {limit}");
            accounts.forget();
            assert!(!accounts.see("did:plc:x", &quotas));
        }
    }
}
