//! From operations to accounts, and these into the index.

use std::path::Path;

use didindex::{Builder, Change, Cursor, Summary};
use plc::chain;

use crate::gather::{Gathered, Record};

/// What was built.
pub(crate) struct Built {
    pub(crate) summary: Summary,
    pub(crate) cursor: Cursor,
    pub(crate) repeated: u64,
    pub(crate) nullified: u64,
    /// Accounts of which an operation is missing.
    pub(crate) broken: u64,
}

/// Works out every account and writes the index.
pub(crate) fn build(gathered: Gathered<'_>, out: &Path, force: bool) -> anyhow::Result<Built> {
    let Gathered { mut buckets, hosts, .. } = gathered;
    let mut accounts = 0;
    for bucket in &mut buckets {
        // Stable: in one millisecond the line that was read later is the later operation.
        bucket.sort_by_key(|record| record.did);
        accounts += bucket.chunk_by(|a, b| a.did == b.did).count() as u64;
    }
    let mut builder = Builder::create(out, accounts, force)?;
    let (mut cursor, mut repeated, mut nullified, mut broken) = (Cursor::default(), 0, 0, 0);
    let mut changes = Vec::new();
    for bucket in buckets {
        for records in bucket.chunk_by(|a, b| a.did == b.did) {
            let chain = chain::valid(records);
            repeated += chain.repeated as u64;
            nullified += chain.nullified as u64;
            broken += u64::from(chain.broken);
            cursor.operations += (records.len() - chain.repeated) as u64;
            let newest = records.iter().map(|record| record.created_ms).max();
            cursor.created_ms = cursor.created_ms.max(newest.unwrap_or(0));
            let Some(did) = records.first().map(|record| record.did) else { continue };
            changes.clear();
            let counting = chain.valid.iter().filter_map(|place| records.get(*place));
            changes.extend(counting.map(|record| change(record, &hosts)));
            // Operations that only follow each other in a ring say nothing.
            if !changes.is_empty() {
                builder.add(&did, &changes)?;
            }
        }
    }
    let summary = builder.finish(cursor)?;
    Ok(Built { summary, cursor, repeated, nullified, broken })
}

fn change<'a>(record: &Record, hosts: &'a [Box<str>]) -> Change<'a> {
    let pds = record.host.and_then(|number| hosts.get(number as usize)).map(|name| &**name);
    Change { from_ms: record.created_ms, key: record.key, pds }
}
