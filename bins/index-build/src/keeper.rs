//! Keeping an index current: operations in, states out, where readers see them.
//!
//! An operation is durable in the log before anything that follows from it is seen, and the
//! cursor moves behind that. So a kill at any moment leaves a log from which the same delta can be
//! made again, and a cursor behind which nothing is missing.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use cli::Cli;
use cli::units::show_bytes;
use didindex::{Cursor, DeltaWriter, DidIndex, Error, LogWriter, PlcDid, Room, beside};

use crate::hosts::Hosts;
use crate::merge::{Merge, Merged};
use crate::record::Record;
use crate::state;
use crate::window::{self, KEPT_MS, Kept, RECOVERY_MS, Window};

/// An operation so much later than the clock and than all before it is a mistake: believed, it
/// would make old news of all that follow.
const AHEAD_MS: u64 = 24 * 3600 * 1000;

/// What has been done, in numbers.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    /// Operations that were not known.
    pub(crate) operations: u64,
    pub(crate) repeated: u64,
    /// Operations from before the window, of accounts that the index has.
    pub(crate) old: u64,
    /// Operations from a time that has not come.
    pub(crate) ahead: u64,
    /// States that were written.
    pub(crate) states: u64,
    pub(crate) merges: u64,
}

/// An index in the hands of the one process that keeps it current.
pub(crate) struct Keeper<'c> {
    cli: &'c Cli,
    path: PathBuf,
    lock: File,
    /// The index and its delta, as readers have them.
    index: DidIndex,
    log: LogWriter,
    delta: DeltaWriter,
    window: Window,
    hosts: Hosts,
    cursor: Cursor,
    /// createdAt of the newest operation in the window.
    newest_ms: u64,
    /// So many of the window's operations have come to the delta.
    published: usize,
    /// States in the delta at which it is merged.
    merge_at: u64,
    /// The same, after a merge failed.
    again_at: u64,
    merge: Option<Merge>,
    /// There is no room in the delta, and operations that have not come to it.
    full: bool,
    /// The index has come without its log, so what it knows is found out by comparison.
    bare: bool,
    counts: Counts,
}

impl<'c> Keeper<'c> {
    /// Takes the index over from whoever kept it before, however that ended. `ops` says whether
    /// the operations on disk will be read.
    pub(crate) fn open(
        cli: &'c Cli,
        path: &Path,
        merge_at: Option<u64>,
        ops: bool,
    ) -> anyhow::Result<Self> {
        let lock = didindex::lock(path)?;
        let index = match DidIndex::open(path) {
            Err(error @ Error::NotAnIndex { .. }) => return Err(cli::usage(error.to_string())),
            index => index?,
        };
        beside::clean(path, index.id())?;
        let (mut window, mut hosts) = (Window::default(), Hosts::default());
        let mut cursor = index.base_cursor();
        let recovered = LogWriter::recover::<Error>(path, index.id(), |record| {
            let kept = state::from_log(&record, &mut hosts);
            if window.add(kept, record.known, record.nullified) && !record.known {
                cursor.operations += 1;
            }
            cursor.created_ms = cursor.created_ms.max(record.created_ms);
            Ok(())
        });
        let (log, bare) = match recovered {
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                anyhow::ensure!(
                    ops,
                    "its log is missing, which holds the operations of the last three days; \
                     name the operations on disk (--ops ops/), or build it anew"
                );
                (LogWriter::create(path, index.id())?, true)
            }
            recovered => {
                let (log, cut) = recovered?;
                if cut > 0 {
                    let log = beside::log(path, index.id());
                    cli.warn(format_args!(
                        "{}: its end is torn; the last {} are cut off",
                        log.display(),
                        show_bytes(cut)
                    ));
                }
                (log, false)
            }
        };
        let seen = index.cursor();
        let merge_at = merge_at.unwrap_or_else(|| merge_at_for(index.base_accounts()));
        let dids = state::accounts(window.all().iter().filter(|kept| !kept.known));
        let room = room(merge_at);
        let mut delta = lay_out(path, &index, &window, &hosts, &dids, index.id(), room)?;
        delta.set_cursor(cursor);
        delta.publish()?;
        beside::sync_folder(path)?;
        // The chain begins again as a whole, with a plc-fetch that reads this cursor.
        anyhow::ensure!(
            seen.operations <= cursor.operations || ops,
            "its log has lost {} operations that the index had seen; the index is back at those \
             before them: start again, plc-fetch --resume first, or name the operations on disk \
             (--ops ops/)",
            seen.operations - cursor.operations
        );
        Ok(Self {
            cli,
            path: path.to_owned(),
            lock,
            index: DidIndex::open(path)?,
            log,
            delta,
            published: window.len(),
            window,
            hosts,
            cursor,
            newest_ms: cursor.created_ms,
            merge_at,
            again_at: 0,
            merge: None,
            full: false,
            bare,
            counts: Counts::default(),
        })
    }

    /// Where to begin with the operations on disk, unix milliseconds.
    pub(crate) fn behind_ms(&self) -> u64 {
        self.cursor.created_ms.saturating_sub(self.window_ms())
    }

    /// How far behind the newest operation one may be.
    fn window_ms(&self) -> u64 {
        if self.bare { 2 * KEPT_MS } else { RECOVERY_MS }
    }

    /// Says that the operations on disk have been read.
    ///
    /// An index that has come without its log gets one here: of what was read, as far as it is of
    /// the last days. What is nullified shows in what was read of the days before those.
    pub(crate) fn caught_up(&mut self) -> anyhow::Result<()> {
        if !self.bare {
            return Ok(());
        }
        self.bare = false;
        let all = std::mem::take(&mut self.window);
        let up_to_ms = self.index.base_cursor().created_ms;
        let (old, new): (Vec<Kept>, Vec<Kept>) =
            all.all().iter().partition(|kept| kept.record.created_ms <= up_to_ms);
        let old = window::last_days(old, up_to_ms.saturating_sub(KEPT_MS));
        for kept in old.iter().chain(&new) {
            self.window.keep(kept);
        }
        let dids = state::accounts(self.window.all().iter());
        self.compare(&dids, up_to_ms);
        self.gather(0)?;
        self.log.publish()?;
        beside::sync_folder(&self.path)?;
        self.publish(&dids)
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    pub(crate) fn cursor(&self) -> Cursor {
        self.cursor
    }

    pub(crate) fn accounts(&self) -> u64 {
        self.index.info().entries
    }

    /// Whether nothing can be taken in before a merge has ended.
    pub(crate) fn is_full(&self) -> bool {
        self.full
    }

    /// Reads a line of the directory.
    pub(crate) fn read(&mut self, line: &[u8]) -> Result<Record, plc::Error> {
        Record::of_line(line, &mut self.hosts)
    }

    /// Takes operations in. When it returns they are durable and, unless there is no room, what
    /// they say is in force.
    pub(crate) fn take(&mut self, batch: &[Record]) -> anyhow::Result<()> {
        let from = self.window.len();
        for record in batch {
            self.take_one(record);
        }
        if self.bare || self.window.len() == from {
            return Ok(());
        }
        self.gather(from)?;
        self.log.commit()?;
        self.publish(&state::accounts(self.window.since(from).iter()))
    }

    /// Gathers for the log what has come to the window after its first `from`.
    fn gather(&mut self, from: usize) -> anyhow::Result<()> {
        for kept in self.window.since(from) {
            self.log.push(&state::logged(kept, self.hosts.names()))?;
            self.cursor.operations += u64::from(!kept.known);
            self.cursor.created_ms = self.cursor.created_ms.max(kept.record.created_ms);
            self.counts.operations += u64::from(!kept.known);
        }
        Ok(())
    }

    /// Puts what these accounts have become where readers see it.
    fn publish(&mut self, dids: &[PlcDid]) -> anyhow::Result<()> {
        for did in dids {
            let present = self.index.entry(did);
            let put = put(&mut self.delta, &self.index, &self.window, &self.hosts, did, present)?;
            match put {
                Put::Written => self.counts.states += 1,
                Put::Same => {}
                Put::Full => {
                    self.full = true;
                    return Ok(());
                }
            }
        }
        self.published = self.window.len();
        self.delta.set_cursor(self.cursor);
        Ok(())
    }

    fn take_one(&mut self, record: &Record) {
        let newest = self.cursor.created_ms.max(self.newest_ms);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        if newest > 0 && record.created_ms > newest.max(now.as_millis() as u64) + AHEAD_MS {
            self.counts.ahead += 1;
            self.cli.stats().refused(1);
            if self.counts.ahead == 1 {
                self.cli.warn(format_args!(
                    "an operation of {} is from {}, a day ahead of the clock and of all others; \
                     it is left out, and further ones only counted",
                    record.did,
                    ::lines::rfc3339_ms(record.created_ms).unwrap_or_default()
                ));
            }
            return;
        }
        // Of an account that the index lacks, all that has come is in the window.
        let old = record.created_ms < newest.saturating_sub(self.window_ms());
        if old && self.index.base_entry(&record.did).is_some() {
            self.counts.old += 1;
        } else if self.window.add(*record, false, false) {
            self.newest_ms = newest.max(record.created_ms);
        } else {
            self.counts.repeated += 1;
        }
    }

    /// Finds out which operations an index that has come without its log was built with.
    fn compare(&mut self, dids: &[PlcDid], up_to_ms: u64) {
        let mut kept = Vec::new();
        for did in dids {
            self.window.of(did, &mut kept);
            let Some(base) = self.index.base_entry(did) else { continue };
            kept.retain(|kept| kept.record.created_ms <= up_to_ms);
            if state::says(&base, &state::changes(Some(base), &kept, &self.hosts)) {
                self.window.mark_known(did, up_to_ms);
            }
        }
    }

    /// Begins a merge when it is time and ends one that is done.
    pub(crate) fn tend(&mut self) -> anyhow::Result<()> {
        if self.merge.as_ref().is_some_and(Merge::is_done) {
            return self.settle();
        }
        let states = self.delta.slots();
        // Operations that change nothing take no room in the delta, and some in memory.
        let base = self.index.base_cursor().operations;
        let came = self.cursor.operations.saturating_sub(base) / 2;
        let time = states.max(came) >= self.merge_at || self.delta.load() >= 0.5;
        if self.merge.is_none() && (self.full || (time && states >= self.again_at)) {
            self.begin_merge()?;
        }
        Ok(())
    }

    fn begin_merge(&mut self) -> anyhow::Result<()> {
        // As far as the delta is.
        let cursor = self.index.cursor();
        let came = self.window.all().get(..self.published).unwrap_or_default().to_vec();
        let (hosts, published) = (self.hosts.names(), self.published);
        let merge = Merge::begin(&self.path, &self.lock, cursor, came, hosts, published)?;
        self.cli.info(format_args!(
            "{}: merging {} states with {} accounts",
            self.path.display(),
            self.delta.slots(),
            self.index.base_accounts()
        ));
        self.merge = Some(merge);
        Ok(())
    }

    /// Waits for a merge that is under way, and takes over what it has made.
    pub(crate) fn settle(&mut self) -> anyhow::Result<()> {
        let Some(merge) = self.merge.take() else { return Ok(()) };
        let published = merge.published();
        match merge.end() {
            Ok(merged) => self.take_over(merged, published),
            // What there is stays as it is, and room for a while.
            Err(error) if !self.full => {
                self.again_at = self.delta.slots() + self.merge_at / 4 + 1;
                self.cli.warn(format_args!(
                    "{}: cannot merge: {error:#}; it will be tried again",
                    self.path.display()
                ));
                Ok(())
            }
            Err(error) => Err(error.context("the delta is full and cannot be merged")),
        }
    }

    /// Puts a new index in the place of the old one: beside it first, then its name.
    fn take_over(&mut self, merged: Merged, published: usize) -> anyhow::Result<()> {
        let Merged { sealed, mut log, kept } = merged;
        let id = sealed.id();
        let next = DidIndex::open_base(sealed.temporary())?;
        let mut window = Window::default();
        for kept in &kept {
            window.keep(kept);
        }
        for kept in self.window.since(published) {
            log.push(&state::logged(kept, self.hosts.names()))?;
            window.keep(kept);
        }
        log.publish()?;
        let dids = state::accounts(self.window.since(published).iter());
        let room = room(self.merge_at);
        let mut delta = lay_out(&self.path, &next, &window, &self.hosts, &dids, id, room)?;
        delta.set_cursor(self.cursor);
        delta.publish()?;
        beside::sync_folder(&self.path)?;
        self.delta.supersede();
        let summary = sealed.publish()?;
        self.index = DidIndex::open(&self.path)?;
        (self.log, self.delta, self.window) = (log, delta, window);
        self.published = self.window.len();
        (self.full, self.again_at) = (false, 0);
        self.counts.merges += 1;
        beside::clean(&self.path, id)?;
        self.cli.info(format_args!(
            "{}: merged: {} accounts, {}",
            self.path.display(),
            summary.entries,
            show_bytes(summary.bytes)
        ));
        Ok(())
    }

    /// Ends in order: what is there is whole, and a merge that is under way is given up.
    pub(crate) fn finish(mut self) -> anyhow::Result<()> {
        if let Some(merge) = self.merge.take() {
            merge.give_up();
        }
        Ok(self.delta.finish()?)
    }
}

/// What became of an account's state.
enum Put {
    Written,
    Same,
    Full,
}

fn put(
    delta: &mut DeltaWriter,
    index: &DidIndex,
    window: &Window,
    hosts: &Hosts,
    did: &PlcDid,
    present: Option<didindex::Entry<'_>>,
) -> Result<Put, Error> {
    let mut kept = Vec::new();
    window.of(did, &mut kept);
    let base = index.base_entry(did);
    let changes = state::changes(base, &kept, hosts);
    if changes.is_empty() || present.is_some_and(|present| state::says(&present, &changes)) {
        return Ok(Put::Same);
    }
    let put = delta.put(did, &changes, base.map(|base| base.is_rotated()))?;
    Ok(if put { Put::Written } else { Put::Full })
}

/// Makes a delta that says what has become of these accounts since the index was built; with more
/// room than asked for if need be.
fn lay_out(
    path: &Path,
    index: &DidIndex,
    window: &Window,
    hosts: &Hosts,
    dids: &[PlcDid],
    id: u64,
    room: Room,
) -> Result<DeltaWriter, Error> {
    let mut room = Room { slots: room.slots.max(2 * dids.len() as u64), ..room };
    'larger: loop {
        let mut delta = DeltaWriter::create(path, id, index.seed(), room)?;
        for did in dids {
            let present = index.base_entry(did);
            if let Put::Full = put(&mut delta, index, window, hosts, did, present)? {
                room = Room { slots: room.slots * 2, bytes: room.bytes * 2 };
                continue 'larger;
            }
        }
        return Ok(delta);
    }
}

/// So many states make a delta worth merging: some hours of the whole directory's, and no more
/// than a hundredth of the index.
fn merge_at_for(accounts: u64) -> u64 {
    (accounts / 100).clamp(32 << 10, 1 << 20)
}

/// Twice as much as what is merged, so that operations can be taken in meanwhile.
fn room(merge_at: u64) -> Room {
    let slots = merge_at.saturating_mul(2).max(64);
    Room { slots, bytes: slots * 64 + (1 << 20) }
}
