//! Making what is derived: of a log when it is sealed, of segments that have none, and of four files one.

use std::collections::HashSet;
use std::sync::Arc;

use atproto::event;

use crate::content;
use crate::derived::account::{self, Pending, Record, Settled, settle};
use crate::derived::draft::{Draft, Given, Known};
use crate::derived::earlier::Earlier;
use crate::derived::kept;
use crate::derived::leaf::{LEAVES, LeafNotes, PathLeaf};
use crate::derived::levels::{self, At, Files, Kind, LEVELS, window};
use crate::derived::run::{self, Cursor, NewRun, Place, Run};
use crate::error::Damage;
use crate::folder::Folder;
use crate::hosts::Hosts;
use crate::image::{Entry, LogImage};
use crate::lattice::{Keeper, OpenFile};
use crate::segment::read::Segment;
use crate::{Cause, Error, Found, Query, Reader, disk};

/// A segment with fewer leaves than this has no tables of its own: its leaves are gone through as quickly
/// as they are opened. It gets them with a larger one that comes behind it, and at the latest with the
/// fourth of its four, so at most three segments, the last ones, have none.
const SMALL: usize = if cfg!(test) { 12 } else { 4096 };

/// Drafts of segments, or of logs that are being sealed, that have no tables yet.
pub(crate) type Drafts = Vec<Arc<Draft>>;

/// Writes what is derived of a log that is being sealed. `small` are the drafts of the segments before it
/// that have no tables yet, as this left them.
pub(crate) fn of_log(
    folder: &Folder,
    draft: &Arc<Draft>,
    image: &LogImage,
    small: &mut Drafts,
) -> Result<(), Error> {
    let mut hosts = Hosts::default();
    let settled = Settled::of(image.marks(&mut hosts)?.named(&hosts));
    write_leaves(folder, draft)?;
    small.push(draft.clone());
    if is_large(draft, draft.segment) {
        small.iter().try_for_each(|draft| write_tables(folder, draft, &settled))?;
        small.clear();
    }
    Ok(())
}

fn skip_damage(result: Result<(), Error>) -> Result<(), Error> {
    match result {
        Err(Error::Damaged(_)) => Ok(()),
        other => other,
    }
}

/// Whether a segment gets tables now, the newest being the one at hand.
fn is_large(draft: &Draft, newest: u32) -> bool {
    let (_, last) = window(draft.segment, 1);
    draft.leaves.len() >= SMALL || last <= newest
}

/// What a log says.
pub(crate) fn of_image(
    draft: &mut Draft,
    known: &impl Known,
    image: &LogImage,
) -> Result<(), Error> {
    let first = image.head.first;
    let mut hosts = Hosts::default();
    // Names are known once all was seen.
    image.visit(&mut hosts, |_| Ok(()))?;
    image.visit(&mut hosts.clone(), |entry| match entry {
        Entry::Event { ordinal, host, frame, .. } => {
            let Some(host) = hosts.get(host) else { return Ok(()) };
            let given = Given {
                ordinal,
                n: first.saturating_add(u64::from(ordinal)),
                host,
                epoch: frame.header.epoch,
                seq: frame.header.seq,
                time_ns: frame.header.time_ns,
                event: event::parse(frame.body()).ok(),
                proved: content::proof(frame.section(frame::Tag::VERDICT)).is_some(),
            };
            draft.event(known, &given)
        }
        Entry::Note { before, frame, .. } => {
            draft.note(known, first.saturating_add(u64::from(before)), &frame)
        }
        Entry::Gap { first, lost, .. } => {
            (first..first + lost).for_each(|ordinal| draft.lost(ordinal));
            Ok(())
        }
        Entry::Mark { .. } | Entry::Reset => Ok(()),
    })
}

/// The segments below a number.
pub(crate) fn sealed_before(folder: &Folder, number: u32) -> Result<Vec<u32>, Error> {
    let list = folder.list()?.into_iter();
    Ok(list.filter(|(at, is)| *at < number && is.segment).map(|(at, _)| at).collect())
}

/// The notes of a segment's leaves, as far as its file or the segment itself tells them.
pub(crate) fn begin_of(folder: &Folder, segment: u32) -> Result<Option<LeafNotes>, Error> {
    match levels::open(folder, Kind::Leaves, (segment, 0)) {
        Ok(run) => return Ok(Some(LeafNotes::of(&run))),
        Err(Error::Damaged(_)) => {}
        Err(error) if error.is_gone() => {}
        Err(error) => return Err(error),
    }
    match Segment::open(&folder.segment(segment), segment) {
        Ok(opened) => Ok(Some(LeafNotes { event: opened.contents.first, ..LeafNotes::default() })),
        Err(Error::Damaged(_)) => Ok(None),
        Err(error) if error.is_gone() => Ok(None),
        Err(error) => Err(error),
    }
}

/// The notes of the last file of leaves below a segment, with where its leaves end in place of where
/// they begin.
pub(crate) fn notes_before(
    folder: &Folder,
    files: &Files,
    number: u32,
) -> Result<Option<LeafNotes>, Error> {
    let Some(at) = files.of(Kind::Leaves).rev().find(|(at, _)| *at < number) else {
        return kept::notes(folder);
    };
    let run = levels::open(folder, Kind::Leaves, at)?;
    let notes = LeafNotes::of(&run);
    Ok(Some(LeafNotes { first: notes.first + run.records, ..notes }))
}

/// What earlier segments say to one that comes behind segment `newest`. The last ones that have no
/// tables are gone through, which are at most three small ones; or all, where there is none of this, and
/// then it is made. Of what is gone through, the lattice is told; and the caller whether some of it could
/// not be read.
pub(crate) fn catch_up(
    folder: &Folder,
    segments: &[u32],
    key: &[u8; 32],
    keeper: &mut Keeper,
) -> Result<(Earlier, bool), Error> {
    let files = Files::list(folder)?;
    let missing = files.missing(segments);
    let mut left: Vec<u32> =
        segments.iter().rev().copied().take_while(|number| missing.contains(number)).collect();
    left.reverse();
    let before = segments.get(..segments.len() - left.len()).unwrap_or_default();
    let known = Earlier::open(folder, &files, before)?;
    let newest = segments.last().copied().unwrap_or(0);
    let left = left.into();
    let (under_way, has_lost) = (None, false);
    let mut wanting =
        Wanting { folder, key, segments, newest, keeper, known, left, under_way, has_lost };
    let Some(first) = wanting.next()? else { return Ok((wanting.known, wanting.has_lost)) };
    let mut reader = Reader::open(folder.path())?;
    let mut scan = reader.scan(Query { from: first, ..Query::default() });
    while wanting.under_way.is_some() {
        match scan.next()? {
            None => break,
            Some(Found::Event(event)) => wanting.event(&event)?,
            Some(Found::Note(note)) => wanting.note(&note)?,
            Some(Found::Damage(_)) => wanting.has_lost = true,
        }
    }
    while wanting.under_way.is_some() {
        wanting.finish()?;
    }
    Ok((wanting.known, wanting.has_lost))
}

/// Segments without files, while one after the other is gone through.
struct Wanting<'a> {
    folder: &'a Folder,
    key: &'a [u8; 32],
    segments: &'a [u32],
    newest: u32,
    keeper: &'a mut Keeper,
    known: Earlier,
    left: std::collections::VecDeque<u32>,
    under_way: Option<UnderWay>,
    /// Whether some of it could not be read.
    has_lost: bool,
}

struct UnderWay {
    /// The numbers of its events, and the next of them.
    events: std::ops::Range<u64>,
    next: u64,
    draft: Draft,
}

impl UnderWay {
    /// The ordinal of an event of this segment; those before it that did not come are lost.
    fn ordinal(&mut self, n: u64) -> u32 {
        let ordinal = |n: u64| u32::try_from(n - self.events.start).unwrap_or(u32::MAX);
        (self.next..n).for_each(|lost| self.draft.lost(ordinal(lost)));
        self.next = self.next.max(n);
        ordinal(n)
    }
}

impl Wanting<'_> {
    /// Begins with the next segment: the number of its first event.
    fn next(&mut self) -> Result<Option<u64>, Error> {
        while let Some(number) = self.left.pop_front() {
            let path = self.folder.segment(number);
            let contents = match Segment::open(&path, number) {
                Ok(segment) => segment.contents,
                // It is named when it is read, and none of its events can be found.
                Err(Error::Damaged(_)) => {
                    self.has_lost = true;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let before = self.known.end_before(number)?;
            let draft = Draft::new(self.key, number, contents.first, before.as_ref());
            let events = contents.first..contents.end();
            let next = events.start;
            self.under_way = Some(UnderWay { events, next, draft });
            return Ok(Some(next));
        }
        Ok(None)
    }

    /// Ends the segment that is under way, and begins with the next.
    fn finish(&mut self) -> Result<(), Error> {
        let Some(mut here) = self.under_way.take() else { return Ok(()) };
        here.ordinal(here.events.end);
        self.keeper.settle(&here.draft.take_said())?;
        let number = here.draft.segment;
        if !run::path(self.folder, Kind::Leaves.text(), number, 0).exists() {
            write_leaves(self.folder, &here.draft)?;
        }
        let large = is_large(&here.draft, self.newest);
        let mut drafts = self.known.take_drafts();
        drafts.push(Arc::new(here.draft));
        if large {
            let settled = settled(self.folder)?;
            drafts.iter().try_for_each(|draft| write_tables(self.folder, draft, &settled))?;
            drafts.clear();
            self.folder.sync()?;
            merge(self.folder, number)?;
        }
        // What is in tables need not be remembered.
        let with_tables = drafts.first().map_or(u32::MAX, |draft| draft.segment);
        let so_far = self.segments.iter().copied().filter(|at| *at <= number);
        let so_far: Vec<u32> = so_far.filter(|at| *at < with_tables).collect();
        self.known.renew(&Files::list(self.folder)?, &so_far, drafts)?;
        self.next().map(|_| ())
    }

    fn event(&mut self, event: &crate::Event<'_>) -> Result<(), Error> {
        while self.under_way.as_ref().is_some_and(|here| event.n >= here.events.end) {
            self.finish()?;
        }
        let Some(here) = self.under_way.as_mut().filter(|here| event.n >= here.next) else {
            return Ok(());
        };
        let given = Given::of(here.ordinal(event.n), event);
        here.next = event.n + 1;
        here.draft.event(&self.known, &given)
    }

    fn note(&mut self, note: &crate::Note<'_>) -> Result<(), Error> {
        // One at the end of a segment has the number of the next one's first event.
        match self.under_way.as_mut().filter(|here| note.before <= here.events.end) {
            Some(here) => here.draft.note(&self.known, note.before, &note.frame()),
            None => Ok(()),
        }
    }
}

/// The marks of the archive as it is.
pub(crate) fn settled(folder: &Folder) -> Result<Settled, Error> {
    Ok(Settled::of(crate::marks::marks_of(folder)?))
}

fn place(folder: &Folder, kind: Kind, segment: u32) -> (std::path::PathBuf, Place) {
    (run::path(folder, kind.text(), segment, 0), Place { segment, ..Place::default() })
}

/// Writes a segment's tables of paths and accounts.
fn write_tables(folder: &Folder, draft: &Draft, settled: &Settled) -> Result<(), Error> {
    let number = draft.segment;
    let (path, at) = place(folder, Kind::Paths, number);
    let mut paths = NewRun::begin(&path, Kind::Paths.shape())?;
    for (name, last) in draft.path_leaves() {
        paths.push(&[name, last.to_bytes()].concat())?;
    }
    paths.finish(&at, &[])?;
    let (path, at) = place(folder, Kind::Accounts, number);
    let (records, pending) = draft.records(settled);
    let mut accounts = NewRun::begin(&path, account::ACCOUNTS)?;
    records.iter().try_for_each(|record| accounts.push(&record.to_bytes()))?;
    accounts.finish(&at, &pending.to_bytes())
}

/// Writes a segment's leaves.
fn write_leaves(folder: &Folder, draft: &Draft) -> Result<(), Error> {
    let (path, at) = place(folder, Kind::Leaves, draft.segment);
    let mut leaves = NewRun::begin(&path, LEAVES)?;
    draft.leaves.iter().try_for_each(|leaf| leaves.push(&leaf.to_bytes()))?;
    leaves.finish(&Place { notes: draft.notes().to_notes(), ..at }, &[])
}

/// Writes the leaves of a log that is not sealed.
pub(crate) fn write_open(folder: &Folder, draft: &Draft) -> Result<OpenFile, Error> {
    let notes = draft.notes();
    OpenFile::begin(folder, (draft.segment, notes.first, notes.event), &draft.leaves)
}

/// Makes files of one level one of the next wherever this segment was the last that was wanting.
pub(crate) fn merge(folder: &Folder, number: u32) -> Result<(), Error> {
    skip_damage(merge_or_damage(folder, number))
}

fn merge_or_damage(folder: &Folder, number: u32) -> Result<(), Error> {
    let segments: Vec<u32> =
        folder.list()?.into_iter().filter(|(_, is)| is.segment).map(|(at, _)| at).collect();
    for level in 1..LEVELS {
        // The last window that is whole.
        let (first, last) = match window(number, level) {
            (first, last) if last == number => (first, last),
            (0, _) => return Ok(()),
            (first, _) => window(first - 1, level),
        };
        let here: Vec<u32> =
            segments.iter().copied().filter(|at| (first..=last).contains(at)).collect();
        let files = Files::list(folder)?;
        for kind in [Kind::Accounts, Kind::Paths] {
            let cover = files.cover(kind, &here);
            let parts = cover.files().filter(|(at, _)| (first..=last).contains(at));
            let parts: Vec<At> = parts.collect();
            let done = parts.iter().any(|(_, below)| *below >= level);
            if here.is_empty() || done || !cover.is_whole() {
                continue;
            }
            let opened = parts.iter().map(|at| levels::open(folder, kind, *at));
            let opened: Vec<Run> = opened.collect::<Result<_, _>>()?;
            let place = Place { segment: first, level, notes: [0; 8] };
            let new = NewRun::begin(&run::path(folder, kind.text(), first, level), kind.shape())?;
            match kind {
                Kind::Accounts => accounts(&opened, new, &place, &settled(folder)?)?,
                _ => paths(&opened, new, &place)?,
            }
            folder.sync()?;
        }
        // Whatever lies in a file of this level or a higher one is not needed by itself.
        let inside = |(at, below): &At| (first..=last).contains(at) && *below < level;
        let files = Files::list(folder)?;
        for kind in [Kind::Accounts, Kind::Paths] {
            if files.has(kind, (first, level)) {
                let mut old = files.of(kind).filter(inside);
                old.try_for_each(|at| remove(folder, kind, at))?;
            }
        }
    }
    Ok(())
}

fn remove(folder: &Folder, kind: Kind, (segment, level): At) -> Result<(), Error> {
    match disk::remove(&run::path(folder, kind.text(), segment, level)) {
        Err(error) if !error.is_gone() => Err(error),
        _ => Ok(()),
    }
}

/// Several sorted files at once: of each the record that comes next.
pub(crate) struct Together<'r> {
    cursors: Vec<(Option<&'r [u8]>, Cursor<'r>)>,
    key: usize,
}

impl<'r> Together<'r> {
    pub(crate) fn of(runs: &'r [Run], key: usize) -> Result<Together<'r>, Error> {
        let mut cursors = Vec::new();
        for run in runs {
            let mut cursor = run.cursor();
            cursors.push((cursor.next()?, cursor));
        }
        Ok(Together { cursors, key })
    }

    /// All records of the next key, the oldest first.
    pub(crate) fn next(&mut self, of_key: &mut Vec<&'r [u8]>) -> Result<bool, Error> {
        of_key.clear();
        let key = |record: &'r [u8], bytes: usize| record.get(..bytes).unwrap_or_default();
        let heads = self.cursors.iter().filter_map(|(record, _)| *record);
        let Some(least) = heads.map(|record| key(record, self.key)).min() else { return Ok(false) };
        for (record, cursor) in &mut self.cursors {
            while let Some(here) = record.filter(|here| key(here, self.key) == least) {
                of_key.push(here);
                *record = cursor.next()?;
            }
        }
        Ok(true)
    }
}

fn accounts(runs: &[Run], mut new: NewRun, place: &Place, settled: &Settled) -> Result<(), Error> {
    let mut pending = Pending::default();
    for run in runs {
        pending.by_n.extend(pending_of(run, settled)?.by_n);
    }
    let mut left = HashSet::new();
    let (mut together, mut of_key) = (Together::of(runs, account::ACCOUNTS.key)?, Vec::new());
    while together.next(&mut of_key)? {
        let records: Vec<Record> = of_key.iter().filter_map(|bytes| Record::read(bytes)).collect();
        for record in settle(&records, &pending) {
            left.insert(record.n);
            new.push(&record.to_bytes())?;
        }
    }
    pending.by_n.retain(|n, _| left.contains(n));
    new.finish(place, &pending.to_bytes())
}

/// What of a file of accounts is not settled by now.
pub(crate) fn pending_of(run: &Run, settled: &Settled) -> Result<Pending, Error> {
    let form = || Damage::at(&run.path, 0, Cause::Form("hosts"));
    Ok(Pending::read(run.extra()?, settled).ok_or_else(form)?)
}

fn paths(runs: &[Run], mut new: NewRun, place: &Place) -> Result<(), Error> {
    let (mut together, mut of_key) = (Together::of(runs, Kind::Paths.shape().key)?, Vec::new());
    while together.next(&mut of_key)? {
        // The last, and those before one that was created: see `leaf`.
        let created = |bytes: &&&[u8]| PathLeaf::read(bytes).is_some_and(|last| last.created);
        let before = of_key.iter().rev().take_while(created).count();
        let first = of_key.len().saturating_sub(before + 1);
        of_key.iter().skip(first).try_for_each(|record| new.push(record))?;
    }
    new.finish(place, &[])
}

/// Removes what is derived of segments that are gone, but for what they said of their accounts.
pub(crate) fn retain(folder: &Folder, first: u32) -> Result<(), Error> {
    let files = Files::list(folder)?;
    for kind in [Kind::Leaves, Kind::Paths] {
        for at in files.of(kind).filter(|(at, level)| window(*at, *level).1 < first) {
            remove(folder, kind, at)?;
        }
    }
    Ok(())
}

/// Removes all that is derived and can be made again.
pub(crate) fn remove_all(folder: &Folder) -> Result<(), Error> {
    kept::write(folder)?;
    let files = Files::list(folder)?;
    for kind in Kind::ALL {
        files.of(kind).try_for_each(|at| remove(folder, kind, at))?;
    }
    folder.sync()
}
