//! The blocks of one event: hashed, found by CID, and told apart.
//!
//! One [`Blocks`] is filled for event after event, so that after some warm-up
//! nothing is allocated. It holds offsets only; whoever asks brings the event.

use crate::car;
use crate::cid::Cid;
use crate::commit;
use crate::event::Event;
use crate::mst::{self, Node};
use crate::spans::{Role, Span};

/// The blocks of the event it was filled from last.
#[derive(Debug, Default)]
pub struct Blocks {
    /// In the order of the CAR.
    spans: Vec<Span>,
    /// The first 8 bytes of each digest and the place in `spans`, sorted. Digests
    /// are as good as random here: every block has been hashed.
    order: Vec<(u64, u32)>,
    /// Places of nodes that are still to be looked into.
    todo: Vec<u32>,
}

impl Blocks {
    /// Of no event.
    pub fn new() -> Blocks {
        Blocks::default()
    }

    /// Reads the CAR of an event, checks every block's hash and works out which
    /// block is the commit, which are nodes of its tree and which are records of
    /// its operations. An event without a CAR has no blocks. After an error it is
    /// empty.
    pub fn fill(&mut self, body: &[u8], event: &Event<'_>) -> Result<(), car::Error> {
        let root = self.load(body, event)?;
        let root = match event {
            Event::Commit(commit) => Some(commit.commit),
            _ => root,
        };
        if let Some(root) = root {
            self.walk(body, &root);
        }
        if let Event::Commit(commit) = event {
            for cid in commit.ops.filter_map(|op| op.cid) {
                self.mark(body, &cid, Role::Record);
            }
        }
        Ok(())
    }

    /// As [`Blocks::fill`] for who does not ask what each block is: all are [`Role::Other`]. Gives
    /// the first root of the CAR.
    pub fn load(&mut self, body: &[u8], event: &Event<'_>) -> Result<Option<Cid>, car::Error> {
        self.clear();
        let Some((bytes, at)) = event.blocks() else { return Ok(None) };
        let read = self.read(body, bytes, at);
        if read.is_err() {
            self.clear();
        }
        read
    }

    fn clear(&mut self) {
        self.spans.clear();
        self.order.clear();
        self.todo.clear();
    }

    fn read(&mut self, body: &[u8], bytes: &[u8], at: usize) -> Result<Option<Cid>, car::Error> {
        if u32::try_from(body.len()).is_err() {
            return Err(car::Error::Large { length: body.len() });
        }
        let car = car::parse(bytes)?;
        for block in car.blocks() {
            let block = block?;
            block.check()?;
            self.order.push((prefix(&block.cid), self.spans.len() as u32));
            self.spans.push(Span {
                offset: (at + block.offset) as u32,
                length: block.data.len() as u32,
                cid_offset: (at + block.cid_offset) as u32,
                role: Role::Other,
                again: false,
            });
        }
        self.order.sort_unstable();
        self.flag(body);
        Ok(car.root())
    }

    /// Flags the blocks whose CID came before: behind one of the same digest in
    /// `order`.
    fn flag(&mut self, body: &[u8]) {
        let mut run = 0;
        for at in 1..self.order.len() {
            let key = |at: usize| self.order.get(at).map(|(prefix, _)| *prefix);
            if key(at) != key(run) {
                run = at;
                continue;
            }
            let cid = |at: usize| self.order.get(at).and_then(|(_, place)| self.cid(body, *place));
            let again = (run..at).any(|before| cid(before) == cid(at));
            if let Some((_, place)) = self.order.get(at)
                && let Some(span) = self.spans.get_mut(*place as usize)
            {
                span.again = again;
            }
        }
    }

    fn cid<'a>(&self, body: &'a [u8], place: u32) -> Option<&'a [u8]> {
        let at = self.spans.get(place as usize)?.cid_offset as usize;
        body.get(at..at + Cid::BYTES)
    }

    /// The place of the first block under a CID.
    fn place(&self, body: &[u8], cid: &Cid) -> Option<u32> {
        let prefix = prefix(cid);
        let from = self.order.partition_point(|(other, _)| *other < prefix);
        let run = self.order.get(from..)?.iter().take_while(|(other, _)| *other == prefix);
        let mut places = run.map(|(_, place)| *place);
        places.find(|place| self.cid(body, *place) == Some(cid.as_bytes()))
    }

    /// Gives the first block under a CID a role; says where it is if it had
    /// another one.
    fn mark(&mut self, body: &[u8], cid: &Cid, role: Role) -> Option<u32> {
        let place = self.place(body, cid)?;
        let span = self.spans.get_mut(place as usize)?;
        let changed = span.role != role && span.role != Role::Commit;
        if changed {
            span.role = role;
        }
        changed.then_some(place)
    }

    /// Marks the commit and every node that its root leads to. A node is looked
    /// into once, when it gets its role.
    fn walk(&mut self, body: &[u8], root: &Cid) {
        self.mark(body, root, Role::Commit);
        let Some(Ok(commit)) = self.get(body, root).map(commit::parse) else { return };
        let place = self.mark(body, &commit.data, Role::Node);
        self.todo.extend(place);
        while let Some(place) = self.todo.pop() {
            let Some(data) = self.spans.get(place as usize).and_then(|span| data(body, span))
            else {
                continue;
            };
            let Ok(node) = Node::parse(data) else { continue };
            let right = node.entries().filter_map(|entry| entry.right);
            for cid in node.left.into_iter().chain(right) {
                let place = self.mark(body, &cid, Role::Node);
                self.todo.extend(place);
            }
        }
    }

    /// The blocks in the order of the CAR.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// The data under a CID. `body` is the event that this was filled from.
    pub fn get<'a>(&self, body: &'a [u8], cid: &Cid) -> Option<&'a [u8]> {
        let place = self.place(body, cid)?;
        data(body, self.spans.get(place as usize)?)
    }

    /// These blocks as the source of a tree.
    pub fn of<'a>(&'a self, body: &'a [u8]) -> View<'a> {
        View { blocks: self, body }
    }
}

fn prefix(cid: &Cid) -> u64 {
    cid.digest().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

fn data<'a>(body: &'a [u8], span: &Span) -> Option<&'a [u8]> {
    let at = span.offset as usize;
    body.get(at..at + span.length as usize)
}

/// Blocks together with the event they lie in.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    blocks: &'a Blocks,
    body: &'a [u8],
}

impl mst::Source for View<'_> {
    fn block(&self, cid: &Cid) -> Option<&[u8]> {
        self.blocks.get(self.body, cid)
    }
}

#[cfg(test)]
mod tests;
