//! Nodes that are known of an account, and what of them is for later segments.

use std::collections::HashMap;
use std::sync::Arc;

use atproto::Tid;
use atproto::mst::DEPTH_MAX;

use super::super::write::Digest;
use super::node::{Grove, View};
use super::{At, Tree};
use crate::prefix::ByPrefix;

/// What a segment ends with for an account: its last rev, and of its last tree the nodes that are
/// known. It follows from the events alone, however they are encoded.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Base {
    pub(crate) rev: Option<Tid>,
    root: Digest,
    /// From the root down, left before right, each once, and the digest of each.
    nodes: Grove,
    digests: Vec<Digest>,
}

impl Base {
    /// What it takes in memory, nearly.
    pub(crate) fn bytes(&self) -> usize {
        self.nodes.bytes() + size_of_val(&*self.digests) + size_of::<Base>()
    }
}

/// The nodes that are known of an account.
#[derive(Debug, Default)]
pub(crate) struct Nodes {
    /// Those that an earlier segment ended with.
    base: Option<Arc<Base>>,
    /// How many these are.
    before: usize,
    /// And those that came since.
    since: Grove,
    by_digest: HashMap<Digest, usize, ByPrefix>,
    /// A bit for each digest that may be known: most that are asked for are not.
    maybe: Maybe,
    root: Option<Digest>,
    /// A base that nobody needs any more, for its memory: what an account ends with takes about as
    /// much as what it began with.
    spare: Option<Base>,
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
        if let Some(base) = self.base.take().and_then(Arc::into_inner) {
            self.spare = Some(base);
        }
        self.before = 0;
        self.since.clear();
        self.by_digest.clear();
        self.maybe = Maybe::default();
        self.root = None;
    }

    /// Begins with what an earlier segment ended with.
    pub(crate) fn begin(&mut self, base: Arc<Base>) {
        self.root = Some(base.root);
        for (at, digest) in base.digests.iter().enumerate() {
            self.by_digest.insert(*digest, at);
            self.maybe.add(digest);
        }
        self.before = base.digests.len();
        self.base = Some(base);
    }

    /// What is known of the last tree, for later segments; `None` if there is no tree.
    pub(crate) fn end(&mut self, rev: Option<Tid>) -> Option<Base> {
        let root = self.root?;
        let spare = self.spare.take();
        let mut met = vec![false; self.len()];
        let (mut found, mut next) = (Vec::with_capacity(32), Vec::with_capacity(32));
        next.extend(self.get(Some(&root)).map(|at| (at, root)));
        let (mut entries, mut keys) = (0, 0);
        while let Some((at, digest)) = next.pop() {
            let (Some(node), Some(met)) = (self.view(at), met.get_mut(at)) else { continue };
            if std::mem::replace(met, true) {
                continue;
            }
            found.push((node, digest));
            (entries, keys) = (entries + node.entries.len(), keys + node.keys_bytes());
            for entry in node.entries.iter().rev() {
                if let Some(right) = &entry.right
                    && let Some(at) = self.get(Some(right))
                {
                    next.push((at, *right));
                }
            }
            next.extend(node.left.and_then(|left| Some((self.get(Some(&left))?, left))));
        }
        let spare = spare.map(|spare| (spare.nodes, spare.digests));
        let spare = spare.filter(|(nodes, _)| nodes.is_room_for(entries, keys));
        let (mut nodes, mut digests) = spare.unwrap_or_else(|| {
            // A little more: it grows from segment to segment.
            let [nodes, entries, keys] = [found.len(), entries, keys].map(|it| it + it / 4);
            (Grove::with_room(nodes, entries, keys), Vec::with_capacity(nodes))
        });
        nodes.clear();
        digests.clear();
        for (node, digest) in found {
            nodes.add(&node);
            digests.push(digest);
        }
        Some(Base { rev, root, nodes, digests })
    }

    pub(crate) fn root(&self) -> Option<Digest> {
        self.root
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.before + self.since.len()
    }

    /// One by its number, in the order in which they became known.
    pub(super) fn view(&self, at: usize) -> Option<View<'_>> {
        match at.checked_sub(self.before) {
            Some(since) => self.since.view(since),
            None => self.base.as_ref()?.nodes.view(at),
        }
    }

    /// The tree of the account's last commit has this root and these nodes.
    pub(crate) fn commit(&mut self, root: Digest, tree: &Tree) {
        self.root = Some(root);
        for built in &tree.built {
            // The others are known.
            let At::New(at) = built.node else { continue };
            let next = self.len();
            if *self.by_digest.entry(built.digest).or_insert(next) == next
                && let Some(node) = tree.grove.view(at)
            {
                self.maybe.add(&built.digest);
                self.since.add(&node);
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
            let node = self.view(at)?;
            match node.find(key) {
                Ok(_) => return Some(at),
                Err(slot) => next = node.slot(slot),
            }
        }
        None
    }

    /// The record under a path in the last tree, as far as it is known.
    pub(crate) fn value(&self, path: &[u8]) -> Option<Digest> {
        let node = self.view(self.owner(path)?)?;
        node.entries.get(node.find(path).ok()?).map(|entry| entry.value)
    }
}
