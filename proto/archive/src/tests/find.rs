//! Finding single things: by number, by path, by time, and how little is read for it; and how little is
//! read at a start.

use std::collections::BTreeMap;

use atproto::event::{self, Event};

use super::heads::traffic;
use super::*;

/// Numbers of the events that are asked for, blocks decoded and pages read for that.
pub(super) fn asked(dir: &Path, query: Query) -> (Vec<u64>, u64, u64) {
    let mut reader = Reader::open(dir).unwrap();
    let mut scan = reader.scan(query);
    let mut numbers = Vec::new();
    while let Some(found) = scan.next().unwrap() {
        match found {
            Found::Event(event) => numbers.push(event.n),
            Found::Damage(damage) => panic!("{damage}"),
            Found::Note(_) => {}
        }
    }
    (numbers, scan.blocks(), scan.pages())
}

/// The events of each path, and the time of each event.
pub(super) struct All {
    pub(super) paths: BTreeMap<(String, String), Vec<u64>>,
    times: Vec<u64>,
}

pub(super) fn all(dir: &Path) -> All {
    let (mut paths, mut times) = (BTreeMap::<_, Vec<u64>>::new(), Vec::new());
    let mut reader = Reader::open(dir).unwrap();
    let mut scan = reader.scan(Query::default());
    while let Some(found) = scan.next().unwrap() {
        let Found::Event(stored) = found else { continue };
        times.push(stored.time_ns);
        if let Ok(Event::Commit(commit)) = event::parse(stored.body) {
            for op in commit.ops {
                let events = paths.entry((commit.repo.to_owned(), op.path.to_owned())).or_default();
                if events.last() != Some(&stored.n) {
                    events.push(stored.n);
                }
            }
        }
    }
    All { paths, times }
}

pub(super) fn by_path(did: &str, path: &str) -> Query {
    Query { dids: vec![did.to_owned()], paths: vec![path.to_owned()], ..Query::default() }
}

#[test]
fn a_path_is_found_by_few_pages_and_blocks_and_nothing_of_it_is_missed() {
    let dir = tempfile::tempdir().unwrap();
    pack(dir.path(), small(), &traffic(600..1500), false).unwrap();
    let all = all(dir.path());
    let segments = crate::usage(dir.path()).unwrap().segments;
    let most = all.paths.values().map(Vec::len).max().unwrap();
    assert!(segments > 64 && most > 2, "{segments} {most}");
    let (mut asked_for, mut leaves) = (0, 0);
    for ((did, path), events) in all.paths.iter().filter(|(_, it)| it.len() > 1 || it[0] % 7 == 0) {
        let (found, blocks, pages) = asked(dir.path(), by_path(did, path));
        assert_eq!(found, *events, "{did} {path}");
        assert!(blocks <= 16 * events.len() as u64, "{blocks} blocks for {events:?}");
        // Tables and small segments for two names of the path, and leaves of the account with as many
        // looks at files as halving takes.
        let account =
            all.paths.iter().filter(|((of, _), _)| of == did).map(|(_, it)| it.len() as u64);
        let account: u64 = account.sum::<u64>() * 2 + 50;
        let tables = 2 * 3 * (1 + u64::from(segments.ilog(4))) * 3 + 3 * 2;
        assert!(pages <= tables + segments.min(account) + 2 * account, "{pages} for {account}");
        asked_for += 1;
        leaves += account;
    }
    assert!(asked_for > 100 && leaves > 0);
    let (did, path) = all.paths.keys().next().unwrap();
    assert!(asked(dir.path(), by_path(did, "app.bsky.feed.post/none")).0.is_empty());
    assert!(asked(dir.path(), by_path("did:web:nobody.example", path)).0.is_empty());
}

#[test]
fn paths_of_several_accounts_are_found_without_going_through_everything() {
    let dir = tempfile::tempdir().unwrap();
    pack(dir.path(), small(), &traffic(600..1500), false).unwrap();
    let all = all(dir.path());
    let everything = asked(dir.path(), Query::default()).1;
    let named: Vec<_> = all.paths.iter().filter(|(_, events)| events.len() > 1).collect();
    for ours in named.chunks(named.len() / 12) {
        // A name in each of three places; what one account has on the path of another counts, too.
        let ours = [0, ours.len() / 2, ours.len() - 1].map(|at| ours[at].0);
        let dids = ours.iter().map(|(did, _)| did.clone()).collect::<Vec<_>>();
        let paths = ours.iter().map(|(_, path)| path.clone()).collect::<Vec<_>>();
        let is_asked = |(did, path): &(String, String)| dids.contains(did) && paths.contains(path);
        let events = all.paths.iter().filter(|(name, _)| is_asked(name));
        let mut expected: Vec<u64> = events.flat_map(|(_, events)| events).copied().collect();
        expected.sort_unstable();
        expected.dedup();
        let query = Query { dids: dids.clone(), paths: paths.clone(), ..Query::default() };
        let (found, blocks, _) = asked(dir.path(), query);
        assert_eq!(found, expected, "{ours:?}");
        let most = (16 * expected.len() as u64).min(everything / 2);
        assert!(blocks <= most, "{blocks} of {everything} blocks for {expected:?}");
    }
}

#[test]
fn an_event_number_leads_to_its_bytes_by_sixteen_blocks_and_a_time_to_the_first_event() {
    let dir = tempfile::tempdir().unwrap();
    pack(dir.path(), small(), &traffic(600..1100), false).unwrap();
    let times = all(dir.path()).times;
    for n in (0..times.len() as u64).step_by(3) {
        let one = Query { from: n, count: Some(1), ..Query::default() };
        let (found, blocks, pages) = asked(dir.path(), one);
        assert_eq!(found, [n]);
        assert!(blocks <= 16, "event {n}: {blocks} blocks");
        assert!(pages <= 8, "event {n}: {pages} looks at segments");
    }
    for since_ns in times.iter().copied().step_by(17).flat_map(|time| [time - 1, time, time + 1]) {
        let first = times.iter().position(|time| *time >= since_ns);
        let query = Query { since_ns, count: Some(1), ..Query::default() };
        let expected: Vec<u64> = first.map(|at| at as u64).into_iter().collect();
        assert_eq!(asked(dir.path(), query).0, expected);
    }
}

#[test]
fn what_finds_a_path_may_be_lost_or_damaged() {
    let dir = tempfile::tempdir().unwrap();
    pack(dir.path(), small(), &traffic(800..1100), false).unwrap();
    let all = all(dir.path());
    let ((did, path), events) = all.paths.iter().max_by_key(|(_, events)| events.len()).unwrap();
    let names = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
    for file in names.filter(|path| path.extension().is_some_and(|end| end == "run")) {
        let good = std::fs::read(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        assert_eq!(asked(dir.path(), by_path(did, path)).0, *events, "{}", file.display());
        let mut bad = good.clone();
        bad[20] ^= 8;
        std::fs::write(&file, &bad).unwrap();
        assert_eq!(asked(dir.path(), by_path(did, path)).0, *events, "{}", file.display());
        std::fs::remove_file(&file).unwrap();
        std::fs::write(&file, &good).unwrap();
    }
}

/// How many bytes this thread reads.
#[cfg(target_os = "linux")]
fn bytes_read(act: impl FnOnce()) -> u64 {
    let so_far = || {
        let text = std::fs::read_to_string("/proc/thread-self/io").unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap();
        line.parse::<u64>().unwrap()
    };
    let before = so_far();
    act();
    so_far() - before
}

/// The larger one is eight times the other; its log is as long.
#[cfg(target_os = "linux")]
#[test]
fn a_start_reads_no_more_of_a_large_archive_than_of_a_small_one() {
    let read = |events: usize| {
        let dir = tempfile::tempdir().unwrap();
        pack(dir.path(), small(), &traffic(0..events), true).unwrap();
        let segments = || crate::usage(dir.path()).unwrap().segments;
        // At the same place of a group, for what is written against earlier segments of it.
        for more in (events..).step_by(5) {
            if segments() % 16 == 4 {
                break;
            }
            pack(dir.path(), small(), &traffic(more..more + 5), true).unwrap();
        }
        let segments = segments();
        let options = Options { window: 30, ..small() };
        let writer = bytes_read(|| drop(Writer::open(dir.path(), options).unwrap()));
        let all = crate::heads::heads;
        let heads = bytes_read(|| assert!(all(dir.path()).unwrap().unwrap().scanned() <= 30));
        let newest = bytes_read(|| {
            let (mut reader, query) = crate::newest(dir.path(), 5).unwrap().unwrap();
            let mut scan = reader.scan(query);
            while scan.next().unwrap().is_some() {}
        });
        (segments, [writer, heads, newest])
    };
    let ((few, small), (many, large)) = (read(150), read(1300));
    assert!(many >= 6 * few, "{few} {many}");
    for (small, large) in small.iter().zip(large) {
        assert!(
            large <= small + small / 2 + 8192,
            "{small} bytes of {few} segments, {large} of {many}"
        );
    }
}
