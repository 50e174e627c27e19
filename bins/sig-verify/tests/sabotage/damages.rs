//! The damages: what each does to an event, and the rules that may name it.

use atproto::{Cid, Tid};
use ipld_core::ipld::Ipld;

use crate::pieces::{Map, Pieces, encode, link, text};

/// What is at hand besides the event itself.
pub struct Around<'a> {
    /// Another account's event of the same kind.
    pub other: &'a Pieces,
    /// Whether the account's key is of P-256.
    pub is_p256: bool,
}

/// One way to damage an event.
pub struct Damage {
    pub name: &'static str,
    /// The rules under which such an event may be refused.
    pub rules: &'static [&'static str],
    /// The damaged event; `None` where it has no such part.
    pub make: fn(&Pieces, &Around<'_>) -> Option<Vec<u8>>,
}

/// What is to be refused.
pub const DAMAGES: &[Damage] = &[
    Damage { name: "signature: a bit", rules: &["bad-signature"], make: signature_bit },
    Damage { name: "signature: high S", rules: &["high-s"], make: high_s },
    Damage { name: "signature: cut short", rules: &["bad-signature"], make: signature_short },
    Damage { name: "signature: another event's", rules: &["bad-signature"], make: another_events },
    Damage { name: "key: a sibling account's", rules: &["bad-signature"], make: sibling },
    Damage { name: "commit: a bit, in place", rules: &["bad-cid"], make: commit_bit },
    Damage { name: "commit: another rev, renamed", rules: &["bad-signature"], make: commit_rev },
    Damage { name: "commit: another tree", rules: &["bad-signature"], make: commit_data },
    Damage { name: "commit: version 2", rules: &["bad-commit"], make: commit_version },
    Damage { name: "commit: a field more", rules: &["bad-commit"], make: commit_field },
    Damage { name: "commit: long form", rules: &["bad-commit"], make: commit_long },
    Damage { name: "commit: taken out", rules: &["missing-block"], make: commit_out },
    Damage { name: "CID: the event's commit", rules: &["root-not-commit"], make: cid_of_event },
    Damage { name: "CID: the root", rules: &["root-not-commit", "missing-block"], make: cid_root },
    Damage { name: "CID: a block", rules: &["bad-cid"], make: cid_of_block },
    Damage { name: "record: a bit, in place", rules: &["bad-cid"], make: record_bit },
    Damage { name: "record: another, renamed", rules: &["bad-op"], make: record_other },
    Damage { name: "record: taken out", rules: &["missing-block"], make: record_out },
    Damage { name: "node: a bit, in place", rules: &["bad-cid"], make: node_bit },
    Damage { name: "node: changed, renamed", rules: &["missing-block"], make: node_renamed },
    Damage { name: "node: taken out", rules: &["missing-block"], make: node_out },
    Damage { name: "rev: the envelope's", rules: &["rev-mismatch"], make: rev_of_event },
    Damage { name: "rev: no TID", rules: &["bad-rev"], make: rev_none },
    Damage { name: "rev: in the future", rules: &["future-rev"], make: rev_future },
    Damage { name: "DID: the envelope's", rules: &["did-mismatch"], make: did_other },
    Damage { name: "DID: none", rules: &["bad-did"], make: did_none },
    Damage {
        name: "op: another path",
        rules: &["bad-op", "bad-inversion", "missing-block"],
        make: op_path,
    },
    Damage { name: "op: no path", rules: &["bad-path"], make: op_no_path },
    Damage {
        name: "op: another action",
        rules: &["bad-op", "bad-inversion", "legacy"],
        make: op_action,
    },
    Damage { name: "op: another prev", rules: &["bad-inversion"], make: op_prev },
    Damage { name: "op: prev stripped", rules: &["legacy"], make: op_no_prev },
    Damage { name: "op: left out", rules: &["bad-inversion"], make: op_out },
    Damage { name: "op: twice", rules: &["duplicate-path"], make: op_twice },
    Damage { name: "op: one more", rules: &["bad-op", "missing-block"], make: op_more },
    Damage { name: "prevData: another", rules: &["bad-inversion"], make: prev_data },
    Damage { name: "prevData: stripped", rules: &["legacy"], make: no_prev_data },
    Damage { name: "length: cut", rules: &["bad-frame"], make: cut },
    Damage { name: "length: a byte more", rules: &["bad-frame"], make: byte_more },
    Damage { name: "length: the CAR cut", rules: &["bad-car", "bad-cid"], make: car_cut },
    Damage { name: "length: a block's", rules: &["bad-car", "bad-cid"], make: block_length },
    Damage { name: "CBOR: long form", rules: &["bad-frame"], make: long_form },
    Damage { name: "CBOR: negative seq", rules: &["bad-frame"], make: negative_seq },
    Damage { name: "CBOR: fields out of order", rules: &["bad-frame"], make: out_of_order },
    Damage {
        name: "swapped: the blocks",
        rules: &["root-not-commit", "did-mismatch"],
        make: swap_blocks,
    },
    Damage { name: "swapped: blocks and commit", rules: &["did-mismatch"], make: swap_commit },
    Damage {
        name: "swapped: the ops",
        rules: &["bad-op", "missing-block", "bad-inversion"],
        make: swap_ops,
    },
    Damage { name: "re-wrapped: without its fields", rules: &["bad-frame"], make: no_field },
];

/// What is to be proved all the same: servers that pass events on do these things.
pub const HARMLESS: &[Damage] = &[
    Damage { name: "nothing", rules: &[], make: |it, _| Some(it.event()) },
    Damage { name: "re-wrapped: another seq", rules: &[], make: other_seq },
    Damage { name: "re-wrapped: an unknown field", rules: &[], make: unknown_field },
    Damage { name: "re-wrapped: tooBig, rebase, blobs", rules: &[], make: ignored },
    Damage { name: "blocks: one twice, one to spare", rules: &[], make: spare_blocks },
];

type Made = Option<Vec<u8>>;

fn with(pieces: &Pieces, change: impl FnOnce(&mut Pieces)) -> Made {
    let mut damaged = pieces.clone();
    change(&mut damaged);
    Some(damaged.event())
}

fn commits_with(pieces: &Pieces, change: impl FnOnce(&mut Pieces)) -> Made {
    pieces.is_commit().then(|| with(pieces, change)).flatten()
}

fn put(map: &mut Map, field: &str, value: Ipld) {
    map.insert(field.to_owned(), value);
}

fn other_cid() -> Cid {
    Cid::dag_cbor(b"another")
}

fn signature_bit(it: &Pieces, _: &Around<'_>) -> Made {
    let mut signature = it.signature();
    signature[9] ^= 4;
    with(it, |it| it.change_commit("sig", Ipld::Bytes(signature)))
}

fn high_s(it: &Pieces, around: &Around<'_>) -> Made {
    let low = it.signature();
    let high = if around.is_p256 {
        let (r, s) = p256::ecdsa::Signature::from_slice(&low).unwrap().split_scalars();
        p256::ecdsa::Signature::from_scalars(r, -s).unwrap().to_bytes().to_vec()
    } else {
        let (r, s) = k256::ecdsa::Signature::from_slice(&low).unwrap().split_scalars();
        k256::ecdsa::Signature::from_scalars(r, -s).unwrap().to_bytes().to_vec()
    };
    with(it, |it| it.change_commit("sig", Ipld::Bytes(high)))
}

fn signature_short(it: &Pieces, _: &Around<'_>) -> Made {
    let signature = it.signature()[..63].to_vec();
    with(it, |it| it.change_commit("sig", Ipld::Bytes(signature)))
}

fn another_events(it: &Pieces, around: &Around<'_>) -> Made {
    let signature = around.other.signature();
    with(it, |it| it.change_commit("sig", Ipld::Bytes(signature)))
}

/// The key of another account, which the index has.
pub fn sibling_key() -> k256::ecdsa::SigningKey {
    k256::ecdsa::SigningKey::from_slice(&[7; 32]).unwrap()
}

fn sibling(it: &Pieces, _: &Around<'_>) -> Made {
    use k256::ecdsa::signature::hazmat::PrehashSigner;
    use sha2::{Digest, Sha256};
    let key = sibling_key();
    let mut commit = it.commit();
    commit.remove("sig");
    let digest = Sha256::digest(encode(&commit));
    let signature: k256::ecdsa::Signature = key.sign_prehash(&digest).unwrap();
    let signature = signature.normalize_s().to_bytes().to_vec();
    with(it, |it| it.change_commit("sig", Ipld::Bytes(signature)))
}

fn flip(it: &Pieces, block: usize) -> Made {
    with(it, |it| {
        let data = &mut it.blocks[block].1;
        let at = data.len() / 2;
        data[at] ^= 1;
    })
}

fn commit_bit(it: &Pieces, _: &Around<'_>) -> Made {
    flip(it, it.commit_at())
}

/// A rev a little later than the event's, which is later than what came before.
fn later(it: &Pieces) -> Ipld {
    let Some(Ipld::String(rev)) = it.body.get("rev") else { panic!("no rev") };
    text(&Tid(rev.parse::<Tid>().unwrap().0 + 1).to_string())
}

fn commit_rev(it: &Pieces, _: &Around<'_>) -> Made {
    let rev = later(it);
    with(it, |it| {
        it.change_commit("rev", rev.clone());
        put(&mut it.body, "rev", rev);
    })
}

fn commit_data(it: &Pieces, _: &Around<'_>) -> Made {
    with(it, |it| it.change_commit("data", link(&other_cid())))
}

fn commit_version(it: &Pieces, _: &Around<'_>) -> Made {
    with(it, |it| it.change_commit("version", Ipld::Integer(2)))
}

fn commit_field(it: &Pieces, _: &Around<'_>) -> Made {
    with(it, |it| it.change_commit("more", Ipld::Null))
}

fn commit_long(it: &Pieces, _: &Around<'_>) -> Made {
    let block = &it.blocks[it.commit_at()].1;
    let long = [&[0xb8, block[0] & 0x1f], &block[1..]].concat();
    with(it, |it| it.put_commit(long))
}

fn commit_out(it: &Pieces, _: &Around<'_>) -> Made {
    with(it, |it| drop(it.blocks.remove(it.commit_at())))
}

fn cid_of_event(it: &Pieces, _: &Around<'_>) -> Made {
    commits_with(it, |it| put(&mut it.body, "commit", link(&other_cid())))
}

fn cid_root(it: &Pieces, _: &Around<'_>) -> Made {
    with(it, |it| it.roots = vec![other_cid()])
}

fn cid_of_block(it: &Pieces, _: &Around<'_>) -> Made {
    with(it, |it| {
        let last = it.blocks.len() - 1;
        it.blocks[last].0 = other_cid();
    })
}

const WRITES: &[&str] = &["create", "update"];

fn record_bit(it: &Pieces, _: &Around<'_>) -> Made {
    flip(it, it.record_at(it.op(WRITES)?))
}

fn record_other(it: &Pieces, _: &Around<'_>) -> Made {
    let op = it.op(WRITES)?;
    let at = it.record_at(op);
    with(it, |it| {
        let record = b"\xa1ax\x01".to_vec();
        let cid = Cid::dag_cbor(&record);
        it.blocks[at] = (cid, record);
        it.change_op(op, "cid", link(&cid));
    })
}

fn record_out(it: &Pieces, _: &Around<'_>) -> Made {
    let at = it.record_at(it.op(WRITES)?);
    let cid = it.blocks[at].0;
    with(it, |it| it.blocks.retain(|(other, _)| *other != cid))
}

/// The tree's root, of a commit that needs it.
fn tree(it: &Pieces) -> Option<usize> {
    it.op(&["create", "delete"])?;
    it.tree_at()
}

fn node_bit(it: &Pieces, _: &Around<'_>) -> Made {
    flip(it, tree(it)?)
}

fn node_renamed(it: &Pieces, _: &Around<'_>) -> Made {
    let at = tree(it)?;
    with(it, |it| {
        let block = b"\xa2ae\x80al\xf6".to_vec();
        it.blocks[at] = (Cid::dag_cbor(&block), block);
    })
    .filter(|event| *event != it.event())
}

fn node_out(it: &Pieces, _: &Around<'_>) -> Made {
    let at = tree(it)?;
    with(it, |it| drop(it.blocks.remove(at)))
}

fn rev_of_event(it: &Pieces, _: &Around<'_>) -> Made {
    let rev = later(it);
    with(it, |it| put(&mut it.body, "rev", rev))
}

fn rev_none(it: &Pieces, _: &Around<'_>) -> Made {
    with(it, |it| put(&mut it.body, "rev", text("zzzzzzzzzzzzz")))
}

fn rev_future(it: &Pieces, _: &Around<'_>) -> Made {
    let rev = Tid::new(crate::harness::NOW_NS / 1000 + 600_000_000, 0).to_string();
    with(it, |it| put(&mut it.body, "rev", text(&rev)))
}

fn name(it: &Pieces) -> &'static str {
    if it.is_commit() { "repo" } else { "did" }
}

fn did_other(it: &Pieces, around: &Around<'_>) -> Made {
    let did = around.other.commit()["did"].clone();
    with(it, |it| {
        let name = name(it);
        put(&mut it.body, name, did);
    })
}

fn did_none(it: &Pieces, _: &Around<'_>) -> Made {
    with(it, |it| {
        let name = name(it);
        put(&mut it.body, name, text("did:plc"));
    })
}

fn op_path(it: &Pieces, _: &Around<'_>) -> Made {
    let op = it.op(&["create", "update", "delete"])?;
    with(it, |it| it.change_op(op, "path", text("app.bsky.feed.post/3zzzzzzzzzzzz")))
}

fn op_no_path(it: &Pieces, _: &Around<'_>) -> Made {
    let op = it.op(&["create", "update", "delete"])?;
    with(it, |it| it.change_op(op, "path", text("app.bsky.feed.post")))
}

fn op_action(it: &Pieces, _: &Around<'_>) -> Made {
    let op = it.op(&["create", "update", "delete"])?;
    let action = if it.ops()[op]["action"] == text("create") { "update" } else { "create" };
    with(it, |it| it.change_op(op, "action", text(action)))
}

fn op_prev(it: &Pieces, _: &Around<'_>) -> Made {
    let op = it.op(&["update", "delete"])?;
    with(it, |it| it.change_op(op, "prev", link(&other_cid())))
}

fn op_no_prev(it: &Pieces, _: &Around<'_>) -> Made {
    let op = it.op(&["update", "delete"])?;
    let mut ops = it.ops();
    ops[op].remove("prev");
    with(it, |it| it.put_ops(ops))
}

fn op_out(it: &Pieces, _: &Around<'_>) -> Made {
    let mut ops = it.ops();
    ops.pop()?;
    with(it, |it| it.put_ops(ops))
}

fn op_twice(it: &Pieces, _: &Around<'_>) -> Made {
    let mut ops = it.ops();
    ops.push(ops.first()?.clone());
    with(it, |it| it.put_ops(ops))
}

fn op_more(it: &Pieces, _: &Around<'_>) -> Made {
    let mut ops = it.ops();
    let mut op = ops.get(it.op(WRITES)?)?.clone();
    put(&mut op, "path", text("app.bsky.feed.post/3zzzzzzzzzzzz"));
    put(&mut op, "action", text("create"));
    op.remove("prev");
    ops.push(op);
    with(it, |it| it.put_ops(ops)).filter(|_| it.tree_at().is_some())
}

fn prev_data(it: &Pieces, _: &Around<'_>) -> Made {
    commits_with(it, |it| put(&mut it.body, "prevData", link(&other_cid())))
}

fn no_prev_data(it: &Pieces, _: &Around<'_>) -> Made {
    let has = matches!(it.body.get("prevData"), Some(Ipld::Link(_)))
        && matches!(it.body.get("since"), Some(Ipld::String(_)));
    has.then(|| with(it, |it| drop(it.body.remove("prevData")))).flatten()
}

fn cut(it: &Pieces, _: &Around<'_>) -> Made {
    let mut event = it.event();
    event.pop();
    Some(event)
}

fn byte_more(it: &Pieces, _: &Around<'_>) -> Made {
    Some([&it.event()[..], &[0]].concat())
}

fn car_cut(it: &Pieces, _: &Around<'_>) -> Made {
    let mut car = it.car();
    car.truncate(car.len() - 3);
    Some(it.event_with(car))
}

fn block_length(it: &Pieces, _: &Around<'_>) -> Made {
    let mut car = it.car();
    // The first byte behind the header is the first block's length.
    let at = 1 + usize::from(car[0]);
    car[at] ^= 1;
    Some(it.event_with(car))
}

fn long_form(it: &Pieces, _: &Around<'_>) -> Made {
    let event = it.event();
    // The header's map, of two entries.
    Some([&[0xb8, 2], &event[1..]].concat())
}

fn negative_seq(it: &Pieces, _: &Around<'_>) -> Made {
    with(it, |it| put(&mut it.body, "seq", Ipld::Integer(-1)))
}

fn out_of_order(it: &Pieces, _: &Around<'_>) -> Made {
    let header = encode(&it.header);
    // "t" comes before "op".
    let (op, t) = header[1..].split_at(4);
    let swapped = [&header[..1], t, op].concat();
    Some([&swapped[..], &it.event()[header.len()..]].concat())
}

fn swap_blocks(it: &Pieces, around: &Around<'_>) -> Made {
    Some(it.event_with(around.other.car()))
}

fn swap_commit(it: &Pieces, around: &Around<'_>) -> Made {
    let other = around.other;
    commits_with(it, |it| {
        it.roots = other.roots.clone();
        it.blocks = other.blocks.clone();
        put(&mut it.body, "commit", link(&other.roots[0]));
    })
}

fn swap_ops(it: &Pieces, around: &Around<'_>) -> Made {
    let ops = around.other.ops();
    (!ops.is_empty() && ops != it.ops()).then(|| with(it, |it| it.put_ops(ops))).flatten()
}

fn no_field(it: &Pieces, _: &Around<'_>) -> Made {
    with(it, |it| drop(it.body.remove("time")))
}

fn other_seq(it: &Pieces, _: &Around<'_>) -> Made {
    with(it, |it| put(&mut it.body, "seq", Ipld::Integer(77)))
}

fn unknown_field(it: &Pieces, _: &Around<'_>) -> Made {
    with(it, |it| put(&mut it.body, "zz", Ipld::Bool(true)))
}

fn ignored(it: &Pieces, _: &Around<'_>) -> Made {
    commits_with(it, |it| {
        put(&mut it.body, "tooBig", Ipld::Bool(true));
        put(&mut it.body, "rebase", Ipld::Null);
        put(&mut it.body, "blobs", Ipld::Null);
        put(&mut it.body, "prev", Ipld::Null);
    })
}

fn spare_blocks(it: &Pieces, _: &Around<'_>) -> Made {
    with(it, |it| {
        let spare = b"\xa1ay\x02".to_vec();
        it.blocks.push(it.blocks[0].clone());
        it.blocks.push((Cid::dag_cbor(&spare), spare));
    })
}
