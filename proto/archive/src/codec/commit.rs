//! A commit event's parts, and the event made of them.

use atproto::cbor::{Kind, Reader};
use atproto::event::{Action, Op, Ops};
use atproto::mst::Source;
use atproto::{Cid, Tid, car, commit, event};

use super::Given;
use super::path::tid;
use super::streams::{In, Out, Stream};
use super::tree::Node;
use super::write::{self, CID_HEAD, Digest};

/// `{"t": "#commit", "op": 1}`.
const HEADER: &[u8] = b"\xa2at\x67#commit\x62op\x01";
/// More blocks than this in an event are not taken apart.
pub(crate) const BLOCKS_MAX: usize = 4096;
pub(crate) const SIGNATURE_BYTES: usize = 64;
pub(crate) const ACTIONS: [&str; 3] = ["create", "update", "delete"];

/// Which fields a commit has, and which are as expected.
///
/// | byte | bits | field    | values                                                          |
/// |-----:|-----:|----------|-----------------------------------------------------------------|
/// |    0 |  0-1 | blobs    | not there, empty, links                                         |
/// |    0 |  2-3 | rebase   | not there, false, true                                          |
/// |    0 |  4-5 | tooBig   | not there, false, true                                          |
/// |    0 |    6 | seq      | as far from the frame's as with the commit before, told          |
/// |    1 |  0-1 | since    | not there, null, the account's last rev, another                |
/// |    1 |  2-4 | prevData | not there, null, the root of the account's last commit, what undoing the operations gives, another |
/// |    1 |  5-6 | prev     | not there, null                                                 |
/// |    2 |  0-1 | root     | in the event, that of the last commit, another                  |
/// |    2 |    2 | time     | in the usual form, text                                         |
/// |    2 |    3 | sig      | 64 bytes, others                                                |
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Form {
    pub(crate) blobs: u8,
    pub(crate) rebase: u8,
    pub(crate) too_big: u8,
    pub(crate) other_seq: bool,
    pub(crate) since: u8,
    pub(crate) prev_data: u8,
    pub(crate) prev: u8,
    pub(crate) root: u8,
    pub(crate) time_text: bool,
    pub(crate) other_sig: bool,
}

impl Form {
    pub(crate) fn bytes(self) -> [u8; 3] {
        let bit = |is: bool, at: u8| u8::from(is) << at;
        [
            self.blobs | self.rebase << 2 | self.too_big << 4 | bit(self.other_seq, 6),
            self.since | self.prev_data << 2 | self.prev << 5,
            self.root | bit(self.time_text, 2) | bit(self.other_sig, 3),
        ]
    }

    pub(crate) fn of([a, b, c]: [u8; 3]) -> Form {
        Form {
            blobs: a & 3,
            rebase: a >> 2 & 3,
            too_big: a >> 4 & 3,
            other_seq: a >> 6 & 1 == 1,
            since: b & 3,
            prev_data: b >> 2 & 7,
            prev: b >> 5 & 3,
            root: c & 3,
            time_text: c >> 2 & 1 == 1,
            other_sig: c >> 3 & 1 == 1,
        }
    }
}

/// A commit event that can be put together again from what is in here.
pub(crate) struct Parts<'a> {
    pub(crate) form: Form,
    pub(crate) seq: u64,
    pub(crate) rev: Tid,
    pub(crate) since: Option<Tid>,
    pub(crate) time: &'a str,
    pub(crate) blobs: Vec<Digest>,
    pub(crate) prev_data: Option<Digest>,
    pub(crate) ops: Ops<'a>,
    /// For each operation, whether it has a `prev`.
    pub(crate) op_prevs: Vec<bool>,
    pub(crate) data: Digest,
    pub(crate) sig: &'a [u8],
    /// As the CAR has them.
    pub(crate) blocks: Vec<(Digest, &'a [u8])>,
    /// The same with their places, by digest.
    by_digest: Vec<(Digest, usize)>,
    pub(crate) commit_at: usize,
}

impl<'a> Parts<'a> {
    /// Takes an event apart as far as that needs nothing but the event.
    pub(crate) fn of(given: &Given<'a>) -> Option<Parts<'a>> {
        let event::Event::Commit(event) = event::parse(given.body).ok()? else { return None };
        let fields = Fields::read(given.body)?;
        if event.repo != given.did {
            return None;
        }
        let car = car::parse(event.blocks).ok()?;
        let mut blocks = Vec::new();
        for block in car.blocks() {
            let block = block.ok()?;
            let digest = write::digest(&block.cid)?;
            if write::hash(block.data) != digest || blocks.len() >= BLOCKS_MAX {
                return None;
            }
            blocks.push((digest, block.data));
        }
        let mut by_digest: Vec<_> =
            blocks.iter().zip(0..).map(|(block, at)| (block.0, at)).collect();
        by_digest.sort_unstable();
        if by_digest.windows(2).any(|pair| matches!(pair, [a, b] if a.0 == b.0)) {
            return None;
        }
        let root = write::digest(&event.commit)?;
        let commit_at = find(&by_digest, &root)?;
        let (_, commit_bytes) = *blocks.get(commit_at)?;
        let signed = commit::parse(commit_bytes).ok()?;
        let rev = tid(event.rev)?;
        let data = write::digest(&signed.data)?;
        if commit_block(given.did, event.rev, signed.sig, &data) != commit_bytes {
            return None;
        }
        let prev_data = write::digest_if(event.prev_data)?;
        let since = match event.since {
            Some(since) => Some(tid(since)?),
            None => None,
        };
        for cid in event.ops.flat_map(|op| [op.cid, op.prev]).flatten() {
            write::digest(&cid)?;
        }
        Some(Parts {
            form: fields.form,
            seq: u64::try_from(event.seq).ok()?,
            rev,
            since,
            time: event.time,
            blobs: fields.blobs,
            prev_data,
            ops: event.ops,
            op_prevs: fields.op_prevs,
            data,
            sig: signed.sig,
            blocks,
            by_digest,
            commit_at,
        })
    }

    /// Where in the CAR a block is.
    pub(crate) fn place(&self, digest: &Digest) -> Option<usize> {
        find(&self.by_digest, digest)
    }

    /// A node of the tree that is in the event and not taken for something else.
    pub(crate) fn node(&self, digest: &Digest, taken: &[usize]) -> Option<Node<'a>> {
        let place = self.place(digest).filter(|place| !taken.contains(place))?;
        self.blocks.get(place).and_then(|(_, block)| Node::read(block))
    }
}

impl Source for Parts<'_> {
    fn block(&self, cid: &Cid) -> Option<&[u8]> {
        let place = self.place(&write::digest(cid)?)?;
        self.blocks.get(place).map(|(_, block)| *block)
    }
}

/// Blocks by digest.
pub(crate) struct Blocks<'a>(pub(crate) &'a [(&'a Digest, &'a [u8])]);

impl Source for Blocks<'_> {
    fn block(&self, cid: &Cid) -> Option<&[u8]> {
        let digest = write::digest(cid)?;
        let at = self.0.binary_search_by(|(known, _)| (*known).cmp(&digest)).ok()?;
        self.0.get(at).map(|(_, block)| *block)
    }
}

fn find(by_digest: &[(Digest, usize)], digest: &Digest) -> Option<usize> {
    let at = by_digest.binary_search_by(|(known, _)| known.cmp(digest)).ok()?;
    by_digest.get(at).map(|(_, place)| *place)
}

/// What the parsed event does not tell: which fields there are.
#[derive(Default)]
struct Fields {
    form: Form,
    blobs: Vec<Digest>,
    op_prevs: Vec<bool>,
}

impl Fields {
    fn read(body: &[u8]) -> Option<Fields> {
        let mut fields = Fields::default();
        let form = &mut fields.form;
        let mut reader = Reader::at(body, body.strip_prefix(HEADER).map(|_| HEADER.len())?);
        let mut map = reader.map().ok()?;
        while let Some(key) = map.next_key(&mut reader).ok()? {
            match key {
                "ops" => {
                    for _ in 0..reader.array().ok()? {
                        fields.op_prevs.push(has_prev(&mut reader)?);
                    }
                }
                "blobs" => {
                    form.blobs = 1;
                    for _ in 0..reader.array().ok()? {
                        form.blobs = 2;
                        fields.blobs.push(write::digest(&reader.cid().ok()?)?);
                    }
                }
                "rebase" => form.rebase = 1 + u8::from(reader.bool().ok()?),
                "tooBig" => form.too_big = 1 + u8::from(reader.bool().ok()?),
                _ => {
                    let is_null = reader.kind().ok()? == Kind::Null;
                    match key {
                        "since" => form.since = if is_null { 1 } else { 3 },
                        "prevData" => form.prev_data = if is_null { 1 } else { 4 },
                        "prev" if is_null => form.prev = 1,
                        "seq" | "rev" | "repo" | "time" | "blocks" | "commit" => {}
                        _ => return None,
                    }
                    reader.skip_value().ok()?;
                }
            }
        }
        Some(fields)
    }
}

/// Whether an operation has a `prev`; `None` for one with other fields than usual.
fn has_prev(reader: &mut Reader<'_>) -> Option<bool> {
    let mut map = reader.map().ok()?;
    let (mut prev, mut count) = (false, 0);
    while let Some(key) = map.next_key(reader).ok()? {
        prev |= key == "prev";
        count += 1;
        reader.skip_value().ok()?;
    }
    (count == 3 + usize::from(prev)).then_some(prev)
}

/// The number of an operation's action.
pub(crate) fn action(op: &Op<'_>) -> Option<u8> {
    match op.action {
        Action::Create => Some(0),
        Action::Update => Some(1),
        Action::Delete => Some(2),
        _ => None,
    }
}

/// A signed commit as it is usual.
pub(crate) fn commit_block(did: &str, rev: &str, sig: &[u8], data: &Digest) -> Vec<u8> {
    let mut block = Vec::with_capacity(256);
    write::map(&mut block, 6);
    write::text(&mut block, "did");
    write::text(&mut block, did);
    write::text(&mut block, "rev");
    write::text(&mut block, rev);
    write::text(&mut block, "sig");
    write::bytes(&mut block, sig);
    write::text(&mut block, "data");
    write::link(&mut block, data);
    write::text(&mut block, "prev");
    write::null(&mut block);
    write::text(&mut block, "version");
    write::uint(&mut block, 3);
    block
}

/// The CID of DAG-CBOR with this digest.
pub(crate) fn cid(digest: &Digest) -> Option<Cid> {
    let mut bytes = [0; Cid::BYTES];
    let (head, tail) = bytes.split_first_chunk_mut::<4>()?;
    *head = CID_HEAD;
    tail.copy_from_slice(digest);
    Cid::from_slice(&bytes).ok()
}

/// Tells which of the blocks that are left each one is; `places` is the order that is expected.
pub(crate) fn put_order(out: &mut Out, places: &[usize]) {
    let mut left = places.to_vec();
    for place in 0..places.len().saturating_sub(1) {
        let at = left.iter().position(|other| *other == place).unwrap_or_default();
        out.varint(Stream::Op, at as u64);
        left.remove(at);
    }
}

/// Puts blocks into the order that [`put_order`] told.
pub(crate) fn take_order<T>(input: &mut In<'_>, mut left: Vec<T>) -> Option<Vec<T>> {
    let mut ordered = Vec::with_capacity(left.len());
    while left.len() > 1 {
        let at = input.count(Stream::Op, left.len() - 1)?;
        ordered.push(left.remove(at));
    }
    ordered.append(&mut left);
    Some(ordered)
}

/// What the event's envelope is made of.
pub(crate) struct Envelope<'a> {
    pub(crate) form: Form,
    pub(crate) seq: u64,
    pub(crate) repo: &'a str,
    pub(crate) rev: &'a str,
    pub(crate) time: &'a str,
    pub(crate) since: Option<Tid>,
    pub(crate) blobs: &'a [Digest],
    /// The whole array.
    pub(crate) ops: &'a [u8],
    pub(crate) commit: &'a Digest,
    /// Of the CAR.
    pub(crate) blocks: &'a [(&'a Digest, &'a [u8])],
    pub(crate) prev_data: Option<&'a Digest>,
}

impl Envelope<'_> {
    /// Appends the event.
    pub(crate) fn put(&self, out: &mut Vec<u8>) -> Option<()> {
        let form = &self.form;
        let optional =
            [form.prev, form.blobs, form.since, form.rebase, form.too_big, form.prev_data];
        out.extend_from_slice(HEADER);
        write::map(out, 7 + optional.into_iter().filter(|there| *there != 0).count());
        write::text(out, "ops");
        out.extend_from_slice(self.ops);
        write::text(out, "rev");
        write::text(out, self.rev);
        write::text(out, "seq");
        write::uint(out, self.seq);
        if form.prev != 0 {
            write::text(out, "prev");
            write::null(out);
        }
        write::text(out, "repo");
        write::text(out, self.repo);
        write::text(out, "time");
        write::text(out, self.time);
        if form.blobs != 0 {
            write::text(out, "blobs");
            write::array(out, self.blobs.len());
            self.blobs.iter().for_each(|blob| write::link(out, blob));
        }
        if form.since != 0 {
            write::text(out, "since");
            match self.since {
                None => write::null(out),
                Some(since) => {
                    write::text(out, std::str::from_utf8(&since.chars()).ok()?);
                }
            }
        }
        write::text(out, "blocks");
        let bytes = |(_, block): &(&Digest, &[u8])| write::car_block_bytes(block.len());
        let car_bytes = self.blocks.iter().map(bytes).sum::<usize>() + write::CAR_HEADER_BYTES;
        write::head(out, 2, car_bytes as u64);
        out.reserve(car_bytes + 128);
        write::car_header(out, self.commit);
        self.blocks.iter().for_each(|(digest, block)| write::car_block(out, digest, block));
        write::text(out, "commit");
        write::link(out, self.commit);
        if form.rebase != 0 {
            write::text(out, "rebase");
            write::bool(out, form.rebase == 2);
        }
        if form.too_big != 0 {
            write::text(out, "tooBig");
            write::bool(out, form.too_big == 2);
        }
        if form.prev_data != 0 {
            write::text(out, "prevData");
            write::link_or_null(out, self.prev_data);
        }
        Some(())
    }
}
