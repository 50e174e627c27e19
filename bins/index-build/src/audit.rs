//! The proof of a whole directory.
//!
//! Whole operations are needed for it, and an account's lie years apart. So all lines are kept by
//! account in bounded memory ([`Spill`]), packed, and judged a bucket at a time on all cores.
//! Accounts have nothing to do with each other; reports come in the order of buckets.

pub(crate) mod logs;

mod pack;
mod report;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use cli::Cli;
use didindex::{PlcDid, Seed};
use plc::proof::{Entry, Prover};

use self::pack::{Packer, Unpacker};
use self::report::Report;
use crate::spill::{BUCKETS, Spill};

pub(crate) use self::report::{Tally, Voice};

/// Rotation keys that each core keeps ready. Hosts sign for all of their accounts with one key.
const KEYS: usize = 1 << 16;

/// Accounts of which an operation fails, each with those of its lines that count: the state before
/// the first failing one. A line is named by its number among the account's lines that are
/// operations, in the order of reading.
pub(crate) type Stays = HashMap<PlcDid, Vec<usize>>;

/// What is to be proved.
pub(crate) struct Audit<'c> {
    told: Told<'c>,
    seed: Seed,
    spill: Spill,
    packer: Packer,
    line: Vec<u8>,
    began: Instant,
}

/// What has been said, and its numbers.
struct Told<'c> {
    voice: Voice<'c>,
    tally: Tally,
}

impl Told<'_> {
    fn say(&mut self, report: &Report) -> anyhow::Result<()> {
        self.tally.add(&report.tally);
        self.voice.say(report)
    }
}

impl<'c> Audit<'c> {
    /// Nothing yet; up to `memory` bytes are kept in memory, the rest in a file in `folder`.
    pub(crate) fn new(voice: Voice<'c>, seed: Seed, folder: &Path, memory: usize) -> Self {
        Self {
            told: Told { voice, tally: Tally::default() },
            seed,
            spill: Spill::new(folder, memory),
            packer: Packer::default(),
            line: Vec::new(),
            began: Instant::now(),
        }
    }

    /// Takes a line of an account. `counts` says that the index takes it too.
    pub(crate) fn take(&mut self, did: &PlcDid, line: &[u8], counts: bool) -> anyhow::Result<()> {
        self.line.clear();
        self.packer.pack(did, line, counts, &mut self.line)?;
        let hash = self.seed.hash(did.as_bytes());
        let line = self.line.as_slice();
        self.spill.push(hash, line.len(), |bucket| bucket.extend_from_slice(line))
    }

    /// Takes a line that is no operation that the index could take. Whether it says at least
    /// whose it is; if not, it is reported at once.
    pub(crate) fn take_bad(&mut self, line: &[u8], error: &anyhow::Error) -> anyhow::Result<()> {
        match Entry::parse(line) {
            Ok(entry) => self.take(&entry.did, line, false),
            Err(_) => self.unreadable(error),
        }
    }

    /// Reports what no account can be found for. At once: there may be many.
    pub(crate) fn unreadable(&mut self, error: &anyhow::Error) -> anyhow::Result<()> {
        let mut report = Report::default();
        report.unreadable(&format!("{error:#}"), None);
        self.told.say(&report)
    }

    /// Everything has been read.
    pub(crate) fn complete(&mut self) -> anyhow::Result<()> {
        self.spill.complete()
    }

    /// Judges everything, and says what fails and then what it came to.
    pub(crate) fn finish(self, cli: &Cli) -> anyhow::Result<(Tally, Stays)> {
        let Self { mut told, spill, packer, began, .. } = self;
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let next = AtomicUsize::new(0);
        let stays = thread::scope(|scope| {
            let (sender, reports) = sync_channel(cores);
            for _ in 0..cores {
                let sender = sender.clone();
                scope.spawn(|| work(&spill, &packer, &next, sender));
            }
            drop(sender);
            // If this ends early it takes the channel along, and the workers end with it.
            collect(cli, &mut told, reports)
        })?;
        let Told { mut voice, mut tally } = told;
        tally.spilled_bytes = spill.written();
        tally.seconds = began.elapsed().as_secs_f64();
        voice.end(&tally)?;
        Ok((tally, stays))
    }
}

/// Takes the reports in the order of buckets.
fn collect(cli: &Cli, told: &mut Told<'_>, reports: Receiver<Judged>) -> anyhow::Result<Stays> {
    let (mut waiting, mut stays) = (BTreeMap::new(), Stays::new());
    let (mut turn, mut shown) = (0, Instant::now());
    for (number, bucket) in reports {
        waiting.insert(number, bucket?);
        while let Some(Bucket { report, stay }) = waiting.remove(&turn) {
            told.say(&report)?;
            stays.extend(stay);
            turn += 1;
        }
        if cli.progress() && shown.elapsed() > Duration::from_millis(500) {
            shown = Instant::now();
            let (operations, percent) = (told.tally.operations, 100 * turn / BUCKETS);
            cli.show(format_args!("{operations} operations judged, {percent}%"));
        }
        anyhow::ensure!(!cli.stopping(), "stopped before everything was judged");
    }
    anyhow::ensure!(turn == BUCKETS, "not everything was judged");
    Ok(stays)
}

/// A bucket's number and what it came to.
type Judged = (usize, anyhow::Result<Bucket>);

/// Judges one bucket after the other until there is none left or nobody listens.
fn work(spill: &Spill, packer: &Packer, next: &AtomicUsize, reports: SyncSender<Judged>) {
    let mut worker = Worker::new(packer);
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= BUCKETS {
            break;
        }
        let bucket = match &mut worker {
            Ok(worker) => worker.bucket(spill, number),
            Err(error) => Err(anyhow::anyhow!("cannot unpack: {error:#}")),
        };
        if reports.send((number, bucket)).is_err() {
            break;
        }
    }
}

/// What one bucket came to.
#[derive(Default)]
struct Bucket {
    report: Report,
    stay: Vec<(PlcDid, Vec<usize>)>,
}

/// Judges bucket after bucket, on one core.
struct Worker<'a> {
    prover: Prover,
    unpacker: Unpacker<'a>,
    packed: Vec<u8>,
}

impl<'a> Worker<'a> {
    fn new(packer: &'a Packer) -> anyhow::Result<Self> {
        let unpacker = packer.unpacker()?;
        Ok(Self { prover: Prover::new(KEYS), unpacker, packed: Vec::new() })
    }

    fn bucket(&mut self, spill: &Spill, number: usize) -> anyhow::Result<Bucket> {
        spill.read(number, &mut self.packed)?;
        let mut lines = self.unpacker.all(&self.packed).context("spilled operations")?;
        // Stable: among an account's lines the order of reading stays.
        lines.places.sort_by_key(|line| line.did);
        let mut bucket = Bucket::default();
        for account in lines.places.chunk_by(|a, b| a.did == b.did) {
            let Some(did) = account.first().map(|line| line.did) else { continue };
            // Each was read before it was taken in, so that none is left out here.
            let entries = account.iter().map(|line| Entry::parse(lines.bytes(line)));
            let entries = entries.collect::<Result<Vec<_>, _>>()?;
            let proof = self.prover.prove(&did, &entries);
            bucket.report.account(&did, &entries, &proof, None);
            if let Some(kept) = &proof.before_fault {
                bucket.stay.push((did, numbers(kept, account)));
            }
        }
        Ok(bucket)
    }
}

/// The numbers of lines among those that the index takes.
fn numbers(kept: &[usize], account: &[pack::Line]) -> Vec<usize> {
    let mut before = 0;
    let numbers: Vec<Option<usize>> = account
        .iter()
        .map(|line| {
            before += usize::from(line.counts);
            line.counts.then_some(before - 1)
        })
        .collect();
    kept.iter().filter_map(|place| numbers.get(*place).copied().flatten()).collect()
}
