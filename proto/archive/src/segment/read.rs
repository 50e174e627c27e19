//! Reading a segment: only what is asked for is read and decoded.

use std::borrow::Cow;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use crate::bytes::Take;
use crate::codec::{self, Base, Bases, Block, Decoder, Meta};
use crate::content::Identity;
use crate::error::{Cause, Damage};
use crate::head::{HEAD_BYTES, Head, SEGMENT_MAGIC};
use crate::hosts::Host;
use crate::segment::contents::{Coding, Contents, Part, read_at};
use crate::segment::index::{self, Accounts, BlockRow, MarkRow, Row};
use crate::segment::part;
use crate::{Error, disk};

/// An open segment.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) path: PathBuf,
    pub(crate) file: File,
    pub(crate) contents: Contents,
    /// The directory, once it was asked for; empty if there is none.
    directory: OnceLock<Vec<u8>>,
}

/// What finds events.
#[derive(Debug)]
pub(crate) struct Index {
    pub(crate) accounts: Accounts,
    /// By account, see [`Holdings::links`]; none if all are 0.
    ///
    /// [`Holdings::links`]: crate::segment::write::Holdings::links
    pub(crate) links: Vec<u32>,
    pub(crate) hosts: Vec<Host>,
    /// By ordinal.
    pub(crate) rows: Vec<Row>,
    /// By ordinal: the event's position in the segment's order.
    pub(crate) positions: Vec<u32>,
    /// By position.
    pub(crate) ordinals: Vec<u32>,
    pub(crate) blocks: Vec<BlockRow>,
}

/// A control frame of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NoteRow {
    /// How many events came before it.
    pub(crate) before: u32,
    /// Index in the hosts.
    pub(crate) host: Option<u32>,
    /// Its frame, in the part.
    pub(crate) frame: Range<usize>,
}

impl Segment {
    pub(crate) fn open(path: &Path, number: u32) -> Result<Segment, Error> {
        let file = disk::open(path)?;
        let contents = Contents::read(&file, path)?;
        if contents.number != number || contents.events > crate::log::LOG_EVENTS_MAX {
            return Err(Damage::at(path, 0, Cause::Form("footer")).into());
        }
        Ok(Segment { path: path.to_owned(), file, contents, directory: OnceLock::new() })
    }

    /// The length of its file.
    pub(crate) fn len(&self) -> Result<u64, Error> {
        disk::len(&self.file, &self.path)
    }

    /// What it begins with.
    pub(crate) fn head(&self) -> Result<Head, Error> {
        let mut bytes = [0; HEAD_BYTES];
        read_at(&self.file, &self.path, 0, &mut bytes)?;
        Head::read(&bytes, SEGMENT_MAGIC).map_err(|cause| Damage::at(&self.path, 0, cause).into())
    }

    /// A part, decoded, from whichever copy holds; `None` if the segment has none.
    pub(crate) fn part(&self, tag: u16) -> Result<Option<Vec<u8>>, Error> {
        let Some(part) = self.contents.part(tag) else {
            return Ok(self.in_directory(tag)?.map(<[u8]>::to_vec));
        };
        let mut failure = None;
        for offset in [Some(part.offset), part.again].into_iter().flatten() {
            match self.part_at(part, offset) {
                Err(Error::Damaged(damage)) => failure = failure.or(Some(damage)),
                other => return other.map(Some),
            }
        }
        let missing = || Damage::at(&self.path, part.offset, Cause::NoPart(part::name(tag)));
        Err(failure.unwrap_or_else(missing).into())
    }

    /// A part that lies in the directory.
    fn in_directory(&self, tag: u16) -> Result<Option<&[u8]>, Error> {
        let directory = match self.directory.get() {
            Some(directory) => directory,
            None => {
                let bytes = match self.contents.part(part::DIRECTORY) {
                    Some(_) => self.part(part::DIRECTORY)?.unwrap_or_default(),
                    None => Vec::new(),
                };
                self.directory.get_or_init(|| bytes)
            }
        };
        let form = || Damage::at(&self.path, 0, Cause::Form(part::name(part::DIRECTORY)));
        index::find_part(directory, tag).ok_or_else(|| form().into())
    }

    fn part_at(&self, part: &Part, offset: u64) -> Result<Vec<u8>, Error> {
        let damaged = |cause| Error::from(Damage::at(&self.path, offset, cause));
        let len = self.len()?;
        if offset.checked_add(part.length as u64).is_none_or(|end| end > len) {
            return Err(damaged(Cause::Truncated));
        }
        let mut bytes = vec![0; part.length];
        read_at(&self.file, &self.path, offset, &mut bytes)?;
        if crc32c::crc32c(&bytes) != part.crc {
            return Err(damaged(Cause::Checksum));
        }
        match part.coding {
            Coding::Plain => Ok(bytes),
            Coding::Zstd => {
                let mut zstd = zstd::bulk::Decompressor::new()
                    .map_err(|source| Error::io(&self.path, "decompress", source))?;
                codec::unzstd(&mut zstd, &bytes, part.raw).map_err(damaged)
            }
        }
    }

    /// A part that must be there, read by `read`.
    fn table<T>(&self, tag: u16, read: impl FnOnce(&[u8]) -> Option<T>) -> Result<T, Error> {
        let damaged = |cause| Error::from(Damage::at(&self.path, 0, cause));
        let found = match self.contents.part(tag) {
            Some(_) => self.part(tag)?.map(Cow::Owned),
            None => self.in_directory(tag)?.map(Cow::Borrowed),
        };
        let bytes = found.ok_or_else(|| damaged(Cause::NoPart(part::name(tag))))?;
        read(&bytes).ok_or_else(|| damaged(Cause::Form(part::name(tag))))
    }

    pub(crate) fn accounts(&self) -> Result<Accounts, Error> {
        match self.in_directory(part::SHORT_ACCOUNTS)? {
            Some(_) => self.table(part::SHORT_ACCOUNTS, Accounts::read_short),
            None => self.table(part::ACCOUNTS, Accounts::read),
        }
    }

    pub(crate) fn hosts(&self) -> Result<Vec<Host>, Error> {
        self.table(part::HOSTS, index::read_hosts)
    }

    pub(crate) fn marks(&self) -> Result<Vec<MarkRow>, Error> {
        self.table(part::MARKS, index::read_marks)
    }

    pub(crate) fn index(&self) -> Result<Index, Error> {
        let (accounts, hosts) = (self.accounts()?, self.hosts()?);
        let events = self.contents.events as usize;
        let rows = self.table(part::ORDER, |bytes| {
            index::read_order(bytes, events, accounts.dids.len(), hosts.len())
        })?;
        let blocks = self.table(part::BLOCKS, index::read_blocks)?;
        let links = match self.contents.part(part::LINKS) {
            None => Vec::new(),
            Some(_) => self.table(part::LINKS, |bytes| {
                index::read_links(bytes, accounts.dids.len(), self.contents.number)
            })?,
        };
        let (positions, ordinals) = places(&rows, &accounts)
            .filter(|(_, ordinals)| {
                let end = blocks.last().map_or(0, |block| block.first + block.events);
                end as usize == ordinals.len()
            })
            .ok_or_else(|| Damage::at(&self.path, 0, Cause::Form(part::name(part::ORDER))))?;
        Ok(Index { accounts, links, hosts, rows, positions, ordinals, blocks })
    }

    /// The identities by ordinal; `None` where an event was lost.
    pub(crate) fn identities(&self) -> Result<Vec<Option<Identity>>, Error> {
        let events = self.contents.events as usize;
        let tag = match self.contents.part(part::LONG_IDENTITIES) {
            Some(_) => part::LONG_IDENTITIES,
            None => part::IDENTITIES,
        };
        self.table(tag, |bytes| {
            let bytes_each = if tag == part::IDENTITIES { 8 } else { 16 };
            let there =
                |identity: &Identity| (*identity != Identity::default()).then_some(*identity);
            let first_half = |each: &[u8]| each.first_chunk().and_then(there);
            let whole = events.checked_mul(bytes_each) == Some(bytes.len());
            whole.then(|| bytes.chunks_exact(bytes_each).map(first_half).collect())
        })
    }

    /// The control frames in order, and the bytes that they are in.
    pub(crate) fn notes(&self, hosts: usize) -> Result<(Vec<u8>, Vec<NoteRow>), Error> {
        let Some(bytes) = self.part(part::NOTES)? else { return Ok((Vec::new(), Vec::new())) };
        let notes = read_notes(&bytes, hosts)
            .ok_or_else(|| Damage::at(&self.path, 0, Cause::Form(part::name(part::NOTES))))?;
        Ok((bytes, notes))
    }

    /// A block as it lies in the file.
    pub(crate) fn block_bytes(&self, row: &BlockRow) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; row.length];
        read_at(&self.file, &self.path, row.offset, &mut bytes)?;
        if crc32c::crc32c(&bytes) != row.crc {
            return Err(Damage::at(&self.path, row.offset, Cause::Checksum).into());
        }
        Ok(bytes)
    }

    /// A block, with what its accounts are written against.
    pub(crate) fn block(
        &self,
        index: &Index,
        row: &BlockRow,
        mut bases: Vec<Option<Arc<Base>>>,
        decoder: &mut Decoder,
    ) -> Result<Block, Error> {
        let damaged = |cause| Error::from(Damage::at(&self.path, row.offset, cause));
        let form = || damaged(Cause::Form(part::name(part::ORDER)));
        let metas = index.metas(row, &mut bases).ok_or_else(form)?;
        let bytes = self.block_bytes(row)?;
        decoder.decode(row.codec, &bytes, row.raw, metas.into_iter()).map_err(damaged)
    }
}

impl Index {
    /// What is known of a block's events before it is decoded. `bases` are those of the accounts
    /// that begin in it, see [`Index::begins`].
    fn metas<'a>(
        &'a self,
        block: &BlockRow,
        bases: &mut [Option<Arc<Base>>],
    ) -> Option<Vec<Meta<'a>>> {
        let begins = self.begins(block);
        let places = block.first..block.first + block.events;
        let ordinals = self.ordinals.get(places.start as usize..places.end as usize)?;
        let metas = places.zip(ordinals).map(|(position, ordinal)| {
            let row = self.rows.get(*ordinal as usize)?;
            let account = row.account? as usize;
            let starts = self.accounts.starts.get(account) == Some(&position);
            let base = account.checked_sub(begins.start).filter(|_| starts);
            let base = base.and_then(|at| bases.get_mut(at)?.take());
            Some(Meta { did: self.accounts.dids.get(account)?, seq: row.seq, base })
        });
        metas.collect()
    }

    /// The accounts whose first event is in a block.
    pub(crate) fn begins(&self, block: &BlockRow) -> Range<usize> {
        let starts = self.accounts.starts.get(..self.accounts.dids.len()).unwrap_or_default();
        let first = starts.partition_point(|start| *start < block.first);
        first..starts.partition_point(|start| *start < block.first + block.events)
    }

    /// What of this, with which a block ends, the segment ends with: one account may go on in the
    /// next block.
    pub(crate) fn ends(&self, block: &BlockRow, mut bases: Bases) -> Bases {
        if let Some((did, _)) = bases.last() {
            let account = self.accounts.find(did);
            let end = account.and_then(|it| self.accounts.starts.get(it as usize + 1));
            if end.is_none_or(|end| *end > block.first + block.events) {
                bases.pop();
            }
        }
        bases
    }

    /// What all blocks take in memory when they are decoded, nearly.
    pub(crate) fn bytes(&self) -> usize {
        self.blocks.iter().map(BlockRow::bytes).sum()
    }

    /// The number of the segment that holds what an account is written against.
    pub(crate) fn link(&self, account: usize, number: u32) -> Option<u32> {
        let ago = self.links.get(account).filter(|ago| **ago > 0)?;
        number.checked_sub(*ago)
    }

    /// The block that holds this position.
    pub(crate) fn block_of(&self, position: u32) -> Option<usize> {
        self.blocks.partition_point(|block| block.first <= position).checked_sub(1)
    }

    /// The ordinals of an account's events, ascending.
    pub(crate) fn of_account(&self, account: u32) -> &[u32] {
        let at = account as usize;
        let starts = &self.accounts.starts;
        match (starts.get(at), starts.get(at + 1)) {
            (Some(start), Some(end)) => {
                self.ordinals.get(*start as usize..*end as usize).unwrap_or_default()
            }
            _ => &[],
        }
    }
}

/// Positions by ordinal, and ordinals by position; `None` if the accounts count otherwise.
fn places(rows: &[Row], accounts: &Accounts) -> Option<(Vec<u32>, Vec<u32>)> {
    let mut next = accounts.starts.clone();
    let there = *next.last()? as usize;
    if there > rows.len() {
        return None;
    }
    let mut positions = vec![u32::MAX; rows.len()];
    let mut ordinals = vec![0; there];
    let mut found = 0;
    for (ordinal, (row, position)) in rows.iter().zip(&mut positions).enumerate() {
        let Some(account) = row.account else { continue };
        let account = account as usize;
        let slot = next.get_mut(account)?;
        if *slot >= *accounts.starts.get(account + 1)? {
            return None;
        }
        *position = *slot;
        *ordinals.get_mut(*slot as usize)? = ordinal as u32;
        *slot += 1;
        found += 1;
    }
    (found == there).then_some((positions, ordinals))
}

pub(crate) fn put_note(out: &mut Vec<u8>, before: u32, host: Option<u32>, frame: &[u8]) {
    use crate::bytes::put_varint;
    put_varint(out, u64::from(before));
    put_varint(out, host.map_or(0, |host| u64::from(host) + 1));
    put_varint(out, frame.len() as u64);
    out.extend_from_slice(frame);
}

fn read_notes(bytes: &[u8], hosts: usize) -> Option<Vec<NoteRow>> {
    let mut take = Take::new(bytes);
    let mut notes = Vec::new();
    while !take.is_empty() {
        let before = take.varint_u32()?;
        let host = take.varint()?.checked_sub(1).map(u32::try_from).transpose().ok()?;
        if host.is_some_and(|host| host as usize >= hosts) {
            return None;
        }
        let len = take.varint_usize()?;
        let start = bytes.len() - take.left();
        take.slice(len)?;
        notes.push(NoteRow { before, host, frame: start..start + len });
    }
    Some(notes)
}
