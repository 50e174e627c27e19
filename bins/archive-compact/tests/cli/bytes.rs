//! The bytes of what was forgotten are in no file, neither as they are nor under zstd.

use std::collections::BTreeSet;
use std::io::Read as _;

use super::*;

/// What stands in front of the shapes of objects when they are packed.
#[path = "../../../../proto/archive/src/codec/schema.rs"]
mod schema;

/// A frame of zstd begins with this.
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Shorter texts are in others by chance.
const TEXT_BYTES: usize = 12;
/// More than any part of these archives has.
const PART_BYTES_MAX: u64 = 64 << 20;

/// The texts of records that deletes and updates took away, and those of records that are there.
fn texts(events: &[Vec<u8>]) -> (BTreeSet<Vec<u8>>, BTreeSet<Vec<u8>>) {
    let mut blocks = Blocks::new();
    let mut there = std::collections::HashMap::new();
    let mut gone = BTreeSet::new();
    for body in events {
        let event = event::parse(body).unwrap();
        blocks.fill(body, &event).unwrap();
        let Event::Commit(commit) = event else { continue };
        for op in commit.ops {
            let path = format!("{}/{}", commit.repo, op.path);
            gone.extend(there.remove(&path).and_then(|record: Vec<u8>| text(&record)));
            let record = op.cid.and_then(|cid| blocks.get(body, &cid));
            there.extend(record.map(|record| (path, record.to_vec())));
        }
    }
    // What a record that is there says, too, is not forgotten.
    let said = there.values().flatten().copied().collect::<Vec<_>>();
    gone.retain(|text| memchr::memmem::find(&said, text).is_none());
    (gone, there.values().filter_map(|record| text(record)).collect())
}

/// A record's `text`.
fn text(record: &[u8]) -> Option<Vec<u8>> {
    let mut reader = atproto::cbor::Reader::new(record);
    let mut map = reader.map().ok()?;
    while let Some(key) = map.next_key(&mut reader).ok()? {
        if key == "text" {
            let text = reader.text().ok()?.as_bytes().to_vec();
            return (text.len() >= TEXT_BYTES).then_some(text);
        }
        reader.skip_value().ok()?;
    }
    None
}

/// Everything that the files of a folder say: their bytes, and what comes out of each place that zstd
/// may begin at, with the schema in front and without; and how many only the schema opens.
fn everything(dir: &Path) -> (Vec<u8>, usize) {
    let (mut all, mut by_schema) = (Vec::new(), 0);
    for file in std::fs::read_dir(dir).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        for (at, _) in bytes.windows(ZSTD.len()).enumerate().filter(|(_, head)| *head == ZSTD) {
            let opens = [b"".as_slice(), schema::SCHEMA].map(|dictionary| {
                let frame = zstd::Decoder::with_dictionary(&bytes[at..], dictionary).unwrap();
                // What is no frame gives nothing, or as much as could be read.
                frame.single_frame().take(PART_BYTES_MAX).read_to_end(&mut all).is_ok()
            });
            by_schema += usize::from(opens == [false, true]);
        }
        all.extend_from_slice(&bytes);
    }
    (all, by_schema)
}

fn count<'t>(all: &[u8], texts: impl Iterator<Item = &'t Vec<u8>>) -> usize {
    texts.filter(|text| memchr::memmem::find(all, text).is_some()).count()
}

#[test]
fn what_was_forgotten_is_in_no_file_neither_raw_nor_under_zstd() {
    let events = capture(3000);
    let (gone, there) = texts(&events);
    assert!(gone.len() > 20 && there.len() > 100, "{} and {}", gone.len(), there.len());
    let dir = tempfile::tempdir().unwrap();
    pack(dir.path(), &events);
    let (before, by_schema) = everything(dir.path());
    assert!(by_schema > 0, "the shapes of objects were not looked into");
    let (had, kept) = (count(&before, gone.iter()), count(&before, there.iter()));
    assert!(had * 10 > gone.len() * 9, "{had} of {} found before", gone.len());
    ok(&run(dir.path(), &["--level", "3"]));
    let (after, by_schema) = everything(dir.path());
    assert!(by_schema > 0, "the shapes of objects were not looked into");
    let left = gone.iter().find(|text| memchr::memmem::find(&after, text).is_some());
    assert_eq!(left.map(|text| String::from_utf8_lossy(text)), None);
    assert_eq!(count(&after, there.iter()), kept);
}
