//! Nodes as they lie in memory, and those that are known of an account.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use atproto::Tid;
use atproto::mst::{self, DEPTH_MAX};

use super::super::write::{self, Digest};
use super::Tree;
use crate::prefix::ByPrefix;

/// A node, taken apart. The keys lie one behind the other: that is one piece of memory a node.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(super) left: Option<Digest>,
    keys: Vec<u8>,
    pub(super) entries: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Where in the node's keys this one's ends.
    end: usize,
    pub(super) value: Digest,
    pub(super) right: Option<Digest>,
}

impl Node {
    /// A node without entries, with room for about as many as another has.
    pub(super) fn like(other: &Node) -> Node {
        Node {
            left: None,
            keys: Vec::with_capacity(other.keys.len() + 64),
            entries: Vec::with_capacity(other.entries.len() + 1),
        }
    }

    /// Takes a node apart; `None` for what [`Node::put`] would not make again.
    pub(crate) fn read(block: &[u8]) -> Option<Node> {
        let parsed = mst::Node::parse(block).ok()?;
        let mut node = Node {
            left: write::digest_if(parsed.left)?,
            keys: Vec::with_capacity(block.len() / 2),
            entries: Vec::with_capacity(block.len() / 96 + 1),
        };
        let mut key = mst::Key::default();
        for (number, entry) in (0..).zip(parsed.entries()) {
            let key = key.next(&entry, number).ok()?;
            node.push(key, write::digest(&entry.value)?, write::digest_if(entry.right)?);
        }
        let mut again = Vec::with_capacity(block.len());
        node.put(&mut again);
        (again == block).then_some(node)
    }

    /// Appends an entry.
    pub(super) fn push(&mut self, key: &[u8], value: Digest, right: Option<Digest>) {
        self.keys.extend_from_slice(key);
        self.entries.push(Entry { end: self.keys.len(), value, right });
    }

    /// Appends an entry of another node.
    pub(super) fn copy(&mut self, other: &Node, at: usize) -> Option<()> {
        let entry = other.entries.get(at)?;
        self.push(other.key(at), entry.value, entry.right);
        Some(())
    }

    /// The key of an entry; empty if there is none.
    pub(super) fn key(&self, at: usize) -> &[u8] {
        let before = at.checked_sub(1).and_then(|at| self.entries.get(at));
        let start = before.map_or(0, |entry| entry.end);
        let end = self.entries.get(at).map_or(start, |entry| entry.end);
        self.keys.get(start..end).unwrap_or_default()
    }

    /// Appends the node's block.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        write::map(out, 2);
        write::text(out, "e");
        write::array(out, self.entries.len());
        let mut before: &[u8] = b"";
        for (at, entry) in self.entries.iter().enumerate() {
            let key = self.key(at);
            let shared = before.iter().zip(key).take_while(|(a, b)| a == b).count();
            write::map(out, 4);
            write::text(out, "k");
            write::bytes(out, key.get(shared..).unwrap_or_default());
            write::text(out, "p");
            write::uint(out, shared as u64);
            write::text(out, "t");
            write::link_or_null(out, entry.right.as_ref());
            write::text(out, "v");
            write::link(out, &entry.value);
            before = key;
        }
        write::text(out, "l");
        write::link_or_null(out, self.left.as_ref());
    }

    /// No fewer bytes than its block has.
    pub(super) fn block_bytes(&self) -> usize {
        self.keys.len() + 128 * self.entries.len() + 64
    }

    pub(super) fn slots(&self) -> usize {
        self.entries.len() + 1
    }

    pub(super) fn slot(&self, slot: usize) -> Option<Digest> {
        match slot.checked_sub(1) {
            None => self.left,
            Some(at) => self.entries.get(at)?.right,
        }
    }

    pub(super) fn slot_mut(&mut self, slot: usize) -> Option<&mut Option<Digest>> {
        match slot.checked_sub(1) {
            None => Some(&mut self.left),
            Some(at) => self.entries.get_mut(at).map(|entry| &mut entry.right),
        }
    }

    /// The key in front of what a slot leads to; `outer` for the first.
    pub(super) fn key_before<'a>(&'a self, slot: usize, outer: &'a [u8]) -> &'a [u8] {
        match slot.checked_sub(1) {
            Some(at) if at < self.entries.len() => self.key(at),
            _ => outer,
        }
    }

    /// The entry of this key, or the slot that leads to it.
    pub(super) fn find(&self, key: &[u8]) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.entries.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            match self.key(middle).cmp(key) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Ok(middle),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Err(low)
    }
}

/// What a segment ends with for an account: its last rev, and of its last tree the nodes that are
/// known. It follows from the events alone, however they are encoded.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Base {
    pub(crate) rev: Option<Tid>,
    root: Digest,
    /// From the root down, left before right, each once.
    nodes: Vec<(Digest, Arc<Node>)>,
}

impl Base {
    /// What it takes in memory, nearly.
    pub(crate) fn bytes(&self) -> usize {
        let node = |node: &Arc<Node>| {
            size_of::<Node>() + node.entries.len() * size_of::<Entry>() + node.keys.len()
        };
        self.nodes.iter().map(|(_, it)| node(it) + 48).sum::<usize>() + 96
    }
}

/// The nodes that are known of an account.
#[derive(Debug, Default)]
pub(crate) struct Nodes {
    pub(super) list: Vec<Arc<Node>>,
    pub(super) by_digest: HashMap<Digest, usize, ByPrefix>,
    pub(super) root: Option<Digest>,
}

impl Nodes {
    pub(crate) fn clear(&mut self) {
        self.list.clear();
        self.by_digest.clear();
        self.root = None;
    }

    /// Begins with what an earlier segment ended with.
    pub(crate) fn begin(&mut self, base: &Base) {
        self.root = Some(base.root);
        for (digest, node) in &base.nodes {
            self.by_digest.insert(*digest, self.list.len());
            self.list.push(node.clone());
        }
    }

    /// What is known of the last tree, for later segments; `None` if there is no tree.
    pub(crate) fn end(&self, rev: Option<Tid>) -> Option<Base> {
        let root = self.root?;
        let mut base = Base { rev, root, nodes: Vec::new() };
        let (mut next, mut met) = (vec![root], HashSet::<_, ByPrefix>::default());
        while let Some(digest) = next.pop() {
            let Some(node) = self.get(Some(&digest)).and_then(|at| self.list.get(at)) else {
                continue;
            };
            if met.insert(digest) {
                base.nodes.push((digest, node.clone()));
                next.extend((0..node.slots()).rev().filter_map(|slot| node.slot(slot)));
            }
        }
        Some(base)
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

    pub(super) fn get(&self, digest: Option<&Digest>) -> Option<usize> {
        self.by_digest.get(digest?).copied()
    }

    /// The node that this key has, or had, an entry in, looked for from the last root down.
    pub(super) fn owner(&self, key: &[u8]) -> Option<usize> {
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
