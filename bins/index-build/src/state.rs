//! What an account is, from what the index says of it and its operations of the last days.

use didindex::{Change, Entry, PlcDid};
use plc::chain;

use crate::hosts::Hosts;
use crate::record::Record;
use crate::window::{self, Kept};

/// What an operation made of its account.
pub(crate) fn change<'a>(record: &Record, hosts: &'a Hosts) -> Change<'a> {
    let pds = record.host.and_then(|number| hosts.name(number));
    Change { from_ms: record.created_ms, key: record.key, pds }
}

/// What an account's operations that count made of it, oldest first: those in `kept`, and before
/// them what the index itself has. None when no operation counts.
///
/// The index may know none, some or all of `kept`, nullified ones included: of what it says, only
/// what is older than all of them is taken.
pub(crate) fn changes<'a>(
    base: Option<Entry<'a>>,
    kept: &[Kept],
    hosts: &'a Hosts,
) -> Vec<Change<'a>> {
    let cannot_be = |one: &&Kept| base.is_some() && is_second(one, kept);
    let mut kept: Vec<Kept> = kept.iter().filter(|one| !cannot_be(one)).copied().collect();
    let oldest = kept.iter().map(|kept| kept.record.created_ms).min().unwrap_or(u64::MAX);
    window::mark_nullified(&mut kept);
    kept.retain(|kept| !kept.nullified);
    let mut changes = Vec::new();
    let whole = kept.iter().any(|kept| kept.record.prev.is_none());
    if let Some(base) = base
        && !whole
    {
        let before = base.history().filter(|period| period.from_ms < oldest);
        changes.extend(before.map(|period| Change {
            from_ms: period.from_ms,
            key: period.to_key(),
            pds: None,
        }));
    }
    let chain = chain::valid(&kept);
    let counting = chain.valid.iter().filter_map(|place| kept.get(*place));
    let settled = changes.len();
    changes.extend(counting.map(|kept| change(&kept.record, hosts)));
    if changes.len() == settled {
        // What the index has stands.
        return base.map_or_else(Vec::new, as_it_is);
    }
    changes
}

/// A first operation of an account that has had one, which cannot be, whatever the directory says.
/// One that others follow is the account's, come late.
fn is_second(first: &Kept, kept: &[Kept]) -> bool {
    let followed = || kept.iter().any(|kept| kept.record.prev == Some(first.record.id));
    first.record.prev.is_none() && !first.known && !followed()
}

/// What an account is, as the changes that lead to it.
pub(crate) fn as_it_is(entry: Entry<'_>) -> Vec<Change<'_>> {
    let pds = entry.pds();
    let periods = entry.history();
    periods.map(|period| Change { from_ms: period.from_ms, key: period.to_key(), pds }).collect()
}

/// Whether that is what an entry says already.
pub(crate) fn says(entry: &Entry<'_>, changes: &[Change<'_>]) -> bool {
    let Some(last) = changes.last() else { return true };
    if entry.status() != last.status() || entry.pds() != last.pds || entry.key() != last.key.bytes()
    {
        return false;
    }
    let rotated = changes.iter().any(|change| change.key != last.key);
    if !rotated || !entry.is_rotated() {
        return rotated == entry.is_rotated();
    }
    let mut before = None;
    let begun = changes.iter().filter(|change| before.replace(change.key) != Some(change.key));
    let begun = begun.map(|change| (change.from_ms, change.key));
    entry.history().map(|period| (period.from_ms, period.to_key())).eq(begun)
}

/// A record of the log.
pub(crate) fn logged<'a>(kept: &Kept, hosts: &'a [Box<str>]) -> didindex::Record<'a> {
    let Kept { record, known, nullified, .. } = *kept;
    let Record { did, id, prev, created_ms, key, host } = record;
    let host = host.and_then(|number| hosts.get(number as usize)).map(|name| &**name);
    didindex::Record { did, name: id, prev, created_ms, key, host, known, nullified }
}

/// The same from the log.
pub(crate) fn from_log(record: &didindex::Record<'_>, hosts: &mut Hosts) -> Record {
    let didindex::Record { did, name, prev, created_ms, key, host, .. } = *record;
    Record { did, id: name, prev, created_ms, key, host: host.and_then(|name| hosts.named(name)) }
}

/// The accounts of operations, each once.
pub(crate) fn accounts<'a>(kept: impl Iterator<Item = &'a Kept>) -> Vec<PlcDid> {
    let mut dids: Vec<PlcDid> = kept.map(|kept| kept.record.did).collect();
    dids.sort_unstable();
    dids.dedup();
    dids
}
