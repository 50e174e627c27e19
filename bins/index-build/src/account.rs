//! From operations to accounts, and these into the index.

use std::path::Path;

use didindex::{Builder, Change, Cursor, Seed, Summary};
use plc::chain::{self, Chain};

use crate::audit::Stays;
use crate::gather::Gathered;
use crate::hosts::Hosts;
use crate::record::Record;
use crate::sidecar::Sidecar;
use crate::spill::{BUCKETS, Spill, hash_behind};
use crate::state::change;

/// When there are more accounts than this in the first buckets, the others are taken to have as
/// many: the number is off by a thousandth then, and a table with it.
const COUNTED_MIN: usize = 1 << 20;

/// What was built.
pub(crate) struct Built {
    pub(crate) summary: Summary,
    pub(crate) cursor: Cursor,
    pub(crate) repeated: u64,
    pub(crate) nullified: u64,
    /// Accounts of which an operation is missing.
    pub(crate) broken: u64,
}

/// Works out every account and writes the index. Of the accounts that `stays` names only those
/// operations count that it names.
pub(crate) fn build(
    gathered: &Gathered<'_>,
    stays: &Stays,
    out: &Path,
    force: bool,
) -> anyhow::Result<Built> {
    let Gathered { spill, hosts, seed, newest_ms, .. } = gathered;
    let accounts = count(spill, *seed)?;
    let lock = didindex::lock(out)?;
    let builder = Builder::under(out, accounts, force, *seed, &lock)?;
    let mut accounts = Accounts {
        hosts,
        stays,
        sidecar: Sidecar::begin(out, builder.id(), *newest_ms)?,
        builder,
        changes: Vec::new(),
        cursor: Cursor { created_ms: *newest_ms, operations: 0 },
        repeated: 0,
        nullified: 0,
        broken: 0,
    };
    let (mut bucket, mut records) = (Bucket::default(), Vec::new());
    for number in 0..BUCKETS {
        bucket.read(spill, number, *seed)?;
        for places in bucket.by_hash() {
            records.clear();
            records.extend(places.iter().filter_map(|place| bucket.record(place)));
            // Stable: in one millisecond the line that was read later is the later operation.
            if !records.is_sorted_by_key(|record| record.did) {
                records.sort_by_key(|record| record.did);
            }
            for records in records.chunk_by(|a, b| a.did == b.did) {
                accounts.add(records)?;
            }
        }
        accounts.builder.settle(hash_behind(number))?;
    }
    let Accounts { sidecar, builder, cursor, repeated, nullified, broken, .. } = accounts;
    let summary = sidecar.publish(builder.seal(cursor)?, cursor)?;
    Ok(Built { summary, cursor, repeated, nullified, broken })
}

/// How many accounts there are, about.
fn count(spill: &Spill, seed: Seed) -> anyhow::Result<u64> {
    let (mut bucket, mut counted) = (Bucket::default(), 0);
    for number in 0..BUCKETS {
        bucket.read(spill, number, seed)?;
        counted += bucket.by_hash().count();
        if counted >= COUNTED_MIN {
            return Ok((counted * BUCKETS / (number + 1)) as u64);
        }
    }
    Ok(counted as u64)
}

/// The records of a bucket, in the order of hashes and then of reading.
#[derive(Default)]
struct Bucket {
    bytes: Vec<u8>,
    /// Hash of the DID, and where in the bytes the record begins.
    places: Vec<(u64, usize)>,
}

impl Bucket {
    fn read(&mut self, spill: &Spill, number: usize, seed: Seed) -> anyhow::Result<()> {
        spill.read(number, &mut self.bytes)?;
        self.places.clear();
        let mut rest = self.bytes.as_slice();
        loop {
            let at = self.bytes.len() - rest.len();
            let Some(did) = Record::pass(&mut rest) else { break };
            self.places.push((seed.hash(did.as_bytes()), at));
        }
        self.places.sort_unstable();
        Ok(())
    }

    fn by_hash(&self) -> impl Iterator<Item = &[(u64, usize)]> {
        self.places.chunk_by(|(a, _), (b, _)| a == b)
    }

    fn record(&self, (_, at): &(u64, usize)) -> Option<Record> {
        Record::read(&mut self.bytes.get(*at..)?)
    }
}

/// Accounts on their way into the index.
struct Accounts<'a> {
    hosts: &'a Hosts,
    stays: &'a Stays,
    sidecar: Sidecar,
    builder: Builder,
    changes: Vec<Change<'a>>,
    cursor: Cursor,
    repeated: u64,
    nullified: u64,
    broken: u64,
}

impl Accounts<'_> {
    /// Works out the account whose operations these are.
    fn add(&mut self, records: &[Record]) -> anyhow::Result<()> {
        self.changes.clear();
        let stay = records.first().and_then(|record| self.stays.get(&record.did));
        let kept: Vec<Record>;
        let records = match stay {
            None => records,
            Some(numbers) => {
                let counting = numbers.iter().filter_map(|number| records.get(*number));
                kept = counting.copied().collect();
                &kept
            }
        };
        if let [only] = records {
            // As good as all accounts.
            self.broken += u64::from(only.prev.is_some());
            self.cursor.operations += 1;
            self.changes.push(change(only, self.hosts));
        } else {
            let Chain { valid, repeated, nullified, broken, .. } = chain::valid(records);
            self.repeated += repeated as u64;
            self.nullified += nullified as u64;
            self.broken += u64::from(broken);
            self.cursor.operations += (records.len() - repeated) as u64;
            let counting = valid.iter().filter_map(|place| records.get(*place));
            self.changes.extend(counting.map(|record| change(record, self.hosts)));
        }
        self.sidecar.keep(records, self.hosts)?;
        // Operations that only follow each other in a ring say nothing.
        if let (Some(record), false) = (records.first(), self.changes.is_empty()) {
            self.builder.add(&record.did, &self.changes)?;
        }
        Ok(())
    }
}
