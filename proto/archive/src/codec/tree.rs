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

mod entries;
mod expected;
mod known;
mod node;

use std::ops::Range;

use atproto::Tid;
use atproto::mst::{self, DEPTH_MAX};

use super::path::Collections;
use super::streams::{In, Out, Stream};
use super::write::{self, Digest};

use self::entries::{ENTRY_BYTES_MIN, Fresh, put_entries, put_step, runs, take_entries};
use self::expected::{Expected, take_links, take_values};
pub(crate) use self::known::{Base, Nodes};
use self::node::View;
pub(crate) use self::node::{Grove, Node};

/// A node of the event.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) digest: Digest,
    /// Its block in [`Tree::blocks`].
    block: Range<usize>,
    node: At,
    /// The parent and the slot in it that leads here.
    parent: Option<(usize, usize)>,
}

/// Where a node is.
#[derive(Debug, Clone, Copy)]
enum At {
    /// It is the node before, one of [`Nodes`], and its digest is known.
    Old(usize),
    /// In [`Tree::grove`].
    New(usize),
}

/// The tree of one event.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    /// From the root down, left before right.
    pub(crate) built: Vec<Built>,
    /// Those of them that are not the node before.
    grove: Grove,
    /// Their blocks.
    blocks: Vec<u8>,
    /// Entries of all of them so far.
    entries: usize,
    fresh: Fresh,
    told: Vec<bool>,
    layers: Layers,
    /// The last key in front of a node.
    outer: Vec<u8>,
    /// Where a node that is known is taken apart.
    room: Grove,
    /// The numbers that the nodes have among those that are known.
    numbers: Vec<usize>,
}

/// The layer of a key that was asked for last: the first of the root is the same for long.
#[derive(Debug, Default)]
struct Layers {
    key: Vec<u8>,
    layer: u32,
}

impl Layers {
    fn of(&mut self, key: &[u8]) -> u32 {
        if self.key != key {
            self.key.clear();
            self.key.extend_from_slice(key);
            self.layer = mst::layer(key);
        }
        self.layer
    }
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
struct Spot {
    /// The node before.
    before: Option<usize>,
    before_digest: Option<Digest>,
    /// The last key in front of it: a node and an entry.
    key: Option<(At, usize)>,
    parent: Option<(usize, usize)>,
    /// The layer of its keys, if that is known.
    layer: Option<u32>,
    depth: usize,
}

impl Spot {
    /// The root.
    fn top(context: &Context<'_>) -> Spot {
        let before_digest = context.nodes.root();
        let before = context.nodes.get(before_digest.as_ref());
        Spot { before, before_digest, key: None, parent: None, layer: None, depth: 0 }
    }

    /// The layer of a node here that is written against another.
    fn layer(&self, layers: &mut Layers, old: &View<'_>) -> Option<u32> {
        self.layer.or_else(|| old.first_key().map(|key| layers.of(key)))
    }

    /// What is behind a slot of a node that is here.
    fn below(
        &self,
        context: &Context<'_>,
        before_digest: Option<Digest>,
        node: At,
        (parent, layer): ((usize, usize), Option<u32>),
    ) -> Spot {
        let before = context.nodes.get(before_digest.as_ref());
        let key = parent.1.checked_sub(1).map(|entry| (node, entry)).or(self.key);
        let layer = layer.and_then(|layer| layer.checked_sub(1));
        Spot { before, before_digest, key, parent: Some(parent), layer, depth: self.depth + 1 }
    }
}

/// A slot whose node is in the event, and the link that was there before.
type Child = (usize, Option<Digest>);

const SAME: u64 = 0;
const AGAINST: u64 = 1;
const FRESH: u64 = 2;
const DISTANT: u64 = 3;

impl Tree {
    /// Begins with another event.
    pub(crate) fn clear(&mut self) {
        self.built.clear();
        self.grove.clear();
        self.blocks.clear();
        self.entries = 0;
    }

    /// The nodes that were read back, with their blocks.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = (&Digest, &[u8])> {
        let block = |built: &Built| self.blocks.get(built.block.clone()).unwrap_or_default();
        self.built.iter().map(move |built| (&built.digest, block(built)))
    }

    /// Room to take a node apart in.
    pub(crate) fn room(&mut self) -> &mut Grove {
        &mut self.room
    }

    /// Has the last key in front of a spot in [`Tree::outer`].
    fn find_outer(&mut self, context: &Context<'_>, spot: &Spot) {
        self.outer.clear();
        let node = match spot.key {
            Some((At::Old(number), entry)) => {
                context.nodes.open(number, &mut self.room).map(|node| (node, entry))
            }
            Some((At::New(at), entry)) => self.grove.view(at).map(|node| (node, entry)),
            None => None,
        };
        if let Some((node, entry)) = node {
            self.outer.extend_from_slice(node.key(entry));
        }
    }

    /// Appends the tree under `root`, which is the node `top`; `node` knows those that are there.
    pub(crate) fn put<'b>(
        &mut self,
        out: &mut Out,
        collections: &mut Collections,
        context: &Context<'_>,
        (root, top): (&Digest, Node<'b>),
        node: &impl Fn(&Digest) -> Option<Node<'b>>,
    ) -> Option<()> {
        let spot = Spot::top(context);
        self.put_node(out, collections, context, (root, top), &spot, node)
    }

    fn put_node<'b>(
        &mut self,
        out: &mut Out,
        collections: &mut Collections,
        context: &Context<'_>,
        (digest, node_here): (&Digest, Node<'b>),
        spot: &Spot,
        node: &impl Fn(&Digest) -> Option<Node<'b>>,
    ) -> Option<()> {
        if spot.depth >= DEPTH_MAX {
            return None;
        }
        let here = self.built.len();
        let new = node_here.view();
        let same = spot.before.filter(|_| spot.before_digest == Some(*digest));
        if same.is_none() {
            self.find_outer(context, spot);
        }
        let mut room = std::mem::take(&mut self.room);
        let against = match same {
            Some(number) => {
                context.nodes.open(number, &mut room)?;
                same
            }
            None => choose(context.nodes, spot.before, &new, &mut room),
        };
        let old = match against {
            Some(number) => context.nodes.opened(number, &room)?,
            None => View::EMPTY,
        };
        match against {
            _ if same.is_some() => out.varint(Stream::Edit, SAME),
            Some(at) if Some(at) == spot.before => out.varint(Stream::Edit, AGAINST),
            Some(at) => {
                out.varint(Stream::Edit, DISTANT);
                out.varint(Stream::Edit, (context.nodes.len() - at) as u64);
            }
            None => out.varint(Stream::Edit, FRESH),
        }
        let runs = runs(&old, &new);
        let mut layer = spot.layer(&mut self.layers, &old);
        let expected =
            same.is_none().then(|| Expected::of(context, &old, &new, &runs, against.is_some()));
        if let Some(expected) = &expected {
            put_entries(out, collections, context, (&new, &self.outer), &runs, &mut layer)?;
            expected.put_values(out, &new);
        }
        // A node is written where it is first met.
        let mut children = Vec::new();
        for slot in 0..new.slots() {
            let Some(link) = new.slot(slot) else { continue };
            let Some(child) = node(&link) else { continue };
            let met = self.built.iter().any(|built| built.digest == link)
                || children.iter().any(|(_, met, _)| *met == link);
            if !met {
                children.push((slot, link, child));
            }
        }
        out.varint(Stream::Edit, children.len() as u64);
        let mut next = 0;
        for (slot, _, _) in &children {
            put_step(out, &mut next, *slot, 1, 0);
        }
        if let Some(expected) = &expected {
            let is_child = |slot| children.iter().any(|(child, _, _)| *child == slot);
            expected.put_links(out, &new, is_child);
        }
        self.room = room;
        let at = match same {
            Some(at) => At::Old(at),
            None => At::New(self.grove.add(&new)),
        };
        let start = self.blocks.len();
        self.blocks.extend_from_slice(node_here.block);
        let (block, parent) = (start..self.blocks.len(), spot.parent);
        self.built.push(Built { digest: *digest, block, node: at, parent });
        for (slot, link, child) in children {
            let before_digest = match &expected {
                Some(expected) => expected.links.get(slot).copied().flatten(),
                None => new.slot(slot),
            };
            let below = spot.below(context, before_digest, at, ((here, slot), layer));
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
        self.take_node(input, collections, context, &Spot::top(context), limit)?;
        // What is below is behind, so that every link is known when its node is written.
        for at in (0..self.built.len()).rev() {
            let built = self.built.get_mut(at)?;
            let start = self.blocks.len();
            match built.node {
                At::Old(node) => self.blocks.extend_from_slice(context.nodes.block(node)?),
                At::New(node) => {
                    self.grove.view(node)?.put(&mut self.blocks);
                    built.digest = write::hash(self.blocks.get(start..)?);
                }
            }
            built.block = start..self.blocks.len();
            let digest = built.digest;
            if let Some((parent, slot)) = built.parent {
                match self.built.get(parent)?.node {
                    At::New(node) => *self.grove.slot_mut(node, slot)? = Some(digest),
                    // What is below the same node is the same, too.
                    At::Old(node) => {
                        let node = context.nodes.open(node, &mut self.room)?;
                        (node.slot(slot) == Some(digest)).then_some(())?;
                    }
                }
            }
        }
        self.built.first().map(|built| built.digest)
    }

    fn take_node(
        &mut self,
        input: &mut In<'_>,
        collections: &mut Collections,
        context: &Context<'_>,
        spot: &Spot,
        limit: usize,
    ) -> Option<()> {
        let here = self.built.len();
        if spot.depth >= DEPTH_MAX || here > limit / 8 {
            return None;
        }
        let mode = input.varint(Stream::Edit)?;
        if mode == SAME {
            return self.take_same(input, collections, context, spot, limit);
        }
        self.find_outer(context, spot);
        let mut room = std::mem::take(&mut self.room);
        let old = match mode {
            AGAINST => context.nodes.open(spot.before?, &mut room)?,
            FRESH => View::EMPTY,
            DISTANT => {
                let distance = usize::try_from(input.varint(Stream::Edit)?).ok()?;
                context.nodes.open(context.nodes.len().checked_sub(distance)?, &mut room)?
            }
            _ => return None,
        };
        let has_left = mode != FRESH;
        let mut layer = spot.layer(&mut self.layers, &old);
        let new = self.grove.begin();
        let (old_and_outer, fresh) = ((&old, &self.outer[..]), (&mut self.fresh, &mut layer));
        let grove = (&mut self.grove, fresh);
        take_entries(input, collections, context, old_and_outer, limit, grove)?;
        *self.grove.slot_mut(new, 0)? = old.left.filter(|_| has_left);
        let slots = self.grove.view(new)?.slots();
        self.count_entries(slots - 1, limit)?;
        let fresh = &self.fresh.entries[..];
        take_values(input, context, (&mut self.grove, new), fresh, &mut self.told)?;
        let mut children = take_children(input, slots)?;
        let told = &mut self.told;
        take_links(input, (&mut self.grove, new), (fresh, has_left), &mut children, told)?;
        self.room = room;
        let (node, parent) = (At::New(new), spot.parent);
        self.built.push(Built { digest: [0; 32], block: 0..0, node, parent });
        for (slot, before_digest) in children {
            let below = spot.below(context, before_digest, node, ((here, slot), layer));
            self.take_node(input, collections, context, &below, limit)?;
        }
        Some(())
    }

    /// The same node as before, and what is behind its slots.
    fn take_same(
        &mut self,
        input: &mut In<'_>,
        collections: &mut Collections,
        context: &Context<'_>,
        spot: &Spot,
        limit: usize,
    ) -> Option<()> {
        let here = self.built.len();
        let at = spot.before?;
        let mut room = std::mem::take(&mut self.room);
        let old = context.nodes.open(at, &mut room)?;
        self.count_entries(old.entries.len(), limit)?;
        let mut children = take_children(input, old.slots())?;
        for (slot, before) in &mut children {
            *before = old.slot(*slot);
        }
        let layer = spot.layer(&mut self.layers, &old);
        self.room = room;
        let (digest, node, parent) = (spot.before_digest?, At::Old(at), spot.parent);
        self.built.push(Built { digest, block: 0..0, node, parent });
        for (slot, before) in children {
            let below = spot.below(context, before, node, ((here, slot), layer));
            self.take_node(input, collections, context, &below, limit)?;
        }
        Some(())
    }

    /// More entries than the event has room for are none.
    fn count_entries(&mut self, entries: usize, limit: usize) -> Option<()> {
        self.entries += entries;
        (self.entries <= limit / ENTRY_BYTES_MIN).then_some(())
    }
}

/// The slots whose node is in the event.
fn take_children(input: &mut In<'_>, slots: usize) -> Option<Vec<Child>> {
    let mut children = Vec::new();
    let mut next = 0usize;
    for _ in 0..input.count(Stream::Edit, slots)? {
        let slot = next.checked_add(input.count(Stream::Edit, slots)?)?;
        if slot >= slots {
            return None;
        }
        children.push((slot, None));
        next = slot + 1;
    }
    Some(children)
}

/// Which of the account's nodes a new one is best written against; it is opened in `room` then.
fn choose(nodes: &Nodes, before: Option<usize>, new: &View<'_>, room: &mut Grove) -> Option<usize> {
    let is_alike = |old: View<'_>| {
        let none = old.entries.is_empty() && new.entries.is_empty();
        none || (0..new.entries.len()).any(|at| old.find(new.key(at)).is_ok())
    };
    if let Some(before) = before
        && nodes.open(before, room).is_some_and(is_alike)
    {
        return Some(before);
    }
    let last = new.entries.len().checked_sub(1)?;
    [0, last].into_iter().find_map(|at| {
        let owner = nodes.owner(new.key(at), room)?;
        nodes.opened(owner, room).is_some_and(is_alike).then_some(owner)
    })
}
