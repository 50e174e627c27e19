//! How the entries of a new node lie over those of an old one, and the keys that are new.

use atproto::mst;

use super::super::path::{Collections, Near};
use super::super::streams::{In, Out, Stream};
use super::Context;
use super::node::{Grove, View};

/// No entry of a node is shorter: its value alone is a link.
pub(super) const ENTRY_BYTES_MIN: usize = 41;

/// How a new node lies over an old one: entries kept, left out, new.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) kept: usize,
    pub(super) gone: usize,
    pub(super) new: usize,
}

pub(super) fn runs(old: &View<'_>, new: &View<'_>) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let (mut a, mut b) = (0, 0);
    let mut kept = 0;
    loop {
        let (gone, fresh) = match (a < old.entries.len(), b < new.entries.len()) {
            (false, false) => return runs,
            (true, true) => match old.key(a).cmp(new.key(b)) {
                std::cmp::Ordering::Equal => {
                    a += 1;
                    b += 1;
                    kept += 1;
                    continue;
                }
                std::cmp::Ordering::Less => (1, 0),
                std::cmp::Ordering::Greater => (0, 1),
            },
            (true, false) => (1, 0),
            (false, true) => (0, 1),
        };
        a += gone;
        b += fresh;
        match runs.last_mut() {
            Some(run) if kept == 0 => {
                run.gone += gone;
                run.new += fresh;
            }
            _ => runs.push(Run { kept, gone, new: fresh }),
        }
        kept = 0;
    }
}

/// Steps between ascending positions.
pub(super) fn put_step(out: &mut Out, next: &mut usize, at: usize, times: u64, plus: u64) {
    out.varint(Stream::Edit, (at - *next) as u64 * times + plus);
    *next = at + 1;
}

/// A key is a path of the event's operations, or a path.
fn put_key(
    out: &mut Out,
    collections: &mut Collections,
    context: &Context<'_>,
    near: Near<'_>,
    key: &[u8],
) {
    match context.written.iter().position(|(path, _)| path.as_slice() == key) {
        Some(at) => {
            out.byte(Stream::Key, OPERATION);
            out.varint(Stream::Key, at as u64);
        }
        None => collections.put_path(out, Stream::Key, near, key),
    }
}

/// A kind that paths do not have.
const OPERATION: u8 = 0xff;

/// Reads a key to the end of `to`.
fn take_key(
    input: &mut In<'_>,
    collections: &mut Collections,
    context: &Context<'_>,
    near: Near<'_>,
    to: &mut Vec<u8>,
) -> Option<()> {
    if input.peek(Stream::Key)? != OPERATION {
        return collections.take_path(input, Stream::Key, near, to);
    }
    input.byte(Stream::Key)?;
    let at = usize::try_from(input.varint(Stream::Key)?).ok()?;
    to.extend_from_slice(&context.written.get(at)?.0);
    Some(())
}

/// How the entries of a node lie over those of another, and the new keys.
pub(super) fn put_entries(
    out: &mut Out,
    collections: &mut Collections,
    context: &Context<'_>,
    (new, key): (&View<'_>, &[u8]),
    runs: &[Run],
    layer: &mut Option<u32>,
) -> Option<()> {
    out.varint(Stream::Edit, runs.len() as u64);
    let mut next = 0;
    for run in runs {
        out.varint(Stream::Edit, run.kept as u64);
        out.varint(Stream::Edit, run.gone as u64);
        out.varint(Stream::Edit, run.new as u64);
        next += run.kept;
        for at in next..next + run.new {
            let before = at.checked_sub(1).map_or(key, |at| new.key(at));
            let near = Near { before, rev: context.rev, layer: *layer };
            put_key(out, collections, context, near, new.key(at));
            layer.get_or_insert_with(|| mst::layer(new.key(at)));
        }
        next += run.new;
    }
    Some(())
}

/// The entries of the node that was begun last, with keys alone where they are new, and those that
/// are.
pub(super) fn take_entries(
    input: &mut In<'_>,
    collections: &mut Collections,
    context: &Context<'_>,
    (old, outer): (&View<'_>, &[u8]),
    limit: usize,
    (grove, (fresh, layer)): (&mut Grove, (&mut Fresh, &mut Option<u32>)),
) -> Option<()> {
    let mut next = 0;
    fresh.entries.clear();
    for _ in 0..input.varint(Stream::Edit)? {
        let left = old.entries.len() - next;
        let kept = input.count(Stream::Edit, left)?;
        grove.copy(old, next..next + kept)?;
        next += kept + input.count(Stream::Edit, left - kept)?;
        for _ in 0..input.count(Stream::Edit, limit / ENTRY_BYTES_MIN)? {
            let new = grove.last();
            let at = new.entries.len();
            if at >= limit / ENTRY_BYTES_MIN {
                return None;
            }
            fresh.key.clear();
            let before = at.checked_sub(1).map_or(outer, |at| new.key(at));
            let near = Near { before, rev: context.rev, layer: *layer };
            take_key(input, collections, context, near, &mut fresh.key)?;
            if fresh.key.len() > mst::KEY_BYTES_MAX {
                return None;
            }
            grove.push(&fresh.key, [0; 32], None)?;
            layer.get_or_insert_with(|| mst::layer(&fresh.key));
            fresh.entries.push(at);
        }
    }
    grove.copy(old, next..old.entries.len())
}

/// Entries of a node that are new, ascending, and room for a key.
#[derive(Debug, Default)]
pub(super) struct Fresh {
    pub(super) entries: Vec<usize>,
    key: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use super::super::known::Nodes;
    use super::*;
    use crate::codec::APART;

    /// Else a few bytes could ask for any amount of memory: a key is told by the place of a path.
    #[test]
    fn a_key_that_no_node_has_is_not_read() {
        for length in [mst::KEY_BYTES_MAX, mst::KEY_BYTES_MAX + 1] {
            let written = [(vec![b'a'; length], [1; 32])];
            let nodes = Nodes::default();
            let context = Context { rev: atproto::Tid(1 << 55), written: &written, nodes: &nodes };
            let mut node = Grove::default();
            node.begin();
            node.push(&written[0].0, [1; 32], None).unwrap();
            let (new, mut out) = (node.last(), Out::default());
            let runs = runs(&View::EMPTY, &new);
            let mut names = Collections::default();
            put_entries(&mut out, &mut names, &context, (&new, &[]), &runs, &mut None).unwrap();
            let (mut grove, mut names) = (Grove::default(), Collections::default());
            grove.begin();
            let (old, to) = ((&View::EMPTY, &[][..]), (&mut Fresh::default(), &mut None));
            let mut input = out.input(APART);
            let taken =
                take_entries(&mut input, &mut names, &context, old, 1 << 20, (&mut grove, to));
            assert_eq!(taken.is_some(), length <= mst::KEY_BYTES_MAX, "{length}");
        }
    }
}
