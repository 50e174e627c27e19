//! The leaves of a log that is not sealed yet, see [`super`].

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use crate::bytes::{Take, covered};
use crate::derived::leaf::{LEAF_BYTES, Leaf};
use crate::error::{Cause, Damage};
use crate::folder::{Folder, unfinished};
use crate::segment::contents::read_at;
use crate::{Error, disk};

const MAGIC: [u8; 8] = *b"SVRNopn1";
const HEAD_BYTES: usize = 64;

/// What stands before the leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Head {
    segment: u32,
    first: u64,
    event: u64,
}

impl Head {
    fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&self.segment.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&self.first.to_le_bytes());
        bytes.extend_from_slice(&self.event.to_le_bytes());
        bytes.resize(HEAD_BYTES - 4, 0);
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        bytes
    }

    fn read(bytes: &[u8; HEAD_BYTES]) -> Result<Head, Cause> {
        let mut take = Take::new(covered(bytes, MAGIC)?);
        let mut fields = || {
            let (_, segment, _) = (take.u64()?, take.u32()?, take.u32()?);
            Some(Head { segment, first: take.u64()?, event: take.u64()? })
        };
        fields().ok_or(Cause::Truncated)
    }
}

/// The file as its writer has it.
#[derive(Debug)]
pub(crate) struct OpenFile {
    file: File,
    path: PathBuf,
    /// Leaves in it.
    count: usize,
}

impl OpenFile {
    /// Writes a file with these leaves in the place of one that may be there.
    pub(crate) fn begin(
        folder: &Folder,
        (segment, first, event): (u32, u64, u64),
        leaves: &[Leaf],
    ) -> Result<OpenFile, Error> {
        let path = folder.open_leaves(segment);
        let new = unfinished(&path);
        let file = disk::create(&new)?;
        disk::write_at(&file, &new, 0, &Head { segment, first, event }.to_bytes())?;
        let mut open = OpenFile { file, path: new, count: 0 };
        open.append(leaves)?;
        disk::rename(&open.path, &path)?;
        open.path = path;
        Ok(open)
    }

    /// How many leaves it has.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Adds leaves.
    pub(crate) fn append(&mut self, leaves: &[Leaf]) -> Result<(), Error> {
        if leaves.is_empty() {
            return Ok(());
        }
        let bytes: Vec<u8> = leaves.iter().flat_map(|leaf| leaf.to_bytes()).collect();
        let offset = HEAD_BYTES + self.count * LEAF_BYTES;
        disk::write_at(&self.file, &self.path, offset as u64, &bytes)?;
        self.count += leaves.len();
        Ok(())
    }
}

/// Removes the files of logs that are none of these.
pub(crate) fn remove_others(folder: &Folder, kept: &[u32]) -> Result<(), Error> {
    open_segments(folder)?
        .into_iter()
        .filter(|segment| !kept.contains(segment))
        .try_for_each(|segment| remove(folder, segment))
}

/// Removes the file of a log, if it is there.
pub(crate) fn remove(folder: &Folder, segment: u32) -> Result<(), Error> {
    match disk::remove(&folder.open_leaves(segment)) {
        Err(error) if !error.is_gone() => Err(error),
        _ => Ok(()),
    }
}

/// The logs that have such a file.
pub(crate) fn open_segments(folder: &Folder) -> Result<Vec<u32>, Error> {
    let mut segments = Vec::new();
    folder.each_name(|name| {
        let digits = name.strip_prefix("leaf-").and_then(|rest| rest.strip_suffix(".open"));
        let digits =
            digits.filter(|text| text.len() == 8 && text.bytes().all(|it| it.is_ascii_digit()));
        segments.extend(digits.and_then(|digits| digits.parse::<u32>().ok()));
    })?;
    Ok(segments)
}

/// The file as a reader has it.
#[derive(Debug)]
pub(crate) struct OpenLeaves {
    file: File,
    pub(crate) path: PathBuf,
    pub(crate) first: u64,
    pub(crate) event: u64,
}

impl OpenLeaves {
    pub(crate) fn open(folder: &Folder, segment: u32) -> Result<OpenLeaves, Error> {
        let path = folder.open_leaves(segment);
        let file = disk::open(&path)?;
        let mut bytes = [0; HEAD_BYTES];
        read_at(&file, &path, 0, &mut bytes)?;
        let damaged = |cause| Damage::at(&path, 0, cause);
        let head = Head::read(&bytes).map_err(damaged)?;
        if head.segment != segment {
            return Err(damaged(Cause::Form("head")).into());
        }
        Ok(OpenLeaves { file, path, first: head.first, event: head.event })
    }

    /// How many leaves it has of the so many that there are in all.
    pub(crate) fn count(&self, leaves: u64) -> Result<u64, Error> {
        let written = disk::len(&self.file, &self.path)?.saturating_sub(HEAD_BYTES as u64);
        Ok((written / LEAF_BYTES as u64).min(leaves.saturating_sub(self.first)))
    }

    /// The bytes of leaves from a place on, as many as are asked for at most.
    pub(crate) fn read(&self, place: u64, count: usize) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; count * LEAF_BYTES];
        let offset = HEAD_BYTES as u64 + place * LEAF_BYTES as u64;
        let failed = |source| Error::io(&self.path, "read", source);
        self.file.read_exact_at(&mut bytes, offset).map_err(failed)?;
        Ok(bytes)
    }
}
