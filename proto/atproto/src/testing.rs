//! Bytes for tests, encoded by another implementation.

pub(crate) use ipld_core::ipld::Ipld;

use crate::Cid;

pub(crate) use ipld_core::ipld;

/// A value as strict DAG-CBOR.
pub(crate) fn encode(value: &Ipld) -> Vec<u8> {
    serde_ipld_dagcbor::to_vec(value).unwrap()
}

/// A link.
pub(crate) fn link(cid: &Cid) -> Ipld {
    Ipld::Link(ipld_core::cid::Cid::try_from(&cid.as_bytes()[..]).unwrap())
}

/// A link, or `null`.
pub(crate) fn link_or_null(cid: Option<&Cid>) -> Ipld {
    cid.map_or(Ipld::Null, link)
}

/// A map with a field set to another value, or taken out.
pub(crate) fn with(map: &Ipld, field: &str, value: Option<Ipld>) -> Ipld {
    let Ipld::Map(mut map) = map.clone() else { panic!("not a map") };
    match value {
        Some(value) => map.insert(field.to_owned(), value),
        None => map.remove(field),
    };
    Ipld::Map(map)
}

/// A CAR of blocks behind one root.
pub(crate) fn car(root: &Cid, blocks: &[(Cid, &[u8])]) -> Vec<u8> {
    let header = encode(&ipld!({ "roots": [link(root)], "version": 1 }));
    let mut out = varint(header.len());
    out.extend(header);
    for (cid, data) in blocks {
        out.extend(varint(Cid::BYTES + data.len()));
        out.extend(cid.as_bytes());
        out.extend(*data);
    }
    out
}

/// An unsigned varint.
pub(crate) fn varint(mut value: usize) -> Vec<u8> {
    let mut out = Vec::new();
    while value > 0x7f {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

/// An event: header and body.
pub(crate) fn event(t: &str, body: &Ipld) -> Vec<u8> {
    [encode(&ipld!({ "op": 1, "t": t })), encode(body)].concat()
}

/// A tree node: the subtree before it, and entries of key, record and subtree.
pub(crate) fn node(left: Option<&Cid>, entries: &[(&str, Cid, Option<Cid>)]) -> Vec<u8> {
    let mut last = "";
    let mut list = Vec::new();
    for (key, value, right) in entries {
        let shared = last.bytes().zip(key.bytes()).take_while(|(a, b)| a == b).count();
        list.push(ipld!({
            "k": Ipld::Bytes(key.as_bytes()[shared..].to_vec()),
            "p": shared as i64,
            "t": link_or_null(right.as_ref()),
            "v": link(value),
        }));
        last = key;
    }
    encode(&ipld!({ "e": Ipld::List(list), "l": link_or_null(left) }))
}

/// A signed commit.
pub(crate) fn commit(did: &str, rev: &str, data: &Cid) -> Ipld {
    ipld!({
        "did": did,
        "rev": rev,
        "sig": Ipld::Bytes(vec![7; 64]),
        "data": link(data),
        "prev": null,
        "version": 3,
    })
}

/// A `#commit` body around a commit block and others.
pub(crate) fn commit_event(blocks: &[(Cid, &[u8])], ops: Vec<Ipld>) -> Ipld {
    let root = blocks[0].0;
    ipld!({
        "seq": 7,
        "repo": "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa",
        "rev": "3jzfcijpj2z2b",
        "since": "3jzfcijpj2z2a",
        "commit": link(&root),
        "prevData": link(&root),
        "blocks": Ipld::Bytes(car(&root, blocks)),
        "ops": Ipld::List(ops),
        "time": "2026-08-01T00:00:00.000Z",
        "tooBig": false,
        "rebase": false,
        "blobs": [],
    })
}
