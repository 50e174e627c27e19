//! Captures of real hosts: events exactly as they came off a socket, each behind a big-endian u32
//! length, as they are or zstd-compressed. They are served as they are; of what is inside only
//! number, time and account are looked at, and an event that cannot be read is served all the
//! same, under the number of the one before it.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use ipld_core::cid::Cid;
use serde::Deserialize;
use serde_ipld_dagcbor::de::Deserializer;

use crate::clock::parse_iso;
use crate::host::{Account, Summary};
use crate::log::Event;

/// The first bytes of a zstd frame.
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// The fields that matter here, of events of any type.
#[derive(Debug, Default, Deserialize)]
struct Body<'a> {
    seq: Option<i64>,
    did: Option<&'a str>,
    repo: Option<&'a str>,
    rev: Option<&'a str>,
    time: Option<&'a str>,
    commit: Option<Cid>,
    active: Option<bool>,
    status: Option<&'a str>,
}

/// A recorded event.
pub struct Recorded {
    /// Number and bytes.
    pub event: Event,
    /// When its host sent it, microseconds since 1970; 0 if it does not say.
    pub sent_us: u64,
    /// Number of its account in the capture.
    pub account: usize,
}

/// A capture in memory.
pub struct Capture {
    /// In the order of the file.
    pub events: Vec<Recorded>,
    /// DID of each account (none for events without one), and how it stands at the end.
    accounts: Vec<(String, Summary)>,
}

impl Capture {
    /// Reads a capture whole.
    pub fn read(path: &Path) -> Result<Self> {
        let at = || format!("{}: cannot read the capture", path.display());
        let mut bytes = std::fs::read(path).with_context(at)?;
        if bytes.starts_with(&ZSTD) {
            let mut plain = Vec::new();
            zstd::stream::read::Decoder::new(&bytes[..])
                .and_then(|mut decoder| decoder.read_to_end(&mut plain))
                .with_context(at)?;
            bytes = plain;
        }
        Self::parse(bytes.into()).with_context(at)
    }

    fn parse(bytes: Bytes) -> Result<Self> {
        let mut capture = Self { events: Vec::new(), accounts: Vec::new() };
        let mut numbers = HashMap::new();
        let mut at = 0;
        let mut seq = 0;
        while at < bytes.len() {
            let length = bytes.get(at..at + 4).and_then(|length| length.try_into().ok());
            let length = length.map_or(usize::MAX, |length| u32::from_be_bytes(length) as usize);
            let start = at + 4;
            ensure!(
                length <= bytes.len().saturating_sub(start),
                "offset {at}: an event is cut off; was the capture copied whole?"
            );
            let event = bytes.slice(start..start + length);
            let body = body_of(&event).unwrap_or_default();
            seq = body.seq.unwrap_or(seq);
            let did = body.did.or(body.repo).unwrap_or_default();
            let account = *numbers.entry(did.to_owned()).or_insert_with(|| {
                capture.accounts.push((did.to_owned(), Summary::default()));
                capture.accounts.len() - 1
            });
            capture.accounts[account].1.note(&body);
            let sent_us = body.time.and_then(parse_iso).unwrap_or(0);
            let event = Event { seq, bytes: event.clone() };
            capture.events.push(Recorded { event, sent_us, account });
            at = start + length;
        }
        Ok(capture)
    }

    /// The accounts as they stand at the end, with their numbers.
    pub fn accounts(&self) -> impl Iterator<Item = (usize, String, Account)> {
        let accounts = self.accounts.iter().enumerate().filter(|(_, (did, _))| !did.is_empty());
        accounts.map(|(number, (did, summary))| {
            (number, did.clone(), Account::Recorded(Arc::new(summary.clone())))
        })
    }
}

impl Summary {
    /// Keeps what an event says.
    fn note(&mut self, body: &Body<'_>) {
        if let (Some(commit), Some(rev)) = (body.commit, body.rev) {
            self.head = commit.to_string();
            self.rev = rev.to_owned();
        }
        if let Some(active) = body.active {
            self.active = active;
            self.status = body.status.map(str::to_owned);
        }
    }
}

/// The fields of an event; nothing if it cannot be read.
fn body_of(event: &[u8]) -> Option<Body<'_>> {
    let mut rest = Deserializer::from_slice(event);
    serde::de::IgnoredAny::deserialize(&mut rest).ok()?;
    Body::deserialize(&mut rest).ok()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn the_recorded_network_is_read_event_by_event() {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("../../tests/fixtures/refnet/firehose.u32be.zst");
        let capture = Capture::read(&path).unwrap();
        assert!(capture.events.len() > 500);
        for (number, event) in capture.events.iter().enumerate() {
            assert_eq!(event.event.seq, number as i64 + 1);
            assert!(event.sent_us > 1_700_000_000_000_000);
            assert!(capture.accounts[event.account].0.starts_with("did:plc:"));
        }
        let accounts: Vec<_> = capture.accounts().collect();
        assert_eq!(accounts.len(), capture.accounts.len());
        assert!(accounts.iter().all(|(_, _, account)| account.summary().head.starts_with("bafy")));
    }

    #[test]
    fn an_unreadable_event_is_kept_and_a_torn_one_is_an_error() {
        let mut bytes = Vec::new();
        for event in [&b"\xff\xff"[..], b"", b"abc"] {
            bytes.extend((event.len() as u32).to_be_bytes());
            bytes.extend(event);
        }
        let capture = Capture::parse(bytes.clone().into()).unwrap();
        let events: Vec<_> = capture.events.iter().map(|event| &event.event.bytes[..]).collect();
        assert_eq!(events, [&b"\xff\xff"[..], b"", b"abc"]);
        bytes.pop();
        let error = Capture::parse(bytes.into()).err().unwrap().to_string();
        assert!(error.starts_with("offset 10: "), "{error}");
    }
}
