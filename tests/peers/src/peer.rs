//! What holds accounts, behind one face.

mod fjall;
mod lmdb;
mod memory;
mod redb;

use std::path::Path;

use anyhow::Result;
use didindex::KEY_BYTES;

pub use self::fjall::Fjall;
pub use self::lmdb::Lmdb;
pub use self::memory::Memory;
pub use self::redb::Redb;

/// A DID's bytes.
pub type Did = [u8; 15];
/// Curve and point of a key, and the number of a host.
pub type Value = [u8; 38];

/// Something that holds accounts.
pub trait Peer: Sized {
    /// What it is called.
    const NAME: &'static str;
    /// Whether it lies on the disk.
    const ON_DISK: bool = true;

    /// Takes the accounts in, sorted by their DIDs, and is closed.
    fn build(path: &Path, dids: &[Did]) -> Result<()>;

    /// Opens it. What is in memory alone is built here.
    fn open(path: &Path, dids: &[Did]) -> Result<Self>;

    /// Looks all of the DIDs up one by one; the sum of what was [`read`] of those that are there.
    fn look_up(&self, dids: &[Did]) -> Result<u64>;

    /// Bytes it takes in memory, if it is not on the disk.
    fn memory_bytes(&self) -> u64 {
        0
    }
}

/// Reads of an answer, whoever gave it, what a user would: its key from end to end. Never 0.
#[inline]
pub fn read(key: &[u8]) -> u64 {
    let end = |byte: Option<&u8>| u64::from(byte.copied().unwrap_or_default());
    1 + end(key.first()) + end(key.get(KEY_BYTES - 1))
}

/// What is said about an account: for a peer anything of that length does.
fn value(did: &Did) -> Value {
    let mut value = [7; 38];
    value[..15].copy_from_slice(did);
    value
}
