//! The time of the simulated network, and what the protocol makes of time: TIDs and ISO strings.
//!
//! Time never stands still: each event has its own microsecond, so every rev is above the last.
//! With a fixed start the clock counts steps and does not look at the wall, so that a seed gives
//! the same bytes on every run.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

/// Where the time of an event comes from.
#[derive(Clone, Copy)]
enum Source {
    /// So many microseconds after the event before.
    Steps(u64),
    /// The wall clock.
    Wall,
}

/// A clock in microseconds since 1970.
pub struct Clock {
    last_us: u64,
    source: Source,
    fixed: bool,
}

impl Clock {
    /// A clock that counts `step_us` an event from `start_us` on. Unless `fixed`, it changes to
    /// the wall clock when the network goes live ([`Clock::go_live`]).
    pub fn new(start_us: u64, step_us: u64, fixed: bool) -> Self {
        Self { last_us: start_us, source: Source::Steps(step_us.max(1)), fixed }
    }

    /// From here on events are made when they are served.
    pub fn go_live(&mut self) {
        if !self.fixed {
            self.source = Source::Wall;
        }
    }

    /// The time of the next thing that happens.
    pub fn tick(&mut self) -> u64 {
        self.last_us = match self.source {
            Source::Steps(step) => self.last_us + step,
            Source::Wall => now_us().max(self.last_us + 1),
        };
        self.last_us
    }

    /// A whole millisecond that nothing before has seen: for operations of the directory, whose
    /// times are cut to milliseconds and must still fall between the right revs.
    pub fn next_ms(&mut self) -> u64 {
        self.last_us = self.tick().next_multiple_of(1000) + 1000;
        self.last_us
    }
}

/// Microseconds since 1970 by the wall.
pub fn now_us() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX)
}

/// ISO time to the millisecond, as servers of the network write it.
pub fn iso(us: u64) -> String {
    let ms = i64::try_from(us / 1000).unwrap_or(i64::MAX);
    let time = Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH);
    format!("{time:.3}")
}

/// Microseconds since 1970 of an ISO time.
pub fn parse_iso(text: &str) -> Option<u64> {
    let time: Timestamp = text.trim().parse().ok()?;
    u64::try_from(time.as_microsecond()).ok()
}

/// A TID: 53 bits of microseconds and 10 bits that tell writers apart, in the base32 alphabet
/// that sorts.
pub fn tid(us: u64, writer: u16) -> String {
    const ALPHABET: &[u8; 32] = b"234567abcdefghijklmnopqrstuvwxyz";
    let value = (us & ((1 << 53) - 1)) << 10 | u64::from(writer & 0x3ff);
    (0..13).rev().map(|digit| char::from(ALPHABET[(value >> (digit * 5) & 31) as usize])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tids_of_the_official_server_come_out_again() {
        // Rev and time of an event of the recorded network.
        let us = parse_iso("2026-11-23T11:11:23.993Z").unwrap();
        let tid = tid(us, 0);
        assert_eq!(tid.len(), 13);
        assert_eq!(tid[..7], "3n2xyns4w5f2n"[..7]);
    }

    #[test]
    fn tids_sort_as_their_times() {
        let mut clock = Clock::new(1_700_000_000_000_000, 1, true);
        let tids: Vec<String> = (0..5000).map(|_| tid(clock.tick(), 7)).collect();
        assert!(tids.is_sorted());
    }

    #[test]
    fn times_are_written_to_the_millisecond_and_read_back() {
        assert_eq!(iso(1_700_000_000_120_999), "2023-11-14T22:13:20.120Z");
        assert_eq!(iso(1_700_000_000_000_000), "2023-11-14T22:13:20.000Z");
        assert_eq!(parse_iso("2023-11-14T22:13:20.120Z"), Some(1_700_000_000_120_000));
        assert_eq!(parse_iso("yesterday"), None);
    }

    #[test]
    fn an_operation_of_the_directory_falls_between_the_revs_around_it() {
        let mut clock = Clock::new(1_700_000_000_000_000, 3, true);
        for _ in 0..1000 {
            let before = clock.tick();
            let operation = clock.next_ms();
            assert!(operation.is_multiple_of(1000) && before / 1000 < operation / 1000);
            assert!(clock.tick() > operation);
        }
    }
}
