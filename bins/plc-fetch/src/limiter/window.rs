//! The window of time in which a directory lets so many requests in: what is known of it, and when
//! it has room.
//!
//! Request number i may go out a span after request number i - limit. That spends a window at once
//! where windows begin with their first request or by the clock, and is exact where a directory
//! looks back over a span from each request.
//!
//! The span is learned from refusals. One that comes some time into a window and says to come again
//! after `Retry-After` puts the window's end within the second before that, because of the rounding
//! to whole seconds. Spans are whole seconds themselves as a rule, and there is just one in it.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Hints, Moment, Retry, SECOND};

/// Most requests whose moments are remembered, and so the highest limit that is learned.
const REQUESTS_MAX: usize = 1 << 16;

/// Requests in any span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Learned {
    pub(crate) requests: u32,
    pub(crate) span_us: u64,
    /// The span is known to be longer than this.
    pub(crate) longer_than_us: u64,
}

impl Learned {
    pub(crate) fn span(&self) -> Duration {
        Duration::from_micros(self.span_us)
    }
}

/// What is known of the window.
#[derive(Debug, Default)]
pub(crate) struct Window {
    limit: Option<u32>,
    span: Option<Duration>,
    longer_than: Duration,
    /// A window that was spent was followed by one that began this long after it.
    at_most: Option<Duration>,
    /// When the present window let its first request in, and how many since.
    began: Option<Moment>,
    count: u32,
    /// From when each of the last requests counts, at the latest.
    recent: VecDeque<Moment>,
    /// A refusal came: the next request let in begins a window.
    over: bool,
    /// Limit and span are an earlier run's, and the window may have been spent in part by it.
    inherited: bool,
    /// The directory says what its limit is.
    told: bool,
    /// What it says is spent of its window, how much of that is ours, and whether others, or an
    /// earlier run, have their share in it.
    spent: u32,
    ours: u32,
    shared: bool,
    /// The span before a shorter one was tried.
    longer: Option<Duration>,
    /// A shorter one was tried and did not hold: windows begin by the clock, most likely.
    settled: bool,
}

impl Window {
    pub(crate) fn new(learned: Option<Learned>) -> Self {
        let usable = learned.filter(|learned| learned.requests > 0 && learned.span_us > 0);
        Self {
            limit: usable.map(|learned| learned.requests),
            span: usable.map(|learned| learned.span()),
            longer_than: Duration::from_micros(usable.map_or(0, |learned| learned.longer_than_us)),
            inherited: usable.is_some(),
            ..Self::default()
        }
    }

    pub(crate) fn learned(&self) -> Option<Learned> {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let (requests, span) = self.limit.zip(self.span)?;
        let longer_than_us = micros(self.longer_than);
        Some(Learned { requests, span_us: micros(span), longer_than_us })
    }

    /// How short the span may be, if that is worth trying.
    pub(crate) fn shortest(&self) -> Option<Duration> {
        (!self.settled).then_some(self.longer_than)
    }

    /// The present window: when it began and how much of it is spent.
    pub(crate) fn present(&self) -> Option<(Moment, u32)> {
        self.began.map(|began| (began, self.count))
    }

    /// Goes on in the window that an earlier run was in.
    pub(crate) fn go_on(&mut self, began: Moment, count: u32) {
        self.began = Some(began);
        self.count = count;
        let requests = usize::try_from(count).unwrap_or(0).min(REQUESTS_MAX);
        self.recent = std::iter::repeat_n(began, requests).collect();
    }

    /// When there is room for a request.
    pub(crate) fn due(&self) -> Moment {
        let room = || {
            let (limit, span) = self.limit.zip(self.span)?;
            let place = self.recent.len().checked_sub(usize::try_from(limit).ok()?)?;
            self.recent.get(place).map(|since| *since + span + margin(span))
        };
        room().unwrap_or_default()
    }

    /// Beginning and span of the present window, if it is spent and nobody tells what it allows.
    pub(crate) fn spent(&self) -> Option<(Moment, Duration)> {
        let spent = self.count >= self.limit? && !self.told && !self.over && !self.inherited;
        self.began.zip(self.span).filter(|_| spent)
    }

    /// A request that went out at this moment, and arrived so much later than it might have at
    /// most, was let in.
    pub(crate) fn let_in(&mut self, sent: Moment, late: Duration) {
        let begins = match (self.began, self.span) {
            (Some(began), Some(span)) => self.over || sent >= began + span,
            (Some(_), None) => self.over,
            (None, _) => true,
        };
        if begins {
            if let Some(began) = self.began {
                let elapsed = sent.saturating_sub(began);
                if self.limit.is_some_and(|limit| self.count >= limit) {
                    self.at_most = Some(self.at_most.map_or(elapsed, |most| most.min(elapsed)));
                    if self.span.is_none() {
                        self.span = Some(likely(self.longer_than, elapsed));
                    }
                }
                self.inherited = false;
                if !self.over {
                    self.longer = None;
                }
            }
            self.began = Some(sent);
            self.count = 0;
            self.over = false;
        }
        self.count = self.count.saturating_add(1);
        if self.recent.len() == REQUESTS_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(sent + late);
    }

    /// A request that went out at this moment was refused. Says when the window is over, as far
    /// as that is known.
    pub(crate) fn turned_away(&mut self, sent: Moment, retry: Option<Retry>) -> Option<Moment> {
        let again = std::mem::replace(&mut self.over, true);
        // Refused before anything was let in: others, or an earlier run, have spent the window.
        let began = self.began?;
        if self.inherited {
            return None;
        }
        let elapsed = sent.saturating_sub(began);
        let fewer = self.limit.is_none_or(|limit| self.count < limit);
        let early = self.span.is_some_and(|span| elapsed < span);
        match self.longer.take() {
            Some(longer) if fewer || !early => (self.span, self.settled) = (Some(longer), true),
            _ if fewer && !again => self.limit = Some(self.count.max(1)),
            _ => {}
        }
        let early = self.span.is_some_and(|span| elapsed < span);
        match retry {
            Some(Retry { after, whole_seconds }) => {
                let last = elapsed + after.max(if whole_seconds { SECOND } else { Duration::ZERO });
                let first = if whole_seconds { last - SECOND } else { elapsed };
                self.narrow(first.max(elapsed), last, early, !whole_seconds);
            }
            None => {
                self.longer_than = self.longer_than.max(elapsed);
                if !early {
                    // Longer than was believed: found out by the first that is let in.
                    let known = self.span.is_some() || again;
                    (self.span, self.at_most) = (None, None);
                    self.longer_than = elapsed;
                    return known.then(|| began + elapsed + elapsed / 8);
                }
            }
        }
        self.span.map(|span| began + span + margin(span))
    }

    /// The span is above `first` and at most `last`, says a refusal.
    fn narrow(&mut self, first: Duration, last: Duration, early: bool, exact: bool) {
        let known = self.span.filter(|span| first < *span && *span <= last);
        if known.is_some() && !exact {
            self.longer_than = self.longer_than.max(first);
            return;
        }
        // Within a window that has been followed by the next in time, `Retry-After` alone does
        // not make it longer: some name a time that has nothing to do with it.
        if early && self.at_most.is_some_and(|most| most <= first) {
            return;
        }
        self.span = Some(if exact { last } else { likely(first, last) });
        self.longer_than = if exact { last } else { first };
        self.at_most = None;
    }

    /// One more than the limit was let in: how much more is found out by going on.
    pub(crate) fn grew(&mut self) {
        self.limit = None;
    }

    /// A new window had begun before this moment.
    pub(crate) fn was_shorter(&mut self, sent: Moment) {
        let Some(began) = self.began else { return };
        self.longer = self.longer.or(self.span);
        self.span = Some(sent.saturating_sub(began));
        self.over = true;
    }

    /// Takes what the directory says about its limit. The pause that this asks for, if others
    /// have spent the window.
    pub(crate) fn told(&mut self, hints: &Hints) -> Option<Duration> {
        let limit = hints.limit?;
        self.told = true;
        self.inherited = false;
        self.limit = Some(limit);
        let first = hints.remaining == Some(limit - 1);
        // At the beginning of a window the time until the next one is its span.
        if let Some(span) = hints.span.or(hints.reset.filter(|reset| first && !reset.is_zero())) {
            (self.span, self.longer_than) = (Some(span), span);
        }
        let spent = limit - hints.remaining?.min(limit);
        if spent <= self.spent {
            (self.ours, self.shared) = (0, false);
        }
        self.ours += 1;
        self.spent = spent;
        self.shared |= spent > self.ours;
        let unknown = self.span.is_none() || self.shared;
        hints.reset.filter(|_| hints.remaining == Some(0) && unknown)
    }
}

/// What is left between a span and the next request, for clocks that differ.
fn margin(span: Duration) -> Duration {
    Duration::from_millis(2) + span / 500
}

/// The likely one of the spans above `first` and up to `last`: the first whole number of seconds,
/// or else the longest.
fn likely(first: Duration, last: Duration) -> Duration {
    let whole = Duration::from_secs(first.as_secs() + 1);
    whole.min(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_whole_seconds_where_they_can_be() {
        let ms = Duration::from_millis;
        assert_eq!(likely(ms(1150), ms(2150)), ms(2000));
        assert_eq!(likely(ms(150), ms(1150)), ms(1000));
        assert_eq!(likely(ms(299_001), ms(300_001)), ms(300_000));
        assert_eq!(likely(ms(1000), ms(1400)), ms(1400));
    }
}
