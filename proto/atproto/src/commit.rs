//! The signed commit: the one object of a repository that carries a signature.
//!
//! Version 3 of strict DAG-CBOR, with exactly these fields, which stand in this
//! order: `did` (text), `rev` (text), `sig` (bytes), `data` (link to the root of
//! the tree), `prev` (link or `null`), `version` (3). An unknown field is
//! refused: other implementations drop it before they check the signature, so
//! what is proved here would be false there.
//!
//! What is signed is the SHA-256 of the same object without `sig`. Strict form
//! has one encoding, so the unsigned bytes are the head of a map of one entry
//! less and everything around the entry that is cut out.

use sha2::{Digest, Sha256};

use crate::cbor::{self, Cause, Reader};
use crate::cid::Cid;

/// Why a block is no signed commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not strict DAG-CBOR, or not a map.
    #[error(transparent)]
    Cbor(#[from] cbor::Error),
    /// A field holds what it must not.
    #[error("commit field {field} at offset {offset}: {cause}")]
    Field {
        /// The field.
        field: &'static str,
        /// Offset of its value in the block.
        offset: usize,
        /// What is wrong with it.
        cause: Cause,
    },
    /// A field is not there.
    #[error("commit without {0}")]
    Missing(&'static str),
    /// A field that version 3 does not have.
    #[error("unknown commit field at offset {offset}")]
    UnknownField {
        /// Offset of its key in the block.
        offset: usize,
    },
    /// Another version than 3.
    #[error("commit version {0} instead of 3")]
    Version(u64),
}

/// A signed commit, borrowed from its block.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    /// The account.
    pub did: &'a str,
    /// The revision.
    pub rev: &'a str,
    /// Always 3.
    pub version: u64,
    /// The root of the tree.
    pub data: Cid,
    /// The commit before, in repositories that keep it; decides nothing.
    pub prev: Option<Cid>,
    /// The signature, of whatever length.
    pub sig: &'a [u8],
    before: &'a [u8],
    after: &'a [u8],
}

/// Entries of a signed commit; its map head is one byte.
const FIELDS: u8 = 6;
const HEAD: u8 = 0xa0;

/// Reads a signed commit.
pub fn parse(block: &[u8]) -> Result<Signed<'_>, Error> {
    let mut reader = Reader::new(block);
    let mut map = reader.map()?;
    let start = reader.position();
    let (mut did, mut rev, mut sig, mut cut) = (None, None, None, (0, 0));
    let (mut data, mut prev, mut version) = (None, None, None);
    let mut unknown = None;
    loop {
        let key_at = reader.position();
        let Some(key) = map.next_name(&mut reader)? else { break };
        match key {
            b"did" => did = Some(field("did", reader.text())?),
            b"rev" => rev = Some(field("rev", reader.text())?),
            b"sig" => {
                sig = Some(field("sig", reader.bytes())?);
                cut = (key_at, reader.position());
            }
            b"data" => data = Some(field("data", reader.cid())?),
            b"prev" => prev = Some(field("prev", reader.cid_or_null())?),
            b"version" => version = Some(field("version", reader.uint())?),
            _ => {
                map.skip_unknown(&mut reader)?;
                unknown = unknown.or(Some(key_at));
            }
        }
    }
    reader.end()?;
    // The version goes first: older commits have other fields.
    let version = match version.ok_or(Error::Missing("version"))? {
        3 => 3,
        other => return Err(Error::Version(other)),
    };
    if let Some(offset) = unknown {
        return Err(Error::UnknownField { offset });
    }
    Ok(Signed {
        did: did.ok_or(Error::Missing("did"))?,
        rev: rev.ok_or(Error::Missing("rev"))?,
        version,
        data: data.ok_or(Error::Missing("data"))?,
        prev: prev.ok_or(Error::Missing("prev"))?,
        sig: sig.ok_or(Error::Missing("sig"))?,
        before: reader.span(start, cut.0),
        after: reader.span(cut.1, block.len()),
    })
}

fn field<T>(field: &'static str, value: Result<T, cbor::Error>) -> Result<T, Error> {
    value.map_err(|cbor::Error { offset, cause }| Error::Field { field, offset, cause })
}

impl Signed<'_> {
    /// What the signature is over: SHA-256 of the commit without `sig`.
    pub fn signed_digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update([HEAD | (FIELDS - 1)]);
        hash.update(self.before);
        hash.update(self.after);
        hash.finalize().into()
    }
}

/// For fuzzing: the cut leaves a strict map of one entry less, and nothing of the
/// signature.
pub fn fuzz_commit(data: &[u8]) {
    let Ok(commit) = parse(data) else { return };
    let unsigned = [&[HEAD | (FIELDS - 1)], commit.before, commit.after].concat();
    assert!(cbor::check(&unsigned).is_ok(), "what is left is not strict");
    assert!(unsigned.len() + 4 + commit.sig.len() < data.len(), "too much is left");
    assert!(commit.signed_digest() == <[u8; 32]>::from(Sha256::digest(&unsigned)), "digest");
}

#[cfg(test)]
mod tests;
