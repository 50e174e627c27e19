//! How fast a directory is asked.
//!
//! Between two requests lies an interval, which begins at what an earlier run has learned, or at
//! nothing. A refusal (429) makes it longer, every answer a little shorter. After a refusal or a
//! failure there is a pause besides: what the directory asks for, or one that doubles.

use std::time::{Duration, Instant};

/// The interval after the first refusal ever.
const INTERVAL_FIRST: Duration = Duration::from_millis(100);

/// The longest interval.
const INTERVAL_MAX: Duration = Duration::from_secs(10);

/// The longest pause that doubling leads to.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// The longest pause that a directory can ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// When to ask next.
#[derive(Debug)]
pub(crate) struct Pace {
    interval: Duration,
    pause_first: Duration,
    /// Failures and refusals since the last answer.
    failures: u32,
    next: Instant,
}

impl Pace {
    pub(crate) fn new(learned: Duration, pause_first: Duration) -> Self {
        let interval = learned.min(INTERVAL_MAX);
        Self { interval, pause_first, failures: 0, next: Instant::now() }
    }

    /// How long to wait before the next request.
    pub(crate) fn wait(&self) -> Duration {
        self.next.saturating_duration_since(Instant::now())
    }

    /// A request goes out.
    pub(crate) fn asked(&mut self) {
        self.next = Instant::now() + self.interval;
    }

    /// It was answered.
    pub(crate) fn answered(&mut self) {
        self.failures = 0;
        self.interval = self.interval.mul_f64(0.98);
    }

    /// It was refused for coming too soon.
    pub(crate) fn refused(&mut self, retry_after: Option<Duration>) -> Duration {
        self.interval = (self.interval * 2).clamp(INTERVAL_FIRST, INTERVAL_MAX);
        self.pause(retry_after)
    }

    /// It was not answered. Says how long the pause is.
    pub(crate) fn failed(&mut self, retry_after: Option<Duration>) -> Duration {
        self.pause(retry_after)
    }

    /// The interval that was learned.
    pub(crate) fn interval(&self) -> Duration {
        self.interval
    }

    fn pause(&mut self, retry_after: Option<Duration>) -> Duration {
        let doubled = self.pause_first.saturating_mul(1 << self.failures.min(16)).min(PAUSE_MAX);
        self.failures = self.failures.saturating_add(1);
        let pause = retry_after.map_or(doubled, |asked| asked.min(RETRY_AFTER_MAX));
        self.next = Instant::now() + pause;
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit_and_begin_anew_after_an_answer() {
        let mut pace = Pace::new(Duration::ZERO, Duration::from_secs(1));
        let pauses: Vec<u64> = (0..9).map(|_| pace.failed(None).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        pace.answered();
        assert_eq!(pace.failed(None).as_secs(), 1);
        assert_eq!(pace.failed(Some(Duration::from_secs(7))).as_secs(), 7);
        assert_eq!(pace.failed(Some(Duration::from_secs(1 << 40))), RETRY_AFTER_MAX);
    }

    #[test]
    fn a_refusal_makes_the_interval_longer_and_answers_make_it_shorter() {
        let mut pace = Pace::new(Duration::ZERO, Duration::from_secs(1));
        pace.refused(Some(Duration::ZERO));
        assert_eq!(pace.interval(), INTERVAL_FIRST);
        for _ in 0..20 {
            pace.refused(None);
        }
        assert_eq!(pace.interval(), INTERVAL_MAX);
        for _ in 0..400 {
            pace.answered();
        }
        assert!(pace.interval() < Duration::from_millis(10));
    }
}
