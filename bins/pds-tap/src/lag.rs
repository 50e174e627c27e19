//! How far a host's stream is behind: the time that an event says it is of, against the time when it
//! came. A look at it now and then is enough, so most events are not asked.

/// An event is asked for its time at most so often.
const EVERY_NS: u64 = 1_000_000_000;

/// The lag of one host.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lag {
    looked_ns: u64,
    lag_ns: u64,
}

impl Lag {
    /// An event of that time (RFC 3339) has come at this one.
    pub(crate) fn look(&mut self, time: Option<&str>, now_ns: u64) {
        if now_ns.saturating_sub(self.looked_ns) < EVERY_NS {
            return;
        }
        let Some(time) = time.and_then(|time| time.parse::<jiff::Timestamp>().ok()) else { return };
        // A clock that is ahead is no lag.
        let time_ns = u64::try_from(time.as_nanosecond()).unwrap_or(0);
        self.looked_ns = now_ns;
        self.lag_ns = now_ns.saturating_sub(time_ns);
    }

    /// The lag, as of the last look; 0 if there was none.
    pub(crate) fn ns(&self) -> u64 {
        self.lag_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lag_is_the_age_of_what_comes_looked_at_now_and_then() {
        let now_ns = 1_700_000_000_000_000_000;
        let mut lag = Lag::default();
        lag.look(Some("2023-11-14T22:13:18.5Z"), now_ns);
        assert_eq!(lag.ns(), 1_500_000_000);
        lag.look(Some("2023-11-14T22:00:00Z"), now_ns + 1);
        assert_eq!(lag.ns(), 1_500_000_000);
        lag.look(Some("yesterday"), now_ns + EVERY_NS);
        lag.look(None, now_ns + EVERY_NS);
        assert_eq!(lag.ns(), 1_500_000_000);
        lag.look(Some("2093-11-14T22:00:00Z"), now_ns + EVERY_NS);
        assert_eq!(lag.ns(), 0);
    }
}
