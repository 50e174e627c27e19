//! Finding events by what is derived of them: those of a path, and the first since a time.

use std::collections::{BTreeMap, BTreeSet};

use crate::Error;
use crate::derived::draft;
use crate::derived::leaf::{self, Leaf, LeafNotes, PathLeaf, TOO_FAR};
use crate::derived::leaves::Leaves;
use crate::derived::levels::{self, At, Files, Kind, Part};
use crate::error::{Cause, Damage};
use crate::folder::Folder;

/// The events of some segments that are asked for, by segment and ordinal.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Picked {
    /// Segments in which there are no others.
    known: BTreeSet<u32>,
    ordinals: BTreeMap<u32, BTreeSet<u32>>,
}

impl Picked {
    /// The ordinals of a segment that are asked for; `None` if it has to be gone through.
    pub(crate) fn of(&self, segment: u32) -> Option<Vec<u32>> {
        let ordinals = || self.ordinals.get(&segment).into_iter().flatten().copied().collect();
        self.known.contains(&segment).then(ordinals)
    }
}

/// The files of an archive as they were when they were listed.
#[derive(Debug)]
pub(crate) struct Finder {
    folder: Folder,
    key: [u8; 32],
    files: Files,
    segments: Vec<u32>,
    /// Of those of them that have leaves.
    leaves: Leaves,
    /// Whether one before them has none.
    has_hole: bool,
    reads: u64,
}

impl Finder {
    pub(crate) fn open(
        folder: &Folder,
        key: [u8; 32],
        segments: Vec<u32>,
    ) -> Result<Finder, Error> {
        let files = Files::list(folder)?;
        let has = |segment: &u32| files.has(Kind::Leaves, (*segment, 0));
        let with_leaves: Vec<u32> = segments.iter().copied().filter(has).collect();
        let has_hole = !segments.starts_with(&with_leaves);
        let (folder, leaves) = (folder.clone(), Leaves::new(folder, with_leaves));
        Ok(Finder { folder, key, files, segments, leaves, has_hole, reads: 0 })
    }

    /// How many pages were read so far; opening a file is one.
    pub(crate) fn reads(&self) -> u64 {
        self.reads + self.leaves.reads()
    }

    /// The number of an event before which none was received at this time or later, if what is derived
    /// tells: by seconds, so that the first of the time itself may come a little behind.
    pub(crate) fn since(&mut self, since_ns: u64) -> Result<Option<u64>, Error> {
        let seconds = u32::try_from(since_ns / 1_000_000_000).unwrap_or(u32::MAX);
        if self.has_hole {
            return Ok(None);
        }
        let before = self.leaves.partition(|notes| notes.seconds < seconds)?;
        let Some(segment) = self.leaves.segments().get(before).copied() else {
            // It is behind them, or will be.
            let Some(last) = self.leaves.segments().last().copied() else { return Ok(None) };
            let run = self.leaves.run(last)?;
            let Some(place) = run.records.checked_sub(1) else { return Ok(None) };
            let ordinal = leaf::at(run, place)?.ordinal;
            return Ok(Some(LeafNotes::of(run).event + u64::from(ordinal) + 1));
        };
        let run = self.leaves.run(segment)?;
        let place = leaf::first_not(run, |leaf| leaf.seconds < seconds)?;
        let ordinal = leaf::at(run, place)?.ordinal;
        Ok(Some(LeafNotes::of(run).event + u64::from(ordinal)))
    }

    /// The last leaf of a path in the segments that have tables.
    ///
    /// It takes at most `3 * (1 + log4(N)) * (H + 1)` page reads for N segments: that many tables, of
    /// which each has H levels of pages, 2 for up to 130,305 paths, 3 for up to 66 million.
    pub(crate) fn last(&mut self, path: &[u8; 8]) -> Result<Option<u64>, Error> {
        let cover = self.files.cover(Kind::Paths, &self.segments);
        for at in cover.files().rev() {
            if let Some(last) = self.of_table(at, path)?.last() {
                return Ok(Some(*last));
            }
        }
        Ok(None)
    }

    /// All leaves of a path that tables have, the last one last.
    pub(crate) fn of_path(&mut self, path: &[u8; 8]) -> Result<Vec<u64>, Error> {
        let cover = self.files.cover(Kind::Paths, &self.segments);
        let mut all = Vec::new();
        for at in cover.files() {
            all.extend(self.of_table(at, path)?);
        }
        Ok(all)
    }

    fn of_table(&mut self, at: At, path: &[u8; 8]) -> Result<Vec<u64>, Error> {
        let run = levels::open(&self.folder, Kind::Paths, at)?;
        let found = run.all_of(path)?;
        let found = found.iter().filter_map(|record| PathLeaf::read(record));
        let found = found.map(|last| last.leaf).collect();
        self.reads += 1 + run.reads();
        Ok(found)
    }

    /// A leaf by its number; `None` if its segment is not there any more.
    pub(crate) fn leaf(&mut self, number: u64) -> Result<Option<Leaf>, Error> {
        self.leaves.leaf(number)
    }

    /// Shows the leaves of segments that have no table of paths.
    pub(crate) fn leaves_without_tables(
        &mut self,
        mut see: impl FnMut(u64, &Leaf),
    ) -> Result<(), Error> {
        let parts = self.files.cover(Kind::Paths, &self.segments).parts;
        for part in parts {
            let Part::Missing(segment) = part else { continue };
            if !self.files.has(Kind::Leaves, (segment, 0)) {
                continue;
            }
            let run = self.leaves.run(segment)?;
            let first = LeafNotes::of(run).first;
            let (mut cursor, mut number) = (run.cursor(), first);
            while let Some(record) = cursor.next()? {
                if let Some(leaf) = Leaf::read(record) {
                    see(number, &leaf);
                }
                number += 1;
            }
        }
        Ok(())
    }

    /// All events of one of these accounts that have an operation on one of these paths: from the
    /// last leaf of each back over its account's leaves.
    pub(crate) fn of_paths(&mut self, dids: &[String], paths: &[String]) -> Result<Picked, Error> {
        let mut picked = Picked::default();
        let mut names = BTreeSet::new();
        for (did, path) in dids.iter().flat_map(|did| paths.iter().map(move |path| (did, path))) {
            names.extend([true, false].map(|proved| draft::path(&self.key, did, path, proved)));
        }
        // Segments without a table are gone through.
        for (first, level) in self.files.cover(Kind::Paths, &self.segments).files() {
            let (first, last) = levels::window(first, level);
            picked.known.extend(self.segments.iter().filter(|at| (first..=last).contains(*at)));
        }
        for name in &names {
            let mut next = self.last(name)?;
            while let Some(number) = next {
                let Some(leaf) = self.leaves.leaf(number)? else { break };
                if leaf.before == TOO_FAR {
                    return Err(Damage::at(self.folder.path(), 0, Cause::Form("leaves")).into());
                }
                if leaf.path == *name {
                    picked.ordinals.entry(leaf.segment).or_default().insert(leaf.ordinal);
                }
                next = number.checked_sub(u64::from(leaf.before)).filter(|_| leaf.before > 0);
            }
        }
        Ok(picked)
    }
}
