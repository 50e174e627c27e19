//! What a duplicate is: the one place that says when two events are the same.
//!
//! Servers that pass events on give them another number and encode the envelope
//! anew. So the identity of a signed event is over what is proved and used of it,
//! and the identity of everything else over where it came from and all its bytes.
//!
//! | event | over |
//! |---|---|
//! | `#commit` | kind, `repo`, `rev`, `commit`, `since`, `prevData`, each op's `action`, `path`, `cid`, `prev`, all bytes of `blocks` |
//! | `#sync` | kind, `did`, `rev`, all bytes of `blocks` |
//! | all others, what does not parse, and what is over the limit of an event | host, epoch, seq of the frame, all bytes |
//!
//! Left out of a signed event, and why:
//!
//! - `seq`: each server that passes an event on counts for itself.
//! - `time`: servers may set it anew; nothing is decided by it.
//! - `tooBig`, `rebase`, `blobs`, and `prev` of the commit: deprecated, decide
//!   nothing, and servers drop them or fill them in.
//! - unknown fields, in the envelope and in ops: servers drop what they do not
//!   know.
//! - the header beyond `t`, for the same reason.
//! - the host: the same commit by another way is the same commit.
//!
//! Nothing that is left out may ever refuse an event, or a copy that is refused
//! for it would take the true one down with it. Their order needs no leaving out:
//! strict DAG-CBOR has one. Unsigned events keep everything, since active,
//! deactivated and active again are three events and only a re-send is a
//! duplicate.
//!
//! The hash of the archive is BLAKE3 keyed with 32 bytes and cut to 128 bits: who
//! does not know the key cannot aim at a collision. What lives in memory alone
//! takes the same bytes ([`feed`]) under a quicker keyed hash. What is hashed is
//! unambiguous: one byte for the kind, then parts of variable length behind their
//! u64 length, absent ones as one byte 0 and present ones behind one byte 1, and
//! the ops behind their count.

use crate::cid::Cid;
use crate::event::{self, Event};
use crate::limits;

/// The key of the hash. Keep it from the senders of events.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key(pub [u8; 32]);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(..)")
    }
}

/// The identity of an event. `host` is its canonical name, so that the identity
/// outlives a stream's host ids; `epoch` and `seq` are those of its frame.
pub fn of(key: &Key, host: &str, epoch: u32, seq: u64, body: &[u8]) -> [u8; 16] {
    of_parsed(key, host, epoch, seq, body, event::parse(body).ok().as_ref())
}

/// The same for an event that has been parsed already; `None` if it did not parse.
pub fn of_parsed(
    key: &Key,
    host: &str,
    epoch: u32,
    seq: u64,
    body: &[u8],
    event: Option<&Event<'_>>,
) -> [u8; 16] {
    let mut hash = blake3::Hasher::new_keyed(&key.0);
    let take = |bytes: &[u8]| {
        hash.update(bytes);
    };
    feed(take, host, epoch, seq, body, event);
    let mut out = [0; 16];
    hash.finalize_xof().fill(&mut out);
    out
}

/// Hands `take` all that the identity of an event is over, piece by piece: for whoever keeps
/// identities no longer than a process lives, and wants a quicker hash than the archive's.
pub fn feed(
    take: impl FnMut(&[u8]),
    host: &str,
    epoch: u32,
    seq: u64,
    body: &[u8],
    event: Option<&Event<'_>>,
) {
    let mut parts = Parts(take);
    // Padding is left out below, so it must not be what refuses an event.
    match event.filter(|_| limits::event(body).is_ok()) {
        Some(Event::Commit(commit)) => {
            parts.raw(b"c");
            parts.part(commit.repo.as_bytes());
            parts.part(commit.rev.as_bytes());
            parts.raw(commit.commit.as_bytes());
            parts.option(commit.since.map(str::as_bytes));
            parts.cid(commit.prev_data);
            parts.raw(&(commit.ops.len() as u64).to_le_bytes());
            for op in commit.ops {
                parts.part(op.name.as_bytes());
                parts.part(op.path.as_bytes());
                parts.cid(op.cid);
                parts.cid(op.prev);
            }
            parts.part(commit.blocks);
        }
        Some(Event::Sync(sync)) => {
            parts.raw(b"s");
            parts.part(sync.did.as_bytes());
            parts.part(sync.rev.as_bytes());
            parts.part(sync.blocks);
        }
        _ => {
            parts.raw(b"u");
            parts.part(host.as_bytes());
            parts.raw(&epoch.to_le_bytes());
            parts.raw(&seq.to_le_bytes());
            parts.part(body);
        }
    }
}

/// Where the pieces go.
struct Parts<F>(F);

impl<F: FnMut(&[u8])> Parts<F> {
    /// Bytes whose number follows from what stands before.
    fn raw(&mut self, bytes: &[u8]) {
        (self.0)(bytes);
    }

    fn part(&mut self, bytes: &[u8]) {
        self.raw(&(bytes.len() as u64).to_le_bytes());
        self.raw(bytes);
    }

    fn option(&mut self, bytes: Option<&[u8]>) {
        self.raw(&[u8::from(bytes.is_some())]);
        if let Some(bytes) = bytes {
            self.part(bytes);
        }
    }

    fn cid(&mut self, cid: Option<Cid>) {
        self.raw(&[u8::from(cid.is_some())]);
        if let Some(cid) = cid {
            self.raw(cid.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests;
