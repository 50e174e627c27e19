//! The hashes themselves: an open-addressed table for each generation.
//!
//! A table is a row of buckets, and a bucket a line of four hashes, 0 where there is none:
//!
//! ```text
//! bucket, 64 bytes = hash | hash | hash | hash, 16 bytes each
//! ```
//!
//! A hash lies in the bucket that it names, or, where that is full, in the next one that is not.
//! Nothing is taken out of a table but all of it, so that a bucket with room ends each search.

use std::io;

use crate::filter::{GENERATIONS, scaled};
use crate::pages::{LINE_BYTES, Line, Pages};

pub(crate) const HASH_BYTES: usize = size_of::<u128>();
pub(crate) const BUCKET: usize = LINE_BYTES / HASH_BYTES;

/// The tables of all generations.
#[derive(Debug)]
pub(crate) struct Table {
    buckets: Pages,
    /// Of each generation.
    count: usize,
}

/// What a bucket says of a hash.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    pub(crate) is_there: bool,
    /// Without room, so that the hash may lie in the next bucket.
    pub(crate) is_full: bool,
}

impl Table {
    pub(crate) fn new(buckets: usize) -> io::Result<Table> {
        let all = buckets.checked_mul(GENERATIONS).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Table { buckets: Pages::new(all)?, count: buckets })
    }

    /// Asks for what a look-up reads: the hash's bucket, and the next one if it may have had to go
    /// there, as one in ten has.
    #[inline]
    pub(crate) fn fetch(&self, generation: usize, hash: u128, may_be_there: bool) {
        let at = generation * self.count + self.first(hash);
        self.buckets.fetch(at);
        // The same one again otherwise, which costs nothing: a branch could not be guessed.
        self.buckets.fetch(at + usize::from(may_be_there));
    }

    /// Looks into the bucket that the hash names. Nothing in it is a branch: which of the four it
    /// is, if any, cannot be guessed.
    #[inline]
    pub(crate) fn look(&self, generation: usize, hash: u128) -> Look {
        self.look_at(generation, self.first(hash), hash)
    }

    /// Whether `hash` is there, in whichever bucket.
    pub(crate) fn has(&self, generation: usize, hash: u128) -> bool {
        let mut looks = self.from(hash).map(|at| self.look_at(generation, at, hash));
        looks.find(|look| look.is_there || !look.is_full).is_some_and(|look| look.is_there)
    }

    /// Puts a hash there that is not.
    pub(crate) fn insert(&mut self, generation: usize, hash: u128) {
        let room = self.from(hash).find(|at| !self.look_at(generation, *at, hash).is_full);
        if let Some(at) = room
            && let Some(bucket) = self.buckets.all_mut().get_mut(generation * self.count + at)
            && let Some(free) = hashes(bucket).iter().position(|found| *found == 0)
            && let Some(free) = bucket.as_chunks_mut().0.get_mut(free)
        {
            *free = hash.to_le_bytes();
        }
    }

    /// Empties these buckets of a generation.
    pub(crate) fn wipe(&mut self, buckets: std::ops::Range<usize>, generation: usize) {
        let base = generation * self.count;
        let buckets = base + buckets.start..base + buckets.end;
        self.buckets.all_mut().get_mut(buckets).unwrap_or_default().fill([0; LINE_BYTES]);
    }

    #[inline]
    fn look_at(&self, generation: usize, at: usize, hash: u128) -> Look {
        let bucket = self.buckets.all().get(generation * self.count + at);
        let [first, second, third, last] = bucket.map_or([0; BUCKET], hashes);
        let is = |one: u128| ((one ^ hash) as u64 | ((one ^ hash) >> 64) as u64) == 0;
        // They are filled from the first on.
        Look { is_there: is(first) | is(second) | is(third) | is(last), is_full: last != 0 }
    }

    /// The buckets in which to search for a hash.
    fn from(&self, hash: u128) -> impl Iterator<Item = usize> + use<> {
        let first = self.first(hash);
        (first..self.count).chain(0..first)
    }

    /// By the hash's upper half, of which the filter uses nothing.
    #[inline]
    fn first(&self, hash: u128) -> usize {
        scaled((hash >> 64) as u64, self.count)
    }
}

#[inline]
fn hashes(bucket: &Line) -> [u128; BUCKET] {
    let mut hashes = [0; BUCKET];
    for (hash, bytes) in hashes.iter_mut().zip(bucket.as_chunks().0) {
        *hash = u128::from_le_bytes(*bytes);
    }
    hashes
}
