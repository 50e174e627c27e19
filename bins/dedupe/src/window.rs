//! What was seen of late: an exact set of 128-bit hashes over a window that moves on.
//!
//! The set is made of generations, each an open-addressed table of fixed size. When the newest
//! is full, the oldest is emptied and becomes the newest. All memory is taken at the start (and
//! becomes resident as it fills), nothing is allocated afterwards.

/// The size of one entry.
pub(crate) const SLOT_BYTES: usize = size_of::<u128>();

/// Three hold the window, the fourth fills.
const GENERATIONS: usize = 4;

/// The set.
pub(crate) struct Window {
    /// The newest first.
    generations: [Generation; GENERATIONS],
}

impl Window {
    /// A set that remembers at least the last `events`.
    pub(crate) fn new(events: usize) -> Window {
        let each = events.div_ceil(GENERATIONS - 1).max(1);
        Window { generations: std::array::from_fn(|_| Generation::new(each)) }
    }

    /// How much memory it takes when it is full.
    pub(crate) fn bytes(&self) -> u64 {
        let slots: usize = self.generations.iter().map(|generation| generation.slots.len()).sum();
        (slots * SLOT_BYTES) as u64
    }

    /// Remembers `hash`; whether it was there already.
    pub(crate) fn insert(&mut self, hash: u128) -> bool {
        // Zero means an empty slot.
        let hash = hash.max(1);
        if self.generations.iter().any(|generation| generation.has(hash)) {
            return true;
        }
        let [newest, ..] = &self.generations;
        if newest.is_full() {
            self.generations.rotate_right(1);
            let [newest, ..] = &mut self.generations;
            newest.clear();
        }
        let [newest, ..] = &mut self.generations;
        newest.add(hash);
        false
    }
}

struct Generation {
    slots: Box<[u128]>,
    count: usize,
    most: usize,
}

impl Generation {
    /// A table for `most` entries, at a load of four fifths when it is full.
    fn new(most: usize) -> Generation {
        Generation { slots: vec![0; most + most / 4 + 1].into_boxed_slice(), count: 0, most }
    }

    fn is_full(&self) -> bool {
        self.count >= self.most
    }

    fn has(&self, hash: u128) -> bool {
        self.slots.get(self.find(hash)) == Some(&hash)
    }

    fn add(&mut self, hash: u128) {
        let at = self.find(hash);
        if let Some(slot) = self.slots.get_mut(at) {
            *slot = hash;
            self.count += 1;
        }
    }

    fn clear(&mut self) {
        self.slots.fill(0);
        self.count = 0;
    }

    /// Where `hash` is, or the empty slot where it belongs; there always is one.
    fn find(&self, hash: u128) -> usize {
        // The hash is keyed and uniform: its lower half, scaled, is a uniform place.
        let low = hash & u128::from(u64::MAX);
        let mut at = ((low * self.slots.len() as u128) >> 64) as usize;
        loop {
            match self.slots.get(at) {
                Some(slot) if *slot != 0 && *slot != hash => at += 1,
                Some(_) => return at,
                None => at = 0,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A spread of hashes that differ in all bits.
    fn hash(n: u128) -> u128 {
        (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
    }

    #[test]
    fn the_last_events_are_remembered_and_older_ones_leave() {
        let mut window = Window::new(300);
        for n in 0..10_000 {
            assert!(!window.insert(hash(n)), "{n} was never there");
            let oldest = n.saturating_sub(299);
            assert!(window.insert(hash(n)) && window.insert(hash(oldest)), "{oldest} of {n}");
        }
        assert!(!window.insert(hash(0)));
    }

    #[test]
    fn zero_is_a_hash_like_any_other() {
        let mut window = Window::new(1);
        assert!(!window.insert(0));
        assert!(window.insert(0));
    }
}
