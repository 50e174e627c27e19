//! When relays are asked for the hosts that they know: at once, then now and then, and after a
//! failure again with growing pauses.

use std::time::{Duration, Instant};

use net::Endpoint;

use crate::backoff::{Backoff, jittered};

/// A relay that asks for more quiet than this is asked earlier all the same.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// The relays.
pub(crate) struct Discovery {
    relays: Vec<Relay>,
    every: Duration,
}

struct Relay {
    endpoint: Endpoint,
    backoff: Backoff,
    /// `None` while it is being asked.
    at: Option<Instant>,
    /// It has answered, or failed to, at least once.
    settled: bool,
    listed: bool,
}

impl Discovery {
    /// `every` is the time between two listings of a relay, `retry` the first pause after a
    /// failure.
    pub(crate) fn new(
        relays: Vec<Endpoint>,
        (every, retry): (Duration, Duration),
        now: Instant,
    ) -> Self {
        let relay = |endpoint| Relay {
            endpoint,
            backoff: Backoff::new(retry),
            at: Some(now),
            settled: false,
            listed: false,
        };
        Self { relays: relays.into_iter().map(relay).collect(), every }
    }

    /// The relays that are to be asked now.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<(usize, Endpoint)> {
        let mut due = Vec::new();
        for (number, relay) in self.relays.iter_mut().enumerate() {
            if relay.at.is_some_and(|at| now >= at) {
                relay.at = None;
                due.push((number, relay.endpoint.clone()));
            }
        }
        due
    }

    /// When one is to be asked next, if none is being asked until then.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.relays.iter().filter_map(|relay| relay.at).min()
    }

    /// A relay has answered. Gives back which it is, and how long it is left alone.
    pub(crate) fn answered(
        &mut self,
        number: usize,
        whole: bool,
        retry_after: Option<Duration>,
        now: Instant,
    ) -> Option<(Endpoint, Duration)> {
        let relay = self.relays.get_mut(number)?;
        relay.settled = true;
        relay.listed |= whole;
        let pause = if whole {
            relay.backoff.reset();
            jittered(self.every)
        } else {
            let pause = relay.backoff.pause(now, true).min(self.every);
            pause.max(retry_after.unwrap_or_default().min(RETRY_AFTER_MAX))
        };
        relay.at = Some(now + pause);
        Some((relay.endpoint.clone(), pause))
    }

    /// Whether all have answered, or failed to, at least once.
    pub(crate) fn is_settled(&self) -> bool {
        self.relays.iter().all(|relay| relay.settled)
    }

    /// Whether each has listed all that it knows at least once: a host that is listed from then on
    /// is a new one.
    pub(crate) fn has_listed(&self) -> bool {
        self.relays.iter().all(|relay| relay.listed)
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.relays.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_is_asked_now_and_then_and_sooner_after_a_failure() {
        let (hour, second) = (Duration::from_secs(3600), Duration::from_secs(1));
        let start = Instant::now();
        let relay: Endpoint = "relay.example".parse().unwrap();
        let mut discovery = Discovery::new(vec![relay.clone()], (hour, second), start);
        assert_eq!(discovery.due(start), [(0, relay)]);
        assert_eq!((discovery.due(start + hour), discovery.next()), (vec![], None));
        assert!(!discovery.is_settled());
        let (_, pause) = discovery.answered(0, false, None, start).unwrap();
        assert!(pause <= second && discovery.is_settled() && !discovery.has_listed());
        let (_, pause) = discovery.answered(0, false, Some(40 * second), start).unwrap();
        assert_eq!(pause, 40 * second);
        let (_, pause) = discovery.answered(0, true, None, start).unwrap();
        assert!(pause >= hour / 2 && discovery.has_listed());
        assert_eq!(discovery.next(), Some(start + pause));
    }
}
