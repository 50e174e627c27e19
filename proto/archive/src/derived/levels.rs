//! Which files cover which segments.
//!
//! A file of level L covers 4^L segments, the first of which is a multiple of that; the level's files
//! below it have been made into it. So at most three files of a level are there that are in none of the
//! next, and a look-up in an archive of N segments goes through at most 3 (1 + log4 N) files: 21
//! for 4,096 segments.

use std::collections::{BTreeMap, BTreeSet};

use crate::Error;
use crate::derived::account::ACCOUNTS;
use crate::derived::leaf::{LEAVES, PATHS};
use crate::derived::run::{self, Run, Shape};
use crate::folder::Folder;

/// As many segments as there can be.
pub(crate) const LEVELS: u8 = 16;

/// What a file is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Leaves,
    Paths,
    Accounts,
}

impl Kind {
    pub(crate) const ALL: [Kind; 3] = [Kind::Leaves, Kind::Paths, Kind::Accounts];

    pub(crate) fn text(self) -> &'static str {
        match self {
            Kind::Leaves => "leaf",
            Kind::Paths => "path",
            Kind::Accounts => "acct",
        }
    }

    pub(crate) fn shape(self) -> Shape {
        match self {
            Kind::Leaves => LEAVES,
            Kind::Paths => PATHS,
            Kind::Accounts => ACCOUNTS,
        }
    }
}

/// A file by its first segment and its level.
pub(crate) type At = (u32, u8);

/// The segments that a file of this level covers, if this segment is among them.
pub(crate) fn window(segment: u32, level: u8) -> (u32, u32) {
    let bits = 2 * u32::from(level.min(LEVELS - 1));
    let first = segment >> bits << bits;
    (first, first + ((1u32 << bits) - 1))
}

/// The files that are there.
#[derive(Debug, Default)]
pub(crate) struct Files {
    by_kind: BTreeMap<Kind, BTreeSet<At>>,
}

impl Files {
    pub(crate) fn list(folder: &Folder) -> Result<Files, Error> {
        let mut files = Files::default();
        folder.each_name(|name| {
            let Some((text, segment, level)) = run::read_name(name) else { return };
            let kind = Kind::ALL.into_iter().find(|kind| kind.text() == text);
            if let Some(kind) = kind.filter(|_| level < LEVELS) {
                files.by_kind.entry(kind).or_default().insert((segment, level));
            }
        })?;
        Ok(files)
    }

    pub(crate) fn of(&self, kind: Kind) -> impl DoubleEndedIterator<Item = At> {
        self.by_kind.get(&kind).into_iter().flatten().copied()
    }

    pub(crate) fn has(&self, kind: Kind, at: At) -> bool {
        self.by_kind.get(&kind).is_some_and(|files| files.contains(&at))
    }

    /// The segments that lack a file of some kind.
    pub(crate) fn missing(&self, segments: &[u32]) -> BTreeSet<u32> {
        let parts = Kind::ALL.into_iter().flat_map(|kind| self.cover(kind, segments).parts);
        let missing = parts.filter_map(|part| match part {
            Part::Missing(segment) => Some(segment),
            Part::File(_) => None,
        });
        missing.collect()
    }

    /// The files that cover these segments, in order, and the segments that none covers. Of accounts
    /// those of dropped segments before these are among them.
    pub(crate) fn cover(&self, kind: Kind, segments: &[u32]) -> Cover {
        let mut cover = Cover::default();
        let mut covered = None;
        // Behind a retention there may be none yet that has tables.
        let with_leaves = || self.of(Kind::Leaves).next().map(|(segment, _)| segment);
        let first = segments.first().copied().or_else(with_leaves).unwrap_or(u32::MAX);
        let is_dropped = |at: &At| kind == Kind::Accounts && window(at.0, at.1).1 < first;
        let dropped: Vec<u32> = self.of(kind).filter(is_dropped).map(|at| at.0).collect();
        for segment in dropped.iter().chain(segments) {
            if covered.is_some_and(|last| *segment <= last) {
                continue;
            }
            let widest = (0..LEVELS).rev().find(|level| {
                let (first, _) = window(*segment, *level);
                self.has(kind, (first, *level))
            });
            match widest {
                Some(level) => {
                    let (first, last) = window(*segment, level);
                    cover.parts.push(Part::File((first, level)));
                    covered = Some(last);
                }
                None => cover.parts.push(Part::Missing(*segment)),
            }
        }
        cover
    }
}

/// What covers some segments.
#[derive(Debug, Default)]
pub(crate) struct Cover {
    pub(crate) parts: Vec<Part>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    File(At),
    /// A segment that no file covers.
    Missing(u32),
}

impl Cover {
    pub(crate) fn files(&self) -> impl DoubleEndedIterator<Item = At> {
        self.parts.iter().filter_map(|part| match part {
            Part::File(at) => Some(*at),
            Part::Missing(_) => None,
        })
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.parts.iter().all(|part| matches!(part, Part::File(_)))
    }
}

pub(crate) fn open(folder: &Folder, kind: Kind, (segment, level): At) -> Result<Run, Error> {
    Run::open(&run::path(folder, kind.text(), segment, level), kind.shape())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_up_meets_three_files_a_level_at_most() {
        let mut files = Files::default();
        let paths = files.by_kind.entry(Kind::Paths).or_default();
        for count in 1..=1100u32 {
            let segment = count - 1;
            paths.insert((segment, 0));
            for level in 1..LEVELS {
                let (first, last) = window(segment, level);
                if last != segment {
                    break;
                }
                paths.retain(|(start, below)| *below >= level || *start < first);
                paths.insert((first, level));
            }
            let files = Files { by_kind: BTreeMap::from([(Kind::Paths, paths.clone())]) };
            let segments: Vec<u32> = (0..count).collect();
            let cover = files.cover(Kind::Paths, &segments);
            assert!(cover.is_whole());
            assert!(cover.files().count() as u32 <= 3 * (1 + count.ilog(4)), "{count}");
        }
    }

    #[test]
    fn what_is_missing_is_named_and_what_is_dropped_is_not() {
        let all = BTreeSet::from([(0, 2), (16, 0), (18, 0)]);
        let files = Files { by_kind: BTreeMap::from([(Kind::Accounts, all)]) };
        let parts = files.cover(Kind::Accounts, &[8, 9, 15, 16, 17, 18]).parts;
        assert_eq!(
            parts,
            [Part::File((0, 2)), Part::File((16, 0)), Part::Missing(17), Part::File((18, 0))]
        );
    }
}
