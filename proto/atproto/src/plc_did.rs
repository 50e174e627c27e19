//! The name of an account in the directory.

use std::{fmt, str::FromStr};

use crate::base32;

const PREFIX: &str = "did:plc:";
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// A did:plc as the 15 bytes that its 24 characters of base32 stand for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlcDid([u8; Self::BYTES]);

impl PlcDid {
    /// Bytes of the identifier.
    pub const BYTES: usize = 15;
    /// Characters of the identifier, without `did:plc:`.
    pub const CHARS: usize = 24;

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// The DID of these bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// The text, `did:plc:` and all.
    #[must_use]
    pub fn chars(&self) -> [u8; PREFIX.len() + Self::CHARS] {
        let mut text = [0; PREFIX.len() + Self::CHARS];
        let (head, tail) = text.split_at_mut(PREFIX.len());
        head.copy_from_slice(PREFIX.as_bytes());
        let (groups, _) = self.0.as_chunks::<5>();
        let (places, _) = tail.as_chunks_mut::<8>();
        for ([a, b, c, d, e], place) in groups.iter().zip(places) {
            let word = u64::from_be_bytes([0, 0, 0, *a, *b, *c, *d, *e]);
            for (at, char) in place.iter_mut().rev().enumerate() {
                let digit = (word >> (5 * at)) as usize & 31;
                *char = ALPHABET.get(digit).copied().unwrap_or(b'a');
            }
        }
        text
    }

    /// Reads `did:plc:` and 24 characters, or says nothing about anything else.
    #[inline]
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let chars = text.strip_prefix(PREFIX)?.as_bytes();
        let chars: &[u8; Self::CHARS] = chars.try_into().ok()?;
        // Three times eight characters of five bits are five bytes each.
        let (groups, _) = chars.as_chunks::<8>();
        let mut bytes = [0; Self::BYTES];
        let (places, _) = bytes.as_chunks_mut::<5>();
        for (place, group) in places.iter_mut().zip(groups) {
            let [_, _, _, five @ ..] = base32::eight(group)?.to_be_bytes();
            *place = five;
        }
        Some(Self(bytes))
    }
}

/// Text that is no did:plc.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{bytes} bytes that are no did:plc")]
#[non_exhaustive]
pub struct NotPlcDid {
    /// How long the text is.
    pub bytes: usize,
}

impl FromStr for PlcDid {
    type Err = NotPlcDid;

    fn from_str(text: &str) -> Result<Self, NotPlcDid> {
        Self::parse(text).ok_or(NotPlcDid { bytes: text.len() })
    }
}

impl fmt::Display for PlcDid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.chars()).unwrap_or_default())
    }
}

impl fmt::Debug for PlcDid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_did_is_fifteen_bytes_of_base32() {
        let did: PlcDid = "did:plc:aaaaaaababcdefgh76543277".parse().unwrap();
        // RFC 4648 base32 of these characters, from Python's base64.
        let bytes = [0, 0, 0, 0, 1, 0, 68, 50, 20, 199, 255, 187, 205, 235, 255];
        assert_eq!(did.as_bytes(), &bytes);
        for bad in [
            "",
            "did:plc:",
            "did:web:aaaaaaababcdefgh76543277",
            "did:plc:aaaaaaababcdefgh7654327",
            "did:plc:aaaaaaababcdefgh765432777",
            "did:plc:aaaaaaababcdefgh76543271",
            "did:plc:Aaaaaaababcdefgh76543277",
            "DID:plc:aaaaaaababcdefgh76543277",
            "did:plc:aaaaaaababcdefgh7654327\u{e9}",
        ] {
            assert_eq!(PlcDid::parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn bytes_and_text_are_the_same_name(bytes: [u8; 15]) {
            let did = PlcDid::from_bytes(bytes);
            prop_assert_eq!(did.to_string().parse::<PlcDid>().unwrap(), did);
        }
    }
}
