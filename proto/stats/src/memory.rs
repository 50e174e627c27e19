//! The words of a page, mapped from its file or held in private memory. The only module here
//! that needs `unsafe`: to see mapped bytes as atomic numbers.

#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

use memmap2::{MmapOptions, MmapRaw};

use crate::layout::{PAGE_BYTES, WORDS};

/// A page as its writer sees it.
pub(crate) type Words = [AtomicU64; WORDS];

const _: () = assert!(size_of::<Words>() == PAGE_BYTES && align_of::<Words>() <= 4_096);

/// The memory of one page, all zero at first.
pub(crate) struct Memory {
    words: NonNull<Words>,
    /// Keeps `words` alive. Private memory is behind a `Box`, so it does not move either.
    _owner: Owner,
}

enum Owner {
    File(#[allow(dead_code)] MmapRaw),
    Private(#[allow(dead_code)] Box<Words>),
}

// SAFETY: `words` points into memory that `_owner` holds for as long as `self` lives and that
// may be used from any thread; all access to it is by atomic operations.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    /// Maps a file, which has to be a page long with its blocks allocated: touching a page of a
    /// map that the file system cannot back ends the process.
    pub(crate) fn of_file(file: &File) -> io::Result<Self> {
        let map = MmapOptions::new().len(PAGE_BYTES).map_raw(file)?;
        let words = NonNull::new(map.as_mut_ptr().cast::<Words>())
            .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
        Ok(Self { words, _owner: Owner::File(map) })
    }

    /// Takes memory that nobody else sees.
    pub(crate) fn private() -> Self {
        let mut words = Box::new([const { AtomicU64::new(0) }; WORDS]);
        Self { words: NonNull::from(&mut *words), _owner: Owner::Private(words) }
    }

    #[inline]
    pub(crate) fn words(&self) -> &Words {
        // SAFETY: `words` points to PAGE_BYTES bytes that live as long as `self`: a shared map
        // of that length, or a boxed array. A map begins at a page of memory, so it is aligned.
        // Every bit pattern is a valid AtomicU64, and other processes only read the file, so
        // atomics are all that ever touches these bytes.
        unsafe { self.words.as_ref() }
    }
}
