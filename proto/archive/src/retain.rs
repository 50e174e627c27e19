//! Limits of an archive: its oldest segments go, whole. Nothing in a segment is written against
//! another, so one is the unit of this, too. The cursor stands in the log and stays.

use crate::folder::Folder;
use crate::segment::read::Segment;
use crate::writer::Options;
use crate::{Error, disk};

/// Removes the oldest segments while there is more than is to be kept. The newest stays.
pub(crate) fn retain(folder: &Folder, options: &Options, now_ns: u64) -> Result<(), Error> {
    if options.keep_bytes.is_none() && options.keep_ns.is_none() {
        return Ok(());
    }
    let mut segments = Vec::new();
    for (number, present) in folder.list()? {
        if present.segment && !present.log {
            let path = folder.segment(number);
            let bytes = disk::len(&disk::open(&path)?, &path)?;
            segments.push((number, bytes));
        }
    }
    segments.pop();
    let mut left: u64 = segments.iter().map(|(_, bytes)| bytes).sum();
    let mut removed = false;
    for (number, bytes) in segments {
        let too_many = options.keep_bytes.is_some_and(|keep| left > keep);
        if !too_many && !is_old(folder, number, options, now_ns)? {
            break;
        }
        disk::remove(&folder.segment(number))?;
        left -= bytes;
        removed = true;
    }
    if removed { folder.sync() } else { Ok(()) }
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
