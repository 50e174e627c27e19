//! Batches: what a log is made of behind its head, and the unit in which it is believed.
//!
//! | offset | size | field    | meaning                                                      |
//! |-------:|-----:|----------|--------------------------------------------------------------|
//! |      0 |    8 | salt     | the log's own, from its head                                 |
//! |      8 |    4 | length   | of the payload, at most [`BATCH_BYTES_MAX`]                  |
//! |     12 |    4 | events   | how many it holds                                            |
//! |     16 |    4 | first    | ordinal of the first of them within the log                  |
//! |     20 |    4 | flags    | [`SNAPSHOT`], [`RESET`]                                      |
//! |     24 |    8 | synced   | bytes of the log that were durable when this batch was made  |
//! |     32 |    4 | payload  | CRC-32C of the payload                                       |
//! |     36 |    4 | crc32c   | of bytes 0 to 36                                             |
//! |     40 |      | payload  | a frame stream of its own: magic, then frames                |
//!
//! The payload names every host that it speaks of, so a batch can be read alone: `host` frames,
//! `event` frames with the sections that are kept, `mark` frames, and control frames as they came.
//!
//! **The rule**: a batch is whole if both checksums hold and its first ordinal follows on. A log
//! is believed up to the last whole batch; what lies behind the first that is not whole is a torn
//! tail. There is one exception, for damage that is no tail: if a whole batch further on says that
//! the place was durable when it was made, then the place was damaged later; what can be found
//! behind it counts, and the events between are named as lost. The salt is what such a search goes
//! by: nobody outside can know it, so no event can pose as a batch.

use frame::MAGIC;

use crate::bytes::Take;
use crate::hosts::{HostNo, Hosts};
use crate::{Error, head::Head};

pub(crate) const BATCH_HEAD_BYTES: usize = 40;
/// One frame at its limit and a full buffer before it.
pub(crate) const BATCH_BYTES_MAX: usize = 16 << 20;
/// A batch is written when it has grown to this, or when the input would block. Small enough that
/// a kill rarely finds a write half done.
pub(crate) const BATCH_BYTES_FULL: usize = 256 << 10;
/// The batch repeats marks that earlier logs hold.
pub(crate) const SNAPSHOT: u32 = 1;
/// All marks before this batch are void.
pub(crate) const RESET: u32 = 2;

const _: () = assert!(BATCH_BYTES_FULL + frame::PAYLOAD_BYTES_MAX + (64 << 10) < BATCH_BYTES_MAX);

/// What stands before a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchHead {
    pub(crate) length: usize,
    pub(crate) events: u32,
    pub(crate) first: u32,
    pub(crate) flags: u32,
    pub(crate) synced: u64,
    pub(crate) payload_crc: u32,
}

impl BatchHead {
    fn to_bytes(self, salt: [u8; 8]) -> [u8; BATCH_HEAD_BYTES] {
        let mut head = Vec::with_capacity(BATCH_HEAD_BYTES);
        head.extend_from_slice(&salt);
        head.extend_from_slice(&(self.length as u32).to_le_bytes());
        head.extend_from_slice(&self.events.to_le_bytes());
        head.extend_from_slice(&self.first.to_le_bytes());
        head.extend_from_slice(&self.flags.to_le_bytes());
        head.extend_from_slice(&self.synced.to_le_bytes());
        head.extend_from_slice(&self.payload_crc.to_le_bytes());
        head.extend_from_slice(&crc32c::crc32c(&head).to_le_bytes());
        let mut bytes = [0; BATCH_HEAD_BYTES];
        bytes.iter_mut().zip(head).for_each(|(slot, byte)| *slot = byte);
        bytes
    }

    /// Reads a head if it is whole.
    pub(crate) fn read(bytes: &[u8], salt: [u8; 8]) -> Option<BatchHead> {
        let head = bytes.first_chunk::<BATCH_HEAD_BYTES>()?;
        let (covered, crc) = head.split_last_chunk::<4>()?;
        if !head.starts_with(&salt) || crc32c::crc32c(covered) != u32::from_le_bytes(*crc) {
            return None;
        }
        let mut take = Take::new(covered);
        take.u64()?;
        let length = usize::try_from(take.u32()?).ok()?;
        let head = BatchHead {
            length,
            events: take.u32()?,
            first: take.u32()?,
            flags: take.u32()?,
            synced: take.u64()?,
            payload_crc: take.u32()?,
        };
        (length <= BATCH_BYTES_MAX).then_some(head)
    }

    /// The payload behind this head if it is whole; `behind` begins where it should.
    pub(crate) fn payload<'a>(&self, behind: &'a [u8]) -> Option<&'a [u8]> {
        let payload = behind.get(..self.length)?;
        (crc32c::crc32c(payload) == self.payload_crc).then_some(payload)
    }
}

/// A batch that is being filled. Its memory is kept from one to the next.
#[derive(Debug)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    events: u32,
    /// For each host, the fill in which it was last named.
    named: Vec<u64>,
    fill: u64,
}

impl Batch {
    pub(crate) fn new() -> Batch {
        let mut batch = Batch { bytes: Vec::new(), events: 0, named: Vec::new(), fill: 0 };
        batch.clear();
        batch
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.extend_from_slice(&[0; BATCH_HEAD_BYTES]);
        self.bytes.extend_from_slice(&MAGIC);
        self.events = 0;
        self.fill += 1;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.len() <= BATCH_HEAD_BYTES + MAGIC.len()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.bytes.len() >= BATCH_BYTES_FULL
    }

    pub(crate) fn events(&self) -> u32 {
        self.events
    }

    pub(crate) fn count_event(&mut self) {
        self.events += 1;
    }

    /// Names a host unless this batch has named it.
    pub(crate) fn name(&mut self, host: HostNo, hosts: &Hosts) -> Result<(), Error> {
        if self.named.len() <= host.index() {
            self.named.resize(hosts.len().max(host.index() + 1), 0);
        }
        match (self.named.get_mut(host.index()), hosts.get(host)) {
            (Some(named), Some(known)) if *named != self.fill => {
                *named = self.fill;
                Ok(frame::host::put(&mut self.bytes, host.id(), known.role, &known.name)?)
            }
            _ => Ok(()),
        }
    }

    /// Where frames are appended.
    pub(crate) fn frames(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// The finished batch: head and payload.
    pub(crate) fn finish(&mut self, log: &Head, first: u32, flags: u32, synced: u64) -> &[u8] {
        if let Some((head, payload)) = self.bytes.split_first_chunk_mut::<BATCH_HEAD_BYTES>() {
            let fields = BatchHead {
                length: payload.len(),
                events: self.events,
                first,
                flags,
                synced,
                payload_crc: crc32c::crc32c(payload),
            };
            *head = fields.to_bytes(log.salt);
        }
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use frame::host::Role;

    fn log() -> Head {
        Head { number: 0, first: 0, salt: *b"saltsalt", key: [0; 32], time_ns: 0 }
    }

    #[test]
    fn a_batch_is_whole_only_with_every_byte() {
        let mut hosts = Hosts::default();
        let host = hosts.number(Role::Pds, "pds.example.com").unwrap();
        let mut batch = Batch::new();
        assert!(batch.is_empty());
        batch.name(host, &hosts).unwrap();
        let once = batch.frames().len();
        batch.name(host, &hosts).unwrap();
        assert_eq!(batch.frames().len(), once, "a host is named once a batch");
        batch.count_event();
        let bytes = batch.finish(&log(), 5, SNAPSHOT, 77).to_vec();
        let whole = |bytes: &[u8]| {
            let head = BatchHead::read(bytes, *b"saltsalt")?;
            head.payload(&bytes[BATCH_HEAD_BYTES..]).map(|_| head)
        };
        let head = whole(&bytes).unwrap();
        assert_eq!((head.events, head.first, head.flags, head.synced), (1, 5, SNAPSHOT, 77));
        for at in 0..bytes.len() {
            assert_eq!(whole(&bytes[..at]), None, "cut at {at}");
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x10;
            assert_eq!(whole(&flipped), None, "byte {at}");
        }
        batch.clear();
        assert!(batch.is_empty());
        batch.name(host, &hosts).unwrap();
        assert!(!batch.is_empty(), "the next batch names it again");
    }
}
