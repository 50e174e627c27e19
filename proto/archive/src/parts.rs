//! What an archive's bytes are spent on, and what they were before.

use std::path::Path;

use atproto::event::{self, Event};
use atproto::{Cid, car, commit, mst};

use crate::Error;
use crate::codec::streams;
use crate::folder::Folder;
use crate::group::Group;

/// Bytes of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Part {
    /// What they are.
    pub name: &'static str,
    /// As they came off the socket.
    pub came: u64,
    /// In the segments.
    pub kept: u64,
}

/// What the segments of an archive hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Parts {
    /// Events in segments.
    pub events: u64,
    /// Bytes of the segments' files.
    pub bytes: u64,
    /// All of them by kind; those that were none before are the archive's own.
    pub parts: Vec<Part>,
}

const SIGNATURES: &str = "signatures";
const HASHES: &str = "hashes";
const NODES: &str = "tree nodes";
const RECORDS: &str = "records";
const ENVELOPES: &str = "envelopes";
const INDEX: &str = "index";

impl Parts {
    /// Bytes that nothing can make fewer: signatures, and hashes that can't be worked out.
    #[must_use]
    pub fn floor(&self) -> u64 {
        let noise = |part: &&Part| part.name == SIGNATURES || part.name == HASHES;
        self.parts.iter().filter(noise).map(|part| part.kept).sum()
    }

    fn of(&mut self, name: &'static str) -> Option<&mut Part> {
        let at = self.parts.iter().position(|part| part.name == name).unwrap_or_else(|| {
            self.parts.push(Part { name, ..Part::default() });
            self.parts.len() - 1
        });
        self.parts.get_mut(at)
    }

    fn came(&mut self, name: &'static str, bytes: usize) {
        if let Some(part) = self.of(name) {
            part.came += bytes as u64;
        }
    }

    fn kept(&mut self, name: &'static str, bytes: u64) {
        if let Some(part) = self.of(name) {
            part.kept += bytes;
        }
    }

    /// Tells the bytes of an event apart. A hash is 32 bytes, wherever it stands.
    fn event(&mut self, body: &[u8]) {
        let mut rest = body.len();
        let mut take = |parts: &mut Parts, name, bytes: usize| {
            let bytes = bytes.min(rest);
            rest -= bytes;
            parts.came(name, bytes);
        };
        let event = event::parse(body).ok();
        let blocks =
            event.as_ref().and_then(Event::blocks).and_then(|(car, _)| car::parse(car).ok());
        if let Some(Event::Commit(commit)) = &event {
            let links = commit.ops.flat_map(|op| [op.cid, op.prev]).flatten().count();
            take(self, HASHES, DIGEST * (1 + links + usize::from(commit.prev_data.is_some())));
        }
        let root = blocks.and_then(|car| car.root());
        for block in blocks.iter().flat_map(car::Car::blocks).flatten() {
            take(self, HASHES, DIGEST);
            if Some(block.cid) == root {
                take(self, HASHES, 2 * DIGEST);
                take(self, SIGNATURES, commit::parse(block.data).map_or(0, |it| it.sig.len()));
            } else if let Ok(node) = mst::Node::parse(block.data) {
                let links = node.entries().map(|entry| 1 + usize::from(entry.right.is_some()));
                let hashes = DIGEST * (links.sum::<usize>() + usize::from(node.left.is_some()));
                take(self, HASHES, hashes);
                take(self, NODES, block.data.len().saturating_sub(hashes));
            } else {
                take(self, RECORDS, block.data.len());
            }
        }
        take(self, ENVELOPES, usize::MAX);
    }
}

const DIGEST: usize = Cid::BYTES - 4;

/// Measures the segments of the archive in `dir`; each is decoded for that.
///
/// # Errors
/// Of the disk, and damage.
pub fn parts(dir: &Path) -> Result<Parts, Error> {
    let folder = Folder::new(dir);
    let mut parts = Parts::default();
    for name in [SIGNATURES, HASHES, NODES, RECORDS, ENVELOPES] {
        parts.came(name, 0);
    }
    let mut group = Group::new(&folder)?;
    for (number, present) in folder.list()? {
        if !present.segment {
            continue;
        }
        let segment = group.open(number)?;
        let index = group.index(number)?;
        let length = segment.len()?;
        let mut blocks = 0;
        for (at, row) in index.blocks.iter().enumerate() {
            let bytes = segment.block_bytes(row)?;
            let block = group.block(number, at)?;
            for at in 0..row.events as usize {
                if let Some(event) = block.event(at) {
                    parts.event(event.body);
                }
            }
            blocks += bytes.len() as u64;
            match streams::sizes(&bytes, row.codec).filter(|_| row.codec != crate::codec::ZSTD) {
                Some(sizes) => {
                    let sum: usize = sizes.iter().map(|(_, packed)| packed).sum();
                    for (stream, packed) in sizes {
                        parts.kept(stream.part(), packed as u64);
                    }
                    parts.kept(INDEX, (bytes.len() - sum.min(bytes.len())) as u64);
                }
                None => parts.kept("whole blocks", bytes.len() as u64),
            }
            parts.events += u64::from(row.events);
        }
        parts.kept(INDEX, length.saturating_sub(blocks));
        parts.bytes += length;
    }
    parts.parts.retain(|part| part.came + part.kept > 0);
    Ok(parts)
}
