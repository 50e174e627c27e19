//! Words in a file that one process sets while others read them, without locks.
//!
//! ```text
//! words = u64 little-endian, one behind the other
//! ```
//!
//! The file has no head and no end of its own: what a word means is its user's to say, and a word
//! that the file does not reach is 0. It is mapped once, as long as it may ever become, and reached
//! through the map as far as it is long: pages behind a file's end are SIGBUS, so who reads looks at
//! the length first, and the length never becomes less.
//!
//! It is sparse. Where nothing was set it takes no room, so the system has to find room when a word
//! is set; a map has no way to say that there is none but SIGBUS. So [`WordsMut`] asks for the room of
//! a page (`fallocate`) before it stores the first word there: a full disk is an error. The file's
//! length follows in smaller steps, so that a few words are a short file.
//!
//! Each word is stored and loaded as a whole, with release and acquire order: who sees it sees all
//! that was written before.
#![allow(unsafe_code)]

use std::{
    fs::File,
    io,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
};

use memmap2::{MmapOptions, MmapRaw};
use nix::errno::Errno;
use nix::fcntl::FallocateFlags;

/// Words that get their room on the disk together: 4,096 bytes of them.
pub const PAGE_WORDS: usize = PAGE_BYTES / WORD_BYTES;
/// The file gets longer by so many words, or up to its end.
pub const STEP_WORDS: usize = 64;

const PAGE_BYTES: usize = 4096;
const WORD_BYTES: usize = size_of::<u64>();

/// The words as a reader sees them.
#[derive(Debug)]
pub struct Words {
    file: File,
    map: MmapRaw,
    /// How many there may be: so long is the map.
    most: usize,
    /// How many the file was seen to have; it never has fewer.
    there: AtomicUsize,
}

impl Words {
    /// Maps a file that has up to `most` words, now or later.
    ///
    /// # Errors
    /// The operating system's.
    pub fn open(file: File, most: usize) -> io::Result<Self> {
        Self::with(file, most, |options, file| options.map_raw_read_only(file))
    }

    fn with(
        file: File,
        most: usize,
        map: impl FnOnce(&MmapOptions, &File) -> io::Result<MmapRaw>,
    ) -> io::Result<Self> {
        let bytes = most.checked_mul(WORD_BYTES).ok_or(io::ErrorKind::InvalidInput)?;
        let map = map(MmapOptions::new().len(bytes), &file)?;
        let words = Self { file, map, most, there: AtomicUsize::new(0) };
        words.look()?;
        Ok(words)
    }

    /// How many there are by now.
    ///
    /// # Errors
    /// The operating system's.
    pub fn look(&self) -> io::Result<usize> {
        let bytes = usize::try_from(self.file.metadata()?.len()).unwrap_or(usize::MAX);
        let there = (bytes / WORD_BYTES).min(self.most);
        Ok(self.there.fetch_max(there, Ordering::Relaxed).max(there))
    }

    /// A word; 0 where there is none. What was written before it was set is seen after it.
    #[inline]
    #[must_use]
    pub fn get(&self, number: usize) -> u64 {
        self.cell(number).map_or(0, |cell| u64::from_le(cell.load(Ordering::Acquire)))
    }

    #[inline]
    fn cell(&self, number: usize) -> Option<&AtomicU64> {
        if number >= self.there.load(Ordering::Relaxed)
            && (number >= self.most || number >= self.look().ok()?)
        {
            return None;
        }
        // SAFETY: the word is inside the map, which has `most` of them and lives as long as the
        // reference, and inside the file, which was at least `there` words long (at most `most`) and
        // is never cut. A map begins at a page of memory and words lie at multiples of 8 in it, so it
        // is aligned. Every bit pattern is a number, and atomic operations are all that ever touches
        // it, those of other processes included. A map for reading is only loaded from: `or` and `set`
        // are `WordsMut`'s, whose map is for writing.
        Some(unsafe { AtomicU64::from_ptr(self.map.as_mut_ptr().cast::<u64>().add(number)) })
    }
}

/// The words as their one writer sees them.
#[derive(Debug)]
pub struct WordsMut {
    words: Words,
    /// A bit for each page that has its room.
    room: Vec<u64>,
}

impl WordsMut {
    /// Maps a file, which is open for reading and writing, to set words in it; it may be empty.
    ///
    /// # Errors
    /// The operating system's.
    pub fn open(file: File, most: usize) -> io::Result<Self> {
        let words = Words::with(file, most, |options, file| options.map_raw(file))?;
        let room = vec![0; most.div_ceil(PAGE_WORDS).div_ceil(64)];
        Ok(Self { words, room })
    }

    /// The same, as a reader sees it.
    #[must_use]
    pub fn as_words(&self) -> &Words {
        &self.words
    }

    /// Whether this word can be set: its page is known to have its room, and the file reaches it.
    #[inline]
    #[must_use]
    pub fn has_room(&self, number: usize) -> bool {
        number < self.words.there.load(Ordering::Relaxed) && self.has_page(number)
    }

    fn has_page(&self, number: usize) -> bool {
        let (at, bit) = room_bit(number);
        self.room.get(at).is_some_and(|bits| bits & bit != 0)
    }

    /// Takes the room of this word's page on the disk, if it has none, and makes the file reach the
    /// word.
    ///
    /// # Errors
    /// The operating system's; `InvalidInput` for a word that cannot be.
    pub fn take_room(&mut self, number: usize) -> io::Result<()> {
        if number >= self.words.most {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if !self.has_page(number) {
            let start = number / PAGE_WORDS * PAGE_BYTES;
            let bytes = (self.words.most * WORD_BYTES - start).min(PAGE_BYTES);
            take(&self.words.file, start, bytes)?;
            let (at, bit) = room_bit(number);
            if let Some(bits) = self.room.get_mut(at) {
                *bits |= bit;
            }
        }
        self.reach((number + 1).next_multiple_of(STEP_WORDS))
    }

    /// Makes the file so long that it has this many words; where they take no room they are 0. It is
    /// never made shorter.
    ///
    /// # Errors
    /// The operating system's.
    pub fn reach(&mut self, words: usize) -> io::Result<()> {
        if words > self.words.look()? {
            let bytes = words.min(self.words.most) * WORD_BYTES;
            self.words.file.set_len(bytes as u64)?;
            self.words.look()?;
        }
        Ok(())
    }

    /// Sets bits of a word; whether its page has the room for that ([`WordsMut::take_room`]).
    #[must_use]
    pub fn or(&mut self, number: usize, bits: u64) -> bool {
        self.store(number, |cell| {
            cell.fetch_or(bits.to_le(), Ordering::Release);
        })
    }

    /// Stores a word; whether its page has the room for that ([`WordsMut::take_room`]).
    #[must_use]
    pub fn set(&mut self, number: usize, value: u64) -> bool {
        self.store(number, |cell| cell.store(value.to_le(), Ordering::Release))
    }

    fn store(&mut self, number: usize, store: impl FnOnce(&AtomicU64)) -> bool {
        let cell = self.has_room(number).then(|| self.words.cell(number)).flatten();
        cell.map(store).is_some()
    }

    /// Makes durable what was set, and the file's length.
    ///
    /// # Errors
    /// The operating system's.
    pub fn sync(&self) -> io::Result<()> {
        let there = self.words.there.load(Ordering::Relaxed);
        if there > 0 {
            self.words.map.flush_range(0, there * WORD_BYTES)?;
        }
        self.words.file.sync_data()
    }
}

/// Takes room on the disk, without making the file longer where the system can do so.
fn take(file: &File, start: usize, bytes: usize) -> io::Result<()> {
    let [start, bytes] = [start, bytes].map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    let keep = FallocateFlags::FALLOC_FL_KEEP_SIZE;
    match nix::fcntl::fallocate(file, keep, start, bytes) {
        Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => {
            Ok(nix::fcntl::posix_fallocate(file, start, bytes)?)
        }
        other => Ok(other?),
    }
}

/// The bit of a word's page among those that have their room.
#[inline]
fn room_bit(number: usize) -> (usize, u64) {
    let page = number / PAGE_WORDS;
    (page / 64, 1 << (page % 64))
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;

    use super::*;

    fn file(path: &std::path::Path) -> File {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).open(path).unwrap()
    }

    #[test]
    fn a_word_is_seen_at_once_wherever_it_is_and_takes_a_page_of_room() {
        use std::os::unix::fs::MetadataExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("words");
        let most = 1 << 26;
        let mut words = WordsMut::open(file(&path), most).unwrap();
        let reader = Words::open(File::open(&path).unwrap(), most).unwrap();
        for number in [0, 7, PAGE_WORDS, most - 1] {
            assert_eq!(reader.get(number), 0);
            assert!(!words.or(number, 1) || number == 7, "no room was taken");
            words.take_room(number).unwrap();
            assert!(words.or(number, 1 << 40));
            assert_eq!(reader.get(number) & !1, 1 << 40);
            assert!(words.set(number, 5 + number as u64));
            assert_eq!(reader.get(number), 5 + number as u64);
        }
        assert_eq!((reader.get(most), reader.get(usize::MAX)), (0, 0));
        assert!(words.take_room(most).is_err());
        words.sync().unwrap();
        let meta = path.metadata().unwrap();
        assert_eq!(meta.len(), 512 << 20);
        assert!(meta.blocks() * 512 <= 1 << 20, "{} blocks", meta.blocks());
        let again = Words::open(File::open(&path).unwrap(), most).unwrap();
        assert_eq!(again.get(PAGE_WORDS), 5 + PAGE_WORDS as u64);
    }

    /// Words of one page, the file growing behind them.
    #[test]
    fn a_few_words_are_a_short_file_and_those_behind_are_set_in_turn() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("words");
        let most = 1 << 20;
        let mut words = WordsMut::open(file(&path), most).unwrap();
        let reader = Words::open(File::open(&path).unwrap(), most).unwrap();
        for number in 0..2 * PAGE_WORDS {
            assert_eq!(words.has_room(number), !number.is_multiple_of(STEP_WORDS));
            words.take_room(number).unwrap();
            assert!(words.set(number, 1 + number as u64));
            assert_eq!(reader.get(number), 1 + number as u64);
            let length = (number + 1).next_multiple_of(STEP_WORDS) * WORD_BYTES;
            assert_eq!(path.metadata().unwrap().len(), length as u64);
        }
    }

    #[test]
    fn a_reader_of_a_short_file_sees_nothing_behind_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("words");
        std::fs::write(&path, [255; 20]).unwrap();
        let words = Words::open(File::open(&path).unwrap(), 1 << 20).unwrap();
        let found: Vec<u64> = (0..5).map(|number| words.get(number)).collect();
        assert_eq!(found, [u64::MAX, u64::MAX, 0, 0, 0]);
        let mut writer = WordsMut::open(file(&path), 1 << 20).unwrap();
        writer.reach(4).unwrap();
        assert_eq!((words.get(2), words.look().unwrap()), (0xffff_ffff, 4));
    }
}
