//! When the directory refuses: a limit on requests, which may change in time, and an outage.

use std::str::FromStr;
use std::time::{Duration, Instant};

use clap::ValueEnum;

/// So many requests in a window of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// How many.
    pub requests: u64,
    /// How long; it begins with the first request.
    pub window: Duration,
}

/// Limits, each from a time after the start on, in order. Before the first there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits(Vec<(Duration, Limit)>);

/// A time in which the directory answers nothing, counted from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outage {
    from: Duration,
    to: Duration,
}

/// How a refusal says when to come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RetryAfter {
    /// In whole seconds.
    Seconds,
    /// As a date.
    Date,
    /// It does not.
    None,
}

/// What is wrong with a limit or an outage.
#[derive(Debug)]
pub enum SwitchError {
    /// Not `N/WINDOW,START:N/WINDOW,...`.
    Limit,
    /// Not `START-END`.
    Outage,
}

impl std::fmt::Display for SwitchError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Limit => {
                "a limit is REQUESTS/WINDOW, such as 500/300s; others may follow, each from a \
                 time on: 50/2s,20s:100/2s"
            }
            Self::Outage => "an outage is START-END, such as 5s-12s",
        })
    }
}

impl std::error::Error for SwitchError {}

fn span(text: &str) -> Option<Duration> {
    text.parse::<cli::units::Span>().ok().map(|span| span.0)
}

impl FromStr for Limits {
    type Err = SwitchError;

    fn from_str(text: &str) -> Result<Self, SwitchError> {
        let part = |part: &str| {
            let (from, limit) = part.split_once(':').unwrap_or(("0", part));
            let (requests, window) = limit.split_once('/')?;
            let limit = Limit { requests: requests.parse().ok()?, window: span(window)? };
            (limit.requests > 0 && !limit.window.is_zero()).then_some((span(from)?, limit))
        };
        let limits: Option<Vec<_>> = text.split(',').map(part).collect();
        let in_order = |limits: &Vec<(Duration, Limit)>| limits.is_sorted_by(|a, b| a.0 < b.0);
        limits.filter(in_order).map(Self).ok_or(SwitchError::Limit)
    }
}

impl FromStr for Outage {
    type Err = SwitchError;

    fn from_str(text: &str) -> Result<Self, SwitchError> {
        let parts = || {
            let (from, to) = text.split_once('-')?;
            let outage = Self { from: span(from)?, to: span(to)? };
            (outage.from < outage.to).then_some(outage)
        };
        parts().ok_or(SwitchError::Outage)
    }
}

impl Outage {
    /// Whether it lasts at this time after the start.
    pub fn is_at(self, age: Duration) -> bool {
        (self.from..self.to).contains(&age)
    }
}

/// Requests are counted.
pub struct Meter {
    limits: Limits,
    started: Instant,
    window: Option<(Instant, u64)>,
}

/// What the limit says about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The limit at this time.
    pub limit: Limit,
    /// How many more are let in; nothing if this one is too many already.
    pub remaining: Option<u64>,
    /// The time until the window is over.
    pub reset: Duration,
}

impl Meter {
    /// Limits that count from now on.
    pub fn new(limits: Limits) -> Self {
        Self { limits, started: Instant::now(), window: None }
    }

    /// Counts a request, if there is a limit at this time.
    pub fn count(&mut self, now: Instant) -> Option<Reading> {
        let age = now.duration_since(self.started);
        let limit = self.limits.0.iter().rev().find(|(from, _)| *from <= age)?.1;
        let (start, count) = match self.window {
            Some((start, count)) if now.duration_since(start) < limit.window => (start, count),
            _ => (now, 0),
        };
        let remaining = limit.requests.checked_sub(count + 1);
        self.window = Some((start, count + u64::from(remaining.is_some())));
        Some(Reading { limit, remaining, reset: limit.window - now.duration_since(start) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_and_outages_are_read_with_their_units() {
        let limit = Limit { requests: 500, window: Duration::from_secs(300) };
        assert_eq!("500/5m".parse::<Limits>().unwrap(), Limits(vec![(Duration::ZERO, limit)]));
        let Limits(limits) = "50/2s,20s:500/300s".parse().unwrap();
        assert_eq!(limits[1], (Duration::from_secs(20), limit));
        let outage = Outage { from: Duration::from_millis(500), to: Duration::from_secs(2) };
        assert_eq!("500ms-2s".parse::<Outage>().unwrap(), outage);
        for wrong in
            ["", "5", "0/1s", "5/0s", "x/1s", "5/1y", "5/1s,", "5/1s,6/1s", "2s:5/1s,1s:6/1s"]
        {
            assert!(wrong.parse::<Limits>().is_err(), "{wrong}");
        }
        for wrong in ["", "5", "2s-1s", "1-1", "a-b"] {
            assert!(wrong.parse::<Outage>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_window_begins_with_a_request_and_the_limit_may_change_in_it() {
        let mut meter = Meter::new("2/1s,10s:4/1s".parse().unwrap());
        let at = |ms| meter_start(&meter) + Duration::from_millis(ms);
        let [a, b, c, d, e, f] = [5000, 5100, 5200, 6000, 6999, 10_500].map(at);
        let mut left = |now| meter.count(now).unwrap().remaining;
        assert_eq!([left(a), left(b), left(c)], [Some(1), Some(0), None]);
        assert_eq!([left(d), left(e)], [Some(1), Some(0)]);
        assert_eq!(left(f), Some(3));
    }

    fn meter_start(meter: &Meter) -> Instant {
        meter.started
    }
}
