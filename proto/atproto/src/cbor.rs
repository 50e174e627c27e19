//! Strict DAG-CBOR, pulled value by value out of a slice.
//!
//! One value has one encoding here, so bytes can be compared, hashed and cut
//! instead of being encoded again. Strict means:
//!
//! - integers and lengths in their shortest form, no indefinite lengths;
//! - map keys are text, sorted by length and then by bytes, none twice;
//! - the only tag is 42, around a byte string of 0x00 and a CID;
//! - floats are 64 bits wide and finite; `true`, `false` and `null` are the only
//!   simple values;
//! - text is UTF-8; nesting is at most [`DEPTH_MAX`]; counts and lengths fit in
//!   what is left of the input.
//!
//! [`crate::loose`] reads what is merely well formed.

mod error;
pub mod write;

pub use error::{Cause, Error, Kind};

use crate::cid::{self, Cid};

/// Deepest nesting of arrays, maps and tags.
pub const DEPTH_MAX: usize = 128;

/// Reads values one after the other. After an error it stands where it was
/// found; only a fresh reader is of use then.
///
/// ```
/// let bytes = [0xa1, 0x61, b'a', 0x07];
/// let mut reader = atproto::cbor::Reader::new(&bytes);
/// let mut map = reader.map()?;
/// assert_eq!(map.next_key(&mut reader)?, Some("a"));
/// assert_eq!(reader.uint()?, 7);
/// assert_eq!(map.next_key(&mut reader)?, None);
/// reader.end()?;
/// # Ok::<(), atproto::cbor::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// The keys of a map that has been entered: the caller reads a value after each.
#[derive(Debug, Clone, Copy)]
pub struct Map<'a> {
    left: u64,
    last: Option<&'a [u8]>,
    /// Offset of that.
    last_at: usize,
}

impl<'a> Map<'a> {
    /// Entries not read yet.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// The next key, or `None` behind the last entry.
    pub fn next_key(&mut self, reader: &mut Reader<'a>) -> Result<Option<&'a str>, Error> {
        if self.next_name(reader)?.is_none() { Ok(None) } else { self.last_key().map(Some) }
    }

    /// The next key for who looks for known ones: it may not be UTF-8, and has to go to
    /// [`Map::skip_unknown`] if it is none of them.
    #[inline]
    pub(crate) fn next_name(&mut self, reader: &mut Reader<'a>) -> Result<Option<&'a [u8]>, Error> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let offset = reader.at;
        let error = |cause| Err(Error { offset, cause });
        if reader.kind()? != Kind::Text {
            return error(Cause::KeyKind);
        }
        let key = reader.string()?;
        if let Some(last) = self.last {
            match (last.len(), last).cmp(&(key.len(), key)) {
                std::cmp::Ordering::Less => {}
                std::cmp::Ordering::Equal => return error(Cause::KeyTwice),
                std::cmp::Ordering::Greater => return error(Cause::KeyOrder),
            }
        }
        (self.last, self.last_at) = (Some(key), offset);
        Ok(Some(key))
    }

    fn last_key(&self) -> Result<&'a str, Error> {
        let key = std::str::from_utf8(self.last.unwrap_or_default());
        key.map_err(|_| Error { offset: self.last_at, cause: Cause::Utf8 })
    }

    /// Passes over the value of a key that is not known.
    pub(crate) fn skip_unknown(&self, reader: &mut Reader<'a>) -> Result<(), Error> {
        self.last_key()?;
        reader.skip_value()
    }
}

impl<'a> Reader<'a> {
    /// Begins at the first byte.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0 }
    }

    /// Begins at an offset, so that positions count from the start of `bytes`.
    pub fn at(bytes: &'a [u8], at: usize) -> Reader<'a> {
        Reader { bytes, at }
    }

    /// Offset of the next value.
    pub fn position(&self) -> usize {
        self.at
    }

    /// Whether nothing is left.
    pub fn is_done(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// Ends the reading: nothing may be left.
    pub fn end(&self) -> Result<(), Error> {
        if self.is_done() { Ok(()) } else { self.error(Cause::Trailing) }
    }

    /// The bytes between two positions.
    pub fn span(&self, from: usize, to: usize) -> &'a [u8] {
        self.bytes.get(from..to).unwrap_or_default()
    }

    fn error<T>(&self, cause: Cause) -> Result<T, Error> {
        Err(Error { offset: self.at, cause })
    }

    /// The kind of the next value, not consumed.
    pub fn kind(&self) -> Result<Kind, Error> {
        let Some(&byte) = self.bytes.get(self.at) else {
            return self.error(Cause::Truncated);
        };
        Ok(match byte >> 5 {
            0 => Kind::Uint,
            1 => Kind::Nint,
            2 => Kind::Bytes,
            3 => Kind::Text,
            4 => Kind::Array,
            5 => Kind::Map,
            6 => Kind::Link,
            _ => match byte {
                0xf4 | 0xf5 => Kind::Bool,
                0xf6 => Kind::Null,
                0xf9..=0xfb => Kind::Float,
                _ => Kind::Simple,
            },
        })
    }

    fn expect(&self, wanted: Kind) -> Result<(), Error> {
        let found = self.kind()?;
        if found == wanted { Ok(()) } else { self.error(Cause::Kind { wanted, found }) }
    }

    fn take<const N: usize>(&self, at: usize) -> Result<[u8; N], Error> {
        match self.bytes.get(at..).and_then(|rest| rest.first_chunk::<N>()) {
            Some(bytes) => Ok(*bytes),
            None => self.error(Cause::Truncated),
        }
    }

    /// The number in a head and how many bytes the head has; not consumed.
    fn head(&self) -> Result<(u64, usize), Error> {
        let [byte] = self.take(self.at)?;
        let next = self.at + 1;
        let (value, least, size) = match byte & 31 {
            small @ 0..=23 => return Ok((u64::from(small), 1)),
            24 => (u64::from(u8::from_be_bytes(self.take(next)?)), 24, 2),
            25 => (u64::from(u16::from_be_bytes(self.take(next)?)), 1 << 8, 3),
            26 => (u64::from(u32::from_be_bytes(self.take(next)?)), 1 << 16, 5),
            27 => (u64::from_be_bytes(self.take(next)?), 1 << 32, 9),
            31 => return self.error(Cause::Indefinite),
            _ => return self.error(Cause::Reserved(byte)),
        };
        if value < least { self.error(Cause::LongForm) } else { Ok((value, size)) }
    }

    fn string(&mut self) -> Result<&'a [u8], Error> {
        let (length, size) = self.head()?;
        let rest = self.bytes.get(self.at + size..).unwrap_or_default();
        match usize::try_from(length).ok().and_then(|length| rest.get(..length)) {
            Some(bytes) => {
                self.at += size + bytes.len();
                Ok(bytes)
            }
            None => self.error(Cause::Truncated),
        }
    }

    /// A count of items, each of at least `least` bytes: more than fit in what is
    /// left is an error before anything is done for them.
    fn count(&mut self, least: u64) -> Result<u64, Error> {
        let (count, size) = self.head()?;
        let left = self.bytes.len().saturating_sub(self.at + size) as u64;
        if count > left / least {
            return self.error(Cause::Truncated);
        }
        self.at += size;
        Ok(count)
    }

    /// An integer of zero or more.
    pub fn uint(&mut self) -> Result<u64, Error> {
        self.expect(Kind::Uint)?;
        let (value, size) = self.head()?;
        self.at += size;
        Ok(value)
    }

    /// An integer that fits in 64 bits with a sign.
    pub fn int(&mut self) -> Result<i64, Error> {
        let negative = match self.kind()? {
            Kind::Nint => true,
            Kind::Uint => false,
            found => return self.error(Cause::Kind { wanted: Kind::Uint, found }),
        };
        let (value, size) = self.head()?;
        let Ok(value) = i64::try_from(value) else {
            return self.error(Cause::Range);
        };
        self.at += size;
        Ok(if negative { -1 - value } else { value })
    }

    /// A byte string.
    pub fn bytes(&mut self) -> Result<&'a [u8], Error> {
        self.expect(Kind::Bytes)?;
        self.string()
    }

    /// A text string.
    pub fn text(&mut self) -> Result<&'a str, Error> {
        self.expect(Kind::Text)?;
        let offset = self.at;
        let bytes = self.string()?;
        std::str::from_utf8(bytes).map_err(|_| Error { offset, cause: Cause::Utf8 })
    }

    /// Enters an array; the caller reads as many values as this says.
    pub fn array(&mut self) -> Result<u64, Error> {
        self.expect(Kind::Array)?;
        self.count(1)
    }

    /// Enters a map.
    pub fn map(&mut self) -> Result<Map<'a>, Error> {
        self.expect(Kind::Map)?;
        Ok(Map { left: self.count(2)?, last: None, last_at: 0 })
    }

    /// `true` or `false`.
    pub fn bool(&mut self) -> Result<bool, Error> {
        self.expect(Kind::Bool)?;
        let [byte] = self.take(self.at)?;
        self.at += 1;
        Ok(byte == 0xf5)
    }

    /// Consumes a `null` if that is what comes next.
    pub fn null(&mut self) -> Result<bool, Error> {
        let null = self.kind()? == Kind::Null;
        self.at += usize::from(null);
        Ok(null)
    }

    /// A finite float of 64 bits.
    pub fn float(&mut self) -> Result<f64, Error> {
        self.expect(Kind::Float)?;
        let [byte] = self.take(self.at)?;
        if byte != 0xfb {
            return self.error(Cause::ShortFloat);
        }
        let value = f64::from_be_bytes(self.take(self.at + 1)?);
        if !value.is_finite() {
            return self.error(Cause::NotFinite);
        }
        self.at += 9;
        Ok(value)
    }

    /// The bytes of the CID in a link, of whatever form the CID is.
    pub fn link(&mut self) -> Result<&'a [u8], Error> {
        self.expect(Kind::Link)?;
        let offset = self.at;
        let (tag, size) = self.head()?;
        if tag != 42 {
            return self.error(Cause::Tag(tag));
        }
        self.at += size;
        if self.kind()? != Kind::Bytes {
            return Err(Error { offset, cause: Cause::Link });
        }
        match self.string()? {
            [0, cid @ ..] if cid::is_any(cid) => Ok(cid),
            _ => Err(Error { offset, cause: Cause::Link }),
        }
    }

    /// A link to a CID of the form that this network uses.
    pub fn cid(&mut self) -> Result<Cid, Error> {
        match self.usual_cid() {
            Some(cid) => Ok(cid),
            None => self.any_cid(),
        }
    }

    fn any_cid(&mut self) -> Result<Cid, Error> {
        let offset = self.at;
        let cid = self.link()?;
        Cid::from_slice(cid).map_err(|cause| Error { offset, cause: Cause::Cid(cause) })
    }

    /// The bytes that are left.
    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Passes over these bytes if they are what comes next.
    #[inline]
    pub(crate) fn is_next(&mut self, bytes: &[u8]) -> bool {
        let is_next = self.rest().starts_with(bytes);
        self.at += if is_next { bytes.len() } else { 0 };
        is_next
    }

    /// A link whose one form is what all others are compared with. What is wrong with another is
    /// for the long way to say.
    #[inline]
    pub(crate) fn usual_cid(&mut self) -> Option<Cid> {
        let cid = self.rest().strip_prefix(&[0xd8, 42, 0x58, 1 + Cid::BYTES as u8, 0])?;
        let cid = Cid::from_slice(cid.get(..Cid::BYTES)?).ok()?;
        self.at += 5 + Cid::BYTES;
        Some(cid)
    }

    /// Such a link, or `null`.
    #[inline]
    pub(crate) fn usual_cid_or_null(&mut self) -> Option<Option<Cid>> {
        if self.is_next(&[0xf6]) { Some(None) } else { self.usual_cid().map(Some) }
    }

    /// A string of the kind with this first byte (0x40 bytes, 0x60 text), of at most 255 bytes.
    #[inline]
    pub(crate) fn usual_string(&mut self, kind: u8) -> Option<&'a [u8]> {
        let (head, rest) = self.rest().split_first()?;
        let (length, rest, size) = match head.checked_sub(kind)? {
            short @ 0..=23 => (short, rest, 1),
            24 => (*rest.first().filter(|length| **length > 23)?, rest.get(1..)?, 2),
            _ => return None,
        };
        let bytes = rest.get(..usize::from(length))?;
        self.at += size + bytes.len();
        Some(bytes)
    }

    /// A number below 256.
    #[inline]
    pub(crate) fn usual_uint(&mut self) -> Option<u64> {
        let (value, size) = match self.rest() {
            [small @ 0..=23, ..] => (*small, 1),
            [24, value, ..] if *value > 23 => (*value, 2),
            _ => return None,
        };
        self.at += size;
        Some(u64::from(value))
    }

    /// A link or `null`.
    pub fn cid_or_null(&mut self) -> Result<Option<Cid>, Error> {
        if self.null()? { Ok(None) } else { self.cid().map(Some) }
    }

    /// Text or `null`.
    pub fn text_or_null(&mut self) -> Result<Option<&'a str>, Error> {
        if self.null()? { Ok(None) } else { self.text().map(Some) }
    }

    /// Checks the next value, whatever it is, and passes over it.
    pub fn skip_value(&mut self) -> Result<(), Error> {
        self.skip(DEPTH_MAX)
    }

    fn skip(&mut self, depth: usize) -> Result<(), Error> {
        match self.kind()? {
            Kind::Uint | Kind::Nint => {
                let (_, size) = self.head()?;
                self.at += size;
            }
            Kind::Bytes => drop(self.bytes()?),
            Kind::Text => drop(self.text()?),
            Kind::Bool => drop(self.bool()?),
            Kind::Null => drop(self.null()?),
            Kind::Float => drop(self.float()?),
            Kind::Simple => {
                let [byte] = self.take(self.at)?;
                return self.error(if byte < 0xfc {
                    Cause::Simple(byte & 31)
                } else {
                    Cause::Reserved(byte)
                });
            }
            Kind::Array | Kind::Map | Kind::Link if depth == 0 => return self.error(Cause::Depth),
            Kind::Link => drop(self.link()?),
            Kind::Array => {
                for _ in 0..self.array()? {
                    self.skip(depth - 1)?;
                }
            }
            Kind::Map => {
                let mut map = self.map()?;
                while map.next_key(self)?.is_some() {
                    self.skip(depth - 1)?;
                }
            }
        }
        Ok(())
    }
}

/// Checks that `bytes` are exactly one value of strict DAG-CBOR.
pub fn check(bytes: &[u8]) -> Result<(), Error> {
    let mut reader = Reader::new(bytes);
    reader.skip_value()?;
    reader.end()
}

/// For fuzzing: what strict reading accepts, loose reading finds nothing odd in
/// but what the data model forbids on its own.
pub fn fuzz_cbor(data: &[u8]) {
    let strict = check(data);
    let loose = crate::loose::walk(data);
    if strict.is_ok() {
        assert!(loose.is_ok_and(|notes| notes.is_strict()), "strict is not a part of loose");
    } else if let Ok(notes) = loose {
        assert!(!notes.is_strict(), "loose sees nothing where strict does");
    }
    for at in 0..data.len().min(FUZZ_OFFSETS) {
        fuzz_short(data.get(at..).unwrap_or_default());
    }
}

/// So many beginnings are read both ways.
const FUZZ_OFFSETS: usize = 256;

/// What is read the short way is read the long way too, as the same and to the same end.
fn fuzz_short(data: &[u8]) {
    fn same<'a, T: PartialEq>(
        data: &'a [u8],
        short: impl Fn(&mut Reader<'a>) -> Option<T>,
        long: impl Fn(&mut Reader<'a>) -> Result<T, Error>,
    ) -> bool {
        let (mut ahead, mut behind) = (Reader::new(data), Reader::new(data));
        short(&mut ahead)
            .is_none_or(|value| long(&mut behind) == Ok(value) && ahead.at == behind.at)
    }
    assert!(same(data, Reader::usual_cid, Reader::any_cid), "a CID");
    assert!(same(data, Reader::usual_uint, Reader::uint), "a number");
    assert!(same(data, |it| it.usual_string(0x40), Reader::bytes), "bytes");
    let text =
        |it: &mut Reader<'_>| std::str::from_utf8(it.usual_string(0x60)?).ok().map(str::to_owned);
    assert!(same(data, text, |it| it.text().map(str::to_owned)), "text");
    let any_or_null = |it: &mut Reader<'_>| {
        if it.null()? { Ok(None) } else { it.any_cid().map(Some) }
    };
    assert!(same(data, Reader::usual_cid_or_null, any_or_null), "a CID or null");
}

#[cfg(test)]
mod tests;
