//! Frames and records as people read them: one JSON object a line. Operations with their records
//! are lines of [`records`], or of [`jetstream`] as others write them.
//!
//! `frame-cat` and `archive-cat --json` print the same lines, so the form is written down here
//! and nowhere else. Fields are added in later versions and never change their meaning.
//!
//! An event:
//!
//! | field     | meaning                                                                       |
//! |-----------|-------------------------------------------------------------------------------|
//! | `kind`    | `event`                                                                       |
//! | `n`       | the event's number in the archive it was read from; null elsewhere            |
//! | `host`    | canonical name of the host that it came from                                  |
//! | `role`    | `pds` or `relay`                                                              |
//! | `epoch`   | the host's epoch                                                              |
//! | `seq`     | upstream sequence number                                                      |
//! | `time`    | receive time, RFC 3339 UTC with microseconds                                  |
//! | `type`    | `#commit`, `#sync`, `#identity`, `#account`, or what it calls itself          |
//! | `did`     | the account                                                                   |
//! | `rev`     | the commit's rev; null where there is none                                    |
//! | `since`   | the rev before it, as the event says                                          |
//! | `commit`  | CID of the commit                                                             |
//! | `verdict` | `ok`, `refused`, `unchecked`; null if no `sig-verify` has seen it             |
//! | `rule`    | the rule that decided; null if the verdict is `ok` or absent                  |
//! | `notes`   | what else was seen, a list of words                                           |
//! | `key`     | the key that proved it, as did:key                                            |
//! | `ops`     | `[{"action","collection","rkey","cid","prev"}]`, `cid` and `prev` null where absent |
//! | `active`, `status` | of an `#account`                                                     |
//! | `handle`  | of an `#identity`                                                             |
//! | `bytes`   | length of the event                                                           |
//! | `flags`   | `["redacted"]` if record blocks were taken out                                |
//! | `error`   | why the event cannot be read, if it cannot                                    |
//!
//! Control frames have `kind` and what they say: `host` (`id`, `host`, `role`), `mark` (`time`,
//! `marks` with `host`, `epoch`, `seq`), `hole` (`host`, `epoch`, `after`, `until`, `time`),
//! `repo` (`did`, `rev`, `commit`, `records`: how many, `time`), `end` (`time`). Any other frame has `kind` (a name or a number), `host`, `seq`, `time`, `bytes`.
#![warn(clippy::indexing_slicing)]

mod control;
mod event;
mod jetstream;
mod record;
mod records;
mod time;

pub use jetstream::jetstream;
pub use record::record;
pub use records::{Shown, records};
pub use time::{rfc3339, rfc3339_ms};

use frame::host::HostTable;
use frame::{Frame, Kind};

/// Appends the line of a frame, with its newline. `hosts` is what the stream has said so far.
///
/// # Errors
/// A control frame that does not have the form of its kind; nothing was appended then.
pub fn put(out: &mut Vec<u8>, frame: &Frame<'_>, hosts: &HostTable) -> Result<(), frame::Error> {
    match frame.header.kind {
        Kind::EVENT => write(out, &event::Line::of(frame, hosts)?),
        Kind::HOST => write(out, &control::Host::of(frame)?),
        Kind::MARK => write(out, &control::Mark::of(frame, hosts)?),
        Kind::HOLE => write(out, &control::Hole::of(frame, hosts)?),
        Kind::REPO => match control::Repo::of(frame) {
            Ok(repo) => write(out, &repo),
            Err(_) => write(out, &control::Other::of(frame, hosts)),
        },
        Kind::END => write(out, &control::End::of(frame)),
        _ => write(out, &control::Other::of(frame, hosts)),
    }
    Ok(())
}

/// Serializing into memory fails for maps whose keys are not text, which these lines do not have.
fn write(out: &mut Vec<u8>, line: &impl serde::Serialize) {
    let before = out.len();
    match serde_json::to_writer(&mut *out, line) {
        Ok(()) => out.push(b'\n'),
        Err(_) => out.truncate(before),
    }
}

#[cfg(test)]
mod tests;
