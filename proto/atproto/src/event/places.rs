//! A commit by the places of its fields, so that what was read can be kept beside its bytes, moved
//! with them, and had again without reading it.

use super::{Commit, Ops};
use crate::cbor::Reader;
use crate::cid::Cid;

/// A field's place in the event.
#[derive(Debug, Clone, Copy)]
struct Span {
    from: u32,
    bytes: u32,
}

impl Span {
    fn of(body: &[u8], field: &[u8]) -> Option<Span> {
        let from = (field.as_ptr() as usize).checked_sub(body.as_ptr() as usize)?;
        let within = from.checked_add(field.len())? <= body.len();
        within.then_some(Span { from: from.try_into().ok()?, bytes: field.len() as u32 })
    }

    fn bytes(self, body: &[u8]) -> Option<&[u8]> {
        body.get(self.from as usize..)?.get(..self.bytes as usize)
    }

    fn text(self, body: &[u8]) -> Option<&str> {
        std::str::from_utf8(self.bytes(body)?).ok()
    }
}

/// A [`Commit`] without its event.
#[derive(Debug, Clone, Copy)]
pub struct Places {
    seq: i64,
    repo: Span,
    rev: Span,
    since: Option<Span>,
    commit: Cid,
    prev_data: Option<Cid>,
    blocks: Span,
    time: Span,
    too_big: bool,
    ops_at: u32,
    ops: u32,
}

impl Places {
    /// Of a commit that was read from `body`; `None` if it was read from elsewhere, or the event is
    /// over 4 GiB.
    pub fn of(body: &[u8], commit: &Commit<'_>) -> Option<Places> {
        let text = |field: &str| Span::of(body, field.as_bytes());
        Some(Places {
            seq: commit.seq,
            repo: text(commit.repo)?,
            rev: text(commit.rev)?,
            since: match commit.since {
                Some(since) => Some(text(since)?),
                None => None,
            },
            commit: commit.commit,
            prev_data: commit.prev_data,
            blocks: Span::of(body, commit.blocks)?,
            time: text(commit.time)?,
            too_big: commit.too_big,
            ops_at: commit.ops.reader.position().try_into().ok()?,
            ops: commit.ops.left.try_into().ok()?,
        })
    }

    /// The account.
    pub fn repo<'a>(&self, body: &'a [u8]) -> Option<&'a str> {
        self.repo.text(body)
    }

    /// The commit again. `body` has to be the same bytes, wherever they lie now; of others comes
    /// nothing or nonsense.
    pub fn commit<'a>(&self, body: &'a [u8]) -> Option<Commit<'a>> {
        Some(Commit {
            seq: self.seq,
            repo: self.repo.text(body)?,
            rev: self.rev.text(body)?,
            since: match self.since {
                Some(since) => Some(since.text(body)?),
                None => None,
            },
            commit: self.commit,
            prev_data: self.prev_data,
            blocks: self.blocks.bytes(body)?,
            blocks_at: self.blocks.from as usize,
            time: self.time.text(body)?,
            too_big: self.too_big,
            ops: Ops { reader: Reader::at(body, self.ops_at as usize), left: u64::from(self.ops) },
        })
    }
}
