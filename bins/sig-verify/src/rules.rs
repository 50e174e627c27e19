//! The rules that hold for an event whoever its account is, each under the name that its verdict
//! carries: one function a rule, in the order in which they are asked.
//!
//! They are the specification's ("Repository event stream", "Repository") as real servers keep
//! them. A function gives `Err` with its rule and nothing else, so that this page can be read as
//! a list. What hinges on the account's identity is in [`crate::verify`].

use atproto::blocks::Blocks;
use atproto::car;
use atproto::commit::{self, Signed};
use atproto::event::{self, Action, Commit, Event, Op, Sync};
use atproto::limits::{self, Limit, OPS_MAX};
use atproto::mst::{self, Fault, Undo};
use atproto::syntax::{self, Tid};
use atproto::{Cid, loose};
use frame::verdict::Rule;

use crate::verify::Legacy;

/// How much later than its receive time an event's rev may be, in microseconds.
const REV_LATER_US_MAX: u64 = 5 * 60 * 1_000_000;

/// `event-too-big`: at most 5,000,000 bytes.
pub(crate) fn event_size(body: &[u8]) -> Result<(), Rule> {
    limits::event(body).map_err(|_| Rule::EVENT_TOO_BIG)
}

/// `bad-frame`: two objects of strict DAG-CBOR with the fields of the event's type.
pub(crate) fn envelope(body: &[u8]) -> Result<Event<'_>, Rule> {
    event::parse(body).map_err(|_| Rule::BAD_FRAME)
}

/// `bad-did`: the account's name has the form of a DID.
pub(crate) fn did(did: &str) -> Result<(), Rule> {
    if syntax::is_did(did) { Ok(()) } else { Err(Rule::BAD_DID) }
}

/// `bad-rev`: a rev is a TID.
pub(crate) fn rev(rev: &str) -> Result<Tid, Rule> {
    rev.parse().map_err(|_| Rule::BAD_REV)
}

/// `future-rev`: a rev is not later than the event came, give or take 5 minutes. The receive
/// time and not this machine's clock, so that a replay is judged as the event was.
pub(crate) fn rev_time(rev: Tid, received_ns: u64) -> Result<(), Rule> {
    let latest_us = (received_ns / 1000).saturating_add(REV_LATER_US_MAX);
    if rev.micros() <= latest_us { Ok(()) } else { Err(Rule::FUTURE_REV) }
}

/// `blocks-too-big` and `too-many-ops`: a commit's limits.
pub(crate) fn commit_limits(commit: &Commit<'_>) -> Result<(), Rule> {
    commit.limit().map_err(|limit| match limit {
        Limit::Ops(_) => Rule::TOO_MANY_OPS,
        _ => Rule::BLOCKS_TOO_BIG,
    })
}

/// `blocks-too-big`: the limit of a `#sync`.
pub(crate) fn sync_limits(sync: &Sync<'_>) -> Result<(), Rule> {
    sync.limit().map_err(|_| Rule::BLOCKS_TOO_BIG)
}

/// `bad-path`: a path is a collection and a record key.
pub(crate) fn path(op: &Op<'_>) -> Result<(), Rule> {
    if syntax::is_path(op.path) { Ok(()) } else { Err(Rule::BAD_PATH) }
}

/// `bad-op`: a create or update names its record, a delete names none, and there is no fourth
/// action.
pub(crate) fn op_form(op: &Op<'_>) -> Result<(), Rule> {
    match (op.action, op.cid) {
        (Action::Create | Action::Update, Some(_)) | (Action::Delete, None) => Ok(()),
        _ => Err(Rule::BAD_OP),
    }
}

/// `duplicate-path`: no path comes twice. There are at most [`OPS_MAX`] ops by then.
pub(crate) fn paths_differ(commit: &Commit<'_>) -> Result<(), Rule> {
    if commit.ops.len() < 2 {
        return Ok(());
    }
    let mut room = [""; OPS_MAX];
    let count = room.iter_mut().zip(commit.ops).map(|(place, op)| *place = op.path).count();
    let paths = room.get_mut(..count).unwrap_or_default();
    paths.sort_unstable();
    let twice = paths.iter().zip(paths.iter().skip(1)).any(|(one, next)| one == next);
    if twice { Err(Rule::DUPLICATE_PATH) } else { Ok(()) }
}

/// `bad-car` and `bad-cid`: the blocks are a CAR, and each hashes to its CID. Afterwards `blocks`
/// knows them. Gives the first root of the CAR.
pub(crate) fn hashes(
    blocks: &mut Blocks,
    body: &[u8],
    event: &Event<'_>,
) -> Result<Option<Cid>, Rule> {
    blocks.load(body, event).map_err(|error| match error {
        car::Error::Hash { .. } => Rule::BAD_CID,
        _ => Rule::BAD_CAR,
    })
}

/// `root-not-commit`: the first root of the CAR is the commit that the event names; a `#sync`
/// names it by nothing else.
pub(crate) fn root(root: Option<Cid>, named: Option<Cid>) -> Result<Cid, Rule> {
    match (root, named) {
        (Some(root), Some(named)) if root != named => Err(Rule::ROOT_NOT_COMMIT),
        (Some(root), _) => Ok(root),
        (None, _) => Err(Rule::ROOT_NOT_COMMIT),
    }
}

/// `missing-block`: the commit is among the blocks.
pub(crate) fn commit_block<'a>(
    blocks: &Blocks,
    body: &'a [u8],
    cid: &Cid,
) -> Result<&'a [u8], Rule> {
    blocks.get(body, cid).ok_or(Rule::MISSING_BLOCK)
}

/// `bad-commit`: a strict version 3 commit object.
pub(crate) fn commit_form(block: &[u8]) -> Result<Signed<'_>, Rule> {
    commit::parse(block).map_err(|_| Rule::BAD_COMMIT)
}

/// `did-mismatch`: the commit is the account's.
pub(crate) fn same_did(signed: &Signed<'_>, did: &str) -> Result<(), Rule> {
    if signed.did == did { Ok(()) } else { Err(Rule::DID_MISMATCH) }
}

/// `rev-mismatch`: the commit's rev is the event's.
pub(crate) fn same_rev(signed: &Signed<'_>, rev: &str) -> Result<(), Rule> {
    if signed.rev == rev { Ok(()) } else { Err(Rule::REV_MISMATCH) }
}

/// `missing-block`, `record-too-big` and `bad-op`: the record of a create or update is there
/// (unless it was taken out of a redacted frame), within its limit, and CBOR at all. Whether it
/// is strict DAG-CBOR is given back: a record was signed as it is.
pub(crate) fn record(
    blocks: &Blocks,
    body: &[u8],
    op: &Op<'_>,
    redacted: bool,
) -> Result<bool, Rule> {
    let Some(cid) = op.cid else { return Ok(true) };
    let Some(data) = blocks.get(body, &cid) else {
        return if redacted { Ok(true) } else { Err(Rule::MISSING_BLOCK) };
    };
    limits::record(data).map_err(|_| Rule::RECORD_TOO_BIG)?;
    loose::walk(data).map(|notes| notes.is_strict()).map_err(|_| Rule::BAD_RECORD)
}

/// `bad-inversion`, `bad-op`, `bad-node` and `missing-block`: the ops undone on the tree under
/// `data` give the tree before. An account's first commit has no tree before: it only creates, and
/// what is left is the empty tree.
pub(crate) fn inversion(
    undo: &mut Undo,
    commit: &Commit<'_>,
    data: &Cid,
    blocks: &impl mst::Source,
) -> Result<(), Rule> {
    let before = undo.undo(data, commit.ops, blocks).map_err(|fault| match fault {
        Fault::Tree(mst::Error::MissingBlock(_)) => Rule::MISSING_BLOCK,
        Fault::Tree(_) => Rule::BAD_NODE,
        _ => Rule::BAD_OP,
    })?;
    if before == commit.prev_data.unwrap_or_else(mst::empty) {
        Ok(())
    } else {
        Err(Rule::BAD_INVERSION)
    }
}

/// `bad-repo` and `bad-path`: the records of a `repo` frame are those of the tree under `data`, all
/// of them and no others.
pub(crate) fn whole_repo(data: &Cid, mut paths: frame::repo::Paths<'_>) -> Result<(), Rule> {
    let mut records = Vec::new();
    while let Some((path, cid)) = paths.next() {
        if !std::str::from_utf8(path).is_ok_and(syntax::is_path) {
            return Err(Rule::BAD_PATH);
        }
        let cid = Cid::from_slice(&cid).map_err(|_| Rule::BAD_REPO)?;
        records.push((Box::<[u8]>::from(path), cid));
    }
    let root = mst::root(records.iter().map(|(path, cid)| (&**path, *cid)));
    if root == *data { Ok(()) } else { Err(Rule::BAD_REPO) }
}

/// `legacy`: a commit says what was before it, so that its ops can be undone; or it does not, and
/// may.
pub(crate) fn has_before(commit: &Commit<'_>, legacy: Legacy) -> Result<bool, Rule> {
    let lacks_prev =
        |op: Op<'_>| matches!(op.action, Action::Update | Action::Delete) && op.prev.is_none();
    let lacks = (commit.since.is_some() && commit.prev_data.is_none())
        || commit.ops.into_iter().any(lacks_prev);
    match legacy {
        Legacy::Refuse if lacks => Err(Rule::LEGACY),
        _ => Ok(!lacks),
    }
}

/// `bad-op`, `bad-node` and `missing-block`: the tree under `data` says of the op's path what the
/// op says: what can be asked of a legacy commit. The nodes on the way belong to an event's
/// blocks, but such hosts may leave those of a deleted path out.
pub(crate) fn op_in_tree(op: &Op<'_>, data: &Cid, blocks: &impl mst::Source) -> Result<(), Rule> {
    match mst::find(op.path, data, blocks) {
        Ok(found) if found == op.cid => Ok(()),
        Ok(_) => Err(Rule::BAD_OP),
        Err(mst::Error::MissingBlock(_)) => match op.action {
            Action::Delete => Ok(()),
            // Nothing changed, so no node on the way had to be sent.
            Action::Update if op.prev == op.cid => Ok(()),
            _ => Err(Rule::MISSING_BLOCK),
        },
        Err(_) => Err(Rule::BAD_NODE),
    }
}
