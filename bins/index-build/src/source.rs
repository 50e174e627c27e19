//! Where operations come from: which files, and what they are packed in.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, IsTerminal};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use anyhow::Context;
use flate2::bufread::MultiGzDecoder;

use crate::piece::LINE_BYTES_MAX;
use crate::whole::Whole;

/// Read at a time.
const BUFFER_BYTES: usize = 256 << 10;

/// What the names of files of operations end with.
const ENDINGS: [&str; 3] = [".jsonl", ".jsonl.zst", ".jsonl.gz"];

/// A file of operations, or standard input.
pub(crate) struct Source {
    path: Option<PathBuf>,
}

impl Source {
    /// What it is called in messages.
    pub(crate) fn name(&self) -> String {
        self.path.as_ref().map_or("standard input".into(), |path| path.display().to_string())
    }

    /// Whether it is a file and not standard input.
    pub(crate) fn is_file(&self) -> bool {
        self.path.is_some()
    }

    /// Opens it and finds out by its first bytes what it is packed in.
    pub(crate) fn open(&self) -> anyhow::Result<Packed> {
        let mut reader: Box<dyn BufRead + Send> = match &self.path {
            None => {
                cli::widen(io::stdin().as_fd());
                Box::new(BufReader::with_capacity(BUFFER_BYTES, io::stdin()))
            }
            Some(path) => {
                let file = File::open(path).with_context(|| path.display().to_string())?;
                Box::new(BufReader::with_capacity(BUFFER_BYTES, file))
            }
        };
        let first = reader.fill_buf().with_context(|| self.name())?;
        Ok(match first {
            // zstd, or one of its skippable frames.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
                Packed::Zstd(Whole::new(reader)?)
            }
            [0x1f, 0x8b, ..] => {
                let inner = MultiGzDecoder::new(reader);
                Packed::Gzip(BufReader::with_capacity(BUFFER_BYTES, inner))
            }
            _ => Packed::Plain(reader),
        })
    }

    /// When the directory accepted its first operation; nothing if it does not begin with one.
    fn first_ms(&self) -> anyhow::Result<Option<u64>> {
        let mut packed = self.open()?;
        let mut line = Vec::new();
        while line.len() <= LINE_BYTES_MAX && !line.contains(&b'\n') {
            let part = match packed.fill() {
                // One that was begun and is torn holds nothing yet.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                part => part.with_context(|| self.name())?,
            };
            if part.is_empty() {
                break;
            }
            line.extend_from_slice(part);
            let used = part.len();
            packed.consume(used);
        }
        let first = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
        Ok(plc::Operation::parse(first).ok().map(|operation| operation.created_ms))
    }
}

/// What lines are read from.
pub(crate) enum Packed {
    /// As they are.
    Plain(Box<dyn BufRead + Send>),
    /// In frames of zstd.
    Zstd(Whole<Box<dyn BufRead + Send>>),
    /// In members of gzip.
    Gzip(BufReader<MultiGzDecoder<Box<dyn BufRead + Send>>>),
}

impl Packed {
    /// The bytes to be read next, none at the end. A packing that breaks off is
    /// [`io::ErrorKind::UnexpectedEof`].
    pub(crate) fn fill(&mut self) -> io::Result<&[u8]> {
        match self {
            Self::Plain(reader) => reader.fill_buf(),
            Self::Zstd(reader) => reader.fill(),
            Self::Gzip(reader) => reader.fill_buf(),
        }
    }

    /// Passes over bytes that were read.
    pub(crate) fn consume(&mut self, bytes: usize) {
        match self {
            Self::Plain(reader) => reader.consume(bytes),
            Self::Zstd(reader) => reader.consume(bytes),
            Self::Gzip(reader) => reader.consume(bytes),
        }
    }
}

/// Standard input, unless a person sits there.
pub(crate) fn standard_input() -> Option<Source> {
    (!io::stdin().is_terminal()).then_some(Source { path: None })
}

/// The files of a folder, or the one that is meant, but for those at the beginning that hold only
/// operations from before that time: files follow each other in time, and one that begins before
/// it is the last that is needed.
pub(crate) fn files_since(ops: &Path, since_ms: u64) -> anyhow::Result<Vec<Source>> {
    let mut files = in_folder(ops)?;
    let begins_before =
        |file: &Source| anyhow::Ok(file.first_ms()?.is_some_and(|first_ms| first_ms <= since_ms));
    let mut from = files.len();
    while let Some(before) = from.checked_sub(1) {
        from = before;
        if files.get(from).map(begins_before).transpose()? == Some(true) {
            break;
        }
    }
    Ok(files.split_off(from))
}

/// The files of a folder in the order of their names, or the one that is meant.
pub(crate) fn files(ops: &Path) -> anyhow::Result<Vec<Source>> {
    if ops == Path::new("-") {
        if io::stdin().is_terminal() {
            return Err(cli::usage(
                "operations do not come from a terminal; name a folder or a file: --ops ops/",
            ));
        }
        return Ok(vec![Source { path: None }]);
    }
    let files = in_folder(ops)?;
    anyhow::ensure!(
        !files.is_empty(),
        "{}: no .jsonl, .jsonl.zst or .jsonl.gz files in it; plc-fetch --out {0} makes some",
        ops.display()
    );
    Ok(files)
}

fn in_folder(ops: &Path) -> anyhow::Result<Vec<Source>> {
    let context = || ops.display().to_string();
    if !fs::metadata(ops).with_context(context)?.is_dir() {
        return Ok(vec![Source { path: Some(ops.to_owned()) }]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(ops).with_context(context)? {
        let path = entry.with_context(context)?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        if ENDINGS.iter().any(|ending| name.as_ref().is_some_and(|name| name.ends_with(ending))) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files.into_iter().map(|path| Source { path: Some(path) }).collect())
}
