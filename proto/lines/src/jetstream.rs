//! Events in the form of Jetstream: one line for each operation, and one for each `#identity` and
//! `#account`.
//!
//! | field     | meaning                                                                       |
//! |-----------|-------------------------------------------------------------------------------|
//! | `did`     | the account                                                                   |
//! | `time_us` | when the event was received, microseconds since 1970                          |
//! | `kind`    | `commit`, `identity` or `account`                                             |
//! | `commit`  | `rev`, `operation`, `collection`, `rkey`, and unless it is a delete `record` and `cid` |
//! | `identity`| `did`, `handle` if the event has one, `seq`, `time`                           |
//! | `account` | `active`, `did`, `seq`, `status` if the event has one, `time`                 |
//!
//! What Jetstream leaves out is left out here: `#sync`, and control frames. A record that is not
//! among the event's blocks (it was redacted) has no line.

use atproto::blocks::Blocks;
use atproto::event::{Event, Op};
use serde::Serialize;

use crate::records::{Shown, record_of};

#[derive(Serialize)]
struct Head<'a> {
    did: &'a str,
    time_us: u64,
    kind: &'a str,
}

#[derive(Serialize)]
struct Commit<'a> {
    rev: &'a str,
    operation: &'a str,
    collection: &'a str,
    rkey: &'a str,
}

#[derive(Serialize)]
struct Identity<'a> {
    did: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    handle: Option<&'a str>,
    seq: i64,
    time: &'a str,
}

#[derive(Serialize)]
struct Account<'a> {
    active: bool,
    did: &'a str,
    seq: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'a str>,
    time: &'a str,
}

/// Appends the lines of an event received at `time_ns`. `blocks` are those of `body`.
pub fn jetstream(
    out: &mut Vec<u8>,
    time_ns: u64,
    (event, body): (&Event<'_>, &[u8]),
    blocks: &Blocks,
    wanted: impl Fn(&Op<'_>) -> bool,
) -> Shown {
    let mut shown = Shown::default();
    let head = |did, kind| Head { did, time_us: time_ns / 1000, kind };
    match event {
        Event::Commit(commit) => {
            for op in commit.ops.filter(|op| wanted(op)) {
                let Some(record) = record_of(&op, body, blocks) else {
                    shown.missing += 1;
                    continue;
                };
                let about = Commit {
                    rev: commit.rev,
                    operation: op.name,
                    collection: op.collection(),
                    rkey: op.rkey(),
                };
                let before = out.len();
                open(out, &head(commit.repo, "commit"), "commit", &about);
                if let (Some(record), Some(cid)) = (record, op.cid) {
                    // The inner object goes on behind its last field.
                    out.truncate(out.len() - "}".len());
                    out.extend_from_slice(b",\"record\":");
                    if crate::record(out, record).is_err() {
                        out.truncate(before);
                        shown.missing += 1;
                        continue;
                    }
                    out.extend_from_slice(b",\"cid\":\"");
                    out.extend_from_slice(cid.text().as_str().as_bytes());
                    out.extend_from_slice(b"\"}");
                }
                out.extend_from_slice(b"}\n");
                shown.lines += 1;
            }
        }
        Event::Identity(event) => {
            let about =
                Identity { did: event.did, handle: event.handle, seq: event.seq, time: event.time };
            open(out, &head(event.did, "identity"), "identity", &about);
            out.extend_from_slice(b"}\n");
            shown.lines += 1;
        }
        Event::Account(event) => {
            let about = Account {
                active: event.active,
                did: event.did,
                seq: event.seq,
                status: event.status,
                time: event.time,
            };
            open(out, &head(event.did, "account"), "account", &about);
            out.extend_from_slice(b"}\n");
            shown.lines += 1;
        }
        _ => {}
    }
    shown
}

/// Appends an object that is not ended, with a field that is an object.
fn open(out: &mut Vec<u8>, head: &Head<'_>, name: &str, about: &impl Serialize) {
    // Text and numbers into memory: neither can fail.
    let _ = serde_json::to_writer(&mut *out, head);
    out.pop();
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    let _ = serde_json::to_writer(&mut *out, about);
}
