//! Events without the records that are gone. What is left is an event as before: the commit, its
//! signature and the tree are untouched, so all that was proved of it can be proved again, but for
//! what its records said.

use atproto::event::{Action, Event};
use atproto::{Cid, car, cbor, event};

use crate::bytes::put_varint;

/// What of an event is left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Left {
    /// All of it.
    All,
    /// The event without some records; its frame has to be flagged as redacted.
    Some(Vec<u8>),
    /// No record that it wrote is there any more, and it deleted none.
    None,
}

/// Takes the records out of an event whose paths are gone.
#[must_use]
pub fn redact(body: &[u8], is_gone: impl Fn(&str) -> bool) -> Left {
    let Ok(Event::Commit(commit)) = event::parse(body) else { return Left::All };
    let written = || commit.ops.filter(|op| op.action != Action::Delete && op.cid.is_some());
    let gone: Vec<Cid> = written().filter(|op| is_gone(op.path)).filter_map(|op| op.cid).collect();
    if gone.is_empty() {
        return Left::All;
    }
    // Two paths may have the same record.
    let here: Vec<Cid> = written().filter(|op| !is_gone(op.path)).filter_map(|op| op.cid).collect();
    // Who was given a record before has to hear that it was deleted.
    let deletes = || commit.ops.filter(|op| op.action == Action::Delete).count();
    if here.is_empty() && deletes() == 0 {
        return Left::None;
    }
    let taken = |cid: &Cid| gone.contains(cid) && !here.contains(cid);
    // Blocks that can't be read hold no record that could be told from others.
    let left = without(body, commit.blocks, commit.blocks_at, taken);
    Left::Some(left.unwrap_or_else(|| around(body, commit.blocks, commit.blocks_at, &[])))
}

/// The same, with an event whose records are all gone redacted, too.
#[must_use]
pub fn redact_all(body: &[u8], is_gone: impl Fn(&str) -> bool) -> Option<Vec<u8>> {
    match redact(body, &is_gone) {
        Left::All => None,
        Left::Some(redacted) => Some(redacted),
        Left::None => {
            let Ok(Event::Commit(commit)) = event::parse(body) else { return None };
            let gone: Vec<Cid> = commit
                .ops
                .filter(|op| op.action != Action::Delete)
                .filter_map(|op| op.cid)
                .collect();
            let taken = |cid: &Cid| gone.contains(cid);
            // An event whose blocks can't be read is left without any.
            without(body, commit.blocks, commit.blocks_at, taken)
                .or_else(|| Some(around(body, commit.blocks, commit.blocks_at, &[])))
        }
    }
}

/// The event with its signed commit as the only block.
pub(crate) fn without_blocks(body: &[u8], event: &Event<'_>) -> Option<Vec<u8>> {
    let (blocks, blocks_at) = event.blocks()?;
    let root = car::parse(blocks).ok().and_then(|car| car.root());
    let commit = |cid: &Cid| Some(*cid) != root;
    // Blocks that can't be read are none that may stay.
    let left = without(body, blocks, blocks_at, commit);
    Some(left.unwrap_or_else(|| around(body, blocks, blocks_at, &[])))
}

/// The event without these blocks.
fn without(
    body: &[u8],
    blocks: &[u8],
    blocks_at: usize,
    taken: impl Fn(&Cid) -> bool,
) -> Option<Vec<u8>> {
    let parsed = car::parse(blocks).ok()?;
    let mut kept = Vec::with_capacity(blocks.len());
    let mut head = None;
    for block in parsed.blocks() {
        let block = block.ok()?;
        let length = Cid::BYTES + block.data.len();
        let mut prefix = Vec::new();
        put_varint(&mut prefix, length as u64);
        head.get_or_insert(block.cid_offset.checked_sub(prefix.len())?);
        if !taken(&block.cid) {
            kept.append(&mut prefix);
            kept.extend_from_slice(block.cid.as_bytes());
            kept.extend_from_slice(block.data);
        }
    }
    let head = blocks.get(..head.unwrap_or(blocks.len()))?;
    Some(around(body, blocks, blocks_at, &[head, &kept].concat()))
}

/// The event with other blocks in the place of its own.
fn around(body: &[u8], old: &[u8], at: usize, new: &[u8]) -> Vec<u8> {
    let head_of = |len: usize| {
        let mut head = Vec::new();
        cbor::write::head(&mut head, 2, len as u64);
        head
    };
    let before = body.get(..at.saturating_sub(head_of(old.len()).len())).unwrap_or_default();
    let after = body.get(at + old.len()..).unwrap_or_default();
    [before, &head_of(new.len()), new, after].concat()
}
