//! How long answers take, and what that says about a directory.

use std::time::Duration;

/// An answer this many times slower than usual is a directory in trouble.
const SLOW_TIMES: u32 = 8;

/// An answer below this is never slow.
const SLOW_MIN: Duration = Duration::from_millis(500);

/// How long answers take.
#[derive(Debug, Default)]
pub(crate) struct Latency {
    /// About the shortest; it rises by 1 % an answer, so that a slower directory becomes usual.
    usual: Option<Duration>,
    /// Over the last eight or so.
    lately: Duration,
}

impl Latency {
    /// Notes an answer, and says how much longer than the shortest it took: so much later than
    /// it might have, it may have arrived.
    pub(crate) fn add(&mut self, took: Duration) -> Duration {
        let usual = self.usual.map_or(took, |usual| took.min(usual + usual / 100));
        self.lately = match self.usual {
            None => took,
            Some(_) => self.lately - self.lately / 8 + took / 8,
        };
        self.usual = Some(usual);
        took - usual
    }

    /// The pause that a directory in trouble is given between two requests: as long as it takes
    /// to answer one, so that it has half of its time for others.
    pub(crate) fn gap(&self) -> Duration {
        let usual = self.usual.unwrap_or_default();
        let slow = self.lately > SLOW_MIN && self.lately > usual * SLOW_TIMES;
        if slow { self.lately } else { Duration::ZERO }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_slows_down_is_given_pauses_until_it_is_quick_again() {
        let ms = Duration::from_millis;
        let mut latency = Latency::default();
        for _ in 0..50 {
            assert!(latency.add(ms(40)) <= ms(1));
        }
        assert_eq!(latency.gap(), Duration::ZERO);
        for _ in 0..30 {
            latency.add(ms(1500));
        }
        assert!(latency.gap() > ms(1300), "{latency:?}");
        for _ in 0..30 {
            latency.add(ms(40));
        }
        assert_eq!(latency.gap(), Duration::ZERO);
        // Slow for good is usual.
        for _ in 0..500 {
            latency.add(ms(1500));
        }
        assert_eq!(latency.gap(), Duration::ZERO);
    }
}
