//! Paths of records: `collection/rkey`. Most record keys are TIDs, which are times, and in a tree
//! the next key is a little later than the one before.
//!
//! A path is a byte in a stream of the caller's choice, and what that needs:
//!
//! | byte | meaning                                                                         |
//! |-----:|---------------------------------------------------------------------------------|
//! | 0-64 | collection of the path before, a TID not before the TID there: this is the class of the number of milliseconds between; micros, clock |
//! | 0x81 | collection of the path before, any TID: milliseconds before the event's rev, micros, clock |
//! | 0x82 | collection of the path before, other text: shared bytes, text                    |
//! | 0x83 | another collection, a TID as with 0x81                                           |
//! | 0x84 | another collection, other text: text                                             |
//! | 0x85 | bytes that are no path: text                                                     |
//!
//! Who makes TIDs has a clock of milliseconds and counts on from there, so that what a TID has below
//! the millisecond is mostly 0, or what the TID has that it is told against, or a little more. Micros
//! are a byte in [`Stream::Micros`]: 0; one more than how much more, up to [`MORE_MAX`]; 255: others,
//! in ten bits.
//!
//! The keys of a tree's node have a layer, which their hashes begin with (see [`atproto::mst`]). Of
//! the 32 clocks that a TID is likely to have, few give its key the hash that it needs in layer 1 and
//! above: there the clock is a varint, below 32 the how manieth of those that do, else 32 more than
//! the clock. Codec 2 has no micros, microseconds in the place of milliseconds, and no layers.
//!
//! Elsewhere a clock is a varint in its stream: 0 is that of the path before (0-64) or of the rev, others
//! count from 1. A collection is a varint in [`Stream::Name`]: 0 is a new one, whose name follows;
//! others count from 1 in the order in which the block has them.

use atproto::{Tid, mst};

use super::APART_2;
use super::streams::{In, Out, Stream};

/// The class of a number is no larger; other bytes say that something else follows.
const CLASS_MAX: u8 = 64;
const NEAR_TID: u8 = 0x81;
const NEAR_TEXT: u8 = 0x82;
const FAR_TID: u8 = 0x83;
const FAR_TEXT: u8 = 0x84;
const BYTES: u8 = 0x85;

/// Microseconds in a millisecond, and how many bits they have.
const MS: u64 = 1000;
const MICROS_BITS: u32 = 10;
/// More than this is told as it is.
const MORE_MAX: u64 = 15;
const OTHER: u8 = 255;
/// Clocks that a TID is likely to have: its last letter.
const CLOCKS: u64 = 32;

/// Collections of a block, in order of appearance.
#[derive(Debug, Default)]
pub(crate) struct Collections {
    names: Vec<Box<[u8]>>,
}

/// What stands in front of a path, the event's rev, and the layer of the node that the path is a key
/// of, if that is known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Near<'a> {
    pub(crate) before: &'a [u8],
    pub(crate) rev: Tid,
    pub(crate) layer: Option<u32>,
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
        Some(Path { collection, rkey, tid: Tid::of(rkey).filter(is_usual) })
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
        beside: Near<'_>,
        path: &[u8],
    ) {
        let Near { before, rev, .. } = beside;
        let Some(new) = Path::of(path) else {
            out.byte(stream, BYTES);
            out.text(Stream::Name, path);
            return;
        };
        let near = Path::of(before).filter(|near| near.collection == new.collection);
        match (near, new.tid) {
            (Some(Path { tid: Some(near), .. }), Some(tid)) if near.micros() <= tid.micros() => {
                out.number(stream, tid.micros() / MS - near.micros() / MS);
                put_micros(out, near, tid);
                put_clock_of(out, near, tid, (path, beside.layer));
            }
            (Some(_), Some(tid)) => {
                out.byte(stream, NEAR_TID);
                put_moment(out, stream, rev, tid);
                put_clock_of(out, rev, tid, (path, beside.layer));
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
                put_moment(out, stream, rev, tid);
                put_clock_of(out, rev, tid, (path, beside.layer));
            }
            (None, None) => {
                out.byte(stream, FAR_TEXT);
                self.put(out, new.collection);
                out.text(Stream::Name, new.rkey);
            }
        }
    }

    /// Reads what [`Collections::put_path`] wrote to the end of `to`.
    pub(crate) fn take_path(
        &mut self,
        input: &mut In<'_>,
        stream: Stream,
        beside: Near<'_>,
        to: &mut Vec<u8>,
    ) -> Option<()> {
        let Near { before, rev, .. } = beside;
        let start = to.len();
        let kind = input.byte(stream)?;
        let later = kind <= CLASS_MAX;
        let near = if kind <= NEAR_TEXT { Path::of(before) } else { None };
        match kind {
            _ if later => to.extend_from_slice(near?.collection),
            NEAR_TID | NEAR_TEXT => to.extend_from_slice(near?.collection),
            FAR_TID | FAR_TEXT => to.extend_from_slice(self.take(input)?),
            BYTES => {
                to.extend_from_slice(input.text(Stream::Name)?);
                return Some(());
            }
            _ => return None,
        }
        to.push(b'/');
        match kind {
            _ if later => {
                let near = near?.tid?;
                let later = input.of_class(kind)?;
                let micros = match input.codec {
                    APART_2 => near.micros().checked_add(later)?,
                    _ => take_micros(input, near, (near.micros() / MS).checked_add(later)?)?,
                };
                take_clock_of(input, near, micros, (to, start, beside.layer))?;
            }
            NEAR_TID | FAR_TID => {
                let micros = take_moment(input, stream, rev)?;
                take_clock_of(input, rev, micros, (to, start, beside.layer))?;
            }
            NEAR_TEXT => {
                let rkey = near?.rkey;
                let shared = input.count(Stream::Name, rkey.len())?;
                to.extend_from_slice(rkey.get(..shared)?);
                to.extend_from_slice(input.text(Stream::Name)?);
            }
            _ => to.extend_from_slice(input.text(Stream::Name)?),
        }
        Some(())
    }
}

/// The TID that a text is, if it is of a time that [`Tid::new`] knows.
pub(crate) fn tid(text: &str) -> Option<Tid> {
    Tid::of(text.as_bytes()).filter(is_usual)
}

fn is_usual(tid: &Tid) -> bool {
    tid.0 >> 63 == 0
}

/// Appends a TID's characters.
pub(crate) fn extend(out: &mut Vec<u8>, tid: Tid) {
    out.extend_from_slice(&tid.chars());
}

/// Appends a TID by how long before the rev it is.
pub(crate) fn put_tid(out: &mut Out, stream: Stream, rev: Tid, tid: Tid) {
    put_moment(out, stream, rev, tid);
    put_clock(out, rev, tid);
}

fn put_moment(out: &mut Out, stream: Stream, rev: Tid, tid: Tid) {
    out.signed(stream, (rev.micros() / MS) as i64 - (tid.micros() / MS) as i64);
    put_micros(out, rev, tid);
}

/// Reads what [`put_tid`] wrote.
pub(crate) fn take_tid(input: &mut In<'_>, stream: Stream, rev: Tid) -> Option<Tid> {
    let micros = take_moment(input, stream, rev)?;
    Some(Tid::new(micros, take_clock(input, rev)?))
}

fn take_moment(input: &mut In<'_>, stream: Stream, rev: Tid) -> Option<u64> {
    let before = input.signed(stream)?;
    if input.codec == APART_2 {
        return u64::try_from((rev.micros() as i64).checked_sub(before)?).ok();
    }
    let ms = ((rev.micros() / MS) as i64).checked_sub(before)?;
    take_micros(input, rev, u64::try_from(ms).ok()?)
}

fn put_micros(out: &mut Out, near: Tid, tid: Tid) {
    let (near, here) = (near.micros() % MS, tid.micros() % MS);
    match here.checked_sub(near) {
        _ if here == 0 => out.byte(Stream::Micros, 0),
        Some(more) if more <= MORE_MAX => out.byte(Stream::Micros, 1 + more as u8),
        _ => {
            out.byte(Stream::Micros, OTHER);
            out.low_bits(here, MICROS_BITS);
        }
    }
}

fn take_micros(input: &mut In<'_>, near: Tid, ms: u64) -> Option<u64> {
    let micros = match input.byte(Stream::Micros)? {
        0 => 0,
        OTHER => input.low_bits(MICROS_BITS)?,
        more => near.micros() % MS + u64::from(more) - 1,
    };
    ms.checked_mul(MS)?.checked_add(micros)
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

/// The clock of a TID that a path ends with.
fn put_clock_of(out: &mut Out, near: Tid, tid: Tid, (path, layer): (&[u8], Option<u32>)) {
    let Some(layer) = layer.filter(|layer| *layer > 0) else {
        return put_clock(out, near, tid);
    };
    let clock = u64::from(tid.clock());
    let mut other = path.to_vec();
    let fits = clock < CLOCKS && mst::layer(path) == layer;
    let told = if fits {
        (0..clock).filter(|clock| has_layer(&mut other, *clock, layer)).count() as u64
    } else {
        CLOCKS + clock
    };
    out.varint(Stream::Clock, told);
}

/// Appends the TID of this moment to the path that begins at `start`.
fn take_clock_of(
    input: &mut In<'_>,
    near: Tid,
    micros: u64,
    (to, start, layer): (&mut Vec<u8>, usize, Option<u32>),
) -> Option<()> {
    let Some(layer) = layer.filter(|layer| *layer > 0 && input.codec != APART_2) else {
        extend(to, Tid::new(micros, take_clock(input, near)?));
        return Some(());
    };
    let told = input.varint(Stream::Clock)?;
    if let Some(clock) = told.checked_sub(CLOCKS) {
        extend(to, Tid::new(micros, u16::try_from(clock).ok()?));
        return Some(());
    }
    extend(to, Tid::new(micros, 0));
    let path = to.get_mut(start..)?;
    let mut left = told;
    for clock in 0..CLOCKS {
        if has_layer(path, clock, layer) {
            match left.checked_sub(1) {
                Some(less) => left = less,
                None => return Some(()),
            }
        }
    }
    None
}

/// Gives the path's TID another clock; whether it has this layer then.
fn has_layer(path: &mut [u8], clock: u64, layer: u32) -> bool {
    if let Some(last) = path.last_mut() {
        *last = Tid(clock).last_char();
    }
    mst::layer(path) == layer
}
