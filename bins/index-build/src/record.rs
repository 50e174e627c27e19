//! An operation as it is kept until its account is worked out.
//!
//! ```text
//! offset size name
//!      0    1 flags  bits 0..2 key: 0 missing, 1 of unknown type, 2 given up, 3 known; 4 there is
//!                    a prev; 8 there is a host
//!      1   15 did
//!     16   16 id     the first half of its CID's SHA-256
//!     32    6 time   createdAt, unix ms
//!          16 prev   the id of the operation that it follows, if there is one
//!          34 key    curve and point, if it is known
//!           4 host   number, if there is one
//! ```
//!
//! These bytes live as long as their process and are read by nobody else.

use didindex::{KEY_BYTES, Key, PlcDid};
use plc::Operation;
use plc::chain::Link;

use crate::hosts::Hosts;

/// Longest record.
pub(crate) const RECORD_BYTES_MAX: usize =
    1 + PlcDid::BYTES + 2 * ID_BYTES + TIME_BYTES + KEY_BYTES + 4;

const ID_BYTES: usize = 16;
const TIME_BYTES: usize = 6;
const KEY_MASK: u8 = 3;
const KEY_KNOWN: u8 = 3;
const FLAG_PREV: u8 = 4;
const FLAG_HOST: u8 = 8;

/// What names an operation: half of its CID's SHA-256. Two operations that share it take 2^64
/// attempts to make, and would harm the one account that both belong to.
pub(crate) type Id = [u8; ID_BYTES];

/// An operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) did: PlcDid,
    pub(crate) id: Id,
    pub(crate) prev: Option<Id>,
    pub(crate) created_ms: u64,
    pub(crate) key: Key,
    /// Its number in [`Hosts`].
    pub(crate) host: Option<u32>,
}

impl Record {
    /// What a line of the directory comes to.
    pub(crate) fn of_line(line: &[u8], hosts: &mut Hosts) -> Result<Self, plc::Error> {
        let operation = Operation::parse(line)?;
        let key = match (operation.tombstone, &operation.key) {
            (true, _) => Key::Tombstone,
            (false, None) => Key::Missing,
            (false, Some(text)) => match keys::PublicKey::from_did_key(text) {
                Ok(key) => Key::Known(key.to_bytes()),
                Err(_) => Key::UnknownType,
            },
        };
        let half = |cid: &atproto::Cid| cid.digest().first_chunk().copied().unwrap_or_default();
        Ok(Self {
            did: operation.did,
            id: half(&operation.cid),
            prev: operation.prev.as_ref().map(half),
            created_ms: operation.created_ms,
            key,
            host: operation.pds.as_deref().and_then(|address| hosts.number(address)),
        })
    }

    /// Appends its bytes.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let key = match self.key {
            Key::Missing => 0,
            Key::UnknownType => 1,
            Key::Tombstone => 2,
            Key::Known(_) => KEY_KNOWN,
        };
        let prev = if self.prev.is_some() { FLAG_PREV } else { 0 };
        let host = if self.host.is_some() { FLAG_HOST } else { 0 };
        out.push(key | prev | host);
        out.extend_from_slice(self.did.as_bytes());
        out.extend_from_slice(&self.id);
        let [time @ .., _, _] = self.created_ms.to_le_bytes();
        out.extend_from_slice(&time);
        if let Some(prev) = &self.prev {
            out.extend_from_slice(prev);
        }
        if let Key::Known(key) = &self.key {
            out.extend_from_slice(key);
        }
        if let Some(host) = self.host {
            out.extend_from_slice(&host.to_le_bytes());
        }
    }

    /// Takes the first record off `bytes`.
    pub(crate) fn read(bytes: &mut &[u8]) -> Option<Self> {
        let [flags] = take(bytes)?;
        let did = PlcDid::from_bytes(take(bytes)?);
        let id = take(bytes)?;
        let [a, b, c, d, e, f] = take(bytes)?;
        let prev = if flags & FLAG_PREV != 0 { Some(take(bytes)?) } else { None };
        let key = match flags & KEY_MASK {
            0 => Key::Missing,
            1 => Key::UnknownType,
            2 => Key::Tombstone,
            _ => Key::Known(take(bytes)?),
        };
        let host =
            if flags & FLAG_HOST != 0 { Some(u32::from_le_bytes(take(bytes)?)) } else { None };
        let created_ms = u64::from_le_bytes([a, b, c, d, e, f, 0, 0]);
        Some(Self { did, id, prev, created_ms, key, host })
    }

    /// Passes over the first record of `bytes` and says whose it is.
    pub(crate) fn pass(bytes: &mut &[u8]) -> Option<PlcDid> {
        let [flags] = take(bytes)?;
        let did = PlcDid::from_bytes(take(bytes)?);
        let prev = if flags & FLAG_PREV != 0 { ID_BYTES } else { 0 };
        let key = if flags & KEY_MASK == KEY_KNOWN { KEY_BYTES } else { 0 };
        let host = if flags & FLAG_HOST != 0 { size_of::<u32>() } else { 0 };
        *bytes = bytes.get(ID_BYTES + TIME_BYTES + prev + key + host..)?;
        Some(did)
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (field, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*field)
}

impl Link for Record {
    type Id = Id;

    fn id(&self) -> Id {
        self.id
    }

    fn prev(&self) -> Option<Id> {
        self.prev
    }

    fn created_ms(&self) -> u64 {
        self.created_ms
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let did: PlcDid = "did:plc:aaaaaaababcdefgh76543277".parse().unwrap();
        let (mut bytes, mut records) = (Vec::new(), Vec::new());
        for key in [Key::Missing, Key::UnknownType, Key::Tombstone, Key::Known([7; KEY_BYTES])] {
            for prev in [None, Some([3; ID_BYTES])] {
                for host in [None, Some(0xfedc_ba98)] {
                    let created_ms = 0x0102_0304_0506;
                    let record = Record { did, id: [9; ID_BYTES], prev, created_ms, key, host };
                    let before = bytes.len();
                    record.write(&mut bytes);
                    assert!(bytes.len() - before <= RECORD_BYTES_MAX);
                    records.push(record);
                }
            }
        }
        // Sixteen heads, half of them with a prev, a quarter with a key, half with a host.
        assert_eq!(bytes.len(), 16 * 38 + 8 * 16 + 4 * 34 + 8 * 4);
        let (mut at, mut passed) = (&bytes[..], &bytes[..]);
        for record in records {
            assert_eq!(Record::read(&mut at), Some(record));
            assert_eq!(Record::pass(&mut passed), Some(did));
            assert_eq!(at.len(), passed.len());
        }
        assert!(at.is_empty());
        for end in 0..RECORD_BYTES_MAX {
            let _ = (Record::read(&mut &bytes[..end]), Record::pass(&mut &bytes[..end]));
        }
    }
}
