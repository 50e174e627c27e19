//! The newest events of an archive: what a stage before it wants to know again after a restart.

use std::path::Path;

use crate::folder::Folder;
use crate::image::LogImage;
use crate::lock::RepairLock;
use crate::reader::Source;
use crate::segment::read::Segment;
use crate::{Error, Query, Reader};

/// A reader of the archive in `dir`, and the query that gives its last `count` events. `None` if
/// there is no archive, or nothing in it. While a writer repairs, this waits for it.
///
/// # Errors
/// [`Error::Repairing`] if a writer does not get done in a minute, [`Error::Damaged`] if the
/// newest part can't be read, and those of [`Reader::open`].
pub fn newest(dir: &Path, count: u64) -> Result<Option<(Reader, Query)>, Error> {
    let folder = Folder::new(dir);
    let _settled = RepairLock::settled(&folder)?;
    let reader = match Reader::open(dir) {
        Err(Error::NoArchive { .. }) if !dir.is_dir() || is_empty(dir) => return Ok(None),
        other => other?,
    };
    let end = match reader.sources.last() {
        None => return Ok(None),
        Some(Source::Segment { number }) => {
            Segment::open(&folder.segment(*number), *number)?.contents.end()
        }
        Some(Source::Log { path, file, len, .. }) => {
            let image = LogImage::read_file(file, path, *len)?;
            image.head.first.saturating_add(u64::from(image.next_ordinal()))
        }
    };
    Ok(Some((reader, Query { from: end.saturating_sub(count), ..Query::default() })))
}

fn is_empty(dir: &Path) -> bool {
    std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none())
}
