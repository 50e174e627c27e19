//! The Merkle search tree of a repository.
//!
//! A key lies on the layer that its SHA-256 gives: the number of leading zero bits, in pairs. A
//! node holds the keys of one layer in order and, in the gaps before, between and behind them,
//! the nodes of the layer below; a gap with nothing in it has no node, and a node without keys
//! stands only where a layer is skipped. So the tree follows from its keys alone, whatever the
//! order they came in.
//!
//! A node in DAG-CBOR: `{e: [{k, p, t, v}], l}`: `l` the first gap, and for each key `p` the
//! bytes it shares with the key before, `k` the rest, `v` its value, `t` the gap behind it.

use std::collections::BTreeMap;

use anyhow::Result;
use ipld_core::cid::Cid;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::block::Block;

/// A tree of keys (`collection/rkey`) and the CIDs of their records.
pub struct Tree {
    root: Node,
}

struct Node {
    layer: u32,
    /// The gap before the first key.
    left: Child,
    entries: Vec<Entry>,
    /// The encoded node, until something below it changes.
    block: Option<Block>,
}

type Child = Option<Box<Node>>;

struct Entry {
    key: Box<str>,
    value: Cid,
    /// The gap behind the key.
    right: Child,
}

#[derive(Serialize)]
struct NodeData<'a> {
    e: Vec<EntryData<'a>>,
    l: Option<Cid>,
}

#[derive(Serialize)]
struct EntryData<'a> {
    #[serde(with = "serde_bytes")]
    k: &'a [u8],
    p: usize,
    t: Option<Cid>,
    v: Cid,
}

/// The layer of a key: leading zero bits of its SHA-256, in pairs.
fn layer_of(key: &str) -> u32 {
    let mut zeros = 0;
    for byte in Sha256::digest(key.as_bytes()) {
        zeros += byte.leading_zeros();
        if byte != 0 {
            break;
        }
    }
    zeros / 2
}

impl Tree {
    /// A tree without keys: one node without entries.
    pub fn new() -> Self {
        Self { root: Node::bare(0, None) }
    }

    /// Sets a key and returns what it had before.
    pub fn insert(&mut self, key: &str, value: Cid) -> Option<Cid> {
        let layer = layer_of(key);
        if self.root.is_empty() {
            self.root.layer = layer;
        }
        if layer > self.root.layer {
            let root = std::mem::replace(&mut self.root, Node::bare(layer, None));
            let old = root.layer;
            let (left, right) = root.split(key);
            self.root.left = lift(left, old, layer);
            let right = lift(right, old, layer);
            self.root.entries.push(Entry { key: key.into(), value, right });
            return None;
        }
        self.root.insert(key, value, layer)
    }

    /// Takes a key out and returns what it had.
    pub fn remove(&mut self, key: &str) -> Option<Cid> {
        let old = self.root.remove(key)?;
        // A root that only points down is no root.
        while self.root.entries.is_empty() {
            match self.root.left.take() {
                Some(child) => self.root = *child,
                None => self.root.layer = 0,
            }
            if self.root.is_empty() {
                break;
            }
        }
        Some(old)
    }

    /// The CID of the root, and through `fresh` each node that was not encoded before.
    pub fn root(&mut self, fresh: &mut Vec<Block>) -> Result<Cid> {
        self.root.encode(fresh)
    }

    /// The root alone: what a commit without operations shows of the tree.
    pub fn proof_of_root(&self, out: &mut BTreeMap<Cid, Block>) {
        self.root.keep(out);
    }

    /// The nodes that prove what lies under a key and right beside it, present or not: those on
    /// the way to the place just before the key and to the place just behind it. With them an
    /// operation on the key can be undone. Everything must be encoded ([`Tree::root`]).
    pub fn proof(&self, key: &str, out: &mut BTreeMap<Cid, Block>) {
        self.root.proof(key, out);
    }

    /// All encoded nodes, parents first.
    pub fn blocks<'a>(&'a self, out: &mut Vec<&'a Block>) {
        self.root.blocks(out);
    }
}

/// Puts nodes without keys over `child` (of layer `from`) until it fits under a node of `to`.
fn lift(child: Child, from: u32, to: u32) -> Child {
    let mut child = child?;
    for layer in from + 1..to {
        child = Box::new(Node::bare(layer, Some(child)));
    }
    Some(child)
}

/// Joins the contents of two neighbouring gaps of one layer.
fn merge(left: Child, right: Child) -> Child {
    match (left, right) {
        (Some(mut a), Some(b)) => {
            a.block = None;
            let Node { left, entries, .. } = *b;
            let last = a.gap(a.entries.len());
            *last = merge(last.take(), left);
            a.entries.extend(entries);
            Some(a)
        }
        (one, None) | (None, one) => one,
    }
}

impl Node {
    fn bare(layer: u32, left: Child) -> Self {
        Self { layer, left, entries: Vec::new(), block: None }
    }

    fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.left.is_none()
    }

    /// Where a key stands or would stand, and whether it is there.
    fn place(&self, key: &str) -> (usize, bool) {
        match self.entries.binary_search_by(|entry| (*entry.key).cmp(key)) {
            Ok(at) => (at, true),
            Err(at) => (at, false),
        }
    }

    /// The gap before the entry `at`.
    fn gap(&mut self, at: usize) -> &mut Child {
        match at.checked_sub(1) {
            None => &mut self.left,
            Some(before) => &mut self.entries[before].right,
        }
    }

    fn child(&self, at: usize) -> Option<&Node> {
        match at.checked_sub(1) {
            None => self.left.as_deref(),
            Some(before) => self.entries[before].right.as_deref(),
        }
    }

    fn insert(&mut self, key: &str, value: Cid, layer: u32) -> Option<Cid> {
        self.block = None;
        let (at, found) = self.place(key);
        if found {
            return Some(std::mem::replace(&mut self.entries[at].value, value));
        }
        let below = self.layer.saturating_sub(1);
        if layer < self.layer {
            let child = self.gap(at).get_or_insert_with(|| Box::new(Node::bare(below, None)));
            return child.insert(key, value, layer);
        }
        let (left, right) = match self.gap(at).take() {
            Some(child) => child.split(key),
            None => (None, None),
        };
        *self.gap(at) = left;
        self.entries.insert(at, Entry { key: key.into(), value, right });
        None
    }

    /// Cuts a node in two around a key that it does not hold.
    fn split(mut self, key: &str) -> (Child, Child) {
        let (at, _) = self.place(key);
        let (inner_left, inner_right) = match self.gap(at).take() {
            Some(child) => child.split(key),
            None => (None, None),
        };
        let mut right = Node::bare(self.layer, inner_right);
        right.entries = self.entries.split_off(at);
        *self.gap(at) = inner_left;
        self.block = None;
        let filled = |node: Node| (!node.is_empty()).then(|| Box::new(node));
        (filled(self), filled(right))
    }

    fn remove(&mut self, key: &str) -> Option<Cid> {
        let (at, found) = self.place(key);
        if found {
            self.block = None;
            let Entry { value, right, .. } = self.entries.remove(at);
            let gap = self.gap(at);
            *gap = merge(gap.take(), right);
            return Some(value);
        }
        let gap = self.gap(at);
        let child = gap.as_mut()?;
        let old = child.remove(key)?;
        if child.is_empty() {
            *gap = None;
        }
        self.block = None;
        Some(old)
    }

    fn encode(&mut self, fresh: &mut Vec<Block>) -> Result<Cid> {
        if let Some(block) = &self.block {
            return Ok(block.cid);
        }
        let l = self.left.as_mut().map(|child| child.encode(fresh)).transpose()?;
        let mut e = Vec::with_capacity(self.entries.len());
        let mut before: &[u8] = &[];
        for entry in &mut self.entries {
            let t = entry.right.as_mut().map(|child| child.encode(fresh)).transpose()?;
            let key = entry.key.as_bytes();
            let p = key.iter().zip(before).take_while(|(a, b)| a == b).count();
            e.push(EntryData { k: &key[p..], p, t, v: entry.value });
            before = key;
        }
        let block = Block::of(&NodeData { e, l })?;
        let cid = block.cid;
        fresh.push(block.clone());
        self.block = Some(block);
        Ok(cid)
    }

    fn keep(&self, out: &mut BTreeMap<Cid, Block>) {
        if let Some(block) = &self.block {
            out.entry(block.cid).or_insert_with(|| block.clone());
        }
    }

    fn proof(&self, key: &str, out: &mut BTreeMap<Cid, Block>) {
        self.keep(out);
        let (at, found) = self.place(key);
        if found {
            let mut before = self.child(at);
            while let Some(node) = before {
                node.keep(out);
                before = node.child(node.entries.len());
            }
            let mut behind = self.child(at + 1);
            while let Some(node) = behind {
                node.keep(out);
                behind = node.child(0);
            }
        } else if let Some(child) = self.child(at) {
            child.proof(key, out);
        }
    }

    fn blocks<'a>(&'a self, out: &mut Vec<&'a Block>) {
        out.extend(&self.block);
        for at in 0..=self.entries.len() {
            if let Some(child) = self.child(at) {
                child.blocks(out);
            }
        }
    }
}

#[cfg(test)]
mod tests;
