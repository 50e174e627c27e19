//! Pauses between attempts: growing, so that a dead host costs little, and jittered, so that
//! thousands of hosts that went away together are not all asked again at one moment.
//!
//! No host is given up. One that was heard before is asked every few minutes for a day, hourly
//! for a week, then daily. A name that never was one comes to that within a day: most names in
//! the directory are dead, and anyone can register more.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

/// The pauses of one host.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    first: Duration,
    next: Duration,
    /// The first failure in a row.
    since: Option<Instant>,
}

impl Backoff {
    /// Begins with this pause.
    pub(crate) fn new(first: Duration) -> Self {
        Self { first, next: first, since: None }
    }

    /// An attempt has failed: the next pause, which is half to all of one that doubles each time,
    /// and at the end a day or more. `known` is a host that was heard before.
    pub(crate) fn pause(&mut self, now: Instant, known: bool) -> Duration {
        let since = *self.since.get_or_insert(now);
        let longest = match now.saturating_duration_since(since) {
            _ if !known => DAY,
            lost if lost < DAY => 5 * MINUTE,
            lost if lost < WEEK => HOUR,
            _ => DAY,
        };
        let pause = self.next.min(longest);
        self.next = (self.next * 2).min(DAY);
        if pause == DAY { long() } else { jittered(pause) }
    }

    /// The host works: the next failure is a first one.
    pub(crate) fn reset(&mut self) {
        self.next = self.first;
        self.since = None;
    }
}

/// A day or a little more: how long is waited with what only a person can change.
pub(crate) fn long() -> Duration {
    DAY + jittered(HOUR)
}

/// Somewhere between half of a duration and all of it. The standard library's hash seeds are
/// random enough for that.
pub(crate) fn jittered(duration: Duration) -> Duration {
    let share = RandomState::new().hash_one(()) as u32;
    duration.mul_f64(0.5 + f64::from(share) / f64::from(u32::MAX) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// The pauses of a host that never answers, for that long, and when each began.
    fn pauses(known: bool, span: Duration) -> Vec<(Duration, Duration)> {
        let start = Instant::now();
        let mut backoff = Backoff::new(SECOND);
        let mut at = Duration::ZERO;
        let mut list = Vec::new();
        while at < span {
            let pause = backoff.pause(start + at, known);
            list.push((at, pause));
            at += pause;
        }
        list
    }

    #[test]
    fn pauses_double_and_begin_again() {
        let mut backoff = Backoff::new(SECOND);
        let now = Instant::now();
        for n in 0..8 {
            let (pause, whole) = (backoff.pause(now, true), SECOND * (1 << n));
            assert!(pause >= whole / 2 && pause <= whole, "pause {n}: {pause:?}");
        }
        backoff.reset();
        assert!(backoff.pause(now, true) <= SECOND);
    }

    #[test]
    fn a_host_that_was_heard_before_is_never_given_up_and_daily_at_last() {
        for (at, pause) in pauses(true, 4 * WEEK) {
            let longest = match at {
                at if at < DAY => 5 * MINUTE,
                at if at < WEEK => HOUR,
                _ => DAY + HOUR,
            };
            assert!(pause <= longest, "{pause:?} after {at:?}");
            assert!(at < WEEK || pause >= DAY, "{pause:?} after {at:?}");
        }
    }

    #[test]
    fn a_name_that_never_was_a_host_costs_some_look_ups_and_then_one_a_day() {
        let all = pauses(false, 4 * WEEK);
        let first_day = all.iter().filter(|(at, _)| *at < DAY).count();
        assert!((10..25).contains(&first_day), "{first_day}");
        let later = all.iter().filter(|(at, _)| *at >= 2 * DAY);
        assert!(later.clone().all(|(_, pause)| *pause >= DAY && *pause <= DAY + HOUR));
        assert!(later.count() >= 20);
    }

    #[test]
    fn two_hosts_do_not_pause_alike() {
        let pauses: Vec<Duration> = (0..8).map(|_| jittered(DAY)).collect();
        assert!(pauses.iter().any(|pause| *pause != pauses[0]));
    }
}
