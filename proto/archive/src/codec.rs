//! How a block of events becomes bytes. Everything that knows it is in here: a block says by one
//! byte which codec made it, and a reader knows every codec that there ever was.
//!
//! Codec 1, behind zstd:
//!
//! | part     | meaning                                                                   |
//! |----------|---------------------------------------------------------------------------|
//! | lengths  | for each event two varints: length of its kept sections, of its body      |
//! | sections | the kept sections of all events (see [`crate::stored`]), one behind the other |
//! | bodies   | the events as they came off the socket, one behind the other              |
//!
//! The events of a block are neighbours in the segment's order (by account, then as they came), so
//! that what they have in common is near.

use std::ops::Range;

use zstd::bulk::{Compressor, Decompressor};

use crate::bytes::{Take, put_varint};
use crate::error::Cause;

/// Plain bytes under zstd.
const ZSTD: u8 = 1;

/// A block is closed when its events have this many bytes.
pub(crate) const BLOCK_BYTES: usize = 256 << 10;
/// No block is larger when it is decoded: one event at its limit on top of a nearly full block.
pub(crate) const BLOCK_BYTES_MAX: usize = 16 << 20;

const _: () = assert!(BLOCK_BYTES + frame::PAYLOAD_BYTES_MAX + (64 << 10) < BLOCK_BYTES_MAX);

/// An event as the codec sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plain<'a> {
    pub(crate) sections: &'a [u8],
    pub(crate) body: &'a [u8],
}

/// An encoded block.
#[derive(Debug)]
pub(crate) struct Encoded {
    pub(crate) codec: u8,
    pub(crate) raw_len: usize,
    pub(crate) bytes: Vec<u8>,
}

pub(crate) struct Encoder {
    zstd: Compressor<'static>,
    raw: Vec<u8>,
}

impl Encoder {
    pub(crate) fn new(level: i32) -> std::io::Result<Encoder> {
        Ok(Encoder { zstd: Compressor::new(level)?, raw: Vec::new() })
    }

    pub(crate) fn encode(&mut self, events: &[Plain<'_>]) -> std::io::Result<Encoded> {
        self.raw.clear();
        for event in events {
            put_varint(&mut self.raw, event.sections.len() as u64);
            put_varint(&mut self.raw, event.body.len() as u64);
        }
        events.iter().for_each(|event| self.raw.extend_from_slice(event.sections));
        events.iter().for_each(|event| self.raw.extend_from_slice(event.body));
        let bytes = self.zstd.compress(&self.raw)?;
        Ok(Encoded { codec: ZSTD, raw_len: self.raw.len(), bytes })
    }
}

/// A decoded block.
#[derive(Debug)]
pub(crate) struct Block {
    raw: Vec<u8>,
    /// For each event its sections and its body in `raw`.
    spans: Vec<(Range<usize>, Range<usize>)>,
}

impl Block {
    pub(crate) fn event(&self, index: usize) -> Option<Plain<'_>> {
        let (sections, body) = self.spans.get(index)?;
        Some(Plain { sections: self.raw.get(sections.clone())?, body: self.raw.get(body.clone())? })
    }

    /// What it takes in memory, nearly.
    pub(crate) fn bytes(&self) -> usize {
        self.raw.len() + self.spans.len() * size_of::<(Range<usize>, Range<usize>)>()
    }
}

pub(crate) struct Decoder {
    zstd: Decompressor<'static>,
}

impl Decoder {
    pub(crate) fn new() -> std::io::Result<Decoder> {
        Ok(Decoder { zstd: Decompressor::new()? })
    }

    /// Decodes a block of `events` events. The caller has checked `raw_len` against the limit.
    pub(crate) fn decode(
        &mut self,
        codec: u8,
        bytes: &[u8],
        raw_len: usize,
        events: usize,
    ) -> Result<Block, Cause> {
        if codec != ZSTD {
            return Err(Cause::Codec(codec));
        }
        let raw = unzstd(&mut self.zstd, bytes, raw_len)?;
        // Each event has two bytes of lengths at least.
        if events > raw_len / 2 {
            return Err(Cause::Form("block"));
        }
        let spans = spans(&raw, events).ok_or(Cause::Form("block"))?;
        Ok(Block { raw, spans })
    }
}

fn spans(raw: &[u8], events: usize) -> Option<Vec<(Range<usize>, Range<usize>)>> {
    let mut take = Take::new(raw);
    let mut spans = Vec::with_capacity(events);
    let (mut sections_end, mut bodies_end) = (0usize, 0usize);
    for _ in 0..events {
        let (sections, bodies) = (sections_end, bodies_end);
        sections_end = sections_end.checked_add(take.varint_usize()?)?;
        bodies_end = bodies_end.checked_add(take.varint_usize()?)?;
        spans.push((sections..sections_end, bodies..bodies_end));
    }
    let sections_at = raw.len() - take.left();
    let bodies_at = sections_at.checked_add(sections_end)?;
    if bodies_at.checked_add(bodies_end)? != raw.len() {
        return None;
    }
    for (sections, body) in &mut spans {
        *sections = sections_at + sections.start..sections_at + sections.end;
        *body = bodies_at + body.start..bodies_at + body.end;
    }
    Some(spans)
}

/// Decompresses to exactly `raw_len` bytes.
pub(crate) fn unzstd(
    zstd: &mut Decompressor<'static>,
    bytes: &[u8],
    raw_len: usize,
) -> Result<Vec<u8>, Cause> {
    let raw = zstd.decompress(bytes, raw_len).map_err(|_| Cause::Zstd)?;
    if raw.len() == raw_len { Ok(raw) } else { Err(Cause::Zstd) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn events_come_back(events: Vec<(Vec<u8>, Vec<u8>)>) {
            let plain: Vec<Plain<'_>> =
                events.iter().map(|(sections, body)| Plain { sections, body }).collect();
            let encoded = Encoder::new(3).unwrap().encode(&plain).unwrap();
            let block = Decoder::new().unwrap()
                .decode(encoded.codec, &encoded.bytes, encoded.raw_len, events.len()).unwrap();
            for (index, (sections, body)) in events.iter().enumerate() {
                let event = block.event(index).unwrap();
                prop_assert_eq!((event.sections, event.body), (&sections[..], &body[..]));
            }
            prop_assert!(block.event(events.len()).is_none());
        }

        #[test]
        fn any_raw_bytes_are_read_without_a_panic(raw: Vec<u8>, events in 0usize..9) {
            let _ = spans(&raw, events);
            let _ = Decoder::new().unwrap().decode(1, &raw, raw.len(), events);
        }
    }
}
