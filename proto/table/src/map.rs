//! The one place that maps memory.
//!
//! A mapping is as good as the file behind it: if someone cuts the file short, reading past its
//! end is SIGBUS. So only published files are mapped: they are never written again, only replaced by
//! another one (see [`crate::file`]).
#![allow(unsafe_code)]

use std::{fs::File, io, ops::Range};

use memmap2::{Advice, Mmap, MmapOptions};

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

    /// Tells the operating system how a part will be used. It may not listen.
    pub fn will_be(&self, part: Range<usize>, how: Use) {
        let advice = match how {
            Use::Random => Advice::Random,
            Use::Dense => {
                // Without pages of that size it is read as usual.
                #[cfg(target_os = "linux")]
                let advice = Advice::HugePage;
                #[cfg(not(target_os = "linux"))]
                let advice = Advice::Normal;
                advice
            }
            Use::Soon => Advice::WillNeed,
        };
        let end = part.end.min(self.0.len());
        if part.start < end {
            let _ = self.0.advise_range(advice, part.start, end - part.start);
        }
    }
}

/// How a part of a mapping will be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a mapping is used by who knows how")]
pub enum Use {
    /// Here and there: what lies beside what was asked for is not read along.
    Random,
    /// All of it, all the time: much is read at once and mapped in large pages.
    Dense,
    /// Once, from now on.
    Soon,
}

impl AsRef<[u8]> for Map {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
