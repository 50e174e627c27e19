//! A log as it is read: its bytes up to a moment, and which of them are believed. Readers, the
//! sealer and a writer that starts all go by this one rule (see [`crate::batch`]).

use std::fs::File;
use std::io::Read as _;
use std::ops::Range;
use std::path::{Path, PathBuf};

use frame::host::HostTable;
use frame::{Decoder, Frame, Item, Kind};

use crate::batch::{BATCH_HEAD_BYTES, BatchHead, RESET, SNAPSHOT};
use crate::error::{Cause, Damage};
use crate::head::{HEAD_BYTES, Head, LOG_MAGIC};
use crate::hosts::{HostNo, Hosts, Marks};
use crate::log::LOG_EVENTS_MAX;
use crate::{Error, disk};

/// More than any log has: a segment's worth of events at its limit, and their frames.
const LOG_BYTES_MAX: u64 = 1 << 30;
/// How many places that look like a batch and are none a search goes through.
const FALSE_BATCHES_MAX: u32 = 256;

/// The bytes of a log and what they hold.
#[derive(Debug)]
pub(crate) struct LogImage {
    pub(crate) path: PathBuf,
    pub(crate) head: Head,
    bytes: Vec<u8>,
    pieces: Vec<Piece>,
    /// Where the last whole batch ends.
    end: usize,
    next: u32,
}

#[derive(Debug, Clone)]
enum Piece {
    Batch { head: BatchHead, payload: Range<usize> },
    Gap { offset: usize, first: u32, lost: u32 },
}

/// What a log holds, in order.
#[derive(Debug)]
pub(crate) enum Entry<'a> {
    /// An event. `at` is where its frame stands in the log.
    Event { ordinal: u32, host: HostNo, frame: Frame<'a>, at: Range<usize> },
    /// A control frame that is kept as it came, between the events before and after it.
    Note { before: u32, host: Option<HostNo>, frame: Frame<'a>, at: Range<usize> },
    /// A mark; `snapshot` if it repeats what an earlier log holds.
    Mark { host: HostNo, epoch: u32, seq: u64, snapshot: bool },
    /// All marks so far are void.
    Reset,
    /// Events that are lost here.
    Gap { offset: u64, first: u32, lost: u32 },
}

impl LogImage {
    /// Reads a log as far as it goes at this moment.
    pub(crate) fn read(path: &Path) -> Result<LogImage, Error> {
        let file = disk::open(path)?;
        let len = disk::len(&file, path)?;
        LogImage::read_file(&file, path, len)
    }

    /// Reads the first `len` bytes of an open log.
    pub(crate) fn read_file(file: &File, path: &Path, len: u64) -> Result<LogImage, Error> {
        if len > LOG_BYTES_MAX {
            return Err(Damage::at(path, LOG_BYTES_MAX, Cause::TooLong).into());
        }
        let mut bytes = Vec::with_capacity(usize::try_from(len).unwrap_or(0));
        let mut file = file;
        std::io::Seek::rewind(&mut file).map_err(|source| Error::io(path, "read", source))?;
        file.take(len).read_to_end(&mut bytes).map_err(|source| Error::io(path, "read", source))?;
        LogImage::of(path, bytes)
    }

    fn of(path: &Path, bytes: Vec<u8>) -> Result<LogImage, Error> {
        let head = Head::read(&bytes, LOG_MAGIC).map_err(|cause| Damage::at(path, 0, cause))?;
        let path = path.to_owned();
        let mut image =
            LogImage { path, head, bytes, pieces: Vec::new(), end: HEAD_BYTES, next: 0 };
        image.find_batches();
        Ok(image)
    }

    /// The whole batches that `bytes` begins with, of a log with this head; the next event has this
    /// ordinal.
    pub(crate) fn tail(path: &Path, head: Head, bytes: Vec<u8>, next: u32) -> LogImage {
        let path = path.to_owned();
        let mut image = LogImage { path, head, bytes, pieces: Vec::new(), end: 0, next };
        while let Some((head, payload)) = image.batch_at(image.end)
            && head.first == image.next
        {
            image.push(head, payload);
        }
        image
    }

    fn find_batches(&mut self) {
        let mut at = HEAD_BYTES;
        loop {
            match self.batch_at(at) {
                Some((head, payload)) if head.first == self.next => {
                    at = payload.end;
                    self.push(head, payload);
                }
                _ => match self.batch_behind(at) {
                    Some((head, payload)) => {
                        let lost = head.first - self.next;
                        self.pieces.push(Piece::Gap { offset: at, first: self.next, lost });
                        at = payload.end;
                        self.push(head, payload);
                    }
                    None => return,
                },
            }
        }
    }

    fn push(&mut self, head: BatchHead, payload: Range<usize>) {
        self.next = head.first + head.events;
        self.end = payload.end;
        self.pieces.push(Piece::Batch { head, payload });
    }

    /// The batch at this offset, if it is whole and of sane numbers.
    fn batch_at(&self, at: usize) -> Option<(BatchHead, Range<usize>)> {
        let bytes = self.bytes.get(at..)?;
        let head = BatchHead::read(bytes, self.head.salt)?;
        head.payload(bytes.get(BATCH_HEAD_BYTES..)?)?;
        let last = u64::from(head.first) + u64::from(head.events);
        let start = at + BATCH_HEAD_BYTES;
        (last <= u64::from(LOG_EVENTS_MAX)).then_some((head, start..start + head.length))
    }

    /// The first whole batch behind a place that holds none, if a batch there or later says that
    /// the place was durable once.
    fn batch_behind(&self, damaged: usize) -> Option<(BatchHead, Range<usize>)> {
        let mut first = None;
        let mut false_batches = 0;
        let mut at = damaged + 1;
        while let Some(found) = self.salt_behind(at) {
            let looks_like_one =
                BatchHead::read(self.bytes.get(found..)?, self.head.salt).is_some();
            match self.batch_at(found) {
                Some((head, payload)) if head.first >= self.next => {
                    at = payload.end;
                    let durable = head.synced > damaged as u64;
                    let first = first.get_or_insert((head, payload));
                    if durable {
                        return Some(first.clone());
                    }
                }
                _ => {
                    false_batches += u32::from(looks_like_one);
                    if false_batches > FALSE_BATCHES_MAX {
                        return None;
                    }
                    at = found + 1;
                }
            }
        }
        None
    }

    fn salt_behind(&self, at: usize) -> Option<usize> {
        let rest = self.bytes.get(at..)?;
        rest.windows(self.head.salt.len()).position(|bytes| bytes == self.head.salt).map(|n| at + n)
    }

    /// The bytes that are believed: head and whole batches (and the damage between them).
    pub(crate) fn whole(&self) -> &[u8] {
        self.bytes.get(..self.end).unwrap_or_default()
    }

    /// Whether something lies behind the last whole batch.
    pub(crate) fn is_torn(&self) -> bool {
        self.bytes.len() > self.end
    }

    /// Whether a place in its middle is damaged.
    pub(crate) fn is_damaged(&self) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Gap { .. }))
    }

    pub(crate) fn next_ordinal(&self) -> u32 {
        self.next
    }

    /// The bytes of a frame that [`LogImage::visit`] gave the place of.
    pub(crate) fn frame(&self, at: &Range<usize>) -> Result<Frame<'_>, Error> {
        let bytes = self.bytes.get(at.clone()).unwrap_or_default();
        let mut decoder = Decoder::default();
        decoder.next(&frame::MAGIC)?;
        match decoder.next(bytes)? {
            Some((Item::Frame(frame), _)) => Ok(frame),
            _ => Err(self.form(at.start, "frame").into()),
        }
    }

    /// Shows everything in order. Hosts get their numbers from `hosts`.
    pub(crate) fn visit<'a>(
        &'a self,
        hosts: &mut Hosts,
        mut see: impl FnMut(Entry<'a>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut names = HostTable::default();
        for piece in &self.pieces {
            match piece {
                Piece::Gap { offset, first, lost } => {
                    see(Entry::Gap { offset: *offset as u64, first: *first, lost: *lost })?;
                }
                Piece::Batch { head, payload } => {
                    if head.flags & RESET != 0 {
                        see(Entry::Reset)?;
                    }
                    names.clear();
                    self.visit_batch(head, payload, hosts, &mut names, &mut see)?;
                }
            }
        }
        Ok(())
    }

    fn visit_batch<'a>(
        &'a self,
        head: &BatchHead,
        payload: &Range<usize>,
        hosts: &mut Hosts,
        names: &mut HostTable,
        see: &mut impl FnMut(Entry<'a>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut number = |names: &HostTable, id| match names.get(id) {
            Some(host) => hosts.number(host.role, host.name).map(Some),
            None => Ok(None),
        };
        let mut decoder = Decoder::default();
        let (mut at, mut ordinal) = (payload.start, head.first);
        while at < payload.end {
            let bytes = self.bytes.get(at..payload.end).unwrap_or_default();
            let Some((item, used)) = decoder.next(bytes)? else {
                return Err(self.form(at, "batch").into());
            };
            let place = at..at + used;
            at += used;
            let Item::Frame(frame) = item else { continue };
            match frame.header.kind {
                Kind::HOST => names.apply(&frame)?,
                Kind::EVENT => {
                    let host = number(names, frame.header.host)?
                        .ok_or_else(|| self.form(place.start, "batch"))?;
                    see(Entry::Event { ordinal, host, frame, at: place })?;
                    ordinal += 1;
                }
                Kind::MARK => {
                    for mark in frame::mark::read(&frame)? {
                        let host = number(names, mark.host)?
                            .ok_or_else(|| self.form(place.start, "batch"))?;
                        let snapshot = head.flags & SNAPSHOT != 0;
                        let (epoch, seq) = (mark.epoch, mark.seq);
                        see(Entry::Mark { host, epoch, seq, snapshot })?;
                    }
                }
                _ => {
                    let host = number(names, frame.header.host)?;
                    see(Entry::Note { before: ordinal, host, frame, at: place })?;
                }
            }
        }
        if ordinal == head.first + head.events {
            Ok(())
        } else {
            Err(self.form(payload.start, "batch").into())
        }
    }

    /// The last marks that count. Behind damage none do until they are begun anew: what was lost
    /// there is fetched again.
    pub(crate) fn marks(&self, hosts: &mut Hosts) -> Result<Marks, Error> {
        let (mut marks, mut damaged) = (Marks::default(), false);
        self.visit(hosts, |entry| {
            match entry {
                Entry::Gap { .. } => damaged = true,
                Entry::Reset => {
                    damaged = false;
                    marks.clear();
                }
                Entry::Mark { host, epoch, seq, .. } if !damaged => marks.set(host, epoch, seq),
                _ => {}
            }
            Ok(())
        })?;
        Ok(marks)
    }

    fn form(&self, at: usize, what: &'static str) -> Damage {
        Damage::at(&self.path, at as u64, Cause::Form(what))
    }
}
