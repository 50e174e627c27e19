//! Memory of our own, all zero, that takes room only where it has been written to, in lines of
//! the size that the processor fetches.
//!
//! A look-up goes to a random place in some hundred megabytes, so the system is asked for large
//! pages: with small ones each look-up misses the processor's page table, too.
#![allow(unsafe_code)]

use std::io;

use memmap2::MmapMut;

pub(crate) const LINE_BYTES: usize = 64;

/// What is fetched at a time.
pub(crate) type Line = [u8; LINE_BYTES];

/// Lines, each of which begins where the processor's do.
#[derive(Debug)]
pub(crate) struct Pages(MmapMut);

impl Pages {
    pub(crate) fn new(lines: usize) -> io::Result<Pages> {
        let bytes = lines.checked_mul(LINE_BYTES).ok_or(io::ErrorKind::OutOfMemory)?;
        let map = MmapMut::map_anon(bytes)?;
        // A wish: without large pages everything works the same, only slower.
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::HugePage);
        Ok(Pages(map))
    }

    /// Asks for a line before it is needed, if there is one. It waits for nothing: unlike a read,
    /// which keeps whatever comes behind it in the processor until it is done.
    #[inline]
    pub(crate) fn fetch(&self, at: usize) {
        let Some(line) = self.all().get(at) else { return };
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            // SAFETY: a prefetch changes nothing that the program could see, and faults on no
            // address.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = std::hint::black_box(line.first());
    }

    #[inline]
    pub(crate) fn all(&self) -> &[Line] {
        self.0.as_chunks().0
    }

    #[inline]
    pub(crate) fn all_mut(&mut self) -> &mut [Line] {
        self.0.as_chunks_mut().0
    }
}
