//! Writing a segment anew without what is gone.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use crate::codec::{Base, Encoder, Given};
use crate::compact::{Compacted, Gone};
use crate::error::Cause;
use crate::folder::{Folder, unfinished};
use crate::group::Group;
use crate::seal::compare;
use crate::segment::index::Row;
use crate::segment::part;
use crate::segment::read::{Index, Segment};
use crate::segment::write::{Ends, Holdings, write};
use crate::{Damage, Error, disk};

/// The segments of a group, from the last to the first.
pub(crate) struct Anew<'a> {
    pub(crate) rules: &'a mut Gone,
    pub(crate) level: i32,
    /// Accounts whose events are written against nothing.
    pub(crate) alone: &'a mut HashSet<Box<str>>,
}

/// What is left of a segment's events.
struct Left {
    /// By position: sections and body.
    events: Vec<(Vec<u8>, Vec<u8>)>,
    /// By ordinal.
    rows: Vec<Row>,
    /// How many events lost something.
    changed: u64,
}

/// What a segment's accounts are written against.
struct Links {
    /// By account: how many segments ago it lies, 0 for nothing; and the thing itself.
    ago: Vec<u32>,
    bases: Vec<Option<Arc<Base>>>,
    /// Whether an account is no longer written against what it was.
    is_cut: bool,
}

impl Anew<'_> {
    /// Writes the segments anew that lose something; false if `alone` has grown, and all of it is to be
    /// done again.
    pub(crate) fn group(
        &mut self,
        folder: &Folder,
        members: &[u32],
        done: &mut Compacted,
    ) -> Result<bool, Error> {
        let mut decoded = Group::new(folder)?;
        let mut is_damaged = false;
        for number in members.iter().rev() {
            match self.segment(&mut decoded, *number, is_damaged, done) {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(Error::Damaged(damage)) => {
                    is_damaged = true;
                    done.damage.push(damage);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Writes a segment anew if it loses something. If a later one is damaged, it stays as it is where
    /// what can still be read of that one hangs on it.
    fn segment(
        &mut self,
        decoded: &mut Group,
        number: u32,
        is_damaged: bool,
        done: &mut Compacted,
    ) -> Result<bool, Error> {
        let old = decoded.open(number)?;
        let index = decoded.index(number)?;
        let left = self.left(decoded, &old, &index)?;
        if is_damaged && left.changed > 0 && index.accounts.dids.iter().any(|it| self.is_alone(it))
        {
            return Err(Damage::at(&old.path, 0, Cause::Needed).into());
        }
        let links = self.links(decoded, number, &index)?;
        if left.changed == 0 && !links.is_cut {
            return Ok(true);
        }
        let holdings = holdings(&old, &index, &left, &links)?;
        let new = unfinished(&old.path);
        let ends = write_whole(&new, number, &holdings, self.level)?;
        // What later segments may be written against has to be the same.
        let mut others = Vec::new();
        for did in index.accounts.dids.iter().filter(|did| !self.is_alone(did)) {
            if decoded.end_if_known(number, did).as_ref() != ends.get(did) {
                others.push(did.clone());
            }
        }
        if !others.is_empty() {
            self.alone.extend(others);
            disk::remove(&new)?;
            return Ok(false);
        }
        decoded.folder().publish(&new, &old.path)?;
        done.segments += 1;
        done.events += left.changed;
        Ok(true)
    }

    fn is_alone(&self, did: &str) -> bool {
        self.alone.contains(did) || self.rules.is_stripped(did)
    }

    /// Goes through a segment's events.
    fn left(&mut self, decoded: &mut Group, old: &Segment, index: &Index) -> Result<Left, Error> {
        let number = old.contents.number;
        let events = Vec::with_capacity(index.ordinals.len());
        let mut left = Left { events, rows: index.rows.clone(), changed: 0 };
        for (at_block, block_row) in index.blocks.iter().enumerate() {
            let form = || Damage::at(&old.path, block_row.offset, Cause::Form("block"));
            let block = decoded.block(number, at_block)?;
            for at in 0..block_row.events as usize {
                let ordinal = index.ordinals.get(left.events.len());
                let ordinal = ordinal.map_or(usize::MAX, |ordinal| *ordinal as usize);
                let plain = block.event(at).zip(left.rows.get_mut(ordinal));
                let (plain, row) = plain.ok_or_else(form)?;
                let body = self.rules.left(old.contents.first + ordinal as u64, plain.body)?;
                if body.is_some() {
                    row.flags |= frame::flags::REDACTED;
                    left.changed += 1;
                }
                let body = body.unwrap_or_else(|| plain.body.to_vec());
                left.events.push((plain.sections.to_vec(), body));
            }
        }
        Ok(left)
    }

    /// What its accounts are still written against.
    fn links(&self, decoded: &mut Group, number: u32, index: &Index) -> Result<Links, Error> {
        let mut links = Links { ago: Vec::new(), bases: Vec::new(), is_cut: false };
        for (account, did) in index.accounts.dids.iter().enumerate() {
            let is_alone = self.is_alone(did);
            let link = index.link(account, number);
            links.is_cut |= link.is_some() && is_alone;
            let link = link.filter(|_| !is_alone);
            links.bases.push(link.map(|earlier| decoded.end(earlier, did)).transpose()?);
            links.ago.push(link.map_or(0, |earlier| number - earlier));
        }
        Ok(links)
    }
}

/// A segment with what is left.
fn holdings<'a>(
    old: &Segment,
    index: &'a Index,
    left: &'a Left,
    links: &'a Links,
) -> Result<Holdings<'a>, Error> {
    let events =
        index.ordinals.iter().zip(&left.events).zip(0..).filter_map(|(event, position)| {
            let (ordinal, (sections, body)) = event;
            let row = left.rows.get(*ordinal as usize)?;
            let account = row.account? as usize;
            let did = index.accounts.dids.get(account)?;
            let first = index.accounts.starts.get(account) == Some(&position);
            let base = links.bases.get(account).filter(|_| first).and_then(|base| base.as_ref());
            Some(Given { did, seq: row.seq, sections, body, base })
        });
    let identities = old.identities()?.into_iter().map(Option::unwrap_or_default);
    Ok(Holdings {
        head: old.head()?,
        events: events.collect(),
        accounts: index.accounts.clone(),
        links: links.ago.clone(),
        hosts: index.hosts.clone(),
        marks: old.marks()?,
        identities: identities.collect(),
        notes: old.part(part::NOTES)?.unwrap_or_default(),
        rows: left.rows.clone(),
    })
}

/// Writes a segment under this name, durably, and reads it back; what its accounts end with.
fn write_whole(
    new: &Path,
    number: u32,
    holdings: &Holdings<'_>,
    level: i32,
) -> Result<Ends, Error> {
    let file = disk::create(new)?;
    let encoder = Encoder::new(level).map_err(|source| Error::io(new, "compress", source));
    let written = encoder.and_then(|mut encoder| write(&file, new, holdings, &mut encoder));
    let written = written.and_then(|written| {
        disk::sync(&file, new)?;
        compare(&Segment::open(new, number)?, holdings, &written)?;
        Ok(written.ends)
    });
    if written.is_err() {
        let _ = std::fs::remove_file(new);
    }
    written
}
