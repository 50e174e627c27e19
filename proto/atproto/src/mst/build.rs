//! The tree of a whole repository, from its records alone.

use super::{DEPTH_MAX, empty, layer};
use crate::cbor::write;
use crate::cid::Cid;

/// The root of the tree of these records, which have to go up by path.
///
/// A node of a layer holds the keys of that layer, and in the gaps before, between and behind them
/// is what lies below. So the tree follows from its records, whatever the order they came in.
pub fn root<'k>(records: impl IntoIterator<Item = (&'k [u8], Cid)>) -> Cid {
    let records = records.into_iter();
    let records: Vec<_> = records.map(|(key, cid)| (layer(key), key, cid)).collect();
    let top = records.iter().map(|(layer, ..)| *layer).max().unwrap_or(0);
    part(&records, top.min(DEPTH_MAX as u32)).unwrap_or_else(empty)
}

/// The subtree of a run of records whose layers are `at` and below. No deeper than there are layers.
fn part(records: &[(u32, &[u8], Cid)], at: u32) -> Option<Cid> {
    if records.is_empty() {
        return None;
    }
    let below = |run: &[_]| at.checked_sub(1).and_then(|at| part(run, at));
    let mut runs = records.split(|(layer, ..)| *layer == at);
    let left = runs.next().and_then(below);
    let here = records.iter().filter(|(layer, ..)| *layer == at);
    let mut out = vec![0xa2, 0x61, b'e'];
    write::array(&mut out, here.clone().count());
    let mut before: &[u8] = &[];
    for ((_, key, value), run) in here.zip(runs) {
        put_entry(&mut out, before, key, value, below(run).as_ref());
        before = key;
    }
    out.extend_from_slice(&[0x61, b'l']);
    put_link(&mut out, left.as_ref());
    Some(Cid::dag_cbor(&out))
}

/// Appends an entry of a node, behind the one of the key `before`.
pub(super) fn put_entry(
    out: &mut Vec<u8>,
    before: &[u8],
    key: &[u8],
    value: &Cid,
    right: Option<&Cid>,
) {
    let shared = shared(key, before);
    out.extend_from_slice(&[0xa4, 0x61, b'k']);
    write::bytes(out, key.get(shared..).unwrap_or_default());
    out.extend_from_slice(&[0x61, b'p']);
    write::uint(out, shared as u64);
    out.extend_from_slice(&[0x61, b't']);
    put_link(out, right);
    out.extend_from_slice(&[0x61, b'v']);
    write::link(out, value);
}

/// How many bytes two keys begin with alike; most share their collection and much of a time.
fn shared(one: &[u8], other: &[u8]) -> usize {
    let (ones, others) = (one.as_chunks::<8>().0, other.as_chunks::<8>().0);
    let words = ones.iter().zip(others).take_while(|(one, other)| one == other).count();
    let tails = one.iter().zip(other).skip(8 * words);
    8 * words + tails.take_while(|(one, other)| one == other).count()
}

/// Appends the link to a subtree, or to none.
pub(super) fn put_link(out: &mut Vec<u8>, link: Option<&Cid>) {
    match link {
        Some(cid) => write::link(out, cid),
        None => write::null(out),
    }
}
