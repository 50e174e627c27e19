//! Paths of records: `collection/rkey`. Most record keys are TIDs, which are times, and in a tree
//! the next key is a little later than the one before.
//!
//! A path is a byte in a stream of the caller's choice, and what that needs:
//!
//! | byte | meaning                                                                         |
//! |-----:|---------------------------------------------------------------------------------|
//! | 0-64 | collection of the path before, a TID not before the TID there: this is the class of the number of microseconds between; clock |
//! | 0x81 | collection of the path before, any TID: microseconds before the event's rev, clock |
//! | 0x82 | collection of the path before, other text: shared bytes, text                    |
//! | 0x83 | another collection, a TID as with 0x81                                           |
//! | 0x84 | another collection, other text: text                                             |
//! | 0x85 | bytes that are no path: text                                                     |
//!
//! A clock is a varint in its stream: 0 is that of the path before (0-64) or of the rev, others
//! count from 1. A collection is a varint in [`Stream::Name`]: 0 is a new one, whose name follows;
//! others count from 1 in the order in which the block has them.

use atproto::Tid;

use super::streams::{In, Out, Stream};

/// The class of a number is no larger; other bytes say that something else follows.
const CLASS_MAX: u8 = 64;
const NEAR_TID: u8 = 0x81;
const NEAR_TEXT: u8 = 0x82;
const FAR_TID: u8 = 0x83;
const FAR_TEXT: u8 = 0x84;
const BYTES: u8 = 0x85;

/// Collections of a block, in order of appearance.
#[derive(Debug, Default)]
pub(crate) struct Collections {
    names: Vec<Box<[u8]>>,
}

/// A path, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Path<'a> {
    collection: &'a [u8],
    rkey: &'a [u8],
    tid: Option<Tid>,
}

impl<'a> Path<'a> {
    fn of(bytes: &'a [u8]) -> Option<Path<'a>> {
        let slash = bytes.iter().position(|byte| *byte == b'/')?;
        let (collection, rkey) = (bytes.get(..slash)?, bytes.get(slash + 1..)?);
        let tid = std::str::from_utf8(rkey).ok().and_then(tid);
        Some(Path { collection, rkey, tid })
    }
}

impl Collections {
    pub(crate) fn clear(&mut self) {
        self.names.clear();
    }

    fn put(&mut self, out: &mut Out, name: &[u8]) {
        match self.names.iter().position(|known| **known == *name) {
            Some(at) => out.varint(Stream::Name, at as u64 + 1),
            None => {
                out.varint(Stream::Name, 0);
                out.text(Stream::Name, name);
                self.names.push(name.into());
            }
        }
    }

    fn take(&mut self, input: &mut In<'_>) -> Option<&[u8]> {
        match input.varint(Stream::Name)?.checked_sub(1) {
            Some(at) => self.names.get(usize::try_from(at).ok()?).map(|name| &**name),
            None => {
                let name = input.text(Stream::Name)?;
                self.names.push(name.into());
                self.names.last().map(|name| &**name)
            }
        }
    }

    /// Appends `path`, which comes behind `before`, in an event with this rev.
    pub(crate) fn put_path(
        &mut self,
        out: &mut Out,
        stream: Stream,
        (before, rev): (&[u8], Tid),
        path: &[u8],
    ) {
        let Some(new) = Path::of(path) else {
            out.byte(stream, BYTES);
            out.text(Stream::Name, path);
            return;
        };
        let near = Path::of(before).filter(|near| near.collection == new.collection);
        match (near, new.tid) {
            (Some(Path { tid: Some(near), .. }), Some(tid)) if near.micros() <= tid.micros() => {
                out.number(stream, tid.micros() - near.micros());
                put_clock(out, near, tid);
            }
            (Some(_), Some(tid)) => {
                out.byte(stream, NEAR_TID);
                put_tid(out, stream, rev, tid);
            }
            (Some(near), None) => {
                out.byte(stream, NEAR_TEXT);
                let same = |(a, b): &(&u8, &u8)| a == b;
                let shared = near.rkey.iter().zip(new.rkey).take_while(same).count();
                out.varint(Stream::Name, shared as u64);
                out.text(Stream::Name, new.rkey.get(shared..).unwrap_or_default());
            }
            (None, Some(tid)) => {
                out.byte(stream, FAR_TID);
                self.put(out, new.collection);
                put_tid(out, stream, rev, tid);
            }
            (None, None) => {
                out.byte(stream, FAR_TEXT);
                self.put(out, new.collection);
                out.text(Stream::Name, new.rkey);
            }
        }
    }

    /// Reads what [`Collections::put_path`] wrote.
    pub(crate) fn take_path(
        &mut self,
        input: &mut In<'_>,
        stream: Stream,
        (before, rev): (&[u8], Tid),
    ) -> Option<Vec<u8>> {
        let kind = input.peek(stream)?;
        let later = kind <= CLASS_MAX;
        if !later {
            input.byte(stream)?;
        }
        let near = || Path::of(before);
        let mut path = Vec::with_capacity(48);
        match kind {
            _ if later => path.extend_from_slice(near()?.collection),
            NEAR_TID | NEAR_TEXT => path.extend_from_slice(near()?.collection),
            FAR_TID | FAR_TEXT => path.extend_from_slice(self.take(input)?),
            BYTES => return Some(input.text(Stream::Name)?.to_vec()),
            _ => return None,
        }
        path.push(b'/');
        match kind {
            _ if later => {
                let near = near()?.tid?;
                let micros = near.micros().checked_add(input.number(stream)?)?;
                extend(&mut path, Tid::new(micros, take_clock(input, near)?));
            }
            NEAR_TID | FAR_TID => extend(&mut path, take_tid(input, stream, rev)?),
            NEAR_TEXT => {
                let near = near()?;
                let shared = input.count(Stream::Name, near.rkey.len())?;
                path.extend_from_slice(near.rkey.get(..shared)?);
                path.extend_from_slice(input.text(Stream::Name)?);
            }
            _ => path.extend_from_slice(input.text(Stream::Name)?),
        }
        Some(path)
    }
}

/// The TID that a text is, if it is of a time that [`Tid::new`] knows.
pub(crate) fn tid(text: &str) -> Option<Tid> {
    text.parse().ok().filter(|tid: &Tid| tid.0 >> 63 == 0)
}

/// Appends a TID's characters.
pub(crate) fn extend(out: &mut Vec<u8>, tid: Tid) {
    use std::io::Write as _;
    // Memory takes whatever is written.
    let _ = write!(out, "{tid}");
}

/// Appends a TID by how long before the rev it is.
pub(crate) fn put_tid(out: &mut Out, stream: Stream, rev: Tid, tid: Tid) {
    out.signed(stream, rev.micros() as i64 - tid.micros() as i64);
    put_clock(out, rev, tid);
}

/// Reads what [`put_tid`] wrote.
pub(crate) fn take_tid(input: &mut In<'_>, stream: Stream, rev: Tid) -> Option<Tid> {
    let micros = (rev.micros() as i64).checked_sub(input.signed(stream)?)?;
    Some(Tid::new(u64::try_from(micros).ok()?, take_clock(input, rev)?))
}

fn put_clock(out: &mut Out, near: Tid, tid: Tid) {
    let clock = if near.clock() == tid.clock() { 0 } else { u64::from(tid.clock()) + 1 };
    out.varint(Stream::Clock, clock);
}

fn take_clock(input: &mut In<'_>, near: Tid) -> Option<u16> {
    match input.varint(Stream::Clock)?.checked_sub(1) {
        None => Some(near.clock()),
        Some(clock) => u16::try_from(clock).ok(),
    }
}
