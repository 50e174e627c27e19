//! How much room an archive takes.

use std::path::Path;

use crate::Error;
use crate::folder::Folder;

/// Files and bytes of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// How many segments there are.
    pub segments: u64,
    /// Their bytes.
    pub segment_bytes: u64,
    /// Bytes of what is derived of them, see `archive-check --repair`.
    pub index_bytes: u64,
    /// How many logs there are that are not sealed.
    pub logs: u64,
    /// Their bytes.
    pub log_bytes: u64,
}

/// What a sparse file takes on the disk.
fn room(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    path.metadata().map_or(0, |meta| meta.len().min(meta.blocks() * 512))
}

/// Measures the archive in `dir`.
///
/// # Errors
/// If the folder can't be listed.
pub fn usage(dir: &Path) -> Result<Usage, Error> {
    let folder = Folder::new(dir);
    let mut usage = Usage::default();
    // A file that goes while its length is asked for is counted as nothing.
    let bytes = |path: &Path| path.metadata().map_or(0, |meta| meta.len());
    for (number, present) in folder.list()? {
        if present.segment {
            usage.segments += 1;
            usage.segment_bytes += bytes(&folder.segment(number));
        } else {
            usage.logs += 1;
            usage.log_bytes += bytes(&folder.log(number));
        }
    }
    folder.each_name(|name| {
        let path = folder.path().join(name);
        if name.ends_with(".run") || name.ends_with(".open") {
            usage.index_bytes += bytes(&path);
        } else if name.ends_with(".map") {
            usage.index_bytes += room(&path);
        }
    })?;
    Ok(usage)
}
