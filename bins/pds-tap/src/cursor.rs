//! Where a host's stream stands, and from where it is asked for again.
//!
//! The rules are the network's as they are: servers differ on whether `cursor=N` includes N, a
//! host that restarts begins at seq 1 again, and what is older than a host's window is gone.

use std::time::{Duration, Instant};

/// Where a host without a cursor of its own is joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// At whatever comes next. If nothing has come when the connection is lost, at 0: what the host
    /// has said since is somewhere in its window, which is short for a host so quiet.
    Live,
    /// At whatever comes next, each time. For relays, whose window is that of the whole network.
    LiveAgain,
    /// Behind this seq; 0 is the beginning of the host's window.
    Behind(u64),
}

/// How long a host may say that our cursor is in its future before that is believed: a host that
/// is being restored from a backup says so too, for a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    pub(crate) times: u32,
    pub(crate) span: Duration,
}

/// What an event's seq says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It is the next one.
    New {
        /// The first of this host ever: from here on it has a cursor.
        first: bool,
        /// It ends a hole that began behind this seq.
        hole: Option<u64>,
        /// It is not the one after the last.
        jump: bool,
    },
    /// It is not above the last one. `back` when the host itself goes back, beyond what an
    /// inclusive cursor explains.
    Stale { back: bool },
}

/// What `FutureCursor` comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Future {
    /// It may pass: ask again.
    Again,
    /// It has lasted: the host has begun anew, and so has its cursor.
    Anew,
}

/// The cursor of one host.
#[derive(Clone, Debug)]
pub(crate) struct Cursor {
    epoch: u32,
    /// The last seq that was handed on in this epoch, or that the archive has.
    seq: Option<u64>,
    start: Start,
    /// The host has been listened to, though perhaps nothing came.
    listened: bool,
    /// What the present connection was asked for, and the last seq that it brought.
    asked: Option<u64>,
    brought: Option<u64>,
    /// The host has said that what follows `seq` is gone.
    hole: bool,
    /// Since when and how often it has said that `seq` is in its future.
    future: Option<(Instant, u32)>,
}

impl Cursor {
    /// A host that nothing is known of.
    pub(crate) fn new(start: Start) -> Self {
        Self {
            epoch: 0,
            seq: None,
            start,
            listened: false,
            asked: None,
            brought: None,
            hole: false,
            future: None,
        }
    }

    /// A host of which everything up to a seq of an epoch is stored; 0 if it had said nothing.
    pub(crate) fn resumed(epoch: u32, seq: u64) -> Self {
        Self { epoch, seq: (seq > 0).then_some(seq), ..Self::new(Start::Behind(0)) }
    }

    /// The epoch, which counts how often the host has begun anew.
    pub(crate) fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The last seq handed on, if there is one.
    pub(crate) fn seq(&self) -> Option<u64> {
        self.seq
    }

    /// Up to which seq everything has been handed on. For a host that was joined live and has said
    /// nothing it is 0: whoever goes on from there asks for its window, as after a break.
    pub(crate) fn mark(&self) -> Option<u64> {
        let is_silent = self.listened && self.start == Start::Live;
        self.seq.or(is_silent.then_some(0))
    }

    /// A connection is about to be made: what to ask for, `None` for live.
    pub(crate) fn join(&mut self) -> Option<u64> {
        self.asked = match (self.seq, self.start) {
            (Some(seq), _) => Some(seq),
            (None, Start::Behind(seq)) => Some(seq),
            (None, Start::Live) if self.listened => Some(0),
            (None, Start::Live | Start::LiveAgain) => None,
        };
        self.brought = None;
        self.hole = false;
        self.asked
    }

    /// The connection stands.
    pub(crate) fn listening(&mut self) {
        self.listened = true;
    }

    /// An event has come.
    pub(crate) fn take(&mut self, seq: u64) -> Seen {
        let last = self.brought.max(self.asked);
        if last.is_some_and(|last| seq <= last) {
            return Seen::Stale { back: self.brought.is_some() || Some(seq) < self.asked };
        }
        let seen = Seen::New {
            first: self.seq.is_none(),
            hole: self.seq.filter(|last| self.hole && seq > last + 1),
            jump: self.brought.is_some_and(|last| seq != last + 1),
        };
        self.hole = false;
        self.future = None;
        self.seq = Some(seq);
        self.brought = Some(seq);
        seen
    }

    /// `OutdatedCursor`: what follows the cursor is gone. That is a hole, behind the seq given
    /// back, unless the cursor only asked for as much as there is.
    pub(crate) fn outdated(&mut self) -> Option<u64> {
        self.hole = self.seq.is_some();
        self.seq
    }

    /// `FutureCursor`: the host hasn't come as far as the cursor.
    pub(crate) fn future(&mut self, now: Instant, patience: Patience) -> Future {
        let (since, times) = self.future.map_or((now, 1), |(since, times)| (since, times + 1));
        self.future = Some((since, times));
        if times < patience.times || now.saturating_duration_since(since) < patience.span {
            return Future::Again;
        }
        // A cursor that was given by hand is not of the host: there is no epoch to end.
        self.epoch += u32::from(self.seq.is_some());
        self.seq = None;
        self.start = Start::Behind(0);
        self.future = None;
        Future::Anew
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience { times: 3, span: Duration::from_secs(120) };
    const NEW: Seen = Seen::New { first: false, hole: None, jump: false };
    const FIRST: Seen = Seen::New { first: true, hole: None, jump: false };

    #[test]
    fn a_new_host_is_joined_live_and_then_behind_what_it_said() {
        let mut cursor = Cursor::new(Start::Live);
        assert_eq!(cursor.join(), None);
        cursor.listening();
        assert_eq!(cursor.take(70), FIRST);
        assert_eq!(cursor.take(71), NEW);
        assert_eq!(cursor.take(75), Seen::New { first: false, hole: None, jump: true });
        assert_eq!(cursor.join(), Some(75));
    }

    #[test]
    fn a_host_that_was_silent_is_asked_for_its_window_after_a_break() {
        let mut cursor = Cursor::new(Start::Live);
        cursor.join();
        assert_eq!(cursor.join(), None, "it was never reached");
        cursor.listening();
        assert_eq!(cursor.join(), Some(0));
        let mut relay = Cursor::new(Start::LiveAgain);
        relay.join();
        relay.listening();
        assert_eq!(relay.join(), None);
    }

    #[test]
    fn a_host_that_was_silent_has_a_mark_and_goes_on_at_its_beginning_without_a_hole() {
        let mut cursor = Cursor::new(Start::Live);
        cursor.join();
        assert_eq!(cursor.mark(), None, "it was never reached");
        cursor.listening();
        assert_eq!(cursor.mark(), Some(0));
        let mut relay = Cursor::new(Start::LiveAgain);
        relay.listening();
        assert_eq!(relay.mark(), None);
        let mut resumed = Cursor::resumed(0, 0);
        assert_eq!(resumed.join(), Some(0));
        assert_eq!(resumed.outdated(), None);
        assert_eq!(resumed.take(8), FIRST);
        assert_eq!(resumed.mark(), Some(8));
    }

    #[test]
    fn an_inclusive_cursor_is_no_going_back() {
        let mut cursor = Cursor::resumed(0, 50);
        assert_eq!(cursor.join(), Some(50));
        assert_eq!(cursor.take(50), Seen::Stale { back: false });
        assert_eq!(cursor.take(51), NEW);
        assert_eq!(cursor.take(51), Seen::Stale { back: true });
        assert_eq!(cursor.take(1), Seen::Stale { back: true });
        assert_eq!(cursor.seq(), Some(51));
        cursor.join();
        assert_eq!(cursor.take(7), Seen::Stale { back: true });
    }

    #[test]
    fn the_whole_window_is_no_hole_and_a_lost_one_is() {
        let mut cursor = Cursor::new(Start::Behind(0));
        assert_eq!(cursor.join(), Some(0));
        assert_eq!(cursor.outdated(), None);
        assert_eq!(cursor.take(900), FIRST);
        cursor.join();
        assert_eq!(cursor.outdated(), Some(900));
        assert_eq!(cursor.take(2000), Seen::New { first: false, hole: Some(900), jump: false });
        assert_eq!(cursor.take(2001), NEW);
    }

    #[test]
    fn a_hole_that_nothing_ended_is_told_again() {
        let mut cursor = Cursor::resumed(0, 900);
        cursor.join();
        assert_eq!(cursor.outdated(), Some(900));
        cursor.join();
        assert_eq!(cursor.take(901), NEW, "this time the host had it");
        cursor.join();
        assert_eq!(cursor.outdated(), Some(901));
        assert_eq!(cursor.take(902), NEW, "nothing is missing");
    }

    #[test]
    fn a_host_begins_anew_only_when_it_has_said_so_for_a_while() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut cursor = Cursor::resumed(2, 900);
        cursor.join();
        for seconds in [0, 1, 60, 119] {
            assert_eq!(cursor.future(after(seconds), PATIENCE), Future::Again);
        }
        assert_eq!(cursor.future(after(121), PATIENCE), Future::Anew);
        assert_eq!((cursor.epoch(), cursor.seq(), cursor.join()), (3, None, Some(0)));
        assert_eq!(cursor.take(1), FIRST);
    }

    #[test]
    fn an_event_ends_the_talk_of_the_future() {
        let start = Instant::now();
        let mut cursor = Cursor::resumed(0, 900);
        cursor.join();
        assert_eq!(cursor.future(start, PATIENCE), Future::Again);
        cursor.join();
        assert_eq!(cursor.take(901), NEW);
        let later = start + Duration::from_secs(1000);
        assert_eq!(cursor.future(later, PATIENCE), Future::Again);
    }
}
