//! What was seen of late: a filter of one cache line a look-up, and an exact set behind it.
//!
//! Time is cut into [`GENERATIONS`] generations. Each has a set of its own, an open-addressed
//! table of 128-bit hashes, and one of the eight words of every line of the filter:
//!
//! ```text
//! line, 64 bytes = word of generation 0 | word of generation 1 | ... | word of generation 7
//! ```
//!
//! A hash names a line and four bits. It sets them in the word of the newest generation; a
//! look-up reads the line and sees for all generations at once which of them may hold the hash.
//! What the filter takes for seen is looked for in the sets of those generations and of no other,
//! so that a false positive costs a look more and never an event.
//!
//! When the newest generation is full (or old enough), the next one becomes the newest, and the
//! oldest is let go of: from then on it is looked at no more, and each event that is remembered
//! wipes a few of its places, so that it is clean when its turn comes. Six generations are whole
//! at any time, one fills and one is being wiped: the window is six generations at least and
//! seven at most, nothing is ever moved, and no event waits for another's wiping.
//!
//! Memory is taken at the start and never grows.

use crate::Error;
use crate::pages::Pages;

/// As many as there are words in a line.
const GENERATIONS: usize = 8;

/// How many are whole at any time, besides the one that fills and the one that is being wiped.
pub const GENERATIONS_HELD: usize = GENERATIONS - 2;

const LINE_BYTES: usize = 64;
const SLOT_BYTES: usize = size_of::<u128>();

/// Events of one generation that share a line, when it is full.
const EVENTS_A_LINE: usize = 2;

/// Bits that a hash sets in its word of 64.
const BITS: u32 = 4;
const WORD_BITS: u32 = 64;

/// Slots that a remembered event wipes: over a full generation, more than its table has. Lines
/// are fewer.
const WIPED: usize = 2;
/// Slots that one tick of the clock wipes.
const WIPED_A_TICK: usize = 4_096;

/// What look-ups have come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Look-ups of what was not there.
    pub new: u64,
    /// Look-ups of what was there.
    pub seen: u64,
    /// Of what was not there, what the filter took for seen.
    pub false_positives: u64,
}

/// The set.
#[derive(Debug)]
pub struct Window {
    lines: Pages<LINE_BYTES>,
    slots: Pages<SLOT_BYTES>,
    line_count: usize,
    /// Of each generation.
    slot_count: usize,
    /// Events of a generation.
    most: usize,
    generations: [Generation; GENERATIONS],
    newest: usize,
    /// A bit for each generation that is looked at.
    active: u8,
    wiping: Option<Wiping>,
    /// How long a generation may be the newest.
    turn_ns: Option<u64>,
    counts: Counts,
}

#[derive(Debug, Clone, Copy, Default)]
struct Generation {
    count: usize,
    /// When its first event came; not known before the first tick behind it.
    began_ns: Option<u64>,
}

/// How far a generation is wiped.
#[derive(Debug, Clone, Copy)]
struct Wiping {
    generation: usize,
    line: usize,
    slot: usize,
}

/// The sizes of a window.
struct Sizes {
    most: usize,
    lines: usize,
    slots: usize,
}

impl Sizes {
    fn of(events: usize) -> Option<Sizes> {
        let most = events.div_ceil(GENERATIONS_HELD);
        let lines = most.div_ceil(EVENTS_A_LINE);
        // Three quarters full at most: look-ups end after few steps.
        let slots = most.checked_add(most / 3)?.checked_add(1)?;
        let sizes = Sizes { most, lines, slots };
        let bytes = slots.checked_mul(GENERATIONS * SLOT_BYTES)?.checked_add(lines * LINE_BYTES)?;
        (events > 0 && isize::try_from(bytes).is_ok()).then_some(sizes)
    }

    fn bytes(&self) -> u64 {
        (self.slots * GENERATIONS * SLOT_BYTES + self.lines * LINE_BYTES) as u64
    }
}

impl Window {
    /// A window that remembers at least the last `events`, and lets go of what is older than
    /// `age_ns` if there is a limit (by a sixth later, and only while it is told the time).
    ///
    /// # Errors
    /// [`Error::Size`], [`Error::NoMemory`].
    pub fn new(events: usize, age_ns: Option<u64>) -> Result<Window, Error> {
        let sizes = Sizes::of(events).ok_or(Error::Size { events })?;
        let no_memory = |source| Error::NoMemory { events, bytes: sizes.bytes(), source };
        Ok(Window {
            lines: Pages::new(sizes.lines).map_err(no_memory)?,
            slots: Pages::new(sizes.slots * GENERATIONS).map_err(no_memory)?,
            line_count: sizes.lines,
            slot_count: sizes.slots,
            most: sizes.most,
            generations: [Generation::default(); GENERATIONS],
            newest: 0,
            active: 1,
            wiping: None,
            turn_ns: age_ns.map(|age_ns| age_ns / GENERATIONS_HELD as u64),
            counts: Counts::default(),
        })
    }

    /// How much memory a window of so many events takes when it is full.
    #[must_use]
    pub fn bytes_for(events: usize) -> Option<u64> {
        Some(Sizes::of(events)?.bytes())
    }

    /// Remembers `hash`; whether it was there already.
    pub fn insert(&mut self, hash: u128) -> bool {
        // Zero means an empty slot.
        let hash = hash.max(1);
        let mut candidates = self.candidates(hash);
        let taken_for_seen = candidates != 0;
        while candidates != 0 {
            let generation = candidates.trailing_zeros() as usize;
            if self.find(generation, hash).is_some_and(|(_, found)| found) {
                self.counts.seen += 1;
                return true;
            }
            candidates &= candidates - 1;
        }
        self.counts.new += 1;
        self.counts.false_positives += u64::from(taken_for_seen);
        self.remember(hash);
        false
    }

    /// Whether `hash` is there. It is not remembered.
    #[must_use]
    pub fn has(&self, hash: u128) -> bool {
        let hash = hash.max(1);
        let candidates = self.candidates(hash);
        (0..GENERATIONS).any(|generation| {
            candidates & (1 << generation) != 0
                && self.find(generation, hash).is_some_and(|(_, found)| found)
        })
    }

    /// Fetches what the look-ups of these hashes will read: many at a time, the memory's delays
    /// lie beside each other and not one behind the other.
    pub fn fetch(&self, hashes: &[u128]) {
        let mut read = 0;
        for hash in hashes {
            read ^= self.lines.all().get(self.line_of(*hash)).map_or(0, |line| word(line, 0));
        }
        for hash in hashes {
            let candidates = self.candidates(*hash);
            let generation = match candidates {
                0 => self.newest,
                _ => candidates.trailing_zeros() as usize,
            };
            let slot = generation * self.slot_count + self.first_slot(*hash);
            read ^= self.slots.all().get(slot).map_or(0, |slot| u128::from_le_bytes(*slot) as u64);
        }
        std::hint::black_box(read);
    }

    /// Tells the time: any clock that does not go back.
    pub fn tick(&mut self, now_ns: u64) {
        let Some(turn_ns) = self.turn_ns else { return };
        self.wipe(WIPED_A_TICK);
        let Some(newest) = self.generations.get_mut(self.newest) else { return };
        let began_ns = *newest.began_ns.get_or_insert(now_ns);
        if now_ns.saturating_sub(began_ns) >= turn_ns && self.wiping.is_none() {
            self.turn();
            if let Some(newest) = self.generations.get_mut(self.newest) {
                newest.began_ns = Some(now_ns);
            }
        }
    }

    /// What look-ups have come to.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// How many events are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.looked_at().map(|generation| generation.count).sum()
    }

    /// Whether nothing is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The share of the filter's bits that are expected to be set, in the words that are looked at.
    #[must_use]
    pub fn fill(&self) -> f64 {
        let fills = self.looked_at().map(|generation| 1.0 - self.all_clear(generation, 1));
        fills.sum::<f64>() / f64::from(self.active.count_ones().max(1))
    }

    /// How many look-ups of something new the filter is expected to take for seen.
    ///
    /// Events of a generation are spread over the lines at random, so that a line's number of them
    /// is Poisson distributed with mean `m`, and each sets [`BITS`] bits of 64 at random. That `d`
    /// given bits are all set is, by inclusion and exclusion over those that are clear,
    /// `sum over i of (-1)^i C(d,i) exp(m ((1 - i/64)^4 - 1))`; `d` is how many of a look-up's
    /// four bits differ.
    #[must_use]
    pub fn false_positives_expected(&self) -> f64 {
        // How likely it is that four draws of 64 give 1, 2, 3 or 4 different bits: partitions of
        // four draws into so many, times the ways to choose them.
        let ways = [(1, 1.0), (2, 7.0), (3, 6.0), (4, 1.0)];
        let word_bits = f64::from(WORD_BITS);
        let none = self.looked_at().map(|generation| {
            let all_set: f64 = ways
                .iter()
                .map(|(different, partitions)| {
                    let choices: f64 = (0..*different).map(|n| word_bits - f64::from(n)).product();
                    let likely = partitions * choices / word_bits.powi(BITS as i32);
                    let terms = (0..=*different).map(|clear| {
                        let sign = if clear % 2 == 0 { 1.0 } else { -1.0 };
                        sign * choose(*different, clear) * self.all_clear(generation, clear)
                    });
                    likely * terms.sum::<f64>()
                })
                .sum();
            1.0 - all_set
        });
        1.0 - none.product::<f64>()
    }

    /// How likely it is that so many given bits of a word of this generation are all clear.
    fn all_clear(&self, generation: &Generation, bits: u32) -> f64 {
        let mean = generation.count as f64 / self.line_count as f64;
        let kept = 1.0 - f64::from(bits) / f64::from(WORD_BITS);
        (mean * (kept.powi(BITS as i32) - 1.0)).exp()
    }

    fn looked_at(&self) -> impl Iterator<Item = &Generation> {
        let numbered = self.generations.iter().enumerate();
        numbered.filter(|(n, _)| self.active & (1 << n) != 0).map(|(_, generation)| generation)
    }

    /// Which generations may hold `hash`, a bit for each.
    #[inline]
    fn candidates(&self, hash: u128) -> u8 {
        let bits = bits_of(hash);
        let Some(line) = self.lines.all().get(self.line_of(hash)) else { return 0 };
        let (words, _) = line.as_chunks::<8>();
        let mut candidates = 0;
        for (generation, word) in words.iter().enumerate() {
            candidates |= u8::from(!u64::from_le_bytes(*word) & bits == 0) << generation;
        }
        candidates & self.active
    }

    /// The hash is keyed and uniform: either half, scaled, is a uniform place. The upper bits of
    /// the lower half name the line, its lower bits those within the word.
    #[inline]
    fn line_of(&self, hash: u128) -> usize {
        scaled(hash as u64, self.line_count)
    }

    #[inline]
    fn first_slot(&self, hash: u128) -> usize {
        scaled((hash >> 64) as u64, self.slot_count)
    }

    fn table(&self, generation: usize) -> &[[u8; SLOT_BYTES]] {
        let from = generation * self.slot_count;
        self.slots.all().get(from..from + self.slot_count).unwrap_or_default()
    }

    /// Where `hash` is in this generation, or the empty slot where it belongs; whether it is there.
    #[inline]
    fn find(&self, generation: usize, hash: u128) -> Option<(usize, bool)> {
        let table = self.table(generation);
        let first = self.first_slot(hash);
        let (before, behind) = table.split_at_checked(first)?;
        let slots = behind.iter().zip(first..).chain(before.iter().zip(0..));
        for (slot, at) in slots {
            match u128::from_le_bytes(*slot) {
                0 => return Some((at, false)),
                found if found == hash => return Some((at, true)),
                _ => {}
            }
        }
        None
    }

    fn remember(&mut self, hash: u128) {
        if self.generations.get(self.newest).is_none_or(|newest| newest.count >= self.most) {
            self.turn();
        }
        let newest = self.newest;
        if let Some((at, false)) = self.find(newest, hash)
            && let Some(slot) = self.slots.all_mut().get_mut(newest * self.slot_count + at)
        {
            *slot = hash.to_le_bytes();
        }
        let line = self.line_of(hash);
        if let Some(line) = self.lines.all_mut().get_mut(line)
            && let Some(word) = line.as_chunks_mut::<8>().0.get_mut(newest)
        {
            *word = (u64::from_le_bytes(*word) | bits_of(hash)).to_le_bytes();
        }
        if let Some(generation) = self.generations.get_mut(newest) {
            generation.count += 1;
        }
        self.wipe(WIPED);
    }

    /// The next generation becomes the newest, and the one behind it is let go of.
    fn turn(&mut self) {
        // Wiping keeps ahead, so that this is nothing. It must be done, whatever happened.
        self.wipe(usize::MAX);
        self.newest = (self.newest + 1) % GENERATIONS;
        self.active |= 1 << self.newest;
        let oldest = (self.newest + 1) % GENERATIONS;
        self.active &= !(1 << oldest);
        if self.generations.get(oldest).is_some_and(|generation| generation.count > 0) {
            self.wiping = Some(Wiping { generation: oldest, line: 0, slot: 0 });
        }
        for generation in [self.newest, oldest] {
            if let Some(generation) = self.generations.get_mut(generation) {
                *generation = Generation::default();
            }
        }
    }

    /// Wipes so many slots, and as many lines, of the generation that was let go of.
    fn wipe(&mut self, most: usize) {
        let Some(wiping) = &mut self.wiping else { return };
        let to = wiping.line.saturating_add(most).min(self.line_count);
        for line in self.lines.all_mut().get_mut(wiping.line..to).unwrap_or_default() {
            if let Some(word) = line.as_chunks_mut::<8>().0.get_mut(wiping.generation) {
                *word = [0; 8];
            }
        }
        wiping.line = to;
        let to = wiping.slot.saturating_add(most).min(self.slot_count);
        let base = wiping.generation * self.slot_count;
        if let Some(slots) = self.slots.all_mut().get_mut(base + wiping.slot..base + to) {
            slots.fill([0; SLOT_BYTES]);
        }
        wiping.slot = to;
        if wiping.line == self.line_count && wiping.slot == self.slot_count {
            self.wiping = None;
        }
    }
}

/// The bits that a hash sets in its word.
#[inline]
fn bits_of(hash: u128) -> u64 {
    let low = hash as u64;
    let bit = |at: u32| 1_u64 << ((low >> (at * WORD_BITS.ilog2())) % u64::from(WORD_BITS));
    (0..BITS).fold(0, |bits, at| bits | bit(at))
}

#[inline]
fn scaled(uniform: u64, count: usize) -> usize {
    ((u128::from(uniform) * count as u128) >> 64) as usize
}

fn word(line: &[u8; LINE_BYTES], at: usize) -> u64 {
    line.as_chunks::<8>().0.get(at).map_or(0, |word| u64::from_le_bytes(*word))
}

fn choose(of: u32, taken: u32) -> f64 {
    (0..taken).map(|n| f64::from(of - n) / f64::from(n + 1)).product()
}

#[cfg(test)]
mod tests;
