//! Limits of an archive: its oldest segments go, a whole group at a time (see [`crate::group`]). The
//! cursor stands in the log and stays.

use std::collections::BTreeMap;

use crate::folder::Folder;
use crate::group::group_of;
use crate::segment::read::Segment;
use crate::writer::Options;
use crate::{Error, disk};

/// Removes the oldest groups while there is more than is to be kept. The newest stays.
pub(crate) fn retain(folder: &Folder, options: &Options, now_ns: u64) -> Result<(), Error> {
    if options.keep_bytes.is_none() && options.keep_ns.is_none() {
        return Ok(());
    }
    // By group: its segments and their bytes.
    let mut groups: BTreeMap<u32, Vec<(u32, u64)>> = BTreeMap::new();
    for (number, present) in folder.list()? {
        if present.segment && !present.log {
            let path = folder.segment(number);
            let bytes = disk::len(&disk::open(&path)?, &path)?;
            groups.entry(group_of(number)).or_default().push((number, bytes));
        }
    }
    let mut left: u64 = groups.values().flatten().map(|(_, bytes)| bytes).sum();
    groups.pop_last();
    for segments in groups.into_values() {
        let too_many = options.keep_bytes.is_some_and(|keep| left > keep);
        let last = segments.last().map_or(0, |(number, _)| *number);
        if !too_many && !is_old(folder, last, options, now_ns)? {
            break;
        }
        for (number, bytes) in segments {
            disk::remove(&folder.segment(number))?;
            left -= bytes;
        }
        folder.sync()?;
        crate::derived::make::retain(folder, last.saturating_add(1))?;
    }
    Ok(())
}

/// Whether the last event of a segment was received too long ago. What can't be read is not old.
fn is_old(folder: &Folder, number: u32, options: &Options, now_ns: u64) -> Result<bool, Error> {
    let Some(keep_ns) = options.keep_ns else { return Ok(false) };
    let opened = Segment::open(&folder.segment(number), number).and_then(|it| it.index());
    match opened {
        Ok(index) => {
            let last = index.rows.iter().map(|row| row.time_ns).max().unwrap_or(0);
            Ok(last < now_ns.saturating_sub(keep_ns))
        }
        Err(Error::Damaged(_)) => Ok(false),
        Err(error) => Err(error),
    }
}
