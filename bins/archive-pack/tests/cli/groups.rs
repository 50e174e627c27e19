//! Segments that are written against earlier ones: fewer bytes, each event still found alone, and
//! damage that is named as far as it goes.

use crate::support::*;

const SEGMENTS: [&str; 4] = ["--segment-events", "200", "--level", "3"];

fn bytes(dir: &std::path::Path) -> u64 {
    archive::usage(dir).unwrap().segment_bytes
}

#[test]
fn a_later_segment_is_written_against_earlier_ones_of_its_group() {
    let events = capture(6000);
    let dir = tempfile::tempdir().unwrap();
    let done = pack(dir.path(), &SEGMENTS, &stream(&events));
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(contents(dir.path()), numbered(&events));

    // A packer that was started anew knows nothing of them, and writes whole copies.
    let anew = tempfile::tempdir().unwrap();
    for (at, events) in events.chunks(200).enumerate() {
        let verdict = frame::verdict::Verdict::ok(Some([1; 34]));
        let input = stream_from(events, at * 200, |_| Some(verdict));
        let done = pack(anew.path(), &SEGMENTS, &input);
        assert_eq!(done.code, Some(0), "{done:?}");
    }
    assert_eq!(contents(anew.path()), numbered(&events));
    let (with, without) = (bytes(dir.path()), bytes(anew.path()));
    assert!(with * 10 < without * 9, "{with} bytes, {without} without differences");

    // One event alone, wherever it is.
    for n in (0..6000).step_by(619) {
        let mut reader = archive::Reader::open(dir.path()).unwrap();
        let query = archive::Query { from: n, count: Some(1), ..archive::Query::default() };
        let mut scan = reader.scan(query);
        match scan.next().unwrap() {
            Some(archive::Found::Event(event)) => {
                assert_eq!((event.n, event.body), (n, &events[n as usize][..]));
            }
            other => panic!("{other:?}"),
        }
        // Segments this small have one block each.
        assert!(scan.blocks() <= 16, "{} blocks for event {n}", scan.blocks());
    }
}

#[test]
fn damage_reaches_no_further_than_its_group_and_every_event_is_named() {
    let events = capture(6000);
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(pack(dir.path(), &SEGMENTS, &stream(&events)).code, Some(0));
    // In the block of the second segment of thirty.
    let path = dir.path().join("seg-00000001.seg");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[400] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let mut reader = archive::Reader::open(dir.path()).unwrap();
    let mut scan = reader.scan(archive::Query::default());
    let (mut back, mut lost) = (Vec::new(), Vec::new());
    while let Some(found) = scan.next().unwrap() {
        match found {
            archive::Found::Event(event) => {
                assert_eq!(event.body, events[event.n as usize]);
                back.push(event.n);
            }
            archive::Found::Damage(damage) => {
                lost.extend(damage.lost.ranges().iter().cloned().flatten());
            }
            other => panic!("{other:?}"),
        }
    }
    lost.sort_unstable();
    assert_eq!(back.len() + lost.len(), 6000, "each is there or named");
    assert!(lost.starts_with(&(200..400).collect::<Vec<_>>()));
    assert!(lost.iter().all(|n| *n < 16 * 200), "it stays in its group");
    let mut all = [back, lost].concat();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 6000);
}

#[test]
fn marks_without_an_event_are_stored_and_outlive_whatever_comes() {
    let dir = tempfile::tempdir().unwrap();
    // Hosts that were silent, as pds-tap marks them when it joins them.
    let mut input = frame::MAGIC.to_vec();
    let mut marks = Vec::new();
    for id in 1..=40 {
        let name = format!("quiet{id}.example");
        frame::host::put(&mut input, frame::HostId(id), frame::host::Role::Pds, &name).unwrap();
        marks.push(frame::mark::Mark { host: frame::HostId(id), epoch: 0, seq: u64::from(id) });
    }
    frame::mark::put(&mut input, &mut Vec::new(), 1, marks).unwrap();
    let mut running = spawn(dir.path(), &[]);
    feed(&mut running, &input);
    let quiet = || {
        let marks = archive::marks(dir.path()).ok().flatten().unwrap_or_default();
        marks.iter().filter(|mark| mark.name.starts_with("quiet")).count()
    };
    wait_for(|| quiet() == 40);
    running.kill();
    assert_eq!(quiet(), 40);
    let args = ["--segment-events", "20", "--level", "1", "--keep-bytes", "10KiB", "--seal"];
    assert_eq!(pack(dir.path(), &args, &stream(&capture(1000))).code, Some(0));
    assert_eq!(quiet(), 40);
    assert_eq!(marked(dir.path()), 1000);
}
