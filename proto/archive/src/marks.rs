//! Where to go on: the cursors that an archive holds.

use std::path::Path;

use crate::folder::Folder;
use crate::hosts::{HostMark, Hosts};
use crate::image::LogImage;
use crate::lock::RepairLock;
use crate::manifest::Manifest;
use crate::recover::segment_marks;
use crate::{Damage, Error};

/// How often a folder is listed again when a file goes while it is being read.
pub(crate) const LOOKS_MAX: u32 = 50;

/// The last mark of each host: what the archive holds for good, as of this moment. `None` if there
/// is no archive in `dir`, or none that has a mark. While a writer repairs, this waits for it.
///
/// # Errors
/// [`Error::Repairing`] if a writer does not get done in a minute, [`Error::Damaged`] if the
/// newest log can't be read, and those of the disk.
pub fn marks(dir: &Path) -> Result<Option<Vec<HostMark>>, Error> {
    let folder = Folder::new(dir);
    let _settled = RepairLock::settled(&folder)?;
    match Manifest::read(&folder) {
        Ok(None) if !dir.is_dir() => return Ok(None),
        // The logs repeat what a lost manifest says.
        Ok(_) | Err(Error::Damaged(_)) => {}
        Err(error) => return Err(error),
    }
    let mut looks = 0;
    let marks = loop {
        looks += 1;
        match marks_of(&folder) {
            Err(error) if error.is_gone() && looks < LOOKS_MAX => {}
            other => break other?,
        }
    };
    Ok(Some(marks).filter(|marks| !marks.is_empty()))
}

/// The last mark of each host, as it stands in the folder.
pub(crate) fn marks_of(folder: &Folder) -> Result<Vec<HostMark>, Error> {
    let mut hosts = Hosts::default();
    let numbers = folder.list()?;
    let marks = match numbers.last_key_value() {
        Some((number, present)) if present.log => {
            LogImage::read(&folder.log(*number))?.marks(&mut hosts)?
        }
        _ => {
            let segments: Vec<u32> = numbers.into_keys().collect();
            let mut damage: Vec<Damage> = Vec::new();
            segment_marks(folder, &segments, &mut hosts, &mut damage)?
        }
    };
    Ok(marks.named(&hosts))
}
