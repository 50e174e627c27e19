//! Undoing a commit's operations on the part of its tree that the event carries.
//!
//! An event says what it changed (`ops`) and from where (`prevData`). The proof
//! that it says all of it (Sync 1.1, proposal 0006, "operation inversion"): take
//! the operations back, one by one, and the root of the tree has to come out as
//! `prevData`. A node that is not among the blocks is known by its CID alone; what
//! needs a look into one ends in [`Error::MissingBlock`].
//!
//! The tree is opened node by node, changed in memory, and only what changed is
//! written and hashed anew. What is looked into has to have a tree's form: the
//! operations' keys in the layers of their hashes, the keys of a subtree in its
//! gap, those of a node in their order. Layers of other keys are not checked: nodes
//! that are not touched keep their hash, so a tree of another form comes out as what
//! it was or not at all.

mod insert;
mod remove;

use std::collections::HashMap;

use super::build::{put_entry, put_link};
use super::{DEPTH_MAX, Error, Key, Node, Source, layer};
use crate::cbor::write;
use crate::cid::Cid;
use crate::event::{self, Action, Event, Op, Ops};
use crate::limits::OPS_MAX;
use crate::{car, commit};

/// Bytes of keys that are kept from one event to the next.
const KEYS_KEPT: usize = 1 << 20;

/// As many operations as most commits have at most.
const OPS_FEW: usize = 4;

/// Why operations cannot be taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// A node that is missing, or that is none.
    #[error(transparent)]
    Tree(#[from] Error),
    /// The tree says something else of the operation's path than the operation.
    #[error("the tree does not have what operation {0} says")]
    Op(usize),
    /// The operation does not say what was there before.
    #[error("operation {0} does not name the record before it")]
    NoPrev(usize),
    /// More than [`OPS_MAX`].
    #[error("more than {OPS_MAX} operations")]
    Ops,
}

/// A subtree: known by its name, or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Closed(Cid),
    Open(u32),
}

/// A key's place in [`Undo::keys`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    from: u32,
    bytes: u32,
}

/// What stands in a node, from left to right. No two subtrees stand side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Item {
    Leaf(Span, Cid),
    Tree(Link),
}

#[derive(Debug, Default)]
struct Opened {
    layer: u32,
    /// The node's name, as long as it is what it was.
    cid: Option<Cid>,
    items: Vec<Item>,
}

/// Where a key belongs in a node.
enum Place {
    /// It is there.
    At(usize),
    /// Before this item; a subtree in its gap is the item before that.
    Before(usize),
}

/// Takes operations back, event after event, in memory that is kept.
#[derive(Debug, Default)]
pub struct Undo {
    nodes: Vec<Opened>,
    used: usize,
    keys: Vec<u8>,
    /// A key on its way into `keys`.
    key: Key,
    out: Vec<u8>,
    /// The way down to a node: nodes, and the item taken in each.
    way: Vec<(u32, usize)>,
}

impl Undo {
    /// With no memory yet.
    pub fn new() -> Undo {
        Undo::default()
    }

    /// The root that the tree under `root` had before `ops`: deletes are undone
    /// first, then the others by path. The paths have to differ.
    ///
    /// # Errors
    /// [`Fault`], with the number of the operation among `ops`.
    pub fn undo(&mut self, root: &Cid, ops: Ops<'_>, blocks: &impl Source) -> Result<Cid, Fault> {
        // Most commits have one operation; room for all that there may be costs to clear.
        if ops.len() <= OPS_FEW {
            self.undo_in(&mut [None; OPS_FEW], root, ops, blocks)
        } else {
            self.undo_in(&mut [None; OPS_MAX], root, ops, blocks)
        }
    }

    fn undo_in<'o>(
        &mut self,
        room: &mut [Option<(usize, Op<'o>)>],
        root: &Cid,
        ops: Ops<'o>,
        blocks: &impl Source,
    ) -> Result<Cid, Fault> {
        let sorted = room.get_mut(..ops.len()).ok_or(Fault::Ops)?;
        for (place, op) in sorted.iter_mut().zip(ops.enumerate()) {
            *place = Some(op);
        }
        sorted.sort_unstable_by_key(|op| op.map(|(_, op)| (op.action != Action::Delete, op.path)));
        self.start();
        let mut top = self.open_root(root, blocks)?;
        for (number, op) in sorted.iter().flatten() {
            let path = op.path.as_bytes();
            let prev = || op.prev.ok_or(Fault::NoPrev(*number));
            let held = match op.action {
                Action::Create => self.remove(&mut top, path, op.cid, blocks)?,
                Action::Delete => self.insert(&mut top, path, prev()?, blocks)?,
                Action::Update => self.replace(top, path, op.cid, prev()?, blocks)?,
                Action::Unknown => false,
            };
            if !held {
                return Err(Fault::Op(*number));
            }
        }
        Ok(self.name(Link::Open(top))?)
    }

    fn start(&mut self) {
        self.used = 0;
        self.keys.clear();
        self.keys.shrink_to(KEYS_KEPT);
    }

    /// A node of that layer with nothing in it.
    fn fresh(&mut self, layer: u32) -> u32 {
        match self.nodes.get_mut(self.used) {
            Some(node) => {
                node.items.clear();
                (node.layer, node.cid) = (layer, None);
            }
            None => self.nodes.push(Opened { layer, ..Opened::default() }),
        }
        self.used += 1;
        // Blocks and operations are bounded far below that.
        (self.used - 1) as u32
    }

    fn node(&self, at: u32) -> &[Item] {
        self.nodes.get(at as usize).map(|node| &node.items[..]).unwrap_or_default()
    }

    fn layer_of(&self, at: u32) -> u32 {
        self.nodes.get(at as usize).map_or(0, |node| node.layer)
    }

    /// A node's items, to be changed: it will have another name.
    fn change(&mut self, at: u32) -> Option<&mut Vec<Item>> {
        let node = self.nodes.get_mut(at as usize)?;
        node.cid = None;
        Some(&mut node.items)
    }

    fn key(&self, span: Span) -> &[u8] {
        self.keys
            .get(span.from as usize..)
            .and_then(|at| at.get(..span.bytes as usize))
            .unwrap_or(&[])
    }

    fn keep(&mut self, key: &[u8]) -> Span {
        let span = Span { from: self.keys.len() as u32, bytes: key.len() as u32 };
        self.keys.extend_from_slice(key);
        span
    }

    /// Opens the root. Its layer is that of its first key; a node with subtrees and no key is none.
    fn open_root(&mut self, root: &Cid, blocks: &impl Source) -> Result<u32, Error> {
        let at = self.load(root, 0, blocks)?;
        let layer = match self.node(at) {
            [] => 0,
            [Item::Leaf(span, _), ..] | [_, Item::Leaf(span, _), ..] => layer(self.key(*span)),
            _ => return Err(Error::Fields { offset: 0 }),
        };
        if let Some(node) = self.nodes.get_mut(at as usize) {
            node.layer = layer;
        }
        Ok(at)
    }

    fn load(&mut self, cid: &Cid, layer: u32, blocks: &impl Source) -> Result<u32, Error> {
        let block = blocks.block(cid).ok_or(Error::MissingBlock(*cid))?;
        let at = self.fresh(layer);
        let Some(opened) = self.nodes.get_mut(at as usize) else { return Ok(at) };
        let (items, keys) = (&mut opened.items, &mut self.keys);
        let node = Node::read(block, &mut self.key, |key, entry| {
            let span = Span { from: keys.len() as u32, bytes: key.len() as u32 };
            keys.extend_from_slice(key);
            items.push(Item::Leaf(span, entry.value));
            items.extend(entry.right.map(|right| Item::Tree(Link::Closed(right))));
        })?;
        // It stands behind the entries, and before them in the order of keys.
        if let Some(left) = node.left {
            items.insert(0, Item::Tree(Link::Closed(left)));
        }
        opened.cid = Some(*cid);
        Ok(at)
    }

    /// Opens a subtree of a node of `layer`.
    fn open(&mut self, link: Link, layer: u32, blocks: &impl Source) -> Result<u32, Error> {
        match link {
            Link::Open(at) => Ok(at),
            Link::Closed(cid) => self.load(&cid, below(layer)?, blocks),
        }
    }

    fn place(&self, at: u32, key: &[u8]) -> Place {
        let items = self.node(at);
        for (number, item) in items.iter().enumerate() {
            let Item::Leaf(span, _) = item else { continue };
            match self.key(*span).cmp(key) {
                std::cmp::Ordering::Less => {}
                std::cmp::Ordering::Equal => return Place::At(number),
                // The subtree before a key is in the gap before it.
                std::cmp::Ordering::Greater => return Place::Before(number),
            }
        }
        Place::Before(items.len())
    }

    /// The subtree in the gap before an item.
    fn gap(&self, at: u32, before: usize) -> Option<(usize, Link)> {
        let place = before.checked_sub(1)?;
        match self.node(at).get(place) {
            Some(Item::Tree(link)) => Some((place, *link)),
            _ => None,
        }
    }

    /// Goes down to a key and leaves the way in `way`; the key's item is the last of it.
    fn descend(&mut self, root: u32, key: &[u8], blocks: &impl Source) -> Result<bool, Error> {
        self.way.clear();
        let mut at = root;
        loop {
            let before = match self.place(at, key) {
                Place::At(place) => {
                    self.way.push((at, place));
                    return Ok(true);
                }
                Place::Before(before) => before,
            };
            let Some((place, link)) = self.gap(at, before) else { return Ok(false) };
            self.way.push((at, place));
            if self.way.len() > DEPTH_MAX {
                return Err(Error::Depth);
            }
            at = self.enter(at, place, link, blocks)?;
        }
    }

    /// Opens the subtree that stands at `place` in a node, and stays there. Its keys are between
    /// those beside it.
    fn enter(
        &mut self,
        at: u32,
        place: usize,
        link: Link,
        blocks: &impl Source,
    ) -> Result<u32, Error> {
        let child = self.open(link, self.layer_of(at), blocks)?;
        self.link(at, place, child);
        let beside = |place: Option<usize>| match self.node(at).get(place?) {
            Some(Item::Leaf(span, _)) => Some(self.key(*span)),
            _ => None,
        };
        let (before, behind) = (beside(place.checked_sub(1)), beside(Some(place + 1)));
        let mut keys = self.node(child).iter().filter_map(|item| match item {
            Item::Leaf(span, _) => Some(self.key(*span)),
            Item::Tree(_) => None,
        });
        let first = keys.next();
        let last = keys.next_back().or(first);
        let is_behind = first.zip(before).is_none_or(|(first, before)| before < first);
        let is_before = last.zip(behind).is_none_or(|(last, behind)| last < behind);
        if is_behind && is_before { Ok(child) } else { Err(Error::Place) }
    }

    /// Whether a key's layer is that of the node that it was found in.
    fn check_layer(&self, at: u32, key: &[u8]) -> Result<(), Error> {
        if layer(key) == self.layer_of(at) { Ok(()) } else { Err(Error::Place) }
    }

    /// Notes that a subtree has been opened, which changes nothing in it.
    fn link(&mut self, at: u32, place: usize, child: u32) {
        let items = self.nodes.get_mut(at as usize).map(|node| &mut node.items);
        if let Some(item) = items.and_then(|items| items.get_mut(place)) {
            *item = Item::Tree(Link::Open(child));
        }
    }

    /// Takes an update back. Whether the tree had it.
    fn replace(
        &mut self,
        root: u32,
        key: &[u8],
        cid: Option<Cid>,
        prev: Cid,
        blocks: &impl Source,
    ) -> Result<bool, Error> {
        let unchanged = cid == Some(prev);
        match self.descend(root, key, blocks) {
            Ok(true) => {}
            // Nothing changed, so no node on the way had to be sent.
            Err(Error::MissingBlock(_)) if unchanged => return Ok(true),
            other => return other,
        }
        let Some((at, place)) = self.way.last().copied() else { return Ok(false) };
        match self.node(at).get(place) {
            Some(Item::Leaf(span, found)) if Some(*found) == cid => {
                let leaf = Item::Leaf(*span, prev);
                self.check_layer(at, key)?;
                if !unchanged {
                    for number in 0..self.way.len() {
                        let node = self.way.get(number).map_or(at, |(node, _)| *node);
                        self.change(node);
                    }
                    if let Some(item) = self.change(at).and_then(|items| items.get_mut(place)) {
                        *item = leaf;
                    }
                }
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// The name of a tree, what changed in it written anew. No deeper than the layers of a tree.
    fn name(&mut self, link: Link) -> Result<Cid, Error> {
        let at = match link {
            Link::Closed(cid) => return Ok(cid),
            Link::Open(at) => at,
        };
        if let Some(cid) = self.nodes.get(at as usize).and_then(|node| node.cid) {
            return Ok(cid);
        }
        for place in 0..self.node(at).len() {
            if let Some(Item::Tree(link @ Link::Open(_))) = self.node(at).get(place).copied() {
                let cid = self.name(link)?;
                if let Some(item) = self.change(at).and_then(|items| items.get_mut(place)) {
                    *item = Item::Tree(Link::Closed(cid));
                }
            }
        }
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        let written = self.write(at, &mut out);
        let cid = Cid::dag_cbor(&out);
        self.out = out;
        written.map(|()| cid)
    }

    /// Writes a node whose subtrees are all closed.
    fn write(&self, at: u32, out: &mut Vec<u8>) -> Result<(), Error> {
        let items = self.node(at);
        let leaves = items.iter().filter(|item| matches!(item, Item::Leaf(..))).count();
        out.extend_from_slice(&[0xa2, 0x61, b'e']);
        write::array(out, leaves);
        let mut before: &[u8] = &[];
        for (number, item) in items.iter().enumerate() {
            let Item::Leaf(span, value) = item else { continue };
            let key = self.key(*span);
            if key <= before {
                // It was put together of two whose keys did not go up.
                return Err(Error::Place);
            }
            put_entry(out, before, key, value, link(items.get(number + 1)));
            before = key;
        }
        out.extend_from_slice(&[0x61, b'l']);
        put_link(out, link(items.first()));
        Ok(())
    }
}

fn below(layer: u32) -> Result<u32, Error> {
    layer.checked_sub(1).ok_or(Error::Depth)
}

/// For fuzzing: a commit's operations are taken back on whatever blocks it has, as if they hashed;
/// what is left of one event does not show in the next.
pub fn fuzz_undo(data: &[u8]) {
    struct Named<'a>(HashMap<Cid, &'a [u8]>);
    impl Source for Named<'_> {
        fn block(&self, cid: &Cid) -> Option<&[u8]> {
            self.0.get(cid).copied()
        }
    }
    let Ok(Event::Commit(commit)) = event::parse(data) else { return };
    let Ok(car) = car::parse(commit.blocks) else { return };
    let blocks = car.blocks().map_while(Result::ok).map(|block| (block.cid, block.data));
    let blocks = Named(blocks.collect());
    let Some(signed) = blocks.block(&commit.commit).and_then(|it| commit::parse(it).ok()) else {
        return;
    };
    let mut undo = Undo::new();
    let once = undo.undo(&signed.data, commit.ops, &blocks);
    let again = undo.undo(&signed.data, commit.ops, &blocks);
    assert!(once == again && once == Undo::new().undo(&signed.data, commit.ops, &blocks));
}

/// What a closed subtree is called.
fn link(item: Option<&Item>) -> Option<&Cid> {
    match item {
        Some(Item::Tree(Link::Closed(cid))) => Some(cid),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
