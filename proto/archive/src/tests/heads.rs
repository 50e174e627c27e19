//! What the archive says of accounts, held against a scan over all of it.

use std::collections::HashMap;

use atproto::event::{self, Event};
use atproto::{Cid, Tid, car, commit};

use super::*;
use crate::{Account, Head, Status, heads, host_key};

const PDS: HostId = HostId(3);
const RELAY: HostId = HostId(0);

/// Adds an event; every so many are not proved.
pub(super) fn add(stream: &mut Stream, host: HostId, seq: u64, body: &[u8], proved: bool) {
    let header = Header { host, epoch: 2, seq, ..Header::new(Kind::EVENT, seq * 1_000_000_007) };
    let verdict = if proved {
        Verdict::ok(Some([1; 34]))
    } else {
        Verdict::unchecked(frame::verdict::Rule::NO_IDENTITY)
    };
    let sections = [(Tag::VERDICT, Some(&verdict.to_bytes()[..])), (Tag::NUMBER, None)];
    frame::put_with_two(&mut stream.bytes, &header, body, sections).unwrap();
}

/// An `#account` event.
pub(super) fn account(did: &str, seq: u64, status: Option<&str>) -> Vec<u8> {
    let mut out = vec![0xa2];
    text(&mut out, "t");
    text(&mut out, "#account");
    text(&mut out, "op");
    out.push(1);
    out.push(if status.is_some() { 0xa5 } else { 0xa4 });
    text(&mut out, "did");
    text(&mut out, did);
    text(&mut out, "seq");
    out.push(0x1a);
    out.extend((0x7000_0000 + seq as u32).to_be_bytes());
    text(&mut out, "time");
    text(&mut out, "2026-08-01T00:00:00.000Z");
    text(&mut out, "active");
    out.push(if status.is_none() { 0xf5 } else { 0xf4 });
    if let Some(status) = status {
        text(&mut out, "status");
        text(&mut out, status);
    }
    assert!(matches!(event::parse(&out), Ok(Event::Account(_))), "{:?}", event::parse(&out));
    out
}

/// A `repo` frame of an account, a little ahead of an event of its own.
fn repo(stream: &mut Stream, body: &[u8]) {
    let event = event::parse(body).unwrap();
    let rev = event.rev().unwrap().parse::<Tid>().unwrap().0 + 1;
    let cid = |what: &[u8]| *Cid::dag_cbor(what).as_bytes();
    let did = event.did().unwrap();
    let repo = frame::repo::Repo { did, rev, commit: cid(b"c"), data: cid(b"d"), block: b"" };
    let mut plain = Vec::new();
    frame::repo::put(&mut plain, 7, &repo, &frame::repo::Records::default()).unwrap();
    let mut decoder = frame::Decoder::default();
    decoder.next(&frame::MAGIC).unwrap();
    let Some((Item::Frame(frame), _)) = decoder.next(&plain).unwrap() else { panic!() };
    let verdict = Verdict::ok(None).to_bytes();
    frame::put_with(&mut stream.bytes, &frame, Tag::VERDICT, &verdict).unwrap();
}

/// Recorded commits and made-up words on accounts, of two hosts, with marks that lag behind.
pub(super) fn traffic(events: std::ops::Range<usize>) -> Stream {
    let recorded = e2e::refnet_events();
    let mut stream = Stream::new();
    let statuses = [None, Some("deactivated"), Some("takendown"), Some("deleted"), None];
    for at in events {
        let body = &recorded[at];
        let did = crate::content::did(body);
        let seq = at as u64 * 2 + 1;
        let host = if at % 5 == 0 { RELAY } else { PDS };
        add(&mut stream, host, seq, body, at % 23 != 7);
        if at % 7 == 0 && !did.is_empty() {
            let status = statuses[at / 7 % statuses.len()];
            add(&mut stream, host, seq + 1, &account(did, seq + 1, status), true);
        }
        if at % 41 == 0 && event::parse(body).is_ok_and(|event| event.rev().is_some()) {
            repo(&mut stream, body);
        }
        if at % 30 == 29 {
            let [pds, relay] = [seq - 7, seq - 40];
            let mark = |host, seq| Mark { host, epoch: 2, seq };
            let marks = [mark(PDS, pds), mark(RELAY, relay)];
            frame::mark::put(&mut stream.bytes, &mut Vec::new(), 5, marks).unwrap();
        }
    }
    stream
}

/// What a scan over everything makes of it.
fn scanned(dir: &Path) -> HashMap<String, Account> {
    let marks = crate::marks(dir).unwrap().unwrap();
    let covered = |event: &crate::Event<'_>| {
        marks.iter().any(|mark| {
            (mark.role, &*mark.name) == (event.from.role, &*event.from.name)
                && (event.epoch, event.seq) <= (mark.epoch, mark.seq)
        })
    };
    let mut accounts: HashMap<String, Account> = HashMap::new();
    let mut reader = Reader::open(dir).unwrap();
    let mut scan = reader.scan(Query::default());
    let put_head = |accounts: &mut HashMap<String, Account>, did: &str, head: Head| {
        let account = accounts.entry(did.to_owned()).or_default();
        if account.head.is_none_or(|before| before.rev < head.rev) {
            account.head = Some(head);
        }
    };
    while let Some(found) = scan.next().unwrap() {
        match found {
            Found::Event(stored) => {
                let parsed = event::parse(stored.body).unwrap();
                let Some(did) = parsed.did() else { continue };
                accounts.entry(did.to_owned()).or_default();
                if !covered(&stored) || stored.proof().is_none() {
                    continue;
                }
                if let Event::Account(said) = parsed {
                    let account = accounts.entry(did.to_owned()).or_default();
                    account.status = Some(match said.status {
                        None => Status::Active,
                        Some("deactivated") => Status::Deactivated,
                        Some("takendown") => Status::TakenDown,
                        _ => Status::Deleted,
                    });
                    if said.active {
                        account.away = None;
                    } else if stored.from.role == Role::Pds {
                        account.away = Some(host_key(&stored.from.name));
                    }
                } else if let Some((blocks, _)) = parsed.blocks() {
                    let car = car::parse(blocks).unwrap();
                    let commit = car.root().unwrap();
                    let block = car.blocks().map(Result::unwrap).find(|block| block.cid == commit);
                    let signed = commit::parse(block.unwrap().data).unwrap();
                    let rev = signed.rev.parse::<Tid>().unwrap().0;
                    let head = Head { rev, commit, data: signed.data, healed: false };
                    put_head(&mut accounts, did, head);
                }
            }
            Found::Note(note) => {
                let frame = note.frame();
                let (repo, _) = frame::repo::read(&frame).unwrap();
                let cid = |bytes: &[u8]| Cid::from_slice(bytes).unwrap();
                let (commit, data) = (cid(&repo.commit), cid(&repo.data));
                let head = Head { rev: repo.rev, commit, data, healed: true };
                put_head(&mut accounts, repo.did, head);
            }
            other => panic!("{other:?}"),
        }
    }
    accounts
}

/// Holds all accounts against a scan; how many events had to be gone through for that.
fn check(dir: &Path, when: &str) -> u64 {
    let expected = scanned(dir);
    assert!(expected.values().filter(|account| account.head.is_some()).count() > 20, "{when}");
    let mut heads = heads(dir).unwrap().unwrap();
    for (did, account) in &expected {
        assert_eq!(heads.get(did).unwrap(), *account, "{when}: {did}");
    }
    assert_eq!(heads.get("did:web:nobody.example").unwrap(), Account::default());
    heads.scanned()
}

fn files(dir: &Path, kind: &str) -> Vec<std::path::PathBuf> {
    let all = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let named = |path: &std::path::PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with(kind) && name.ends_with(".run")
    };
    let mut files: Vec<_> = all.filter(named).collect();
    files.sort();
    files
}

#[test]
fn heads_are_those_of_a_scan_up_to_the_last_mark() {
    let dir = tempfile::tempdir().unwrap();
    assert!(heads(dir.path()).unwrap().is_none());
    // Segments end anywhere between marks; each time with another window of them.
    for (begin, end) in [(0, 95), (95, 180), (180, 333), (333, 700), (700, 711)] {
        let seal = end == 180;
        pack(dir.path(), small(), &traffic(begin..end), seal).unwrap();
        let gone_through = check(dir.path(), &format!("{end} events"));
        // Three segments without tables, and the log.
        assert!(gone_through <= 40, "{gone_through}");
    }
    // The last ones of four may have none yet.
    let segments = crate::usage(dir.path()).unwrap().segments;
    let leaves = files(dir.path(), "leaf").len() as u64;
    assert!((segments / 4 * 4..=segments).contains(&leaves), "{leaves} of {segments}");
    assert!(files(dir.path(), "acct").len() <= 3 * 4, "{:?}", files(dir.path(), "acct"));
}

#[test]
fn what_is_derived_may_be_lost_or_damaged_and_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    pack(dir.path(), small(), &traffic(0..330), true).unwrap();
    let good: Vec<_> = files(dir.path(), "").iter().map(|it| std::fs::read(it).unwrap()).collect();
    let all = files(dir.path(), "");
    assert!(all.len() > 30);
    for path in files(dir.path(), "acct") {
        let bytes = std::fs::read(&path).unwrap();
        for at in [100, bytes.len() - 60] {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1;
            // Another file: the old one may be mapped.
            std::fs::remove_file(&path).unwrap();
            std::fs::write(&path, &bytes).unwrap();
            check(dir.path(), "a flipped bit");
        }
        std::fs::remove_file(&path).unwrap();
        check(dir.path(), "a lost file");
        std::fs::write(&path, &bytes).unwrap();
    }
    // A file that is damaged, one that is lost, and all.
    for what in 0..3 {
        for (place, path) in all.iter().enumerate().filter(|(place, _)| what == 2 || *place == 5) {
            std::fs::remove_file(path).unwrap();
            if what == 0 {
                let mut bytes = good[place].clone();
                bytes[30] ^= 1;
                std::fs::write(path, &bytes).unwrap();
            }
        }
        let damage = crate::repair(dir.path()).unwrap();
        assert_eq!(damage.len(), usize::from(what == 0), "{damage:?}");
        assert!(check(dir.path(), "repaired") <= 30);
        let leaves = |path: &&std::path::PathBuf| path.to_str().unwrap().contains("leaf-");
        for (path, good) in all.iter().zip(&good).filter(|(path, _)| leaves(path)) {
            assert!(std::fs::read(path).unwrap() == *good, "{}", path.display());
        }
    }
}

/// An archive of an older version has none of it: it gets it with its next segment.
#[test]
fn an_archive_without_it_gets_it_with_the_next_segment() {
    let dir = tempfile::tempdir().unwrap();
    pack(dir.path(), small(), &traffic(0..200), true).unwrap();
    files(dir.path(), "").iter().for_each(|path| std::fs::remove_file(path).unwrap());
    assert!(check(dir.path(), "without") > 200);
    pack(dir.path(), small(), &traffic(200..230), true).unwrap();
    assert!(check(dir.path(), "with") <= 40);
    // The last ones of four may have none yet.
    let segments = crate::usage(dir.path()).unwrap().segments;
    let leaves = files(dir.path(), "leaf").len() as u64;
    assert!((segments / 4 * 4..=segments).contains(&leaves), "{leaves} of {segments}");
}

/// A kill may leave some files of a segment without the others.
#[test]
fn what_was_left_half_made_is_made_whole_with_the_next_segment() {
    let full = tempfile::tempdir().unwrap();
    pack(full.path(), small(), &traffic(600..690), true).unwrap();
    let names: Vec<_> = files(full.path(), "")
        .iter()
        .map(|path| path.file_name().unwrap().to_owned())
        .filter(|name| name.to_str().unwrap().ends_with("-00.run"))
        .collect();
    assert!(names.len() > 8);
    for name in names {
        let dir = tempfile::tempdir().unwrap();
        copy(full.path(), dir.path());
        std::fs::remove_file(dir.path().join(&name)).unwrap();
        pack(dir.path(), small(), &traffic(690..730), true).unwrap();
        check(dir.path(), name.to_str().unwrap());
        assert_eq!(crate::repair(dir.path()).unwrap(), []);
        assert!(check(dir.path(), "repaired") <= 30);
    }
}

/// An account says that it is away, and is silent while all segments that have it are dropped.
#[test]
fn what_was_said_of_an_account_outlives_its_segments() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { keep_bytes: Some(1), ..small() };
    let silent = did(9);
    let mut stream = Stream::new();
    add(&mut stream, PDS, 1, &account(&silent, 1, Some("deactivated")), true);
    // Four windows of tables and more, so that those of dropped segments are merged with others.
    for seq in 2..=700 {
        stream.event(PDS.0, (seq % 5) as u8, seq, 0);
        if seq % 9 == 0 {
            stream.mark(PDS.0, seq);
        }
    }
    stream.event(PDS.0, 9, 701, 0);
    stream.mark(PDS.0, 701);
    pack(dir.path(), options, &stream, false).unwrap();
    assert!(read_all(dir.path())[0].n > Some(400), "nothing was dropped");
    let check = |when: &str| {
        let known = crate::heads(dir.path()).unwrap().unwrap().get(&silent).unwrap();
        assert_eq!(known.status, Some(Status::Deactivated), "{when}");
        let mut lattice = crate::Lattice::open(dir.path()).unwrap();
        assert!(lattice.fate(700).unwrap().is_away(), "{when}");
        assert!(!lattice.fate(699).unwrap().is_away(), "{when}");
        assert_eq!(crate::differences(dir.path()).unwrap(), [], "{when}");
    };
    check("as it was written");
    // All that is derived is made again, of what is there.
    std::fs::remove_file(files(dir.path(), "leaf").pop().unwrap()).unwrap();
    drop(Writer::open(dir.path(), options).unwrap());
    assert_eq!(files(dir.path(), "kept").len(), 1);
    check("made again");
    let mut more = Stream::new();
    add(&mut more, PDS, 702, &account(&silent, 702, None), true);
    more.mark(PDS.0, 702);
    pack(dir.path(), options, &more, true).unwrap();
    let known = crate::heads(dir.path()).unwrap().unwrap().get(&silent).unwrap();
    assert_eq!(known.status, Some(Status::Active));
    assert!(!crate::Lattice::open(dir.path()).unwrap().fate(700).unwrap().is_away());
}

/// A table that covers dropped segments and others tells of both; what is known of the others is not to be
/// older than their own events.
#[test]
fn what_a_table_says_of_dropped_segments_is_no_word_of_a_later_event() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { keep_bytes: Some(1), ..small() };
    let silent = did(9);
    let mut stream = Stream::new();
    for seq in 1..=1285 {
        match seq {
            700 => add(&mut stream, PDS, seq, &account(&silent, seq, Some("deactivated")), true),
            1200 => stream.event(PDS.0, 9, seq, 0),
            _ => stream.event(PDS.0, (seq % 5) as u8, seq, 0),
        }
        if seq % 9 == 0 {
            stream.mark(PDS.0, seq);
        }
    }
    pack(dir.path(), options, &stream, false).unwrap();
    assert_eq!(read_all(dir.path())[0].n, Some(1120));
    let acct = files(dir.path(), "acct");
    assert!(acct.last().unwrap().ends_with("acct-00000064-03.run"), "{acct:?}");
    std::fs::remove_file(dir.path().join("lattice")).unwrap();
    Writer::open(dir.path(), options).unwrap().finish(false).unwrap();
    assert!(crate::Lattice::open(dir.path()).unwrap().fate(1199).unwrap().is_away());
    assert_eq!(crate::differences(dir.path()).unwrap(), []);
}
