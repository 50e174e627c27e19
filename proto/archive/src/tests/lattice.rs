//! What the lattice says of every record and account, held against a scan over all events.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use atproto::Cid;
use atproto::cbor::write;
use atproto::event::{self, Action, Event};

use super::heads::{account, add, traffic};
use super::*;
use crate::error::{Cause, Damage};
use crate::{Lattice, differences};

mod bounds;
mod faults;
mod loss;

const PDS: HostId = HostId(3);

/// A `#commit` event with these operations: an action and a path each.
fn commit(did: &str, seq: u64, ops: &[(&str, String)]) -> Vec<u8> {
    let cid = Cid::dag_cbor(&seq.to_le_bytes());
    let mut out = Vec::new();
    write::map(&mut out, 2);
    text(&mut out, "t");
    text(&mut out, "#commit");
    text(&mut out, "op");
    write::uint(&mut out, 1);
    write::map(&mut out, 11);
    text(&mut out, "ops");
    write::array(&mut out, ops.len());
    for (action, path) in ops {
        write::map(&mut out, 3);
        text(&mut out, "cid");
        if *action == "delete" {
            write::null(&mut out);
        } else {
            write::link(&mut out, &cid);
        }
        text(&mut out, "path");
        text(&mut out, path);
        text(&mut out, "action");
        text(&mut out, action);
    }
    text(&mut out, "rev");
    text(&mut out, &atproto::Tid(1 << 55 | seq << 10).to_string());
    text(&mut out, "seq");
    write::uint(&mut out, seq);
    text(&mut out, "repo");
    text(&mut out, did);
    text(&mut out, "time");
    text(&mut out, "2026-08-01T00:00:00.000Z");
    text(&mut out, "blobs");
    write::array(&mut out, 0);
    text(&mut out, "since");
    write::null(&mut out);
    text(&mut out, "blocks");
    write::bytes(&mut out, b"");
    text(&mut out, "commit");
    write::link(&mut out, &cid);
    text(&mut out, "rebase");
    write::bool(&mut out, false);
    text(&mut out, "tooBig");
    write::bool(&mut out, false);
    assert!(matches!(event::parse(&out), Ok(Event::Commit(_))), "{:?}", event::parse(&out));
    out
}

fn path(record: u64) -> String {
    format!("app.bsky.feed.post/{record}")
}

/// A proved `repo` frame of an account that has these paths.
fn repo(stream: &mut Stream, did: &str, paths: &[String]) {
    let mut list = frame::repo::Records::default();
    let mut paths = paths.to_vec();
    paths.sort_unstable();
    paths.iter().for_each(|path| list.add(path.as_bytes(), &[1; 36]));
    let cid = *Cid::dag_cbor(b"c").as_bytes();
    let repo = frame::repo::Repo { did, rev: 1, commit: cid, data: cid, block: b"" };
    let mut plain = frame::MAGIC.to_vec();
    frame::repo::put(&mut plain, 7, &repo, &list).unwrap();
    let mut decoder = frame::Decoder::default();
    decoder.next(&plain).unwrap();
    let Some((Item::Frame(frame), _)) = decoder.next(&plain[8..]).unwrap() else { panic!() };
    frame::put_with(&mut stream.bytes, &frame, Tag::VERDICT, &Verdict::ok(None).to_bytes())
        .unwrap();
}

/// Numbers that look like chance, the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % sides
    }
}

/// Operations on few paths of few accounts, in any order: created again without a deletion, deleted twice,
/// not proved; words on accounts; whole repositories.
fn mixed(seqs: std::ops::Range<u64>) -> Stream {
    let mut dice = Dice(seqs.start);
    let mut stream = Stream::new();
    for seq in seqs {
        let did = did(dice.roll(5) as u8);
        let proved = dice.roll(8) > 0;
        let body = match dice.roll(20) {
            0 => {
                let status = [None, Some("deactivated"), Some("deleted")];
                account(&did, seq, status[dice.roll(3) as usize])
            }
            1 => event(did.as_bytes()[8] - b'a', seq, 3),
            _ => {
                let mut paths: Vec<u64> = (0..1 + dice.roll(3)).map(|_| dice.roll(12)).collect();
                paths.sort_unstable();
                paths.dedup();
                let actions = ["create", "create", "update", "delete"];
                let ops = paths.into_iter().map(|at| (actions[dice.roll(4) as usize], path(at)));
                commit(&did, seq, &ops.collect::<Vec<_>>())
            }
        };
        add(&mut stream, PDS, seq, &body, proved);
        if dice.roll(25) == 0 {
            let kept: Vec<String> = (0..12).filter(|_| dice.roll(2) == 0).map(path).collect();
            repo(&mut stream, &did, &kept);
        }
        if seq.is_multiple_of(20) {
            stream.mark(3, seq);
        }
    }
    stream
}

/// What a scan over everything says: records that are gone, by event and operation; and of each
/// account its last status and the event that said so.
#[derive(Debug, Default)]
struct Model {
    gone: HashSet<(u64, usize)>,
    ops: Vec<(u64, String, usize)>,
    away: HashMap<String, (bool, Option<u64>)>,
}

impl Model {
    fn of(dir: &Path) -> Model {
        let mut model = Model::default();
        let mut there: HashMap<(String, String), Vec<(u64, usize)>> = HashMap::new();
        let mut reader = Reader::open(dir).unwrap();
        let mut scan = reader.scan(Query::default());
        while let Some(found) = scan.next().unwrap() {
            match found {
                Found::Event(stored) => {
                    let event = event::parse(stored.body).unwrap();
                    let did = event.did().unwrap_or_default().to_owned();
                    let proved = stored.proof().is_some();
                    let mut ops = 0;
                    match event {
                        Event::Commit(commit) => {
                            for (at, op) in commit.ops.enumerate().filter(|_| proved) {
                                let path = (did.clone(), op.path.to_owned());
                                let before = there.entry(path).or_default();
                                if op.action != Action::Create {
                                    model.gone.extend(before.drain(..));
                                }
                                if op.action != Action::Delete {
                                    before.push((stored.n, at));
                                }
                            }
                            ops = commit.ops.len();
                        }
                        Event::Account(said) if proved => {
                            let deleted = !said.active && said.status == Some("deleted");
                            let word = (!said.active, deleted.then_some(stored.n));
                            model.away.insert(did.clone(), word);
                        }
                        _ => {}
                    }
                    model.ops.push((stored.n, did, ops));
                }
                Found::Note(note) => {
                    let frame = note.frame();
                    let (repo, mut list) = frame::repo::read(&frame).unwrap();
                    let mut kept = HashSet::new();
                    while let Some((path, _)) = list.next() {
                        kept.insert(String::from_utf8(path.to_vec()).unwrap());
                    }
                    for ((did, path), before) in &mut there {
                        if did == repo.did && !kept.contains(path) {
                            model.gone.extend(before.drain(..));
                        }
                    }
                }
                other => panic!("{other:?}"),
            }
        }
        model
    }

    /// Holds a lattice against this.
    fn check(&self, lattice: &mut Lattice, when: &str) {
        for (n, did, ops) in &self.ops {
            let fate = lattice.fate(*n).unwrap();
            for op in 0..*ops {
                let expected = self.gone.contains(&(*n, op));
                assert_eq!(fate.is_gone(op), expected, "{when}: event {n}, operation {op}");
            }
            let (away, deleted) = self.away.get(did).copied().unwrap_or_default();
            assert_eq!((fate.is_away(), fate.deleted_by()), (away, deleted), "{when}: event {n}");
        }
    }
}

fn check(dir: &Path, when: &str) -> Model {
    let model = Model::of(dir);
    model.check(&mut Lattice::open(dir).unwrap(), when);
    assert_eq!(differences(dir).unwrap(), [], "{when}");
    model
}

fn maps(dir: &Path, kind: &str) -> Vec<PathBuf> {
    let all = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let named = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with(kind) && name.ends_with(".map")
    };
    let mut maps: Vec<PathBuf> = all.filter(named).collect();
    maps.sort();
    maps
}

#[test]
fn every_record_has_the_fate_that_the_events_say_across_segments_starts_and_files() {
    let dir = tempfile::tempdir().unwrap();
    let mut gone = 0;
    for (round, (begin, end)) in
        [(1, 40), (40, 123), (123, 131), (131, 300), (300, 900)].into_iter().enumerate()
    {
        pack(dir.path(), small(), &mixed(begin..end), round % 2 == 1).unwrap();
        let model = check(dir.path(), &format!("up to {end}"));
        assert!(model.gone.len() > gone);
        gone = model.gone.len();
    }
    // A file has 1,024 bits here, in place of 2^32.
    assert!(
        maps(dir.path(), "gone-").iter().any(|path| path.to_str().unwrap().ends_with("-0001.map"))
    );
    crate::repair(dir.path()).unwrap();
    check(dir.path(), "repaired");
    std::fs::remove_file(dir.path().join("lattice")).unwrap();
    pack(dir.path(), small(), &mixed(900..940), false).unwrap();
    check(dir.path(), "begun anew");
}

#[test]
fn recorded_commits_have_the_fate_that_the_events_say() {
    let dir = tempfile::tempdir().unwrap();
    let mut gone = 0;
    for (begin, end) in [(0, 333), (333, 1500)] {
        pack(dir.path(), small(), &traffic(begin..end), false).unwrap();
        gone = check(dir.path(), "recorded").gone.len();
    }
    assert!(gone > 20, "{gone}");
}

/// One reader, opened before anything is there to be seen.
#[test]
fn a_reader_sees_all_of_it_at_once_without_opening_anything_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(dir.path(), small()).unwrap();
    let mut lattice = Lattice::open(dir.path()).unwrap();
    let mut written = 0;
    for seq in (1..200).step_by(4) {
        feed(&mut writer, &mixed(seq..seq + 4)).unwrap();
        writer.flush().unwrap();
        written += 4;
        if seq.is_multiple_of(3) {
            let model = Model::of(dir.path());
            assert_eq!(model.ops.len(), written);
            model.check(&mut lattice, &format!("after {seq}"));
        }
        if seq.is_multiple_of(67) {
            writer.finish(seq.is_multiple_of(2)).unwrap();
            writer = Writer::open(dir.path(), small()).unwrap();
            Model::of(dir.path()).check(&mut lattice, "another writer");
        }
    }
    writer.finish(false).unwrap();
    crate::repair(dir.path()).unwrap();
    Model::of(dir.path()).check(&mut lattice, "another lattice");
}

#[test]
fn only_a_proved_event_of_the_account_itself_takes_a_record_away() {
    let dir = tempfile::tempdir().unwrap();
    let (owner, stranger) = (did(1), did(2));
    let of = |did: &str, seq: u64, action: &'static str, proved: bool| {
        let mut stream = Stream::new();
        add(&mut stream, PDS, seq, &commit(did, seq, &[(action, path(7))]), proved);
        pack(dir.path(), small(), &stream, seq.is_multiple_of(2)).unwrap();
        Lattice::open(dir.path()).unwrap().fate(0).unwrap().is_gone(0)
    };
    assert!(!of(&owner, 1, "create", true));
    assert!(!of(&stranger, 2, "create", true));
    assert!(!of(&stranger, 3, "delete", true));
    assert!(!of(&owner, 4, "delete", false));
    assert!(!of(&owner, 5, "update", false));
    assert!(of(&owner, 6, "delete", true));
    assert_eq!(differences(dir.path()).unwrap(), []);
}

#[test]
fn an_account_goes_and_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let who = did(1);
    let mut stream = Stream::new();
    add(&mut stream, PDS, 1, &commit(&who, 1, &[("create", path(1))]), true);
    pack(dir.path(), small(), &stream, false).unwrap();
    let mut lattice = Lattice::open(dir.path()).unwrap();
    let words =
        [Some("takendown"), None, Some("deleted"), Some("throttled"), None, Some("deleted")];
    for (seq, status) in (2..).zip(words) {
        let mut stream = Stream::new();
        add(&mut stream, PDS, seq, &account(&who, seq, status), true);
        pack(dir.path(), small(), &stream, seq.is_multiple_of(3)).unwrap();
        let fate = lattice.fate(0).unwrap();
        let deleted = (status == Some("deleted")).then_some(seq - 1);
        assert_eq!((fate.is_away(), fate.deleted_by()), (status.is_some(), deleted), "{seq}");
        assert!(!fate.is_gone(0), "the record is there, whatever is said of its account");
        assert_eq!(differences(dir.path()).unwrap(), []);
    }
}

/// A kill between the log's write and the bit, and a loss of power that kept bits and lost the log's end.
#[test]
fn a_start_sets_what_the_log_says_and_nothing_else() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    pack(first.path(), small(), &mixed(1..105), false).unwrap();
    copy(first.path(), second.path());
    pack(second.path(), small(), &mixed(105..108), false).unwrap();
    let log = crate::folder::Folder::new(Path::new("")).log(10);
    for (from, to) in [(second.path(), first.path()), (first.path(), second.path())] {
        let dir = tempfile::tempdir().unwrap();
        copy(to, dir.path());
        std::fs::copy(from.join(&log), dir.path().join(&log)).unwrap();
        Writer::open(dir.path(), small()).unwrap().finish(false).unwrap();
        check(dir.path(), "another end of the log");
    }
}
