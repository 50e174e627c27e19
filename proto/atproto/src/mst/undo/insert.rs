//! Taking a delete back: a key comes, and the subtree in its place is split at it.

use super::{Item, Link, Place, Undo};
use crate::cid::Cid;
use crate::mst::{Error, Source, layer};

impl Undo {
    /// Takes a delete back. Whether the tree had nothing there.
    pub(super) fn insert(
        &mut self,
        root: &mut u32,
        key: &[u8],
        value: Cid,
        blocks: &impl Source,
    ) -> Result<bool, Error> {
        let mut at = *root;
        let wanted = layer(key);
        let span = self.keep(key);
        let leaf = Item::Leaf(span, value);
        if self.node(at).is_empty() || wanted > self.layer_of(at) {
            return self.insert_above(root, leaf, key, wanted, blocks);
        }
        loop {
            let Place::Before(before) = self.place(at, key) else { return Ok(false) };
            let layer = self.layer_of(at);
            let gap = self.gap(at, before);
            if layer == wanted {
                return self.insert_here(at, before, leaf, key, gap, blocks);
            }
            if self.change(at).is_none() {
                return Ok(false);
            }
            let Some((place, link)) = gap else {
                let mut tree = self.alone(leaf, wanted);
                tree = self.raise(tree, wanted, layer);
                if let Some(items) = self.change(at) {
                    items.insert(before, Item::Tree(tree));
                }
                return Ok(true);
            };
            at = self.enter(at, place, link, blocks)?;
        }
    }

    /// Puts a key above the root, which is split at it.
    fn insert_above(
        &mut self,
        root: &mut u32,
        leaf: Item,
        key: &[u8],
        wanted: u32,
        blocks: &impl Source,
    ) -> Result<bool, Error> {
        let layer = self.layer_of(*root);
        let mut sides = (None, None);
        if !self.node(*root).is_empty() {
            let Some(split) = self.split(*root, key, blocks)? else { return Ok(false) };
            sides = split;
        }
        let left = sides.0.map(|link| self.raise(link, layer, wanted));
        let right = sides.1.map(|link| self.raise(link, layer, wanted));
        let at = self.fresh(wanted);
        if let Some(items) = self.change(at) {
            items.extend(left.map(Item::Tree));
            items.push(leaf);
            items.extend(right.map(Item::Tree));
        }
        *root = at;
        Ok(true)
    }

    /// Puts a key into the node of its layer; a subtree in its gap is split at it.
    fn insert_here(
        &mut self,
        at: u32,
        before: usize,
        leaf: Item,
        key: &[u8],
        gap: Option<(usize, Link)>,
        blocks: &impl Source,
    ) -> Result<bool, Error> {
        let mut sides = (None, None);
        let mut from = before;
        if let Some((place, link)) = gap {
            let child = self.enter(at, place, link, blocks)?;
            let Some(split) = self.split(child, key, blocks)? else { return Ok(false) };
            sides = split;
            from = place;
        }
        if let Some(items) = self.change(at) {
            let (left, right) = (sides.0.map(Item::Tree), sides.1.map(Item::Tree));
            items.splice(from..before, left.into_iter().chain([leaf]).chain(right));
        }
        Ok(true)
    }

    /// What is before and what is behind a key in a subtree; nothing if the key is in it.
    #[expect(clippy::type_complexity, reason = "either side may be empty")]
    fn split(
        &mut self,
        at: u32,
        key: &[u8],
        blocks: &impl Source,
    ) -> Result<Option<(Option<Link>, Option<Link>)>, Error> {
        let Place::Before(before) = self.place(at, key) else { return Ok(None) };
        let (gap, count) = (self.gap(at, before), self.node(at).len());
        let Some((place, link)) = gap else {
            // All of it is on one side and stays what it is.
            if before == 0 {
                return Ok(Some((None, Some(Link::Open(at)))));
            }
            if before == count {
                return Ok(Some((Some(Link::Open(at)), None)));
            }
            let right = self.cut(at, before, before, None);
            return Ok(Some((Some(Link::Open(at)), Some(right))));
        };
        let child = self.enter(at, place, link, blocks)?;
        let Some((left, right)) = self.split(child, key, blocks)? else { return Ok(None) };
        if right.is_none() && before == count {
            // The subtree is before the key as a whole.
            return Ok(Some((Some(Link::Open(at)), None)));
        }
        if left.is_none() && place == 0 {
            return Ok(Some((None, Some(Link::Open(at)))));
        }
        let behind = self.cut(at, place, before, right);
        if let (Some(left), Some(items)) = (left, self.change(at)) {
            items.push(Item::Tree(left));
        }
        Ok(Some((Some(Link::Open(at)), Some(behind))))
    }

    /// Leaves the items up to `end` in a node and puts those from `from` on into another one,
    /// behind `first`.
    fn cut(&mut self, at: u32, end: usize, from: usize, first: Option<Link>) -> Link {
        let right = self.fresh(self.layer_of(at));
        let mut items = match self.nodes.get_mut(right as usize) {
            Some(node) => std::mem::take(&mut node.items),
            None => Vec::new(),
        };
        items.extend(first.map(Item::Tree));
        if let Some(left) = self.change(at) {
            items.extend(left.drain(from..));
            left.truncate(end);
        }
        if let Some(node) = self.nodes.get_mut(right as usize) {
            node.items = items;
        }
        Link::Open(right)
    }

    /// A node with one key.
    fn alone(&mut self, leaf: Item, layer: u32) -> Link {
        let at = self.fresh(layer);
        if let Some(items) = self.change(at) {
            items.push(leaf);
        }
        Link::Open(at)
    }

    /// Puts nodes without keys above a subtree of layer `from`, up to the one below `under`.
    fn raise(&mut self, tree: Link, from: u32, under: u32) -> Link {
        let mut tree = tree;
        for layer in from + 1..under {
            let at = self.fresh(layer);
            if let Some(items) = self.change(at) {
                items.push(Item::Tree(tree));
            }
            tree = Link::Open(at);
        }
        tree
    }
}
