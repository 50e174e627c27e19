//! Objects: records, and the envelopes of events that are not commits. What they look like goes
//! one way, what they say goes others.
//!
//! An object is walked value by value. [`Stream::Shape`] gets the heads of values as they are (of
//! CBOR, with map keys whole), and in the place of a value that goes elsewhere one of the bytes
//! that CBOR never begins a value with:
//!
//! | byte | value                               | in the shape  | elsewhere                        |
//! |-----:|-------------------------------------|---------------|----------------------------------|
//! | 0x1c | text                                | length, text  |                                  |
//! | 0x1d | the event's seq                     |               |                                  |
//! | 0x3c | link to DAG-CBOR                    | hash          |                                  |
//! | 0x3d | link to bytes without structure     | hash          |                                  |
//! | 0x3e | the first as text                   | hash          |                                  |
//! | 0x3f | the second as text                  | hash          |                                  |
//! | 0x5c | bytes                               |               | length, and in `Text` the bytes  |
//! | 0x5d | bytes: a CAR of the account's last commit alone |   |                                  |
//! | 0x5e | TID as text                         |               | number, clock                    |
//! | 0x5f | time, see [`atproto::datetime`]           |               | number: milliseconds after the rev |
//! | 0x7c | text                                |               | length, and in `Text` the text   |
//! | 0x7d | DID                                 | DID           |                                  |
//! | 0x7e | `at://` DID `/` collection `/` TID  | DID, length, collection | number, clock          |
//! | 0x7f | `at://` DID, anything               | DID, length, the rest |                          |
//!
//! A DID is a byte: 0 is the account's, 1 a new one with 15 bytes in [`Stream::Did`], others count
//! from 2 backwards through the last that were new. A hash is a byte too: 0 is a new one with 32
//! bytes in [`Stream::Hash`], others count from 1 backwards through those.

use atproto::{Cid, PlcDid, Tid, datetime};

use super::Facts;
use super::path::{put_tid, take_tid, tid};
use super::streams::{In, Out, Stream};
use super::write::{self, CID_HEAD, Digest, LINK_HEAD, RAW_CID_HEAD};

const TEXT_HERE: u8 = 0x1c;
const SEQ: u8 = 0x1d;
const LINK: u8 = 0x3c;
const RAW_LINK: u8 = 0x3d;
const LINK_TEXT: u8 = 0x3e;
const RAW_LINK_TEXT: u8 = 0x3f;
const BYTES: u8 = 0x5c;
const LAST_COMMIT: u8 = 0x5d;
const TID: u8 = 0x5e;
const TIME: u8 = 0x5f;
const TEXT: u8 = 0x7c;
const DID: u8 = 0x7d;
const RECORD: u8 = 0x7e;
const BENEATH: u8 = 0x7f;

/// Deeper objects are kept as they are.
const DEPTH_MAX: usize = 64;
/// Text up to this is worth no place of its own.
const SHORT_BYTES: usize = 5;
const LINK_BYTES: usize = LINK_HEAD.len() + Cid::BYTES;

/// Values that come again soon.
#[derive(Debug)]
pub(crate) struct Recent<T> {
    ring: std::collections::VecDeque<T>,
}

impl<T> Default for Recent<T> {
    fn default() -> Recent<T> {
        Recent { ring: std::collections::VecDeque::new() }
    }
}

impl<T: PartialEq + Copy> Recent<T> {
    const LEN: usize = 16;

    pub(crate) fn clear(&mut self) {
        self.ring.clear();
    }

    fn find(&self, value: &T) -> Option<u8> {
        self.ring.iter().position(|known| known == value).map(|at| at as u8)
    }

    fn get(&self, at: u8) -> Option<T> {
        self.ring.get(usize::from(at)).copied()
    }

    fn push(&mut self, value: T) {
        self.ring.truncate(Self::LEN - 1);
        self.ring.push_front(value);
    }
}

/// What one object has in common with those before it.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    dids: Recent<PlcDid>,
    hashes: Recent<Digest>,
    open: Vec<Level>,
    /// A CAR that the account's last commit is alone in.
    commit_car: Vec<u8>,
    /// Room for a text.
    text: Vec<u8>,
}

/// An array or a map that is not ended.
#[derive(Debug, Clone, Copy)]
struct Level {
    left: u64,
    /// Keys and values take turns.
    map: bool,
}

/// A head: major type, argument, and how many bytes it has.
#[derive(Debug, Clone, Copy)]
struct Head {
    major: u8,
    value: u64,
    len: usize,
}

impl Head {
    /// Reads a head in its shortest form.
    fn read(bytes: &[u8]) -> Option<Head> {
        let first = *bytes.first()?;
        let (major, low) = (first >> 5, first & 31);
        let rest = bytes.get(1..)?;
        let (value, least, len) = match low {
            0..24 => return Some(Head { major, value: u64::from(low), len: 1 }),
            24 => (u64::from(*rest.first()?), 24, 2),
            25 => (u64::from(u16::from_be_bytes(*rest.first_chunk()?)), 0x100, 3),
            26 => (u64::from(u32::from_be_bytes(*rest.first_chunk()?)), 0x1_0000, 5),
            27 => (u64::from_be_bytes(*rest.first_chunk()?), 0x1_0000_0000, 9),
            _ => return None,
        };
        // Simple values and floats have no shortest form.
        (major == 7 || value >= least).then_some(Head { major, value, len })
    }
}

/// Where a value stands among others.
enum Turn {
    Key,
    Value,
    End,
}

impl Objects {
    pub(crate) fn clear(&mut self) {
        self.dids.clear();
        self.hashes.clear();
        self.commit_car.clear();
    }

    /// The account's last commit is this block.
    pub(crate) fn commit(&mut self, digest: &Digest, block: &[u8]) {
        self.commit_car.clear();
        write::car_header(&mut self.commit_car, digest);
        write::car_block(&mut self.commit_car, digest, block);
    }

    /// Another account follows.
    pub(crate) fn no_commit(&mut self) {
        self.commit_car.clear();
    }

    fn start(&mut self) {
        self.open.clear();
        self.open.push(Level { left: 1, map: false });
    }

    /// What comes next.
    fn turn(&mut self) -> Turn {
        while self.open.last().is_some_and(|level| level.left == 0) {
            self.open.pop();
        }
        let Some(level) = self.open.last_mut() else { return Turn::End };
        level.left -= 1;
        if level.map && level.left % 2 == 1 { Turn::Key } else { Turn::Value }
    }

    /// A head that has others under it.
    fn enter(&mut self, head: Head) -> Option<()> {
        let (left, map) = match head.major {
            4 => (head.value, false),
            5 => (head.value.checked_mul(2)?, true),
            // A tag is followed by one value.
            _ => (1, false),
        };
        self.open.push(Level { left, map });
        (self.open.len() <= DEPTH_MAX).then_some(())
    }

    /// The length of the object that `bytes` begins with, if it can be taken apart.
    pub(crate) fn measure(&mut self, bytes: &[u8]) -> Option<usize> {
        self.start();
        let mut at = 0;
        loop {
            let turn = self.turn();
            if matches!(turn, Turn::End) {
                return Some(at);
            }
            let head = Head::read(bytes.get(at..)?)?;
            at += head.len;
            match head.major {
                2 | 3 => {
                    let end = at.checked_add(usize::try_from(head.value).ok()?)?;
                    let content = bytes.get(at..end)?;
                    if head.major == 3 {
                        std::str::from_utf8(content).ok()?;
                    }
                    at = end;
                }
                4..=6 => self.enter(head)?,
                _ => {}
            }
            if matches!(turn, Turn::Key) && head.major != 3 {
                return None;
            }
        }
    }

    /// Appends an object that [`Objects::measure`] has found in order.
    pub(crate) fn put(&mut self, out: &mut Out, facts: &Facts, bytes: &[u8]) -> Option<()> {
        self.start();
        let mut at = 0;
        let mut is_type = false;
        loop {
            let turn = self.turn();
            if matches!(turn, Turn::End) {
                return (at == bytes.len()).then_some(());
            }
            let rest = bytes.get(at..)?;
            let head = Head::read(rest)?;
            at += head.len;
            let content = match head.major {
                2 | 3 => rest.get(head.len..head.len.checked_add(head.value as usize)?)?,
                _ => &[],
            };
            at += content.len();
            match (turn, head.major) {
                (Turn::Key, _) => {
                    out.bytes(Stream::Shape, rest.get(..head.len + content.len())?);
                    is_type = content == b"$type";
                }
                (_, 0) if head.value == facts.seq => out.byte(Stream::Shape, SEQ),
                (_, 2) if content == self.commit_car => out.byte(Stream::Shape, LAST_COMMIT),
                (_, 2) => {
                    out.byte(Stream::Shape, BYTES);
                    out.varint(Stream::Length, content.len() as u64);
                    out.bytes(Stream::Text, content);
                }
                (_, 3) => self.put_text(out, facts, std::str::from_utf8(content).ok()?, is_type)?,
                (_, 6) if self.put_link(out, rest).is_some() => {
                    at = at - head.len + LINK_BYTES;
                }
                (_, major) => {
                    out.bytes(Stream::Shape, rest.get(..head.len)?);
                    if (4..=6).contains(&major) {
                        self.enter(head)?;
                    }
                }
            }
        }
    }

    fn put_link(&mut self, out: &mut Out, bytes: &[u8]) -> Option<()> {
        let cid = bytes.get(..LINK_BYTES)?.strip_prefix(&LINK_HEAD)?;
        let (head, digest) = cid.split_first_chunk::<4>()?;
        let mark = match *head {
            CID_HEAD => LINK,
            RAW_CID_HEAD => RAW_LINK,
            _ => return None,
        };
        out.byte(Stream::Shape, mark);
        self.put_hash(out, digest.first_chunk()?);
        Some(())
    }

    fn put_hash(&mut self, out: &mut Out, digest: &Digest) {
        match self.hashes.find(digest) {
            Some(at) => out.byte(Stream::Shape, at + 1),
            None => {
                out.byte(Stream::Shape, 0);
                out.bytes(Stream::Hash, digest);
                self.hashes.push(*digest);
            }
        }
    }

    fn put_text(&mut self, out: &mut Out, facts: &Facts, text: &str, is_type: bool) -> Option<()> {
        if is_type || text.len() <= SHORT_BYTES {
            out.byte(Stream::Shape, TEXT_HERE);
            out.text(Stream::Shape, text.as_bytes());
        } else if let Some(ms) = datetime::parse(text) {
            out.byte(Stream::Shape, TIME);
            out.signed(Stream::Number, ms.checked_sub(Facts::ms(facts.rev))?);
        } else if let Some(tid) = tid(text) {
            out.byte(Stream::Shape, TID);
            put_tid(out, Stream::Number, facts.rev, tid);
        } else if let Ok(cid) = text.parse::<Cid>() {
            let raw = cid.codec() == atproto::cid::Codec::Raw;
            out.byte(Stream::Shape, if raw { RAW_LINK_TEXT } else { LINK_TEXT });
            self.put_hash(out, cid.digest());
        } else if let Some(did) = PlcDid::parse(text) {
            out.byte(Stream::Shape, DID);
            self.put_did(out, facts, did);
        } else if let Some((did, beneath)) = uri(text) {
            match record(beneath) {
                Some((collection, tid)) => {
                    out.byte(Stream::Shape, RECORD);
                    self.put_did(out, facts, did);
                    out.text(Stream::Shape, collection.as_bytes());
                    put_tid(out, Stream::Number, facts.rev, tid);
                }
                None => {
                    out.byte(Stream::Shape, BENEATH);
                    self.put_did(out, facts, did);
                    out.text(Stream::Shape, beneath.as_bytes());
                }
            }
        } else {
            out.byte(Stream::Shape, TEXT);
            out.varint(Stream::Length, text.len() as u64);
            out.bytes(Stream::Text, text.as_bytes());
        }
        Some(())
    }

    fn put_did(&mut self, out: &mut Out, facts: &Facts, did: PlcDid) {
        if facts.did == Some(did) {
            out.byte(Stream::Shape, 0);
        } else if let Some(at) = self.dids.find(&did) {
            out.byte(Stream::Shape, at + 2);
        } else {
            out.byte(Stream::Shape, 1);
            out.bytes(Stream::Did, did.as_bytes());
            self.dids.push(did);
        }
    }

    /// Reads an object back, at most up to `limit` bytes of `to`.
    pub(crate) fn take(
        &mut self,
        input: &mut In<'_>,
        facts: &Facts,
        to: &mut Vec<u8>,
        limit: usize,
    ) -> Option<()> {
        self.start();
        loop {
            let turn = self.turn();
            if matches!(turn, Turn::End) {
                return Some(());
            }
            if to.len() > limit {
                return None;
            }
            let first = input.byte(Stream::Shape)?;
            if matches!(turn, Turn::Key) {
                let head = take_head(input, first, to)?;
                let len = usize::try_from(head.value).ok().filter(|_| head.major == 3)?;
                to.extend_from_slice(input.bytes(Stream::Shape, len)?);
            } else if first & 31 >= 28 {
                self.take_marked(input, facts, first, to)?;
            } else {
                let head = take_head(input, first, to)?;
                match head.major {
                    2 | 3 => return None,
                    4..=6 => self.enter(head)?,
                    _ => {}
                }
            }
        }
    }

    fn take_marked(
        &mut self,
        input: &mut In<'_>,
        facts: &Facts,
        mark: u8,
        to: &mut Vec<u8>,
    ) -> Option<()> {
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        let taken = self.take_text(input, facts, mark, (&mut text, to));
        if taken == Some(true) {
            write::head(to, 3, text.len() as u64);
            to.extend_from_slice(&text);
        }
        self.text = text;
        taken.map(|_| ())
    }

    /// Reads what is marked: to `text` if it is one that is not written yet, which is told.
    fn take_text(
        &mut self,
        input: &mut In<'_>,
        facts: &Facts,
        mark: u8,
        (text, to): (&mut Vec<u8>, &mut Vec<u8>),
    ) -> Option<bool> {
        match mark {
            TEXT_HERE => text.extend_from_slice(input.text(Stream::Shape)?),
            SEQ => {
                write::uint(to, facts.seq);
                return Some(false);
            }
            LINK | RAW_LINK => {
                to.extend_from_slice(&LINK_HEAD);
                to.extend_from_slice(if mark == LINK { &CID_HEAD } else { &RAW_CID_HEAD });
                to.extend_from_slice(&self.take_hash(input)?);
                return Some(false);
            }
            LINK_TEXT | RAW_LINK_TEXT => {
                let mut cid = [0; Cid::BYTES];
                let (head, digest) = cid.split_first_chunk_mut::<4>()?;
                *head = if mark == LINK_TEXT { CID_HEAD } else { RAW_CID_HEAD };
                digest.copy_from_slice(&self.take_hash(input)?);
                text.extend_from_slice(Cid::from_slice(&cid).ok()?.text().as_str().as_bytes());
            }
            BYTES | TEXT => {
                let len = usize::try_from(input.varint(Stream::Length)?).ok()?;
                let content = input.bytes(Stream::Text, len)?;
                write::head(to, if mark == BYTES { 2 } else { 3 }, len as u64);
                to.extend_from_slice(content);
                return Some(false);
            }
            LAST_COMMIT => {
                write::bytes(to, &self.commit_car);
                return Some(false);
            }
            TID => super::path::extend(text, take_tid(input, Stream::Number, facts.rev)?),
            TIME => {
                let ms = Facts::ms(facts.rev).checked_add(input.signed(Stream::Number)?)?;
                datetime::put(text, ms)?;
            }
            DID => self.take_did(input, facts, text)?,
            RECORD | BENEATH => {
                text.extend_from_slice(b"at://");
                self.take_did(input, facts, text)?;
                if mark == RECORD {
                    text.push(b'/');
                }
                text.extend_from_slice(input.text(Stream::Shape)?);
                if mark == RECORD {
                    text.push(b'/');
                    let tid = take_tid(input, Stream::Number, facts.rev)?;
                    super::path::extend(text, tid);
                }
            }
            _ => return None,
        }
        Some(true)
    }

    fn take_hash(&mut self, input: &mut In<'_>) -> Option<Digest> {
        match input.byte(Stream::Shape)?.checked_sub(1) {
            Some(at) => self.hashes.get(at),
            None => {
                let digest = input.array(Stream::Hash)?;
                self.hashes.push(digest);
                Some(digest)
            }
        }
    }

    fn take_did(&mut self, input: &mut In<'_>, facts: &Facts, to: &mut Vec<u8>) -> Option<()> {
        let did = match input.byte(Stream::Shape)? {
            0 => facts.did?,
            1 => {
                let did = PlcDid::from_bytes(input.array(Stream::Did)?);
                self.dids.push(did);
                did
            }
            at => self.dids.get(at - 2)?,
        };
        to.extend_from_slice(&did.chars());
        Some(())
    }
}

/// A head as it stands in the shape; appended to `to`.
fn take_head(input: &mut In<'_>, first: u8, to: &mut Vec<u8>) -> Option<Head> {
    let start = to.len();
    to.push(first);
    let more = match first & 31 {
        0..24 => 0,
        24 => 1,
        25 => 2,
        26 => 4,
        27 => 8,
        _ => return None,
    };
    to.extend_from_slice(input.bytes(Stream::Shape, more)?);
    Head::read(to.get(start..)?)
}

/// `at://`, a did:plc, and what is beneath it.
fn uri(text: &str) -> Option<(PlcDid, &str)> {
    let rest = text.strip_prefix("at://")?;
    let (did, beneath) = rest.split_at_checked("did:plc:".len() + PlcDid::CHARS)?;
    Some((PlcDid::parse(did)?, beneath))
}

/// `/collection/TID`.
fn record(beneath: &str) -> Option<(&str, Tid)> {
    let (collection, rkey) = beneath.strip_prefix('/')?.split_once('/')?;
    Some((collection, tid(rkey)?))
}
