//! Whether all that is to be derived of an archive is there and holds.

use crate::derived::kept;
use crate::derived::levels::{self, Files, Kind, Part, window};
use crate::derived::run;
use crate::error::{Cause, Damage, Error};
use crate::folder::Folder;
use crate::segment::read::Segment;

/// Names the files that are damaged. Those that a writer makes one of meanwhile are not.
pub(crate) fn damaged(folder: &Folder) -> Result<Vec<Damage>, Error> {
    let mut damage = Vec::new();
    match kept::check(folder) {
        Err(Error::Damaged(found)) => damage.push(found),
        other => other.map(|_| ())?,
    }
    let files = Files::list(folder)?;
    for kind in Kind::ALL {
        for at in files.of(kind) {
            match levels::open(folder, kind, at).and_then(|run| run.check()) {
                Err(Error::Damaged(found)) => damage.push(found),
                Err(error) if error.is_gone() => {}
                other => other?,
            }
        }
    }
    Ok(damage)
}

/// The first file that is missing: the leaves of each segment are to be there, and tables but for the last
/// small ones. A segment that can't be read has none.
pub(crate) fn missing(folder: &Folder, segments: &[u32]) -> Result<Option<Damage>, Error> {
    let files = Files::list(folder)?;
    let gone = |kind: Kind, segment: u32| {
        Some(Damage::at(&run::path(folder, kind.text(), segment, 0), 0, Cause::Gone))
    };
    let mut there = Vec::new();
    for number in segments {
        if files.has(Kind::Leaves, (*number, 0)) {
            there.push(*number);
            continue;
        }
        match Segment::open(&folder.segment(*number), *number) {
            Err(Error::Damaged(_)) => {}
            other => return other.map(|_| gone(Kind::Leaves, *number)),
        }
    }
    let newest = segments.last().copied().unwrap_or(0);
    for kind in [Kind::Paths, Kind::Accounts] {
        let mut parts = files.cover(kind, &there).parts.into_iter();
        // The last ones may have none.
        let first = parts.find_map(|part| match part {
            Part::File(_) => None,
            Part::Missing(number) => Some(number),
        });
        let is_whole = first.is_none_or(|number| window(number, 1).1 > newest)
            && parts.all(|part| matches!(part, Part::Missing(_)));
        if !is_whole {
            return Ok(gone(kind, first.unwrap_or(0)));
        }
    }
    Ok(None)
}
