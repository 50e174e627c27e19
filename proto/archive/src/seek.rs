//! Where a scan begins, and what it can leave out: by halving among the segments, and by what is derived
//! of them. Where that is missing or damaged a scan goes through everything, which takes longer.

use crate::Error;
use crate::derived::find::{Finder, Picked};
use crate::folder::Folder;
use crate::manifest::Manifest;
use crate::reader::{Query, Source};
use crate::segment::read::Segment;

/// What a scan has to go through.
#[derive(Debug, Default)]
pub(crate) struct Sought {
    /// The first source.
    pub(crate) first: usize,
    /// Events that are the only ones asked for, if that is known.
    pub(crate) picked: Option<Picked>,
    /// How many pages were read to find that.
    pub(crate) pages: u64,
}

pub(crate) fn seek(folder: &Folder, sources: &[Source], query: &Query) -> Result<Sought, Error> {
    match seek_or_damage(folder, sources, query) {
        // It is met again if it lies in what is asked for.
        Err(Error::Damaged(_)) => Ok(Sought::default()),
        Err(error) if error.is_gone() => Ok(Sought::default()),
        other => other,
    }
}

fn seek_or_damage(folder: &Folder, sources: &[Source], query: &Query) -> Result<Sought, Error> {
    let mut sought = Sought::default();
    let segments: Vec<u32> = sources
        .iter()
        .filter(|source| matches!(source, Source::Segment { .. }))
        .map(Source::number)
        .collect();
    let mut from = query.from;
    // A path's name goes with its account's: without one it is not known what to look for.
    let are_named = !query.paths.is_empty() && !query.dids.is_empty();
    if query.since_ns > 0 || are_named {
        let Some(manifest) = Manifest::read(folder)? else { return Ok(sought) };
        let mut finder = Finder::open(folder, manifest.key, segments.clone())?;
        if query.since_ns > 0 {
            from = from.max(finder.since(query.since_ns)?.unwrap_or(0));
        }
        if are_named {
            sought.picked = Some(finder.of_paths(&query.dids, &query.paths)?);
        }
        sought.pages = finder.reads();
    }
    if from > 0 {
        // Segments come before logs.
        let (mut low, mut high) = (0, segments.len());
        while low < high {
            let middle = low.midpoint(high);
            let number = segments.get(middle).copied().unwrap_or(0);
            let segment = Segment::open(&folder.segment(number), number)?;
            sought.pages += 1;
            if segment.contents.end() <= from { low = middle + 1 } else { high = middle }
        }
        sought.first = low;
    }
    Ok(sought)
}
