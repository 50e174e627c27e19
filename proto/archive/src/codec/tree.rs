//! The nodes of a commit's tree: each as what changed against the node that it takes the place
//! of, if the block has that, and with nothing that can be worked out.
//!
//! The nodes that an event carries are gone through from the root down, left before right. The
//! slots of a node are its links: 0 is the one before its first entry, n the one behind entry n.
//! What is behind a slot comes right after its node, in the order of slots.
//!
//! A node in [`Stream::Edit`], all varints:
//!
//! | field    | meaning                                                                     |
//! |----------|-----------------------------------------------------------------------------|
//! | mode     | 0: as the node before; 1: against the node before; 2: against no node; 3: against the node that distance tells |
//! | distance | mode 3: how many of the account's nodes ago, from 1                         |
//! | runs     | how many times: entries kept, entries left out, entries that are new (their keys in [`Stream::Key`]) |
//! | values   | how many values are not as expected, and for each how many entries it is behind the one before |
//! | children | how many slots have their node in the event, and each as a step              |
//! | links    | how many kept slots are not as expected, for each a step times two, plus one if it is a link; with mode 2, and for new entries, 0: no other slot is a link, 1: all are, 2: a bit for each tells |
//!
//! The node before is what the parent's slot led to in the node that the parent was written
//! against; for the root it is the root of the account's last commit. Of a value is expected what
//! the event's operation on its path says, or else what it was. Hashes that are not as expected
//! are in [`Stream::Hash`]. Of a node of mode 0 only the children are told.

use std::collections::HashMap;
use std::sync::Arc;

use atproto::Tid;
use atproto::mst::{self, DEPTH_MAX};

use super::path::Collections;
use super::streams::{In, Out, Stream};
use super::write::{self, Digest};

/// A node, taken apart.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    left: Option<Digest>,
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    key: Arc<[u8]>,
    value: Digest,
    right: Option<Digest>,
}

impl Node {
    /// Takes a node apart; `None` for what [`Node::put`] would not make again.
    pub(crate) fn read(block: &[u8]) -> Option<Node> {
        let parsed = mst::Node::parse(block).ok()?;
        let link = |cid: Option<atproto::Cid>| match cid {
            Some(cid) => write::digest(&cid).map(Some),
            None => Some(None),
        };
        let mut node = Node { left: link(parsed.left)?, entries: Vec::new() };
        let mut key = mst::Key::default();
        for (number, entry) in (0..).zip(parsed.entries()) {
            let key = key.next(&entry, number).ok()?.into();
            let (value, right) = (write::digest(&entry.value)?, link(entry.right)?);
            node.entries.push(Entry { key, value, right });
        }
        let mut again = Vec::with_capacity(block.len());
        node.put(&mut again);
        (again == block).then_some(node)
    }

    /// Appends the node's block.
    fn put(&self, out: &mut Vec<u8>) {
        write::map(out, 2);
        write::text(out, "e");
        write::array(out, self.entries.len());
        let mut before: &[u8] = b"";
        for entry in &self.entries {
            let shared = before.iter().zip(&*entry.key).take_while(|(a, b)| a == b).count();
            write::map(out, 4);
            write::text(out, "k");
            write::bytes(out, entry.key.get(shared..).unwrap_or_default());
            write::text(out, "p");
            write::uint(out, shared as u64);
            write::text(out, "t");
            write::link_or_null(out, entry.right.as_ref());
            write::text(out, "v");
            write::link(out, &entry.value);
            before = &entry.key;
        }
        write::text(out, "l");
        write::link_or_null(out, self.left.as_ref());
    }

    fn slots(&self) -> usize {
        self.entries.len() + 1
    }

    fn slot(&self, slot: usize) -> Option<Digest> {
        match slot.checked_sub(1) {
            None => self.left,
            Some(at) => self.entries.get(at)?.right,
        }
    }

    fn slot_mut(&mut self, slot: usize) -> Option<&mut Option<Digest>> {
        match slot.checked_sub(1) {
            None => Some(&mut self.left),
            Some(at) => self.entries.get_mut(at).map(|entry| &mut entry.right),
        }
    }

    /// The key in front of what a slot leads to; `outer` for the first.
    fn key_before<'a>(&'a self, slot: usize, outer: &'a [u8]) -> &'a [u8] {
        let entry = slot.checked_sub(1).and_then(|at| self.entries.get(at));
        entry.map_or(outer, |entry| &entry.key)
    }

    /// The entry of this key, or the slot that leads to it.
    fn find(&self, key: &[u8]) -> Result<usize, usize> {
        self.entries.binary_search_by(|entry| (*entry.key).cmp(key))
    }
}

/// The nodes that are known of an account.
#[derive(Debug, Default)]
pub(crate) struct Nodes {
    list: Vec<Node>,
    by_digest: HashMap<Digest, usize>,
    root: Option<Digest>,
}

impl Nodes {
    pub(crate) fn clear(&mut self) {
        self.list.clear();
        self.by_digest.clear();
        self.root = None;
    }

    pub(crate) fn root(&self) -> Option<Digest> {
        self.root
    }

    /// The tree of the account's last commit has this root and these nodes.
    pub(crate) fn commit(&mut self, root: Digest, tree: &mut Tree) {
        self.root = Some(root);
        for built in tree.built.drain(..) {
            let next = self.list.len();
            let at = *self.by_digest.entry(built.digest).or_insert(next);
            if at == next {
                self.list.push(built.node);
            }
        }
    }

    fn get(&self, digest: Option<&Digest>) -> Option<usize> {
        self.by_digest.get(digest?).copied()
    }

    /// The node that this key has, or had, an entry in, looked for from the last root down.
    fn owner(&self, key: &[u8]) -> Option<usize> {
        let mut next = self.root;
        for _ in 0..DEPTH_MAX {
            let at = self.get(next.as_ref())?;
            let node = self.list.get(at)?;
            match node.find(key) {
                Ok(_) => return Some(at),
                Err(slot) => next = node.slot(slot),
            }
        }
        None
    }

    /// The record under a path in the last tree, as far as it is known.
    pub(crate) fn value(&self, path: &[u8]) -> Option<Digest> {
        let node = self.list.get(self.owner(path)?)?;
        node.entries.get(node.find(path).ok()?).map(|entry| entry.value)
    }
}

/// A node of the event.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) digest: Digest,
    /// Its block, where there is no event that it is in.
    pub(crate) block: Vec<u8>,
    node: Node,
    /// The parent and the slot in it that leads here.
    parent: Option<(usize, usize)>,
}

/// The tree of one event.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    /// From the root down, left before right.
    pub(crate) built: Vec<Built>,
    /// Entries of all of them so far.
    entries: usize,
}

/// What the event says besides its tree.
pub(crate) struct Context<'a> {
    pub(crate) rev: Tid,
    /// Path and record of each operation that leaves one, by path.
    pub(crate) written: &'a [(Vec<u8>, Digest)],
    pub(crate) nodes: &'a Nodes,
}

impl Context<'_> {
    fn written(&self, key: &[u8]) -> Option<Digest> {
        let at = self.written.binary_search_by(|(path, _)| path.as_slice().cmp(key)).ok()?;
        self.written.get(at).map(|(_, value)| *value)
    }
}

/// Where in the tree a node is.
#[derive(Clone, Copy)]
struct Spot<'a> {
    /// The node before.
    before: Option<usize>,
    before_digest: Option<Digest>,
    /// The last key in front of it.
    key: &'a [u8],
    parent: Option<(usize, usize)>,
    depth: usize,
}

/// No entry of a node is shorter: its value alone is a link.
const ENTRY_BYTES_MIN: usize = 41;

const SAME: u64 = 0;
const AGAINST: u64 = 1;
const FRESH: u64 = 2;
const DISTANT: u64 = 3;

/// How a new node lies over an old one: entries kept, left out, new.
#[derive(Debug, PartialEq, Eq)]
struct Run {
    kept: usize,
    gone: usize,
    new: usize,
}

fn runs(old: &Node, new: &Node) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let (mut a, mut b) = (old.entries.iter().peekable(), new.entries.iter().peekable());
    let mut kept = 0;
    loop {
        let (gone, fresh) = match (a.peek(), b.peek()) {
            (None, None) => return runs,
            (Some(x), Some(y)) => match x.key.cmp(&y.key) {
                std::cmp::Ordering::Equal => {
                    a.next();
                    b.next();
                    kept += 1;
                    continue;
                }
                std::cmp::Ordering::Less => (1, 0),
                std::cmp::Ordering::Greater => (0, 1),
            },
            (Some(_), None) => (1, 0),
            (None, Some(_)) => (0, 1),
        };
        if gone == 1 {
            a.next();
        } else {
            b.next();
        }
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
fn put_step(out: &mut Out, next: &mut usize, at: usize, times: u64, plus: u64) {
    out.varint(Stream::Edit, (at - *next) as u64 * times + plus);
    *next = at + 1;
}

impl Tree {
    /// Appends the tree under `root`, of which `block` knows the nodes that are there.
    pub(crate) fn put(
        &mut self,
        out: &mut Out,
        collections: &mut Collections,
        context: &Context<'_>,
        root: &Digest,
        node: &impl Fn(&Digest) -> Option<Node>,
    ) -> Option<()> {
        let before_digest = context.nodes.root;
        let before = context.nodes.get(before_digest.as_ref());
        let spot = Spot { before, before_digest, key: b"", parent: None, depth: 0 };
        self.put_node(out, collections, context, (root, node(root)?), &spot, node)
    }

    fn put_node(
        &mut self,
        out: &mut Out,
        collections: &mut Collections,
        context: &Context<'_>,
        (digest, new): (&Digest, Node),
        spot: &Spot<'_>,
        node: &impl Fn(&Digest) -> Option<Node>,
    ) -> Option<()> {
        if spot.depth >= DEPTH_MAX {
            return None;
        }
        let here = self.built.len();
        let built = |node| Built { digest: *digest, block: Vec::new(), node, parent: spot.parent };
        let none = Node::default();
        let same = spot.before_digest == Some(*digest) && spot.before.is_some();
        let against = if same { spot.before } else { choose(context.nodes, spot.before, &new) };
        let old = match against {
            Some(at) => context.nodes.list.get(at)?,
            None => &none,
        };
        match against {
            _ if same => out.varint(Stream::Edit, SAME),
            Some(at) if Some(at) == spot.before => out.varint(Stream::Edit, AGAINST),
            Some(at) => {
                out.varint(Stream::Edit, DISTANT);
                out.varint(Stream::Edit, (context.nodes.list.len() - at) as u64);
            }
            None => out.varint(Stream::Edit, FRESH),
        }
        let runs = runs(old, &new);
        let expected = Expected::of(context, old, &new, &runs, against.is_some());
        if !same {
            put_entries(out, collections, context, (&new, spot.key), &runs)?;
            expected.put_values(out, &new);
        }
        // A node is written where it is first met.
        let mut children = Vec::new();
        for slot in 0..new.slots() {
            let Some(link) = new.slot(slot) else { continue };
            let met = self.built.iter().any(|built| built.digest == link)
                || children.iter().any(|(_, met, _)| *met == link);
            if let Some(child) = (!met).then(|| node(&link)).flatten() {
                children.push((slot, link, child));
            }
        }
        out.varint(Stream::Edit, children.len() as u64);
        let mut next = 0;
        for (slot, _, _) in &children {
            put_step(out, &mut next, *slot, 1, 0);
        }
        if !same {
            let is_child = |slot| children.iter().any(|(child, _, _)| *child == slot);
            expected.put_links(out, &new, is_child);
        }
        self.built.push(built(new.clone()));
        for (slot, link, child) in children {
            let before_digest = expected.links.get(slot).copied().flatten();
            let below = Spot {
                before: context.nodes.get(before_digest.as_ref()),
                before_digest,
                key: new.key_before(slot, spot.key),
                parent: Some((here, slot)),
                depth: spot.depth + 1,
            };
            self.put_node(out, collections, context, (&link, child), &below, node)?;
        }
        Some(())
    }

    /// Reads a tree back; the root's digest.
    pub(crate) fn take(
        &mut self,
        input: &mut In<'_>,
        collections: &mut Collections,
        context: &Context<'_>,
        limit: usize,
    ) -> Option<Digest> {
        let before_digest = context.nodes.root;
        let before = context.nodes.get(before_digest.as_ref());
        let spot = Spot { before, before_digest, key: b"", parent: None, depth: 0 };
        self.take_node(input, collections, context, &spot, limit)?;
        // What is below is behind, so that every link is known when its node is written.
        for at in (0..self.built.len()).rev() {
            let built = self.built.get_mut(at)?;
            let (mut block, parent) = (Vec::new(), built.parent);
            built.node.put(&mut block);
            built.digest = write::hash(&block);
            built.block = block;
            let digest = built.digest;
            if let Some((parent, slot)) = parent {
                *self.built.get_mut(parent)?.node.slot_mut(slot)? = Some(digest);
            }
        }
        self.built.first().map(|built| built.digest)
    }

    fn take_node(
        &mut self,
        input: &mut In<'_>,
        collections: &mut Collections,
        context: &Context<'_>,
        spot: &Spot<'_>,
        limit: usize,
    ) -> Option<()> {
        let here = self.built.len();
        if spot.depth >= DEPTH_MAX || here > limit / 8 {
            return None;
        }
        let mode = input.varint(Stream::Edit)?;
        let none = Node::default();
        let old = match mode {
            SAME | AGAINST => context.nodes.list.get(spot.before?)?,
            FRESH => &none,
            DISTANT => {
                let distance = usize::try_from(input.varint(Stream::Edit)?).ok()?;
                context.nodes.list.get(context.nodes.list.len().checked_sub(distance)?)?
            }
            _ => return None,
        };
        let built = |node| Built { digest: [0; 32], block: Vec::new(), node, parent: spot.parent };
        let (mut new, runs) = if mode == SAME {
            (old.clone(), Vec::new())
        } else {
            take_entries(input, collections, context, (old, spot.key), limit)?
        };
        // More entries than the event has room for are none.
        self.entries += new.entries.len();
        if self.entries > limit / ENTRY_BYTES_MIN {
            return None;
        }
        let expected = Expected::of(context, old, &new, &runs, mode != FRESH);
        if mode != SAME {
            expected.take_values(input, &mut new)?;
        }
        let mut children = vec![];
        let mut next = 0usize;
        for _ in 0..input.count(Stream::Edit, new.slots())? {
            let slot = next.checked_add(input.count(Stream::Edit, new.slots())?)?;
            if slot >= new.slots() {
                return None;
            }
            children.push(slot);
            next = slot + 1;
        }
        if mode != SAME {
            expected.take_links(input, &mut new, |slot| children.binary_search(&slot).is_ok())?;
        }
        let key_before = |slot: &usize| new.key_before(*slot, spot.key).to_vec();
        let keys: Vec<Vec<u8>> = children.iter().map(key_before).collect();
        self.built.push(built(new));
        for (slot, key) in children.into_iter().zip(keys) {
            let before_digest = expected.links.get(slot).copied().flatten();
            let below = Spot {
                before: context.nodes.get(before_digest.as_ref()),
                before_digest,
                key: &key,
                parent: Some((here, slot)),
                depth: spot.depth + 1,
            };
            self.take_node(input, collections, context, &below, limit)?;
        }
        Some(())
    }
}

/// Which of the account's nodes a new one is best written against.
fn choose(nodes: &Nodes, before: Option<usize>, new: &Node) -> Option<usize> {
    let alike = |at: &usize| {
        let old = nodes.list.get(*at);
        old.is_some_and(|old| {
            let none = old.entries.is_empty() && new.entries.is_empty();
            none || new.entries.iter().any(|entry| old.find(&entry.key).is_ok())
        })
    };
    let owner = |entry: Option<&Entry>| nodes.owner(&entry?.key).filter(alike);
    before
        .filter(alike)
        .or_else(|| owner(new.entries.first()))
        .or_else(|| owner(new.entries.last()))
}

/// A key is a path of the event's operations, or a path.
fn put_key(
    out: &mut Out,
    collections: &mut Collections,
    context: &Context<'_>,
    near: (&[u8], Tid),
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

fn take_key(
    input: &mut In<'_>,
    collections: &mut Collections,
    context: &Context<'_>,
    near: (&[u8], Tid),
) -> Option<Vec<u8>> {
    if input.peek(Stream::Key)? != OPERATION {
        return collections.take_path(input, Stream::Key, near);
    }
    input.byte(Stream::Key)?;
    let at = usize::try_from(input.varint(Stream::Key)?).ok()?;
    context.written.get(at).map(|(path, _)| path.clone())
}

/// How the entries of a node lie over those of another, and the new keys.
fn put_entries(
    out: &mut Out,
    collections: &mut Collections,
    context: &Context<'_>,
    (new, key): (&Node, &[u8]),
    runs: &[Run],
) -> Option<()> {
    out.varint(Stream::Edit, runs.len() as u64);
    let mut next = 0;
    for run in runs {
        out.varint(Stream::Edit, run.kept as u64);
        out.varint(Stream::Edit, run.gone as u64);
        out.varint(Stream::Edit, run.new as u64);
        next += run.kept;
        for at in next..next + run.new {
            let near = (new.key_before(at, key), context.rev);
            put_key(out, collections, context, near, &new.entries.get(at)?.key);
        }
        next += run.new;
    }
    Some(())
}

/// The entries of a node, with keys alone where they are new.
fn take_entries(
    input: &mut In<'_>,
    collections: &mut Collections,
    context: &Context<'_>,
    (old, key): (&Node, &[u8]),
    limit: usize,
) -> Option<(Node, Vec<Run>)> {
    let mut new = Node { left: None, entries: Vec::with_capacity(old.entries.len() + 1) };
    let mut rest = old.entries.iter();
    let mut runs = Vec::new();
    for _ in 0..input.varint(Stream::Edit)? {
        let run = Run { kept: input.count(Stream::Edit, rest.len())?, gone: 0, new: 0 };
        new.entries.extend(rest.by_ref().take(run.kept).cloned());
        let gone = input.count(Stream::Edit, rest.len())?;
        if gone > 0 {
            rest.nth(gone - 1);
        }
        let fresh = input.count(Stream::Edit, limit)?;
        for _ in 0..fresh {
            let near = (new.key_before(new.entries.len(), key), context.rev);
            let key: Vec<u8> = take_key(input, collections, context, near)?;
            new.entries.push(Entry { key: key.into(), value: [0; 32], right: None });
            if new.entries.len() > limit / ENTRY_BYTES_MIN {
                return None;
            }
        }
        runs.push(Run { gone, new: fresh, ..run });
    }
    new.entries.extend(rest.cloned());
    Some((new, runs))
}

/// What is expected of a node that lies over another.
struct Expected {
    values: Vec<Option<Digest>>,
    /// By slot.
    links: Vec<Option<Digest>>,
    /// By slot: whether the link was there before.
    kept: Vec<bool>,
}

impl Expected {
    fn of(context: &Context<'_>, old: &Node, new: &Node, runs: &[Run], has_left: bool) -> Expected {
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
        for (value, entry) in expected.values.iter_mut().zip(&new.entries) {
            *value = context.written(&entry.key).or(*value);
        }
        expected
    }

    fn keep(&mut self, entry: &Entry) {
        self.values.push(Some(entry.value));
        self.links.push(entry.right);
        self.kept.push(true);
    }

    fn put_values(&self, out: &mut Out, new: &Node) {
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

    fn take_values(&self, input: &mut In<'_>, new: &mut Node) -> Option<()> {
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

    fn put_links(&self, out: &mut Out, new: &Node, is_child: impl Fn(usize) -> bool) {
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

    fn take_links(
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
