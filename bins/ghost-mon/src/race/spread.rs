//! How far apart copies came, on both sides of zero.

use stats::Histogram;

/// Differences in ns, from which percentiles are worked out in fixed memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Spread {
    behind: Histogram,
    ahead: Histogram,
}

impl Spread {
    pub(super) fn record(&mut self, difference_ns: i64) {
        let side = if difference_ns < 0 { &mut self.behind } else { &mut self.ahead };
        side.record(difference_ns.unsigned_abs());
    }

    pub(super) fn count(&self) -> u64 {
        self.behind.count() + self.ahead.count()
    }

    /// The difference that a share `q` of all does not exceed, known to one sixteenth.
    pub(super) fn percentile(&self, q: f64) -> Option<i64> {
        let (behind, all) = (self.behind.count(), self.count());
        if all == 0 {
            return None;
        }
        let rank = ((q.clamp(0.0, 1.0) * all as f64).ceil() as u64).clamp(1, all);
        let signed = |ns: u64| i64::try_from(ns).unwrap_or(i64::MAX);
        // The furthest behind comes first.
        match rank <= behind {
            true => {
                let share = (behind - rank + 1) as f64 / behind as f64;
                self.behind.percentile(share).map(|ns| -signed(ns))
            }
            false => {
                let share = (rank - behind) as f64 / (all - behind) as f64;
                self.ahead.percentile(share).map(signed)
            }
        }
    }

    /// The greatest difference of each bucket and its count, from the furthest behind on.
    pub(super) fn buckets(&self) -> Vec<(i64, u64)> {
        let signed = |ns: u64| i64::try_from(ns).unwrap_or(i64::MAX);
        let mut all: Vec<_> =
            self.behind.buckets().map(|(ns, count)| (-signed(ns), count)).collect();
        all.reverse();
        all.extend(self.ahead.buckets().map(|(ns, count)| (signed(ns), count)));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_go_from_the_furthest_behind_to_the_furthest_ahead() {
        let mut spread = Spread::default();
        assert_eq!(spread.percentile(0.5), None);
        for difference in [-8, -4, -2, 0, 1, 3, 5, 7, 9, 11] {
            spread.record(difference);
        }
        let found = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.9, 1.0].map(|q| spread.percentile(q).unwrap());
        assert_eq!(found, [-8, -8, -4, -2, 0, 1, 9, 11]);
        assert_eq!(spread.buckets().first(), Some(&(-8, 1)));
        assert_eq!(spread.count(), 10);
    }
}
