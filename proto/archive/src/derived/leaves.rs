//! The leaves of sealed segments, found by what the notes of their files say.

use std::collections::BTreeMap;

use crate::Error;
use crate::derived::leaf::{self, Leaf, LeafNotes};
use crate::derived::levels::{self, Kind};
use crate::derived::run::Run;
use crate::error::{Cause, Damage};
use crate::folder::Folder;

/// So many files are open at most: a process may have 65,530 mappings, unless it is told otherwise, and
/// an archive more segments.
pub(crate) const OPEN_MAX: usize = if cfg!(test) { 8 } else { 1024 };

/// Files of leaves, opened as they are needed.
#[derive(Debug)]
pub(crate) struct Leaves {
    folder: Folder,
    /// In order.
    segments: Vec<u32>,
    runs: BTreeMap<u32, Run>,
    /// Of all that were opened so far, so that halving opens none again.
    notes: BTreeMap<u32, LeafNotes>,
    reads: u64,
}

impl Leaves {
    /// Those of these segments, which have them.
    pub(crate) fn new(folder: &Folder, segments: Vec<u32>) -> Leaves {
        let (runs, notes) = (BTreeMap::new(), BTreeMap::new());
        Leaves { folder: folder.clone(), segments, runs, notes, reads: 0 }
    }

    /// Goes on with other segments.
    pub(crate) fn renew(&mut self, segments: Vec<u32>) {
        let is_there = |segment: &u32| segments.binary_search(segment).is_ok();
        self.runs.retain(|segment, _| is_there(segment));
        self.notes.retain(|segment, _| is_there(segment));
        self.segments = segments;
    }

    pub(crate) fn segments(&self) -> &[u32] {
        &self.segments
    }

    /// How many pages were read so far; opening a file is one.
    pub(crate) fn reads(&self) -> u64 {
        self.reads + self.runs.values().map(Run::reads).sum::<u64>()
    }

    /// A segment's leaves.
    pub(crate) fn run(&mut self, segment: u32) -> Result<&Run, Error> {
        if !self.runs.contains_key(&segment) {
            if self.runs.len() >= OPEN_MAX {
                self.reads = self.reads();
                self.runs.clear();
            }
            self.reads += 1;
            let run = levels::open(&self.folder, Kind::Leaves, (segment, 0))?;
            self.notes.insert(segment, LeafNotes::of(&run));
            self.runs.insert(segment, run);
        }
        let gone = || Damage::at(self.folder.path(), 0, Cause::Gone);
        Ok(self.runs.get(&segment).ok_or_else(gone)?)
    }

    /// How many segments, from the oldest on, have this; it has to hold for none behind one for which
    /// it does not.
    pub(crate) fn partition(
        &mut self,
        mut holds: impl FnMut(LeafNotes) -> bool,
    ) -> Result<usize, Error> {
        let (mut low, mut high) = (0, self.segments.len());
        while low < high {
            let middle = low.midpoint(high);
            let segment = self.segments.get(middle).copied().unwrap_or(0);
            let notes = match self.notes.get(&segment) {
                Some(notes) => *notes,
                None => LeafNotes::of(self.run(segment)?),
            };
            if holds(notes) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    /// A leaf by its number; `None` if its segment is not there any more.
    pub(crate) fn leaf(&mut self, number: u64) -> Result<Option<Leaf>, Error> {
        let behind = self.partition(|notes| notes.first <= number)?;
        let at = behind.checked_sub(1).and_then(|at| self.segments.get(at).copied());
        let Some(segment) = at else { return Ok(None) };
        let run = self.run(segment)?;
        let place = number - LeafNotes::of(run).first;
        if place >= run.records {
            // It is in a file that is lost.
            return Err(Damage::at(&run.path, 0, Cause::Gone).into());
        }
        Ok(Some(leaf::at(run, place)?))
    }
}
