//! The window of a host: its events in order, and where a subscriber joins it.
//!
//! Events lie here once, as shared bytes, however many subscribers there are. A position counts
//! events from the first that the host ever made; a cursor is a seq. The two differ because seqs
//! of a recorded host may jump.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use tokio::sync::watch;

/// An event with its number.
#[derive(Clone, Debug)]
pub struct Event {
    /// The number under which it was sent.
    pub seq: i64,
    /// Header and body.
    pub bytes: Bytes,
}

/// Where a subscriber begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Join {
    /// At this position.
    At(u64),
    /// At this position, and what the cursor asked for before it is gone.
    Outdated(u64),
    /// Nowhere: the cursor is above everything that was sent.
    Future,
}

enum Events {
    /// Made here, the oldest dropped as the window moves on.
    Made { dropped: u64, kept: VecDeque<Event>, window: usize },
    /// A capture that other hosts may share, of which so many have come so far. `oldest` is where
    /// the recorded window began, for a host that has only a part of it.
    Recorded { oldest: i64, all: Arc<[Event]>, come: usize },
}

/// The events of a host.
pub struct Log {
    events: RwLock<Events>,
    end: watch::Sender<u64>,
    restarts: AtomicU64,
}

impl Log {
    /// An empty log that keeps the last `window` events.
    pub fn new(window: usize) -> Self {
        Self::of(Events::Made { dropped: 0, kept: VecDeque::new(), window: window.max(1) })
    }

    /// A capture, or a part of one, nothing of which has come yet. `oldest` is the first number
    /// of the whole.
    pub fn recorded(oldest: i64, all: Arc<[Event]>) -> Self {
        Self::of(Events::Recorded { oldest, all, come: 0 })
    }

    fn of(events: Events) -> Self {
        let restarts = AtomicU64::new(0);
        Self { events: RwLock::new(events), end: watch::channel(0).0, restarts }
    }

    /// Adds an event. `behind` is the position of the slowest subscriber: what that one has not
    /// had yet is kept, window or not.
    pub fn push(&self, event: Event, behind: u64) {
        let mut events = self.events.write().unwrap_or_else(PoisonError::into_inner);
        if let Events::Made { dropped, kept, window } = &mut *events {
            kept.push_back(event);
            while kept.len() > *window && *dropped < behind {
                kept.pop_front();
                *dropped += 1;
            }
        }
        let end = events.end();
        drop(events);
        self.end.send_replace(end);
    }

    /// Lets the first `come` events of a capture have come.
    pub fn let_come(&self, come: u64) {
        let mut events = self.events.write().unwrap_or_else(PoisonError::into_inner);
        if let Events::Recorded { all, come: before, .. } = &mut *events {
            *before = usize::try_from(come).unwrap_or(usize::MAX).min(all.len()).max(*before);
        }
        let end = events.end();
        drop(events);
        self.end.send_replace(end);
    }

    /// Forgets all events, as a host does whose log is lost.
    pub fn restart(&self) {
        let mut events = self.events.write().unwrap_or_else(PoisonError::into_inner);
        if let Events::Made { dropped, kept, .. } = &mut *events {
            *dropped += kept.len() as u64;
            kept.clear();
            self.restarts.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// How often that has happened: who joined before is cut off.
    pub fn restarts(&self) -> u64 {
        self.restarts.load(Ordering::SeqCst)
    }

    /// The position behind the last event, and word of its moving.
    pub fn end(&self) -> watch::Receiver<u64> {
        self.end.subscribe()
    }

    /// All events that are kept.
    pub fn all(&self) -> Vec<Bytes> {
        let events = self.events.read().unwrap_or_else(PoisonError::into_inner);
        events.iter().map(|event| event.bytes.clone()).collect()
    }

    /// The number of the last event; 0 when there is none.
    pub fn last_seq(&self) -> i64 {
        let events = self.events.read().unwrap_or_else(PoisonError::into_inner);
        events.iter().next_back().map_or(0, |event| event.seq)
    }

    /// Where a subscriber with this cursor begins; without one it begins behind the last event.
    pub fn join(&self, cursor: Option<i64>) -> Join {
        let events = self.events.read().unwrap_or_else(PoisonError::into_inner);
        let Some(cursor) = cursor else { return Join::At(events.end()) };
        if cursor > events.iter().next_back().map_or(0, |event| event.seq) {
            return Join::Future;
        }
        // A capture need not be in the order of its seqs, so they are looked at one by one.
        let skip = events.iter().position(|event| event.seq > cursor);
        let at = skip.map_or(events.end(), |skip| events.first() + skip as u64);
        match events.oldest() {
            Some(oldest) if cursor.saturating_add(1) < oldest => Join::Outdated(at),
            _ => Join::At(at),
        }
    }

    /// Copies (by reference) events from a position on, up to `count` events and about `bytes`
    /// bytes, and returns the position behind them.
    pub fn read(&self, from: u64, count: usize, bytes: usize, out: &mut Vec<Bytes>) -> u64 {
        let events = self.events.read().unwrap_or_else(PoisonError::into_inner);
        let from = from.max(events.first());
        let skip = usize::try_from(from - events.first()).unwrap_or(usize::MAX);
        let mut taken = 0;
        let mut size = 0;
        for event in events.iter().skip(skip).take(count) {
            if size > bytes {
                break;
            }
            size += event.bytes.len();
            taken += 1;
            out.push(event.bytes.clone());
        }
        from + taken
    }
}

impl Events {
    fn first(&self) -> u64 {
        match self {
            Self::Made { dropped, .. } => *dropped,
            Self::Recorded { .. } => 0,
        }
    }

    /// The first number of the window.
    fn oldest(&self) -> Option<i64> {
        match self {
            Self::Made { kept, .. } => kept.front().map(|event| event.seq),
            Self::Recorded { oldest, .. } => Some(*oldest),
        }
    }

    fn end(&self) -> u64 {
        match self {
            Self::Made { dropped, kept, .. } => dropped + kept.len() as u64,
            Self::Recorded { come, .. } => *come as u64,
        }
    }

    fn iter(&self) -> impl DoubleEndedIterator<Item = &Event> {
        let (made, recorded) = match self {
            Self::Made { kept, .. } => (Some(kept.iter()), None),
            Self::Recorded { all, come, .. } => (None, Some(all.iter().take(*come))),
        };
        made.into_iter().flatten().chain(recorded.into_iter().flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(seq: i64) -> Event {
        Event { seq, bytes: Bytes::from(seq.to_string()) }
    }

    fn read(log: &Log, from: u64) -> Vec<i64> {
        let mut out = Vec::new();
        log.read(from, usize::MAX, usize::MAX, &mut out);
        out.iter().map(|bytes| std::str::from_utf8(bytes).unwrap().parse().unwrap()).collect()
    }

    #[test]
    fn cursors_are_exclusive_and_those_below_the_window_or_above_the_end_are_told() {
        let log = Log::new(10);
        assert_eq!(log.join(None), Join::At(0));
        assert_eq!(log.join(Some(0)), Join::At(0));
        assert_eq!(log.join(Some(1)), Join::Future);
        for seq in 1..=30 {
            log.push(event(seq), u64::MAX);
        }
        assert_eq!(log.join(Some(0)), Join::Outdated(20));
        assert_eq!(log.join(Some(19)), Join::Outdated(20));
        assert_eq!(log.join(Some(20)), Join::At(20));
        assert_eq!(log.join(Some(29)), Join::At(29));
        assert_eq!(log.join(Some(30)), Join::At(30));
        assert_eq!(log.join(Some(31)), Join::Future);
        assert_eq!(log.join(None), Join::At(30));
        assert_eq!(read(&log, 20), (21..=30).collect::<Vec<_>>());
        assert_eq!(read(&log, 29), [30]);
        assert_eq!(read(&log, 30), [0i64; 0]);
    }

    #[test]
    fn the_window_waits_for_the_slowest_subscriber() {
        let log = Log::new(2);
        for seq in 1..=10 {
            log.push(event(seq), 3);
        }
        assert_eq!(read(&log, 3), [4, 5, 6, 7, 8, 9, 10]);
        assert_eq!(log.join(Some(3)), Join::At(3));
    }

    #[test]
    fn a_host_that_lost_its_log_knows_no_cursor_from_before() {
        let log = Log::new(10);
        for seq in 1..=8 {
            log.push(event(seq), 0);
        }
        assert_eq!(log.restarts(), 0);
        log.restart();
        assert_eq!((log.restarts(), log.last_seq(), log.join(Some(8))), (1, 0, Join::Future));
        log.push(event(1), 0);
        assert_eq!((log.join(Some(8)), log.join(Some(0))), (Join::Future, Join::At(8)));
        assert_eq!(read(&log, 0), [1]);
    }

    #[test]
    fn a_capture_comes_as_it_is_let_and_its_seqs_may_jump() {
        let all: Arc<[Event]> = [5, 6, 90, 91].map(event).into();
        let log = Log::recorded(5, all);
        let end = log.end();
        assert_eq!((*end.borrow(), log.last_seq(), log.join(Some(5))), (0, 0, Join::Future));
        log.let_come(3);
        assert_eq!((*end.borrow(), log.last_seq()), (3, 90));
        assert_eq!(log.join(Some(0)), Join::Outdated(0));
        assert_eq!(log.join(Some(4)), Join::At(0));
        assert_eq!(log.join(Some(50)), Join::At(2));
        assert_eq!(log.join(Some(91)), Join::Future);
        log.let_come(2);
        assert_eq!(read(&log, 0), [5, 6, 90]);
        log.let_come(100);
        assert_eq!(read(&log, 2), [90, 91]);
    }
}
