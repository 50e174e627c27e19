//! The one place that maps memory.
//!
//! A mapping is as good as the file behind it: if someone cuts the file short, reading past its
//! end is SIGBUS. So a file is mapped for writing only while it has a name and a lock of its own
//! (see [`crate::file`]) and is given its room on the disk first, and a published file is never
//! written again, only replaced by another one.
#![allow(unsafe_code)]

use std::{fs::File, io};

use memmap2::{Mmap, MmapMut, MmapOptions};

/// A part of a file, mapped for reading.
#[derive(Debug)]
pub struct Map(Mmap);

impl Map {
    /// Maps `bytes` bytes from `offset` on of a file that was published and stays as it is.
    ///
    /// # Errors
    /// The operating system's, and `UnexpectedEof` when the file is shorter.
    pub fn new(file: &File, offset: u64, bytes: u64) -> io::Result<Self> {
        let end = offset.checked_add(bytes).ok_or(io::ErrorKind::InvalidInput)?;
        if file.metadata()?.len() < end {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let length = usize::try_from(bytes).map_err(io::Error::other)?;
        // SAFETY: the range is inside the file, and published files are replaced by rename, never
        // written or cut, so the bytes stay as they are while they are mapped.
        let map = unsafe { MmapOptions::new().offset(offset).len(length).map(file)? };
        Ok(Self(map))
    }
}

impl AsRef<[u8]> for Map {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// A part of a file, mapped for writing.
#[derive(Debug)]
pub struct MapMut(MmapMut);

impl MapMut {
    /// Takes room on the disk for `bytes` bytes from `offset` on, then maps them. What was not in
    /// the file before is zero.
    ///
    /// # Errors
    /// The operating system's; a full disk is one here and not a SIGBUS later.
    pub(crate) fn new(file: &File, offset: u64, bytes: u64) -> io::Result<Self> {
        let from = i64::try_from(offset).map_err(io::Error::other)?;
        let length = i64::try_from(bytes).map_err(io::Error::other)?;
        nix::fcntl::posix_fallocate(file, from, length)?;
        let length = usize::try_from(bytes).map_err(io::Error::other)?;
        // SAFETY: the range has its blocks, and the only caller is `NewFile`, whose file nobody
        // else opens before it is published: it is made under a lock and has a temporary name.
        let map = unsafe { MmapOptions::new().offset(offset).len(length).map_mut(file)? };
        Ok(Self(map))
    }
}

impl AsRef<[u8]> for MapMut {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl AsMut<[u8]> for MapMut {
    #[inline]
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}
