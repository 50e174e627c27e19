//! Groups: segments whose events may be written against those of earlier ones.
//!
//! [`GROUP_SEGMENTS`] segments with numbers in a row, the first a multiple of that, are a group.
//! The first event of an account in a segment may be written against the tree with which an
//! earlier segment of the group ended for it: the nodes of its last tree that were in events, and
//! its last rev (a [`Base`]). Nothing reaches out of a group, which is therefore the unit of
//! retention, and as far as damage goes.
//!
//! What a segment ends with follows from its events and from what it was written against itself,
//! not from how it is encoded, so that a segment can be encoded anew.
//!
//! A writer remembers what it has read back of the segments that it sealed, up to
//! [`BASES_BYTES_MAX`]; an account that is not in there is written whole, as after a restart. A
//! reader that goes on from segment to segment remembers it likewise; one that jumps into a group
//! decodes the blocks that it needs: blocks end at the same DIDs in all segments of a group (see
//! [`range_of`]), so that these are one a segment, [`GROUP_SEGMENTS`] in all, unless few accounts
//! have so many events that blocks end between.
//!
//! Compaction gives segments their names from the last of a group to the first, so that a segment
//! is never written against something that is not there any more; a reader opens the earlier
//! segments behind the one that it reads, and looks then whether that is still the one.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;

use crate::Error;
use crate::codec::{BLOCK_BYTES, Base, Block, Decoder};
use crate::crew::{Asked, Crew, UnderWay};
use crate::ends::{End, Ends};
use crate::error::{Cause, Damage};
use crate::folder::Folder;
use crate::segment::index::BlockRow;
use crate::segment::part;
use crate::segment::read::{Index, Segment};

/// How many segments make a group.
pub(crate) const GROUP_SEGMENTS: u32 = 16;
/// What is remembered takes no more than this, nearly.
const BASES_BYTES_MAX: usize = 256 << 20;

/// The group that a segment is in.
pub(crate) fn group_of(number: u32) -> u32 {
    number / GROUP_SEGMENTS
}

/// Into how many ranges the DIDs are parted in a segment with events of so many bytes: two to the
/// power of this. A block holds events of one range.
pub(crate) fn range_bits(bytes: usize) -> u32 {
    (bytes / BLOCK_BYTES).checked_ilog2().unwrap_or(0).min(15)
}

/// The range that a DID lies in; ascending as DIDs are.
pub(crate) fn range_of(did: &str, bits: u32) -> u32 {
    let Some(plc) = did.strip_prefix("did:plc:") else {
        return if did < "did:plc:" { 0 } else { (1 << bits) - 1 };
    };
    let digit = |byte: u8| match byte {
        b'2'..=b'7' => u32::from(byte - b'2'),
        b'a'..=b'z' => u32::from(byte - b'a') + 6,
        _ => 0,
    };
    let place = plc.bytes().take(3).fold(0, |place, byte| place << 5 | digit(byte));
    place >> (15 - bits.min(15))
}

/// What is remembered of the accounts of a group, by a writer.
#[derive(Debug, Default)]
pub(crate) struct Bases {
    group: u32,
    bytes: usize,
    by_did: HashMap<Box<str>, (u32, Arc<Base>)>,
}

impl Bases {
    /// What an account of this segment may be written against, and how many segments ago it is.
    pub(crate) fn get(&self, number: u32, did: &str) -> Option<(u32, Arc<Base>)> {
        let (known, base) = self.by_did.get(did)?;
        let ago = number.checked_sub(*known).filter(|ago| *ago > 0)?;
        (group_of(number) == self.group).then(|| (ago, base.clone()))
    }

    /// A segment was sealed that has these accounts and ends with this for them.
    pub(crate) fn sealed(
        &mut self,
        number: u32,
        dids: &[Box<str>],
        mut ends: HashMap<Box<str>, Arc<Base>>,
    ) {
        if group_of(number) != self.group {
            *self = Bases { group: group_of(number), ..Bases::default() };
        }
        for did in dids {
            if let Some((_, old)) = self.by_did.remove(did) {
                self.bytes -= old.bytes();
            }
            let Some(base) = ends.remove(did) else { continue };
            let bytes = base.bytes();
            if self.bytes + bytes <= BASES_BYTES_MAX {
                self.bytes += bytes;
                self.by_did.insert(did.clone(), (number, base));
            }
        }
    }
}

/// What a reader remembers of a group.
pub(crate) struct Group {
    folder: Folder,
    /// For one block.
    decoder: Decoder,
    /// For all of a segment, once that was asked for.
    crew: Option<Crew>,
    /// The segments that come next.
    ahead: VecDeque<UnderWay>,
    /// Memory of blocks that were done with.
    rooms: Vec<Vec<u8>>,
    members: BTreeMap<u32, Member>,
    decoded: u64,
}

/// A segment of the group.
struct Member {
    segment: Arc<Segment>,
    index: Option<Arc<Index>>,
    /// What its blocks end with, of those that were decoded or are being.
    ends: HashMap<usize, Arc<Ends>>,
}

impl Member {
    fn new(segment: Arc<Segment>) -> Member {
        Member { segment, index: None, ends: HashMap::new() }
    }

    /// Whether its name still leads to its file.
    fn is_named(&self, folder: &Folder, number: u32) -> bool {
        let here = self.segment.file.metadata();
        match (folder.segment(number).metadata(), here) {
            (Ok(named), Ok(here)) => (named.dev(), named.ino()) == (here.dev(), here.ino()),
            _ => false,
        }
    }
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Group").field("members", &self.members.keys()).finish_non_exhaustive()
    }
}

impl Group {
    pub(crate) fn new(folder: &Folder) -> Result<Group, Error> {
        let failed = |source| Error::io(folder.path(), "decompress", source);
        let decoder = Decoder::new().map_err(failed)?;
        let (folder, members) = (folder.clone(), BTreeMap::new());
        let (crew, ahead, rooms) = (None, VecDeque::new(), Vec::new());
        Ok(Group { folder, decoder, crew, ahead, rooms, members, decoded: 0 })
    }

    /// How many blocks' memory is kept for others.
    #[cfg(test)]
    pub(crate) fn rooms(&self) -> usize {
        self.rooms.len()
    }

    pub(crate) fn folder(&self) -> &Folder {
        &self.folder
    }

    /// What a segment ends with for an account, if a block that was decoded told.
    pub(crate) fn end_if_known(&mut self, number: u32, did: &str) -> Option<Arc<Base>> {
        let at = self.last_block(number, did).ok()?;
        match self.members.get(&number)?.ends.get(&at)?.get(did) {
            End::Base(base) => Some(base),
            End::None | End::Lost => None,
        }
    }

    /// How many blocks were decoded.
    pub(crate) fn count(&self) -> u64 {
        self.decoded
    }

    /// Opens a segment, and those that it may be written against.
    pub(crate) fn open(&mut self, number: u32) -> Result<Arc<Segment>, Error> {
        self.members.retain(|known, _| group_of(*known) == group_of(number));
        for _ in 0..crate::marks::LOOKS_MAX {
            self.renew(number)?;
            let segment = self.member(number)?.segment.clone();
            if segment.contents.part(part::LINKS).is_some() {
                for earlier in number - number % GROUP_SEGMENTS..number {
                    match self.renew(earlier) {
                        // It is met when something there is asked for.
                        Err(Error::Damaged(_)) => {}
                        Err(error) if error.is_gone() => {}
                        other => other?,
                    }
                }
            }
            let here = self.members.get(&number);
            if here.is_some_and(|here| here.is_named(&self.folder, number)) {
                return Ok(segment);
            }
        }
        Ok(self.member(number)?.segment.clone())
    }

    /// Has the file that now has a segment's name.
    fn renew(&mut self, number: u32) -> Result<(), Error> {
        let known = self.members.get(&number);
        if known.is_none_or(|known| !known.is_named(&self.folder, number)) {
            self.members.remove(&number);
            let segment = Segment::open(&self.folder.segment(number), number)?;
            self.members.insert(number, Member::new(Arc::new(segment)));
        }
        Ok(())
    }

    fn member(&mut self, number: u32) -> Result<&mut Member, Error> {
        let gone = || Damage::at(&self.folder.segment(number), 0, Cause::Gone);
        self.members.get_mut(&number).ok_or_else(|| gone().into())
    }

    /// What finds the events of a segment that was opened.
    pub(crate) fn index(&mut self, number: u32) -> Result<Arc<Index>, Error> {
        let member = self.member(number)?;
        if let Some(index) = &member.index {
            return Ok(index.clone());
        }
        let index = Arc::new(member.segment.index()?);
        member.index = Some(index.clone());
        Ok(index)
    }

    /// A block of a segment that was opened.
    pub(crate) fn block(&mut self, number: u32, at: usize) -> Result<Block, Error> {
        self.forget_if_full();
        self.decode(number, at)
    }

    /// All blocks of a segment that was opened, decoded by all cores. Those of the next segments
    /// are begun then, of the same group and as long as all of them have no more than so many
    /// bytes; what is wrong with one is met when it is opened.
    pub(crate) fn blocks(
        &mut self,
        number: u32,
        next: &[u32],
        bytes: usize,
    ) -> Result<Vec<Result<Block, Error>>, Error> {
        let segment = self.member(number)?.segment.clone();
        while self.ahead.front().is_some_and(|ahead| !Arc::ptr_eq(&ahead.segment, &segment)) {
            self.ahead.pop_front();
        }
        let here = match self.ahead.pop_front() {
            None => self.begin(number)?,
            here => here,
        };
        let Some(here) = here else {
            let count = self.index(number)?.blocks.len();
            return Ok((0..count).map(|at| self.block(number, at)).collect());
        };
        self.look_ahead(next, bytes.saturating_sub(here.bytes));
        let blocks = here.wait().into_iter().enumerate();
        let mut block = |(at, block)| match block {
            Some(block) => {
                self.decoded += u64::from(Result::is_ok(&block));
                block
            }
            // What it is written against was not to be had, which is told by who tries again.
            None if Arc::ptr_eq(&self.member(number)?.segment, &segment) => self.block(number, at),
            None => Err(Damage::at(&segment.path, 0, Cause::Gone).into()),
        };
        Ok(blocks.map(&mut block).collect())
    }

    fn look_ahead(&mut self, next: &[u32], bytes: usize) {
        let known = self.members.keys().next().map(|known| group_of(*known));
        let mut left = bytes.saturating_sub(self.ahead.iter().map(|ahead| ahead.bytes).sum());
        for number in next.iter().skip(self.ahead.len()) {
            if Some(group_of(*number)) != known {
                return;
            }
            let mut begin = || {
                self.open(*number)?;
                match left.checked_sub(self.index(*number)?.bytes()) {
                    None => Ok(None),
                    Some(rest) => {
                        left = rest;
                        self.begin(*number)
                    }
                }
            };
            match begin() {
                Ok::<_, Error>(Some(under_way)) => self.ahead.push_back(under_way),
                Ok(None) | Err(_) => return,
            }
        }
    }

    /// Has all blocks of a segment decoded; `None` if there are no threads for it.
    fn begin(&mut self, number: u32) -> Result<Option<UnderWay>, Error> {
        self.forget_if_full();
        if self.crew.is_none() {
            self.crew = Crew::new();
        }
        if self.crew.is_none() {
            return Ok(None);
        }
        let (segment, index) = (self.member(number)?.segment.clone(), self.index(number)?);
        let mut blocks = Vec::with_capacity(index.blocks.len());
        for (at, row) in index.blocks.iter().enumerate() {
            let bases = self.bases(&index, number, row, Self::ends);
            let ends = Arc::new(Ends::default());
            if bases.is_ok() {
                self.member(number)?.ends.insert(at, ends.clone());
            }
            blocks.push(bases.map(|bases| Asked { bases, ends }));
        }
        let (crew, rooms) = (self.crew.as_ref(), &mut self.rooms);
        Ok(crew.map(|crew| crew.decode(&segment, &index, blocks, rooms)))
    }

    /// Takes blocks back that were handed on, all of a segment's.
    pub(crate) fn done_with(&mut self, blocks: impl Iterator<Item = Block>) {
        self.rooms.clear();
        self.rooms.extend(blocks.map(Block::into_room));
    }

    fn forget_if_full(&mut self) {
        let ends = self.members.values().flat_map(|member| member.ends.values());
        if ends.map(|ends| ends.bytes()).sum::<usize>() > BASES_BYTES_MAX {
            self.members.values_mut().for_each(|member| member.ends.clear());
        }
    }

    fn decode(&mut self, number: u32, at: usize) -> Result<Block, Error> {
        let index = self.index(number)?;
        let segment = self.member(number)?.segment.clone();
        let no_block = || Damage::at(&segment.path, 0, Cause::Form(part::name(part::BLOCKS)));
        let row = index.blocks.get(at).ok_or_else(no_block)?;
        let bases = self.bases(&index, number, row, Self::end)?;
        self.decoder.room = self.rooms.pop().unwrap_or_default();
        let mut block = segment.block(&index, row, bases, &mut self.decoder)?;
        self.decoded += 1;
        let ends = Ends::known(index.ends(row, std::mem::take(&mut block.bases)));
        self.member(number)?.ends.insert(at, ends);
        Ok(block)
    }

    /// What the accounts that begin in a block are written against.
    fn bases<T>(
        &mut self,
        index: &Index,
        number: u32,
        row: &BlockRow,
        end: impl Fn(&mut Group, u32, &str) -> Result<T, Error>,
    ) -> Result<Vec<Option<T>>, Error> {
        if index.links.is_empty() {
            return Ok(Vec::new());
        }
        let base = |account| {
            let Some(earlier) = index.link(account, number) else { return Ok(None) };
            let did = index.accounts.dids.get(account).map_or("", |did| did);
            end(self, earlier, did).map(Some)
        };
        index.begins(row).map(base).collect()
    }

    /// The block that tells what a segment ends with for an account, decoded or being decoded.
    fn ends(&mut self, number: u32, did: &str) -> Result<Arc<Ends>, Error> {
        let at = self.last_block(number, did)?;
        if let Some(ends) = self.member(number)?.ends.get(&at) {
            return Ok(ends.clone());
        }
        self.decode(number, at)?;
        let ends = self.member(number)?.ends.get(&at).cloned();
        ends.ok_or_else(|| self.no_end(number))
    }

    /// What a segment ends with for an account.
    pub(crate) fn end(&mut self, number: u32, did: &str) -> Result<Arc<Base>, Error> {
        let known = self.ends(number, did)?.get(did);
        let known = match known {
            End::Lost => {
                let at = self.last_block(number, did)?;
                self.decode(number, at)?;
                self.ends(number, did)?.get(did)
            }
            known => known,
        };
        match known {
            End::Base(base) => Ok(base),
            End::None | End::Lost => Err(self.no_end(number)),
        }
    }

    /// The block with an account's last event in a segment.
    fn last_block(&mut self, number: u32, did: &str) -> Result<usize, Error> {
        let index = self.index(number)?;
        let last = index.accounts.find(did).and_then(|account| {
            let end = index.accounts.starts.get(account as usize + 1)?;
            index.block_of(end.checked_sub(1)?)
        });
        last.ok_or_else(|| self.no_end(number))
    }

    fn no_end(&self, number: u32) -> Error {
        let path = self.folder.segment(number);
        Damage::at(&path, 0, Cause::Form(part::name(part::LINKS))).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_ascend_as_dids_do_and_those_of_fewer_bits_hold_those_of_more() {
        let mut dids = vec!["did:key:x".to_owned(), "did:web:a".to_owned()];
        for a in "234567abcdefghijklmnopqrstuvwxyz".chars() {
            dids.extend(["2", "7", "a", "z"].map(|b| format!("did:plc:{a}{b}kz")));
        }
        dids.sort();
        for bits in 0..=10 {
            let ranges: Vec<u32> = dids.iter().map(|did| range_of(did, bits)).collect();
            assert!(ranges.is_sorted(), "{bits}: {ranges:?}");
            assert!(ranges.iter().all(|range| *range < 1 << bits));
            for (did, range) in dids.iter().zip(&ranges) {
                assert_eq!(range_of(did, bits + 1) >> 1, *range, "{did}");
            }
        }
        assert_eq!((range_bits(1), range_bits(64 << 20), range_bits(0)), (0, 6, 0));
    }
}
