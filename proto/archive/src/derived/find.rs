//! Finding events by what is derived of them: those of a path, and the first since a time.

use std::collections::{BTreeMap, BTreeSet};

use crate::Error;
use crate::derived::draft;
use crate::derived::leaf::{self, Leaf, LeafNotes, TOO_FAR};
use crate::derived::levels::{self, Files, Kind};
use crate::derived::run::Run;
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
pub(crate) struct Finder {
    folder: Folder,
    key: [u8; 32],
    files: Files,
    segments: Vec<u32>,
    /// Those of them that have leaves.
    with_leaves: Vec<u32>,
    /// Whether one before them has none.
    has_hole: bool,
    /// Files of leaves that were opened.
    leaves: BTreeMap<u32, Run>,
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
        let (folder, leaves) = (folder.clone(), BTreeMap::new());
        Ok(Finder { folder, key, files, segments, with_leaves, has_hole, leaves, reads: 0 })
    }

    /// How many pages were read so far; opening a file is one.
    pub(crate) fn reads(&self) -> u64 {
        self.reads + self.leaves.values().map(Run::reads).sum::<u64>()
    }

    /// A segment's leaves.
    fn leaves(&mut self, segment: u32) -> Result<&Run, Error> {
        if !self.leaves.contains_key(&segment) {
            self.reads += 1;
            let run = levels::open(&self.folder, Kind::Leaves, (segment, 0))?;
            self.leaves.insert(segment, run);
        }
        let gone = || Damage::at(self.folder.path(), 0, Cause::Gone);
        Ok(self.leaves.get(&segment).ok_or_else(gone)?)
    }

    /// How many segments, from the oldest on, have this; it has to hold for none behind one for which
    /// it does not.
    fn partition(&mut self, mut holds: impl FnMut(LeafNotes) -> bool) -> Result<usize, Error> {
        let (mut low, mut high) = (0, self.with_leaves.len());
        while low < high {
            let middle = low.midpoint(high);
            let segment = self.with_leaves.get(middle).copied().unwrap_or(0);
            if holds(LeafNotes::of(self.leaves(segment)?)) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    /// The number of an event before which none was received at this time or later, if what is derived
    /// tells: by seconds, so that the first of the time itself may come a little behind.
    pub(crate) fn since(&mut self, since_ns: u64) -> Result<Option<u64>, Error> {
        let seconds = u32::try_from(since_ns / 1_000_000_000).unwrap_or(u32::MAX);
        if self.has_hole {
            return Ok(None);
        }
        let before = self.partition(|notes| notes.seconds < seconds)?;
        let Some(segment) = self.with_leaves.get(before).copied() else {
            // It is behind them, or will be.
            let Some(last) = self.with_leaves.last().copied() else { return Ok(None) };
            let run = self.leaves(last)?;
            let Some(place) = run.records.checked_sub(1) else { return Ok(None) };
            let ordinal = leaf::at(run, place)?.ordinal;
            return Ok(Some(LeafNotes::of(run).event + u64::from(ordinal) + 1));
        };
        let run = self.leaves(segment)?;
        let place = leaf::first_not(run, |leaf| leaf.seconds < seconds)?;
        let ordinal = leaf::at(run, place)?.ordinal;
        Ok(Some(LeafNotes::of(run).event + u64::from(ordinal)))
    }

    /// A leaf by its number; `None` if its segment is not there any more.
    fn leaf(&mut self, number: u64) -> Result<Option<Leaf>, Error> {
        let behind = self.partition(|notes| notes.first <= number)?;
        let at = behind.checked_sub(1).and_then(|at| self.with_leaves.get(at).copied());
        let Some(segment) = at else { return Ok(None) };
        let run = self.leaves(segment)?;
        let place = number - LeafNotes::of(run).first;
        if place >= run.records {
            // It is in a file that is lost.
            return Err(Damage::at(&run.path, 0, Cause::Gone).into());
        }
        Ok(Some(leaf::at(run, place)?))
    }

    /// The last leaf of a path in the segments that have tables.
    ///
    /// It takes at most `3 * (1 + log4(N)) * (H + 1)` page reads for N segments: that many tables, of
    /// which each has H levels of pages, 2 for up to 130,305 paths, 3 for up to 66 million.
    pub(crate) fn last(&mut self, path: &[u8; 8]) -> Result<Option<u64>, Error> {
        let cover = self.files.cover(Kind::Paths, &self.segments);
        for at in cover.files().rev() {
            let run = levels::open(&self.folder, Kind::Paths, at)?;
            let found = run.get(path)?.and_then(|record| record.last_chunk().copied());
            self.reads += 1 + run.reads();
            if let Some(leaf) = found {
                return Ok(Some(u64::from_le_bytes(leaf)));
            }
        }
        Ok(None)
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
                let Some(leaf) = self.leaf(number)? else { break };
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
