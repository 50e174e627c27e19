//! Taking an event apart; its form is that of [`super`].

use atproto::{Tid, datetime};

use super::{COMMIT, OBJECTS, RAW, State};
use crate::codec::commit::{Parts, SIGNATURE_BYTES, action, cid, put_order};
use crate::codec::path::{Near, put_tid};
use crate::codec::proved::Proved;
use crate::codec::streams::{Out, Stream};
use crate::codec::tree::Context;
use crate::codec::write::Digest;
use crate::codec::{Facts, Given, write};

impl State {
    /// Takes an event apart; `None`: it has to be kept whole, and `out` is of no use any more.
    pub(crate) fn put(&mut self, out: &mut Out, given: &Given<'_>, whole: bool) -> Option<()> {
        self.turn_to(given.did, given.base.cloned());
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
                Some(_) if self.nodes.value(op.path.as_bytes(), self.tree.room()) == prev => 2,
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
}
