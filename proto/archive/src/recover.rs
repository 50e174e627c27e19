//! What a writer does before it takes its first frame: it finds out what is there, ends what a
//! kill left half done, and learns what is stored, so that it is not stored again.

use std::collections::HashMap;
use std::path::Path;

use atproto::identity::Key;

use crate::batch::Batch;
use crate::codec::Encoder;
use crate::content::{self, Identity};
use crate::derived::live::{Start, Started};
use crate::derived::make::Drafts;
use crate::error::{Cause, Damage};
use crate::folder::{Folder, Present};
use crate::group::{Bases, Group};
use crate::hosts::{Hosts, Marks};
use crate::image::{Entry, LogImage};
use crate::lock::{RepairLock, WriterLock};
use crate::log::LogFile;
use crate::manifest::Manifest;
use crate::seal::seal;
use crate::sealer::{Job, Sealer};
use crate::segment::read::{Index, Segment};
use crate::stored::Event;
use crate::syncer::Syncer;
use crate::window::Window;
use crate::writer::{Fsync, Options, Totals, Writer, begin_log};
use crate::{Error, disk};

/// Opens an archive for writing; with `again`, all that is derived is made again.
pub(crate) fn recover(dir: &Path, options: Options, again: bool) -> Result<Writer, Error> {
    let folder = Folder::new(dir);
    folder.create()?;
    let lock = WriterLock::take(&folder)?;
    let repair = RepairLock::take(&folder)?;
    folder.remove_unfinished()?;
    let key = Key(Manifest::read_or_make(&folder)?.key);
    let mut found = Found::of(&folder)?;
    let mut hosts = Hosts::default();
    let (image, marks) = match found.open {
        Some(number) => {
            let image = read_log(&folder, number, &key)?;
            let marks = image.marks(&mut hosts)?;
            (Some(image), marks)
        }
        None => (None, segment_marks(&folder, &found.segments, &mut hosts, &mut found.damage)?),
    };
    let (window, raw) = remember(&folder, &mut found, image.as_ref(), &key, options.window)?;
    let log = match &image {
        Some(image) => LogFile::resume(&folder, image, options.fsync)?,
        None => begin_log(&folder, found.next(&folder)?, &key, options.fsync, (&hosts, &marks))?,
    };
    found.seal_again(&folder, options.level, &key)?;
    let logs = found.unsealed.iter().map(|number| read_log(&folder, *number, &key));
    let logs: Vec<LogImage> = logs.collect::<Result<_, _>>()?;
    let start = Start {
        folder: &folder,
        key: &key.0,
        segments: &found.segments,
        unsealed: &logs,
        open: (log.head().number, log.head().first),
        image: image.as_ref(),
        sync: options.fsync != Fsync::Never,
    };
    let Started { live, small, unsealed, damage } = start.start(again)?;
    found.damage.extend(damage);
    drop(logs);
    let mut writer = Writer {
        sealer: Sealer::new(folder.clone(), options.level, key, small),
        syncer: Syncer::new(),
        folder,
        options,
        lock,
        key,
        hosts,
        input: HashMap::new(),
        marks,
        log,
        batch: Batch::new(),
        live: Some(live),
        raw,
        identities: Vec::new(),
        window,
        totals: Totals::default(),
        damage: found.damage,
        stopped: false,
    };
    if image.as_ref().is_some_and(LogImage::is_damaged) {
        writer.reset_marks()?;
    }
    drop(repair);
    for number in found.unsealed {
        let draft = unsealed.iter().find(|draft| draft.segment == number).cloned();
        writer.sealer.add(Job { number, identities: Vec::new(), draft })?;
    }
    if writer.is_full() {
        writer.rotate()?;
    }
    Ok(writer)
}

/// Makes again what can be worked out and does not hold, and ends what a kill left half done. Of the
/// damage that was met on the way it gives an account.
///
/// # Errors
/// As [`Writer::open`].
pub fn repair(dir: &Path) -> Result<Vec<Damage>, Error> {
    let folder = Folder::new(dir);
    if crate::Reader::open(dir)?.sources.is_empty() {
        return Ok(Vec::new());
    }
    let forgotten = crate::Forgotten::open(dir)?;
    if !forgotten.is_empty() {
        forgotten.write()?;
    }
    let derived = crate::derived::whole::damaged(&folder)?;
    // What holds stays: it knows of deletions in segments that can't be read any more.
    let again = !derived.is_empty() || !crate::lattice::differences_of_good(dir)?.is_empty();
    let writer = recover(dir, Options::default(), again)?;
    let mut damage = writer.damage().to_vec();
    damage.extend(derived);
    writer.finish(false)?;
    Ok(damage)
}

/// Shows ordinal, host and event for all of a segment but what is damaged.
fn each_of_segment(
    group: &mut Group,
    number: u32,
    index: &Index,
    mut see: impl FnMut(usize, &crate::Host, &Event<'_>),
) -> Result<(), Error> {
    for (at, block_row) in index.blocks.iter().enumerate() {
        let block = match group.block(number, at) {
            Ok(block) => block,
            Err(Error::Damaged(_)) => continue,
            Err(error) => return Err(error),
        };
        for (at, position) in (block_row.first..block_row.first + block_row.events).enumerate() {
            let ordinal = index.ordinals.get(position as usize).map(|ordinal| *ordinal as usize);
            let Some(ordinal) = ordinal else { continue };
            let (Some(row), Some(plain)) = (index.rows.get(ordinal), block.event(at)) else {
                continue;
            };
            let Some(host) = index.hosts.get(row.host as usize) else { continue };
            see(ordinal, host, &Event::of_row(0, crate::HostNo(row.host), host, row, plain));
        }
    }
    Ok(())
}

/// What is in the folder, by what is to be done with it.
struct Found {
    segments: Vec<u32>,
    /// Logs that are to be sealed.
    unsealed: Vec<u32>,
    /// The log to go on with: the newest, if no segment is newer.
    open: Option<u32>,
    damage: Vec<Damage>,
}

impl Found {
    fn of(folder: &Folder) -> Result<Found, Error> {
        let mut found =
            Found { segments: Vec::new(), unsealed: Vec::new(), open: None, damage: Vec::new() };
        for (number, Present { log, segment }) in folder.list()? {
            let segment = segment && (!log || found.drop_log(folder, number)?);
            if segment {
                found.segments.push(number);
            } else {
                found.unsealed.push(number);
            }
        }
        if found.unsealed.last() > found.segments.last() {
            found.open = found.unsealed.pop();
        }
        Ok(found)
    }

    /// Removes a log that a whole segment replaces. A segment that can't be read while its log is
    /// still there is made again from the log.
    fn drop_log(&mut self, folder: &Folder, number: u32) -> Result<bool, Error> {
        match Segment::open(&folder.segment(number), number).and_then(|segment| segment.index()) {
            Ok(_) => {
                disk::remove(&folder.log(number))?;
                folder.sync()?;
                Ok(true)
            }
            Err(Error::Damaged(damage)) => {
                self.damage.push(damage);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Seals the logs whose segments are to be made again and have others behind them: what is derived of
    /// segments is made in their order.
    fn seal_again(&mut self, folder: &Folder, level: i32, key: &Key) -> Result<(), Error> {
        let last = self.segments.last().copied();
        let (again, unsealed) = self.unsealed.iter().partition(|number| Some(**number) < last);
        self.unsealed = unsealed;
        let again: Vec<u32> = again;
        if again.is_empty() {
            return Ok(());
        }
        let failed = |source| Error::io(folder.path(), "compress", source);
        let mut encoder = Encoder::new(level).map_err(failed)?;
        for number in again {
            let job = Job { number, identities: Vec::new(), draft: None };
            seal(folder, job, key, &mut encoder, (&mut Bases::default(), &mut Drafts::new()))?;
            self.segments.push(number);
        }
        self.segments.sort_unstable();
        Ok(())
    }

    /// The number of the next log, and of its first event.
    fn next(&self, folder: &Folder) -> Result<(u32, u64), Error> {
        Ok((self.next_number(folder)?, self.next_event(folder)?))
    }

    fn next_number(&self, folder: &Folder) -> Result<u32, Error> {
        match self.segments.last().max(self.unsealed.last()) {
            None => Ok(0),
            Some(last) => {
                last.checked_add(1).ok_or_else(|| Error::Numbers { path: folder.path().to_owned() })
            }
        }
    }

    /// The number of the next event when there is no log to go on with.
    fn next_event(&self, folder: &Folder) -> Result<u64, Error> {
        match self.segments.last() {
            None => Ok(0),
            Some(last) => Ok(Segment::open(&folder.segment(*last), *last)?.contents.end()),
        }
    }
}

/// Reads a log of this archive.
pub(crate) fn read_log(folder: &Folder, number: u32, key: &Key) -> Result<LogImage, Error> {
    let path = folder.log(number);
    let image = LogImage::read(&path)?;
    if image.head.number != number || image.head.key != key.0 {
        return Err(Damage::at(&path, 0, Cause::Form("head (of another archive or number)")).into());
    }
    Ok(image)
}

/// The marks of an archive that has no log: the last word of any segment on each host.
pub(crate) fn segment_marks(
    folder: &Folder,
    segments: &[u32],
    hosts: &mut Hosts,
    damage: &mut Vec<Damage>,
) -> Result<Marks, Error> {
    let mut marks = Marks::default();
    for number in segments {
        let read = Segment::open(&folder.segment(*number), *number)
            .and_then(|segment| Ok((segment.hosts()?, segment.marks()?)));
        let (names, rows) = match read {
            Ok(read) => read,
            Err(Error::Damaged(found)) => {
                damage.push(found);
                continue;
            }
            Err(error) => return Err(error),
        };
        for (host, epoch, seq) in rows {
            if let Some(host) = names.get(host as usize) {
                marks.set(hosts.number(host.role, &host.name)?, epoch, seq);
            }
        }
    }
    Ok(marks)
}

/// The identities of the newest events, and the bytes of events in the open log.
fn remember(
    folder: &Folder,
    found: &mut Found,
    open: Option<&LogImage>,
    key: &Key,
    limit: usize,
) -> Result<(Window, u64), Error> {
    // Newest first, as many as are needed; then into the window from the oldest on.
    let mut newest: Vec<Vec<Identity>> = Vec::new();
    let mut raw = 0;
    if let Some(image) = open {
        let (identities, bytes) = log_identities(image, key)?;
        raw = bytes;
        newest.push(identities);
    }
    let mut older: Vec<(u32, bool)> = found.segments.iter().map(|number| (*number, true)).collect();
    older.extend(found.unsealed.iter().map(|number| (*number, false)));
    older.sort_unstable();
    while newest.iter().map(Vec::len).sum::<usize>() < limit
        && let Some((number, sealed)) = older.pop()
    {
        let identities = if sealed {
            segment_identities(folder, number, key)
        } else {
            read_log(folder, number, key).and_then(|image| Ok(log_identities(&image, key)?.0))
        };
        match identities {
            Ok(identities) => newest.push(identities),
            Err(Error::Damaged(damage)) => found.damage.push(damage),
            Err(error) => return Err(error),
        }
    }
    let mut window = Window::new(limit);
    for identity in newest.into_iter().rev().flatten() {
        window.was_before(identity);
    }
    Ok((window, raw))
}

fn log_identities(image: &LogImage, key: &Key) -> Result<(Vec<Identity>, u64), Error> {
    let mut hosts = Hosts::default();
    let mut events = Vec::new();
    image.visit(&mut hosts, |entry| {
        if let Entry::Event { host, frame, .. } = entry {
            events.push((host, frame));
        }
        Ok(())
    })?;
    let mut raw = 0;
    let identities = events.into_iter().map(|(host, frame)| {
        let name = hosts.get(host).map_or("", |host| &host.name);
        raw += frame.body().len() as u64;
        let proved = content::proved(frame.body(), frame.section(frame::Tag::VERDICT));
        content::identity(key, name, &frame.header, frame.body(), proved.as_ref())
    });
    Ok((identities.collect(), raw))
}

fn segment_identities(folder: &Folder, number: u32, key: &Key) -> Result<Vec<Identity>, Error> {
    let segment = Segment::open(&folder.segment(number), number)?;
    match segment.identities() {
        Ok(identities) => Ok(identities.into_iter().flatten().collect()),
        Err(Error::Damaged(_)) => identities_again(folder, number, key),
        Err(error) => Err(error),
    }
}

/// Works the identities of a segment out from its events. Those of a damaged block are left out.
fn identities_again(folder: &Folder, number: u32, key: &Key) -> Result<Vec<Identity>, Error> {
    let mut group = Group::new(folder)?;
    group.open(number)?;
    let index = group.index(number)?;
    let mut by_ordinal = vec![None; index.rows.len()];
    each_of_segment(&mut group, number, &index, |ordinal, host, event| {
        let proved = content::proved(event.body, event.verdict());
        let (header, body) = (event.header(), event.body);
        let identity = content::identity(key, &host.name, &header, body, proved.as_ref());
        if let Some(slot) = by_ordinal.get_mut(ordinal) {
            *slot = Some(identity);
        }
    })?;
    Ok(by_ordinal.into_iter().flatten().collect())
}
