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
mod node;

use std::ops::Range;
use std::sync::Arc;

use atproto::Tid;
use atproto::mst::{self, DEPTH_MAX};

use super::path::Collections;
use super::streams::{In, Out, Stream};
use super::write::{self, Digest};

use self::entries::{ENTRY_BYTES_MIN, Fresh, put_entries, put_step, runs, take_entries};
use self::expected::{Expected, take_links, take_values};
pub(crate) use self::node::{Base, Node, Nodes};

/// A node of the event.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) digest: Digest,
    /// Its block in [`Tree::blocks`], where there is no event that it is in.
    block: Range<usize>,
    node: Arc<Node>,
    /// It is the node before, and its digest is known.
    same: bool,
    /// The parent and the slot in it that leads here.
    parent: Option<(usize, usize)>,
}

/// The tree of one event.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    /// From the root down, left before right.
    pub(crate) built: Vec<Built>,
    /// Their blocks, where they are read back.
    blocks: Vec<u8>,
    /// Entries of all of them so far.
    entries: usize,
    fresh: Fresh,
    told: Vec<bool>,
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
    /// The layer of its keys, if that is known.
    layer: Option<u32>,
    depth: usize,
}

impl Spot<'_> {
    /// The root.
    fn top(before: Option<usize>, before_digest: Option<Digest>) -> Spot<'static> {
        Spot { before, before_digest, key: b"", parent: None, layer: None, depth: 0 }
    }

    /// The layer of a node here that is written against another.
    fn layer(&self, old: &Node) -> Option<u32> {
        self.layer.or_else(|| old.first_key().map(mst::layer))
    }

    /// What is behind a slot.
    fn below<'k>(
        &self,
        context: &Context<'_>,
        before_digest: Option<Digest>,
        key: &'k [u8],
        (parent, layer): ((usize, usize), Option<u32>),
    ) -> Spot<'k> {
        let before = context.nodes.get(before_digest.as_ref());
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
        self.blocks.clear();
        self.entries = 0;
    }

    /// The nodes that were read back, with their blocks.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = (&Digest, &[u8])> {
        let block = |built: &Built| self.blocks.get(built.block.clone()).unwrap_or_default();
        self.built.iter().map(move |built| (&built.digest, block(built)))
    }

    /// Appends the tree under `root`, which is the node `top`; `node` knows those that are there.
    pub(crate) fn put(
        &mut self,
        out: &mut Out,
        collections: &mut Collections,
        context: &Context<'_>,
        (root, top): (&Digest, Node),
        node: &impl Fn(&Digest) -> Option<Node>,
    ) -> Option<()> {
        let before_digest = context.nodes.root;
        let before = context.nodes.get(before_digest.as_ref());
        let spot = Spot::top(before, before_digest);
        self.put_node(out, collections, context, (root, top), &spot, node)
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
        let none = Node::default();
        let same = spot.before_digest == Some(*digest) && spot.before.is_some();
        let against = if same { spot.before } else { choose(context.nodes, spot.before, &new) };
        let old = match against {
            Some(at) => &**context.nodes.list.get(at)?,
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
        let mut layer = spot.layer(old);
        let expected = (!same).then(|| Expected::of(context, old, &new, &runs, against.is_some()));
        if let Some(expected) = &expected {
            put_entries(out, collections, context, (&new, spot.key), &runs, &mut layer)?;
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
        let new = Arc::new(new);
        let built =
            Built { digest: *digest, block: 0..0, node: new.clone(), same, parent: spot.parent };
        self.built.push(built);
        for (slot, link, child) in children {
            let before_digest = match &expected {
                Some(expected) => expected.links.get(slot).copied().flatten(),
                None => new.slot(slot),
            };
            let key = new.key_before(slot, spot.key);
            let below = spot.below(context, before_digest, key, ((here, slot), layer));
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
        let spot = Spot::top(before, before_digest);
        self.take_node(input, collections, context, &spot, limit)?;
        // What is below is behind, so that every link is known when its node is written.
        for at in (0..self.built.len()).rev() {
            let built = self.built.get_mut(at)?;
            let start = self.blocks.len();
            built.node.put(&mut self.blocks);
            built.block = start..self.blocks.len();
            if !built.same {
                built.digest = write::hash(self.blocks.get(start..)?);
            }
            let digest = built.digest;
            if let Some((parent, slot)) = built.parent {
                let parent = self.built.get_mut(parent)?;
                if !parent.same {
                    *Arc::get_mut(&mut parent.node)?.slot_mut(slot)? = Some(digest);
                } else if parent.node.slot(slot) != Some(digest) {
                    // What is below the same node is the same, too.
                    return None;
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
        spot: &Spot<'_>,
        limit: usize,
    ) -> Option<()> {
        let here = self.built.len();
        if spot.depth >= DEPTH_MAX || here > limit / 8 {
            return None;
        }
        let mode = input.varint(Stream::Edit)?;
        let none = Arc::new(Node::default());
        let old = match mode {
            SAME | AGAINST => context.nodes.list.get(spot.before?)?,
            FRESH => &none,
            DISTANT => {
                let distance = usize::try_from(input.varint(Stream::Edit)?).ok()?;
                context.nodes.list.get(context.nodes.list.len().checked_sub(distance)?)?
            }
            _ => return None,
        };
        if mode == SAME {
            return self.take_same(input, collections, context, (spot, old), limit);
        }
        let mut layer = spot.layer(old);
        let fresh = (&mut self.fresh, &mut layer);
        let mut new = take_entries(input, collections, context, (old, spot.key), limit, fresh)?;
        let has_left = mode != FRESH;
        new.left = old.left.filter(|_| has_left);
        self.count_entries(&new, limit)?;
        take_values(input, context, &mut new, &self.fresh.entries, &mut self.told)?;
        let mut children = take_children(input, &new)?;
        let fresh = (&self.fresh.entries[..], has_left);
        take_links(input, &mut new, fresh, &mut children, &mut self.told)?;
        let node = Arc::new(new);
        let parent = spot.parent;
        // Given back before anybody writes into the node.
        let keys = node.clone();
        self.built.push(Built { digest: [0; 32], block: 0..0, node, same: false, parent });
        for (slot, before_digest) in children {
            let key = keys.key_before(slot, spot.key);
            let below = spot.below(context, before_digest, key, ((here, slot), layer));
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
        (spot, old): (&Spot<'_>, &Arc<Node>),
        limit: usize,
    ) -> Option<()> {
        let here = self.built.len();
        self.count_entries(old, limit)?;
        let children = take_children(input, old)?;
        let layer = spot.layer(old);
        let (digest, node, parent) = (spot.before_digest?, old.clone(), spot.parent);
        self.built.push(Built { digest, block: 0..0, node, same: true, parent });
        for (slot, _) in children {
            let key = old.key_before(slot, spot.key);
            let below = spot.below(context, old.slot(slot), key, ((here, slot), layer));
            self.take_node(input, collections, context, &below, limit)?;
        }
        Some(())
    }

    /// More entries than the event has room for are none.
    fn count_entries(&mut self, node: &Node, limit: usize) -> Option<()> {
        self.entries += node.entries.len();
        (self.entries <= limit / ENTRY_BYTES_MIN).then_some(())
    }
}

/// The slots whose node is in the event.
fn take_children(input: &mut In<'_>, node: &Node) -> Option<Vec<Child>> {
    let mut children = Vec::new();
    let mut next = 0usize;
    for _ in 0..input.count(Stream::Edit, node.slots())? {
        let slot = next.checked_add(input.count(Stream::Edit, node.slots())?)?;
        if slot >= node.slots() {
            return None;
        }
        children.push((slot, None));
        next = slot + 1;
    }
    Some(children)
}

/// Which of the account's nodes a new one is best written against.
fn choose(nodes: &Nodes, before: Option<usize>, new: &Node) -> Option<usize> {
    let alike = |at: &usize| {
        let old = nodes.list.get(*at);
        old.is_some_and(|old| {
            let none = old.entries.is_empty() && new.entries.is_empty();
            none || (0..new.entries.len()).any(|at| old.find(new.key(at)).is_ok())
        })
    };
    let owner = |at: Option<usize>| nodes.owner(new.key(at?)).filter(alike);
    let last = new.entries.len().checked_sub(1);
    before.filter(alike).or_else(|| owner(last.map(|_| 0))).or_else(|| owner(last))
}
