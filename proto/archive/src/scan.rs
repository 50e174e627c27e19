//! Going through an archive in order of arrival. Damage is a finding among the others: it is
//! named, what it took is skipped, and everything else still comes out.

use std::collections::VecDeque;
use std::ops::Range;

use crate::Error;
use crate::content;
use crate::error::{Cause, Damage, Numbers};
use crate::group::Group;
use crate::hosts::{HostNo, Hosts, Marks};
use crate::image::{self, LogImage};
use crate::reader::{Query, Reader, Source};
use crate::replay::Replay;
use crate::seek::{Sought, seek};
use crate::segment::read::Segment;
use crate::stored::{Event, Note};

/// So many segments are decoded ahead: while one is waited for, nobody has nothing to do.
const AHEAD: usize = 2;

/// What a scan finds.
#[derive(Debug)]
#[non_exhaustive]
pub enum Found<'a> {
    /// An event.
    Event(Event<'a>),
    /// A control frame.
    Note(Note<'a>),
    /// A place that can't be read.
    Damage(Damage),
}

/// A scan over an archive.
#[derive(Debug)]
pub struct Scan<'r> {
    reader: &'r mut Reader,
    query: Query,
    /// How many events may still be given.
    left: u64,
    /// The next source.
    next: usize,
    /// Where to begin and what to leave out, once that was looked for.
    sought: Option<Sought>,
    /// The number that the next source should begin with, once one was opened.
    expected: Option<u64>,
    current: Option<Current>,
    marks: Marks,
    damage: VecDeque<Damage>,
    /// Whether the time that the query begins with has come.
    begun: bool,
    /// Sources that can't be read at all. What was in them is known when the next one is.
    unread: Vec<Damage>,
}

#[derive(Debug)]
enum Current {
    Segment(Box<Replay>),
    Log(Log),
}

/// The numbers of a source, and what is to be gone through of it.
type Opened = (Range<u64>, Result<Option<Current>, Error>);

/// What a source gives next; what it borrows is fetched afterwards.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    Event(usize),
    Note(usize),
}

impl<'r> Scan<'r> {
    pub(crate) fn new(reader: &'r mut Reader, query: Query) -> Scan<'r> {
        let damage = std::mem::take(&mut reader.damage).into();
        let left = query.count.unwrap_or(u64::MAX);
        let begun = query.since_ns == 0;
        Scan {
            reader,
            query,
            left,
            next: 0,
            sought: None,
            expected: None,
            current: None,
            marks: Marks::default(),
            damage,
            begun,
            unread: Vec::new(),
        }
    }

    /// The next finding; `None` at the end.
    ///
    /// # Errors
    /// Those of the disk. Damage is no error.
    #[expect(clippy::should_implement_trait, reason = "what it gives borrows from it")]
    pub fn next(&mut self) -> Result<Option<Found<'_>>, Error> {
        let step = loop {
            if let Some(damage) = self.damage.pop_front() {
                return Ok(Some(Found::Damage(damage)));
            }
            if self.left == 0 {
                return Ok(None);
            }
            let step = match &mut self.current {
                Some(Current::Segment(replay)) => {
                    let group = self.reader.group()?;
                    replay.step(group, &mut self.damage)?
                }
                Some(Current::Log(log)) => log.step(&self.query.dids)?,
                None if self.next < self.reader.sources.len() => {
                    self.open_next()?;
                    continue;
                }
                None if self.unread.is_empty() => return Ok(None),
                None => {
                    self.damage.extend(self.unread.drain(..));
                    continue;
                }
            };
            match step {
                Some(step) if self.wants(step)? => break step,
                Some(_) => {}
                None if self.damage.is_empty() => {
                    if let Some(Current::Segment(replay)) = self.current.take() {
                        self.reader.group()?.done_with(replay.into_blocks());
                    }
                }
                None => {}
            }
        };
        if matches!(step, Step::Event(_)) {
            self.left -= 1;
        }
        match self.found(step) {
            None => Ok(None),
            Some(Err(Error::Damaged(damage))) => Ok(Some(Found::Damage(damage))),
            Some(found) => found.map(Some),
        }
    }

    fn found(&self, step: Step) -> Option<Result<Found<'_>, Error>> {
        match self.current.as_ref()? {
            Current::Segment(replay) => Some(replay.found(step, &self.reader.hosts)),
            Current::Log(log) => Some(log.found(step, &self.reader.hosts)),
        }
    }

    /// Whether what comes next is asked for.
    fn wants(&mut self, step: Step) -> Result<bool, Error> {
        if self.begun && !self.query.looks_into_events() {
            return Ok(true);
        }
        let (wanted, time_ns) = match self.found(step) {
            // It is named when it is given.
            None | Some(Err(Error::Damaged(_))) => return Ok(true),
            Some(found) => match found? {
                Found::Event(event) => (self.query.wants(&Found::Event(event)), event.time_ns),
                other => (self.query.wants(&other), 0),
            },
        };
        self.begun |= time_ns >= self.query.since_ns;
        Ok(self.begun && wanted)
    }

    /// How many blocks were decoded for what was given so far.
    #[must_use]
    pub fn blocks(&self) -> u64 {
        self.reader.group.as_ref().map_or(0, Group::count)
    }

    /// How many pages were read to find what is asked for without going through everything.
    #[must_use]
    pub fn pages(&self) -> u64 {
        self.sought.as_ref().map_or(0, |sought| sought.pages)
    }

    /// The number behind the last event of what was gone through.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.expected.unwrap_or(self.query.from)
    }

    /// The last marks of what was gone through: at the end of a scan over everything, where a
    /// chain that had fed this archive could go on.
    pub fn marks(&self) -> impl Iterator<Item = (HostNo, u32, u64)> {
        self.marks.iter()
    }

    /// A host by its number.
    #[must_use]
    pub fn host(&self, host: HostNo) -> Option<&crate::Host> {
        self.reader.hosts.get(host)
    }

    fn open_next(&mut self) -> Result<(), Error> {
        if self.sought.is_none() {
            let sought = seek(&self.reader.folder, &self.reader.sources, &self.query)?;
            // The last one tells where all ends.
            self.next = sought.first.min(self.reader.sources.len().saturating_sub(1));
            self.sought = Some(sought);
        }
        let Some(source) = self.reader.sources.get(self.next) else { return Ok(()) };
        self.next += 1;
        let then = self.reader.sources.iter().skip(self.next).take(AHEAD);
        let then = then.map_while(|source| match source {
            Source::Segment { number } => Some(*number),
            Source::Log { .. } => None,
        });
        let then = then.collect();
        let picked = self.sought.as_ref().and_then(|sought| sought.picked.as_ref());
        let only = picked.and_then(|picked| picked.of(source.number()));
        let is_last = self.next == self.reader.sources.len();
        if only.as_ref().is_some_and(Vec::is_empty) && !is_last {
            self.expected = None;
            return Ok(());
        }
        let opened = match source {
            Source::Segment { number } => {
                let number = *number;
                self.open_segment(number, only.as_deref(), then)
            }
            Source::Log { path, file, len, .. } => {
                LogImage::read_file(file, path, *len).map(|image| self.open_log(image))
            }
        };
        let (numbers, opened) = match opened {
            Ok(opened) => opened,
            Err(error) => return self.cannot_read(error),
        };
        self.follow_on(&numbers);
        match opened {
            Ok(current) => self.current = current,
            Err(Error::Damaged(damage)) => {
                let mut lost = Numbers::default();
                lost.push(numbers.start.max(self.query.from)..numbers.end);
                self.damage.push_back(Damage { lost, ..damage });
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// The numbers of a segment, and what is to be gone through of it.
    fn open_segment(
        &mut self,
        number: u32,
        only: Option<&[u32]>,
        then: Vec<u32>,
    ) -> Result<Opened, Error> {
        let path = self.reader.folder.segment(number);
        let segment = Segment::open(&path, number)?;
        let numbers = segment.contents.first..segment.contents.end();
        if numbers.end <= self.query.from {
            return Ok((numbers, Ok(None)));
        }
        let since = (!self.begun).then_some(self.query.since_ns);
        let (group, hosts) = self.reader.group_and_hosts()?;
        let replay = Replay::open(number, group, &self.query, since, hosts, &mut self.marks, then);
        let current = |mut replay: Replay| {
            only.iter().for_each(|only| replay.only(only));
            Current::Segment(Box::new(replay))
        };
        let opened = match replay {
            Err(error) if error.is_gone() => Err(Damage::at(&path, 0, Cause::Gone).into()),
            other => other.map(|replay| replay.map(current)),
        };
        Ok((numbers, opened))
    }

    /// The same of a log.
    fn open_log(&mut self, image: LogImage) -> Opened {
        let first = image.head.first;
        let numbers = first..first.saturating_add(u64::from(image.next_ordinal()));
        let (query, hosts) = (&self.query, &mut self.reader.hosts);
        let log = Log::open(image, query, hosts, &mut self.marks, &mut self.damage);
        (numbers, log.map(|log| Some(Current::Log(log))))
    }

    /// Keeps damage for when it is known which numbers are missing. What was dropped since the
    /// sources were listed is named then, unless all began with it. Other errors go on.
    fn cannot_read(&mut self, error: Error) -> Result<(), Error> {
        match error {
            Error::Damaged(damage) => {
                self.unread.push(damage);
                Ok(())
            }
            error if error.is_gone() => Ok(()),
            error => Err(error),
        }
    }

    /// Names the events between the last source and this one, if some are missing.
    fn follow_on(&mut self, numbers: &Range<u64>) {
        let expected = self.expected.replace(numbers.end);
        // An archive may begin anywhere; one whose first segment can't be read began at 0.
        let begun = if self.unread.is_empty() { numbers.start } else { 0 };
        let missing = expected.unwrap_or(begun).max(self.query.from)..numbers.start;
        let mut lost = Numbers::default();
        lost.push(missing);
        match self.unread.last_mut() {
            Some(damage) => damage.lost = lost,
            None if lost.count() > 0 => {
                let here = self.next.checked_sub(1).and_then(|at| self.reader.sources.get(at));
                let number = here.map_or(0, Source::number).saturating_sub(1);
                let path = self.reader.folder.segment(number);
                self.unread.push(Damage { path, offset: 0, cause: Cause::Gone, lost });
            }
            None => {}
        }
        self.damage.extend(self.unread.drain(..));
    }
}

/// A log that is gone through.
#[derive(Debug)]
struct Log {
    image: LogImage,
    items: Vec<Item>,
    next: usize,
}

#[derive(Debug)]
struct Item {
    /// The number of the event, or of the one before which a note stands.
    n: u64,
    host: Option<HostNo>,
    is_event: bool,
    at: Range<usize>,
}

impl Log {
    fn open(
        image: LogImage,
        query: &Query,
        hosts: &mut Hosts,
        marks: &mut Marks,
        damage: &mut VecDeque<Damage>,
    ) -> Result<Log, Error> {
        let first = image.head.first;
        let number = |ordinal: u32| first.saturating_add(u64::from(ordinal));
        let mut items = Vec::new();
        image.visit(hosts, |entry| {
            match entry {
                image::Entry::Event { ordinal, host, at, .. } => {
                    let host = Some(host);
                    items.push(Item { n: number(ordinal), host, is_event: true, at });
                }
                image::Entry::Note { before, host, at, .. } => {
                    items.push(Item { n: number(before), host, is_event: false, at });
                }
                image::Entry::Mark { host, epoch, seq, .. } => marks.set(host, epoch, seq),
                image::Entry::Reset => marks.clear(),
                image::Entry::Gap { offset, first, lost: events } => {
                    let mut lost = Numbers::default();
                    lost.push(number(first).max(query.from)..number(first + events));
                    let path = image.path.clone();
                    damage.push_back(Damage { path, offset, cause: Cause::Batch, lost });
                }
            }
            Ok(())
        })?;
        items.retain(|item| item.n >= query.from && (item.is_event || query.dids.is_empty()));
        Ok(Log { image, items, next: 0 })
    }

    fn step(&mut self, dids: &[String]) -> Result<Option<Step>, Error> {
        while let Some(item) = self.items.get(self.next) {
            self.next += 1;
            if !item.is_event {
                return Ok(Some(Step::Note(self.next - 1)));
            }
            if dids.is_empty() || {
                let did = content::did(self.image.frame(&item.at)?.body());
                dids.iter().any(|asked| asked == did)
            } {
                return Ok(Some(Step::Event(self.next - 1)));
            }
        }
        Ok(None)
    }

    fn found<'a>(&'a self, step: Step, hosts: &'a Hosts) -> Result<Found<'a>, Error> {
        let (Step::Event(at) | Step::Note(at)) = step;
        let wrong = || Damage::at(&self.image.path, 0, Cause::Form("batch"));
        let item = self.items.get(at).ok_or_else(wrong)?;
        let frame = self.image.frame(&item.at)?;
        let named = |host: HostNo| hosts.get(host).map(|known| (host, known));
        let host = item.host.and_then(named);
        if item.is_event {
            let (host, from) = host.ok_or_else(wrong)?;
            Ok(Found::Event(Event::of_frame(item.n, host, from, frame)))
        } else {
            Ok(Found::Note(Note { before: item.n, host, frame }))
        }
    }
}
