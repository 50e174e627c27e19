//! Blocks: DAG-CBOR bytes and the CID that names them, and CAR files, which are blocks in a row.
//!
//! The encoding is left to `serde_ipld_dagcbor`, on purpose: this program is the making side that
//! the tools are tried against, so it shares no line of code with them.

use std::collections::HashSet;

use anyhow::Result;
use ipld_core::cid::{Cid, multihash::Multihash};
use serde::Serialize;
use sha2::{Digest, Sha256};

/// Codec number of DAG-CBOR in a CID.
const DAG_CBOR: u64 = 0x71;
/// Code of SHA2-256 in a multihash.
const SHA2_256: u64 = 0x12;

/// Encoded bytes and their name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// CIDv1 of the bytes: DAG-CBOR, SHA-256.
    pub cid: Cid,
    /// DAG-CBOR.
    pub bytes: Vec<u8>,
}

impl Block {
    /// The block of a value. The keys of its maps are put in DAG-CBOR order (shorter first, then
    /// by bytes), whatever their order in the type.
    pub fn of<T: Serialize>(value: &T) -> Result<Self> {
        let bytes = serde_ipld_dagcbor::to_vec(value)?;
        Ok(Self { cid: cid_of(&bytes)?, bytes })
    }
}

/// The CID of DAG-CBOR bytes.
pub fn cid_of(bytes: &[u8]) -> Result<Cid> {
    let digest = Sha256::digest(bytes);
    Ok(Cid::new_v1(DAG_CBOR, Multihash::<64>::wrap(SHA2_256, &digest)?))
}

#[derive(Serialize)]
struct CarHeader {
    roots: [Cid; 1],
    version: u8,
}

/// A CAR version 1 file: a header that names the root, then each block behind its length. A block
/// that comes twice is written once.
pub fn car<'a>(root: Cid, blocks: impl Iterator<Item = &'a Block>) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(4096);
    let header = serde_ipld_dagcbor::to_vec(&CarHeader { roots: [root], version: 1 })?;
    put_length(&mut out, header.len());
    out.extend_from_slice(&header);
    let mut written = HashSet::new();
    for block in blocks {
        if written.insert(block.cid) {
            let cid = block.cid.to_bytes();
            put_length(&mut out, cid.len() + block.bytes.len());
            out.extend_from_slice(&cid);
            out.extend_from_slice(&block.bytes);
        }
    }
    Ok(out)
}

/// Unsigned LEB128, as CAR writes its lengths.
fn put_length(out: &mut Vec<u8>, length: usize) {
    let mut rest = length;
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[cfg(test)]
pub mod read {
    //! Just enough of a CAR reader for the tests.

    use ipld_core::ipld::Ipld;

    use super::*;

    /// The blocks of a CAR file in order, and its root.
    pub fn car(bytes: &[u8]) -> (Cid, Vec<Block>) {
        let (length, mut at) = length(bytes, 0);
        let header: Ipld = serde_ipld_dagcbor::from_slice(&bytes[at..at + length]).unwrap();
        at += length;
        let Ipld::Map(header) = header else { panic!("the header is no map") };
        let Ipld::List(roots) = &header["roots"] else { panic!("no roots") };
        let Some(Ipld::Link(root)) = roots.first() else { panic!("no root") };
        let mut blocks = Vec::new();
        while at < bytes.len() {
            let (length, start) = self::length(bytes, at);
            let cid = Cid::try_from(&bytes[start..start + 36]).unwrap();
            blocks.push(Block { cid, bytes: bytes[start + 36..start + length].to_vec() });
            at = start + length;
        }
        (*root, blocks)
    }

    fn length(bytes: &[u8], mut at: usize) -> (usize, usize) {
        let (mut value, mut shift) = (0usize, 0);
        loop {
            let byte = bytes[at];
            at += 1;
            value |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                return (value, at);
            }
        }
    }
}
