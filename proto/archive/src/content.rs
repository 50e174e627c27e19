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

/// The verdict that a section holds, if it is that the event was proved.
pub(crate) fn proof(section: Option<&[u8]>) -> Option<Verdict> {
    Verdict::from_bytes(section?).ok().filter(|verdict| verdict.status == Status::Ok)
}

/// The event, if it was proved.
pub(crate) fn proved<'a>(body: &'a [u8], section: Option<&[u8]>) -> Option<Event<'a>> {
    proof(section).and_then(|_| event::parse(body).ok())
}

/// The identity of an event that came from `host`. Content alone counts only for an event that
/// was proved: of others a copy by another way may have been judged differently for its way, so
/// for them only a re-send is a repeat. `proved` is the event, if it is one of the first kind.
pub(crate) fn identity(
    key: &Key,
    host: &str,
    header: &frame::Header,
    body: &[u8],
    proved: Option<&Event<'_>>,
) -> Identity {
    let whole = identity::of_parsed(key, host, header.epoch, header.seq, body, proved);
    whole.first_chunk().copied().unwrap_or_default()
}

/// The account that an event speaks of; empty if it speaks of none.
pub(crate) fn did(body: &[u8]) -> &str {
    let event = event::parse(body).ok();
    event.as_ref().and_then(Event::did).filter(|did| did.len() <= DID_BYTES_MAX).unwrap_or_default()
}
