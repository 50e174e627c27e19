//! Checks signatures, and keeps the keys it has met in parsed form.
//!
//! Parsing a key costs a square root, about a tenth of a check. The cache is keyed by the key's
//! bytes and not by the account: many accounts of one host share a key, and a rotated key needs
//! no invalidation. It is a table of sets of eight, taken once; the oldest of a set gives way.
//! Which set a key falls into is decided by a hash with a random secret, since keys are chosen
//! by strangers.

use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU64;

use crate::{KEY_BYTES, PublicKey, Reject, backend};

/// Keys in one set. A set is searched whole: 8 comparisons of 34 bytes against one check of a
/// signature do not show.
const WAYS: usize = 8;

/// The largest cache: 2.5 GB of keys.
const KEYS_MAX: usize = 1 << 24;

struct Slot {
    key: [u8; KEY_BYTES],
    /// When the slot was used last, in look-ups; 0 = empty.
    used: u64,
    parsed: backend::Parsed,
}

/// Checks signatures with a bounded cache of parsed keys.
///
/// Always checked: the curve of the key, the compact form, the range of both numbers, the low
/// half for `S`, the signature itself. Not checked: that the digest is of what was signed.
pub struct Verifier {
    sets: Vec<[Slot; WAYS]>,
    hash: RandomState,
    clock: u64,
    parsed: u64,
    /// One acceptance in so many is asked of both implementations.
    second_opinion: Option<NonZeroU64>,
    accepted: u64,
}

impl Verifier {
    /// A verifier that keeps about `keys` keys, at least 8 and rounded up to a power of two.
    /// One key takes about 150 bytes; all of it is taken here, none later.
    #[must_use]
    pub fn new(keys: usize) -> Verifier {
        let empty = || Slot { key: [0; KEY_BYTES], used: 0, parsed: backend::Parsed::EMPTY };
        let count = keys.clamp(WAYS, KEYS_MAX).next_power_of_two() / WAYS;
        let sets = std::iter::repeat_with(|| std::array::from_fn(|_| empty())).take(count);
        Verifier {
            sets: sets.collect(),
            hash: RandomState::new(),
            clock: 0,
            parsed: 0,
            second_opinion: None,
            accepted: 0,
        }
    }

    /// Asks both implementations of the curve of one acceptance in `every`, besides of every
    /// refusal. Without the feature `native` there is one, and this changes nothing.
    #[must_use]
    pub fn with_second_opinion(self, every: NonZeroU64) -> Verifier {
        Verifier { second_opinion: Some(every), ..self }
    }

    /// Whether `signature` is `key`'s over `digest`, the SHA-256 of what was signed.
    ///
    /// # Errors
    /// The [`Reject`] that says why not.
    pub fn verify(
        &mut self,
        key: &PublicKey,
        digest: &[u8; 32],
        signature: &[u8],
    ) -> Result<(), Reject> {
        self.ask(key, digest, signature, true)
    }

    /// Whether `signature` is `key`'s, as [`Self::verify`] says, where another key may be tried
    /// next: a "no" is one library's, so it refuses nothing yet.
    ///
    /// # Errors
    /// [`Reject::Disagreement`], if that was an acceptance of which both were asked.
    pub fn is_by(
        &mut self,
        key: &PublicKey,
        digest: &[u8; 32],
        signature: &[u8],
    ) -> Result<bool, Reject> {
        match self.ask(key, digest, signature, false) {
            Ok(()) => Ok(true),
            Err(Reject::Disagreement) => Err(Reject::Disagreement),
            Err(_) => Ok(false),
        }
    }

    fn ask(
        &mut self,
        key: &PublicKey,
        digest: &[u8; 32],
        signature: &[u8],
        no_twice: bool,
    ) -> Result<(), Reject> {
        let yes_twice =
            self.second_opinion.is_some_and(|every| self.accepted.is_multiple_of(every.get()));
        let slot = self.slot(key)?;
        let twice = |holds: bool| if holds { yes_twice } else { no_twice };
        let verified = backend::verify(key, &slot.parsed, digest, signature, twice);
        self.accepted += u64::from(verified.is_ok());
        verified
    }

    /// Whether a key is a point of its curve, so that it can have signed anything at all.
    pub fn is_point(&mut self, key: &PublicKey) -> bool {
        self.slot(key).is_ok_and(|slot| slot.parsed.is_point())
    }

    /// Where a key lies in parsed form.
    fn slot(&mut self, key: &PublicKey) -> Result<&Slot, Reject> {
        self.clock += 1;
        let bytes = key.to_bytes();
        // The number of sets is a power of two, so the mask keeps the low bits of the hash.
        let index = self.hash.hash_one(bytes) as usize & (self.sets.len() - 1);
        let set = self.sets.get_mut(index).map(|set| &mut set[..]).unwrap_or_default();
        let known = set.iter().position(|slot| slot.used != 0 && slot.key == bytes);
        let slot = match known {
            Some(at) => set.get_mut(at),
            None => set.iter_mut().min_by_key(|slot| slot.used),
        };
        let Some(slot) = slot else { return Err(Reject::BadKey) };
        if known.is_none() {
            self.parsed += 1;
            (slot.key, slot.parsed) = (bytes, backend::parse(key)?);
        }
        slot.used = self.clock;
        Ok(slot)
    }

    /// How many keys were parsed so far: the misses of the cache.
    #[must_use]
    pub fn parsed(&self) -> u64 {
        self.parsed
    }
}
