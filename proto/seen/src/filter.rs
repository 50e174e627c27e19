//! Which generations may hold a hash: a blocked Bloom filter for all of them at once.
//!
//! ```text
//! line, 64 bytes = byte 0 | byte 1 | ... | byte 63
//! byte           = bit of generation 0 | bit of generation 1 | ... | bit of generation 7
//! ```
//!
//! A hash names a line and four of its bytes, and sets its generation's bit in each. A look-up
//! reads the line and takes the four bytes' common bits: those are the generations that may hold
//! the hash. So eight filters cost one miss of the cache and three instructions.

use std::io;

use crate::pages::{LINE_BYTES, Pages};

/// As many as there are bits in a byte.
pub(crate) const GENERATIONS: usize = 8;

/// Bytes that a hash names, the same one perhaps twice.
const BITS: u32 = 4;

/// The filter.
#[derive(Debug)]
pub(crate) struct Filter {
    lines: Pages,
    count: usize,
}

impl Filter {
    pub(crate) fn new(lines: usize) -> io::Result<Filter> {
        Ok(Filter { lines: Pages::new(lines)?, count: lines })
    }

    /// Asks for what a look-up reads.
    #[inline]
    pub(crate) fn fetch(&self, hash: u128) {
        self.lines.fetch(self.line_of(hash));
    }

    /// The generations that may hold `hash`, a bit for each.
    #[inline]
    pub(crate) fn generations(&self, hash: u128) -> u8 {
        let Some(line) = self.lines.all().get(self.line_of(hash)) else { return 0 };
        places(hash).iter().fold(u8::MAX, |common, at| common & line.get(*at).unwrap_or(&0))
    }

    #[inline]
    pub(crate) fn set(&mut self, hash: u128, generation: usize) {
        let at = self.line_of(hash);
        let Some(line) = self.lines.all_mut().get_mut(at) else { return };
        for at in places(hash) {
            if let Some(byte) = line.get_mut(at) {
                *byte |= 1 << generation;
            }
        }
    }

    /// Forgets what these lines have of a generation.
    pub(crate) fn wipe(&mut self, lines: std::ops::Range<usize>, generation: usize) {
        let kept = u64::from_le_bytes([!(1 << generation); 8]);
        for line in self.lines.all_mut().get_mut(lines).unwrap_or_default() {
            for word in line.as_chunks_mut::<8>().0 {
                *word = (u64::from_le_bytes(*word) & kept).to_le_bytes();
            }
        }
    }

    /// How likely it is that so many given places are all clear of a generation of `events`.
    ///
    /// Events are spread over the lines at random, so that a line's number of them is Poisson
    /// distributed with mean `m`, and each sets [`BITS`] of 64 places at random: the probability
    /// for `i` places is `exp(m ((1 - i/64)^4 - 1))`.
    pub(crate) fn all_clear(&self, events: usize, places: u32) -> f64 {
        let mean = events as f64 / self.count as f64;
        let kept = 1.0 - f64::from(places) / LINE_BYTES as f64;
        (mean * (kept.powi(BITS as i32) - 1.0)).exp()
    }

    /// How likely it is that a generation of `events` is taken to hold what it does not.
    ///
    /// That `d` given places are all set is, by inclusion and exclusion over those that are
    /// clear, the sum over `i` of `(-1)^i C(d,i) all_clear(i)`; `d` is how many of a look-up's
    /// four places differ.
    pub(crate) fn errs(&self, events: usize) -> f64 {
        // How likely it is that four draws of 64 give 1, 2, 3 or 4 different places: partitions
        // of four draws into so many, times the ways to choose them.
        let ways = [(1, 1.0), (2, 7.0), (3, 6.0), (4, 1.0)];
        let places = LINE_BYTES as f64;
        ways.iter()
            .map(|(different, partitions)| {
                let choices: f64 = (0..*different).map(|n| places - f64::from(n)).product();
                let likely = partitions * choices / places.powi(BITS as i32);
                let terms = (0..=*different).map(|clear| {
                    let sign = if clear % 2 == 0 { 1.0 } else { -1.0 };
                    sign * choose(*different, clear) * self.all_clear(events, clear)
                });
                likely * terms.sum::<f64>()
            })
            .sum()
    }

    /// The upper bits of the hash's lower half.
    #[inline]
    fn line_of(&self, hash: u128) -> usize {
        scaled(hash as u64, self.count)
    }
}

/// The bytes that a hash names in its line: lower bits of its lower half.
#[inline]
fn places(hash: u128) -> [usize; BITS as usize] {
    std::array::from_fn(|n| (hash as u64 >> (n as u32 * LINE_BYTES.ilog2())) as usize % LINE_BYTES)
}

/// The hash is keyed and uniform: either half, scaled, is a uniform place.
#[inline]
pub(crate) fn scaled(uniform: u64, count: usize) -> usize {
    ((u128::from(uniform) * count as u128) >> 64) as usize
}

fn choose(of: u32, taken: u32) -> f64 {
    (0..taken).map(|n| f64::from(of - n) / f64::from(n + 1)).product()
}
