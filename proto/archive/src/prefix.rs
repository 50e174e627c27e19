//! The hasher for sets and maps whose keys are hashes already.

use std::hash::{BuildHasherDefault, Hasher};

/// For `HashSet` and `HashMap`.
pub(crate) type ByPrefix = BuildHasherDefault<Prefix>;

/// A key that is a hash already: its first bytes are as good as any.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Prefix(u64);

impl Hasher for Prefix {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk::<8>() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    // The length that goes before the bytes of an array says nothing.
    fn write_usize(&mut self, _: usize) {}
}
