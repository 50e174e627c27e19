//! What a new node's values and links are expected to be, and those that are others.

use super::super::streams::{In, Out, Stream};
use super::super::write::Digest;
use super::Context;
use super::entries::{Run, put_step};
use super::node::{Entry, Node};

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
        old: &Node,
        new: &Node,
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
        for (at, value) in expected.values.iter_mut().enumerate() {
            *value = context.written(new.key(at)).or(*value);
        }
        expected
    }

    fn keep(&mut self, entry: &Entry) {
        self.values.push(Some(entry.value));
        self.links.push(entry.right);
        self.kept.push(true);
    }

    pub(super) fn put_values(&self, out: &mut Out, new: &Node) {
        let values = || self.values.iter().zip(&new.entries).enumerate();
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

    pub(super) fn take_values(&self, input: &mut In<'_>, new: &mut Node) -> Option<()> {
        let mut others = Vec::new();
        let mut next = 0usize;
        for _ in 0..input.count(Stream::Edit, new.entries.len())? {
            let at = next.checked_add(input.count(Stream::Edit, new.entries.len())?)?;
            others.push(at);
            next = at + 1;
        }
        let mut others = others.into_iter().peekable();
        for (at, (value, entry)) in self.values.iter().zip(&mut new.entries).enumerate() {
            let other = others.next_if_eq(&at).is_some();
            entry.value = match value {
                Some(value) if !other => *value,
                _ => input.array(Stream::Hash)?,
            };
        }
        Some(())
    }

    pub(super) fn put_links(&self, out: &mut Out, new: &Node, is_child: impl Fn(usize) -> bool) {
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

    pub(super) fn take_links(
        &self,
        input: &mut In<'_>,
        new: &mut Node,
        is_child: impl Fn(usize) -> bool,
    ) -> Option<()> {
        let mut links = self.links.clone();
        let mut next = 0usize;
        for _ in 0..input.count(Stream::Edit, links.len())? {
            let step = input.varint(Stream::Edit)?;
            let at = next.checked_add(usize::try_from(step >> 1).ok()?)?;
            let link = if step & 1 == 1 { Some(input.array(Stream::Hash)?) } else { None };
            *links.get_mut(at)? = link;
            next = at + 1;
        }
        let added: Vec<usize> = (0..links.len())
            .filter(|at| !is_child(*at) && self.kept.get(*at) == Some(&false))
            .collect();
        let mode = if added.is_empty() { 0 } else { input.varint(Stream::Edit)? };
        let mut there = Vec::with_capacity(added.len());
        for at in &added {
            let is_there = match mode {
                0 => false,
                1 => true,
                _ => input.low_bits(1)? == 1,
            };
            there.push((*at, is_there));
        }
        for (at, is_there) in there {
            *links.get_mut(at)? = if is_there { Some(input.array(Stream::Hash)?) } else { None };
        }
        for (at, link) in links.into_iter().enumerate() {
            *new.slot_mut(at)? = if is_child(at) { None } else { link };
        }
        Some(())
    }
}
