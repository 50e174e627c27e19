//! Words by number, over several files.

use std::path::{Path, PathBuf};

use table::{Words, WordsMut};

use crate::error::{Cause, Damage};
use crate::folder::Folder;
use crate::{Error, disk};

/// Words of a file: 2^32 bits.
const FILE_WORDS: u64 = if cfg!(test) { 16 } else { 1 << 26 };
/// Files get longer by this many words, or to their end.
const STEP_WORDS: u64 = if cfg!(test) { 4 } else { table::words::STEP_WORDS as u64 };

/// What the words of some files are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// Bits of leaves.
    Gone,
    /// Words of accounts.
    Away,
}

impl What {
    const ALL: [What; 2] = [What::Gone, What::Away];

    fn text(self) -> &'static str {
        match self {
            What::Gone => "gone",
            What::Away => "away",
        }
    }
}

fn path(folder: &Folder, what: What, stamp: u32, file: usize) -> PathBuf {
    folder.path().join(format!("{}-{stamp:08}-{file:04}.map", what.text()))
}

/// The stamp in a name; `None` if it is none of these.
fn stamp_of(name: &str) -> Option<u32> {
    let mut parts = name.strip_suffix(".map")?.split('-');
    What::ALL.iter().find(|what| parts.clone().next() == Some(what.text()))?;
    let (_, stamp, _file) = (parts.next()?, parts.next()?, parts.next()?);
    let plain = stamp.len() == 8 && stamp.bytes().all(|byte| byte.is_ascii_digit());
    (plain && parts.next().is_none()).then(|| stamp.parse().ok())?
}

/// A stamp that no file has.
pub(crate) fn new_stamp(folder: &Folder) -> Result<u32, Error> {
    let mut last = 0;
    folder.each_name(|name| last = last.max(stamp_of(name).unwrap_or(0)))?;
    last.checked_add(1).ok_or_else(|| Error::Numbers { path: folder.path().to_owned() })
}

/// Removes the files of all stamps but these.
pub(crate) fn remove_others(folder: &Folder, kept: &[u32]) -> Result<(), Error> {
    let mut old = Vec::new();
    folder.each_name(|name| {
        if stamp_of(name).is_some_and(|stamp| !kept.contains(&stamp)) {
            old.push(folder.path().join(name));
        }
    })?;
    old.iter().try_for_each(|path| disk::remove(path))
}

/// The file of a word, and its place there.
fn place(at: u64) -> (usize, usize) {
    ((at / FILE_WORDS) as usize, (at % FILE_WORDS) as usize)
}

/// Words as a reader has them.
#[derive(Debug)]
pub(crate) struct Array {
    folder: Folder,
    what: What,
    stamp: u32,
    files: Vec<Option<Words>>,
}

impl Array {
    pub(crate) fn new(folder: &Folder, what: What, stamp: u32) -> Array {
        Array { folder: folder.clone(), what, stamp, files: Vec::new() }
    }

    /// A word; 0 where there is none.
    pub(crate) fn get(&mut self, at: u64) -> Result<u64, Error> {
        let (file, word) = place(at);
        if let Some(Some(words)) = self.files.get(file) {
            return Ok(words.get(word));
        }
        Ok(self.open(file)?.map_or(0, |words| words.get(word)))
    }

    fn open(&mut self, file: usize) -> Result<Option<&Words>, Error> {
        let path = path(&self.folder, self.what, self.stamp, file);
        let opened = match disk::open(&path) {
            Err(error) if error.is_gone() => return Ok(None),
            other => Words::open(other?, FILE_WORDS as usize),
        };
        let words = opened.map_err(|source| Error::io(&path, "map", source))?;
        if self.files.len() <= file {
            self.files.resize_with(file + 1, || None);
        }
        Ok(self.files.get_mut(file).map(|slot| &*slot.insert(words)))
    }

    /// Fails if there are fewer words than these.
    pub(crate) fn check(&mut self, words: u64) -> Result<(), Error> {
        let mut before = 0;
        for file in 0.. {
            let wanted = words.saturating_sub(before).min(FILE_WORDS);
            before += FILE_WORDS;
            if wanted == 0 {
                break;
            }
            let path = path(&self.folder, self.what, self.stamp, file);
            let found = match self.open(file)? {
                None => return Err(Damage::at(&path, 0, Cause::Gone).into()),
                Some(words) => words.look().map_err(|source| Error::io(&path, "stat", source))?,
            };
            if (found as u64) < wanted {
                return Err(Damage::at(&path, found as u64 * 8, Cause::Truncated).into());
            }
        }
        Ok(())
    }
}

/// Words as their writer has them.
#[derive(Debug)]
pub(crate) struct ArrayMut {
    folder: Folder,
    what: What,
    stamp: u32,
    files: Vec<Option<(PathBuf, WordsMut)>>,
    /// So many words the files are known to have.
    reached: u64,
}

impl ArrayMut {
    pub(crate) fn new(folder: &Folder, what: What, stamp: u32) -> ArrayMut {
        ArrayMut { folder: folder.clone(), what, stamp, files: Vec::new(), reached: 0 }
    }

    /// A file, which is made if it is not there.
    fn file(&mut self, file: usize) -> Result<&mut (PathBuf, WordsMut), Error> {
        if self.files.len() <= file {
            self.files.resize_with(file + 1, || None);
        }
        let gone = || Error::Numbers { path: self.folder.path().to_owned() };
        let slot = self.files.get_mut(file).ok_or_else(gone)?;
        Ok(match slot {
            Some(opened) => opened,
            None => {
                let path = path(&self.folder, self.what, self.stamp, file);
                let words = WordsMut::open(disk::open_or_create(&path)?, FILE_WORDS as usize)
                    .map_err(|source| Error::io(&path, "map", source))?;
                slot.insert((path, words))
            }
        })
    }

    /// The words with room for this one.
    fn with_room(&mut self, at: u64) -> Result<(&Path, &mut WordsMut, usize), Error> {
        let (file, word) = place(at);
        let (path, words) = self.file(file)?;
        if !words.has_room(word) {
            disk::take_room(words, path, word)?;
        }
        Ok((path, words, word))
    }

    pub(crate) fn or(&mut self, at: u64, bits: u64) -> Result<(), Error> {
        let (path, words, word) = self.with_room(at)?;
        stored(path, words.or(word, bits))
    }

    pub(crate) fn set(&mut self, at: u64, value: u64) -> Result<(), Error> {
        let (path, words, word) = self.with_room(at)?;
        stored(path, words.set(word, value))
    }

    pub(crate) fn get(&mut self, at: u64) -> Result<u64, Error> {
        let (file, word) = place(at);
        Ok(self.file(file)?.1.as_words().get(word))
    }

    /// Makes the files so long that they have this many words.
    pub(crate) fn reach(&mut self, words: u64) -> Result<(), Error> {
        while self.reached < words || self.files.is_empty() {
            let (file, start) = place(self.reached);
            let wanted = words.saturating_sub(self.reached) + start as u64;
            let length = wanted.max(1).next_multiple_of(STEP_WORDS).min(FILE_WORDS);
            let (path, opened) = self.file(file)?;
            disk::reach(opened, path, length as usize)?;
            self.reached = file as u64 * FILE_WORDS + length;
        }
        Ok(())
    }

    /// Makes this word and all behind it 0, but for some bits of the first.
    pub(crate) fn clear_from(&mut self, start: u64, kept: u64) -> Result<(), Error> {
        for at in start..self.reached {
            let (found, kept) = (self.get(at)?, if at == start { kept } else { 0 });
            if found & !kept != 0 {
                self.set(at, found & kept)?;
            }
        }
        Ok(())
    }

    pub(crate) fn sync(&self) -> Result<(), Error> {
        self.files.iter().flatten().try_for_each(|(path, words)| disk::sync_words(words, path))
    }
}

/// A word has its room before it is stored.
fn stored(path: &Path, stored: bool) -> Result<(), Error> {
    let none = || Error::io(path, "set a word", std::io::ErrorKind::InvalidInput.into());
    stored.then_some(()).ok_or_else(none)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_go_on_in_the_next_file() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path());
        let mut array = ArrayMut::new(&folder, What::Gone, 7);
        let mut reader = Array::new(&folder, What::Gone, 7);
        let ends = [0, FILE_WORDS - 1, FILE_WORDS, 3 * FILE_WORDS + 1];
        for at in ends {
            assert_eq!(reader.get(at).unwrap(), 0);
            array.or(at, 4).unwrap();
            array.or(at, 1 << 63).unwrap();
            assert_eq!(reader.get(at).unwrap(), 1 << 63 | 4);
        }
        assert!(!path(&folder, What::Gone, 7, 2).exists());
        assert_eq!(reader.get(2 * FILE_WORDS).unwrap(), 0);
        let wanted = 3 * FILE_WORDS + 6;
        assert!(matches!(reader.check(wanted), Err(Error::Damaged(_))));
        array.reach(wanted).unwrap();
        reader.check(wanted).unwrap();
        array.sync().unwrap();
        let mut again = Array::new(&folder, What::Gone, 7);
        for at in ends {
            assert_eq!(again.get(at).unwrap(), 1 << 63 | 4);
        }
        std::fs::remove_file(path(&folder, What::Gone, 7, 1)).unwrap();
        let mut again = Array::new(&folder, What::Gone, 7);
        assert!(matches!(again.check(wanted), Err(Error::Damaged(_))));
    }

    #[test]
    fn stamps_are_new_and_only_files_of_others_go() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path());
        assert_eq!(new_stamp(&folder).unwrap(), 1);
        for (what, stamp) in [(What::Gone, 1), (What::Away, 3)] {
            ArrayMut::new(&folder, what, stamp).set(0, 1).unwrap();
        }
        std::fs::write(dir.path().join("gone-x.map"), b"somebody else's").unwrap();
        assert_eq!(new_stamp(&folder).unwrap(), 4);
        remove_others(&folder, &[3]).unwrap();
        let mut names = Vec::new();
        folder.each_name(|name| names.push(name.to_owned())).unwrap();
        names.sort();
        assert_eq!(names, ["away-00000003-0000.map", "gone-x.map"]);
    }
}
