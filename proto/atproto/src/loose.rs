//! CBOR that is merely well formed (RFC 8949), and what is odd about it.
//!
//! A record need not be strict DAG-CBOR: it was signed as it is, and nobody may
//! take it away for a long integer. So records are walked by this reader, which
//! refuses only what cannot be read at all and notes the rest.

use crate::cbor::{Cause, DEPTH_MAX, Error};
use crate::cid;

/// One head, or a whole value where that has no parts.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Item<'a> {
    /// Zero or more.
    Uint(u64),
    /// `-1 - n`.
    Nint(u64),
    /// A byte string.
    Bytes(&'a [u8]),
    /// Text; perhaps not UTF-8.
    Text(&'a [u8]),
    /// Chunks of bytes up to a [`Item::Break`].
    BytesOpen,
    /// Chunks of text up to a [`Item::Break`].
    TextOpen,
    /// That many values; `None`: values up to a [`Item::Break`].
    Array(Option<u64>),
    /// That many keys and values; `None`: up to a [`Item::Break`].
    Map(Option<u64>),
    /// A tag on the value that follows.
    Tag(u64),
    /// `true` or `false`.
    Bool(bool),
    /// `null`.
    Null,
    /// A float of any width.
    Float(f64),
    /// `undefined` (23) or another simple value.
    Simple(u8),
    /// The end of something of indefinite length.
    Break,
}

/// What is odd about a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Oddity {
    /// A number or length in a longer form than it needs.
    LongForm,
    /// Map keys out of order.
    KeyOrder,
    /// The same map key twice in a row.
    KeyTwice,
    /// A map key that is not text.
    KeyKind,
    /// An indefinite length.
    Indefinite,
    /// A tag other than 42.
    Tag,
    /// A tag 42 without a CID in it.
    Link,
    /// A float of 16 or 32 bits.
    ShortFloat,
    /// NaN or an infinity.
    NotFinite,
    /// `undefined` or another simple value.
    Simple,
    /// Text that is not UTF-8.
    Utf8,
    /// A float at all: DAG-CBOR has them, the network's data model does not.
    Float,
    /// The value itself is no map.
    NotMap,
}

impl Oddity {
    const ALL: [Oddity; 13] = [
        Oddity::LongForm,
        Oddity::KeyOrder,
        Oddity::KeyTwice,
        Oddity::KeyKind,
        Oddity::Indefinite,
        Oddity::Tag,
        Oddity::Link,
        Oddity::ShortFloat,
        Oddity::NotFinite,
        Oddity::Simple,
        Oddity::Utf8,
        Oddity::Float,
        Oddity::NotMap,
    ];

    /// A short name for people and scripts.
    pub fn name(self) -> &'static str {
        match self {
            Oddity::LongForm => "long-form",
            Oddity::KeyOrder => "key-order",
            Oddity::KeyTwice => "key-twice",
            Oddity::KeyKind => "key-kind",
            Oddity::Indefinite => "indefinite",
            Oddity::Tag => "tag",
            Oddity::Link => "link",
            Oddity::ShortFloat => "short-float",
            Oddity::NotFinite => "not-finite",
            Oddity::Simple => "simple",
            Oddity::Utf8 => "utf8",
            Oddity::Float => "float",
            Oddity::NotMap => "not-map",
        }
    }
}

/// The oddities of one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Notes(u16);

impl Notes {
    fn add(&mut self, oddity: Oddity) {
        self.0 |= 1 << oddity as u16;
    }

    /// Nothing odd at all.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether it has that oddity.
    pub fn has(self, oddity: Oddity) -> bool {
        self.0 & (1 << oddity as u16) != 0
    }

    /// Whether it is strict DAG-CBOR, which allows floats and values that are no
    /// map.
    pub fn is_strict(self) -> bool {
        self.0 & !(1 << Oddity::Float as u16 | 1 << Oddity::NotMap as u16) == 0
    }

    /// All of them.
    pub fn iter(self) -> impl Iterator<Item = Oddity> {
        Oddity::ALL.into_iter().filter(move |oddity| self.has(*oddity))
    }
}

/// Reads heads one after the other; see [`walk`] for the checks on how they
/// follow each other.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    notes: Notes,
}

impl<'a> Reader<'a> {
    /// Begins at the first byte.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0, notes: Notes::default() }
    }

    /// Offset of the next item.
    pub fn position(&self) -> usize {
        self.at
    }

    /// What was odd so far.
    pub fn notes(&self) -> Notes {
        self.notes
    }

    /// Ends the reading: nothing may be left.
    pub fn end(&self) -> Result<(), Error> {
        if self.at >= self.bytes.len() { Ok(()) } else { self.error(Cause::Trailing) }
    }

    /// Whether the next item is a break, which is consumed.
    fn at_break(&mut self) -> bool {
        let found = self.bytes.get(self.at) == Some(&0xff);
        self.at += usize::from(found);
        found
    }

    /// Whether another part of an array or a map follows: by its count, or up to a
    /// break, which is consumed.
    pub fn more(&mut self, left: &mut Option<u64>) -> bool {
        match left {
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
            None => !self.at_break(),
        }
    }

    /// The chunks behind a [`Item::BytesOpen`] or [`Item::TextOpen`], each of the
    /// same kind, up to the break.
    pub fn chunks(&mut self, open: Item<'_>, mut each: impl FnMut(&'a [u8])) -> Result<(), Error> {
        while !self.at_break() {
            let offset = self.at;
            match (open, self.item()?) {
                (Item::BytesOpen, Item::Bytes(chunk)) | (Item::TextOpen, Item::Text(chunk)) => {
                    each(chunk);
                }
                _ => return Err(Error { offset, cause: Cause::Indefinite }),
            }
        }
        Ok(())
    }

    fn error<T>(&self, cause: Cause) -> Result<T, Error> {
        Err(Error { offset: self.at, cause })
    }

    fn take<const N: usize>(&self) -> Result<[u8; N], Error> {
        match self.bytes.get(self.at + 1..).and_then(|rest| rest.first_chunk::<N>()) {
            Some(bytes) => Ok(*bytes),
            None => self.error(Cause::Truncated),
        }
    }

    fn string(&mut self, length: u64) -> Result<&'a [u8], Error> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        match usize::try_from(length).ok().and_then(|length| rest.get(..length)) {
            Some(bytes) => {
                self.at += bytes.len();
                Ok(bytes)
            }
            None => self.error(Cause::Truncated),
        }
    }

    /// The next item. Strings come whole; arrays, maps and tags are heads whose
    /// parts follow.
    pub fn item(&mut self) -> Result<Item<'a>, Error> {
        let Some(&byte) = self.bytes.get(self.at) else {
            return self.error(Cause::Truncated);
        };
        let (value, size, least) = match byte & 31 {
            small @ 0..=23 => (Some(u64::from(small)), 0, 0),
            24 => (Some(u64::from(u8::from_be_bytes(self.take()?))), 1, 24),
            25 => (Some(u64::from(u16::from_be_bytes(self.take()?))), 2, 1 << 8),
            26 => (Some(u64::from(u32::from_be_bytes(self.take()?))), 4, 1 << 16),
            27 => (Some(u64::from_be_bytes(self.take()?)), 8, 1 << 32),
            31 => (None, 0, 0),
            _ => return self.error(Cause::Reserved(byte)),
        };
        if byte >> 5 == 7 {
            return self.simple(byte, size, value.unwrap_or_default());
        }
        match value {
            None => self.notes.add(Oddity::Indefinite),
            Some(value) if value < least => self.notes.add(Oddity::LongForm),
            Some(_) => {}
        }
        let head = self.at;
        self.at += 1 + size;
        let left = self.bytes.len().saturating_sub(self.at) as u64;
        let refuse = |cause| Err(Error { offset: head, cause });
        Ok(match (byte >> 5, value) {
            (0, Some(value)) => Item::Uint(value),
            (1, Some(value)) => Item::Nint(value),
            (2, Some(length)) => Item::Bytes(self.string(length)?),
            (2, None) => Item::BytesOpen,
            (3, Some(length)) => {
                let text = self.string(length)?;
                if std::str::from_utf8(text).is_err() {
                    self.notes.add(Oddity::Utf8);
                }
                Item::Text(text)
            }
            (3, None) => Item::TextOpen,
            (4, Some(count)) if count > left => return refuse(Cause::Truncated),
            (5, Some(count)) if count > left / 2 => return refuse(Cause::Truncated),
            (4, count) => Item::Array(count),
            (5, count) => Item::Map(count),
            (6, Some(tag)) => Item::Tag(tag),
            _ => return refuse(Cause::Reserved(byte)),
        })
    }

    fn simple(&mut self, byte: u8, size: usize, value: u64) -> Result<Item<'a>, Error> {
        let item = match byte {
            0xf4 | 0xf5 => Item::Bool(byte == 0xf5),
            0xf6 => Item::Null,
            0xf9 => Item::Float(half(value as u16)),
            0xfa => Item::Float(f64::from(f32::from_bits(value as u32))),
            0xfb => Item::Float(f64::from_bits(value)),
            0xff => Item::Break,
            // Two bytes for what fits in one are not well formed (RFC 8949, 3.3).
            0xf8 if value < 32 => return self.error(Cause::Reserved(byte)),
            _ => Item::Simple(value as u8),
        };
        match item {
            Item::Float(value) => {
                self.notes.add(Oddity::Float);
                if byte != 0xfb {
                    self.notes.add(Oddity::ShortFloat);
                }
                if !value.is_finite() {
                    self.notes.add(Oddity::NotFinite);
                }
            }
            Item::Simple(_) => self.notes.add(Oddity::Simple),
            _ => {}
        }
        self.at += 1 + size;
        Ok(item)
    }
}

/// A float of 16 bits (RFC 8949, appendix D).
fn half(bits: u16) -> f64 {
    let (exponent, mantissa) = (i32::from(bits >> 10 & 31), f64::from(bits & 0x3ff));
    let value = match exponent {
        0 => mantissa * 2f64.powi(-24),
        31 if bits & 0x3ff == 0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (mantissa + 1024.0) * 2f64.powi(exponent - 25),
    };
    if bits & 0x8000 == 0 { value } else { -value }
}

/// Walks exactly one value and says what is odd about it.
pub fn walk(bytes: &[u8]) -> Result<Notes, Error> {
    let mut reader = Reader::new(bytes);
    if !matches!(value(&mut reader, DEPTH_MAX)?, Item::Map(_)) {
        reader.notes.add(Oddity::NotMap);
    }
    reader.end()?;
    Ok(reader.notes)
}

/// Walks one value; gives its head.
fn value<'a>(reader: &mut Reader<'a>, depth: usize) -> Result<Item<'a>, Error> {
    let offset = reader.at;
    let error = |cause| Err(Error { offset, cause });
    let item = reader.item()?;
    let parts = matches!(item, Item::Array(_) | Item::Map(_) | Item::Tag(_));
    if parts && depth == 0 {
        return error(Cause::Depth);
    }
    match item {
        Item::Break => return error(Cause::Reserved(0xff)),
        Item::BytesOpen | Item::TextOpen => reader.chunks(item, |_| ())?,
        Item::Array(count) => {
            let mut left = count;
            while reader.more(&mut left) {
                value(reader, depth - 1)?;
            }
        }
        Item::Map(count) => {
            let (mut left, mut last) = (count, None);
            while reader.more(&mut left) {
                key(reader, depth - 1, &mut last)?;
                value(reader, depth - 1)?;
            }
        }
        Item::Tag(42) => match value(reader, depth - 1)? {
            Item::Bytes([0, cid @ ..]) if cid::is_any(cid) => {}
            _ => reader.notes.add(Oddity::Link),
        },
        Item::Tag(_) => {
            reader.notes.add(Oddity::Tag);
            value(reader, depth - 1)?;
        }
        _ => {}
    }
    Ok(item)
}

fn key<'a>(
    reader: &mut Reader<'a>,
    depth: usize,
    last: &mut Option<&'a [u8]>,
) -> Result<(), Error> {
    let Item::Text(key) = value(reader, depth)? else {
        reader.notes.add(Oddity::KeyKind);
        return Ok(());
    };
    if let Some(last) = *last {
        match (last.len(), last).cmp(&(key.len(), key)) {
            std::cmp::Ordering::Less => {}
            std::cmp::Ordering::Equal => reader.notes.add(Oddity::KeyTwice),
            std::cmp::Ordering::Greater => reader.notes.add(Oddity::KeyOrder),
        }
    }
    *last = Some(key);
    Ok(())
}
