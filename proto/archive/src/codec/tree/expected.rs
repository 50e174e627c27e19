//! What a new node's values and links are expected to be, and those that are others.

use super::super::streams::{In, Out, Stream};
use super::super::write::Digest;
use super::Context;
use super::entries::{Run, put_step};
use super::node::{Entry, Grove, View};

/// What is expected of a node that lies over another.
pub(super) struct Expected {
    pub(super) values: Vec<Option<Digest>>,
    /// By slot.
    pub(super) links: Vec<Option<Digest>>,
    /// By slot: whether the link was there before.
    pub(super) kept: Vec<bool>,
}

impl Expected {
    pub(super) fn of(
        context: &Context<'_>,
        old: &View<'_>,
        new: &View<'_>,
        runs: &[Run],
        has_left: bool,
    ) -> Expected {
        let count = new.entries.len();
        let mut expected = Expected {
            values: Vec::with_capacity(count),
            links: Vec::with_capacity(count + 1),
            kept: Vec::with_capacity(count + 1),
        };
        expected.links.push(old.left);
        expected.kept.push(has_left);
        let mut rest = old.entries.iter();
        for run in runs {
            rest.by_ref().take(run.kept).for_each(|entry| expected.keep(entry));
            if run.gone > 0 {
                rest.nth(run.gone - 1);
            }
            for _ in 0..run.new {
                expected.values.push(None);
                expected.links.push(None);
                expected.kept.push(false);
            }
        }
        rest.for_each(|entry| expected.keep(entry));
        for (path, _) in context.written {
            if let Ok(at) = new.find(path)
                && let Some(value) = expected.values.get_mut(at)
            {
                *value = context.written(path);
            }
        }
        expected
    }

    fn keep(&mut self, entry: &Entry) {
        self.values.push(Some(entry.value));
        self.links.push(entry.right);
        self.kept.push(true);
    }

    pub(super) fn put_values(&self, out: &mut Out, new: &View<'_>) {
        let values = || self.values.iter().zip(new.entries).enumerate();
        let other =
            |value: &Option<Digest>, entry: &Entry| value.is_some_and(|it| it != entry.value);
        let count = values().filter(|(_, (value, entry))| other(value, entry)).count();
        out.varint(Stream::Edit, count as u64);
        let mut next = 0;
        for (at, (value, entry)) in values() {
            if other(value, entry) {
                put_step(out, &mut next, at, 1, 0);
            }
        }
        for (_, (value, entry)) in values() {
            if *value != Some(entry.value) {
                out.bytes(Stream::Hash, &entry.value);
            }
        }
    }

    pub(super) fn put_links(
        &self,
        out: &mut Out,
        new: &View<'_>,
        is_child: impl Fn(usize) -> bool,
    ) {
        let slots =
            || self.links.iter().zip(&self.kept).enumerate().filter(|(at, _)| !is_child(*at));
        let kept = || slots().filter(|(_, (_, kept))| **kept).map(|(at, (link, _))| (at, *link));
        let other = kept().filter(|(at, link)| new.slot(*at) != *link);
        out.varint(Stream::Edit, other.clone().count() as u64);
        let mut next = 0;
        for (at, _) in other {
            let link = new.slot(at);
            put_step(out, &mut next, at, 2, u64::from(link.is_some()));
            if let Some(link) = link {
                out.bytes(Stream::Hash, &link);
            }
        }
        let added = slots().filter(|(_, (_, kept))| !**kept).map(|(at, _)| new.slot(at));
        let (all, links) = (added.clone().count(), added.clone().flatten().count());
        match (all, links) {
            (0, _) => {}
            (_, 0) => out.varint(Stream::Edit, 0),
            (all, links) if all == links => out.varint(Stream::Edit, 1),
            _ => {
                out.varint(Stream::Edit, 2);
                added.clone().for_each(|link| out.low_bits(u64::from(link.is_some()), 1));
            }
        }
        added.flatten().for_each(|link| out.bytes(Stream::Hash, &link));
    }
}

/// Reads the values that [`Expected::put_values`] told of a node whose entries are those that were
/// kept, as they were, and new ones.
pub(super) fn take_values(
    input: &mut In<'_>,
    context: &Context<'_>,
    (grove, new): (&mut Grove, usize),
    fresh: &[usize],
    told: &mut Vec<bool>,
) -> Option<()> {
    let count = grove.view(new)?.entries.len();
    told.clear();
    told.resize(count, false);
    for at in fresh {
        *told.get_mut(*at)? = true;
    }
    for (path, _) in context.written {
        let Ok(at) = grove.view(new)?.find(path) else { continue };
        // Of two operations on one path one counts, on both sides the same.
        grove.entries_mut(new)?.get_mut(at)?.value = context.written(path)?;
        *told.get_mut(at)? = false;
    }
    let mut next = 0usize;
    for _ in 0..input.count(Stream::Edit, count)? {
        let at = next.checked_add(input.count(Stream::Edit, count)?)?;
        *told.get_mut(at)? = true;
        next = at + 1;
    }
    for (entry, told) in grove.entries_mut(new)?.iter_mut().zip(told) {
        if *told {
            entry.value = input.array(Stream::Hash)?;
        }
    }
    Some(())
}

/// Reads the links that [`Expected::put_links`] told. `children` are the slots whose node is in the
/// event, each with the link that was there: it gets none yet.
pub(super) fn take_links(
    input: &mut In<'_>,
    (grove, new): (&mut Grove, usize),
    (fresh, has_left): (&[usize], bool),
    children: &mut [(usize, Option<Digest>)],
    told: &mut Vec<bool>,
) -> Option<()> {
    let node = grove.view(new)?;
    for (slot, before) in children.iter_mut() {
        *before = node.slot(*slot);
    }
    let mut next = 0usize;
    for _ in 0..input.count(Stream::Edit, node.slots())? {
        let step = input.varint(Stream::Edit)?;
        let at = next.checked_add(usize::try_from(step >> 1).ok()?)?;
        let link = if step & 1 == 1 { Some(input.array(Stream::Hash)?) } else { None };
        *grove.slot_mut(new, at)? = link;
        next = at + 1;
    }
    let is_child = |slot: usize| children.binary_search_by_key(&slot, |child| child.0).is_ok();
    let left = (!has_left).then_some(0);
    let added =
        || left.into_iter().chain(fresh.iter().map(|at| at + 1)).filter(|at| !is_child(*at));
    let mode = match added().next() {
        None => 0,
        Some(_) => input.varint(Stream::Edit)?,
    };
    told.clear();
    for _ in added() {
        told.push(match mode {
            0 => false,
            1 => true,
            _ => input.low_bits(1)? == 1,
        });
    }
    for (at, told) in added().zip(told.iter()) {
        *grove.slot_mut(new, at)? = if *told { Some(input.array(Stream::Hash)?) } else { None };
    }
    for (slot, _) in children.iter() {
        *grove.slot_mut(new, *slot)? = None;
    }
    Some(())
}
