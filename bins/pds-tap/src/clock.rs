//! Time as far as hosts could use it.
//!
//! While the output is blocked nothing is read, and while the process is stopped nothing happens.
//! A host is not silent because of that, so the clock by which silence is measured stands still
//! meanwhile.

use std::time::{Duration, Instant};

/// A shorter delay is work: a host's turn takes less than a tenth of this.
const STALL_MIN: Duration = Duration::from_millis(20);

/// A clock that stands still while nothing is read.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Clock {
    stalled: Duration,
}

impl Clock {
    /// The time, to be compared only with other times of this clock.
    pub(crate) fn now(&self) -> Instant {
        let now = Instant::now();
        now.checked_sub(self.stalled).unwrap_or(now)
    }

    /// Something took this long that should have taken no time.
    pub(crate) fn stood(&mut self, delay: Duration) {
        if delay >= STALL_MIN {
            self.stalled += delay;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_is_taken_off_and_work_is_not() {
        let mut clock = Clock::default();
        let before = clock.now();
        clock.stood(Duration::from_millis(5));
        assert!(clock.now() >= before);
        clock.stood(Duration::from_secs(60));
        assert!(clock.now() < before);
    }
}
