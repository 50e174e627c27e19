//! One event, taken apart and put together.
//!
//! [`Stream::Form`] has for each event its kind, then whether its kept sections are those of the
//! event before (0), follow in [`Stream::Sections`] behind their length (1), or are the verdict `ok`
//! and a key alone (2; not in codec 2): then come the key's curve and a varint of the verdict's
//! notes, and elsewhere a bit that is set if the point's second coordinate is odd, and in
//! [`Stream::Point`] its first.
//!
//! | kind | event                                                                          |
//! |-----:|--------------------------------------------------------------------------------|
//! |    0 | as it came: length and bytes in [`Stream::Raw`]                                  |
//! |    1 | a commit, see below                                                            |
//! |    2 | two objects, see [`super::object`]                                               |
//!
//! Of a commit go, in this order, into [`Stream::Form`] unless another is named:
//!
//! | field   | meaning                                                                     |
//! |---------|-----------------------------------------------------------------------------|
//! | form    | three bytes, see [`Form`]                                                   |
//! | seq     | signed number in `Number`: how far it is from the frame's, if that is not as with the commit before |
//! | rev     | in `Time`: how long before the account's last rev, or the first of the account before, see [`super::path`] |
//! | since   | in `Time`: how long before the rev; if the form says so                        |
//! | time    | in `Time`: milliseconds after the rev, or in `Text`, behind its length            |
//! | ops     | in `Op`: count, and for each a byte (bits 0-1 action: create, update, delete; 2-3 record: none, in the event, a hash, in the event and no object; 4-5 `prev`: not there, null, what the account's tree has, a hash) and its path; then its record |
//! | tree    | see [`super::tree`], or a hash                                                |
//! | sig     | in `Signature`, or in `Raw` behind its length                                  |
//! | others  | in `Op`: count of other blocks, each 0 and an object or 1 and bytes            |
//! | order   | in `Op`: 0, or 1 and for each block of the CAR but the last, which of those that are left it is |
//!
//! The blocks are, in the order that needs no telling: the tree from the root down, the records,
//! the commit, the others. What the form does not provide for makes an event one of kind 0.

mod put;
mod take;

use std::sync::Arc;

use atproto::mst::Undo;
use atproto::{PlcDid, Tid};

use crate::codec::Facts;
use crate::codec::object::Objects;
use crate::codec::path::Collections;
use crate::codec::tree::{Base, Nodes, Tree};
use crate::codec::write::Digest;

const RAW: u8 = 0;
const COMMIT: u8 = 1;
const OBJECTS: u8 = 2;

/// What an operation has at most, mostly.
const OP_BYTES: usize = 192;

/// What both sides know at any place of a block.
#[derive(Debug)]
pub(crate) struct State {
    collections: Collections,
    objects: Objects,
    undo: Undo,
    nodes: Nodes,
    tree: Tree,
    account: String,
    did: Option<PlcDid>,
    /// Of the account, if it had a commit.
    rev: Option<Tid>,
    /// The first rev of the account before, or of this one.
    anchor: Tid,
    /// How far the last commit's seq was from that of its frame.
    ahead: u64,
    sections: Vec<u8>,
    /// What the accounts before ended with; those that are to be kept.
    ended: Option<super::Bases>,
}

impl Default for State {
    fn default() -> State {
        State {
            collections: Collections::default(),
            objects: Objects::default(),
            undo: Undo::new(),
            nodes: Nodes::default(),
            tree: Tree::default(),
            account: String::new(),
            did: None,
            rev: None,
            anchor: Tid(0),
            ahead: 0,
            sections: Vec::new(),
            ended: None,
        }
    }
}

impl State {
    pub(crate) fn clear(&mut self) {
        self.collections.clear();
        self.objects.clear();
        self.nodes.clear();
        self.account.clear();
        if let Some(ended) = &mut self.ended {
            ended.clear();
        }
        (self.did, self.rev, self.anchor, self.ahead) = (None, None, Tid(0), 0);
        self.sections.clear();
    }

    /// Keeps what accounts end with from here on.
    pub(crate) fn keep(&mut self) {
        self.ended = Some(Vec::new());
    }

    /// The block is over; what its accounts ended with.
    pub(crate) fn end(&mut self) -> super::Bases {
        self.leave();
        self.ended.replace(Vec::new()).unwrap_or_default()
    }

    fn leave(&mut self) {
        if let Some(ended) = &mut self.ended
            && let Some(base) = self.nodes.end(self.rev)
        {
            ended.push((self.account.as_str().into(), Arc::new(base)));
        }
    }

    fn turn_to(&mut self, account: &str, base: Option<Arc<Base>>) {
        if self.account != account {
            self.leave();
            self.account.clear();
            self.account.push_str(account);
            self.did = PlcDid::parse(account);
            self.nodes.clear();
            self.objects.no_commit();
            self.rev = None;
            if let Some(base) = base {
                self.rev = base.rev;
                self.nodes.begin(&base);
            }
        }
    }

    fn facts(&self, seq: u64, rev: Tid) -> Facts {
        Facts { did: self.did, seq: seq.wrapping_add(self.ahead), rev }
    }

    fn after_commit(&mut self, rev: Tid, digest: &Digest, block: &[u8]) {
        if self.rev.is_none() {
            self.anchor = rev;
        }
        self.rev = Some(rev);
        self.objects.commit(digest, block);
    }
}
