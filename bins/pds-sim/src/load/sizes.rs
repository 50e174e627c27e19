//! How much each host sends: a few very big ones, and most nearly silent, as in the network.
//!
//! The host of rank r has a weight of 1 / (r + 20)^2. Of ten thousand, the twenty biggest send half
//! of all events, the hundred biggest five sixths, and nine tenths of the hosts a fiftieth: at
//! 5,000 events a second over all, each of those one in some minutes. At first each host sends one,
//! so that none of them takes less memory at the other side than it will.

use fastrand::Rng;

/// The rank at which a host has a quarter of the biggest one's weight.
const KNEE: f64 = 20.0;

/// Whose turn it is.
pub struct Sizes {
    rng: Rng,
    /// The sum of the weights of each host and those before it.
    sums: Vec<f64>,
    /// The next host that has not sent anything.
    silent: usize,
    /// Hosts that have so much left to send, where that has an end; all alike then.
    left: Option<Vec<(usize, u64)>>,
}

impl Sizes {
    /// The sizes of so many hosts, the biggest first.
    pub fn new(hosts: usize, seed: u64) -> Self {
        let weights = (0..hosts).map(|rank| (rank as f64 + KNEE).powi(-2));
        let sums = weights.scan(0.0, |sum, weight| {
            *sum += weight;
            Some(*sum)
        });
        Self { rng: Rng::with_seed(seed), sums: sums.collect(), silent: 0, left: None }
    }

    /// Hosts that have so many events each, and are alike otherwise.
    pub fn of(events: impl Iterator<Item = u64>, seed: u64) -> Self {
        let left: Vec<(usize, u64)> = events.enumerate().collect();
        let hosts = left.len();
        let left = left.into_iter().filter(|(_, events)| *events > 0).collect();
        Self { left: Some(left), ..Self::new(hosts, seed) }
    }

    /// The host that sends the next event.
    pub fn pick(&mut self) -> usize {
        if let Some(left) = &mut self.left {
            let at = self.rng.usize(0..left.len().max(1));
            let Some((host, events)) = left.get_mut(at) else { return 0 };
            let host = *host;
            *events -= 1;
            if *events == 0 {
                left.swap_remove(at);
            }
            return host;
        }
        if self.silent < self.sums.len() {
            self.silent += 1;
            return self.silent - 1;
        }
        let at = self.rng.f64() * self.sums.last().copied().unwrap_or_default();
        self.sums.partition_point(|sum| *sum <= at).min(self.sums.len().saturating_sub(1))
    }

    /// Any host, all alike.
    pub fn any(&mut self) -> usize {
        self.rng.usize(0..self.sums.len().max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twenty_hosts_send_half_and_nine_tenths_of_them_a_fiftieth() {
        let mut sizes = Sizes::new(10_000, 1);
        assert!((0..10_000).eq((0..10_000).map(|_| sizes.pick())), "each once");
        let mut counts = vec![0_u64; 10_000];
        (0..200_000).for_each(|_| counts[sizes.pick()] += 1);
        let share =
            |range: std::ops::Range<usize>| counts[range].iter().sum::<u64>() as f64 / 200_000.0;
        assert!((0.45..0.55).contains(&share(0..20)), "{}", share(0..20));
        assert!((0.80..0.87).contains(&share(0..100)), "{}", share(0..100));
        assert!((0.01..0.03).contains(&share(1_000..10_000)), "{}", share(1_000..10_000));
        assert_eq!(Sizes::new(1, 1).pick(), 0);
    }

    #[test]
    fn hosts_with_an_end_send_what_they_have() {
        let mut sizes = Sizes::of([3, 0, 5].into_iter(), 1);
        let mut counts = [0; 3];
        (0..8).for_each(|_| counts[sizes.pick()] += 1);
        assert_eq!(counts, [3, 0, 5]);
    }
}
