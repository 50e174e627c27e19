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

use std::sync::Arc;

use atproto::limits::OPS_MAX;
use atproto::mst::Undo;
use atproto::{PlcDid, Tid, datetime, event};

use super::commit::{
    ACTIONS, BLOCKS_MAX, Blocks, Envelope, Form, Parts, SIGNATURE_BYTES, action, cid, commit_block,
    put_order, take_order,
};
use super::object::Objects;
use super::path::{Collections, Near, put_tid, take_tid};
use super::proved::Proved;
use super::streams::{In, Out, Stream};
use super::tree::{Base, Context, Nodes, Tree};
use super::write::{self, Digest};
use super::{Facts, Given, Meta};

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

    fn turn_to(&mut self, account: &str, base: Option<&Base>) {
        if self.account != account {
            self.leave();
            self.account.clear();
            self.account.push_str(account);
            self.did = PlcDid::parse(account);
            self.nodes.clear();
            self.objects.no_commit();
            self.rev = None;
            if let Some(base) = base {
                self.nodes.begin(base);
                self.rev = base.rev;
            }
        }
    }

    fn facts(&self, seq: u64, rev: Tid) -> Facts {
        Facts { did: self.did, seq: seq.wrapping_add(self.ahead), rev }
    }

    /// Takes an event apart; `None`: it has to be kept whole, and `out` is of no use any more.
    pub(crate) fn put(&mut self, out: &mut Out, given: &Given<'_>, whole: bool) -> Option<()> {
        self.turn_to(given.did, given.base);
        let parts = if whole { None } else { Parts::of(given) };
        let objects = if whole || parts.is_some() { None } else { self.two_objects(given.body) };
        let kind = match (&parts, objects) {
            (Some(_), _) => COMMIT,
            (None, Some(_)) => OBJECTS,
            (None, None) => RAW,
        };
        out.byte(Stream::Form, kind);
        self.put_sections(out, given.sections);
        match (parts, objects) {
            (Some(parts), _) => self.put_commit(out, given, parts),
            (None, Some(middle)) => {
                let (header, body) = given.body.split_at_checked(middle)?;
                let rev = self.rev.unwrap_or(self.anchor);
                for object in [header, body] {
                    let facts = self.facts(given.seq, rev);
                    self.objects.put(out, &facts, object)?;
                }
                Some(())
            }
            (None, None) => {
                out.text(Stream::Raw, given.body);
                Some(())
            }
        }
    }

    fn put_sections(&mut self, out: &mut Out, sections: &[u8]) {
        let other = self.sections != sections;
        if other {
            match Proved::of(sections) {
                Some(proved) => {
                    out.byte(Stream::Form, 2);
                    proved.put(out);
                }
                None => {
                    out.byte(Stream::Form, 1);
                    out.text(Stream::Sections, sections);
                }
            }
            self.sections.clear();
            self.sections.extend_from_slice(sections);
        } else {
            out.byte(Stream::Form, 0);
        }
    }

    /// Where the second of two objects begins, if the event is that.
    fn two_objects(&mut self, body: &[u8]) -> Option<usize> {
        let middle = self.objects.measure(body)?;
        let rest = body.get(middle..)?;
        (self.objects.measure(rest)? == rest.len()).then_some(middle)
    }

    fn put_commit(&mut self, out: &mut Out, given: &Given<'_>, mut parts: Parts<'_>) -> Option<()> {
        let rev = parts.rev;
        let top = parts.node(&parts.data, &[]);
        self.decide(given, &mut parts, top.is_some());
        out.bytes(Stream::Form, &parts.form.bytes());
        if parts.form.other_seq {
            self.ahead = parts.seq.wrapping_sub(given.seq);
            out.signed(Stream::Number, self.ahead as i64);
        }
        put_tid(out, Stream::Time, self.rev.unwrap_or(self.anchor), rev);
        if parts.form.since == 3 {
            put_tid(out, Stream::Time, rev, parts.since?);
        }
        match datetime::parse(parts.time).filter(|_| !parts.form.time_text) {
            Some(ms) => out.signed(Stream::Time, ms - Facts::ms(rev)),
            None => out.text(Stream::Text, parts.time.as_bytes()),
        }
        if parts.form.blobs == 2 {
            out.varint(Stream::Form, parts.blobs.len() as u64);
            parts.blobs.iter().for_each(|blob| out.bytes(Stream::Hash, blob));
        }
        if parts.form.prev_data == 4 {
            out.bytes(Stream::Hash, &parts.prev_data?);
        }
        let mut places: Vec<usize> = Vec::with_capacity(parts.blocks.len());
        let written = self.put_ops(out, given, &parts, &mut places)?;
        let records = std::mem::take(&mut places);
        self.tree.clear();
        match parts.form.root {
            0 => {
                let context = Context { rev, written: &written, nodes: &self.nodes };
                let node = |digest: &Digest| parts.node(digest, &records);
                let tree = &mut self.tree;
                // What is taken for a record is no node.
                let top = top.filter(|_| {
                    parts.place(&parts.data).is_some_and(|place| !records.contains(&place))
                });
                tree.put(out, &mut self.collections, &context, (&parts.data, top?), &node)?;
                let place = |digest: &Digest| parts.place(digest);
                places.extend(tree.built.iter().filter_map(|built| place(&built.digest)));
            }
            2 => out.bytes(Stream::Hash, &parts.data),
            _ => {}
        }
        places.extend(records);
        places.push(parts.commit_at);
        if parts.form.other_sig {
            out.text(Stream::Raw, parts.sig);
        } else {
            out.bytes(Stream::Signature, parts.sig);
        }
        self.put_others(out, given, &parts, &mut places)?;
        let told = places.iter().enumerate().any(|(at, place)| at != *place);
        out.byte(Stream::Op, u8::from(told));
        if told {
            put_order(out, &places);
        }
        self.nodes.commit(parts.data, &mut self.tree);
        let block = parts.blocks.get(parts.commit_at)?;
        self.after_commit(rev, &block.0, block.1);
        Some(())
    }

    fn after_commit(&mut self, rev: Tid, digest: &Digest, block: &[u8]) {
        if self.rev.is_none() {
            self.anchor = rev;
        }
        self.rev = Some(rev);
        self.objects.commit(digest, block);
    }

    /// Which of the commit's fields are as expected.
    fn decide(&mut self, given: &Given<'_>, parts: &mut Parts<'_>, has_top: bool) {
        parts.form.other_seq = parts.seq != given.seq.wrapping_add(self.ahead);
        if parts.form.since == 3 && parts.since == self.rev {
            parts.form.since = 2;
        }
        parts.form.time_text = datetime::parse(parts.time).is_none();
        parts.form.other_sig = parts.sig.len() != SIGNATURE_BYTES;
        parts.form.root = match has_top {
            true => 0,
            false if self.nodes.root() == Some(parts.data) => 1,
            false => 2,
        };
        if let Some(prev_data) = parts.prev_data {
            parts.form.prev_data = if self.nodes.root() == Some(prev_data) {
                2
            } else {
                let undone = cid(&parts.data)
                    .and_then(|root| self.undo.undo(&root, parts.ops, parts).ok())
                    .and_then(|cid| write::digest(&cid));
                if undone == Some(prev_data) { 3 } else { 4 }
            };
        }
    }

    /// The operations and their records; what they leave, by path. `places` gets the places of
    /// the records among the blocks.
    fn put_ops(
        &mut self,
        out: &mut Out,
        given: &Given<'_>,
        parts: &Parts<'_>,
        places: &mut Vec<usize>,
    ) -> Option<Vec<(Vec<u8>, Digest)>> {
        let mut written = Vec::new();
        out.varint(Stream::Op, parts.ops.len() as u64);
        let mut before: &str = "";
        for (op, has_prev) in parts.ops.zip(&parts.op_prevs) {
            let cid = write::digest_if(op.cid)?;
            let place = cid
                .and_then(|cid| parts.place(&cid))
                .filter(|place| *place != parts.commit_at && !places.contains(place));
            let block = place.and_then(|place| parts.blocks.get(place)).map(|block| block.1);
            let object =
                block.is_some_and(|block| self.objects.measure(block) == Some(block.len()));
            let record = match (cid, block) {
                (None, _) => 0,
                (Some(_), Some(_)) if object => 1,
                (Some(_), Some(_)) => 3,
                (Some(_), None) => 2,
            };
            let prev = write::digest_if(op.prev)?;
            let prev_form = match prev {
                None => u8::from(*has_prev),
                Some(_) if self.nodes.value(op.path.as_bytes()) == prev => 2,
                Some(_) => 3,
            };
            out.byte(Stream::Op, action(&op)? | record << 2 | prev_form << 4);
            let near = Near { before: before.as_bytes(), rev: parts.rev, layer: None };
            self.collections.put_path(out, Stream::Op, near, op.path.as_bytes());
            before = op.path;
            match (block, cid) {
                (Some(block), _) => self.put_object(out, given.seq, parts.rev, block, object)?,
                (None, Some(cid)) => out.bytes(Stream::Hash, &cid),
                (None, None) => {}
            }
            if prev_form == 3 {
                out.bytes(Stream::Hash, &prev?);
            }
            places.extend(place);
            if let Some(cid) = cid {
                written.push((op.path.as_bytes().to_vec(), cid));
            }
        }
        written.sort_unstable();
        Some(written)
    }

    fn put_object(
        &mut self,
        out: &mut Out,
        seq: u64,
        rev: Tid,
        block: &[u8],
        object: bool,
    ) -> Option<()> {
        if object {
            let facts = self.facts(seq, rev);
            self.objects.put(out, &facts, block)
        } else {
            out.text(Stream::Text, block);
            Some(())
        }
    }

    fn put_others(
        &mut self,
        out: &mut Out,
        given: &Given<'_>,
        parts: &Parts<'_>,
        places: &mut Vec<usize>,
    ) -> Option<()> {
        let others = (0..parts.blocks.len()).filter(|place| !places.contains(place));
        let others: Vec<usize> = others.collect();
        out.varint(Stream::Op, others.len() as u64);
        for place in others {
            let (_, block) = parts.blocks.get(place)?;
            let object = self.objects.measure(block) == Some(block.len());
            out.byte(Stream::Op, u8::from(!object));
            self.put_object(out, given.seq, parts.rev, block, object)?;
            places.push(place);
        }
        Some(())
    }

    /// Puts an event together again at the end of `out`, which does not grow beyond `limit`: its
    /// kept sections and, from the place that is returned, its bytes.
    pub(crate) fn take(
        &mut self,
        input: &mut In<'_>,
        meta: &Meta<'_>,
        limit: usize,
        out: &mut Vec<u8>,
    ) -> Option<usize> {
        self.turn_to(meta.did, meta.base);
        let kind = input.byte(Stream::Form)?;
        self.take_sections(input)?;
        out.extend_from_slice(&self.sections);
        let middle = out.len();
        match kind {
            RAW => out.extend_from_slice(input.text(Stream::Raw)?),
            COMMIT => self.take_commit(input, meta, out, limit.checked_sub(middle)?)?,
            OBJECTS => {
                let facts = self.facts(meta.seq, self.rev.unwrap_or(self.anchor));
                for _ in 0..2 {
                    self.objects.take(input, &facts, out, limit)?;
                }
            }
            _ => return None,
        }
        (out.len() <= limit).then_some(middle)
    }

    fn take_sections(&mut self, input: &mut In<'_>) -> Option<()> {
        match input.byte(Stream::Form)? {
            0 => {}
            2 if input.codec != super::APART_2 => {
                let proved = Proved::take(input)?;
                self.sections.clear();
                self.sections.extend_from_slice(&proved.bytes());
            }
            _ => {
                self.sections.clear();
                self.sections.extend_from_slice(input.text(Stream::Sections)?);
            }
        }
        Some(())
    }

    fn take_commit(
        &mut self,
        input: &mut In<'_>,
        meta: &Meta<'_>,
        body: &mut Vec<u8>,
        limit: usize,
    ) -> Option<()> {
        let mut tree = std::mem::take(&mut self.tree);
        let taken = self.take_commit_with(input, meta, body, limit, &mut tree);
        self.tree = tree;
        taken
    }

    fn take_commit_with(
        &mut self,
        input: &mut In<'_>,
        meta: &Meta<'_>,
        body: &mut Vec<u8>,
        limit: usize,
        tree: &mut Tree,
    ) -> Option<()> {
        let form = Form::of(input.array(Stream::Form)?);
        if form.other_seq {
            self.ahead = input.signed(Stream::Number)? as u64;
        }
        let seq = meta.seq.wrapping_add(self.ahead);
        let rev = take_tid(input, Stream::Time, self.rev.unwrap_or(self.anchor))?;
        let since = match form.since {
            2 => Some(self.rev?),
            3 => Some(take_tid(input, Stream::Time, rev)?),
            _ => None,
        };
        let mut time = Vec::with_capacity(24);
        if form.time_text {
            time.extend_from_slice(input.text(Stream::Text)?);
        } else {
            datetime::put(&mut time, Facts::ms(rev).checked_add(input.signed(Stream::Time)?)?)?;
        }
        let mut blobs = Vec::new();
        if form.blobs == 2 {
            for _ in 0..input.count(Stream::Form, limit / 32)? {
                blobs.push(input.array(Stream::Hash)?);
            }
        }
        let prev_data = match form.prev_data {
            2 => Some(self.nodes.root()?),
            3 => Some([0; 32]),
            4 => Some(input.array(Stream::Hash)?),
            _ => None,
        };
        let (ops, records, written) = self.take_ops(input, meta, rev, limit)?;
        tree.clear();
        let data = match form.root {
            0 => {
                let context = Context { rev, written: &written, nodes: &self.nodes };
                tree.take(input, &mut self.collections, &context, limit)?
            }
            1 => self.nodes.root()?,
            _ => input.array(Stream::Hash)?,
        };
        let sig = if form.other_sig {
            input.text(Stream::Raw)?
        } else {
            input.bytes(Stream::Signature, SIGNATURE_BYTES)?
        };
        let rev_text = rev.chars();
        let rev_text = std::str::from_utf8(&rev_text).ok()?;
        let commit = commit_block(&self.account, rev_text, sig, &data);
        let commit_digest = write::hash(&commit);
        let others = self.take_others(input, meta, rev, limit)?;
        let count = tree.built.len() + records.len() + 1 + others.len();
        let mut blocks: Vec<(&Digest, &[u8])> = Vec::with_capacity(count);
        blocks.extend(tree.blocks());
        blocks.extend(records.iter().map(|(digest, block)| (digest, block.as_slice())));
        blocks.push((&commit_digest, &commit));
        blocks.extend(others.iter().map(|(digest, block)| (digest, block.as_slice())));
        let told = input.byte(Stream::Op)? != 0;
        let blocks = if told { take_order(input, blocks)? } else { blocks };
        let start = body.len();
        let envelope = Envelope {
            form,
            seq,
            repo: &self.account,
            rev: rev_text,
            time: std::str::from_utf8(&time).ok()?,
            since,
            blobs: &blobs,
            ops: &ops,
            commit: &commit_digest,
            blocks: &blocks,
            prev_data: prev_data.as_ref(),
        };
        envelope.put(body)?;
        if form.prev_data == 3 {
            let root = cid(&data)?;
            let mut by_digest = blocks.clone();
            by_digest.sort_unstable();
            let before = {
                let event = event::parse(body.get(start..)?).ok()?;
                let event::Event::Commit(commit) = event else { return None };
                self.undo.undo(&root, commit.ops, &Blocks(&by_digest)).ok()?
            };
            // The field with the longest name is the last.
            *body.last_chunk_mut::<32>()? = write::digest(&before)?;
        }
        drop(blocks);
        self.nodes.commit(data, tree);
        self.after_commit(rev, &commit_digest, &commit);
        Some(())
    }

    /// The operations as the event has them, the records, and what they leave, by path.
    #[expect(clippy::type_complexity, reason = "three lists that are made in one go")]
    fn take_ops(
        &mut self,
        input: &mut In<'_>,
        meta: &Meta<'_>,
        rev: Tid,
        limit: usize,
    ) -> Option<(Vec<u8>, Vec<(Digest, Vec<u8>)>, Vec<(Vec<u8>, Digest)>)> {
        let (mut records, mut written) = (Vec::new(), Vec::new());
        let count = input.count(Stream::Op, limit / 8)?;
        let mut ops = Vec::with_capacity(OP_BYTES * count.min(OPS_MAX) + 8);
        write::array(&mut ops, count);
        let mut before: Vec<u8> = Vec::new();
        for _ in 0..count {
            let form = input.byte(Stream::Op)?;
            let mut path = Vec::with_capacity(48);
            let near = Near { before: &before, rev, layer: None };
            self.collections.take_path(input, Stream::Op, near, &mut path)?;
            let cid = match form >> 2 & 3 {
                0 => None,
                2 => Some(input.array(Stream::Hash)?),
                kind => {
                    let block = self.take_object(input, meta.seq, rev, kind == 1, limit)?;
                    let digest = write::hash(&block);
                    records.push((digest, block));
                    Some(digest)
                }
            };
            let prev = match form >> 4 & 3 {
                2 => Some(self.nodes.value(&path)?),
                3 => Some(input.array(Stream::Hash)?),
                _ => None,
            };
            let has_prev = form >> 4 & 3 != 0;
            write::map(&mut ops, if has_prev { 4 } else { 3 });
            write::text(&mut ops, "cid");
            write::link_or_null(&mut ops, cid.as_ref());
            write::text(&mut ops, "path");
            write::text(&mut ops, std::str::from_utf8(&path).ok()?);
            if has_prev {
                write::text(&mut ops, "prev");
                write::link_or_null(&mut ops, prev.as_ref());
            }
            write::text(&mut ops, "action");
            write::text(&mut ops, ACTIONS.get(usize::from(form & 3))?);
            if let Some(cid) = cid {
                written.push((path.clone(), cid));
            }
            before = path;
        }
        written.sort_unstable();
        Some((ops, records, written))
    }

    fn take_object(
        &mut self,
        input: &mut In<'_>,
        seq: u64,
        rev: Tid,
        object: bool,
        limit: usize,
    ) -> Option<Vec<u8>> {
        if !object {
            return input.text(Stream::Text).map(<[u8]>::to_vec);
        }
        let mut block = Vec::with_capacity(512);
        let facts = self.facts(seq, rev);
        self.objects.take(input, &facts, &mut block, limit)?;
        Some(block)
    }

    fn take_others(
        &mut self,
        input: &mut In<'_>,
        meta: &Meta<'_>,
        rev: Tid,
        limit: usize,
    ) -> Option<Vec<(Digest, Vec<u8>)>> {
        let mut others = Vec::new();
        for _ in 0..input.count(Stream::Op, BLOCKS_MAX)? {
            let object = input.byte(Stream::Op)? == 0;
            let block = self.take_object(input, meta.seq, rev, object, limit)?;
            others.push((write::hash(&block), block));
        }
        Some(others)
    }
}
