//! Lines as they wait for their account to be judged.
//!
//! ```text
//! offset size name
//!      0   15 did
//!     15    1 flags  1: the index takes it; 2: the line is packed
//!     16    4 bytes  of what follows
//!     20      line   as it came, or a zstd frame
//! ```
//!
//! Lines are alike: most of one is in any other. What came first is the dictionary that the others
//! are packed with, and is kept as it came. These bytes live as long as their process.

use std::io;

use anyhow::Context;
use didindex::PlcDid;
use zstd::bulk::{Compressor, Decompressor};

use crate::piece::LINE_BYTES_MAX;

/// Longer dictionaries gain little.
const DICTIONARY_BYTES: usize = 16 << 10;

const LEVEL: i32 = 1;

const FLAG_COUNTS: u8 = 1;
const FLAG_PACKED: u8 = 2;

/// Packs lines.
#[derive(Default)]
pub(super) struct Packer {
    dictionary: Vec<u8>,
    compressor: Option<Compressor<'static>>,
    frame: Vec<u8>,
}

impl Packer {
    /// Appends a line to `out`.
    pub(super) fn pack(
        &mut self,
        did: &PlcDid,
        line: &[u8],
        counts: bool,
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        let packed = match &mut self.compressor {
            Some(compressor) => {
                self.frame.clear();
                self.frame.reserve(zstd::zstd_safe::compress_bound(line.len()));
                compressor.compress_to_buffer(line, &mut self.frame)?;
                true
            }
            None => {
                self.dictionary.extend_from_slice(line);
                if self.dictionary.len() >= DICTIONARY_BYTES {
                    self.compressor = Some(Compressor::with_dictionary(LEVEL, &self.dictionary)?);
                }
                false
            }
        };
        let bytes = if packed { &self.frame } else { line };
        let flags = if counts { FLAG_COUNTS } else { 0 } | if packed { FLAG_PACKED } else { 0 };
        out.extend_from_slice(did.as_bytes());
        out.push(flags);
        // A line has at most 1 MiB.
        out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        out.extend_from_slice(bytes);
        Ok(())
    }

    pub(super) fn unpacker(&self) -> io::Result<Unpacker<'_>> {
        let decompressor = match self.compressor {
            Some(_) => Some(Decompressor::with_dictionary(&self.dictionary)?),
            None => None,
        };
        Ok(Unpacker { decompressor, bytes: Vec::new(), line: Vec::with_capacity(LINE_BYTES_MAX) })
    }
}

/// Unpacks lines.
pub(super) struct Unpacker<'a> {
    decompressor: Option<Decompressor<'a>>,
    bytes: Vec<u8>,
    line: Vec<u8>,
}

/// A line, somewhere in [`Lines`].
pub(super) struct Line {
    pub(super) did: PlcDid,
    /// The index takes it.
    pub(super) counts: bool,
    at: usize,
    end: usize,
}

/// Unpacked lines.
pub(super) struct Lines<'a> {
    bytes: &'a [u8],
    pub(super) places: Vec<Line>,
}

impl<'a> Lines<'a> {
    pub(super) fn bytes(&self, line: &Line) -> &'a [u8] {
        self.bytes.get(line.at..line.end).unwrap_or_default()
    }
}

impl Unpacker<'_> {
    /// All lines of a bucket.
    pub(super) fn all(&mut self, mut packed: &[u8]) -> anyhow::Result<Lines<'_>> {
        self.bytes.clear();
        let mut places = Vec::new();
        while !packed.is_empty() {
            let (did, rest) = packed.split_first_chunk().context("cut off")?;
            let ([flags], rest) = rest.split_first_chunk().context("cut off")?;
            let (length, rest) = rest.split_first_chunk().context("cut off")?;
            let length = u32::from_le_bytes(*length) as usize;
            let (line, rest) = rest.split_at_checked(length).context("cut off")?;
            packed = rest;
            let at = self.bytes.len();
            match &mut self.decompressor {
                Some(decompressor) if flags & FLAG_PACKED != 0 => {
                    self.line.clear();
                    decompressor.decompress_to_buffer(line, &mut self.line)?;
                    self.bytes.extend_from_slice(&self.line);
                }
                _ => self.bytes.extend_from_slice(line),
            }
            let (did, counts) = (PlcDid::from_bytes(*did), flags & FLAG_COUNTS != 0);
            places.push(Line { did, counts, at, end: self.bytes.len() });
        }
        Ok(Lines { bytes: &self.bytes, places })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn lines_come_back_as_they_were() {
        let did = |number: u64| {
            let mut bytes = [7; 15];
            bytes[..8].copy_from_slice(&number.to_le_bytes());
            PlcDid::from_bytes(bytes)
        };
        let line = |number: u64| match number {
            900 => vec![b'x'; LINE_BYTES_MAX],
            901 => Vec::new(),
            _ => format!("{{\"did\":\"{number}\",\"text\":\"{}\"}}", "a".repeat(40)).into_bytes(),
        };
        let (mut packer, mut packed, mut plain) = (Packer::default(), Vec::new(), 0);
        for number in 0..1000 {
            packer.pack(&did(number), &line(number), number % 2 == 0, &mut packed).unwrap();
            plain += line(number).len();
        }
        assert!(packed.len() < plain);
        let mut unpacker = packer.unpacker().unwrap();
        let lines = unpacker.all(&packed).unwrap();
        assert_eq!(lines.places.len(), 1000);
        for (number, place) in (0..).zip(&lines.places) {
            assert_eq!((place.did, place.counts), (did(number), number % 2 == 0));
            assert_eq!(lines.bytes(place), line(number));
        }
        assert!(unpacker.all(&packed[..packed.len() - 1]).is_err());
    }
}
