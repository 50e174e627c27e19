//! Nodes as they lie in memory, and those that are known of an account.

use std::collections::HashMap;
use std::sync::Arc;

use atproto::mst::{self, DEPTH_MAX};

use super::super::write::{self, Digest};
use super::Tree;

/// A node, taken apart.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(super) left: Option<Digest>,
    pub(super) entries: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: Arc<[u8]>,
    pub(super) value: Digest,
    pub(super) right: Option<Digest>,
}

impl Node {
    /// Takes a node apart; `None` for what [`Node::put`] would not make again.
    pub(crate) fn read(block: &[u8]) -> Option<Node> {
        let parsed = mst::Node::parse(block).ok()?;
        let mut node = Node { left: write::digest_if(parsed.left)?, entries: Vec::new() };
        let mut key = mst::Key::default();
        for (number, entry) in (0..).zip(parsed.entries()) {
            let key = key.next(&entry, number).ok()?.into();
            let (value, right) = (write::digest(&entry.value)?, write::digest_if(entry.right)?);
            node.entries.push(Entry { key, value, right });
        }
        let mut again = Vec::with_capacity(block.len());
        node.put(&mut again);
        (again == block).then_some(node)
    }

    /// Appends the node's block.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
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
        let entry = slot.checked_sub(1).and_then(|at| self.entries.get(at));
        entry.map_or(outer, |entry| &entry.key)
    }

    /// The entry of this key, or the slot that leads to it.
    pub(super) fn find(&self, key: &[u8]) -> Result<usize, usize> {
        self.entries.binary_search_by(|entry| (*entry.key).cmp(key))
    }
}

/// The nodes that are known of an account.
#[derive(Debug, Default)]
pub(crate) struct Nodes {
    pub(super) list: Vec<Node>,
    pub(super) by_digest: HashMap<Digest, usize>,
    pub(super) root: Option<Digest>,
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
