//! The end of the pipe: every event known by host and seq, and how old it was when it came.

use std::collections::{HashMap, VecDeque};
use std::io::Read;
use std::process::ChildStdout;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use frame::{Decoder, Item, Kind};

/// What is read at once: as much as the pipe holds.
const READ_BYTES: usize = 1 << 20;

/// In an event: the key `time`, and a text of 30 bytes.
const TIME_KEY: &[u8] = b"\x64time\x78\x1e";
const TIME_BYTES: usize = 30;
const NS_PER_SECOND: u64 = 1_000_000_000;

/// A reader at work.
pub(super) struct Reader {
    count: Arc<AtomicU64>,
    thread: JoinHandle<Received>,
}

/// What came.
#[derive(Debug, Default)]
pub(super) struct Received {
    pub(super) events: u64,
    pub(super) bytes: u64,
    pub(super) duplicates: u64,
    /// Events that came behind a later one of their host.
    pub(super) backward: u64,
    pub(super) hosts: HashMap<String, Came>,
    /// From the host's send to here, and from the tap's receipt to here.
    pub(super) latency: Latency,
    pub(super) inside: Latency,
}

/// The events of a host that came.
#[derive(Debug, Default)]
pub(super) struct Came {
    /// A bit for each seq, from the word of the least one on.
    words: VecDeque<u64>,
    least: u64,
    last: u64,
}

impl Came {
    /// Whether this one is the first of that seq.
    fn take(&mut self, seq: u64) -> bool {
        let (word, bit) = (seq / 64, 1 << (seq % 64));
        if self.words.is_empty() {
            self.least = word;
        }
        while word < self.least {
            self.words.push_front(0);
            self.least -= 1;
        }
        let at = (word - self.least) as usize;
        if at >= self.words.len() {
            self.words.resize(at + 1, 0);
        }
        let first = self.words[at] & bit == 0;
        self.words[at] |= bit;
        first
    }

    /// How many came.
    pub(super) fn distinct(&self) -> u64 {
        self.words.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// How many came of those from one seq up to another.
    pub(super) fn between(&self, first: u64, end: u64) -> u64 {
        let is_there = |seq: &u64| {
            let at = (seq / 64).checked_sub(self.least);
            let word = at.and_then(|at| self.words.get(at as usize)).copied().unwrap_or(0);
            word & (1 << (seq % 64)) != 0
        };
        (first..end).filter(is_there).count() as u64
    }
}

/// Times that things took, in microseconds, each of them kept.
#[derive(Debug, Default, Clone)]
pub struct Latency(Vec<u32>);

impl Latency {
    fn push(&mut self, ns: u64) {
        self.0.push(u32::try_from(ns / 1000).unwrap_or(u32::MAX));
    }

    fn sort(&mut self) {
        self.0.sort_unstable();
    }

    /// The time in ms that this share of all did not exceed.
    pub(super) fn percentile(&self, share: f64) -> f64 {
        let last = self.0.len().saturating_sub(1);
        let rank = (share * self.0.len() as f64).ceil() as usize;
        let at = rank.saturating_sub(1).min(last);
        self.0.get(at).map_or(0.0, |us| f64::from(*us) / 1000.0)
    }
}

impl Reader {
    /// Reads this output to its end.
    pub(super) fn start(output: ChildStdout, hosts: usize) -> Reader {
        let count = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&count);
        let thread = std::thread::spawn(move || read(output, &counted, hosts));
        Reader { count, thread }
    }

    /// Events so far.
    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// All that came, once the output has ended.
    pub(super) fn finish(self) -> Received {
        self.thread.join().expect("the reader ends with the output")
    }
}

fn read(mut output: ChildStdout, count: &AtomicU64, hosts: usize) -> Received {
    let mut decoder = Decoder::default();
    let mut received = Received::default();
    let mut came: Vec<(String, Came)> = Vec::with_capacity(hosts + 1);
    let mut clock = Clock::default();
    let mut buffer = vec![0; 2 * READ_BYTES];
    let (mut begin, mut end, mut ended) = (0, 0, false);
    loop {
        if begin > 0 {
            buffer.copy_within(begin..end, 0);
            (begin, end) = (0, end - begin);
        }
        if buffer.len() - end < READ_BYTES {
            buffer.resize(buffer.len() * 2, 0);
        }
        let bytes = output.read(&mut buffer[end..]).expect("the output of pds-tap");
        if bytes == 0 {
            break;
        }
        end += bytes;
        received.bytes += bytes as u64;
        let now = now_ns();
        while let Some((item, bytes)) = decoder.next(&buffer[begin..end]).expect("frames") {
            begin += bytes;
            let Item::Frame(frame) = item else { continue };
            let header = frame.header;
            let id = header.host.0 as usize;
            match header.kind {
                Kind::HOST => {
                    came.resize_with(came.len().max(id + 1), Default::default);
                    came[id].0 = frame::host::read(&frame).expect("a host frame").name.into();
                }
                Kind::EVENT => {
                    let host = &mut came[id].1;
                    received.events += 1;
                    received.duplicates += u64::from(!host.take(header.seq));
                    received.backward += u64::from(header.seq < host.last);
                    host.last = header.seq;
                    received.inside.push(now.saturating_sub(header.time_ns));
                    let sent = clock.sent_ns(frame.body()).expect("the time in an event");
                    received.latency.push(now.saturating_sub(sent));
                }
                Kind::END => ended = true,
                _ => {}
            }
        }
        count.store(received.events, Ordering::Relaxed);
    }
    assert!(ended && begin == end, "the stream is torn");
    received.latency.sort();
    received.inside.sort();
    received.hosts = came.into_iter().filter(|(name, _)| !name.is_empty()).collect();
    received
}

/// Reads times: the calendar is asked once a day.
#[derive(Default)]
struct Clock {
    day: [u8; 10],
    day_ns: u64,
}

impl Clock {
    /// When an event says that it came to be, ns since 1970.
    fn sent_ns(&mut self, event: &[u8]) -> Option<u64> {
        let at = event.windows(TIME_KEY.len()).position(|window| window == TIME_KEY)?;
        let text = event.get(at + TIME_KEY.len()..)?.get(..TIME_BYTES)?;
        let day = text.first_chunk::<10>()?;
        if *day != self.day {
            (self.day, self.day_ns) = (*day, days(day)? * 86_400 * NS_PER_SECOND);
        }
        let number = |range: std::ops::Range<usize>| {
            std::str::from_utf8(text.get(range)?).ok()?.parse::<u64>().ok()
        };
        let seconds = number(11..13)? * 3600 + number(14..16)? * 60 + number(17..19)?;
        Some(self.day_ns + seconds * NS_PER_SECOND + number(20..29)?)
    }
}

/// Days from 1970 to a date of this century.
fn days(date: &[u8; 10]) -> Option<u64> {
    let number = |range: std::ops::Range<usize>| {
        std::str::from_utf8(date.get(range)?).ok()?.parse::<u64>().ok()
    };
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    // March is the first month, so that a leap day is the last of a year.
    let (year, month) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
    let before = year * 365 + year / 4 - year / 100 + year / 400;
    Some(before + (153 * month + 2) / 5 + day - 1 - 719_468)
}

fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    u64::try_from(since.as_nanos()).expect("before 2554")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_written() {
        let mut event = b"..cseq..".to_vec();
        event.extend_from_slice(TIME_KEY);
        event.extend_from_slice(b"2026-03-01T00:00:01.000000002Z..");
        assert_eq!(Clock::default().sent_ns(&event), Some(1_772_323_201_000_000_002));
        assert_eq!(Clock::default().sent_ns(b"nothing"), None);
    }

    #[test]
    fn an_event_that_comes_twice_is_known() {
        let mut came = Came::default();
        let taken = [65_536, 65_700, 65_536, 65_000, 65_000].map(|seq| came.take(seq));
        assert_eq!(taken, [true, true, false, true, false]);
        assert_eq!((came.distinct(), came.between(65_536, 65_701)), (3, 2));
        assert_eq!((came.between(65_537, 65_700), came.between(0, 100)), (0, 0));
    }

    #[test]
    fn percentiles_are_of_all_that_was_kept() {
        let mut latency = Latency::default();
        (1..=1000).rev().for_each(|us| latency.push(us * 1000));
        latency.sort();
        let found = [0.5, 0.99, 0.999, 1.0].map(|share| latency.percentile(share));
        assert_eq!(found, [0.5, 0.99, 0.999, 1.0]);
    }
}
