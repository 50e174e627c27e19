//! What the archive asks of an event's content: whose it is, and whether it was there before.

use atproto::event::{self, Event};
use atproto::identity::{self, Key};
use frame::verdict::{Status, Verdict};

/// An event's identity, see [`atproto::identity`]: the first half of it, which is enough. Nobody
/// outside knows the key, and among the 900,000 that a writer remembers one in 20 million million
/// events meets another of the same 64 bits by chance.
pub(crate) type Identity = [u8; 8];

/// A DID over this is no DID (atproto allows 2,048 bytes); such an event is stored under none.
const DID_BYTES_MAX: usize = 2048;

/// The identity of an event that came from `host`. Content alone counts only for an event that
/// was proved: of others a copy by another way may have been judged differently for its way, so
/// for them only a re-send is a repeat.
pub(crate) fn identity(
    key: &Key,
    host: &str,
    header: &frame::Header,
    body: &[u8],
    verdict: Option<&[u8]>,
) -> Identity {
    let proved = verdict
        .and_then(|bytes| Verdict::from_bytes(bytes).ok())
        .is_some_and(|verdict| verdict.status == Status::Ok);
    let event = if proved { event::parse(body).ok() } else { None };
    let whole = identity::of_parsed(key, host, header.epoch, header.seq, body, event.as_ref());
    whole.first_chunk().copied().unwrap_or_default()
}

/// The account that an event speaks of; empty if it speaks of none.
pub(crate) fn did(body: &[u8]) -> &str {
    let event = event::parse(body).ok();
    event.as_ref().and_then(Event::did).filter(|did| did.len() <= DID_BYTES_MAX).unwrap_or_default()
}
