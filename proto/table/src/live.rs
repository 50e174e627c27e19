//! A file that one process writes while others read it, without locks.
//!
//! ```text
//! live = head (4096) | words (8 each, zeros to 64) | area
//!
//! head, all integers little-endian
//! offset size name
//!      0    8 magic     "SVRNlive"
//!      8    4 version   1
//!     12    4 reserved  0
//!     16    8 words     1..=2^33
//!     24    8 area      bytes of the area, a multiple of 64
//!     32   64 note      whatever the user of the file writes down when it is made
//!     96 3996 reserved  0
//!   4092    4 checksum  CRC32C of bytes 0..4092
//!
//! words  u64, each read and written as a whole; word 0 is how many bytes of the area are
//!        published, the others are the user's
//! area   pieces, each written once, at the next multiple of 64
//! ```
//!
//! **Why nothing is ever seen torn.** The area only grows: a piece is copied behind all that is
//! published, then word 0 is stored with release order. What lies below word 0 is never written
//! again, so a reader that has loaded it with acquire order may look at these bytes as it likes.
//! A piece has a meaning when one of the user's words, stored after it, says where it is: so a
//! reader finds all of it or nothing. The head is written before the file has a name that readers
//! know.
//!
//! The file has its room on the disk before it is mapped (a hole that the disk cannot fill is
//! SIGBUS), and only one [`LiveMut`] is ever made for a file: [`LiveMut::create`] takes an empty
//! one. Whoever wants to write again makes another file.
//!
//! **What is checked.** On opening: magic, version, sizes against the file's length, the head's
//! checksum. Pieces have no checksum here. A reader refuses a version that it does not know.
//!
//! **Versions.** 1: as above.
#![allow(unsafe_code)]

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    sync::atomic::{AtomicU64, Ordering},
};

use memmap2::{MmapOptions, MmapRaw};

use crate::{Error, header::field};

/// The first eight bytes.
pub const MAGIC: [u8; 8] = *b"SVRNlive";
/// The version written and read.
pub const VERSION: u32 = 1;
/// Bytes of the head.
pub const HEAD_BYTES: usize = 4096;
/// Bytes that the user of a file may note in its head.
pub const NOTE_BYTES: usize = 64;
/// What the offset of every piece is a multiple of: a cache line.
pub const PIECE_ALIGN: usize = 64;

const WORDS_MAX: u64 = 1 << 33;
const AREA_BYTES_MAX: u64 = 1 << 38;
const VERSION_AT: usize = MAGIC.len();
const WORDS_AT: usize = VERSION_AT + 2 * size_of::<u32>(); // and a reserved word
const AREA_AT: usize = WORDS_AT + size_of::<u64>();
const NOTE_AT: usize = AREA_AT + size_of::<u64>();
const CHECKSUM_AT: usize = HEAD_BYTES - size_of::<u32>();

/// The word that says how much of the area is published.
const PUBLISHED: usize = 0;

const _: () = assert!(NOTE_AT == 32 && NOTE_AT + NOTE_BYTES < CHECKSUM_AT);

/// The file as its readers see it. It changes under them, a whole word or piece at a time.
#[derive(Debug)]
pub struct Live {
    map: MmapRaw,
    note: [u8; NOTE_BYTES],
    words: usize,
    area_at: usize,
    area_bytes: usize,
}

impl Live {
    /// Maps a file for reading.
    ///
    /// # Errors
    /// [`Error::NotLive`], [`Error::Version`], [`Error::HeaderChecksum`], [`Error::Length`], and
    /// [`Error::Map`] when the operating system refuses.
    pub fn open(file: &File) -> Result<Self, Error> {
        let map = |length| MmapOptions::new().len(length).map_raw_read_only(file);
        Self::open_with(file, map)
    }

    fn open_with(
        file: &File,
        map: impl FnOnce(usize) -> io::Result<MmapRaw>,
    ) -> Result<Self, Error> {
        let found = file.metadata().map_err(Error::Map)?.len();
        let mut head = [0; HEAD_BYTES];
        match file.read_exact_at(&mut head, 0) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            read => read.map_err(Error::Map)?,
        }
        let magic = field(&head, 0);
        if magic != MAGIC {
            return Err(Error::NotLive { found: magic });
        }
        let version = u32::from_le_bytes(field(&head, VERSION_AT));
        if version != VERSION {
            return Err(Error::Version { found: version, known: VERSION });
        }
        let computed = crc32c::crc32c(head.get(..CHECKSUM_AT).unwrap_or_default());
        let checksum = u32::from_le_bytes(field(&head, CHECKSUM_AT));
        if checksum != computed {
            return Err(Error::HeaderChecksum { found: checksum, computed });
        }
        let words = u64::from_le_bytes(field(&head, WORDS_AT));
        let area_bytes = u64::from_le_bytes(field(&head, AREA_AT));
        let (area_at, expected) = places(words, area_bytes)?;
        if found != expected {
            return Err(Error::Length { expected, found });
        }
        let map = map(usize::try_from(expected).map_err(too_long)?).map_err(Error::Map)?;
        let (words, area_bytes) = (words as usize, area_bytes as usize);
        Ok(Self { map, note: field(&head, NOTE_AT), words, area_at: area_at as usize, area_bytes })
    }

    /// What was noted in the head when the file was made.
    #[must_use]
    pub fn note(&self) -> &[u8; NOTE_BYTES] {
        &self.note
    }

    /// How many words there are.
    #[must_use]
    pub fn words(&self) -> usize {
        self.words
    }

    /// A word; 0 where there is none. What was written before it was stored is seen after it.
    #[inline]
    #[must_use]
    pub fn word(&self, number: usize) -> u64 {
        self.cell(number).map_or(0, |cell| u64::from_le(cell.load(Ordering::Acquire)))
    }

    /// Whether nothing of the area is published yet.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.word(PUBLISHED) == 0
    }

    /// The part of the area that is published.
    #[inline]
    #[must_use]
    pub fn area(&self) -> &[u8] {
        let published = self.word(PUBLISHED).min(self.area_bytes as u64) as usize;
        // SAFETY: the bytes are inside the mapping, which lives as long as the slice, and the file
        // keeps its length. They were written before the word that says so was stored (release),
        // which has been loaded (acquire), and nobody writes them again: `LiveMut::append` writes
        // behind what is published alone, and a file has one `LiveMut`.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().add(self.area_at), published) }
    }

    /// Room of the area, used or not.
    #[must_use]
    pub fn area_bytes(&self) -> usize {
        self.area_bytes
    }

    #[inline]
    fn cell(&self, number: usize) -> Option<&AtomicU64> {
        if number >= self.words {
            return None;
        }
        // SAFETY: the word is inside the mapping, which lives as long as the reference; a mapping
        // begins at a page of memory and words at a multiple of 8 in it, so it is aligned. Every
        // bit pattern is a number, and atomic operations are all that ever touches it, those of
        // other processes included. A mapping for reading is only loaded from: `set` is
        // `LiveMut`'s, whose mapping is for writing.
        Some(unsafe {
            AtomicU64::from_ptr(self.map.as_mut_ptr().add(HEAD_BYTES).cast::<u64>().add(number))
        })
    }
}

/// The file as its one writer sees it.
#[derive(Debug)]
pub struct LiveMut(Live);

impl LiveMut {
    /// Gives an empty file, which is open for reading and writing, its room on the disk and its
    /// head, and maps it. All words are 0.
    ///
    /// # Errors
    /// [`Error::Sizes`] for one that is too large, [`Error::Map`] when the operating system
    /// refuses: a full disk is one here and not a SIGBUS later.
    pub fn create(
        file: &File,
        words: u64,
        area_bytes: u64,
        note: &[u8; NOTE_BYTES],
    ) -> Result<Self, Error> {
        let found = file.metadata().map_err(Error::Map)?.len();
        if found != 0 {
            return Err(Error::Length { expected: 0, found });
        }
        let area_bytes = area_bytes.checked_next_multiple_of(PIECE_ALIGN as u64);
        let area_bytes = area_bytes.unwrap_or(u64::MAX);
        let (_, bytes) = places(words, area_bytes)?;
        let length = i64::try_from(bytes).map_err(too_long)?;
        nix::fcntl::posix_fallocate(file, 0, length).map_err(|error| Error::Map(error.into()))?;
        let mut head = [0; HEAD_BYTES];
        let mut put = |at: usize, field: &[u8]| {
            if let Some(place) = head.get_mut(at..at + field.len()) {
                place.copy_from_slice(field);
            }
        };
        put(0, &MAGIC);
        put(VERSION_AT, &VERSION.to_le_bytes());
        put(WORDS_AT, &words.to_le_bytes());
        put(AREA_AT, &area_bytes.to_le_bytes());
        put(NOTE_AT, note);
        let checksum = crc32c::crc32c(head.get(..CHECKSUM_AT).unwrap_or_default());
        if let Some(place) = head.last_chunk_mut() {
            *place = checksum.to_le_bytes();
        }
        file.write_all_at(&head, 0).map_err(Error::Map)?;
        let map = |length| MmapOptions::new().len(length).map_raw(file);
        Live::open_with(file, map).map(Self)
    }

    /// The same, as a reader sees it.
    #[must_use]
    pub fn as_live(&self) -> &Live {
        &self.0
    }

    /// Stores a word of the user's. Whoever reads it sees all that was written before.
    pub fn set(&mut self, number: usize, value: u64) {
        if number != PUBLISHED {
            self.store(number, value);
        }
    }

    /// Bytes that the next piece may have.
    #[must_use]
    pub fn room(&self) -> usize {
        self.0.area_bytes - self.0.area().len()
    }

    /// Publishes a piece and says where in the area it is; nothing when there is no room.
    pub fn append(&mut self, piece: &[u8]) -> Option<usize> {
        let at = self.0.area().len();
        let published = at.checked_add(piece.len())?.checked_next_multiple_of(PIECE_ALIGN)?;
        if published > self.0.area_bytes {
            return None;
        }
        // SAFETY: the target is inside the mapping, which is for writing, and behind what is
        // published, where no slice reaches (`Live::area`) and nobody else writes: `self` is the
        // only writer of the file and is borrowed for writing. `piece` is none of it, being a
        // slice.
        unsafe {
            let target = self.0.map.as_mut_ptr().add(self.0.area_at + at);
            std::ptr::copy_nonoverlapping(piece.as_ptr(), target, piece.len());
        }
        self.store(PUBLISHED, published as u64);
        Some(at)
    }

    /// Makes durable what has been written so far.
    ///
    /// # Errors
    /// The operating system's.
    pub fn sync(&self) -> io::Result<()> {
        self.0.map.flush()
    }

    fn store(&mut self, number: usize, value: u64) {
        if let Some(cell) = self.0.cell(number) {
            cell.store(value.to_le(), Ordering::Release);
        }
    }
}

/// Stores one of the user's words of a file whose writer is gone, to tell its readers something.
/// The file is open for reading and writing.
///
/// # Errors
/// As [`Live::open`].
pub fn set_word(file: &File, number: usize, value: u64) -> Result<(), Error> {
    let map = |length| MmapOptions::new().len(length).map_raw(file);
    LiveMut(Live::open_with(file, map)?).set(number, value);
    Ok(())
}

/// Where the area begins and where the file ends.
fn places(words: u64, area_bytes: u64) -> Result<(u64, u64), Error> {
    let fits = (1..=WORDS_MAX).contains(&words)
        && area_bytes <= AREA_BYTES_MAX
        && area_bytes.is_multiple_of(PIECE_ALIGN as u64);
    if !fits {
        return Err(Error::LiveSizes { words, area_bytes });
    }
    let area_at =
        (HEAD_BYTES as u64 + words * size_of::<u64>() as u64).next_multiple_of(PIECE_ALIGN as u64);
    Ok((area_at, area_at + area_bytes))
}

fn too_long(error: std::num::TryFromIntError) -> Error {
    Error::Map(io::Error::other(error))
}
