//! The leaves of sealed segments, found by what the notes of their files say.

use std::collections::BTreeMap;

use crate::Error;
use crate::derived::leaf::{self, Leaf, LeafNotes};
use crate::derived::levels::{self, Kind};
use crate::derived::run::Run;
use crate::error::{Cause, Damage};
use crate::folder::Folder;

/// Files of leaves, opened as they are needed.
#[derive(Debug)]
pub(crate) struct Leaves {
    folder: Folder,
    /// In order.
    segments: Vec<u32>,
    runs: BTreeMap<u32, Run>,
    reads: u64,
}

impl Leaves {
    /// Those of these segments, which have them.
    pub(crate) fn new(folder: &Folder, segments: Vec<u32>) -> Leaves {
        Leaves { folder: folder.clone(), segments, runs: BTreeMap::new(), reads: 0 }
    }

    /// Goes on with other segments.
    pub(crate) fn renew(&mut self, segments: Vec<u32>) {
        self.runs.retain(|segment, _| segments.binary_search(segment).is_ok());
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
            self.reads += 1;
            let run = levels::open(&self.folder, Kind::Leaves, (segment, 0))?;
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
            if holds(LeafNotes::of(self.run(segment)?)) {
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
