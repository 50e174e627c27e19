//! The Merkle search tree of a repository, as far as an event carries it.
//!
//! A node is strict DAG-CBOR: `e`, an array of entries, and `l`, the link to the
//! subtree before the first entry or `null`. An entry is `k` (bytes: the key
//! behind what it shares with the key before), `p` (how many bytes it shares, and
//! no fewer than it does), `t` (link to the subtree behind it or `null`) and `v`
//! (link to the record).
//! Unknown fields are refused: nobody could build the same node again.
//!
//! An event carries some nodes only, so every walk ends in a value, in absence,
//! or in [`Error::MissingBlock`], which is no proof of anything.

mod build;
mod undo;

pub use build::root;
pub use undo::{Fault, Undo, fuzz_undo};

use sha2::{Digest, Sha256};

use crate::cbor::{self, Cause, Reader};
use crate::cid::Cid;

/// Longest key, in bytes: the specification's 1,024.
pub const KEY_BYTES_MAX: usize = 1024;
/// Most entries of a node. The mean is 4; chance does not come near this.
pub const ENTRIES_MAX: u64 = 4096;
/// Most nodes on one way down: a key hash has 128 pairs of bits, so the layers are
/// 0 to 128.
pub const DEPTH_MAX: usize = 129;

/// The root of the tree without records: a node with no entry and no link.
pub fn empty() -> Cid {
    Cid::dag_cbor(&[0xa2, 0x61, b'e', 0x80, 0x61, b'l', 0xf6])
}

/// Why a tree cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not strict DAG-CBOR of that form.
    #[error("tree node: {0}")]
    Cbor(#[from] cbor::Error),
    /// A field that nodes do not have, or one that is not there.
    #[error("tree node: fields at offset {offset} are not those of a node")]
    Fields {
        /// Offset of the object.
        offset: usize,
    },
    /// An entry shares more with the key before than that has, is empty, or is
    /// over [`KEY_BYTES_MAX`].
    #[error("tree node: no key at entry {entry}")]
    Key {
        /// Which entry.
        entry: u64,
    },
    /// Keys do not go up.
    #[error("tree node: entry {entry} is not behind the one before")]
    Order {
        /// Which entry.
        entry: u64,
    },
    /// An entry shares more with the key before than it says: the same node has another form.
    #[error("tree node: entry {entry} repeats what it shares with the one before")]
    Prefix {
        /// Which entry.
        entry: u64,
    },
    /// A key in another layer than its hash says, or outside the gap of its subtree.
    #[error("tree: a key is not in its place")]
    Place,
    /// More than [`ENTRIES_MAX`].
    #[error("tree node of {0} entries is over {ENTRIES_MAX}")]
    Entries(u64),
    /// More than [`DEPTH_MAX`] nodes on one way down.
    #[error("tree is deeper than {DEPTH_MAX}")]
    Depth,
    /// A node on the way is not among the blocks.
    #[error("tree node {0} is not among the blocks")]
    MissingBlock(Cid),
}

/// Where the blocks of a partial tree come from.
pub trait Source {
    /// The data under a CID, if they are here.
    fn block(&self, cid: &Cid) -> Option<&[u8]>;
}

/// One node, borrowed from its block.
#[derive(Debug, Clone, Copy)]
pub struct Node<'a> {
    /// The subtree before the first entry.
    pub left: Option<Cid>,
    entries: Entries<'a>,
}

/// One entry of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// How many bytes the key shares with the one before.
    pub shared: usize,
    /// The rest of the key.
    pub suffix: &'a [u8],
    /// The record.
    pub value: Cid,
    /// The subtree behind the entry.
    pub right: Option<Cid>,
}

impl<'a> Node<'a> {
    /// Reads a node and checks that its keys are whole and go up.
    pub fn parse(block: &'a [u8]) -> Result<Node<'a>, Error> {
        Node::read(block, &mut Key::default(), |_, _| {})
    }

    /// As [`Node::parse`], with each entry and its key on the way. `key` is a buffer.
    pub fn read(
        block: &'a [u8],
        key: &mut Key,
        mut each: impl FnMut(&[u8], &Entry<'a>),
    ) -> Result<Node<'a>, Error> {
        key.length = 0;
        let mut reader = Reader::new(block);
        let mut map = reader.map()?;
        if map.left() != 2 || map.next_name(&mut reader)? != Some(b"e") {
            return Err(Error::Fields { offset: 0 });
        }
        let left = reader.array()?;
        if left > ENTRIES_MAX {
            return Err(Error::Entries(left));
        }
        let entries = Entries { reader, left };
        for number in 0..left {
            let entry = Entry::read(&mut reader)?;
            each(key.next(&entry, number)?, &entry);
        }
        if map.next_name(&mut reader)? != Some(b"l") {
            return Err(Error::Fields { offset: 0 });
        }
        let left = reader.cid_or_null()?;
        reader.end()?;
        Ok(Node { left, entries })
    }

    /// The entries in their order.
    pub fn entries(&self) -> Entries<'a> {
        self.entries
    }
}

impl<'a> Entry<'a> {
    /// An entry whose key and count are short, as most are.
    fn usual(reader: &mut Reader<'a>) -> Option<Entry<'a>> {
        let suffix = reader.is_next(b"\xa4\x61k").then(|| reader.usual_string(0x40))??;
        let shared = reader.is_next(b"\x61p").then(|| reader.usual_uint())??;
        let right = reader.is_next(b"\x61t").then(|| reader.usual_cid_or_null())??;
        let value = reader.is_next(b"\x61v").then(|| reader.usual_cid())??;
        Some(Entry { shared: usize::try_from(shared).ok()?, suffix, value, right })
    }

    fn read(reader: &mut Reader<'a>) -> Result<Entry<'a>, Error> {
        let mut ahead = *reader;
        if let Some(entry) = Entry::usual(&mut ahead) {
            *reader = ahead;
            return Ok(entry);
        }
        Entry::any(reader)
    }

    fn any(reader: &mut Reader<'a>) -> Result<Entry<'a>, Error> {
        let offset = reader.position();
        let mut map = reader.map()?;
        let other = Err(Error::Fields { offset });
        if map.left() != 4 || map.next_key(reader)? != Some("k") {
            return other;
        }
        let suffix = reader.bytes()?;
        if map.next_key(reader)? != Some("p") {
            return other;
        }
        let at = reader.position();
        let shared = usize::try_from(reader.uint()?)
            .map_err(|_| cbor::Error { offset: at, cause: Cause::Range })?;
        if map.next_key(reader)? != Some("t") {
            return other;
        }
        let right = reader.cid_or_null()?;
        if map.next_key(reader)? != Some("v") {
            return other;
        }
        Ok(Entry { shared, suffix, value: reader.cid()?, right })
    }
}

/// The entries of a node. They were read when the node was.
#[derive(Debug, Clone, Copy)]
pub struct Entries<'a> {
    reader: Reader<'a>,
    left: u64,
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        self.left = self.left.checked_sub(1)?;
        Entry::read(&mut self.reader).ok()
    }
}

/// A key, put together entry by entry in a buffer of its own.
#[derive(Debug, Clone)]
pub struct Key {
    bytes: [u8; KEY_BYTES_MAX],
    length: usize,
}

impl Default for Key {
    fn default() -> Key {
        Key { bytes: [0; KEY_BYTES_MAX], length: 0 }
    }
}

impl Key {
    /// The key as it stands: empty before the first entry.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// Goes on to the key of the next entry of the same node; `number` is for the
    /// error.
    pub fn next(&mut self, entry: &Entry<'_>, number: u64) -> Result<&[u8], Error> {
        let Some(tail) = self.as_bytes().get(entry.shared..) else {
            return Err(Error::Key { entry: number });
        };
        let length = entry.shared + entry.suffix.len();
        if length == 0 || length > KEY_BYTES_MAX {
            return Err(Error::Key { entry: number });
        }
        if entry.suffix <= tail {
            return Err(Error::Order { entry: number });
        }
        if !tail.is_empty() && entry.suffix.first() == tail.first() {
            return Err(Error::Prefix { entry: number });
        }
        if let Some(place) = self.bytes.get_mut(entry.shared..length) {
            place.copy_from_slice(entry.suffix);
        }
        self.length = length;
        Ok(self.as_bytes())
    }
}

/// The layer of a key, 0 at the bottom: how many pairs of zero bits its SHA-256
/// begins with.
pub fn layer(key: &[u8]) -> u32 {
    let mut zeros = 0;
    for byte in Sha256::digest(key) {
        zeros += byte.leading_zeros();
        if byte != 0 {
            break;
        }
    }
    zeros / 2
}

/// Looks a path up in the tree under `root`: its record, or `None` when the tree
/// proves that it has none.
pub fn find(path: &str, root: &Cid, blocks: &impl Source) -> Result<Option<Cid>, Error> {
    let path = path.as_bytes();
    let mut next = Some(*root);
    let mut depth = 0;
    while let Some(cid) = next {
        if depth == DEPTH_MAX {
            return Err(Error::Depth);
        }
        depth += 1;
        let node = Node::parse(blocks.block(&cid).ok_or(Error::MissingBlock(cid))?)?;
        next = node.left;
        let mut key = Key::default();
        for (number, entry) in (0..).zip(node.entries()) {
            match key.next(&entry, number)?.cmp(path) {
                std::cmp::Ordering::Less => next = entry.right,
                std::cmp::Ordering::Equal => return Ok(Some(entry.value)),
                std::cmp::Ordering::Greater => break,
            }
        }
    }
    Ok(None)
}

/// For fuzzing: every key of a node that reads is found in it, and goes up; what is read the short way
/// is read the long way too.
pub fn fuzz_mst(data: &[u8]) {
    for at in 0..data.len().min(256) {
        let data = data.get(at..).unwrap_or_default();
        let (mut short, mut long) = (Reader::new(data), Reader::new(data));
        let entry = Entry::usual(&mut short);
        let is_same =
            |entry| Entry::any(&mut long) == Ok(entry) && short.position() == long.position();
        assert!(entry.is_none_or(is_same), "an entry");
    }
    struct One<'a>(Cid, &'a [u8]);
    impl Source for One<'_> {
        fn block(&self, cid: &Cid) -> Option<&[u8]> {
            (self.0 == *cid).then_some(self.1)
        }
    }
    let Ok(node) = Node::parse(data) else { return };
    let source = One(Cid::dag_cbor(data), data);
    let mut key = Key::default();
    let mut count = 0;
    for entry in node.entries().take(32) {
        let last = key.clone();
        let key = key.next(&entry, count);
        assert!(key.is_ok_and(|key| last.as_bytes() < key), "keys do not go up");
        if let Ok(path) = std::str::from_utf8(key.unwrap_or_default()) {
            assert!(find(path, &source.0, &source) == Ok(Some(entry.value)), "a key is lost");
        }
        count += 1;
    }
    assert!(count == node.entries.left.min(32), "entries are lost");
}

#[cfg(test)]
mod tests;
