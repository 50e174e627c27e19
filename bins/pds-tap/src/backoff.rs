//! Pauses between attempts: growing, so that a dead host costs little, and jittered, so that
//! thousands of hosts that went away together are not all asked again at one moment.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(300);

/// The pauses of one host.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    first: Duration,
    next: Duration,
}

impl Backoff {
    /// Begins with this pause.
    pub(crate) fn new(first: Duration) -> Self {
        Self { first, next: first }
    }

    /// The next pause: half to all of one that doubles each time.
    pub(crate) fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(PAUSE_MAX.max(self.first));
        jittered(pause)
    }

    /// The host works: the next failure is a first one.
    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }
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

    #[test]
    fn pauses_grow_to_a_limit_and_begin_again() {
        let mut backoff = Backoff::new(Duration::from_secs(1));
        let pauses: Vec<Duration> = (0..12).map(|_| backoff.pause()).collect();
        for (n, pause) in pauses.iter().enumerate() {
            let whole = Duration::from_secs(1 << n).min(PAUSE_MAX);
            assert!(*pause >= whole / 2 && *pause <= whole, "pause {n}: {pause:?}");
        }
        backoff.reset();
        assert!(backoff.pause() <= Duration::from_secs(1));
    }

    #[test]
    fn two_hosts_do_not_pause_alike() {
        let pauses: Vec<Duration> = (0..8).map(|_| jittered(PAUSE_MAX)).collect();
        assert!(pauses.iter().any(|pause| *pause != pauses[0]));
    }
}
