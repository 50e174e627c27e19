//! Nodes as they lie in memory, and those that are known of an account.

use std::collections::HashMap;
use std::ops::Range;
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    /// Where in the node's keys this one's ends.
    end: usize,
    /// How many bytes it shares with the one before.
    shared: usize,
    pub(super) value: Digest,
    pub(super) right: Option<Digest>,
}

/// What a key has at most, mostly.
const KEY_BYTES: usize = 36;

/// What a node's block has between hashes and keys, as [`Node::put`] writes it.
const ENTRY_HEAD: [u8; 3] = *b"\xa4\x61k";
const SHARED_HEAD: [u8; 2] = *b"\x61p";
const NO_RIGHT: [u8; 3] = *b"\x61t\xf6";
const RIGHT_HEAD: [u8; 11] = *b"\x61t\xd8\x2a\x58\x25\x00\x01\x71\x12\x20";
const VALUE_HEAD: [u8; 11] = *b"\x61v\xd8\x2a\x58\x25\x00\x01\x71\x12\x20";

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
        let mut node = Node {
            left: None,
            keys: Vec::with_capacity(block.len() / 2),
            entries: Vec::with_capacity(block.len() / 96 + 1),
        };
        let mut usual = true;
        let parsed = mst::Node::read(block, &mut mst::Key::default(), |key, entry| {
            match (write::digest(&entry.value), write::digest_if(entry.right)) {
                (Some(value), Some(right)) => node.push(key, value, right),
                _ => usual = false,
            }
        });
        node.left = write::digest_if(parsed.ok().filter(|_| usual)?.left)?;
        let mut again = Vec::with_capacity(block.len());
        node.put(&mut again);
        (again == block).then_some(node)
    }

    /// Makes room for so many new entries.
    pub(super) fn reserve(&mut self, entries: usize) {
        self.entries.reserve(entries);
        self.keys.reserve(KEY_BYTES * entries);
    }

    /// Appends an entry.
    pub(super) fn push(&mut self, key: &[u8], value: Digest, right: Option<Digest>) {
        let shared = shared(self.key(self.entries.len().wrapping_sub(1)), key);
        self.keys.extend_from_slice(key);
        self.entries.push(Entry { end: self.keys.len(), shared, value, right });
    }

    /// Appends some entries of another node.
    pub(super) fn copy(&mut self, other: &Node, which: Range<usize>) -> Option<()> {
        let Some(first) = other.entries.get(which.clone())?.first() else { return Some(()) };
        let key = other.key(which.start);
        let first =
            Entry { shared: shared(self.key(self.entries.len().wrapping_sub(1)), key), ..*first };
        let from = first.end - key.len();
        let (at, next) = (self.keys.len(), self.entries.len());
        let last = other.entries.get(which.end.checked_sub(1)?)?;
        self.keys.extend_from_slice(other.keys.get(from..last.end)?);
        let moved = |entry: &Entry| Entry { end: entry.end - from + at, ..*entry };
        self.entries.extend(other.entries.get(which)?.iter().map(moved));
        self.entries.get_mut(next)?.shared = first.shared;
        Some(())
    }

    /// The key of an entry; empty if there is none.
    pub(super) fn key(&self, at: usize) -> &[u8] {
        let before = at.checked_sub(1).and_then(|at| self.entries.get(at));
        let start = before.map_or(0, |entry| entry.end);
        let end = self.entries.get(at).map_or(start, |entry| entry.end);
        self.keys.get(start..end).unwrap_or_default()
    }

    pub(super) fn first_key(&self) -> Option<&[u8]> {
        (!self.entries.is_empty()).then(|| self.key(0))
    }

    /// Appends the node's block.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        out.reserve(self.block_bytes());
        out.extend_from_slice(b"\xa2\x61e");
        write::array(out, self.entries.len());
        let mut start = 0;
        for entry in &self.entries {
            let suffix = self.keys.get(start + entry.shared..entry.end).unwrap_or_default();
            start = entry.end;
            out.extend_from_slice(&ENTRY_HEAD);
            write::head(out, 2, suffix.len() as u64);
            out.extend_from_slice(suffix);
            out.extend_from_slice(&SHARED_HEAD);
            write::head(out, 0, entry.shared as u64);
            match &entry.right {
                None => out.extend_from_slice(&NO_RIGHT),
                Some(right) => {
                    out.extend_from_slice(&RIGHT_HEAD);
                    out.extend_from_slice(right);
                }
            }
            out.extend_from_slice(&VALUE_HEAD);
            out.extend_from_slice(&entry.value);
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

/// How many bytes two keys begin with alike.
fn shared(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
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
    by_digest: HashMap<Digest, usize, ByPrefix>,
    /// A bit for each digest that may be known: most that are asked for are not.
    maybe: Maybe,
    pub(super) root: Option<Digest>,
}

/// A set of digests that says yes to some that are not in it.
#[derive(Debug)]
struct Maybe([u64; 64]);

impl Default for Maybe {
    fn default() -> Maybe {
        Maybe([0; 64])
    }
}

impl Maybe {
    fn place(digest: &Digest) -> (usize, u64) {
        let [.., word, bit] = digest;
        (usize::from(word & 63), 1 << (bit & 63))
    }

    fn add(&mut self, digest: &Digest) {
        let (word, bit) = Maybe::place(digest);
        if let Some(word) = self.0.get_mut(word) {
            *word |= bit;
        }
    }

    fn has(&self, digest: &Digest) -> bool {
        let (word, bit) = Maybe::place(digest);
        self.0.get(word).is_some_and(|word| word & bit != 0)
    }
}

impl Nodes {
    pub(crate) fn clear(&mut self) {
        self.list.clear();
        self.by_digest.clear();
        self.maybe = Maybe::default();
        self.root = None;
    }

    /// Begins with what an earlier segment ended with.
    pub(crate) fn begin(&mut self, base: &Base) {
        self.root = Some(base.root);
        for (digest, node) in &base.nodes {
            self.by_digest.insert(*digest, self.list.len());
            self.maybe.add(digest);
            self.list.push(node.clone());
        }
    }

    /// What is known of the last tree, for later segments; `None` if there is no tree.
    pub(crate) fn end(&self, rev: Option<Tid>) -> Option<Base> {
        let root = self.root?;
        let mut base = Base { rev, root, nodes: Vec::with_capacity(16) };
        let mut met = vec![false; self.list.len()];
        let mut next = Vec::with_capacity(16);
        next.extend(self.get(Some(&root)).map(|at| (at, root)));
        while let Some((at, digest)) = next.pop() {
            let (Some(node), Some(met)) = (self.list.get(at), met.get_mut(at)) else { continue };
            if std::mem::replace(met, true) {
                continue;
            }
            base.nodes.push((digest, node.clone()));
            let links = node.entries.iter().rev().map(|entry| entry.right).chain([node.left]);
            next.extend(links.flatten().filter_map(|link| Some((self.get(Some(&link))?, link))));
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
                self.maybe.add(&built.digest);
                self.list.push(built.node);
            }
        }
    }

    pub(super) fn get(&self, digest: Option<&Digest>) -> Option<usize> {
        let digest = digest?;
        self.maybe.has(digest).then(|| self.by_digest.get(digest).copied()).flatten()
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
