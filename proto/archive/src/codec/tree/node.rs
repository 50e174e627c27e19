//! Nodes as they lie in memory.

use std::ops::Range;

use atproto::mst;

use super::super::write::{self, Digest};

/// A node, taken apart: one of a [`Grove`], or a [`Node`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
const NODE_HEAD: &[u8] = b"\xa2\x61e";
const ENTRY_HEAD: [u8; 3] = *b"\xa4\x61k";
const SHARED_HEAD: [u8; 2] = *b"\x61p";
const NO_RIGHT: [u8; 3] = *b"\x61t\xf6";
const RIGHT_HEAD: [u8; 11] = *b"\x61t\xd8\x2a\x58\x25\x00\x01\x71\x12\x20";
const VALUE_HEAD: [u8; 11] = *b"\x61v\xd8\x2a\x58\x25\x00\x01\x71\x12\x20";
const LEFT_HEAD: [u8; 11] = *b"\x61l\xd8\x2a\x58\x25\x00\x01\x71\x12\x20";

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

    pub(super) fn first_key(&self) -> Option<&'a [u8]> {
        (!self.entries.is_empty()).then(|| self.key(0))
    }

    /// Appends the node's block.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        // No fewer bytes than it has.
        out.reserve(self.keys.len() + 128 * self.entries.len() + 64);
        out.extend_from_slice(NODE_HEAD);
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
        // What is new is mostly behind all that there is.
        if high > 0 && self.key(high - 1) < key {
            return Err(high);
        }
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

/// A node by itself, with its block.
#[derive(Debug)]
pub(crate) struct Node<'b> {
    grove: Grove,
    pub(super) block: &'b [u8],
}

impl<'b> Node<'b> {
    /// Takes a node apart; `None` for what [`View::put`] would not make again.
    pub(crate) fn read(block: &'b [u8]) -> Option<Node<'b>> {
        let mut grove = Grove::default();
        grove.read(block)?;
        Some(Node { grove, block })
    }

    pub(super) fn view(&self) -> View<'_> {
        self.grove.view(0).unwrap_or(View::EMPTY)
    }
}

/// Nodes, one behind the other in a few pieces of memory: they are many, small, and mostly of no
/// use soon.
#[derive(Debug, Default)]
pub(crate) struct Grove {
    keys: Vec<u8>,
    entries: Vec<Entry>,
    nodes: Vec<Place>,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    left: Option<Digest>,
    /// Where in the grove its keys and its entries begin; they end where those of the next do.
    keys: usize,
    entries: usize,
}

#[cfg(test)]
thread_local! {
    static BLOCKS_READ: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

impl Grove {
    /// How many blocks this thread has taken apart.
    #[cfg(test)]
    pub(super) fn blocks_read() -> usize {
        BLOCKS_READ.get()
    }

    pub(super) fn clear(&mut self) {
        self.keys.clear();
        self.entries.clear();
        self.nodes.clear();
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
        let node = self.nodes.last()?;
        let keys = self.keys.get(node.keys..)?;
        let before = match self.entries.get(node.entries..)? {
            [.., before, last] => keys.get(before.end as usize..last.end as usize)?,
            [last] => keys.get(..last.end as usize)?,
            [] => &[],
        };
        let shared = shared(before, key) as u32;
        let end = u32::try_from(keys.len() + key.len()).ok()?;
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

    /// Adds the node of a block; `None` for what [`View::put`] would not make again, and of no use
    /// then what was added last. [`mst::Node::read`] tells every fault and takes every form; here one
    /// form is wanted, of each node that another is written against.
    pub(super) fn read(&mut self, block: &[u8]) -> Option<()> {
        #[cfg(test)]
        BLOCKS_READ.set(BLOCKS_READ.get() + 1);
        let mut rest = block.strip_prefix(NODE_HEAD)?;
        self.begin();
        let keys = self.keys.len();
        let mut before = keys..keys;
        let count = take_head(&mut rest, 4)?;
        if count as u64 > mst::ENTRIES_MAX {
            return None;
        }
        for _ in 0..count {
            rest = rest.strip_prefix(&ENTRY_HEAD)?;
            let length = take_head(&mut rest, 2)?;
            let (suffix, behind) = rest.split_at_checked(length)?;
            rest = behind.strip_prefix(&SHARED_HEAD)?;
            let shared = take_head(&mut rest, 0)?;
            let differs = before.start.checked_add(shared).filter(|at| *at <= before.end)?;
            let other = self.keys.get(differs..before.end)?.first();
            // Keys go up, and share what they can.
            if suffix.first() <= other || shared + length > mst::KEY_BYTES_MAX {
                return None;
            }
            let start = self.keys.len();
            self.keys.extend_from_within(before.start..differs);
            self.keys.extend_from_slice(suffix);
            before = start..self.keys.len();
            let right = match rest.split_first_chunk() {
                Some((&NO_RIGHT, behind)) => {
                    rest = behind;
                    None
                }
                _ => Some(take_digest(&mut rest, RIGHT_HEAD)?),
            };
            let value = take_digest(&mut rest, VALUE_HEAD)?;
            let (end, shared) = (u32::try_from(before.end - keys).ok()?, shared as u32);
            self.entries.push(Entry { end, shared, value, right });
        }
        let left = match rest {
            b"\x61l\xf6" => None,
            _ => Some(take_digest(&mut rest, LEFT_HEAD).filter(|_| rest.is_empty())?),
        };
        self.nodes.last_mut()?.left = left;
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

/// Takes a head of this major type, in its shortest form: its value.
fn take_head(rest: &mut &[u8], major: u8) -> Option<usize> {
    let (first, behind) = rest.split_first()?;
    let low = first.checked_sub(major << 5)?;
    let (value, behind) = match low {
        0..24 => (usize::from(low), behind),
        24 => {
            let (value, behind) = behind.split_first()?;
            (usize::from(*value).checked_sub(24)? + 24, behind)
        }
        25 => {
            let (value, behind) = behind.split_first_chunk()?;
            let value = usize::from(u16::from_be_bytes(*value));
            (value.checked_sub(0x100)? + 0x100, behind)
        }
        _ => return None,
    };
    *rest = behind;
    Some(value)
}

/// Takes a link that stands behind these bytes.
fn take_digest(rest: &mut &[u8], head: [u8; 11]) -> Option<Digest> {
    let (digest, behind) = rest.strip_prefix(&head)?.split_first_chunk()?;
    *rest = behind;
    Some(*digest)
}

/// How many bytes two keys begin with alike.
fn shared(a: &[u8], b: &[u8]) -> usize {
    let same = |(a, b): &(&[u8; 8], &[u8; 8])| a == b;
    let words = a.as_chunks().0.iter().zip(b.as_chunks().0).take_while(same).count();
    let rest = a.iter().zip(b).skip(8 * words);
    8 * words + rest.take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The block of a node with these keys, and a link behind each of which the number is odd.
    fn block(keys: &std::collections::BTreeSet<Vec<u8>>, left: Option<Digest>) -> Vec<u8> {
        let mut grove = Grove::default();
        grove.begin();
        for (at, key) in (0u8..=255).cycle().zip(keys) {
            grove.push(key, [at; 32], (at % 2 == 1).then_some([!at; 32])).unwrap();
        }
        *grove.slot_mut(0, 0).unwrap() = left;
        let mut block = Vec::new();
        grove.view(0).unwrap().put(&mut block);
        block
    }

    /// What the room of the protocol reads of a block, if it would be made again as it is.
    fn as_the_protocol_reads(block: &[u8]) -> Option<Grove> {
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
        let mut again = Vec::new();
        grove.view(0)?.put(&mut again);
        (again == block).then_some(grove)
    }

    fn is_read_as_the_protocol_does(block: &[u8]) -> bool {
        let mut grove = Grove::default();
        let read = grove.read(block).and_then(|()| grove.view(0));
        let wanted = as_the_protocol_reads(block);
        assert_eq!(read, wanted.as_ref().and_then(|wanted| wanted.view(0)), "{block:02x?}");
        wanted.is_some()
    }

    proptest! {
        #[test]
        fn a_block_is_read_as_the_protocol_does(
            keys in prop::collection::btree_set(prop::collection::vec(b'a'..b'd', 1..40), 0..30),
            left in prop::option::of(any::<[u8; 32]>()),
            flips in prop::collection::vec((any::<prop::sample::Index>(), 0..8u32), 40),
        ) {
            let block = block(&keys, left);
            prop_assert!(is_read_as_the_protocol_does(&block));
            for (at, bit) in flips {
                let mut other = block.clone();
                other[at.index(block.len())] ^= 1 << bit;
                is_read_as_the_protocol_does(&other);
                is_read_as_the_protocol_does(&block[..at.index(block.len())]);
            }
        }
    }

    #[test]
    fn nodes_have_no_more_entries_than_the_protocol_lets_them() {
        let keys = |count| (0..count).map(|key| format!("{key:05}").into_bytes()).collect();
        assert!(is_read_as_the_protocol_does(&block(&keys(mst::ENTRIES_MAX), None)));
        assert!(!is_read_as_the_protocol_does(&block(&keys(mst::ENTRIES_MAX + 1), None)));
    }

    #[test]
    fn keys_as_long_as_they_may_be_are_read_and_no_longer_ones() {
        let key = |length| [vec![b'k'; length]].into();
        let block = |length| block(&key(length), None);
        assert!(is_read_as_the_protocol_does(&block(mst::KEY_BYTES_MAX)));
        assert!(!is_read_as_the_protocol_does(&block(mst::KEY_BYTES_MAX + 1)));
    }
}
