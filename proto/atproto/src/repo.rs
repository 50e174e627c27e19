//! A whole repository, as a host exports it (`com.atproto.sync.getRepo`): a CAR whose first root is
//! the signed commit, with every node of its tree and every record.
//!
//! Proved here is that it holds together: each block hashes to its CID, the tree is whole and in its
//! only form (keys go up, each in the layer of its hash), and no record is missing. Whose signature
//! it bears is for others to ask.

use std::collections::HashMap;

use crate::car;
use crate::cid::Cid;
use crate::commit::{self, Signed};
use crate::mst::{self, DEPTH_MAX, Key, Node};

/// Why bytes are no whole repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not a CAR, or a block that does not hash to its CID.
    #[error(transparent)]
    Car(#[from] car::Error),
    /// It names no root.
    #[error("the CAR names no commit")]
    NoRoot,
    /// The root is no signed commit.
    #[error(transparent)]
    Commit(#[from] commit::Error),
    /// A node that is missing, or that is none.
    #[error(transparent)]
    Tree(#[from] mst::Error),
    /// A block that the tree names is not there.
    #[error("block {0} is missing")]
    Missing(Cid),
    /// A tree that no repository has: keys out of order, in another layer, or empty nodes.
    #[error("the tree is not in its form at node {0}")]
    Form(Cid),
}

/// A repository, borrowed from its CAR.
#[derive(Debug)]
pub struct Repo<'a> {
    /// The CID of the signed commit.
    pub root: Cid,
    /// Its bytes.
    pub block: &'a [u8],
    /// The same, read.
    pub commit: Signed<'a>,
    blocks: HashMap<Cid, &'a [u8]>,
}

impl<'a> Repo<'a> {
    /// Reads a CAR and hashes its blocks.
    ///
    /// # Errors
    /// If it is none, or does not begin with a signed commit.
    pub fn read(bytes: &'a [u8]) -> Result<Repo<'a>, Error> {
        let car = car::parse(bytes)?;
        let root = car.root().ok_or(Error::NoRoot)?;
        let mut blocks = HashMap::new();
        for block in car.blocks() {
            let block = block?;
            block.check()?;
            blocks.insert(block.cid, block.data);
        }
        let block = *blocks.get(&root).ok_or(Error::Missing(root))?;
        let commit = commit::parse(block)?;
        Ok(Repo { root, block, commit, blocks })
    }

    /// Goes through the whole tree: `each` has every path, in ascending order, and its record.
    ///
    /// # Errors
    /// Where the tree is not whole, or not in its form.
    pub fn walk(&self, mut each: impl FnMut(&[u8], &Cid)) -> Result<(), Error> {
        let mut last = Vec::new();
        let data = self.commit.data;
        if data == mst::empty() {
            return Ok(());
        }
        let mut visit = |path: &[u8], cid: &Cid| {
            let is_behind = last.as_slice() < path;
            last.clear();
            last.extend_from_slice(path);
            each(path, cid);
            is_behind
        };
        let layer = self.top(&data)?;
        self.node(&data, layer, true, &mut visit)
    }

    fn get(&self, cid: &Cid) -> Result<Node<'a>, Error> {
        Ok(Node::parse(self.blocks.get(cid).ok_or(Error::Missing(*cid))?)?)
    }

    /// The layer of a root: that of its keys. A root without a key is none.
    fn top(&self, root: &Cid) -> Result<u32, Error> {
        let node = self.get(root)?;
        let first = node.entries().next().ok_or(Error::Form(*root))?;
        let mut key = Key::default();
        Ok(mst::layer(key.next(&first, 0)?))
    }

    /// No deeper than there are layers.
    fn node(
        &self,
        cid: &Cid,
        layer: u32,
        is_root: bool,
        visit: &mut impl FnMut(&[u8], &Cid) -> bool,
    ) -> Result<(), Error> {
        let wrong = || Error::Form(*cid);
        if layer as usize >= DEPTH_MAX {
            return Err(mst::Error::Depth.into());
        }
        let node = self.get(cid)?;
        // Between two keys of distant layers there are nodes of one subtree and no key.
        let is_empty = node.entries().next().is_none();
        if is_empty && (is_root || node.left.is_none()) {
            return Err(wrong());
        }
        let under = |tree: Option<Cid>, visit: &mut _| match tree {
            None => Ok(()),
            Some(tree) => self.node(&tree, layer.checked_sub(1).ok_or_else(wrong)?, false, visit),
        };
        under(node.left, visit)?;
        let mut key = Key::default();
        for (number, entry) in (0..).zip(node.entries()) {
            let path = key.next(&entry, number)?;
            if mst::layer(path) != layer || !visit(path, &entry.value) {
                return Err(wrong());
            }
            if !self.blocks.contains_key(&entry.value) {
                return Err(Error::Missing(entry.value));
            }
            under(entry.right, visit)?;
        }
        Ok(())
    }
}

/// For fuzzing: the paths of what is whole go up.
pub fn fuzz_repo(data: &[u8]) {
    let Ok(repo) = Repo::read(data) else { return };
    let mut paths = Vec::new();
    if repo.walk(|path, _| paths.push(path.to_vec())).is_ok() {
        assert!(paths.is_sorted(), "paths do not go up");
    }
}
