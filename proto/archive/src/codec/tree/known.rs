//! Nodes that are known of an account, and what of them is for later segments.
//!
//! Most of them are looked at once or never again, and many accounts have some: so they are kept as
//! their blocks, and who looks at one takes it apart again. Whether one is still of the last tree
//! is seen by where its slots lead, without its block.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use atproto::Tid;
use atproto::mst::DEPTH_MAX;
use hashbrown::HashTable;

use super::super::write::Digest;
use super::node::{Grove, View};
use super::{At, Tree};

/// What a segment ends with for an account: its last rev, and of its last tree the nodes that are
/// known, from the root down, left before right, each once. It follows from the events alone,
/// however they are encoded.
#[derive(Debug)]
pub(crate) struct Base {
    pub(crate) rev: Option<Tid>,
    root: Digest,
    known: Known,
}

/// Digests say what the nodes are; whether a slot leads to a number or elsewhere hinges on what
/// became known first.
impl PartialEq for Base {
    fn eq(&self, other: &Base) -> bool {
        (self.rev, self.root) == (other.rev, other.root)
            && self.known.digests == other.known.digests
    }
}

impl Eq for Base {}

impl Base {
    /// Of a tree of which no node is known.
    #[cfg(test)]
    pub(crate) fn nothing() -> Base {
        Base { rev: None, root: [0; 32], known: Known::default() }
    }

    /// What it takes in memory, nearly.
    pub(crate) fn bytes(&self) -> usize {
        let Known { digests, blocks, firsts, slots } = &self.known;
        // With what stands before the bytes of a block.
        let block = |block: &Arc<[u8]>| size_of_val(&**block) + 2 * size_of::<usize>();
        let lists = size_of_val(&**digests) + size_of_val(&**blocks);
        let words = size_of_val(&**firsts) + size_of_val(&**slots);
        blocks.iter().map(block).sum::<usize>() + lists + words + size_of::<Base>()
    }
}

/// Nodes, by numbers.
#[derive(Debug, Default)]
struct Known {
    digests: Vec<Digest>,
    blocks: Vec<Arc<[u8]>>,
    /// Where in the slots those of each begin.
    firsts: Vec<u32>,
    /// Where each slot leads: a number, [`NO_LINK`], or [`ELSEWHERE`].
    slots: Vec<u32>,
}

const NO_LINK: u32 = u32::MAX;
/// A link to a node that is not known, or was not when this was noted: with this stands the place
/// of its digest in [`Maybe`].
const ELSEWHERE: u32 = 1 << 31;

/// A node with more slots than this is a large one: few have more than sixteen.
const LARGE_SLOTS: usize = 64;

impl Known {
    fn slots_of(&self, number: usize) -> Option<Range<usize>> {
        let end = self.firsts.get(number + 1).map_or(self.slots.len(), |end| *end as usize);
        Some(*self.firsts.get(number)? as usize..end)
    }

    /// One, taken apart in `room`.
    fn open<'r>(&self, number: usize, room: &'r mut Grove) -> Option<View<'r>> {
        room.clear();
        room.read(self.blocks.get(number)?)?;
        room.view(0)
    }

    fn clear(&mut self) {
        self.digests.clear();
        self.blocks.clear();
        self.firsts.clear();
        self.slots.clear();
    }
}

/// The nodes that are known of an account, by numbers in the order in which they became known.
#[derive(Debug, Default)]
pub(crate) struct Nodes {
    known: Known,
    by_digest: HashTable<u32>,
    /// Large ones stay taken apart: who sends an event says how often one is looked at.
    large: HashMap<u32, Grove>,
    /// A bit for each digest that may be known: most that are asked for are not.
    maybe: Maybe,
    root: Option<Digest>,
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
    /// A word, and a bit in it.
    fn place(digest: &Digest) -> u32 {
        let [.., word, bit] = digest;
        u32::from(word & 63) << 6 | u32::from(bit & 63)
    }

    fn add(&mut self, digest: &Digest) {
        let place = Maybe::place(digest);
        if let Some(word) = self.0.get_mut(place as usize >> 6) {
            *word |= 1 << (place & 63);
        }
    }

    fn has(&self, place: u32) -> bool {
        self.0.get(place as usize >> 6).is_some_and(|word| word & 1 << (place & 63) != 0)
    }
}

/// A digest is a hash already: its first bytes are as good as any.
fn hash(digest: &Digest) -> u64 {
    digest.first_chunk().map_or(0, |first| u64::from_le_bytes(*first))
}

impl Nodes {
    pub(crate) fn clear(&mut self) {
        self.known.clear();
        self.by_digest.clear();
        self.large.clear();
        self.maybe = Maybe::default();
        self.root = None;
    }

    /// Begins with what an earlier segment ended with; nothing is known yet.
    pub(crate) fn begin(&mut self, base: &Base) {
        self.root = Some(base.root);
        let Known { digests, blocks, firsts, slots } = &base.known;
        self.known.digests.extend_from_slice(digests);
        self.known.blocks.extend_from_slice(blocks);
        self.known.firsts.extend_from_slice(firsts);
        self.known.slots.extend_from_slice(slots);
        (0..digests.len() as u32).for_each(|number| self.note(number));
    }

    /// What is known of the last tree, for later segments; `None` if there is no tree.
    pub(crate) fn end(&self, rev: Option<Tid>) -> Option<Base> {
        let root = self.root?;
        let known = &self.known;
        let (mut found, mut next) = (Vec::with_capacity(self.len()), Vec::with_capacity(32));
        let mut anew = vec![NO_LINK; self.len()];
        let (mut count, mut room) = (0, Grove::default());
        next.extend(self.get(Some(&root)).map(|number| number as u32));
        while let Some(number) = next.pop() {
            let here = anew.get_mut(number as usize)?;
            if *here != NO_LINK {
                continue;
            }
            *here = found.len() as u32;
            let slots = known.slots_of(number as usize)?;
            let links = known.slots.get(slots.clone())?;
            count += links.len();
            found.push((number, slots));
            let mut view: Option<View<'_>> = None;
            for (slot, link) in links.iter().enumerate().rev() {
                if *link < ELSEWHERE {
                    next.push(*link);
                } else if *link != NO_LINK && self.maybe.has(*link & !ELSEWHERE) {
                    if view.is_none() {
                        view = Some(self.open(number as usize, &mut room)?);
                    }
                    let link = view.and_then(|view| view.slot(slot));
                    next.extend(self.get(link.as_ref()).map(|number| number as u32));
                }
            }
        }
        let mut base = Known {
            digests: Vec::with_capacity(found.len()),
            blocks: Vec::with_capacity(found.len()),
            firsts: Vec::with_capacity(found.len()),
            slots: Vec::with_capacity(count),
        };
        for (number, slots) in found {
            base.digests.push(*known.digests.get(number as usize)?);
            base.blocks.push(known.blocks.get(number as usize)?.clone());
            base.firsts.push(base.slots.len() as u32);
            // What can be reached was.
            let anew = |link: u32| anew.get(link as usize).copied().unwrap_or(link);
            base.slots.extend(known.slots.get(slots)?.iter().map(|link| anew(*link)));
        }
        Some(Base { rev, root, known: base })
    }

    pub(crate) fn root(&self) -> Option<Digest> {
        self.root
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.known.blocks.len()
    }

    /// The block of one.
    pub(super) fn block(&self, number: usize) -> Option<&[u8]> {
        self.known.blocks.get(number).map(|block| &**block)
    }

    /// One, taken apart in `room`.
    pub(super) fn open<'r>(&'r self, number: usize, room: &'r mut Grove) -> Option<View<'r>> {
        match self.large.get(&(number as u32)) {
            Some(large) => large.view(0),
            None => self.known.open(number, room),
        }
    }

    /// The one that was opened last in this room.
    pub(super) fn opened<'r>(&'r self, number: usize, room: &'r Grove) -> Option<View<'r>> {
        match self.large.get(&(number as u32)) {
            Some(large) => large.view(0),
            None => room.view(0),
        }
    }

    /// The tree of the account's last commit has this root and these nodes.
    pub(crate) fn commit(&mut self, root: Digest, tree: &mut Tree) {
        self.root = Some(root);
        let mut numbers = std::mem::take(&mut tree.numbers);
        numbers.clear();
        for built in &tree.built {
            let number = match built.node {
                At::Old(number) => number,
                At::New(at) => self.get(Some(&built.digest)).unwrap_or_else(|| {
                    let block = tree.blocks.get(built.block.clone()).unwrap_or_default();
                    self.add(built.digest, block, &tree.grove.view(at).unwrap_or(View::EMPTY))
                }),
            };
            numbers.push(number);
        }
        // A parent may have been known before what is behind its slot.
        for (built, number) in tree.built.iter().zip(&numbers) {
            if let Some((parent, slot)) = built.parent
                && let Some(parent) = numbers.get(parent)
                && let Some(slots) = self.known.slots_of(*parent)
                && let Some(link) = self.known.slots.get_mut(slots.start + slot)
            {
                *link = *number as u32;
            }
        }
        tree.numbers = numbers;
    }

    /// Adds a node; its number.
    fn add(&mut self, digest: Digest, block: &[u8], node: &View<'_>) -> usize {
        let number = self.len();
        self.known.firsts.push(self.known.slots.len() as u32);
        for slot in 0..node.slots() {
            let link = match node.slot(slot) {
                None => NO_LINK,
                Some(link) => match self.get(Some(&link)) {
                    Some(number) => number as u32,
                    None => ELSEWHERE | Maybe::place(&link),
                },
            };
            self.known.slots.push(link);
        }
        self.known.digests.push(digest);
        self.known.blocks.push(block.into());
        self.note(number as u32);
        number
    }

    /// Has the node of this number found by its digest.
    fn note(&mut self, number: u32) {
        let digests = &self.known.digests;
        let hash_of = |number: &u32| digests.get(*number as usize).map_or(0, hash);
        self.by_digest.insert_unique(hash_of(&number), number, hash_of);
        if let Some(digest) = digests.get(number as usize) {
            self.maybe.add(digest);
        }
        let slots = self.known.slots_of(number as usize).map_or(0, |slots| slots.len());
        if slots > LARGE_SLOTS {
            let mut large = Grove::default();
            if self.known.open(number as usize, &mut large).is_some() {
                self.large.insert(number, large);
            }
        }
    }

    /// The number of the node of this digest, if it is known.
    pub(super) fn get(&self, digest: Option<&Digest>) -> Option<usize> {
        let digest = digest?;
        if !self.maybe.has(Maybe::place(digest)) {
            return None;
        }
        let digests = &self.known.digests;
        let is = |number: &u32| digests.get(*number as usize) == Some(digest);
        self.by_digest.find(hash(digest), is).map(|number| *number as usize)
    }

    /// The node that this key has, or had, an entry in, looked for from the last root down; it is
    /// in `room` then.
    pub(super) fn owner(&self, key: &[u8], room: &mut Grove) -> Option<usize> {
        let mut next = self.root;
        for _ in 0..DEPTH_MAX {
            let number = self.get(next.as_ref())?;
            let node = self.open(number, room)?;
            match node.find(key) {
                Ok(_) => return Some(number),
                Err(slot) => next = node.slot(slot),
            }
        }
        None
    }

    /// The record under a path in the last tree, as far as it is known.
    pub(crate) fn value(&self, path: &[u8], room: &mut Grove) -> Option<Digest> {
        let node = self.opened(self.owner(path, room)?, room)?;
        node.entries.get(node.find(path).ok()?).map(|entry| entry.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A node with an entry for each link, the first behind the key `a`, and the links of a tree.
    fn node(left: Option<Digest>, rights: &[Option<Digest>]) -> (Digest, Vec<u8>, Grove) {
        let mut grove = Grove::default();
        grove.begin();
        for (key, right) in (b'a'..).zip(rights) {
            grove.push(&[b'x', key], [key; 32], *right).unwrap();
        }
        *grove.slot_mut(0, 0).unwrap() = left;
        let mut block = Vec::new();
        grove.view(0).unwrap().put(&mut block);
        (crate::codec::write::hash(&block), block, grove)
    }

    fn add(nodes: &mut Nodes, (digest, block, grove): &(Digest, Vec<u8>, Grove)) {
        nodes.add(*digest, block, &grove.view(0).unwrap());
    }

    /// The blocks that a base has, in order.
    fn blocks(base: &Base) -> Vec<&[u8]> {
        base.known.blocks.iter().map(|block| &**block).collect()
    }

    #[test]
    fn a_segment_ends_with_what_the_last_tree_has_from_the_root_down() {
        let (left, right) = (node(None, &[None]), node(None, &[None, None]));
        let old = node(None, &[None, None, None]);
        let unknown = [9; 32];
        let root = node(Some(left.0), &[Some(unknown), Some(right.0)]);
        let mut nodes = Nodes::default();
        // Known in another order, `right` after what leads there, which says then that it is
        // elsewhere.
        for node in [&old, &left, &root, &right] {
            add(&mut nodes, node);
        }
        nodes.root = Some(root.0);
        let base = nodes.end(None).unwrap();
        assert_eq!(blocks(&base), [&root.1[..], &left.1, &right.1]);
        assert!(base.bytes() > root.1.len() + left.1.len() + right.1.len());

        // The same from there: the numbers are those of the base, and links lead where they did.
        let mut again = Nodes::default();
        again.begin(&base);
        assert_eq!(again.get(Some(&right.0)), Some(2));
        assert_eq!(again.get(Some(&old.0)), None);
        assert_eq!(again.end(None).unwrap(), base);

        // And with a root that has one of the two.
        let next = node(None, &[Some(right.0)]);
        add(&mut again, &next);
        again.root = Some(next.0);
        assert_eq!(blocks(&again.end(None).unwrap()), [&next.1[..], &right.1]);
        assert_ne!(again.end(None).unwrap(), base);
        // A tree of which nothing is known has no nodes, but a root.
        again.root = Some(unknown);
        assert!(blocks(&again.end(None).unwrap()).is_empty());
    }

    #[test]
    fn a_node_that_two_links_lead_to_is_there_once() {
        let below = node(None, &[None]);
        let root = node(Some(below.0), &[Some(below.0)]);
        let mut nodes = Nodes::default();
        add(&mut nodes, &below);
        add(&mut nodes, &root);
        nodes.root = Some(root.0);
        assert_eq!(blocks(&nodes.end(None).unwrap()), [&root.1[..], &below.1]);
    }

    /// A node of which every link may be known, as far as can be seen without looking, and one that
    /// is: who sends such a one is not to have it taken apart for each link, or for each path.
    #[test]
    fn a_large_node_is_taken_apart_once() {
        let below = node(None, &[None]);
        let links = (0..4000u64).map(|at| {
            let mut link = below.0;
            link[..8].copy_from_slice(&at.to_be_bytes());
            Some(link)
        });
        let links: Vec<_> = links.collect();
        let mut grove = Grove::default();
        grove.begin();
        for (at, right) in (0..).zip(&links) {
            grove.push(format!("x/{at:05}").as_bytes(), [1; 32], *right).unwrap();
        }
        *grove.slot_mut(0, 0).unwrap() = Some(below.0);
        let mut block = Vec::new();
        grove.view(0).unwrap().put(&mut block);
        let root = (crate::codec::write::hash(&block), block, grove);
        let mut nodes = Nodes::default();
        let before = Grove::blocks_read();
        add(&mut nodes, &below);
        add(&mut nodes, &root);
        nodes.root = Some(root.0);
        let base = nodes.end(None).unwrap();
        assert_eq!(blocks(&base), [&root.1[..], &below.1]);
        let mut room = Grove::default();
        for at in 0..4000 {
            let key = format!("x/{at:05}");
            assert_eq!(nodes.value(key.as_bytes(), &mut room), Some([1; 32]));
        }
        assert_eq!(Grove::blocks_read() - before, 1);
    }
}
