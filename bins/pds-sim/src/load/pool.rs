//! The events that hosts send: made beforehand, with a blank for number and time.
//!
//! In an event's bytes the number is a CBOR integer of one to nine bytes and the time a text. In a
//! blank both have a fixed length, so that they are written in place: five bytes hold every number
//! from [`FIRST_SEQ`] to 2^32, and thirty a time to the nanosecond.

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use jiff::Timestamp;

/// The first number of every host: the least that takes five bytes of DAG-CBOR.
pub const FIRST_SEQ: u64 = 1 << 16;

/// As `2026-01-01T00:00:00.000000000Z`, of which this many bytes are the second and the point.
const TIME_BYTES: usize = 30;
const SECOND_BYTES: usize = 20;
const NS_PER_SECOND: u64 = 1_000_000_000;

/// CBOR: an unsigned integer in four bytes behind this one; a text whose length stands in the next.
const UINT_OF_4: u8 = 0x1a;
const TEXT_OF: u8 = 0x78;

/// An event without number and time.
struct Blank {
    bytes: Box<[u8]>,
    seq_at: usize,
    time_at: usize,
}

/// What hosts send.
enum Stock {
    /// All of them the same events, over and over, so that a few thousand are enough.
    Shared(Vec<Blank>),
    /// Each its own, each of them so many times in a row.
    Own(Vec<Box<[Blank]>>, u64),
}

/// The events.
pub struct Pool {
    stock: Stock,
    /// The second that was written last, and how: the calendar is asked once a second.
    second: u64,
    prefix: String,
}

impl Pool {
    /// A pool of these events, from which all hosts send.
    pub fn shared(events: impl Iterator<Item = Bytes>) -> Result<Self> {
        Self::of(Stock::Shared(blanks(events)?))
    }

    /// The events of each host, which it sends so many times in a row.
    pub fn own(hosts: impl Iterator<Item = Vec<Bytes>>, copies: u64) -> Result<Self> {
        let own = hosts.map(|events| Ok(blanks(events.into_iter())?.into()));
        Self::of(Stock::Own(own.collect::<Result<_>>()?, copies))
    }

    fn of(stock: Stock) -> Result<Self> {
        let is_empty = match &stock {
            Stock::Shared(blanks) => blanks.is_empty(),
            Stock::Own(hosts, _) => hosts.iter().all(|blanks| blanks.is_empty()),
        };
        ensure!(!is_empty, cli::usage("--load needs events to send: --backfill N"));
        Ok(Self { stock, second: u64::MAX, prefix: String::new() })
    }

    /// How many events each host has to send, where that has an end.
    pub fn events(&self) -> Option<impl Iterator<Item = u64>> {
        match &self.stock {
            Stock::Shared(_) => None,
            Stock::Own(hosts, copies) => {
                Some(hosts.iter().map(move |blanks| blanks.len() as u64 * copies))
            }
        }
    }

    /// How long the event is that a host sends at this position.
    pub fn bytes(&self, host: usize, position: u64) -> usize {
        self.blank(host, position).bytes.len()
    }

    /// Writes the event that a host sends at this position, at that time.
    pub fn put(&mut self, host: usize, position: u64, time_ns: u64, out: &mut Vec<u8>) {
        let (second, ns) = (time_ns / NS_PER_SECOND, time_ns % NS_PER_SECOND);
        if second != self.second {
            self.second = second;
            let at = i64::try_from(second).ok().and_then(|at| Timestamp::from_second(at).ok());
            let at = at.unwrap_or(Timestamp::UNIX_EPOCH);
            self.prefix = format!("{at:.0}").replace('Z', ".");
        }
        let begin = out.len();
        let blank = self.blank(host, position);
        out.extend_from_slice(&blank.bytes);
        let seq = u32::try_from(FIRST_SEQ + position).unwrap_or(u32::MAX);
        let (seq_at, time_at) = (begin + blank.seq_at, begin + blank.time_at);
        out[seq_at..seq_at + 4].copy_from_slice(&seq.to_be_bytes());
        let (whole, part) = out[time_at..time_at + TIME_BYTES].split_at_mut(SECOND_BYTES);
        whole.copy_from_slice(self.prefix.as_bytes());
        let mut rest = ns;
        for digit in part[..9].iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
    }

    fn blank(&self, host: usize, position: u64) -> &Blank {
        let (blanks, number) = match &self.stock {
            // Hosts begin at different places, so that the same event is not everywhere at once.
            Stock::Shared(blanks) => {
                (&blanks[..], (host as u64).wrapping_mul(7919).wrapping_add(position))
            }
            Stock::Own(hosts, copies) => (&*hosts[host], position / copies),
        };
        &blanks[(number % blanks.len() as u64) as usize]
    }
}

fn blanks(events: impl Iterator<Item = Bytes>) -> Result<Vec<Blank>> {
    events.map(|event| Blank::of(&event).context("an event without number or time")).collect()
}

impl Blank {
    fn of(event: &[u8]) -> Option<Self> {
        const SEQ: &[u8] = b"\x63seq";
        const TIME: &[u8] = b"\x64time";
        // In a path the same letters can occur; what would follow there is a letter too.
        let seq_at = find(event, SEQ, |behind| behind.first().is_some_and(|head| *head < 0x1c))?;
        let seq_bytes = match event.get(seq_at)? {
            0x18 => 2,
            0x19 => 3,
            0x1a => 5,
            0x1b => 9,
            _ => 1,
        };
        let time_at =
            find(event, TIME, |behind| matches!(behind, [TEXT_OF, length, ..] if *length < 0x20))?;
        let time_bytes = 2 + usize::from(*event.get(time_at + 1)?);
        let mut bytes = Vec::with_capacity(event.len() + 16);
        bytes.extend_from_slice(event.get(..seq_at)?);
        bytes.push(UINT_OF_4);
        let seq_blank = bytes.len();
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(event.get(seq_at + seq_bytes..time_at)?);
        bytes.extend_from_slice(&[TEXT_OF, TIME_BYTES as u8]);
        let time_blank = bytes.len();
        bytes.extend_from_slice(&[b'Z'; TIME_BYTES]);
        bytes.extend_from_slice(event.get(time_at + time_bytes..)?);
        Some(Self { bytes: bytes.into(), seq_at: seq_blank, time_at: time_blank })
    }
}

/// Where a key's value stands, if what stands there can be one.
fn find(event: &[u8], key: &[u8], is_value: impl Fn(&[u8]) -> bool) -> Option<usize> {
    let places = event.windows(key.len()).enumerate().filter(|(_, window)| *window == key);
    let mut values = places.map(|(at, _)| at + key.len());
    values.find(|at| event.get(*at..).is_some_and(&is_value))
}

#[cfg(test)]
mod tests {
    use ipld_core::ipld::Ipld;
    use serde::Deserialize;

    use super::*;
    use crate::events::Draft;

    /// Header and body of an event.
    fn read(event: &[u8]) -> (Ipld, Ipld) {
        let mut de = serde_ipld_dagcbor::de::Deserializer::from_slice(event);
        (Ipld::deserialize(&mut de).unwrap(), Ipld::deserialize(&mut de).unwrap())
    }

    fn fields(event: &[u8]) -> (i128, String) {
        let (_, body) = read(event);
        match (body.get("seq").unwrap().unwrap(), body.get("time").unwrap().unwrap()) {
            (Ipld::Integer(seq), Ipld::String(time)) => (*seq, time.clone()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_number_and_time_are_other_than_in_the_event_that_was_made() {
        // A name with the letters of both keys in it.
        let draft = Draft::Identity { did: "did:plc:cseqdtime".into(), handle: "a.test".into() };
        for seq in [1, 200, 4_000, 70_000, 5_000_000_000] {
            let made = draft.encode(seq, "2026-01-01T00:00:00.000Z").unwrap();
            let mut pool = Pool::shared(std::iter::once(made.clone())).unwrap();
            let mut sent = b"before".to_vec();
            let ns = 1_767_225_600_000_000_000 + 86_399_987_654_321;
            pool.put(3, 10, ns, &mut sent);
            assert_eq!(sent.len(), 6 + pool.bytes(3, 10));
            let sent = &sent[6..];
            assert_eq!(fields(sent), (65_546, "2026-01-01T23:59:59.987654321Z".to_owned()));
            let (mut left, mut right) = (read(&made), read(sent));
            for side in [&mut left, &mut right] {
                let Ipld::Map(map) = &mut side.1 else { panic!() };
                assert!(map.remove("seq").is_some() && map.remove("time").is_some());
            }
            assert_eq!(left, right);
        }
    }

    #[test]
    fn the_second_is_written_anew_when_it_changes() {
        let draft = Draft::Account { did: "did:plc:a".into(), active: true, status: None };
        let made = draft.encode(1, "2026-01-01T00:00:00.000Z").unwrap();
        let mut pool = Pool::shared(std::iter::once(made)).unwrap();
        for (ns, text) in [
            (NS_PER_SECOND - 1, "1970-01-01T00:00:00.999999999Z"),
            (NS_PER_SECOND, "1970-01-01T00:00:01.000000000Z"),
        ] {
            let mut sent = Vec::new();
            pool.put(0, 0, ns, &mut sent);
            assert_eq!(fields(&sent), (65_536, text.to_owned()));
        }
    }
}
