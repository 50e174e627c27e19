//! The envelope of an event: what comes as one message over
//! `com.atproto.sync.subscribeRepos`.
//!
//! Two objects of strict DAG-CBOR, one behind the other, and nothing else:
//!
//! | part | fields |
//! |---|---|
//! | header | `op` (1, or -1 for an error), `t` (the type; with `op` 1 only) |
//! | `#commit` | `seq repo commit rev since? prevData? blocks ops time`, ignored: `rebase tooBig blobs prev` |
//! | `#sync` | `seq did rev blocks time` |
//! | `#identity` | `seq did handle? time` |
//! | `#account` | `seq did active status? time` |
//! | `#info` | `name message?` |
//! | error | `error message?` |
//!
//! `?` marks what may be absent or `null`. Fields stand in the order that
//! DAG-CBOR gives them; unknown ones are passed over. The four ignored ones
//! decide nothing, so a wrong type there is nobody's error. Syntax of DIDs and
//! revs, and the [`limits`], are rules of proof and not of form:
//! they are checks of their own.

mod ops;
mod parse;
mod places;

pub use ops::{Action, Op, Ops};
pub use parse::parse;
pub use places::Places;

use crate::cbor::{self, Cause};
use crate::cid::Cid;
use crate::limits::{self, Limit};

/// Why bytes are no event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A field holds what it must not.
    #[error("field {field} at offset {offset}: {cause}")]
    Field {
        /// The field, as the lexicon has it; `ops.path` is one inside `ops`.
        field: &'static str,
        /// Offset of its value in the event.
        offset: usize,
        /// What is wrong with it.
        cause: Cause,
    },
    /// A required field is not there.
    #[error("field {field} is missing in the object at offset {offset}")]
    Missing {
        /// The field.
        field: &'static str,
        /// Offset of the object that lacks it.
        offset: usize,
    },
    /// A number that must not be negative is.
    #[error("field {field} at offset {offset}: {value} is negative")]
    Negative {
        /// The field.
        field: &'static str,
        /// Offset of its value in the event.
        offset: usize,
        /// What it holds.
        value: i64,
    },
    /// The header's `op` is neither 1 nor -1.
    #[error("header op {op} is neither 1 nor -1")]
    HeaderOp {
        /// What it is.
        op: i64,
    },
    /// Not strict DAG-CBOR, outside of any field.
    #[error(transparent)]
    Cbor(#[from] cbor::Error),
}

/// One event, borrowed from its bytes.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Event<'a> {
    /// `#commit`: a signed change of a repository.
    Commit(Commit<'a>),
    /// `#sync`: the state of a repository, with its signed commit.
    Sync(Sync<'a>),
    /// `#identity`: the account's identity may have changed.
    Identity(Identity<'a>),
    /// `#account`: the account's status at the host that sends it.
    Account(Account<'a>),
    /// `#info`: about the stream; has no seq.
    Info {
        /// Such as `OutdatedCursor`.
        name: &'a str,
        /// For people.
        message: Option<&'a str>,
    },
    /// An error; the stream ends behind it.
    ErrorFrame {
        /// Such as `FutureCursor`.
        error: &'a str,
        /// For people.
        message: Option<&'a str>,
    },
    /// A type that is not known here, and what can be told of it.
    Unknown {
        /// The type.
        t: &'a str,
        /// The body's `seq`, if that is a number of zero or more.
        seq: Option<i64>,
        /// The body's `did` or else `repo`, if that is text.
        did: Option<&'a str>,
    },
}

/// A `#commit`.
#[derive(Debug, Clone, Copy)]
pub struct Commit<'a> {
    /// The host's number of the event; never negative.
    pub seq: i64,
    /// The account's DID, as the envelope has it.
    pub repo: &'a str,
    /// The revision, as the envelope has it.
    pub rev: &'a str,
    /// The revision before.
    pub since: Option<&'a str>,
    /// The CID of the signed commit.
    pub commit: Cid,
    /// The root of the tree before.
    pub prev_data: Option<Cid>,
    /// A CAR.
    pub blocks: &'a [u8],
    /// Offset of `blocks` in the event.
    pub blocks_at: usize,
    /// When the host sent it, as it says.
    pub time: &'a str,
    /// The deprecated mark of a commit without its blocks. Decides nothing.
    pub too_big: bool,
    /// What changed.
    pub ops: Ops<'a>,
}

/// A `#sync`.
#[derive(Debug, Clone, Copy)]
pub struct Sync<'a> {
    /// The host's number of the event; never negative.
    pub seq: i64,
    /// The account.
    pub did: &'a str,
    /// The revision, as the envelope has it.
    pub rev: &'a str,
    /// A CAR with the signed commit.
    pub blocks: &'a [u8],
    /// Offset of `blocks` in the event.
    pub blocks_at: usize,
    /// When the host sent it, as it says.
    pub time: &'a str,
}

/// An `#identity`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity<'a> {
    /// The host's number of the event; never negative.
    pub seq: i64,
    /// The account.
    pub did: &'a str,
    /// Its handle, as the host says.
    pub handle: Option<&'a str>,
    /// When the host sent it, as it says.
    pub time: &'a str,
}

/// An `#account`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account<'a> {
    /// The host's number of the event; never negative.
    pub seq: i64,
    /// The account.
    pub did: &'a str,
    /// Whether its repository may be had; this alone decides.
    pub active: bool,
    /// Why not; any text.
    pub status: Option<&'a str>,
    /// When the host sent it, as it says.
    pub time: &'a str,
}

impl<'a> Event<'a> {
    /// The type as the header has it; `error` for an error frame.
    pub fn type_name(&self) -> &'a str {
        match self {
            Event::Commit(_) => "#commit",
            Event::Sync(_) => "#sync",
            Event::Identity(_) => "#identity",
            Event::Account(_) => "#account",
            Event::Info { .. } => "#info",
            Event::ErrorFrame { .. } => "error",
            Event::Unknown { t, .. } => t,
        }
    }

    /// The host's number of the event.
    pub fn seq(&self) -> Option<i64> {
        match self {
            Event::Commit(event) => Some(event.seq),
            Event::Sync(event) => Some(event.seq),
            Event::Identity(event) => Some(event.seq),
            Event::Account(event) => Some(event.seq),
            Event::Unknown { seq, .. } => *seq,
            Event::Info { .. } | Event::ErrorFrame { .. } => None,
        }
    }

    /// The account.
    pub fn did(&self) -> Option<&'a str> {
        match self {
            Event::Commit(event) => Some(event.repo),
            Event::Sync(event) => Some(event.did),
            Event::Identity(event) => Some(event.did),
            Event::Account(event) => Some(event.did),
            Event::Unknown { did, .. } => *did,
            Event::Info { .. } | Event::ErrorFrame { .. } => None,
        }
    }

    /// The revision.
    pub fn rev(&self) -> Option<&'a str> {
        match self {
            Event::Commit(event) => Some(event.rev),
            Event::Sync(event) => Some(event.rev),
            _ => None,
        }
    }

    /// The CAR and its offset in the event.
    pub fn blocks(&self) -> Option<(&'a [u8], usize)> {
        match self {
            Event::Commit(event) => Some((event.blocks, event.blocks_at)),
            Event::Sync(event) => Some((event.blocks, event.blocks_at)),
            _ => None,
        }
    }
}

impl Commit<'_> {
    /// The first limit of a commit that this one goes over.
    pub fn limit(&self) -> Result<(), Limit> {
        if self.blocks.len() > limits::BLOCKS_BYTES_MAX {
            return Err(Limit::BlocksBytes(self.blocks.len()));
        }
        if self.ops.len() > limits::OPS_MAX {
            return Err(Limit::Ops(self.ops.len()));
        }
        Ok(())
    }
}

impl Sync<'_> {
    /// The limit of a `#sync`, gone over.
    pub fn limit(&self) -> Result<(), Limit> {
        if self.blocks.len() > limits::SYNC_BLOCKS_BYTES_MAX {
            return Err(Limit::SyncBlocksBytes(self.blocks.len()));
        }
        Ok(())
    }
}

/// For fuzzing: what an event says of itself holds together.
pub fn fuzz_event(data: &[u8]) {
    let Ok(event) = parse(data) else { return };
    assert!(event.seq().is_none_or(|seq| seq >= 0), "negative seq");
    if let Some((blocks, at)) = event.blocks() {
        assert!(data.get(at..at + blocks.len()) == Some(blocks), "blocks are elsewhere");
    }
    if let Event::Commit(commit) = event {
        let moved = data.to_vec();
        let again = Places::of(data, &commit).and_then(|places| places.commit(&moved));
        let again = again.map(Event::Commit);
        assert!(
            format!("{again:?}") == format!("{:?}", parse(&moved).ok()),
            "read anew it differs"
        );
        assert!(commit.ops.count() == commit.ops.len(), "ops are lost on the way");
    }
}

#[cfg(test)]
mod tests;
