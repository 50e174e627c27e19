//! Archives that older versions wrote, read for ever.

use super::*;

fn fixture(name: &str) -> std::path::PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/archive")).join(name)
}

#[test]
fn version_1_is_read_and_gone_on_with() {
    let sent = Stream { bytes: std::fs::read(fixture("input.frames")).unwrap() };
    let dir = tempfile::tempdir().unwrap();
    copy(&fixture("v1"), dir.path());
    assert_eq!(read_all(dir.path()), expected(&sent));
    let marks = crate::marks(dir.path()).unwrap().unwrap();
    let seqs: Vec<_> = marks.iter().map(|mark| (&mark.name[..], mark.seq)).collect();
    assert_eq!(seqs, [("pds.example.com", 8), ("relay.example.com", 12)]);
    let again = pack(dir.path(), small(), &sent, true).unwrap();
    assert_eq!((again.events, again.duplicates), (0, 14));
}
