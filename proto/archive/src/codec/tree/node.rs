//! Nodes as they lie in memory.

use std::ops::Range;

use atproto::mst;

use super::super::write::{self, Digest};

/// A node, taken apart: one of a [`Grove`], or a [`Node`].
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) left: Option<Digest>,
    /// One behind the other.
    keys: &'a [u8],
    pub(super) entries: &'a [Entry],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    /// Where in the node's keys this one's ends.
    end: u32,
    /// How many bytes it shares with the one before.
    shared: u32,
    pub(super) value: Digest,
    pub(super) right: Option<Digest>,
}

/// What a node's block has between hashes and keys, as [`View::put`] writes it.
const ENTRY_HEAD: [u8; 3] = *b"\xa4\x61k";
const SHARED_HEAD: [u8; 2] = *b"\x61p";
const NO_RIGHT: [u8; 3] = *b"\x61t\xf6";
const RIGHT_HEAD: [u8; 11] = *b"\x61t\xd8\x2a\x58\x25\x00\x01\x71\x12\x20";
const VALUE_HEAD: [u8; 11] = *b"\x61v\xd8\x2a\x58\x25\x00\x01\x71\x12\x20";

impl<'a> View<'a> {
    /// A node without entries.
    pub(super) const EMPTY: View<'static> = View { left: None, keys: &[], entries: &[] };

    /// The key of an entry; empty if there is none.
    pub(super) fn key(&self, at: usize) -> &'a [u8] {
        let before = at.checked_sub(1).and_then(|at| self.entries.get(at));
        let start = before.map_or(0, |entry| entry.end);
        let end = self.entries.get(at).map_or(start, |entry| entry.end);
        self.keys.get(start as usize..end as usize).unwrap_or_default()
    }

    /// How many bytes the keys have together.
    pub(super) fn keys_bytes(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn first_key(&self) -> Option<&'a [u8]> {
        (!self.entries.is_empty()).then(|| self.key(0))
    }

    /// Appends the node's block.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        // No fewer bytes than it has.
        out.reserve(self.keys.len() + 128 * self.entries.len() + 64);
        out.extend_from_slice(b"\xa2\x61e");
        write::array(out, self.entries.len());
        let mut start = 0;
        for entry in self.entries {
            let suffix = start as usize + entry.shared as usize..entry.end as usize;
            let suffix = self.keys.get(suffix).unwrap_or_default();
            start = entry.end;
            out.extend_from_slice(&ENTRY_HEAD);
            write::head(out, 2, suffix.len() as u64);
            out.extend_from_slice(suffix);
            out.extend_from_slice(&SHARED_HEAD);
            write::head(out, 0, u64::from(entry.shared));
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

    pub(super) fn slots(&self) -> usize {
        self.entries.len() + 1
    }

    pub(super) fn slot(&self, slot: usize) -> Option<Digest> {
        match slot.checked_sub(1) {
            None => self.left,
            Some(at) => self.entries.get(at)?.right,
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

/// A node by itself, read from its block.
#[derive(Debug)]
pub(crate) struct Node(Grove);

impl Node {
    /// Takes a node apart; `None` for what [`View::put`] would not make again.
    pub(crate) fn read(block: &[u8]) -> Option<Node> {
        let mut grove = Grove::default();
        grove.begin();
        let mut usual = true;
        let parsed = mst::Node::read(block, &mut mst::Key::default(), |key, entry| {
            match (write::digest(&entry.value), write::digest_if(entry.right)) {
                (Some(value), Some(right)) => usual &= grove.push(key, value, right).is_some(),
                _ => usual = false,
            }
        });
        *grove.slot_mut(0, 0)? = write::digest_if(parsed.ok().filter(|_| usual)?.left)?;
        let mut again = Vec::with_capacity(block.len());
        grove.view(0)?.put(&mut again);
        (again == block).then_some(Node(grove))
    }

    pub(super) fn view(&self) -> View<'_> {
        self.0.view(0).unwrap_or(View::EMPTY)
    }
}

/// Nodes, one behind the other in a few pieces of memory: they are many, small, and mostly of no
/// use soon.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Grove {
    keys: Vec<u8>,
    entries: Vec<Entry>,
    nodes: Vec<Place>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    left: Option<Digest>,
    /// Where in the grove its keys and its entries begin; they end where those of the next do.
    keys: usize,
    entries: usize,
}

impl Grove {
    /// One with room for so many nodes that have so many entries with so many bytes of keys.
    pub(super) fn with_room(nodes: usize, entries: usize, keys: usize) -> Grove {
        Grove {
            keys: Vec::with_capacity(keys),
            entries: Vec::with_capacity(entries),
            nodes: Vec::with_capacity(nodes),
        }
    }

    /// Whether it has room for so many entries and bytes of keys, and not far too much.
    pub(super) fn is_room_for(&self, entries: usize, keys: usize) -> bool {
        let fits = |room: usize, needed: usize| room >= needed && room / 2 <= needed;
        fits(self.entries.capacity(), entries) && fits(self.keys.capacity(), keys)
    }

    pub(super) fn clear(&mut self) {
        self.keys.clear();
        self.entries.clear();
        self.nodes.clear();
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// What it takes in memory, nearly.
    pub(super) fn bytes(&self) -> usize {
        self.keys.len() + size_of_val(&*self.entries) + size_of_val(&*self.nodes)
    }

    pub(super) fn view(&self, at: usize) -> Option<View<'_>> {
        let place = self.nodes.get(at)?;
        let next = self.nodes.get(at + 1);
        let keys = place.keys..next.map_or(self.keys.len(), |next| next.keys);
        Some(View {
            left: place.left,
            keys: self.keys.get(keys)?,
            entries: self.entries.get(self.entries_of(at)?)?,
        })
    }

    fn entries_of(&self, at: usize) -> Option<Range<usize>> {
        let next = self.nodes.get(at + 1);
        let end = next.map_or(self.entries.len(), |next| next.entries);
        Some(self.nodes.get(at)?.entries..end)
    }

    pub(super) fn entries_mut(&mut self, at: usize) -> Option<&mut [Entry]> {
        let entries = self.entries_of(at)?;
        self.entries.get_mut(entries)
    }

    pub(super) fn slot_mut(&mut self, at: usize, slot: usize) -> Option<&mut Option<Digest>> {
        match slot.checked_sub(1) {
            None => self.nodes.get_mut(at).map(|place| &mut place.left),
            Some(entry) => self.entries_mut(at)?.get_mut(entry).map(|entry| &mut entry.right),
        }
    }

    /// Begins a node without entries; its number.
    pub(super) fn begin(&mut self) -> usize {
        let (keys, entries) = (self.keys.len(), self.entries.len());
        self.nodes.push(Place { left: None, keys, entries });
        self.nodes.len() - 1
    }

    /// The node that was begun last.
    pub(super) fn last(&self) -> View<'_> {
        self.nodes.len().checked_sub(1).and_then(|at| self.view(at)).unwrap_or(View::EMPTY)
    }

    /// Adds an entry to it.
    pub(super) fn push(&mut self, key: &[u8], value: Digest, right: Option<Digest>) -> Option<()> {
        let last = self.last();
        let shared = shared(last.key(last.entries.len().wrapping_sub(1)), key) as u32;
        let end = u32::try_from(last.keys.len() + key.len()).ok()?;
        self.keys.extend_from_slice(key);
        self.entries.push(Entry { end, shared, value, right });
        Some(())
    }

    /// Adds some entries of a node elsewhere to it.
    pub(super) fn copy(&mut self, other: &View<'_>, which: Range<usize>) -> Option<()> {
        let entries = other.entries.get(which.clone())?;
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return Some(()) };
        let key = other.key(which.start);
        let from = first.end - key.len() as u32;
        let here = self.last();
        let shared = match here.entries.len().checked_sub(1) {
            None => 0,
            Some(before) => shared(here.key(before), key) as u32,
        };
        let at = u32::try_from(here.keys.len()).ok()?;
        at.checked_add(last.end - from)?;
        let next = self.entries.len();
        self.keys.extend_from_slice(other.keys.get(from as usize..last.end as usize)?);
        self.entries.extend(entries.iter().map(|it| Entry { end: it.end - from + at, ..*it }));
        self.entries.get_mut(next)?.shared = shared;
        Some(())
    }

    /// Adds a node that is elsewhere; its number.
    pub(super) fn add(&mut self, node: &View<'_>) -> usize {
        let (keys, entries) = (self.keys.len(), self.entries.len());
        self.keys.extend_from_slice(node.keys);
        self.entries.extend_from_slice(node.entries);
        self.nodes.push(Place { left: node.left, keys, entries });
        self.nodes.len() - 1
    }
}

/// How many bytes two keys begin with alike.
fn shared(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}
