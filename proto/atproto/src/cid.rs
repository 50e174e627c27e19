//! Content identifiers of the one form that AT Protocol uses.
//!
//! | offset | size | meaning |
//! |---|---|---|
//! | 0 | 1 | 0x01: CID version 1 |
//! | 1 | 1 | codec: 0x71 DAG-CBOR, 0x55 raw |
//! | 2 | 1 | 0x12: SHA-256 |
//! | 3 | 1 | 0x20: 32 bytes of digest |
//! | 4 | 32 | SHA-256 of the block |
//!
//! As text it is `b` and the lower-case base32 (RFC 4648, no padding) of those
//! bytes. Inside DAG-CBOR it is tag 42 around a byte string of one 0x00 byte
//! and those bytes.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use crate::base32;

/// A CID: version 1, DAG-CBOR or raw, SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cid([u8; Cid::BYTES]);

/// How the block behind a CID is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Codec {
    /// 0x71.
    DagCbor,
    /// 0x55: bytes without structure, such as a blob.
    Raw,
}

/// Why bytes or text are no CID of this form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not 36 bytes, or not 59 characters.
    #[error("length {length} instead of {wanted}")]
    Length {
        /// What was found.
        length: usize,
        /// What this form has.
        wanted: usize,
    },
    /// The first byte is not 0x01.
    #[error("CID version byte 0x{0:02x} instead of 0x01")]
    Version(u8),
    /// Neither DAG-CBOR nor raw.
    #[error("CID codec 0x{0:02x} instead of 0x71 or 0x55")]
    Codec(u8),
    /// Not SHA-256 of 32 bytes.
    #[error("CID hash 0x{0:02x} of {1} bytes instead of SHA-256")]
    Hash(u8, u8),
    /// Text that does not begin with `b`, or a character outside of base32.
    #[error("not lower-case base32 at character {0}")]
    Base32(usize),
}

const DAG_CBOR: u8 = 0x71;
const RAW: u8 = 0x55;
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

impl Cid {
    /// Bytes of a CID of this form.
    pub const BYTES: usize = 36;
    /// Characters of a CID of this form, the `b` included.
    pub const CHARS: usize = 59;

    /// The CID of a block of DAG-CBOR.
    pub fn dag_cbor(data: &[u8]) -> Cid {
        Cid::of(DAG_CBOR, data)
    }

    /// The CID of bytes without structure.
    pub fn raw(data: &[u8]) -> Cid {
        Cid::of(RAW, data)
    }

    fn of(codec: u8, data: &[u8]) -> Cid {
        let digest: [u8; 32] = Sha256::digest(data).into();
        let mut bytes = [0; Cid::BYTES];
        let (head, tail) = bytes.split_at_mut(4);
        head.copy_from_slice(&[0x01, codec, 0x12, 0x20]);
        tail.copy_from_slice(&digest);
        Cid(bytes)
    }

    /// Reads exactly one CID.
    pub fn from_slice(bytes: &[u8]) -> Result<Cid, Error> {
        let Ok(bytes) = <[u8; Cid::BYTES]>::try_from(bytes) else {
            return Err(Error::Length { length: bytes.len(), wanted: Cid::BYTES });
        };
        let [version, codec, hash, length, ..] = bytes;
        if version != 0x01 {
            return Err(Error::Version(version));
        }
        if codec != DAG_CBOR && codec != RAW {
            return Err(Error::Codec(codec));
        }
        if hash != 0x12 || length != 0x20 {
            return Err(Error::Hash(hash, length));
        }
        Ok(Cid(bytes))
    }

    /// The 36 bytes.
    pub fn as_bytes(&self) -> &[u8; Cid::BYTES] {
        &self.0
    }

    /// The SHA-256 in it.
    pub fn digest(&self) -> &[u8; 32] {
        match self.0.last_chunk() {
            Some(digest) => digest,
            None => &[0; 32],
        }
    }

    /// How the block behind it is encoded.
    pub fn codec(&self) -> Codec {
        let [_, codec, ..] = self.0;
        if codec == RAW { Codec::Raw } else { Codec::DagCbor }
    }

    /// Whether this is the CID of `data`.
    pub fn is_of(&self, data: &[u8]) -> bool {
        let digest: [u8; 32] = Sha256::digest(data).into();
        *self.digest() == digest
    }

    /// The text form in a buffer of its own, where a `String` is too much.
    pub fn text(&self) -> Text {
        let mut out = [b'b'; Cid::CHARS];
        let (mut bits, mut count) = (0u32, 0u32);
        let mut chars = out.iter_mut().skip(1);
        for byte in self.0 {
            bits = (bits << 8) | u32::from(byte);
            count += 8;
            while count >= 5 {
                count -= 5;
                put(chars.next(), bits >> count);
            }
        }
        put(chars.next(), bits << (5 - count));
        Text(out)
    }
}

/// Whether bytes are exactly one CID of any form that the multiformats table
/// allows: what a link in a record may hold besides [`Cid`].
pub(crate) fn is_any(bytes: &[u8]) -> bool {
    if bytes.len() == 34 && bytes.starts_with(&[0x12, 0x20]) {
        return true;
    }
    let Some((1, rest)) = varint(bytes) else {
        return false;
    };
    let digest =
        varint(rest).and_then(|(_codec, rest)| varint(rest)).and_then(|(_hash, rest)| varint(rest));
    digest.is_some_and(|(length, digest)| length == digest.len() as u64)
}

/// An unsigned varint in its shortest form, of at most 9 bytes, and what follows.
pub(crate) fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (at, &byte) in bytes.iter().take(9).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            let shortest = at == 0 || byte != 0;
            return shortest.then(|| (value, bytes.get(at + 1..).unwrap_or_default()));
        }
    }
    None
}

fn put(slot: Option<&mut u8>, value: u32) {
    if let (Some(slot), Some(letter)) = (slot, ALPHABET.get((value & 31) as usize)) {
        *slot = *letter;
    }
}

/// A CID as text, without an allocation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Text([u8; Cid::CHARS]);

impl Text {
    /// The 59 characters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.text().as_str())
    }
}

impl fmt::Debug for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Cid {
    type Err = Error;

    fn from_str(text: &str) -> Result<Cid, Error> {
        if text.len() != Cid::CHARS {
            return Err(Error::Length { length: text.len(), wanted: Cid::CHARS });
        }
        if let Some(bytes) = quickly(text.as_bytes()) {
            return Cid::from_slice(&bytes);
        }
        let mut bytes = [0; Cid::BYTES];
        let mut slots = bytes.iter_mut();
        let (mut bits, mut count) = (0u32, 0u32);
        for (at, letter) in text.bytes().enumerate() {
            if at == 0 {
                if letter != b'b' {
                    return Err(Error::Base32(0));
                }
                continue;
            }
            let value = match letter {
                b'a'..=b'z' => letter - b'a',
                b'2'..=b'7' => letter - b'2' + 26,
                _ => return Err(Error::Base32(at)),
            };
            bits = (bits << 5) | u32::from(value);
            count += 5;
            if count >= 8 {
                count -= 8;
                if let Some(slot) = slots.next() {
                    *slot = (bits >> count) as u8;
                }
            }
        }
        // 58 letters hold two bits more than 36 bytes; other values than zero
        // would give one CID several spellings.
        if bits & ((1 << count) - 1) != 0 {
            return Err(Error::Base32(Cid::CHARS - 1));
        }
        Cid::from_slice(&bytes)
    }
}

/// The bytes of a CID's text if it is in order; what is wrong is found out one by one.
fn quickly(text: &[u8]) -> Option<[u8; Cid::BYTES]> {
    let letters = text.strip_prefix(b"b")?;
    let (groups, rest) = letters.as_chunks::<8>();
    let mut bytes = [0; Cid::BYTES];
    let (places, last) = bytes.as_chunks_mut::<5>();
    for (place, group) in places.iter_mut().zip(groups) {
        let [_, _, _, five @ ..] = base32::eight(group)?.to_be_bytes();
        *place = five;
    }
    // Two letters are left for the last byte: `a` is zero, so they stand at the end of a group.
    let mut group = [b'a'; 8];
    let (_, tail) = group.split_last_chunk_mut::<2>()?;
    *tail = rest.try_into().ok()?;
    let word = base32::eight(&group)?;
    *last.first_mut()? = (word >> 2) as u8;
    (word & 3 == 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY_TREE: &str = "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm";

    #[test]
    fn text_goes_both_ways() {
        let cid: Cid = EMPTY_TREE.parse().unwrap();
        assert_eq!(cid.to_string(), EMPTY_TREE);
        assert_eq!(cid.codec(), Codec::DagCbor);
        assert_eq!(Cid::from_slice(cid.as_bytes()), Ok(cid));
    }

    #[test]
    fn a_cid_is_of_its_data_alone() {
        // {"e": [], "l": null}: the node of a tree without entries.
        let node = [0xa2, 0x61, b'e', 0x80, 0x61, b'l', 0xf6];
        let cid = Cid::dag_cbor(&node);
        assert_eq!(cid.to_string(), EMPTY_TREE);
        assert!(cid.is_of(&node));
        assert!(!cid.is_of(&node[1..]));
        assert_eq!(Cid::raw(b"x").codec(), Codec::Raw);
    }

    #[test]
    fn other_forms_are_refused_by_name() {
        assert!(matches!(Cid::from_slice(&[1; 35]), Err(Error::Length { length: 35, .. })));
        let good = Cid::raw(b"");
        for (at, byte, want) in [
            (0, 0x12, Error::Version(0x12)),
            (1, 0x70, Error::Codec(0x70)),
            (2, 0x13, Error::Hash(0x13, 0x20)),
            (3, 0x1f, Error::Hash(0x12, 0x1f)),
        ] {
            let mut bytes = *good.as_bytes();
            bytes[at] = byte;
            assert_eq!(Cid::from_slice(&bytes), Err(want));
        }
        assert_eq!("zafy".parse::<Cid>(), Err(Error::Length { length: 4, wanted: 59 }));
        assert_eq!(EMPTY_TREE.replace("bafy", "zafy").parse::<Cid>(), Err(Error::Base32(0)));
        assert!(EMPTY_TREE.replace('6', "1").parse::<Cid>().is_err());
    }

    #[test]
    fn left_over_bits_are_refused() {
        let mut text = EMPTY_TREE.to_owned();
        assert_eq!(text.pop(), Some('m'));
        text.push('n');
        assert_eq!(text.parse::<Cid>(), Err(Error::Base32(58)));
    }
}
