//! Events as they go over the wire: two DAG-CBOR objects in a row, a header `{op, t}` and a body.
//!
//! An event is encoded once, when it is made. What varies between the fields of one type in the
//! wild (`prevData` left out or not) is an `Option` here.

use anyhow::Result;
use bytes::Bytes;
use ipld_core::cid::Cid;
use serde::Serialize;

use crate::block::{Block, car};
use crate::commit::Commit;

#[derive(Serialize)]
struct Header<'a> {
    t: &'a str,
    op: i8,
}

#[derive(Serialize)]
struct ErrorHeader {
    op: i8,
}

/// One operation of a commit.
#[derive(Clone, Debug, Serialize)]
pub struct Op {
    /// The record after the operation; null for a delete.
    pub cid: Option<Cid>,
    /// `collection/rkey`.
    pub path: String,
    /// The record before the operation; left out for a create.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prev: Option<Cid>,
    /// `create`, `update` or `delete`.
    pub action: &'static str,
}

#[derive(Serialize)]
struct CommitBody<'a> {
    ops: &'a [Op],
    rev: &'a str,
    seq: i64,
    repo: &'a str,
    time: &'a str,
    blobs: [u8; 0],
    since: Option<&'a str>,
    #[serde(with = "serde_bytes")]
    blocks: &'a [u8],
    commit: Cid,
    rebase: bool,
    #[serde(rename = "tooBig")]
    too_big: bool,
    #[serde(rename = "prevData", skip_serializing_if = "Option::is_none")]
    prev_data: Option<Cid>,
}

#[derive(Serialize)]
struct SyncBody<'a> {
    did: &'a str,
    rev: &'a str,
    seq: i64,
    time: &'a str,
    #[serde(with = "serde_bytes")]
    blocks: &'a [u8],
}

#[derive(Serialize)]
struct IdentityBody<'a> {
    did: &'a str,
    seq: i64,
    time: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    handle: Option<&'a str>,
}

#[derive(Serialize)]
struct AccountBody<'a> {
    did: &'a str,
    seq: i64,
    time: &'a str,
    active: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'a str>,
}

#[derive(Serialize)]
struct InfoBody<'a> {
    name: &'a str,
    message: &'a str,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    error: &'a str,
    message: &'a str,
}

/// An event before it has its number: the host that sends it gives that.
#[derive(Clone, Debug)]
pub enum Draft {
    /// A change of records, with the blocks that prove it.
    Commit {
        /// The new head.
        commit: Commit,
        /// Rev of the head before.
        since: Option<String>,
        /// Root of the tree before; left out for the first commit.
        prev_data: Option<Cid>,
        /// What was done.
        ops: Vec<Op>,
        /// Records and tree nodes, without the commit.
        blocks: Vec<Block>,
    },
    /// The head, said again.
    Sync {
        /// The head.
        commit: Commit,
    },
    /// The head, said again under a rev that is not its own.
    Moved {
        /// The head.
        commit: Commit,
        /// The rev that the event names.
        rev: String,
    },
    /// The directory is to be asked again.
    Identity {
        /// The account.
        did: String,
        /// Its handle.
        handle: String,
    },
    /// Whether the account is served here.
    Account {
        /// The account.
        did: String,
        /// Served or not.
        active: bool,
        /// Why not.
        status: Option<&'static str>,
    },
}

impl Draft {
    /// The type as the header has it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Commit { .. } => "#commit",
            Self::Sync { .. } | Self::Moved { .. } => "#sync",
            Self::Identity { .. } => "#identity",
            Self::Account { .. } => "#account",
        }
    }

    /// The commit, where the event has one.
    pub fn commit(&self) -> Option<&Commit> {
        match self {
            Self::Commit { commit, .. } | Self::Sync { commit } | Self::Moved { commit, .. } => {
                Some(commit)
            }
            Self::Identity { .. } | Self::Account { .. } => None,
        }
    }

    /// The commit, to be tampered with.
    pub fn commit_mut(&mut self) -> Option<&mut Commit> {
        match self {
            Self::Commit { commit, .. } | Self::Sync { commit } | Self::Moved { commit, .. } => {
                Some(commit)
            }
            Self::Identity { .. } | Self::Account { .. } => None,
        }
    }

    /// Leaves out what the old form of a commit did not have.
    pub fn forget_before(&mut self) {
        if let Self::Commit { prev_data, ops, .. } = self {
            *prev_data = None;
            ops.iter_mut().for_each(|op| op.prev = None);
        }
    }

    /// Number of operations.
    pub fn ops(&self) -> usize {
        match self {
            Self::Commit { ops, .. } => ops.len(),
            _ => 0,
        }
    }

    fn sync(commit: &Commit, rev: &str, seq: i64, time: &str) -> Result<Bytes> {
        let block = commit.block()?;
        let car = car(block.cid, std::iter::once(&block))?;
        let did = &commit.did;
        message("#sync", &SyncBody { did, rev, seq, time, blocks: &car })
    }

    /// The event's bytes under a number, said at `time`.
    pub fn encode(&self, seq: i64, time: &str) -> Result<Bytes> {
        match self {
            Self::Commit { commit, since, prev_data, ops, blocks } => {
                let block = commit.block()?;
                let car = car(block.cid, std::iter::once(&block).chain(blocks))?;
                message(
                    self.name(),
                    &CommitBody {
                        ops,
                        rev: &commit.rev,
                        seq,
                        repo: &commit.did,
                        time,
                        blobs: [],
                        since: since.as_deref(),
                        blocks: &car,
                        commit: block.cid,
                        rebase: false,
                        too_big: false,
                        prev_data: *prev_data,
                    },
                )
            }
            Self::Sync { commit } => Self::sync(commit, &commit.rev, seq, time),
            Self::Moved { commit, rev } => Self::sync(commit, rev, seq, time),
            Self::Identity { did, handle } => {
                message(self.name(), &IdentityBody { did, seq, time, handle: Some(handle) })
            }
            Self::Account { did, active, status } => {
                let (active, status) = (*active, *status);
                message(self.name(), &AccountBody { did, seq, time, active, status })
            }
        }
    }
}

fn message<T: Serialize>(t: &str, body: &T) -> Result<Bytes> {
    let mut out = serde_ipld_dagcbor::to_vec(&Header { t, op: 1 })?;
    serde_ipld_dagcbor::to_writer(&mut out, body)?;
    Ok(out.into())
}

/// An `#info` frame.
pub fn info(name: &str, text: &str) -> Result<Bytes> {
    message("#info", &InfoBody { name, message: text })
}

/// An error frame (`op` -1), after which the server closes.
pub fn error(error: &str, text: &str) -> Result<Bytes> {
    let mut out = serde_ipld_dagcbor::to_vec(&ErrorHeader { op: -1 })?;
    serde_ipld_dagcbor::to_writer(&mut out, &ErrorBody { error, message: text })?;
    Ok(out.into())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use ipld_core::ipld::Ipld;
    use serde::Deserialize;
    use serde_ipld_dagcbor::de::Deserializer;

    use super::*;
    use crate::block::read;
    use crate::capture::Capture;

    type Map = BTreeMap<String, Ipld>;

    fn text(map: &Map, name: &str) -> Option<String> {
        match map.get(name) {
            Some(Ipld::String(text)) => Some(text.clone()),
            _ => None,
        }
    }

    fn link(map: &Map, name: &str) -> Option<Cid> {
        match map.get(name) {
            Some(Ipld::Link(cid)) => Some(*cid),
            _ => None,
        }
    }

    fn op(op: &Ipld) -> Op {
        let Ipld::Map(op) = op else { panic!("no op") };
        let action = match text(op, "action").as_deref() {
            Some("create") => "create",
            Some("update") => "update",
            _ => "delete",
        };
        let (cid, prev) = (link(op, "cid"), link(op, "prev"));
        Op { cid, path: text(op, "path").unwrap(), prev, action }
    }

    /// The commit of a recorded event, made again of its fields.
    fn commit(blocks: &[Block], root: Cid) -> Commit {
        let block = blocks.iter().find(|block| block.cid == root).unwrap();
        let fields: Map = serde_ipld_dagcbor::from_slice(&block.bytes).unwrap();
        let Some(Ipld::Bytes(sig)) = fields.get("sig") else { panic!("no sig") };
        let commit = Commit {
            did: text(&fields, "did").unwrap(),
            rev: text(&fields, "rev").unwrap(),
            sig: Some(sig[..].try_into().unwrap()),
            data: link(&fields, "data").unwrap(),
            prev: link(&fields, "prev"),
            version: 3,
            signed_by: "".into(),
        };
        assert_eq!(commit.block().unwrap(), *block);
        commit
    }

    #[test]
    fn recorded_events_made_again_of_their_fields_are_the_same_bytes() {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("../../tests/fixtures/refnet/firehose.u32be.zst");
        for recorded in Capture::read(&path).unwrap().events {
            let bytes = recorded.event.bytes;
            let mut rest = Deserializer::from_slice(&bytes);
            let header = Map::deserialize(&mut rest).unwrap();
            let body = Map::deserialize(&mut rest).unwrap();
            let (seq, time) = (recorded.event.seq, text(&body, "time").unwrap());
            let (did, handle) = (text(&body, "did"), text(&body, "handle"));
            let draft = match text(&header, "t").unwrap().as_str() {
                "#identity" => Draft::Identity { did: did.unwrap(), handle: handle.unwrap() },
                "#account" => {
                    let active = body["active"] == Ipld::Bool(true);
                    let status = (!active).then_some("deactivated");
                    Draft::Account { did: did.unwrap(), active, status }
                }
                "#sync" => {
                    let Ipld::Bytes(car) = &body["blocks"] else { panic!("no blocks") };
                    let (root, blocks) = read::car(car);
                    Draft::Sync { commit: commit(&blocks, root) }
                }
                _ => {
                    let Ipld::Bytes(car) = &body["blocks"] else { panic!("no blocks") };
                    let (root, blocks) = read::car(car);
                    let Ipld::List(ops) = &body["ops"] else { panic!("no ops") };
                    let commit = commit(&blocks, root);
                    // The official server writes the commit last; the order of blocks is free.
                    let again = super::car(root, blocks.iter()).unwrap();
                    assert_eq!(again, *car);
                    let ops: Vec<Op> = ops.iter().map(op).collect();
                    let since = text(&body, "since");
                    let made = CommitBody {
                        ops: &ops,
                        rev: &commit.rev,
                        seq,
                        repo: &commit.did,
                        time: &time,
                        blobs: [],
                        since: since.as_deref(),
                        blocks: car,
                        commit: root,
                        rebase: false,
                        too_big: false,
                        prev_data: link(&body, "prevData"),
                    };
                    assert_eq!(message("#commit", &made).unwrap(), bytes, "event {seq}");
                    continue;
                }
            };
            assert_eq!(draft.encode(seq, &time).unwrap(), bytes, "event {seq}");
        }
    }
}
