//! What a host has sent: the times of its events, from which they are made again.

use super::pool::FIRST_SEQ;

/// Where a subscriber begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Join {
    /// At this position.
    At(u64),
    /// At this position, though the cursor asked for more.
    Outdated(u64),
    /// Nowhere: the cursor is above everything that was sent.
    Future,
}

/// A host.
#[derive(Default)]
pub struct Host {
    /// When each of its events came to be, ns since 1970.
    times: Vec<u64>,
    /// The connections of its subscribers.
    pub peers: Vec<usize>,
    /// It is in the list of those that have something to send.
    pub is_due: bool,
    /// It ever had a subscriber.
    pub met: bool,
    /// It is away: nobody gets in.
    pub is_away: bool,
    /// The position up to which a subscriber that left had been sent everything.
    pub delivered: u64,
}

impl Host {
    /// Events so far.
    pub fn len(&self) -> u64 {
        self.times.len() as u64
    }

    /// An event comes to be.
    pub fn say(&mut self, time_ns: u64) {
        self.times.push(time_ns);
    }

    /// When the event at this position came to be.
    pub fn time(&self, position: u64) -> Option<u64> {
        usize::try_from(position).ok().and_then(|at| self.times.get(at)).copied()
    }

    /// Where a subscriber with this cursor begins; without one it begins behind the last event.
    pub fn join(&self, cursor: Option<u64>) -> Join {
        let Some(cursor) = cursor else { return Join::At(self.len()) };
        let last = if self.times.is_empty() { 0 } else { FIRST_SEQ + self.len() - 1 };
        if cursor > last {
            return Join::Future;
        }
        let next = cursor + 1;
        match next < FIRST_SEQ && !self.times.is_empty() {
            true => Join::Outdated(0),
            false => Join::At(next.saturating_sub(FIRST_SEQ)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_exclusive_and_those_below_the_window_or_above_the_end_are_told() {
        let mut host = Host::default();
        assert_eq!(host.join(None), Join::At(0));
        assert_eq!(host.join(Some(0)), Join::At(0));
        assert_eq!(host.join(Some(1)), Join::Future);
        (0..3).for_each(|ns| host.say(ns));
        assert_eq!(host.join(None), Join::At(3));
        assert_eq!(host.join(Some(0)), Join::Outdated(0));
        assert_eq!(host.join(Some(FIRST_SEQ - 1)), Join::At(0));
        assert_eq!(host.join(Some(FIRST_SEQ)), Join::At(1));
        assert_eq!(host.join(Some(FIRST_SEQ + 2)), Join::At(3));
        assert_eq!(host.join(Some(FIRST_SEQ + 3)), Join::Future);
        assert_eq!((host.time(2), host.time(3)), (Some(2), None));
    }
}
