//! How fast a directory is asked.
//!
//! A directory lets so many requests in within a window of time, and seldom says how many. What is
//! quickest is to spend what a window allows at once and to come again the moment it is over, so
//! the limiter learns the window ([`window`]): from headers where there are any, else from the
//! first refusal. Behind a refusal nothing is asked before the time that it names. A limit can
//! grow, and nobody tells: now and then one request more than the limit is a probe for that. Probes
//! and all other refusals stay below 1 % of the requests, and what waiting for their `Retry-After`
//! costs below 2 % of the time. A directory that is no window (a bucket that fills, a limit that
//! others use too) refuses in the middle of one; what it let in becomes the limit then, which comes
//! to a steady pace.
//!
//! Nothing here reads a clock: all moments are handed in, counted from any beginning.

mod hints;
mod latency;
mod window;

use std::time::Duration;

pub(crate) use hints::{Hints, Retry};
use latency::Latency;
pub(crate) use window::Learned;
use window::Window;

/// A moment, as the time since some beginning.
pub(crate) type Moment = Duration;

/// The longest pause that doubling leads to.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// The longest pause that a directory can ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// No probe is sent while more than one request in so many was refused: 0.95 %.
const REQUESTS_PER_REFUSAL: u64 = 105;

/// So many probes for a grown limit come between two for a shorter window, which is rarer.
const PROBES_BETWEEN: u32 = 4;

/// So much of the time may go into waiting behind probes: 2 %.
const TIME_PER_COST: u32 = 50;

/// How long before a whole second of the window's rest is over a probe is sent: a `Retry-After`
/// in whole seconds then ends with the window.
const PROBE_EARLY: Duration = Duration::from_millis(15);

/// A span known to this share is not probed further: 5 %.
const SPAN_SHARE: u32 = 20;

const SECOND: Duration = Duration::from_secs(1);

/// What a request before its time tries out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Probe {
    /// Whether the limit has grown.
    More,
    /// Whether the window is shorter than it is taken for.
    Sooner,
}

/// When to ask next.
#[derive(Debug)]
pub(crate) struct Limiter {
    window: Window,
    latency: Latency,
    pause_first: Duration,
    /// Nothing is sent before.
    held_until: Moment,
    /// Failures and refusals since the last answer.
    troubles: u32,
    /// When the first request went out.
    started: Option<Moment>,
    /// The request that is out.
    sent: Option<(Moment, Option<Probe>)>,
    /// The probe of this window, when it has come to that.
    planned: Option<(Moment, Probe)>,
    /// Since the last probe for a shorter window.
    probes: u32,
    /// What probes have cost in time, all and the last one.
    cost: Duration,
    last_cost: Duration,
    /// `Retry-After` comes in whole seconds.
    whole_seconds: bool,
    asked: u64,
    refused: u64,
}

impl Limiter {
    /// Begins with what an earlier run has learned. `pause_first` is the pause after a first
    /// failure.
    pub(crate) fn new(learned: Option<Learned>, pause_first: Duration) -> Self {
        Self {
            window: Window::new(learned),
            latency: Latency::default(),
            pause_first,
            held_until: Duration::ZERO,
            troubles: 0,
            started: None,
            sent: None,
            planned: None,
            probes: 0,
            cost: Duration::ZERO,
            last_cost: Duration::ZERO,
            whole_seconds: false,
            asked: 0,
            refused: 0,
        }
    }

    /// Goes on in the window that an earlier run was in: when it began, and how much was spent.
    pub(crate) fn go_on(&mut self, began: Moment, count: u32) {
        self.window.go_on(began, count);
    }

    /// The present window: when it began, and how much of it is spent.
    pub(crate) fn present(&self) -> Option<(Moment, u32)> {
        self.window.present()
    }

    /// When the next request may go out; a moment that has passed is at once.
    pub(crate) fn next(&self) -> Moment {
        let due = self.due();
        match self.planned {
            Some((at, _)) => at.clamp(self.held_until, due.max(self.held_until)),
            None => due,
        }
    }

    /// A request goes out.
    pub(crate) fn asked(&mut self, now: Moment) {
        let early = now < self.window.due();
        let probe = self.planned.take().map(|(_, probe)| probe).filter(|_| early);
        match probe {
            Some(Probe::More) => self.probes += 1,
            Some(Probe::Sooner) => self.probes = 0,
            None => {}
        }
        self.asked += 1;
        self.started = self.started.or(Some(now));
        self.sent = Some((now, probe));
    }

    /// It was let in.
    pub(crate) fn answered(&mut self, now: Moment, hints: &Hints) {
        let Some((sent, probe)) = self.sent.take() else { return };
        self.troubles = 0;
        let late = self.latency.add(now.saturating_sub(sent));
        match probe {
            Some(Probe::More) => self.window.grew(),
            Some(Probe::Sooner) => self.window.was_shorter(sent),
            None => {}
        }
        self.window.let_in(sent, late);
        if let Some(wait) = self.window.told(hints) {
            self.hold(now + wait.min(RETRY_AFTER_MAX));
        }
        self.hold(now + self.latency.gap());
        self.plan(now);
    }

    /// It was refused for coming too soon. Says how long the pause is.
    pub(crate) fn refused(&mut self, now: Moment, hints: &Hints) -> Duration {
        let Some((sent, probe)) = self.sent.take() else { return Duration::ZERO };
        self.refused += 1;
        self.troubles = self.troubles.saturating_add(1);
        self.planned = None;
        let retry =
            hints.retry.map(|retry| Retry { after: retry.after.min(RETRY_AFTER_MAX), ..retry });
        self.whole_seconds |= retry.is_some_and(|retry| retry.whole_seconds);
        let over = self.window.turned_away(sent, retry);
        let asked_for = retry.map(|retry| now + retry.after);
        // A directory that goes on refusing is left alone for longer and longer.
        let least = match (asked_for.max(over), self.troubles) {
            (Some(until), 1) => until,
            (Some(until), again) => until.max(now + self.doubled(again - 1) / 8),
            (None, again) => now + self.doubled(again),
        };
        self.hold(least);
        if probe.is_some() {
            // The window's end had to be waited for in any case.
            self.last_cost = self.held_until.saturating_sub(self.window.due());
            self.cost += self.last_cost;
        }
        self.held_until.saturating_sub(now)
    }

    /// There was no answer, or none that is one. Says how long the pause is.
    pub(crate) fn failed(&mut self, now: Moment, retry_after: Option<Duration>) -> Duration {
        self.sent = None;
        self.planned = None;
        self.troubles = self.troubles.saturating_add(1);
        let pause = match retry_after {
            Some(asked_for) => asked_for.min(RETRY_AFTER_MAX),
            None => self.doubled(self.troubles),
        };
        self.hold(now + pause);
        pause
    }

    /// What was learned of the limit.
    pub(crate) fn learned(&self) -> Option<Learned> {
        self.window.learned()
    }

    /// The least time between two requests that the limit comes to in the long run.
    pub(crate) fn interval(&self) -> Duration {
        self.learned().map_or(Duration::ZERO, |learned| learned.span() / learned.requests.max(1))
    }

    fn due(&self) -> Moment {
        self.window.due().max(self.held_until)
    }

    fn hold(&mut self, until: Moment) {
        self.held_until = self.held_until.max(until);
    }

    fn doubled(&self, troubles: u32) -> Duration {
        let doublings = troubles.saturating_sub(1).min(16);
        self.pause_first.saturating_mul(1 << doublings).min(PAUSE_MAX)
    }

    /// Decides on a probe once the window is spent.
    fn plan(&mut self, now: Moment) {
        self.planned = None;
        let affordable = (self.refused + 1) * REQUESTS_PER_REFUSAL <= self.asked;
        let Some((began, span)) = self.window.spent().filter(|_| affordable) else { return };
        let age = now.saturating_sub(self.started.unwrap_or(now));
        let allowed = (age / TIME_PER_COST).saturating_sub(self.cost);
        let shortest = self.window.shortest().filter(|_| self.probes >= PROBES_BETWEEN);
        let sooner = shortest.and_then(|shortest| {
            let open = span.saturating_sub(shortest);
            let at = began + shortest + open / 2;
            (open > span / SPAN_SHARE && at > now).then_some((at, Probe::Sooner))
        });
        let more = (self.before_whole_second(now, began + span), Probe::More);
        let cost = |at: Moment| self.cost(at, began + span).max(self.last_cost / 2);
        let affordable = |(at, _): &(Moment, Probe)| cost(*at) <= allowed && *at < self.due();
        self.planned = sooner.into_iter().chain([more]).find(affordable);
    }

    /// The first moment from which the window's rest is a little less than whole seconds.
    fn before_whole_second(&self, now: Moment, end: Moment) -> Moment {
        if !self.whole_seconds {
            return now;
        }
        let rest = (end + PROBE_EARLY).saturating_sub(now);
        let whole = Duration::from_secs(rest.as_secs());
        if whole < SECOND { now } else { end + PROBE_EARLY - whole }
    }

    /// How much later than the window's end a refusal at this moment would let go.
    fn cost(&self, at: Moment, end: Moment) -> Duration {
        if !self.whole_seconds {
            return Duration::ZERO;
        }
        let rest = end.saturating_sub(at);
        let seconds = rest.as_secs() + u64::from(rest.subsec_nanos() > 0);
        (at + Duration::from_secs(seconds.max(1))).saturating_sub(end)
    }
}

#[cfg(test)]
mod tests;
