//! Memory of our own, all zero, that takes room only where it has been written to.
//!
//! A look-up goes to a random place in some hundred megabytes, so the system is asked for large
//! pages: with small ones each look-up misses the processor's page table, too.

use std::io;

use memmap2::MmapMut;

/// Pieces of `N` bytes.
#[derive(Debug)]
pub(crate) struct Pages<const N: usize>(MmapMut);

impl<const N: usize> Pages<N> {
    pub(crate) fn new(pieces: usize) -> io::Result<Pages<N>> {
        let bytes = pieces.checked_mul(N).ok_or(io::ErrorKind::OutOfMemory)?;
        let map = MmapMut::map_anon(bytes)?;
        // A wish: without large pages everything works the same, only slower.
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::HugePage);
        Ok(Pages(map))
    }

    #[inline]
    pub(crate) fn all(&self) -> &[[u8; N]] {
        self.0.as_chunks().0
    }

    #[inline]
    pub(crate) fn all_mut(&mut self) -> &mut [[u8; N]] {
        self.0.as_chunks_mut().0
    }
}
