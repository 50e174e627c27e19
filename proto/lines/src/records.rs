//! One line for each operation of a commit, with its record.
//!
//! | field        | meaning                                                             |
//! |--------------|---------------------------------------------------------------------|
//! | `did`, `rev`, `seq`, `host`, `verdict` | as in the line of the event                  |
//! | `action`     | `create`, `update` or `delete`                                      |
//! | `collection`, `rkey` | the path                                                    |
//! | `cid`        | of the record; null if there is none any more                       |
//! | `record`     | the record; null if there is none, or if it can't be read           |
//! | `error`      | why it can't be read, if it can't                                   |

use std::io::Write as _;

use atproto::Cid;
use atproto::blocks::Blocks;
use atproto::event::{Action, Commit, Op};
use frame::host::HostTable;
use frame::{Frame, verdict};
use serde::{Serialize, Serializer};

/// Everything of a line but the record.
#[derive(Serialize)]
struct Line<'a> {
    did: &'a str,
    rev: &'a str,
    seq: u64,
    host: Option<&'a str>,
    verdict: Option<&'static str>,
    action: &'a str,
    collection: &'a str,
    rkey: &'a str,
    #[serde(serialize_with = "as_text")]
    cid: Option<Cid>,
}

fn as_text<S: Serializer>(cid: &Option<Cid>, to: S) -> Result<S::Ok, S::Error> {
    cid.map(|cid| cid.text()).as_ref().map(|text| text.as_str()).serialize(to)
}

/// How many lines were appended, and how many operations had no record to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shown {
    /// Lines.
    pub lines: u64,
    /// Operations whose record is not among the blocks.
    pub missing: u64,
}

/// Appends a line for each operation of a commit that is wanted. `blocks` are those of the frame.
///
/// # Errors
/// A verdict that can't be read; nothing was appended then.
pub fn records(
    out: &mut Vec<u8>,
    (frame, hosts): (&Frame<'_>, &HostTable),
    commit: &Commit<'_>,
    blocks: &Blocks,
    wanted: impl Fn(&Op<'_>) -> bool,
) -> Result<Shown, frame::Error> {
    let verdict = verdict::read(frame)?.map(|verdict| verdict.status.name());
    let host = hosts.get(frame.header.host).map(|host| host.name);
    let mut shown = Shown::default();
    for op in commit.ops.filter(|op| wanted(op)) {
        let Some(block) = record_of(&op, frame.body(), blocks) else {
            shown.missing += 1;
            continue;
        };
        let line = Line {
            did: commit.repo,
            rev: commit.rev,
            seq: frame.header.seq,
            host,
            verdict,
            action: op.name,
            collection: op.collection(),
            rkey: op.rkey(),
            cid: op.cid,
        };
        // Text, numbers and nothing else: it has a form in JSON.
        if serde_json::to_writer(&mut *out, &line).is_ok() {
            // The object goes on behind its last field.
            out.pop();
            out.extend_from_slice(b",\"record\":");
            let _ = match block.map(|block| crate::record(out, block)) {
                Some(Ok(())) => out.write_all(b"}\n"),
                None => out.write_all(b"null}\n"),
                Some(Err(error)) => writeln!(out, "null,\"error\":\"record: {error}\"}}"),
            };
            shown.lines += 1;
        }
    }
    Ok(shown)
}

/// The record that an operation leaves; none for a delete. `None` if it is not among the blocks.
pub(crate) fn record_of<'a>(
    op: &Op<'_>,
    body: &'a [u8],
    blocks: &Blocks,
) -> Option<Option<&'a [u8]>> {
    match op.action {
        Action::Delete => Some(None),
        _ => op.cid.and_then(|cid| blocks.get(body, &cid)).map(Some),
    }
}
