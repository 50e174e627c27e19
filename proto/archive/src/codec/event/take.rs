//! Putting an event together again; its form is that of [`super`].

use atproto::limits::OPS_MAX;
use atproto::{Tid, datetime, event};

use super::{COMMIT, OBJECTS, OP_BYTES, RAW, State};
use crate::codec::commit::{
    ACTIONS, BLOCKS_MAX, Blocks, Envelope, Form, SIGNATURE_BYTES, cid, commit_block, take_order,
};
use crate::codec::path::{Near, take_tid};
use crate::codec::proved::Proved;
use crate::codec::streams::{In, Stream};
use crate::codec::tree::{Context, Grove, Tree};
use crate::codec::write::Digest;
use crate::codec::{APART_2, Facts, Meta, write};

impl State {
    /// Puts an event together again at the end of `out`, which does not grow beyond `limit`: its
    /// kept sections and, from the place that is returned, its bytes.
    pub(crate) fn take(
        &mut self,
        input: &mut In<'_>,
        mut meta: Meta<'_>,
        limit: usize,
        out: &mut Vec<u8>,
    ) -> Option<usize> {
        self.turn_to(meta.did, meta.base.take());
        let kind = input.byte(Stream::Form)?;
        self.take_sections(input)?;
        out.extend_from_slice(&self.sections);
        let middle = out.len();
        match kind {
            RAW => out.extend_from_slice(input.text(Stream::Raw)?),
            COMMIT => self.take_commit(input, &meta, out, limit.checked_sub(middle)?)?,
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
            2 if input.codec != APART_2 => {
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
        let (ops, records, written) = self.take_ops(input, meta, rev, limit, tree.room())?;
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
        room: &mut Grove,
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
                2 => Some(self.nodes.value(&path, room)?),
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
