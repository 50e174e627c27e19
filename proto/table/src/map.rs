//! The one place that maps memory.
//!
//! A mapping is as good as the file behind it: if someone cuts the file short, reading past its
//! end is SIGBUS. So only published files are mapped: they are never written again, only replaced by
//! another one (see [`crate::file`]).
#![allow(unsafe_code)]

use std::{fs::File, io, ops::Range};

use memmap2::{Advice, Mmap, MmapOptions};

/// Mapped from a multiple of this on, so that large pages of the file can be large pages of the
/// mapping.
const LARGE_PAGE_BYTES: u64 = 2 << 20;

/// A part of a file, mapped for reading.
#[derive(Debug)]
pub struct Map {
    map: Mmap,
    /// Bytes before the part.
    before: usize,
}

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
        let before = offset % LARGE_PAGE_BYTES;
        let from = offset - before;
        let length = usize::try_from(end - from).map_err(io::Error::other)?;
        // SAFETY: the range is inside the file, and published files are replaced by rename, never
        // written or cut, so the bytes stay as they are while they are mapped.
        let map = unsafe { MmapOptions::new().offset(from).len(length).map(file)? };
        Ok(Self { map, before: before as usize })
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
        let start = part.start.saturating_add(self.before);
        let end = part.end.saturating_add(self.before).min(self.map.len());
        if start < end {
            let _ = self.map.advise_range(advice, start, end - start);
        }
    }
}

/// Whether so many bytes are at most a quarter of this machine's memory, so that having all of them
/// there is no burden.
#[must_use]
pub fn fit_in_memory(bytes: u64) -> bool {
    #[cfg(target_os = "linux")]
    let memory = nix::sys::sysinfo::sysinfo().map_or(0, |system| system.ram_total());
    #[cfg(not(target_os = "linux"))]
    let memory = 0;
    bytes <= memory / 4
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
        self.map.get(self.before..).unwrap_or_default()
    }
}
