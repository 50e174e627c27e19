//! Latency histograms: how long things took, known to one sixteenth, in fixed memory.
//!
//! Percentiles cannot be added up, so a tool counts into buckets and whoever reads them works
//! out percentiles, of one tool or of several together, since the start or since an earlier
//! look. The buckets are described in [`crate::layout`].

/// Bits that cut a power of two into equal buckets.
const SUB_BITS: u32 = 4;
const SUB_BUCKETS: usize = 1 << SUB_BITS;
/// Values from two to this power on, in ns, share the last bucket.
const VALUE_BITS_MAX: u32 = 45;

/// Counts in a histogram.
pub const BUCKETS: usize = (VALUE_BITS_MAX - SUB_BITS + 1) as usize * SUB_BUCKETS;

/// The bucket that a value of so many ns falls into.
#[inline]
pub(crate) fn bucket_of(ns: u64) -> usize {
    let ns = ns.min((1 << VALUE_BITS_MAX) - 1);
    if ns < SUB_BUCKETS as u64 {
        return ns as usize;
    }
    let exponent = ns.ilog2();
    let sub = (ns >> (exponent - SUB_BITS)) as usize & (SUB_BUCKETS - 1);
    (exponent - SUB_BITS + 1) as usize * SUB_BUCKETS + sub
}

/// The greatest value that falls into a bucket, in ns.
fn value_max_of(bucket: usize) -> u64 {
    let (row, sub) = (bucket / SUB_BUCKETS, (bucket % SUB_BUCKETS) as u64);
    match row {
        0 => sub,
        _ => ((SUB_BUCKETS as u64 + sub + 1) << (row - 1)) - 1,
    }
}

/// Counts of values in ns, from which percentiles are worked out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    counts: Box<[u64]>,
    sum_ns: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS].into_boxed_slice(), sum_ns: 0 }
    }
}

impl Histogram {
    /// A histogram from its parts: the sum of all values in ns, and the count of each bucket.
    pub(crate) fn from_parts(sum_ns: u64, counts: impl Iterator<Item = u64>) -> Self {
        let mut histogram = Self { sum_ns, ..Self::default() };
        for (slot, count) in histogram.counts.iter_mut().zip(counts) {
            *slot = count;
        }
        histogram
    }

    /// Counts one value.
    pub fn record(&mut self, ns: u64) {
        if let Some(slot) = self.counts.get_mut(bucket_of(ns)) {
            *slot = slot.saturating_add(1);
        }
        self.sum_ns = self.sum_ns.saturating_add(ns);
    }

    /// How many values were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// The sum of all values, in ns.
    pub fn sum_ns(&self) -> u64 {
        self.sum_ns
    }

    /// The value in ns that a share `q` (0 to 1) of all values does not exceed; `None` if there
    /// are no values. The answer is the greatest value of its bucket: never below the true one,
    /// and above it by at most a sixteenth (up to 2^45 ns).
    pub fn percentile(&self, q: f64) -> Option<u64> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let rank = ((q.clamp(0.0, 1.0) * count as f64).ceil() as u64).clamp(1, count);
        let mut seen = 0_u64;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen = seen.saturating_add(*count);
            if seen >= rank {
                return Some(value_max_of(bucket));
            }
        }
        None
    }

    /// Adds the counts of another histogram to this one.
    pub fn merge(&mut self, other: &Self) {
        for (slot, count) in self.counts.iter_mut().zip(&other.counts) {
            *slot = slot.saturating_add(*count);
        }
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
    }

    /// What was counted between an earlier look at the same page and this one.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let counts = self.counts.iter().zip(&earlier.counts);
        let counts = counts.map(|(late, early)| late.saturating_sub(*early));
        Self::from_parts(self.sum_ns.saturating_sub(earlier.sum_ns), counts)
    }

    /// The buckets that hold something, least first: the greatest value of each in ns, and its
    /// count.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let counts = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        counts.map(|(bucket, count)| (value_max_of(bucket), *count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(values: &[u64]) -> Histogram {
        let mut histogram = Histogram::default();
        values.iter().for_each(|value| histogram.record(*value));
        histogram
    }

    #[test]
    fn buckets_lie_end_to_end() {
        let mut next = 0;
        for bucket in 0..BUCKETS {
            assert_eq!(bucket_of(next), bucket, "{next} begins bucket {bucket}");
            assert_eq!(bucket_of(value_max_of(bucket)), bucket);
            next = value_max_of(bucket) + 1;
        }
        assert_eq!(next, 1 << VALUE_BITS_MAX);
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn an_empty_histogram_has_no_percentile() {
        assert_eq!(Histogram::default().percentile(0.5), None);
    }

    #[test]
    fn a_share_outside_of_0_to_1_means_the_nearest_end() {
        let histogram = of(&[1, 2, 3]);
        assert_eq!(histogram.percentile(-1.0), Some(1));
        assert_eq!(histogram.percentile(7.0), Some(3));
        assert_eq!(histogram.percentile(f64::NAN), Some(1));
    }

    /// Values spread over all magnitudes, as latencies are.
    fn value() -> impl Strategy<Value = u64> {
        (0_u32..45, any::<u64>()).prop_map(|(bits, random)| random & ((1 << bits) - 1))
    }

    proptest! {
        #[test]
        fn percentiles_agree_with_sorted_values(
            mut values in prop::collection::vec(value(), 1..300),
            q in 0.0_f64..=1.0,
        ) {
            let found = of(&values).percentile(q).unwrap();
            values.sort_unstable();
            let rank = ((q * values.len() as f64).ceil() as usize).max(1);
            let exact = values[rank - 1];
            prop_assert!(found >= exact && found <= exact + exact / 16, "{found} for {exact}");
        }

        #[test]
        fn merging_counts_both_and_since_takes_it_back(
            left in prop::collection::vec(value(), 0..100),
            right in prop::collection::vec(value(), 0..100),
        ) {
            let mut both = of(&left);
            both.merge(&of(&right));
            prop_assert_eq!(&both, &of(&[left.clone(), right.clone()].concat()));
            prop_assert_eq!(both.since(&of(&left)), of(&right));
            prop_assert_eq!(both.buckets().map(|(_, count)| count).sum::<u64>(), both.count());
        }
    }
}
