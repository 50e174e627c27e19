//! The recordings that tests run on: a fixture that is always there, and a folder
//! beside the repository that may be.

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A file of the repository.
pub fn fixture(name: &str) -> PathBuf {
    root().join("tests").join(name)
}

/// A file of the folder beside the repository, if that is here.
pub fn beside(name: &str) -> Option<PathBuf> {
    let path = root().join("../shared/data").join(name);
    path.exists().then_some(path)
}

/// The events of a capture: each behind a big-endian u32 length, zstd.
pub fn capture(path: &Path) -> Vec<Vec<u8>> {
    let packed = std::fs::read(path).unwrap();
    let bytes = zstd::decode_all(&packed[..]).unwrap();
    let (mut rest, mut events) = (&bytes[..], Vec::new());
    while let Some((length, tail)) = rest.split_first_chunk::<4>() {
        let (event, tail) = tail.split_at(u32::from_be_bytes(*length) as usize);
        events.push(event.to_vec());
        rest = tail;
    }
    assert!(rest.is_empty());
    events
}

/// The capture that the repository carries.
pub fn refnet() -> Vec<Vec<u8>> {
    capture(&fixture("fixtures/refnet/firehose.u32be.zst"))
}
