//! How a block of events becomes bytes. Everything that knows it is in here: a block says by one
//! byte which codec made it, and a reader knows every codec that there ever was.
//!
//! Codec 3 takes each event apart ([`event`]), leaves out what can be worked out, writes trees as
//! what changed ([`tree`]), and puts what is alike together ([`streams`]). What an event is written
//! against lies in the same block, or is what an earlier segment of the group ended with for its
//! account (see [`crate::group`]). After the encoder has
//! made a block it reads it back as any reader would; an event that does not come back exactly is
//! kept whole, and a block for which that does not help is written with codec 1.
//!
//! Codec 2 differs in how it writes TIDs ([`path`]) and keys that proved events ([`event`]).
//!
//! Codec 1, behind zstd, is what the first version wrote:
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
use std::sync::Arc;

use atproto::{PlcDid, Tid};
use zstd::bulk::{Compressor, Decompressor};

use crate::bytes::{Take, put_varint};
use crate::error::Cause;

use self::event::State;
use self::streams::{In, Out, Packers, Unpacked, Unpackers};

pub(crate) use self::tree::Base;
pub(crate) use self::write::hash;

pub(crate) mod streams;

mod commit;
mod event;
mod object;
mod path;
mod proved;
mod schema;
mod tree;
mod write;

/// Plain bytes under zstd.
pub(crate) const ZSTD: u8 = 1;
/// Taken apart, as the second version did it.
pub(crate) const APART_2: u8 = 2;
/// Taken apart.
pub(crate) const APART: u8 = 3;

/// A block has this many bytes on average, at least, if there are as many.
pub(crate) const BLOCK_BYTES: usize = 1 << 20;
/// It is closed behind the account whose events have brought it to this many.
pub(crate) const BLOCK_BYTES_FULL: usize = 3 << 20;
/// Or behind the event that has brought it to this many.
pub(crate) const BLOCK_BYTES_LIMIT: usize = 4 << 20;
/// No block is larger when it is decoded: one event at its limit on top of a nearly full block.
pub(crate) const BLOCK_BYTES_MAX: usize = 16 << 20;
/// What a block is decoded to has a multiple of this.
const ROOM_BYTES: usize = 1 << 18;
/// How often a block is begun again without the events that did not come back.
const TRIES: usize = 8;

const _: () = assert!(BLOCK_BYTES_LIMIT + frame::PAYLOAD_BYTES_MAX + (64 << 10) < BLOCK_BYTES_MAX);

/// An event that is to be encoded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Given<'a> {
    /// Its account; empty if it has none.
    pub(crate) did: &'a str,
    /// The seq of its frame.
    pub(crate) seq: u64,
    pub(crate) sections: &'a [u8],
    pub(crate) body: &'a [u8],
    /// With the first event of an account: what an earlier segment ended with for it.
    pub(crate) base: Option<&'a Arc<Base>>,
}

/// What is known of an event before its block is decoded.
#[derive(Debug, Clone)]
pub(crate) struct Meta<'a> {
    pub(crate) did: &'a str,
    pub(crate) seq: u64,
    /// As in [`Given`].
    pub(crate) base: Option<Arc<Base>>,
}

/// An event that was decoded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plain<'a> {
    pub(crate) sections: &'a [u8],
    pub(crate) body: &'a [u8],
}

/// What the objects of an event may speak of.
#[derive(Debug, Clone, Copy)]
struct Facts {
    did: Option<PlcDid>,
    seq: u64,
    rev: Tid,
}

impl Facts {
    /// A rev as milliseconds since 1970.
    fn ms(rev: Tid) -> i64 {
        (rev.micros() / 1000) as i64
    }
}

/// An encoded block.
#[derive(Debug)]
pub(crate) struct Encoded {
    pub(crate) codec: u8,
    pub(crate) raw_len: usize,
    pub(crate) bytes: Vec<u8>,
    /// What it ends with for its accounts, as a reader finds it.
    pub(crate) bases: Bases,
}

/// What accounts end with.
pub(crate) type Bases = Vec<(Box<str>, Arc<Base>)>;

pub(crate) struct Encoder {
    level: i32,
    zstd: Compressor<'static>,
    packers: Packers,
    state: State,
    out: Out,
    raw: Vec<u8>,
    decoder: Decoder,
}

impl Encoder {
    pub(crate) fn new(level: i32) -> std::io::Result<Encoder> {
        Ok(Encoder {
            level,
            zstd: Compressor::new(level)?,
            packers: Packers::new(level)?,
            state: State::default(),
            out: Out::default(),
            raw: Vec::new(),
            decoder: Decoder::new()?,
        })
    }

    /// Of zstd.
    pub(crate) fn level(&self) -> i32 {
        self.level
    }

    /// Encodes these events. What comes out was read back, and every byte was there.
    pub(crate) fn encode(&mut self, events: &[Given<'_>]) -> std::io::Result<Encoded> {
        let mut whole = vec![false; events.len()];
        let len = |event: &Given<'_>| event.sections.len() + event.body.len();
        let raw_len = events.iter().map(len).sum();
        for _ in 0..TRIES {
            if !self.take_apart(events, &mut whole) {
                continue;
            }
            let bytes = self.out.pack(&mut self.packers)?;
            if let Some(bases) = self.comes_back(&bytes, events, raw_len, &mut whole) {
                return Ok(Encoded { codec: APART, raw_len, bytes, bases });
            }
        }
        self.encode_whole(events)
    }

    /// Fills the streams; false if an event turned out to be one that has to be kept whole.
    fn take_apart(&mut self, events: &[Given<'_>], whole: &mut [bool]) -> bool {
        self.state.clear();
        self.out.clear();
        for (event, whole) in events.iter().zip(whole) {
            if self.state.put(&mut self.out, event, *whole).is_none() {
                *whole = true;
                return false;
            }
        }
        self.out.end();
        true
    }

    /// What the block ends with, if it gives every event back. Events that it doesn't are to be
    /// kept whole.
    fn comes_back(
        &mut self,
        bytes: &[u8],
        events: &[Given<'_>],
        raw_len: usize,
        whole: &mut [bool],
    ) -> Option<Bases> {
        let unpacked = Unpacked::read(bytes, APART, &mut self.decoder.unpackers).ok()?;
        let (mut input, state, raw) = (unpacked.input(), &mut self.decoder.state, &mut self.raw);
        let mut same = true;
        state.clear();
        for (event, whole) in events.iter().zip(whole) {
            raw.clear();
            let meta = Meta { did: event.did, seq: event.seq, base: event.base.cloned() };
            let middle = state.take(&mut input, meta, raw_len, raw);
            let back = middle.and_then(|middle| raw.split_at_checked(middle));
            if back != Some((event.sections, event.body)) {
                *whole = true;
                same = false;
            }
            if middle.is_none() {
                break;
            }
        }
        let bases = state.end();
        same.then_some(bases)
    }

    fn encode_whole(&mut self, events: &[Given<'_>]) -> std::io::Result<Encoded> {
        self.raw.clear();
        for event in events {
            put_varint(&mut self.raw, event.sections.len() as u64);
            put_varint(&mut self.raw, event.body.len() as u64);
        }
        events.iter().for_each(|event| self.raw.extend_from_slice(event.sections));
        events.iter().for_each(|event| self.raw.extend_from_slice(event.body));
        let bytes = self.zstd.compress(&self.raw)?;
        let raw_len = self.raw.len();
        let back = unzstd(self.decoder.unpackers.plain(), &bytes, raw_len);
        if back.ok().as_ref() != Some(&self.raw) {
            return Err(std::io::Error::other("zstd does not give back what it was given"));
        }
        Ok(Encoded { codec: ZSTD, raw_len, bytes, bases: Vec::new() })
    }
}

/// A decoded block.
#[derive(Debug)]
pub(crate) struct Block {
    raw: Vec<u8>,
    /// For each event its sections and its body in `raw`.
    spans: Vec<(Range<usize>, Range<usize>)>,
    /// What it ends with for its accounts.
    pub(crate) bases: Bases,
}

impl Block {
    pub(crate) fn event(&self, index: usize) -> Option<Plain<'_>> {
        let (sections, body) = self.spans.get(index)?;
        Some(Plain { sections: self.raw.get(sections.clone())?, body: self.raw.get(body.clone())? })
    }

    /// The memory that its events were in.
    pub(crate) fn into_room(self) -> Vec<u8> {
        self.raw
    }

    /// What it takes in memory, nearly.
    pub(crate) fn bytes(&self) -> usize {
        block_bytes(self.raw.len(), self.spans.len())
    }
}

/// What a block takes in memory, nearly, of events that have so many bytes.
pub(crate) fn block_bytes(raw: usize, events: usize) -> usize {
    raw + events * size_of::<(Range<usize>, Range<usize>)>()
}

pub(crate) struct Decoder {
    /// Room for the next block, if it is large enough: fresh memory costs as much as what is put
    /// there.
    pub(crate) room: Vec<u8>,
    unpackers: Unpackers,
    state: State,
}

impl Decoder {
    pub(crate) fn new() -> std::io::Result<Decoder> {
        let mut state = State::default();
        state.keep();
        Ok(Decoder { room: Vec::new(), unpackers: Unpackers::new()?, state })
    }

    /// Decodes a block of these events. The caller has checked `raw_len` against the limit.
    pub(crate) fn decode<'m>(
        &mut self,
        codec: u8,
        bytes: &[u8],
        raw_len: usize,
        events: impl ExactSizeIterator<Item = Meta<'m>>,
    ) -> Result<Block, Cause> {
        match codec {
            ZSTD => {
                let raw = unzstd(self.unpackers.plain(), bytes, raw_len)?;
                // Each event has two bytes of lengths at least.
                if events.len() > raw_len / 2 {
                    return Err(Cause::Form("block"));
                }
                let spans = spans(&raw, events.len()).ok_or(Cause::Form("block"))?;
                Ok(Block { raw, spans, bases: Vec::new() })
            }
            APART | APART_2 => {
                let unpacked = Unpacked::read(bytes, codec, &mut self.unpackers)?;
                self.together(&mut unpacked.input(), raw_len, events).ok_or(Cause::Form("block"))
            }
            other => Err(Cause::Codec(other)),
        }
    }

    fn room_for(&mut self, raw_len: usize) -> Vec<u8> {
        let mut room = std::mem::take(&mut self.room);
        room.clear();
        // A little more, because it is asked for before it is known how much.
        let bytes = raw_len + 1024;
        if room.capacity() >= bytes {
            return room;
        }
        // Blocks of one segment have nearly the same size: the next one is to fit, too.
        Vec::with_capacity(bytes.next_multiple_of(ROOM_BYTES))
    }

    fn together<'m>(
        &mut self,
        input: &mut In<'_>,
        raw_len: usize,
        events: impl ExactSizeIterator<Item = Meta<'m>>,
    ) -> Option<Block> {
        self.state.clear();
        let mut raw = self.room_for(raw_len);
        let mut spans = Vec::with_capacity(events.len());
        for meta in events {
            let start = raw.len();
            let middle = self.state.take(input, meta, raw_len, &mut raw)?;
            spans.push((start..middle, middle..raw.len()));
        }
        let bases = self.state.end();
        (raw.len() == raw_len).then_some(Block { raw, spans, bases })
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
mod tests;
