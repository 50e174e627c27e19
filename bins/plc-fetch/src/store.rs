//! The folder of operations.
//!
//! ```text
//! DIR/NNNNNN.jsonl.zst   zstd frames with checksums, one for each page that brought something;
//!                        a frame holds whole lines, each with its end. Numbers begin at 000001,
//!                        and only the last file grows
//! DIR/plc-fetch.lock     locked while a plc-fetch runs; the holder's process id
//! DIR/plc-fetch.state    what may be deleted
//! ```
//!
//! A page counts when its frame is synced. A kill can tear the last frame of the last file; the
//! next run cuts it off and asks for it again. There is no cursor beside the data: where to go on
//! is read off the last operations. (`plc-fetch.state` says whose their numbers are; without it
//! their times do.)

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use cli::Cli;
use zstd::bulk::Compressor;

use crate::frames::Frames;
use crate::page::{self, Line};
use crate::seen::{KEEP_MS, Seen};
use crate::state::Position;

/// A page takes some 20 ms at this level, less than any directory takes to answer.
const LEVEL: i32 = 9;

/// Where nothing is waited for, but the packing: some five times as quick.
const LEVEL_BULK: i32 = 3;

const ENDING: &str = ".jsonl.zst";

/// A folder that this process alone writes to.
pub(crate) struct Store {
    folder: PathBuf,
    /// The last file.
    path: PathBuf,
    file: File,
    number: u64,
    /// Whole frames in the last file, in bytes and lines.
    bytes: u64,
    lines: u64,
    lines_max: u64,
    compressor: Compressor<'static>,
    _lock: File,
}

/// The operation that was stored last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Last {
    pub(crate) name: Box<str>,
    /// Its number, if it has one, in the directory that gave it.
    pub(crate) seq: Option<u64>,
    /// Where the frame that holds it begins.
    pub(crate) at: Position,
}

/// What was found in a folder.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    /// Operations of the last minutes.
    pub(crate) seen: Seen,
    pub(crate) last: Option<Last>,
}

/// What a file of operations holds.
struct Found {
    /// Of the whole frames.
    bytes: u64,
    /// Behind the whole frames.
    torn_bytes: u64,
    lines: Vec<Line>,
    /// Where the last frame with lines begins.
    last_frame: u64,
}

impl Store {
    /// Opens a folder, mends its last file, and reads off what was stored last.
    pub(crate) fn open(folder: &Path, lines_max: u64, cli: &Cli) -> anyhow::Result<(Self, Stored)> {
        let context = || folder.display().to_string();
        fs::create_dir_all(folder).with_context(context)?;
        let lock = lock(folder)?;
        let mut numbers = numbers(folder).with_context(context)?;
        let last = numbers.last().copied().unwrap_or(1);
        if numbers.is_empty() {
            numbers.push(last);
        }
        let path = file_path(folder, last);
        let file = create(folder, &path)?;
        let found = read(&path)?;
        if found.torn_bytes > 0 {
            let cut = file.set_len(found.bytes).and_then(|()| file.sync_all());
            cut.with_context(|| path.display().to_string())?;
            cli.warn(format_args!(
                "{}: its last {} bytes were no whole frame and are cut off; they are fetched again",
                path.display(),
                found.torn_bytes
            ));
        }
        let (bytes, lines) = (found.bytes, found.lines.len() as u64);
        let stored = recent(folder, &numbers, found)?;
        let mut compressor = Compressor::new(LEVEL)?;
        compressor.set_parameter(zstd::zstd_safe::CParameter::ChecksumFlag(true))?;
        let folder = folder.to_owned();
        let number = last;
        let store =
            Self { folder, path, file, number, bytes, lines, lines_max, compressor, _lock: lock };
        Ok((store, stored))
    }

    /// Stores lines, each with its end. They are on the disk after [`Store::sync`].
    pub(crate) fn append(&mut self, text: &[u8], lines: u64) -> anyhow::Result<()> {
        if self.lines >= self.lines_max {
            self.sync()?;
            self.number += 1;
            self.path = file_path(&self.folder, self.number);
            self.file = create(&self.folder, &self.path)?;
            (self.bytes, self.lines) = (0, 0);
        }
        let frame = self.compressor.compress(text)?;
        if let Err(error) = self.file.write_all(&frame) {
            // Half a frame would be cut off by the next run all the same.
            let _ = self.file.set_len(self.bytes);
            return Err(self.failed(error));
        }
        self.bytes += frame.len() as u64;
        self.lines += lines;
        Ok(())
    }

    /// Makes durable what was stored. A sync that failed is never tried again: the system may
    /// have dropped what it could not write.
    pub(crate) fn sync(&mut self) -> anyhow::Result<()> {
        self.file.sync_data().map_err(|error| self.failed(error))
    }

    /// Packs quickly rather than tightly, for a dump.
    pub(crate) fn bulk(&mut self, bulk: bool) -> io::Result<()> {
        self.compressor.set_compression_level(if bulk { LEVEL_BULK } else { LEVEL })
    }

    /// Where the next frame goes.
    pub(crate) fn position(&self) -> Position {
        (self.number, self.bytes)
    }

    /// The folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    fn failed(&self, error: io::Error) -> anyhow::Error {
        anyhow::Error::from(error).context(format!(
            "{}: what came before is safe; make room and run plc-fetch again",
            self.path.display()
        ))
    }

    /// Where what is learned about the directory is kept.
    pub(crate) fn state_path(&self) -> PathBuf {
        self.folder.join("plc-fetch.state")
    }
}

/// Operations of the last minutes, of the last file and as many before it as that takes, and the
/// last one of all.
fn recent(folder: &Path, numbers: &[u64], last: Found) -> anyhow::Result<Stored> {
    let mut stored = Stored::default();
    let mut pages = Vec::new();
    let mut next = Some(last);
    for number in numbers.iter().rev() {
        let found = match next.take() {
            Some(found) => found,
            None => read(&file_path(folder, *number))?,
        };
        if let (None, Some(line)) = (&stored.last, found.lines.last()) {
            let (name, at) = (line.name.clone(), (*number, found.last_frame));
            stored.last = Some(Last { name, seq: line.seq, at });
        }
        pages.push(found.lines);
        let times = || pages.iter().flatten().map(|line| line.created_ms);
        let reaches = |newest: u64, oldest| oldest < newest.saturating_sub(KEEP_MS);
        if times().max().zip(times().min()).is_some_and(|(newest, oldest)| reaches(newest, oldest))
        {
            break;
        }
    }
    for line in pages.iter().rev().flatten() {
        stored.seen.add(line);
    }
    Ok(stored)
}

/// Reads the whole frames of a file.
fn read(path: &Path) -> anyhow::Result<Found> {
    let packed = fs::read(path).with_context(|| path.display().to_string())?;
    let mut frames = Frames::new(&packed);
    let mut lines = Vec::new();
    let (mut begins, mut last_frame) = (0, 0);
    while let Some(text) = frames.next().with_context(|| path.display().to_string())? {
        let name = || format!("{}: the frame before offset {}", path.display(), frames.offset());
        let mut found = page::lines(&text).with_context(name)?;
        if !found.is_empty() {
            last_frame = begins;
            lines.append(&mut found);
        }
        begins = frames.offset();
    }
    let bytes = frames.offset();
    Ok(Found { bytes, torn_bytes: packed.len() as u64 - bytes, lines, last_frame })
}

fn file_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:06}{ENDING}"))
}

/// The numbers of the files that are there, in order.
fn numbers(folder: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let digits = name.to_str().and_then(|name| name.strip_suffix(ENDING));
        let digits = digits.filter(|digits| digits.len() >= 6);
        let number = digits.and_then(|digits| digits.parse::<u64>().ok());
        numbers
            .extend(number.filter(|number| file_path(folder, *number).file_name() == Some(&name)));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Opens a file for writing at its end, and makes it durable that it is there.
fn create(folder: &Path, path: &Path) -> anyhow::Result<File> {
    let file = OpenOptions::new().append(true).create(true).open(path);
    let file = file.with_context(|| path.display().to_string())?;
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.with_context(|| folder.display().to_string())?;
    Ok(file)
}

/// One plc-fetch a folder. The lock is that of a descriptor and dies with the process.
fn lock(folder: &Path) -> anyhow::Result<File> {
    let path = folder.join("plc-fetch.lock");
    let context = || path.display().to_string();
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true).create(true).truncate(false);
    let mut lock = options.open(&path).with_context(context)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // The number is for people; without it the answer is the same.
            let _ = (&lock).take(32).read_to_string(&mut holder);
            anyhow::bail!(
                "{}: the plc-fetch of process {} is at work here",
                folder.display(),
                holder.trim()
            );
        }
        Err(TryLockError::Error(error)) => return Err(error).with_context(context),
    }
    lock.set_len(0)
        .and_then(|()| writeln!(lock, "{}", std::process::id()))
        .with_context(context)?;
    Ok(lock)
}
