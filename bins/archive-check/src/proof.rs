//! The proof of one event of an archive, from the key that it was stored with. Whose key that was,
//! and when, was decided by the directory when the event came; everything else is done again.

use archive::Event;
use atproto::blocks::Blocks;
use atproto::event;
use atproto::mst::{Source, Undo};
use atproto::{Cid, car, commit};
use frame::verdict::{Verdict, notes};
use keys::{PublicKey, Verifier};

/// Parsed keys that are kept.
const CACHE_KEYS: usize = 1 << 15;

/// What is found out about an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finding {
    /// Hashes, signature and operations hold under the key that it was stored with.
    Proved,
    /// It was proved, and has no signature.
    Unsigned,
    /// It was stored without having been proved.
    Unproved,
    /// It was stored as proved, and this does not hold.
    Wrong(&'static str),
}

/// What is kept from event to event.
pub(crate) struct Proof {
    blocks: Blocks,
    undo: Undo,
    verifier: Verifier,
}

impl Proof {
    pub(crate) fn new() -> Proof {
        let verifier = Verifier::new(CACHE_KEYS);
        Proof { blocks: Blocks::new(), undo: Undo::new(), verifier }
    }

    pub(crate) fn of(&mut self, event: &Event<'_>) -> Finding {
        match event.proof() {
            None => Finding::Unproved,
            Some(verdict) => self.proved(event, &verdict).unwrap_or_else(Finding::Wrong),
        }
    }

    fn proved(&mut self, stored: &Event<'_>, verdict: &Verdict) -> Result<Finding, &'static str> {
        let body = stored.body;
        let event = event::parse(body).map_err(|_| "the envelope can't be read")?;
        let Some((car, _)) = event.blocks() else { return Ok(Finding::Unsigned) };
        self.blocks.fill(body, &event).map_err(|error| match error {
            car::Error::Hash { .. } => "a block does not hash to its CID",
            _ => "the blocks can't be read",
        })?;
        let root = car::parse(car).ok().and_then(|car| car.root()).ok_or("there is no root")?;
        let blocks = self.blocks.of(body);
        let block = blocks.block(&root).ok_or("the commit is missing")?;
        let signed = commit::parse(block).map_err(|_| "the commit can't be read")?;
        if Some(signed.did) != event.did() || Some(signed.rev) != event.rev() {
            return Err("the commit is another account's or of another rev");
        }
        let key = verdict.key.ok_or("it was stored without a key")?;
        let key = PublicKey::from_bytes(&key).map_err(|_| "its key is none")?;
        let held = self.verifier.verify(&key, &signed.signed_digest(), signed.sig);
        held.map_err(|_| "the signature does not hold under the key that it was stored with")?;
        if let event::Event::Commit(commit) = &event {
            if commit.commit != root {
                return Err("the root is not the commit");
            }
            // Of an account that was forgotten the signed commits are left, without their trees.
            let redacted = stored.flags & frame::flags::REDACTED != 0;
            let has_tree = !redacted || blocks.block(&signed.data).is_some();
            if has_tree && verdict.notes & notes::LEGACY == 0 {
                let before = self.undo.undo(&signed.data, commit.ops, &blocks);
                if before.ok() != Some(before_of(commit)) {
                    return Err("undoing the operations does not give prevData");
                }
            }
        }
        Ok(Finding::Proved)
    }
}

/// The tree before: none for an account's first commit.
fn before_of(commit: &event::Commit<'_>) -> Cid {
    commit.prev_data.unwrap_or_else(atproto::mst::empty)
}
