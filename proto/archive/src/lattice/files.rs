//! All leaves in order, of sealed segments and of logs, with one file open at a time.

use crate::Error;
use crate::derived::leaf::{LEAF_BYTES, Leaf, LeafNotes};
use crate::derived::levels::{self, Files, Kind};
use crate::derived::run::Run;
use crate::error::{Cause, Damage};
use crate::folder::Folder;
use crate::lattice::open::{OpenLeaves, open_segments};

/// So many are read at a time of a log.
const READ_LEAVES: u64 = 4096;

/// Where leaves are, in order.
#[derive(Debug)]
pub(crate) struct LeafFiles {
    folder: Folder,
    /// By number, and whether it is sealed.
    segments: Vec<(u32, bool)>,
}

impl LeafFiles {
    /// Those that there are now.
    pub(crate) fn list(folder: &Folder) -> Result<LeafFiles, Error> {
        let files = Files::list(folder)?;
        let mut segments: Vec<(u32, bool)> =
            files.of(Kind::Leaves).map(|(segment, _)| (segment, true)).collect();
        let mut open = open_segments(folder)?;
        open.retain(|segment| !files.has(Kind::Leaves, (*segment, 0)));
        open.sort_unstable();
        segments.extend(open.into_iter().map(|segment| (segment, false)));
        Ok(LeafFiles { folder: folder.clone(), segments })
    }

    /// Opens one after the other; of a file that is damaged it says so.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = Result<LeafFile, Error>> {
        self.segments.iter().map(|(segment, is_sealed)| self.open(*segment, *is_sealed))
    }

    fn open(&self, segment: u32, is_sealed: bool) -> Result<LeafFile, Error> {
        let sealed = || {
            let run = levels::open(&self.folder, Kind::Leaves, (segment, 0))?;
            let LeafNotes { first, event, .. } = LeafNotes::of(&run);
            Ok(LeafFile { segment, first, event, source: Source::Sealed(run) })
        };
        if is_sealed {
            return sealed();
        }
        match OpenLeaves::open(&self.folder, segment) {
            // It was sealed meanwhile.
            Err(error) if error.is_gone() => sealed(),
            other => {
                let open = other?;
                let (first, event) = (open.first, open.event);
                Ok(LeafFile { segment, first, event, source: Source::Open(open) })
            }
        }
    }
}

/// A file of leaves.
#[derive(Debug)]
pub(crate) struct LeafFile {
    pub(crate) segment: u32,
    /// The numbers of its first leaf and event.
    pub(crate) first: u64,
    pub(crate) event: u64,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Sealed(Run),
    Open(OpenLeaves),
}

impl LeafFile {
    /// How many it has of so many that there are in all.
    pub(crate) fn count(&self, leaves: u64) -> Result<u64, Error> {
        match &self.source {
            Source::Sealed(run) => Ok(run.records),
            Source::Open(open) => open.count(leaves),
        }
    }

    /// Whether it is that of a log.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.source, Source::Open(_))
    }

    /// Shows the leaves from a place on with their numbers, until `see` has seen enough.
    pub(crate) fn each(
        &self,
        (mut place, leaves): (u64, u64),
        mut see: impl FnMut(u64, &Leaf) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        let count = self.count(leaves)?;
        while place < count {
            let bytes = self.read(place, count)?;
            for bytes in bytes.chunks_exact(LEAF_BYTES) {
                let form = || Damage::at(self.path(), 0, Cause::Form("leaves"));
                let leaf = Leaf::read(bytes).ok_or_else(form)?;
                if !see(self.first + place, &leaf)? {
                    return Ok(());
                }
                place += 1;
            }
        }
        Ok(())
    }

    fn path(&self) -> &std::path::Path {
        match &self.source {
            Source::Sealed(run) => &run.path,
            Source::Open(open) => &open.path,
        }
    }

    /// Leaves from a place on: some.
    fn read(&self, place: u64, count: u64) -> Result<Vec<u8>, Error> {
        match &self.source {
            Source::Sealed(run) => {
                let at = place % Run::records_in_page(LEAF_BYTES) as u64;
                let page = run.page_of(place)?;
                Ok(page.get(at as usize * LEAF_BYTES..).unwrap_or_default().to_vec())
            }
            Source::Open(open) => open.read(place, (count - place).min(READ_LEAVES) as usize),
        }
    }
}
