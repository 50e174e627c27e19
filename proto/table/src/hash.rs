//! The keyed hash, as `header` describes it.

use std::io;

use crate::Error;

/// The key of a table's hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seed([u64; 4]);

impl Seed {
    /// Bytes in a header.
    pub const BYTES: usize = 32;

    /// A seed from the operating system's random bytes.
    ///
    /// # Errors
    /// [`Error::Random`] when it has none.
    pub fn random() -> Result<Self, Error> {
        let mut bytes = [0; Self::BYTES];
        getrandom::fill(&mut bytes).map_err(|error| Error::Random(io::Error::other(error)))?;
        Ok(Self::from_bytes(&bytes))
    }

    /// A seed that was written down.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; Self::BYTES]) -> Self {
        let (chunks, _) = bytes.as_chunks();
        let mut words = [0; 4];
        for (word, chunk) in words.iter_mut().zip(chunks) {
            *word = u64::from_le_bytes(*chunk);
        }
        Self(words)
    }

    /// Its bytes, to be written down.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let (chunks, _) = bytes.as_chunks_mut();
        for (chunk, word) in chunks.iter_mut().zip(self.0) {
            *chunk = word.to_le_bytes();
        }
        bytes
    }

    /// The hash of a key.
    #[inline]
    #[must_use]
    pub fn hash<const KEY: usize>(&self, key: &[u8; KEY]) -> u64 {
        let [s0, s1, s2, s3] = self.0;
        let mut state = s0;
        for chunk in key.chunks(16) {
            let (low, high) = words(chunk);
            state = fold(low ^ state, high ^ s1);
        }
        fold(state ^ s2, s3)
    }
}

/// Up to 16 bytes as two words, as if padded with zeros. Bytes are not moved one by one: reading
/// back what was just written in smaller pieces costs as much as the rest of a look-up.
#[inline]
fn words(chunk: &[u8]) -> (u64, u64) {
    if let (Some(first), Some(last)) = (chunk.first_chunk(), chunk.last_chunk()) {
        // The last eight begin with some that are in the first eight already.
        let again = 8 * (16 - chunk.len() as u32);
        let last = u64::from_le_bytes(*last);
        return (u64::from_le_bytes(*first), last.checked_shr(again).unwrap_or(0));
    }
    let backwards = chunk.iter().rev();
    (backwards.fold(0, |word, byte| word << 8 | u64::from(*byte)), 0)
}

#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_one_written_down() {
        let words = [0x0123_4567_89ab_cdefu64, 0x1111_2222_3333_4444, 7, 0xfeed_f00d_dead_beef];
        let mut bytes = [0; 32];
        for (at, word) in words.iter().enumerate() {
            bytes[at * 8..at * 8 + 8].copy_from_slice(&word.to_le_bytes());
        }
        let seed = Seed::from_bytes(&bytes);
        assert_eq!(seed.to_bytes(), bytes);
        // Computed by a few lines of Python from the description.
        assert_eq!(seed.hash(b"seven b"), 0x2773_b29e_7524_40ef);
        assert_eq!(seed.hash(b"eight by"), 0x7cb1_78e7_b9a8_17ce);
        assert_eq!(seed.hash(b"sixteen bytes..."), 0x09e5_144a_d63a_322c);
        assert_eq!(seed.hash(b"and seventeen b.."), 0x7780_c9a9_ee42_28c5);
        assert_eq!(seed.hash(b"fifteen bytes!!"), 0x0ee1_16c5_8f3b_ac43);
    }
}
