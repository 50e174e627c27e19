//! An event taken apart, so that each of its parts can be damaged, and put together again.

use std::collections::BTreeMap;

use atproto::Cid;
use ipld_core::ipld::Ipld;

pub type Map = BTreeMap<String, Ipld>;

/// A signed event in parts.
#[derive(Clone)]
pub struct Pieces {
    pub header: Map,
    pub body: Map,
    pub roots: Vec<Cid>,
    pub blocks: Vec<(Cid, Vec<u8>)>,
}

pub fn encode(map: &Map) -> Vec<u8> {
    serde_ipld_dagcbor::to_vec(&Ipld::Map(map.clone())).unwrap()
}

pub fn decode(bytes: &[u8]) -> Map {
    match serde_ipld_dagcbor::from_slice(bytes).unwrap() {
        Ipld::Map(map) => map,
        other => panic!("{other:?}"),
    }
}

pub fn text(text: &str) -> Ipld {
    Ipld::String(text.to_owned())
}

pub fn link(cid: &Cid) -> Ipld {
    Ipld::Link(ipld_core::cid::Cid::try_from(&cid.as_bytes()[..]).unwrap())
}

fn cid(link: &Ipld) -> Cid {
    match link {
        Ipld::Link(link) => Cid::from_slice(&link.to_bytes()).unwrap(),
        other => panic!("{other:?}"),
    }
}

/// How long the first object of an event is: its header.
fn header_bytes(event: &[u8]) -> usize {
    (1..event.len()).find(|cut| atproto::cbor::check(&event[..*cut]).is_ok()).unwrap()
}

impl Pieces {
    /// Takes a `#commit` or `#sync` apart; `None` for any other event.
    pub fn of(event: &[u8]) -> Option<Pieces> {
        let (bytes, _) = atproto::event::parse(event).unwrap().blocks()?;
        let car = atproto::car::parse(bytes).unwrap();
        let blocks = car.blocks().map(|block| {
            let block = block.unwrap();
            (block.cid, block.data.to_vec())
        });
        let (header, body) = event.split_at(header_bytes(event));
        Some(Pieces {
            header: decode(header),
            body: decode(body),
            roots: car.root().into_iter().collect(),
            blocks: blocks.collect(),
        })
    }

    pub fn is_commit(&self) -> bool {
        self.header["t"] == text("#commit")
    }

    pub fn car(&self) -> Vec<u8> {
        let roots = Ipld::List(self.roots.iter().map(link).collect());
        let header: Map =
            [("roots".to_owned(), roots), ("version".to_owned(), Ipld::Integer(1))].into();
        let header = encode(&header);
        let mut car = varint(header.len());
        car.extend(header);
        for (cid, data) in &self.blocks {
            car.extend(varint(Cid::BYTES + data.len()));
            car.extend_from_slice(cid.as_bytes());
            car.extend_from_slice(data);
        }
        car
    }

    /// The event's bytes.
    pub fn event(&self) -> Vec<u8> {
        self.event_with(self.car())
    }

    /// The event's bytes, with other blocks than its own.
    pub fn event_with(&self, car: Vec<u8>) -> Vec<u8> {
        let mut body = self.body.clone();
        body.insert("blocks".to_owned(), Ipld::Bytes(car));
        [encode(&self.header), encode(&body)].concat()
    }

    fn place(&self, cid: &Cid) -> usize {
        self.blocks.iter().position(|(other, _)| other == cid).expect("the block is there")
    }

    /// Where the commit is among the blocks.
    pub fn commit_at(&self) -> usize {
        self.place(&self.roots[0])
    }

    /// The fields of the commit object.
    pub fn commit(&self) -> Map {
        decode(&self.blocks[self.commit_at()].1)
    }

    /// Gives the commit other bytes and names the outcome wherever it is named.
    pub fn put_commit(&mut self, block: Vec<u8>) {
        let (at, cid) = (self.commit_at(), Cid::dag_cbor(&block));
        self.blocks[at] = (cid, block);
        self.roots = vec![cid];
        if self.is_commit() {
            self.body.insert("commit".to_owned(), link(&cid));
        }
    }

    /// Changes a field of the commit object.
    pub fn change_commit(&mut self, field: &str, value: Ipld) {
        let mut commit = self.commit();
        commit.insert(field.to_owned(), value);
        self.put_commit(encode(&commit));
    }

    pub fn signature(&self) -> Vec<u8> {
        match &self.commit()["sig"] {
            Ipld::Bytes(bytes) => bytes.clone(),
            other => panic!("{other:?}"),
        }
    }

    /// Where the root of the tree is among the blocks, if it is there.
    pub fn tree_at(&self) -> Option<usize> {
        let root = cid(&self.commit()["data"]);
        self.blocks.iter().position(|(other, _)| *other == root)
    }

    fn ops_mut(&mut self) -> &mut Vec<Ipld> {
        match self.body.get_mut("ops") {
            Some(Ipld::List(ops)) => ops,
            other => panic!("{other:?}"),
        }
    }

    pub fn ops(&self) -> Vec<Map> {
        let Some(Ipld::List(ops)) = self.body.get("ops") else { return Vec::new() };
        ops.iter()
            .map(|op| match op {
                Ipld::Map(op) => op.clone(),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    pub fn put_ops(&mut self, ops: Vec<Map>) {
        *self.ops_mut() = ops.into_iter().map(Ipld::Map).collect();
    }

    /// The first operation of these actions, and where its record is among the blocks.
    pub fn op(&self, actions: &[&str]) -> Option<usize> {
        self.ops().iter().position(|op| actions.iter().any(|action| op["action"] == text(action)))
    }

    pub fn change_op(&mut self, at: usize, field: &str, value: Ipld) {
        let mut ops = self.ops();
        ops[at].insert(field.to_owned(), value);
        self.put_ops(ops);
    }

    /// Where the record of an operation is among the blocks.
    pub fn record_at(&self, op: usize) -> usize {
        self.place(&cid(&self.ops()[op]["cid"]))
    }
}

fn varint(mut n: usize) -> Vec<u8> {
    let mut out = Vec::new();
    while n > 0x7f {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
    out
}
