//! Going on with an archive that another process writes: what comes to its log, as it comes.
//!
//! A log grows by whole batches and is final when the next one has its name, so the tail of a log
//! is read once and no lock is needed. If the writer was killed, its successor gives the log's name
//! to a file with the same whole batches; so the file under the name is what counts, from the same
//! offset on. A follower that was so slow that a log was sealed and gone before it was opened
//! catches up from the segments.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::folder::Folder;
use crate::head::{HEAD_BYTES, Head, LOG_MAGIC};
use crate::hosts::Hosts;
use crate::image::{Entry, LogImage};
use crate::reader::{Query, Reader};
use crate::scan::Found;
use crate::stored::{Event, Note};
use crate::{Error, disk};

/// How much is read of a log at a time; a batch at its limit fits.
const READ_BYTES: u64 = 32 << 20;

/// A reader that never comes to an end.
#[derive(Debug)]
pub struct Follower {
    folder: Folder,
    query: Query,
    hosts: Hosts,
    /// The number of the next event.
    next: u64,
    tail: Option<Tail>,
}

/// The log that is being followed.
#[derive(Debug)]
struct Tail {
    file: File,
    path: PathBuf,
    head: Head,
    offset: u64,
    /// The ordinal of the next event.
    next: u32,
}

impl Follower {
    /// Follows the archive in `dir` from the event that the query begins with. Of the query, a
    /// count is none of its business.
    #[must_use]
    pub fn new(dir: &Path, query: Query) -> Follower {
        let next = query.from;
        let folder = Folder::new(dir);
        Follower { folder, query, hosts: Hosts::default(), next, tail: None }
    }

    /// The number of the next event.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Shows what has come since the last time; whether anything has.
    ///
    /// # Errors
    /// Those of the disk, and of `see`.
    pub fn poll<E: From<Error>>(
        &mut self,
        mut see: impl FnMut(Found<'_>) -> Result<(), E>,
    ) -> Result<bool, E> {
        let mut any = false;
        loop {
            if self.tail.is_none() {
                self.tail = self.open_tail()?;
            }
            match &self.tail {
                None if self.behind()? => {
                    self.catch_up(&mut see)?;
                    any = true;
                    continue;
                }
                None => return Ok(any),
                Some(tail) => {
                    // Asked before reading: a log that has a successor grows no more.
                    let last = !self.folder.has_number(tail.head.number.saturating_add(1));
                    if self.read(&mut see)? {
                        any = true;
                        continue;
                    }
                    if last {
                        return Ok(any);
                    }
                    self.tail = None;
                }
            }
        }
    }

    /// The log that has the next event, or will have it.
    fn open_tail(&self) -> Result<Option<Tail>, Error> {
        for (number, present) in self.folder.list()?.into_iter().rev() {
            if present.segment {
                return Ok(None);
            }
            let path = self.folder.log(number);
            let file = match disk::open(&path) {
                Err(error) if error.is_gone() => return Ok(None),
                other => other?,
            };
            let mut bytes = [0; HEAD_BYTES];
            (&file).read_exact(&mut bytes).map_err(|source| Error::io(&path, "read", source))?;
            let Ok(head) = Head::read(&bytes, LOG_MAGIC) else { return Ok(None) };
            if head.first <= self.next {
                let offset = HEAD_BYTES as u64;
                return Ok(Some(Tail { file, path, head, offset, next: 0 }));
            }
        }
        Ok(None)
    }

    /// Whether there are events that no log has any more.
    fn behind(&self) -> Result<bool, Error> {
        let mut reader = Reader::open(self.folder.path())?;
        let query = Query { from: self.next, count: Some(1), ..Query::default() };
        let mut scan = reader.scan(query);
        loop {
            match scan.next()? {
                None => return Ok(false),
                Some(Found::Event(_)) => return Ok(true),
                Some(_) => {}
            }
        }
    }

    fn catch_up<E: From<Error>>(
        &mut self,
        see: &mut impl FnMut(Found<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut reader = Reader::open(self.folder.path())?;
        let query = Query { from: self.next, count: None, ..self.query.clone() };
        let mut scan = reader.scan(query);
        while let Some(found) = scan.next()? {
            see(found)?;
        }
        self.next = self.next.max(scan.end());
        Ok(())
    }

    /// Reads what the log has got; false if that is nothing.
    fn read<E: From<Error>>(
        &mut self,
        see: &mut impl FnMut(Found<'_>) -> Result<(), E>,
    ) -> Result<bool, E> {
        let Some(tail) = &mut self.tail else { return Ok(false) };
        tail.renew()?;
        let image = tail.image()?;
        let (query, next, first) = (&self.query, &mut self.next, tail.head.first);
        let before = *next;
        let mut failed = None;
        let mut found = Vec::new();
        image.visit(&mut self.hosts, |entry| {
            found.push(entry);
            Ok(())
        })?;
        let mut any = false;
        for entry in found {
            let shown = match entry {
                Entry::Event { ordinal, host, frame, .. } => {
                    let n = first.saturating_add(u64::from(ordinal));
                    let known = self.hosts.get(host).filter(|_| n >= before);
                    *next = (*next).max(n + 1);
                    known.map(|from| Found::Event(Event::of_frame(n, host, from, frame)))
                }
                Entry::Note { before: at, host, frame, .. } => {
                    let n = first.saturating_add(u64::from(at));
                    let host = host.and_then(|host| Some((host, self.hosts.get(host)?)));
                    let note = Found::Note(Note { before: n, host, frame });
                    Some(note).filter(|_| n >= before)
                }
                _ => None,
            };
            if let Some(shown) = shown.filter(|shown| query.wants(shown)) {
                any = true;
                if let Err(error) = see(shown) {
                    failed = Some(error);
                    break;
                }
            }
        }
        let grown = image.whole().len() as u64;
        tail.offset += grown;
        tail.next = image.next_ordinal();
        match failed {
            Some(error) => Err(error),
            None => Ok(any || grown > 0),
        }
    }
}

impl Tail {
    /// Turns to the file that has the log's name, if that is another one.
    fn renew(&mut self) -> Result<(), Error> {
        let Ok(named) = self.path.metadata() else { return Ok(()) };
        let here = self.file.metadata().map_err(|source| Error::io(&self.path, "stat", source))?;
        if (named.dev(), named.ino()) != (here.dev(), here.ino()) {
            match disk::open(&self.path) {
                Ok(file) => self.file = file,
                Err(error) if error.is_gone() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The whole batches behind what was read before.
    fn image(&mut self) -> Result<LogImage, Error> {
        let failed = |source| Error::io(&self.path, "read", source);
        let mut bytes = Vec::new();
        (&self.file).seek(SeekFrom::Start(self.offset)).map_err(failed)?;
        (&self.file).take(READ_BYTES).read_to_end(&mut bytes).map_err(failed)?;
        Ok(LogImage::tail(&self.path, self.head, bytes, self.next))
    }
}
