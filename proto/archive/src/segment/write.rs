//! Writing a segment's file. What goes into it was gathered before; see [`crate::seal`].

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use crate::codec::{BLOCK_BYTES_FULL, BLOCK_BYTES_LIMIT, Base, Encoder, Given, hash};
use crate::content::Identity;
use crate::group;
use crate::head::{HEAD_BYTES, Head, SEGMENT_MAGIC};
use crate::hosts::Host;
use crate::segment::contents::{Coding, Contents, Part};
use crate::segment::index::{self, Accounts, BlockRow, MarkRow, Row};
use crate::segment::part;
use crate::{Error, disk};

/// From so many accounts on a DID shares two letters with the one before, and its text without them
/// is no longer than its bytes.
const TEXT_ACCOUNTS: usize = 1024;
/// How much is handed to the system at a time.
const WRITE_BYTES: usize = 1 << 20;

/// Everything that a segment holds.
#[derive(Debug)]
pub(crate) struct Holdings<'a> {
    pub(crate) head: Head,
    /// By ordinal, lost events included.
    pub(crate) rows: Vec<Row>,
    /// By position in the segment's order.
    pub(crate) events: Vec<Given<'a>>,
    pub(crate) accounts: Accounts,
    /// By account: how many segments ago lies what it is written against; 0: nowhere.
    pub(crate) links: Vec<u32>,
    pub(crate) hosts: Vec<Host>,
    pub(crate) marks: Vec<MarkRow>,
    /// By ordinal; zeros for lost events.
    pub(crate) identities: Vec<Identity>,
    /// The notes part, encoded.
    pub(crate) notes: Vec<u8>,
}

/// What was written, as it was read back before it went to the file.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) blocks: Vec<BlockRow>,
    /// Of each block as it has to lie in the file.
    pub(crate) hashes: Vec<[u8; 32]>,
    /// By account.
    pub(crate) ends: Ends,
}

/// What a segment ends with, by account.
pub(crate) type Ends = HashMap<Box<str>, Arc<Base>>;

/// Writes the whole segment.
pub(crate) fn write(
    file: &File,
    path: &Path,
    holdings: &Holdings<'_>,
    encoder: &mut Encoder,
) -> Result<Written, Error> {
    let mut out = Out { file, path, buffer: Vec::new(), len: 0 };
    out.put(&holdings.head.to_bytes(SEGMENT_MAGIC))?;
    debug_assert_eq!(out.len, HEAD_BYTES as u64, "blocks follow the head");
    let written = write_blocks(&mut out, &holdings.events, encoder)?;
    let parts = write_parts(&mut out, holdings, &written.blocks, encoder.level())?;
    let contents = Contents {
        number: holdings.head.number,
        events: holdings.rows.len() as u32,
        first: holdings.head.first,
        parts,
    };
    let end = out.len;
    out.put(&contents.to_bytes(end))?;
    out.flush()?;
    Ok(written)
}

fn write_blocks(
    out: &mut Out<'_>,
    mut events: &[Given<'_>],
    encoder: &mut Encoder,
) -> Result<Written, Error> {
    let mut written = Written::default();
    let mut first = 0;
    let bits = group::range_bits(events.iter().map(bytes_of).sum());
    while !events.is_empty() {
        let (block, rest) = events.split_at(block_events(events, bits));
        events = rest;
        let encoded = encoder.encode(block).map_err(|source| out.failed("compress", source))?;
        written.blocks.push(BlockRow {
            codec: encoded.codec,
            offset: out.len,
            length: encoded.bytes.len(),
            raw: encoded.raw_len,
            first,
            events: block.len() as u32,
            crc: crc32c::crc32c(&encoded.bytes),
        });
        first += block.len() as u32;
        written.hashes.push(hash(&encoded.bytes));
        // Of an account in several blocks the last counts, with a commit or without.
        if let Some(goes_on) = block.first() {
            written.ends.remove(goes_on.did);
        }
        written.ends.extend(encoded.bases);
        out.put(&encoded.bytes)?;
    }
    Ok(written)
}

/// How many of these events make the next block. Accounts are kept whole as far as it goes, and
/// blocks end where those of other segments do.
fn block_events(events: &[Given<'_>], bits: u32) -> usize {
    let range = |event: &Given<'_>| group::range_of(event.did, bits);
    let mut bytes = 0;
    let whole = events.iter().zip(1..).position(|(event, next)| {
        bytes += bytes_of(event);
        let next = events.get(next);
        let last = next.is_none_or(|next| next.did != event.did);
        let ends = next.is_none_or(|next| range(next) != range(event));
        bytes >= BLOCK_BYTES_LIMIT || last && (ends || bytes >= BLOCK_BYTES_FULL)
    });
    whole.map_or(events.len(), |last| last + 1)
}

fn bytes_of(event: &Given<'_>) -> usize {
    event.body.len() + event.sections.len()
}

fn write_parts(
    out: &mut Out<'_>,
    holdings: &Holdings<'_>,
    blocks: &[BlockRow],
    level: i32,
) -> Result<Vec<Part>, Error> {
    let mut encoded: Vec<(Part, Vec<u8>)> = Vec::new();
    let mut add = |tag, out: &Out<'_>, raw: Vec<u8>, copies: u8| {
        let packed =
            zstd::bulk::compress(&raw, level).map_err(|source| out.failed("compress", source))?;
        let coding = if packed.len() < raw.len() { Coding::Zstd } else { Coding::Plain };
        let raw_len = raw.len();
        let bytes = if coding == Coding::Zstd { packed } else { raw };
        let part = Part {
            tag,
            coding,
            offset: 0,
            again: (copies == 2).then_some(0),
            length: bytes.len(),
            raw: raw_len,
            crc: crc32c::crc32c(&bytes),
        };
        encoded.push((part, bytes));
        Ok::<(), Error>(())
    };
    add(part::DIRECTORY, out, directory(holdings, blocks), 2)?;
    if holdings.links.iter().any(|link| *link > 0) {
        let mut raw = Vec::new();
        index::put_links(&mut raw, &holdings.links);
        add(part::LINKS, out, raw, 2)?;
    }
    add(part::IDENTITIES, out, holdings.identities.concat(), 1)?;
    if !holdings.notes.is_empty() {
        add(part::NOTES, out, holdings.notes.clone(), 1)?;
    }
    for (part, bytes) in &mut encoded {
        part.offset = out.len;
        out.put(bytes)?;
    }
    for (part, bytes) in &mut encoded {
        if let Some(again) = &mut part.again {
            *again = out.len;
            out.put(bytes)?;
        }
    }
    Ok(encoded.into_iter().map(|(part, _)| part).collect())
}

fn directory(holdings: &Holdings<'_>, blocks: &[BlockRow]) -> Vec<u8> {
    let (mut directory, mut part) = (Vec::new(), Vec::new());
    let mut add = |tag, put: &dyn Fn(&mut Vec<u8>)| {
        part.clear();
        put(&mut part);
        index::put_part(&mut directory, tag, &part);
    };
    add(part::BLOCKS, &|part| index::put_blocks(part, blocks));
    add(part::HOSTS, &|part| index::put_hosts(part, holdings.hosts.iter()));
    add(part::MARKS, &|part| index::put_marks(part, holdings.marks.iter().copied()));
    if holdings.accounts.dids.len() < TEXT_ACCOUNTS {
        add(part::SHORT_ACCOUNTS, &|part| holdings.accounts.put_short(part));
    } else {
        add(part::ACCOUNTS, &|part| holdings.accounts.put(part));
    }
    add(part::ORDER, &|part| index::put_order(part, &holdings.rows));
    directory
}

/// The file, behind a buffer, with its length.
struct Out<'f> {
    file: &'f File,
    path: &'f Path,
    buffer: Vec<u8>,
    len: u64,
}

impl Out<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.buffer.extend_from_slice(bytes);
        self.len += bytes.len() as u64;
        if self.buffer.len() >= WRITE_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Error> {
        disk::write(self.file, self.path, &self.buffer)?;
        self.buffer.clear();
        Ok(())
    }

    fn failed(&self, action: &'static str, source: std::io::Error) -> Error {
        Error::io(self.path, action, source)
    }
}
