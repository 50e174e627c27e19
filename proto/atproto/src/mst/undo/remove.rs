//! Taking a create back: a key goes, and what lay on its two sides is one subtree again.

use super::{Item, Link, Undo, below};
use crate::cid::Cid;
use crate::mst::{Error, Source};

impl Undo {
    /// Takes a create back. Whether the tree had it.
    pub(super) fn remove(
        &mut self,
        root: &mut u32,
        key: &[u8],
        cid: Option<Cid>,
        blocks: &impl Source,
    ) -> Result<bool, Error> {
        if !self.descend(*root, key, blocks)? {
            return Ok(false);
        }
        let Some((at, place)) = self.way.pop() else { return Ok(false) };
        if !matches!(self.node(at).get(place), Some(Item::Leaf(_, found)) if Some(*found) == cid) {
            return Ok(false);
        }
        self.check_layer(at, key)?;
        let left = self.gap(at, place).map(|(_, link)| link);
        let right = match self.node(at).get(place + 1) {
            Some(Item::Tree(link)) => Some(*link),
            _ => None,
        };
        let layer = self.layer_of(at);
        if let (Some(left), Some(right)) = (left, right) {
            let merged = self.merge(left, right, layer, blocks)?;
            if let Some(items) = self.change(at) {
                items.splice(place - 1..=place + 1, [Item::Tree(merged)]);
            }
        } else if let Some(items) = self.change(at) {
            items.remove(place);
        }
        // A node with nothing left in it is no node; the way up changes in any case.
        let mut empty = self.node(at).is_empty();
        while let Some((parent, place)) = self.way.pop() {
            if let Some(items) = self.change(parent)
                && empty
            {
                items.remove(place);
            }
            empty = self.node(parent).is_empty();
        }
        self.trim(root, blocks)?;
        Ok(true)
    }

    /// A root without a key of its own gives way to its only subtree, which has to be looked into
    /// because it may have none either.
    fn trim(&mut self, root: &mut u32, blocks: &impl Source) -> Result<(), Error> {
        while let [Item::Tree(only)] = self.node(*root) {
            *root = self.open(*only, self.layer_of(*root), blocks)?;
        }
        Ok(())
    }

    /// Two subtrees of a node of `layer`, the key between which is gone, as one.
    fn merge(
        &mut self,
        left: Link,
        right: Link,
        layer: u32,
        blocks: &impl Source,
    ) -> Result<Link, Error> {
        let (left, right) = (self.open(left, layer, blocks)?, self.open(right, layer, blocks)?);
        let inner = match (self.node(left).last(), self.node(right).first()) {
            (Some(Item::Tree(last)), Some(Item::Tree(first))) => Some((*last, *first)),
            _ => None,
        };
        let merged = inner.map(|(last, first)| self.merge(last, first, below(layer)?, blocks));
        let merged = merged.transpose()?;
        let tail = self.nodes.get_mut(right as usize).map(|node| std::mem::take(&mut node.items));
        let mut tail = tail.unwrap_or_default();
        if let Some(items) = self.change(left) {
            let skip = usize::from(merged.is_some());
            if let (Some(merged), Some(last)) = (merged, items.last_mut()) {
                *last = Item::Tree(merged);
            }
            items.extend(tail.drain(..).skip(skip));
        }
        // Its memory goes back to where it came from.
        if let Some(node) = self.nodes.get_mut(right as usize) {
            node.items = tail;
        }
        Ok(Link::Open(left))
    }
}
