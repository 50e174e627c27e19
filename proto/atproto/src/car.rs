//! CAR version 1: the archive of blocks inside an event, and a repository as
//! `getRepo` exports it.
//!
//! ```text
//! varint n | n bytes of DAG-CBOR {"roots": [CID, ...], "version": 1}
//! then any number of: varint n | 36 bytes of CID, n - 36 bytes of data
//! ```
//!
//! Varints are unsigned LEB128 in their shortest form. Nothing is copied, and
//! hashes are checked only by [`Block::check`]: walking is for everybody, hashing
//! for whoever needs the proof.

use crate::cbor::{self, Reader};
use crate::cid::{self, Cid};

/// Why bytes are no CAR. Offsets count from the start of the CAR.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A length that is no varint in its shortest form.
    #[error("offset {offset}: no varint")]
    Varint {
        /// Where it begins.
        offset: usize,
    },
    /// A length that reaches over the end.
    #[error("offset {offset}: {length} bytes announced, {left} left")]
    Length {
        /// Where the bytes would begin.
        offset: usize,
        /// How many were announced.
        length: u64,
        /// How many there are.
        left: usize,
    },
    /// The header is not strict DAG-CBOR of that form.
    #[error("header: {0}")]
    Header(#[from] cbor::Error),
    /// The header lacks a field.
    #[error("header without {0}")]
    Missing(&'static str),
    /// A version other than 1.
    #[error("CAR version {0} instead of 1")]
    Version(u64),
    /// A block under a CID of another form.
    #[error("block at offset {offset}: {cause}")]
    Cid {
        /// Offset of the CID.
        offset: usize,
        /// What is wrong with it.
        cause: cid::Error,
    },
    /// Inside an event too long for a block table.
    #[error("event of {length} bytes is too long for a block table")]
    Large {
        /// Bytes of the event.
        length: usize,
    },
    /// A block that is not what its CID says.
    #[error("block at offset {offset} does not hash to {cid}")]
    Hash {
        /// Offset of the data.
        offset: usize,
        /// The CID in front of it.
        cid: Cid,
    },
}

/// A CAR whose header has been read.
#[derive(Debug, Clone, Copy)]
pub struct Car<'a> {
    bytes: &'a [u8],
    roots: Roots<'a>,
    blocks_at: usize,
}

/// One block, borrowed from its CAR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block<'a> {
    /// The CID in front of it.
    pub cid: Cid,
    /// Offset of the CID's bytes in the CAR.
    pub cid_offset: usize,
    /// Offset of the data in the CAR.
    pub offset: usize,
    /// The data.
    pub data: &'a [u8],
}

impl Block<'_> {
    /// Checks that the data hash to the CID.
    pub fn check(&self) -> Result<(), Error> {
        let Block { cid, offset, data, .. } = *self;
        if cid.is_of(data) { Ok(()) } else { Err(Error::Hash { offset, cid }) }
    }
}

/// Reads the header of a CAR.
pub fn parse(bytes: &[u8]) -> Result<Car<'_>, Error> {
    let (header_at, blocks_at) = frame(bytes, 0)?;
    let header = bytes.get(..blocks_at).unwrap_or_default();
    let mut reader = Reader::at(header, header_at);
    let mut map = reader.map()?;
    let (mut roots, mut version) = (None, None);
    while let Some(key) = map.next_key(&mut reader)? {
        match key {
            "roots" => {
                let left = reader.array()?;
                roots = Some(Roots { reader, left });
                for _ in 0..left {
                    reader.cid()?;
                }
            }
            "version" => version = Some(reader.uint()?),
            _ => reader.skip_value()?,
        }
    }
    reader.end()?;
    match version.ok_or(Error::Missing("version"))? {
        1 => Ok(Car { bytes, roots: roots.ok_or(Error::Missing("roots"))?, blocks_at }),
        other => Err(Error::Version(other)),
    }
}

/// Reads a length and checks that so many bytes follow; gives where they begin
/// and end.
fn frame(bytes: &[u8], at: usize) -> Result<(usize, usize), Error> {
    let rest = bytes.get(at..).unwrap_or_default();
    let Some((length, rest)) = cid::varint(rest) else {
        return Err(Error::Varint { offset: at });
    };
    let offset = bytes.len() - rest.len();
    match usize::try_from(length).ok().filter(|length| *length <= rest.len()) {
        Some(length) => Ok((offset, offset + length)),
        None => Err(Error::Length { offset, length, left: rest.len() }),
    }
}

impl<'a> Car<'a> {
    /// The first root: in an event, the signed commit.
    pub fn root(&self) -> Option<Cid> {
        self.roots().next()
    }

    /// All roots.
    pub fn roots(&self) -> Roots<'a> {
        self.roots
    }

    /// The blocks in their order. Ends behind the first error.
    pub fn blocks(&self) -> Blocks<'a> {
        Blocks { bytes: self.bytes, at: self.blocks_at }
    }
}

/// The roots of a CAR. They were read when the header was.
#[derive(Debug, Clone, Copy)]
pub struct Roots<'a> {
    reader: Reader<'a>,
    left: u64,
}

impl Iterator for Roots<'_> {
    type Item = Cid;

    fn next(&mut self) -> Option<Cid> {
        self.left = self.left.checked_sub(1)?;
        self.reader.cid().ok()
    }
}

/// The blocks of a CAR, one after the other.
#[derive(Debug, Clone)]
pub struct Blocks<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Blocks<'a> {
    fn read(&mut self) -> Result<Block<'a>, Error> {
        let (cid_offset, end) = frame(self.bytes, self.at)?;
        let section = self.bytes.get(cid_offset..end).unwrap_or_default();
        let (cid, data) = section.split_at(section.len().min(Cid::BYTES));
        let cid = Cid::from_slice(cid).map_err(|cause| Error::Cid { offset: cid_offset, cause })?;
        self.at = end;
        Ok(Block { cid, cid_offset, offset: cid_offset + Cid::BYTES, data })
    }
}

impl<'a> Iterator for Blocks<'a> {
    type Item = Result<Block<'a>, Error>;

    fn next(&mut self) -> Option<Result<Block<'a>, Error>> {
        if self.at >= self.bytes.len() {
            return None;
        }
        let block = self.read();
        if block.is_err() {
            self.at = self.bytes.len();
        }
        Some(block)
    }
}

/// For fuzzing: blocks lie where they say and cover everything behind the header.
pub fn fuzz_car(data: &[u8]) {
    let Ok(car) = parse(data) else { return };
    let mut end = car.blocks_at;
    for block in car.blocks() {
        let Ok(block) = block else { return };
        assert!(block.cid_offset > end, "a block without a length in front of it");
        assert!(data.get(block.cid_offset..block.offset) == Some(block.cid.as_bytes()), "CID");
        end = block.offset + block.data.len();
        assert!(data.get(block.offset..end) == Some(block.data), "data");
    }
    assert!(end == data.len(), "bytes that belong to no block");
}

#[cfg(test)]
mod tests;
