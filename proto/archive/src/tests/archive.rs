//! What is put in comes back: all of it, in order, each once, by number and by account.

use proptest::prelude::*;

use super::*;
use crate::folder::Folder;
use crate::segment::read::Segment;
use crate::{HostMark, marks, usage};

#[test]
fn events_come_back_exactly_from_segments_and_log_alike() {
    let stream = stream(57);
    for (options, seal, segments) in [
        (Options { segment_events: 1000, ..small() }, false, 0),
        (Options { segment_events: 1000, ..small() }, true, 1),
        (small(), false, 5),
        (small(), true, 6),
        (Options { segment_events: 1, ..small() }, false, 57),
        (Options { segment_bytes: 700, ..small() }, true, 10),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let totals = pack(dir.path(), options, &stream, seal).unwrap();
        assert_eq!((totals.events, totals.duplicates), (57, 0));
        assert_eq!(read_all(dir.path()), expected(&stream));
        let usage = usage(dir.path()).unwrap();
        assert!(usage.segments >= segments, "{usage:?}, {options:?}, seal {seal}");
        assert_eq!(usage.logs, 1, "{usage:?}");
    }
}

#[test]
fn what_comes_again_is_stored_once() {
    let dir = tempfile::tempdir().unwrap();
    let stream = stream(57);
    pack(dir.path(), small(), &stream, false).unwrap();
    let before = read_all(dir.path());
    for seal in [false, true, false] {
        let again = pack(dir.path(), small(), &stream, seal).unwrap();
        assert_eq!((again.events, again.duplicates), (0, 57));
    }
    let events = |all: &[Back]| all.iter().filter(|back| back.n.is_some()).count();
    assert_eq!(events(&read_all(dir.path())), events(&before));
}

#[test]
fn an_unproved_copy_never_hides_a_proved_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(dir.path(), small()).unwrap();
    let body = include_bytes!("../../../../tests/fixtures/archive/commit.event");
    let mut put = |seq: u64, verdict: Option<Verdict>| {
        let mut bytes = Vec::new();
        frame::put_magic(&mut bytes);
        frame::host::put(&mut bytes, HostId(1), Role::Pds, "a.example").unwrap();
        let header = Header { host: HostId(1), seq, ..Header::new(Kind::EVENT, 0) };
        let verdict = verdict.map(|verdict| verdict.to_bytes());
        let sections =
            [(Tag::VERDICT, verdict.as_ref().map(|bytes| &bytes[..])), (Tag::SPANS, None)];
        frame::put_with_two(&mut bytes, &header, body, sections).unwrap();
        *feed(&mut writer, &Stream { bytes }).unwrap().last().unwrap()
    };
    assert_eq!(put(1, None), Outcome::Stored(0));
    assert_eq!(put(1, None), Outcome::Duplicate, "a re-send");
    assert_eq!(put(2, None), Outcome::Stored(1), "by another way, so it may be judged otherwise");
    assert_eq!(put(1, Some(Verdict::ok(None))), Outcome::Stored(2));
    assert_eq!(put(9, Some(Verdict::ok(None))), Outcome::Duplicate, "the same content, proved");
}

#[test]
fn marks_are_the_last_ones_and_outlive_logs_and_segments() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(marks(dir.path()).unwrap(), None);
    assert_eq!(marks(&dir.path().join("none")).unwrap(), None);
    let mut stream = stream(57);
    stream.mark(0, 56);
    stream.mark(3, 57);
    stream.mark(0, 33);
    pack(dir.path(), small(), &stream, true).unwrap();
    let mark = |name: &str, role, seq| HostMark { name: name.to_owned(), role, epoch: 2, seq };
    let last = [mark("pds.example.com", Role::Pds, 57), mark("relay.example.com", Role::Relay, 33)];
    assert_eq!(marks(dir.path()).unwrap().unwrap(), last);
    // Without its log an archive goes by its segments.
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "wal") {
            std::fs::remove_file(path).unwrap();
        }
    }
    assert_eq!(marks(dir.path()).unwrap().unwrap(), last);
    let writer = Writer::open(dir.path(), small()).unwrap();
    assert_eq!(writer.events(), 57);
    writer.finish(false).unwrap();
    assert_eq!(marks(dir.path()).unwrap().unwrap(), last);
}

#[test]
fn a_scan_ends_with_the_marks_of_what_it_showed() {
    let dir = tempfile::tempdir().unwrap();
    pack(dir.path(), small(), &stream(57), false).unwrap();
    let mut reader = Reader::open(dir.path()).unwrap();
    let mut scan = reader.scan(Query::default());
    while scan.next().unwrap().is_some() {}
    let marks: Vec<_> = scan
        .marks()
        .map(|(host, epoch, seq)| (scan.host(host).unwrap().name.to_string(), epoch, seq))
        .collect();
    assert_eq!(marks.len(), 2);
    assert!(marks.contains(&("pds.example.com".to_owned(), 2, 56)), "{marks:?}");
    assert!(marks.contains(&("relay.example.com".to_owned(), 2, 48)), "{marks:?}");
}

#[test]
fn a_host_that_was_never_named_is_an_error_and_the_rest_stays() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(dir.path(), small()).unwrap();
    let mut stream = stream(3);
    stream.event(77, 1, 9, 0);
    let error = feed(&mut writer, &stream).unwrap_err();
    assert!(matches!(error, Error::UnknownHost { host: 77 }), "{error}");
    assert_eq!(writer.finish(false).unwrap().events, 3);
    assert_eq!(read_all(dir.path()).len(), 3);
}

#[test]
fn host_ids_begin_anew_with_each_magic() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = Stream::new();
    first.event(3, 1, 1, 0);
    let mut second = Stream::default();
    frame::put_magic(&mut second.bytes);
    frame::host::put(&mut second.bytes, HostId(3), Role::Pds, "other.example").unwrap();
    second.event(3, 1, 1, 0);
    first.bytes.extend(&second.bytes);
    pack(dir.path(), small(), &first, true).unwrap();
    let hosts: Vec<String> = read_all(dir.path()).into_iter().map(|back| back.host).collect();
    assert_eq!(hosts, ["pds.example.com", "other.example"]);
}

#[test]
fn sections_and_kinds_that_nobody_knows_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let mut stream = Stream::new();
    let header = Header { host: HostId(3), seq: 1, ..Header::new(Kind::EVENT, 1) };
    let sections = [(Tag(900), Some(&b"one"[..])), (Tag(901), Some(&b"two"[..]))];
    frame::put_with_two(&mut stream.bytes, &header, &event(1, 1, 0), sections).unwrap();
    let header = Header { kind: Kind(99), ..header };
    frame::put_with_two(&mut stream.bytes, &header, b"what is this", sections).unwrap();
    for seal in [false, true] {
        pack(dir.path(), small(), &stream, seal).unwrap();
        let mut reader = Reader::open(dir.path()).unwrap();
        let mut scan = reader.scan(Query::default());
        let Some(Found::Event(event)) = scan.next().unwrap() else { panic!() };
        let kept: Vec<_> = event.sections().map(|section| (section.tag.0, section.data)).collect();
        assert_eq!(kept, [(900, &b"one"[..]), (901, &b"two"[..])]);
        let Some(Found::Note(note)) = scan.next().unwrap() else { panic!() };
        assert_eq!(note.frame().header.kind, Kind(99));
        assert_eq!(note.frame().section(Tag(901)), Some(&b"two"[..]));
    }
}

fn ask(from: u64, count: Option<u64>, accounts: &[u8]) -> Query {
    let dids = accounts.iter().map(|account| did(*account)).collect();
    Query { from, count, dids, ..Query::default() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// Any order of events, marks, repeats and restarts, then any question, against a list.
    #[test]
    fn it_agrees_with_a_list(
        steps in proptest::collection::vec((0u8..5, 0u64..60, 0usize..200, 0u8..20), 0..80),
        segment_events in 1u32..20,
        seal: bool,
        from in 0u64..70,
        count in proptest::option::of(0u64..30),
        accounts in proptest::collection::vec(0u8..6, 0..3),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { segment_events, ..small() };
        let mut writer = Writer::open(dir.path(), options).unwrap();
        let mut model: Vec<(u64, u8)> = Vec::new();
        for (account, seq, bytes, then) in steps {
            // An account's event is told by its number, so that repeats are repeats.
            let account = (account + seq as u8) % 5;
            let mut stream = Stream::new();
            stream.event(3, account, seq, seq as usize % 50 + bytes / 1000);
            if then == 0 {
                stream.mark(3, seq);
            }
            let known = model.iter().any(|(known, of)| *known == seq && *of == account);
            let outcome = feed(&mut writer, &stream).unwrap()[2];
            prop_assert_eq!(outcome == Outcome::Duplicate, known);
            if !known {
                model.push((seq, account));
            }
            match then {
                1 => writer.flush().unwrap(),
                2 => {
                    writer.finish(seal).unwrap();
                    writer = Writer::open(dir.path(), options).unwrap();
                }
                3 => {
                    // As after kill -9: what was not written is gone.
                    let written = model.len();
                    drop(writer);
                    writer = Writer::open(dir.path(), options).unwrap();
                    prop_assert!(writer.events() <= written as u64);
                    model.truncate(writer.events() as usize);
                }
                _ => {}
            }
        }
        writer.finish(seal).unwrap();
        let all: Vec<(u64, (u64, u8))> = (0u64..).zip(model).collect();
        let asked: Vec<u64> = all
            .iter()
            .filter(|(n, (_, account))| {
                *n >= from && (accounts.is_empty() || accounts.contains(account))
            })
            .map(|(n, _)| *n)
            .take(count.map_or(usize::MAX, |count| count as usize))
            .collect();
        let (back, damage) = read(dir.path(), ask(from, count, &accounts));
        prop_assert_eq!(damage, []);
        let numbers: Vec<u64> = back.iter().filter_map(|back| back.n).collect();
        prop_assert_eq!(numbers, asked);
        for back in back {
            let (seq, account) = all[back.n.unwrap() as usize].1;
            prop_assert_eq!(back.header.seq, seq);
            prop_assert_eq!(back.body, event(account, seq, seq as usize % 50));
        }
    }
}

/// Retention takes the oldest segments while somebody reads them.
#[test]
fn segments_that_are_dropped_before_they_are_read_are_skipped_or_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut stream = Stream::new();
    (1..=40).for_each(|seq| stream.event(3, 0, seq, 0));
    pack(dir.path(), small(), &stream, true).unwrap();
    let folder = crate::folder::Folder::new(dir.path());
    let mut reader = Reader::open(dir.path()).unwrap();
    std::fs::remove_file(folder.segment(0)).unwrap();
    let mut scan = reader.scan(Query::default());
    let mut next = 10;
    while next < 40 {
        match scan.next().unwrap() {
            Some(Found::Event(event)) => {
                assert_eq!(event.n, next);
                next += 1;
                if next == 15 {
                    std::fs::remove_file(folder.segment(2)).unwrap();
                }
            }
            Some(Found::Damage(damage)) => {
                assert_eq!((next, damage.lost.count()), (20, 10), "{damage}");
                next = 30;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(scan.next().unwrap().is_none());
}

/// What was decoded and handed on is room for more, and not more than that.
#[test]
fn a_reader_keeps_no_memory_of_blocks_that_it_is_done_with() {
    let dir = tempfile::tempdir().unwrap();
    pack(dir.path(), small(), &stream(400), true).unwrap();
    let ways = [
        Query::default(),
        Query { count: Some(1 << 40), ..Query::default() },
        Query { dids: vec![did(0)], ..Query::default() },
    ];
    for query in ways {
        let mut reader = Reader::open(dir.path()).unwrap();
        let mut scan = reader.scan(query.clone());
        while scan.next().unwrap().is_some() {}
        assert!(scan.blocks() > 20, "{query:?}");
        let rooms = reader.group().unwrap().rooms();
        assert!(rooms <= 3, "{rooms} for {query:?}");
    }
}

/// What it ends with is said by its last block, also where that has no commit of it.
#[test]
fn an_account_whose_last_block_has_no_commit_comes_back() {
    let recorded = e2e::refnet_events();
    let mut commits: std::collections::BTreeMap<&str, Vec<&[u8]>> = Default::default();
    for event in &recorded {
        if let Ok(atproto::event::Event::Commit(commit)) = atproto::event::parse(event) {
            commits.entry(commit.repo).or_default().push(event);
        }
    }
    let (account, commits) = commits.iter().find(|(_, commits)| commits.len() > 1).unwrap();
    let identity = |seq, bytes| {
        let mut body = event(0, seq, bytes);
        let at = body.windows(account.len()).position(|it| it == did(0).as_bytes()).unwrap();
        body[at..at + account.len()].copy_from_slice(account.as_bytes());
        body
    };
    let mut stream = Stream::new();
    super::heads::add(&mut stream, HostId(3), 1, commits[0], true);
    for seq in 2..72 {
        super::heads::add(&mut stream, HostId(3), seq, &identity(seq, 60_000), true);
    }
    super::heads::add(&mut stream, HostId(3), 72, &identity(72, 0), true);
    super::heads::add(&mut stream, HostId(3), 73, commits[1], true);
    let dir = tempfile::tempdir().unwrap();
    pack(dir.path(), Options { segment_events: 72, ..small() }, &stream, true).unwrap();
    let segment = Segment::open(&Folder::new(dir.path()).segment(0), 0).unwrap();
    let blocks = segment.index().unwrap().blocks;
    assert_eq!(blocks.iter().map(|block| block.events).collect::<Vec<_>>(), [71, 1]);
    assert!(read_all(dir.path()) == expected(&stream));
}
