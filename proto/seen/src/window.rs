//! What was seen of late: a filter of one cache line a look-up, and an exact set behind it.
//!
//! Time is cut into [`GENERATIONS`] generations. Each has a [`Table`] of its own that holds 128-bit
//! hashes, and a bit of every byte of the [`Filter`]. What the filter takes for seen is looked for
//! in the tables of those generations that it names and of no other, so that a false positive
//! costs a look more and never an event.
//!
//! When the newest generation is full (or old enough), the next one becomes the newest, and the
//! oldest is let go of: from then on it is looked at no more, and each event that is remembered
//! wipes a little of it, so that it is clean when its turn comes. Six generations are whole at any
//! time, one fills and one is being wiped: the window is six generations at least and seven at
//! most, nothing is ever moved, and no event waits for another's wiping.
//!
//! Memory is taken at the start and never grows.

use crate::Error;
use crate::filter::{Filter, GENERATIONS};
use crate::pages::LINE_BYTES;
use crate::table::{BUCKET, Table};

/// How many are whole at any time, besides the one that fills and the one that is being wiped.
pub const GENERATIONS_HELD: usize = GENERATIONS - 2;

/// Events of one generation that share a line of the filter, when it is full.
const EVENTS_A_LINE: usize = 2;

/// Events of one generation to a bucket, when it is full: three quarters of what fits, so that
/// few look-ups have to go on to the next one.
const EVENTS_A_BUCKET: usize = BUCKET * 3 / 4;

/// Lines, and buckets, that a remembered event wipes: over a full generation, all there are.
const WIPED: usize = 1;
/// Lines, and buckets, that one tick of the clock wipes.
const WIPED_A_TICK: usize = 1_024;

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
    filter: Filter,
    table: Table,
    sizes: Sizes,
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
    bucket: usize,
}

/// The sizes of a window.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    /// Events of a generation.
    most: usize,
    /// Lines of the filter.
    lines: usize,
    /// Buckets of a generation.
    buckets: usize,
}

impl Sizes {
    fn of(events: usize) -> Option<Sizes> {
        let most = events.div_ceil(GENERATIONS_HELD);
        let lines = most.div_ceil(EVENTS_A_LINE);
        let buckets = most.div_ceil(EVENTS_A_BUCKET);
        let sizes = Sizes { most, lines, buckets };
        let all = buckets.checked_mul(GENERATIONS)?.checked_add(lines)?;
        let bytes = all.checked_mul(LINE_BYTES)?;
        (events > 0 && isize::try_from(bytes).is_ok()).then_some(sizes)
    }

    fn bytes(&self) -> u64 {
        ((self.buckets * GENERATIONS + self.lines) * LINE_BYTES) as u64
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
            filter: Filter::new(sizes.lines).map_err(no_memory)?,
            table: Table::new(sizes.buckets).map_err(no_memory)?,
            sizes,
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
        let hash = some(hash);
        let candidates = self.candidates(hash);
        if self.is_in(candidates, hash) {
            self.counts.seen += 1;
            return true;
        }
        self.counts.new += 1;
        self.counts.false_positives += u64::from(candidates != 0);
        self.remember(hash);
        false
    }

    /// Whether `hash` is there. It is not remembered.
    #[must_use]
    #[inline]
    pub fn has(&self, hash: u128) -> bool {
        let hash = some(hash);
        self.is_in(self.candidates(hash), hash)
    }

    /// Fetches what the look-ups of these hashes will read: many at a time, the memory's delays
    /// lie beside each other and not one behind the other.
    pub fn fetch(&self, hashes: &[u128]) {
        hashes.iter().for_each(|hash| self.filter.fetch(*hash));
        for hash in hashes {
            let candidates = self.candidates(*hash);
            self.table.fetch(self.first_of(candidates), *hash, candidates != 0);
        }
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

    /// The share of the filter's bits that are expected to be set, in the generations that are
    /// looked at.
    #[must_use]
    pub fn fill(&self) -> f64 {
        let clear = |generation: &Generation| self.filter.all_clear(generation.count, 1);
        let fills = self.looked_at().map(|generation| 1.0 - clear(generation));
        fills.sum::<f64>() / f64::from(self.active.count_ones().max(1))
    }

    /// How many look-ups of something new the filter is expected to take for seen.
    #[must_use]
    pub fn false_positives_expected(&self) -> f64 {
        let right = self.looked_at().map(|generation| 1.0 - self.filter.errs(generation.count));
        1.0 - right.product::<f64>()
    }

    fn looked_at(&self) -> impl Iterator<Item = &Generation> {
        let numbered = self.generations.iter().enumerate();
        numbered.filter(|(n, _)| self.active & (1 << n) != 0).map(|(_, generation)| generation)
    }

    /// Which generations may hold `hash`, a bit for each.
    #[inline]
    fn candidates(&self, hash: u128) -> u8 {
        self.filter.generations(hash) & self.active
    }

    /// Where to look first: if no generation may hold it, where it will come to be.
    #[inline]
    fn first_of(&self, candidates: u8) -> usize {
        match candidates {
            0 => self.newest,
            _ => candidates.trailing_zeros() as usize,
        }
    }

    /// Whether one of these generations holds `hash`. One look almost always answers it, and the
    /// answer is no branch: with as many copies as events none could be guessed.
    #[inline]
    fn is_in(&self, candidates: u8, hash: u128) -> bool {
        let look = self.table.look(self.first_of(candidates), hash);
        let others = candidates & candidates.wrapping_sub(1) != 0;
        let is_open = !look.is_there & (others | (look.is_full & (candidates != 0)));
        if is_open { self.is_in_any(candidates, hash) } else { look.is_there }
    }

    #[cold]
    fn is_in_any(&self, candidates: u8, hash: u128) -> bool {
        (0..GENERATIONS).any(|n| candidates & (1 << n) != 0 && self.table.has(n, hash))
    }

    fn remember(&mut self, hash: u128) {
        let most = self.sizes.most;
        if self.generations.get(self.newest).is_none_or(|newest| newest.count >= most) {
            self.turn();
        }
        self.table.insert(self.newest, hash);
        self.filter.set(hash, self.newest);
        if let Some(generation) = self.generations.get_mut(self.newest) {
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
            self.wiping = Some(Wiping { generation: oldest, line: 0, bucket: 0 });
        }
        for generation in [self.newest, oldest] {
            if let Some(generation) = self.generations.get_mut(generation) {
                *generation = Generation::default();
            }
        }
    }

    /// Wipes so many lines, and as many buckets, of the generation that was let go of.
    fn wipe(&mut self, most: usize) {
        let Some(wiping) = &mut self.wiping else { return };
        let Sizes { lines, buckets, .. } = self.sizes;
        let line = wiping.line.saturating_add(most).min(lines);
        let bucket = wiping.bucket.saturating_add(most).min(buckets);
        self.filter.wipe(wiping.line..line, wiping.generation);
        self.table.wipe(wiping.bucket..bucket, wiping.generation);
        (wiping.line, wiping.bucket) = (line, bucket);
        if line == lines && bucket == buckets {
            self.wiping = None;
        }
    }
}

/// Zero means that there is no hash.
#[inline]
fn some(hash: u128) -> u128 {
    hash.max(1)
}

#[cfg(test)]
mod tests;
