//! Making one index of an index and its delta, on a thread of its own, while readers and the
//! keeper go on with both.
//!
//! The delta may change meanwhile: an account's newer state may come into the new index or not.
//! Both are right, because the operations since the merge began come into the new log, and what an
//! account is follows from its operations there and from what the index says of the time before
//! them.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use anyhow::{Context, anyhow};
use didindex::{Builder, Cursor, DidIndex, LogWriter, PlcDid, Sealed};

use crate::state;
use crate::window::{self, KEPT_MS, Kept};

/// After so many accounts what has come is written, and a merge that is given up ends.
const SETTLE_EVERY: u64 = 16 << 10;

/// The log is written in pieces of this size.
const WRITE_BYTES: usize = 1 << 20;

/// What a merge has made: an index without its name, and the log beside it.
pub(crate) struct Merged {
    pub(crate) sealed: Sealed,
    pub(crate) log: LogWriter,
    /// The operations in the log; the index knows them all.
    pub(crate) kept: Vec<Kept>,
}

/// A merge under way.
pub(crate) struct Merge {
    thread: JoinHandle<anyhow::Result<Merged>>,
    given_up: Arc<AtomicBool>,
    published: usize,
}

/// What the thread is given.
struct Work {
    path: PathBuf,
    lock: File,
    cursor: Cursor,
    came: Vec<Kept>,
    hosts: Vec<Box<str>>,
    given_up: Arc<AtomicBool>,
}

impl Merge {
    /// Begins. All that the first `published` operations of the window say is in the delta: these
    /// are `came`, and `cursor` is as far as they go.
    pub(crate) fn begin(
        path: &Path,
        lock: &File,
        cursor: Cursor,
        came: Vec<Kept>,
        hosts: &[Box<str>],
        published: usize,
    ) -> anyhow::Result<Self> {
        let given_up = Arc::new(AtomicBool::new(false));
        let work = Work {
            path: path.to_owned(),
            lock: lock.try_clone().context("lock")?,
            cursor,
            came,
            hosts: hosts.to_vec(),
            given_up: Arc::clone(&given_up),
        };
        let thread = thread::Builder::new().name("merge".into()).spawn(|| work.run());
        Ok(Self { thread: thread.context("a thread for the merge")?, given_up, published })
    }

    pub(crate) fn is_done(&self) -> bool {
        self.thread.is_finished()
    }

    /// How many operations had come to the delta when it began.
    pub(crate) fn published(&self) -> usize {
        self.published
    }

    /// Waits for it.
    pub(crate) fn end(self) -> anyhow::Result<Merged> {
        self.thread.join().unwrap_or_else(|_| Err(anyhow!("the merge ended badly")))
    }

    /// Stops it; nothing of it stays.
    pub(crate) fn give_up(self) {
        self.given_up.store(true, Ordering::Relaxed);
        // What it comes to is of no use, an error included.
        let _ = self.thread.join();
    }
}

impl Work {
    fn run(self) -> anyhow::Result<Merged> {
        let Self { path, lock, cursor, came, hosts, given_up } = self;
        let index = DidIndex::open(&path)?;
        // With the hash of the old one the accounts come in the order in which they are written.
        let seed = index.seed();
        let mut added: Vec<_> = index.added().map(|did| (seed.hash(did.as_bytes()), did)).collect();
        added.sort_unstable();
        let accounts = index.base_accounts() + added.len() as u64;
        let mut builder = Builder::under(&path, accounts, true, seed, &lock)?;
        let mut added = added.into_iter().peekable();
        for (number, (did, entry)) in (0u64..).zip(index.base_iter()) {
            if number.is_multiple_of(SETTLE_EVERY) {
                if given_up.load(Ordering::Relaxed) {
                    return Err(anyhow!("given up"));
                }
                let hash = index.hash_from(&entry);
                while let Some((_, did)) = added.next_if(|(before, _)| *before < hash) {
                    add(&mut builder, &index, &did)?;
                }
                builder.settle(hash)?;
            }
            builder.add(&did, &state::as_it_is(index.changed(&did).unwrap_or(entry)))?;
        }
        for (_, did) in added {
            add(&mut builder, &index, &did)?;
        }
        let sealed = builder.seal(cursor)?;
        let mut kept = window::last_days(came, cursor.created_ms.saturating_sub(KEPT_MS));
        kept.iter_mut().for_each(|kept| kept.known = true);
        let mut log = LogWriter::create(&path, sealed.id())?;
        for kept in &kept {
            log.push(&state::logged(kept, &hosts))?;
            if log.gathered() >= WRITE_BYTES {
                log.write()?;
            }
        }
        log.commit()?;
        Ok(Merged { sealed, log, kept })
    }
}

/// Adds an account that the index itself lacks.
fn add(builder: &mut Builder, index: &DidIndex, did: &PlcDid) -> Result<(), didindex::Error> {
    match index.changed(did) {
        Some(entry) => builder.add(did, &state::as_it_is(entry)),
        None => Ok(()),
    }
}
