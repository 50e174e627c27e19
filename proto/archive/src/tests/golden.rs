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

/// What version 1 kept under plain zstd goes into a new archive, which takes it apart.
#[test]
fn an_archive_of_version_1_is_written_anew_by_what_it_gives_back() {
    let old = tempfile::tempdir().unwrap();
    copy(&fixture("v1"), old.path());
    let mut stream = Stream::new();
    let mut reader = Reader::open(old.path()).unwrap();
    let mut scan = reader.scan(Query::default());
    let mut named = std::collections::HashSet::new();
    loop {
        let (host, bytes) = match scan.next().unwrap() {
            None => break,
            Some(Found::Event(event)) => {
                let mut bytes = Vec::new();
                event.put(&mut bytes).unwrap();
                (Some((event.host, event.from.clone())), bytes)
            }
            Some(Found::Note(note)) => {
                let mut bytes = Vec::new();
                note.put(&mut bytes).unwrap();
                (note.host.map(|(number, host)| (number, host.clone())), bytes)
            }
            Some(other) => panic!("{other:?}"),
        };
        if let Some((number, host)) = host
            && named.insert(number)
        {
            frame::host::put(&mut stream.bytes, number.id(), host.role, &host.name).unwrap();
        }
        stream.bytes.extend_from_slice(&bytes);
    }
    let new = tempfile::tempdir().unwrap();
    pack(new.path(), small(), &stream, true).unwrap();
    assert_eq!(read_all(new.path()), read_all(old.path()));
}

#[test]
fn version_2_of_the_codec_is_read() {
    let sent = Stream { bytes: std::fs::read(fixture("input.frames")).unwrap() };
    let dir = tempfile::tempdir().unwrap();
    copy(&fixture("v2"), dir.path());
    assert_eq!(read_all(dir.path()), expected(&sent));
}

/// Commits of two accounts in three segments, of which the later are written against the first.
#[test]
fn commits_of_version_2_and_3_of_the_codec_are_read() {
    let packed = std::fs::read(fixture("commits.frames.zst")).unwrap();
    let sent = Stream { bytes: zstd::decode_all(&packed[..]).unwrap() };
    for version in ["v2-commits", "v3"] {
        let dir = tempfile::tempdir().unwrap();
        copy(&fixture(version), dir.path());
        assert_eq!(read_all(dir.path()), expected(&sent), "{version}");
    }
}
