//! The one writer of an archive.

use std::collections::HashMap;
use std::path::Path;

use atproto::identity::Key;
use frame::host::HOSTS_MAX;
use frame::{Frame, Header, HostId, Kind, Tag};

use crate::batch::{Batch, RESET, SNAPSHOT};
use crate::content::Identity;
use crate::derived::draft::Given;
use crate::derived::live::Live;
use crate::folder::Folder;
use crate::head::Head;
use crate::hosts::{HostNo, Hosts, Marks};
use crate::lock::WriterLock;
use crate::log::{LOG_EVENTS_MAX, LogFile};
use crate::sealer::{Job, Sealer};
use crate::stored::{kept, put_frame};
use crate::syncer::Syncer;
use crate::window::Window;
use crate::{Damage, Error, content, manifest};

/// A mark frame in a log has at most this many entries, so that a batch stays under its limit.
const MARKS_A_BATCH: usize = 4096;

/// When the log is made durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fsync {
    /// At every mark, with everything before it, while more is taken.
    #[default]
    Mark,
    /// At every batch.
    Batch,
    /// Never: after a loss of power nothing is promised.
    Never,
}

/// How an archive is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// A segment is sealed when its events have this many bytes, at most
    /// [`Options::SEGMENT_BYTES_MAX`].
    pub segment_bytes: u64,
    /// Or when it has this many events, at most 2^24.
    pub segment_events: u32,
    /// zstd level of the blocks.
    pub level: i32,
    /// When the log is made durable.
    pub fsync: Fsync,
    /// How many of the newest events are remembered, so that each is stored once.
    pub window: usize,
    /// The oldest segments go when all of them have more bytes than this.
    pub keep_bytes: Option<u64>,
    /// And when all their events were received longer ago than this, in nanoseconds.
    pub keep_ns: Option<u64>,
}

impl Options {
    /// The largest segment: a reader that replays one holds it decoded.
    pub const SEGMENT_BYTES_MAX: u64 = 256 << 20;
}

impl Default for Options {
    fn default() -> Options {
        Options {
            segment_bytes: 64 << 20,
            segment_events: 1 << 18,
            level: 6,
            fsync: Fsync::Mark,
            window: 900_000,
            keep_bytes: None,
            keep_ns: None,
        }
    }
}

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// An event, stored under this number.
    Stored(u64),
    /// An event that is there already.
    Duplicate,
    /// No event: a control frame, kept or heeded.
    Control,
}

/// What a writer has done since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Events stored.
    pub events: u64,
    /// Events that were there already.
    pub duplicates: u64,
    /// Bytes of the events stored, as they came off the socket.
    pub raw_bytes: u64,
    /// Bytes written to logs.
    pub log_bytes: u64,
}

/// The one writer of an archive. It takes frames, stores each event once, and makes what came
/// before a mark durable with the mark, soon after it: a thread waits for the disk, and a failure of it
/// ends the writer when it writes again.
#[derive(Debug)]
pub struct Writer {
    // Dropped in this order: the lock goes when nobody seals or syncs any more.
    pub(crate) sealer: Sealer,
    pub(crate) syncer: Syncer,
    pub(crate) lock: WriterLock,
    pub(crate) folder: Folder,
    pub(crate) options: Options,
    pub(crate) key: Key,
    pub(crate) hosts: Hosts,
    /// What the stream calls its hosts.
    pub(crate) input: HashMap<HostId, HostNo>,
    pub(crate) marks: Marks,
    pub(crate) log: LogFile,
    pub(crate) batch: Batch,
    /// What is derived of the log; `None` once that can't be relied on.
    pub(crate) live: Option<Live>,
    /// Bytes of the events in the log, written or not.
    pub(crate) raw: u64,
    /// Of the events that were put into the log since it was opened.
    pub(crate) identities: Vec<Identity>,
    pub(crate) window: Window,
    pub(crate) totals: Totals,
    pub(crate) damage: Vec<Damage>,
    pub(crate) stopped: bool,
}

impl Writer {
    /// Opens the archive in `dir`, making one if there is none, and repairs what a kill left.
    ///
    /// # Errors
    /// [`Error::Locked`] if another process writes it, [`Error::Version`] if a newer tool made
    /// it, [`Error::Damaged`] if the newest log's head is, and those of the disk.
    pub fn open(dir: &Path, options: Options) -> Result<Writer, Error> {
        crate::recover::recover(dir, options, false)
    }

    /// A magic in the stream: host ids begin anew.
    pub fn start(&mut self) {
        self.input.clear();
    }

    /// Takes a frame. Which events are worth storing is the caller's to say.
    ///
    /// # Errors
    /// Those of the stream ([`Error::UnknownHost`], [`Error::Frame`]) leave the writer usable.
    /// All others end it: what was durable stays so, and [`Writer::finish`] gives
    /// [`Error::Stopped`].
    pub fn put(&mut self, frame: &Frame<'_>) -> Result<Outcome, Error> {
        self.check()?;
        match frame.header.kind {
            Kind::EVENT => return self.event(frame),
            Kind::HOST => self.name(frame)?,
            Kind::MARK => self.mark(frame)?,
            Kind::END => {}
            _ => self.note(frame)?,
        }
        Ok(Outcome::Control)
    }

    /// Writes what is waiting, because no more may come for a while.
    ///
    /// # Errors
    /// Of the disk; they end the writer.
    pub fn flush(&mut self) -> Result<(), Error> {
        self.check()?;
        self.write_batch(0)
    }

    /// Makes everything durable and ends, after the segment that is being sealed is done. With
    /// `seal` the open log becomes a segment too.
    ///
    /// # Errors
    /// Of the disk, or [`Error::Stopped`] if one was met before.
    pub fn finish(self, seal: bool) -> Result<Totals, Error> {
        self.finish_locked(seal).map(|(totals, _)| totals)
    }

    /// The same for one who goes on with the archive: nobody else can write it in between.
    pub(crate) fn finish_locked(mut self, seal: bool) -> Result<(Totals, WriterLock), Error> {
        self.check()?;
        self.write_batch(0)?;
        if seal && self.log.events() > 0 {
            self.rotate()?;
        }
        self.guard(|writer| writer.close_log().and_then(|()| writer.sealer.drain()))?;
        self.guard(|writer| writer.live.as_ref().map_or(Ok(()), Live::rest))?;
        Ok((self.totals, self.lock))
    }

    /// What was done so far.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// Bytes of the open log.
    #[must_use]
    pub fn log_bytes(&self) -> u64 {
        self.log.len()
    }

    /// How many numbers have been given to events, whoever stored them.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.log.next_number() + u64::from(self.batch.events())
    }

    /// Damage that was met so far, most of it when the archive was opened.
    #[must_use]
    pub fn damage(&self) -> &[Damage] {
        &self.damage
    }

    fn check(&self) -> Result<(), Error> {
        if self.stopped { Err(Error::Stopped) } else { Ok(()) }
    }

    /// An error of the disk is final.
    fn guard<T>(&mut self, act: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        let result = act(self);
        self.stopped |= result.is_err();
        result
    }

    fn host(&self, id: HostId) -> Result<HostNo, Error> {
        self.input.get(&id).copied().ok_or(Error::UnknownHost { host: id.0 })
    }

    fn name(&mut self, frame: &Frame<'_>) -> Result<(), Error> {
        let host = frame::host::read(frame)?;
        if self.input.len() >= HOSTS_MAX {
            return Err(Error::TooManyHosts { limit: HOSTS_MAX });
        }
        let number = self.hosts.number(host.role, host.name)?;
        self.input.insert(frame.header.host, number);
        Ok(())
    }

    fn event(&mut self, frame: &Frame<'_>) -> Result<Outcome, Error> {
        let host = self.host(frame.header.host)?;
        let name = self.hosts.get(host).map_or("", |host| &host.name);
        let proved = content::proved(frame.body(), frame.section(Tag::VERDICT));
        let (header, body) = (&frame.header, frame.body());
        let identity = content::identity(&self.key, name, header, body, proved.as_ref());
        if !self.window.add(identity) {
            self.totals.duplicates += 1;
            return Ok(Outcome::Duplicate);
        }
        self.batch.name(host, &self.hosts)?;
        let number = self.events();
        let header = Header { host: host.id(), ..frame.header };
        put_frame(self.batch.frames(), &header, frame.body(), kept(frame))?;
        self.batch.count_event();
        self.identities.push(identity);
        let epoch = frame.header.epoch;
        let (seq, time_ns, is_proved) = (frame.header.seq, frame.header.time_ns, proved.is_some());
        let event = proved.or_else(|| atproto::event::parse(body).ok());
        let ordinal = self.log.events() + self.batch.events() - 1;
        if let Some((live, host)) = self.live.as_mut().zip(self.hosts.get(host)) {
            let proved = is_proved;
            let given = Given { ordinal, n: number, host, epoch, seq, time_ns, event, proved };
            let derived = live.event(&given);
            self.derived(derived)?;
        }
        self.raw += frame.body().len() as u64;
        self.totals.events += 1;
        self.totals.raw_bytes += frame.body().len() as u64;
        self.after_frame()?;
        Ok(Outcome::Stored(number))
    }

    /// Keeps a control frame as it came.
    fn note(&mut self, frame: &Frame<'_>) -> Result<(), Error> {
        let host = self.input.get(&frame.header.host).copied();
        if let Some(host) = host {
            self.batch.name(host, &self.hosts)?;
        }
        let header = Header { host: host.map_or(HostId(0), HostNo::id), ..frame.header };
        put_frame(self.batch.frames(), &header, frame.body(), frame.sections())?;
        let n = self.events();
        if let Some(live) = &mut self.live {
            let derived = live.note(n, frame);
            self.derived(derived)?;
        }
        self.raw += frame.body().len() as u64;
        self.after_frame()
    }

    fn after_frame(&mut self) -> Result<(), Error> {
        if self.batch.is_full() {
            self.write_batch(0)?;
        }
        if self.is_full() { self.rotate() } else { Ok(()) }
    }

    /// Writes the mark behind everything that came before it, and has both made durable.
    fn mark(&mut self, frame: &Frame<'_>) -> Result<(), Error> {
        let mut marks = Vec::new();
        for mark in frame::mark::read(frame)? {
            marks.push((self.host(mark.host)?, mark.epoch, mark.seq));
        }
        marks.iter().for_each(|(host, epoch, seq)| self.marks.set(*host, *epoch, *seq));
        for marks in marks.chunks(MARKS_A_BATCH) {
            put_marks(&mut self.batch, &self.hosts, marks, frame.header.time_ns)?;
            self.write_batch(0)?;
        }
        match self.options.fsync {
            Fsync::Mark => self.guard(|writer| writer.log.sync_later(&mut writer.syncer)),
            Fsync::Batch | Fsync::Never => Ok(()),
        }
    }

    fn write_batch(&mut self, flags: u32) -> Result<(), Error> {
        self.guard(|writer| {
            writer.sealer.poll()?;
            let durable = writer.syncer.poll()?;
            writer.log.is_durable(durable);
            if writer.batch.is_empty() {
                return Ok(());
            }
            let before = writer.log.len();
            writer.log.append(&mut writer.batch, flags)?;
            writer.totals.log_bytes += writer.log.len() - before;
            // Readers have it from now on, and are not to wait for the disk.
            writer.live.as_mut().map_or(Ok(()), Live::written)?;
            if writer.options.fsync == Fsync::Batch { writer.log.sync() } else { Ok(()) }
        })
    }

    /// Damage of what is derived costs no event: it is made again at the next start.
    fn derived(&mut self, derived: Result<(), Error>) -> Result<(), Error> {
        match derived {
            Err(Error::Damaged(damage)) => {
                self.end_live(damage);
                Ok(())
            }
            other => self.guard(|_| other),
        }
    }

    fn end_live(&mut self, damage: Damage) {
        self.damage.push(damage);
        if let Some(live) = self.live.take() {
            live.end();
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        let events = self.log.events() + self.batch.events();
        self.raw >= self.options.segment_bytes.min(Options::SEGMENT_BYTES_MAX)
            || events >= self.options.segment_events.clamp(1, LOG_EVENTS_MAX)
    }

    /// Ends the log, begins the next, and has the ended one sealed.
    pub(crate) fn rotate(&mut self) -> Result<(), Error> {
        self.write_batch(0)?;
        self.guard(|writer| {
            writer.close_log()?;
            // Before the log that they come from may go.
            let sync = writer.options.fsync != Fsync::Never;
            writer.live.as_mut().map_or(Ok(()), |live| live.close(sync))?;
            // One segment at a time: if sealing can't keep up, the pressure goes upstream.
            writer.sealer.drain()?;
            crate::retain::retain(&writer.folder, &writer.options, time_ns())?;
            let full = writer.log.head().number;
            let first = writer.log.next_number();
            let number = full
                .checked_add(1)
                .ok_or_else(|| Error::Numbers { path: writer.folder.path().to_owned() })?;
            writer.log = begin_log(
                &writer.folder,
                (number, first),
                &writer.key,
                writer.options.fsync,
                (&writer.hosts, &writer.marks),
            )?;
            writer.raw = 0;
            let identities = std::mem::take(&mut writer.identities);
            let small = writer.sealer.small();
            let next = writer.live.as_mut().map(|live| live.next((number, first), small));
            let draft = match next.transpose() {
                Err(Error::Damaged(damage)) => {
                    writer.end_live(damage);
                    None
                }
                other => other?,
            };
            writer.sealer.add(Job { number: full, identities, draft })
        })
    }

    /// Makes the log durable to its end.
    fn close_log(&mut self) -> Result<(), Error> {
        let durable = self.syncer.wait()?;
        self.log.is_durable(durable);
        self.log.close()
    }

    /// Says which marks still count after damage: these and no others.
    pub(crate) fn reset_marks(&mut self) -> Result<(), Error> {
        let marks: Vec<_> = self.marks.iter().collect();
        let mut flags = SNAPSHOT | RESET;
        if marks.is_empty() {
            self.guard(|writer| writer.log.append(&mut Batch::new(), flags))?;
        }
        for marks in marks.chunks(MARKS_A_BATCH) {
            put_marks(&mut self.batch, &self.hosts, marks, 0)?;
            self.write_batch(flags)?;
            flags = SNAPSHOT;
        }
        self.guard(|writer| writer.log.sync())
    }
}

/// Begins a log with the marks of all hosts in it.
pub(crate) fn begin_log(
    folder: &Folder,
    (number, first): (u32, u64),
    key: &Key,
    fsync: Fsync,
    (hosts, marks): (&Hosts, &Marks),
) -> Result<LogFile, Error> {
    let head = Head { number, first, salt: manifest::random()?, key: key.0, time_ns: time_ns() };
    let mut log = LogFile::begin(folder, head, fsync)?;
    let mut batch = Batch::new();
    let marks: Vec<_> = marks.iter().collect();
    for marks in marks.chunks(MARKS_A_BATCH) {
        put_marks(&mut batch, hosts, marks, 0)?;
        log.append(&mut batch, SNAPSHOT)?;
    }
    log.publish(folder)?;
    Ok(log)
}

fn put_marks(
    batch: &mut Batch,
    hosts: &Hosts,
    marks: &[(HostNo, u32, u64)],
    time_ns: u64,
) -> Result<(), Error> {
    for (host, _, _) in marks {
        batch.name(*host, hosts)?;
    }
    let entries = marks.iter().map(|(host, epoch, seq)| frame::mark::Mark {
        host: host.id(),
        epoch: *epoch,
        seq: *seq,
    });
    Ok(frame::mark::put(batch.frames(), &mut Vec::new(), time_ns, entries)?)
}

/// Nanoseconds since 1970; 0 for a clock before that.
fn time_ns() -> u64 {
    std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |age| age.as_nanos() as u64)
}
